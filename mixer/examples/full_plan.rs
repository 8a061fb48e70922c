//! The whole plan of a pretraining run, simulated: what it costs to decide where every document goes.
//!
//! `cargo run --example full_plan -- RUN N_DOCUMENTS N_TOKENS MEMORY_MIB`: documents are like those of RUN/tokens/, drawn at
//! random; the mix is FLM-101B's 53.5 : 46.5, rows are of 2,048 tokens.
//! One JSON object a line.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use corpus::{Count, Manifest, Share, TokenShard};
use mixer::{Group, Mix, Simulation, Stratum, simulate};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const CONTEXT: usize = 2048;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [run, n_documents, n_tokens, memory] = &arguments[..] else {
        return Err("usage: full_plan RUN N_DOCUMENTS N_TOKENS MEMORY_MIB".into());
    };
    let count = |text: &str| Count::parse(text).map(|count| count.0).ok_or("a count such as 1B");
    let like = lengths(Path::new(run))?;
    let language = BTreeMap::from([("en".to_owned(), Share(0.535)), ("zh".to_owned(), Share(0.465))]);
    let mix = Mix { instruction: Share(0.01), ..Mix::plain(language, 4) };
    let work = std::env::temp_dir().join("moso-full-plan");
    std::fs::create_dir_all(&work)?;
    let simulation = Simulation {
        n_documents: count(n_documents)?,
        like: &like,
        mix: &mix,
        n_rows: count(n_tokens)? / CONTEXT as u64,
        context: CONTEXT,
        memory: memory.parse::<u64>()? << 20,
        work: &work,
    };
    let mut start = Instant::now();
    let mut say = |pass: &str| {
        let seconds = start.elapsed().as_secs_f64();
        print_line(&json!({ "pass": pass, "seconds": seconds, "peak_mib": peak_memory(), "disk_mib": disk(&work) }));
        start = Instant::now();
    };
    let (n_pieces, sum) = simulate(&simulation, &mut say)?;
    print_line(&json!({ "pieces": n_pieces, "rows": simulation.n_rows, "sum_of_places": sum }));
    Ok(std::fs::remove_dir_all(&work)?)
}

/// Stratum and length of every document of a run.
fn lengths(run: &Path) -> Outcome<Vec<(Stratum, u32)>> {
    let folder = run.join("tokens");
    let mut lengths = Vec::new();
    for path in Manifest::read(&folder)?.paths(&folder) {
        for batch in TokenShard::open(&path)?.batches() {
            for row in 0..batch.n_rows() {
                let group = Group { lang: batch.lang(row).to_owned(), kind: batch.kind(row) };
                let stratum = Stratum { group, source: batch.source(row).to_owned(), buckets: Vec::new() };
                lengths.push((stratum, batch.n_tokens(row) as u32));
            }
        }
    }
    Ok(lengths)
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn print_line(line: &serde_json::Value) {
    println!("{line}");
}

/// The most memory that the process had at any time, in MiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// What lies in the work folder, in MiB.
fn disk(work: &Path) -> u64 {
    let files = std::fs::read_dir(work).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum::<u64>() >> 20
}
