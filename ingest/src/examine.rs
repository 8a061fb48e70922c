//! One record through everything that looks at it alone: reading, normalising, language, quality, fingerprint.
//!
//! The outcome is a function of the record and the settings, so records are examined in any order on any number of
//! threads. What compares documents with each other comes later, in [`crate::duplicates`].

use corpus::{DocId, Document, Dropped, Kind};
use serde_json::{Value, json};

use crate::config::{Content, IngestConfig, Reading, Source};
use crate::duplicates::{Fingerprint, fingerprint};
use crate::funnel::Funnel;
use crate::html::{decode_html, extract_main_text};
use crate::language::{Language, Unit, detect_language};
use crate::normalise::normalise;
use crate::read::{ReadLimits, Record};
use crate::rules::{Bound, Limit, Measures, measure};
use crate::run::{BadRecord, IngestError};

/// Names of the signals that come from the document alone, in the order of [`signals`].
const SIGNAL_NAMES: [&str; N_OWN_SIGNALS] = [
    "lang_confidence",
    "n_chars",
    "mean_word_length",
    "han_ratio",
    "punctuation_ratio",
    "duplicate_line_ratio",
    "top_ngram_ratio",
    "repeated_ngram_ratio",
];

/// Where the signals begin that come from the rest of the corpus.
pub(crate) const N_OWN_SIGNALS: usize = 8;

/// Documents that this one stands for: itself and those that repeat it.
pub(crate) const CLUSTER_SIZE: usize = 0;

/// Characters that were cut out because they stood in earlier documents.
pub(crate) const REPEATED_CHARS: usize = 1;

/// Characters of a dropped document that are kept to argue about.
const EXCERPT_CHARS: usize = 240;

/// Bad records of a shard that are listed; all are counted.
const BAD_LISTED: usize = 1000;

/// What became of one document.
#[derive(Debug)]
pub(crate) enum Examined {
    /// It may stay unless it repeats another one.
    Candidate(Box<Candidate>),
    /// It was dropped.
    Dropped(Box<Dropped>),
}

#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) document: Document,
    pub(crate) locator: String,
    pub(crate) fingerprint: Fingerprint,
}

/// What became of some records.
#[derive(Default)]
pub(crate) struct Examination {
    pub(crate) examined: Vec<Examined>,
    pub(crate) funnel: Funnel,
    pub(crate) n_bad: u64,
    /// The first of them.
    pub(crate) bad: Vec<BadRecord>,
}

/// The settings with whatever was made of them beforehand.
pub(crate) struct Examiner<'a> {
    pub(crate) config: &'a IngestConfig,
}

/// A document as its source has it.
struct Found {
    locator: String,
    text: String,
    url: Option<String>,
    label: Option<bool>,
}

/// The names of all rules, in the order in which a document meets them.
pub(crate) fn rule_names(config: &IngestConfig) -> Vec<String> {
    let measures = Measures::default();
    let mut names = vec!["unreadable", "empty", "too_long", "language", "language_confidence"];
    names.extend(config.english.limits(&measures).iter().map(|limit| limit.rule));
    names.extend(config.chinese.limits(&measures).iter().map(|limit| limit.rule));
    names.extend(["duplicates.url", "duplicates.exact", "duplicates.near", "duplicates.repeated"]);
    names.dedup();
    names.into_iter().map(str::to_owned).collect()
}

/// The names of all signals, in the order of [`Document::signals`].
pub(crate) fn signal_names(_: &IngestConfig) -> Vec<String> {
    SIGNAL_NAMES.into_iter().chain(["cluster_size", "repeated_chars"]).map(str::to_owned).collect()
}

/// The beginning of a text, on one line.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).map(|char| if char == '\n' { ' ' } else { char }).collect()
}

impl<'a> Examiner<'a> {
    pub(crate) fn new(config: &'a IngestConfig) -> Result<Self, IngestError> {
        Ok(Self { config })
    }

    /// In JSON a character takes up to 12 bytes (an escaped surrogate pair), and other fields and markup count too, so short
    /// documents are given room.
    pub(crate) fn read_limits(&self) -> ReadLimits {
        const ROOM: u64 = 16 << 20;
        let record_bytes_max = self.config.document_chars_max.saturating_mul(12).max(ROOM);
        ReadLimits { record_bytes_max: usize::try_from(record_bytes_max).unwrap_or(usize::MAX / 2) }
    }

    /// Examines records, each given with the number of its source.
    pub(crate) fn examine_all(&self, records: Vec<(usize, Record)>, sources: &[Source]) -> Examination {
        let mut examination = Examination::default();
        for (source, record) in records {
            let source = &sources[source];
            let locator = record.locator;
            match record.bytes.and_then(|bytes| read_documents(&locator, bytes, &source.reading)) {
                Ok(found) => found.into_iter().for_each(|found| examination.add(found, source, self.config)),
                Err(what) => examination.add_bad(locator, what, source),
            }
        }
        examination
    }
}

impl Examination {
    fn add(&mut self, found: Found, source: &Source, config: &IngestConfig) {
        self.funnel.count_in(&source.name);
        let examined = examine_document(found, source, config, &mut self.funnel);
        if let Examined::Dropped(dropped) = &examined {
            self.funnel.count_dropped(dropped);
        }
        self.examined.push(examined);
    }

    fn add_bad(&mut self, locator: String, what: String, source: &Source) {
        self.n_bad += 1;
        if self.bad.len() < BAD_LISTED {
            self.bad.push(BadRecord { source: source.name.clone(), locator: locator.clone(), what: what.clone() });
        }
        self.funnel.count_in(&source.name);
        let found = Found { locator, text: String::new(), url: None, label: None };
        let examined = refuse(&found, source, "unknown", "unreadable", what);
        if let Examined::Dropped(dropped) = &examined {
            self.funnel.count_dropped(dropped);
        }
        self.examined.push(examined);
    }
}

fn examine_document(mut found: Found, source: &Source, config: &IngestConfig, funnel: &mut Funnel) -> Examined {
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
    let unit = Unit::of(language.code);
    let measures = measure(&found.text, unit);
    let quality = match (source.kind, language.code) {
        (Kind::Plain, "en") => config.english.limits(&measures),
        (Kind::Plain, "zh") => config.chinese.limits(&measures),
        _ => Vec::new(),
    };
    let limits: Vec<Limit> = std::iter::once(confidence).chain(quality).collect();
    if let Some(limit) = limits.iter().find(|limit| limit.is_broken()) {
        return refuse(&found, source, language.code, limit.rule, limit.to_string());
    }
    let fingerprint = fingerprint(&found.text, language.code, source.kind, None, &config.duplicates);
    let document = document(&found, source, &language, &measures);
    funnel.note_passed(&document, &found.locator, &limits, &excerpt(&found.text));
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
    let own: [f64; N_OWN_SIGNALS] = [
        language.confidence,
        measures.n_chars as f64,
        measures.mean_word_length,
        measures.han_ratio,
        measures.punctuation_ratio,
        measures.duplicate_line_ratio,
        measures.top_ngram_ratio,
        measures.repeated_ngram_ratio,
    ];
    // Of the signals that come from the rest of the corpus nothing is known yet.
    own.into_iter().chain([1.0, 0.0]).map(|signal| signal as f32).collect()
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
        excerpt: excerpt(&found.text),
    };
    Examined::Dropped(Box::new(dropped))
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
