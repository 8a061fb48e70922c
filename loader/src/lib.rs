//! How packed rows become batches.
//!
//! Rows lie on disk in training order, so a loader is a list of mapped shards and its whole state is one integer, the number of
//! the next row. Batches of any size, for any number of ranks, are ranges of that number: nothing is shuffled, buffered
//! or copied here. A row's bytes reach libtorch as they lie in the file.
//!
//! ```no_run
//! use loader::Loader;
//!
//! let loader = Loader::open(&["out/packed/small".into(), "out/packed/large".into()], 256)?;
//! for block in loader.blocks(4096, 16)? {
//!     let tokens: &[u32] = block.as_ref(); // rows of 257 tokens, straight from the mapped file
//! }
//! # Ok::<(), loader::LoadError>(())
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use corpus::{FormatError, Manifest, ManifestError, PackedShard, Segment};
use thiserror::Error;

#[cfg(test)]
mod tests;

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
    /// A shard has rows of another length.
    #[error("{} has rows of context {found}, this run trains at {expected}", path.display())]
    Context {
        /// The shard.
        path: PathBuf,
        /// Of the shard.
        found: usize,
        /// Of the run.
        expected: usize,
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

/// The rows of one or more packed folders, one after the other.
pub struct Loader {
    shards: Vec<Arc<PackedShard>>,
    /// Number of the first row of each shard, and the number of all rows.
    borders: Vec<u64>,
}

impl Loader {
    /// Maps the folders and checks every shard against its manifest's hash and the context before the first batch.
    pub fn open(folders: &[PathBuf], context: usize) -> Result<Self, LoadError> {
        let (mut shards, mut borders) = (Vec::new(), vec![0]);
        for folder in folders {
            for (path, expected) in shards_of(folder)? {
                if corpus::hash_file(&path)? != expected {
                    return Err(LoadError::Hash { path });
                }
                let shard = PackedShard::open(&path)?;
                if shard.context() != context {
                    return Err(LoadError::Context { path, found: shard.context(), expected: context });
                }
                borders.push(borders[borders.len() - 1] + shard.n_rows() as u64);
                shards.push(Arc::new(shard));
            }
        }
        Ok(Self { shards, borders })
    }

    /// Rows in all.
    pub fn n_rows(&self) -> u64 {
        self.borders[self.shards.len()]
    }

    /// `n_rows` rows from row `first` on, as contiguous blocks of mapped memory: one, or more where shards meet.
    pub fn blocks(&self, first: u64, n_rows: u64) -> Result<Vec<RowBlock>, LoadError> {
        let end = first + n_rows;
        if end > self.n_rows() {
            return Err(LoadError::Range { first, end, n_rows: self.n_rows() });
        }
        let (mut blocks, mut row) = (Vec::new(), first);
        while row < end {
            let index = self.shard_of(row);
            let block_end = end.min(self.borders[index + 1]);
            blocks.push(RowBlock {
                shard: self.shards[index].clone(),
                first_row: (row - self.borders[index]) as usize,
                n_rows: (block_end - row) as usize,
            });
            row = block_end;
        }
        Ok(blocks)
    }

    /// What row `row` is made of.
    pub fn segments(&self, row: u64) -> Result<Vec<Segment>, LoadError> {
        if row >= self.n_rows() {
            return Err(LoadError::Range { first: row, end: row + 1, n_rows: self.n_rows() });
        }
        let index = self.shard_of(row);
        Ok(self.shards[index].segments((row - self.borders[index]) as usize)?)
    }

    /// The shard that holds `row`: the last whose first row is not beyond it (empty shards hold none).
    fn shard_of(&self, row: u64) -> usize {
        self.borders.partition_point(|&border| border <= row) - 1
    }
}

fn shards_of(folder: &Path) -> Result<Vec<(PathBuf, corpus::Hash)>, LoadError> {
    let manifest = Manifest::read(folder)?;
    Ok(manifest.files.into_iter().map(|entry| (folder.join(&entry.path), entry.blake3)).collect())
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
