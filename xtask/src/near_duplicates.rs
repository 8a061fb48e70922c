//! `cargo xtask near-duplicates`: near duplicates on the large corpus against a search that misses nothing, written up
//! in docs/near-duplicates.md. The work is done by `ingest/examples/near_duplicates`, so that xtask itself needs no
//! stage.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Builds the example and runs it; its page and figure go to docs/.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let corpus = root.join("out/large-corpus");
    if !corpus.is_dir() {
        bail!("{} is not there: make it with `cargo xtask large-corpus`", corpus.display());
    }
    crate::cargo(root, &["build", "--package", "ingest", "--example", "near_duplicates"])?;
    // What an earlier build of ingest decided would prove nothing.
    let scratch = root.join("out/near-duplicates");
    match fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", scratch.display()));
        }
        _ => {}
    }
    let status = Command::new(crate::target_folder(root)?.join("debug/examples/near_duplicates"))
        .args(["configs/large-corpus.toml", "ingest/examples/near_duplicates/settings.toml", "out/near-duplicates"])
        .args(["docs/near-duplicates.md", "docs/near-duplicates.svg"])
        .current_dir(root)
        .status()
        .context("cannot start the comparison")?;
    if !status.success() {
        bail!("the comparison stopped with {status}");
    }
    Ok(())
}
