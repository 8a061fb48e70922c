//! Models that score documents, made before the first record is read: classifiers and perplexity models by language.
//!
//! They are trained again by every run that uses them, which takes seconds, so there is nothing that could be stale. What they
//! are trained on goes through the same repair as every document.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use corpus::Seed;
use thiserror::Error;

use crate::classifier::{ClassifierError, ClassifierSource, Judge, train_classifier};
use crate::config::{IngestConfig, NotNegative};
use crate::decontaminate::open_lines;
use crate::language::Unit;
use crate::model_file::ModelError;
use crate::normalise::normalise_with;
use crate::perplexity::{PerplexityError, PerplexityModel, train_perplexity};
use crate::rules::{Bound, Limit};

/// Names of the columns, where models are asked for.
pub(crate) const CLASSIFIER: &str = "classifier";
pub(crate) const PERPLEXITY: [&str; 2] = ["perplexity", "perplexity_bucket"];

/// Names of the rules.
pub(crate) const CLASSIFIER_RULE: &str = "classifier.score";
pub(crate) const PERPLEXITY_RULE: &str = "perplexity.value";

/// A model that cannot be made.
#[derive(Debug, Error)]
pub enum TrainingError {
    /// A file of texts.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A line of JSON lines without a text.
    #[error("{}:{line} is not a JSON object with a field \"text\"", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Texts or settings of a classifier.
    #[error("ingest.classifier.{language}")]
    Classifier {
        /// The language.
        language: String,
        /// What is wrong.
        source: ClassifierError,
    },
    /// Texts or settings of a perplexity model.
    #[error("ingest.perplexity.{language}")]
    Perplexity {
        /// The language.
        language: String,
        /// What is wrong.
        source: PerplexityError,
    },
}

/// The models of a run.
#[derive(Default)]
pub(crate) struct Models {
    classifiers: BTreeMap<String, Judge>,
    perplexities: BTreeMap<String, PerplexityModel>,
}

/// What the models say of a document, and how it stands to their limits. Of a language without a model nothing is known.
pub(crate) struct Scores {
    pub(crate) columns: Vec<f32>,
    pub(crate) limits: Vec<Limit>,
}

impl Models {
    /// Reads or trains all models of the settings.
    pub(crate) fn prepare(config: &IngestConfig) -> Result<Self, TrainingError> {
        let mut models = Self::default();
        for (language, settings) in &config.classifier {
            let failed = |source| TrainingError::Classifier { language: language.clone(), source };
            let judge = match settings.source().map_err(failed)? {
                ClassifierSource::FastText { path, label } => Judge::load_fasttext(path, label)?,
                ClassifierSource::Texts { positive, negative, training } => {
                    let (positive, negative) = (read_texts(positive, config)?, read_texts(negative, config)?);
                    let seed = Seed::root(0);
                    let trained = train_classifier(&positive, &negative, Unit::of(language), training, &seed);
                    Judge::Ours(trained.map_err(failed)?)
                }
            };
            models.classifiers.insert(language.clone(), judge);
        }
        for (language, settings) in &config.perplexity {
            let texts = read_texts(&settings.reference, config)?;
            let model = train_perplexity(&texts, Unit::of(language), &settings.training)
                .map_err(|source| TrainingError::Perplexity { language: language.clone(), source })?;
            models.perplexities.insert(language.clone(), model);
        }
        Ok(models)
    }

    /// The names of the columns, in order.
    pub(crate) fn columns(config: &IngestConfig) -> impl Iterator<Item = &'static str> {
        let classifier = (!config.classifier.is_empty()).then_some(CLASSIFIER);
        let perplexity = if config.perplexity.is_empty() { &[][..] } else { &PERPLEXITY };
        classifier.into_iter().chain(perplexity.iter().copied())
    }

    /// The rules, where a model is also a filter.
    pub(crate) fn rules(config: &IngestConfig) -> impl Iterator<Item = &'static str> {
        let is_filter = config.classifier.values().any(|settings| settings.min.is_some());
        let classifier = is_filter.then_some(CLASSIFIER_RULE);
        let is_filter = config.perplexity.values().any(|settings| settings.max.is_some());
        classifier.into_iter().chain(is_filter.then_some(PERPLEXITY_RULE))
    }

    /// Scores a text.
    pub(crate) fn score(&self, text: &str, language: &str, config: &IngestConfig) -> Scores {
        let mut scores = Scores { columns: Vec::new(), limits: Vec::new() };
        if !config.classifier.is_empty() {
            let score = self.classifiers.get(language).map_or(f32::NAN, |judge| judge.score(text));
            scores.columns.push(score);
            if let Some(min) = config.classifier.get(language).and_then(|settings| settings.min) {
                let bound = Bound::Min(min.0);
                scores.limits.push(Limit { rule: CLASSIFIER_RULE, value: score.into(), bound });
            }
        }
        if !config.perplexity.is_empty() {
            let model = self.perplexities.get(language);
            let perplexity = model.map_or(f32::NAN, |model| model.perplexity(text));
            let bucket = model.map_or(f32::NAN, |model| f32::from(model.bucket(perplexity) as u8));
            scores.columns.extend([perplexity, bucket]);
            if let Some(NotNegative(max)) = config.perplexity.get(language).and_then(|settings| settings.max) {
                let bound = Bound::Max(max);
                scores.limits.push(Limit { rule: PERPLEXITY_RULE, value: perplexity.into(), bound });
            }
        }
        scores
    }
}

/// Texts of a file, plain or as .gz or .zst: the field `text` of JSON lines where the name says so, else a text a line.
fn read_texts(path: &Path, config: &IngestConfig) -> Result<Vec<String>, TrainingError> {
    let failed = |source| TrainingError::Io { path: path.to_owned(), source };
    let is_json = path.to_string_lossy().contains(".jsonl");
    let mut texts = Vec::new();
    for (index, line) in open_lines(path).map_err(failed)?.lines().enumerate() {
        let line = line.map_err(failed)?;
        let text = if is_json {
            let record: Option<serde_json::Value> = serde_json::from_str(&line).ok();
            let text = record.as_ref().and_then(|record| record["text"].as_str());
            text.ok_or_else(|| TrainingError::Line { path: path.to_owned(), line: index + 1 })?.to_owned()
        } else {
            line
        };
        let text = normalise_with(&text, &config.normalise).text;
        if !text.is_empty() {
            texts.push(text);
        }
    }
    Ok(texts)
}
