//! A text as a sequence of units (words, or characters where a language has no spaces) and its n-grams as hashes.
//!
//! Case, punctuation and spacing are folded away first: two copies of an article that differ in quotes and line breaks
//! have the same n-grams. Deduplication compares documents by them; the quality rules cut texts in other ways, see
//! [`crate::rules`]. An n-gram is hashed straight from the folded text (xxh3 of 64 bits), without a string of its own.

use xxhash_rust::xxh3::xxh3_64;

use crate::language::{Unit, is_han};

/// A folded text and where its units begin.
pub(crate) struct Units {
    folded: String,
    /// Byte offsets of the units' starts, and of the end.
    starts: Vec<usize>,
}

impl Units {
    /// Folds a text. Words keep one space after them, so that neighbours stay apart in an n-gram's hash.
    pub(crate) fn new(text: &str, unit: Unit) -> Self {
        let mut units = Self { folded: String::with_capacity(text.len() + 1), starts: Vec::new() };
        match unit {
            Unit::Words => text.split_whitespace().for_each(|word| units.push_word(word)),
            Unit::Characters => units.push_characters(text),
        }
        units.starts.push(units.folded.len());
        units
    }

    /// How many units there are.
    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The hash of every n-gram, in order; none where the text has fewer than `n` units.
    fn ngrams(&self, n: usize) -> impl Iterator<Item = u64> + '_ {
        assert!(n > 0, "an n-gram holds something");
        let ends = self.starts.iter().skip(n);
        self.starts.iter().zip(ends).map(|(&start, &end)| xxh3_64(&self.folded.as_bytes()[start..end]))
    }

    /// The n-grams of a text as shingles: a text too short for one is a single shingle, an empty one has none.
    pub(crate) fn shingles(&self, n: usize) -> Vec<u64> {
        self.ngrams(n.min(self.len()).max(1)).collect()
    }

    fn push_word(&mut self, word: &str) {
        let start = self.folded.len();
        word.chars().filter(|&char| is_unit(char)).for_each(|char| push_lower(&mut self.folded, char));
        if self.folded.len() > start {
            self.starts.push(start);
            self.folded.push(' ');
        }
    }

    fn push_characters(&mut self, text: &str) {
        for char in text.chars().filter(|&char| is_unit(char)) {
            self.starts.push(self.folded.len());
            push_lower(&mut self.folded, char);
        }
    }
}

/// Appends `char` in lower case. ASCII and Han, which are nearly everything, skip the tables of Unicode.
pub(crate) fn push_lower(folded: &mut String, char: char) {
    if char.is_ascii() {
        folded.push(char.to_ascii_lowercase());
    } else if is_han(char) {
        folded.push(char);
    } else {
        folded.extend(char.to_lowercase());
    }
}

fn is_unit(char: char) -> bool {
    if char.is_ascii() { char.is_ascii_alphanumeric() } else { is_han(char) || char.is_alphanumeric() }
}
