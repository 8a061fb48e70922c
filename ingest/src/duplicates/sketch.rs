//! Sketches: a fixed number of hashes from which the similarity of two sets of shingles can be told roughly, and the band
//! keys made of them, by which similar documents find each other in a sort.
//!
//! Sketches follow Dahlgaard, Knudsen and Thorup, "Fast Similarity Sketching" (FOCS 2017): entry `i` of two sketches
//! agrees with probability J, as with `k` separate hash functions, but at O(shingles + k log k) instead of
//! O(shingles * k). Entries are grouped in bands of rows. Two documents that agree on a whole band are a pair to compare:
//! with `b` bands of `r` rows a pair at J is proposed with probability 1 - (1 - J^r)^b ([`proposed`]). The true curve is a
//! little steeper, since in one round each shingle goes to one entry only; `docs/near-duplicates.md` has it measured.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::shingles::mix;

/// The probability that two documents of similarity `jaccard` agree on at least one band.
pub fn proposed(jaccard: f64, n_bands: u32, n_rows: u32) -> f64 {
    1.0 - (1.0 - jaccard.powi(n_rows as i32)).powi(n_bands as i32)
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
        let salt = mix(round);
        for &shingle in shingles {
            let hash = mix(shingle ^ salt);
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

/// One key a band; none for a text without shingles. Documents of different `scope` never share a key.
pub fn band_keys(shingles: &[u64], n_bands: usize, n_rows: usize, scope: u64) -> Vec<u64> {
    if shingles.is_empty() {
        return Vec::new();
    }
    let sketch = sketch(shingles, n_bands * n_rows);
    let mut bytes = Vec::with_capacity(8 * n_rows);
    let keys = sketch.chunks_exact(n_rows).enumerate().map(|(band, rows)| {
        bytes.clear();
        rows.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        xxh3_64_with_seed(&bytes, mix(scope ^ band as u64))
    });
    keys.collect()
}

/// How many shingles two sets have in common; each is sorted and without repetitions.
pub(crate) fn n_common(left: &[u64], right: &[u64]) -> usize {
    let (mut in_left, mut in_right, mut n_common) = (0, 0, 0);
    while in_left < left.len() && in_right < right.len() {
        let (one, other) = (left[in_left], right[in_right]);
        n_common += usize::from(one == other);
        in_left += usize::from(one <= other);
        in_right += usize::from(other <= one);
    }
    n_common
}

/// The similarity of two sets, each sorted and without repetitions.
#[cfg(test)]
pub(crate) fn jaccard(left: &[u64], right: &[u64]) -> f64 {
    let n_common = n_common(left, right);
    let n_all = left.len() + right.len() - n_common;
    if n_all == 0 { 0.0 } else { n_common as f64 / n_all as f64 }
}
