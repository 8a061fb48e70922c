//! The loader's tasks and rivals, the rows that all of them load, and the pages of these that are dropped from memory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use rustix::fs::{Advice, fadvise};

use super::environments::Environments;
use super::measure::{OURS, last_line, run_driver, run_ours};
use super::systems::{Contest, RUNS, System, Task, Unit};
use super::{Arguments, Places, build_example};

pub(super) static LOADER: Contest = Contest {
    name: "loader",
    title: "The loader beside its rivals",
    about: "\
All load the same 131,072 rows of 2,049 tokens, 1.07 GB as 32-bit integers: the English and Chinese documents of the
other comparisons by cl100k_base, one after the other, cut, and repeated until there are enough. Each has them in its
own format. A batch is 16 rows as one tensor, in the order of the file unless the note says otherwise; a fresh process
on one thread for each run, the systems in turns. The ids of all batches of a pass add up to the same number for all
systems. Slow ones are measured at the first batches of a pass; the note says how many rows.

A tensor over a mapped file costs nothing until it is read. So a batch counts when each of its tokens has been copied
into a tensor of its type that is used again and again, as a batch is staged for a GPU; tokens-untouched is the same
without that copy, and compares the cost of a call. tokens-cold is by the clock from opening the folder on, after the
pages of its files were dropped from memory; tokens-warm and tokens-untouched are per second of CPU time, all threads
together, in a second pass of the same process.

first-batch, resume: from the call that opens the data to the first batch by the clock, imports not counted;
first-batch at 61.8 % of the rows with the pages dropped, resume, resume-1 and resume-50 at 99, 1 and 50 % after the
process has read all of its files once. memory and memory-anonymous: the most that was resident in a pass over
everything, and what of it was not pages of files at the end; all but ours have Python and its packages among it.
Where lower is better, \"of ours\" above 1 is worse than ours.

How each rival is called, and why so, is in `xtask/src/peers/loader_driver.py`.
",
    example: "load",
    settings: None,
    tasks: &TASKS,
    systems: &SYSTEMS,
};

const TASKS: [Task; 9] = [
    task("tokens-cold", Unit::TokensByTheClock, true),
    task("tokens-warm", Unit::Tokens, false),
    task("tokens-untouched", Unit::Tokens, false),
    task("first-batch", Unit::Milliseconds, true),
    task("resume", Unit::Milliseconds, false),
    task("resume-1", Unit::Milliseconds, false),
    task("resume-50", Unit::Milliseconds, false),
    Task { runs: 1, ..task("memory", Unit::PeakMemory, false) },
    Task { runs: 1, ..task("memory-anonymous", Unit::AnonymousMemory, false) },
];

const fn task(name: &'static str, unit: Unit, is_from_disk: bool) -> Task {
    Task { name, input: FOLDER, unit, runs: RUNS, compared: None, is_from_disk }
}

/// Of the inputs: one folder for each format.
const FOLDER: &str = "loader";

const QUICK: [(&str, f64); 9] = [
    ("tokens-cold", ALL_ROWS),
    ("tokens-warm", ALL_ROWS),
    ("tokens-untouched", ALL_ROWS),
    ("first-batch", ALL_ROWS),
    ("resume", ALL_ROWS),
    ("resume-1", ALL_ROWS),
    ("resume-50", ALL_ROWS),
    ("memory", ALL_ROWS),
    ("memory-anonymous", ALL_ROWS),
];

/// For those that take seconds for a hundred megabytes: a part of them, but for memory, which fills up with a mapped file.
/// What a batch costs that nobody touches is not asked, since they touch it themselves.
const SLOW: [(&str, f64); 8] = [
    ("tokens-cold", 200.0),
    ("tokens-warm", 200.0),
    ("first-batch", ALL_ROWS),
    ("resume", ALL_ROWS),
    ("resume-1", ALL_ROWS),
    ("resume-50", ALL_ROWS),
    ("memory", ALL_ROWS),
    ("memory-anonymous", ALL_ROWS),
];

/// More megabytes than there are.
const ALL_ROWS: f64 = 10_000.0;

const SYSTEMS: [System; 9] = [
    system("memmap", &QUICK),
    system("memmap-view", &QUICK),
    system("megatron", &QUICK),
    system("megatron-gpt", &SLOW),
    system("mosaicml", &SLOW),
    system("mosaicml-index", &SLOW),
    system("datasets", &QUICK),
    system("datasets-arrow", &QUICK),
    system("datasets-iterable", &QUICK),
];

const fn system(name: &'static str, tasks: &'static [(&'static str, f64)]) -> System {
    System { name, environment: "loader", driver: "loader_driver.py", tasks }
}

/// The folder of a system's format: of two systems that differ behind a hyphen it is the same.
pub(super) fn format_folder(inputs: &Path, system: &str) -> PathBuf {
    inputs.join(system.split('-').next().unwrap_or(system))
}

/// Packs the rows, once, and lets each rival that takes part write them in its format.
pub(super) fn make_rows(places: &Places, environments: &mut Environments, arguments: &Arguments) -> anyhow::Result<()> {
    let folder = places.inputs.join(FOLDER);
    let ours = format_folder(&folder, OURS);
    if !ours.join("manifest.json").is_file() {
        println!("packing the rows (a minute, 1.1 GB for each format)");
        let encode = build_example(places.root, "encode")?;
        let documents = places.inputs.join("pipeline.jsonl.zst");
        last_line(Command::new(encode).arg("pipeline-tokens").arg(documents).arg(&places.scratch))?;
        run_ours(places, "rows", &ours)?;
        super::tokens::forget(places, OURS);
    }
    for system in places.contest.systems.iter().filter(|system| arguments.wants_system(system.name)) {
        let Ok(python) = environments.python(system.environment) else { continue };
        let written = run_driver(places, system, &python, "rows", &format_folder(&folder, system.name), ALL_ROWS);
        written.with_context(|| format!("{} cannot be given the rows: leave it out with --system", system.name))?;
    }
    Ok(())
}

/// Drops the pages of all files of a folder from memory. The system may drop others at any time, so what comes from the
/// disk is stated beside every time.
pub(super) fn drop_pages(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            drop_pages(&path)?;
            continue;
        }
        // A page that was written and isn't on the disk yet would stay.
        let file = File::open(&path).and_then(|file| file.sync_data().map(|()| file));
        let dropped = file.and_then(|file| Ok(fadvise(&file, 0, None, Advice::DontNeed)?));
        dropped.with_context(|| format!("cannot drop the pages of {}", path.display()))?;
    }
    Ok(())
}
