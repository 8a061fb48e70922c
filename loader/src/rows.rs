//! Packed folders as one long list of rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use corpus::{FormatError, Hash, Manifest, ManifestError, PackedShard, Segment};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Shards that stay mapped. A batch touches one or two; the rest is for readers that jump about.
const SHARDS_MAPPED: usize = 64;

/// Packed rows that cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The folder's manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A shard.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A shard's hash cannot be computed.
    #[error(transparent)]
    File(#[from] corpus::FileError),
    /// A shard was changed after it was written.
    #[error("{} does not match the hash in its manifest: pack it again", path.display())]
    Hash {
        /// The shard.
        path: PathBuf,
    },
    /// Rows of another length.
    #[error("{} has rows of context {found}, this run trains at {expected}", path.display())]
    Context {
        /// The folder or shard.
        path: PathBuf,
        /// Of the rows.
        found: usize,
        /// Of the run.
        expected: usize,
    },
    /// Tokens of another tokenizer.
    #[error("{} holds tokens of another tokenizer ({found}) than this run's ({expected}): tokenize and mix again", path.display())]
    Tokenizer {
        /// The folder.
        path: PathBuf,
        /// Hash of the tokenizer that made the tokens.
        found: String,
        /// Of the run's tokenizer.
        expected: Hash,
    },
    /// A shard with more or fewer rows than its manifest says.
    #[error("{} has {found} rows, its manifest says {expected}", path.display())]
    Rows {
        /// The shard.
        path: PathBuf,
        /// Rows in it.
        found: usize,
        /// Rows by the manifest.
        expected: u64,
    },
    /// Rows beyond the end were asked for.
    #[error("rows {first}..{end} were asked for, there are {n_rows}")]
    Range {
        /// First row.
        first: u64,
        /// One past the last.
        end: u64,
        /// Rows in all.
        n_rows: u64,
    },
}

/// When the hashes of shards are compared with those of their manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// All when the loader is opened: takes as long as reading everything.
    Start,
    /// Each when it is first needed, before any of its rows is handed out. With [`crate::Prefetch`] that is in the background.
    #[default]
    Ahead,
    /// Not at all: for who looks at a few rows of a run that was verified before.
    #[serde(skip)]
    Never,
}

/// What rows must be.
#[derive(Clone, Debug)]
pub struct LoaderSettings {
    /// Tokens that a row predicts.
    pub context: usize,
    /// When hashes are compared.
    pub verify: Verify,
    /// Hash of the manifest of the tokenizer that must have made the tokens; `None` where it is known elsewhere.
    pub tokenizer: Option<Hash>,
}

impl LoaderSettings {
    /// Rows of a context, verified when they are needed, whatever tokenizer made them.
    pub fn of_context(context: usize) -> Self {
        Self { context, verify: Verify::Ahead, tokenizer: None }
    }
}

/// The rows of one or more packed folders, one after the other.
pub struct Loader {
    settings: LoaderSettings,
    shards: Vec<ShardFile>,
    /// Number of the first row of each shard, and the number of all rows.
    borders: Vec<u64>,
    mapped: Mutex<Mapped>,
}

struct ShardFile {
    path: PathBuf,
    n_rows: u64,
    hash: Hash,
    masks_documents: bool,
}

/// Shards that are mapped, and which were verified.
#[derive(Default)]
struct Mapped {
    shards: BTreeMap<usize, (Arc<PackedShard>, u64)>,
    n_uses: u64,
    is_verified: Vec<bool>,
}

impl Loader {
    /// Reads the folders' manifests; the shards themselves only where all are to be verified first.
    pub fn open(folders: &[PathBuf], settings: &LoaderSettings) -> Result<Self, LoadError> {
        let (mut shards, mut borders) = (Vec::new(), vec![0]);
        for folder in folders {
            let manifest = Manifest::read(folder)?;
            check_folder(folder, &manifest, settings)?;
            let masks_documents = manifest.details["packing"] == "best-fit-masked";
            for entry in manifest.files {
                borders.push(borders[borders.len() - 1] + entry.rows);
                let path = folder.join(&entry.path);
                // A file that is missing is said now, not in the middle of the night.
                check_size(&path, entry.bytes)?;
                shards.push(ShardFile { path, n_rows: entry.rows, hash: entry.blake3, masks_documents });
            }
        }
        let mapped = Mutex::new(Mapped { is_verified: vec![false; shards.len()], ..Mapped::default() });
        let loader = Self { settings: settings.clone(), shards, borders, mapped };
        if settings.verify == Verify::Start {
            loader.shards.par_iter().try_for_each(ShardFile::verify)?;
            loader.lock().is_verified.fill(true);
            (0..loader.shards.len()).try_for_each(|index| loader.shard(index).map(drop))?;
        }
        Ok(loader)
    }

    /// Rows in all.
    pub fn n_rows(&self) -> u64 {
        self.borders[self.shards.len()]
    }

    /// `n_rows` rows from row `first` on, as contiguous blocks of mapped memory: one, or more where shards meet.
    pub fn blocks(&self, first: u64, n_rows: u64) -> Result<Vec<RowBlock>, LoadError> {
        let end = self.check_range(first, n_rows)?;
        let (mut blocks, mut row) = (Vec::new(), first);
        while row < end {
            let index = self.shard_of(row);
            let block_end = end.min(self.borders[index + 1]);
            blocks.push(RowBlock {
                shard: self.shard(index)?,
                first_row: (row - self.borders[index]) as usize,
                n_rows: (block_end - row) as usize,
            });
            row = block_end;
        }
        Ok(blocks)
    }

    /// What row `row` is made of.
    pub fn segments(&self, row: u64) -> Result<Vec<Segment>, LoadError> {
        self.check_range(row, 1)?;
        let index = self.shard_of(row);
        Ok(self.shard(index)?.segments((row - self.borders[index]) as usize)?)
    }

    /// The file that holds a row.
    pub fn path_of(&self, row: u64) -> Result<&Path, LoadError> {
        self.check_range(row, 1)?;
        Ok(&self.shards[self.shard_of(row)].path)
    }

    /// Whether the documents of a row were packed side by side for a model that attends within documents only.
    pub fn masks_documents(&self, row: u64) -> Result<bool, LoadError> {
        self.check_range(row, 1)?;
        Ok(self.shards[self.shard_of(row)].masks_documents)
    }

    fn check_range(&self, first: u64, n_rows: u64) -> Result<u64, LoadError> {
        match first.checked_add(n_rows) {
            Some(end) if end <= self.n_rows() => Ok(end),
            end => Err(LoadError::Range { first, end: end.unwrap_or(u64::MAX), n_rows: self.n_rows() }),
        }
    }

    /// The shard that holds `row`: the last whose first row is not beyond it (empty shards hold none).
    fn shard_of(&self, row: u64) -> usize {
        self.borders.partition_point(|&border| border <= row) - 1
    }

    /// A shard, mapped and verified.
    fn shard(&self, index: usize) -> Result<Arc<PackedShard>, LoadError> {
        let mut mapped = self.lock();
        mapped.n_uses += 1;
        let now = mapped.n_uses;
        if let Some((shard, last_use)) = mapped.shards.get_mut(&index) {
            *last_use = now;
            return Ok(Arc::clone(shard));
        }
        let must_verify = self.settings.verify == Verify::Ahead && !mapped.is_verified[index];
        // Others go on while this shard is read from the disk. Two that want the same one both read it, which is rare.
        drop(mapped);
        let file = &self.shards[index];
        if must_verify {
            file.verify()?;
        }
        let shard = Arc::new(file.map(self.settings.context)?);
        let mut mapped = self.lock();
        mapped.is_verified[index] |= must_verify;
        mapped.shards.insert(index, (Arc::clone(&shard), now));
        if mapped.shards.len() > SHARDS_MAPPED {
            let oldest = mapped.shards.iter().min_by_key(|(_, (_, last_use))| *last_use).map(|(&index, _)| index);
            oldest.map(|index| mapped.shards.remove(&index));
        }
        Ok(shard)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Mapped> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_folder(folder: &Path, manifest: &Manifest, settings: &LoaderSettings) -> Result<(), LoadError> {
    if let Some(found) = manifest.details["context"].as_u64().map(|context| context as usize)
        && found != settings.context
    {
        return Err(LoadError::Context { path: folder.to_owned(), found, expected: settings.context });
    }
    if let Some(expected) = &settings.tokenizer {
        let found = manifest.details["tokenizer"].as_str().unwrap_or("unknown");
        if found != expected {
            let (found, expected) = (found.to_owned(), expected.clone());
            return Err(LoadError::Tokenizer { path: folder.to_owned(), found, expected });
        }
    }
    Ok(())
}

fn check_size(path: &Path, n_bytes: u64) -> Result<(), LoadError> {
    let metadata = std::fs::metadata(path).map_err(|source| corpus::FileError::new("open", path, source))?;
    if metadata.len() == n_bytes {
        return Ok(());
    }
    let what = format!("holds {} bytes, its manifest says {n_bytes}: pack it again", metadata.len());
    Err(FormatError::Layout { path: path.to_owned(), what }.into())
}

impl ShardFile {
    fn verify(&self) -> Result<(), LoadError> {
        if corpus::hash_file(&self.path)? == self.hash {
            return Ok(());
        }
        Err(LoadError::Hash { path: self.path.clone() })
    }

    fn map(&self, context: usize) -> Result<PackedShard, LoadError> {
        let shard = PackedShard::open(&self.path)?;
        if shard.context() != context {
            return Err(LoadError::Context { path: self.path.clone(), found: shard.context(), expected: context });
        }
        if shard.n_rows() as u64 != self.n_rows {
            let (path, found, expected) = (self.path.clone(), shard.n_rows(), self.n_rows);
            return Err(LoadError::Rows { path, found, expected });
        }
        Ok(shard)
    }
}

/// The part of a batch that one of `n_ranks` ranks trains on, as first row and number of rows: consecutive rows, as even as can be.
///
/// # Panics
/// Where there is no such rank.
pub fn rows_of_rank(first: u64, n_rows: u64, rank: u64, n_ranks: u64) -> (u64, u64) {
    assert!(rank < n_ranks, "there are {n_ranks} ranks, no rank {rank}");
    let border = |rank: u64| (u128::from(n_rows) * u128::from(rank) / u128::from(n_ranks)) as u64;
    (first + border(rank), border(rank + 1) - border(rank))
}

/// Consecutive rows of one mapped shard; as a slice, their tokens row after row, `(n_rows, context + 1)`. Keeps the mapping
/// alive.
#[derive(Clone)]
pub struct RowBlock {
    shard: Arc<PackedShard>,
    first_row: usize,
    n_rows: usize,
}

impl RowBlock {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }
}

impl AsRef<[u32]> for RowBlock {
    fn as_ref(&self) -> &[u32] {
        self.shard.tokens(self.first_row, self.n_rows)
    }
}
