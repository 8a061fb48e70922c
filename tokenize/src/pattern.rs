//! The patterns by which tokenizers cut text into pretokens, the pieces that merges never cross.
//!
//! Those that are published are run by hand-written code, because a backtracking regex engine would take most of the
//! encoding time; any other is run by one. A pattern is known by its spelling, letter for letter, since that is all that a
//! `tokenizer.json` says of it.

use fancy_regex::Regex;

use crate::characters::{CharKind, KINDS};

/// How text is cut. Spellings: [`Pattern::spelling`].
#[derive(Clone, Debug)]
pub enum Pattern {
    /// GPT-2's, which `ByteLevel` of the `tokenizers` library has built in.
    Gpt2,
    /// That of GPT-3.5 and GPT-4, and of Llama 3.
    Cl100k,
    /// That of Qwen 2 and later: cl100k's with single digits.
    Qwen2,
    /// GPT-4o's: case and combining marks matter.
    O200k,
    /// That of vocabularies trained here: cl100k's with Han characters apart from all others, so that a Chinese clause does not
    /// become one word with the Latin name in it or the comma before it.
    Bilingual,
    /// Any other.
    Other(Box<OtherPattern>),
}

/// A pattern that is run by a regex engine, some twenty times slower.
#[derive(Clone, Debug)]
pub struct OtherPattern {
    spelling: String,
    regex: Regex,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

const CL100K: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const O200K: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const BILINGUAL: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\p{Han}&&\p{L}]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const PUBLISHED: [(&str, Pattern); 5] = [
    (GPT2, Pattern::Gpt2),
    (CL100K, Pattern::Cl100k),
    (QWEN2, Pattern::Qwen2),
    (O200K, Pattern::O200k),
    (BILINGUAL, Pattern::Bilingual),
];

impl Pattern {
    /// The pattern with this spelling. An error says why it cannot be run.
    pub fn from_spelling(spelling: &str) -> Result<Pattern, String> {
        if let Some((_, pattern)) = PUBLISHED.into_iter().find(|(known, _)| *known == spelling) {
            return Ok(pattern);
        }
        let regex = Regex::new(spelling).map_err(|error| error.to_string())?;
        Ok(Pattern::Other(Box::new(OtherPattern { spelling: spelling.to_owned(), regex })))
    }

    /// The pattern as a regular expression.
    pub fn spelling(&self) -> &str {
        match self {
            Pattern::Gpt2 => GPT2,
            Pattern::Cl100k => CL100K,
            Pattern::Qwen2 => QWEN2,
            Pattern::O200k => O200K,
            Pattern::Bilingual => BILINGUAL,
            Pattern::Other(other) => &other.spelling,
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.spelling() == other.spelling()
    }
}

/// Where the first piece of a text that is not empty ends, alternative by alternative. Looks at each character twice at
/// most, but for a run of space, at which it looks three times.
pub(crate) fn first_piece_end(pattern: &Pattern, text: &str) -> usize {
    match pattern {
        Pattern::Gpt2 => gpt2_end(text),
        Pattern::Cl100k => cl100k_end(text, 3, CharKind::is_letter),
        Pattern::Qwen2 => cl100k_end(text, 1, CharKind::is_letter),
        Pattern::O200k => o200k_end(text),
        Pattern::Bilingual => bilingual_end(text),
        Pattern::Other(other) => other.piece_end(text, 0),
    }
}

impl OtherPattern {
    /// Where the piece that starts at `start` ends: what lies between two matches is a piece too.
    pub(crate) fn piece_end(&self, text: &str, start: usize) -> usize {
        // A match that fails has looked at too many ways: then, as where nothing matches, the rest is one piece.
        let mut from = start;
        while let Ok(Some(found)) = self.regex.find_from_pos(text, from) {
            if found.start() > start {
                return found.start();
            }
            if found.end() > start {
                return found.end();
            }
            // An empty match is no piece.
            match text[from..].chars().next() {
                Some(character) => from += character.len_utf8(),
                None => break,
            }
        }
        text.len()
    }
}

fn gpt2_end(text: &str) -> usize {
    if let Some(end) = contraction_end(text, 0, Case::Lower) {
        return end;
    }
    let (first, first_end) = KINDS.kind_at(text, 0);
    let start = if text.starts_with(' ') { first_end } else { 0 };
    let (kind, _) = KINDS.kind_at(text, start);
    for class in [CharKind::is_letter, |kind| kind == CharKind::Number, CharKind::is_mark] {
        if class(kind) {
            return run_end(text, start, class);
        }
    }
    debug_assert!(first.is_space(), "letters, numbers and marks have been taken");
    last_space_end(text, 0)
}

fn cl100k_end(text: &str, n_digits_max: usize, is_letter: fn(CharKind) -> bool) -> usize {
    if let Some(end) = contraction_end(text, 0, Case::Any) {
        return end;
    }
    let (first, first_end) = KINDS.kind_at(text, 0);
    if is_letter(first) {
        return run_end(text, 0, is_letter);
    }
    let (second, _) = KINDS.kind_at(text, first_end);
    if can_lead_letters(first) && is_letter(second) {
        return run_end(text, first_end, is_letter);
    }
    common_end(text, n_digits_max, |byte| matches!(byte, b'\r' | b'\n'))
}

fn bilingual_end(text: &str) -> usize {
    match KINDS.kind_at(text, 0).0 {
        CharKind::Han => run_end(text, 0, |kind| kind == CharKind::Han),
        _ => cl100k_end(text, 3, |kind| kind.is_letter() && kind != CharKind::Han),
    }
}

fn o200k_end(text: &str) -> usize {
    let (first, first_end) = KINDS.kind_at(text, 0);
    let starts = [can_lead_letters(first).then_some(first_end), Some(0)].into_iter().flatten();
    let words = [o200k_word_end, o200k_capitals_end];
    let word_end = words.into_iter().find_map(|word_end| starts.clone().find_map(|start| word_end(text, start)));
    match word_end {
        Some(end) => contraction_end(text, end, Case::Any).unwrap_or(end),
        None => common_end(text, 3, |byte| matches!(byte, b'\r' | b'\n' | b'/')),
    }
}

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
fn can_be_upper(kind: CharKind) -> bool {
    matches!(kind, CharKind::Upper | CharKind::Caseless | CharKind::Han | CharKind::Combining)
}

/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
fn can_be_lower(kind: CharKind) -> bool {
    matches!(kind, CharKind::Lower | CharKind::Caseless | CharKind::Han | CharKind::Combining)
}

/// The end of `U*W+` at `start`. Where nothing but `U` matches, the `U*` gives back what follows its last character that
/// is a `W` as well.
fn o200k_word_end(text: &str, start: usize) -> Option<usize> {
    let (mut at, mut end_of_both) = (start, None);
    loop {
        let (kind, next) = KINDS.kind_at(text, at);
        if !can_be_upper(kind) {
            break;
        }
        at = next;
        if can_be_lower(kind) {
            end_of_both = Some(next);
        }
    }
    match can_be_lower(KINDS.kind_at(text, at).0) {
        true => Some(run_end(text, at, can_be_lower)),
        false => end_of_both,
    }
}

/// The end of `U+W*` at `start`, where `U*W+` does not match: no `W` follows.
fn o200k_capitals_end(text: &str, start: usize) -> Option<usize> {
    Some(run_end(text, start, can_be_upper)).filter(|&end| end > start)
}

/// `\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`, with a class of bytes in place of the first `[\r\n]`.
fn common_end(text: &str, n_digits_max: usize, goes_on_after_marks: fn(u8) -> bool) -> usize {
    let (first, first_end) = KINDS.kind_at(text, 0);
    if first == CharKind::Number {
        let mut end = first_end;
        for _ in 1..n_digits_max {
            match KINDS.kind_at(text, end) {
                (CharKind::Number, next) => end = next,
                _ => break,
            }
        }
        return end;
    }
    let start = if text.starts_with(' ') { first_end } else { 0 };
    if KINDS.kind_at(text, start).0.is_mark() {
        let end = run_end(text, start, CharKind::is_mark);
        return end + text.as_bytes()[end..].iter().take_while(|&&byte| goes_on_after_marks(byte)).count();
    }
    let space_end = run_end(text, 0, CharKind::is_space);
    match text.as_bytes()[..space_end].iter().rposition(|&byte| matches!(byte, b'\r' | b'\n')) {
        Some(last_line_end) => last_line_end + 1,
        None => last_space_end(text, space_end),
    }
}

/// `\s+(?!\S)|\s+`: leaves the last space to what follows it, if another is in front of it. `end` is at most the run's end.
fn last_space_end(text: &str, end: usize) -> usize {
    let end = run_end(text, end, CharKind::is_space);
    let last_start = text[..end].char_indices().next_back().map_or(0, |(start, _)| start);
    if end < text.len() && last_start > 0 { last_start } else { end }
}

/// `[^\r\n\p{L}\p{N}]`
fn can_lead_letters(kind: CharKind) -> bool {
    kind.is_mark() || kind == CharKind::Space
}

fn run_end(text: &str, start: usize, class: impl Fn(CharKind) -> bool) -> usize {
    let mut end = start;
    loop {
        let (kind, next) = KINDS.kind_at(text, end);
        if kind == CharKind::End || !class(kind) {
            return end;
        }
        end = next;
    }
}

/// Which contractions count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    /// `(?i:...)`
    Any,
}

/// The end of a contraction at `start`.
pub(crate) fn contraction_end(text: &str, start: usize, case: Case) -> Option<usize> {
    let rest = text.as_bytes()[start..].strip_prefix(b"'")?;
    let letter = |idx: usize| {
        let byte = *rest.get(idx)?;
        Some(if case == Case::Any { byte.to_ascii_lowercase() } else { byte })
    };
    match (letter(0)?, letter(1)) {
        (b's' | b'd' | b'm' | b't', _) => Some(start + 2),
        (b'l', Some(b'l')) | (b'v' | b'r', Some(b'e')) => Some(start + 3),
        // U+017F folds to s; none of the other letters here has a partner outside ASCII.
        (0xC5, Some(0xBF)) if case == Case::Any => Some(start + 3),
        _ => None,
    }
}
