//! Our side of `cargo xtask peers loader`: one task in a fresh process, times, memory and counts as one line of JSON.
//!
//! `load TASK FOLDER SCRATCH`, where FOLDER holds packed rows. A batch is the next rows in order as an int32 tensor over
//! the mapped file. It is taken when each of its tokens has been copied into a tensor that is used again and again, as a
//! batch is staged for a GPU.
//!
//! ```text
//! tokens-cold       takes all batches, from opening the folder on
//! tokens-warm       takes all batches a second time
//! tokens-untouched  makes all batches a second time and takes none
//! first-batch       opens the folder and takes one batch at 61.8 % of the rows
//! resume, resume-1, resume-50  the same at 99, 1 and 50 %, after reading all files once
//! memory, memory-anonymous     takes all batches
//! rows              measures nothing: packs SCRATCH/tokens-moso.bin as FOLDER, and beside it as memmap/rows.bin
//! ```
#![expect(clippy::print_stdout, reason = "the result is read from there")]

mod process;

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use corpus::{DocId, FileEntry, Kind, Manifest, PackedWriter, Segment, Settings};
use loader::{Loader, LoaderSettings, Verify};
use serde_json::{Value, json};
use tch::{Kind as Scalar, Tensor};
use torch_ext::rows_tensor;

use process::{cpu_time, field, memory_mib};

/// Tokens that a row predicts.
const CONTEXT: usize = 2048;

const BATCH_ROWS: u64 = 16;

/// 1.07 GB of tokens.
const N_ROWS: usize = 131_072;

/// Of a file, as the mixer writes them.
const SHARD_ROWS: usize = 8192;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, folder, scratch] = &arguments[..] else {
        return Err("usage: load TASK FOLDER SCRATCH".into());
    };
    let folder = Path::new(folder);
    tch::set_num_threads(1);
    let result = match &task[..] {
        "rows" => make_rows(folder, &Path::new(scratch).join("tokens-moso.bin"))?,
        "tokens-warm" | "tokens-untouched" => second_pass(folder, task == "tokens-warm")?,
        "tokens-cold" | "memory" | "memory-anonymous" => first_pass(folder)?,
        "first-batch" => first_batch(folder, 61.8)?,
        "resume" => resume(folder, 99.0)?,
        "resume-1" => resume(folder, 1.0)?,
        "resume-50" => resume(folder, 50.0)?,
        _ => return Err(format!("there is no task {task}").into()),
    };
    println!("{result}");
    Ok(())
}

/// As for training: every shard is hashed before one of its rows is handed out.
fn open_verifying(folder: &Path) -> Outcome<Loader> {
    Ok(Loader::open(&[folder.to_owned()], &LoaderSettings::of_context(CONTEXT))?)
}

/// As the others do it: for rates, since prefetching hashes beside training and no other system hashes at all.
fn open(folder: &Path) -> Outcome<Loader> {
    let settings = LoaderSettings { context: CONTEXT, verify: Verify::Never, tokenizer: None };
    Ok(Loader::open(&[folder.to_owned()], &settings)?)
}

fn first_pass(folder: &Path) -> Outcome<Value> {
    let clock = Clock::start();
    let loader = open(folder)?;
    let mut staging = Staging::default();
    for_all_batches(&loader, |batch| staging.take(batch))?;
    Ok(clock.report(loader.n_rows()))
}

fn second_pass(folder: &Path, is_taken: bool) -> Outcome<Value> {
    let loader = open(folder)?;
    let mut staging = Staging::default();
    for_all_batches(&loader, |batch| staging.take(batch))?;
    let clock = Clock::start();
    match is_taken {
        true => for_all_batches(&loader, |batch| staging.take(batch))?,
        false => for_all_batches(&loader, |_| ())?,
    }
    Ok(clock.report(loader.n_rows()))
}

/// The pages were in memory a moment ago: a page that has not been used since may be gone before the process starts.
fn resume(folder: &Path, percent: f64) -> Outcome<Value> {
    for entry in fs::read_dir(folder)? {
        io::copy(&mut File::open(entry?.path())?, &mut io::sink())?;
    }
    first_batch(folder, percent)
}

fn first_batch(folder: &Path, percent: f64) -> Outcome<Value> {
    let row = (N_ROWS as f64 * percent / 100.0) as u64 / BATCH_ROWS * BATCH_ROWS;
    let mut staging = Staging::default();
    let clock = Clock::start();
    let loader = open_verifying(folder)?;
    staging.take(&batch(&loader, row)?);
    Ok(clock.report(BATCH_ROWS))
}

fn for_all_batches(loader: &Loader, mut action: impl FnMut(&Tensor)) -> Outcome<()> {
    for row in (0..loader.n_rows()).step_by(BATCH_ROWS as usize) {
        action(&batch(loader, row)?);
    }
    Ok(())
}

/// The rows from `row` on, `(n_rows, CONTEXT + 1)`.
fn batch(loader: &Loader, row: u64) -> Outcome<Tensor> {
    let blocks = loader.blocks(row, BATCH_ROWS.min(loader.n_rows() - row))?;
    let mut tensors = Vec::with_capacity(blocks.len());
    for block in blocks {
        let n_rows = block.n_rows();
        tensors.push(rows_tensor(block, n_rows)?);
    }
    match tensors.len() {
        1 => Ok(tensors.remove(0)),
        // Where two files meet.
        _ => Ok(Tensor::f_cat(&tensors, 0)?),
    }
}

/// Where batches are copied to.
#[derive(Default)]
struct Staging(Option<Tensor>);

impl Staging {
    fn take(&mut self, batch: &Tensor) {
        match &mut self.0 {
            Some(buffer) if buffer.size() == batch.size() => buffer.copy_(batch),
            buffer => *buffer = Some(batch.copy()),
        }
    }
}

/// Counts from its start.
struct Clock {
    wall: Instant,
    cpu: Duration,
    n_bytes_read: f64,
}

impl Clock {
    fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu_time(), n_bytes_read: bytes_read() }
    }

    fn report(&self, n_rows: u64) -> Value {
        let (wall, cpu) = (self.wall.elapsed(), cpu_time() - self.cpu);
        json!({
            "n_documents": n_rows,
            "n_bytes": n_rows as usize * (CONTEXT + 1) * 4,
            "cpu_seconds": cpu.as_secs_f64(),
            "wall_seconds": wall.as_secs_f64(),
            "megabytes_read": (bytes_read() - self.n_bytes_read) / 1e6,
            "peak_mib": memory_mib("VmHWM:"),
            "anonymous_mib": memory_mib("RssAnon:"),
            "version": env!("CARGO_PKG_VERSION"),
            "remark": "int32 over the mapped file",
        })
    }
}

/// What the process had from the disk, in bytes; 0 where the system does not say.
fn bytes_read() -> f64 {
    field("/proc/self/io", "read_bytes:")
}

/// Packs the documents of a token file, again and again until there are rows enough.
fn make_rows(folder: &Path, tokens: &Path) -> Outcome<Value> {
    let documents = read_documents(tokens)?;
    let plain = folder.with_file_name("memmap");
    for folder in [folder, &plain] {
        fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    }
    let mut plain = BufWriter::new(File::create(plain.join("rows.bin"))?);
    let files = write_rows(&documents, folder, &mut plain)?;
    plain.flush()?;
    Manifest::new("mix", 1, &Settings::default()).with_files(files).commit(folder)?;
    let tokens = documents.iter().flatten().cycle().take(N_ROWS * (CONTEXT + 1));
    let (mut found, expected) = (0, tokens.map(|&token| i64::from(token)).sum::<i64>());
    for_all_batches(&open(folder)?, |batch| found += batch.sum(Scalar::Int64).int64_value(&[]))?;
    assert_eq!(found, expected, "the ids of all batches must add up to those of the rows");
    Ok(json!({}))
}

fn write_rows(documents: &[Vec<u32>], folder: &Path, plain: &mut impl Write) -> Outcome<Vec<FileEntry>> {
    let (mut files, mut writer) = (Vec::new(), PackedWriter::new(CONTEXT));
    let (mut row, mut segments) = (Vec::new(), Vec::new());
    for (index, document) in documents.iter().enumerate().cycle() {
        let mut rest = &document[..];
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(rest.len().min(CONTEXT + 1 - row.len()));
            segments.push(segment(index, document.len() - rest.len(), row.len(), piece.len())?);
            row.extend_from_slice(piece);
            rest = left;
            if row.len() <= CONTEXT {
                continue;
            }
            for token in &row {
                plain.write_all(&token.to_le_bytes())?;
            }
            writer.push(&row, std::mem::take(&mut segments));
            row.clear();
            if writer.n_rows() == SHARD_ROWS {
                let full = std::mem::replace(&mut writer, PackedWriter::new(CONTEXT));
                files.push(full.finish(folder, &format!("part-{:05}.arrow", files.len()))?);
            }
            if files.len() * SHARD_ROWS == N_ROWS {
                return Ok(files);
            }
        }
    }
    Err("there are no documents to pack".into())
}

fn segment(index: usize, doc_offset: usize, row_start: usize, len: usize) -> Outcome<Segment> {
    Ok(Segment {
        doc: DocId::new("peers", &index.to_string()),
        row_start: row_start.try_into()?,
        len: len.try_into()?,
        doc_offset: doc_offset.try_into()?,
        loss: None,
        source: "peers".into(),
        lang: "en".into(),
        kind: Kind::Plain,
    })
}

/// Reads a file of `u32`, little-endian: for each document the number of its tokens and their ids. Leaves out the empty.
fn read_documents(path: &Path) -> Outcome<Vec<Vec<u32>>> {
    let bytes = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let mut numbers = numbers.iter().map(|number| u32::from_le_bytes(*number));
    let mut documents = Vec::new();
    while let Some(n_tokens) = numbers.next() {
        documents.push(numbers.by_ref().take(n_tokens as usize).collect());
    }
    documents.retain(|document: &Vec<u32>| !document.is_empty());
    Ok(documents)
}
