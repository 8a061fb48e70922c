//! Which documents are worth training on?
//!
//! Sources (JSON lines, tables, web pages, crawl archives, wiki dumps, text) become `documents/`: repaired, in an accepted
//! language, of a quality that was asked for, each once. What does not get there leaves a row in `dropped/` that says which rule took it and on what
//! evidence, so that any drop can be argued with.
//!
//! A record passes, in this order: reading (an unreadable one is counted, and an error beyond a limit), main text where
//! it is a web page ([`extract_main_text`]), Unicode repair ([`fn@normalise`]), length, language ([`detect_language`]), the
//! quality rules of its language ([`judge`], [`EnglishRules`], [`ChineseRules`]), then duplicates
//! ([`Duplicates`]). English and Chinese have rules, shingles and thresholds of their own everywhere.
//!
//! ```
//! let language = ingest::detect_language("竹子先长根，后长高。");
//! assert_eq!(language.code, "zh");
//! assert_eq!(ingest::normalise("donâ€™t\u{200B} panic"), "don’t panic");
//! ```
//!
//! Invariants:
//! - nothing is dropped without a row in `dropped/`, and `n_in == n_kept + n_dropped`;
//! - the same bytes come out for any number of threads;
//! - a near duplicate is dropped only after its similarity to a kept document was computed, never on a sketch's word;
//! - of a true proposition and its false twin, neither stays without the other;
//! - ingest never sees a token id and reads neither clock nor environment; what is drawn for a record (which template, which
//!   wrong answer) is a function of the run's seed and the record's place.

mod config;
mod fold;
mod source;
mod template;

mod dialogue;
mod records;

mod boilerplate;
mod html;
mod language;
mod misreading;
mod normalise;
mod privacy;
mod read;
mod simplified;

mod classifier;
mod decontaminate;
mod duplicates;
mod fasttext;
mod model_file;
mod models;
mod perplexity;
mod rules;
mod urls;

mod examine;
mod explain;
mod funnel;
#[doc(hidden)]
pub mod fuzz;
mod preview;
mod run;

#[cfg(test)]
mod tests;

pub use classifier::{
    Classifier, ClassifierError, ClassifierSettings, ClassifierSource, ClassifierTraining, Judge, train_classifier,
};
pub use config::{ChineseRules, ChineseScript, ConfigError, EnglishRules, IngestConfig, NotNegative, RawIngest};
pub use decontaminate::{
    Coverage, Decontamination, Decontaminator, EvaluationError, EvaluationItem, EvaluationSet, Hit, read_items,
};
pub use dialogue::{DialogueTemplate, Loss};
pub use duplicates::{
    Duplicates, Fingerprint, NearDuplicates, RepeatedPieces, RepeatedSpans, Repeats, band_keys, fingerprint, proposed,
    shingles,
};
pub use explain::explain;
pub use fasttext::FastText;
pub use html::{HtmlError, Page, extract_main_text, extract_page};
pub use language::{Language, Script, Shares, Unit, detect_language};
pub use model_file::ModelError;
pub use models::TrainingError;
pub use normalise::{Normalise, Normalised, UnicodeForm, normalise, normalise_with};
pub use perplexity::{
    Bucket, PerplexityError, PerplexityModel, PerplexitySettings, PerplexityTraining, train_perplexity,
};
pub use preview::{Preview, PreviewError, Shown, preview};
pub use privacy::{Privacy, Private, PrivateCounts, PrivateSpan, find_private, replace_private};
pub use read::{ReadError, ReadLimits};
pub use records::Layout;
pub use rules::{
    Bound, C4, C4Measures, ChineseLines, ChineseQuality, ChineseRepetition, ChineseSpam, FineWeb, GopherQuality,
    GopherRepetition, Judgement, Limit, LineMeasures, Measures, QUALITY_SIGNALS, Repetition, Rules, Scope, Scratch,
    SpamMeasures, judge, signals,
};
pub use run::{IngestError, Progress, Tell, ingest_parents, run};
pub use source::{Content, FieldsFormat, RawSource, Reading, Source, resolve_sources};
pub use template::{Answer, FieldError, FieldPath, Statement, Template, TemplateError, Templates, TurnText};
pub use urls::{BlockedUrls, BlockedUrlsError, Urls, normalise_url, url_key};
