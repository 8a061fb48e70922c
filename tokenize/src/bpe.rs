//! Byte-pair encoding: the tokens that merging the bytes of a pretoken in order of rank leaves.
//!
//! Nothing is merged to get there. The result is the only way to cut the pretoken into tokens such that no two
//! neighbours, merged from their bytes on side by side, would have merged across their border; whether two tokens can
//! be neighbours is decided by undoing their merges (`MergeIndex::can_follow`). So the encoder walks from left to
//! right, takes the longest token that can follow the last one, and steps back where none can. A position that it
//! stepped back from is never entered again, so time is linear in the length of the pretoken, with a factor that depends
//! on the longest token only: a million letters `a`, or a book of Chinese without a comma, cost per byte what a
//! sentence costs. After "So many tokens, so little time" (GitHub, 2024) and the crate `bpe` that goes with it.
//!
//! It holds for vocabularies in which merging the bytes of each token by the smaller ids leaves exactly two tokens.
//! Trained ones are like that, and so is `cl100k_base`; [`Vocabulary::new`] refuses others.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::scanner::pretokens;
use crate::vocabulary::{Vocabulary, VocabularyError};

/// Encodes text with one vocabulary. Holds what is worth keeping from one text to the next; what it returns does not
/// depend on what it encoded before. One for each thread.
pub struct Encoder<'v> {
    index: &'v MergeIndex,
    cache: PieceCache,
    dead_ends: DeadEnds,
}

impl<'v> Encoder<'v> {
    /// An encoder with nothing remembered. Takes 1 MB.
    pub fn new(vocabulary: &'v Vocabulary) -> Encoder<'v> {
        Encoder { index: vocabulary.index(), cache: PieceCache::new(), dead_ends: DeadEnds::default() }
    }

    /// Appends the tokens of `text` to `ids`. Special tokens are not looked for: their names are text like any other.
    pub fn encode(&mut self, text: &str, ids: &mut Vec<u32>) {
        for piece in pretokens(text) {
            self.encode_piece(piece.as_bytes(), ids);
        }
    }

    #[inline]
    fn encode_piece(&mut self, piece: &[u8], ids: &mut Vec<u32>) {
        if piece.len() > CACHED_LEN_MAX {
            self.index.cut(piece, &mut self.dead_ends, ids);
            return;
        }
        let key = cache_key(piece);
        let place = self.cache.place(key);
        if place.key != key {
            let start = ids.len();
            self.index.cut(piece, &mut self.dead_ends, ids);
            place.keep(key, &ids[start..]);
        } else if place.n_ids == 1 {
            ids.push(place.ids[0]);
        } else {
            ids.extend_from_slice(&place.ids[..place.n_ids as usize]);
        }
    }
}

/// Short pretokens and their tokens, each in the one place that its bytes hash to, where it stays until another comes.
/// Most of English is a few thousand words, and reading one place is cheaper than even the walk down the trie that
/// finds a word to be a token. Clause-long Chinese pretokens do not come back and are kept out by their length.
struct PieceCache {
    places: Vec<Place>,
}

/// 32 bytes, so that a look is one cache line.
#[derive(Clone, Copy)]
struct Place {
    key: u128,
    n_ids: u32,
    ids: [u32; 3],
}

const N_PLACES_LOG2: u32 = 15;

/// What fits into 16 bytes beside the length.
const CACHED_LEN_MAX: usize = 15;

impl PieceCache {
    fn new() -> PieceCache {
        // No pretoken has the key 0, since none has the length 0.
        PieceCache { places: vec![Place { key: 0, n_ids: 0, ids: [0; 3] }; 1 << N_PLACES_LOG2] }
    }

    #[inline]
    fn place(&mut self, key: u128) -> &mut Place {
        let folded = (key as u64) ^ ((key >> 64) as u64).wrapping_mul(HASH_FACTOR).rotate_left(32);
        &mut self.places[(folded.wrapping_mul(HASH_FACTOR) >> (64 - N_PLACES_LOG2)) as usize]
    }
}

impl Place {
    fn keep(&mut self, key: u128, ids: &[u32]) {
        if ids.len() <= self.ids.len() {
            (self.key, self.n_ids) = (key, ids.len() as u32);
            self.ids[..ids.len()].copy_from_slice(ids);
        }
    }
}

/// The bytes of a short piece and its length as one number. Reads twice from the ends, where the middle is read double,
/// instead of copying a varying number of bytes.
#[inline]
fn cache_key(piece: &[u8]) -> u128 {
    let n_bytes = piece.len();
    let bytes = if let (Some(first), Some(last)) = (piece.first_chunk(), piece.last_chunk()) {
        u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * (n_bytes - 8))
    } else if let (Some(first), Some(last)) = (piece.first_chunk(), piece.last_chunk()) {
        u128::from(u32::from_le_bytes(*first)) | u128::from(u32::from_le_bytes(*last)) << (8 * (n_bytes - 4))
    } else {
        piece.iter().rev().fold(0, |bytes, &byte| bytes << 8 | u128::from(byte))
    };
    bytes | (n_bytes as u128) << 120
}

/// 2^64 divided by the golden ratio: multiplying by it spreads every bit to the upper ones.
const HASH_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Positions of a pretoken from which no cut reaches its end.
#[derive(Default)]
struct DeadEnds(Vec<u64>);

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

const NO_TOKEN: u32 = u32::MAX;

impl MergeIndex {
    /// `tokens` start with the 256 single bytes.
    pub(crate) fn new(tokens: &[Vec<u8>]) -> Result<MergeIndex, VocabularyError> {
        let ids_by_bytes = ids_by_bytes(tokens)?;
        let shapes = Vec::with_capacity(tokens.len());
        let mut index = MergeIndex { trie: Trie::new(tokens), shapes, merged: MergedPairs::new(tokens.len()) };
        for (token, id) in tokens.iter().zip(0..) {
            let prefix = index.trie.longest_prefix(&token[..token.len() - 1]).unwrap_or(NO_TOKEN);
            let n_bytes = token.len() as u32;
            let (left, right) = match token.len() {
                1 => (id, id),
                _ => index.parts(tokens, id, &ids_by_bytes).ok_or(VocabularyError::Unreachable { id })?,
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
            if self.merged.get(left, right).is_some_and(|id| id < id_limit) {
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

/// The token that two tokens merge into. Most of what is asked for merges into none, so one bit for each hash, in
/// 256 kB that stay near the processor, answers most questions before the map is looked at.
struct MergedPairs {
    by_pair: FxHashMap<(u32, u32), u32>,
    may_merge: Vec<u64>,
}

const N_HASHES_LOG2: u32 = 21;

impl MergedPairs {
    fn new(n_pairs: usize) -> MergedPairs {
        let mut by_pair = FxHashMap::default();
        by_pair.reserve(n_pairs);
        MergedPairs { by_pair, may_merge: vec![0; 1 << (N_HASHES_LOG2 - 6)] }
    }

    fn insert(&mut self, left: u32, right: u32, id: u32) {
        let (word_idx, bit) = MergedPairs::place(left, right);
        self.may_merge[word_idx] |= bit;
        self.by_pair.insert((left, right), id);
    }

    #[inline]
    fn get(&self, left: u32, right: u32) -> Option<u32> {
        let (word_idx, bit) = MergedPairs::place(left, right);
        if self.may_merge[word_idx] & bit == 0 {
            return None;
        }
        self.by_pair.get(&(left, right)).copied()
    }

    #[inline]
    fn place(left: u32, right: u32) -> (usize, u64) {
        let hash = (u64::from(left) << 32 | u64::from(right)).wrapping_mul(HASH_FACTOR) >> (64 - N_HASHES_LOG2);
        ((hash / 64) as usize, 1 << (hash % 64))
    }
}

fn ids_by_bytes(tokens: &[Vec<u8>]) -> Result<FxHashMap<&[u8], u32>, VocabularyError> {
    let mut ids_by_bytes = FxHashMap::default();
    ids_by_bytes.reserve(tokens.len());
    for (token, id) in tokens.iter().zip(0..) {
        if let Some(first_id) = ids_by_bytes.insert(token.as_slice(), id) {
            return Err(VocabularyError::Duplicate { first_id, id });
        }
    }
    Ok(ids_by_bytes)
}

/// All tokens as a tree of bytes, in one array (a double array): the child of a node by `byte` is at `base ^ byte` if
/// the entry there names the node as its parent, so a step is one read. Built in order of depth, 12 bytes a node.
struct Trie {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Node {
    base: u32,
    parent: u32,
    /// The token that ends here, or `NO_TOKEN`.
    token: u32,
}

const FREE: Node = Node { base: 0, parent: u32::MAX, token: NO_TOKEN };
const ROOT: u32 = 0;

impl Trie {
    /// Tokens are distinct and none is empty.
    fn new(tokens: &[Vec<u8>]) -> Trie {
        let mut by_bytes: Vec<u32> = (0..tokens.len() as u32).collect();
        by_bytes.sort_unstable_by_key(|&id| &tokens[id as usize]);

        let mut slots = Slots::new();
        let mut unplaced = VecDeque::from([(ROOT, 0, by_bytes.as_slice())]);
        while let Some((node, depth, below)) = unplaced.pop_front() {
            let byte_of = |id: u32| tokens[id as usize][depth];
            let children: Vec<&[u32]> = below.chunk_by(|&a, &b| byte_of(a) == byte_of(b)).collect();
            let bytes: Vec<u8> = children.iter().map(|child| byte_of(child[0])).collect();
            let base = slots.place(node, &bytes);
            for (&child, byte) in children.iter().zip(bytes) {
                let child_node = base ^ u32::from(byte);
                // The token that ends in the child sorts before all that go on from it.
                let ends_here = tokens[child[0] as usize].len() == depth + 1;
                if ends_here {
                    slots.nodes[child_node as usize].token = child[0];
                }
                let deeper = &child[usize::from(ends_here)..];
                if !deeper.is_empty() {
                    unplaced.push_back((child_node, depth + 1, deeper));
                }
            }
        }
        Trie { nodes: slots.nodes }
    }

    /// The longest token that `bytes` start with.
    #[inline]
    fn longest_prefix(&self, bytes: &[u8]) -> Option<u32> {
        let (mut node, mut longest) = (ROOT, NO_TOKEN);
        let mut base = self.nodes[ROOT as usize].base;
        for &byte in bytes {
            let child = base ^ u32::from(byte);
            let entry = self.nodes[child as usize];
            if entry.parent != node {
                break;
            }
            if entry.token != NO_TOKEN {
                longest = entry.token;
            }
            (node, base) = (child, entry.base);
        }
        (longest != NO_TOKEN).then_some(longest)
    }
}

/// The array of a [`Trie`] while it is filled.
struct Slots {
    nodes: Vec<Node>,
    /// Entries that are free, oldest first. Those taken since are dropped when they come up.
    free: VecDeque<u32>,
}

/// How many free entries are tried for the children of one node before the array is made longer.
const N_TRIES_MAX: usize = 64;

impl Slots {
    fn new() -> Slots {
        let mut slots = Slots { nodes: Vec::new(), free: VecDeque::new() };
        slots.grow();
        slots.nodes[ROOT as usize].parent = ROOT;
        slots
    }

    /// Finds a base at which all children of `node` fall on free entries, and takes these.
    fn place(&mut self, node: u32, bytes: &[u8]) -> u32 {
        let base = self.find_base(bytes);
        self.nodes[node as usize].base = base;
        for &byte in bytes {
            self.nodes[(base ^ u32::from(byte)) as usize].parent = node;
        }
        base
    }

    fn find_base(&mut self, bytes: &[u8]) -> u32 {
        for _ in 0..N_TRIES_MAX.min(self.free.len()) {
            let slot = self.free.pop_front().expect("there are that many");
            if !self.is_free(slot) {
                continue;
            }
            let base = slot ^ u32::from(bytes[0]);
            if bytes.iter().all(|&byte| self.is_free(base ^ u32::from(byte))) {
                return base;
            }
            self.free.push_back(slot);
        }
        self.grow()
    }

    fn is_free(&self, slot: u32) -> bool {
        self.nodes[slot as usize].parent == FREE.parent
    }

    /// 256 more entries, so that any `base ^ byte` of theirs is one of theirs.
    fn grow(&mut self) -> u32 {
        let start = self.nodes.len() as u32;
        self.nodes.resize(self.nodes.len() + 256, FREE);
        self.free.extend(start..start + 256);
        start
    }
}
