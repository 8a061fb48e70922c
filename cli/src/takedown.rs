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

/// The take-downs of a run, in the order in which they were made, as they stand in its folder.
pub(crate) fn removals(out: &Path) -> Result<Vec<Removal>, Failure> {
    let path = out.join(REMOVED);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FileError::new("read", &path, source).into()),
    };
    let removals = serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()));
    let removals: Vec<Removal> = removals.map_err(Failure::input)?;
    for removal in &removals {
        let ids: BTreeSet<DocId> = removal.documents.iter().filter_map(|id| DocId::parse(id)).collect();
        if ids.len() != removal.documents.len() {
            return Err(Failure::input(anyhow!("{} holds what is no id of a document, or one twice", path.display())));
        }
    }
    Ok(removals)
}

/// What a take-down comes to: what there is to say, and whether any row changes.
pub(crate) struct Outcome {
    pub(crate) told: Vec<String>,
    pub(crate) changes_rows: bool,
}

/// Finds what is asked for in the packed rows and, unless it is only to be listed, writes the take-down. Nothing is printed: a reader
/// that goes away must not end a take-down half way.
pub(crate) fn take_down(run: &Run, out: &Path, arguments: &TakedownArguments) -> Result<Outcome, Failure> {
    let removed = wanted(run, out, arguments)?;
    let mut told = Vec::new();
    let n_stages = run.mixes.len();
    let mut first = (n_stages, 0);
    let (mut before, mut settings) = (Vec::new(), Vec::new());
    for (index, stage) in run.mixes.iter().enumerate() {
        let folder = out.join(packed_folder(&stage.name));
        let rows = rows_with(&folder, &removed)?;
        tell_steps(run, index, &rows, &mut told);
        if let Some(&row) = rows.first() {
            first = first.min((index, row));
        }
        let (manifest, hash) = Manifest::read_with_hash(&folder)?;
        before.push(hash);
        settings.push(manifest.config_hash);
    }
    if arguments.list {
        return Ok(Outcome { told, changes_rows: false });
    }
    check_what_is_left(run, out, &removed, first.0)?;
    let mut all = removals(out)?;
    let documents = removed.documents.iter().map(DocId::to_string).collect();
    let sources = removed.sources.into_iter().collect();
    let tokens: Hash = Manifest::read_with_hash(&out.join("tokens"))?.1;
    all.push(Removal { stage: first.0, row: first.1, documents, sources, before, settings, tokens });
    let json = serde_json::to_vec_pretty(&all).expect("a list of names is JSON");
    write_atomically(out, REMOVED, &json, all.len() as u64)?;
    told.push(match run.mixes.get(first.0) {
        Some(stage) => {
            format!("rows of stage {} from row {} on are packed anew, and all stages behind it", stage.name, first.1)
        }
        None => "no row holds any of it: nothing is packed anew".to_owned(),
    });
    Ok(Outcome { told, changes_rows: first.0 < n_stages })
}

/// Refuses, while everything is as it was, to take down all that there is of a language and kind that a stage is to read.
fn check_what_is_left(run: &Run, out: &Path, removed: &Removed, first: usize) -> Result<(), Failure> {
    let counts = Manifest::read(&out.join("tokens"))?.counts;
    let gone: BTreeSet<String> =
        removals(out)?.into_iter().flat_map(|removal| removal.sources).chain(removed.sources.iter().cloned()).collect();
    for stage in run.mixes.iter().skip(first) {
        for (group, _) in stage.mix.groups().map_err(|what| Failure::run_file(anyhow!(what)))? {
            let mut here = counts.iter().filter(|row| row.lang == group.lang && row.kind == group.kind.as_str());
            if here.clone().count() > 0 && here.all(|row| gone.contains(&row.source)) {
                let stage = &stage.name;
                let what = anyhow!(
                    "without it nothing is left of {group}, which stage {stage} is to read: give it no share first"
                );
                return Err(Failure::run_file(what));
            }
        }
    }
    Ok(())
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
    let mut open: BTreeSet<&str> = arguments.url.iter().chain(&arguments.document).map(String::as_str).collect();
    let folder = out.join("documents");
    let shards = if open.is_empty() { Vec::new() } else { Manifest::read(&folder)?.paths(&folder) };
    for path in shards {
        read_origins(&path, &mut |origin| {
            if arguments.url.contains(&origin.place) {
                removed.documents.insert(origin.id);
                open.remove(&origin.place[..]);
            }
            if removed.documents.contains(&origin.id) {
                open.remove(&origin.id.to_string()[..]);
            }
        })?;
    }
    if let Some(what) = open.first() {
        return Err(Failure::run_file(anyhow!("there is no document {what:?} among the documents of this run")));
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

fn tell_steps(run: &Run, stage: usize, rows: &[u64], told: &mut Vec<String>) {
    let plan = &run.plan.stages[stage];
    let mut steps: BTreeMap<u64, u64> = BTreeMap::new();
    for row in rows {
        *steps.entry(plan.first_step + row / plan.batch.rows + 1).or_default() += 1;
    }
    told.push(format!("stage {}: {} rows in {} steps", plan.name, rows.len(), steps.len()));
    told.extend(steps.into_iter().map(|(step, n_rows)| format!("  step {step}: {n_rows} rows")));
}
