//! The run's folder to [`Facts`]. Reads JSON by its own small structs: the page is also built where training is not.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use anyhow::Context;
use corpus::{Manifest, PackedShard, Parent, hash_bytes};
use mixer::packed_folder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::facts::{
    Compared, Corpus, Evaluation, Facts, Folder, Group, Growth, Log, Packed, Rollback, Sample, Skip, Step, Task,
    Validation,
};
use crate::failure::Failure;
use crate::run_file::Run;

/// A line of `metrics.jsonl`.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Step(Step),
    Growth(Growth),
    Validation(Validation),
    Skip(Skip),
    Rollback(Rollback),
    Prediction(Compared),
    Resume,
    #[serde(other)]
    Other,
}

/// Reads everything. `parents` are the folders the report is made from.
pub(super) fn read(run: &Run, out: &Path, parents: &[Parent]) -> Result<Facts, Failure> {
    Ok(Facts {
        title: run.report.title.clone(),
        name: run.name.clone(),
        seed: run.seed_value,
        run_hash: hash_bytes(run.resolved().to_string().as_bytes()),
        plan: run.plan.clone(),
        cost: run.report.cost,
        forecast: crate::plan::for_report(run).map_err(|error| format!("{error:#}")),
        corpus: corpus(run, out)?,
        packed: run.plan.stages.iter().map(|stage| packed(out, &stage.name)).collect::<Result<_, _>>()?,
        held_out: run.eval.held_out.0,
        log: log(&out.join("metrics.jsonl"))?,
        search: crate::sweep::read_results(out)?,
        predicted: crate::prediction::read_predicted(out)?,
        eval: evaluation(&out.join("eval"))?,
        folders: parents.iter().map(|parent| folder(out, parent)).collect::<Result<_, _>>()?,
    })
}

fn corpus(run: &Run, out: &Path) -> Result<Corpus, Failure> {
    let documents = Manifest::read(&out.join("documents"))?;
    let mut corpus: Corpus = part(documents.details, "documents/manifest.json")?;
    corpus.kept = Manifest::read(&out.join("tokens"))?.counts;
    corpus.n_ids = Manifest::read(&out.join("tokenizer"))?.details["ids"].as_u64().unwrap_or(0);
    for count in &mut corpus.by_source {
        if let Some(source) = run.sources.iter().find(|source| source.name == count.source) {
            source.kind.as_str().clone_into(&mut count.kind);
            count.license.clone_from(&source.license);
        }
    }
    Ok(corpus)
}

/// The realised mix is counted in the rows themselves, not taken from what the mixer says it did.
fn packed(out: &Path, stage: &str) -> Result<Packed, Failure> {
    let folder = out.join(packed_folder(stage));
    let manifest = Manifest::read(&folder)?;
    let mut n_rows_by_group: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut n_rows = 0;
    for path in manifest.paths(&folder) {
        let shard = PackedShard::open(&path)?;
        for row in 0..shard.n_rows() {
            n_rows += 1;
            if let Some(first) = shard.segments(row)?.into_iter().next() {
                *n_rows_by_group.entry((first.lang, first.kind.as_str().to_owned())).or_default() += 1;
            }
        }
    }
    let details = &manifest.details;
    let mut groups: Vec<Group> = part(details["groups"].clone(), "the groups of a packed manifest")?;
    for group in &mut groups {
        let belongs = |row: &&corpus::Tally| row.lang == group.lang && row.kind == group.kind;
        let sum = |unit| manifest.counts.iter().filter(belongs).map(|row| row.amount(unit)).sum();
        (group.n_tokens, group.n_targets) = (sum("tokens"), sum("targets"));
        let key = (group.lang.clone(), group.kind.clone());
        group.n_rows_found = n_rows_by_group.get(&key).copied().unwrap_or(0);
    }
    let number = |key: &str| details[key].as_u64().unwrap_or(0);
    let (context, n_padding) = (number("context"), number("padding_tokens"));
    Ok(Packed { stage: stage.to_owned(), context, n_rows, n_padding, groups })
}

/// `metrics.jsonl`; empty where there is none.
pub(crate) fn log(path: &Path) -> Result<Log, Failure> {
    let mut log = Log::default();
    let context = |index: usize| format!("{} line {}", path.display(), index + 1);
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(log),
        Err(error) => return Err(Failure::input(error)),
    };
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| context(index)).map_err(Failure::input)?;
        match serde_json::from_str(&line).with_context(|| context(index)).map_err(Failure::input)? {
            Line::Step(step) => log.steps.push(step),
            Line::Growth(growth) => log.growths.push(growth),
            Line::Validation(validation) => log.validations.push(validation),
            Line::Skip(skip) => log.skips.push(skip),
            Line::Rollback(rollback) => log.rollbacks.push(rollback),
            Line::Prediction(compared) => log.compared.push(compared),
            Line::Resume => log.n_resumes += 1,
            Line::Other => {}
        }
    }
    Ok(log)
}

fn evaluation(folder: &Path) -> Result<Evaluation, Failure> {
    let found = json(&folder.join("results.json"))?;
    let samples: Vec<Sample> = match json(&folder.join("samples.json"))? {
        Value::Null => Vec::new(),
        samples => part(samples, "eval/samples.json")?,
    };
    let (mut validations, mut tasks) = (Vec::new(), Vec::new());
    for (name, result) in found["results"].as_object().into_iter().flatten() {
        let value = |key: &str| result[key].as_f64().unwrap_or(f64::NAN);
        if let Some(lang) = name.strip_prefix("validation_") {
            validations.push(Validation {
                lang: lang.to_owned(),
                loss: value("loss,none"),
                bits_per_byte: value("bits_per_byte,none"),
                unigram_entropy: value("unigram_entropy,none"),
                n_targets: result["targets,none"].as_u64().unwrap_or(0),
                ..Validation::default()
            });
        } else {
            tasks.push(Task {
                name: name.clone(),
                accuracy: value("exact_match,none"),
                stderr: value("exact_match_stderr,none"),
                chance: value("chance,none"),
                n_items: found["n-samples"][name]["effective"].as_u64().unwrap_or(0),
                n_shots: found["n-shot"][name].as_u64().unwrap_or(0),
                n_cut: result["cut_prompts,none"].as_u64().unwrap_or(0),
            });
        }
    }
    Ok(Evaluation { validations, tasks, samples })
}

fn folder(out: &Path, parent: &Parent) -> Result<Folder, Failure> {
    let manifest = Manifest::read(&out.join(&parent.name))?;
    Ok(Folder {
        name: parent.name.clone(),
        config_hash: manifest.config_hash,
        hash: parent.hash.clone(),
        n_files: manifest.files.len() as u64,
        n_bytes: manifest.files.iter().map(|file| file.bytes).sum(),
    })
}

/// A JSON file; null where there is none.
fn json(path: &Path) -> Result<Value, Failure> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| path.display().to_string()).map_err(Failure::input),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(error).with_context(|| path.display().to_string()).map_err(Failure::input),
    }
}

fn part<T: DeserializeOwned>(value: Value, what: &'static str) -> Result<T, Failure> {
    serde_json::from_value(value).context(what).map_err(Failure::input)
}
