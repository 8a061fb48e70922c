//! How packed rows become batches.
//!
//! Rows lie on disk in training order, so a loader's whole state is one integer, the number of the next row. Batches of any size,
//! for any number of ranks, are ranges of that number: nothing is shuffled, buffered or copied here. A row's bytes reach
//! libtorch as they lie in the file.
//!
//! Opening reads one manifest a stage and no shard, so the first batch comes as fast at the end of a trillion tokens as at the
//! beginning. Shards are mapped when their rows are asked for, and not a row of a shard is handed out before the shard's
//! hash is that of its manifest; [`Prefetch`] does both ahead of the training loop.
//!
//! ```no_run
//! use loader::{Loader, LoaderSettings, Verify};
//!
//! let settings = LoaderSettings { context: 256, verify: Verify::Ahead, tokenizer: None };
//! let loader = Loader::open(&["out/packed/small".into(), "out/packed/large".into()], &settings)?;
//! for block in loader.blocks(4096, 16)? {
//!     let tokens: &[u32] = block.as_ref(); // rows of 257 tokens, straight from the mapped file
//! }
//! # Ok::<(), loader::LoadError>(())
//! ```

mod prefetch;
mod rows;

#[cfg(test)]
mod tests;

pub use prefetch::{Prefetch, Waiting};
pub use rows::{LoadError, Loader, LoaderSettings, RowBlock, Verify, rows_of_rank};
