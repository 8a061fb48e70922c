//! The nouns that the stages of moso hand to each other, and the only place that knows a byte layout.
//!
//! A stage turns one folder into the next: sources into *documents*, documents into *tokens*, tokens into *packed
//! rows*. Each folder is a set of immutable files plus a [`Manifest`] that is renamed into place last: the manifest is
//! the commit. A folder without one is an interrupted attempt and is made again.
//!
//! ```
//! use corpus::{AtomicFile, Manifest, Settings};
//! use std::io::Write;
//!
//! let out = tempfile::tempdir()?;
//! let mut file = AtomicFile::create(out.path(), "part-00000.txt")?;
//! file.write_all(b"one document")?;
//! let entry = file.finish(1)?;
//! Manifest::new("documents", 1, &Settings::default()).with_files(vec![entry]).commit(out.path())?;
//! assert!(corpus::verify_tree(out.path())?.is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing here decides which documents are good, how text becomes tokens or what is trained on when.

mod columns;
mod count;
mod document;
mod documents;
mod files;
mod hash;
mod ledger;
mod manifest;
mod mapped;
mod packed;
mod seed;
mod settings;
mod sort;
mod tokens;
mod verify;

#[cfg(test)]
mod tests;

pub use columns::{Column, Origin, read_columns, read_origins};
pub use count::{ByteSize, Count, Share};
pub use document::{DocId, Document, Dropped, Kind};
pub use documents::{
    DOCUMENTS_FORMAT, DocumentBatch, DocumentsWriter, DroppedWriter, FormatError, Storage, document_batches,
    read_documents, read_dropped, read_texts, write_documents, write_dropped,
};
pub use files::{AtomicFile, FileError, StageFolder, write_atomically};
pub use hash::{Hash, HashingReader, hash_bytes, hash_file};
pub use ledger::{LEDGER_FORMAT, LedgerShard, Reading, write_ledger};
pub use manifest::{FileEntry, Manifest, ManifestError, Parent, Tally};
pub use packed::{PACKED_FORMAT, PackedShard, PackedWriter, Segment, Span};
pub use seed::{HeldOut, Seed, is_held_out};
pub use settings::Settings;
pub use sort::{Sorted, Sorter, Spool};
pub use tokens::{
    TOKENS_FORMAT, TokenBatch, TokenRows, TokenShard, TokenizedDocument, TokensWriter, read_tokens, write_tokens,
};
pub use verify::{Problem, REMOVED, Verification, verify_tree};
