//! Trains the models of a prediction, fits the laws, and hands to training what they say.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use corpus::{Count, Manifest, StageFolder, write_atomically};
use mixer::{VALIDATION, packed_folder};
use planner::{LawPlace, Prediction, SizeLaw, SizedLoss, fit, places};

use super::{Law, PREDICT, PredictedLosses, read_predicted};
use crate::failure::Failure;
use crate::run_file::{Predict, Run};
use crate::stages::Stages;
use crate::sweep::{TrialResult, read_results};

/// Version of `predict/predict.json`.
const PREDICT_FORMAT: u32 = 1;

/// Points of a law's curve, evenly in the logarithm of the size.
const CURVE: usize = 40;

/// Makes the prediction of the run file, or goes on with it.
pub(crate) fn predict(stages: &Stages<'_>) -> Result<(), Failure> {
    let (run, out) = (stages.run, stages.out);
    let Some(predict) = &run.predict else {
        return Err(Failure::run_file(anyhow!("the run file has no [predict]: docs/prediction.md says what it holds")));
    };
    let parents = stages.rows_to_train_on(&folders(run))?;
    let settings = run.settings("predict");
    let manifest = Manifest::new("predict", PREDICT_FORMAT, &settings).with_parents(parents.clone());
    if manifest.is_done(&out.join("predict")) {
        stages.console.skipped("predict");
    } else {
        let trials = crate::trials::run_trials(stages, "predict", &predict.trials, &parents)?;
        let forecast = forecast(run, predict, trials)?;
        let folder = StageFolder::begin(&out.join("predict"))?;
        let bytes = serde_json::to_vec_pretty(&forecast).expect("a forecast has only string keys");
        let file = write_atomically(folder.path(), PREDICT, &bytes, 1)?;
        manifest.with_files(vec![file]).commit(folder.path())?;
    }
    let forecast = read_predicted(out)?.expect("it was committed");
    stages.console.table(&describe(&forecast));
    if let Some(results) = read_results(out)?
        && !takes_over(run, &results.best)
    {
        let lines = crate::sweep::paste(run, &results);
        stages
            .console
            .table(&format!("  these are not the values that the search in {} found:\n{lines}", out.display()));
    }
    Ok(())
}

/// What training is told: nothing where there is no prediction, or one for another plan or other rows.
pub(crate) fn predictions(stages: &Stages<'_>) -> Result<Vec<Prediction>, Failure> {
    let Some(forecast) = read_predicted(stages.out)? else { return Ok(Vec::new()) };
    let manifest = Manifest::new("predict", PREDICT_FORMAT, &stages.run.settings("predict"));
    let parents = stages.parents(&folders(stages.run))?;
    if stages.run.predict.is_some() && manifest.with_parents(parents).is_done(&stages.out.join("predict")) {
        return Ok(forecast.predictions);
    }
    let note =
        "  the prediction in predict/ is for other settings or rows than now: no band is watched (`moso predict`)\n";
    stages.console.table(note);
    Ok(Vec::new())
}

/// What a prediction is made from.
fn folders(run: &Run) -> Vec<PathBuf> {
    let rows = run.plan.stages.iter().map(|stage| packed_folder(&stage.name));
    rows.chain([packed_folder(VALIDATION), "tokenizer".into()]).collect()
}

fn takes_over(run: &Run, best: &planner::SearchPoint) -> bool {
    let (mup, lr) = (run.plan.mup, run.plan.stages[0].learning_rate.rate.peak());
    (lr, mup.init_std, mup.output_multiplier) == (best.lr, best.init_std, best.output_multiplier)
}

fn forecast(run: &Run, predict: &Predict, trials: Vec<TrialResult>) -> Result<PredictedLosses, Failure> {
    if let Some(trial) = trials.iter().find(|trial| trial.stopped.is_some()) {
        let why = trial.stopped.clone().unwrap_or_default();
        let error = anyhow!("{} stopped itself, so there is no law: {why}", trial.name);
        return Err(Failure { code: crate::failure::TRAINING, error });
    }
    let confidence = predict.request.confidence;
    let places = places(&run.plan, predict.trials[0].n_steps);
    let largest = run.plan.stages.iter().map(|stage| stage.shape.n_parameters()).max().unwrap_or(0) as f64;
    let (mut laws, mut predictions): (Vec<Law>, Vec<Prediction>) = (Vec::new(), Vec::new());
    let mut missing = Vec::new();
    for LawPlace { stage, step, tokens, is_reached } in places {
        let points = points(&trials, step)?;
        let fitted = match fit(&points) {
            Ok(fitted) => fitted,
            Err(error) => {
                missing.push(format!("no law after step {step}: {error}"));
                continue;
            }
        };
        if laws.iter().all(|law| law.step != step) {
            laws.push(law((step, tokens), &fitted, points, largest, confidence));
        }
        let stage = &run.plan.stages[stage];
        let n_parameters = stage.shape.n_parameters();
        let band = fitted.band(n_parameters as f64, confidence);
        predictions.push(Prediction { stage: stage.name.clone(), step, tokens, is_reached, n_parameters, band });
    }
    if laws.is_empty() {
        let why = missing.join("; ");
        return Err(Failure::run_file(anyhow!("{why}; choose more tokens, or widths that lie further apart")));
    }
    Ok(PredictedLosses { confidence, laws, predictions, missing, trials })
}

/// Mean losses of all sizes after a step, the smallest first.
fn points(trials: &[TrialResult], step: u64) -> Result<Vec<SizedLoss>, Failure> {
    let mut sizes: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for trial in trials {
        let missing = || Failure::input(anyhow!("sweep/{} has no held-out loss at step {step}", trial.folder));
        sizes.entry(trial.n_parameters).or_default().push(trial.loss_at(step).ok_or_else(missing)?);
    }
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let point = |(n, losses): (u64, Vec<f64>)| SizedLoss { n_parameters: n as f64, loss: mean(&losses) };
    Ok(sizes.into_iter().map(point).collect())
}

fn law((step, tokens): (u64, u64), fitted: &SizeLaw, points: Vec<SizedLoss>, largest: f64, confidence: f64) -> Law {
    let (from, to) = (points[0].n_parameters, largest.max(points[points.len() - 1].n_parameters));
    let size = |index: usize| from * (to / from).powf(index as f64 / (CURVE - 1) as f64);
    let curve = (0..CURVE).map(|index| (size(index), fitted.band(size(index), confidence))).collect();
    let scatter = (fitted.squares / points.len() as f64).sqrt();
    Law { step, tokens, a: fitted.a, b: fitted.b, c: fitted.c, scatter, points, curve }
}

/// The table on the terminal.
fn describe(forecast: &PredictedLosses) -> String {
    let mut text = String::new();
    for law in &forecast.laws {
        let Law { step, tokens, a, b, c, scatter, points, .. } = law;
        let _ = writeln!(
            text,
            "  after step {step} ({} tokens): loss = {a:.4} x N^{b:.4} + {c:.4}, scatter {scatter:.4} nats over {} sizes",
            Count(*tokens),
            points.len()
        );
        for (point, n) in points.iter().zip(points.iter().map(|point| Count(point.n_parameters as u64))) {
            let fitted = a * point.n_parameters.powf(*b) + c;
            let _ = writeln!(text, "    {:>9} parameters {:>9.4}, law {fitted:.4}", n.to_string(), point.loss);
        }
    }
    forecast.missing.iter().for_each(|missing| text.push_str(&format!("  {missing}\n")));
    let _ = writeln!(
        text,
        "  {:<16} {:>10} {:>12} {:>10} {:>20}",
        "stage",
        "parameters",
        "after tokens",
        "loss",
        format!("{:.0} % band", forecast.confidence * 100.0)
    );
    for Prediction { stage, tokens, is_reached, n_parameters, band, .. } in &forecast.predictions {
        let _ = writeln!(
            text,
            "  {stage:<16} {:>10} {:>12} {:>10.4} {:>20}{}",
            Count(*n_parameters).to_string(),
            Count(*tokens).to_string(),
            band.loss,
            format!("{:.4} to {:.4}", band.low, band.high),
            if *is_reached { "" } else { "  begins later" },
        );
    }
    text
}
