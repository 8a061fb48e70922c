//! `cargo xtask study growth`: the same model from scratch and grown in many ways, on real text, at equal tokens and at equal FLOPs.
//!
//! Data are made once, from `demo-corpus/`; every arm reads the same rows in the same order, and a seed is that of the weights. Trainings run side by side, on
//! one thread each. What stands in `docs/growth/losses.csv` is done, here or elsewhere, and is not done again; what was interrupted goes on, so the study may be
//! stopped at any time.

mod arms;
mod outcome;
mod picture;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::json;

use self::arms::{Training, trainings};
use self::outcome::Record;

/// In the folder of a training: its key in the record.
const KEY: &str = "key";

/// The run file of the data.
const DATA: &str = "configs/study-growth.toml";

/// Trains what is not trained yet, and writes results and pictures of all that is.
pub(crate) fn growth(root: &Path, arms: &[String], seeds: &[u64], at_once: usize) -> anyhow::Result<()> {
    crate::cargo(root, &["build", "--workspace", "--bin", "moso"])?;
    crate::cargo(root, &["build", "--workspace", "--example", "study"])?;
    let debug = crate::target_folder(root)?.join("debug");
    let folder = root.join("out/study");
    fs::create_dir_all(&folder)?;
    // Copies: a build meanwhile must not change what is measured.
    let copied = |name: &str, program: &str| {
        let (program, copy) = (debug.join(program), folder.join(name));
        fs::copy(&program, &copy).with_context(|| format!("cannot copy {}", program.display())).map(|_| copy)
    };
    let (moso, program) = (copied("moso", "moso")?, copied("study", "examples/study")?);
    let all = trainings();
    for name in arms {
        ensure!(all.iter().any(|training| training.arm == name), "the study has no arm {name}");
    }
    make_data(root, &moso, &folder.join("data"))?;
    let study = Study { program, folder, record: Record::new(root, rows_of(&root.join("out/study"))?) };
    for training in &all {
        study.forget_others(training)?;
    }
    let is_named = |training: &&Training| {
        let is_named = arms.is_empty() || arms.iter().any(|name| *name == training.arm);
        is_named && (seeds.is_empty() || seeds.contains(&training.seed))
    };
    study.train_all(all.iter().filter(is_named).collect(), &all, at_once)?;
    outcome::write(root, &study.folder, &study.record.outcomes(&all)?, all.len())
}

/// Rows for all arms and seeds: with others, losses of two seeds could not be compared.
fn make_data(root: &Path, moso: &Path, out: &Path) -> anyhow::Result<()> {
    for stage in ["ingest", "tokenizer", "tokenize", "mix"] {
        let done = Process::new(moso).args([stage, DATA, "--out"]).arg(out).current_dir(root).status()?;
        ensure!(done.success(), "moso {stage} failed for {DATA}");
    }
    Ok(())
}

/// The hash of the rows that are trained on, and of those held out.
fn rows_of(folder: &Path) -> anyhow::Result<String> {
    let mut hash = blake3::Hasher::new();
    for rows in ["study", "validation"] {
        let path = folder.join("data/packed").join(rows).join("manifest.json");
        hash.update(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(hash.finalize().to_hex().to_string())
}

struct Running<'a> {
    training: &'a Training,
    process: Child,
    begun: Instant,
}

struct Study {
    /// What trains an arm.
    program: PathBuf,
    folder: PathBuf,
    record: Record,
}

impl Study {
    /// Trains what the record lacks, and adds each to it when it is done.
    fn train_all(&self, wanted: Vec<&Training>, all: &[Training], at_once: usize) -> anyhow::Result<()> {
        let known = self.record.outcomes(all)?;
        let is_known = |training: &Training| known.iter().any(|outcome| outcome.is_of(training));
        let mut waiting: VecDeque<&Training> = VecDeque::new();
        for training in wanted.into_iter().filter(|training| !is_known(training)) {
            // Somebody stopped the study just then.
            match is_done(&training.folder(&self.folder)) {
                true => self.record.add(training, &self.folder)?,
                false => waiting.push_back(training),
            }
        }
        let (n_all, mut n_done) = (waiting.len(), 0);
        let (mut flops_left, start) = (waiting.iter().map(|training| training.flops()).sum::<f64>(), Instant::now());
        let flops_all = flops_left;
        let mut running: Vec<Running<'_>> = Vec::new();
        while !waiting.is_empty() || !running.is_empty() {
            while running.len() < at_once {
                let Some(training) = next(&mut waiting, &running, &self.folder) else { break };
                running.push(Running { training, process: self.begin(training, all)?, begun: Instant::now() });
            }
            std::thread::sleep(Duration::from_millis(200));
            let mut index = 0;
            while index < running.len() {
                let Some(status) = running[index].process.try_wait()? else {
                    index += 1;
                    continue;
                };
                let Running { training, begun, .. } = running.swap_remove(index);
                if !status.success() {
                    running.iter_mut().for_each(|other| drop(other.process.kill()));
                    let log = training.folder(&self.folder).join("stderr");
                    bail!("{} ended with {status}: see {}", training.name(), log.display());
                }
                self.record.add(training, &self.folder)?;
                n_done += 1;
                flops_left -= training.flops();
                let left = start.elapsed().as_secs_f64() * flops_left / (flops_all - flops_left).max(1.0) / 60.0;
                let (name, seconds) = (training.name(), begun.elapsed().as_secs_f64());
                println!("{n_done} of {n_all}: {name} in {seconds:.0} s, about {left:.0} minutes left");
            }
        }
        Ok(())
    }

    fn begin(&self, training: &Training, all: &[Training]) -> anyhow::Result<Child> {
        let out = training.folder(&self.folder);
        if !out.join("checkpoints").exists() {
            fs::create_dir_all(&out)?;
            let mut alike = all.iter().filter(|other| other.begins_like(training));
            if let Some(other) = alike.find(|other| is_whole(&first_stage(&self.folder, other))) {
                share_first_stage(&self.folder, other, training)?;
            }
        }
        fs::write(out.join(KEY), self.record.key(training))?;
        let path = out.join("arm.json");
        fs::write(&path, arm_file(&self.folder, training)?)?;
        let stderr = fs::File::create(out.join("stderr"))?;
        Ok(Process::new(&self.program).arg(path).stdin(Stdio::null()).stderr(stderr).spawn()?)
    }

    /// Removes what was trained by another definition of the arm, or on other rows.
    fn forget_others(&self, training: &Training) -> anyhow::Result<()> {
        let out = training.folder(&self.folder);
        let was = fs::read_to_string(out.join(KEY)).unwrap_or_default();
        if out.exists() && was != self.record.key(training) {
            fs::remove_dir_all(&out).with_context(|| format!("cannot remove {}", out.display()))?;
        }
        Ok(())
    }
}

fn is_done(out: &Path) -> bool {
    out.join("checkpoints/manifest.json").is_file()
}

/// The next to be trained: not one whose first stage somebody is training just now, as long as there are others.
fn next<'a>(waiting: &mut VecDeque<&'a Training>, running: &[Running<'a>], folder: &Path) -> Option<&'a Training> {
    let is_under_way = |training: &Training| {
        let mut alike = running.iter().filter(|other| other.training.begins_like(training));
        alike.any(|other| !is_whole(&first_stage(folder, other.training)))
    };
    let index = waiting.iter().position(|training| !is_under_way(training)).unwrap_or(0);
    waiting.remove(index)
}

fn is_whole(checkpoint: &Path) -> bool {
    checkpoint.join("manifest.json").is_file()
}

/// The checkpoint at the end of the first stage.
fn first_stage(folder: &Path, training: &Training) -> PathBuf {
    training.folder(folder).join(format!("checkpoints/step-{:08}", training.n_first_steps()))
}

/// What `study` reads.
fn arm_file(folder: &Path, training: &Training) -> anyhow::Result<String> {
    let data = folder.join("data");
    let mut arm = training.to_json();
    arm["out"] = json!(training.folder(folder));
    arm["packed"] = json!(data.join("packed/study"));
    arm["validation"] = json!(data.join("packed/validation"));
    Ok(serde_json::to_string_pretty(&arm)?)
}

/// Arms that begin alike are the same to the bit until then, so the first stage is trained once. Training cuts the log at its checkpoint.
fn share_first_stage(folder: &Path, from: &Training, to: &Training) -> anyhow::Result<()> {
    let (there, here) = (first_stage(folder, from), first_stage(folder, to));
    fs::copy(log_of(folder, from), log_of(folder, to))?;
    fs::create_dir_all(&here)?;
    let mut manifest = None;
    for file in fs::read_dir(&there)? {
        let file = file?;
        if file.file_name() == "manifest.json" {
            manifest = Some(file.path());
        } else {
            fs::copy(file.path(), here.join(file.file_name()))?;
        }
    }
    // Last: without it there is no checkpoint.
    let manifest = manifest.with_context(|| format!("{} has no manifest", there.display()))?;
    fs::copy(manifest, here.join("manifest.json"))?;
    Ok(())
}

/// Where the results of a training lie.
fn log_of(folder: &Path, training: &Training) -> PathBuf {
    training.folder(folder).join("metrics.jsonl")
}
