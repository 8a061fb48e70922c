//! Sources as a stream of records: files found and sorted, decompressed on the fly, cut into lines, pieces or pages.
//!
//! A record is bytes with a locator, `RELATIVE_FILE:LINE` for JSON lines, `RELATIVE_FILE:INDEX` for the pieces of a
//! separated text (both from 1), the file alone where it is one document. Records come in batches so that work on one
//! can go on while the next is read; the batches are the same whatever reads them. Memory: one batch, of which one
//! record is at most `record_bytes_max`; a longer record is a bad one and is skipped without being held.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

use crate::config::{Reading, Source};

/// A batch is handed on once it holds so many bytes or records: enough to keep every core busy, little to wait for.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_RECORDS: usize = 2048;

/// `zstd --long=31` is the widest window there is, and real dumps use it.
const ZSTD_WINDOW_LOG_MAX: u32 = 31;

/// A source file that cannot be used.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The path of a source leads nowhere.
    #[error("source {name:?}: {} does not exist", path.display())]
    Missing {
        /// The source.
        name: String,
        /// Its path.
        path: PathBuf,
    },
    /// A folder without files.
    #[error("source {name:?}: {} holds no files", path.display())]
    Empty {
        /// The source.
        name: String,
        /// Its path.
        path: PathBuf,
    },
    /// A file name that cannot stand in a locator.
    #[error("{} is not a name in UTF-8", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// A link to a folder could lead back to the folder it is in.
    #[error("{} is a link to a folder, which is not followed", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The file ends before its compressed data does.
    #[error("{} is cut off: its compressed data has no end", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// The disk, or the decompressor.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// A file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Below the source's path, parts joined by `/`; a source that is one file has the file's name here.
    pub(crate) relative: String,
    pub(crate) path: PathBuf,
    pub(crate) n_bytes: u64,
}

/// A piece of a source file that should be one document, or two.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) locator: String,
    /// Its bytes, or why there are none.
    pub(crate) bytes: Result<Vec<u8>, String>,
}

/// The files of a source, sorted by their relative names.
pub(crate) fn list_files(source: &Source) -> Result<Vec<SourceFile>, ReadError> {
    let path = &source.path;
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ReadError::Missing { name: source.name.clone(), path: path.clone() });
        }
        Err(error) => return Err(io_error(path, error)),
    };
    let mut files = Vec::new();
    if metadata.is_dir() {
        list_folder(path, "", &mut files)?;
        files.sort_by(|left, right| left.relative.cmp(&right.relative));
    } else {
        let relative = utf8_name(path)?.to_owned();
        files.push(SourceFile { relative, path: path.clone(), n_bytes: metadata.len() });
    }
    if files.is_empty() {
        return Err(ReadError::Empty { name: source.name.clone(), path: path.clone() });
    }
    Ok(files)
}

fn list_folder(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> Result<(), ReadError> {
    let failed = |error| io_error(folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let relative = format!("{prefix}{}", utf8_name(&path)?);
        let metadata = fs::metadata(&path).map_err(|error| io_error(&path, error))?;
        if !metadata.is_dir() {
            files.push(SourceFile { relative, path, n_bytes: metadata.len() });
        } else if entry.file_type().map_err(failed)?.is_symlink() {
            return Err(ReadError::Link { path });
        } else {
            list_folder(&path, &format!("{relative}/"), files)?;
        }
    }
    Ok(())
}

fn utf8_name(path: &Path) -> Result<&str, ReadError> {
    path.file_name().and_then(|name| name.to_str()).ok_or_else(|| ReadError::Name { path: path.to_owned() })
}

fn io_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io { path: path.to_owned(), source }
}

/// What reading may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimits {
    pub(crate) record_bytes_max: usize,
}

impl Record {
    pub(crate) fn n_bytes(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }
}

/// Reads the records of a source's files, in order.
pub(crate) struct RecordReader<'a> {
    source: &'a Source,
    /// Files still to be read, the next one last.
    files: Vec<SourceFile>,
    open: Option<OpenFile<'a>>,
    record_bytes_max: usize,
    n_bytes_read: Arc<AtomicU64>,
    error: Option<ReadError>,
}

struct OpenFile<'a> {
    file: SourceFile,
    reader: Box<dyn BufRead + Send>,
    cut: Cut<'a>,
    n_records: u64,
}

/// Where one record ends and the next begins.
#[derive(Clone, Copy)]
enum Cut<'a> {
    Lines,
    Separator(&'a str),
    WholeFile,
}

impl<'a> RecordReader<'a> {
    pub(crate) fn new(
        source: &'a Source,
        mut files: Vec<SourceFile>,
        limits: ReadLimits,
        n_bytes_read: Arc<AtomicU64>,
    ) -> Self {
        files.reverse();
        Self { source, files, open: None, record_bytes_max: limits.record_bytes_max, n_bytes_read, error: None }
    }

    /// Passes over records that were read before.
    pub(crate) fn skip_records(&mut self, n: u64) -> Result<(), ReadError> {
        (0..n).try_for_each(|_| self.next_record().map(drop))
    }

    /// The next records; empty at the end. Records before an error are handed out before the error is.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<Record>, ReadError> {
        let mut batch = Vec::new();
        let mut n_bytes = 0;
        while n_bytes < BATCH_BYTES && batch.len() < BATCH_RECORDS && self.error.is_none() {
            match self.next_record() {
                Ok(Some(record)) => {
                    n_bytes += record.bytes.as_ref().map_or(0, Vec::len);
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

    fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            if self.open.is_none() {
                let Some(file) = self.files.pop() else { return Ok(None) };
                self.open = Some(open_file(self.source, file, &self.n_bytes_read)?);
            }
            let open = self.open.as_mut().expect("opened above");
            match read_record(open, self.record_bytes_max)? {
                Some(record) => return Ok(Some(record)),
                None => self.open = None,
            }
        }
    }
}

fn open_file<'a>(
    settings: &'a Source,
    file: SourceFile,
    n_bytes_read: &Arc<AtomicU64>,
) -> Result<OpenFile<'a>, ReadError> {
    let opened = File::open(&file.path).map_err(|error| io_error(&file.path, error))?;
    let counted = Counted { file: opened, n_bytes_read: Arc::clone(n_bytes_read) };
    let raw = BufReader::with_capacity(1 << 18, counted);
    let is_compressed = [".gz", ".zst"].iter().any(|ending| file.relative.ends_with(ending));
    if is_compressed && file.n_bytes == 0 {
        return Err(ReadError::Truncated { path: file.path });
    }
    let reader: Box<dyn BufRead + Send> = if file.relative.ends_with(".gz") {
        Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(raw)))
    } else if file.relative.ends_with(".zst") {
        let mut decoder = zstd::Decoder::with_buffer(raw).map_err(|error| io_error(&file.path, error))?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| io_error(&file.path, error))?;
        Box::new(BufReader::with_capacity(1 << 18, decoder))
    } else {
        Box::new(raw)
    };
    let cut = match &settings.reading {
        Reading::Jsonl { .. } => Cut::Lines,
        Reading::Text { separator: Some(separator) } => Cut::Separator(separator),
        Reading::Text { separator: None } | Reading::Html => Cut::WholeFile,
    };
    Ok(OpenFile { file, reader, cut, n_records: 0 })
}

/// The next record of a file. Empty lines and pieces are passed over, but counted.
fn read_record(open: &mut OpenFile<'_>, n_bytes_max: usize) -> Result<Option<Record>, ReadError> {
    let delimiter = match open.cut {
        Cut::Lines => &b"\n"[..],
        Cut::Separator(separator) => separator.as_bytes(),
        Cut::WholeFile => b"",
    };
    loop {
        let piece = match read_piece(&mut open.reader, delimiter, n_bytes_max) {
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(ReadError::Truncated { path: open.file.path.clone() });
            }
            Err(error) => return Err(io_error(&open.file.path, error)),
        };
        open.n_records += 1;
        let bytes = match piece {
            Piece::End => return Ok(None),
            Piece::TooLong => Err(format!("is longer than {n_bytes_max} bytes")),
            Piece::Bytes(bytes) if bytes.trim_ascii().is_empty() => continue,
            Piece::Bytes(bytes) => Ok(bytes),
        };
        let locator = match open.cut {
            Cut::WholeFile => open.file.relative.clone(),
            Cut::Lines | Cut::Separator(_) => format!("{}:{}", open.file.relative, open.n_records),
        };
        return Ok(Some(Record { locator, bytes }));
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// Without the delimiter.
    Bytes(Vec<u8>),
    TooLong,
    End,
}

/// Reads up to and over the next delimiter, or to the end where the delimiter is empty.
fn read_piece(reader: &mut dyn BufRead, delimiter: &[u8], n_bytes_max: usize) -> io::Result<Piece> {
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
        if is_cut || is_end {
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

/// Counts the bytes that leave the disk, for the progress bar.
struct Counted {
    file: File,
    n_bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.file.read(buffer)?;
        self.n_bytes_read.fetch_add(n_read as u64, Ordering::Relaxed);
        Ok(n_read)
    }
}
