//! `moso takedown`: documents or sources that must not be trained on any more.
//!
//! Lists every step that saw them, writes them down in `removed.json`, and packs anew what follows the first row that holds one of
//! them. `moso train` then goes on from the last checkpoint before that row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use corpus::{DocId, FileError, Hash, Manifest, PackedShard, REMOVED, read_origins, write_atomically};
use mixer::{Removal, Removed, packed_folder};

use crate::args::TakedownArguments;
use crate::failure::Failure;
use crate::run_file::Run;

/// The take-downs of a run, in the order in which they were made.
pub(crate) fn removals(out: &Path) -> Result<Vec<Removal>, Failure> {
    let path = out.join(REMOVED);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FileError::new("read", &path, source).into()),
    };
    let removals = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()));
    removals.map_err(Failure::input)
}

/// Finds what is asked for in the packed rows, says where it is, and writes the take-down. Gives whether any row changes.
pub(crate) fn take_down(run: &Run, out: &Path, arguments: &TakedownArguments) -> Result<bool, Failure> {
    let removed = wanted(run, out, arguments)?;
    let stages: Vec<&str> = run.mixes.iter().map(|stage| &stage.name[..]).collect();
    let mut first = (stages.len(), 0);
    let mut before: Vec<Hash> = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let rows = rows_with(&out.join(packed_folder(stage)), &removed)?;
        say_steps(run, index, &rows);
        if let Some(&row) = rows.first() {
            first = first.min((index, row));
        }
        before.push(Manifest::read_with_hash(&out.join(packed_folder(stage)))?.1);
    }
    if arguments.list {
        return Ok(false);
    }
    let mut all = removals(out)?;
    let documents = removed.documents.iter().map(DocId::to_string).collect();
    let sources = removed.sources.into_iter().collect();
    all.push(Removal { stage: first.0, row: first.1, documents, sources, before });
    let json = serde_json::to_vec_pretty(&all).expect("a list of names is JSON");
    write_atomically(out, REMOVED, &json, all.len() as u64)?;
    match stages.get(first.0) {
        Some(stage) => say!("rows of stage {stage} from row {} on are packed anew, and all stages behind it", first.1),
        None => say!("no row holds any of it: nothing is packed anew"),
    }
    Ok(first.0 < stages.len())
}

/// The documents and sources that are asked for; addresses are looked up.
fn wanted(run: &Run, out: &Path, arguments: &TakedownArguments) -> Result<Removed, Failure> {
    let mut removed = Removed::default();
    for written in &arguments.document {
        let id =
            DocId::parse(written).ok_or_else(|| anyhow!("{written:?} is no id of a document: 32 hexadecimal digits"));
        removed.documents.insert(id.map_err(Failure::run_file)?);
    }
    for source in &arguments.source {
        if !run.sources.iter().any(|known| known.name == *source) {
            return Err(Failure::run_file(anyhow!("the run file has no source {source:?}")));
        }
        removed.sources.insert(source.clone());
    }
    let mut open: BTreeSet<&str> = arguments.url.iter().map(String::as_str).collect();
    if !open.is_empty() {
        let folder = out.join("documents");
        for path in Manifest::read(&folder)?.paths(&folder) {
            read_origins(&path, &mut |origin| {
                if arguments.url.contains(&origin.place) {
                    removed.documents.insert(origin.id);
                    open.remove(&origin.place[..]);
                }
            })?;
        }
    }
    if let Some(url) = open.first() {
        return Err(Failure::run_file(anyhow!("no document has the address {url:?}")));
    }
    if removed == Removed::default() {
        return Err(Failure::run_file(anyhow!("say what: --document ID, --url URL or --source NAME")));
    }
    Ok(removed)
}

/// Rows of a stage that hold something of it, ascending.
fn rows_with(folder: &Path, removed: &Removed) -> Result<Vec<u64>, Failure> {
    let (mut rows, mut first) = (Vec::new(), 0);
    for path in Manifest::read(folder)?.paths(folder) {
        let shard = PackedShard::open(&path)?;
        for row in 0..shard.n_rows() {
            if shard.segments(row)?.iter().any(|segment| removed.contains(segment.doc, &segment.source)) {
                rows.push(first + row as u64);
            }
        }
        first += shard.n_rows() as u64;
    }
    Ok(rows)
}

fn say_steps(run: &Run, stage: usize, rows: &[u64]) {
    let plan = &run.plan.stages[stage];
    let mut steps: BTreeMap<u64, u64> = BTreeMap::new();
    for row in rows {
        *steps.entry(plan.first_step + row / plan.batch.rows + 1).or_default() += 1;
    }
    say!("stage {}: {} rows in {} steps", plan.name, rows.len(), steps.len());
    for (step, n_rows) in steps {
        say!("  step {step}: {n_rows} rows");
    }
}
