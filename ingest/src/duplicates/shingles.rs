//! Shingles: the n-grams of words (or of characters, where a language has no spaces) that documents are compared by.
//!
//! Case, punctuation and spacing are folded away, so that two copies of an article that differ in quotes and line breaks
//! have the same shingles. One pass over the bytes makes a 64-bit hash of each unit; an n-gram's hash is a polynomial in
//! the hashes of its units, rolled on from the n-gram before it at the cost of two products whatever n is, then mixed.

use crate::language::{Unit, is_han};

/// Odd, so that multiplying loses nothing.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// What becomes of an ASCII byte: letters in lower case and digits stay, space ends a word, the rest is passed over.
const SPACE: u8 = 1;
const FOLD: [u8; 128] = {
    let mut fold = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        fold[byte] = match byte as u8 {
            b'\t' | b'\n' | 0x0B | 0x0C | b'\r' | b' ' => SPACE,
            letter_or_digit if letter_or_digit.is_ascii_alphanumeric() => letter_or_digit.to_ascii_lowercase(),
            _ => 0,
        };
        byte += 1;
    }
    fold
};

/// The hashes of a text's n-grams, in order and with repetitions. A text of fewer than `n` units is one shingle, a text
/// without units has none.
pub fn shingles(text: &str, unit: Unit, n: usize) -> Vec<u64> {
    assert!(n > 0, "a shingle holds something");
    let mut units = Vec::with_capacity(text.len() / 5);
    for_each_unit(text, unit, |hash, _| units.push(hash));
    let n = n.min(units.len());
    if n == 0 {
        return units;
    }
    // What the unit that leaves was multiplied by since it came.
    let leaving = (0..n).fold(1_u64, |power, _| power.wrapping_mul(FACTOR));
    let mut polynomial = 0_u64;
    let mut shingles = Vec::with_capacity(units.len() + 1 - n);
    for (index, &hash) in units.iter().enumerate() {
        polynomial = polynomial.wrapping_mul(FACTOR).wrapping_add(hash);
        if index >= n {
            polynomial = polynomial.wrapping_sub(units[index - n].wrapping_mul(leaving));
        }
        if index + 1 >= n {
            shingles.push(mix(polynomial));
        }
    }
    shingles
}

/// Calls `each` with the hash of every unit and the byte range it takes up, from its first letter to behind its last.
pub(crate) fn for_each_unit(text: &str, unit: Unit, mut each: impl FnMut(u64, (usize, usize))) {
    match unit {
        Unit::Words => for_each_word(text, each),
        Unit::Characters => text.char_indices().filter(|&(_, char)| is_letter(char)).for_each(|(start, char)| {
            let mut hash = 0;
            push_folded(&mut hash, char);
            each(mix(hash), (start, start + char.len_utf8()));
        }),
    }
}

fn for_each_word(text: &str, mut each: impl FnMut(u64, (usize, usize))) {
    let bytes = text.as_bytes();
    let (mut hash, mut start, mut end, mut at) = (0_u64, 0, 0, 0);
    // `start < end` while a word is open.
    while at < bytes.len() {
        let (fold, width) = match FOLD.get(usize::from(bytes[at])) {
            Some(&fold) => (fold, 1),
            None => {
                let char = text[at..].chars().next().expect("a character begins here");
                // In a page of two languages, a Chinese sentence is more than one word.
                if is_han(char) {
                    if start < end {
                        each(mix(hash), (start, end));
                    }
                    let mut own = 0;
                    push_folded(&mut own, char);
                    each(mix(own), (at, at + char.len_utf8()));
                    (hash, start, end) = (0, 0, 0);
                } else if is_letter(char) {
                    start = if start < end { start } else { at };
                    end = at + char.len_utf8();
                    push_folded(&mut hash, char);
                }
                (if char.is_whitespace() { SPACE } else { 0 }, char.len_utf8())
            }
        };
        if fold > SPACE {
            start = if start < end { start } else { at };
            end = at + 1;
            hash = (hash ^ u64::from(fold)).wrapping_mul(FACTOR).rotate_left(23);
        } else if fold == SPACE && start < end {
            each(mix(hash), (start, end));
            (hash, start, end) = (0, 0, 0);
        }
        at += width;
    }
    if start < end {
        each(mix(hash), (start, end));
    }
}

fn push_folded(hash: &mut u64, char: char) {
    let mut push = |char: char| *hash = (*hash ^ u64::from(char)).wrapping_mul(FACTOR).rotate_left(23);
    if is_han(char) {
        push(char);
    } else {
        char.to_lowercase().for_each(push);
    }
}

fn is_letter(char: char) -> bool {
    if char.is_ascii() { char.is_ascii_alphanumeric() } else { is_han(char) || char.is_alphanumeric() }
}

/// The finaliser of SplitMix64: a bijection that spreads every bit of its input.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
