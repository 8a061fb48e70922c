//! Makes the search of a run file, and holds what it froze against what is trained.

use std::fmt::Write;
use std::path::Path;

use anyhow::anyhow;
use corpus::{Manifest, Settings, StageFolder, write_atomically};
use mixer::{VALIDATION, packed_folder};
use planner::SearchPoint;
use serde_json::json;

use super::{Frozen, Point, RESULTS, Results, TrialResult, edges, read_results};
use crate::failure::Failure;
use crate::run_file::Run;
use crate::stages::Stages;

/// Version of `sweep/results.json`.
const SWEEP_FORMAT: u32 = 1;

impl TrialResult {
    /// The loss after a step, where the trial came so far and it is a number.
    pub(crate) fn loss_at(&self, step: u64) -> Option<f64> {
        let found = self.losses.iter().find(|found| found.step == step && found.loss.is_finite());
        found.filter(|_| self.stopped.is_none()).map(|found| found.loss)
    }
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

/// Makes the search of the run file, or goes on with it.
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
        let folder = StageFolder::begin(&out.join("sweep"))?;
        let bytes = serde_json::to_vec_pretty(&results).expect("results have only string keys");
        let file = write_atomically(folder.path(), RESULTS, &bytes, 1)?;
        manifest.with_files(vec![file]).commit(folder.path())?;
    }
    let results = read_results(out)?.expect("it was committed");
    stages.console.table(&describe(run, &results));
    Ok(())
}

/// The points of all trials.
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
