//! `cargo xtask equality`: our tokenizer against tiktoken and `tokenizers`, token for token, on all files of the large corpus
//! and on ten million random strings. The work is done by `tokenize/examples/equality`, so that xtask itself needs no
//! stage.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// What is written on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Random strings
    #[arg(long, default_value_t = 10_000_000)]
    strings: u64,
    /// Which random strings
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folders whose files are compared too [default: out/large-corpus]
    folders: Vec<String>,
}

/// Builds the example and runs it.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let default = [root.join("out/large-corpus").display().to_string()];
    let folders = if arguments.folders.is_empty() { &default } else { &arguments.folders[..] };
    if let Some(missing) = folders.iter().find(|folder| !root.join(folder).exists()) {
        bail!("{missing} is not there: make the large corpus with `cargo xtask large-corpus`, or name other folders");
    }
    crate::cargo(root, &["build", "--package", "tokenize", "--example", "equality"])?;
    let status = Command::new(crate::target_folder(root)?.join("debug/examples/equality"))
        .args([arguments.seed.to_string(), arguments.strings.to_string()])
        .args(folders)
        .current_dir(root)
        .status()
        .context("cannot start the comparison")?;
    if !status.success() {
        bail!("the comparison stopped with {status}");
    }
    Ok(())
}
