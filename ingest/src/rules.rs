//! The quality rules for plain text: one pass measures a document, then each limit is compared with its measure.
//!
//! English is judged by words (Gopher, arXiv 2112.11446; FineWeb, arXiv 2406.17557), Chinese by characters (CT-LLM,
//! FineWeb2 and FineWeb-zhtw have the numbers these are near), and never one by the other's rules: Gopher's would drop
//! every Chinese page, since a page without spaces is one word. Documents of any other accepted language, and
//! instructions and propositions, are measured but not judged: there are no tested limits for them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use corpus::Share;
use xxhash_rust::xxh3::{Xxh3DefaultBuilder, xxh3_64};

use crate::config::{ChineseRules, EnglishRules, NotNegative};
use crate::language::{Unit, is_han};
use crate::ngrams::Units;

/// Gopher's stop words: connected English prose has at least two of them.
const STOP_WORDS: [&str; 8] = ["and", "be", "have", "of", "that", "the", "to", "with"];

const LONGEST_STOP_WORD: usize = 4;

/// Characters without which no longer Chinese prose, old or new, simplified or traditional, gets along.
const STOP_CHARS: &str = "的了是在和有不为為以之也于於与與这這他我人而就";

/// Units of the n-gram whose most frequent case is measured: a pair of words, or four characters.
const TOP_WORDS: usize = 2;
const TOP_CHARS: usize = 4;

/// An n-gram that occurs less often says nothing: the title of a short article and its first words are twice the same.
const TOP_TIMES_MIN: u32 = 4;

/// Units of an n-gram that no ordinary text repeats by chance.
const REPEATED_WORDS: usize = 6;
const REPEATED_CHARS: usize = 10;

/// What the rules look at. Ratios are of marks unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Characters.
    pub n_chars: usize,
    /// Characters that aren't white space; a run of the same symbol counts once.
    pub n_marks: usize,
    /// Words, where the unit is words; else 0.
    pub n_words: usize,
    /// Mean characters of a word.
    pub mean_word_length: f64,
    /// Share of words with a letter.
    pub letter_ratio: f64,
    /// How many different stop words occur.
    pub n_stop_words: usize,
    /// Number signs or ellipses a word, whichever are more.
    pub symbol_ratio: f64,
    /// How many different stop characters occur, where the unit is characters; else 0.
    pub n_stop_chars: usize,
    /// Share of Han characters among letters, Han characters and digits: tables and rulers have a rule of their own.
    pub han_ratio: f64,
    /// Share of punctuation and symbols.
    pub punctuation_ratio: f64,
    /// Share of digits.
    pub digit_ratio: f64,
    /// Share of lines that start with a bullet.
    pub bullet_lines: f64,
    /// Share of lines that end in an ellipsis.
    pub ellipsis_lines: f64,
    /// Share of characters in lines that stood before.
    pub duplicate_line_ratio: f64,
    /// Share of the text in its most frequent n-gram.
    pub top_ngram_ratio: f64,
    /// Share of the text in long n-grams that stood before.
    pub repeated_ngram_ratio: f64,
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

impl Limit {
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

impl EnglishRules {
    /// Every rule with what it says of a document, in the order in which they are asked.
    pub fn limits(&self, measures: &Measures) -> Vec<Limit> {
        let Self {
            words_min,
            mean_word_length_min: NotNegative(mean_word_length_min),
            mean_word_length_max: NotNegative(mean_word_length_max),
            letter_ratio_min: Share(letter_ratio_min),
            stop_words_min,
            symbol_ratio_max: Share(symbol_ratio_max),
            bullet_lines_max: Share(bullet_lines_max),
            ellipsis_lines_max: Share(ellipsis_lines_max),
            duplicate_line_ratio_max: Share(duplicate_line_ratio_max),
            top_ngram_ratio_max: Share(top_ngram_ratio_max),
        } = *self;
        let min = |rule, value, limit| Limit { rule, value, bound: Bound::Min(limit) };
        let max = |rule, value, limit| Limit { rule, value, bound: Bound::Max(limit) };
        vec![
            min("english.words", measures.n_words as f64, f64::from(words_min)),
            min("english.mean_word_length", measures.mean_word_length, mean_word_length_min),
            max("english.mean_word_length", measures.mean_word_length, mean_word_length_max),
            min("english.letter_ratio", measures.letter_ratio, letter_ratio_min),
            min("english.stop_words", measures.n_stop_words as f64, f64::from(stop_words_min)),
            max("english.symbol_ratio", measures.symbol_ratio, symbol_ratio_max),
            max("english.bullet_lines", measures.bullet_lines, bullet_lines_max),
            max("english.ellipsis_lines", measures.ellipsis_lines, ellipsis_lines_max),
            max("english.duplicate_line_ratio", measures.duplicate_line_ratio, duplicate_line_ratio_max),
            max("english.top_ngram_ratio", measures.top_ngram_ratio, top_ngram_ratio_max),
        ]
    }
}

impl ChineseRules {
    /// Every rule with what it says of a document, in the order in which they are asked.
    pub fn limits(&self, measures: &Measures) -> Vec<Limit> {
        let Self {
            chars_min,
            han_ratio_min: Share(han_ratio_min),
            punctuation_ratio_max: Share(punctuation_ratio_max),
            digit_ratio_max: Share(digit_ratio_max),
            stop_chars_min,
            stop_chars_from,
            bullet_lines_max: Share(bullet_lines_max),
            ellipsis_lines_max: Share(ellipsis_lines_max),
            duplicate_line_ratio_max: Share(duplicate_line_ratio_max),
            top_ngram_ratio_max: Share(top_ngram_ratio_max),
            repeated_ngram_ratio_max: Share(repeated_ngram_ratio_max),
        } = *self;
        let min = |rule, value, limit| Limit { rule, value, bound: Bound::Min(limit) };
        let max = |rule, value, limit| Limit { rule, value, bound: Bound::Max(limit) };
        let is_long = measures.n_marks >= stop_chars_from as usize;
        let stop_chars = if is_long { measures.n_stop_chars as f64 } else { f64::INFINITY };
        vec![
            min("chinese.chars", measures.n_marks as f64, f64::from(chars_min)),
            min("chinese.han_ratio", measures.han_ratio, han_ratio_min),
            max("chinese.punctuation_ratio", measures.punctuation_ratio, punctuation_ratio_max),
            max("chinese.digit_ratio", measures.digit_ratio, digit_ratio_max),
            min("chinese.stop_chars", stop_chars, f64::from(stop_chars_min)),
            max("chinese.bullet_lines", measures.bullet_lines, bullet_lines_max),
            max("chinese.ellipsis_lines", measures.ellipsis_lines, ellipsis_lines_max),
            max("chinese.duplicate_line_ratio", measures.duplicate_line_ratio, duplicate_line_ratio_max),
            max("chinese.top_ngram_ratio", measures.top_ngram_ratio, top_ngram_ratio_max),
            max("chinese.repeated_ngram_ratio", measures.repeated_ngram_ratio, repeated_ngram_ratio_max),
        ]
    }
}

/// Measures a normalised text.
pub fn measure(text: &str, unit: Unit) -> Measures {
    measure_units(text, &Units::new(text, unit), unit)
}

/// [`measure`] for a text whose units are at hand.
pub(crate) fn measure_units(text: &str, units: &Units, unit: Unit) -> Measures {
    let mut measures = Measures::default();
    measure_characters(text, &mut measures);
    measure_lines(text, &mut measures);
    match unit {
        Unit::Words => measure_words(text, &mut measures),
        Unit::Characters => measures.n_stop_chars = STOP_CHARS.chars().filter(|&char| text.contains(char)).count(),
    }
    let (n_top, n_repeated) = match unit {
        Unit::Words => (TOP_WORDS, REPEATED_WORDS),
        Unit::Characters => (TOP_CHARS, REPEATED_CHARS),
    };
    measures.top_ngram_ratio = top_ngram_ratio(units, n_top);
    measures.repeated_ngram_ratio = repeated_ngram_ratio(units, n_repeated);
    measures
}

fn measure_characters(text: &str, measures: &mut Measures) {
    let (mut n_han, mut n_digits, mut n_letters, mut n_symbols) = (0_usize, 0_usize, 0_usize, 0_usize);
    let mut previous = ' ';
    for char in text.chars() {
        measures.n_chars += 1;
        match char {
            'a'..='z' | 'A'..='Z' => n_letters += 1,
            '0'..='9' => n_digits += 1,
            ' ' | '\n' | '\t' => {}
            _ if is_han(char) => n_han += 1,
            _ if char.is_alphanumeric() => n_letters += 1,
            // A ruler or the border of a table is one mark, not eighty.
            _ => n_symbols += usize::from(char != previous),
        }
        previous = char;
    }
    measures.n_marks = n_han + n_digits + n_letters + n_symbols;
    measures.han_ratio = ratio(n_han, n_han + n_letters + n_digits);
    measures.digit_ratio = ratio(n_digits, measures.n_marks);
    measures.punctuation_ratio = ratio(n_symbols, measures.n_marks);
}

fn measure_words(text: &str, measures: &mut Measures) {
    let (mut n_word_chars, mut n_with_letter, mut n_written) = (0_usize, 0_usize, 0_usize);
    let mut stop_words_seen = [false; STOP_WORDS.len()];
    for word in text.split_whitespace() {
        measures.n_words += 1;
        let (n_chars, n_letters, n_digits) = count_characters(word);
        // A dash or a bullet between spaces is no word and would pull the mean down.
        if n_letters + n_digits > 0 {
            n_written += 1;
            n_word_chars += n_chars;
            n_with_letter += usize::from(n_letters > 0);
        }
        if n_letters <= LONGEST_STOP_WORD {
            let bare = word.trim_matches(|char: char| !char.is_alphanumeric());
            if let Some(index) = STOP_WORDS.iter().position(|stop_word| bare.eq_ignore_ascii_case(stop_word)) {
                stop_words_seen[index] = true;
            }
        }
    }
    measures.mean_word_length = ratio(n_word_chars, n_written);
    measures.letter_ratio = ratio(n_with_letter, measures.n_words);
    measures.n_stop_words = stop_words_seen.into_iter().filter(|&is_seen| is_seen).count();
    let n_number_signs = text.bytes().filter(|&byte| byte == b'#').count();
    let n_ellipses = text.matches("...").count() + text.matches('…').count();
    measures.symbol_ratio = ratio(n_number_signs.max(n_ellipses), measures.n_words);
}

/// Characters, letters and digits of a word.
fn count_characters(word: &str) -> (usize, usize, usize) {
    let count = |is_counted: fn(char) -> bool| word.chars().filter(|&char| is_counted(char)).count();
    if word.is_ascii() {
        let n_letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
        return (word.len(), n_letters, word.bytes().filter(u8::is_ascii_digit).count());
    }
    (word.chars().count(), count(char::is_alphabetic), count(char::is_numeric))
}

fn measure_lines(text: &str, measures: &mut Measures) {
    let mut seen = BTreeSet::new();
    let (mut n_lines, mut n_bullets, mut n_ellipses, mut n_bytes, mut n_repeated_bytes) = (0, 0, 0, 0, 0);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        n_lines += 1;
        n_bytes += line.len();
        n_bullets += usize::from(starts_with_bullet(line));
        n_ellipses += usize::from(line.ends_with('…') || line.ends_with("..."));
        // A line without a letter (`}`, `---`) is layout, and comes again in every good page of source code.
        if !seen.insert(xxh3_64(line.as_bytes())) && line.chars().any(char::is_alphanumeric) {
            n_repeated_bytes += line.len();
        }
    }
    measures.bullet_lines = ratio(n_bullets, n_lines);
    measures.ellipsis_lines = ratio(n_ellipses, n_lines);
    measures.duplicate_line_ratio = ratio(n_repeated_bytes, n_bytes);
}

fn starts_with_bullet(line: &str) -> bool {
    line.starts_with(['•', '‣', '▪', '●', '○', '■', '□', '◦', '·', '※'])
        || line.starts_with("- ")
        || line.starts_with("* ")
}

fn top_ngram_ratio(units: &Units, n: usize) -> f64 {
    let mut counts: HashMap<u64, (u32, usize), Xxh3DefaultBuilder> =
        HashMap::with_capacity_and_hasher(units.len(), Xxh3DefaultBuilder::new());
    for (hash, n_bytes) in units.ngrams(n) {
        counts.entry(hash).or_insert((0, n_bytes)).0 += 1;
    }
    let top = counts.into_values().max().filter(|&(n_times, _)| n_times >= TOP_TIMES_MIN);
    top.map_or(0.0, |(n_times, n_bytes)| ratio(n_times as usize * n_bytes, units.n_bytes()).min(1.0))
}

/// Bytes under any n-gram that stood before, each counted once.
fn repeated_ngram_ratio(units: &Units, n: usize) -> f64 {
    let mut hashes: Vec<(u64, u32)> =
        units.ngrams(n).enumerate().map(|(index, (hash, _))| (hash, index as u32)).collect();
    hashes.sort_unstable();
    let again = hashes.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1 as usize);
    let mut is_covered = vec![false; units.len()];
    for start in again {
        is_covered[start..start + n].fill(true);
    }
    ratio(is_covered.into_iter().filter(|&is_covered| is_covered).count(), units.len())
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
