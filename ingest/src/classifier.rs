//! A trainable judge of quality: how much more a text is like some texts than like others.
//!
//! The linear text classifier of fastText (Joulin et al. 2016, arXiv 1607.01759) without its hidden layer, which two
//! classes do not need: a bag of hashed n-grams, of words where the language has spaces and of characters where it has
//! none, one weight each; the mean weight of a text goes through a logistic function. A mean, so that a text is not
//! judged by its length. Both classes weigh the same whatever their sizes: a score of 0.5 is as much like either.
//!
//! Training is AdaGrad, a text at a time on one thread in an order drawn from the seed, so the same texts, settings and
//! seed give the same bytes. Cost of a score: a hash and a look-up an n-gram, no allocation.
//!
//! File: magic `MOSOCLA` and version 1; unit (0 words, 1 characters), longest n-gram, binary logarithm of the number of
//! weights, a byte each; the bias and the weights as 32-bit floats; a checksum ([`crate::model_file`]).

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use corpus::{FileEntry, Seed, Share};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::NotNegative;
use crate::fasttext::FastText;
use crate::fold::push_lower;
use crate::language::Unit;
use crate::model_file::{ModelError, open_model, read_bytes, write_model};

const MAGIC: &[u8; 8] = b"MOSOCLA\x01";
const WHAT: &str = "a classifier of version 1";

/// A mean of weights that is this large is a clear case: training starts with steps of a fair size.
const MEAN_FACTOR: f32 = 32.0;

/// Weights that a classifier may have, as binary logarithms.
const ROWS_LOG2: std::ops::RangeInclusive<u32> = 8..=26;

const NGRAMS_MAX: u32 = 5;

/// `[ingest.classifier.LANGUAGE]` of the run file: a column `classifier` is written for every document of the language,
/// and with `min` a document below is dropped. Either `positive` and `negative` train a classifier of ours, or
/// `fasttext` names a model with its `label`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierSettings {
    /// Texts as they should be.
    pub positive: Option<PathBuf>,
    /// Texts as they come.
    pub negative: Option<PathBuf>,
    /// How to train on them.
    pub training: Option<ClassifierTraining>,
    /// A supervised model of fastText, `.bin` or `.ftz`.
    pub fasttext: Option<PathBuf>,
    /// The label whose probability is the score, such as `__label__hq`.
    pub label: Option<String>,
    /// Least score of a document that is kept; left out, the score is a column and no filter.
    pub min: Option<Share>,
}

/// How a classifier is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierTraining {
    /// Words, or characters, of the longest n-gram: 1 to 5.
    pub ngrams_max: NonZeroU32,
    /// Binary logarithm of the number of weights, which n-grams share: 8 to 26.
    pub rows_log2: NonZeroU32,
    /// How often every text is seen.
    pub epochs: NonZeroU32,
    /// Size of the first steps; it falls to nothing in a straight line.
    pub step_size: NotNegative,
}

/// Settings or texts that no classifier can be made from.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ClassifierError {
    /// A setting is outside its range.
    #[error("{key} must be {range}, not {value}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What is allowed.
        range: &'static str,
        /// What was given.
        value: u32,
    },
    /// Keys that go together.
    #[error("a classifier has either positive, negative and training, or fasttext and label")]
    Sources,
    /// No text on one side.
    #[error("there are no {side} texts to learn from")]
    NoTexts {
        /// Positive or negative.
        side: &'static str,
    },
}

/// How much a text is like some texts and unlike others.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    unit: Unit,
    ngrams_max: u32,
    bias: f32,
    weights: Vec<f32>,
}

/// Where a classifier comes from, as [`ClassifierSettings`] say.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassifierSource<'a> {
    /// It is trained here.
    Texts {
        /// Texts as they should be.
        positive: &'a Path,
        /// Texts as they come.
        negative: &'a Path,
        /// How to train on them.
        training: &'a ClassifierTraining,
    },
    /// It is a model of fastText.
    FastText {
        /// The model.
        path: &'a Path,
        /// The label that is wanted.
        label: &'a str,
    },
}

impl ClassifierSettings {
    /// Where the classifier comes from; an error where the keys contradict each other.
    pub fn source(&self) -> Result<ClassifierSource<'_>, ClassifierError> {
        let Self { positive, negative, training, fasttext, label, min: _ } = self;
        match (positive, negative, training, fasttext, label) {
            (Some(positive), Some(negative), Some(training), None, None) => {
                training.check()?;
                Ok(ClassifierSource::Texts { positive, negative, training })
            }
            (None, None, None, Some(path), Some(label)) => Ok(ClassifierSource::FastText { path, label }),
            _ => Err(ClassifierError::Sources),
        }
    }
}

impl ClassifierTraining {
    fn check(&self) -> Result<(), ClassifierError> {
        let Self { ngrams_max, rows_log2, epochs: _, step_size: _ } = self;
        if ngrams_max.get() > NGRAMS_MAX {
            return Err(ClassifierError::Setting { key: "ngrams_max", range: "1 to 5", value: ngrams_max.get() });
        }
        if !ROWS_LOG2.contains(&rows_log2.get()) {
            return Err(ClassifierError::Setting { key: "rows_log2", range: "8 to 26", value: rows_log2.get() });
        }
        Ok(())
    }
}

/// A judge of documents, ours or one of fastText.
#[derive(Debug)]
pub enum Judge {
    /// A classifier of ours.
    Ours(Classifier),
    /// A model of fastText and the number of its label.
    FastText(Box<FastText>, usize),
}

impl Judge {
    /// Reads a model of fastText and looks for its label.
    pub fn load_fasttext(path: &Path, label: &str) -> Result<Self, ModelError> {
        let model = FastText::load(path)?;
        let Some(number) = model.label(label) else {
            let some: Vec<&str> = model.labels().iter().take(8).map(String::as_str).collect();
            let what = format!("it has no label {label:?}, but {}", some.join(", "));
            return Err(ModelError::Unusable { path: path.to_owned(), what });
        };
        Ok(Self::FastText(Box::new(model), number))
    }

    /// How good a text is, from 0 to 1.
    pub fn score(&self, text: &str) -> f32 {
        match self {
            Self::Ours(classifier) => classifier.score(text),
            Self::FastText(model, label) => model.score(text, *label),
        }
    }
}

/// Trains a classifier on texts as they should be and texts as they come.
pub fn train_classifier<Text: AsRef<str>>(
    positive: &[Text],
    negative: &[Text],
    unit: Unit,
    training: &ClassifierTraining,
    seed: &Seed,
) -> Result<Classifier, ClassifierError> {
    training.check()?;
    for (texts, side) in [(positive, "positive"), (negative, "negative")] {
        if texts.is_empty() {
            return Err(ClassifierError::NoTexts { side });
        }
    }
    let n_texts = positive.len() + negative.len();
    let class_weight = |n_of_class: usize| n_texts as f32 / (2.0 * n_of_class as f32);
    let (positive_weight, negative_weight) = (class_weight(positive.len()), class_weight(negative.len()));
    let n_rows = 1 << training.rows_log2.get();
    let mut classifier =
        Classifier { unit, ngrams_max: training.ngrams_max.get(), bias: 0.0, weights: vec![0.0; n_rows] };
    // One sum of squares more, for the bias.
    let mut squares = vec![1e-6_f32; n_rows + 1];
    let n_steps = n_texts as f32 * training.epochs.get() as f32;
    let mut rows = Vec::new();
    for epoch in 0..training.epochs.get() {
        for (step, index) in shuffled(n_texts, seed, epoch).into_iter().enumerate() {
            let is_positive = index < positive.len();
            let text = if is_positive { &positive[index] } else { &negative[index - positive.len()] };
            rows.clear();
            classifier.for_each_row(text.as_ref(), |row| rows.push(row as u32));
            let (target, weight) = if is_positive { (1.0, positive_weight) } else { (0.0, negative_weight) };
            let error = (classifier.score_rows(&rows) - target) * weight;
            let progress = (epoch as f32 * n_texts as f32 + step as f32) / n_steps;
            classifier.learn(&rows, error, training.step_size.0 as f32 * (1.0 - progress), &mut squares);
        }
    }
    Ok(classifier)
}

impl Classifier {
    /// How much a text is like the positive ones, from 0 to 1. A text without words gets what the bias says.
    pub fn score(&self, text: &str) -> f32 {
        let (mut sum, mut n_rows) = (0.0_f64, 0_u64);
        self.for_each_row(text, |row| {
            sum += f64::from(self.weights[row]);
            n_rows += 1;
        });
        logistic(self.bias + MEAN_FACTOR * (sum / n_rows.max(1) as f64) as f32)
    }

    /// Reads a classifier that [`Classifier::save`] wrote.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let bytes = read_bytes(path)?;
        let mut fields = open_model(path, &bytes, MAGIC, WHAT)?;
        let unit = match fields.u8()? {
            0 => Unit::Words,
            1 => Unit::Characters,
            _ => return Err(fields.damaged("its unit is neither words nor characters")),
        };
        let (ngrams_max, rows_log2) = (u32::from(fields.u8()?), u32::from(fields.u8()?));
        if !(1..=NGRAMS_MAX).contains(&ngrams_max) || !ROWS_LOG2.contains(&rows_log2) {
            return Err(fields.damaged("a setting is out of range"));
        }
        let bias = fields.f32()?;
        let weights = fields.f32s(1 << rows_log2)?;
        fields.end()?;
        Ok(Self { unit, ngrams_max, bias, weights })
    }

    /// Writes the classifier; the file appears whole or not at all.
    pub fn save(&self, folder: &Path, name: &str) -> Result<FileEntry, ModelError> {
        let unit = match self.unit {
            Unit::Words => 0,
            Unit::Characters => 1,
        };
        let mut body = vec![unit, self.ngrams_max as u8, self.weights.len().ilog2() as u8];
        body.extend(self.bias.to_le_bytes());
        body.extend(self.weights.iter().flat_map(|weight| weight.to_le_bytes()));
        write_model(folder, name, MAGIC, &body)
    }

    fn score_rows(&self, rows: &[u32]) -> f32 {
        let sum: f64 = rows.iter().map(|&row| f64::from(self.weights[row as usize])).sum();
        logistic(self.bias + MEAN_FACTOR * (sum / rows.len().max(1) as f64) as f32)
    }

    fn learn(&mut self, rows: &[u32], error: f32, step_size: f32, squares: &mut [f32]) {
        let n_weights = self.weights.len();
        let gradient = error * MEAN_FACTOR / rows.len().max(1) as f32;
        for &row in rows {
            let row = row as usize;
            squares[row] += gradient * gradient;
            self.weights[row] -= step_size * gradient / squares[row].sqrt();
        }
        squares[n_weights] += error * error;
        self.bias -= step_size * error / squares[n_weights].sqrt();
    }

    /// Calls `visit` with the weight of every n-gram.
    fn for_each_row(&self, text: &str, mut visit: impl FnMut(usize)) {
        let shift = 64 - self.weights.len().ilog2();
        let ngrams_max = self.ngrams_max as usize;
        // The latest units' hashes, the latest first.
        let mut latest = [0_u64; NGRAMS_MAX as usize];
        let mut n_units = 0_usize;
        for_each_unit(text, self.unit, |unit| {
            latest.rotate_right(1);
            latest[0] = unit;
            n_units += 1;
            let mut ngram = 0_u64;
            for &unit in &latest[..ngrams_max.min(n_units)] {
                ngram = (ngram.rotate_left(25) ^ unit).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                visit((ngram >> shift) as usize);
            }
        });
    }
}

/// Hashes of the words or characters of a text, in lower case and without white space. Marks are units too: how a text
/// is punctuated says much about it.
fn for_each_unit(text: &str, unit: Unit, mut visit: impl FnMut(u64)) {
    let mut lower = String::new();
    let mut lower_of = |char: char| {
        if char.is_ascii() {
            return u64::from(char.to_ascii_lowercase());
        }
        lower.clear();
        push_lower(&mut lower, char);
        lower.chars().next().map_or(0, u64::from)
    };
    let mut word = 0_u64;
    for char in text.chars() {
        let is_word_char =
            unit == Unit::Words && if char.is_ascii() { char.is_ascii_alphanumeric() } else { char.is_alphanumeric() };
        if is_word_char {
            word = (word ^ lower_of(char)).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(29);
            continue;
        }
        if word != 0 {
            visit(word);
            word = 0;
        }
        if !char.is_whitespace() {
            visit((lower_of(char) + 1).wrapping_mul(0xBF58_476D_1CE4_E5B9));
        }
    }
    if word != 0 {
        visit(word);
    }
}

fn logistic(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}

fn shuffled(n: usize, seed: &Seed, epoch: u32) -> Vec<usize> {
    let order = seed.stream("classifier").stream(&epoch.to_string());
    let mut indices: Vec<(u64, usize)> =
        (0..n).map(|index| (order.order_key(&(index as u64).to_le_bytes()), index)).collect();
    indices.sort_unstable();
    indices.into_iter().map(|(_, index)| index).collect()
}
