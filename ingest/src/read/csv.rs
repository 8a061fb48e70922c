//! Values parted by commas (RFC 4180), each record a row with the names of the columns as fields; all values are texts.
//!
//! Where a record ends is found here, since a quote that is never closed would make the rest of the file one value: a record
//! that is too long is passed over without being held. What stands in it is for the `csv` crate to read. A row with more or
//! fewer values than there are columns is a bad record.

use std::io::{self, BufRead, BufReader};

use ::csv::{ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use super::Payload;
use super::layers::Members;

/// A file while it is cut.
pub(super) struct Rows {
    pub(super) reader: BufReader<Members>,
    /// Rows, the one with the names not counted.
    pub(super) n_rows: u64,
    columns: Option<Vec<String>>,
}

enum Line {
    Bytes(Vec<u8>),
    TooLong,
    End,
}

impl Rows {
    /// `columns` names the columns of a file that does not begin with their names.
    pub(super) fn new(members: Members, columns: Option<&[String]>) -> Self {
        let reader = BufReader::with_capacity(1 << 18, members);
        Self { reader, n_rows: 0, columns: columns.map(<[String]>::to_vec) }
    }

    /// The next row; nothing at the end. Blank lines are passed over.
    pub(super) fn next_row(&mut self, n_bytes_max: usize) -> io::Result<Option<Result<Payload, String>>> {
        loop {
            let bytes = match read_line(&mut self.reader, n_bytes_max)? {
                Line::End => return Ok(None),
                Line::TooLong => {
                    self.n_rows += 1;
                    return Ok(Some(Err(format!("is longer than {n_bytes_max} bytes"))));
                }
                Line::Bytes(bytes) if bytes.trim_ascii().is_empty() => continue,
                Line::Bytes(bytes) => bytes,
            };
            let values = parse(&bytes);
            let Some(columns) = &self.columns else {
                match values {
                    Ok(names) => self.columns = Some(names.iter().map(|name| name.trim().to_owned()).collect()),
                    Err(what) => {
                        self.n_rows += 1;
                        return Ok(Some(Err(what)));
                    }
                }
                continue;
            };
            self.n_rows += 1;
            return Ok(Some(values.and_then(|values| row(columns, &values))));
        }
    }
}

fn row(columns: &[String], values: &StringRecord) -> Result<Payload, String> {
    if values.len() != columns.len() {
        return Err(format!("has {} values for {} columns", values.len(), columns.len()));
    }
    let fields = columns.iter().zip(values).map(|(name, value)| (name.clone(), Value::from(value)));
    Ok(Payload::Row(Value::Object(fields.collect::<Map<_, _>>())))
}

fn parse(line: &[u8]) -> Result<StringRecord, String> {
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    let mut record = StringRecord::new();
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line);
    match reader.read_record(&mut record) {
        Ok(_) => Ok(record),
        Err(_) => Err("is not UTF-8".to_owned()),
    }
}

/// Reads up to the next line end that is not within quotes.
fn read_line(reader: &mut dyn BufRead, n_bytes_max: usize) -> io::Result<Line> {
    let (mut line, mut is_quoted, mut is_too_long, mut is_begun) = (Vec::new(), false, false, false);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(match (is_begun, is_too_long) {
                (false, _) => Line::End,
                (true, true) => Line::TooLong,
                (true, false) => Line::Bytes(line),
            });
        }
        is_begun = true;
        // A quote within quotes is written twice, which opens and closes.
        let end = buffer.iter().position(|&byte| {
            is_quoted ^= byte == b'"';
            byte == b'\n' && !is_quoted
        });
        let n_bytes = end.map_or(buffer.len(), |at| at + 1);
        is_too_long |= line.len() + n_bytes > n_bytes_max;
        if is_too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(&buffer[..n_bytes]);
        }
        reader.consume(n_bytes);
        if end.is_some() {
            return Ok(if is_too_long { Line::TooLong } else { Line::Bytes(line) });
        }
    }
}
