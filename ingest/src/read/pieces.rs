//! A file cut at a delimiter: lines, the pieces of a separated text, the pages of a MediaWiki dump, or no cut at all.

use std::io::{self, BufRead, BufReader, Read};

use super::Payload;
use super::layers::Members;

/// A file that is cut at a delimiter, or not at all where that is empty.
pub(super) struct Pieces<'a> {
    pub(super) reader: BufReader<Members>,
    delimiter: &'a [u8],
    n_pieces: u64,
}

/// What stands up to the next delimiter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Without the delimiter.
    Bytes(Vec<u8>),
    /// What stands behind the last delimiter.
    Last(Vec<u8>),
    TooLong,
    End,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(members: Members, delimiter: &'a [u8]) -> Self {
        Self { reader: BufReader::with_capacity(1 << 18, members), delimiter, n_pieces: 0 }
    }

    /// The number of the piece that was read last, where a file has more than one.
    pub(super) fn number(&self) -> Option<u64> {
        (!self.delimiter.is_empty()).then_some(self.n_pieces)
    }

    /// The next piece; nothing at the end. Empty ones are passed over, but counted.
    pub(super) fn next_piece(&mut self, n_bytes_max: usize) -> io::Result<Option<Result<Payload, String>>> {
        loop {
            self.n_pieces += 1;
            match read_piece(&mut self.reader, self.delimiter, n_bytes_max)? {
                Piece::End => return Ok(None),
                Piece::TooLong => return Ok(Some(Err(format!("is longer than {n_bytes_max} bytes")))),
                Piece::Bytes(bytes) | Piece::Last(bytes) if bytes.trim_ascii().is_empty() => {}
                Piece::Bytes(bytes) | Piece::Last(bytes) => return Ok(Some(Ok(Payload::Bytes(bytes)))),
            }
        }
    }
}

/// Reads up to and over the next delimiter, or to the end where the delimiter is empty. Holds at most `n_bytes_max`
/// bytes and a delimiter, however long the piece is.
pub(super) fn read_piece(reader: &mut dyn BufRead, delimiter: &[u8], n_bytes_max: usize) -> io::Result<Piece> {
    let n_held_max = n_bytes_max + delimiter.len();
    let mut piece = Vec::new();
    let mut is_too_long = false;
    let mut is_begun = false;
    loop {
        let room = (n_held_max + 1 - piece.len()) as u64;
        let n_read = match delimiter.last() {
            Some(&last) => reader.take(room).read_until(last, &mut piece)?,
            None => reader.take(room).read_to_end(&mut piece)?,
        };
        let is_cut = !delimiter.is_empty() && piece.ends_with(delimiter);
        let is_end = n_read == 0;
        if is_cut {
            piece.truncate(piece.len() - delimiter.len());
        }
        is_too_long |= piece.len() > n_bytes_max && (is_cut || is_end || piece.len() > n_held_max);
        if is_cut || is_end || (is_too_long && delimiter.is_empty()) {
            return Ok(match (is_too_long, is_begun || is_cut) {
                (true, _) => Piece::TooLong,
                (false, true) if is_cut => Piece::Bytes(piece),
                (false, true) => Piece::Last(piece),
                (false, false) => Piece::End,
            });
        }
        is_begun = true;
        if is_too_long {
            // Only what could be the beginning of a delimiter matters from here on.
            piece.drain(..piece.len() - delimiter.len().saturating_sub(1).min(piece.len()));
        }
    }
}
