//! `[ingest]` of the run file, as written (`Raw…`) and as checked; for `[[source]]` see [`crate::source`].
//!
//! Every threshold is required: a default nobody wrote down would change results without a trace. A range check sits
//! on the field's own type, so that the message keeps its line of the run file; what needs two fields is checked in
//! `TryFrom`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use corpus::{ByteSize, Count, Share};
use serde::de::{Deserializer, Error as _, Unexpected};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::classifier::ClassifierSettings;
use crate::decontaminate::Decontamination;
use crate::duplicates::Duplicates;
use crate::language::Unit;
use crate::normalise::Normalise;
use crate::perplexity::PerplexitySettings;
use crate::privacy::Privacy;
use crate::read::ReadLimits;
use crate::rules::Rules;
pub use crate::rules::{ChineseRules, EnglishRules};
use crate::urls::Urls;

/// Hash functions a document's sketch may have; beyond this, sketches outweigh the texts.
const HASHES_MAX: u32 = 1024;

/// Characters a document may have at most: its pieces are numbered in 26 bits.
const DOCUMENT_CHARS_MAX: u64 = 50_000_000;

/// Below this a shard at work and the buffers of a sort don't fit.
const MEMORY_MIN: u64 = 256 << 20;

/// `[ingest]`, checked. Its JSON form is hashed into the manifest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IngestConfig {
    /// Accepted languages.
    pub languages: Vec<String>,
    /// Least confidence of the language found.
    pub language_confidence_min: f64,
    /// What to do with Traditional Chinese.
    pub chinese_script: ChineseScript,
    /// Which documents the quality signals are measured of.
    pub measured: Measured,
    /// Unreadable records that are put up with.
    pub bad_records_max: u64,
    /// Longer documents are dropped.
    pub document_chars_max: u64,
    /// Accepted languages whose documents are measured only.
    pub unjudged_languages: Vec<String>,
    /// Quality rules for plain English, where it is accepted and judged.
    pub english: Option<EnglishRules>,
    /// Quality rules for plain Chinese, where it is accepted and judged.
    pub chinese: Option<ChineseRules>,
    /// What reading puts up with.
    pub reading: ReadLimits,
    /// Addresses that are not wanted; left out, all are taken.
    pub urls: Option<Urls>,
    /// How texts are repaired.
    pub normalise: Normalise,
    /// Classifiers by language; their scores are columns, and filters where they have a least one.
    pub classifier: BTreeMap<String, ClassifierSettings>,
    /// Models of perplexity by language; their values are columns, and filters where they have a greatest one.
    pub perplexity: BTreeMap<String, PerplexitySettings>,
    /// What is replaced by a placeholder; left out, nothing is.
    pub privacy: Option<Privacy>,
    /// Evaluation items that documents must not hold; left out, none are looked for.
    pub decontamination: Option<Decontamination>,
    /// What counts as a duplicate.
    pub duplicates: Duplicates,
    /// Bytes of memory that may be used. Cannot change results, so it is not among the settings of the manifest.
    #[serde(skip)]
    pub memory: u64,
}

/// What to do with Traditional Chinese.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChineseScript {
    /// Both scripts stay as they are.
    Keep,
    /// Documents in Traditional characters are turned into Simplified ones.
    Simplified,
}

/// Which documents the quality signals are measured of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measured {
    /// All that are looked at, instructions and languages without rules too: their signals are there to weigh them by.
    All,
    /// Those that rules judge. The signals of all others are NaN; half of the time is saved where there are only others.
    Judged,
}

/// A finite number that is zero or more.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub struct NotNegative(pub f64);

/// `[ingest]` as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawIngest {
    languages: Vec<LanguageCode>,
    language_confidence_min: Share,
    chinese_script: ChineseScript,
    measured: Measured,
    bad_records_max: Count,
    document_chars_max: Count,
    memory: ByteSize,
    #[serde(default)]
    unjudged_languages: Vec<LanguageCode>,
    english: Option<EnglishRules>,
    chinese: Option<ChineseRules>,
    reading: ReadLimits,
    urls: Option<Urls>,
    normalise: Normalise,
    #[serde(default)]
    classifier: BTreeMap<String, ClassifierSettings>,
    #[serde(default)]
    perplexity: BTreeMap<String, PerplexitySettings>,
    privacy: Option<Privacy>,
    decontamination: Option<Decontamination>,
    duplicates: Duplicates,
}

/// Settings that contradict each other, or that are missing because of what another one says.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Two sources of one name.
    #[error("two sources are called {name:?}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A key that this kind of source does not have.
    #[error("source {name:?}: {key} is only for {only_for}")]
    NotApplicable {
        /// The source.
        name: String,
        /// The key.
        key: &'static str,
        /// Where it belongs.
        only_for: &'static str,
    },
    /// Templates, statements or answers of which there are too few to do what they are for.
    #[error("source {name:?}: {key} must hold at least {least}")]
    TooFew {
        /// The source.
        name: String,
        /// The key.
        key: &'static str,
        /// How many there must be.
        least: usize,
    },
    /// A dialogue that is to be judged, with nothing at its end that says what is judged.
    #[error("source {name:?}: each of templates needs an end, which says what it is that is true or false")]
    NoEnd {
        /// The source.
        name: String,
    },
    /// A key that this kind of source must have.
    #[error("source {name:?}: {key} is missing")]
    Missing {
        /// The source.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// No language, or one language twice.
    #[error("ingest.languages must name each accepted language once")]
    Languages,
    /// A language that is accepted, and for which nothing was said of its quality.
    #[error(
        "ingest.languages accepts {language:?}, and nothing judges its documents: {}",
        match section {
            Some(section) => format!(
                "write a set of rules under [ingest.{section}], or name the language in ingest.unjudged_languages"
            ),
            None => "there are no rules for it, so name it in ingest.unjudged_languages to take it as it is".to_owned(),
        }
    )]
    NotJudged {
        /// The language.
        language: String,
        /// Where its rules would stand, where there are any.
        section: Option<&'static str>,
    },
    /// Rules, or leave to do without, for a language that isn't accepted.
    #[error("{key} is about {language:?}, which ingest.languages does not accept")]
    NotAccepted {
        /// The key.
        key: &'static str,
        /// The language.
        language: String,
    },
    /// A language that is to be judged and not to be judged.
    #[error("ingest.unjudged_languages names {language:?}, which [ingest.{section}] has rules for")]
    JudgedAndNot {
        /// The language.
        language: String,
        /// Where its rules stand.
        section: &'static str,
    },
    /// A limit that no document keeps.
    #[error("ingest.{key}_min is above ingest.{key}_max")]
    Crossed {
        /// The key without its ending.
        key: &'static str,
    },
    /// A limit at zero, which drops everything, or beyond what a document may have.
    #[error("ingest.document_chars_max must lie between 1 and {}", Count(DOCUMENT_CHARS_MAX))]
    Characters,
    /// Too little to hold a shard at each step.
    #[error("ingest.memory must be at least {}", ByteSize(MEMORY_MIN))]
    Memory,
    /// Too many hashes.
    #[error("ingest.duplicates.near: {bands} bands of {rows} rows are more than {HASHES_MAX} hashes")]
    Hashes {
        /// Bands.
        bands: u32,
        /// Rows.
        rows: u32,
    },
}

#[derive(Clone, Debug)]
struct LanguageCode(String);

impl TryFrom<RawIngest> for IngestConfig {
    type Error = ConfigError;

    fn try_from(raw: RawIngest) -> Result<Self, ConfigError> {
        let RawIngest {
            languages,
            language_confidence_min: Share(language_confidence_min),
            chinese_script,
            measured,
            bad_records_max: Count(bad_records_max),
            document_chars_max: Count(document_chars_max),
            memory: ByteSize(memory),
            unjudged_languages,
            english,
            chinese,
            reading,
            urls,
            normalise,
            classifier,
            perplexity,
            privacy,
            decontamination,
            duplicates,
        } = raw;
        let languages: Vec<String> = languages.into_iter().map(|LanguageCode(code)| code).collect();
        let n_different = languages.iter().collect::<BTreeSet<_>>().len();
        if languages.is_empty() || n_different != languages.len() {
            return Err(ConfigError::Languages);
        }
        for language in classifier.keys().chain(perplexity.keys()) {
            if !languages.contains(language) {
                let language = language.clone();
                return Err(ConfigError::NotAccepted { key: "ingest.classifier or ingest.perplexity", language });
            }
        }
        if document_chars_max == 0 || document_chars_max > DOCUMENT_CHARS_MAX {
            return Err(ConfigError::Characters);
        }
        if memory < MEMORY_MIN {
            return Err(ConfigError::Memory);
        }
        let unjudged_languages: Vec<String> = unjudged_languages.into_iter().map(|LanguageCode(code)| code).collect();
        check_judged(&languages, &unjudged_languages, english.as_ref(), chinese.as_ref())?;
        let crossed = english.as_ref().and_then(EnglishRules::crossed);
        if let Some(key) = crossed.or_else(|| chinese.as_ref().and_then(ChineseRules::crossed)) {
            return Err(ConfigError::Crossed { key });
        }
        check_sketches(&duplicates)?;
        Ok(Self {
            languages,
            language_confidence_min,
            chinese_script,
            measured,
            bad_records_max,
            document_chars_max,
            unjudged_languages,
            english,
            chinese,
            reading,
            urls,
            normalise,
            classifier,
            perplexity,
            privacy,
            decontamination,
            duplicates,
            memory,
        })
    }
}

impl IngestConfig {
    /// The same settings with every path reckoned from `folder`, the one the run file lies in.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        self.files_mut().into_iter().for_each(|path| *path = folder.join(&path));
        self
    }

    /// The files and folders that results depend on beside the sources.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.clone().files_mut().into_iter().map(|path| path.clone()).collect()
    }

    fn files_mut(&mut self) -> Vec<&mut PathBuf> {
        let blocked = self.urls.iter_mut().map(|urls| &mut urls.blocked);
        let sets = self.decontamination.iter_mut().flat_map(|it| &mut it.sets).map(|set| &mut set.path);
        let judges = self.classifier.values_mut();
        let texts = judges.flat_map(|it| [&mut it.positive, &mut it.negative, &mut it.fasttext]).flatten();
        let references = self.perplexity.values_mut().map(|it| &mut it.reference);
        blocked.chain(sets).chain(texts).chain(references).collect()
    }

    /// What judges plain documents of a language.
    pub fn rules(&self, language: &str) -> Rules<'_> {
        match (language, &self.english, &self.chinese) {
            ("en", Some(english), _) => Rules::English(english),
            ("zh", _, Some(chinese)) => Rules::Chinese(chinese),
            _ => Rules::Unjudged(Unit::of(language)),
        }
    }
}

fn check_sketches(duplicates: &Duplicates) -> Result<(), ConfigError> {
    let Some(near) = &duplicates.near else { return Ok(()) };
    let (bands, rows) = (near.bands.get(), near.rows.get());
    match bands.checked_mul(rows) {
        Some(..=HASHES_MAX) => Ok(()),
        _ => Err(ConfigError::Hashes { bands, rows }),
    }
}

/// Every accepted language either has rules or is said to do without; nothing else does.
fn check_judged(
    languages: &[String],
    unjudged: &[String],
    english: Option<&EnglishRules>,
    chinese: Option<&ChineseRules>,
) -> Result<(), ConfigError> {
    let sections = [
        ("en", "english", english.is_some(), english.is_some_and(|rules| !rules.is_empty())),
        ("zh", "chinese", chinese.is_some(), chinese.is_some_and(|rules| !rules.is_empty())),
    ];
    for (language, section, is_there, _) in sections {
        if is_there && !languages.iter().any(|accepted| accepted == language) {
            let key = if section == "english" { "ingest.english" } else { "ingest.chinese" };
            return Err(ConfigError::NotAccepted { key, language: language.into() });
        }
    }
    if let Some(language) = unjudged.iter().find(|language| !languages.contains(language)) {
        return Err(ConfigError::NotAccepted { key: "ingest.unjudged_languages", language: language.clone() });
    }
    for language in languages {
        let section = sections.iter().find(|(code, ..)| code == language);
        let has_rules = section.is_some_and(|&(_, _, _, has_rules)| has_rules);
        let section = section.map(|&(_, section, _, _)| section);
        match (has_rules, unjudged.contains(language)) {
            (false, false) => return Err(ConfigError::NotJudged { language: language.clone(), section }),
            (true, true) => {
                let section = section.expect("only a section has rules");
                return Err(ConfigError::JudgedAndNot { language: language.clone(), section });
            }
            _ => {}
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for NotNegative {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if value.is_finite() && value >= 0.0 {
            Ok(Self(value))
        } else {
            Err(D::Error::invalid_value(Unexpected::Float(value), &"a finite number of at least 0"))
        }
    }
}

impl<'de> Deserialize<'de> for LanguageCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Err(D::Error::invalid_value(Unexpected::Str(&code), &"a code of two letters such as en"));
        }
        Ok(Self(code))
    }
}
