//! Hashes and a table of counts for sequences of units: what all rules on repetition are made with.
//!
//! A unit (a word, or a Han character) is hashed once, and the n-gram at a position costs one multiplication, whatever
//! n is: with the sums `S(i+1) = S(i) * B + h(i)`, the n-gram at `i` has the hash `S(i+n) - S(i) * B^n`, modulo 2^64.
//! Two different n-grams agree with probability 2^-64 as far as the hashes of units are random; they are, being
//! multiplied and folded from the bytes. A document of a million n-grams has a chance of 3e-8 of one confusion.

use xxhash_rust::xxh3::xxh3_64;

/// Odd, so that no power of it vanishes; the fraction of the golden ratio.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;
const SPREAD: u64 = 0xD6E8_FEB8_6659_FD93;

/// The hash of a unit. Most are shorter than two machine words, where one multiplication of 128 bits is enough.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let (low, high) = match bytes {
        [] => (0, 0),
        [a] => (u64::from(*a), 0),
        [a, b] => (u64::from(u16::from_le_bytes([*a, *b])), 0),
        [a, b, c] => (u64::from(u32::from_le_bytes([*a, *b, *c, 0])), 0),
        _ if bytes.len() <= 8 => (first_4(bytes), first_4(&bytes[bytes.len() - 4..])),
        _ if bytes.len() <= 16 => (first_8(bytes), first_8(&bytes[bytes.len() - 8..])),
        _ => return xxh3_64(bytes),
    };
    mix(low ^ ((bytes.len() as u64) << 56), high)
}

/// The hash of a unit that is one character.
pub(super) fn hash_char(char: char) -> u64 {
    mix(u64::from(char), 1)
}

fn mix(low: u64, high: u64) -> u64 {
    let product = u128::from(low ^ BASE) * u128::from(high ^ SPREAD);
    let folded = (product as u64) ^ (product >> 64) as u64;
    folded.wrapping_mul(SPREAD) ^ (folded >> 29)
}

fn first_4(bytes: &[u8]) -> u64 {
    u64::from(u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")))
}

fn first_8(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

/// `BASE` to the power of `n`.
pub(super) fn power(n: usize) -> u64 {
    (0..n).fold(1_u64, |power, _| power.wrapping_mul(BASE))
}

/// The sum that follows `sum` by one unit.
pub(super) fn next_sum(sum: u64, unit: u64) -> u64 {
    sum.wrapping_mul(BASE).wrapping_add(unit)
}

/// A table from hashes to counts that is used again for every document: entries carry the number of their use, so
/// nothing is cleared in between.
#[derive(Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// Which use of the table this is; entries of another are free.
    round: u32,
    shift: u32,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    hash: u64,
    round: u32,
    count: u32,
}

impl Table {
    /// Empties the table and makes room for `n` hashes at half load.
    pub(super) fn reset(&mut self, n: usize) {
        let n_entries = (2 * n.max(8)).next_power_of_two();
        if self.entries.len() < n_entries || self.round == u32::MAX {
            self.entries = vec![Entry::default(); n_entries.max(self.entries.len())];
            self.round = 0;
        }
        self.round += 1;
        // A small document stays in a small part of the table, which stays in the cache.
        self.shift = 64 - n_entries.trailing_zeros();
    }

    /// Counts one more of `hash`; the place where it is counted.
    pub(super) fn add(&mut self, hash: u64) -> usize {
        let mask = (1_usize << (64 - self.shift)) - 1;
        let mut at = (hash.wrapping_mul(BASE) >> self.shift) as usize;
        loop {
            let entry = &mut self.entries[at & mask];
            if entry.round != self.round {
                *entry = Entry { hash, round: self.round, count: 1 };
                return at & mask;
            }
            if entry.hash == hash {
                entry.count += 1;
                return at & mask;
            }
            at += 1;
        }
    }

    /// How often `hash` was counted.
    pub(super) fn get(&self, hash: u64) -> u32 {
        let mask = (1_usize << (64 - self.shift)) - 1;
        let mut at = (hash.wrapping_mul(BASE) >> self.shift) as usize;
        loop {
            let entry = &self.entries[at & mask];
            if entry.round != self.round {
                return 0;
            }
            if entry.hash == hash {
                return entry.count;
            }
            at += 1;
        }
    }

    /// How often the hash at a place was counted.
    pub(super) fn count(&self, place: usize) -> u32 {
        self.entries[place].count
    }
}
