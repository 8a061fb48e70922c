//! `moso sweep`: the search for learning rate, initial deviation and output multiplier, and what it froze.
//!
//! `sweep/results.json` holds every trial, every point of the grid with its mean loss over the seeds, the best of them, and the
//! hashes of tokenizer and data mix: what was found holds for that text in that spelling. Training on anything else is refused.

use std::path::Path;

use anyhow::Context;
use corpus::{Hash, Manifest};
use planner::SearchPoint;
use serde::{Deserialize, Deserializer, Serialize};

use crate::failure::Failure;
#[cfg(not(feature = "torch"))]
use crate::stages::Stages;

#[cfg(feature = "torch")]
mod run;

#[cfg(feature = "torch")]
pub(crate) use run::{check_frozen, paste, sweep};

/// The file in `sweep/`.
const RESULTS: &str = "results.json";

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Results {
    /// What it was made with.
    pub(crate) frozen: Frozen,
    /// Parameters of the proxy.
    pub(crate) n_parameters: u64,
    /// Its width.
    pub(crate) width: u64,
    /// Tokens of every trial.
    pub(crate) tokens: u64,
    /// The point of the least loss.
    pub(crate) best: SearchPoint,
    /// In the order of the grid.
    pub(crate) points: Vec<Point>,
    pub(crate) trials: Vec<TrialResult>,
}

/// Hashes that must stay what they were when the search was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frozen {
    /// Of the tokenizer's manifest.
    pub(crate) tokenizer: Hash,
    /// Of the documents and the mix of every stage.
    pub(crate) mix: Hash,
}

/// A point of the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Point {
    pub(crate) at: SearchPoint,
    /// Mean held-out loss over the seeds in nats; none where one of them stopped itself.
    pub(crate) loss: Option<f64>,
    /// Highest minus lowest loss of the seeds.
    pub(crate) spread: f64,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialResult {
    pub(crate) name: String,
    /// Its folder in `sweep/`.
    pub(crate) folder: String,
    pub(crate) seed: u64,
    pub(crate) point: Option<SearchPoint>,
    pub(crate) width: u64,
    pub(crate) n_parameters: u64,
    pub(crate) losses: Vec<StepLoss>,
    /// Why it stopped itself before its end.
    pub(crate) stopped: Option<String>,
}

/// Held-out loss after a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepLoss {
    pub(crate) step: u64,
    /// Mean over all languages in nats.
    #[serde(deserialize_with = "number")]
    pub(crate) loss: f64,
}

/// JSON has no NaN: it is written as null.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The results of a finished search in the folder of a run.
pub(crate) fn read_results(out: &Path) -> Result<Option<Results>, Failure> {
    read_committed(&out.join("sweep"), RESULTS)
}

/// A JSON file of a folder that is whole; none where there is no such folder.
pub(crate) fn read_committed<T: for<'de> Deserialize<'de>>(folder: &Path, name: &str) -> Result<Option<T>, Failure> {
    if !folder.join(Manifest::NAME).exists() {
        return Ok(None);
    }
    let path = folder.join(name);
    let bytes = std::fs::read(&path).map_err(|source| corpus::FileError::new("read", &path, source))?;
    let value = serde_json::from_slice(&bytes).with_context(|| path.display().to_string());
    value.map(Some).map_err(Failure::input)
}

#[cfg(not(feature = "torch"))]
pub(crate) fn sweep(_: &Stages<'_>) -> Result<(), Failure> {
    Err(Failure::no_torch())
}

/// Axes on which the best point lies at the end of what was tried.
pub(crate) fn edges(results: &Results) -> Vec<String> {
    type Axis = fn(&SearchPoint) -> f64;
    let axes: [(&str, Axis); 3] = [
        ("lr", |point| point.lr),
        ("init_std", |point| point.init_std),
        ("output_multiplier", |point| point.output_multiplier),
    ];
    let edge = |(name, value): (&str, Axis)| {
        let tried = || results.points.iter().map(|point| value(&point.at));
        let (low, high) = (tried().fold(f64::INFINITY, f64::min), tried().fold(0.0, f64::max));
        let best = value(&results.best);
        let which = if best == high { "highest" } else { "lowest" };
        let is_edge = low < high && (best == low || best == high);
        is_edge.then(|| format!("the best {name} is the {which} that was tried: extend its list"))
    };
    axes.into_iter().filter_map(edge).collect()
}
