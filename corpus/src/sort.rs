//! Sorting more rows than memory holds.
//!
//! Everything that compares documents of the whole corpus (exact keys, bands of sketches, pairs, repeated lines) is a sort, and
//! so is everything that puts them in another order (what a stage reads, which row it goes to): rows of a few 64-bit numbers
//! go in, and come out in order, each different row once. Rows gather in a buffer of a fixed size; a full buffer is sorted on all cores and written away as a run; at the end the runs are merged with one small
//! read buffer each. Costs O(n log n) comparisons and, beyond one buffer, one write and one read of every row.
//!
//! Run files live in a work folder and are read back by the process that wrote them only, so they carry no checksum.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::files::FileError;

/// One row.
type Row<const N: usize> = [u64; N];

/// However little memory there is, a run holds so many rows, and a run is read in blocks of so many.
const RUN_ROWS_MIN: usize = 1 << 12;
const BLOCK_ROWS_MIN: usize = 1 << 8;
const BLOCK_ROWS_MAX: usize = 1 << 14;

/// Takes rows in any order.
pub struct Sorter<const N: usize> {
    path: PathBuf,
    rows: Vec<Row<N>>,
    n_rows_max: usize,
    runs: Vec<Spool<N>>,
}

impl<const N: usize> Sorter<N> {
    /// Rows beyond `n_bytes_max` are spilled to files beside `path`, whose names begin as it does.
    pub fn new(path: &Path, n_bytes_max: usize) -> Self {
        let n_rows_max = (n_bytes_max / size_of::<Row<N>>()).max(RUN_ROWS_MIN);
        Self { path: path.to_owned(), rows: Vec::new(), n_rows_max, runs: Vec::new() }
    }

    /// Takes a row.
    pub fn push(&mut self, row: Row<N>) -> Result<(), FileError> {
        if self.rows.len() == self.n_rows_max {
            self.spill()?;
        }
        if self.rows.len() == self.rows.capacity() {
            // Doubling past the limit would reserve what may not be used.
            let n_more = self.rows.len().max(RUN_ROWS_MIN).min(self.n_rows_max - self.rows.len());
            self.rows.reserve_exact(n_more);
        }
        self.rows.push(row);
        Ok(())
    }

    /// The rows in order, each once.
    pub fn finish(mut self) -> Result<Sorted<N>, FileError> {
        if self.runs.is_empty() {
            self.sort();
            return Ok(Sorted(Order::InMemory(self.rows.into_iter())));
        }
        self.spill()?;
        let n_block_rows = (self.n_rows_max / self.runs.len()).clamp(BLOCK_ROWS_MIN, BLOCK_ROWS_MAX);
        drop(std::mem::take(&mut self.rows));
        let mut heads = BinaryHeap::with_capacity(self.runs.len());
        let mut runs = Vec::with_capacity(self.runs.len());
        for (index, spool) in self.runs.into_iter().enumerate() {
            let mut rows = spool.into_rows(n_block_rows)?;
            if let Some(row) = rows.next()? {
                heads.push(Reverse((row, index)));
            }
            runs.push(rows);
        }
        Ok(Sorted(Order::Merged { heads, runs, last: None }))
    }

    fn sort(&mut self) {
        self.rows.par_sort_unstable();
        self.rows.dedup();
    }

    fn spill(&mut self) -> Result<(), FileError> {
        self.sort();
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{}", self.runs.len()));
        let mut spool = Spool::create(Path::new(&path))?;
        self.rows.iter().try_for_each(|&row| spool.push(row))?;
        spool.flush()?;
        self.runs.push(spool);
        self.rows.clear();
        Ok(())
    }
}

/// Sorted rows.
pub struct Sorted<const N: usize>(Order<N>);

enum Order<const N: usize> {
    InMemory(std::vec::IntoIter<Row<N>>),
    Merged { heads: BinaryHeap<Reverse<(Row<N>, usize)>>, runs: Vec<SpoolRows<N>>, last: Option<Row<N>> },
}

impl<const N: usize> Sorted<N> {
    /// The next row; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "a row may fail to be read")]
    pub fn next(&mut self) -> Result<Option<Row<N>>, FileError> {
        let Order::Merged { heads, runs, last } = &mut self.0 else {
            let Order::InMemory(rows) = &mut self.0 else { unreachable!("there are two orders") };
            return Ok(rows.next());
        };
        while let Some(Reverse((row, run))) = heads.pop() {
            if let Some(next) = runs[run].next()? {
                heads.push(Reverse((next, run)));
            }
            if *last != Some(row) {
                *last = Some(row);
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// Rows in a file, in the order in which they were written. The file is removed with the value.
pub struct Spool<const N: usize> {
    path: PathBuf,
    writer: BufWriter<File>,
    n_rows: u64,
}

impl<const N: usize> Spool<N> {
    /// Starts an empty file.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::new("create", path, source);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), writer: BufWriter::with_capacity(1 << 18, file), n_rows: 0 })
    }

    /// Appends a row.
    pub fn push(&mut self, row: Row<N>) -> Result<(), FileError> {
        self.n_rows += 1;
        let mut wrote = Ok(());
        for value in row {
            wrote = wrote.and_then(|()| self.writer.write_all(&value.to_le_bytes()));
        }
        wrote.map_err(|source| FileError::new("write", &self.path, source))
    }

    /// Rows so far.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Hands everything to the system, so that it can be read.
    pub fn flush(&mut self) -> Result<(), FileError> {
        self.writer.flush().map_err(|source| FileError::new("write", &self.path, source))
    }

    /// The rows from `start` to `end`. All must have been flushed.
    pub fn range(&self, start: u64, end: u64) -> Result<Vec<Row<N>>, FileError> {
        assert!(start <= end && end <= self.n_rows, "the rows are there");
        let failed = |source| FileError::new("read", &self.path, source);
        let mut file = File::open(&self.path).map_err(failed)?;
        let row_bytes = size_of::<Row<N>>() as u64;
        file.seek(SeekFrom::Start(start * row_bytes)).map_err(failed)?;
        let mut bytes = Vec::new();
        let n_bytes = (end - start) * row_bytes;
        file.take(n_bytes).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 != n_bytes {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes.chunks_exact(size_of::<Row<N>>()).map(to_row).collect())
    }

    /// Reads all rows again, `n_block_rows` at a time.
    pub fn into_rows(mut self, n_block_rows: usize) -> Result<SpoolRows<N>, FileError> {
        self.flush()?;
        let file = File::open(&self.path).map_err(|source| FileError::new("open", &self.path, source))?;
        let reader = BufReader::with_capacity(n_block_rows * size_of::<Row<N>>(), file);
        Ok(SpoolRows { n_left: self.n_rows, reader, spool: self })
    }
}

impl<const N: usize> Drop for Spool<N> {
    fn drop(&mut self) {
        // What cannot be removed now goes with the work folder.
        drop(fs::remove_file(&self.path));
    }
}

/// The rows of a [`Spool`], read once.
pub struct SpoolRows<const N: usize> {
    spool: Spool<N>,
    reader: BufReader<File>,
    n_left: u64,
}

impl<const N: usize> SpoolRows<N> {
    /// The next row; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "a row may fail to be read")]
    pub fn next(&mut self) -> Result<Option<Row<N>>, FileError> {
        if self.n_left == 0 {
            return Ok(None);
        }
        self.n_left -= 1;
        let mut row = [0; N];
        for value in &mut row {
            let mut bytes = [0; 8];
            let read = self.reader.read_exact(&mut bytes);
            read.map_err(|source| FileError::new("read", &self.spool.path, source))?;
            *value = u64::from_le_bytes(bytes);
        }
        Ok(Some(row))
    }
}

fn to_row<const N: usize>(bytes: &[u8]) -> Row<N> {
    let mut row = [0; N];
    for (value, bytes) in row.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *value = u64::from_le_bytes(*bytes);
    }
    row
}
