//! One record through everything that looks at it alone: reading, normalising, language, quality, fingerprint.
//!
//! The outcome is a function of the record and the settings, so records are examined in any order on any number of
//! threads. What compares documents with each other comes later, in [`crate::duplicates`].

use std::borrow::Cow;
use std::cell::RefCell;

use corpus::{DocId, Document, Dropped, Kind};
use serde_json::{Value, json};

use crate::config::{Content, IngestConfig, Reading, Source};
use crate::duplicates::{Fingerprint, fingerprint_units};
use crate::html::{decode_html, extract_main_text};
use crate::language::{Language, Unit, detect_language};
use crate::ngrams::Units;
use crate::normalise::normalise;
use crate::read::Record;
use crate::rules::{Bound, Limit, Measures, QUALITY_SIGNALS, Rules, Scope, Scratch, judge};

thread_local! {
    /// Memory of the rules, used again for every document of a thread.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Names of the quality signals, in the order of [`signals`].
pub(crate) const SIGNAL_NAMES: [&str; 1 + QUALITY_SIGNALS.len()] = {
    let mut names = ["lang_confidence"; 1 + QUALITY_SIGNALS.len()];
    let mut index = 0;
    while index < QUALITY_SIGNALS.len() {
        names[index + 1] = QUALITY_SIGNALS[index];
        index += 1;
    }
    names
};

/// Characters of a dropped document that are kept to argue about.
const EXCERPT_CHARS: usize = 160;

/// What became of one document.
#[derive(Debug)]
pub(crate) enum Examined {
    /// It may stay unless it repeats another one.
    Candidate(Box<Candidate>),
    /// It was dropped.
    Dropped(Box<Refused>),
}

#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) document: Document,
    pub(crate) locator: String,
    pub(crate) fingerprint: Fingerprint,
}

/// A dropped document with the beginning of its text.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) dropped: Dropped,
    pub(crate) excerpt: String,
}

/// A document as its source has it.
struct Found {
    locator: String,
    text: String,
    url: Option<String>,
    label: Option<bool>,
}

/// The names of all rules, in the order in which a document meets them.
pub(crate) fn rule_names(config: &IngestConfig) -> Vec<&'static str> {
    let mut names = vec!["unreadable", "empty", "too_long", "language", "language_confidence"];
    for language in &config.languages {
        names.extend(config.rules(language).limits().iter().map(|limit| limit.rule));
    }
    names.extend(["duplicates.exact", "duplicates.near"]);
    names.dedup();
    names
}

/// The beginning of a text, on one line.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).map(|char| if char == '\n' { ' ' } else { char }).collect()
}

/// Examines a record. An unreadable one gives a single dropped document.
pub(crate) fn examine(record: Record, source: &Source, config: &IngestConfig) -> Vec<Examined> {
    let locator = record.locator;
    let found = record.bytes.and_then(|bytes| read_documents(&locator, bytes, &source.reading));
    match found {
        Ok(found) => found.into_iter().map(|found| examine_document(found, source, config)).collect(),
        Err(what) => {
            let found = Found { locator, text: String::new(), url: None, label: None };
            vec![refuse(&found, source, "unknown", "unreadable", what)]
        }
    }
}

fn examine_document(mut found: Found, source: &Source, config: &IngestConfig) -> Examined {
    found.text = normalise(&found.text);
    if found.text.is_empty() {
        return refuse(&found, source, "unknown", "empty", "nothing is left to read".into());
    }
    let n_chars = found.text.chars().count();
    let length = Limit { rule: "too_long", value: n_chars as f64, bound: Bound::Max(config.document_chars_max as f64) };
    if length.is_broken() {
        return refuse(&found, source, "unknown", length.rule, length.to_string());
    }
    let language = detect_language(&found.text);
    if !config.languages.iter().any(|accepted| accepted == language.code) {
        let detail =
            format!("{} at {:.3}, accepted {}", language.code, language.confidence, config.languages.join(", "));
        return refuse(&found, source, language.code, "language", detail);
    }
    let confidence = Limit {
        rule: "language_confidence",
        value: language.confidence,
        bound: Bound::Min(config.language_confidence_min),
    };
    if confidence.is_broken() {
        return refuse(&found, source, language.code, confidence.rule, confidence.to_string());
    }
    let rules = match source.kind {
        Kind::Plain => config.rules(language.code),
        Kind::Instruction | Kind::Proposition => Rules::Unjudged(Unit::of(language.code)),
    };
    let judgement = SCRATCH.with_borrow_mut(|scratch| judge(&found.text, rules, Scope::UntilBroken, scratch));
    if let Some(limit) = judgement.broken() {
        return refuse(&found, source, language.code, limit.rule, limit.to_string());
    }
    let measures = judgement.measures;
    if let Cow::Owned(edited) = judgement.text {
        found.text = edited;
    }
    let units = Units::new(&found.text, Unit::of(language.code));
    let fingerprint = fingerprint_units(&found.text, &units, language.code, source.kind, &config.duplicates);
    let document = document(&found, source, &language, &measures);
    Examined::Candidate(Box::new(Candidate {
        document: Document { text: found.text, url: found.url, ..document },
        locator: found.locator,
        fingerprint,
    }))
}

/// The document without its text and address, which the caller moves in.
fn document(found: &Found, source: &Source, language: &Language, measures: &Measures) -> Document {
    let mut meta = json!({ "locator": found.locator });
    if let Some(script) = language.script {
        meta["script"] = json!(script.as_str());
    }
    Document {
        id: DocId::new(&source.name, &found.locator),
        text: String::new(),
        lang: language.code.to_owned(),
        source: source.name.clone(),
        kind: source.kind,
        url: None,
        license: source.license.clone(),
        label: found.label,
        meta: meta.to_string(),
        signals: signals(language, measures),
    }
}

fn signals(language: &Language, measures: &Measures) -> Vec<f32> {
    let signals = std::iter::once(language.confidence).chain(crate::rules::signals(measures));
    signals.map(|signal| signal as f32).collect()
}

fn refuse(found: &Found, source: &Source, lang: &str, rule: &str, detail: String) -> Examined {
    let dropped = Dropped {
        id: DocId::new(&source.name, &found.locator),
        source: source.name.clone(),
        locator: found.locator.clone(),
        lang: lang.to_owned(),
        kind: source.kind,
        rule: rule.to_owned(),
        detail,
    };
    Examined::Dropped(Box::new(Refused { dropped, excerpt: excerpt(&found.text) }))
}

fn read_documents(locator: &str, bytes: Vec<u8>, reading: &Reading) -> Result<Vec<Found>, String> {
    let alone = |text| vec![Found { locator: locator.to_owned(), text, url: None, label: None }];
    match reading {
        Reading::Text { .. } => utf8(bytes).map(alone),
        Reading::Html => main_text(decode_html(&bytes)).map(alone),
        Reading::Jsonl { content, url, is_html } => {
            let line = utf8(bytes)?;
            let record =
                serde_json::from_str(line.trim_start_matches('\u{FEFF}')).map_err(|error| json_fault(&error))?;
            let url = url.as_ref().map(|url| url.render(&record)).transpose().map_err(|error| error.to_string())?;
            let mut found = render(locator, &record, content)?;
            for found in &mut found {
                found.url = url.clone().filter(|url| !url.is_empty());
                if *is_html {
                    found.text = main_text(Ok(std::mem::take(&mut found.text)))?;
                }
            }
            Ok(found)
        }
    }
}

/// The documents of a JSON record. A pair has two locators, since an id is made from each.
fn render(locator: &str, record: &Value, content: &Content) -> Result<Vec<Found>, String> {
    let found = |text, locator: String, label| Found { locator, text, url: None, label };
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

fn main_text(html: Result<String, crate::html::HtmlError>) -> Result<String, String> {
    html.and_then(|html| extract_main_text(&html)).map_err(|error| error.to_string())
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
