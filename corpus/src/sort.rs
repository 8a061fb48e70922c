//! Sorting more rows than memory holds.
//!
//! Everything that compares documents of the whole corpus (exact keys, bands of sketches, pairs, repeated lines) is a sort, and
//! so is everything that puts them in another order (what a stage reads, which row it goes to): rows of a few 64-bit numbers
//! go in, and come out in order, each different row once. Rows gather in a buffer of a fixed size; a full buffer is sorted on all
//! cores and written away as a run; at the end the runs are merged with one small read buffer each. Costs O(n log n) comparisons
//! and, beyond one buffer, one write and one read of every row, without its leading zeros.
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
    runs: Vec<Run<N>>,
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
        for (index, run) in self.runs.into_iter().enumerate() {
            let mut rows = run.into_rows(n_block_rows)?;
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
        self.runs.push(Run::write(PathBuf::from(path), &self.rows)?);
        self.rows.clear();
        Ok(())
    }
}

/// Sorted rows.
pub struct Sorted<const N: usize>(Order<N>);

enum Order<const N: usize> {
    InMemory(std::vec::IntoIter<Row<N>>),
    Merged { heads: BinaryHeap<Reverse<(Row<N>, usize)>>, runs: Vec<RunRows<N>>, last: Option<Row<N>> },
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

/// Sorted rows in a file, which is removed with the value.
///
/// Of every row: the numbers of bytes of its numbers, two to a byte, then the numbers without leading zeros, little-endian. Of the
/// first number it is the difference to that of the row before. Rows of a plan for 10^9 documents take half the disk this way.
struct Run<const N: usize> {
    path: PathBuf,
    n_rows: usize,
}

impl<const N: usize> Run<N> {
    fn write(path: PathBuf, rows: &[Row<N>]) -> Result<Self, FileError> {
        let file = File::create(&path).map_err(|source| FileError::new("create", &path, source))?;
        let run = Self { path, n_rows: rows.len() };
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        let mut bytes = Vec::new();
        let mut last = 0;
        let mut write = |row: &Row<N>| {
            bytes.clear();
            encode(row, last, &mut bytes);
            last = row[0];
            writer.write_all(&bytes)
        };
        let wrote = rows.iter().try_for_each(&mut write).and_then(|()| writer.flush());
        wrote.map_err(|source| FileError::new("write", &run.path, source))?;
        Ok(run)
    }

    /// Reads all rows again, through a buffer of about `n_block_rows`.
    fn into_rows(self, n_block_rows: usize) -> Result<RunRows<N>, FileError> {
        let file = File::open(&self.path).map_err(|source| FileError::new("open", &self.path, source))?;
        let reader = BufReader::with_capacity(n_block_rows * size_of::<Row<N>>(), file);
        Ok(RunRows { n_left: self.n_rows, last: 0, reader, run: self })
    }
}

impl<const N: usize> Drop for Run<N> {
    fn drop(&mut self) {
        // What cannot be removed now goes with the work folder.
        drop(fs::remove_file(&self.path));
    }
}

/// The rows of a [`Run`], read once.
struct RunRows<const N: usize> {
    run: Run<N>,
    reader: BufReader<File>,
    last: u64,
    n_left: usize,
}

impl<const N: usize> RunRows<N> {
    fn next(&mut self) -> Result<Option<Row<N>>, FileError> {
        if self.n_left == 0 {
            return Ok(None);
        }
        self.n_left -= 1;
        let row = decode(&mut self.reader, self.last);
        let row = row.map_err(|source| FileError::new("read", &self.run.path, source))?;
        self.last = row[0];
        Ok(Some(row))
    }
}

/// Appends a row of a run; `last` is the first number of the row before.
fn encode<const N: usize>(row: &Row<N>, last: u64, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.resize(start + N.div_ceil(2), 0);
    for (index, value) in row.iter().enumerate() {
        let value = if index == 0 { value - last } else { *value };
        let n_bytes = 8 - value.leading_zeros() as usize / 8;
        bytes[start + index / 2] |= (n_bytes as u8) << (4 * (index % 2));
        bytes.extend_from_slice(&value.to_le_bytes()[..n_bytes]);
    }
}

/// Reads what [`encode`] wrote.
fn decode<const N: usize>(reader: &mut impl Read, last: u64) -> io::Result<Row<N>> {
    let mut n_bytes = [0_u8; N];
    reader.read_exact(&mut n_bytes[..N.div_ceil(2)])?;
    for index in (0..N).rev() {
        n_bytes[index] = n_bytes[index / 2] >> (4 * (index % 2)) & 15;
    }
    let mut row = [0; N];
    for (value, n_bytes) in row.iter_mut().zip(n_bytes) {
        let mut bytes = [0; 8];
        let room = bytes.get_mut(..usize::from(n_bytes)).ok_or(io::ErrorKind::InvalidData)?;
        reader.read_exact(room)?;
        *value = u64::from_le_bytes(bytes);
    }
    row[0] += last;
    Ok(row)
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
}

impl<const N: usize> Drop for Spool<N> {
    fn drop(&mut self) {
        // What cannot be removed now goes with the work folder.
        drop(fs::remove_file(&self.path));
    }
}

fn to_row<const N: usize>(bytes: &[u8]) -> Row<N> {
    let mut row = [0; N];
    for (value, bytes) in row.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *value = u64::from_le_bytes(*bytes);
    }
    row
}
