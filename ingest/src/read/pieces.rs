//! A file cut at a delimiter: lines, the pieces of a separated text, the pages of a MediaWiki dump, or no cut at all.

use std::io::{self, BufRead, Read};

/// What stands up to the next delimiter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Without the delimiter.
    Bytes(Vec<u8>),
    TooLong,
    End,
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
                (false, true) => Piece::Bytes(piece),
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
