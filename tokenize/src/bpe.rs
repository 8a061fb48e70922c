//! Byte-pair encoding: the tokens that merging the bytes of a pretoken in order of rank leaves.
//!
//! Short pretokens are merged, as the definition says. In long ones nothing is. The result is the only way to cut a pretoken
//! into tokens such that no two neighbours, merged from their bytes on side by side, would have merged across their
//! border; whether two tokens can be neighbours is decided by undoing their merges (`MergeIndex::can_follow`). So the encoder
//! walks from left to right, takes the longest token that can follow the last one, and steps back where none can. A position
//! that it stepped back from is never entered again, so time is linear in the length of the pretoken, with a factor
//! that depends on the longest token only: a million letters `a`, or a book of Chinese without a comma, cost per byte what
//! a sentence costs. After "So many tokens, so little time" (GitHub, 2024) and the crate `bpe` that goes with it.
//!
//! That holds for vocabularies in which merging the bytes of each token by the smaller ids leaves exactly two tokens.
//! Trained ones are like that, and so is `cl100k_base`; [`Vocabulary::new`](crate::Vocabulary::new) refuses others.

use rustc_hash::FxHashMap;

use crate::trie::Trie;
use crate::vocabulary::VocabularyError;

/// Positions of a pretoken from which no cut reaches its end.
#[derive(Default)]
pub(crate) struct DeadEnds(Vec<u64>);

impl DeadEnds {
    fn clear(&mut self, n_positions: usize) {
        self.0.clear();
        self.0.resize(n_positions.div_ceil(64), 0);
    }

    fn contains(&self, position: usize) -> bool {
        self.0[position / 64] >> (position % 64) & 1 == 1
    }

    fn insert(&mut self, position: usize) {
        self.0[position / 64] |= 1 << (position % 64);
    }
}

/// Everything about merging that can be worked out from the bytes of the tokens, in the form encoding wants.
pub(crate) struct MergeIndex {
    of_byte: [u32; 256],
    trie: Trie,
    shapes: Vec<Shape>,
    merged: MergedPairs,
}

/// How a token is made.
struct Shape {
    /// The two tokens it was merged from. A single byte names itself twice.
    left: u32,
    right: u32,
    /// The longest token that is a shorter prefix of it; `NO_TOKEN` for a single byte.
    prefix: u32,
    n_bytes: u32,
}

/// In place of a token.
pub(crate) const NO_TOKEN: u32 = u32::MAX;

/// Pieces below this length are merged as the definition says, longer ones in linear time.
const SHORT_LEN_MAX: usize = 32;

impl MergeIndex {
    /// `tokens` start with the 256 single bytes.
    pub(crate) fn new(tokens: &[Vec<u8>]) -> Result<MergeIndex, VocabularyError> {
        let ids_by_bytes = ids_by_bytes(tokens)?;
        let shapes = Vec::with_capacity(tokens.len());
        let mut of_byte = [NO_TOKEN; 256];
        for (token, id) in tokens[..256].iter().zip(0..) {
            of_byte[usize::from(token[0])] = id;
        }
        let mut index = MergeIndex { of_byte, trie: Trie::new(tokens), shapes, merged: MergedPairs::new(tokens.len()) };
        for (token, id) in tokens.iter().zip(0..) {
            let prefix = index.trie.longest_prefix(&token[..token.len() - 1]).unwrap_or(NO_TOKEN);
            let n_bytes = token.len() as u32;
            let (left, right) = match token.len() {
                1 => (id, id),
                _ => index.parts(tokens, id, &ids_by_bytes).ok_or(VocabularyError::Unreachable { rank: id })?,
            };
            if n_bytes > 1 {
                index.merged.insert(left, right, id);
            }
            index.shapes.push(Shape { left, right, prefix, n_bytes });
        }
        Ok(index)
    }

    /// The two tokens that a merged token is made of.
    pub(crate) fn merge(&self, id: u32) -> Option<(u32, u32)> {
        let shape = &self.shapes[id as usize];
        (shape.n_bytes > 1).then_some((shape.left, shape.right))
    }

    /// The two tokens that merging the bytes of token `id` by the smaller ids leaves, while `self` holds just those.
    fn parts(&self, tokens: &[Vec<u8>], id: u32, ids_by_bytes: &FxHashMap<&[u8], u32>) -> Option<(u32, u32)> {
        let token = &tokens[id as usize];
        let mut n_left = token.len();
        while let Some(left) = self.trie.longest_prefix(&token[..n_left - 1]) {
            n_left = tokens[left as usize].len();
            let right = ids_by_bytes.get(&token[n_left..]);
            if let Some(&right) = right.filter(|&&right| left < id && right < id && self.can_follow(left, right)) {
                return Some((left, right));
            }
        }
        None
    }

    #[inline]
    fn len(&self, id: u32) -> usize {
        self.shapes[id as usize].n_bytes as usize
    }

    /// The longest token that `bytes`, which are not empty, start with.
    #[inline]
    fn longest_prefix(&self, bytes: &[u8]) -> u32 {
        self.trie.longest_prefix(bytes).expect("every single byte is a token")
    }

    /// Appends the tokens of `piece`.
    pub(crate) fn encode_piece(&self, piece: &[u8], dead_ends: &mut DeadEnds, ids: &mut Vec<u32>) {
        match piece.len() {
            0..16 => self.merge_bytes::<16>(piece, ids),
            16..SHORT_LEN_MAX => self.merge_bytes::<SHORT_LEN_MAX>(piece, ids),
            _ => self.cut(piece, dead_ends, ids),
        }
    }

    /// The definition: merges the two neighbours that make the smallest id, the leftmost of several, until none merge.
    fn merge_bytes<const N: usize>(&self, piece: &[u8], ids: &mut Vec<u32>) {
        let mut parts = [NO_TOKEN; N];
        // What a part makes with the next one.
        let mut made = [NO_TOKEN; N];
        let mut n = piece.len();
        for (idx, &byte) in piece.iter().enumerate() {
            parts[idx] = self.of_byte[usize::from(byte)];
        }
        for idx in 1..n {
            made[idx - 1] = self.merged.of_bytes(parts[idx - 1] as u8, parts[idx] as u8);
        }
        loop {
            let (mut at, mut least) = (0, NO_TOKEN);
            for (idx, &id) in made[..n].iter().enumerate() {
                if id < least {
                    (at, least) = (idx, id);
                }
            }
            if least == NO_TOKEN {
                break;
            }
            parts[at] = least;
            n -= 1;
            for idx in at + 1..n {
                parts[idx] = parts[idx + 1];
                made[idx] = made[idx + 1];
            }
            made[at] = if at + 1 < n { self.merged.get(least, parts[at + 1]) } else { NO_TOKEN };
            if at > 0 {
                made[at - 1] = self.merged.get(parts[at - 1], least);
            }
        }
        ids.extend_from_slice(&parts[..n]);
    }

    /// Appends the tokens of `piece`.
    fn cut(&self, piece: &[u8], dead_ends: &mut DeadEnds, ids: &mut Vec<u32>) {
        let (start, mut position) = (ids.len(), 0);
        let mut longest = self.longest_prefix(piece);
        if self.len(longest) == piece.len() {
            ids.push(longest);
            return;
        }
        dead_ends.clear(piece.len() + 1);
        while position < piece.len() {
            let last = ids[start..].last().copied();
            if let Some(next) = self.longest_fit(last, longest, position, dead_ends) {
                ids.push(next);
                position += self.len(next);
                if position < piece.len() {
                    longest = self.longest_prefix(&piece[position..]);
                }
            } else {
                dead_ends.insert(position);
                longest = ids.pop().expect("position 0 is no dead end: merging the bytes yields a cut");
                position -= self.len(longest);
            }
        }
    }

    /// The longest of `longest` and its prefixes that can stand at `position` after `last`.
    #[inline]
    fn longest_fit(&self, last: Option<u32>, longest: u32, position: usize, dead_ends: &DeadEnds) -> Option<u32> {
        let mut next = longest;
        while next != NO_TOKEN {
            let shape = &self.shapes[next as usize];
            if !dead_ends.contains(position + shape.n_bytes as usize)
                && last.is_none_or(|last| self.can_follow(last, next))
            {
                return Some(next);
            }
            next = shape.prefix;
        }
        None
    }

    /// Whether merging the bytes of `left` and `right` side by side gives just these two, instead of merging across
    /// the border. Undoes the merges of both, latest first, and asks at each stage whether the two tokens at the
    /// border would have merged before the merge just undone. Of equal merges the left one came first.
    fn can_follow(&self, mut left: u32, mut right: u32) -> bool {
        let mut id_limit = u32::MAX;
        loop {
            if self.merged.get(left, right) < id_limit {
                return false;
            }
            let (left_shape, right_shape) = (&self.shapes[left as usize], &self.shapes[right as usize]);
            if left_shape.n_bytes == 1 && right_shape.n_bytes == 1 {
                return true;
            }
            // Single bytes have the smallest ids, so the larger id is never one that cannot be undone.
            if left > right {
                id_limit = left;
                left = left_shape.right;
            } else {
                id_limit = right + 1;
                right = right_shape.left;
            }
        }
    }
}

/// The token that two tokens merge into: an open hash table whose slots hold both and what they make. Most of what is asked
/// for merges into none, so one bit for each hash, in 128 kB that stay near the processor, answers most questions
/// before the table is looked at; pairs of bytes have a table of their own.
struct MergedPairs {
    of_bytes: Vec<u32>,
    slots: Vec<u64>,
    shift: u32,
    may_merge: Vec<u64>,
}

/// 2^64 divided by the golden ratio: multiplying by it spreads every bit to the upper ones.
pub(crate) const HASH_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Two of these and the token that they make fill a slot.
const ID_BITS: u32 = 21;

/// So many tokens can be told apart in a slot.
pub(crate) const N_TOKENS_MAX: usize = 1 << ID_BITS;

const EMPTY: u64 = u64::MAX;

/// Slots for each pair, at least.
const SLOTS_PER_PAIR: usize = 2;

const N_HASHES_LOG2: u32 = 20;

impl MergedPairs {
    fn new(n_pairs: usize) -> MergedPairs {
        let n_slots = (n_pairs * SLOTS_PER_PAIR).next_power_of_two();
        MergedPairs {
            of_bytes: vec![NO_TOKEN; 1 << 16],
            slots: vec![EMPTY; n_slots],
            shift: 64 - n_slots.ilog2(),
            may_merge: vec![0; 1 << (N_HASHES_LOG2 - 6)],
        }
    }

    fn insert(&mut self, left: u32, right: u32, id: u32) {
        if (left | right) < 256 {
            self.of_bytes[(left << 8 | right) as usize] = id;
        }
        let hash = MergedPairs::hash(left, right);
        let bit = hash >> (64 - N_HASHES_LOG2);
        self.may_merge[(bit / 64) as usize] |= 1 << (bit % 64);
        let mut slot = (hash >> self.shift) as usize;
        while self.slots[slot] != EMPTY {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = MergedPairs::key(left, right) << ID_BITS | u64::from(id);
    }

    /// `NO_TOKEN` where they do not merge.
    #[inline]
    fn get(&self, left: u32, right: u32) -> u32 {
        let hash = MergedPairs::hash(left, right);
        let bit = hash >> (64 - N_HASHES_LOG2);
        if self.may_merge[(bit / 64) as usize] >> (bit % 64) & 1 == 0 {
            return NO_TOKEN;
        }
        let mut slot = (hash >> self.shift) as usize;
        loop {
            let found = self.slots[slot];
            if found >> ID_BITS == MergedPairs::key(left, right) {
                return (found & (N_TOKENS_MAX as u64 - 1)) as u32;
            }
            if found == EMPTY {
                return NO_TOKEN;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    #[inline]
    fn of_bytes(&self, left: u8, right: u8) -> u32 {
        self.of_bytes[usize::from(left) << 8 | usize::from(right)]
    }

    #[inline]
    fn key(left: u32, right: u32) -> u64 {
        u64::from(left) << ID_BITS | u64::from(right)
    }

    #[inline]
    fn hash(left: u32, right: u32) -> u64 {
        MergedPairs::key(left, right).wrapping_mul(HASH_FACTOR)
    }
}

fn ids_by_bytes(tokens: &[Vec<u8>]) -> Result<FxHashMap<&[u8], u32>, VocabularyError> {
    let mut ids_by_bytes = FxHashMap::default();
    ids_by_bytes.reserve(tokens.len());
    for (token, id) in tokens.iter().zip(0..) {
        if let Some(first_id) = ids_by_bytes.insert(token.as_slice(), id) {
            return Err(VocabularyError::Duplicate { first_rank: first_id, rank: id });
        }
    }
    Ok(ids_by_bytes)
}
