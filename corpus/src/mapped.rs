//! Memory-mapped files as Arrow buffers: the one place of this crate with `unsafe`.
#![expect(unsafe_code, reason = "mapping a file is unsafe by nature; see SAFETY below")]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, root_as_footer};
use bytes::Bytes;
use memmap2::Mmap;

use crate::documents::FormatError;
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

/// The batches of an Arrow IPC file, whose arrays are slices of the mapped file.
pub(crate) fn map_batches(path: &Path) -> Result<Vec<RecordBatch>, FormatError> {
    let buffer = map_file(path)?;
    let failed = |source| FormatError::Arrow { path: path.to_owned(), source };
    let cut = || FormatError::layout(path, "is cut off or not an Arrow file: its footer is damaged");
    let trailer_start = buffer.len().checked_sub(10).ok_or_else(cut)?;
    let trailer: [u8; 10] = buffer[trailer_start..].try_into().expect("the slice is ten bytes long");
    let n_footer = read_footer_length(trailer).map_err(failed)?;
    let footer_start = trailer_start.checked_sub(n_footer).ok_or_else(cut)?;
    let footer = root_as_footer(&buffer[footer_start..trailer_start]).map_err(|_| cut())?;
    let schema = Arc::new(try_fb_to_schema(footer.schema().ok_or_else(cut)?).map_err(failed)?);
    let decoder = FileDecoder::new(schema, footer.version()).with_require_alignment(true);
    let read = |block: &Block| {
        let offset = usize::try_from(block.offset()).map_err(|_| cut())?;
        let n_meta = usize::try_from(block.metaDataLength()).map_err(|_| cut())?;
        let n_bytes = usize::try_from(block.bodyLength()).ok().and_then(|n_body| n_body.checked_add(n_meta));
        let n_bytes = n_bytes.filter(|&n| offset.checked_add(n).is_some_and(|end| end <= footer_start));
        let data: Buffer = buffer.slice_with_length(offset, n_bytes.ok_or_else(cut)?);
        decoder.read_record_batch(block, &data).map_err(failed)?.ok_or_else(cut)
    };
    footer.recordBatches().ok_or_else(cut)?.iter().map(read).collect()
}
