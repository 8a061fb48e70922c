//! Which small models a search and a prediction train: plain plans, one for each trial.
//!
//! A *search* looks for learning rate, initial standard deviation and output multiplier at a proxy width (FLM-101B, section 3.2; the
//! three of Mu-scaling). Every trial has the same rows and a whole schedule of its own, so that a high learning rate is judged
//! after it has come down.
//!
//! A *prediction* trains models of several widths through the run's own stages, with the run's rows, batches and schedule, and without
//! growth: "same data, same step". What they say of a stage is said of a model of its shape that never grew.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::prediction::Band;
use crate::schedule::LearningRate;
use crate::shape::{MuP, Shape};
use crate::stage::{Batch, PlanError, RunPlan, StagePlan, StageRequest, plan};

/// What a search tries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepRequest {
    /// The proxy.
    pub shape: Shape,
    /// Tokens of every trial.
    pub tokens: u64,
    /// Batch of every trial.
    pub batch: Batch,
    /// Schedule of every trial; its peak is 1 and its end a share of that: both are multiplied by the learning rate.
    pub schedule: LearningRate,
    /// Peaks of the learning rate.
    pub learning_rates: Vec<f64>,
    /// Standard deviations of the initial weights at the base width.
    pub init_stds: Vec<f64>,
    /// Factors on the logits.
    pub output_multipliers: Vec<f64>,
    /// Seeds of the initial weights: every point is trained once with each.
    pub seeds: Vec<u64>,
    /// Only so many points of the grid, drawn at random; all where it is none.
    pub points: Option<u64>,
}

/// A point of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchPoint {
    /// Peak of the learning rate.
    pub lr: f64,
    /// Standard deviation of the initial weights at the base width.
    pub init_std: f64,
    /// Factor on the logits.
    pub output_multiplier: f64,
}

/// A small model to train.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// What it is, in words that can name a folder.
    pub name: String,
    /// Where it lies in the grid of a search; none in a prediction.
    pub point: Option<SearchPoint>,
    /// Its seed.
    pub seed: u64,
    /// Its stages and muP.
    pub plan: RunPlan,
    /// It is trained for so many steps of the plan.
    pub n_steps: u64,
}

impl Trial {
    /// The model.
    pub fn shape(&self) -> &Shape {
        &self.plan.stages[0].shape
    }

    /// Tokens it is trained on.
    pub fn n_tokens(&self) -> u64 {
        let of_stage =
            |stage: &StagePlan| self.n_steps.saturating_sub(stage.first_step).min(stage.n_steps) * stage.batch_tokens();
        self.plan.stages.iter().map(of_stage).sum()
    }

    /// FLOPs it takes.
    pub fn flops(&self) -> f64 {
        self.n_tokens() as f64 * self.shape().flops_per_token() as f64
    }
}

/// Trials that cannot be planned.
#[derive(Debug, Error, PartialEq)]
pub enum TrialError {
    /// The stage.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A list has nothing to try.
    #[error("{0} must name at least one value, each above 0 and only once")]
    List(&'static str),
    /// A subset that is none.
    #[error("points is {points}, the grid has {n_points}: choose from 1 to {n_points}, or leave it out for all")]
    Points {
        /// Asked for.
        points: u64,
        /// There are.
        n_points: u64,
    },
    /// A width that heads cannot fill.
    #[error(
        "width {width} is no multiple of the head size {head_size}, or heads and ffn do not come out whole in proportion to it"
    )]
    Width {
        /// The width.
        width: u64,
        /// Width of a head.
        head_size: u64,
    },
    /// Widths of which a law cannot be made.
    #[error("a law over widths needs at least four different widths, there are {n_widths}")]
    Widths {
        /// Different widths.
        n_widths: usize,
    },
    /// Tokens that the run does not measure its loss at.
    #[error(
        "tokens {tokens} is step {step} of the run, where no loss is measured: choose a multiple of validate_every ({every} steps, here {every_tokens} tokens), or the end of a stage, such as {end}"
    )]
    NotMeasured {
        /// Asked for.
        tokens: u64,
        /// Their step.
        step: u64,
        /// Steps between validations.
        every: u64,
        /// The same in tokens of that stage.
        every_tokens: u64,
        /// Tokens at the end of that stage.
        end: u64,
    },
    /// More tokens than the run has.
    #[error("tokens is {tokens}, the whole run has {n_tokens}")]
    Tokens {
        /// Asked for.
        tokens: u64,
        /// There are.
        n_tokens: u64,
    },
}

/// The trials of a search, in the order of its lists. `seed` draws the points where only some are asked for.
pub fn sweep_trials(request: &SweepRequest, mup: MuP, seed: u64) -> Result<Vec<Trial>, TrialError> {
    for (name, values) in [
        ("lr.peaks", &request.learning_rates),
        ("init_std", &request.init_stds),
        ("output_multiplier", &request.output_multipliers),
    ] {
        let is_new =
            |(index, value): (usize, &f64)| *value > 0.0 && value.is_finite() && !values[..index].contains(value);
        if values.is_empty() || !values.iter().enumerate().all(is_new) {
            return Err(TrialError::List(name));
        }
    }
    check_seeds(&request.seeds)?;
    let trial = |(point, seed): (SearchPoint, u64)| {
        let SearchPoint { lr, init_std, output_multiplier } = point;
        let stage = StageRequest {
            name: "search".to_owned(),
            tokens: request.tokens,
            shape: request.shape,
            batch: request.batch,
            learning_rate: Some(times(request.schedule, lr)),
            growth: None,
        };
        let plan = plan(&[stage], MuP { init_std, output_multiplier, ..mup })?;
        let name = format!("lr{lr:e}-std{init_std}-out{output_multiplier}-seed{seed}");
        Ok(Trial { name, point: Some(point), seed, n_steps: plan.n_steps(), plan })
    };
    let points = chosen_points(request, seed)?;
    let seeds = |point: SearchPoint| request.seeds.iter().map(move |&seed| (point, seed));
    points.into_iter().flat_map(seeds).map(trial).collect()
}

fn check_seeds(seeds: &[u64]) -> Result<(), TrialError> {
    let is_new = |(index, seed): (usize, &u64)| !seeds[..index].contains(seed);
    if seeds.is_empty() || !seeds.iter().enumerate().all(is_new) {
        return Err(TrialError::List("seeds"));
    }
    Ok(())
}

/// All points of the grid, or some of them, in the grid's order.
fn chosen_points(request: &SweepRequest, seed: u64) -> Result<Vec<SearchPoint>, TrialError> {
    let mut grid = Vec::new();
    for &init_std in &request.init_stds {
        for &output_multiplier in &request.output_multipliers {
            let points = request.learning_rates.iter();
            grid.extend(points.map(|&lr| SearchPoint { lr, init_std, output_multiplier }));
        }
    }
    let Some(points) = request.points else { return Ok(grid) };
    let n_points = grid.len() as u64;
    if !(1..=n_points).contains(&points) {
        return Err(TrialError::Points { points, n_points });
    }
    let mut indices: Vec<usize> = (0..grid.len()).collect();
    indices.sort_by_key(|&index| shuffled(seed, index as u64));
    indices.truncate(points as usize);
    indices.sort_unstable();
    Ok(indices.into_iter().map(|index| grid[index]).collect())
}

/// A number by which a list can be sorted into a random order (splitmix64 of both).
fn shuffled(seed: u64, index: u64) -> u64 {
    let mix = |value: u64| {
        let mut bits = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    };
    mix(mix(seed) ^ index)
}

/// A schedule with every rate multiplied.
fn times(schedule: LearningRate, factor: f64) -> LearningRate {
    match schedule {
        LearningRate::Cosine { peak, end, warmup_tokens } => {
            LearningRate::Cosine { peak: peak * factor, end: end * factor, warmup_tokens }
        }
        LearningRate::WarmupStableDecay { peak, end, warmup_tokens, decay_tokens } => {
            let (peak, end) = (peak * factor, end * factor);
            LearningRate::WarmupStableDecay { peak, end, warmup_tokens, decay_tokens }
        }
    }
}

/// What a prediction trains.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LawRequest {
    /// Layers, head size and feed-forward units per width of every model.
    pub shape: Shape,
    /// Widths to train.
    pub widths: Vec<u64>,
    /// Every model is trained on the first of the run's tokens.
    pub tokens: u64,
    /// Seeds of the initial weights: every width is trained once with each.
    pub seeds: Vec<u64>,
    /// Probability with which the band holds, from 0 to below 1.
    pub confidence: f64,
}

/// A step of the run at which a stage's loss is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LawPlace {
    /// The stage.
    pub stage: usize,
    /// Steps of the run that are done there.
    pub step: u64,
    /// Tokens of the run that were trained on there.
    pub tokens: u64,
    /// Whether the stage is trained there; else its shape is predicted for an earlier place.
    pub is_reached: bool,
}

/// The models of a prediction, by width and seed.
pub fn law_trials(request: &LawRequest, run: &RunPlan, validate_every: u64) -> Result<Vec<Trial>, TrialError> {
    let mut widths = request.widths.clone();
    widths.sort_unstable();
    widths.dedup();
    if widths.len() < 4 || widths.len() < request.widths.len() {
        return Err(TrialError::Widths { n_widths: widths.len() });
    }
    check_seeds(&request.seeds)?;
    // What is wrong with the shape itself is said of the shape, not of a width.
    plan(&[of_shape(&run.stages[0], request.shape)], run.mup)?;
    let n_steps = last_step(request.tokens, run, validate_every)?;
    let trial = |(width, seed): (u64, u64)| {
        let shape = of_width(&request.shape, width)?;
        let plan = plan(&run.stages.iter().map(|stage| of_shape(stage, shape)).collect::<Vec<_>>(), run.mup)?;
        Ok(Trial { name: format!("width{width}-seed{seed}"), point: None, seed, plan, n_steps })
    };
    widths.iter().flat_map(|&width| request.seeds.iter().map(move |&seed| (width, seed))).map(trial).collect()
}

/// A stage with a model that does not grow.
fn of_shape(stage: &StagePlan, shape: Shape) -> StageRequest {
    StageRequest {
        name: stage.name.clone(),
        tokens: stage.n_tokens(),
        shape,
        batch: stage.batch,
        // A curve that began in a stage before goes on.
        learning_rate: (stage.learning_rate.tokens_before == 0).then_some(stage.learning_rate.rate),
        growth: None,
    }
}

/// A shape of another width: as many layers, heads of the same size, as many feed-forward units per width.
fn of_width(shape: &Shape, width: u64) -> Result<Shape, TrialError> {
    let head_size = shape.head_size;
    let in_proportion = |size: u64| {
        let whole = size.checked_mul(width).filter(|product| product.is_multiple_of(shape.hidden));
        whole.map(|product| product / shape.hidden)
    };
    match (in_proportion(shape.heads), in_proportion(shape.ffn)) {
        (Some(heads), Some(ffn)) if heads > 0 && width.is_multiple_of(head_size) => {
            Ok(Shape { hidden: width, heads, ffn, ..*shape })
        }
        _ => Err(TrialError::Width { width, head_size }),
    }
}

/// The step at which the first `tokens` of the run were trained on, if the run measures its loss there.
fn last_step(tokens: u64, run: &RunPlan, validate_every: u64) -> Result<u64, TrialError> {
    let mut before = 0;
    for stage in &run.stages {
        let end = before + stage.n_tokens();
        if tokens <= end {
            let steps = (tokens - before) / stage.batch_tokens();
            let step = stage.first_step + steps;
            let is_whole = steps * stage.batch_tokens() == tokens - before;
            if is_whole && steps > 0 && (tokens == end || step.is_multiple_of(validate_every)) {
                return Ok(step);
            }
            let every_tokens = validate_every * stage.batch_tokens();
            return Err(TrialError::NotMeasured { tokens, step, every: validate_every, every_tokens, end });
        }
        before = end;
    }
    Err(TrialError::Tokens { tokens, n_tokens: run.n_tokens() })
}

/// Where the loss of every stage of the run is predicted when models were trained on its first `n_steps` steps: at the stage's end, or
/// at the last of those steps.
pub fn places(run: &RunPlan, n_steps: u64) -> Vec<LawPlace> {
    let mut tokens_before = 0;
    let mut last = 0;
    let mut places = Vec::new();
    for (index, stage) in run.stages.iter().enumerate() {
        let steps = n_steps.saturating_sub(stage.first_step).min(stage.n_steps);
        let tokens = tokens_before + steps * stage.batch_tokens();
        let is_reached = steps > 0;
        if is_reached {
            last = stage.first_step + steps;
        }
        tokens_before = tokens;
        places.push(LawPlace { stage: index, step: last, tokens, is_reached });
    }
    places
}

/// What a run is told of one of its stages: compared with the held-out loss at `step`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// The stage.
    pub stage: String,
    /// Steps of the run that are done there.
    pub step: u64,
    /// Tokens of the run that were trained on there.
    pub tokens: u64,
    /// Whether the run has this stage's model there, so that the two can be compared.
    pub is_reached: bool,
    /// Parameters of the stage's model.
    pub n_parameters: u64,
    /// The loss of such a model that was trained from scratch, and what is compatible with the models it was predicted from; nats.
    pub band: Band,
}

#[cfg(test)]
mod tests;
