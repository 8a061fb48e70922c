//! The long tests: every fuzz target for a while, with limits on memory and on the time of one input.
//!
//! Targets are the files of `fuzz/fuzz_targets/`. Each starts from its own findings of earlier soaks (`fuzz/corpus/`) and from the
//! seeds that are kept (`fuzz/seeds/`). An input that makes one panic, hang or swallow memory stays in `fuzz/artifacts/`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use anyhow::{Context, bail, ensure};

/// A reader holds a record of 1 MiB in these tests; what it takes beyond that is for decoders, and for the sanitizer.
const MEMORY_MB_MAX: u64 = 2048;

/// Seconds for one input of some kilobytes, which may unpack to 16 MiB whatever its size: 3 s of bzip2 under the sanitizer, and more
/// where other work takes turns with it.
const INPUT_SECONDS_MAX: u64 = 60;

/// Bytes of an input: long enough to hold several records and to cross a buffer's end.
const INPUT_BYTES_MAX: u64 = 8192;

/// Runs `targets`, or all where none is named, for `minutes` each. An error at the end if one of them found something.
pub(crate) fn soak(root: &Path, minutes: u64, targets: &[String]) -> anyhow::Result<()> {
    ensure!(minutes > 0, "less than a minute is no soak");
    let known = known_targets(root)?;
    if let Some(unknown) = targets.iter().find(|target| !known.contains(target)) {
        bail!("there is no fuzz target {unknown:?}; there are {}", known.join(", "));
    }
    let chosen = if targets.is_empty() { &known } else { targets };
    let logs = root.join("out/soak");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let mut findings = Vec::new();
    for target in chosen {
        println!("{target}: {minutes} min");
        let log = logs.join(format!("{target}.log"));
        let is_clean = fuzz(root, target, minutes, &log)?;
        println!("{target}: {}", summary(&log)?);
        if !is_clean {
            let found = crashes(root, target)?;
            println!("{target}: FOUND {}; see {}", found.join(", "), log.display());
            findings.push(target.as_str());
        }
    }
    ensure!(findings.is_empty(), "{} found something", findings.join(", "));
    Ok(())
}

/// Blocks of a model whose checkpoint has 8 GB; it is sparse, the grown one takes 10 GB of disk.
const BLOCKS_OF_8_GB: &str = "53";

/// Grows a checkpoint of 8 GB in less than 1 GB of memory: the test of every day, with a larger model.
pub(crate) fn grow(root: &Path) -> anyhow::Result<()> {
    let status = Process::new("cargo")
        .args(["test", "--workspace", "--test", "little_memory", "--", "--nocapture"])
        .env("MOSO_GROW_LAYERS", BLOCKS_OF_8_GB)
        .current_dir(root)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "growing took too much memory");
    Ok(())
}

fn known_targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut targets = Vec::new();
    for entry in entries {
        let name = entry?.file_name().into_string().unwrap_or_default();
        targets.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    targets.sort();
    Ok(targets)
}

/// Whether the target ran to its end.
fn fuzz(root: &Path, target: &str, minutes: u64, log: &Path) -> anyhow::Result<bool> {
    let corpus = root.join("fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let arguments = ["+nightly", "fuzz", "run", target].map(OsString::from);
    let folders = [corpus.into_os_string(), root.join("fuzz/seeds").join(target).into_os_string()];
    let status = Process::new("cargo")
        .args(arguments)
        .args(folders)
        .arg("--")
        .arg(format!("-max_total_time={}", minutes * 60))
        .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg("-print_final_stats=1")
        .current_dir(root)
        .stdout(Stdio::null())
        .stderr(output)
        .status()
        .context("cannot start cargo")?;
    let text = read_lossily(log)?;
    if !status.success() && !text.contains("INFO: Seed:") {
        let last: Vec<&str> = text.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!(
            "{target} did not start; it takes a nightly compiler and `cargo install cargo-fuzz`:\n{}",
            last.join("\n")
        );
    }
    Ok(status.success())
}

/// What the fuzzer counted.
fn summary(log: &Path) -> anyhow::Result<String> {
    let text = read_lossily(log)?;
    let stat = |name: &str| {
        let line = text.lines().rev().find_map(|line| line.strip_prefix(&format!("stat::{name}:")));
        line.map_or_else(|| "?".to_owned(), |value| value.trim().to_owned())
    };
    let coverage = text.lines().rev().find_map(|line| line.split_once(" cov: ")?.1.split(' ').next());
    Ok(format!(
        "{} inputs, {} a second, {} branches, {} MB",
        stat("number_of_executed_units"),
        stat("average_exec_per_sec"),
        coverage.unwrap_or("?"),
        stat("peak_rss_mb"),
    ))
}

fn crashes(root: &Path, target: &str) -> anyhow::Result<Vec<String>> {
    let folder = root.join("fuzz/artifacts").join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        found.push(entry?.path().strip_prefix(root).unwrap_or(&folder).display().to_string());
    }
    found.sort();
    Ok(found)
}

/// What a fuzzer prints of its inputs need not be UTF-8.
fn read_lossily(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
