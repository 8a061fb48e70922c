//! What a Parquet file claims about itself, checked before a decoder believes it.
//!
//! A decoder makes room for what a page's header promises, which in a damaged file is anything up to 2 GiB, and follows a
//! schema as deep as it is nested. So the headers are walked first: they are structs in Thrift's compact protocol, of
//! which only a few fields matter here and the rest is stepped over.
//!
//! ```text
//! struct: (field id step: 4 bits, type: 4 bits) value ... 0x00
//! PageHeader: 2 unpacked size, 3 packed size, 5 {1 values, 2 encoding}, 8 {1 values, 4 encoding}
//! FileMetaData: 2 [{5 children}]
//! ```
//!
//! Cost: one small read for each page. Sources: apache/parquet-format, parquet.thrift; thrift-compact-protocol.md.

use std::io::{self, Read};

use parquet::file::reader::ChunkReader;

/// No table of texts nests deeper; decoders recurse.
const SCHEMA_DEPTH_MAX: usize = 64;

/// Structs inside structs inside a header.
const HEADER_DEPTH_MAX: usize = 8;

/// A page is at most so long; writers aim at 1 MiB.
const PAGE_BYTES_MAX: i64 = 256 << 20;

/// Headers are read from the disk in pieces of so many bytes.
const WINDOW_BYTES: u64 = 512;

/// DELTA_LENGTH_BYTE_ARRAY: texts whose lengths stand in front of them all.
const ENCODING_LENGTHS: i64 = 6;

/// DELTA_BYTE_ARRAY, in which a value repeats the beginning of the one before it.
const ENCODING_DELTA: i64 = 7;

/// What is known about the pages of a column chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    /// Bytes of the largest page, unpacked.
    pub(super) n_bytes_max: u64,
    /// Values, missing ones among them.
    pub(super) n_values: u64,
    /// Counts stand inside pages.
    pub(super) has_lengths: bool,
    /// A value may be longer than its share of the page.
    pub(super) has_deltas: bool,
}

/// Walks the pages of a column chunk.
pub(super) fn check_pages(file: &impl ChunkReader, start: u64, n_bytes: u64) -> Result<Pages, String> {
    let end = start.checked_add(n_bytes).filter(|&end| end <= file.len()).ok_or("a column lies outside the file")?;
    let mut pages = Pages::default();
    let mut at = start;
    while at < end {
        let mut walk = Walk { file, at, end, window: Vec::new(), window_at: 0 };
        let mut sizes = [None; 2];
        walk.read_struct(&mut |path, value| match path {
            [2] => sizes[0] = Some(value),
            [3] => sizes[1] = Some(value),
            [5, 1] | [8, 1] => pages.n_values += u64::try_from(value).unwrap_or(u64::from(u32::MAX)),
            [5, 2] | [8, 4] => {
                pages.has_lengths |= matches!(value, ENCODING_LENGTHS | ENCODING_DELTA);
                pages.has_deltas |= value == ENCODING_DELTA;
            }
            _ => {}
        })?;
        let [Some(n_unpacked), Some(n_packed)] = sizes else { return Err("a page has no size".to_owned()) };
        if !(0..=PAGE_BYTES_MAX).contains(&n_unpacked) {
            return Err(format!("a page of {n_unpacked} bytes is beyond the {PAGE_BYTES_MAX} that are allowed"));
        }
        pages.n_bytes_max = pages.n_bytes_max.max(n_unpacked.unsigned_abs());
        let n_packed = u64::try_from(n_packed).map_err(|_| "a page has a negative size")?;
        at = walk.at.checked_add(n_packed).filter(|&next| next <= end).ok_or("a page lies outside its column")?;
    }
    Ok(pages)
}

/// Walks the schema in a file's footer; an error where it nests too deep. A file without a sound footer passes, since the
/// decoder has a message of its own for that.
pub(super) fn check_schema(file: &impl ChunkReader) -> Result<(), String> {
    let n_bytes = file.len();
    let mut tail = [0; 8];
    let is_read =
        n_bytes >= 12 && file.get_read(n_bytes - 8).is_ok_and(|mut reader| reader.read_exact(&mut tail).is_ok());
    let n_footer = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if !is_read || n_footer > n_bytes - 8 {
        return Ok(());
    }
    let (at, end) = (n_bytes - 8 - n_footer, n_bytes - 8);
    let mut walk = Walk { file, at, end, window: Vec::new(), window_at: 0 };
    // For each open group, how many children it still lacks.
    let mut open: Vec<i64> = Vec::new();
    let mut n_children = 0;
    let mut is_too_deep = false;
    let walked = walk.read_struct(&mut |path, value| match path {
        [2, 5] => n_children = value,
        [2, STRUCT_END] => {
            if n_children > 0 {
                open.push(n_children);
            }
            while n_children <= 0
                && let Some(n_left) = open.last_mut()
            {
                *n_left -= 1;
                if *n_left > 0 {
                    break;
                }
                open.pop();
            }
            n_children = 0;
            is_too_deep |= open.len() > SCHEMA_DEPTH_MAX;
        }
        _ => {}
    });
    match is_too_deep {
        true => Err(format!("its schema nests deeper than {SCHEMA_DEPTH_MAX}")),
        false => walked,
    }
}

/// In place of a field id.
const STRUCT_END: i16 = 0;

/// A place in a file from which Thrift values are read.
struct Walk<'a, R> {
    file: &'a R,
    at: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

type Visit<'a> = dyn FnMut(&[i16], i64) + 'a;

impl<R: ChunkReader> Walk<'_, R> {
    /// Hands out the path and value of every whole number in a struct.
    fn read_struct(&mut self, visit: &mut Visit<'_>) -> Result<(), String> {
        self.walk_struct(&mut Vec::new(), visit)
    }

    fn walk_struct(&mut self, path: &mut Vec<i16>, visit: &mut Visit<'_>) -> Result<(), String> {
        if path.len() > HEADER_DEPTH_MAX {
            return Err("a header nests too deep".to_owned());
        }
        path.push(STRUCT_END);
        let last = path.len() - 1;
        loop {
            let byte = self.read_byte()?;
            if byte == 0 {
                path[last] = STRUCT_END;
                visit(path, 0);
                path.pop();
                return Ok(());
            }
            let id = match byte >> 4 {
                0 => {
                    i16::try_from(unzigzag(self.read_varint()?)).map_err(|_| "a header has a field without a number")?
                }
                step => path[last].saturating_add(i16::from(step)),
            };
            path[last] = id;
            self.walk_value(byte & 0x0F, path, visit)?;
        }
    }

    fn walk_value(&mut self, kind: u8, path: &mut Vec<i16>, visit: &mut Visit<'_>) -> Result<(), String> {
        match kind {
            // A boolean's value is its type.
            1 | 2 => Ok(()),
            3 => self.skip(1),
            4..=6 => {
                let value = unzigzag(self.read_varint()?);
                visit(path, value);
                Ok(())
            }
            7 => self.skip(8),
            8 => {
                let n_bytes = self.read_varint()?;
                self.skip(n_bytes)
            }
            9 | 10 => self.walk_list(path, visit),
            12 => self.walk_struct(path, visit),
            _ => Err(format!("a header has a field of an unknown type {kind}")),
        }
    }

    fn walk_list(&mut self, path: &mut Vec<i16>, visit: &mut Visit<'_>) -> Result<(), String> {
        let byte = self.read_byte()?;
        let n_items = if byte >> 4 == 15 { self.read_varint()? } else { u64::from(byte >> 4) };
        if n_items > self.end - self.at {
            return Err("a header has a list longer than the file".to_owned());
        }
        // Lists of lists do not occur, so that only structs make a header deep.
        match byte & 0x0F {
            9..=11 => Err("a header has a list of lists".to_owned()),
            1..=3 => self.skip(n_items),
            kind => (0..n_items).try_for_each(|_| self.walk_value(kind, path, visit)),
        }
    }

    fn read_varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.read_byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a header has a number longer than 64 bits".to_owned())
    }

    fn read_byte(&mut self) -> Result<u8, String> {
        if self.at >= self.end {
            return Err("a header has no end".to_owned());
        }
        if !(self.window_at..self.window_at + self.window.len() as u64).contains(&self.at) {
            let n_bytes = (self.end - self.at).min(WINDOW_BYTES);
            let reader = self.file.get_read(self.at).map_err(|error| error.to_string())?;
            self.window.clear();
            reader.take(n_bytes).read_to_end(&mut self.window).map_err(|error: io::Error| error.to_string())?;
            self.window_at = self.at;
        }
        let byte = self.window.get((self.at - self.window_at) as usize).ok_or("the file ends inside a header")?;
        self.at += 1;
        Ok(*byte)
    }

    fn skip(&mut self, n_bytes: u64) -> Result<(), String> {
        self.at = self.at.checked_add(n_bytes).filter(|&at| at <= self.end).ok_or("a header has no end")?;
        Ok(())
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
