//! Text to tokens: pieces are looked up in a cache, window by window, and merged where they are not there.
//!
//! Most of the time goes into waiting: for memory, and for branches that nobody can predict. So the pieces of a window are
//! looked up all at once, before it is known which are there, and their tokens are written before it is known how many
//! they are.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::bpe::DeadEnds;
use crate::cache::{CACHED_LEN_MAX, Cache, Few, Key, LongCache};
use crate::scanner::{Batch, Scanner, WINDOW};
use crate::vocabulary::Vocabulary;

/// Encodes text with one vocabulary. Holds what is worth keeping from one text to the next; what it returns does not
/// depend on what it encoded before. One for each thread.
pub struct Encoder<'v> {
    vocabulary: &'v Vocabulary,
    cache: Cache,
    long_cache: LongCache,
    dead_ends: DeadEnds,
    batch: Batch,
    keys: [Key; WINDOW + 1],
    found: [Few; WINDOW + 1],
}

impl<'v> Encoder<'v> {
    /// An encoder with nothing remembered. Takes 4 MB once it has seen enough text.
    pub fn new(vocabulary: &'v Vocabulary) -> Encoder<'v> {
        Encoder {
            vocabulary,
            cache: Cache::new(),
            long_cache: LongCache::new(),
            dead_ends: DeadEnds::default(),
            batch: Batch::new(),
            keys: [Key::default(); WINDOW + 1],
            found: [Few::NONE; WINDOW + 1],
        }
    }

    /// Appends the tokens of `text` to `ids`. Special tokens are not looked for: their names are text like any other.
    pub fn encode(&mut self, text: &str, ids: &mut Vec<u32>) {
        if self.vocabulary.is_nfc() && is_nfc_quick(text.chars()) != IsNormalized::Yes {
            self.encode_as_is(&text.nfc().collect::<String>(), ids);
        } else {
            self.encode_as_is(text, ids);
        }
    }

    fn encode_as_is(&mut self, text: &str, ids: &mut Vec<u32>) {
        let mut scanner = Scanner::new(self.vocabulary.pattern(), Some(self.vocabulary.borders()), text);
        let mut start = 0;
        while scanner.next_batch(&mut self.batch) {
            self.look_up(text.as_bytes(), start);
            start = self.append(text.as_bytes(), start, ids);
        }
    }

    #[inline]
    fn look_up(&mut self, text: &[u8], mut start: usize) {
        let shelves = self.cache.shelves();
        for ((&end, key), found) in self.batch.ends().iter().zip(&mut self.keys).zip(&mut self.found) {
            *found = Few::NONE;
            if end - start <= CACHED_LEN_MAX {
                *key = Key::new(text, start, end - start);
                *found = Cache::find(shelves, *key);
            }
            start = end;
        }
    }

    /// Appends the tokens of all pieces of the batch. Gives where the last one ends.
    #[inline]
    fn append(&mut self, text: &[u8], mut start: usize, ids: &mut Vec<u32>) -> usize {
        let n_pieces = self.batch.ends().len();
        let mut n_ids = ids.len();
        ids.resize(n_ids + 4 * n_pieces, 0);
        for idx in 0..n_pieces {
            let end = self.batch.ends()[idx];
            if self.found[idx].is_none() {
                ids.truncate(n_ids);
                self.merge(&text[start..end], idx, ids);
                n_ids = ids.len();
                ids.resize(n_ids + 4 * (n_pieces - idx - 1), 0);
            } else {
                let (four, n) = self.found[idx].unpack();
                ids[n_ids..n_ids + 4].copy_from_slice(&four);
                n_ids += n;
            }
            start = end;
        }
        ids.truncate(n_ids);
        start
    }

    /// Appends the tokens of a piece that was not at hand.
    #[cold]
    #[inline(never)]
    fn merge(&mut self, piece: &[u8], idx: usize, ids: &mut Vec<u32>) {
        let is_cached = piece.len() <= CACHED_LEN_MAX;
        if is_cached {
            let found = self.cache.find_behind(self.keys[idx]);
            if !found.is_none() {
                let (four, n) = found.unpack();
                ids.extend_from_slice(&four[..n]);
                return;
            }
        } else if let Some(found) = self.long_cache.find(piece) {
            ids.extend_from_slice(found);
            return;
        }
        let start = ids.len();
        self.vocabulary.index().encode_piece(piece, &mut self.dead_ends, ids);
        self.vocabulary.ranks_to_ids(&mut ids[start..]);
        if !is_cached {
            self.long_cache.put(piece, &ids[start..]);
        } else if let Some(few) = Few::new(&ids[start..]) {
            self.cache.put(self.keys[idx], few);
        }
    }
}
