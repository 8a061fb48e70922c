//! `moso trace`: which documents, of which sources, a training step saw.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use corpus::{DocId, FileError, Manifest, Segment, read_documents};
use loader::{Loader, LoaderSettings, Verify};
use mixer::packed_folder;
use serde_json::Value;

use crate::failure::Failure;

/// Prints the segments of every row of a step.
pub(crate) fn trace(out: &Path, step: NonZero<u64>) -> Result<(), Failure> {
    let settings = training_settings(out)?;
    let stages = settings["plan"]["stages"].as_array().context("the checkpoints name no stages");
    let stages = stages.map_err(Failure::input)?;
    let number = |stage: &Value, key: &str| stage[key].as_u64().unwrap_or(0);
    let index = step.get() - 1;
    let stage = stages.iter().find(|stage| index < number(stage, "first_step") + number(stage, "n_steps"));
    let n_steps: u64 = stages.iter().map(|stage| number(stage, "n_steps")).sum();
    let stage =
        stage.ok_or_else(|| Failure::run_file(anyhow!("the run has {n_steps} steps, there is no step {step}")))?;
    let n_rows = stage["batch"]["rows"].as_u64().unwrap_or(0);
    let first_row = number(stage, "first_row") + (index - number(stage, "first_step")) * n_rows;
    let name = |stage: &Value| stage["name"].as_str().unwrap_or_default().to_owned();
    let folders: Vec<PathBuf> = stages.iter().map(|stage| out.join(packed_folder(&name(stage)))).collect();
    let context = stage["shape"]["context"].as_u64().unwrap_or(0) as usize;
    let rows = Loader::open(&folders, &LoaderSettings { context, verify: Verify::Never, tokenizer: None })
        .map_err(Failure::input)?;
    let mut segments: Vec<(u64, Segment)> = Vec::new();
    for row in first_row..first_row + n_rows {
        segments.extend(rows.segments(row).map_err(Failure::input)?.into_iter().map(|segment| (row, segment)));
    }
    let origins = origins(out, &segments)?;
    say!("step {step}, stage {}, rows {first_row} to {}", name(stage), first_row + n_rows - 1);
    for (row, segment) in &segments {
        let origin = origins.get(&segment.doc).map_or("", String::as_str);
        let (from, to) = (segment.doc_offset, segment.doc_offset + segment.len);
        say!(
            "{row:>8}  {}  {} {} {}  tokens {from}..{to}  {origin}",
            segment.doc,
            segment.lang,
            segment.kind,
            segment.source
        );
    }
    Ok(())
}

/// What the run was trained with, as its checkpoints say; the run file may have changed since.
fn training_settings(out: &Path) -> Result<Value, Failure> {
    let checkpoints = out.join("checkpoints");
    let listing = fs::read_dir(&checkpoints).map_err(|source| FileError::new("list", &checkpoints, source))?;
    let mut folders: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let newest = folders.iter().rev().find_map(|folder| Manifest::read(folder).ok());
    let newest =
        newest.ok_or_else(|| anyhow!("{} holds no checkpoint: nothing was trained yet", checkpoints.display()));
    Ok(newest.map_err(Failure::input)?.config.0)
}

/// Licence and URL, or file and record, of every document of `segments`.
fn origins(out: &Path, segments: &[(u64, Segment)]) -> Result<BTreeMap<DocId, String>, Failure> {
    let folder = out.join("documents");
    let mut origins: BTreeMap<DocId, String> =
        segments.iter().map(|(_, segment)| (segment.doc, String::new())).collect();
    for path in Manifest::read(&folder)?.paths(&folder) {
        for document in read_documents(&path)?.0 {
            if let Some(origin) = origins.get_mut(&document.id) {
                *origin = format!("{}  {}", document.license, document.url.unwrap_or(document.meta));
            }
        }
    }
    Ok(origins)
}
