//! Pieces of documents in the order of the rows that they go to: an external sort that carries their tokens along.
//!
//! Pieces come in the order of the documents and are kept, as bytes, in one buffer of a fixed size; a full buffer is written away
//! in the order of the rows, as a run; at the end the runs are merged, each read from its beginning to its end. Every token is
//! copied into the buffer once and, where memory does not hold all, written and read once, always in long strides.
//!
//! A piece in the buffer: row u64, row_start u32, n_loss u32 (`u32::MAX`: no list), n_tokens u32, doc_offset u32, name u32, id
//! 16 bytes, loss spans of two u32, tokens u32; little-endian. Runs are read back by the process that wrote them only.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use corpus::{DocId, FileError, Span};
use rayon::prelude::*;

/// A piece of a document and the place it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'t> {
    /// The row, counted over the whole stage.
    pub(crate) row: u64,
    /// First position in the row.
    pub(crate) row_start: u32,
    /// The document.
    pub(crate) id: DocId,
    /// The document's position that lies there.
    pub(crate) doc_offset: u32,
    /// Number of its language, source and kind in a list that the caller keeps.
    pub(crate) name: u32,
    /// Row positions that carry loss; `None` where all do.
    pub(crate) loss: Option<Vec<Span>>,
    /// Tokens as bytes, little-endian.
    pub(crate) tokens: &'t [u8],
}

/// Bytes before the loss spans.
const HEAD: usize = 8 + 4 * 5 + 16;

/// Runs that are open at a time.
const RUNS_MERGED: usize = if cfg!(test) { 3 } else { 256 };

/// However little memory there is, the buffer holds so much.
const BUFFER_MIN: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// Takes pieces in any order.
pub(crate) struct RowShuffle {
    path: PathBuf,
    n_bytes_max: usize,
    bytes: Vec<u8>,
    /// Row, row_start and where the piece lies in `bytes`.
    places: Vec<(u64, u32, usize)>,
    runs: Vec<Run>,
}

impl RowShuffle {
    /// What `n_bytes_max` does not hold is spilled to files beside `path`, whose names begin as it does.
    pub(crate) fn new(path: &Path, n_bytes_max: usize) -> Self {
        let n_bytes_max = n_bytes_max.max(BUFFER_MIN);
        Self { path: path.to_owned(), n_bytes_max, bytes: Vec::new(), places: Vec::new(), runs: Vec::new() }
    }

    /// Takes a piece whose tokens are `tokens`.
    pub(crate) fn push(&mut self, piece: &Piece<'_>, tokens: &[u32]) -> Result<(), FileError> {
        let loss = piece.loss.as_deref();
        let n_bytes = HEAD + 8 * loss.map_or(0, <[Span]>::len) + 4 * tokens.len();
        let n_used = self.bytes.len() + n_bytes + (self.places.len() + 1) * size_of::<(u64, u32, usize)>();
        if n_used > self.n_bytes_max && !self.places.is_empty() {
            self.spill()?;
        }
        self.make_room(n_bytes);
        self.places.push((piece.row, piece.row_start, self.bytes.len()));
        self.bytes.extend(piece.row.to_le_bytes());
        let n_loss = loss.map_or(u32::MAX, |loss| loss.len() as u32);
        for number in [piece.row_start, n_loss, tokens.len() as u32, piece.doc_offset, piece.name] {
            self.bytes.extend(number.to_le_bytes());
        }
        self.bytes.extend(piece.id.0);
        for span in loss.unwrap_or_default() {
            self.bytes.extend(span.start.to_le_bytes());
            self.bytes.extend(span.end.to_le_bytes());
        }
        let start = self.bytes.len();
        self.bytes.resize(start + 4 * tokens.len(), 0);
        let words = self.bytes[start..].as_chunks_mut::<4>().0;
        words.iter_mut().zip(tokens).for_each(|(word, token)| *word = token.to_le_bytes());
        Ok(())
    }

    /// Doubling past the limit would reserve what may not be used.
    fn make_room(&mut self, n_bytes: usize) {
        if self.bytes.capacity() - self.bytes.len() < n_bytes {
            let left = self.n_bytes_max.saturating_sub(self.bytes.len());
            self.bytes.reserve_exact(self.bytes.len().max(BUFFER_MIN).min(left).max(n_bytes));
        }
    }

    fn spill(&mut self) -> Result<(), FileError> {
        self.places.par_sort_unstable();
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{}", self.runs.len()));
        let pieces = self.places.iter().map(|&(_, _, at)| &self.bytes[at..at + n_bytes_at(&self.bytes[at..])]);
        self.runs.push(Run::of(path.into(), pieces)?);
        self.bytes.clear();
        self.places.clear();
        Ok(())
    }

    /// The pieces in order.
    pub(crate) fn finish(mut self) -> Result<Shuffled, FileError> {
        if self.runs.is_empty() {
            self.places.par_sort_unstable();
            return Ok(Shuffled(Source::Memory { bytes: self.bytes, places: self.places.into_iter() }));
        }
        self.spill()?;
        drop((std::mem::take(&mut self.bytes), std::mem::take(&mut self.places)));
        let mut runs = std::mem::take(&mut self.runs);
        // A process may have only so many files open: many runs become fewer, longer ones first.
        let mut n_merged = 0;
        while runs.len() > RUNS_MERGED {
            let rest = runs.split_off(RUNS_MERGED);
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".merged-{n_merged}"));
            let merged = merge(runs, self.n_bytes_max)?.write(path.into())?;
            runs = rest;
            runs.push(merged);
            n_merged += 1;
        }
        merge(runs, self.n_bytes_max)
    }
}

/// All runs in order, each read through a buffer of its part of the memory.
fn merge(runs: Vec<Run>, n_bytes_max: usize) -> Result<Shuffled, FileError> {
    let n_buffer = (n_bytes_max / runs.len()).clamp(1 << 14, 1 << 22);
    let mut heads = BinaryHeap::new();
    let mut readers = Vec::new();
    for (index, run) in runs.into_iter().enumerate() {
        let mut reader = RunReader::open(run, n_buffer)?;
        if let Some(place) = reader.advance()? {
            heads.push(Reverse((place, index)));
        }
        readers.push(reader);
    }
    Ok(Shuffled(Source::Runs { heads, runs: readers, current: None }))
}

/// Bytes of the piece that `bytes` begins with.
fn n_bytes_at(bytes: &[u8]) -> usize {
    let n_loss = Some(word(bytes, 12)).filter(|&n| n != u32::MAX).unwrap_or(0);
    HEAD + 8 * n_loss as usize + 4 * word(bytes, 16) as usize
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn place(bytes: &[u8]) -> (u64, u32) {
    (u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")), word(bytes, 8))
}

fn piece(bytes: &[u8]) -> Piece<'_> {
    let (row, row_start) = place(bytes);
    let tokens_at = n_bytes_at(bytes) - 4 * word(bytes, 16) as usize;
    let spans = bytes[HEAD..tokens_at].as_chunks::<8>().0.iter();
    let spans = spans.map(|span| Span { start: word(span, 0), end: word(span, 4) });
    Piece {
        row,
        row_start,
        id: DocId(bytes[28..44].try_into().expect("sixteen bytes")),
        doc_offset: word(bytes, 20),
        name: word(bytes, 24),
        loss: (word(bytes, 12) != u32::MAX).then(|| spans.collect()),
        tokens: &bytes[tokens_at..n_bytes_at(bytes)],
    }
}

/// Pieces in order.
pub(crate) struct Shuffled(Source);

enum Source {
    Memory { bytes: Vec<u8>, places: std::vec::IntoIter<(u64, u32, usize)> },
    Runs { heads: BinaryHeap<Reverse<((u64, u32), usize)>>, runs: Vec<RunReader>, current: Option<usize> },
}

impl Shuffled {
    /// Writes what is still to come as one run.
    fn write(mut self, path: PathBuf) -> Result<Run, FileError> {
        let run = Run { path };
        let failed = |source| FileError::new("write", &run.path, source);
        let mut writer = BufWriter::with_capacity(1 << 18, File::create(&run.path).map_err(failed)?);
        while let Some(bytes) = self.next_bytes()? {
            writer.write_all(bytes).map_err(failed)?;
        }
        writer.flush().map_err(failed)?;
        Ok(run)
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece<'_>>, FileError> {
        Ok(self.next_bytes()?.map(piece))
    }

    fn next_bytes(&mut self) -> Result<Option<&[u8]>, FileError> {
        match &mut self.0 {
            Source::Memory { bytes, places } => {
                Ok(places.next().map(|(_, _, at)| &bytes[at..at + n_bytes_at(&bytes[at..])]))
            }
            Source::Runs { heads, runs, current } => {
                if let Some(last) = current.take()
                    && let Some(place) = runs[last].advance()?
                {
                    heads.push(Reverse((place, last)));
                }
                let Some(Reverse((_, index))) = heads.pop() else { return Ok(None) };
                *current = Some(index);
                Ok(Some(&runs[index].bytes))
            }
        }
    }
}

/// A file of pieces in order, removed with the value.
struct Run {
    path: PathBuf,
}

impl Run {
    fn of<'a>(path: PathBuf, mut pieces: impl Iterator<Item = &'a [u8]>) -> Result<Self, FileError> {
        let run = Self { path };
        let failed = |source| FileError::new("write", &run.path, source);
        let mut writer = BufWriter::with_capacity(1 << 18, File::create(&run.path).map_err(failed)?);
        pieces.try_for_each(|piece| writer.write_all(piece)).and_then(|()| writer.flush()).map_err(failed)?;
        Ok(run)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // What cannot be removed now goes with the work folder.
        drop(fs::remove_file(&self.path));
    }
}

struct RunReader {
    run: Run,
    reader: BufReader<File>,
    /// The piece it stands at.
    bytes: Vec<u8>,
}

impl RunReader {
    fn open(run: Run, n_buffer: usize) -> Result<Self, FileError> {
        let file = File::open(&run.path).map_err(|source| FileError::new("open", &run.path, source))?;
        Ok(Self { run, reader: BufReader::with_capacity(n_buffer, file), bytes: Vec::new() })
    }

    /// Reads the next piece and gives its place; `None` at the end.
    fn advance(&mut self) -> Result<Option<(u64, u32)>, FileError> {
        let failed = |source| FileError::new("read", &self.run.path, source);
        self.bytes.resize(HEAD, 0);
        let n_first = self.reader.read(&mut self.bytes[..1]).map_err(failed)?;
        if n_first == 0 {
            return Ok(None);
        }
        self.reader.read_exact(&mut self.bytes[1..HEAD]).map_err(failed)?;
        let n_bytes = n_bytes_at(&self.bytes);
        self.bytes.resize(n_bytes, 0);
        self.reader.read_exact(&mut self.bytes[HEAD..]).map_err(failed)?;
        Ok(Some(place(&self.bytes)))
    }
}
