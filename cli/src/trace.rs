//! `moso trace`: which documents, of which sources, some training steps saw, and how often each was seen until then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use corpus::{DocId, FileError, Manifest, Origin, Segment, read_origins};
use loader::{Loader, LoaderSettings, Verify};
use mixer::packed_folder;
use serde_json::Value;

use crate::args::TraceArguments;
use crate::failure::Failure;

/// Prints the pieces of every row of one step; of several steps, every document once.
pub(crate) fn trace(arguments: &TraceArguments) -> Result<(), Failure> {
    let out = &arguments.out;
    let trained = Trained::read(out)?;
    let (first, last) = steps(arguments, &trained)?;
    let rows = trained.rows_of(first)?.start..trained.rows_of(last)?.end;
    let loader = trained.loader(out)?;
    let mut segments: Vec<(u64, Segment)> = Vec::new();
    for row in rows.clone() {
        segments.extend(loader.segments(row).map_err(Failure::input)?.into_iter().map(|segment| (row, segment)));
    }
    let origins = origins(out, &segments)?;
    let seen = seen(&trained, &loader, &segments, last)?;
    let passed_over: Vec<_> = trained.skipped.range(first..=last).collect();
    passed_over.iter().for_each(|(step, why)| say!("step {step} was passed over: {why}"));
    if first == last {
        say!("step {first}, stage {}, rows {} to {}", trained.stage_of(first)?.name, rows.start, rows.end - 1);
        segments.iter().for_each(|(row, segment)| say_piece(*row, segment, &origins, &seen));
    } else {
        say!("steps {first} to {last}, rows {} to {}", rows.start, rows.end - 1);
        say_documents(&segments, &origins, &seen);
    }
    say_sources(&segments, &origins);
    Ok(())
}

/// The first and the last step that are asked for.
fn steps(arguments: &TraceArguments, trained: &Trained) -> Result<(u64, u64), Failure> {
    let (first, last) = match (arguments.step, &arguments.tokens) {
        (Some(range), _) => range,
        (None, Some(tokens)) => (trained.step_at(tokens.0)?, trained.step_at(tokens.1.saturating_sub(1))?),
        (None, None) => return Err(Failure::run_file(anyhow!("say which: --step N, --step A..B or --tokens A..B"))),
    };
    trained.stage_of(first)?;
    trained.stage_of(last)?;
    Ok((first, last))
}

fn say_piece(row: u64, segment: &Segment, origins: &BTreeMap<DocId, Origin>, seen: &BTreeMap<DocId, u64>) {
    let (license, place) =
        origins.get(&segment.doc).map_or(("", ""), |origin| (&origin.license[..], &origin.place[..]));
    let (from, to) = (segment.doc_offset, segment.doc_offset + segment.len);
    let Segment { doc, lang, kind, source, .. } = segment;
    say!(
        "{row:>8}  {doc}  {lang} {kind} {source}  tokens {from}..{to}  seen in {} steps  {license}  {place}",
        seen[doc]
    );
}

fn say_documents(segments: &[(u64, Segment)], origins: &BTreeMap<DocId, Origin>, seen: &BTreeMap<DocId, u64>) {
    let mut documents: BTreeMap<DocId, (&Segment, u64)> = BTreeMap::new();
    for (_, segment) in segments {
        documents.entry(segment.doc).or_insert((segment, 0)).1 += u64::from(segment.len);
    }
    for (doc, (Segment { lang, kind, source, .. }, n_tokens)) in documents {
        let (license, place) = origins.get(&doc).map_or(("", ""), |origin| (&origin.license[..], &origin.place[..]));
        say!("{doc}  {lang} {kind} {source}  {n_tokens} tokens  seen in {} steps  {license}  {place}", seen[&doc]);
    }
}

fn say_sources(segments: &[(u64, Segment)], origins: &BTreeMap<DocId, Origin>) {
    let mut sources: BTreeMap<(&str, &str), (BTreeSet<DocId>, u64)> = BTreeMap::new();
    for (_, segment) in segments {
        let license = origins.get(&segment.doc).map_or("", |origin| &origin.license);
        let (documents, n_tokens) = sources.entry((&segment.source, license)).or_default();
        documents.insert(segment.doc);
        *n_tokens += u64::from(segment.len);
    }
    for ((source, license), (documents, n_tokens)) in sources {
        say!("{source}: {} documents, {n_tokens} tokens, {license}", documents.len());
    }
}

/// In how many steps, up to `last`, each document of `segments` was seen.
fn seen(
    trained: &Trained,
    loader: &Loader,
    segments: &[(u64, Segment)],
    last: u64,
) -> Result<BTreeMap<DocId, u64>, Failure> {
    let mut seen: BTreeMap<DocId, u64> = segments.iter().map(|(_, segment)| (segment.doc, 0)).collect();
    for step in (1..=last).filter(|step| !trained.skipped.contains_key(step)) {
        let mut here = BTreeSet::new();
        for row in trained.rows_of(step)? {
            let segments = loader.segments(row).map_err(Failure::input)?;
            here.extend(segments.into_iter().map(|segment| segment.doc).filter(|doc| seen.contains_key(doc)));
        }
        here.into_iter().for_each(|doc| *seen.entry(doc).or_default() += 1);
    }
    Ok(seen)
}

/// The stages of a run as they were trained; the run file may have changed since.
pub(crate) struct Trained {
    stages: Vec<TrainedStage>,
    context: usize,
    /// Steps that were passed over, or will be, and why.
    skipped: BTreeMap<u64, String>,
}

struct TrainedStage {
    name: String,
    first_step: u64,
    n_steps: u64,
    first_row: u64,
    batch_rows: u64,
}

impl Trained {
    /// Reads the plan from the newest checkpoint.
    fn read(out: &Path) -> Result<Self, Failure> {
        let (folder, checkpoint) = newest_checkpoint(out)?;
        let settings = &checkpoint.config.0;
        let stages = settings["plan"]["stages"].as_array().context("the checkpoints name no stages");
        let stages = stages.map_err(Failure::input)?;
        let number = |stage: &Value, key: &str| stage[key].as_u64().unwrap_or(0);
        let stage = |stage: &Value| TrainedStage {
            name: stage["name"].as_str().unwrap_or_default().to_owned(),
            first_step: number(stage, "first_step"),
            n_steps: number(stage, "n_steps"),
            first_row: number(stage, "first_row"),
            batch_rows: stage["batch"]["rows"].as_u64().unwrap_or(0),
        };
        let context = stages.first().map_or(0, |stage| stage["shape"]["context"].as_u64().unwrap_or(0));
        for parent in checkpoint.parents.iter().filter(|parent| parent.name.starts_with("packed/")) {
            if Manifest::read_with_hash(&out.join(&parent.name)).is_ok_and(|(_, hash)| hash != parent.hash) {
                say!(
                    "note: {} was packed anew since the newest checkpoint; its rows are shown as they are now",
                    parent.name
                );
            }
        }
        let skipped = skipped_steps(&folder.join("state.json"))?;
        Ok(Self { stages: stages.iter().map(stage).collect(), context: context as usize, skipped })
    }

    fn loader(&self, out: &Path) -> Result<Loader, Failure> {
        let folders: Vec<PathBuf> = self.stages.iter().map(|stage| out.join(packed_folder(&stage.name))).collect();
        let settings = LoaderSettings { context: self.context, verify: Verify::Never, tokenizer: None };
        Loader::open(&folders, &settings).map_err(Failure::input)
    }

    /// The stage of a step, counted from 1.
    fn stage_of(&self, step: u64) -> Result<&TrainedStage, Failure> {
        let n_steps: u64 = self.stages.iter().map(|stage| stage.n_steps).sum();
        let found = self.stages.iter().find(|stage| step > 0 && step <= stage.first_step + stage.n_steps);
        found.ok_or_else(|| Failure::run_file(anyhow!("the run has {n_steps} steps, there is no step {step}")))
    }

    fn rows_of(&self, step: u64) -> Result<Range<u64>, Failure> {
        let stage = self.stage_of(step)?;
        let first = stage.first_row + (step - 1 - stage.first_step) * stage.batch_rows;
        Ok(first..first + stage.batch_rows)
    }

    /// The step that trains on token number `token` of the run, from 0.
    fn step_at(&self, token: u64) -> Result<u64, Failure> {
        let row = token / self.context.max(1) as u64;
        let stage = self.stages.iter().rev().find(|stage| stage.first_row <= row);
        let stage = stage.ok_or_else(|| Failure::run_file(anyhow!("the run has no stages")))?;
        Ok(stage.first_step + (row - stage.first_row) / stage.batch_rows.max(1) + 1)
    }
}

/// What a checkpoint's state says was passed over.
fn skipped_steps(path: &Path) -> Result<BTreeMap<u64, String>, Failure> {
    let json = fs::read(path).map_err(|source| FileError::new("read", path, source))?;
    let state: Value =
        serde_json::from_slice(&json).with_context(|| path.display().to_string()).map_err(Failure::input)?;
    let skipped = state["skipped"].as_array().into_iter().flatten();
    Ok(skipped.filter_map(|step| Some((step["step"].as_u64()?, step["why"].as_str()?.to_owned()))).collect())
}

/// The newest checkpoint and its manifest.
fn newest_checkpoint(out: &Path) -> Result<(PathBuf, Manifest), Failure> {
    let checkpoints = out.join("checkpoints");
    let listing = fs::read_dir(&checkpoints).map_err(|source| FileError::new("list", &checkpoints, source))?;
    let mut folders: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let newest = folders.iter().rev().find_map(|folder| Some((folder.clone(), Manifest::read(folder).ok()?)));
    let newest =
        newest.ok_or_else(|| anyhow!("{} holds no checkpoint: nothing was trained yet", checkpoints.display()));
    newest.map_err(Failure::input)
}

/// Origins of the documents of `segments`.
fn origins(out: &Path, segments: &[(u64, Segment)]) -> Result<BTreeMap<DocId, Origin>, Failure> {
    let folder = out.join("documents");
    let wanted: BTreeSet<DocId> = segments.iter().map(|(_, segment)| segment.doc).collect();
    let mut origins = BTreeMap::new();
    for path in Manifest::read(&folder)?.paths(&folder) {
        read_origins(&path, &mut |origin| {
            if wanted.contains(&origin.id) {
                origins.insert(origin.id, origin);
            }
        })?;
    }
    Ok(origins)
}
