//! The files inside a tar archive, one after another as if they were one, for records that are published a file each.
//!
//! Layout (POSIX ustar): for each file a header of 512 bytes (name at 0, size in octal digits at 124, sum of the header's
//! bytes at 148 with that field taken as spaces, type at 156), then its bytes, filled up to a multiple of 512; a header of
//! zeros ends the archive. Passed over are folders, links, extended headers, and files whose names begin with a dot.

use std::io::{self, Read};

use super::layers::Members;

const BLOCK: usize = 512;

/// A file as its bytes are, or the bytes of the files in it.
pub(super) struct Untar {
    members: Members,
    is_archive: bool,
    /// Bytes of the open file that are still to come, and what fills it up.
    n_left: u64,
    n_filling: u64,
    is_over: bool,
}

impl Untar {
    /// The name's ending tells whether it is an archive.
    pub(super) fn new(members: Members, name: &str) -> Self {
        let is_archive = name.ends_with(".tgz") || name.ends_with(".tar") || name.contains(".tar.");
        Self { members, is_archive, n_left: 0, n_filling: 0, is_over: false }
    }

    pub(super) fn members(&self) -> &Members {
        &self.members
    }

    /// Enters the next file. False at the end of the archive.
    fn next_file(&mut self) -> io::Result<bool> {
        let mut header = [0; BLOCK];
        loop {
            pass(&mut self.members, self.n_filling)?;
            self.n_filling = 0;
            self.members.read_exact(&mut header)?;
            if header.iter().all(|&byte| byte == 0) {
                return Ok(false);
            }
            let n_bytes = check_header(&header)?;
            let n_filling = n_bytes.next_multiple_of(BLOCK as u64) - n_bytes;
            if is_wanted(&header) {
                (self.n_left, self.n_filling) = (n_bytes, n_filling);
                return Ok(true);
            }
            pass(&mut self.members, n_bytes)?;
            self.n_filling = n_filling;
        }
    }
}

impl Read for Untar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_archive {
            return self.members.read(buffer);
        }
        while self.n_left == 0 {
            self.is_over = self.is_over || !self.next_file()?;
            if self.is_over {
                return Ok(0);
            }
        }
        let n_wanted = usize::try_from(self.n_left).unwrap_or(usize::MAX).min(buffer.len());
        let n_read = self.members.read(&mut buffer[..n_wanted])?;
        if n_read == 0 && n_wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.n_left -= n_read as u64;
        Ok(n_read)
    }
}

fn pass(members: &mut Members, n_bytes: u64) -> io::Result<()> {
    match io::copy(&mut members.take(n_bytes), &mut io::sink())? {
        n_passed if n_passed == n_bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Bytes of the file behind a header.
fn check_header(header: &[u8; BLOCK]) -> io::Result<u64> {
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    let of_field: u64 = header[148..156].iter().map(|&byte| u64::from(byte)).sum();
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "a tar header is damaged");
    if octal(&header[148..156]) != Some(sum - of_field + 8 * u64::from(b' ')) {
        return Err(broken());
    }
    octal(&header[124..136]).ok_or_else(broken)
}

/// Octal digits between spaces and zero bytes. Sizes of 8 GiB and more, which are written otherwise, are no records.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    u64::from_str_radix(digits, 8).ok()
}

fn is_wanted(header: &[u8; BLOCK]) -> bool {
    let name = header[..100].split(|&byte| byte == 0).next().unwrap_or_default();
    let file_name = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    matches!(header[156], b'0' | 0) && !file_name.starts_with(b".")
}
