//! The published rules for English: Gopher's on quality and on repetition, C4's, FineWeb's, with the meaning that
//! datatrove 0.10.1 gives them, since that is what FineWeb was made with.
//!
//! C4 judges lines and takes out those that are no prose, so it hands on another text than it was given; FineWeb's
//! rules look at that one. A text without a rule set of C4 goes through unchanged.
//!
//! Sources: Rae et al. 2021 (arXiv 2112.11446), table A1 and appendix A1.1; Raffel et al. 2020 (arXiv 1910.10683),
//! section 2.2; Penedo et al. 2024 (arXiv 2406.17557), section 3.6.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};
use corpus::Share;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::lines::{KeptLine, LineMeasures, measure_lines};
use super::misfit::{self, Misfit};
use super::repetition::{Line, Repetition, Units, count_chars, for_each_line, has_letters, measure_repetition};
use super::words::count_sentences;
use super::{Limits, Measures, Scope, Scratch, ratio};
use crate::config::NotNegative;
use crate::language::is_han;

/// Words of the n-grams of [`Repetition`].
const TOP_WORDS: [usize; 3] = [2, 3, 4];
const DUPLICATE_WORDS: [usize; 6] = [5, 6, 7, 8, 9, 10];

/// Words are joined by a space.
const WORD_GAP: usize = 1;

/// What makes C4 drop a document (the first), or take out a line: one about Javascript (the second) or a policy.
const C4_PHRASES: [&str; 8] = [
    "lorem ipsum",
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
];

static C4_SEARCH: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasickBuilder::new().ascii_case_insensitive(true).build(C4_PHRASES).expect("eight phrases fit into a searcher")
});

/// `[ingest.english]`: each set of rules may be left out as a whole, and then doesn't apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnglishRules {
    /// Gopher's rules on quality.
    pub gopher_quality: Option<GopherQuality>,
    /// Gopher's rules on repetition.
    pub gopher_repetition: Option<GopherRepetition>,
    /// C4's rules, which take out lines too.
    pub c4: Option<C4>,
    /// FineWeb's rules.
    pub fineweb: Option<FineWeb>,
    #[serde(default, skip_serializing, deserialize_with = "misfit::chinese_quality")]
    quality: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::chinese_repetition")]
    repetition: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::chinese_lines")]
    lines: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::chinese_spam")]
    spam: Misfit,
}

/// `[ingest.english.gopher_quality]`; published values in brackets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GopherQuality {
    /// Words that are more than marks (50).
    pub words_min: u32,
    /// Words that are more than marks (100,000).
    pub words_max: u32,
    /// Characters of such a word, on average (3).
    pub mean_word_length_min: NotNegative,
    /// Characters of such a word, on average (10).
    pub mean_word_length_max: NotNegative,
    /// Number signs a word, or ellipses, whichever are more (0.1).
    pub symbol_ratio_max: Share,
    /// Share of lines that start with a bullet or a hyphen (0.9).
    pub bullet_lines_max: Share,
    /// Share of lines that end in an ellipsis (0.3).
    pub ellipsis_lines_max: Share,
    /// Share of words with at least one letter (0.8).
    pub letter_ratio_min: Share,
    /// How many of the, be, to, of, and, that, have, with occur (2).
    pub stop_words_min: u32,
    #[serde(default, skip_serializing, deserialize_with = "misfit::han_ratio")]
    han_ratio_min: Misfit,
    #[serde(default, skip_serializing, deserialize_with = "misfit::stop_chars")]
    stop_chars_min: Misfit,
}

/// `[ingest.english.gopher_repetition]`; published values in brackets. Shares of lines and paragraphs, or of all
/// characters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GopherRepetition {
    /// Paragraphs that stood before (0.3).
    pub duplicate_paragraphs_max: Share,
    /// Characters in those (0.2).
    pub duplicate_paragraph_chars_max: Share,
    /// Lines that stood before (0.3).
    pub duplicate_lines_max: Share,
    /// Characters in those (0.2).
    pub duplicate_line_chars_max: Share,
    /// Characters in the most frequent two words (0.2).
    pub top_2_words_max: Share,
    /// Characters in the most frequent three words (0.18).
    pub top_3_words_max: Share,
    /// Characters in the most frequent four words (0.16).
    pub top_4_words_max: Share,
    /// Characters in runs of five words that stood before (0.15).
    pub duplicate_5_words_max: Share,
    /// The same of six words (0.14).
    pub duplicate_6_words_max: Share,
    /// The same of seven words (0.13).
    pub duplicate_7_words_max: Share,
    /// The same of eight words (0.12).
    pub duplicate_8_words_max: Share,
    /// The same of nine words (0.11).
    pub duplicate_9_words_max: Share,
    /// The same of ten words (0.1).
    pub duplicate_10_words_max: Share,
    /// How often the most frequent words have to occur (1, with which a text of few words falls for its longest ones).
    pub top_times_min: NonZeroU32,
    /// Lines of fewer letters and digits are not looked at: rulers, borders of tables, closing braces (0).
    pub line_letters_min: u8,
}

/// `[ingest.english.c4]`; published values in brackets, FineWeb's after them where they differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct C4 {
    /// Take out lines that don't end in a full stop, an exclamation or question mark, or a quote (true; false).
    pub only_lines_that_end_in_marks: bool,
    /// Take out lines of fewer words between spaces (3); each Han character is one.
    pub line_words_min: u32,
    /// Take out lines with a longer word, in characters (1,000).
    pub word_chars_max: u32,
    /// Take out lines that mention Javascript (true).
    pub without_javascript: bool,
    /// Take out lines about cookies, terms of use and privacy (true).
    pub without_policies: bool,
    /// Take out the marks of references, as Wikipedia has them (true).
    pub without_citations: bool,
    /// Drop documents that a printer filled with Latin (true).
    pub without_lorem_ipsum: bool,
    /// Drop documents with a curly bracket (true): most are source code.
    pub without_curly_brackets: bool,
    /// Sentences in what is left (5).
    pub sentences_min: NonZeroU32,
}

/// `[ingest.english.fineweb]`; published values in brackets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineWeb {
    /// Share of lines that end in a mark that ends a sentence (0.12).
    pub terminal_lines_min: Share,
    /// Share of short lines (0.67).
    pub short_lines_max: Share,
    /// Characters of the longest short line (30).
    pub short_line_chars: u32,
    /// Share of characters in lines that stood before (0.01).
    pub duplicate_line_chars_max: Share,
    /// Line ends a word (0.3).
    pub newline_ratio_max: Share,
    /// Lines of fewer letters and digits do not count as having stood before: rulers, borders of tables, closing braces (0).
    pub line_letters_min: u8,
}

/// What C4 found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct C4Measures {
    /// Lines with the Latin of printers.
    pub n_lorem_ipsum: usize,
    /// Lines with a curly bracket.
    pub n_curly_brackets: usize,
    /// Sentences in the lines that stay.
    pub n_sentences: usize,
    /// Lines taken out, blank ones left aside.
    pub n_lines_out: usize,
}

impl EnglishRules {
    /// Every rule with what it says of a document, in the order in which they are asked.
    pub(super) fn limits(&self, measures: &Measures) -> Limits {
        let mut limits = Limits::default();
        self.gopher_quality.iter().for_each(|rules| rules.push_limits(measures, &mut limits));
        self.gopher_repetition.iter().for_each(|rules| rules.push_limits(&measures.repetition, &mut limits));
        self.c4.iter().for_each(|rules| rules.push_limits(&measures.c4, &mut limits));
        self.fineweb.iter().for_each(|rules| rules.push_limits(&measures.lines, &mut limits));
        limits
    }

    pub(super) fn condition(&self, rule: &str) -> String {
        match (rule, &self.fineweb, &self.c4) {
            ("english.fineweb.short_lines", Some(rules), _) => format!(", up to {} characters", rules.short_line_chars),
            ("english.c4.sentences", _, Some(rules)) => format!(", in {}", rules.lines_kept()),
            _ => String::new(),
        }
    }

    /// Whether no set of rules is there.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The key of a pair of limits that no document keeps.
    pub(crate) fn crossed(&self) -> Option<&'static str> {
        let rules = self.gopher_quality.as_ref()?;
        if rules.words_min > rules.words_max {
            return Some("english.gopher_quality.words");
        }
        (rules.mean_word_length_min > rules.mean_word_length_max).then_some("english.gopher_quality.mean_word_length")
    }
}

impl GopherQuality {
    fn push_limits(&self, measures: &Measures, limits: &mut Limits) {
        let Self {
            words_min,
            words_max,
            mean_word_length_min: NotNegative(mean_word_length_min),
            mean_word_length_max: NotNegative(mean_word_length_max),
            symbol_ratio_max: Share(symbol_ratio_max),
            bullet_lines_max: Share(bullet_lines_max),
            ellipsis_lines_max: Share(ellipsis_lines_max),
            letter_ratio_min: Share(letter_ratio_min),
            stop_words_min,
            han_ratio_min: (),
            stop_chars_min: (),
        } = *self;
        limits.min("english.gopher_quality.words", measures.n_words as f64, f64::from(words_min));
        limits.max("english.gopher_quality.words", measures.n_words as f64, f64::from(words_max));
        limits.min("english.gopher_quality.mean_word_length", measures.mean_word_length, mean_word_length_min);
        limits.max("english.gopher_quality.mean_word_length", measures.mean_word_length, mean_word_length_max);
        limits.max("english.gopher_quality.symbol_ratio", measures.symbol_ratio, symbol_ratio_max);
        limits.max("english.gopher_quality.bullet_lines", measures.bullet_lines, bullet_lines_max);
        limits.max("english.gopher_quality.ellipsis_lines", measures.ellipsis_lines, ellipsis_lines_max);
        limits.min("english.gopher_quality.letter_ratio", measures.letter_ratio, letter_ratio_min);
        limits.min("english.gopher_quality.stop_words", measures.n_stop_words as f64, f64::from(stop_words_min));
    }
}

impl GopherRepetition {
    fn push_limits(&self, found: &Repetition, limits: &mut Limits) {
        let [top_2, top_3, top_4] = found.top_ngram_chars;
        let [of_5, of_6, of_7, of_8, of_9, of_10] = found.duplicate_ngram_chars;
        for (rule, value, Share(limit)) in [
            (
                "english.gopher_repetition.duplicate_paragraphs",
                found.duplicate_paragraphs,
                self.duplicate_paragraphs_max,
            ),
            (
                "english.gopher_repetition.duplicate_paragraph_chars",
                found.duplicate_paragraph_chars,
                self.duplicate_paragraph_chars_max,
            ),
            ("english.gopher_repetition.duplicate_lines", found.duplicate_lines, self.duplicate_lines_max),
            (
                "english.gopher_repetition.duplicate_line_chars",
                found.duplicate_line_chars,
                self.duplicate_line_chars_max,
            ),
            ("english.gopher_repetition.top_2_words", top_2, self.top_2_words_max),
            ("english.gopher_repetition.top_3_words", top_3, self.top_3_words_max),
            ("english.gopher_repetition.top_4_words", top_4, self.top_4_words_max),
            ("english.gopher_repetition.duplicate_5_words", of_5, self.duplicate_5_words_max),
            ("english.gopher_repetition.duplicate_6_words", of_6, self.duplicate_6_words_max),
            ("english.gopher_repetition.duplicate_7_words", of_7, self.duplicate_7_words_max),
            ("english.gopher_repetition.duplicate_8_words", of_8, self.duplicate_8_words_max),
            ("english.gopher_repetition.duplicate_9_words", of_9, self.duplicate_9_words_max),
            ("english.gopher_repetition.duplicate_10_words", of_10, self.duplicate_10_words_max),
        ] {
            limits.max(rule, value, limit);
        }
    }
}

impl C4 {
    /// Which lines stay, in words.
    fn lines_kept(&self) -> String {
        let mut kept =
            format!("lines of {} words or more of at most {} characters", self.line_words_min, self.word_chars_max);
        for (is_set, what) in [
            (self.only_lines_that_end_in_marks, " that end in a mark"),
            (self.without_javascript, ", without Javascript"),
            (self.without_policies, ", without policies"),
            (self.without_citations, ", without the marks of citations"),
        ] {
            kept.push_str(if is_set { what } else { "" });
        }
        kept
    }

    fn push_limits(&self, found: &C4Measures, limits: &mut Limits) {
        if self.without_lorem_ipsum {
            limits.max("english.c4.lorem_ipsum", found.n_lorem_ipsum as f64, 0.0);
        }
        if self.without_curly_brackets {
            limits.max("english.c4.curly_brackets", found.n_curly_brackets as f64, 0.0);
        }
        limits.min("english.c4.sentences", found.n_sentences as f64, f64::from(self.sentences_min.get()));
    }
}

impl FineWeb {
    fn push_limits(&self, lines: &LineMeasures, limits: &mut Limits) {
        let Self {
            terminal_lines_min: Share(terminal_lines_min),
            short_lines_max: Share(short_lines_max),
            short_line_chars: _,
            duplicate_line_chars_max: Share(duplicate_line_chars_max),
            newline_ratio_max: Share(newline_ratio_max),
            line_letters_min: _,
        } = *self;
        limits.min("english.fineweb.terminal_lines", lines.terminal_lines, terminal_lines_min);
        limits.max("english.fineweb.short_lines", lines.short_lines, short_lines_max);
        limits.max("english.fineweb.duplicate_line_chars", lines.duplicate_line_chars, duplicate_line_chars_max);
        limits.max("english.fineweb.newline_ratio", lines.newline_ratio, newline_ratio_max);
    }
}

/// Where `[ingest.english.fineweb]` is left out, lines of as many characters are short, so that the signal is there.
const SHORT_LINE_CHARS: u32 = 30;

/// Judges a text by words. [`Scope::UntilBroken`] stops after the first set of rules that is broken.
pub(super) fn judge_words<'t>(
    text: &'t str,
    rules: &EnglishRules,
    scope: Scope,
    scratch: &mut Scratch,
) -> (Cow<'t, str>, Measures, Limits) {
    let (mut measures, mut limits) = (Measures::default(), Limits::default());
    read_lines(text, rules, scratch);
    measures.n_chars = count_chars(text);
    measure_quality(text, scratch, &mut measures);
    if let Some(rules) = &rules.gopher_quality {
        rules.push_limits(&measures, &mut limits);
        if scope.ends_with(&limits) {
            return (Cow::Borrowed(text), measures, limits);
        }
    }
    let Scratch { words, lines, tables, .. } = &mut *scratch;
    let units = Units {
        hashes: &words.hashes,
        chars_to: &words.chars_to,
        gap: WORD_GAP,
        top_times_min: rules.gopher_repetition.as_ref().map_or(1, |rules| rules.top_times_min.get()),
        top: TOP_WORDS,
        duplicate: DUPLICATE_WORDS,
    };
    measures.repetition = measure_repetition(text, measures.n_chars, lines, units, tables);
    if let Some(rules) = &rules.gopher_repetition {
        rules.push_limits(&measures.repetition, &mut limits);
        if scope.ends_with(&limits) {
            return (Cow::Borrowed(text), measures, limits);
        }
    }
    let letters_min = rules.fineweb.as_ref().map_or(0, |rules| rules.line_letters_min);
    let mut edited = Cow::Borrowed(text);
    match &rules.c4 {
        Some(rules) => {
            (edited, measures.c4) = edit(text, rules, letters_min, scratch);
            rules.push_limits(&measures.c4, &mut limits);
            if scope.ends_with(&limits) {
                return (edited, measures, limits);
            }
        }
        None => keep_lines(text, letters_min, scratch),
    }
    let short_line_chars = rules.fineweb.as_ref().map_or(SHORT_LINE_CHARS, |rules| rules.short_line_chars);
    let n_line_ends = if rules.c4.is_some() { scratch.kept.len().max(1) } else { scratch.lines.len() } - 1;
    measures.lines = measure_lines(&scratch.kept, short_line_chars, n_line_ends, &mut scratch.tables.table);
    rules.fineweb.iter().for_each(|rules| rules.push_limits(&measures.lines, &mut limits));
    (edited, measures, limits)
}

/// Cuts a text into lines and words.
fn read_lines(text: &str, rules: &EnglishRules, scratch: &mut Scratch) {
    let letters_min = rules.gopher_repetition.as_ref().map_or(0, |rules| rules.line_letters_min);
    let Scratch { words, lines, .. } = scratch;
    words.clear();
    lines.clear();
    for_each_line(text, |line, place| {
        words.push_line(line);
        lines.push(Line {
            start: place.start,
            end: place.end,
            n_chars: count_chars(line),
            hash: xxh3_64(line.as_bytes()),
            units_to: words.len(),
            is_text: has_letters(line, letters_min),
        });
    });
}

fn measure_quality(text: &str, scratch: &Scratch, measures: &mut Measures) {
    let Scratch { words, lines, .. } = scratch;
    measures.n_words = words.n_written;
    measures.mean_word_length = ratio(words.n_written_chars, words.n_written);
    measures.letter_ratio = ratio(words.n_with_letter, words.len());
    measures.n_stop_words = words.n_stop_words();
    let n_number_signs = text.bytes().filter(|&byte| byte == b'#').count();
    let n_ellipses = text.matches("...").count() + text.matches('…').count();
    measures.symbol_ratio = ratio(n_number_signs.max(n_ellipses), words.len());
    let (mut n_bullets, mut n_ellipsis_ends) = (0, 0);
    for line in lines {
        let line = text[line.start..line.end].trim();
        n_bullets += usize::from(line.starts_with(['•', '-']));
        n_ellipsis_ends += usize::from(line.ends_with("...") || line.ends_with('…'));
    }
    measures.n_lines = lines.iter().filter(|line| line.end > line.start).count();
    measures.bullet_lines = ratio(n_bullets, lines.len());
    measures.ellipsis_lines = ratio(n_ellipsis_ends, lines.len());
}

/// The lines of a text that isn't edited, as FineWeb sees them.
fn keep_lines(text: &str, letters_min: u8, scratch: &mut Scratch) {
    let Scratch { kept, lines, .. } = scratch;
    kept.clear();
    let mut n_units = 0;
    for line in lines {
        let content = &text[line.start..line.end];
        if !content.trim_end().is_empty() {
            let is_terminal = content.ends_with(is_terminal);
            kept.push(KeptLine {
                hash: line.hash,
                n_chars: line.n_chars,
                n_units: line.units_to - n_units,
                is_terminal,
                is_marked: false,
                is_text: has_letters(content, letters_min),
            });
            n_units = line.units_to;
        }
    }
}

/// Takes out the lines that C4 doesn't want. Blank lines and indentation stay where lines around them do, since they
/// are layout; datatrove drops them. FineWeb's rules then see the lines as datatrove leaves them.
fn edit<'t>(text: &'t str, rules: &C4, letters_min: u8, scratch: &mut Scratch) -> (Cow<'t, str>, C4Measures) {
    let mut found = C4Measures::default();
    scratch.kept.clear();
    let has_phrases = C4_SEARCH.is_match(text);
    let mut edited: Option<String> = None;
    // Where the last blank line begins that has not been followed by a line that stays.
    let (mut n_units, mut is_after_blank) = (0, false);
    for index in 0..scratch.lines.len() {
        let line = scratch.lines[index];
        let units = n_units..line.units_to;
        n_units = line.units_to;
        let content = &text[line.start..line.end];
        let trimmed = content.trim();
        if trimmed.is_empty() {
            is_after_blank = true;
            continue;
        }
        let clean = if rules.without_citations { without_citations(trimmed) } else { Cow::Borrowed(trimmed) };
        let is_changed = matches!(clean, Cow::Owned(_));
        if !is_line_kept(trimmed, &clean, has_phrases || is_changed, rules, &mut found) {
            found.n_lines_out += 1;
            edited.get_or_insert_with(|| text[..line.start].trim_end().to_owned());
            continue;
        }
        let n_units = if is_changed {
            scratch.other_words.clear();
            scratch.other_words.push_line(&clean);
            found.n_sentences += count_sentences(&scratch.other_words.flags);
            scratch.other_words.len()
        } else {
            found.n_sentences += count_sentences(&scratch.words.flags[units.clone()]);
            units.len()
        };
        let is_same = trimmed.len() == content.len() && !is_changed;
        scratch.kept.push(KeptLine {
            hash: if is_same { line.hash } else { xxh3_64(clean.as_bytes()) },
            n_chars: if is_same { line.n_chars } else { count_chars(&clean) },
            n_units,
            is_terminal: clean.ends_with(is_terminal),
            is_marked: false,
            is_text: has_letters(&clean, letters_min),
        });
        if is_changed && edited.is_none() {
            edited = Some(text[..line.start].trim_end().to_owned());
        }
        if let Some(edited) = &mut edited {
            if !edited.is_empty() {
                edited.push_str(if is_after_blank { "\n\n" } else { "\n" });
                edited.push_str(&content[..content.len() - content.trim_start().len()]);
            }
            edited.push_str(&clean);
        }
        is_after_blank = false;
    }
    (edited.map_or(Cow::Borrowed(text), Cow::Owned), found)
}

/// Han characters: a Chinese sentence on an English page is one word between spaces, and not a short line.
fn count_han(line: &str) -> usize {
    if line.is_ascii() { 0 } else { line.chars().filter(|&char| is_han(char)).count() }
}

fn is_line_kept(line: &str, clean: &str, may_have_phrases: bool, rules: &C4, found: &mut C4Measures) -> bool {
    let is_too_long = |word: &str| count_chars(word) > rules.word_chars_max as usize;
    if line.len() > rules.word_chars_max as usize && line.split_whitespace().any(is_too_long) {
        return false;
    }
    if rules.only_lines_that_end_in_marks && (!clean.ends_with(['.', '?', '!', '"', '\'']) || clean.ends_with("...")) {
        return false;
    }
    let words_min = rules.line_words_min as usize;
    if words_min > 0 && line.split_whitespace().nth(words_min - 1).is_none() && count_han(line) < words_min {
        return false;
    }
    let mut has_phrase = [false; 3];
    if may_have_phrases {
        for phrase in C4_SEARCH.find_iter(clean) {
            has_phrase[phrase.pattern().as_usize().min(2)] = true;
        }
    }
    let [has_lorem_ipsum, has_javascript, has_policy] = has_phrase;
    found.n_lorem_ipsum += usize::from(has_lorem_ipsum);
    if rules.without_javascript && has_javascript {
        return false;
    }
    found.n_curly_brackets += usize::from(clean.contains('{'));
    !(rules.without_policies && has_policy)
}

/// A line without `[1]`, `[]`, `[edit]`, `[citation needed]`.
fn without_citations(line: &str) -> Cow<'_, str> {
    let Some(first) = line.find('[') else { return Cow::Borrowed(line) };
    let mut clean = String::new();
    let (mut rest, mut at, mut is_changed) = (line, first, false);
    loop {
        let inside = &rest[at + 1..];
        let n_digits = inside.bytes().take_while(u8::is_ascii_digit).count();
        let len = if inside[n_digits..].starts_with(']') {
            Some(n_digits + 1)
        } else {
            ["edit]", "citation needed]"].into_iter().find(|end| inside.starts_with(end)).map(str::len)
        };
        clean.push_str(&rest[..at]);
        match len {
            Some(_) => is_changed = true,
            None => clean.push('['),
        }
        rest = &inside[len.unwrap_or(0)..];
        let Some(next) = rest.find('[') else { break };
        at = next;
    }
    clean.push_str(rest);
    if is_changed { Cow::Owned(clean) } else { Cow::Borrowed(line) }
}

/// Marks that end a sentence, of the scripts that an English page may quote: datatrove's `TERMINAL_PUNCTUATION`. A
/// closing quote is not among them.
fn is_terminal(char: char) -> bool {
    matches!(char, '.' | '?' | '!') || (!char.is_ascii() && "。？！．｡‼‽⁇⁈⁉⸮⸼﹒﹖﹗؟۔।॥։".contains(char))
}
