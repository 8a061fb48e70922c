//! `moso sweep`: the search for learning rate, initial deviation and output multiplier, and what it froze.
//!
//! `sweep/results.json` holds every trial, every point of the grid with its mean loss over the seeds, the best of them, and the
//! hashes of tokenizer and data mix: what was found holds for that text in that spelling. Training on anything else is refused.

#[cfg(feature = "torch")]
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, anyhow};
use corpus::{Hash, Manifest, Settings};
use mixer::{VALIDATION, packed_folder};
use planner::SearchPoint;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use crate::failure::Failure;
use crate::run_file::Run;
use crate::stages::Stages;

/// Version of `sweep/results.json`.
#[cfg(feature = "torch")]
const SWEEP_FORMAT: u32 = 1;

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

impl TrialResult {
    /// The loss after a step, where the trial came so far and it is a number.
    pub(crate) fn loss_at(&self, step: u64) -> Option<f64> {
        let found = self.losses.iter().find(|found| found.step == step && found.loss.is_finite());
        found.filter(|_| self.stopped.is_none()).map(|found| found.loss)
    }
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

/// What a search that is made now would freeze. The mix is the documents and every stage's shares, not the rows: a take-down or
/// a longer stage leaves it as it is.
fn frozen(run: &Run, out: &Path) -> Result<Frozen, Failure> {
    let tokenizer = Manifest::read_with_hash(&out.join("tokenizer"))?.1;
    let documents = Manifest::read(&out.join(packed_folder(VALIDATION)))?.details["documents"].take();
    let mut mixes: Vec<_> = run.mixes.iter().map(|stage| json!(stage.mix)).collect();
    mixes.dedup();
    Ok(Frozen { tokenizer, mix: Settings(json!({ "documents": documents, "mixes": mixes })).hash() })
}

/// Refuses to train with another tokenizer or another data mix than a search in the same folder was made with.
pub(crate) fn check_frozen(run: &Run, out: &Path) -> Result<(), Failure> {
    let Some(results) = read_results(out)? else { return Ok(()) };
    let (then, now) = (results.frozen, frozen(run, out)?);
    let pairs = [("tokenizer", &then.tokenizer, &now.tokenizer), ("data mix", &then.mix, &now.mix)];
    let differ: Vec<String> = pairs
        .into_iter()
        .filter(|(_, then, now)| then != now)
        .map(|(what, then, now)| format!("the {what} {then}, which is {now} now"))
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    let (folder, differ) = (out.join("sweep"), differ.join(", and "));
    Err(Failure::run_file(anyhow!(
        "{} was made with {differ}: what it found need not hold. Go back to what it was made with, run `moso sweep` again, or \
         remove that folder to train without a search",
        folder.display()
    )))
}

#[cfg(not(feature = "torch"))]
pub(crate) fn sweep(_: &Stages<'_>) -> Result<(), Failure> {
    Err(Failure::no_torch())
}

/// Makes the search of the run file, or goes on with it.
#[cfg(feature = "torch")]
pub(crate) fn sweep(stages: &Stages<'_>) -> Result<(), Failure> {
    let (run, out) = (stages.run, stages.out);
    let Some(sweep) = &run.sweep else {
        return Err(Failure::run_file(anyhow!("the run file has no [sweep]: docs/prediction.md says what it holds")));
    };
    // The stages whose rows are read, in order.
    let (mut folders, mut n_rows) = (Vec::new(), 0);
    for stage in &run.plan.stages {
        if n_rows < sweep.trials[0].plan.stages[0].n_rows() {
            folders.push(packed_folder(&stage.name));
            n_rows += stage.n_rows();
        }
    }
    folders.extend([packed_folder(VALIDATION), "tokenizer".into()]);
    let parents = stages.rows_to_train_on(&folders)?;
    let settings = run.settings("sweep");
    let manifest = Manifest::new("sweep", SWEEP_FORMAT, &settings).with_parents(parents.clone());
    if manifest.is_done(&out.join("sweep")) && check_frozen(run, out).is_ok() {
        stages.console.skipped("sweep");
    } else {
        let trials = crate::trials::run_trials(stages, "sweep", &sweep.trials, &parents)?;
        let results = results(run, frozen(run, out)?, trials)?;
        let folder = corpus::StageFolder::begin(&out.join("sweep"))?;
        let bytes = serde_json::to_vec_pretty(&results).expect("results have only string keys");
        let file = corpus::write_atomically(folder.path(), RESULTS, &bytes, 1)?;
        manifest.with_files(vec![file]).commit(folder.path())?;
    }
    let results = read_results(out)?.expect("it was committed");
    stages.console.table(&describe(run, &results));
    Ok(())
}

/// The points of all trials.
#[cfg(feature = "torch")]
fn results(run: &Run, frozen: Frozen, trials: Vec<TrialResult>) -> Result<Results, Failure> {
    let sweep = run.sweep.as_ref().expect("there is one");
    let mut points: Vec<Point> = Vec::new();
    for of_point in trials.chunk_by(|a, b| a.point == b.point) {
        let losses: Option<Vec<f64>> = of_point.iter().map(|trial| trial.loss_at(sweep.trials[0].n_steps)).collect();
        let losses = losses.unwrap_or_default();
        let highest = losses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
        points.push(Point {
            at: of_point[0].point.expect("a trial of a search has a point"),
            loss: (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64),
            spread: (highest - lowest).max(0.0),
        });
    }
    let finished = points.iter().filter_map(|point| Some((point.at, point.loss?)));
    let Some((best, _)) = finished.min_by(|a, b| a.1.total_cmp(&b.1)) else {
        let what = anyhow!("no point of the search was trained to its end: lower [sweep] lr.peaks");
        return Err(Failure { code: crate::failure::TRAINING, error: what });
    };
    let shape = &sweep.request.shape;
    let (n_parameters, width, tokens) = (shape.n_parameters(), shape.hidden, sweep.trials[0].n_tokens());
    Ok(Results { frozen, n_parameters, width, tokens, best, points, trials })
}

/// The table on the terminal, best first, and the lines to paste.
#[cfg(feature = "torch")]
fn describe(run: &Run, results: &Results) -> String {
    let mut text = format!(
        "  {:>9} {:>10} {:>12} {:>14} {:>12}\n",
        "lr", "init std", "output x", "held-out loss", "seeds' spread"
    );
    let mut points: Vec<&Point> = results.points.iter().collect();
    points.sort_by(|a, b| a.loss.unwrap_or(f64::INFINITY).total_cmp(&b.loss.unwrap_or(f64::INFINITY)));
    for Point { at, loss, spread } in points {
        let loss = loss.map_or("stopped".to_owned(), |loss| format!("{loss:.4}"));
        let SearchPoint { lr, init_std, output_multiplier } = at;
        let mark = if *at == results.best { "  best" } else { "" };
        let _ = writeln!(text, "  {lr:>9e} {init_std:>10} {output_multiplier:>12} {loss:>14} {spread:>12.4}{mark}");
    }
    for edge in edges(results) {
        let _ = writeln!(text, "  {edge}");
    }
    let _ = writeln!(text, "  for the run file:\n{}", paste(run, results));
    text
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

/// The lines that take over what was found; the learning rate is that of the first stage, the others follow in proportion.
pub(crate) fn paste(run: &Run, results: &Results) -> String {
    use planner::LearningRate::{Cosine, WarmupStableDecay};
    let SearchPoint { lr, init_std, output_multiplier } = results.best;
    let planner::MuP { base_width, input_multiplier, .. } = run.plan.mup;
    let first = &run.plan.stages[0];
    let end = lr * first.learning_rate.rate.end() / first.learning_rate.rate.peak();
    // Three digits: a rate is not known better.
    let end: f64 = format!("{end:.3e}").parse().unwrap_or(end);
    let rate = match first.learning_rate.rate {
        Cosine { warmup_tokens, .. } => {
            format!("lr = {{ schedule = \"cosine\", peak = {lr:e}, end = {end:e}, warmup = {warmup_tokens} }}")
        }
        WarmupStableDecay { warmup_tokens, decay_tokens, .. } => format!(
            "lr = {{ schedule = \"warmup-stable-decay\", peak = {lr:e}, end = {end:e}, warmup = {warmup_tokens}, decay = {decay_tokens} }}"
        ),
    };
    format!(
        "  mup = {{ base_width = {base_width}, input_multiplier = {input_multiplier:?}, output_multiplier = {output_multiplier:?}, init_std = {init_std} }}\n  {rate}    # stage {}; later stages in proportion",
        first.name
    )
}
