//! The folder of the tiny run: a slice of the demo corpus and `run.toml`. Shared with `cargo xtask soak kills`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Sources of the demo corpus and how many of their first records are taken.
const SOURCES: [(&str, usize); 6] = [
    ("web-en.jsonl", 80),
    ("laws-zh.jsonl", 40),
    ("preferences-en.jsonl", 40),
    ("preferences-zh.jsonl", 40),
    ("propositions-en.jsonl", 150),
    ("propositions-zh.jsonl", 150),
];

/// The run file.
pub(crate) const RUN: &str = include_str!("tiny.toml");

/// Writes `corpus/` and `run.toml`; `root` is the repository.
pub(crate) fn write_tiny_run(root: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder.join("corpus"))?;
    for (name, n_lines) in SOURCES {
        let whole = zstd::decode_all(&fs::read(root.join("demo-corpus").join(format!("{name}.zst")))?[..])?;
        let cut: Vec<u8> = whole.split_inclusive(|&byte| byte == b'\n').take(n_lines).flatten().copied().collect();
        write_zst(&folder.join("corpus").join(format!("{name}.zst")), &cut)?;
    }
    fs::write(folder.join("run.toml"), RUN)
}

/// Compresses `bytes` into a file.
pub(crate) fn write_zst(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
    encoder.write_all(bytes)?;
    fs::write(path, encoder.finish()?)
}
