//! Our side of `cargo xtask peers tokenize`: one task on one input in a fresh process, CPU time and counts as one line of JSON.
//!
//! `measure TASK INPUT SCRATCH`. The clock is the CPU time of the process, all threads together, from the texts in memory to the
//! tokens in memory.
#![expect(clippy::print_stdout, reason = "the result is read from there")]

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokenize::{Encoder, cl100k_base};

/// Length of the documents of the tasks that are called long.
const LONG_BYTES: usize = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, input, _scratch] = &arguments[..] else {
        return Err("usage: measure TASK INPUT SCRATCH".into());
    };
    let mut texts = read(Path::new(input))?;
    if task.ends_with("-long") {
        texts = joined(&texts);
    }
    let vocabulary = cl100k_base();
    let mut encoder = Encoder::new(&vocabulary);
    let mut ids = Vec::new();
    let n_passes = if task.contains("-warm") { 2 } else { 1 };
    let (mut seconds, mut n_tokens) = (0.0, 0);
    for _ in 0..n_passes {
        n_tokens = 0;
        let start = cpu_time();
        for text in &texts {
            ids.clear();
            encoder.encode(text, &mut ids);
            n_tokens += ids.len();
        }
        seconds = (cpu_time() - start).as_secs_f64();
    }
    let result = json!({
        "n_documents": texts.len(),
        "n_bytes": texts.iter().map(String::len).sum::<usize>(),
        "cpu_seconds": seconds,
        "peak_mib": peak_mib(),
        "version": env!("CARGO_PKG_VERSION"),
        "remark": format!("{n_tokens} tokens"),
    });
    println!("{result}");
    Ok(())
}

/// The `text` of every line.
fn read(path: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let file = fs::File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let mut texts = Vec::new();
    for line in BufReader::new(file).lines() {
        let record: Value = serde_json::from_str(&line?)?;
        texts.push(record["text"].as_str().ok_or("a line has no text")?.to_owned());
    }
    Ok(texts)
}

/// Texts put together until they are long.
fn joined(texts: &[String]) -> Vec<String> {
    let mut long = vec![String::new()];
    for text in texts {
        let last = long.last_mut().expect("there is one from the start");
        last.push_str(text);
        last.push('\n');
        if last.len() >= LONG_BYTES {
            long.push(String::new());
        }
    }
    long
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("nanoseconds of a second"))
}

/// The most memory that the process had at any time; 0 where the system does not say.
fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
