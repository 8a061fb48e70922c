//! The second pass: the candidates of all shards, compared with each other.

use std::path::Path;

use super::cut::cut;
use super::examine_all::checked;
use super::parallel::in_parallel;
use super::shards::{Shard, WorkFolder};
use super::write::WRITER_BYTES;
use super::{IngestError, Progress, Tell, n_workers};
use crate::config::IngestConfig;
use crate::duplicates::{
    ByShard, Candidates, Comparable, Fingerprint, Found, Positions, find_duplicates, find_repeats,
};
use crate::language::Unit;
use crate::rules::Scratch;

/// What is to become of the candidates.
pub(super) struct Decisions {
    /// The position of each shard's first candidate, and at last the number of all.
    pub(super) starts: Vec<u64>,
    pub(super) found: Found,
    /// Pieces to cut out, round by round; nothing where none were looked for.
    pub(super) rounds: Vec<Round>,
    pub(super) n_compared: u64,
}

/// Pieces that stood in earlier documents, and the documents that go as a whole once theirs are cut out. The round after it looks
/// without these: a document that goes is no reason to cut others.
pub(super) struct Round {
    pub(super) repeats: ByShard<2>,
    pub(super) gone: Positions,
}

/// After so many rounds what is left is taken as it is. Each finds a small part of what the one before it found.
const ROUNDS_MAX: usize = 4;

/// Finds duplicates and repeated pieces.
pub(super) fn decide(
    work: &WorkFolder,
    shards: &[Shard],
    config: &IngestConfig,
    tell: Tell<'_>,
) -> Result<Decisions, IngestError> {
    let mut starts = vec![0];
    for shard in shards {
        starts.push(starts[starts.len() - 1] + shard.n_candidates);
    }
    let folder: &Path = work.path();
    let n_bytes_max = usize::try_from(config.memory / 2).unwrap_or(usize::MAX);
    let candidates = OnDisk { work, starts: &starts, tell };
    let found = find_duplicates(&candidates, &config.duplicates, folder, n_bytes_max)?;
    let mut rounds = Vec::new();
    if let Some(repeats) = &config.duplicates.repeats {
        let mut dropped = found.dropped.clone();
        loop {
            let name = format!("repeats-{}", rounds.len());
            let repeats = find_repeats(&candidates, repeats, &dropped, (folder, &name), n_bytes_max)?;
            let gone = find_gone(&candidates, &repeats, config)?;
            gone.iter().for_each(|&position| dropped.insert(position));
            let is_last = gone.is_empty() || rounds.len() + 1 == ROUNDS_MAX;
            rounds.push(Round::new(repeats, &gone, starts[shards.len()]));
            if is_last {
                break;
            }
        }
    }
    let n_compared = found.n_compared;
    Ok(Decisions { starts, found, rounds, n_compared })
}

/// The documents that go once the pieces are cut out of them.
fn find_gone(candidates: &OnDisk<'_>, repeats: &ByShard<2>, config: &IngestConfig) -> Result<Vec<u64>, IngestError> {
    let n_shards = candidates.starts.len() - 1;
    let gone = in_parallel(n_workers(config, WRITER_BYTES), n_shards, |shard| {
        candidates.check("cutting", candidates.starts[shard], candidates.starts[n_shards])?;
        let rows = repeats.shard(shard)?;
        let mut gone = Vec::new();
        if rows.is_empty() {
            return Ok(gone);
        }
        let mut documents = candidates.work.documents(shard)?;
        let mut scratch = Scratch::default();
        for own in rows.chunk_by(|one, other| one[0] == other[0]) {
            let document = &mut documents[(own[0][0] - candidates.starts[shard]) as usize];
            if cut(document, config, own, &mut scratch).is_err() {
                gone.push(own[0][0]);
            }
        }
        Ok::<_, IngestError>(gone)
    })?;
    Ok(gone.into_iter().flatten().collect())
}

impl Round {
    fn new(repeats: ByShard<2>, gone: &[u64], n_documents: u64) -> Self {
        let mut positions = Positions::new(n_documents);
        gone.iter().for_each(|&position| positions.insert(position));
        Self { repeats, gone: positions }
    }
}

/// The candidates in the work folder.
struct OnDisk<'a> {
    work: &'a WorkFolder,
    starts: &'a [u64],
    tell: Tell<'a>,
}

impl Candidates for OnDisk<'_> {
    type Error = IngestError;

    fn starts(&self) -> &[u64] {
        self.starts
    }

    fn fingerprints(&self, shard: usize) -> Result<Vec<Fingerprint>, IngestError> {
        Ok(self.work.fingerprints(shard)?)
    }

    fn texts(&self, shard: usize, rows: &[usize]) -> Result<Vec<Comparable>, IngestError> {
        let texts = self.work.texts(shard, rows)?;
        Ok(texts.into_iter().map(|(lang, text)| Comparable { unit: Unit::of(&lang), text }).collect())
    }

    fn check(&self, phase: &'static str, n_done: u64, n_all: u64) -> Result<(), IngestError> {
        let n_documents = *self.starts.last().expect("there is a number of all candidates");
        checked((self.tell)(Progress { phase, n_done, n_all, n_documents }))
    }
}
