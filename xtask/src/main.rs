//! Every script of the project, in Rust: `cargo xtask COMMAND`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "scripts talk to a person and to their environment"
)]

use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

mod contents;
mod demo_corpus;
mod equality;
mod forecast;
mod funnel;
mod kills;
mod language_table;
mod large_corpus;
mod near_duplicates;
mod packages;
mod parity;
mod peers;
mod setup;
mod soak;
#[path = "../../tests/it/spikes.rs"]
mod spikes;
mod study;
#[path = "../../tests/it/tiny.rs"]
mod tiny;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demo, tests and checks of moso")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch the pinned libtorch into .libtorch/, so that plain `cargo build` works
    Setup,
    /// Set up, build, and run configs/demo.toml end to end on real text, on the CPU
    Demo,
    /// Set up, build, run all tests
    Test,
    /// Everything the continuous integration checks
    Ci,
    /// Make demo-corpus/ again from the packages named in its NOTICE
    DemoCorpus,
    /// Make the large corpus of real text that configs/large-corpus.toml reads (1.3 GB of disk, a few minutes)
    LargeCorpus {
        /// Where it goes; out/large-corpus if left out
        folder: Option<PathBuf>,
        /// Where the packages are kept; what lies there is not fetched again
        #[arg(long)]
        packages: Option<PathBuf>,
    },
    /// Write docs/large-corpus-funnel.md from a run of configs/large-corpus.toml
    Funnel {
        /// The run's folder
        out: PathBuf,
    },
    /// The long tests: fuzz every reader, ten minutes each unless told otherwise; or `soak kills`: kill training 200 times; or `soak grow`: grow a
    /// checkpoint of 8 GB (18 GB of disk)
    Soak {
        /// Minutes for each target
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// Kills of `soak kills`
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// Targets (files of fuzz/fuzz_targets/, or `kills`, or `grow`); all files, if none is named
        targets: Vec<String>,
    },
    /// Train the demo once more and hold what `moso plan` says of it against what it takes (six minutes)
    Forecast,
    /// Train the table by which ingest tells languages apart again
    LanguageTable {
        /// Folder of the crates lingua-*-language-model
        lingua: PathBuf,
        /// Folder of Wikipedia summaries
        summaries: PathBuf,
        /// Folder of OpenCC's dictionaries
        opencc: PathBuf,
    },
    /// Compare our tokens with those of tiktoken and tokenizers, on the large corpus and on random strings (half an hour)
    Equality(equality::Arguments),
    /// Compare near duplicates of the large corpus with a search that misses nothing, and write docs/near-duplicates.md
    /// (ten minutes, 8 GB of memory)
    NearDuplicates,
    /// Compute what the trainer is tested against again, in PyTorch, and compare it with what is recorded
    Parity {
        /// Write the record anew
        #[arg(long)]
        write: bool,
    },
    /// Train the experiments of the project, going on where they stopped, and write what came out to docs/
    Study {
        /// Which: growth
        #[arg(value_parser = ["growth"])]
        name: String,
        /// Only these arms; all, if none is named
        arms: Vec<String>,
        /// Only these seeds
        #[arg(long)]
        seed: Vec<u64>,
        /// Trainings side by side, on one thread each
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
        at_once: u16,
    },
    /// Install the rivals of a stage in throw-away environments and measure them beside us in one run
    Peers(peers::Arguments),
}

/// Crates that must build and pass their tests on a machine without libtorch.
const WITHOUT_TORCH: [&str; 7] = ["corpus", "ingest", "tokenize", "mixer", "loader", "planner", "cli"];

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<setup::Missing>() { 4 } else { 1 })
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let root = root();
    match command {
        Command::Setup => setup::setup(&root),
        Command::Demo => demo(&root),
        Command::Test => test(&root),
        Command::Ci => ci(&root),
        Command::Soak { kills, targets, .. } if targets == ["kills"] => kills::soak(&root, kills),
        Command::Soak { targets, .. } if targets == ["grow"] => soak::grow(&root),
        Command::Soak { minutes, targets, .. } => soak::soak(&root, minutes, &targets),
        Command::DemoCorpus => demo_corpus::make(&root.join("demo-corpus")),
        Command::LargeCorpus { folder, packages } => {
            let folder = folder.unwrap_or_else(|| root.join("out/large-corpus"));
            large_corpus::make(&folder, &packages.unwrap_or_else(|| root.join("out/large-packages")))
        }
        Command::Funnel { out } => funnel::write(&out, &root.join("docs/large-corpus-funnel.md")),
        Command::Forecast => forecast::run(&root),
        Command::LanguageTable { lingua, summaries, opencc } => {
            language_table::make(&root.join("ingest/src/language"), &lingua, &summaries, &opencc)
        }
        Command::Equality(arguments) => equality::run(&root, &arguments),
        Command::NearDuplicates => near_duplicates::run(&root),
        Command::Parity { write } => parity::run(&root, write),
        Command::Study { arms, seed, at_once, .. } => study::growth(&root, &arms, &seed, at_once.into()),
        Command::Peers(arguments) => peers::run(&root, &arguments),
    }
}

fn demo(root: &Path) -> anyhow::Result<()> {
    setup::setup(root)?;
    println!("building moso (about six minutes the first time, on two cores)");
    cargo(root, &["build", "--package", "cli"])?;
    let moso = target_folder(root)?.join("debug/moso");
    let status = Process::new(&moso).args(["run", "configs/demo.toml"]).current_dir(root).status();
    let status = status.with_context(|| format!("cannot start {}", moso.display()))?;
    if !status.success() {
        bail!("the demo stopped with {status}; the same command goes on from where it stopped");
    }
    println!("\nThe report is out/demo/report/index.html: open it in a browser. What to try next:");
    for (command, what) in [
        ("explain configs/demo.toml", "the plan of every stage"),
        ("inspect out/demo/packed/large", "what the last stage trained on, as text"),
        ("trace out/demo --step 450", "which documents one training step saw"),
        ("generate out/demo --prompt \"The history of\"", "let the model go on"),
        ("verify out/demo", "re-hash everything the run made"),
    ] {
        println!("  {} {command}\n      {what}", moso.display());
    }
    Ok(())
}

fn test(root: &Path) -> anyhow::Result<()> {
    setup::setup(root)?;
    cargo(root, &["test", "--workspace"])
}

fn ci(root: &Path) -> anyhow::Result<()> {
    setup::setup(root)?;
    cargo(root, &["fmt", "--all", "--check"])?;
    let mut data_stages = vec!["test", "--no-default-features"];
    data_stages.extend(WITHOUT_TORCH.iter().flat_map(|name| ["--package", name]));
    // First, so that the binary that stays behind is the whole one.
    cargo(root, &data_stages)?;
    test(root)?;
    cargo(root, &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    let doc = Process::new("cargo")
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings")
        .current_dir(root)
        .status()?;
    if !doc.success() {
        bail!("cargo doc found warnings");
    }
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    println!("cargo {}", arguments.join(" "));
    let status = Process::new("cargo").args(arguments).current_dir(root).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Where cargo puts what it builds.
fn target_folder(root: &Path) -> anyhow::Result<PathBuf> {
    let output = Process::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot start cargo")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target directory")?.into())
}
