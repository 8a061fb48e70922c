//! Our side of `cargo xtask peers ingest`: one task on one input in a fresh process, CPU time and counts as one line of JSON.
//!
//! `measure TASK INPUT SCRATCH SETTINGS`. The clock is the CPU time of the process, all threads together, from the texts in memory to
//! the results in memory; the two tasks that are a stage as a whole (near-dedup, pipeline) count from the file to the files.
//! The tasks `oracle`, `oracle-titled`, `decisions-en` and `decisions-zh` leave what they found in SCRATCH, to be compared with what rivals found.
#![expect(clippy::print_stdout, reason = "the result is read from there")]

mod hooks;

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use hooks::Settings;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// What a task found.
struct Outcome {
    n_documents: usize,
    n_bytes: usize,
    seconds: f64,
    /// CPU seconds for reading and parsing the input, where the clock did not count them.
    seconds_to_read: f64,
    remark: String,
}

/// A record of an input.
struct Input {
    id: String,
    lang: String,
    text: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, input, scratch, settings] = &arguments[..] else {
        return Err("usage: measure TASK INPUT SCRATCH SETTINGS".into());
    };
    let (input, scratch) = (Path::new(input), Path::new(scratch));
    let settings = Settings::read(Path::new(settings))?;
    let outcome = match &task[..] {
        "near-dedup-en" | "near-dedup-zh" | "pipeline" => whole_stage(task, input, scratch, &settings)?,
        _ => in_memory(task, input, scratch, &settings)?,
    };
    let result = json!({
        "n_documents": outcome.n_documents,
        "n_bytes": outcome.n_bytes,
        "cpu_seconds": outcome.seconds,
        "seconds_to_read": outcome.seconds_to_read,
        "peak_mib": peak_mib(),
        "version": env!("CARGO_PKG_VERSION"),
        "remark": outcome.remark,
    });
    println!("{result}");
    Ok(())
}

fn in_memory(task: &str, input: &Path, scratch: &Path, settings: &Settings) -> Result<Outcome, Box<dyn Error>> {
    let start = cpu_time();
    let field = if matches!(task, "extract" | "oracle" | "oracle-titled") { "html" } else { "text" };
    let documents = read(input, field)?;
    let read_at = cpu_time();
    let remark = match task {
        "extract" => {
            let n_empty = documents.iter().filter(|page| hooks::extract(&page.text).trim().is_empty()).count();
            format!("{n_empty} pages without text")
        }
        "oracle" => {
            write_lines(scratch, "texts.jsonl", &documents, |page| json!({ "text": hooks::extract_body(&page.text) }))?
        }
        "oracle-titled" => {
            write_lines(scratch, "texts.jsonl", &documents, |page| json!({ "text": hooks::extract(&page.text) }))?
        }
        "language-id" => {
            let n_right = documents.iter().filter(|document| hooks::language(&document.text) == document.lang).count();
            format!("{:.2} % as labelled", 100.0 * n_right as f64 / documents.len() as f64)
        }
        "rules-en" | "rules-zh" => {
            let mut judge = hooks::Judge::new(settings);
            let n_kept = documents.iter().filter(|document| judge.is_kept(&document.text, &document.lang)).count();
            format!("{n_kept} of {} kept", documents.len())
        }
        "minhash-en" | "minhash-zh" => {
            let made: Vec<_> =
                documents.iter().map(|document| hooks::signature(&document.text, &document.lang, settings)).collect();
            assert_eq!(made.len(), documents.len(), "one signature a document");
            "14 bands of 8".to_owned()
        }
        "decisions-en" | "decisions-zh" => write_lines(scratch, "decisions.jsonl", &documents, |document| {
            hooks::decisions(&document.text, &document.lang, settings)
        })?,
        _ => return Err(format!("there is no task {task}").into()),
    };
    Ok(Outcome {
        n_documents: documents.len(),
        n_bytes: documents.iter().map(|document| document.text.len()).sum(),
        seconds: (cpu_time() - read_at).as_secs_f64(),
        seconds_to_read: (read_at - start).as_secs_f64(),
        remark,
    })
}

fn whole_stage(task: &str, input: &Path, scratch: &Path, settings: &Settings) -> Result<Outcome, Box<dyn Error>> {
    let out = scratch.join(task);
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    let start = cpu_time();
    let remark = hooks::run_stage(task == "pipeline", input, &out, settings)?;
    let seconds = (cpu_time() - start).as_secs_f64();
    fs::remove_dir_all(&out)?;
    let documents = read(input, "text")?;
    Ok(Outcome {
        n_documents: documents.len(),
        n_bytes: documents.iter().map(|document| document.text.len()).sum(),
        seconds,
        seconds_to_read: 0.0,
        remark,
    })
}

fn read(path: &Path, field: &str) -> Result<Vec<Input>, Box<dyn Error>> {
    let file = fs::File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let lines: Box<dyn BufRead> = match path.extension().is_some_and(|end| end == "zst") {
        true => Box::new(BufReader::new(zstd::stream::read::Decoder::new(file)?)),
        false => Box::new(BufReader::new(file)),
    };
    let mut found = Vec::new();
    for line in lines.lines() {
        let mut record: Value = serde_json::from_str(&line?)?;
        let mut take = |key: &str| match record[key].take() {
            Value::String(text) => text,
            _ => String::new(),
        };
        found.push(Input { id: take("id"), lang: take("lang"), text: take(field) });
    }
    Ok(found)
}

/// Writes what `value` says of each document, with its id, and says how many there were.
fn write_lines(
    folder: &Path,
    name: &str,
    documents: &[Input],
    mut value: impl FnMut(&Input) -> Value,
) -> Result<String, Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let mut file = std::io::BufWriter::new(fs::File::create(folder.join(name))?);
    for document in documents {
        let mut row = value(document);
        row["id"] = json!(document.id);
        writeln!(file, "{row}")?;
    }
    file.flush()?;
    Ok(format!("{} documents written down", documents.len()))
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
