//! Memory-mapped files as Arrow buffers: the one place of this crate with `unsafe`.
#![expect(unsafe_code, reason = "mapping a file is unsafe by nature; see SAFETY below")]

use std::fs::File;
use std::path::Path;

use arrow::buffer::Buffer;
use bytes::Bytes;
use memmap2::Mmap;

use crate::files::FileError;

/// Maps a file read-only. The buffer keeps the mapping alive.
pub(crate) fn map_file(path: &Path) -> Result<Buffer, FileError> {
    let file = File::open(path).map_err(|source| FileError::new("open", path, source))?;
    // SAFETY: the bytes must not change while they are mapped. Files of a finished folder are immutable by contract:
    // they are written under another name, renamed into place, and replaced only by another rename, which leaves this
    // mapping on the old file.
    let map = unsafe { Mmap::map(&file) }.map_err(|source| FileError::new("map", path, source))?;
    Ok(Buffer::from(Bytes::from_owner(map)))
}
