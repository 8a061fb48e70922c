//! The main text of a web page: title first, paragraphs parted by blank lines, navigation left out.
//!
//! dom_smoothie (Mozilla's Readability) chooses the part of the page; turning its tree into lines is done here, because
//! the crate's own formatter runs definition lists together. Where it finds no article, or a page so short that it
//! has only one part, the whole body is taken. A page that is nested deeper than browsers allow is refused before it is
//! parsed: several steps cost the square of the depth. What the crate panics on is an unreadable page, not our end (the
//! message that Rust prints about the panic is all that remains of it).

use std::panic::{AssertUnwindSafe, catch_unwind};

use dom_smoothie::{Config, Readability, TextMode};
use thiserror::Error;

/// Blink flattens trees from this depth on.
const DEPTH_MAX: usize = 512;

/// More elements than any page of prose has; beyond it the search for an article is skipped.
const ELEMENTS_MAX: usize = 100_000;

/// A page whose text cannot be had.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HtmlError {
    /// Too deep.
    #[error("elements are nested deeper than {DEPTH_MAX}")]
    Depth,
    /// The parser gave up.
    #[error("the HTML parser failed")]
    Parser,
}

/// The main text of a page; empty where it has none.
pub fn extract_main_text(html: &str) -> Result<String, HtmlError> {
    if is_too_deep(html) {
        return Err(HtmlError::Depth);
    }
    catch_unwind(AssertUnwindSafe(|| extract(html))).map_err(|_| HtmlError::Parser)
}

fn extract(html: &str) -> String {
    let config = Config {
        max_elements_to_parse: ELEMENTS_MAX,
        text_mode: TextMode::Raw,
        disable_json_ld: true,
        ..Config::default()
    };
    let mut page = Readability::new(html, None, Some(config.clone())).expect("no address, so none is wrong");
    let title = title(&page);
    if page.parse().is_ok() {
        let text = text_below(&page, "#readability-page-1");
        if !text.trim().is_empty() {
            return with_title(&title, &text);
        }
    }
    // Parsing takes the page apart, so the whole body needs a fresh one.
    let page = Readability::new(html, None, Some(config)).expect("no address, so none is wrong");
    with_title(&title, &text_below(&page, "body"))
}

/// The page's title, or the heading that it repeats before the name of the site. Readability cuts titles by counting
/// words, which leaves the name of the site where the title is Chinese.
fn title(page: &Readability) -> String {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let title = page.doc.select("title").nodes().first().map_or_else(String::new, |node| one_line(&node.text()));
    let headings = page.doc.select("h1");
    let mut headings = headings.nodes().iter().map(|node| one_line(&node.text()));
    headings.find(|heading| !heading.is_empty() && title.contains(&heading[..])).unwrap_or(title)
}

fn with_title(title: &str, text: &str) -> String {
    let text = text.trim();
    if title.is_empty() || text.lines().next().is_some_and(|line| line.trim() == title) {
        return text.to_owned();
    }
    format!("{title}\n\n{text}")
}

/// The text of the first element that `selector` finds. Walks the tree with a stack of its own, so depth costs no
/// stack space. Blocks are parted by a blank line, items and rows by a line end, cells by a tab; `pre` stays as it is.
fn text_below(page: &Readability, selector: &str) -> String {
    let mut text = String::new();
    let selection = page.doc.select(selector);
    let mut open: Vec<_> = selection.nodes().iter().take(1).map(|node| (*node, false)).collect();
    while let Some((node, is_end)) = open.pop() {
        if node.is_text() {
            push_words(&mut text, &node.text());
            continue;
        }
        let name = node.node_name();
        let gap = gap_of(name.as_deref().unwrap_or_default());
        if gap == Gap::Hidden {
            continue;
        }
        push_gap(&mut text, gap);
        if is_end {
            continue;
        }
        if name.as_deref() == Some("pre") {
            text.push_str(node.text().trim_matches('\n'));
            push_gap(&mut text, gap);
            continue;
        }
        open.push((node, true));
        open.extend(node.children().into_iter().rev().map(|child| (child, false)));
    }
    text
}

/// What stands before and after an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    None,
    Tab,
    Line,
    Blank,
    /// The element isn't text at all.
    Hidden,
}

fn gap_of(name: &str) -> Gap {
    match name {
        "script" | "style" | "noscript" | "template" | "head" | "svg" | "math" | "iframe" | "object" | "select"
        | "button" | "nav" => Gap::Hidden,
        "td" | "th" => Gap::Tab,
        "br" | "li" | "tr" | "dt" | "dd" | "option" | "caption" | "figcaption" | "summary" => Gap::Line,
        "address" | "article" | "aside" | "blockquote" | "body" | "details" | "div" | "dl" | "fieldset" | "figure"
        | "footer" | "form" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "header" | "hr" | "main" | "ol" | "p"
        | "pre" | "section" | "table" | "tbody" | "thead" | "ul" => Gap::Blank,
        _ => Gap::None,
    }
}

fn push_gap(text: &mut String, gap: Gap) {
    let ending = match gap {
        Gap::None | Gap::Hidden => return,
        Gap::Tab if text.ends_with(['\n', '\t']) => return,
        Gap::Tab => "\t",
        Gap::Line => "\n",
        Gap::Blank => "\n\n",
    };
    text.truncate(text.trim_end_matches([' ', '\t']).len());
    if !text.is_empty() && !text.ends_with(ending) {
        text.push_str(if gap == Gap::Blank && text.ends_with('\n') { "\n" } else { ending });
    }
}

fn push_words(text: &mut String, words: &str) {
    let push_space = |text: &mut String| {
        if !text.is_empty() && !text.ends_with([' ', '\n', '\t']) {
            text.push(' ');
        }
    };
    let mut rest = words.split_whitespace();
    if words.starts_with(char::is_whitespace) {
        push_space(text);
    }
    if let Some(first) = rest.next() {
        text.push_str(first);
        for word in rest {
            text.push(' ');
            text.push_str(word);
        }
        if words.ends_with(char::is_whitespace) {
            push_space(text);
        }
    }
}

/// Follows the tags the way a parser would, roughly: elements that HTML closes by itself don't count.
fn is_too_deep(html: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end..]);
            continue;
        }
        let is_end = rest.starts_with('/');
        let tag = &rest[usize::from(is_end)..];
        let name = &tag[..tag.find(|char: char| !char.is_ascii_alphanumeric() && char != '-').unwrap_or(tag.len())];
        if name.is_empty() || closes_itself(name) {
            continue;
        }
        rest = &tag[tag_len(tag)..];
        let is_empty = tag[..tag.len() - rest.len()].ends_with("/");
        if is_end {
            if let Some(at) = open.iter().rposition(|open_name| open_name.eq_ignore_ascii_case(name)) {
                open.truncate(at);
            }
        } else if is_raw_text(name) {
            rest = skip_raw_text(rest, name);
        } else if !(is_empty && open.iter().any(|name| is_foreign(name))) {
            open.push(name);
        }
        if open.len() > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// Bytes up to the `>` of a tag, which may also stand inside quotes.
fn tag_len(tag: &str) -> usize {
    let mut quote = None;
    let end = tag.bytes().position(|byte| match quote {
        Some(open) => {
            if byte == open {
                quote = None;
            }
            false
        }
        None => {
            if byte == b'"' || byte == b'\'' {
                quote = Some(byte);
            }
            byte == b'>'
        }
    });
    end.unwrap_or(tag.len())
}

fn closes_itself(name: &str) -> bool {
    const NAMES: [&str; 27] = [
        "area", "base", "br", "col", "dd", "dt", "embed", "hr", "html", "img", "input", "body", "head", "li", "link",
        "meta", "optgroup", "option", "p", "param", "rp", "rt", "source", "td", "th", "tr", "wbr",
    ];
    NAMES.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

fn is_raw_text(name: &str) -> bool {
    ["script", "style", "textarea", "title"].iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

fn is_foreign(name: &str) -> bool {
    ["svg", "math"].iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

fn skip_raw_text<'a>(html: &'a str, name: &str) -> &'a str {
    let mut rest = html;
    while let Some(at) = rest.find("</") {
        rest = &rest[at..];
        if rest.as_bytes()[2..].get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes())) {
            return rest;
        }
        rest = &rest[2..];
    }
    ""
}
