//! The quality rules: what a document is measured by, and which of the limits of the run file it breaks first.
//!
//! English is judged by words with the rules of Gopher, C4 and FineWeb ([`EnglishRules`]), Chinese by characters with
//! their counterparts ([`ChineseRules`]), and never one by the other's: Gopher's would drop every Chinese page, since a
//! page without spaces is one word. Documents of any other language, and instructions and propositions, are measured
//! but not judged: there are no tested limits for them.
//!
//! Every limit has a name, a value and a bound, so that a document can be asked for all of them
//! ([`Scope::Everything`]) or for the first that it breaks. The order is fixed: the sets in the order of the structs,
//! and in a set the limits in the order of its keys.
//!
//! Cost: one pass cuts the text into words or characters and hashes each once; all n-grams of all lengths come from
//! these hashes ([`Repetition`]). Nothing is allocated for a word; [`Scratch`] is used again for every document.

mod address;
mod chinese;
mod english;
mod exceptions;
mod hash;
mod lines;
mod marks;
mod misfit;
mod repetition;
mod spam;
mod words;

use std::borrow::Cow;
use std::fmt;

pub use chinese::{ChineseLines, ChineseQuality, ChineseRepetition, ChineseRules, ChineseSpam};
pub use english::{C4, C4Measures, EnglishRules, FineWeb, GopherQuality, GopherRepetition};
pub use lines::LineMeasures;
pub use repetition::Repetition;
pub use spam::SpamMeasures;

use crate::language::Unit;

/// What rules look at. Ratios are of words (English) or of characters (Chinese) unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Characters.
    pub n_chars: usize,
    /// Words that are more than marks; 0 where the unit is characters.
    pub n_words: usize,
    /// Characters that aren't white space, a run of the same mark once; 0 where the unit is words.
    pub n_marks: usize,
    /// Mean characters of a word that is more than marks.
    pub mean_word_length: f64,
    /// Share of words with a letter.
    pub letter_ratio: f64,
    /// How many different stop words occur.
    pub n_stop_words: usize,
    /// How many different stop characters occur.
    pub n_stop_chars: usize,
    /// Share of Han characters among letters, Han characters and digits: tables and rulers have a rule of their own.
    pub han_ratio: f64,
    /// Share of marks.
    pub punctuation_ratio: f64,
    /// Share of digits.
    pub digit_ratio: f64,
    /// Number signs or ellipses a word, whichever are more.
    pub symbol_ratio: f64,
    /// Share of 【 and 】.
    pub bracket_ratio: f64,
    /// Different characters a character.
    pub distinct_ratio: f64,
    /// Entropy of the characters in nats.
    pub entropy: f64,
    /// Lines that aren't blank.
    pub n_lines: usize,
    /// Share of lines that start with a bullet.
    pub bullet_lines: f64,
    /// Share of lines that end in an ellipsis.
    pub ellipsis_lines: f64,
    /// What stood before.
    pub repetition: Repetition,
    /// What C4 found, where it was asked.
    pub c4: C4Measures,
    /// Lines, after C4 where it was asked.
    pub lines: LineMeasures,
    /// Words of bought pages; Chinese only.
    pub spam: SpamMeasures,
}

/// One rule: what was measured and what is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The rule's name: its key in the run file without `_min` or `_max`.
    pub rule: &'static str,
    /// What was measured.
    pub value: f64,
    /// What is asked for.
    pub bound: Bound,
}

/// A bound; the value itself is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// At least.
    Min(f64),
    /// At most.
    Max(f64),
}

/// The rules for a document.
#[derive(Clone, Copy, Debug)]
pub enum Rules<'r> {
    /// By words, against these limits.
    English(&'r EnglishRules),
    /// By characters, against these limits.
    Chinese(&'r ChineseRules),
    /// Measured, not judged.
    Unjudged(Unit),
}

/// How many limits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Everything,
    /// Up to the set that holds the first broken one; what comes after it isn't measured.
    UntilBroken,
}

/// What the rules say of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement<'t> {
    /// The text, without the lines that C4 takes out.
    pub text: Cow<'t, str>,
    /// What was measured; complete where nothing is broken or everything was wanted.
    pub measures: Measures,
    /// The limits asked, in order.
    pub limits: Vec<Limit>,
}

/// Memory that is used again for the next document.
#[derive(Default)]
pub struct Scratch {
    words: words::Words,
    other_words: words::Words,
    chars: chinese::Chars,
    lines: Vec<repetition::Line>,
    kept: Vec<lines::KeptLine>,
    tables: repetition::Tables,
}

/// Names of the [`signals`], in their order: columns of `documents/`.
pub const QUALITY_SIGNALS: [&str; 14] = [
    "n_chars",
    "n_units",
    "mean_word_length",
    "letter_ratio",
    "han_ratio",
    "punctuation_ratio",
    "digit_ratio",
    "entropy",
    "terminal_lines",
    "short_lines",
    "duplicate_line_ratio",
    "top_ngram_ratio",
    "repeated_ngram_ratio",
    "spam",
];

/// Judges a normalised text.
pub fn judge<'t>(text: &'t str, rules: Rules, scope: Scope, scratch: &mut Scratch) -> Judgement<'t> {
    let (no_english, no_chinese);
    let (text, measures, limits) = match rules {
        Rules::English(rules) => english::judge_words(text, rules, scope, scratch),
        Rules::Chinese(rules) => chinese::judge_characters(text, rules, scope, scratch),
        Rules::Unjudged(Unit::Words) => {
            no_english = EnglishRules::default();
            english::judge_words(text, &no_english, scope, scratch)
        }
        Rules::Unjudged(Unit::Characters) => {
            no_chinese = ChineseRules::default();
            chinese::judge_characters(text, &no_chinese, scope, scratch)
        }
    };
    Judgement { text, measures, limits: limits.0 }
}

/// Measures of a document that are worth keeping beside it, in the order of [`QUALITY_SIGNALS`].
pub fn signals(measures: &Measures) -> [f64; QUALITY_SIGNALS.len()] {
    let Measures { repetition, lines, spam, .. } = measures;
    let [_, _, top] = repetition.top_ngram_chars;
    let [repeated, ..] = repetition.duplicate_ngram_chars;
    [
        measures.n_chars as f64,
        (measures.n_words + measures.n_marks) as f64,
        measures.mean_word_length,
        measures.letter_ratio,
        measures.han_ratio,
        measures.punctuation_ratio,
        measures.digit_ratio,
        measures.entropy,
        lines.terminal_lines,
        lines.short_lines,
        repetition.duplicate_line_chars,
        top,
        repeated,
        spam.gambling.max(spam.adult).max(spam.promotion),
    ]
}

impl Judgement<'_> {
    /// The first limit that the document breaks.
    pub fn broken(&self) -> Option<&Limit> {
        self.limits.iter().find(|limit| limit.is_broken())
    }
}

impl Rules<'_> {
    /// Every limit in the order in which they are asked, with the values of an empty document: the list of rules.
    pub fn limits(&self) -> Vec<Limit> {
        let measures = Measures::default();
        match self {
            Self::English(rules) => rules.limits(&measures).0,
            Self::Chinese(rules) => rules.limits(&measures).0,
            Self::Unjudged(_) => Vec::new(),
        }
    }

    /// What a rule needs beside its bound, to be put behind it; mostly nothing.
    pub(crate) fn condition(&self, rule: &str) -> String {
        match self {
            Self::English(rules) => rules.condition(rule),
            Self::Chinese(rules) => rules.condition(rule),
            Self::Unjudged(_) => String::new(),
        }
    }
}

impl Scope {
    /// Whether there is no need to go on.
    fn ends_with(self, limits: &Limits) -> bool {
        self == Self::UntilBroken && limits.0.iter().any(Limit::is_broken)
    }
}

/// Limits in the making.
#[derive(Default)]
struct Limits(Vec<Limit>);

impl Limits {
    fn min(&mut self, rule: &'static str, value: f64, limit: f64) {
        self.0.push(Limit { rule, value, bound: Bound::Min(limit) });
    }

    fn max(&mut self, rule: &'static str, value: f64, limit: f64) {
        self.0.push(Limit { rule, value, bound: Bound::Max(limit) });
    }
}

impl Limit {
    /// How far the value is from the bound, as a share of the bound.
    pub(crate) fn distance(&self) -> f64 {
        let (Bound::Min(bound) | Bound::Max(bound)) = self.bound;
        (self.value - bound).abs() / bound.abs().max(1e-9)
    }

    /// Whether the document is outside.
    pub fn is_broken(&self) -> bool {
        match self.bound {
            Bound::Min(limit) => self.value < limit,
            Bound::Max(limit) => self.value > limit,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Bound::Min(limit) | Bound::Max(limit)) = self.bound;
        write!(formatter, "value {}, limit {}", rounded(self.value), rounded(limit))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Min(limit) => write!(formatter, "at least {}", rounded(*limit)),
            Self::Max(limit) => write!(formatter, "at most {}", rounded(*limit)),
        }
    }
}

/// Six decimals are more than any rule can tell apart, and keep binary fractions out of the text.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What tests look at inside, for the slow twin of every rule.
#[cfg(test)]
pub(crate) mod probe {
    use super::exceptions::EXCEPTIONS;
    use super::hash::hash_bytes;
    use super::words::Words;

    pub(crate) use super::address::is_web_address;
    pub(crate) use super::marks::is_mark;

    /// The words of a text, as hashes.
    pub(crate) fn word_hashes(text: &str) -> Vec<u64> {
        let mut words = Words::default();
        text.split('\n').for_each(|line| words.push_line(line));
        words.hashes
    }

    pub(crate) fn hash(word: &str) -> u64 {
        hash_bytes(word.as_bytes())
    }

    /// The pieces of an exception.
    pub(crate) fn exception(word: &str) -> Option<Vec<String>> {
        let lens = EXCEPTIONS.find(word)?;
        let mut rest = word;
        let pieces = lens.iter().map(|&len| {
            let (piece, after) = rest.split_at(usize::from(len));
            rest = after;
            piece.to_owned()
        });
        Some(pieces.collect())
    }
}
