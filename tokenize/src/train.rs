//! Trains a byte-level BPE vocabulary: merges the most frequent pair of neighbours, again and again.
//!
//! Equal pretokens are counted once and merged once. They lie side by side in one array with a cell for each byte, in
//! which a symbol occupies as many cells as it has bytes and writes its id into the first and the last of them, so that
//! the symbols before and after it are found without links. Every pair keeps its count and the positions it was seen
//! at; a merge visits only those, and a heap that is corrected lazily hands out the next pair. Cost: O(n log n) for n
//! bytes of distinct pretokens, in practice close to linear, and about 25 bytes of memory for each of them.
//!
//! Counts are exact and ties are broken by the ids of the pair, so the result does not depend on the number of threads
//! or the order of the texts. (Sennrich et al. 2016, arXiv:1508.07909; the bookkeeping follows `subword-nmt`.)

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::Entry;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::pattern::Pattern;
use crate::scanner::pretokens;
use crate::vocabulary::{SPECIAL_NAMES, Vocabulary};

const N_BYTES: usize = 256;

/// A pair that occurs only once says nothing about the language.
const PAIR_COUNT_MIN: u64 = 2;

/// Learns a vocabulary of `size` ids, the bytes and the special tokens included, and tells `progress` how many merges
/// are done. Uses the threads of the rayon pool it is called in.
pub fn train(
    pattern: Pattern,
    texts: &[&str],
    size: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vocabulary, TrainError> {
    let n_merges = size
        .checked_sub(N_BYTES + SPECIAL_NAMES.len())
        .ok_or(TrainError::SizeTooSmall { size, size_min: N_BYTES + SPECIAL_NAMES.len() })?;
    let merges = learn_merges(&count_pretokens(&pattern, texts), n_merges, progress)?;
    if merges.len() < n_merges {
        return Err(TrainError::TooLittleText { size, size_reached: size - n_merges + merges.len() });
    }
    let mut tokens: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    for &(left, right) in &merges {
        tokens.push([tokens[left as usize].as_slice(), &tokens[right as usize]].concat());
    }
    let vocabulary =
        Vocabulary::new(pattern, &tokens).expect("every token was merged from two smaller ids, and only once");
    for (&merge, id) in merges.iter().zip(N_BYTES as u32..) {
        debug_assert_eq!(vocabulary.index().merge(id), Some(merge), "the bytes of {id} give back its merge");
    }
    Ok(vocabulary)
}

/// Why no vocabulary was trained.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// No room for a merge.
    #[error("a vocabulary of {size} ids has no room for the 256 bytes and the special tokens, which take {size_min}")]
    SizeTooSmall {
        /// The size asked for.
        size: usize,
        /// The smallest size there is.
        size_min: usize,
    },
    /// No pair is left that occurs twice.
    #[error("the text fills a vocabulary of {size_reached} ids, not {size}: no other pair of tokens occurs twice")]
    TooLittleText {
        /// The size asked for.
        size: usize,
        /// The largest size this text can fill.
        size_reached: usize,
    },
    /// Positions in the text are kept as 32 bits.
    #[error("the distinct pretokens of the text take {n_bytes} bytes, where training takes at most 4 GB of them")]
    TooMuchText {
        /// Bytes of all distinct pretokens, with one more for each.
        n_bytes: usize,
    },
}

/// The distinct pretokens in which there is anything to merge, by their bytes, with how often each occurs.
fn count_pretokens<'t>(pattern: &Pattern, texts: &[&'t str]) -> Vec<(&'t [u8], u64)> {
    let count = |mut counts: FxHashMap<&'t [u8], u64>, text: &&'t str| {
        for piece in pretokens(pattern, text).filter(|piece| piece.len() > 1) {
            *counts.entry(piece.as_bytes()).or_default() += 1;
        }
        counts
    };
    let add = |mut counts: FxHashMap<&'t [u8], u64>, mut others: FxHashMap<&'t [u8], u64>| {
        if counts.len() < others.len() {
            std::mem::swap(&mut counts, &mut others);
        }
        for (piece, n_times) in others {
            *counts.entry(piece).or_default() += n_times;
        }
        counts
    };
    let counts = texts.par_iter().fold(FxHashMap::default, count).reduce(FxHashMap::default, add);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.par_sort_unstable();
    counts
}

/// The first `n_merges` merges, or fewer if the pretokens give no more.
fn learn_merges(
    pretokens: &[(&[u8], u64)],
    n_merges: usize,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<(u32, u32)>, TrainError> {
    let mut board = Board::new(pretokens)?;
    let mut merges = Vec::with_capacity(n_merges);
    while merges.len() < n_merges {
        let Some(pair) = board.take_most_frequent() else {
            break;
        };
        board.merge(pair);
        merges.push(pair);
        progress(merges.len());
    }
    Ok(merges)
}

/// In `Board::cells`: not a symbol but the border of a pretoken, or the inside of a symbol.
const BORDER: u32 = u32::MAX;
const INSIDE: u32 = u32::MAX - 1;

/// The state of training between two merges.
struct Board {
    /// All pretokens with a border before, between and after them.
    cells: Vec<u32>,
    /// Which pretoken a cell belongs to, and how often that occurs.
    pretoken_of_cell: Vec<u32>,
    pretoken_counts: Vec<u64>,
    symbol_lens: Vec<u32>,
    pairs: FxHashMap<(u32, u32), Pair>,
    /// Every pair with a count it once had, which is never below the one it has.
    candidates: BinaryHeap<(u64, Reverse<(u32, u32)>)>,
}

#[derive(Default)]
struct Pair {
    count: u64,
    /// Where its left symbol starts, ascending. Positions that have been merged away are not removed: whether the
    /// cells still hold the pair tells.
    positions: Vec<u32>,
}

impl Board {
    fn new(pretokens: &[(&[u8], u64)]) -> Result<Board, TrainError> {
        let n_cells = 1 + pretokens.iter().map(|(piece, _)| piece.len() + 1).sum::<usize>();
        if n_cells > INSIDE as usize {
            return Err(TrainError::TooMuchText { n_bytes: n_cells });
        }
        let mut cells = Vec::with_capacity(n_cells);
        let mut pretoken_of_cell = Vec::with_capacity(n_cells);
        for (&(piece, _), pretoken_idx) in pretokens.iter().zip(0..) {
            cells.push(BORDER);
            cells.extend(piece.iter().map(|&byte| u32::from(byte)));
            pretoken_of_cell.resize(cells.len(), pretoken_idx);
        }
        cells.push(BORDER);
        let mut board = Board {
            cells,
            pretoken_of_cell,
            pretoken_counts: pretokens.iter().map(|&(_, n_times)| n_times).collect(),
            symbol_lens: vec![1; N_BYTES],
            pairs: FxHashMap::default(),
            candidates: BinaryHeap::new(),
        };
        board.count_byte_pairs();
        Ok(board)
    }

    fn count_byte_pairs(&mut self) {
        for (position, pair) in self.cells.windows(2).enumerate() {
            if pair[0] != BORDER && pair[1] != BORDER {
                let count = self.pretoken_counts[self.pretoken_of_cell[position] as usize];
                let pair = self.pairs.entry((pair[0], pair[1])).or_default();
                pair.count += count;
                pair.positions.push(position as u32);
            }
        }
        self.candidates = self.pairs.iter().map(|(&key, pair)| (pair.count, Reverse(key))).collect();
    }

    /// The pair with the highest count, of several such the one with the smallest ids.
    fn take_most_frequent(&mut self) -> Option<(u32, u32)> {
        while let Some((count_then, Reverse(key))) = self.candidates.pop() {
            let count = self.pairs.get(&key).map_or(0, |pair| pair.count);
            if count < PAIR_COUNT_MIN {
                self.pairs.remove(&key);
            } else if count < count_then {
                self.candidates.push((count, Reverse(key)));
            } else {
                return Some(key);
            }
        }
        None
    }

    /// Makes a new symbol of every occurrence of the pair, from left to right.
    fn merge(&mut self, (left, right): (u32, u32)) {
        let merged = self.symbol_lens.len() as u32;
        let (n_left, n_right) = (self.symbol_lens[left as usize], self.symbol_lens[right as usize]);
        self.symbol_lens.push(n_left + n_right);
        let pair = self.pairs.remove(&(left, right)).expect("the pair has just been found");
        let mut new_pairs = Vec::new();
        for start in pair.positions {
            let (border, end) = (start + n_left, start + n_left + n_right);
            if self.cells[start as usize] != left || self.cells[border as usize] != right {
                continue;
            }
            let count = self.pretoken_counts[self.pretoken_of_cell[start as usize] as usize];
            let (before, after) = (self.cells[start as usize - 1], self.cells[end as usize]);
            if before != BORDER {
                self.lower((before, left), count);
                self.raise((before, merged), count, start - self.symbol_lens[before as usize], &mut new_pairs);
            }
            if after != BORDER {
                self.lower((right, after), count);
                self.raise((merged, after), count, start, &mut new_pairs);
            }
            self.cells[border as usize - 1] = INSIDE;
            self.cells[border as usize] = INSIDE;
            self.cells[start as usize] = merged;
            self.cells[end as usize - 1] = merged;
        }
        for key in new_pairs {
            self.candidates.extend(self.pairs.get(&key).map(|pair| (pair.count, Reverse(key))));
        }
    }

    /// One position fewer for a pair, unless it is the one being merged, which is gone already.
    fn lower(&mut self, key: (u32, u32), count: u64) {
        if let Entry::Occupied(mut pair) = self.pairs.entry(key) {
            pair.get_mut().count -= count;
            if pair.get().count == 0 {
                pair.remove();
            }
        }
    }

    fn raise(&mut self, key: (u32, u32), count: u64, position: u32, new_pairs: &mut Vec<(u32, u32)>) {
        let pair = self.pairs.entry(key).or_insert_with(|| {
            new_pairs.push(key);
            Pair::default()
        });
        pair.count += count;
        pair.positions.push(position);
    }
}
