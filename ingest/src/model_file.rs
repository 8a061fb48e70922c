//! Model files as ingest reads and writes them: little-endian numbers behind a magic and before a checksum.
//!
//! Layout of a file of ours: eight bytes of magic whose last one is the version, the body as its module describes it,
//! and the xxh3 (64 bits) of everything before. A reader never reserves more memory than the file has bytes left, so a
//! damaged length is an error and not an allocation.

use std::fs;
use std::path::{Path, PathBuf};

use corpus::{FileEntry, FileError, write_atomically};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 8;

/// A model file could not be read or written.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another kind of file, or a version this program does not know.
    #[error("{} is not {what}", path.display())]
    Magic {
        /// The file.
        path: PathBuf,
        /// What it should have been.
        what: &'static str,
    },
    /// Bytes were lost or changed.
    #[error("the checksum of {} does not fit its contents", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
    },
    /// The file ends too early, or says things that cannot be.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The file is a model that cannot classify.
    #[error("{}: {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

/// Little-endian numbers, one after the other.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    offset: usize,
    path: &'a Path,
}

/// The bytes of a file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, ModelError> {
    Ok(fs::read(path).map_err(|source| FileError::new("read", path, source))?)
}

/// Writes magic, body and checksum; the file appears whole or not at all.
pub(crate) fn write_model(
    folder: &Path,
    name: &str,
    magic: &[u8; MAGIC_BYTES],
    body: &[u8],
) -> Result<FileEntry, ModelError> {
    let mut bytes = Vec::with_capacity(MAGIC_BYTES + body.len() + CHECKSUM_BYTES);
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    Ok(write_atomically(folder, name, &bytes, 1)?)
}

/// The fields of a body whose magic and checksum are right.
pub(crate) fn open_model<'a>(
    path: &'a Path,
    bytes: &'a [u8],
    magic: &[u8; MAGIC_BYTES],
    what: &'static str,
) -> Result<Fields<'a>, ModelError> {
    if bytes.len() < MAGIC_BYTES + CHECKSUM_BYTES || !bytes.starts_with(magic) {
        return Err(ModelError::Magic { path: path.to_owned(), what });
    }
    let (contents, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    if xxh3_64(contents).to_le_bytes() != checksum {
        return Err(ModelError::Checksum { path: path.to_owned() });
    }
    Ok(Fields { bytes: contents, offset: MAGIC_BYTES, path })
}

impl<'a> Fields<'a> {
    /// The fields of a file without magic and checksum of ours.
    pub(crate) fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, path }
    }

    pub(crate) fn damaged(&self, what: &'static str) -> ModelError {
        ModelError::Damaged { path: self.path.to_owned(), offset: self.offset, what }
    }

    pub(crate) fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], ModelError> {
        let rest = &self.bytes[self.offset..];
        let taken = rest.get(..n_bytes).ok_or_else(|| self.damaged("it ends here"))?;
        self.offset += n_bytes;
        Ok(taken)
    }

    /// Bytes up to the next zero, which is skipped.
    pub(crate) fn take_until_zero(&mut self) -> Result<&'a [u8], ModelError> {
        let rest = &self.bytes[self.offset..];
        let len = rest.iter().position(|&byte| byte == 0).ok_or_else(|| self.damaged("a word does not end"))?;
        self.offset += len + 1;
        Ok(&rest[..len])
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ModelError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ModelError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, ModelError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ModelError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, ModelError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn f32(&mut self) -> Result<f32, ModelError> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    pub(crate) fn f64(&mut self) -> Result<f64, ModelError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A count that fits the machine.
    pub(crate) fn count(&mut self) -> Result<usize, ModelError> {
        let count = self.u64()?;
        usize::try_from(count).map_err(|_| self.damaged("a count is beyond all measure"))
    }

    /// So many numbers.
    pub(crate) fn f32s(&mut self, n: usize) -> Result<Vec<f32>, ModelError> {
        let n_bytes = n.checked_mul(4).ok_or_else(|| self.damaged("a count is beyond all measure"))?;
        Ok(self.take(n_bytes)?.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), ModelError> {
        if self.offset == self.bytes.len() { Ok(()) } else { Err(self.damaged("something follows the end")) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }
}
