//! `moso`: the only binary, the only reader of flags and environment, and the only place that prints or exits.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the crate that talks to a person")]

/// Prints a line; a reader that has seen enough (`| head`) ends the process in peace.
macro_rules! say {
    ($($format:tt)*) => { $crate::print_line(format_args!($($format)*)) };
}

mod args;
mod explain;
mod failure;
#[cfg(feature = "torch")]
mod grow;
mod inspect;
#[cfg(feature = "torch")]
mod model;
mod plan;
mod prediction;
mod preview;
mod progress;
mod report;
mod run_file;
mod stages;
mod sweep;
mod takedown;
mod trace;
#[cfg(feature = "torch")]
mod trials;

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Parser;

use crate::args::{Arguments, Command, RunArguments, Stage};
use crate::failure::Failure;
use crate::progress::Console;
use crate::run_file::Run;
use crate::stages::Stages;

/// Set by Ctrl-C; the current shard or step is finished, then the run stops in a state it can go on from.
static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A second Ctrl-C while the first is being honoured ends the process at once.
    let handler = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            end_at_once();
        }
    });
    let done =
        handler.context("cannot listen for Ctrl-C").map_err(Failure::bug).and_then(|()| run_guarded(arguments.command));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}

/// Panics become failures.
fn run_guarded(command: Command) -> Result<(), Failure> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| run(command)));
    done.unwrap_or_else(|panic| Err(Failure::panicked(&*panic))).map_err(Failure::or_out_of_memory)
}

#[expect(clippy::disallowed_methods, reason = "nobody reads on: there is nothing left to do")]
fn print_line(line: std::fmt::Arguments<'_>) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// The person asked twice. With libtorch, its own clean-up would crash where its threads still compute.
#[cfg(feature = "torch")]
fn end_at_once() {
    trainer::end_process(i32::from(failure::INTERRUPTED));
}

#[cfg(not(feature = "torch"))]
#[expect(clippy::disallowed_methods, reason = "the person asked twice")]
fn end_at_once() {
    std::process::exit(i32::from(failure::INTERRUPTED));
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run { run, only, from } => run_stages(&run, |stage| match (only, from) {
            (Some(only), _) => stage == only,
            (None, Some(from)) => stage >= from,
            (None, None) => true,
        }),
        Command::Ingest { run, only_rule: Some(rule), sample } => preview::preview(&run, &rule, sample, &STOP),
        Command::Ingest { run, only_rule: None, .. } => run_stages(&run, |stage| stage == Stage::Ingest),
        Command::Tokenizer(run) => run_stages(&run, |stage| stage == Stage::Tokenizer),
        Command::Tokenize(run) => run_stages(&run, |stage| stage == Stage::Tokenize),
        Command::Mix(run) => run_stages(&run, |stage| stage == Stage::Mix),
        Command::Sweep(run) => in_folder(&run, false, sweep::sweep),
        Command::Predict(run) => in_folder(&run, false, prediction::predict),
        Command::Train(run) => run_stages(&run, |stage| stage == Stage::Train),
        Command::Eval(run) => run_stages(&run, |stage| stage == Stage::Eval),
        Command::Report(run) => run_stages(&run, |stage| stage == Stage::Report),
        Command::Explain { run } => {
            say!("{}", explain::explain(&Run::read(&run)?).trim_end());
            Ok(())
        }
        Command::Plan(arguments) => plan::plan(&arguments),
        Command::Inspect { path, rows, rule, lang, source } => {
            inspect::inspect(&path, rows, &inspect::Filter { rule, lang, source })
        }
        Command::Verify { path, json } => verify(&path, json),
        Command::Trace(arguments) => trace::trace(&arguments),
        Command::Takedown(arguments) => take_down(&arguments),
        #[cfg(feature = "torch")]
        Command::Grow(arguments) => grow::grow(&arguments),
        #[cfg(feature = "torch")]
        Command::Generate(arguments) => model::generate(&arguments),
        #[cfg(not(feature = "torch"))]
        Command::Grow(_) | Command::Generate(_) => Err(Failure::no_torch()),
    }
}

fn take_down(arguments: &args::TakedownArguments) -> Result<(), Failure> {
    let n_threads = start_threads(&arguments.run)?;
    let run = Run::read(&arguments.run.run)?;
    let out = arguments.run.out.clone().unwrap_or_else(|| run.default_out());
    let console = Console::new(arguments.run.json);
    // The folder is held from before its rows are looked at until they are packed.
    let stages = Stages::new(&run, &out, n_threads, arguments.run.device, &console, &STOP)?;
    stages.check_mix()?;
    let outcome = takedown::take_down(&run, &out, arguments)?;
    if outcome.changes_rows {
        stages.run(Stage::Mix)?;
    }
    outcome.told.iter().for_each(|line| say!("{line}"));
    Ok(())
}

fn run_stages(arguments: &RunArguments, wanted: impl Fn(Stage) -> bool) -> Result<(), Failure> {
    let trains = wanted(Stage::Train);
    in_folder(arguments, trains, |stages| {
        Stage::ALL.into_iter().filter(|&stage| wanted(stage)).try_for_each(|stage| stages.run(stage))
    })
}

/// Does some work in the folder of a run, and keeps every other process out of it meanwhile. `trains`: the stages, in the layouts of the run file.
fn in_folder(
    arguments: &RunArguments,
    trains: bool,
    work: impl FnOnce(&Stages<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let n_threads = start_threads(arguments)?;
    let run = Run::read(&arguments.run)?;
    if trains {
        run.check_one_process().map_err(Failure::run_file)?;
    }
    // Hours of other stages may come before the first that needs it.
    #[cfg(feature = "torch")]
    model::open_device(arguments.device)?;
    let out = arguments.out.clone().unwrap_or_else(|| run.default_out());
    let console = Console::new(arguments.json);
    work(&Stages::new(&run, &out, n_threads, arguments.device, &console, &STOP)?)
}

/// Starts as many threads as the command line asks for.
fn start_threads(arguments: &RunArguments) -> Result<usize, Failure> {
    let n_threads = match arguments.threads {
        Some(n) => n.get(),
        None => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build_global();
    pool.context("cannot start the worker threads").map_err(Failure::bug)?;
    Ok(n_threads)
}

fn verify(path: &std::path::Path, json: bool) -> Result<(), Failure> {
    let found = corpus::verify_tree(path).map_err(Failure::input)?;
    if json {
        let problems: Vec<_> = found
            .problems
            .iter()
            .map(|problem| serde_json::json!({ "path": problem.path, "what": problem.what }))
            .collect();
        let line = serde_json::json!({
            "manifests": found.n_manifests, "files": found.n_files, "bytes": found.n_bytes, "problems": problems,
        });
        say!("{line}");
    } else {
        for problem in &found.problems {
            say!("{}: {}", problem.path.display(), problem.what);
        }
        let n_bytes = corpus::Count(found.n_bytes);
        say!("{} manifests, {} files, {n_bytes} bytes re-hashed", found.n_manifests, found.n_files);
    }
    match found.problems.len() {
        0 => Ok(()),
        n => Err(Failure::input(anyhow::anyhow!("{n} files are not as they were written"))),
    }
}
