//! `cargo xtask forecast`: the demo trained once more by itself, and what `moso plan` says of it held against what it took: parameters and
//! FLOPs exactly, time by the clock within 20 % where the plan is given the speed that was measured, peak memory within 15 %.

use std::fs;
use std::path::Path;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

const RUN: &str = "configs/demo.toml";
const TIME_OFF_MAX: f64 = 0.20;
const MEMORY_OFF_MAX: f64 = 0.15;

/// Two threads, as the table of hardware has them.
const TRAIN: [&str; 6] = ["train", RUN, "--threads", "2", "--out", "out/forecast"];

/// What training took.
struct Taken {
    seconds: f64,
    peak_bytes: f64,
}

/// Trains and compares.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    crate::cargo(root, &["build", "--package", "cli"])?;
    let moso = crate::target_folder(root)?.join("debug/moso");
    for stage in ["ingest", "tokenizer", "tokenize", "mix"] {
        let status = Process::new(&moso).args([stage, RUN, "--out", "out/forecast"]).current_dir(root).status()?;
        ensure!(status.success(), "`moso {stage}` stopped with {status}");
    }
    for old in ["checkpoints", "metrics.jsonl"] {
        let path = root.join("out/forecast").join(old);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        ensure!(removed.is_ok() || !path.exists(), "cannot remove {}", path.display());
    }
    let taken = train(root, &moso)?;
    let output =
        Process::new(&moso).args(["plan", RUN, "--measured", "out/forecast", "--json"]).current_dir(root).output()?;
    ensure!(output.status.success(), "`moso plan` said {}", String::from_utf8_lossy(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout)?;
    compare(&plan, &taken, &fs::read_to_string(root.join("out/forecast/metrics.jsonl"))?)
}

/// The high-water mark of memory is asked for until the process is gone.
fn train(root: &Path, moso: &Path) -> anyhow::Result<Taken> {
    let start = Instant::now();
    let mut child = Process::new(moso).args(TRAIN).current_dir(root).spawn().context("cannot start moso")?;
    let path = format!("/proc/{}/status", child.id());
    let mut peak_bytes: f64 = 0.0;
    loop {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let kilobytes =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse::<f64>().ok());
        peak_bytes = peak_bytes.max(kilobytes.unwrap_or(0.0) * 1024.0);
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "`moso train` stopped with {status}");
            return Ok(Taken { seconds: start.elapsed().as_secs_f64(), peak_bytes });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn compare(plan: &Value, taken: &Taken, log: &str) -> anyhow::Result<()> {
    let events: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let steps = || events.iter().filter(|event| event["event"] == "step");
    let mut tokens_before = 0.0;
    let flops: f64 = steps()
        .map(|step| {
            let tokens = number(&step["tokens"]) - tokens_before;
            tokens_before = number(&step["tokens"]);
            tokens * number(&step["model_flops_per_s"]) / number(&step["tokens_per_s"])
        })
        .sum();
    let grown = events.iter().rfind(|event| event["event"] == "growth").map(|event| &event["parameters"][1]);
    let total = &plan["total"];
    let rows = [
        ("parameters", number(&total["params"]), grown.map_or(f64::NAN, number), 0.0),
        ("FLOPs", number(&total["zflops_exact"]) * 1e21, flops, 1e-9),
        ("seconds", number(&total["days"]) * 86_400.0, taken.seconds, TIME_OFF_MAX),
        (
            "peak memory, MiB",
            number(&total["memory_gib_per_gpu"]) * 1024.0,
            taken.peak_bytes / (1 << 20) as f64,
            MEMORY_OFF_MAX,
        ),
    ];
    println!("{:<18} {:>20} {:>20} {:>10} {:>10}", "", "planned", "measured", "off", "may be");
    let mut is_off = false;
    for (what, planned, measured, may_be) in rows {
        let off = planned / measured - 1.0;
        println!("{what:<18} {planned:>20.4e} {measured:>20.4e} {:>8.2} % {:>8.0} %", off * 100.0, may_be * 100.0);
        is_off |= off.is_nan() || off.abs() > may_be;
    }
    if is_off {
        bail!("the plan is further off than it may be");
    }
    Ok(())
}
