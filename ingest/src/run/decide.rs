//! The second pass: the candidates of all shards, compared with each other.

use std::path::Path;

use super::examine_all::checked;
use super::shards::{Shard, WorkFolder};
use super::{IngestError, Progress, Tell};
use crate::config::IngestConfig;
use crate::duplicates::{ByShard, Candidates, Comparable, Fingerprint, Found, find_duplicates, find_repeats};
use crate::language::Unit;

/// What is to become of the candidates.
pub(super) struct Decisions {
    /// The position of each shard's first candidate, and at last the number of all.
    pub(super) starts: Vec<u64>,
    pub(super) found: Found,
    /// Pieces to cut out; `None` where nothing was looked for.
    pub(super) repeats: Option<ByShard<2>>,
    pub(super) n_compared: u64,
}

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
    let repeats = match &config.duplicates.repeats {
        Some(repeats) => Some(find_repeats(&candidates, repeats, &found.dropped, folder, n_bytes_max)?),
        None => None,
    };
    let n_compared = found.n_compared;
    Ok(Decisions { starts, found, repeats, n_compared })
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
