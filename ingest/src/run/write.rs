//! The third pass: shards into `documents/` and `dropped/`, a group of shards to a part.
//!
//! Where groups end depends on the candidates alone, so parts are the same whatever the number of threads.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use corpus::{Document, DocumentsWriter, Dropped, DroppedWriter, FileEntry, Storage};
use serde_json::Value;

use super::cut::cut;
use super::decide::Decisions;
use super::examine_all::checked;
use super::parallel::in_parallel;
use super::shards::{Shard, WorkFolder, id_of};
use super::{IngestError, Progress, Tell, n_workers};
use crate::config::IngestConfig;
use crate::duplicates::{Duplicate, Relation};
use crate::examine::{UNPAIRED, dropped_from, set_late_signals, unpaired_by};
use crate::funnel::Funnel;
use crate::rules::Scratch;

/// A group ends with the shard that brings it to so many candidates or so many bytes of text.
const PART_DOCUMENTS: u64 = 50_000;
const PART_BYTES: u64 = 128 << 20;

/// What a thread holds at most: the texts of a shard, their columns, the row group being written.
pub(super) const WRITER_BYTES: u64 = 128 << 20;

/// Everything the pass needs.
pub(super) struct WriteJob<'a> {
    pub(super) work: &'a WorkFolder,
    pub(super) shards: &'a [Shard],
    pub(super) decisions: &'a Decisions,
    pub(super) config: &'a IngestConfig,
    pub(super) signals: &'a [String],
    /// The folder of what stays.
    pub(super) documents: &'a Path,
    /// The folder of what was dropped.
    pub(super) dropped: &'a Path,
}

/// What was written.
pub(super) struct Written {
    pub(super) documents: Vec<FileEntry>,
    pub(super) dropped: Vec<FileEntry>,
    pub(super) funnel: Funnel,
}

/// Writes both folders' files.
pub(super) fn write_all(job: &WriteJob<'_>, tell: Tell<'_>) -> Result<Written, IngestError> {
    let groups = group_shards(job.shards);
    let n_done = AtomicU64::new(0);
    let n_all = *job.decisions.starts.last().expect("there is a number of all candidates");
    let parts = in_parallel(n_workers(job.config, WRITER_BYTES), groups.len(), |index| {
        let (start, end) = groups[index];
        write_part(job, index, start..end, |n_documents| {
            let n_done = n_done.fetch_add(n_documents, Ordering::Relaxed) + n_documents;
            checked(tell(Progress { phase: "writing", n_done, n_all, n_documents: n_all }))
        })
    })?;
    let mut written = Written { documents: Vec::new(), dropped: Vec::new(), funnel: Funnel::default() };
    for part in parts {
        written.documents.extend(part.documents);
        written.dropped.extend(part.dropped);
        written.funnel.merge(part.funnel);
    }
    Ok(written)
}

/// First shard and end of each group.
fn group_shards(shards: &[Shard]) -> Vec<(usize, usize)> {
    let mut groups = Vec::new();
    let (mut start, mut n_documents, mut n_bytes) = (0, 0, 0);
    for (index, shard) in shards.iter().enumerate() {
        n_documents += shard.n_candidates;
        n_bytes += shard.n_bytes;
        if n_documents >= PART_DOCUMENTS || n_bytes >= PART_BYTES || index + 1 == shards.len() {
            groups.push((start, index + 1));
            (start, n_documents, n_bytes) = (index + 1, 0, 0);
        }
    }
    groups
}

fn write_part(
    job: &WriteJob<'_>,
    part: usize,
    shards: std::ops::Range<usize>,
    check: impl Fn(u64) -> Result<(), IngestError>,
) -> Result<Written, IngestError> {
    let name = format!("part-{part:05}.parquet");
    let mut documents = DocumentsWriter::create(job.documents, &name, job.signals, Storage::Lasting)?;
    let mut dropped = DroppedWriter::create(job.dropped, &name, Storage::Lasting)?;
    let mut funnel = Funnel::default();
    for shard in shards {
        let settled = settle(job, shard)?;
        settled.documents.iter().for_each(|document| funnel.count_kept(document));
        settled.dropped.iter().for_each(|one| funnel.count_dropped(one));
        funnel.count("characters cut out as repeated", settled.n_chars_removed);
        documents.write(&settled.documents)?;
        dropped.write(&job.work.dropped(shard)?)?;
        dropped.write(&settled.dropped)?;
        check(job.shards[shard].n_candidates)?;
    }
    Ok(Written { documents: vec![documents.finish()?], dropped: vec![dropped.finish()?], funnel })
}

/// The candidates of a shard, told apart.
struct Settled {
    documents: Vec<Document>,
    dropped: Vec<Dropped>,
    n_chars_removed: u64,
}

fn settle(job: &WriteJob<'_>, shard: usize) -> Result<Settled, IngestError> {
    let start = job.decisions.starts[shard];
    let duplicates = job.decisions.found.duplicates.shard(shard)?.into_iter().map(Duplicate::from_row);
    let duplicates: BTreeMap<u64, Duplicate> = duplicates.map(|one| (one.position, one)).collect();
    let mut clusters = job.decisions.found.clusters.shard(shard)?.into_iter().peekable();
    let rounds = &job.decisions.rounds;
    let repeats: Vec<_> = rounds.iter().map(|round| round.repeats.shard(shard)).collect::<Result<_, _>>()?;
    let mut settled = Settled { documents: Vec::new(), dropped: Vec::new(), n_chars_removed: 0 };
    let mut scratch = Scratch::default();
    let documents = job.work.documents(shard)?;
    let twins = twins(&documents);
    for (position, mut document) in (start..).zip(documents) {
        let row = (position - start) as usize;
        if let Some(&duplicate) = duplicates.get(&position) {
            let (rule, detail) = describe(job, duplicate)?;
            settled.dropped.push(drop_document(job, shard, row, &document, rule, detail)?);
            continue;
        }
        let n_more = clusters.next_if(|cluster| cluster[0] == position).map_or(0, |[_, n_more]| n_more);
        if let Some(&duplicate) = twins[row].and_then(|twin| duplicates.get(&(start + twin as u64))) {
            let detail = unpaired_by(describe(job, duplicate)?.0);
            settled.dropped.push(drop_document(job, shard, row, &document, UNPAIRED, detail)?);
            continue;
        }
        // A document that goes does so for the pieces of the round that found it.
        let round = rounds.iter().position(|round| round.gone.contains(position)).or(rounds.len().checked_sub(1));
        let own = round.map_or(&[][..], |round| rows_of(&repeats[round], position));
        match cut(&mut document, job.config, own, &mut scratch) {
            Ok(n_removed) => {
                settled.n_chars_removed += n_removed as u64;
                set_late_signals(&mut document, n_more + 1, n_removed);
                settled.documents.push(document);
            }
            Err((rule, detail)) => {
                let one = drop_document(job, shard, row, &document, rule, detail)?;
                settled.dropped.push(one);
            }
        }
    }
    Ok(settled)
}

/// For each document the row of the other half of its pair. A pair comes of one record, so both lie side by side.
///
/// Documents that were dropped as duplicates of a half that goes only now do not come back: looking for duplicates again until
/// nothing changes would cost more than the few statements that are lost to it.
fn twins(documents: &[Document]) -> Vec<Option<usize>> {
    let mut twins = vec![None; documents.len()];
    for (row, halves) in documents.windows(2).enumerate() {
        if let [one, other] = halves
            && (one.label, other.label) == (Some(true), Some(false))
            && one.source == other.source
            && stem(one).is_some_and(|stem_of_one| stem(other) == Some(stem_of_one))
        {
            (twins[row], twins[row + 1]) = (Some(row + 1), Some(row));
        }
    }
    twins
}

/// The place of the record that half a pair comes of; nothing for other documents.
fn stem(document: &Document) -> Option<String> {
    let meta: Value = serde_json::from_str(&document.meta).ok()?;
    let ending = format!("#{}", document.label?);
    Some(meta.get("locator")?.as_str()?.strip_suffix(&ending)?.to_owned())
}

/// The rows of one position.
fn rows_of(rows: &[[u64; 2]], position: u64) -> &[[u64; 2]] {
    let start = rows.partition_point(|row| row[0] < position);
    &rows[start..rows.partition_point(|row| row[0] <= position)]
}

/// The rule and the evidence of a duplicate.
fn describe(job: &WriteJob<'_>, duplicate: Duplicate) -> Result<(&'static str, String), IngestError> {
    let starts = &job.decisions.starts;
    let shard = starts.partition_point(|&start| start <= duplicate.of) - 1;
    let name = job.work.name(shard, (duplicate.of - starts[shard]) as usize)?;
    let place = format!("{} ({} of {})", id_of(&name), name.1, name.0);
    Ok(match duplicate.relation {
        Relation::Url => ("duplicates.url", format!("same address as {place}")),
        Relation::Exact => ("duplicates.exact", format!("same text as {place}")),
        Relation::Near { jaccard, containment } if jaccard < minimum(job.config) => {
            ("duplicates.near", format!("containment {containment:.4}, jaccard {jaccard:.4} with {place}"))
        }
        Relation::Near { jaccard, .. } => ("duplicates.near", format!("jaccard {jaccard:.4} with {place}")),
    })
}

fn minimum(config: &IngestConfig) -> f64 {
    config.duplicates.near.as_ref().map_or(0.0, |near| near.jaccard_min.0)
}

fn drop_document(
    job: &WriteJob<'_>,
    shard: usize,
    row: usize,
    document: &Document,
    rule: &str,
    detail: String,
) -> Result<Dropped, IngestError> {
    let (_, locator) = job.work.name(shard, row)?;
    Ok(dropped_from(document, locator, rule, detail))
}
