//! The stage as a whole: sources in, `documents/` and `dropped/` out. The only folder of files that writes.
//!
//! Three passes. *Examine* reads every record once and does what depends on it alone; it leaves shards in a work folder
//! ([`shards`]), any of which may be made by any thread at any time. *Decide* compares the candidates of all shards with
//! each other by sorting ([`crate::duplicates`]). *Write* reads the shards again and makes the two folders, a group of
//! shards to a part. The output is the same for any number of threads, any memory limit and any number of interruptions.
//!
//! Memory: each examining thread holds one shard's records and what came of them; each writing thread one shard; a sort
//! holds its share of the limit. Everything else lies on the disk.

mod cut;
mod decide;
mod examine_all;
mod parallel;
mod shards;
mod write;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use corpus::{
    DOCUMENTS_FORMAT, FileError, FormatError, Hash, Manifest, Parent, Settings, StageFolder, hash_bytes, hash_file,
};
use rayon::prelude::*;
use thiserror::Error;

use crate::config::IngestConfig;
use crate::decontaminate::EvaluationError;
use crate::duplicates::Fingerprint;
use crate::examine::{Examiner, rule_names, signal_names};
use crate::funnel::Funnel;
use crate::models::TrainingError;
use crate::read::{ReadError, list_files};
use crate::source::Source;
use crate::urls::BlockedUrlsError;
pub(crate) use shards::BadRecord;
use shards::WorkFolder;

/// The work folder's name beside `documents/`.
const WORK: &str = "ingest-work";

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
    /// A set of evaluation items that cannot be read.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// A list of blocked addresses that cannot be read.
    #[error(transparent)]
    Blocked(#[from] BlockedUrlsError),
    /// A model that cannot be made.
    #[error("cannot make a model that scores documents")]
    Training(#[from] TrainingError),
    /// The caller asked to stop.
    #[error("interrupted; the same command goes on from here")]
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
        matches!(
            self,
            Self::Read(_)
                | Self::BadRecord { .. }
                | Self::Hash(_)
                | Self::Evaluation(_)
                | Self::Blocked(_)
                | Self::Training(_)
        )
    }

    /// Whether the disk is full.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Write(error) => error.is_out_of_space(),
            Self::Folder(error) => error.is_out_of_space(),
            Self::Read(_)
            | Self::BadRecord { .. }
            | Self::Hash(_)
            | Self::Evaluation(_)
            | Self::Blocked(_)
            | Self::Training(_)
            | Self::Interrupted => false,
        }
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done: "reading", "comparing pairs".
    pub phase: &'static str,
    /// How much of it is done; bytes as they lie on the disk while reading, documents or pairs after that.
    pub n_done: u64,
    /// How much there is of it.
    pub n_all: u64,
    /// Documents found so far.
    pub n_documents: u64,
}

/// Is told how far the run has come, now and then, and stops it by breaking.
pub type Tell<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync);

/// What the stage is made from, as parents of the manifest: for each source a hash of its files' relative names and
/// contents, and one of all files that the settings name.
pub fn ingest_parents(sources: &[Source], config: &IngestConfig) -> Result<Vec<Parent>, IngestError> {
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
    let files = config.files();
    if !files.is_empty() {
        let listing = hash_paths(&files).map_err(IngestError::Hash)?.join("\0");
        parents.push(Parent { name: "files of [ingest]".into(), hash: hash_bytes(listing.as_bytes()) });
    }
    Ok(parents)
}

/// The hashes of files, and of the files below folders in order of their names.
fn hash_paths(paths: &[PathBuf]) -> Result<Vec<Hash>, FileError> {
    let mut hashes = Vec::new();
    for path in paths {
        if !path.is_dir() {
            hashes.push(hash_file(path)?);
            continue;
        }
        let failed = |source| FileError::new("list", path, source);
        let mut below = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            below.push(entry.map_err(failed)?.path());
        }
        below.sort();
        hashes.extend(hash_paths(&below)?);
    }
    Ok(hashes)
}

/// Reads all sources and writes `out/documents` and `out/dropped`. Whatever lies there is replaced, but only once all
/// sources have been read. An interrupted run leaves `out/ingest-work` behind, from which the next one goes on.
pub fn run(
    sources: &[Source],
    config: &IngestConfig,
    out: &Path,
    settings: &Settings,
    parents: Vec<Parent>,
    tell: Tell<'_>,
) -> Result<Manifest, IngestError> {
    let signals = signal_names(config);
    let work = WorkFolder::open(&out.join(WORK), settings, &parents, Fingerprint::width(&config.duplicates))?;
    let examiner = Examiner::new(config)?;
    let files = sources.iter().map(list_files).collect::<Result<Vec<_>, _>>()?;
    let shards = examine_all::examine_all(sources, files, &examiner, &work, &signals, tell)?;
    let decisions = decide::decide(&work, &shards, config, tell)?;

    // Taken away in this order and put back in the other: whoever sees documents/ sees the dropped/ that belongs to it.
    let documents_folder = StageFolder::begin(&out.join("documents"))?;
    let dropped_folder = StageFolder::begin(&out.join("dropped"))?;
    let job = write::WriteJob {
        work: &work,
        shards: &shards,
        decisions: &decisions,
        config,
        signals: &signals,
        documents: documents_folder.path(),
        dropped: dropped_folder.path(),
    };
    let written = write::write_all(&job, tell)?;
    let mut funnel = Funnel::default();
    shards.into_iter().for_each(|shard| funnel.merge(shard.funnel));
    funnel.merge(written.funnel);
    funnel.count("pairs compared", decisions.n_compared);
    drop(decisions);
    Manifest::new("dropped", DOCUMENTS_FORMAT, settings)
        .with_parents(parents.clone())
        .with_files(written.dropped)
        .commit(dropped_folder.path())?;
    let mut manifest =
        Manifest::new("ingest", DOCUMENTS_FORMAT, settings).with_parents(parents).with_files(written.documents);
    manifest.counts = funnel.tallies();
    manifest.details = funnel.details(&rule_names(config), sources);
    manifest.commit(documents_folder.path())?;
    work.remove()?;
    Ok(manifest)
}

/// Threads that may work side by side where each holds about `n_bytes_each`; one at least.
fn n_workers(config: &IngestConfig, n_bytes_each: u64) -> usize {
    let n_fit = usize::try_from(config.memory / 2 / n_bytes_each).unwrap_or(usize::MAX);
    rayon::current_num_threads().min(n_fit).max(1)
}
