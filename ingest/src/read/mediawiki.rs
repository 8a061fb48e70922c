//! MediaWiki dumps: `<mediawiki> <siteinfo/> <page> <title/> <ns/> <revision> <text/> ... </mediawiki>`.
//!
//! A dump is cut at `</page>`, which cannot stand inside a page's text, where `<` is always escaped. So memory is one page,
//! damage ends with its page, and pages are parsed on any number of threads. Articles alone are wanted: namespace 0, no
//! redirects. Of several revisions the last one counts. Source: mediawiki.org, Help:Export, export-0.11.xsd.

use std::io::{self, BufReader};
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};

use super::Payload;
use super::layers::Members;
use super::pieces::{Piece, read_piece};

const PAGE_END: &[u8] = b"</page>";

/// What a dump says of its wiki.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Site {
    /// The address of an article without its title.
    base: Option<String>,
    /// Namespaces of anything but articles, in lower case.
    namespaces: Vec<String>,
    /// Namespaces of what is shown rather than linked: files and categories.
    pub(crate) hidden: Vec<String>,
}

/// An article.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Article {
    pub(crate) title: String,
    pub(crate) wikitext: String,
    pub(crate) url: Option<String>,
    pub(crate) date: Option<String>,
}

/// An open dump.
pub(super) struct Dump {
    pub(super) reader: BufReader<Members>,
    pub(super) n_pages: u64,
    site: Arc<Site>,
    is_begun: bool,
    is_ended: bool,
}

impl Dump {
    pub(super) fn new(members: Members) -> Self {
        let reader = BufReader::with_capacity(1 << 18, members);
        Self { reader, n_pages: 0, site: Arc::default(), is_begun: false, is_ended: false }
    }

    /// The next page; nothing at the end.
    pub(super) fn next_page(&mut self, n_bytes_max: usize) -> io::Result<Option<Result<Payload, String>>> {
        let piece = read_piece(&mut self.reader, PAGE_END, n_bytes_max)?;
        self.n_pages += 1;
        let bytes = match piece {
            Piece::TooLong => {
                self.is_begun = true;
                return Ok(Some(Err(format!("is longer than {n_bytes_max} bytes"))));
            }
            Piece::Bytes(bytes) => bytes,
            Piece::End => Vec::new(),
        };
        let at = find(&bytes, b"<page>");
        if !self.is_begun {
            self.is_begun = true;
            let head = &bytes[..at.unwrap_or(bytes.len())];
            if find(head, b"<mediawiki").is_none() {
                self.is_ended = true;
                return Ok(Some(Err("is no page of a MediaWiki dump in UTF-8".to_owned())));
            }
            self.site = Arc::new(parse_site(head));
        }
        if let Some(at) = at {
            let page = [&bytes[at..], PAGE_END].concat();
            return Ok(Some(Ok(Payload::Page(page, Arc::clone(&self.site)))));
        }
        let is_cut = !self.is_ended && find(&bytes, b"</mediawiki>").is_none();
        self.is_ended = true;
        Ok(is_cut.then(|| Err("is missing: the dump is cut off before </mediawiki>".to_owned())))
    }
}

/// The article in a `<page>`; nothing where it is a redirect, or no article.
pub(super) fn parse_page(page: &[u8], site: &Site) -> Result<Option<Article>, String> {
    let page =
        std::str::from_utf8(page).map_err(|error| format!("is not UTF-8 at byte {}", error.valid_up_to() + 1))?;
    let mut fields = Fields::default();
    walk(page, &mut |path, node| match (path, node) {
        (["page", "title"], Node::Text(text)) => fields.title.push_str(text),
        (["page", "ns"], Node::Text(text)) => fields.namespace.push_str(text),
        (["page", "redirect"], Node::Begin(_)) => fields.is_redirect = true,
        // A new revision replaces the one before it.
        (["page", "revision"], Node::Begin(_)) => {
            (fields.model, fields.date, fields.wikitext) = (String::new(), String::new(), String::new());
        }
        (["page", "revision", "model"], Node::Text(text)) => fields.model.push_str(text),
        (["page", "revision", "timestamp"], Node::Text(text)) => fields.date.push_str(text),
        (["page", "revision", "text"], Node::Text(text)) => fields.wikitext.push_str(text),
        _ => {}
    })?;
    let Fields { title, namespace, is_redirect, model, date, wikitext } = fields;
    let is_elsewhere = match namespace.trim() {
        "" => title.split_once(':').is_some_and(|(prefix, _)| site.namespaces.contains(&prefix.to_lowercase())),
        namespace => namespace != "0",
    };
    let is_wikitext = ["", "wikitext"].contains(&model.trim());
    if is_elsewhere || is_redirect || !is_wikitext || begins_as_redirect(&wikitext) {
        return Ok(None);
    }
    let url = site.base.as_ref().map(|base| format!("{base}{}", title.trim().replace(' ', "_")));
    let date = Some(date).filter(|date| !date.is_empty());
    Ok(Some(Article { title: title.trim().to_owned(), wikitext, url, date }))
}

#[derive(Default)]
struct Fields {
    title: String,
    namespace: String,
    is_redirect: bool,
    model: String,
    date: String,
    wikitext: String,
}

/// Older dumps do not mark redirects. The word is `#REDIRECT` or its translation, and a link follows it.
fn begins_as_redirect(wikitext: &str) -> bool {
    let Some(rest) = wikitext.trim_start().strip_prefix('#') else { return false };
    let word = rest.split(|char: char| !char.is_alphanumeric()).next().unwrap_or_default();
    let is_word = ["redirect", "重定向", "転送", "перенаправление", "weiterleitung", "redirection"]
        .contains(&&word.to_lowercase()[..]);
    is_word && rest[word.len()..].trim_start_matches([':', ' ', '\t', '：']).starts_with("[[")
}

fn parse_site(head: &[u8]) -> Site {
    let head = String::from_utf8_lossy(head);
    let mut base = String::new();
    let mut namespaces: Vec<(i64, String)> = Vec::new();
    // The head is a document without an end, so what was found before the fault is what there is to find.
    let _ = walk(&head, &mut |path, node| match (path, node) {
        ([.., "base"], Node::Text(text)) => base.push_str(text),
        ([.., "namespace"], Node::Begin(tag)) => {
            let key = tag.try_get_attribute("key").ok().flatten();
            namespaces.push((key.and_then(|key| key.value.parse().ok()).unwrap_or(0), String::new()));
        }
        ([.., "namespace"], Node::Text(text)) => {
            if let Some((_, name)) = namespaces.last_mut() {
                name.push_str(text);
            }
        }
        _ => {}
    });
    let named = |is_wanted: fn(i64) -> bool| {
        let wanted = namespaces.iter().filter(|(key, name)| is_wanted(*key) && !name.trim().is_empty());
        wanted.map(|(_, name)| name.trim().to_lowercase()).collect()
    };
    Site {
        base: base.trim().rfind('/').map(|at| base.trim()[..=at].to_owned()),
        namespaces: named(|key| key != 0),
        hidden: named(|key| [-2, 6, 14].contains(&key)),
    }
}

enum Node<'a> {
    Begin(&'a BytesStart<'a>),
    Text(&'a str),
}

/// The names that matter, outermost first.
type Visit<'a> = dyn FnMut(&[&'static str], Node<'_>) + 'a;

/// Hands out what begins and the texts below it. Elements that do not matter count as `""`.
fn walk(xml: &str, visit: &mut Visit<'_>) -> Result<(), String> {
    let fault = |error: &dyn std::fmt::Display| format!("is not XML: {error}");
    let mut reader = Reader::from_str(xml);
    let mut path: Vec<&'static str> = Vec::new();
    loop {
        match reader.read_event().map_err(|error| fault(&error))? {
            Event::Start(tag) => {
                path.push(known(tag.name().as_ref()));
                visit(&path, Node::Begin(&tag));
            }
            Event::Empty(tag) => {
                path.push(known(tag.name().as_ref()));
                visit(&path, Node::Begin(&tag));
                path.pop();
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Text(text) => visit(&path, Node::Text(&text.xml10_content())),
            Event::CData(text) => visit(&path, Node::Text(&text)),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|error| fault(&error))? {
                Some(char) => visit(&path, Node::Text(char.encode_utf8(&mut [0; 4]))),
                None => {
                    let text =
                        resolve_xml_entity(&reference).ok_or_else(|| fault(&"an entity that it does not define"))?;
                    visit(&path, Node::Text(text));
                }
            },
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err(fault(&"an element is never closed")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn known(name: &str) -> &'static str {
    const NAMES: [&str; 10] =
        ["page", "title", "ns", "redirect", "revision", "model", "timestamp", "text", "base", "namespace"];
    NAMES.iter().find(|known| **known == name).copied().unwrap_or_default()
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
