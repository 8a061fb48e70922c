//! `cargo xtask soak kills`: training is killed without warning at random moments, and started again by the same command, until
//! the run is done; again and again until there were kills enough. Every run must end with the bits of one that was left alone.
//!
//! The run is the one of the end-to-end tests with a checkpoint after every second step: three stages, two mask ramps; half of the kills fall
//! on the same run under a rule that finds spikes and goes back. Rows are made once. What is left of each run that went wrong stays
//! in `out/soak/kills/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::spikes::with_spikes;
use crate::tiny::{RUN, write_tiny_run};

/// What training reads.
const ROWS: [&str; 6] = ["documents", "dropped", "tokenizer", "tokens", "packed", "ledger"];

/// Kills until there were `n_kills`.
pub(crate) fn soak(root: &Path, n_kills: u32) -> anyhow::Result<()> {
    crate::cargo(root, &["build", "--workspace", "--bin", "moso"])?;
    let moso = crate::target_folder(root)?.join("debug/moso");
    let folder = root.join("out/soak/kills");
    drop(fs::remove_dir_all(&folder));
    write_tiny_run(root, &folder)?;
    // A copy: a build meanwhile must not change what is tested.
    let copy = folder.join("moso");
    fs::copy(&moso, &copy).with_context(|| format!("cannot copy {}", moso.display()))?;
    let bench = Bench { moso: copy, folder };
    let calm = RUN.replace("checkpoint_every = 6", "checkpoint_every = 2");
    fs::write(bench.folder.join("run.toml"), &calm)?;
    for stage in ["ingest", "tokenizer", "tokenize", "mix"] {
        ensure!(bench.start(stage, "made")?.wait()?.success(), "moso {stage} failed");
    }
    copy_rows(&bench.folder.join("made"), &bench.folder.join("rows"))?;
    for (name, run) in [("calm", calm.clone()), ("spikes", with_spikes(&calm))] {
        fs::write(bench.folder.join("run.toml"), run)?;
        bench.soak(name, n_kills.div_ceil(2))?;
    }
    Ok(())
}

/// What happened.
#[derive(Debug, Default)]
struct Counts {
    n_runs: u32,
    n_starts: u32,
    n_kills: u32,
    /// Kills before a run's first checkpoint counted.
    n_before_the_first: u32,
    /// Kills while a checkpoint was being written.
    n_while_writing: u32,
}

struct Bench {
    moso: PathBuf,
    folder: PathBuf,
}

impl Bench {
    fn start(&self, command: &str, out: &str) -> anyhow::Result<std::process::Child> {
        let mut moso = Process::new(&self.moso);
        moso.arg(command).arg(self.folder.join("run.toml")).arg("--out").arg(self.folder.join(out));
        moso.stderr(Stdio::null()).stdout(Stdio::null());
        moso.spawn().with_context(|| format!("cannot start {}", self.moso.display()))
    }

    /// Kills runs called `name` until there were `n_kills`.
    fn soak(&self, name: &str, n_kills: u32) -> anyhow::Result<()> {
        let whole = self.folder.join(format!("{name}-whole"));
        copy_rows(&self.folder.join("rows"), &whole)?;
        let start = Instant::now();
        ensure!(self.start("train", &format!("{name}-whole"))?.wait()?.success(), "training failed");
        let length = start.elapsed();
        let expected = outcome(&whole)?;
        println!("{name}: left alone, training takes {:.1} s", length.as_secs_f64());
        let mut counts = Counts::default();
        while counts.n_kills < n_kills {
            let out = format!("{name}-{}", counts.n_runs);
            copy_rows(&self.folder.join("rows"), &self.folder.join(&out))?;
            self.train_with_kills(&out, length, n_kills, &mut counts)?;
            let found = outcome(&self.folder.join(&out))?;
            ensure!(found == expected, "{} differs from the run that was left alone", self.folder.join(&out).display());
            fs::remove_dir_all(self.folder.join(&out))?;
            counts.n_runs += 1;
        }
        println!("{name}: {counts:?}: all runs ended with the same bits");
        Ok(())
    }

    /// Trains to the end, through kills.
    fn train_with_kills(&self, out: &str, length: Duration, n_max: u32, counts: &mut Counts) -> anyhow::Result<()> {
        loop {
            let mut child = self.start("train", out)?;
            counts.n_starts += 1;
            if counts.n_kills < n_max {
                std::thread::sleep(length.mul_f64(random_share(counts.n_starts)));
            }
            if counts.n_kills < n_max && child.try_wait()?.is_none() {
                child.kill()?;
                counts.n_kills += 1;
                child.wait()?;
                let (n_whole, n_partial) = checkpoints(&self.folder.join(out))?;
                counts.n_before_the_first += u32::from(n_whole == 0);
                counts.n_while_writing += u32::from(n_partial > 0);
                continue;
            }
            let status = child.wait()?;
            if !status.success() {
                bail!("{} did not go on: {status}", self.folder.join(out).display());
            }
            return Ok(());
        }
    }
}

/// A share of the run's length, the same at every soak (splitmix64).
fn random_share(number: u32) -> f64 {
    let mut bits = u64::from(number).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (bits ^ (bits >> 31)) as f64 / u64::MAX as f64
}

fn copy_rows(from: &Path, to: &Path) -> anyhow::Result<()> {
    for name in ROWS {
        let status = Process::new("mkdir").arg("-p").arg(to).status()?;
        ensure!(status.success(), "cannot make {}", to.display());
        let status = Process::new("cp").arg("-r").arg(from.join(name)).arg(to).status()?;
        ensure!(status.success(), "cannot copy {name}");
    }
    Ok(())
}

/// Checkpoints that count, and those that do not.
fn checkpoints(out: &Path) -> anyhow::Result<(usize, usize)> {
    let Ok(entries) = fs::read_dir(out.join("checkpoints")) else { return Ok((0, 0)) };
    let (mut n_whole, mut n_partial) = (0, 0);
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            let is_whole = path.join("manifest.json").exists();
            n_whole += usize::from(is_whole);
            n_partial += usize::from(!is_whole);
        }
    }
    Ok((n_whole, n_partial))
}

/// Hashes of the last checkpoint's files, and the loss of every step that was trained on or passed over, in the order of the log.
type Outcome = (BTreeMap<String, String>, Vec<(u64, String)>);

fn outcome(out: &Path) -> anyhow::Result<Outcome> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(out.join("checkpoints"))?.flatten().map(|entry| entry.path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    let manifest = folders.last().context("there is no checkpoint")?.join("manifest.json");
    let manifest: Value = serde_json::from_slice(&fs::read(manifest)?)?;
    let files = manifest["files"].as_array().context("the manifest names no files")?;
    let hashes = files.iter().map(|file| (file["path"].to_string(), file["blake3"].to_string())).collect();
    let mut losses = Vec::new();
    for line in fs::read_to_string(out.join("metrics.jsonl"))?.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["event"] == "step" || event["event"] == "skip" {
            losses.push((event["step"].as_u64().unwrap_or(0), event["loss"].to_string()));
        }
    }
    Ok((hashes, losses))
}
