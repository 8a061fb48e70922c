//! Sources as a stream of records: files found and sorted, decompressed on the fly, cut into lines, pieces, pages,
//! captures or rows; then each record as the documents it holds.
//!
//! [`RecordReader`] does what must be done in order and is cheap; [`read_documents`] is a function of one record and does the
//! rest on any number of threads. A record has a locator: `RELATIVE_FILE:LINE` for JSON lines, `RELATIVE_FILE:INDEX` for
//! the pieces of a separated text, the pages of a dump, the records of an archive and the rows of a table (all from 1), the
//! file alone where it is one document. Records of a JSON file and rows of a CSV file are counted from 1, too.
//!
//! What cannot be read is a bad record with a locator and a reason, and reading goes on: with the next line, page, archive
//! record or row group where the damage leaves one, else with the next file. Only the disk's own failures are errors.
//!
//! Records come in batches so that work on one can go on while the next is read; the batches are the same whatever
//! reads them. Memory: one batch, of which one record is at most `record_bytes_max`; a longer record is a bad one and is
//! skipped without being held.

mod charset;
mod csv;
mod documents;
mod files;
mod http;
mod layers;
mod markdown;
mod mediawiki;
mod page_deltas;
mod page_headers;
mod parquet;
mod pieces;
mod tar;
mod values;
mod warc;
mod wiki_markup;
mod wikitext;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use corpus::{ByteSize, Count, Share};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::documents::{Bad, Found, read_documents};
pub use self::files::ReadError;
pub(crate) use self::files::{SourceFile, list_files};
pub(crate) use self::parquet::is_guarded;
#[cfg(test)]
pub(crate) use self::{
    charset::{CharsetError, decode_page, decode_text},
    markdown::clean_markdown,
    wikitext::wikitext_to_text,
};

use self::files::{Origin, io_error, open};
use self::layers::{Fault, Members};
use self::mediawiki::{Dump, Site};
use self::pieces::Pieces;
use self::tar::Untar;
use self::values::Values;
use self::warc::{Archive, Capture};
use crate::source::{FieldsFormat, Reading, Source};

/// A batch is handed on once it holds so many bytes or records: enough to keep every core busy, little to wait for.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_RECORDS: usize = 2048;

/// `[ingest.reading]`: what reading puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadLimits {
    /// Bytes of the longest record that is held: a line, a page, a body as it was crawled and as it unpacks, a row.
    pub record_bytes_max: Count,
    /// A file that unpacks to more than so many times its size (and 16 MiB) is a decompression bomb.
    pub expansion_max: Count,
    /// The widest window of a Zstandard file, all of which the decoder holds: 128 MiB is what the tool itself takes without being
    /// asked; dumps made with `--long=31` need 2 GiB.
    pub zstd_window_max: ByteSize,
    /// Share of a page's or text's characters that may be damaged, each replaced by U+FFFD.
    pub damaged_chars_max: Share,
}

/// A piece of a source file that should be one document, or two, or none.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) locator: String,
    /// What it holds, or why nothing can be had.
    pub(crate) content: Result<Payload, String>,
}

impl Record {
    /// Bytes that it holds.
    pub(crate) fn n_bytes(&self) -> usize {
        self.content.as_ref().map_or(0, Payload::n_bytes)
    }
}

/// A record before it is decoded.
#[derive(Debug, PartialEq)]
pub(crate) enum Payload {
    /// A line, a piece or a file.
    Bytes(Vec<u8>),
    /// A row of a table.
    Row(Value),
    /// A text out of a crawl archive.
    Capture(Box<Capture>),
    /// A `<page>` of a MediaWiki dump, and what the dump says of its wiki.
    Page(Vec<u8>, Arc<Site>),
}

impl Payload {
    fn n_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) | Self::Page(bytes, _) => bytes.len(),
            Self::Capture(capture) => capture.body.len(),
            Self::Row(row) => parquet::n_bytes(row),
        }
    }
}

/// Reads the records of one source's files, or of some of them, in order.
pub(crate) struct RecordReader<'a> {
    source: &'a Source,
    limits: ReadLimits,
    /// Files still to be read, the next one last.
    files: Vec<SourceFile>,
    open: Option<OpenFile<'a>>,
    n_bytes_read: Arc<AtomicU64>,
    error: Option<ReadError>,
}

struct OpenFile<'a> {
    file: SourceFile,
    cut: Cut<'a>,
}

/// Where one record ends and the next begins.
enum Cut<'a> {
    Pieces(Box<Pieces<'a>>),
    Dump(Box<Dump>),
    Archive(Box<Archive>),
    Table(Box<parquet::Table>),
    Values(Box<Values>),
    Rows(Box<csv::Rows>),
    /// Nothing is left that could be read.
    End,
}

/// One step through a file: what a record holds, or what is wrong with it, and its number.
type Numbered = (Option<u64>, Result<Payload, String>);

impl<'a> RecordReader<'a> {
    /// `files` are those of `source`, or a part of them; `n_bytes_read` counts their bytes as they leave the disk.
    pub(crate) fn new(
        source: &'a Source,
        files: Vec<SourceFile>,
        limits: ReadLimits,
        n_bytes_read: Arc<AtomicU64>,
    ) -> Self {
        let files = files.into_iter().rev().collect();
        Self { source, limits, files, open: None, n_bytes_read, error: None }
    }

    /// Reads one file that lies in memory; for fuzzing and tests.
    pub(crate) fn of_memory(
        source: &'a Source,
        name: &str,
        bytes: Vec<u8>,
        limits: ReadLimits,
    ) -> Result<Self, ReadError> {
        let file = SourceFile { relative: name.to_owned(), path: name.into(), n_bytes: bytes.len() as u64 };
        let mut reader = Self::new(source, Vec::new(), limits, Arc::default());
        let origin = Origin::Memory(bytes.into());
        reader.open = Some(begin(source, file, origin, &limits, &reader.n_bytes_read)?);
        Ok(reader)
    }

    /// The next records; empty at the end. Records before an error are handed out before the error is.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<Record>, ReadError> {
        let mut batch = Vec::new();
        let mut n_bytes = 0;
        while n_bytes < BATCH_BYTES && batch.len() < BATCH_RECORDS && self.error.is_none() {
            match self.next_record() {
                Ok(Some(record)) => {
                    n_bytes += record.content.as_ref().map_or(0, Payload::n_bytes);
                    batch.push(record);
                }
                Ok(None) => break,
                Err(error) => self.error = Some(error),
            }
        }
        match self.error.take_if(|_| batch.is_empty()) {
            Some(error) => Err(error),
            None => Ok(batch),
        }
    }

    /// Passes over `n` records, bad ones among them; fewer where there are no more. Costs about as much as reading them, since
    /// only reading tells where a record ends.
    pub(crate) fn skip_records(&mut self, n: u64) -> Result<(), ReadError> {
        let mut n_left = n;
        while n_left > 0 {
            if let Some(OpenFile { cut: Cut::Table(table), .. }) = &mut self.open {
                n_left -= table.skip_rows(n_left);
            }
            if n_left > 0 && self.next_record()?.is_none() {
                return Ok(());
            }
            n_left = n_left.saturating_sub(1);
        }
        Ok(())
    }

    fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => {
                    let Some(file) = self.files.pop() else { return Ok(None) };
                    let origin = open(&file)?;
                    begin(self.source, file, origin, &self.limits, &self.n_bytes_read)?
                }
            };
            let next = open.cut.next(usize::try_from(self.limits.record_bytes_max.0).unwrap_or(usize::MAX / 2));
            let Some((number, content)) = next.map_err(|error| io_error(&open.file.path, error))? else { continue };
            let relative = &open.file.relative;
            let locator = number.map_or_else(|| relative.clone(), |number| format!("{relative}:{number}"));
            self.open = Some(open);
            return Ok(Some(Record { locator, content }));
        }
    }
}

fn begin<'a>(
    source: &'a Source,
    file: SourceFile,
    origin: Origin,
    limits: &ReadLimits,
    n_bytes_read: &Arc<AtomicU64>,
) -> Result<OpenFile<'a>, ReadError> {
    let delimiter = match &source.reading {
        Reading::Fields { format: FieldsFormat::Parquet, .. } => {
            let table = parquet::Table::open(origin, &source.reading, limits.expansion_max.0, Arc::clone(n_bytes_read));
            return Ok(OpenFile { file, cut: Cut::Table(Box::new(table)) });
        }
        Reading::Fields { .. } => &b"\n"[..],
        Reading::Text { separator: Some(separator) } => separator.as_bytes(),
        Reading::Text { separator: None } | Reading::Html | Reading::Markdown | Reading::Mediawiki | Reading::Warc => {
            b""
        }
    };
    let is_joined = source.reading != Reading::Warc;
    let members = Members::open(origin, &file.relative, is_joined, limits, Arc::clone(n_bytes_read));
    let members = members.map_err(|error| io_error(&file.path, error))?;
    let cut = match &source.reading {
        Reading::Warc => Cut::Archive(Box::new(Archive::new(members))),
        Reading::Mediawiki => Cut::Dump(Box::new(Dump::new(members))),
        Reading::Fields { format: FieldsFormat::Json, .. } => {
            Cut::Values(Box::new(Values::new(Untar::new(members, &file.relative))))
        }
        Reading::Fields { format: FieldsFormat::Csv { columns }, .. } => {
            Cut::Rows(Box::new(csv::Rows::new(members, columns.as_deref())))
        }
        _ => Cut::Pieces(Box::new(Pieces::new(members, delimiter))),
    };
    Ok(OpenFile { file, cut })
}

impl Cut<'_> {
    /// The next record of a file; nothing at its end.
    fn next(&mut self, n_bytes_max: usize) -> io::Result<Option<Numbered>> {
        let outcome = match self {
            Self::End => return Ok(None),
            Self::Table(table) => return Ok(table.next_row(n_bytes_max)),
            Self::Archive(archive) => {
                let next = archive.next_capture(n_bytes_max)?;
                return Ok(next.map(|capture| (Some(archive.n_records()), capture.map(Payload::Capture))));
            }
            Self::Pieces(pieces) => pieces.next_piece(n_bytes_max),
            Self::Dump(dump) => dump.next_page(n_bytes_max),
            Self::Values(values) => values.next_value(n_bytes_max),
            Self::Rows(rows) => rows.next_row(n_bytes_max),
        };
        let (members, number) = match self {
            Self::Pieces(pieces) => (pieces.reader.get_ref(), pieces.number()),
            Self::Dump(dump) => (dump.reader.get_ref(), Some(dump.n_pages)),
            // What is damaged is the record that was being read, which has no number yet.
            Self::Values(values) => {
                (values.reader.get_ref().members(), Some(values.n_values + u64::from(outcome.is_err())))
            }
            Self::Rows(rows) => (rows.reader.get_ref(), Some(rows.n_rows + u64::from(outcome.is_err()))),
            Self::Archive(_) | Self::Table(_) | Self::End => unreachable!("returned above"),
        };
        let is_whole = number.is_none();
        let content = match outcome {
            Ok(None) => return Ok(None),
            Ok(Some(content)) if is_whole => {
                *self = Self::End;
                content
            }
            Ok(Some(content)) => content,
            Err(error) => match members.fault(error) {
                Fault::Disk(error) => return Err(error),
                Fault::Damaged(what) | Fault::Hopeless(what) => {
                    *self = Self::End;
                    Err(what)
                }
            },
        };
        Ok(Some((number, content)))
    }
}
