//! From a record to the documents in it: a function of the record and its source, run on any number of threads.

use std::mem;

use serde_json::Value;

use super::charset::{decode_page, decode_text};
use super::http::decode_body;
use super::markdown::clean_markdown;
use super::mediawiki::{Site, parse_page};
use super::warc::Capture;
use super::wikitext::wikitext_to_text;
use super::{Payload, ReadLimits, Record};
use crate::config::{Content, Reading, Source};
use crate::html::extract_main_text;

/// A document as its source has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) locator: String,
    pub(crate) text: String,
    pub(crate) url: Option<String>,
    pub(crate) label: Option<bool>,
    /// What else its source says of it: `title`, `date`.
    pub(crate) meta: Vec<(&'static str, String)>,
}

/// A record of which nothing can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) locator: String,
    /// What is wrong, in words that follow the locator.
    pub(crate) what: String,
}

/// The documents of a record: one, two where it is a pair of propositions, none where it is a page that is no article.
pub(crate) fn read_documents(record: Record, source: &Source, limits: &ReadLimits) -> Vec<Result<Found, Bad>> {
    let Record { locator, content } = record;
    let found = content.and_then(|payload| match payload {
        Payload::Bytes(bytes) => read_bytes(bytes, &locator, &source.reading, limits),
        Payload::Row(row) => read_fields(&row, &locator, &source.reading),
        Payload::Capture(capture) => read_capture(*capture, &locator, limits),
        Payload::Page(page, site) => read_page(&page, &site, &locator),
    });
    match found {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(what) => vec![Err(Bad { locator, what })],
    }
}

fn read_bytes(bytes: Vec<u8>, locator: &str, reading: &Reading, limits: &ReadLimits) -> Result<Vec<Found>, String> {
    let alone = |text| vec![Found { locator: locator.to_owned(), text, ..Found::default() }];
    let damaged_max = limits.damaged_chars_max.0;
    match reading {
        Reading::Jsonl { .. } => {
            let line = utf8(bytes)?;
            let record =
                serde_json::from_str(line.trim_start_matches('\u{FEFF}')).map_err(|error| json_fault(&error))?;
            read_fields(&record, locator, reading)
        }
        // A piece is short, and its separator was found as bytes: nothing to guess from.
        Reading::Text { separator: Some(_) } => utf8(bytes).map(alone),
        Reading::Html => {
            let html = decode_page(&bytes, None, None, damaged_max).map_err(|error| error.to_string())?;
            main_text(&html).map(alone)
        }
        Reading::Markdown => decode_text(&bytes, None, None, damaged_max)
            .map(|text| alone(clean_markdown(&text)))
            .map_err(|error| error.to_string()),
        Reading::Text { separator: None } | Reading::Warc | Reading::Mediawiki | Reading::Parquet { .. } => {
            decode_text(&bytes, None, None, damaged_max).map(alone).map_err(|error| error.to_string())
        }
    }
}

fn read_fields(record: &Value, locator: &str, reading: &Reading) -> Result<Vec<Found>, String> {
    let (Reading::Jsonl { content, url, is_html } | Reading::Parquet { content, url, is_html }) = reading else {
        unreachable!("only these formats have fields");
    };
    let url = url.as_ref().map(|url| url.render(record)).transpose().map_err(|error| error.to_string())?;
    let mut found = render(locator, record, content)?;
    for found in &mut found {
        found.url = url.clone().filter(|url| !url.is_empty());
        if *is_html {
            found.text = main_text(&mem::take(&mut found.text))?;
        }
    }
    Ok(found)
}

/// The documents of a JSON record. A pair has two locators, since an id is made from each.
fn render(locator: &str, record: &Value, content: &Content) -> Result<Vec<Found>, String> {
    let found = |text, locator: String, label| Found { locator, text, label, ..Found::default() };
    let rendered = match content {
        Content::Plain(text) => text.render(record).map(|text| vec![found(text, locator.to_owned(), None)]),
        Content::Labelled { text, label } => text.render(record).and_then(|text| {
            let label = label.boolean(record)?;
            Ok(vec![found(text, locator.to_owned(), Some(label))])
        }),
        Content::Pair { true_text, false_text } => true_text.render(record).and_then(|true_text| {
            let false_text = false_text.render(record)?;
            Ok(vec![
                found(true_text, format!("{locator}#true"), Some(true)),
                found(false_text, format!("{locator}#false"), Some(false)),
            ])
        }),
    };
    rendered.map_err(|error| error.to_string())
}

fn read_capture(capture: Capture, locator: &str, limits: &ReadLimits) -> Result<Vec<Found>, String> {
    let Capture { body, head, is_page, is_cut, url, date } = capture;
    let n_bytes_max = usize::try_from(limits.record_bytes_max.0).unwrap_or(usize::MAX / 2);
    let body = decode_body(body, &head, is_cut, n_bytes_max)?;
    let (charset, host) = (head.charset.as_deref(), url.as_deref().and_then(host_of));
    let decode = if is_page { decode_page } else { decode_text };
    let text = decode(&body, charset, host, limits.damaged_chars_max.0).map_err(|error| error.to_string())?;
    let text = if is_page { main_text(&text)? } else { text };
    let meta = date.map(|date| ("date", date)).into_iter().collect();
    Ok(vec![Found { locator: locator.to_owned(), text, url, meta, ..Found::default() }])
}

/// The name of the machine in an address.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    host.split(':').next().filter(|host| !host.is_empty())
}

fn read_page(page: &[u8], site: &Site, locator: &str) -> Result<Vec<Found>, String> {
    let Some(article) = parse_page(page, site)? else { return Ok(Vec::new()) };
    let body = wikitext_to_text(&article.wikitext, &site.hidden);
    // A title without a text is no document, which is for the rules to say.
    let text = if body.is_empty() { body } else { format!("{}\n\n{body}", article.title) };
    let mut meta = vec![("title", article.title)];
    meta.extend(article.date.map(|date| ("date", date)));
    Ok(vec![Found { locator: locator.to_owned(), text, url: article.url, meta, ..Found::default() }])
}

fn main_text(html: &str) -> Result<String, String> {
    extract_main_text(html).map_err(|error| error.to_string())
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| format!("is not UTF-8 at byte {}", error.utf8_error().valid_up_to() + 1))
}

/// serde_json counts lines inside the record, which is always one line: only the column says something.
fn json_fault(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let what = message.split(" at line ").next().unwrap_or_default();
    format!("is not JSON at column {}: {what}", error.column())
}
