//! Which documents repeat an earlier one: three questions, each a sort.
//!
//! A document is known by its *position*: its number among all candidates, in reading order. The first of a group of equal
//! addresses or texts stays. For near duplicates the sorted band keys give pairs; pairs are sorted, so that each is
//! compared once and the texts of both can be had a block at a time; then one pass over the compared pairs, in the order
//! of the later document, decides: a document goes if it is similar enough to one that stays.
//!
//! Costs: for `n` documents with `b` bands a sort of `b * n` rows of 16 bytes, and two sets of shingles for each of at most
//! `b * n * compared_max` pairs, usually far fewer than `n`.

use std::path::{Path, PathBuf};

use corpus::{FileError, Share, Sorted, Sorter, Spool};
use rayon::prelude::*;

use super::fingerprint::{Fingerprint, shingle_len};
use super::shingles::shingles;
use super::sketch::n_common;
use super::{Duplicates, NearDuplicates};
use crate::language::Unit;

/// Compared pairs are handed to all cores so many at a time.
const PAIRS_AT_ONCE: usize = 1 << 14;

/// The documents that are left to compare, shard by shard, as they lie on the disk.
pub(crate) trait Candidates: Sync {
    /// Why they cannot be read.
    type Error: From<FileError> + Send;

    /// The position of each shard's first document, and at last the number of all documents.
    fn starts(&self) -> &[u64];

    /// What the documents of a shard are compared by.
    fn fingerprints(&self, shard: usize) -> Result<Vec<Fingerprint>, Self::Error>;

    /// Some documents of a shard, by their rows in it.
    fn texts(&self, shard: usize, rows: &[usize]) -> Result<Vec<Comparable>, Self::Error>;

    /// Told between two pieces of work; an error stops.
    fn check(&self, what: &'static str, n_done: u64, n_all: u64) -> Result<(), Self::Error>;
}

/// A text with the unit it is compared by.
pub(crate) struct Comparable {
    pub(crate) unit: Unit,
    pub(crate) text: String,
}

/// How a dropped document is like the one it repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Relation {
    /// The same address.
    Url,
    /// The same text.
    Exact,
    /// So similar.
    Near {
        /// Of the two sets of shingles.
        jaccard: f64,
        /// Share of the dropped document's shingles that the other one holds.
        containment: f64,
    },
}

/// A document that repeats an earlier one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Duplicate {
    /// Its position.
    pub(crate) position: u64,
    /// The position of the one it repeats, which stayed when the question was asked.
    pub(crate) of: u64,
    /// How.
    pub(crate) relation: Relation,
}

/// What was found.
pub(crate) struct Found {
    /// By the shard of the dropped document: position, relation, the position it repeats, Jaccard, containment.
    pub(crate) duplicates: ByShard<5>,
    /// By the shard of the document that stays: position, documents that repeat it.
    pub(crate) clusters: ByShard<2>,
    /// The dropped positions.
    pub(crate) dropped: Positions,
    /// Pairs whose shingles were compared.
    pub(crate) n_compared: u64,
}

impl Duplicate {
    /// Back from a row of [`Found::duplicates`].
    pub(crate) fn from_row([position, relation, of, jaccard, containment]: [u64; 5]) -> Self {
        let relation = match relation {
            0 => Relation::Url,
            1 => Relation::Exact,
            _ => Relation::Near { jaccard: f64::from_bits(jaccard), containment: f64::from_bits(containment) },
        };
        Self { position, of, relation }
    }

    fn to_row(self) -> [u64; 5] {
        let (relation, jaccard, containment) = match self.relation {
            Relation::Url => (0, 0.0, 0.0),
            Relation::Exact => (1, 0.0, 0.0),
            Relation::Near { jaccard, containment } => (2, jaccard, containment),
        };
        [self.position, relation, self.of, f64::to_bits(jaccard), f64::to_bits(containment)]
    }
}

/// A set of positions, one bit each.
#[derive(Clone)]
pub(crate) struct Positions(Vec<u64>);

impl Positions {
    pub(crate) fn new(n: u64) -> Self {
        Self(vec![0; n.div_ceil(64) as usize])
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        self.0[(position / 64) as usize] >> (position % 64) & 1 == 1
    }

    pub(crate) fn insert(&mut self, position: u64) {
        self.0[(position / 64) as usize] |= 1 << (position % 64);
    }
}

/// Rows in order of their first number, a position, with the place where each shard's rows begin.
pub(crate) struct ByShard<const N: usize> {
    spool: Spool<N>,
    starts: Vec<u64>,
}

impl<const N: usize> ByShard<N> {
    /// Writes sorted rows to `path`. `starts` is that of [`Candidates`].
    pub(crate) fn write(path: &Path, mut rows: Sorted<N>, starts: &[u64]) -> Result<Self, FileError> {
        let mut by_shard = Self { spool: Spool::create(path)?, starts: vec![0] };
        while let Some(row) = rows.next()? {
            while starts[by_shard.starts.len()] <= row[0] {
                by_shard.starts.push(by_shard.spool.n_rows());
            }
            by_shard.spool.push(row)?;
        }
        by_shard.starts.resize(starts.len(), by_shard.spool.n_rows());
        by_shard.spool.flush()?;
        Ok(by_shard)
    }

    /// The rows of a shard, in order.
    pub(crate) fn shard(&self, shard: usize) -> Result<Vec<[u64; N]>, FileError> {
        self.spool.range(self.starts[shard], self.starts[shard + 1])
    }
}

/// Work files and the bytes that one sort may hold.
struct Room {
    folder: PathBuf,
    n_bytes: usize,
}

impl Room {
    fn sorter<const N: usize>(&self, name: &str) -> Sorter<N> {
        Sorter::new(&self.folder.join(name), self.n_bytes)
    }
}

/// Finds all duplicates. Work files go to `folder`; about `n_bytes_max` bytes of memory are used.
pub(crate) fn find_duplicates<C: Candidates>(
    candidates: &C,
    config: &Duplicates,
    folder: &Path,
    n_bytes_max: usize,
) -> Result<Found, C::Error> {
    // Three sorts and two blocks of shingles are open at once at most.
    let room = Room { folder: folder.to_owned(), n_bytes: n_bytes_max / 5 };
    let n_documents = *candidates.starts().last().expect("there is a number of all documents");
    let mut dropped = Positions::new(n_documents);
    let mut duplicates = room.sorter("duplicates");
    if config.url {
        let key = |print: &Fingerprint| print.url;
        find_equal(candidates, &room, key, Relation::Url, &mut dropped, &mut duplicates)?;
    }
    if config.exact {
        let key = |print: &Fingerprint| Some(print.exact);
        find_equal(candidates, &room, key, Relation::Exact, &mut dropped, &mut duplicates)?;
    }
    let mut n_compared = 0;
    if let Some(near) = &config.near {
        n_compared = find_near(candidates, &room, near, &mut dropped, &mut duplicates)?;
    }
    let duplicates = ByShard::write(&folder.join("duplicates"), duplicates.finish()?, candidates.starts())?;
    let clusters = cluster_sizes(candidates, &room, &duplicates, &dropped)?;
    Ok(Found { duplicates, clusters, dropped, n_compared })
}

/// Drops all but the first of the documents with the same key.
fn find_equal<C: Candidates>(
    candidates: &C,
    room: &Room,
    key: impl Fn(&Fingerprint) -> Option<u128>,
    relation: Relation,
    dropped: &mut Positions,
    duplicates: &mut Sorter<5>,
) -> Result<(), C::Error> {
    let mut keys = room.sorter::<3>("keys");
    for_each_left(candidates, dropped, "equal documents", |position, print| {
        key(&print).map_or(Ok(()), |key| keys.push([(key >> 64) as u64, key as u64, position]))
    })?;
    let mut keys = keys.finish()?;
    let mut first: Option<[u64; 3]> = None;
    while let Some(row) = keys.next()? {
        match first {
            Some([high, low, of]) if [high, low] == row[..2] => {
                dropped.insert(row[2]);
                duplicates.push(Duplicate { position: row[2], of, relation }.to_row())?;
            }
            _ => first = Some(row),
        }
    }
    Ok(())
}

/// The documents that are not dropped yet, in order.
fn for_each_left<C: Candidates>(
    candidates: &C,
    dropped: &Positions,
    what: &'static str,
    mut each: impl FnMut(u64, Fingerprint) -> Result<(), FileError>,
) -> Result<(), C::Error> {
    let starts = candidates.starts();
    for shard in 0..starts.len() - 1 {
        candidates.check(what, starts[shard], starts[starts.len() - 1])?;
        for (position, print) in (starts[shard]..).zip(candidates.fingerprints(shard)?) {
            if !dropped.contains(position) {
                each(position, print)?;
            }
        }
    }
    Ok(())
}

fn find_near<C: Candidates>(
    candidates: &C,
    room: &Room,
    config: &NearDuplicates,
    dropped: &mut Positions,
    duplicates: &mut Sorter<5>,
) -> Result<u64, C::Error> {
    let mut keys = room.sorter::<2>("bands");
    for_each_left(candidates, dropped, "sketches", |position, print| {
        print.bands.iter().try_for_each(|&key| keys.push([key, position]))
    })?;
    let pairs = propose_pairs(keys, room, config)?;
    let mut compared = compare_pairs(candidates, room, config, pairs)?;
    let mut n_compared = 0;
    // All pairs of a document stand together, and what they say of earlier documents is known by then.
    while let Some([position, of, jaccard, containment]) = compared.next()? {
        n_compared += 1;
        let relation = Relation::Near { jaccard: f64::from_bits(jaccard), containment: f64::from_bits(containment) };
        if is_similar(relation, config) && !dropped.contains(position) && !dropped.contains(of) {
            dropped.insert(position);
            duplicates.push(Duplicate { position, of, relation }.to_row())?;
        }
    }
    Ok(n_compared)
}

fn is_similar(relation: Relation, config: &NearDuplicates) -> bool {
    let Relation::Near { jaccard, containment } = relation else { return true };
    jaccard >= config.jaccard_min.0 || config.containment_min.is_some_and(|Share(least)| containment >= least)
}

/// Each document of a group with the first ones of the group.
fn propose_pairs(keys: Sorter<2>, room: &Room, config: &NearDuplicates) -> Result<Sorted<2>, FileError> {
    let n_first_max = config.compared_max.get() as usize;
    let mut pairs = room.sorter::<2>("pairs");
    let mut keys = keys.finish()?;
    let mut first: Vec<u64> = Vec::new();
    let mut group = None;
    while let Some([key, position]) = keys.next()? {
        if group != Some(key) {
            group = Some(key);
            first.clear();
        }
        first.iter().try_for_each(|&earlier| pairs.push([position, earlier]))?;
        if first.len() < n_first_max {
            first.push(position);
        }
    }
    drop(keys);
    pairs.finish()
}

/// Computes the similarity of every pair, in whatever order the texts are cheapest to have. Rows are: later, earlier,
/// Jaccard, containment.
fn compare_pairs<C: Candidates>(
    candidates: &C,
    room: &Room,
    config: &NearDuplicates,
    mut pairs: Sorted<2>,
) -> Result<Sorted<4>, C::Error> {
    let mut needed = Positions::new(*candidates.starts().last().expect("there is a number of all documents"));
    let mut spool = Spool::<2>::create(&room.folder.join("pairs"))?;
    while let Some(pair) = pairs.next()? {
        pair.into_iter().for_each(|position| needed.insert(position));
        spool.push(pair)?;
    }
    spool.flush()?;
    drop(pairs);
    let n_pairs = spool.n_rows();
    let blocks = cut_into_blocks(candidates, &needed, room.n_bytes)?;
    let block_of = |position: u64| blocks.partition_point(|&start| start <= position) as u64 - 1;
    let mut by_block = room.sorter::<3>("blocks");
    for start in (0..n_pairs).step_by(PAIRS_AT_ONCE) {
        for [later, earlier] in spool.range(start, n_pairs.min(start + PAIRS_AT_ONCE as u64))? {
            by_block.push([block_of(later) << 32 | block_of(earlier), later, earlier])?;
        }
    }
    drop(spool);
    let mut by_block = by_block.finish()?;
    let mut compared = room.sorter::<4>("compared");
    let (mut later_block, mut earlier_block) = (Block::default(), Block::default());
    let mut chunk: Vec<[u64; 2]> = Vec::new();
    let (mut open, mut n_done) = (None, 0);
    loop {
        let row = by_block.next()?;
        let is_over = row.is_none_or(|[block, ..]| open.is_some_and(|open| open != block));
        if is_over || chunk.len() == PAIRS_AT_ONCE {
            candidates.check("comparing pairs", n_done, n_pairs)?;
            n_done += chunk.len() as u64;
            compare_chunk(&mut chunk, &later_block, &earlier_block, config, &mut compared)?;
        }
        let Some([block, later, earlier]) = row else { break };
        if open != Some(block) {
            open = Some(block);
            later_block.load(candidates, config, &needed, &blocks, block >> 32)?;
            earlier_block.load(candidates, config, &needed, &blocks, block & u64::from(u32::MAX))?;
        }
        chunk.push([later, earlier]);
    }
    Ok(compared.finish()?)
}

/// Where blocks of needed documents begin whose shingles take up at most `n_bytes_max` (a single document may take more).
fn cut_into_blocks<C: Candidates>(
    candidates: &C,
    needed: &Positions,
    n_bytes_max: usize,
) -> Result<Vec<u64>, C::Error> {
    let mut blocks = vec![0];
    let mut n_bytes = 0;
    let starts = candidates.starts();
    for (shard, &start) in starts[..starts.len() - 1].iter().enumerate() {
        for (position, print) in (start..).zip(candidates.fingerprints(shard)?) {
            let more = size_of::<(u64, Vec<u64>)>() + size_of::<u64>() * print.n_shingles as usize;
            if !needed.contains(position) {
                continue;
            }
            if n_bytes > 0 && n_bytes + more > n_bytes_max {
                blocks.push(position);
                n_bytes = 0;
            }
            n_bytes += more;
        }
    }
    Ok(blocks)
}

/// The sets of shingles of some documents, in order of their position.
#[derive(Default)]
struct Block {
    index: Option<u64>,
    sets: Vec<(u64, Vec<u64>)>,
}

impl Block {
    fn load<C: Candidates>(
        &mut self,
        candidates: &C,
        config: &NearDuplicates,
        needed: &Positions,
        blocks: &[u64],
        index: u64,
    ) -> Result<(), C::Error> {
        if self.index == Some(index) {
            return Ok(());
        }
        *self = Self { index: Some(index), sets: Vec::new() };
        let first = blocks[index as usize];
        let end = blocks.get(index as usize + 1).copied().unwrap_or(u64::MAX);
        let starts = candidates.starts();
        for shard in 0..starts.len() - 1 {
            let positions: Vec<u64> =
                (starts[shard].max(first)..starts[shard + 1].min(end)).filter(|&it| needed.contains(it)).collect();
            if positions.is_empty() {
                continue;
            }
            candidates.check("reading pairs", starts[shard], starts[starts.len() - 1])?;
            let rows: Vec<usize> = positions.iter().map(|position| (position - starts[shard]) as usize).collect();
            let texts = candidates.texts(shard, &rows)?;
            self.sets
                .par_extend(positions.into_par_iter().zip(texts).map(|(at, text)| (at, shingle_set(&text, config))));
        }
        Ok(())
    }

    fn set(&self, position: u64) -> &[u64] {
        let index = self.sets.binary_search_by_key(&position, |&(position, _)| position);
        &self.sets[index.expect("every document of a pair is needed")].1
    }
}

fn shingle_set(comparable: &Comparable, config: &NearDuplicates) -> Vec<u64> {
    let mut set = shingles(&comparable.text, comparable.unit, shingle_len(comparable.unit, config));
    set.sort_unstable();
    set.dedup();
    set.shrink_to_fit();
    set
}

fn compare_chunk(
    chunk: &mut Vec<[u64; 2]>,
    later_block: &Block,
    earlier_block: &Block,
    config: &NearDuplicates,
    compared: &mut Sorter<4>,
) -> Result<(), FileError> {
    let compare = |&[later, earlier]: &[u64; 2]| {
        let (of_later, of_earlier) = (later_block.set(later), earlier_block.set(earlier));
        let (fewer, more) = (of_later.len().min(of_earlier.len()), of_later.len().max(of_earlier.len()));
        // Two sets of which one is much larger cannot be similar: no need to compare them.
        if config.containment_min.is_none() && (fewer as f64) < config.jaccard_min.0 * more as f64 {
            return [later, earlier, 0, 0];
        }
        let n_common = n_common(of_later, of_earlier);
        let jaccard = n_common as f64 / (fewer + more - n_common) as f64;
        let containment = n_common as f64 / of_later.len() as f64;
        [later, earlier, jaccard.to_bits(), containment.to_bits()]
    };
    let rows: Vec<[u64; 4]> = chunk.par_iter().map(compare).collect();
    chunk.clear();
    rows.into_iter().try_for_each(|row| compared.push(row))
}

/// How many dropped documents stand behind each one that stays. A document may repeat one that was itself dropped by a
/// later question: such chains, of three links at most, are followed to their end.
fn cluster_sizes<C: Candidates>(
    candidates: &C,
    room: &Room,
    duplicates: &ByShard<5>,
    dropped: &Positions,
) -> Result<ByShard<2>, C::Error> {
    let mut pending = room.sorter::<2>("pending");
    let mut all = duplicates.rows();
    while let Some([position, _, of, ..]) = all.next()? {
        pending.push([of, position])?;
    }
    let mut roots = room.sorter::<2>("roots");
    loop {
        let (mut n_pending, mut next) = (0_u64, room.sorter::<2>("next"));
        let mut sorted = pending.finish()?;
        let mut links = duplicates.rows();
        let mut link = links.next()?;
        while let Some([of, position]) = sorted.next()? {
            if !dropped.contains(of) {
                roots.push([of, position])?;
                continue;
            }
            while link.is_some_and(|[from, ..]| from < of) {
                link = links.next()?;
            }
            let [.., further, _, _] = link.expect("every dropped document has its row");
            next.push([further, position])?;
            n_pending += 1;
        }
        pending = next;
        if n_pending == 0 {
            break;
        }
    }
    let mut counts = room.sorter::<2>("counts");
    let mut sorted = roots.finish()?;
    let mut open: Option<[u64; 2]> = None;
    while let Some([of, _]) = sorted.next()? {
        match &mut open {
            Some([position, n]) if *position == of => *n += 1,
            _ => open.replace([of, 1]).map_or(Ok(()), |done| counts.push(done))?,
        }
    }
    open.map_or(Ok(()), |done| counts.push(done))?;
    Ok(ByShard::write(&room.folder.join("clusters"), counts.finish()?, candidates.starts())?)
}

/// All rows of a [`ByShard`], in order.
struct Rows<'a, const N: usize> {
    by_shard: &'a ByShard<N>,
    shard: usize,
    rows: std::vec::IntoIter<[u64; N]>,
}

impl<const N: usize> ByShard<N> {
    fn rows(&self) -> Rows<'_, N> {
        Rows { by_shard: self, shard: 0, rows: Vec::new().into_iter() }
    }
}

impl<const N: usize> Rows<'_, N> {
    fn next(&mut self) -> Result<Option<[u64; N]>, FileError> {
        loop {
            if let Some(row) = self.rows.next() {
                return Ok(Some(row));
            }
            if self.shard + 1 == self.by_shard.starts.len() {
                return Ok(None);
            }
            self.rows = self.by_shard.shard(self.shard)?.into_iter();
            self.shard += 1;
        }
    }
}
