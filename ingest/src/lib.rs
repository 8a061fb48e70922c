//! Which documents are worth training on?
//!
//! Sources (JSON lines, text, web pages) become `documents/`: repaired, in an accepted language, of a quality that was
//! asked for, each once. What does not get there leaves a row in `dropped/` that says which rule took it and on what
//! evidence, so that any drop can be argued with.
//!
//! A record passes, in this order: reading (an unreadable one is counted, and an error beyond a limit), main text where
//! it is a web page ([`extract_main_text`]), Unicode repair ([`fn@normalise`]), length, language ([`detect_language`]), the
//! quality rules of its language ([`measure`], [`EnglishRules::limits`], [`ChineseRules::limits`]), then duplicates
//! ([`find_duplicates`]). English and Chinese have rules, shingles and thresholds of their own everywhere.
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
//! - ingest never sees a token id, draws no random number and reads neither clock nor environment.

mod config;
mod template;

mod html;
mod language;
mod ngrams;
mod normalise;
mod read;

mod duplicates;
mod rules;

mod examine;
mod explain;
mod funnel;
mod run;

#[cfg(test)]
mod tests;

pub use config::{
    ChineseRules, ChineseScript, ConfigError, Content, Duplicates, EnglishRules, IngestConfig, NearDuplicates,
    NotNegative, RawIngest, RawSource, Reading, Source, resolve_sources,
};
pub use duplicates::{Duplicate, Fingerprint, find_duplicates, fingerprint};
pub use explain::explain;
pub use html::{HtmlError, decode_html, extract_main_text};
pub use language::{Language, Script, Shares, Unit, detect_language};
pub use normalise::normalise;
pub use read::ReadError;
pub use rules::{Bound, Limit, Measures, measure};
pub use run::{IngestError, Progress, run, source_parents};
pub use template::{FieldError, FieldPath, Template, TemplateError};
