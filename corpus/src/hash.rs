//! The strong hash of files and settings: BLAKE3, written as 64 hexadecimal digits.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::files::FileError;

/// A BLAKE3 hash in hexadecimal.
pub type Hash = String;

/// Hashes bytes that are already in memory.
pub fn hash_bytes(bytes: &[u8]) -> Hash {
    blake3::hash(bytes).to_hex().to_string()
}

/// Hashes a file by streaming it; memory does not grow with its size.
pub fn hash_file(path: &Path) -> Result<Hash, FileError> {
    stream_hash(path).map_err(|source| FileError::new("read", path, source))
}

/// A reader that hashes what is read through it: what is used and what is hashed are the same bytes.
pub struct HashingReader<R> {
    reader: R,
    hasher: blake3::Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Nothing was read yet.
    pub fn new(reader: R) -> Self {
        Self { reader, hasher: blake3::Hasher::new() }
    }

    /// The hash of all that was read.
    pub fn finish(self) -> Hash {
        self.hasher.finalize().to_hex().to_string()
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..n_read]);
        Ok(n_read)
    }
}

fn stream_hash(path: &Path) -> io::Result<Hash> {
    let mut file = HashingReader::new(File::open(path)?);
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(file.finish())
}
