//! `[sweep]` and `[predict]`: the small models that are trained before the large one.

use anyhow::Context;
use corpus::Count;
use planner::{
    Batch, LawRequest, LearningRate, RunPlan, Shape, StagePlan, SweepRequest, Trial, law_trials, sweep_trials,
};
use serde::Deserialize;

use super::{RawShape, whole_shape};

/// `[sweep]`: a search over learning rate, standard deviation and output multiplier at one small shape.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSweep {
    shape: RawShape,
    /// Of every trial; the first of the run's rows.
    tokens: Count,
    batch: Batch,
    lr: RawRates,
    init_std: Vec<f64>,
    output_multiplier: Vec<f64>,
    /// Of the initial weights.
    seeds: Vec<u64>,
    /// Only so many points of the grid, drawn with the run's seed.
    points: Option<u64>,
}

/// A schedule whose peak is searched; it ends at a share of the peak.
#[derive(Deserialize)]
#[serde(tag = "schedule", rename_all = "kebab-case", deny_unknown_fields)]
enum RawRates {
    Cosine { peaks: Vec<f64>, end_share: f64, warmup: Count },
    WarmupStableDecay { peaks: Vec<f64>, end_share: f64, warmup: Count, decay: Count },
}

/// `[predict]`: models of several widths, and the law they follow.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPredict {
    /// Layers, head size and feed-forward units per width of all of them.
    shape: RawShape,
    widths: Vec<u64>,
    /// Of every model; the first of the run's tokens.
    tokens: Count,
    seeds: Vec<u64>,
    /// Probability with which the band holds.
    confidence: f64,
}

/// A search that was read and planned.
pub(crate) struct Sweep {
    pub(crate) request: SweepRequest,
    pub(crate) trials: Vec<Trial>,
}

/// A prediction that was read and planned.
pub(crate) struct Predict {
    pub(crate) request: LawRequest,
    pub(crate) trials: Vec<Trial>,
}

impl Sweep {
    pub(super) fn new(raw: RawSweep, run: &RunPlan, seed: u64) -> anyhow::Result<Self> {
        let RawSweep { shape, tokens, batch, lr, init_std, output_multiplier, seeds, points } = raw;
        let (learning_rates, schedule) = lr.split();
        let end = schedule.end();
        anyhow::ensure!(end > 0.0 && end <= 1.0, "lr.end_share is {end}; it must be above 0 and not above 1");
        let request = SweepRequest {
            shape: in_run(shape, run)?,
            tokens: tokens.0,
            batch,
            schedule,
            learning_rates,
            init_stds: init_std,
            output_multipliers: output_multiplier,
            seeds,
            points,
        };
        let trials = sweep_trials(&request, run.mup, seed)?;
        let n_rows: u64 = run.stages.iter().map(StagePlan::n_rows).sum();
        let is_enough = trials[0].plan.stages[0].n_rows() <= n_rows;
        anyhow::ensure!(is_enough, "tokens is {}, the whole run has {}", tokens.0, run.n_tokens());
        Ok(Self { request, trials })
    }
}

impl Predict {
    pub(super) fn new(raw: RawPredict, run: &RunPlan, validate_every: u64) -> anyhow::Result<Self> {
        let RawPredict { shape, widths, tokens, seeds, confidence } = raw;
        let is_share = confidence > 0.0 && confidence < 1.0;
        anyhow::ensure!(is_share, "confidence is {confidence}; it must be above 0 and below 1, such as 0.9");
        let request = LawRequest { shape: in_run(shape, run)?, widths, tokens: tokens.0, seeds, confidence };
        let trials = law_trials(&request, run, validate_every)?;
        Ok(Self { request, trials })
    }
}

impl RawRates {
    /// The peaks, and the schedule with a peak of 1.
    fn split(self) -> (Vec<f64>, LearningRate) {
        match self {
            Self::Cosine { peaks, end_share, warmup } => {
                (peaks, LearningRate::Cosine { peak: 1.0, end: end_share, warmup_tokens: warmup.0 })
            }
            Self::WarmupStableDecay { peaks, end_share, warmup, decay } => {
                let (warmup_tokens, decay_tokens) = (warmup.0, decay.0);
                (peaks, LearningRate::WarmupStableDecay { peak: 1.0, end: end_share, warmup_tokens, decay_tokens })
            }
        }
    }
}

/// A shape with the vocabulary and the context of the run.
fn in_run(raw: RawShape, run: &RunPlan) -> anyhow::Result<Shape> {
    let Shape { vocabulary, context, .. } = run.stages[0].shape;
    whole_shape(raw, (vocabulary, context), None).context("shape")
}
