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

fn stream_hash(path: &Path) -> io::Result<Hash> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n_read = file.read(&mut buffer)?;
        if n_read == 0 {
            return Ok(hasher.finalize().to_hex().to_string());
        }
        hasher.update(&buffer[..n_read]);
    }
}
