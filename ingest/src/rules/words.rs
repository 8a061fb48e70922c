//! English words as the published rules count them: marks are words of their own, contractions are two.
//!
//! FineWeb ran the rules of Gopher, C4 and its own with datatrove, which takes spaCy's English tokenizer. Its rules
//! (spaCy 3.8, MIT licence, `lang/punctuation.py`) are repeated here without a regular expression: text is cut at white
//! space; marks are taken from both ends of a piece for as long as there are any, unless what is left is one of the
//! [exceptions](super::exceptions) or a web address; the rest is cut at hyphens, commas and the like between letters;
//! last, neighbours that together are an exception (`:` and `)`) become one. Nine pieces in ten are letters with at
//! most one mark behind them, and need none of this.
//!
//! Known differences: letters are those of Unicode, where spaCy has a list of blocks that lacks a few scripts (Georgian,
//! Armenian); symbols are those of the blocks where nearly all of them are; units after a number (`5kg`) are
//! the Latin ones. None of them was met in 18 MB of English (docs/parity-datatrove.md). And spaCy looks for faces across
//! white space too, which never makes one but keeps a face from being seen that overlaps it (`):` in `# : ):17a`): one
//! in 700 random strings of little but marks differs for that, and for nothing else.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use super::address::is_web_address;
use super::exceptions::{EXCEPTIONS, Exceptions, LONGEST};
use super::hash::hash_bytes;
use super::marks::{
    is_currency, is_letter, is_lower, is_mark, is_outer_mark, is_punctuation, is_quote, is_symbol, is_terminator,
    is_upper,
};

/// Gopher's stop words: connected English prose has at least two of them. They count in lower case only.
const STOP_WORDS: [&[u8]; 8] = [b"and", b"be", b"have", b"of", b"that", b"the", b"to", b"with"];

/// Units of measure that part from the number before them.
const UNITS: [&str; 48] = [
    "km", "km²", "km³", "m", "m²", "m³", "dm", "dm²", "dm³", "cm", "cm²", "cm³", "mm", "mm²", "mm³", "ha", "µm", "nm",
    "yd", "in", "ft", "kg", "g", "mg", "µg", "t", "lb", "oz", "m/s", "km/h", "kmh", "mph", "hPa", "Pa", "mbar", "mb",
    "MB", "kb", "KB", "gb", "GB", "tb", "TB", "T", "G", "M", "K", "%",
];

/// The bytes of the longest of [`UNITS`].
const LONGEST_UNIT: usize = 4;

/// Facts about one word.
pub(super) mod flag {
    /// Has a letter.
    pub(in super::super) const LETTER: u8 = 1;
    /// Is more than marks.
    pub(in super::super) const WRITTEN: u8 = 2;
    /// Is a mark that ends a sentence.
    pub(in super::super) const TERMINATOR: u8 = 4;
    /// Is nothing but punctuation.
    pub(in super::super) const PUNCTUATION: u8 = 8;
    /// Stands after more than a single space.
    pub(in super::super) const AFTER_GAP: u8 = 16;
}

/// The words of a text, used again for the next one.
#[derive(Default)]
pub(super) struct Words {
    /// The hash of each word.
    pub(super) hashes: Vec<u64>,
    /// Characters of all words up to and with each one.
    pub(super) chars_to: Vec<u32>,
    /// What [`flag`] says of each.
    pub(super) flags: Vec<u8>,
    /// Words that are more than marks.
    pub(super) n_written: usize,
    /// Characters of those.
    pub(super) n_written_chars: usize,
    /// Words with a letter.
    pub(super) n_with_letter: usize,
    /// A bit for each of the [`STOP_WORDS`] that occurs.
    stop_words: u8,
    pieces: Vec<Range<usize>>,
    suffixes: Vec<Range<usize>>,
}

impl Words {
    /// Forgets the words of the text before.
    pub(super) fn clear(&mut self) {
        self.hashes.clear();
        self.chars_to.clear();
        self.flags.clear();
        (self.n_written, self.n_written_chars, self.n_with_letter, self.stop_words) = (0, 0, 0, 0);
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// How many different stop words occur.
    pub(super) fn n_stop_words(&self) -> usize {
        self.stop_words.count_ones() as usize
    }

    /// Adds the words of a line.
    pub(super) fn push_line(&mut self, line: &str) {
        let (bytes, exceptions) = (line.as_bytes(), &*EXCEPTIONS);
        let mut at = 0;
        while at < bytes.len() {
            let gap = skip_space(line, at);
            let is_gap = gap > at + 1 || (gap > at && bytes[at] != b' ');
            at = gap;
            if at == bytes.len() {
                break;
            }
            let start = at;
            while at < bytes.len() && bytes[at].is_ascii_alphabetic() {
                at += 1;
            }
            let n_before = self.len();
            let is_at_end = |at: usize| at == bytes.len() || matches!(bytes[at], b' ' | b'\t');
            if at > start && is_at_end(at) {
                self.push_letters(&bytes[start..at], exceptions);
            } else if at > start && is_at_end(at + 1) && is_plain_mark(&bytes[start..=at]) {
                if bytes[at] == b'.' && is_abbreviation(&line[start..=at], exceptions) {
                    self.push_chunk(&line[start..=at], exceptions);
                } else {
                    self.push_letters(&bytes[start..at], exceptions);
                    self.push_mark(bytes[at]);
                }
                at += 1;
            } else {
                at = find_space(line, at);
                self.push_chunk(&line[start..at], exceptions);
            }
            if is_gap && self.len() > n_before {
                self.flags[n_before] |= flag::AFTER_GAP;
            }
        }
    }

    /// A word of ASCII letters alone.
    fn push_letters(&mut self, word: &[u8], exceptions: &Exceptions) {
        let hash = hash_bytes(word);
        if word.len() <= LONGEST
            && let Some(pieces) = exceptions.pieces(hash, word)
        {
            let mut rest = word;
            for &len in pieces {
                let (piece, after) = rest.split_at(usize::from(len));
                self.push_ascii_word(piece, hash_bytes(piece));
                rest = after;
            }
            return;
        }
        self.push_ascii_word(word, hash);
    }

    fn push_ascii_word(&mut self, word: &[u8], hash: u64) {
        if (2..=4).contains(&word.len())
            && let Some(index) = STOP_WORDS.iter().position(|&stop_word| stop_word == word)
        {
            self.stop_words |= 1 << index;
        }
        self.push_counted(hash, word.len(), flag::LETTER | flag::WRITTEN);
    }

    fn push_mark(&mut self, mark: u8) {
        let is_terminator = matches!(mark, b'.' | b'!' | b'?');
        let flags = flag::PUNCTUATION | if is_terminator { flag::TERMINATOR } else { 0 };
        self.push_counted(hash_bytes(&[mark]), 1, flags);
    }

    fn push(&mut self, word: &str) {
        if word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return self.push_ascii_word(word.as_bytes(), hash_bytes(word.as_bytes()));
        }
        let (mut n_chars, mut flags) = (0, flag::PUNCTUATION);
        for char in word.chars() {
            n_chars += 1;
            if char.is_alphabetic() {
                flags |= flag::LETTER;
            }
            if !is_mark(char) {
                flags |= flag::WRITTEN;
            }
            if !is_punctuation(char) {
                flags &= !flag::PUNCTUATION;
            }
        }
        if n_chars == 1 && word.chars().all(is_terminator) {
            flags |= flag::TERMINATOR;
        }
        self.push_counted(hash_bytes(word.as_bytes()), n_chars, flags);
    }

    fn push_counted(&mut self, hash: u64, n_chars: usize, flags: u8) {
        if flags & flag::WRITTEN != 0 {
            self.n_written += 1;
            self.n_written_chars += n_chars;
        }
        self.n_with_letter += usize::from(flags & flag::LETTER != 0);
        self.hashes.push(hash);
        self.chars_to.push(self.chars_to.last().map_or(0, |&before| before) + n_chars as u32);
        self.flags.push(flags);
    }

    /// Splits what stands between two spaces.
    fn push_chunk(&mut self, chunk: &str, exceptions: &Exceptions) {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.clear();
        self.split(chunk, exceptions, &mut pieces);
        if pieces.len() > 1 {
            join_exceptions(chunk, &mut pieces);
        }
        for piece in &pieces {
            self.push(&chunk[piece.clone()]);
        }
        self.pieces = pieces;
    }

    fn split(&mut self, chunk: &str, exceptions: &Exceptions, pieces: &mut Vec<Range<usize>>) {
        self.suffixes.clear();
        let (mut start, mut end) = (0, chunk.len());
        while start < end {
            let rest = &chunk[start..end];
            if exceptions.find(rest).is_some() {
                break;
            }
            let n_prefix = prefix_len(rest);
            if n_prefix > 0 && exceptions.find(&rest[n_prefix..]).is_some() {
                pieces.push(start..start + n_prefix);
                start += n_prefix;
                break;
            }
            let n_suffix = suffix_len(&rest[n_prefix..]);
            if n_suffix > 0 && exceptions.find(&rest[..rest.len() - n_suffix]).is_some() {
                self.suffixes.push(end - n_suffix..end);
                end -= n_suffix;
                break;
            }
            if n_prefix == 0 && n_suffix == 0 {
                break;
            }
            if n_prefix > 0 {
                pieces.push(start..start + n_prefix);
                start += n_prefix;
            }
            if n_suffix > 0 {
                self.suffixes.push(end - n_suffix..end);
                end -= n_suffix;
            }
        }
        if start < end {
            push_middle(chunk, start..end, exceptions, pieces);
        }
        pieces.extend(self.suffixes.drain(..).rev());
    }
}

/// What is left between the marks at both ends.
fn push_middle(chunk: &str, middle: Range<usize>, exceptions: &Exceptions, pieces: &mut Vec<Range<usize>>) {
    let text = &chunk[middle.clone()];
    if let Some(lens) = exceptions.find(text) {
        let mut start = middle.start;
        for &len in lens {
            pieces.push(start..start + usize::from(len));
            start += usize::from(len);
        }
        return;
    }
    let Some(mut infix) = next_infix(text, 0) else {
        pieces.push(middle);
        return;
    };
    if is_web_address(text) {
        pieces.push(middle);
        return;
    }
    let mut start = 0;
    loop {
        // One at the very start stays with what follows.
        if infix.start > 0 {
            if infix.start > start {
                pieces.push(middle.start + start..middle.start + infix.start);
            }
            pieces.push(middle.start + infix.start..middle.start + infix.end);
            start = infix.end;
        }
        let Some(next) = next_infix(text, infix.end) else { break };
        infix = next;
    }
    if start < text.len() {
        pieces.push(middle.start + start..middle.end);
    }
}

/// Exceptions that the general rules cut into several pieces, by those pieces joined.
static JOINED: LazyLock<HashMap<&'static str, Vec<u8>>> = LazyLock::new(|| {
    let nothing = Exceptions::none();
    let mut words = Words::default();
    let mut joined = HashMap::new();
    for (word, lens) in EXCEPTIONS.iter() {
        let mut pieces = Vec::new();
        words.split(word, &nothing, &mut pieces);
        let is_same = pieces.len() == lens.len() && pieces.iter().zip(lens).all(|(a, &b)| a.len() == usize::from(b));
        if pieces.len() > 1 && !is_same {
            joined.insert(word, pieces.iter().map(|piece| piece.len() as u8).collect());
        }
    }
    joined
});

/// No face has more marks.
const JOINED_PIECES_MAX: usize = 9;

/// Puts pieces together that are an exception only when seen together, the longest first.
fn join_exceptions(chunk: &str, pieces: &mut Vec<Range<usize>>) {
    let joined = &*JOINED;
    let mut found: Vec<(Range<usize>, &'static str)> = Vec::new();
    for first in 0..pieces.len() - 1 {
        for last in first + 1..pieces.len().min(first + JOINED_PIECES_MAX) {
            let text = &chunk[pieces[first].start..pieces[last].end];
            if text.len() > LONGEST {
                break;
            }
            let Some((&word, lens)) = joined.get_key_value(text) else { continue };
            let here = pieces[first..=last].iter().map(Range::len);
            if here.eq(lens.iter().map(|&len| usize::from(len))) {
                found.push((first..last + 1, word));
            }
        }
    }
    if found.is_empty() {
        return;
    }
    found.sort_by_key(|(place, _)| std::cmp::Reverse((place.len(), std::cmp::Reverse(place.start))));
    let mut is_taken = vec![false; pieces.len()];
    let mut chosen = Vec::new();
    for (place, word) in found {
        if !is_taken[place.start] && !is_taken[place.end - 1] {
            chosen.push((place.clone(), word));
        }
        is_taken[place].fill(true);
    }
    chosen.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    for (place, word) in chosen {
        let mut start = pieces[place.start].start;
        let lens = EXCEPTIONS.find(word).expect("joined words are exceptions");
        let whole: Vec<Range<usize>> = lens
            .iter()
            .map(|&len| {
                start += usize::from(len);
                start - usize::from(len)..start
            })
            .collect();
        pieces.splice(place, whole);
    }
}

/// How many sentences the words of a line make: one begins after a terminator, at the next word that isn't a mark.
pub(super) fn count_sentences(flags: &[u8]) -> usize {
    if flags.is_empty() {
        return 0;
    }
    let (mut n_sentences, mut is_after_terminator) = (1, false);
    for &flags in flags {
        if is_after_terminator && flags & flag::AFTER_GAP != 0 {
            n_sentences += 1;
            is_after_terminator = false;
        }
        if flags & flag::TERMINATOR != 0 {
            is_after_terminator = true;
        } else if is_after_terminator && flags & flag::PUNCTUATION == 0 {
            n_sentences += 1;
            is_after_terminator = false;
        }
    }
    n_sentences
}

fn skip_space(line: &str, mut at: usize) -> usize {
    let bytes = line.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b' ' | b'\t'..=b'\r' => at += 1,
            0..=0x7F => break,
            _ => match line[at..].chars().next() {
                Some(char) if char.is_whitespace() => at += char.len_utf8(),
                _ => break,
            },
        }
    }
    at
}

fn find_space(line: &str, mut at: usize) -> usize {
    let bytes = line.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b' ' | b'\t'..=b'\r' => break,
            0..=0x7F => at += 1,
            _ => match line[at..].chars().next() {
                Some(char) if !char.is_whitespace() => at += char.len_utf8(),
                _ => break,
            },
        }
    }
    at
}

/// Whether a word with its dot is an exception, or the last piece of the word with the dot may be one (`id.`).
fn is_abbreviation(word: &str, exceptions: &Exceptions) -> bool {
    exceptions.find(word).is_some() || exceptions.find(&word[..word.len() - 1]).is_some()
}

/// Whether the last byte of a word is a mark that always parts from the letters before it.
fn is_plain_mark(word: &[u8]) -> bool {
    let [before @ .., mark] = word else { return false };
    match mark {
        b',' | b';' | b':' | b'!' | b'?' => true,
        b'.' => is_before_dot(before),
        _ => false,
    }
}

/// Whether a dot after these ASCII letters stands for itself: `end.` and `USA.`, not `B.`
fn is_before_dot(word: &[u8]) -> bool {
    match word {
        [.., last] if last.is_ascii_lowercase() => true,
        [.., first, last] => first.is_ascii_uppercase() && last.is_ascii_uppercase(),
        _ => false,
    }
}

fn prefix_len(text: &str) -> usize {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return 0 };
    let is_prefix = match first {
        '§' | '%' | '=' | '—' | '–' => true,
        '+' => !chars.next().is_some_and(|next| next.is_ascii_digit()),
        '.' => {
            let n_dots = text.len() - text.trim_start_matches('.').len();
            return if n_dots > 1 { n_dots } else { 0 };
        }
        'U' if text.starts_with("US$") => return 3,
        'C' | 'A' if text[1..].starts_with('$') => return 2,
        _ => is_outer_mark(first) || is_currency(first) || is_symbol(first),
    };
    if is_prefix { first.len_utf8() } else { 0 }
}

fn suffix_len(text: &str) -> usize {
    let mut chars = text.chars();
    let Some(last) = chars.next_back() else { return 0 };
    let before = chars.next_back();
    let is_after_digit = before.is_some_and(|before| before.is_ascii_digit());
    match last {
        '.' => return dots_len(text, before),
        '…' if before == Some('…') => return 2 * last.len_utf8(),
        's' | 'S' if matches!(before, Some('\'' | '’')) => return last.len_utf8() + before.map_or(0, char::len_utf8),
        '$' if ["US$", "C$", "A$"].iter().any(|sign| {
            text.strip_suffix(sign).is_some_and(|rest| rest.ends_with(|char: char| char.is_ascii_digit()))
        }) =>
        {
            return if text.ends_with("US$") { 3 } else { 2 };
        }
        '+' if is_after_digit => return 1,
        '—' | '–' => return last.len_utf8(),
        _ => {}
    }
    let is_suffix = is_outer_mark(last) || is_symbol(last) || (is_after_digit && is_currency(last));
    if is_suffix { last.len_utf8() } else { unit_len(text) }
}

/// A run of dots, or a dot after a character that it doesn't abbreviate.
fn dots_len(text: &str, before: Option<char>) -> usize {
    let Some(before) = before else { return 0 };
    if before == '.' {
        return text.len() - text.trim_end_matches('.').len();
    }
    let is_apart = before.is_ascii_digit()
        || is_lower(before)
        || matches!(before, '%' | '²' | '-' | '+' | '|' | '(' | ')' | '?' | ':')
        || is_outer_mark(before)
        || (is_upper(before) && text.chars().rev().nth(2).is_some_and(is_upper))
        || (matches!(before, 'C' | 'F' | 'K' | 'c' | 'f' | 'k') && text.chars().rev().nth(2) == Some('°'));
    usize::from(is_apart)
}

/// The bytes of a unit of measure that stands behind a digit.
fn unit_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let from = bytes.len().saturating_sub(LONGEST_UNIT + 1);
    // Units are short: the last digit before one is at most five bytes from the end.
    let Some(digit) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return 0 };
    (digit + 1..bytes.len())
        .filter(|&start| bytes[start - 1].is_ascii_digit() && text.is_char_boundary(start))
        .map(|start| &text[start..])
        .find(|rest| UNITS.contains(rest))
        .map_or(0, str::len)
}

/// The first place at or after `from` where letters are cut.
fn next_infix(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte.is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let char = text[at..].chars().next()?;
        let end = at + char.len_utf8();
        if let Some(end) = infix_end(text, at, char, end) {
            return Some(at..end);
        }
        at = end;
    }
    None
}

fn infix_end(text: &str, at: usize, char: char, end: usize) -> Option<usize> {
    let before = || text[..at].chars().next_back();
    let after = |end: usize| text[end..].chars().next();
    let is_before_letter = |end: usize| after(end).is_some_and(is_letter);
    let is_after_letter = || before().is_some_and(is_letter);
    let is_after_letter_or_digit = || before().is_some_and(|char| is_letter(char) || char.is_ascii_digit());
    let is_between_digits = || {
        before().is_some_and(|char| char.is_ascii_digit())
            && after(end).is_some_and(|char| char.is_ascii_digit() || char == '-')
    };
    let is_infix = match char {
        '.' if after(end) == Some('.') => {
            return Some(text.len() - text[at..].trim_start_matches('.').len());
        }
        '.' => {
            before().is_some_and(|char| is_lower(char) || is_quote(char))
                && after(end).is_some_and(|char| is_upper(char) || is_quote(char))
        }
        '…' => true,
        '+' | '*' | '^' => is_between_digits(),
        ',' => is_after_letter() && is_before_letter(end),
        '-' | '–' | '—' | '~' => {
            if char == '-' && is_between_digits() {
                return Some(end);
            }
            if !is_after_letter_or_digit() {
                return None;
            }
            return hyphen_ends(text, at).find(|&end| is_before_letter(end));
        }
        ':' | '<' | '>' | '=' | '/' => is_after_letter_or_digit() && is_before_letter(end),
        _ => is_symbol(char),
    };
    is_infix.then_some(end)
}

/// Where hyphens that begin at `at` may end: `-`, `--`, `---`, `–`, `—`, `——`, `~`.
fn hyphen_ends(text: &str, at: usize) -> impl Iterator<Item = usize> + '_ {
    ["-", "–", "—", "--", "---", "——", "~"]
        .into_iter()
        .filter(move |hyphen| text[at..].starts_with(hyphen))
        .map(move |hyphen| at + hyphen.len())
}
