//! The stage as a whole: sources in, `documents/` and `dropped/` out. The only file that writes.
//!
//! Records are read in order by one thread, examined on all of them a batch at a time while the next batch is read, and
//! put back in order; duplicates are then looked for in that order. So the output is the same for any number of threads.
//!
//! Memory: in this version the kept texts of the whole corpus are held, once, until duplicates are known. Spilling them
//! comes with the first corpus that does not fit.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use corpus::{
    Count, DOCUMENTS_FORMAT, Document, Dropped, FileEntry, FileError, FormatError, Manifest, Parent, Settings, Share,
    StageFolder, hash_bytes, hash_file, write_documents, write_dropped,
};
use rayon::prelude::*;
use thiserror::Error;

use crate::config::{IngestConfig, Source};
use crate::duplicates::{Duplicate, Fingerprint, find_duplicates};
use crate::examine::{Examined, SIGNAL_NAMES, examine, excerpt, rule_names};
use crate::funnel::Funnel;
use crate::read::{ReadError, ReadLimits, Record, RecordReader, SourceFile, list_files};

/// A shard ends after so many documents or so many bytes of text, whichever comes first.
const SHARD_DOCUMENTS: usize = 50_000;
const SHARD_BYTES: usize = 128 << 20;

/// Rows of `dropped/` are short.
const SHARD_DROPPED: usize = 500_000;

/// Why no documents came out.
#[derive(Debug, Error)]
pub enum IngestError {
    /// A source file that cannot be used.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// More unreadable records than the run file puts up with.
    #[error("source {name:?}: {locator} {what}{}", tolerance(*bad_records_max))]
    BadRecord {
        /// The source.
        name: String,
        /// File and line.
        locator: String,
        /// What is wrong with it.
        what: String,
        /// `ingest.bad_records_max`.
        bad_records_max: u64,
    },
    /// A source file that cannot be hashed.
    #[error("cannot hash the files of a source")]
    Hash(#[source] FileError),
    /// A shard that cannot be written.
    #[error(transparent)]
    Write(#[from] FormatError),
    /// A folder or manifest that cannot be written.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// The caller asked to stop.
    #[error("interrupted while reading the sources")]
    Interrupted,
}

fn tolerance(bad_records_max: u64) -> String {
    match bad_records_max {
        0 => String::new(),
        max => format!(", after {max} other unreadable records, which is as many as ingest.bad_records_max allows"),
    }
}

impl IngestError {
    /// Whether the fault is with the input data.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Read(_) | Self::BadRecord { .. } | Self::Hash(_))
    }

    /// Whether the disk is full.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Write(error) => error.is_out_of_space(),
            Self::Folder(error) => error.is_out_of_space(),
            Self::Read(_) | Self::BadRecord { .. } | Self::Hash(_) | Self::Interrupted => false,
        }
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read from source files, as they lie on the disk.
    pub n_bytes_read: u64,
    /// Their size.
    pub n_bytes: u64,
    /// Documents found.
    pub n_documents: u64,
}

/// The sources as parents of the manifest: for each, a hash of its files' relative names and contents.
pub fn source_parents(sources: &[Source]) -> Result<Vec<Parent>, IngestError> {
    let mut parents = Vec::with_capacity(sources.len());
    for source in sources {
        let files = list_files(source)?;
        let hashes: Vec<_> = files.par_iter().map(|file| hash_file(&file.path)).collect();
        let mut listing = String::new();
        for (file, hash) in files.iter().zip(hashes) {
            let hash = hash.map_err(IngestError::Hash)?;
            listing.push_str(&format!("{hash} {}\0", file.relative));
        }
        parents.push(Parent { name: format!("source {}", source.name), hash: hash_bytes(listing.as_bytes()) });
    }
    Ok(parents)
}

/// Reads all sources and writes `out/documents` and `out/dropped`. Whatever lies there is replaced, but only once all
/// sources have been read. `progress` is told after every batch, and stops the run by breaking.
pub fn run(
    sources: &[Source],
    config: &IngestConfig,
    out: &Path,
    settings: &Settings,
    parents: Vec<Parent>,
    progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Result<Manifest, IngestError> {
    let files: Vec<Vec<SourceFile>> = sources.iter().map(list_files).collect::<Result<_, _>>()?;
    let rules = rule_names(config);
    let mut gathered = gather(sources, files, config, &rules, progress)?;
    let found = find_duplicates(&gathered.documents, &gathered.fingerprints, &config.duplicates);
    gathered.drop_duplicates(found, &rules);
    gathered.documents.iter().for_each(|document| gathered.funnel.count_kept(document));
    let details = gathered.funnel.details(gathered.n_in, &rules, sources);

    // Taken away in this order and put back in the other: whoever sees documents/ sees the dropped/ that belongs to it.
    let documents_folder = StageFolder::begin(&out.join("documents"))?;
    let dropped_folder = StageFolder::begin(&out.join("dropped"))?;
    let dropped_files = write_dropped_shards(dropped_folder.path(), &gathered.dropped)?;
    let document_files = write_document_shards(documents_folder.path(), &gathered.documents)?;
    Manifest::new("dropped", DOCUMENTS_FORMAT, settings)
        .with_parents(parents.clone())
        .with_files(dropped_files)
        .commit(dropped_folder.path())?;
    let mut manifest =
        Manifest::new("ingest", DOCUMENTS_FORMAT, settings).with_parents(parents).with_files(document_files);
    manifest.counts = gathered.funnel.tallies();
    manifest.details = details;
    manifest.commit(documents_folder.path())?;
    Ok(manifest)
}

/// What the sources hold, in order. The three lists of candidates run in parallel.
#[derive(Default)]
struct Gathered {
    n_in: u64,
    documents: Vec<Document>,
    locators: Vec<String>,
    fingerprints: Vec<Fingerprint>,
    dropped: Vec<Dropped>,
    funnel: Funnel,
}

/// What reading puts up with. In JSON a character takes up to 12 bytes (an escaped surrogate pair), and other fields and
/// markup count too, so short documents are given room.
fn read_limits(document_chars_max: u64) -> ReadLimits {
    const ROOM: u64 = 16 << 20;
    ReadLimits {
        record_bytes_max: Count(document_chars_max.saturating_mul(12).max(ROOM)),
        expansion_max: Count(1000),
        damaged_chars_max: Share(0.002),
    }
}

fn gather(
    sources: &[Source],
    files: Vec<Vec<SourceFile>>,
    config: &IngestConfig,
    rules: &[&str],
    progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Result<Gathered, IngestError> {
    let limits = read_limits(config.document_chars_max);
    let n_bytes = files.iter().flatten().map(|file| file.n_bytes).sum();
    let n_bytes_read = Arc::new(AtomicU64::new(0));
    let mut gathered = Gathered::default();
    let mut n_bad = 0;
    for (source, files) in sources.iter().zip(files) {
        let mut reader = RecordReader::new(source, files, limits, Arc::clone(&n_bytes_read));
        let mut batch = reader.next_batch()?;
        while !batch.is_empty() {
            let (next, examined) =
                rayon::join(|| reader.next_batch(), || examine_batch(batch, source, config, &limits));
            for examined in examined {
                gathered.take(examined, config, rules, &mut n_bad)?;
            }
            let n_bytes_read = n_bytes_read.load(Ordering::Relaxed);
            if progress(Progress { n_bytes_read, n_bytes, n_documents: gathered.n_in }).is_break() {
                return Err(IngestError::Interrupted);
            }
            batch = next?;
        }
    }
    Ok(gathered)
}

fn examine_batch(batch: Vec<Record>, source: &Source, config: &IngestConfig, limits: &ReadLimits) -> Vec<Examined> {
    let examine = |record: Record| examine(record, source, config, limits);
    batch.into_par_iter().map(examine).collect::<Vec<_>>().into_iter().flatten().collect()
}

impl Gathered {
    fn take(
        &mut self,
        examined: Examined,
        config: &IngestConfig,
        rules: &[&str],
        n_bad: &mut u64,
    ) -> Result<(), IngestError> {
        self.n_in += 1;
        match examined {
            Examined::Candidate(candidate) => {
                self.documents.push(candidate.document);
                self.locators.push(candidate.locator);
                self.fingerprints.push(candidate.fingerprint);
            }
            Examined::Dropped(refused) => {
                let dropped = refused.dropped;
                *n_bad += u64::from(dropped.rule == "unreadable");
                if *n_bad > config.bad_records_max {
                    return Err(IngestError::BadRecord {
                        name: dropped.source,
                        locator: dropped.locator,
                        what: dropped.detail,
                        bad_records_max: config.bad_records_max,
                    });
                }
                self.funnel.count_dropped(rules, &dropped, &refused.excerpt);
                self.dropped.push(dropped);
            }
        }
        Ok(())
    }

    /// Moves duplicates from the documents to the dropped ones.
    fn drop_duplicates(&mut self, found: Vec<Option<Duplicate>>, rules: &[&str]) {
        let describe = |(position, duplicate): (usize, &Option<Duplicate>)| {
            let duplicate = duplicate.as_ref()?;
            let (document, of) = (&self.documents[position], &self.documents[duplicate.of]);
            let place = format!("{} ({} of {})", of.id, self.locators[duplicate.of], of.source);
            let (rule, detail) = match duplicate.jaccard {
                None => ("duplicates.exact", format!("same text as {place}")),
                Some(jaccard) => ("duplicates.near", format!("jaccard {jaccard:.4} with {place}")),
            };
            Some(Dropped {
                id: document.id,
                source: document.source.clone(),
                locator: self.locators[position].clone(),
                lang: document.lang.clone(),
                kind: document.kind,
                rule: rule.to_owned(),
                detail,
            })
        };
        let described: Vec<Option<Dropped>> = found.iter().enumerate().map(describe).collect();
        self.locators = Vec::new();
        self.fingerprints = Vec::new();
        let documents = std::mem::take(&mut self.documents);
        for (document, dropped) in documents.into_iter().zip(described) {
            match dropped {
                None => self.documents.push(document),
                Some(dropped) => {
                    self.funnel.count_dropped(rules, &dropped, &excerpt(&document.text));
                    self.dropped.push(dropped);
                }
            }
        }
    }
}

fn write_document_shards(folder: &Path, documents: &[Document]) -> Result<Vec<FileEntry>, IngestError> {
    let mut entries = Vec::new();
    let mut rest = documents;
    while !rest.is_empty() {
        let mut n_bytes = 0;
        let n_documents = rest.iter().take(SHARD_DOCUMENTS).take_while(|document| {
            let fits = n_bytes < SHARD_BYTES;
            n_bytes += document.text.len();
            fits
        });
        let (shard, later) = rest.split_at(n_documents.count());
        entries.push(write_documents(folder, &shard_name(entries.len()), shard, &SIGNAL_NAMES)?);
        rest = later;
    }
    Ok(entries)
}

fn write_dropped_shards(folder: &Path, dropped: &[Dropped]) -> Result<Vec<FileEntry>, IngestError> {
    let shards = dropped.chunks(SHARD_DROPPED).enumerate();
    shards.map(|(index, shard)| Ok(write_dropped(folder, &shard_name(index), shard)?)).collect()
}

fn shard_name(index: usize) -> String {
    format!("part-{index:05}.parquet")
}
