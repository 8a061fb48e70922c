//! How much of a page's expected text each extractor finds: token F1 on newspaper4k's test pages, by language.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Places;
use super::environments::Environments;
use super::measure::{OURS, last_line, run_driver, run_ours};
use super::systems::System;

/// The result file.
pub(super) const RESULT: &str = "ingest-extraction.json";

const DRIVER: &str = "extractors.py";

/// As datatrove calls trafilatura; told apart for what comes out, not for its speed.
const PRECISE: System = System { name: "trafilatura-precision", environment: "datatrove", driver: DRIVER, tasks: &[] };

/// Means over the pages of a language.
#[derive(Deserialize, Serialize)]
pub(super) struct Score {
    pub(super) n: usize,
    pub(super) f1: f64,
    pub(super) precision: f64,
    pub(super) recall: f64,
    pub(super) lowest: f64,
    pub(super) lowest_page: String,
}

/// Scores by system, then language.
pub(super) type Scores = BTreeMap<String, BTreeMap<String, Score>>;

/// Lets every extractor read the pages and scores what it finds. Needs the pages; without them there is no table.
pub(super) fn compare(places: &Places, environments: &mut Environments) -> anyhow::Result<()> {
    let oracle = places.inputs.join("oracle.jsonl");
    if !oracle.is_file() {
        println!("quality is left out: there are no pages with expected text");
        return Ok(());
    }
    let mut scores = Scores::new();
    run_ours(places, "oracle", &oracle)?;
    scores.insert(OURS.to_owned(), score(places)?);
    run_ours(places, "oracle-titled", &oracle)?;
    scores.insert(format!("{OURS} with titles"), score(places)?);
    for system in places.contest.systems.iter().chain([&PRECISE]).filter(|system| system.driver == DRIVER) {
        let Ok(python) = environments.python(system.environment) else { continue };
        match run_driver(places, system, &python, "oracle", &oracle, f64::INFINITY) {
            Ok(_) => drop(scores.insert(system.name.to_owned(), score(places)?)),
            Err(error) => println!("quality {} is left out: {error:#}", system.name),
        }
    }
    let path = places.folder.join(RESULT);
    fs::write(&path, serde_json::to_string_pretty(&scores)?).with_context(|| format!("cannot write {}", path.display()))
}

/// Scores the texts that were left in the scratch folder; one program for all, ours too.
fn score(places: &Places) -> anyhow::Result<BTreeMap<String, Score>> {
    let mut command = Command::new("python3");
    command.arg(places.drivers.join("f1.py")).arg(places.inputs.join("oracle.jsonl"));
    let printed = last_line(command.arg(places.scratch.join("texts.jsonl")))?;
    serde_json::from_str(&printed).with_context(|| format!("no scores in {printed:?}"))
}
