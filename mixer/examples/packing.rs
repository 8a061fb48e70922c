//! Packs nine tenths of what a run has tokenized in each of the three ways, and says what each costs and what it does to documents.
//!
//! `cargo run --example packing -- RUN CONTEXT MEMORY_MIB`: RUN holds `tokens/`; rows go to RUN/packing/, which is removed again.
//! One JSON object a line. CPU seconds are those of all threads together; RAYON_NUM_THREADS=1 keeps them to one and its writer.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use corpus::{Manifest, Seed, Settings, Share, Tally};
use mixer::{Mix, MixJob, Packing, StageMix, mix, packed_folder};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [run, context, memory] = &arguments[..] else { return Err("usage: packing RUN CONTEXT MEMORY_MIB".into()) };
    let (run, context, memory) = (Path::new(run), context.parse()?, memory.parse::<u64>()? << 20);
    let out = run.join("packing");
    std::fs::create_dir_all(&out)?;
    std::os::unix::fs::symlink(std::fs::canonicalize(run.join("tokens"))?, out.join("tokens"))?;
    let outcome = [Packing::Concatenate, Packing::BestFit, Packing::BestFitMasked]
        .into_iter()
        .try_for_each(|packing| measure(&out, packing, context, memory));
    std::fs::remove_dir_all(&out)?;
    outcome
}

/// Plain text of all languages in the shares there are, each document once.
fn stage(out: &Path, packing: Packing, context: usize) -> Outcome<StageMix> {
    let counts = Manifest::read(&out.join("tokens"))?.counts;
    let plain = |lang: Option<&str>| -> f64 {
        let belongs = |row: &&Tally| row.kind == "plain" && lang.is_none_or(|lang| row.lang == lang);
        counts.iter().filter(belongs).map(|row| row.amount("tokens") as f64).sum()
    };
    let mut language: BTreeMap<String, Share> = BTreeMap::new();
    for row in &counts {
        language.insert(row.lang.clone(), Share(plain(Some(&row.lang)) / plain(None)));
    }
    // The first share is what the others leave, so that they add up to 1.
    let others: f64 = language.values().skip(1).map(|share| share.0).sum();
    language.values_mut().take(1).for_each(|share| share.0 = 1.0 - others);
    let mix = Mix { packing, ..Mix::plain(language, 1) };
    let n_rows = (0.9 * plain(None) / context as f64) as u64;
    Ok(StageMix { name: "all".to_owned(), n_rows, batch_rows: 1, mix })
}

fn measure(out: &Path, packing: Packing, context: usize, memory: u64) -> Outcome<()> {
    let stages = [stage(out, packing, context)?];
    let settings = |_: &str| Settings(Value::Null);
    let job = MixJob {
        out,
        stages: &stages,
        context,
        seed: Seed::root(1),
        held_out: 0.0,
        validation_rows: 0,
        removals: &[],
        memory,
        settings: &settings,
    };
    let (start, wall) = (cpu_seconds(), Instant::now());
    let peak = watching_memory(|| mix(&job, &|_, _| ControlFlow::Continue(())))?;
    let (seconds, wall) = (cpu_seconds() - start, wall.elapsed().as_secs_f64());
    let details = Manifest::read(&out.join(packed_folder("all")))?.details;
    let number = |key: &str| details[key].as_f64().unwrap_or(0.0);
    let n_rows = stages[0].n_rows;
    let n_tokens = (n_rows * (context as u64 + 1)) as f64;
    let row = json!({
        "packing": packing, "rows": n_rows, "megabytes": n_tokens * 4e-6,
        "cpu_seconds": seconds, "wall_seconds": wall, "megabytes_per_cpu_second": n_tokens * 4e-6 / seconds,
        "padding_share": number("padding_tokens") / n_tokens,
        "documents_read": details["documents_read"], "documents_cut": details["documents_cut"],
        "documents_longer_than_a_row": details["documents_longer_than_a_row"],
        "tokens_per_row": (n_tokens - number("padding_tokens")) / n_rows as f64,
        "peak_anonymous_mib": peak,
    });
    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    {
        println!("{row}");
    }
    std::fs::remove_dir_all(out.join("packed"))?;
    Ok(std::fs::remove_dir_all(out.join("ledger"))?)
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Runs `work`; gives the most memory in MiB, looked at a hundred times a second, that was not pages of mapped files.
fn watching_memory<E: std::error::Error + 'static>(work: impl FnOnce() -> Result<(), E>) -> Outcome<f64> {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak: f64 = 0.0;
            while !is_done.load(Ordering::Relaxed) {
                let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
                let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
                let kib: Option<f64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
                peak = peak.max(kib.unwrap_or(0.0) / 1024.0);
                std::thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        let outcome = work();
        is_done.store(true, Ordering::Relaxed);
        let peak = watcher.join().map_err(|_| "the watcher panicked")?;
        outcome?;
        Ok(peak)
    })
}
