//! `cargo xtask peers STAGE`: a stage of ours and its rivals on the same documents, side by side in one run.
//!
//! Every measurement is a fresh process on one thread (training: two), and the systems of a task take turns, so that whatever else the machine does
//! falls on all alike. What is counted is CPU time (training: wall time). Rivals live in throw-away environments under `out/peers/`; one that
//! does not install, or fails, is named and left out. Slow rivals get a part of the documents: a prefix of a fixed shuffle.
//!
//! Beside the times, the same run compares what comes out. Ingest: each published quality rule document by document with datatrove's,
//! and the text of web pages with what was expected of them. Tokenize: every id of every document. Loader: the sum of all ids. Train: the
//! loss of the last step, from the same weights.

mod decisions;
mod environments;
mod extraction;
mod ingest;
mod loader;
mod measure;
mod quote;
mod systems;
mod tokenize;
mod tokens;
mod train;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use environments::Environments;
use systems::{Contest, Task};

/// The test pages with expected text.
const ORACLE: &str = "newspaper4k==0.9.6";

/// What is written on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which stage is compared
    stage: Stage,
    /// The large corpus, as `cargo xtask large-corpus` makes it [default: out/large-corpus]
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Processes for each system and task; 0 measures nothing and shows what the last run found [default: 5, and 1 to
    /// train a vocabulary]
    #[arg(long)]
    runs: Option<usize>,
    /// Only these tasks; of ingest, "decisions" and "quality" are the comparisons of what comes out
    #[arg(long)]
    task: Vec<String>,
    /// Only these systems, beside our own
    #[arg(long)]
    system: Vec<String>,
    /// Write docs/benchmarks/ too, with the date and the machine
    #[arg(long)]
    quote: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Stage {
    /// Reading, extraction, languages, rules, duplicates
    Ingest,
    /// Text to tokens, training a vocabulary
    Tokenize,
    /// Packed rows to batches
    Loader,
    /// Batches to weights
    Train,
}

/// One line of the result: what a system reached on a task.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Row {
    task: String,
    system: String,
    version: String,
    unit: String,
    better: String,
    median: f64,
    min: f64,
    max: f64,
    runs: usize,
    note: String,
}

/// Where everything of a run lies.
struct Places<'r> {
    root: &'r Path,
    contest: &'static Contest,
    /// `out/peers`.
    folder: PathBuf,
    /// `out/peers/inputs`.
    inputs: PathBuf,
    /// `out/peers/scratch`.
    scratch: PathBuf,
    /// The Python programs that drive the rivals.
    drivers: PathBuf,
    /// Our own program, built.
    ours: PathBuf,
}

impl Stage {
    fn contest(self) -> &'static Contest {
        match self {
            Stage::Ingest => &ingest::INGEST,
            Stage::Tokenize => &tokenize::TOKENIZE,
            Stage::Loader => &loader::LOADER,
            Stage::Train => &train::TRAIN,
        }
    }
}

impl Arguments {
    fn runs(&self, task: &Task) -> usize {
        self.runs.unwrap_or(task.runs)
    }

    fn wants(&self, task: &str) -> bool {
        self.task.is_empty() || self.task.iter().any(|wanted| wanted == task)
    }

    fn wants_system(&self, system: &str) -> bool {
        self.system.is_empty() || self.system.iter().any(|wanted| wanted == system)
    }
}

/// Installs, measures, compares, prints, and writes `out/peers/STAGE.json`.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let contest = arguments.stage.contest();
    let folder = root.join("out/peers");
    fs::create_dir_all(folder.join("scratch")).with_context(|| format!("cannot create {}", folder.display()))?;
    let ours = match arguments.runs {
        Some(0) => PathBuf::new(),
        _ => build_example(root, contest.example)?,
    };
    let places = Places {
        root,
        contest,
        inputs: folder.join("inputs"),
        scratch: folder.join("scratch"),
        drivers: root.join("xtask/src/peers"),
        ours,
        folder,
    };
    if arguments.runs != Some(0) {
        let mut environments = Environments::new(&places.folder);
        if !matches!(arguments.stage, Stage::Train) {
            make_inputs(&places, &mut environments, arguments.corpus.as_deref())?;
        }
        match arguments.stage {
            Stage::Ingest => run_ingest(&places, &mut environments, arguments)?,
            Stage::Tokenize => {
                tokenize::write_vocabulary(&places)?;
                measure::measure_all(&places, &mut environments, arguments)?;
            }
            Stage::Loader => {
                loader::make_rows(&places, &mut environments, arguments)?;
                measure::measure_all(&places, &mut environments, arguments)?;
            }
            Stage::Train => {
                train::make_rows(&places)?;
                measure::measure_all(&places, &mut environments, arguments)?;
            }
        }
    }
    let mut report = quote::speeds(&places)?;
    if let Stage::Ingest = arguments.stage {
        quote::comparisons(&places, &mut report)?;
    }
    print!("{report}");
    if arguments.quote {
        quote::write(&places, &report)?;
    }
    Ok(())
}

/// The Python program of one of the rivals' environments, which is made if it is not there.
pub(crate) fn environment(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = root.join("out/peers");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Environments::new(&folder).python(name)
}

/// Builds one of our measuring programs. With the features of the whole workspace, so that what is built for daily work serves.
fn build_example(root: &Path, example: &str) -> anyhow::Result<PathBuf> {
    crate::cargo(root, &["build", "--workspace", "--example", example])?;
    Ok(crate::target_folder(root)?.join("debug/examples").join(example))
}

fn run_ingest(places: &Places, environments: &mut Environments, arguments: &Arguments) -> anyhow::Result<()> {
    measure::measure_all(places, environments, arguments)?;
    if arguments.wants("quality") {
        extraction::compare(places, environments)?;
    }
    if arguments.wants("decisions") {
        decisions::compare(places, environments)?;
    }
    Ok(())
}

/// Makes the inputs of all tasks, once.
fn make_inputs(places: &Places, environments: &mut Environments, corpus: Option<&Path>) -> anyhow::Result<()> {
    if places.inputs.join("inputs.json").is_file() {
        return Ok(());
    }
    let corpus = corpus.map_or_else(|| places.root.join("out/large-corpus"), Path::to_path_buf);
    if !corpus.is_dir() {
        bail!("{} is not there: make it with `cargo xtask large-corpus`, or name it with --corpus", corpus.display());
    }
    let python = environments.python("datatrove").context("the inputs are made with datatrove's environment")?;
    let sdist = fetch_oracle(&places.folder, &python);
    if let Err(error) = &sdist {
        println!("no pages with expected text: {error:#}");
    }
    println!("making the inputs (a minute)");
    let status = Command::new(&python)
        .arg(places.drivers.join("inputs.py"))
        .arg(&corpus)
        .arg(sdist.unwrap_or_else(|_| places.folder.join("no-oracle")))
        .arg(&places.inputs)
        .status()
        .context("cannot start inputs.py")?;
    if !status.success() {
        bail!("inputs.py stopped with {status}");
    }
    Ok(())
}

/// Fetches newspaper4k's source package, whose test pages come with the text that is expected of them.
fn fetch_oracle(folder: &Path, python: &Path) -> anyhow::Result<PathBuf> {
    let archive = folder.join(format!("{}.tar.gz", ORACLE.replace("==", "-")));
    let unpacked = folder.join(ORACLE.replace("==", "-"));
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    let pip = Command::new(python)
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"])
        .arg(folder)
        .arg(ORACLE)
        .status()
        .context("cannot start pip")?;
    if !pip.success() {
        bail!("pip could not fetch {ORACLE}");
    }
    let tar = Command::new(python).args(["-m", "tarfile", "-e"]).arg(&archive).arg(folder).status();
    if !tar.context("cannot start python")?.success() {
        bail!("cannot unpack {}", archive.display());
    }
    Ok(unpacked)
}
