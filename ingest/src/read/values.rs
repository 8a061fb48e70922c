//! A file of JSON cut into its records: the elements of an array, or objects one after another (some files that are called
//! JSON hold JSON lines), in a file or in all files of a tar archive.
//!
//! Only brackets and quotes are looked at; each record is parsed later, on any thread. One that is too long is passed over
//! without being held. Where something stands between two records that has no place there, nothing behind it can be
//! trusted, and the file ends with a bad record. Cost: one look at each byte.

use std::io::{self, BufRead, BufReader};

use super::Payload;
use super::tar::Untar;

/// A file while it is cut.
pub(super) struct Values {
    pub(super) reader: BufReader<Untar>,
    pub(super) n_values: u64,
    place: Place,
}

/// What may stand next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A value, or the end of the file.
    Outside,
    /// The first element of an array, or its end.
    FirstElement,
    Element,
    /// A comma, or the array's end.
    BehindElement,
    /// Nothing: what stood there could not be read.
    Nowhere,
}

/// A value as far as it has been read.
struct Open {
    bytes: Vec<u8>,
    n_bytes_max: usize,
    is_too_long: bool,
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
}

impl Values {
    pub(super) fn new(file: Untar) -> Self {
        Self { reader: BufReader::with_capacity(1 << 18, file), n_values: 0, place: Place::Outside }
    }

    /// The next record; nothing at the end.
    pub(super) fn next_value(&mut self, n_bytes_max: usize) -> io::Result<Option<Result<Payload, String>>> {
        if self.place == Place::Nowhere {
            return Ok(None);
        }
        match self.find_value()? {
            Ok(false) => return Ok(None),
            Ok(true) => {}
            Err(what) => {
                self.n_values += 1;
                self.place = Place::Nowhere;
                return Ok(Some(Err(what)));
            }
        }
        let mut open = Open::new(n_bytes_max);
        while !self.read_some(&mut open)? {}
        self.n_values += 1;
        if self.place != Place::Outside {
            self.place = Place::BehindElement;
        }
        Ok(Some(match (open.is_too_long, open.depth) {
            (_, 1..) => {
                self.place = Place::Nowhere;
                Err("is cut off: it is JSON without an end".to_owned())
            }
            (true, 0) => Err(format!("is longer than {n_bytes_max} bytes")),
            (false, 0) => Ok(Payload::Bytes(open.bytes)),
        }))
    }

    /// Passes over what stands before the next record. False at the end of the file.
    fn find_value(&mut self) -> io::Result<Result<bool, String>> {
        loop {
            let Some(&byte) = self.reader.fill_buf()?.first() else {
                return Ok(match self.place {
                    Place::Outside => Ok(false),
                    _ => Err("is cut off: it is JSON without an end".to_owned()),
                });
            };
            self.place = match (self.place, byte) {
                // A byte order mark stands before the first value, if anywhere.
                (place, b' ' | b'\t' | b'\r' | b'\n') => place,
                (Place::Outside, 0xEF | 0xBB | 0xBF) if self.n_values == 0 => Place::Outside,
                (Place::Outside, b'[') => Place::FirstElement,
                (Place::FirstElement | Place::BehindElement, b']') => Place::Outside,
                (Place::BehindElement, b',') => Place::Element,
                (Place::Outside | Place::FirstElement | Place::Element, b'{') => return Ok(Ok(true)),
                (Place::BehindElement, _) => {
                    return Ok(Err("is not parted from the record before it by a comma".into()));
                }
                _ => return Ok(Err("is not an object, so nothing behind it is read".to_owned())),
            };
            self.reader.consume(1);
        }
    }

    /// Takes what is buffered into an open value. True at its end, and at the end of the file.
    fn read_some(&mut self, open: &mut Open) -> io::Result<bool> {
        let buffer = self.reader.fill_buf()?;
        let end = buffer.iter().position(|&byte| open.closes(byte));
        let n_bytes = end.map_or(buffer.len(), |at| at + 1);
        open.hold(&buffer[..n_bytes]);
        self.reader.consume(n_bytes);
        Ok(end.is_some() || n_bytes == 0)
    }
}

impl Open {
    fn new(n_bytes_max: usize) -> Self {
        let bytes = Vec::new();
        Self { bytes, n_bytes_max, is_too_long: false, depth: 0, is_in_string: false, is_escaped: false }
    }

    /// Whether the value ends with this byte.
    fn closes(&mut self, byte: u8) -> bool {
        if self.is_in_string {
            self.is_in_string = self.is_escaped || byte != b'"';
            self.is_escaped = !self.is_escaped && byte == b'\\';
            return false;
        }
        match byte {
            b'"' => self.is_in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        self.depth == 0
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.is_too_long |= self.bytes.len() + bytes.len() > self.n_bytes_max;
        if self.is_too_long {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }
}
