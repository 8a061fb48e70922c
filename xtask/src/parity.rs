//! `cargo xtask parity`: the record that the trainer's tests compare with is what PyTorch computes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::peers::environment;

/// Runs the reference in the environment that the loader's and the trainer's rivals run in.
pub(crate) fn run(root: &Path, write: bool) -> anyhow::Result<()> {
    let folder = root.join("trainer/parity");
    let status = Command::new(environment(root, "loader")?)
        .arg(folder.join("reference.py"))
        .arg(if write { "write" } else { "check" })
        .arg(folder.join("record.safetensors"))
        .status()
        .context("cannot start Python")?;
    if !status.success() {
        bail!("the reference stopped with {status}");
    }
    Ok(())
}
