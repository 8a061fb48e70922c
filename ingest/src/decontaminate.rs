//! Which documents hold items of evaluation sets?
//!
//! Texts are folded into units first: a run of letters or digits in lower case is one, a Han character or kana is one,
//! everything else parts units. So punctuation, quotes, case and line breaks do not matter, and one index serves English,
//! Chinese and mixed items. An item counts by words or by characters, whichever its units mostly are.
//!
//! - An item with at least `ngram_words` (`ngram_chars`) units is looked for by its n-grams. A document holds it when
//!   at least `share_min` of them stand in one stretch of the document, at most [`STRETCH`] times as long as the item:
//!   the share is what edits, insertions and deletions are forgiven by, the stretch keeps n-grams apart that are common
//!   in any long text. Together they must span half of the item: a sentence that both quote is not enough. N-grams of
//!   more than `items_per_ngram_max` different items (prompts, "which of the following statements") are ignored on both
//!   sides.
//! - A shorter item is looked for as a whole, down to `short_words_min` (`short_chars_min`) units. Any item must
//!   hold [`CONTENT_WORDS_MIN`] words that are no stop words. Others cannot be told from ordinary speech: they are
//!   counted ([`Coverage::n_too_short`]), not looked for.
//!
//! Hashes only propose: before a hit is reported, its n-grams are compared with the item's text. Cost: one hash a byte
//! and up to four rolling hashes a unit (polynomials modulo 2^64, each asked of a bit table first); an n-gram of the index
//! takes 16 bytes. Sources: the 13-gram rule of arXiv 2005.14165, appendix C.
//!
//! Which n? Measured with 30,000 items of 14 English sets planted in real documents, and 17,556 clean ones (55 MB): all
//! verbatim items are found at any n. With one word in ten replaced, a share of 0.2 finds 40 % at n = 13, 78 % at 8 and
//! 90 % at 6, and has 0, 1 and 7 hits in clean documents. In Chinese (12,000 items of law; 14,400 documents, 43 MB),
//! with one character in ten replaced: 39 % at 13 characters, 73 % at 10, 86 % at 8, and 15, 19 and 27 clean documents,
//! half of which do hold the item's source or its formula.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};

use corpus::Share;
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::{Xxh3DefaultBuilder, xxh3_64};

use crate::template::{FieldError, Template};

/// The stretch of a document that an item's n-grams are counted in, in lengths of the item.
const STRETCH: usize = 3;

/// Share of an item, from the first n-gram that is looked for to the last, that those in the document must span: a statute
/// or a disclaimer that is quoted in both stands in one place of the item, what was edited is left all over it.
const SPAN_MIN: f64 = 0.5;

/// Words of an item that are no stop words, and different.
const CONTENT_WORDS_MIN: usize = 3;

/// Different characters of a Chinese item.
const CONTENT_CHARS_MIN: usize = 6;

/// Characters of a document around a hit that are quoted.
const EXCERPT_CHARS: usize = 160;

/// Words that carry no content, in order of bytes.
const STOP_WORDS: [&str; 70] = [
    "a", "about", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "did", "do", "does", "for", "from",
    "had", "has", "have", "he", "her", "his", "how", "i", "if", "in", "into", "is", "it", "its", "me", "most", "my",
    "no", "not", "of", "on", "one", "or", "our", "out", "s", "she", "so", "t", "than", "that", "the", "their", "them",
    "then", "there", "these", "they", "this", "to", "was", "we", "were", "what", "when", "where", "which", "who",
    "why", "will", "with", "you", "your",
];

/// `[ingest.decontamination]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decontamination {
    /// The sets that must not be in the documents.
    pub sets: Vec<EvaluationSet>,
    /// Units of an n-gram of an item in words.
    pub ngram_words: NonZeroU32,
    /// Units of an n-gram of an item in characters.
    pub ngram_chars: NonZeroU32,
    /// Least units of an item in words.
    pub short_words_min: NonZeroU32,
    /// Least units of an item in characters.
    pub short_chars_min: NonZeroU32,
    /// Least share of an item's n-grams.
    pub share_min: Share,
    /// An n-gram of more different items says nothing.
    pub items_per_ngram_max: NonZeroU32,
}

/// `[[ingest.decontamination.sets]]`: one file of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSet {
    /// The name that hits are listed under; several files may share one.
    pub task: String,
    /// JSON lines, plain or as .gz or .zst. Not serialised: results depend on what the file holds.
    #[serde(skip_serializing)]
    pub path: PathBuf,
    /// What of a record is looked for. Question and answer make a better item than a passage that others quote too.
    pub text: Template,
}

/// One item of an evaluation set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationItem {
    /// Its set.
    pub task: String,
    /// `FILE:LINE`.
    pub locator: String,
    /// What is looked for.
    pub text: String,
}

/// An item that a document holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The item's set.
    pub task: String,
    /// The item's locator.
    pub item: String,
    /// N-grams of the item that stand in the document; 1 for a short item.
    pub n_matched: usize,
    /// N-grams that were looked for.
    pub n_ngrams: usize,
    /// The place in the document, cut to a length that can be shown.
    pub excerpt: String,
}

/// How much of a task can be looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Items.
    pub n_items: usize,
    /// Looked for by n-grams.
    pub n_long: usize,
    /// Looked for as a whole.
    pub n_short: usize,
    /// Not looked for: too short, or of nothing but stop words.
    pub n_too_short: usize,
    /// Not looked for: every n-gram is one of too many other items.
    pub n_common: usize,
}

/// A set that cannot be read.
#[derive(Debug, Error)]
pub enum EvaluationError {
    /// The disk or the decompressor.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A line is not JSON.
    #[error("{} is not JSON in line {line}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What went wrong.
        source: serde_json::Error,
    },
    /// A record lacks a field of the template.
    #[error("{}: line {line} does not fit its template", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What went wrong.
        source: FieldError,
    },
    /// A file without items would guard against nothing.
    #[error("{} holds no items", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The index of all items.
pub struct Decontaminator {
    items: Vec<Item>,
    /// One for each length of n-gram that some item is looked for by.
    tables: Vec<Table>,
    share_min: f64,
    coverage: BTreeMap<String, Coverage>,
}

/// Different items of the same units are one.
struct Item {
    /// Task and locator of each.
    names: Vec<(String, String)>,
    text: String,
    units: Units,
    /// N-grams that are looked for.
    n_ngrams: usize,
    /// The first unit of the first and of the last of them.
    searched: (u32, u32),
    /// Units of one of them.
    n: usize,
}

/// The units of a text: their hashes, and the bytes of the text that they are made of.
#[derive(Default)]
struct Units {
    hashes: Vec<u64>,
    starts: Vec<u32>,
    ends: Vec<u32>,
    n_chars: usize,
}

/// The n-grams of one length.
struct Table {
    n: usize,
    /// Whether whole items begin here, rather than n-grams of long ones.
    is_short: bool,
    /// Whether its items are in characters: a text without any cannot hold them.
    is_chars: bool,
    /// One bit of each n-gram's hash.
    bits: Vec<u64>,
    /// Where the n-grams begin whose hash starts with the index.
    starts: Vec<u32>,
    /// In order of their hashes.
    ngrams: Vec<Ngram>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ngram {
    hash: u64,
    item: u32,
    /// The first unit.
    at: u32,
}

/// An n-gram that an item and the document seem to share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    item: u32,
    at_document: u32,
    at_item: u32,
}

/// Reads the items of all sets.
pub fn read_items(sets: &[EvaluationSet]) -> Result<Vec<EvaluationItem>, EvaluationError> {
    let mut items = Vec::new();
    for EvaluationSet { task, path, text } in sets {
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let n_before = items.len();
        let io_error = |source| EvaluationError::Io { path: path.clone(), source };
        for (index, line) in open_lines(path).map_err(io_error)?.lines().enumerate() {
            let line = line.map_err(io_error)?;
            let number = index + 1;
            if line.trim().is_empty() {
                continue;
            }
            let record = serde_json::from_str(&line).map_err(|source| EvaluationError::Json {
                path: path.clone(),
                line: number,
                source,
            })?;
            let text = text.render(&record).map_err(|source| EvaluationError::Field {
                path: path.clone(),
                line: number,
                source,
            })?;
            items.push(EvaluationItem { task: task.clone(), locator: format!("{file_name}:{number}"), text });
        }
        if items.len() == n_before {
            return Err(EvaluationError::Empty { path: path.clone() });
        }
    }
    Ok(items)
}

/// A file as lines, decompressed as its name says.
pub(crate) fn open_lines(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file = File::open(path)?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    Ok(match extension {
        Some("gz") => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        Some("zst") => Box::new(BufReader::new(zstd::Decoder::new(file)?)),
        _ => Box::new(BufReader::new(file)),
    })
}

impl Decontaminator {
    /// Indexes the items.
    pub fn build(evaluation_items: &[EvaluationItem], settings: &Decontamination) -> Self {
        let Share(share_min) = settings.share_min;
        let mut coverage: BTreeMap<String, Coverage> = BTreeMap::new();
        let mut items = distinct_items(evaluation_items);
        let mut ngrams: BTreeMap<(usize, bool, bool), Vec<Ngram>> = BTreeMap::new();
        let mut is_short = vec![false; items.len()];
        for (index, item) in items.iter_mut().enumerate() {
            let is_chars = item.units.is_chars();
            let (n, n_min) = match is_chars {
                true => (settings.ngram_chars, settings.short_chars_min),
                false => (settings.ngram_words, settings.short_words_min),
            };
            let (n, n_min) = (n.get() as usize, (n_min.get() as usize).min(n.get() as usize));
            is_short[index] = item.units.len() < n;
            if item.units.len() < n_min || !item.has_content(is_chars) {
                continue;
            }
            item.n = if is_short[index] { n_min } else { n };
            let table = ngrams.entry((item.n, is_short[index], is_chars)).or_default();
            let hashes = item.units.ngrams(item.n).enumerate();
            table.extend(hashes.map(|(at, hash)| Ngram { hash, item: index as u32, at: at as u32 }));
        }
        let items_max = settings.items_per_ngram_max.get() as usize;
        let mut tables = Vec::new();
        for ((n, is_short, is_chars), mut ngrams) in ngrams {
            ngrams.sort_unstable();
            let ngrams = if is_short { rarest(&ngrams, &mut items) } else { rare(&ngrams, items_max, &mut items) };
            tables.push(Table::new(n, is_short, is_chars, ngrams));
        }
        for (item, is_short) in items.iter().zip(is_short) {
            for (task, _) in &item.names {
                let coverage = coverage.entry(task.clone()).or_default();
                coverage.n_items += 1;
                match (item.n, item.n_ngrams, is_short) {
                    (0, ..) => coverage.n_too_short += 1,
                    (_, 0, _) => coverage.n_common += 1,
                    (.., true) => coverage.n_short += 1,
                    (.., false) => coverage.n_long += 1,
                }
            }
        }
        Self { items, tables, share_min, coverage }
    }

    /// How much of each task is looked for, in order of their names.
    pub fn coverage(&self) -> &BTreeMap<String, Coverage> {
        &self.coverage
    }

    /// The items that the text holds, in order of the sets.
    pub fn hits(&self, text: &str) -> Vec<Hit> {
        let document = Units::new(text);
        let mut matches = Vec::new();
        let mut hits = Vec::new();
        for table in &self.tables {
            if document.len() < table.n || table.is_chars && document.n_chars == 0 {
                continue;
            }
            matches.clear();
            table.find(&document, &mut matches);
            matches.sort_unstable();
            for matches in matches.chunk_by(|left, right| left.item == right.item) {
                let index = matches[0].item as usize;
                let item = &self.items[index];
                let found = match table.is_short {
                    true => {
                        matches.iter().find_map(|found| item.is_at(text, &document, *found)).map(|range| (1, range))
                    }
                    false => item.best_stretch(text, &document, matches, self.share_min),
                };
                hits.extend(found.map(|(n_matched, range)| (index, n_matched, range)));
            }
        }
        hits.sort_by_key(|&(index, ..)| index);
        let hit = |(index, n_matched, range): (usize, usize, Range<usize>)| {
            let item: &Item = &self.items[index];
            let excerpt = excerpt(text, range);
            item.names.iter().map(move |(task, locator)| Hit {
                task: task.clone(),
                item: locator.clone(),
                n_matched,
                n_ngrams: item.n_ngrams,
                excerpt: excerpt.clone(),
            })
        };
        hits.into_iter().flat_map(hit).collect()
    }
}

impl Item {
    /// Whether the item says something.
    fn has_content(&self, is_chars: bool) -> bool {
        let mut hashes: Vec<u64> = match is_chars {
            true => self.units.hashes.clone(),
            false => (0..self.units.len())
                .filter(|&unit| {
                    let word = self.units.text(&self.text, unit).to_lowercase();
                    STOP_WORDS.binary_search(&word.as_str()).is_err()
                })
                .map(|unit| self.units.hashes[unit])
                .collect(),
        };
        hashes.sort_unstable();
        hashes.dedup();
        hashes.len() >= if is_chars { CONTENT_CHARS_MIN } else { CONTENT_WORDS_MIN }
    }

    /// The bytes of the document where the whole item stands around the match.
    fn is_at(&self, text: &str, document: &Units, found: Match) -> Option<Range<usize>> {
        let start = (found.at_document as usize).checked_sub(found.at_item as usize)?;
        let end = start + self.units.len();
        let is_equal = end <= document.len()
            && (0..self.units.len()).all(|unit| self.is_same_unit(unit, text, document, start + unit));
        is_equal.then(|| document.bytes(start..end))
    }

    fn is_same_unit(&self, unit: usize, text: &str, document: &Units, at: usize) -> bool {
        self.units.hashes[unit] == document.hashes[at]
            && is_same_folded(self.units.text(&self.text, unit), document.text(text, at))
    }

    /// How many different n-grams of the item stand in the stretch of the document that has most of them, and its bytes;
    /// `None` below the share that is asked for. Matches come in order of their places in the document.
    fn best_stretch(
        &self,
        text: &str,
        document: &Units,
        matches: &[Match],
        share_min: f64,
    ) -> Option<(usize, Range<usize>)> {
        // Of an item with few n-grams a small share would be one phrase: half of them, or half an n-gram's length.
        let n_evident = self.n_ngrams.div_ceil(2).min(self.n.div_ceil(2));
        let n_needed = ((share_min * self.n_ngrams as f64).ceil() as usize).max(n_evident);
        if matches.len() < n_needed {
            return None;
        }
        let is_true = |found: &&Match| {
            let (at_item, at_document) = (found.at_item as usize, found.at_document as usize);
            (0..self.n).all(|unit| self.is_same_unit(at_item + unit, text, document, at_document + unit))
        };
        let matches: Vec<&Match> = matches.iter().filter(is_true).collect();
        let stretch = STRETCH * self.units.len();
        let mut counts: HashMap<u32, u32, Xxh3DefaultBuilder> = HashMap::default();
        let (mut first, mut best) = (0, (0, 0..0));
        for (last, found) in matches.iter().enumerate() {
            *counts.entry(found.at_item).or_default() += 1;
            while (found.at_document - matches[first].at_document) as usize > stretch {
                let count = counts.get_mut(&matches[first].at_item).expect("it was counted when it came in");
                *count -= 1;
                if *count == 0 {
                    counts.remove(&matches[first].at_item);
                }
                first += 1;
            }
            if counts.len() > best.0 {
                best = (counts.len(), first..last + 1);
            }
        }
        let (n_matched, range) = best;
        let units = || {
            let end = matches[range.end - 1].at_document as usize + self.n;
            matches[range.start].at_document as usize..end
        };
        let at_item = || matches[range.clone()].iter().map(|found| found.at_item as usize);
        let n_spanned = at_item().max().map_or(0, |last| last + self.n) - at_item().min().unwrap_or(0);
        let (first, last) = self.searched;
        let n_searched = (last - first) as usize + self.n;
        let is_held = n_matched >= n_needed && n_spanned as f64 >= SPAN_MIN * n_searched as f64;
        is_held.then(|| (n_matched, document.bytes(units())))
    }
}

impl Units {
    fn new(text: &str) -> Self {
        let mut units = Self::default();
        let mut word: Option<(usize, u64)> = None;
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if byte.is_ascii() {
                at += 1;
                if byte.is_ascii_alphanumeric() {
                    let (_, hash) = word.get_or_insert((at - 1, HASH_SEED));
                    *hash = add_to_hash(*hash, u32::from(byte.to_ascii_lowercase()));
                } else if let Some((start, hash)) = word.take() {
                    units.push(hash, start, at - 1);
                }
                continue;
            }
            let char = text[at..].chars().next().expect("a character begins here");
            let (start, end) = (at, at + char.len_utf8());
            at = end;
            if is_ideograph(char) {
                if let Some((word_start, hash)) = word.take() {
                    units.push(hash, word_start, start);
                }
                units.n_chars += 1;
                units.push(add_to_hash(HASH_SEED, u32::from(char)), start, end);
            } else if char.is_alphanumeric() {
                let (_, hash) = word.get_or_insert((start, HASH_SEED));
                char.to_lowercase().for_each(|char| *hash = add_to_hash(*hash, u32::from(char)));
            } else if let Some((word_start, hash)) = word.take() {
                units.push(hash, word_start, start);
            }
        }
        if let Some((start, hash)) = word {
            units.push(hash, start, text.len());
        }
        units
    }

    fn push(&mut self, hash: u64, start: usize, end: usize) {
        self.hashes.push(mix(hash));
        self.starts.push(start as u32);
        self.ends.push(end as u32);
    }

    fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether most units are characters.
    fn is_chars(&self) -> bool {
        2 * self.n_chars > self.len()
    }

    fn text<'a>(&self, text: &'a str, unit: usize) -> &'a str {
        &text[self.starts[unit] as usize..self.ends[unit] as usize]
    }

    fn bytes(&self, units: Range<usize>) -> Range<usize> {
        self.starts[units.start] as usize..self.ends[units.end - 1] as usize
    }

    /// The hash of every n-gram, in order.
    fn ngrams(&self, n: usize) -> impl Iterator<Item = u64> + '_ {
        let mut hash = self.hashes.iter().take(n).fold(0_u64, |hash, &unit| hash.wrapping_mul(BASE).wrapping_add(unit));
        let weight = (0..n).fold(1_u64, |weight, _| weight.wrapping_mul(BASE));
        (n..=self.len()).map(move |end| {
            let ngram = mix(hash);
            if end < self.len() {
                let leaving = self.hashes[end - n].wrapping_mul(weight);
                hash = hash.wrapping_mul(BASE).wrapping_add(self.hashes[end]).wrapping_sub(leaving);
            }
            ngram
        })
    }
}

impl Table {
    /// Bits of the table for each n-gram: one in sixteen is set, so that nearly every other n-gram ends there.
    const BITS_PER_NGRAM: usize = 16;

    /// `ngrams` in order.
    fn new(n: usize, is_short: bool, is_chars: bool, ngrams: Vec<Ngram>) -> Self {
        let n_bits = (ngrams.len() * Self::BITS_PER_NGRAM).next_power_of_two().max(1 << 12);
        let mut bits = vec![0_u64; n_bits / 64];
        let n_starts = ngrams.len().next_power_of_two().max(2);
        let shift = 64 - n_starts.trailing_zeros();
        let mut starts = vec![0_u32; n_starts + 1];
        for ngram in &ngrams {
            let bit = ngram.hash as usize & (n_bits - 1);
            bits[bit / 64] |= 1 << (bit % 64);
            starts[(ngram.hash >> shift) as usize + 1] += 1;
        }
        for index in 0..n_starts {
            starts[index + 1] += starts[index];
        }
        Self { n, is_short, is_chars, bits, starts, ngrams }
    }

    fn find(&self, document: &Units, matches: &mut Vec<Match>) {
        let n_bits = self.bits.len() * 64;
        let shift = 64 - (self.starts.len() - 1).trailing_zeros();
        for (at, hash) in document.ngrams(self.n).enumerate() {
            let bit = hash as usize & (n_bits - 1);
            if self.bits[bit / 64] & (1 << (bit % 64)) == 0 {
                continue;
            }
            let bucket = (hash >> shift) as usize;
            let ngrams = &self.ngrams[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
            let same = ngrams.iter().filter(|ngram| ngram.hash == hash);
            matches.extend(same.map(|ngram| Match { item: ngram.item, at_document: at as u32, at_item: ngram.at }));
        }
    }
}

/// Items of the same units are put together, in order of the first.
fn distinct_items(evaluation_items: &[EvaluationItem]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut by_units: HashMap<u64, u32, Xxh3DefaultBuilder> = HashMap::default();
    for EvaluationItem { task, locator, text } in evaluation_items {
        let units = Units::new(text);
        let bytes: Vec<u8> = units.hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        let index = *by_units.entry(xxh3_64(&bytes)).or_insert(items.len() as u32) as usize;
        if index == items.len() {
            items.push(Item {
                names: Vec::new(),
                text: text.clone(),
                units,
                n_ngrams: 0,
                searched: (u32::MAX, 0),
                n: 0,
            });
        }
        items[index].names.push((task.clone(), locator.clone()));
    }
    items
}

/// The n-grams of few items, the first of each item where it repeats one; counts them.
fn rare(ngrams: &[Ngram], items_max: usize, items: &mut [Item]) -> Vec<Ngram> {
    let mut rare = Vec::with_capacity(ngrams.len());
    for same in ngrams.chunk_by(|left, right| left.hash == right.hash) {
        let firsts = || same.chunk_by(|left, right| left.item == right.item).map(|ngrams| ngrams[0]);
        if firsts().count() <= items_max {
            for ngram in firsts() {
                let item = &mut items[ngram.item as usize];
                item.n_ngrams += 1;
                let (first, last) = item.searched;
                item.searched = (first.min(ngram.at), last.max(ngram.at));
            }
            rare.extend(firsts());
        }
    }
    rare
}

/// For each short item the one n-gram that fewest items have.
fn rarest(ngrams: &[Ngram], items: &mut [Item]) -> Vec<Ngram> {
    let mut best: BTreeMap<u32, (usize, Ngram)> = BTreeMap::new();
    for same in ngrams.chunk_by(|left, right| left.hash == right.hash) {
        for &ngram in same {
            let candidate = (same.len(), ngram);
            let best = best.entry(ngram.item).or_insert(candidate);
            *best = candidate.min(*best);
        }
    }
    best.keys().for_each(|&item| items[item as usize].n_ngrams = 1);
    let mut rarest: Vec<Ngram> = best.into_values().map(|(_, ngram)| ngram).collect();
    rarest.sort_unstable();
    rarest
}

const HASH_SEED: u64 = 0x51_7C_C1_B7_27_22_0A_95;
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

fn add_to_hash(hash: u64, code: u32) -> u64 {
    (hash ^ u64::from(code)).wrapping_mul(0x0000_0100_0000_01B3)
}

/// Spreads every bit to the upper half and back.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    hash ^ (hash >> 32)
}

/// Characters that are units by themselves.
fn is_ideograph(char: char) -> bool {
    matches!(char, '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFD}')
}

fn is_same_folded(left: &str, right: &str) -> bool {
    left == right || left.chars().flat_map(char::to_lowercase).eq(right.chars().flat_map(char::to_lowercase))
}

fn excerpt(text: &str, range: Range<usize>) -> String {
    text[range].chars().take(EXCERPT_CHARS).map(|char| if char == '\n' { ' ' } else { char }).collect()
}
