//! Runs every system on every task in turns and makes the rows of the result.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::environments::Environments;
use super::loader::{drop_pages, format_folder};
use super::systems::{System, Task, Unit};
use super::{Arguments, Places, Row, tokens};

/// What our own rows are called.
pub(super) const OURS: &str = "moso";

/// One thread everywhere, nothing from the network.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("RAYON_NUM_THREADS", "1"),
    ("OMP_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("TOKENIZERS_PARALLELISM", "false"),
    ("HF_HUB_OFFLINE", "1"),
    ("HF_DATASETS_OFFLINE", "1"),
    ("PYTHONHASHSEED", "0"),
];

/// What a measured process prints last.
#[derive(Clone, Deserialize)]
struct Measured {
    n_documents: usize,
    n_bytes: usize,
    cpu_seconds: f64,
    /// Reading the input and parsing it, where that is not among the CPU seconds; ours only.
    #[serde(default)]
    seconds_to_read: f64,
    peak_mib: f64,
    version: String,
    #[serde(default)]
    remark: String,
    /// Of the loader: what the clock says, what came from the disk, and what is no page of a file.
    #[serde(default)]
    wall_seconds: f64,
    #[serde(default)]
    megabytes_read: f64,
    #[serde(default)]
    anonymous_mib: f64,
    /// From the start of the process to its end.
    #[serde(skip)]
    process_seconds: f64,
}

/// A system that takes part in a task.
struct Entrant<'s> {
    /// `None` for ourselves.
    system: Option<&'s System>,
    python: PathBuf,
    megabytes: f64,
    measured: Vec<Measured>,
    /// What was found where the results themselves were compared with ours.
    compared: String,
}

/// Measures the wanted tasks; the rows of a task replace those that an earlier run left of it.
pub(super) fn measure_all(
    places: &Places,
    environments: &mut Environments,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let tasks = places.contest.tasks;
    for task in tasks.iter().filter(|task| arguments.wants(task.name)) {
        let rows = measure_task(places, environments, arguments, task)?;
        let mut all = read_rows(places)?;
        all.retain(|row| row.task != task.name);
        all.extend(rows);
        all.sort_by_key(|row| tasks.iter().position(|task| task.name == row.task));
        write_rows(places, &all)?;
    }
    Ok(())
}

/// The rows that were measured so far.
pub(super) fn read_rows(places: &Places) -> anyhow::Result<Vec<Row>> {
    let path = result_path(places);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a list of rows", path.display()))
}

fn write_rows(places: &Places, rows: &[Row]) -> anyhow::Result<()> {
    let path = result_path(places);
    let partial = path.with_extension("json.partial");
    fs::write(&partial, serde_json::to_string_pretty(rows)?)
        .with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, &path).with_context(|| format!("cannot write {}", path.display()))
}

fn result_path(places: &Places) -> PathBuf {
    places.folder.join(format!("{}.json", places.contest.name))
}

fn measure_task(
    places: &Places,
    environments: &mut Environments,
    arguments: &Arguments,
    task: &Task,
) -> anyhow::Result<Vec<Row>> {
    let mut entrants = vec![Entrant::new(None, PathBuf::new(), f64::INFINITY)];
    for system in places.contest.systems.iter().filter(|system| arguments.wants_system(system.name)) {
        let Some(&(_, megabytes)) = system.tasks.iter().find(|(name, _)| *name == task.name) else { continue };
        if let Ok(python) = environments.python(system.environment) {
            entrants.push(Entrant::new(Some(system), python, megabytes));
        }
    }
    for round in 0..arguments.runs(task) {
        // In turns: what else the machine does in a minute falls on all of them.
        entrants.retain_mut(|entrant| match measure(places, task, entrant) {
            Ok(measured) => {
                let name = entrant.name();
                println!("{} {name} {}: {:.2} CPU seconds", task.name, round + 1, measured.cpu_seconds);
                entrant.measured.push(measured);
                true
            }
            Err(error) => {
                println!("{} {} is left out: {error:#}", task.name, entrant.name());
                false
            }
        });
    }
    compare(places, task, &mut entrants)?;
    Ok(entrants.iter().map(|entrant| row(task, entrant)).collect())
}

impl<'s> Entrant<'s> {
    fn new(system: Option<&'s System>, python: PathBuf, megabytes: f64) -> Self {
        Self { system, python, megabytes, measured: Vec::new(), compared: String::new() }
    }

    fn name(&self) -> &'static str {
        self.system.map_or(OURS, |system| system.name)
    }
}

/// Compares every rival's tokens with ours, where a task has any. They come from processes of their own: to write them
/// between two measured batches takes the encoders a third more time, since it empties the processor's caches.
fn compare(places: &Places, task: &Task, entrants: &mut [Entrant]) -> anyhow::Result<()> {
    let Some(what) = task.compared else { return Ok(()) };
    let name = format!("{}-tokens", task.name);
    for entrant in entrants {
        let done = run_entrant(places, task, &name, entrant);
        let Some(system) = entrant.system else {
            done?;
            continue;
        };
        entrant.compared = match done.and_then(|_| tokens::compare(places, OURS, system.name)) {
            Ok(difference) => format!("{what}: {difference}"),
            Err(error) => format!("not compared: {error:#}"),
        };
        println!("{} {}: {}", task.name, system.name, entrant.compared);
    }
    tokens::forget(places, OURS);
    Ok(())
}

fn measure(places: &Places, task: &Task, entrant: &Entrant) -> anyhow::Result<Measured> {
    if task.is_from_disk {
        drop_pages(&input(places, task, entrant))?;
    }
    let start = Instant::now();
    let output = run_entrant(places, task, task.name, entrant)?;
    let measured: Measured = serde_json::from_str(&output).with_context(|| format!("no result in {output:?}"))?;
    Ok(Measured { process_seconds: start.elapsed().as_secs_f64(), ..measured })
}

/// The input of a task: a file, or of a folder the system's own part.
fn input(places: &Places, task: &Task, entrant: &Entrant) -> PathBuf {
    let input = places.inputs.join(task.input);
    if input.is_dir() { format_folder(&input, entrant.name()) } else { input }
}

/// Runs an entrant's program on the input of a task, under the task's name or another. Returns its last line.
fn run_entrant(places: &Places, task: &Task, name: &str, entrant: &Entrant) -> anyhow::Result<String> {
    let input = input(places, task, entrant);
    match entrant.system {
        None => run_ours(places, name, &input),
        Some(system) => run_driver(places, system, &entrant.python, name, &input, entrant.megabytes),
    }
}

/// Runs our own program and returns its last line.
pub(super) fn run_ours(places: &Places, task: &str, input: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(&places.ours);
    command.arg(task).arg(input).arg(&places.scratch);
    command.args(places.contest.settings.map(|settings| places.drivers.join(settings)));
    last_line(&mut command)
}

/// Runs a rival's program and returns its last line.
pub(super) fn run_driver(
    places: &Places,
    system: &System,
    python: &Path,
    task: &str,
    input: &Path,
    megabytes: f64,
) -> anyhow::Result<String> {
    let mut command = Command::new(python);
    command.arg(places.drivers.join(system.driver)).args([system.name, task]).arg(input);
    last_line(command.arg(megabytes.to_string()).arg(&places.scratch))
}

/// Runs a program on one thread; what it prints beside the result is shown only where it fails.
pub(super) fn last_line(command: &mut Command) -> anyhow::Result<String> {
    let output = command.envs(ENVIRONMENT).output().with_context(|| format!("cannot start {command:?}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let end: Vec<&str> = errors.lines().rev().take(3).collect();
        bail!("{}: {}", output.status, end.into_iter().rev().collect::<Vec<_>>().join(" | "));
    }
    printed.lines().last().map(str::to_owned).context("nothing was printed")
}

fn row(task: &Task, entrant: &Entrant) -> Row {
    let mut rates: Vec<f64> = entrant.measured.iter().map(|measured| value(task.unit, measured)).collect();
    rates.sort_unstable_by(f64::total_cmp);
    let last = entrant.measured.last().expect("an entrant that failed is left out, and there is at least one round");
    Row {
        task: task.name.to_owned(),
        system: entrant.name().to_owned(),
        version: last.version.clone(),
        unit: task.unit.name().to_owned(),
        better: task.unit.better().to_owned(),
        median: rounded(middle(&rates)),
        min: rounded(rates[0]),
        max: rounded(rates[rates.len() - 1]),
        runs: rates.len(),
        note: note(task, entrant),
    }
}

fn value(unit: Unit, measured: &Measured) -> f64 {
    let megatokens = measured.n_bytes as f64 / 4e6;
    match unit {
        Unit::Pages | Unit::Documents => measured.n_documents as f64 / measured.cpu_seconds,
        Unit::Megabytes => measured.n_bytes as f64 / 1e6 / measured.cpu_seconds,
        Unit::Tokens => megatokens / measured.cpu_seconds,
        Unit::TokensByTheClock => megatokens / measured.wall_seconds,
        Unit::TrainedTokens => 1e6 * megatokens / measured.wall_seconds,
        Unit::Milliseconds => 1e3 * measured.wall_seconds,
        Unit::PeakMemory | Unit::TrainingMemory => measured.peak_mib,
        Unit::AnonymousMemory => measured.anonymous_mib,
    }
}

fn note(task: &Task, entrant: &Entrant) -> String {
    let measured = &entrant.measured;
    let last = &measured[measured.len() - 1];
    let mut note = figures(task.unit, measured);
    if last.seconds_to_read > 0.0 {
        let rate = median(measured, |one| one.n_bytes as f64 / 1e6 / (one.cpu_seconds + one.seconds_to_read));
        note.push_str(&format!("; with reading the JSON lines {rate:.1} MB/s"));
    }
    for more in [&last.remark, &entrant.compared].into_iter().filter(|more| !more.is_empty()) {
        note.push_str(&format!("; {more}"));
    }
    note
}

/// What else was measured.
fn figures(unit: Unit, measured: &[Measured]) -> String {
    let last = &measured[measured.len() - 1];
    let also = |unit: Unit| median(measured, |one| value(unit, one));
    let documents = format!("{} documents, {:.1} MB", last.n_documents, last.n_bytes as f64 / 1e6);
    let rows = format!("{} rows", last.n_documents);
    let from_disk = format!("{:.1} MB from the disk", median(measured, |one| one.megabytes_read));
    match unit {
        Unit::Megabytes => {
            format!("{documents}; {:.0} documents/s; peak {:.0} MiB", also(Unit::Documents), last.peak_mib)
        }
        Unit::Pages | Unit::Documents => {
            format!("{documents}; {:.2} MB/s; peak {:.0} MiB", also(Unit::Megabytes), last.peak_mib)
        }
        Unit::Tokens => format!("{rows}; {:.0} M tokens/s by the clock; {from_disk}", also(Unit::TokensByTheClock)),
        Unit::TokensByTheClock => format!("{rows}; {:.0} M tokens per CPU-second; {from_disk}", also(Unit::Tokens)),
        Unit::Milliseconds => {
            let (cpu, process) =
                (median(measured, |one| 1e3 * one.cpu_seconds), median(measured, |one| one.process_seconds));
            format!("{cpu:.1} ms of CPU time; {from_disk}; {process:.2} s from start to end of the process")
        }
        Unit::TrainedTokens | Unit::TrainingMemory => {
            let (wall, cpu, peak) = (
                median(measured, |one| one.wall_seconds),
                median(measured, |one| one.cpu_seconds),
                median(measured, |one| one.peak_mib),
            );
            format!("{wall:.3} s a step, {cpu:.3} s of CPU time; peak {peak:.0} MiB")
        }
        Unit::PeakMemory => format!("{rows}; {:.0} MiB anonymous at the end", also(Unit::AnonymousMemory)),
        Unit::AnonymousMemory => format!("{rows}; {:.0} MiB resident at most", also(Unit::PeakMemory)),
    }
}

fn median(measured: &[Measured], value: impl Fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<f64> = measured.iter().map(value).collect();
    values.sort_unstable_by(f64::total_cmp);
    middle(&values)
}

fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

/// Four significant digits are more than a measurement has.
fn rounded(value: f64) -> f64 {
    let scale = 10_f64.powi(3 - value.abs().max(1e-9).log10().floor() as i32);
    (value * scale).round() / scale
}
