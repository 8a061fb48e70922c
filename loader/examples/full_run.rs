//! Opens the rows of a whole pretraining run, and reads a first batch anywhere in them.
//!
//! `cargo run --example full_run -- N_ROWS CONTEXT`: the shards are as the mixer writes them, in size and layout, but hold zeros, which a
//! file system need not store: 152 million rows of 2,049 tokens, 1.25 TB, fit on any disk. One JSON object a line: a fresh loader each,
//! as after a restart, hashes verified as in training.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use corpus::{Count, FileEntry, Manifest, PackedWriter, Settings};
use loader::{Loader, LoaderSettings, Verify};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const SHARD_ROWS: u64 = 8192;

/// What a file system stores at a time.
const BLOCK: usize = 4096;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [n_rows, context] = &arguments[..] else { return Err("usage: full_run N_ROWS CONTEXT".into()) };
    let n_rows = Count::parse(n_rows).ok_or("a count such as 152M")?.0 / SHARD_ROWS * SHARD_ROWS;
    let context: usize = context.parse()?;
    let folder = std::env::temp_dir().join("moso-full-run");
    write_rows(&folder, n_rows, context)?;
    for verify in [Verify::Ahead, Verify::Never] {
        for percent in [0, 1, 37, 50, 99] {
            measure(&folder, n_rows * percent / 100, context, verify)?;
        }
    }
    Ok(fs::remove_dir_all(&folder)?)
}

fn measure(folder: &Path, first: u64, context: usize, verify: Verify) -> Outcome<()> {
    let start = Instant::now();
    let loader = Loader::open(&[folder.to_owned()], &LoaderSettings { context, verify, tokenizer: None })?;
    let opened = start.elapsed().as_secs_f64();
    let n_tokens: usize = loader.blocks(first, 16)?.iter().map(|block| block.as_ref().len()).sum();
    let segments = loader.segments(first)?;
    print_line(&json!({
        "rows": loader.n_rows(), "first_row": first, "verify": format!("{verify:?}"), "seconds_open": opened,
        "seconds_to_first_batch": start.elapsed().as_secs_f64(), "tokens": n_tokens, "segments": segments.len(),
    }));
    Ok(())
}

/// One real shard, and as many files like it as it takes; only blocks that are not all zeros are written.
fn write_rows(folder: &Path, n_rows: u64, context: usize) -> Outcome<()> {
    drop(fs::remove_dir_all(folder));
    let mut writer = PackedWriter::new(context);
    let zeros = vec![0; context + 1];
    (0..SHARD_ROWS).for_each(|_| writer.push(&zeros, Vec::new()));
    let real = writer.finish(folder, "part-00000.arrow")?;
    let bytes = fs::read(folder.join(&real.path))?;
    let stored: Vec<(usize, &[u8])> =
        bytes.chunks(BLOCK).enumerate().filter(|(_, block)| block.iter().any(|&byte| byte != 0)).collect();
    let mut files: Vec<FileEntry> = vec![real.clone()];
    for shard in 1..n_rows / SHARD_ROWS {
        let path = PathBuf::from(format!("part-{shard:05}.arrow"));
        let file = File::create(folder.join(&path))?;
        file.set_len(bytes.len() as u64)?;
        for (block, bytes) in &stored {
            file.write_all_at(bytes, (block * BLOCK) as u64)?;
        }
        files.push(FileEntry { path: path.display().to_string(), ..real.clone() });
    }
    let mut manifest = Manifest::new("mix", corpus::PACKED_FORMAT, &Settings::default()).with_files(files);
    manifest.details = json!({ "context": context, "packing": "concatenate" });
    manifest.commit(folder)?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn print_line(line: &serde_json::Value) {
    println!("{line}");
}
