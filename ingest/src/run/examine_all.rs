//! The first pass: one thread reads, the others examine and write shards.
//!
//! The reader cuts the records into shards by their size, in order, and hands each to whichever thread is free. A thread
//! examines all records of its shard and commits the shard before it takes the next one, so nothing has to be put back in
//! order, and what an interruption costs is the shards at work.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::shards::{Cursor, Shard, WorkFolder};
use super::{IngestError, Progress, Tell, n_workers};
use crate::examine::Examiner;
use crate::read::{ReadLimits, Record, RecordReader, SourceFile};
use crate::source::Source;

/// A shard ends with the batch of records that brings it to so many bytes or records. A record gives two documents at most,
/// and the rows of a shard are numbered in 16 bits.
const SHARD_BYTES: usize = if cfg!(test) { 64 << 10 } else { 16 << 20 };
const SHARD_RECORDS: usize = 16 << 10;

/// What a thread holds at most: the records, their texts, the tables of a web page, the file being written.
const WORKER_BYTES: u64 = 160 << 20;

/// Records that become one shard.
struct Work {
    index: usize,
    records: Vec<(usize, Record)>,
    end: Cursor,
}

/// Examines all records and returns all shards, in order.
pub(super) fn examine_all(
    sources: &[Source],
    files: Vec<Vec<SourceFile>>,
    examiner: &Examiner<'_>,
    folder: &WorkFolder,
    signals: &[String],
    tell: Tell<'_>,
) -> Result<Vec<Shard>, IngestError> {
    let n_bytes = files.iter().flatten().map(|file| file.n_bytes).sum();
    let n_bytes_read = Arc::new(AtomicU64::new(0));
    let is_stopping = AtomicBool::new(false);
    let n_workers = n_workers(examiner.config, WORKER_BYTES);
    let (send_work, work) = bounded::<Work>(1);
    let (send_done, done) = unbounded();
    let feeder = Feeder {
        sources,
        files,
        limits: examiner.config.reading,
        folder,
        n_bytes_read: Arc::clone(&n_bytes_read),
        is_stopping: &is_stopping,
    };
    std::thread::scope(|scope| {
        for _ in 0..n_workers {
            let (work, done) = (work.clone(), send_done.clone());
            scope.spawn(move || examine_shards(work, &done, sources, examiner, folder, signals));
        }
        scope.spawn(move || feeder.feed(&send_work, &send_done));
        drop(work);
        let mut shards = Collected::default();
        for (index, shard) in done {
            shards.take(index, shard, examiner.config.bad_records_max);
            let progress = Progress {
                phase: "reading",
                n_done: n_bytes_read.load(Ordering::Relaxed),
                n_all: n_bytes,
                n_documents: shards.n_documents,
            };
            if shards.error.is_none() && tell(progress).is_break() {
                shards.error = Some((usize::MAX, IngestError::Interrupted));
            }
            is_stopping.fetch_or(shards.error.is_some(), Ordering::Relaxed);
        }
        shards.finish()
    })
}

fn examine_shards(
    work: Receiver<Work>,
    done: &Sender<(usize, Result<Shard, IngestError>)>,
    sources: &[Source],
    examiner: &Examiner<'_>,
    folder: &WorkFolder,
    signals: &[String],
) {
    for Work { index, records, end } in work {
        let examination = examiner.examine_all(records, sources);
        let shard = folder.write(index, examination, end, signals).map_err(IngestError::from);
        if done.send((index, shard)).is_err() {
            break;
        }
    }
}

/// What has come back so far.
#[derive(Default)]
struct Collected {
    shards: Vec<Option<Shard>>,
    n_documents: u64,
    n_bad: u64,
    /// Of the lowest shard that had one.
    error: Option<(usize, IngestError)>,
}

impl Collected {
    fn take(&mut self, index: usize, shard: Result<Shard, IngestError>, bad_records_max: u64) {
        match shard {
            Ok(shard) => {
                self.n_documents += shard.n_candidates;
                self.n_bad += shard.n_bad;
                if self.shards.len() <= index {
                    self.shards.resize(index + 1, None);
                }
                self.shards[index] = Some(shard);
                if self.n_bad > bad_records_max {
                    self.fail(index, self.too_many_bad(bad_records_max));
                }
            }
            Err(error) => self.fail(index, error),
        }
    }

    fn fail(&mut self, index: usize, error: IngestError) {
        if self.error.as_ref().is_none_or(|&(earlier, _)| index < earlier) {
            self.error = Some((index, error));
        }
    }

    /// Names the first bad record too many, as far as shards have come back.
    fn too_many_bad(&self, bad_records_max: u64) -> IngestError {
        let bad = || self.shards.iter().flatten().flat_map(|shard| &shard.bad);
        let n_listed = usize::try_from(bad_records_max).unwrap_or(usize::MAX);
        let record = bad().nth(n_listed).or_else(|| bad().last()).expect("a bad record was counted");
        IngestError::BadRecord {
            name: record.source.clone(),
            locator: record.locator.clone(),
            what: record.what.clone(),
            bad_records_max,
        }
    }

    fn finish(self) -> Result<Vec<Shard>, IngestError> {
        match self.error {
            Some((_, error)) => Err(error),
            None => Ok(self.shards.into_iter().map(|shard| shard.expect("the reader numbers without gaps")).collect()),
        }
    }
}

/// Reads the sources in order.
struct Feeder<'a> {
    sources: &'a [Source],
    files: Vec<Vec<SourceFile>>,
    limits: ReadLimits,
    folder: &'a WorkFolder,
    n_bytes_read: Arc<AtomicU64>,
    is_stopping: &'a AtomicBool,
}

impl<'a> Feeder<'a> {
    fn feed(&self, work: &Sender<Work>, done: &Sender<(usize, Result<Shard, IngestError>)>) {
        let mut at = Cursor::default();
        let mut open: Option<RecordReader<'a>> = None;
        for index in 0.. {
            if self.is_stopping.load(Ordering::Relaxed) || at.source == self.sources.len() {
                break;
            }
            if let Some(shard) = self.folder.finished(index) {
                self.pass(at, shard.end, &open);
                at = shard.end;
                open = None;
                if done.send((index, Ok(shard))).is_err() {
                    break;
                }
                continue;
            }
            let records = match self.read_shard(&mut at, &mut open) {
                Ok(records) => records,
                Err(error) => {
                    // Nobody listens any more only where the run has failed already.
                    drop(done.send((index, Err(error))));
                    break;
                }
            };
            if work.send(Work { index, records, end: at }).is_err() {
                break;
            }
        }
    }

    /// Counts the files between two places as read.
    fn pass(&self, from: Cursor, to: Cursor, open: &Option<RecordReader<'_>>) {
        let passed = (from.source..=to.source.min(self.files.len() - 1)).flat_map(|source| {
            let first = if source == from.source { from.file + usize::from(open.is_some()) } else { 0 };
            let end = if source == to.source { to.file } else { self.files[source].len() };
            self.files[source].get(first..end).unwrap_or_default()
        });
        self.n_bytes_read.fetch_add(passed.map(|file| file.n_bytes).sum(), Ordering::Relaxed);
    }

    /// The records of the next shard. `at` moves behind them, to the end of all sources at last.
    fn read_shard(
        &self,
        at: &mut Cursor,
        open: &mut Option<RecordReader<'a>>,
    ) -> Result<Vec<(usize, Record)>, IngestError> {
        let mut records = Vec::new();
        let mut n_bytes = 0;
        while n_bytes < SHARD_BYTES && records.len() < SHARD_RECORDS && at.source < self.sources.len() {
            let Some(file) = self.files[at.source].get(at.file) else {
                *at = Cursor { source: at.source + 1, ..Cursor::default() };
                continue;
            };
            let reader = match open {
                Some(reader) => reader,
                None => open.insert(self.open(*at, file)?),
            };
            let batch = reader.next_batch()?;
            if batch.is_empty() {
                *open = None;
                *at = Cursor { source: at.source, file: at.file + 1, n_records: 0 };
                continue;
            }
            at.n_records += batch.len() as u64;
            n_bytes += batch.iter().map(Record::n_bytes).sum::<usize>();
            records.extend(batch.into_iter().map(|record| (at.source, record)));
        }
        while self.files.get(at.source).is_some_and(|files| at.file == files.len()) {
            *at = Cursor { source: at.source + 1, ..Cursor::default() };
        }
        Ok(records)
    }

    fn open(&self, at: Cursor, file: &SourceFile) -> Result<RecordReader<'a>, IngestError> {
        let source = &self.sources[at.source];
        let mut reader = RecordReader::new(source, vec![file.clone()], self.limits, Arc::clone(&self.n_bytes_read));
        reader.skip_records(at.n_records)?;
        Ok(reader)
    }
}

/// Stops between two pieces of work.
pub(super) fn checked(flow: ControlFlow<()>) -> Result<(), IngestError> {
    if flow.is_break() { Err(IngestError::Interrupted) } else { Ok(()) }
}
