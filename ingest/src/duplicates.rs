//! Duplicates: exact ones by a hash of the folded text, near ones by MinHash with verification.
//!
//! A document is dropped only as a duplicate of an earlier document of the same kind and language that was *kept*, and
//! as a near duplicate only once the Jaccard similarity of the two full sets of shingles has been computed: the sketch
//! merely proposes pairs. The first document stays, whatever its length. Every drop names the document it repeats.
//!
//! Sketches follow Dahlgaard, Knudsen and Thorup, "Fast Similarity Sketching" (FOCS 2017): entry `i` of two sketches
//! agrees with probability J, as with `k` separate hash functions, but at O(shingles + k log k) instead of
//! O(shingles * k). Entries are grouped in bands of rows; two documents that agree on a whole band are compared. With
//! 14 bands of 8 rows a pair at J = 0.75 is proposed with probability 0.77, at 0.85 with 0.99, at 0.9 with 0.9996.
//!
//! Memory: 8 bytes a band and document for the keys, about 20 more for the index of the kept ones.

use std::collections::HashMap;

use corpus::{Document, Kind, Share};
use rayon::prelude::*;
use xxhash_rust::xxh3::{Xxh3DefaultBuilder, xxh3_64_with_seed, xxh3_128};

use crate::config::{Duplicates, NearDuplicates};
use crate::language::Unit;
use crate::ngrams::{Units, push_lower};

/// Marks the end of a chain of documents in [`Index`].
const NONE: u32 = u32::MAX;

/// What a document is compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    exact: u128,
    /// One key a band; empty where near duplicates aren't looked for.
    bands: Vec<u64>,
    /// Shingles, repeated ones too.
    n_shingles: u32,
}

/// The kept document that a dropped one repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Duplicate {
    /// Its position.
    pub of: usize,
    /// Similarity of the sets of shingles; `None` for an exact duplicate.
    pub jaccard: Option<f64>,
}

/// Fingerprints a normalised text.
pub fn fingerprint(text: &str, lang: &str, kind: Kind, config: &Duplicates) -> Fingerprint {
    fingerprint_units(text, &Units::new(text, Unit::of(lang)), lang, kind, config)
}

/// [`fingerprint`] for a text whose units are at hand.
pub(crate) fn fingerprint_units(text: &str, units: &Units, lang: &str, kind: Kind, config: &Duplicates) -> Fingerprint {
    let scope = xxh3_64_with_seed(lang.as_bytes(), kind as u64);
    let exact = exact_key(text, scope);
    let mut fingerprint = Fingerprint { exact, bands: Vec::new(), n_shingles: 0 };
    // A true proposition and its false twin share most of their words.
    if let (Some(near), Kind::Plain | Kind::Instruction) = (&config.near, kind) {
        let shingles = units.shingles(shingle_len(lang, near));
        fingerprint.n_shingles = shingles.len() as u32;
        fingerprint.bands = band_keys(&shingles, near, scope);
    }
    fingerprint
}

/// For each document, in order, the earliest kept document that it repeats, or `None` where it is kept itself.
pub fn find_duplicates(
    documents: &[Document],
    fingerprints: &[Fingerprint],
    config: &Duplicates,
) -> Vec<Option<Duplicate>> {
    assert_eq!(documents.len(), fingerprints.len(), "every document has a fingerprint");
    assert!(documents.len() < NONE as usize, "positions are kept in 32 bits");
    let mut exact: HashMap<u128, u32, Xxh3DefaultBuilder> = HashMap::default();
    let mut index = Index::default();
    let mut found = Vec::with_capacity(documents.len());
    for (position, fingerprint) in fingerprints.iter().enumerate() {
        let mut duplicate = None;
        if config.exact {
            duplicate = exact.get(&fingerprint.exact).map(|&of| Duplicate { of: of as usize, jaccard: None });
        }
        if let (None, Some(near)) = (duplicate, &config.near) {
            duplicate = find_near(documents, fingerprints, position, &index.candidates(&fingerprint.bands), near);
        }
        if duplicate.is_none() {
            exact.insert(fingerprint.exact, position as u32);
            index.insert(position as u32, &fingerprint.bands);
        }
        found.push(duplicate);
    }
    found
}

/// The shingles of a text, in order and with repetitions.
pub(crate) fn shingles(text: &str, lang: &str, config: &NearDuplicates) -> Vec<u64> {
    Units::new(text, Unit::of(lang)).shingles(shingle_len(lang, config))
}

fn shingle_len(lang: &str, config: &NearDuplicates) -> usize {
    let n_units = match Unit::of(lang) {
        Unit::Words => config.shingle_words,
        Unit::Characters => config.shingle_chars,
    };
    n_units.get() as usize
}

/// The similarity of two sets, each sorted and without repetitions.
pub(crate) fn jaccard(left: &[u64], right: &[u64]) -> f64 {
    let (mut in_left, mut in_right, mut n_common) = (0, 0, 0_usize);
    while in_left < left.len() && in_right < right.len() {
        match left[in_left].cmp(&right[in_right]) {
            std::cmp::Ordering::Less => in_left += 1,
            std::cmp::Ordering::Greater => in_right += 1,
            std::cmp::Ordering::Equal => {
                n_common += 1;
                in_left += 1;
                in_right += 1;
            }
        }
    }
    let n_all = left.len() + right.len() - n_common;
    if n_all == 0 { 0.0 } else { n_common as f64 / n_all as f64 }
}

/// The sketch of a set of shingles. In the first `n_hashes` rounds every shingle goes to an entry at random, and the
/// least hash of the earliest round stays; in the rounds after them round `i` fills entry `i` alone, so that few
/// shingles fill all entries too.
pub(crate) fn sketch(shingles: &[u64], n_hashes: usize) -> Vec<u64> {
    const EMPTY: u64 = u64::MAX;
    let mut entries = vec![EMPTY; n_hashes];
    if shingles.is_empty() {
        return entries;
    }
    let mut n_empty = n_hashes;
    for round in 0..2 * n_hashes as u64 {
        for &shingle in shingles {
            let hash = mix(shingle ^ mix(round));
            let entry = match (round as usize).checked_sub(n_hashes) {
                None => (((hash >> 32) * n_hashes as u64) >> 32) as usize,
                Some(entry) => entry,
            };
            let value = (round << 32) | (hash & 0xFFFF_FFFF);
            n_empty -= usize::from(entries[entry] == EMPTY);
            entries[entry] = entries[entry].min(value);
        }
        if n_empty == 0 {
            break;
        }
    }
    assert_eq!(n_empty, 0, "the last rounds fill what was left");
    entries
}

/// The finaliser of SplitMix64: a bijection that spreads every bit of its input.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

fn band_keys(shingles: &[u64], config: &NearDuplicates, scope: u64) -> Vec<u64> {
    let (n_bands, n_rows) = (config.bands.get() as usize, config.rows.get() as usize);
    if shingles.is_empty() {
        return Vec::new();
    }
    let sketch = sketch(shingles, n_bands * n_rows);
    let keys = sketch.chunks_exact(n_rows).enumerate().map(|(band, rows)| {
        let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
        xxh3_64_with_seed(&bytes, mix(scope ^ band as u64))
    });
    keys.collect()
}

fn exact_key(text: &str, scope: u64) -> u128 {
    let mut folded = String::with_capacity(text.len() + 8);
    for word in text.split_whitespace() {
        word.chars().for_each(|char| push_lower(&mut folded, char));
        folded.push(' ');
    }
    xxh3_128(folded.as_bytes()) ^ u128::from(scope)
}

/// The first candidate that is similar enough; candidates come in order, and rayon keeps it.
fn find_near(
    documents: &[Document],
    fingerprints: &[Fingerprint],
    position: usize,
    candidates: &[u32],
    config: &NearDuplicates,
) -> Option<Duplicate> {
    let Share(jaccard_min) = config.jaccard_min;
    if candidates.is_empty() {
        return None;
    }
    let own = shingle_set(&documents[position], config);
    candidates.par_iter().find_map_first(|&of| {
        let other = &documents[of as usize];
        // Two sets of which one is much larger cannot be similar: no need to make the other one.
        if f64::from(fingerprints[of as usize].n_shingles) < jaccard_min * own.len() as f64 {
            return None;
        }
        let jaccard = jaccard(&own, &shingle_set(other, config));
        (jaccard >= jaccard_min).then_some(Duplicate { of: of as usize, jaccard: Some(jaccard) })
    })
}

fn shingle_set(document: &Document, config: &NearDuplicates) -> Vec<u64> {
    let mut set = shingles(&document.text, &document.lang, config);
    set.sort_unstable();
    set.dedup();
    set
}

/// The kept documents by band key. Those of one key form a chain, latest first: one map entry a key and four bytes a
/// band and document, where a list for each key would take several times as much.
#[derive(Default)]
struct Index {
    latest: HashMap<u64, u32, Xxh3DefaultBuilder>,
    /// For each entry of `entries`, the entry before it under the same key.
    previous: Vec<u32>,
    /// The document of each entry.
    documents: Vec<u32>,
}

impl Index {
    fn insert(&mut self, document: u32, bands: &[u64]) {
        for &key in bands {
            let entry = u32::try_from(self.documents.len()).expect("fewer than 2^32 bands are indexed");
            self.documents.push(document);
            self.previous.push(self.latest.insert(key, entry).unwrap_or(NONE));
        }
    }

    fn candidates(&self, bands: &[u64]) -> Vec<u32> {
        let mut candidates = Vec::new();
        for key in bands {
            let mut entry = self.latest.get(key).copied().unwrap_or(NONE);
            while entry != NONE {
                candidates.push(self.documents[entry as usize]);
                entry = self.previous[entry as usize];
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }
}
