//! From a record to the documents in it: a function of the record and its source, run on any number of threads.

use std::collections::BTreeMap;
use std::mem;

use serde_json::Value;

use super::charset::{decode_page, decode_text};
use super::http::decode_body;
use super::markdown::clean_markdown;
use super::mediawiki::{Site, parse_page};
use super::warc::Capture;
use super::wikitext::wikitext_to_text;
use super::{Payload, ReadLimits, Record};
use crate::dialogue::{Part, Piece, join};
use crate::html::extract_main_text;
use crate::records::preference;
use crate::source::{Content, Reading, Source};
use crate::template::{Answer, FieldError, FieldPath};

/// A document as its source has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) locator: String,
    pub(crate) text: String,
    /// What the text is made of, where it is a dialogue.
    pub(crate) pieces: Vec<Piece>,
    pub(crate) url: Option<String>,
    pub(crate) label: Option<bool>,
    /// Why a labelled record says nothing that is true or false.
    pub(crate) unlabelled: Option<String>,
    /// What else its source says of it: `title`, `date`; and what was drawn for it.
    pub(crate) meta: Vec<(&'static str, String)>,
}

impl Found {
    /// Changes the text; of a dialogue each turn by itself, and nothing of what its template says.
    pub(crate) fn edit(&mut self, mut edit: impl FnMut(&str) -> Option<String>) {
        if self.pieces.is_empty() {
            self.text = edit(&self.text).unwrap_or_else(|| mem::take(&mut self.text));
            return;
        }
        for piece in self.pieces.iter_mut().filter(|piece| piece.part != Part::Words) {
            piece.text = edit(&piece.text).unwrap_or_else(|| mem::take(&mut piece.text));
        }
        self.text = join(&self.pieces);
    }

    /// Whether somebody's turn in a dialogue says nothing.
    pub(crate) fn has_empty_turn(&self) -> bool {
        self.pieces.iter().any(|piece| piece.part != Part::Words && piece.text.is_empty())
    }
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
        Payload::Bytes(bytes) => read_bytes(bytes, &locator, source, limits),
        Payload::Row(row) => read_fields(&row, &locator, source),
        Payload::Capture(capture) => read_capture(*capture, &locator, limits),
        Payload::Page(page, site) => read_page(&page, &site, &locator),
    });
    match found {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(what) => vec![Err(Bad { locator, what })],
    }
}

fn read_bytes(bytes: Vec<u8>, locator: &str, source: &Source, limits: &ReadLimits) -> Result<Vec<Found>, String> {
    let alone = |text| vec![Found { locator: locator.to_owned(), text, ..Found::default() }];
    let damaged_max = limits.damaged_chars_max.0;
    match &source.reading {
        Reading::Fields { .. } => {
            let line = utf8(bytes)?;
            let record =
                serde_json::from_str(line.trim_start_matches('\u{FEFF}')).map_err(|error| json_fault(&line, &error))?;
            read_fields(&record, locator, source)
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
        Reading::Text { separator: None } | Reading::Warc | Reading::Mediawiki => {
            decode_text(&bytes, None, None, damaged_max).map(alone).map_err(|error| error.to_string())
        }
    }
}

fn read_fields(record: &Value, locator: &str, source: &Source) -> Result<Vec<Found>, String> {
    let Reading::Fields { content, url, is_html, .. } = &source.reading else {
        unreachable!("only these formats have fields");
    };
    let url = url.as_ref().map(|url| url.render(record)).transpose().map_err(|error| error.to_string())?;
    let mut found = render(locator, record, content, source)?;
    for found in &mut found {
        found.url = url.clone().filter(|url| !url.is_empty());
        if *is_html {
            found.text = main_text(&mem::take(&mut found.text))?;
        }
    }
    Ok(found)
}

/// The documents of a record. A pair has two locators, since an id is made from each; what is drawn is drawn for the record,
/// so that both halves differ in nothing but the answer.
fn render(locator: &str, record: &Value, content: &Content, source: &Source) -> Result<Vec<Found>, String> {
    let fault = |error: FieldError| error.to_string();
    let alone = |text, label, meta| vec![Found { locator: locator.to_owned(), text, label, meta, ..Found::default() }];
    let draw = |n| source.draw("template", locator, n);
    match content {
        Content::Plain(texts) => {
            let index = draw(texts.n());
            let text = texts.all()[index].render(record).map_err(fault)?;
            Ok(alone(text, None, drawn_of(texts.n(), index)))
        }
        Content::Labelled { text: texts, label } => {
            let index = draw(texts.n());
            let text = texts.all()[index].render(record).map_err(fault)?;
            let label = label.boolean(record).map_err(fault)?;
            Ok(alone(text, Some(label), drawn_of(texts.n(), index)))
        }
        Content::Pair { true_text, false_text } => {
            let texts = [true_text.render(record).map_err(fault)?, false_text.render(record).map_err(fault)?];
            Ok(pair(locator, texts.map(|text| Found { text, ..Found::default() })))
        }
        Content::Answers { statements, label, answers } => {
            let [right, wrong] = match choose(record, (label, answers), |n| source.draw("wrong answer", locator, n))? {
                Ok(chosen) => chosen,
                // Published sets have some of these (-1 where people did not agree), so they are no bad records.
                Err(what) => {
                    let text = record.to_string();
                    let found = Found { unlabelled: Some(what), text, ..Found::default() };
                    return Ok(vec![Found { locator: locator.to_owned(), ..found }]);
                }
            };
            let index = draw(statements.len());
            let state = |(class, answer): (String, String)| {
                let text = statements[index].render(record, &answer).map_err(fault)?;
                let mut meta = drawn_of(statements.len(), index);
                meta.push(("answer", class));
                Ok::<_, String>(Found { text, meta, ..Found::default() })
            };
            Ok(pair(locator, [state(right)?, state(wrong)?]))
        }
        Content::Dialogue { records, templates, .. } => {
            let index = draw(templates.len());
            let pieces = templates[index].pieces(&records.turns(record)?)?;
            let (text, meta) = (join(&pieces), vec![number_of(index)]);
            Ok(vec![Found { locator: locator.to_owned(), text, pieces, meta, ..Found::default() }])
        }
        Content::Preference { templates } => {
            let index = draw(templates.len());
            let write = |is_better| {
                let pieces = templates[index].pieces(&preference(record, is_better)?)?;
                Ok::<_, String>(Found { text: join(&pieces), pieces, meta: vec![number_of(index)], ..Found::default() })
            };
            Ok(pair(locator, [write(true)?, write(false)?]))
        }
    }
}

/// Which template was drawn, counted from 1.
fn number_of(index: usize) -> (&'static str, String) {
    ("template", (index + 1).to_string())
}

/// The same, where there was more than one.
fn drawn_of(n: usize, index: usize) -> Vec<(&'static str, String)> {
    (n > 1).then(|| number_of(index)).into_iter().collect()
}

/// A true document and a false one.
fn pair(locator: &str, [right, wrong]: [Found; 2]) -> Vec<Found> {
    let half = |found, label: bool| Found { locator: format!("{locator}#{label}"), label: Some(label), ..found };
    vec![half(right, true), half(wrong, false)]
}

/// Class and words of an answer.
type Classed = (String, String);

/// The right answer, and one of the others; or why there are none. An answer that is empty or reads as the right one is no
/// wrong answer.
fn choose(
    record: &Value,
    (label, answers): (&FieldPath, &BTreeMap<String, Answer>),
    draw: impl FnOnce(usize) -> usize,
) -> Result<Result<[Classed; 2], String>, String> {
    let fault = |error: FieldError| error.to_string();
    let class = label.class(record).map_err(fault)?;
    let Some(right) = answers.get(&class) else {
        return Ok(Err(format!("field {:?} is {class:?}, which is none of answers", label.to_string())));
    };
    let Some(right) = right.render(record).map_err(fault)? else {
        return Ok(Err(format!("the right answer, {class:?}, is empty")));
    };
    let mut wrong = Vec::with_capacity(answers.len());
    for (other, answer) in answers.iter().filter(|(other, _)| **other != class) {
        let answer = answer.render(record).map_err(fault)?.filter(|answer| *answer != right);
        wrong.extend(answer.map(|answer| (other.clone(), answer)));
    }
    if wrong.is_empty() {
        return Ok(Err("has no wrong answer".into()));
    }
    let wrong = wrong.swap_remove(draw(wrong.len()));
    Ok(Ok([(class, right), wrong]))
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

/// serde_json counts lines inside the record, which matters only where it has more than one.
fn json_fault(record: &str, error: &serde_json::Error) -> String {
    let message = error.to_string();
    let what = message.split(" at line ").next().unwrap_or_default();
    let line = if record.trim_end().contains('\n') { format!("line {} of it, ", error.line()) } else { String::new() };
    format!("is not JSON at {line}column {}: {what}", error.column())
}
