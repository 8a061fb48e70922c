//! temporary
use std::ops::ControlFlow;
use std::path::Path;
use serde::Deserialize;
#[derive(Deserialize)]
struct RunFile { source: Vec<ingest::RawSource>, ingest: ingest::RawIngest }
#[expect(clippy::unwrap_used, clippy::print_stdout, reason = "temporary")]
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let run: RunFile = toml::from_str(&std::fs::read_to_string(&args[1]).unwrap()).unwrap();
    let sources = ingest::resolve_sources(run.source, Path::new(&args[2])).unwrap();
    let config = ingest::IngestConfig::try_from(run.ingest).unwrap();
    let n: usize = args[4].parse().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    println!("{}", ingest::explain(&sources, &config));
    let start = std::time::Instant::now();
    let parents = ingest::source_parents(&sources).unwrap();
    println!("parents {:?}", start.elapsed());
    let start = std::time::Instant::now();
    let m = pool.install(|| ingest::run(&sources, &config, Path::new(&args[3]), "x", parents, &|_p| ControlFlow::Continue(()))).unwrap();
    println!("{:?}", start.elapsed());
    println!("{}", serde_json::to_string_pretty(&m.details).unwrap());
    let dropped = corpus::read_dropped(&Path::new(&args[3]).join("dropped/part-00000.parquet")).unwrap();
    let mut by = std::collections::BTreeMap::new();
    for d in &dropped { *by.entry((d.source.clone(), d.rule.clone(), d.lang.clone())).or_insert(0) += 1; }
    for (k, n) in by { println!("DROP {k:?} {n}"); }
    for d in &dropped { println!("ROW\t{}\t{}\t{}\t{}\t{}", d.source, d.locator, d.lang, d.rule, d.detail); }
    for row in &m.counts { println!("{} {} {} {:?}", row.lang, row.source, row.kind, row.amounts); }
}
