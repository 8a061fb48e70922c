//! The same questions asked of Chinese, by characters, since Chinese does not put spaces between words.
//!
//! A unit is a Han character, a mark (a run of the same one, such as a ruler, is one), or a run of letters and digits of
//! another script; white space parts units and is none. Simplified and traditional text are asked the same, with lists of
//! characters and words for both. The rules and their numbers come from three published recipes: FineWeb2's for
//! `cmn_Hani` (arXiv 2506.20920, counted over the words of jieba), FineWeb-zhtw (arXiv 2411.16387) and CT-LLM with
//! MAP-NEO (arXiv 2404.04167, 2405.19327). What was counted over words is counted here over as many characters as
//! decide most alike, measured document by document (docs/parity-datatrove.md).

use std::borrow::Cow;

use corpus::Share;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::hash::{Table, hash_bytes, hash_char};
use super::lines::{KeptLine, LineMeasures, measure_lines};
use super::misfit::{self, Misfit};
use super::repetition::{Line, Repetition, Units, count_chars, for_each_line, has_letters, measure_repetition};
use super::spam::{SpamMeasures, measure_spam};
use super::{Limits, Measures, Scope, Scratch, ratio};
use crate::config::NotNegative;
use crate::language::is_han;

/// Units of the n-grams of [`Repetition`]: two to four words of jieba, and five to ten.
const TOP_CHARS: [usize; 3] = [4, 6, 8];
const DUPLICATE_CHARS: [usize; 6] = [9, 11, 13, 14, 16, 18];

/// Characters without which no longer Chinese prose, old or new, simplified or traditional, gets along.
const STOP_CHARS: &str = "的了是在和有不為为以之也于於与與这這他我人而就";

/// How much of a text is looked at for its variety, in characters: the longest document of the recipe that the rules
/// come from. A longer text has less variety for its length without being worse.
const VARIETY_CHARS: usize = 10_000;

/// How a line ends that has more to show on another page.
const MORE: [&str; 8] = ["展开", "展開", "更多", "阅读全文", "閱讀全文", "查看全文", "read more", "readmore"];

/// `[ingest.chinese]`: each set of rules may be left out as a whole, and then doesn't apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChineseRules {
    /// Length, script, marks, variety: what Gopher asks of English.
    pub quality: Option<ChineseQuality>,
    /// Repetition of lines, paragraphs and runs of characters.
    pub repetition: Option<ChineseRepetition>,
    /// How lines end and how long they are: what C4 and FineWeb ask of English.
    pub lines: Option<ChineseLines>,
    /// Words of gambling, adult and bought pages.
    pub spam: Option<ChineseSpam>,
    #[serde(default, skip_serializing, deserialize_with = "misfit::gopher_quality")]
    gopher_quality: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::gopher_repetition")]
    gopher_repetition: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::c4")]
    c4: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::fineweb")]
    fineweb: Misfit,
}

/// `[ingest.chinese.quality]`; published values in brackets, ours where there is none. A run of the same mark, such as a
/// ruler or the border of a table, is one character here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChineseQuality {
    /// Characters other than white space (CT-LLM 50).
    pub chars_min: u32,
    /// Characters other than white space (CT-LLM 10,000, which drops every book; ours 1,000,000).
    pub chars_max: u32,
    /// Share of Han characters among letters, Han characters and digits (ours 0.25).
    pub han_ratio_min: Share,
    /// Share of marks: CT-LLM wants some (ours 0.01), from `stop_chars_from` characters on.
    pub punctuation_ratio_min: Share,
    /// Share of marks (ours 0.4).
    pub punctuation_ratio_max: Share,
    /// Share of digits (CT-LLM 0.3).
    pub digit_ratio_max: Share,
    /// Number signs a character, or ellipses, whichever are more (CT-LLM 0.1 a word; ours 0.06).
    pub symbol_ratio_max: Share,
    /// Share of the brackets 【 and 】 (CT-LLM 0.1).
    pub bracket_ratio_max: Share,
    /// How many of the stop characters (的了是在不…) occur (FineWeb2 2), in documents of `stop_chars_from` characters or
    /// more.
    pub stop_chars_min: u32,
    /// Where stop characters and marks begin to be asked for (ours 200): a title or a list may do without.
    pub stop_chars_from: u32,
    /// Where shares of lines begin to be asked for, in lines (ours 5): of a title and one paragraph, either is half.
    pub lines_from: u32,
    /// Share of lines that start with a bullet (CT-LLM 0.9).
    pub bullet_lines_max: Share,
    /// Share of lines that end in an ellipsis (Gopher 0.3).
    pub ellipsis_lines_max: Share,
    /// Different characters a character (CT-LLM 0.1), in the first ten thousand.
    pub distinct_ratio_min: Share,
    /// Entropy of the characters in nats (CT-LLM 3), in the first ten thousand.
    pub entropy_min: NotNegative,
    #[serde(default, skip_serializing, deserialize_with = "misfit::words")]
    words_min: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::words")]
    words_max: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::mean_word_length")]
    mean_word_length_min: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::mean_word_length")]
    mean_word_length_max: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::stop_words")]
    stop_words_min: Misfit,
}

/// `[ingest.chinese.repetition]`; published values in brackets, FineWeb2's unless they say otherwise. Shares of lines
/// and paragraphs, or of all characters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChineseRepetition {
    /// Paragraphs that stood before (Gopher 0.3).
    pub duplicate_paragraphs_max: Share,
    /// Characters in those (Gopher 0.2).
    pub duplicate_paragraph_chars_max: Share,
    /// Lines that stood before (0.287).
    pub duplicate_lines_max: Share,
    /// Characters in those (Gopher 0.2).
    pub duplicate_line_chars_max: Share,
    /// Characters in the most frequent four (two words 0.256).
    pub top_4_chars_max: Share,
    /// Characters in the most frequent six (three words 0.201).
    pub top_6_chars_max: Share,
    /// Characters in the most frequent eight (four words 0.171).
    pub top_8_chars_max: Share,
    /// Characters in runs of nine that stood before (five words 0.198, CT-LLM 0.6; ours 0.5).
    pub duplicate_9_chars_max: Share,
    /// The same of eleven (six words 0.182, CT-LLM 0.6; ours 0.46).
    pub duplicate_11_chars_max: Share,
    /// The same of thirteen (seven words 0.167, CT-LLM 0.6; ours 0.43).
    pub duplicate_13_chars_max: Share,
    /// The same of fourteen (eight words 0.154, CT-LLM 0.6; ours 0.41).
    pub duplicate_14_chars_max: Share,
    /// The same of sixteen (nine words 0.14, CT-LLM 0.6; ours 0.38).
    pub duplicate_16_chars_max: Share,
    /// The same of eighteen (ten words 0.127, CT-LLM 0.6; ours 0.35).
    pub duplicate_18_chars_max: Share,
    /// Lines of fewer letters and digits are not looked at: rulers, borders of tables, code fences (0).
    pub line_letters_min: u8,
}

/// `[ingest.chinese.lines]`; published values in brackets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChineseLines {
    /// Where shares of lines begin to be asked for, in lines (ours 5; 0 as published): of a title and one paragraph,
    /// either is half.
    pub lines_from: u32,
    /// Share of lines that end in a mark, Chinese or ASCII, with or without a closing quote (FineWeb2 0.106, FineWeb-zhtw
    /// 0.04).
    pub terminal_lines_min: Share,
    /// Share of short lines (FineWeb-zhtw 0.8). One that ends in a mark is verse, and not short.
    pub short_lines_max: Share,
    /// Characters of the longest short line (FineWeb-zhtw 10).
    pub short_line_chars: u32,
    /// Share of characters in lines that stood before (FineWeb2 0.1, FineWeb-zhtw 0.3).
    pub duplicate_line_chars_max: Share,
    /// Line ends a character (FineWeb2 0.178 a word, which is 0.11; ours 0.2).
    pub newline_ratio_max: Share,
    /// Share of lines that end in 展开, 更多, read more and the like (CT-LLM 0.3).
    pub more_lines_max: Share,
    /// Lines of fewer letters and digits do not count as having stood before: rulers, borders of tables, code fences (0).
    pub line_letters_min: u8,
}

/// `[ingest.chinese.spam]`: weights of words for each thousand characters; see [`SpamMeasures`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChineseSpam {
    /// Words of gambling sites (ours 20).
    pub gambling_max: NotNegative,
    /// Words of adult sites (ours 20).
    pub adult_max: NotNegative,
    /// Words of pages written for search engines and of sellers of forged papers (ours 20).
    pub promotion_max: NotNegative,
}

impl ChineseRules {
    /// Every rule with what it says of a document, in the order in which they are asked.
    pub(super) fn limits(&self, measures: &Measures) -> Limits {
        let mut limits = Limits::default();
        self.quality.iter().for_each(|rules| rules.push_limits(measures, &mut limits));
        self.repetition.iter().for_each(|rules| rules.push_limits(&measures.repetition, &mut limits));
        self.lines.iter().for_each(|rules| rules.push_limits(&measures.lines, measures.n_lines, &mut limits));
        self.spam.iter().for_each(|rules| rules.push_limits(&measures.spam, &mut limits));
        limits
    }

    pub(super) fn condition(&self, rule: &str) -> String {
        match (rule, &self.quality, &self.lines) {
            ("chinese.quality.stop_chars", Some(rules), _) => format!(", from {} characters on", rules.stop_chars_from),
            ("chinese.quality.bullet_lines" | "chinese.quality.ellipsis_lines", Some(rules), _) => {
                format!(", from {} lines on", rules.lines_from)
            }
            ("chinese.lines.short_lines", _, Some(rules)) => {
                format!(", up to {} characters, from {} lines on", rules.short_line_chars, rules.lines_from)
            }
            ("chinese.lines.terminal_lines" | "chinese.lines.more_lines", _, Some(rules)) => {
                format!(", from {} lines on", rules.lines_from)
            }
            _ => String::new(),
        }
    }

    /// Whether no set of rules is there.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The key of a pair of limits that no document keeps.
    pub(crate) fn crossed(&self) -> Option<&'static str> {
        let rules = self.quality.as_ref()?;
        if rules.chars_min > rules.chars_max {
            return Some("chinese.quality.chars");
        }
        let (Share(min), Share(max)) = (rules.punctuation_ratio_min, rules.punctuation_ratio_max);
        (min > max).then_some("chinese.quality.punctuation_ratio")
    }
}

impl ChineseQuality {
    fn push_limits(&self, measures: &Measures, limits: &mut Limits) {
        let Self {
            chars_min,
            chars_max,
            han_ratio_min: Share(han_ratio_min),
            punctuation_ratio_min: Share(punctuation_ratio_min),
            punctuation_ratio_max: Share(punctuation_ratio_max),
            digit_ratio_max: Share(digit_ratio_max),
            symbol_ratio_max: Share(symbol_ratio_max),
            bracket_ratio_max: Share(bracket_ratio_max),
            stop_chars_min,
            stop_chars_from,
            lines_from,
            bullet_lines_max: Share(bullet_lines_max),
            ellipsis_lines_max: Share(ellipsis_lines_max),
            distinct_ratio_min: Share(distinct_ratio_min),
            entropy_min: NotNegative(entropy_min),
            words_min: (),
            words_max: (),
            mean_word_length_min: (),
            mean_word_length_max: (),
            stop_words_min: (),
        } = *self;
        let n_marks = measures.n_marks as f64;
        // A short text is excused by a value that breaks nothing.
        let from = |value: f64| if measures.n_marks >= stop_chars_from as usize { value } else { f64::INFINITY };
        limits.min("chinese.quality.chars", n_marks, f64::from(chars_min));
        limits.max("chinese.quality.chars", n_marks, f64::from(chars_max));
        limits.min("chinese.quality.han_ratio", measures.han_ratio, han_ratio_min);
        limits.min("chinese.quality.punctuation_ratio", from(measures.punctuation_ratio), punctuation_ratio_min);
        limits.max("chinese.quality.punctuation_ratio", measures.punctuation_ratio, punctuation_ratio_max);
        limits.max("chinese.quality.digit_ratio", measures.digit_ratio, digit_ratio_max);
        limits.max("chinese.quality.symbol_ratio", measures.symbol_ratio, symbol_ratio_max);
        limits.max("chinese.quality.bracket_ratio", measures.bracket_ratio, bracket_ratio_max);
        limits.min("chinese.quality.stop_chars", from(measures.n_stop_chars as f64), f64::from(stop_chars_min));
        let of_lines = |value: f64| if measures.n_lines >= lines_from as usize { value } else { 0.0 };
        limits.max("chinese.quality.bullet_lines", of_lines(measures.bullet_lines), bullet_lines_max);
        limits.max("chinese.quality.ellipsis_lines", of_lines(measures.ellipsis_lines), ellipsis_lines_max);
        limits.min("chinese.quality.distinct_ratio", measures.distinct_ratio, distinct_ratio_min);
        limits.min("chinese.quality.entropy", measures.entropy, entropy_min);
    }
}

impl ChineseRepetition {
    fn push_limits(&self, found: &Repetition, limits: &mut Limits) {
        let [top_4, top_6, top_8] = found.top_ngram_chars;
        let [of_9, of_11, of_13, of_14, of_16, of_18] = found.duplicate_ngram_chars;
        for (rule, value, Share(limit)) in [
            ("chinese.repetition.duplicate_paragraphs", found.duplicate_paragraphs, self.duplicate_paragraphs_max),
            (
                "chinese.repetition.duplicate_paragraph_chars",
                found.duplicate_paragraph_chars,
                self.duplicate_paragraph_chars_max,
            ),
            ("chinese.repetition.duplicate_lines", found.duplicate_lines, self.duplicate_lines_max),
            ("chinese.repetition.duplicate_line_chars", found.duplicate_line_chars, self.duplicate_line_chars_max),
            ("chinese.repetition.top_4_chars", top_4, self.top_4_chars_max),
            ("chinese.repetition.top_6_chars", top_6, self.top_6_chars_max),
            ("chinese.repetition.top_8_chars", top_8, self.top_8_chars_max),
            ("chinese.repetition.duplicate_9_chars", of_9, self.duplicate_9_chars_max),
            ("chinese.repetition.duplicate_11_chars", of_11, self.duplicate_11_chars_max),
            ("chinese.repetition.duplicate_13_chars", of_13, self.duplicate_13_chars_max),
            ("chinese.repetition.duplicate_14_chars", of_14, self.duplicate_14_chars_max),
            ("chinese.repetition.duplicate_16_chars", of_16, self.duplicate_16_chars_max),
            ("chinese.repetition.duplicate_18_chars", of_18, self.duplicate_18_chars_max),
        ] {
            limits.max(rule, value, limit);
        }
    }
}

impl ChineseLines {
    fn push_limits(&self, lines: &LineMeasures, n_lines: usize, limits: &mut Limits) {
        let Self {
            lines_from,
            terminal_lines_min: Share(terminal_lines_min),
            short_lines_max: Share(short_lines_max),
            short_line_chars: _,
            duplicate_line_chars_max: Share(duplicate_line_chars_max),
            newline_ratio_max: Share(newline_ratio_max),
            more_lines_max: Share(more_lines_max),
            line_letters_min: _,
        } = *self;
        // Values that break nothing excuse a text of few lines.
        let or = |value: f64, excuse: f64| if n_lines >= lines_from as usize { value } else { excuse };
        let terminal_lines = or(lines.terminal_lines, f64::INFINITY);
        limits.min("chinese.lines.terminal_lines", terminal_lines, terminal_lines_min);
        limits.max("chinese.lines.short_lines", or(lines.short_lines, 0.0), short_lines_max);
        limits.max("chinese.lines.duplicate_line_chars", lines.duplicate_line_chars, duplicate_line_chars_max);
        limits.max("chinese.lines.newline_ratio", lines.newline_ratio, newline_ratio_max);
        limits.max("chinese.lines.more_lines", or(lines.more_lines, 0.0), more_lines_max);
    }
}

impl ChineseSpam {
    fn push_limits(&self, spam: &SpamMeasures, limits: &mut Limits) {
        let Self {
            gambling_max: NotNegative(gambling_max),
            adult_max: NotNegative(adult_max),
            promotion_max: NotNegative(promotion_max),
        } = *self;
        limits.max("chinese.spam.gambling", spam.gambling, gambling_max);
        limits.max("chinese.spam.adult", spam.adult, adult_max);
        limits.max("chinese.spam.promotion", spam.promotion, promotion_max);
    }
}

/// Where `[ingest.chinese.lines]` is left out, lines of as many characters are short, so that the signal is there.
const SHORT_LINE_CHARS: u32 = 10;

/// Judges a text by characters. [`Scope::UntilBroken`] stops after the first set of rules that is broken.
pub(super) fn judge_characters<'t>(
    text: &'t str,
    rules: &ChineseRules,
    scope: Scope,
    scratch: &mut Scratch,
) -> (Cow<'t, str>, Measures, Limits) {
    let (mut measures, mut limits) = (Measures::default(), Limits::default());
    measure_quality(text, rules, scratch, &mut measures);
    if let Some(rules) = &rules.quality {
        rules.push_limits(&measures, &mut limits);
        if scope.ends_with(&limits) {
            return (Cow::Borrowed(text), measures, limits);
        }
    }
    let Scratch { chars, lines, tables, .. } = &mut *scratch;
    let units = Units {
        hashes: &chars.hashes,
        chars_to: &chars.chars_to,
        gap: 0,
        top_times_min: 2,
        top: TOP_CHARS,
        duplicate: DUPLICATE_CHARS,
    };
    measures.repetition = measure_repetition(text, measures.n_chars, lines, units, tables);
    if let Some(rules) = &rules.repetition {
        rules.push_limits(&measures.repetition, &mut limits);
        if scope.ends_with(&limits) {
            return (Cow::Borrowed(text), measures, limits);
        }
    }
    let short_line_chars = rules.lines.as_ref().map_or(SHORT_LINE_CHARS, |rules| rules.short_line_chars);
    let n_line_ends = scratch.lines.len() - 1;
    measures.lines = measure_lines(&scratch.kept, short_line_chars, n_line_ends, &mut scratch.tables.table);
    measures.lines.more_lines = ratio(scratch.chars.n_more_lines, scratch.kept.len());
    if let Some(rules) = &rules.lines {
        rules.push_limits(&measures.lines, measures.n_lines, &mut limits);
        if scope.ends_with(&limits) {
            return (Cow::Borrowed(text), measures, limits);
        }
    }
    measures.spam = measure_spam(text, measures.n_marks);
    rules.spam.iter().for_each(|rules| rules.push_limits(&measures.spam, &mut limits));
    (Cow::Borrowed(text), measures, limits)
}

/// The units of a text, used again for the next one.
#[derive(Default)]
pub(super) struct Chars {
    hashes: Vec<u64>,
    chars_to: Vec<u32>,
    n_more_lines: usize,
    counts: Counts,
    /// Places of the table where a different character is counted.
    different: Vec<u32>,
    n_looked_at: usize,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    n_chars: usize,
    n_han: usize,
    n_digits: usize,
    n_letters: usize,
    /// A run of the same one counts once.
    n_symbols: usize,
    n_brackets: usize,
    n_number_signs: usize,
}

fn measure_quality(text: &str, rules: &ChineseRules, scratch: &mut Scratch, measures: &mut Measures) {
    let repetition_letters = rules.repetition.as_ref().map_or(0, |rules| rules.line_letters_min);
    let lines_letters = rules.lines.as_ref().map_or(0, |rules| rules.line_letters_min);
    let Scratch { chars, lines, kept, tables, .. } = scratch;
    chars.hashes.clear();
    chars.chars_to.clear();
    chars.different.clear();
    (chars.n_more_lines, chars.n_looked_at, chars.counts) = (0, 0, Counts::default());
    lines.clear();
    kept.clear();
    tables.table.reset(VARIETY_CHARS.min(text.len()));
    let (mut n_bullets, mut n_ellipsis_ends) = (0, 0);
    for_each_line(text, |line, place| {
        let (n_units, n_chars) = (chars.hashes.len(), chars.counts.n_chars);
        chars.push_line(line, &mut tables.table);
        let (n_units, n_chars) = (chars.hashes.len() - n_units, chars.counts.n_chars - n_chars);
        let hash = xxh3_64(line.as_bytes());
        let is_text = has_letters(line, repetition_letters);
        lines.push(Line { start: place.start, end: place.end, n_chars, hash, units_to: chars.hashes.len(), is_text });
        let content = line.trim();
        if !content.is_empty() {
            let end = end_of_line(content);
            let is_text = has_letters(line, lines_letters);
            let End { is_terminal, is_marked, .. } = end;
            kept.push(KeptLine { hash, n_chars, n_units, is_terminal, is_marked, is_text });
            chars.n_more_lines += usize::from(end.is_more);
            n_bullets += usize::from(starts_with_bullet(content));
            n_ellipsis_ends += usize::from(content.ends_with('…') || content.ends_with("..."));
        }
    });
    let counts = chars.counts;
    measures.n_chars = counts.n_chars + lines.len() - 1;
    measures.n_marks = counts.n_han + counts.n_digits + counts.n_letters + counts.n_symbols;
    measures.han_ratio = ratio(counts.n_han, counts.n_han + counts.n_letters + counts.n_digits);
    measures.digit_ratio = ratio(counts.n_digits, measures.n_marks);
    measures.punctuation_ratio = ratio(counts.n_symbols, measures.n_marks);
    measures.bracket_ratio = ratio(counts.n_brackets, measures.n_marks).min(1.0);
    let n_ellipses = text.matches("...").count() + text.matches('…').count();
    measures.symbol_ratio = ratio(counts.n_number_signs.max(n_ellipses), measures.n_marks).min(1.0);
    measures.n_lines = kept.len();
    measures.bullet_lines = ratio(n_bullets, kept.len());
    measures.ellipsis_lines = ratio(n_ellipsis_ends, kept.len());
    let n_of = |char| tables.table.get(hash_char(char));
    measures.n_stop_chars = STOP_CHARS.chars().filter(|&char| n_of(char) > 0).count();
    measures.distinct_ratio = ratio(chars.different.len(), chars.n_looked_at);
    let counts = chars.different.iter().map(|&place| tables.table.count(place as usize));
    measures.entropy = entropy(counts, chars.n_looked_at);
}

/// What a character is to the rules.
#[derive(Clone, Copy)]
enum Sort {
    Space,
    Han,
    /// Kana and hangul, which like Han characters stand for themselves.
    Syllable,
    Letter,
    Digit,
    Mark,
}

fn sort(char: char) -> Sort {
    match char {
        'a'..='z' | 'A'..='Z' => Sort::Letter,
        '0'..='9' => Sort::Digit,
        ' ' | '\t' | '\u{3000}' => Sort::Space,
        // The most frequent marks skip the tables of Unicode.
        '，' | '。' | '、' | '：' | '；' | '“' | '”' | '（' | '）' | '《' | '》' | '！' | '？' => {
            Sort::Mark
        }
        _ if is_han(char) => Sort::Han,
        '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{AC00}'..='\u{D7A3}' if char.is_alphanumeric() => {
            Sort::Syllable
        }
        _ if char.is_alphanumeric() => Sort::Letter,
        _ => Sort::Mark,
    }
}

impl Chars {
    fn push_line(&mut self, line: &str, table: &mut Table) {
        let mut previous = '\n';
        let mut run = 0..0;
        for (at, char) in line.char_indices() {
            let is_again = char == previous;
            previous = char;
            self.counts.n_chars += 1;
            let sort = sort(char);
            if let Sort::Letter | Sort::Digit = sort {
                run = if run.is_empty() { at } else { run.start }..at + char.len_utf8();
            } else {
                self.push_run(&line[std::mem::take(&mut run)]);
            }
            match sort {
                Sort::Space => continue,
                // A ruler or the border of a table is one mark, not eighty.
                Sort::Mark if is_again => continue,
                Sort::Mark => self.count_mark(char),
                Sort::Han => self.counts.n_han += 1,
                Sort::Letter | Sort::Syllable => self.counts.n_letters += 1,
                Sort::Digit => self.counts.n_digits += 1,
            }
            let hash = hash_char(char);
            self.look_at(hash, table);
            if let Sort::Mark | Sort::Han | Sort::Syllable = sort {
                self.push_unit(hash, 1);
            }
        }
        self.push_run(&line[run]);
    }

    fn count_mark(&mut self, char: char) {
        self.counts.n_symbols += 1;
        self.counts.n_brackets += usize::from(matches!(char, '【' | '】'));
        self.counts.n_number_signs += usize::from(char == '#');
    }

    /// Counts a character towards the variety of the text.
    fn look_at(&mut self, hash: u64, table: &mut Table) {
        if self.n_looked_at < VARIETY_CHARS {
            self.n_looked_at += 1;
            let place = table.add(hash);
            if table.count(place) == 1 {
                self.different.push(place as u32);
            }
        }
    }

    /// A run of letters and digits, where there is one.
    fn push_run(&mut self, run: &str) {
        if !run.is_empty() {
            self.push_unit(hash_bytes(run.as_bytes()), count_chars(run) as u32);
        }
    }

    fn push_unit(&mut self, hash: u64, n_chars: u32) {
        self.hashes.push(hash);
        self.chars_to.push(self.chars_to.last().map_or(0, |&before| before) + n_chars);
    }
}

struct End {
    is_terminal: bool,
    is_marked: bool,
    is_more: bool,
}

fn end_of_line(line: &str) -> End {
    let unquoted = line.trim_end_matches(is_closing);
    let is_terminal = unquoted.ends_with(is_terminal);
    let bare = unquoted.trim_end_matches(|char: char| !char.is_alphanumeric());
    let is_more = MORE.iter().any(|more| ends_with_ignore_case(bare, more));
    End { is_terminal, is_marked: is_terminal || unquoted.ends_with(['，', '、', ',']), is_more }
}

fn ends_with_ignore_case(text: &str, ending: &str) -> bool {
    let (text, ending) = (text.as_bytes(), ending.as_bytes());
    text.len() >= ending.len() && text[text.len() - ending.len()..].eq_ignore_ascii_case(ending)
}

fn is_terminal(char: char) -> bool {
    matches!(
        char,
        '。' | '！'
            | '？'
            | '；'
            | '：'
            | '…'
            | '．'
            | '｡'
            | '.'
            | '!'
            | '?'
            | ';'
            | ':'
            | '‼'
            | '⁇'
            | '⁈'
            | '⁉'
            | '﹒'
            | '﹖'
            | '﹗'
    )
}

fn is_closing(char: char) -> bool {
    matches!(char, '”' | '’' | '」' | '』' | '）' | ')' | '"' | '\'' | '】' | '》' | '〉' | ']' | '］')
}

fn starts_with_bullet(line: &str) -> bool {
    line.starts_with(['•', '‣', '▪', '●', '○', '■', '□', '◦', '·', '※', '◆', '◇', '★', '►'])
        || line.starts_with("- ")
        || line.starts_with("* ")
}

/// Entropy in nats of counts that sum to `n`.
fn entropy(counts: impl Iterator<Item = u32>, n: usize) -> f64 {
    if n == 0 {
        return 0.0;
    }
    let sum: f64 = counts.map(|count| f64::from(count) * f64::from(count).ln()).sum();
    ((n as f64).ln() - sum / n as f64).max(0.0)
}
