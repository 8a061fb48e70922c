//! The tokens of short pieces, so that a word is merged once.
//!
//! A piece has a shelf of two slots in one cache line, by its hash. The latest piece is in front, where a look finds it at once, and
//! the one before it behind. Pieces are compared whole, as two numbers.
//!
//! Clause-long Chinese pieces do not come back; they are cut at the borders of words before (`borders.rs`).

use crate::bpe::HASH_FACTOR;

/// See the module documentation.
pub(crate) struct Cache {
    /// Numbers, since zeroed memory is not touched before it is used.
    numbers: Vec<u64>,
    /// Where the first cache line begins.
    offset: usize,
}

/// In front, then behind: a key and its tokens.
pub(crate) type Shelf = [u64; 8];

/// 4 MB: a core has half of that near, and smaller caches were slower all the same.
const N_SHELVES_LOG2: u32 = 16;
const N_SHELVES: usize = 1 << N_SHELVES_LOG2;

/// Longer pieces are not kept.
pub(crate) const CACHED_LEN_MAX: usize = 15;

/// A piece as two numbers, its length uppermost; different for different pieces.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Key {
    low: u64,
    high: u64,
}

/// Up to three tokens: two in the first number, one and how many they are in the second.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Few(u64, u64);

impl Few {
    /// In place of tokens.
    pub(crate) const NONE: Few = Few(0, u64::MAX);

    /// Nothing if they are too many.
    pub(crate) fn new(ids: &[u32]) -> Option<Few> {
        let id = |idx: usize| ids.get(idx).map_or(0, |&id| u64::from(id));
        (ids.len() <= 3).then(|| Few(id(0) | id(1) << 32, id(2) | (ids.len() as u64) << 32))
    }

    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.1 == u64::MAX
    }

    /// The tokens, with zeros behind them, and how many they are.
    #[inline]
    pub(crate) fn unpack(self) -> ([u32; 4], usize) {
        let Few(first, second) = self;
        ([first as u32, (first >> 32) as u32, second as u32, 0], (second >> 32) as usize)
    }
}

impl Key {
    /// The piece of `n_bytes` at `start`, at most `CACHED_LEN_MAX`.
    #[inline]
    pub(crate) fn new(text: &[u8], start: usize, n_bytes: usize) -> Key {
        let bytes = match text[start..].first_chunk() {
            Some(sixteen) => u128::from_le_bytes(*sixteen),
            None => text[start..start + n_bytes].iter().rev().fold(0, |bytes, &byte| bytes << 8 | u128::from(byte)),
        };
        let [low, high] = MASKS[n_bytes];
        Key { low: bytes as u64 & low, high: (bytes >> 64) as u64 & high | (n_bytes as u64) << 56 }
    }

    #[inline]
    fn shelf(self) -> usize {
        let hash = self.low.wrapping_mul(HASH_FACTOR).wrapping_add(self.high.wrapping_mul(OTHER_FACTOR));
        (hash >> (64 - N_SHELVES_LOG2)) as usize
    }
}

/// By length, the bits of the first eight bytes that belong to a piece, and of the next eight.
const MASKS: [[u64; 2]; CACHED_LEN_MAX + 1] = {
    let mut masks = [[0; 2]; CACHED_LEN_MAX + 1];
    let mut n_bytes = 0;
    while n_bytes <= CACHED_LEN_MAX {
        let mask = (1_u128 << (8 * n_bytes)) - 1;
        masks[n_bytes] = [mask as u64, (mask >> 64) as u64];
        n_bytes += 1;
    }
    masks
};

/// Odd, and unlike `HASH_FACTOR`.
const OTHER_FACTOR: u64 = 0xD6E8_FEB8_6659_FD93;

impl Cache {
    pub(crate) fn new() -> Cache {
        let numbers = vec![0; 8 * (N_SHELVES + 1)];
        let offset = (64 - numbers.as_ptr().addr() % 64) % 64 / 8;
        Cache { numbers, offset }
    }

    #[inline]
    pub(crate) fn shelves(&self) -> &[Shelf; N_SHELVES] {
        self.numbers[self.offset..].as_chunks().0.first_chunk().expect("there is room behind any offset")
    }

    /// The tokens of a piece that is in front.
    #[inline]
    pub(crate) fn find(shelves: &[Shelf; N_SHELVES], key: Key) -> Few {
        let [low, high, first, second, ..] = shelves[key.shelf()];
        // A branch here would be taken for granted, and the tokens with it, before the piece has been compared.
        let is_there = (low ^ key.low) | (high ^ key.high) == 0;
        Few(first, if is_there { second } else { u64::MAX })
    }

    /// The tokens of a piece that is behind, or in front by now.
    pub(crate) fn find_behind(&mut self, key: Key) -> Few {
        let (front, behind) = self.shelf(key).split_at_mut(4);
        if behind[..2] == [key.low, key.high] {
            front.swap_with_slice(behind);
        }
        Cache::find(self.shelves(), key)
    }

    /// Keeps the tokens of a piece that is not there.
    pub(crate) fn put(&mut self, key: Key, Few(first, second): Few) {
        let shelf = self.shelf(key);
        shelf.copy_within(..4, 4);
        shelf[..4].copy_from_slice(&[key.low, key.high, first, second]);
    }

    fn shelf(&mut self, key: Key) -> &mut Shelf {
        &mut self.numbers[self.offset..].as_chunks_mut().0[key.shelf()]
    }
}

/// The tokens of longer pieces: words of technical text, rules and indentation. They are few, and dear to merge.
pub(crate) struct LongCache {
    slots: Vec<LongSlot>,
}

#[derive(Clone)]
struct LongSlot {
    /// The piece, with its length in the last byte.
    key: [u8; 32],
    n_ids: u32,
    ids: [u32; LONG_IDS_MAX],
}

const LONG_IDS_MAX: usize = 7;
const LONG_LEN_MAX: usize = 31;
const N_LONG_LOG2: u32 = 13;

impl LongCache {
    pub(crate) fn new() -> LongCache {
        LongCache { slots: vec![LongSlot { key: [0; 32], n_ids: 0, ids: [0; LONG_IDS_MAX] }; 1 << N_LONG_LOG2] }
    }

    /// The tokens of a piece that is there.
    pub(crate) fn find(&self, piece: &[u8]) -> Option<&[u32]> {
        let key = long_key(piece)?;
        let slot = &self.slots[long_slot(&key)];
        (slot.key == key).then_some(&slot.ids[..slot.n_ids as usize])
    }

    /// Keeps the tokens of a piece, if both are short enough, in place of what was there.
    pub(crate) fn put(&mut self, piece: &[u8], new: &[u32]) {
        if let Some(key) = long_key(piece).filter(|_| new.len() <= LONG_IDS_MAX) {
            let mut ids = [0; LONG_IDS_MAX];
            ids[..new.len()].copy_from_slice(new);
            self.slots[long_slot(&key)] = LongSlot { key, n_ids: new.len() as u32, ids };
        }
    }
}

fn long_key(piece: &[u8]) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    key[..LONG_LEN_MAX].get_mut(..piece.len())?.copy_from_slice(piece);
    key[LONG_LEN_MAX] = piece.len() as u8;
    Some(key)
}

fn long_slot(key: &[u8; 32]) -> usize {
    let mix =
        |hash: u64, number: &[u8; 8]| (hash ^ u64::from_le_bytes(*number)).wrapping_mul(HASH_FACTOR).rotate_left(29);
    let hash = key.as_chunks::<8>().0.iter().fold(0, mix);
    (hash.wrapping_mul(HASH_FACTOR) >> (64 - N_LONG_LOG2)) as usize
}
