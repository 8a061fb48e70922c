//! What one rule would do, before anyone commits to it.
//!
//! Nothing is written. Every document that gets as far as a language is asked this one rule, whatever the other rules say of
//! it. Shown are documents that it would drop (a fair sample: those with the smallest ids) and documents that only just pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use corpus::DocId;
use rayon::prelude::*;
use thiserror::Error;

use crate::config::IngestConfig;
use crate::examine::{Answer, Examiner, UNPAIRED, excerpt, rule_names};
use crate::read::{Bad, Found, RecordReader, list_files, read_documents};
use crate::rules::Scratch;
use crate::run::{IngestError, Progress, Tell};
use crate::source::Source;

/// Documents that get so near to a limit have only just passed.
const NEAR: f64 = 0.5;

/// Why a rule cannot be shown alone.
#[derive(Debug, Error)]
pub enum PreviewError {
    /// No rule of the run file has this name.
    #[error("the run file has no rule {rule:?}; it has {}", known.join(", "))]
    Unknown {
        /// The name.
        rule: String,
        /// All names.
        known: Vec<String>,
    },
    /// The rule compares documents with each other.
    #[error(
        "{rule} compares documents with each other, so it cannot be shown without a run: run `moso ingest`, then \
         `moso inspect OUT/dropped --rule {rule} --rows 50`"
    )]
    NotAlone {
        /// The rule.
        rule: String,
    },
    /// The sources or settings cannot be used, or the caller asked to stop.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

/// What a rule would do.
#[derive(Debug, Default)]
pub struct Preview {
    /// Documents in the sources.
    pub n_documents: u64,
    /// Those the rule was asked of.
    pub n_asked: u64,
    /// Those it would drop.
    pub n_dropped: u64,
    /// Some of them.
    pub dropped: Vec<Shown>,
    /// Those nearest to the limit among the others.
    pub passed: Vec<Shown>,
}

/// A document to look at.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its source.
    pub source: String,
    /// File and record.
    pub locator: String,
    /// Its language.
    pub lang: String,
    /// The measured value and the limit.
    pub detail: String,
    /// The beginning of its text.
    pub text: String,
}

/// Asks `rule` of all documents; `n_samples` of each kind are shown.
pub fn preview(
    sources: &[Source],
    config: &IngestConfig,
    rule: &str,
    n_samples: usize,
    tell: Tell<'_>,
) -> Result<Preview, PreviewError> {
    let known = rule_names(config);
    if !known.iter().any(|name| name == rule) {
        return Err(PreviewError::Unknown { rule: rule.to_owned(), known });
    }
    if rule.starts_with("duplicates.") || rule == UNPAIRED {
        return Err(PreviewError::NotAlone { rule: rule.to_owned() });
    }
    let examiner = Examiner::new(config)?;
    let mut asked = Asked::default();
    let n_bytes_read = Arc::new(AtomicU64::new(0));
    for source in sources {
        let files = list_files(source).map_err(IngestError::from)?;
        let mut reader = RecordReader::new(source, files, config.reading, Arc::clone(&n_bytes_read));
        loop {
            let batch = reader.next_batch().map_err(IngestError::from)?;
            if batch.is_empty() {
                break;
            }
            let read = |record| read_documents(record, source, &config.reading);
            let ask = |found: Result<Found, Bad>| match found {
                Ok(found) => (found.locator.clone(), examiner.ask(rule, found, source, &mut Scratch::default())),
                Err(Bad { locator, what }) if rule == "unreadable" => {
                    (locator, Answer::Drops { lang: "unknown".into(), detail: what, text: String::new() })
                }
                Err(Bad { locator, .. }) => (locator, Answer::NotAsked),
            };
            let answers: Vec<_> = batch.into_par_iter().flat_map_iter(read).map(ask).collect();
            answers.into_iter().for_each(|(locator, answer)| asked.take(source, locator, answer));
            asked.keep(n_samples);
            let n_done = n_bytes_read.load(Ordering::Relaxed);
            let at = Progress { phase: "reading", n_done, n_all: 0, n_documents: asked.preview.n_documents };
            if tell(at).is_break() {
                return Err(IngestError::Interrupted.into());
            }
        }
    }
    Ok(Preview {
        dropped: asked.dropped.into_values().collect(),
        passed: asked.passed.into_values().collect(),
        ..asked.preview
    })
}

/// What has been asked so far.
#[derive(Default)]
struct Asked {
    preview: Preview,
    dropped: BTreeMap<DocId, Shown>,
    /// By distance from the limit: the bits of a number that is not negative are in its order.
    passed: BTreeMap<(u64, DocId), Shown>,
}

impl Asked {
    fn take(&mut self, source: &Source, locator: String, answer: Answer) {
        self.preview.n_documents += 1;
        let id = DocId::new(&source.name, &locator);
        let show = |lang: String, detail: String, text: &str| Shown {
            source: source.name.clone(),
            locator,
            lang,
            detail,
            text: excerpt(text),
        };
        self.preview.n_asked += u64::from(!matches!(answer, Answer::NotAsked));
        match answer {
            Answer::Drops { lang, detail, text } => {
                self.preview.n_dropped += 1;
                self.dropped.insert(id, show(lang, detail, &text));
            }
            Answer::Passes { lang, limit, text } if limit.distance() <= NEAR => {
                let distance = limit.distance().to_bits();
                self.passed.insert((distance, id), show(lang.to_owned(), limit.to_string(), &text));
            }
            Answer::Passes { .. } | Answer::NotAsked => {}
        }
    }

    fn keep(&mut self, n_samples: usize) {
        while self.dropped.len() > n_samples {
            self.dropped.pop_last();
        }
        while self.passed.len() > n_samples {
            self.passed.pop_last();
        }
    }
}
