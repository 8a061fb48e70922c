//! Which language a text is in, how sure one can be, and which script its Chinese is written in.
//!
//! Counting letters by writing system ([`Writing`]) decides between Chinese, Japanese, Korean and the rest: a Han
//! character weighs as three letters, as it does in UTF-8, so that a Chinese manual full of commands is still Chinese.
//! Kana, or characters that only Japan writes, make Han characters Japanese. An alphabet that one language has for
//! itself names the language. Languages that share an alphabet are told apart by a linear model over hashed n-grams of
//! letters (softmax regression, the n-gram features of Joulin et al. 2016, arXiv 1607.01759, without its hidden layer);
//! its table is made by `cargo xtask language-table` and lies in `language/letters.table.zst`.
//!
//! Confidence is a calibrated probability (of held-out sentences and four-word snippets called with 0.8 to 0.9, nine of
//! ten are right) times the share of the text that is in that writing at all. Frequent languages get a
//! head start ([`CLASSES`]).
//!
//! At most [`WINDOWS`] windows of [`WINDOW_BYTES`] bytes are looked at, spread evenly from the first byte to the last,
//! so that a page in two languages isn't judged by its first paragraph. What stands between the windows of a long
//! document isn't seen: a foreign passage of a tenth of it is found or missed by where it lies, and shares of a mixed
//! page are right to a sixth.

use std::sync::LazyLock;

use crate::language::letters::{CLASSES, N_COLUMNS, N_ROWS, N_WRITINGS, Writing, fold, for_each_row};

pub(crate) mod letters;

/// Places that are looked at in a long text.
const WINDOWS: usize = 6;

/// Bytes in each; what a thousand letters don't tell, more won't.
const WINDOW_BYTES: usize = 176;

/// The writings of which a character weighs as many letters.
const CJK: [Writing; 3] = [Writing::Han, Writing::Kana, Writing::Hangul];
const CJK_WEIGHT: usize = 3;

/// From this share of kana on, Han characters are Japanese.
const KANA_SHARE_MIN: f64 = 0.1;

/// From this share of characters that only Japan writes on, Han characters are Japanese without any kana.
const SHINJITAI_SHARE_MIN: f64 = 0.08;

/// A window that says another language than the whole text does at least at this probability is in another language.
const ANOTHER_LANGUAGE_MIN: f32 = 0.9;

/// With fewer n-grams a window has no say of its own.
const WINDOW_ROWS_MIN: usize = 200;

/// A second script or language that has this share of a text makes it mixed.
const MIXED_SHARE_MIN: f64 = 0.2;

/// A text with so much Chinese, Japanese or Korean is not in another language than English.
const CJK_SHARE_LIKELY: f64 = 1.0 / 3.0;

/// English of fewer function words than this is no prose: names of commands, tables, code. Measured on 9,883 English
/// articles: median 0.32, least 0.10.
const PROSE_SHARE_MIN: f64 = 0.1;

/// A sentence is longer than the commands and names in a text of another writing.
const RUN_WORDS_MIN: usize = 7;

/// Chinese of both scripts has at least so many telling characters of the rarer one.
const BOTH_SCRIPTS_MIN: usize = 4;

/// Words that are frequent in English prose; in order of bytes.
const FUNCTION_WORDS: [&str; 64] = [
    "about", "after", "all", "and", "any", "are", "as", "be", "because", "been", "between", "but", "by", "can",
    "could", "do", "does", "for", "from", "had", "has", "have", "he", "her", "his", "how", "if", "into", "is", "it",
    "its", "my", "not", "of", "or", "our", "she", "should", "than", "that", "the", "their", "them", "then", "there",
    "these", "they", "this", "to", "using", "was", "we", "were", "what", "when", "where", "which", "who", "why",
    "will", "with", "would", "you", "your",
];

/// Three paragraphs of characters: those that only Simplified Chinese has, only Traditional Chinese, only Japanese.
/// Made by `cargo xtask language-table` from OpenCC's tables and the character sets GB 2312 and Big5.
const HAN_TELLING: &str = include_str!("language/han.txt");

/// The first and the last character that [`HAN_TELLING`] can hold.
const HAN_FIRST: u32 = 0x4E00;
const HAN_LAST: u32 = 0x9FFF;

/// Weights of the n-grams of letters, compressed: a scale, then a row of a byte a column.
const LETTERS: &[u8] = include_bytes!("language/letters.table.zst");

/// What a Han character says about where it is written, by its position behind [`HAN_FIRST`].
static TELLING: LazyLock<Vec<Telling>> = LazyLock::new(|| {
    let mut telling = vec![Telling::Nothing; (HAN_LAST - HAN_FIRST + 1) as usize];
    let places = [Telling::Simplified, Telling::Traditional, Telling::Japanese];
    for (paragraph, place) in HAN_TELLING.split("\n\n").zip(places) {
        for char in paragraph.chars().filter(|char| !char.is_whitespace()) {
            telling[(u32::from(char) - HAN_FIRST) as usize] = place;
        }
    }
    telling
});

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let table = zstd::decode_all(LETTERS).expect("the table is a zstd frame");
    let (scale, rows) = table.split_first_chunk().expect("the table begins with its scale");
    let (rows, rest) = rows.as_chunks::<N_COLUMNS>();
    assert!(rest.is_empty() && rows.len() == N_ROWS, "the table has {N_ROWS} rows of {N_COLUMNS} columns");
    let rows = rows.iter().map(|row| row.map(|byte| byte.cast_signed())).collect();
    Table { scale: f32::from_le_bytes(*scale), rows }
});

/// A language and how sure of it one can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Language {
    /// `en`, `zh`, another code of ISO 639-1, or `unknown`.
    pub code: &'static str,
    /// From 0 to 1: the probability of the language, times the share of the text that is written as it is.
    pub confidence: f64,
    /// For Chinese that has telling characters.
    pub script: Option<Script>,
    /// For Chinese that has telling characters: the share of them that is simplified.
    pub simplified_share: Option<f64>,
    /// What the text is written with.
    pub shares: Shares,
    /// Whether a second language has a good part of the text: prose in another writing, or windows in another language.
    pub is_mixed: bool,
}

/// Shares of a text by writing, together 1 where there are letters at all. A Han, kana or hangul character weighs as
/// three letters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// Han characters.
    pub han: f64,
    /// Hiragana and katakana.
    pub kana: f64,
    /// Hangul.
    pub hangul: f64,
    /// Latin letters.
    pub latin: f64,
    /// All other letters.
    pub other: f64,
}

/// How Chinese is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Simplified.
    Hans,
    /// Traditional.
    Hant,
    /// Both, each for a good part of the text.
    Both,
}

/// What a text of some language is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The language puts spaces between words.
    Words,
    /// It does not.
    Characters,
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Telling {
    Nothing,
    Simplified,
    Traditional,
    Japanese,
}

struct Table {
    scale: f32,
    rows: Vec<[i8; N_COLUMNS]>,
}

/// What was counted in the windows of a text.
struct Counts {
    /// Letters, by [`Writing`].
    letters: [usize; N_WRITINGS],
    /// Han characters, by [`Telling`].
    telling: [usize; 4],
}

/// The likeliest of the languages that share a writing.
struct Guess {
    code: &'static str,
    probability: f32,
    /// Share of the windows, by n-grams, that are in another language.
    another_share: f64,
}

impl Script {
    /// The name in ISO 15924.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hans => "Hans",
            Self::Hant => "Hant",
            Self::Both => "Hani",
        }
    }
}

impl Unit {
    /// The unit of a language by its code.
    pub fn of(lang: &str) -> Self {
        match lang {
            "zh" | "ja" | "th" | "km" | "my" | "lo" | "bo" => Self::Characters,
            _ => Self::Words,
        }
    }
}

/// Finds the language of a text. Cost: about twenty microseconds, however long it is.
pub fn detect_language(text: &str) -> Language {
    let windows = windows(text);
    let counts = count(&windows);
    let shares = counts.shares();
    let unknown =
        Language { code: "unknown", confidence: 0.0, script: None, simplified_share: None, shares, is_mixed: false };
    let (writing, share) = counts.main_alphabet();
    let cjk = shares.han + shares.kana + shares.hangul;
    if cjk + share == 0.0 {
        return unknown;
    }
    // Where either is all but absent, the other isn't asked.
    let letters = if share < MIXED_SHARE_MIN && cjk > 0.5 { None } else { Some(detect_letters(&windows, writing)) };
    let is_prose =
        cjk < MIXED_SHARE_MIN || letters.as_ref().is_some_and(|guess| share > 0.0 && is_prose(guess, &windows));
    // Beside so much of it, letters are names and code, which can look like any language.
    let is_likely = |guess: &Guess| cjk < CJK_SHARE_LIKELY || (cjk <= 0.5 && guess.code == "en");
    if let Some(guess) = letters.filter(|guess| is_likely(guess) && is_prose) {
        let confidence = f64::from(guess.probability) * share * (1.0 - guess.another_share);
        let is_mixed = cjk >= MIXED_SHARE_MIN || guess.another_share >= MIXED_SHARE_MIN;
        return Language { code: guess.code, confidence, is_mixed, ..unknown };
    }
    let is_mixed = is_prose && share >= MIXED_SHARE_MIN;
    if shares.hangul > shares.han + shares.kana {
        return Language { code: "ko", confidence: shares.hangul, is_mixed, ..unknown };
    }
    if counts.is_japanese() {
        return Language { code: "ja", confidence: shares.han + shares.kana, is_mixed, ..unknown };
    }
    let (script, simplified_share) = counts.chinese_script();
    // Names and code in Latin letters are no reason to doubt that a text is Chinese.
    let confidence = if is_prose { shares.han } else { shares.han / cjk };
    Language { code: "zh", confidence, script, simplified_share, is_mixed, ..unknown }
}

/// Whether `char` is a Han character.
pub(crate) fn is_han(char: char) -> bool {
    matches!(char, '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{3005}' | '\u{3007}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFD}')
}

impl Counts {
    fn n_letters(&self, writing: Writing) -> usize {
        self.letters[writing as usize]
    }

    /// All letters by weight.
    fn weight(&self) -> usize {
        let n_cjk: usize = CJK.map(|writing| self.n_letters(writing)).iter().sum();
        self.letters[Writing::None as usize + 1..].iter().sum::<usize>() + (CJK_WEIGHT - 1) * n_cjk
    }

    fn share(&self, writing: Writing) -> f64 {
        let weight = if CJK.contains(&writing) { CJK_WEIGHT } else { 1 };
        (weight * self.n_letters(writing)) as f64 / self.weight().max(1) as f64
    }

    fn shares(&self) -> Shares {
        let [han, kana, hangul] = CJK.map(|writing| self.share(writing));
        let latin = self.share(Writing::Latin);
        let is_other = |writing: &Writing| !matches!(writing, Writing::None | Writing::Latin) && !CJK.contains(writing);
        let other = Writing::ALL.into_iter().filter(is_other).map(|writing| self.share(writing)).sum();
        Shares { han, kana, hangul, latin, other }
    }

    /// The alphabet with the most letters, and its share of the text.
    fn main_alphabet(&self) -> (Writing, f64) {
        let is_alphabet = |writing: &Writing| *writing != Writing::None && !CJK.contains(writing);
        let alphabets = Writing::ALL.into_iter().filter(is_alphabet);
        let most = alphabets.max_by_key(|&writing| self.n_letters(writing)).expect("there are alphabets");
        (most, self.share(most))
    }

    fn is_japanese(&self) -> bool {
        let (han, kana) = (self.n_letters(Writing::Han) as f64, self.n_letters(Writing::Kana) as f64);
        let shinjitai = self.telling[Telling::Japanese as usize] as f64;
        kana >= KANA_SHARE_MIN * (han + kana) || shinjitai >= (SHINJITAI_SHARE_MIN * han).max(2.0)
    }

    fn chinese_script(&self) -> (Option<Script>, Option<f64>) {
        let n_simplified = self.telling[Telling::Simplified as usize];
        let n_traditional = self.telling[Telling::Traditional as usize];
        let n_telling = n_simplified + n_traditional;
        if n_telling == 0 {
            return (None, None);
        }
        let n_rarer = n_simplified.min(n_traditional);
        let are_both = n_rarer >= BOTH_SCRIPTS_MIN && n_rarer as f64 >= MIXED_SHARE_MIN * n_telling as f64;
        let script = match n_simplified.cmp(&n_traditional) {
            _ if are_both => Some(Script::Both),
            std::cmp::Ordering::Greater => Some(Script::Hans),
            std::cmp::Ordering::Less => Some(Script::Hant),
            std::cmp::Ordering::Equal => None,
        };
        (script, Some(n_simplified as f64 / n_telling as f64))
    }
}

fn count(windows: &[&str]) -> Counts {
    let mut counts = Counts { letters: [0; N_WRITINGS], telling: [0; 4] };
    let telling = &**TELLING;
    for char in windows.iter().flat_map(|window| window.chars()) {
        let (writing, _) = fold(char);
        counts.letters[writing as usize] += 1;
        if writing == Writing::Han {
            let told = telling.get(u32::from(char).wrapping_sub(HAN_FIRST) as usize);
            counts.telling[told.map_or(0, |&told| told as usize)] += 1;
        }
    }
    counts
}

/// The language of the letters of one writing.
fn detect_letters(windows: &[&str], writing: Writing) -> Guess {
    if let Some(code) = only_language(writing) {
        return Guess { code, probability: if code == "unknown" { 0.0 } else { 1.0 }, another_share: 0.0 };
    }
    let sums: Vec<([i32; N_COLUMNS], usize)> = windows.iter().map(|window| sum_rows(window)).collect();
    let mut total = ([0; N_COLUMNS], 0);
    for (sum, n_rows) in &sums {
        total.0.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
        total.1 += n_rows;
    }
    let (column, probability) = likeliest(&total.0, total.1, writing);
    let is_another = |(sum, n_rows): &&([i32; N_COLUMNS], usize)| {
        let (other, probability) = likeliest(sum, *n_rows, writing);
        *n_rows >= WINDOW_ROWS_MIN && other != column && probability >= ANOTHER_LANGUAGE_MIN
    };
    let n_another: usize = sums.iter().filter(is_another).map(|(_, n_rows)| n_rows).sum();
    Guess { code: CLASSES[column].0, probability, another_share: n_another as f64 / total.1.max(1) as f64 }
}

/// Sums the rows of all n-grams of a text.
pub(crate) fn sum_rows(text: &str) -> ([i32; N_COLUMNS], usize) {
    // So many bytes of either sign fit into 16 bits, which twice as many sums a register have.
    const BLOCK: usize = 256;
    let table = &TABLE.rows;
    let mut rows = Vec::with_capacity(4 * text.len());
    for_each_row(text, |row| rows.push(row as u16));
    let mut sums = [0_i32; N_COLUMNS];
    for block in rows.chunks(BLOCK) {
        let mut block_sums = [0_i16; N_COLUMNS];
        for &row in block {
            let weights = &table[usize::from(row)];
            for (sum, &weight) in block_sums.iter_mut().zip(weights) {
                *sum = sum.wrapping_add(i16::from(weight));
            }
        }
        sums.iter_mut().zip(block_sums).for_each(|(sum, block_sum)| *sum += i32::from(block_sum));
    }
    (sums, rows.len())
}

/// A row of the table.
#[cfg(test)]
pub(crate) fn weights(row: usize) -> &'static [i8; N_COLUMNS] {
    &TABLE.rows[row]
}

/// The likeliest language of a writing, as its column, and its probability: the softmax of the mean weights times the
/// root of how many there are, since evidence is not independent.
fn likeliest(sums: &[i32; N_COLUMNS], n_rows: usize, writing: Writing) -> (usize, f32) {
    let factor = TABLE.scale / (n_rows.max(1) as f32).sqrt();
    let logit = |column: usize| sums[column] as f32 * factor + CLASSES[column].2.ln();
    let columns = || (0..CLASSES.len()).filter(|&column| CLASSES[column].1 == writing);
    let best = columns().max_by(|&one, &other| logit(one).total_cmp(&logit(other)));
    let best = best.expect("every shared writing has languages");
    let mass: f32 = columns().map(|column| (logit(column) - logit(best)).exp()).sum();
    (best, 1.0 / mass)
}

/// Whether what the letters say is running text, and not names, commands and code in a text of another writing.
fn is_prose(guess: &Guess, windows: &[&str]) -> bool {
    if guess.code != "en" {
        return guess.probability >= ANOTHER_LANGUAGE_MIN && is_in_long_runs(windows);
    }
    let (mut n_words, mut n_function_words) = (0_usize, 0_usize);
    let words = windows.iter().flat_map(|window| window.split(|char: char| !char.is_ascii_alphabetic()));
    for word in words.filter(|word| !word.is_empty()) {
        n_words += 1;
        n_function_words += usize::from(is_function_word(word));
    }
    n_function_words as f64 >= PROSE_SHARE_MIN * n_words as f64
}

/// Whether most words stand in runs of [`RUN_WORDS_MIN`] or more, which end at a CJK character, a line or a sign of code.
fn is_in_long_runs(windows: &[&str]) -> bool {
    let is_end = |char: char| {
        let is_cjk = matches!(fold(char).0, Writing::Han | Writing::Kana | Writing::Hangul);
        is_cjk || matches!(char, '\n' | '/' | '=' | '_' | '<' | '>' | '{' | '}' | '$' | '|')
    };
    let (mut n_words, mut n_in_long_runs) = (0_usize, 0_usize);
    for run in windows.iter().flat_map(|window| window.split(is_end)) {
        let n_of_run = run.split_whitespace().count();
        n_words += n_of_run;
        n_in_long_runs += if n_of_run >= RUN_WORDS_MIN { n_of_run } else { 0 };
    }
    2 * n_in_long_runs >= n_words
}

fn is_function_word(word: &str) -> bool {
    let mut lower = [0; 8];
    let Some(lower) = lower.get_mut(..word.len()) else { return false };
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    FUNCTION_WORDS.binary_search_by(|function_word| function_word.as_bytes().cmp(lower)).is_ok()
}

/// The language that has an alphabet for itself, or nearly so.
fn only_language(writing: Writing) -> Option<&'static str> {
    match writing {
        Writing::Latin | Writing::Cyrillic | Writing::Arabic | Writing::Devanagari => None,
        Writing::Greek => Some("el"),
        Writing::Armenian => Some("hy"),
        Writing::Hebrew => Some("he"),
        Writing::Bengali => Some("bn"),
        Writing::Gurmukhi => Some("pa"),
        Writing::Gujarati => Some("gu"),
        Writing::Odia => Some("or"),
        Writing::Tamil => Some("ta"),
        Writing::Telugu => Some("te"),
        Writing::Kannada => Some("kn"),
        Writing::Malayalam => Some("ml"),
        Writing::Sinhala => Some("si"),
        Writing::Thai => Some("th"),
        Writing::Lao => Some("lo"),
        Writing::Tibetan => Some("bo"),
        Writing::Myanmar => Some("my"),
        Writing::Georgian => Some("ka"),
        Writing::Ethiopic => Some("am"),
        Writing::Khmer => Some("km"),
        Writing::None | Writing::Han | Writing::Kana | Writing::Hangul | Writing::Other => Some("unknown"),
    }
}

/// Pieces of a text that stand for it, the first at its beginning and the last at its end: all of a short one.
fn windows(text: &str) -> Vec<&str> {
    if text.len() <= WINDOWS * WINDOW_BYTES {
        return vec![text];
    }
    let last = text.len() - WINDOW_BYTES;
    let starts = (0..WINDOWS).map(|index| text.floor_char_boundary(last * index / (WINDOWS - 1)));
    starts.map(|start| &text[start..text.floor_char_boundary(start + WINDOW_BYTES)]).collect()
}
