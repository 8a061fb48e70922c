//! Stages: what a person asks for, and the exact numbers that follow from it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::growth::Growth;
use crate::limits::{SizeError, check_size};
use crate::schedule::{Curve, LearningRate};
use crate::shape::{MuP, Shape};

/// A stage as it is written in the run file; counts are whole tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRequest {
    /// Its name.
    pub name: String,
    /// Token budget.
    pub tokens: u64,
    /// Model shape.
    pub shape: Shape,
    /// Batch.
    pub batch: Batch,
    /// Learning rate; `None` where the curve of the stage before goes on.
    pub learning_rate: Option<LearningRate>,
    /// How the previous stage's model becomes this shape.
    pub growth: Option<Growth>,
}

impl StageRequest {
    /// Tokens of one optimizer step.
    fn batch_tokens(&self) -> u64 {
        self.batch.rows * self.shape.context
    }
}

/// Rows of an optimizer step, and of one forward and backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Rows of `context` tokens in one optimizer step.
    pub rows: u64,
    /// Rows of one micro-batch. Gradients of micro-batches are added in order, so this number can change the last bits of
    /// a result, while the number of threads that share them cannot.
    pub micro_rows: u64,
}

/// Settings of the optimizer that hold for the whole run (FLM-101B: 0.9, 0.95, 0.1, 1.0; its epsilon is not stated).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSettings {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Weight decay of matrices and embedding.
    pub weight_decay: f64,
    /// Largest L2 norm of all gradients together; longer ones are scaled down to it.
    pub clip: f64,
}

/// A stage in exact numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StagePlan {
    /// Its name.
    pub name: String,
    /// Model shape.
    pub shape: Shape,
    /// Batch.
    pub batch: Batch,
    /// Learning rate.
    pub learning_rate: Curve,
    /// Growth step at its start.
    pub growth: Option<Growth>,
    /// Optimizer steps.
    pub n_steps: u64,
    /// Steps with masks below 1.
    pub n_ramp_steps: u64,
    /// Global number of its first step.
    pub first_step: u64,
    /// Global number of its first row.
    pub first_row: u64,
}

impl StagePlan {
    /// Rows trained on.
    pub fn n_rows(&self) -> u64 {
        self.n_steps * self.batch.rows
    }

    /// Tokens of one optimizer step.
    pub fn batch_tokens(&self) -> u64 {
        self.batch.rows * self.shape.context
    }

    /// Tokens trained on: the budget cut to whole batches.
    pub fn n_tokens(&self) -> u64 {
        self.n_rows() * self.shape.context
    }

    /// Training FLOPs, counted operation by operation.
    pub fn flops(&self) -> f64 {
        self.n_tokens() as f64 * self.shape.flops_per_token() as f64
    }

    /// The learning rate of the step that brings the stage to `tokens_after` of its tokens.
    pub fn learning_rate_at(&self, tokens_after: u64) -> f64 {
        let Curve { rate, tokens_before, tokens } = self.learning_rate;
        rate.at(tokens_before + tokens_after, tokens)
    }

    /// The mask of new coordinates at the stage's step number `step_in_stage` (0-based): rises from 0 by 1 / n_ramp_steps a
    /// step, and is 1 from then on.
    pub fn mask_at(&self, step_in_stage: u64) -> f64 {
        if step_in_stage >= self.n_ramp_steps { 1.0 } else { step_in_stage as f64 / self.n_ramp_steps as f64 }
    }
}

/// All stages of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunPlan {
    /// In training order.
    pub stages: Vec<StagePlan>,
    /// muP, the same for all.
    pub mup: MuP,
}

impl RunPlan {
    /// Steps of all stages.
    pub fn n_steps(&self) -> u64 {
        self.stages.iter().map(|stage| stage.n_steps).sum()
    }

    /// Tokens of all stages.
    pub fn n_tokens(&self) -> u64 {
        self.stages.iter().map(StagePlan::n_tokens).sum()
    }

    /// FLOPs of all stages.
    pub fn flops(&self) -> f64 {
        self.stages.iter().map(StagePlan::flops).sum()
    }

    /// FLOPs of the final model trained from scratch on the same tokens.
    pub fn from_scratch_flops(&self) -> f64 {
        self.stages.last().map_or(0.0, |last| self.n_tokens() as f64 * last.shape.flops_per_token() as f64)
    }

    /// The stage that the next step belongs to after `step` steps; `None` at the end of the run.
    pub fn stage_at(&self, step: u64) -> Option<usize> {
        self.stages.iter().position(|stage| step < stage.first_step + stage.n_steps)
    }
}

/// A run that cannot be planned: what is wrong and what would work.
#[derive(Debug, Error, PartialEq)]
pub enum PlanError {
    /// No stage at all.
    #[error("a run needs at least one [[stage]]")]
    NoStage,
    /// A size is zero.
    #[error("stage {stage}: {what} must be at least 1")]
    Zero {
        /// The stage.
        stage: String,
        /// Which size.
        what: &'static str,
    },
    /// A size that nothing has.
    #[error("stage {stage}: {size}")]
    Size {
        /// The stage.
        stage: String,
        /// Which, and what it may be.
        size: SizeError,
    },
    /// The head size is odd or changes.
    #[error("stage {stage}: its heads are {head_size} wide; they must be {expected} wide")]
    HeadSize {
        /// The stage.
        stage: String,
        /// Found.
        head_size: u64,
        /// What would be right.
        expected: String,
    },
    /// The micro-batches do not add up.
    #[error("stage {stage}: batch rows {rows} is no multiple of micro_rows {micro_rows}")]
    MicroBatch {
        /// The stage.
        stage: String,
        /// Rows.
        rows: u64,
        /// Rows of a micro-batch.
        micro_rows: u64,
    },
    /// The budget is smaller than one batch.
    #[error("stage {stage}: tokens {tokens} is less than one batch of {batch_tokens}")]
    Budget {
        /// The stage.
        stage: String,
        /// Budget.
        tokens: u64,
        /// Smallest possible.
        batch_tokens: u64,
    },
    /// Something is counted in tokens and does not fit into the stage.
    #[error("stage {stage}: {what} takes {tokens} tokens, the stage ends after {stage_tokens}")]
    TooLong {
        /// The stage.
        stage: String,
        /// Warm-up or mask ramp.
        what: &'static str,
        /// Its length.
        tokens: u64,
        /// The stage's length.
        stage_tokens: u64,
    },
    /// A later shape is smaller.
    #[error("stage {stage}: {axis} shrinks; a model can only grow")]
    Shrinks {
        /// The stage.
        stage: String,
        /// The axis.
        axis: &'static str,
    },
    /// There is no curve to go on with.
    #[error(
        "stage {stage}: lr = {{ schedule = \"inherit\" }} goes on with the curve of the stage before, and there is none"
    )]
    Inherited {
        /// The stage.
        stage: String,
    },
    /// The head size does not divide the width.
    #[error("stage {stage}: hidden {hidden} is no multiple of the head size {head_size}; {below} and {above} are")]
    Width {
        /// The stage.
        stage: String,
        /// Width.
        hidden: u64,
        /// Head size.
        head_size: u64,
        /// The next smaller width that is.
        below: u64,
        /// The next larger.
        above: u64,
    },
    /// Vocabulary or context changes.
    #[error("stage {stage}: vocabulary and context must stay the same in all stages")]
    Context {
        /// The stage.
        stage: String,
    },
    /// `growth` is missing or too much.
    #[error("stage {stage}: {what}")]
    Growth {
        /// The stage.
        stage: String,
        /// What to do.
        what: &'static str,
    },
}

/// Checks the stages against each other and computes rows and steps.
pub fn plan(requests: &[StageRequest], mup: MuP) -> Result<RunPlan, PlanError> {
    if requests.is_empty() {
        return Err(PlanError::NoStage);
    }
    for (index, request) in requests.iter().enumerate() {
        check_shape(request, requests[0].shape)?;
        check_growth(request, index.checked_sub(1).map(|previous| &requests[previous]))?;
    }
    let n_steps = requests.iter().map(steps_of).collect::<Result<Vec<u64>, PlanError>>()?;
    let curves = curves(requests, &n_steps)?;
    let (mut stages, mut first_step, mut first_row) = (Vec::new(), 0, 0);
    for ((request, n_steps), learning_rate) in requests.iter().zip(n_steps).zip(curves) {
        let stage = StagePlan {
            name: request.name.clone(),
            shape: request.shape,
            batch: request.batch,
            learning_rate,
            growth: request.growth,
            n_steps,
            n_ramp_steps: ramp_steps(request, n_steps)?,
            first_step,
            first_row,
        };
        first_step += stage.n_steps;
        first_row += stage.n_rows();
        stages.push(stage);
    }
    Ok(RunPlan { stages, mup })
}

fn check_shape(request: &StageRequest, first: Shape) -> Result<(), PlanError> {
    let (stage, shape) = (request.name.clone(), request.shape);
    let sizes = [
        ("layers", shape.layers),
        ("hidden", shape.hidden),
        ("heads", shape.heads),
        ("ffn", shape.ffn),
        ("vocabulary", shape.vocabulary),
        ("context", shape.context),
        ("batch rows", request.batch.rows),
        ("micro_rows", request.batch.micro_rows),
    ];
    check_sizes(&sizes, &stage)?;
    check_sizes(&[("tokens", request.tokens.max(1))], &stage)?;
    let head_size = shape.head_size;
    if head_size == 0 || head_size % 2 != 0 {
        return Err(PlanError::HeadSize { stage, head_size, expected: "an even number (rotary pairs)".to_owned() });
    }
    if head_size != first.head_size {
        let expected = format!("{} as in the first stage", first.head_size);
        return Err(PlanError::HeadSize { stage, head_size, expected });
    }
    check_width(&shape, &stage)?;
    if (shape.vocabulary, shape.context) != (first.vocabulary, first.context) {
        return Err(PlanError::Context { stage });
    }
    Ok(())
}

/// Whether `growth` can take a model from shape `old` to shape `new`.
pub fn check_growth_step(growth: &Growth, old: &Shape, new: &Shape) -> Result<(), PlanError> {
    let stage = || "grown".to_owned();
    check_sizes(&[("layers", new.layers), ("hidden", new.hidden), ("heads", new.heads), ("ffn", new.ffn)], &stage())?;
    if let Some(axis) = new.shrinks_from(old) {
        return Err(PlanError::Shrinks { stage: stage(), axis });
    }
    check_width(new, &stage())?;
    growth.objection(old, new).map_or(Ok(()), |what| Err(PlanError::Growth { stage: stage(), what }))
}

/// None is 0, none above what can be planned.
fn check_sizes(sizes: &[(&'static str, u64)], stage: &str) -> Result<(), PlanError> {
    for &(what, value) in sizes {
        if value == 0 {
            return Err(PlanError::Zero { stage: stage.to_owned(), what });
        }
        check_size(what, value).map_err(|size| PlanError::Size { stage: stage.to_owned(), size })?;
    }
    Ok(())
}

fn check_width(shape: &Shape, stage: &str) -> Result<(), PlanError> {
    let Shape { hidden, heads, head_size, .. } = *shape;
    check_sizes(&[("head_size", head_size)], stage)?;
    check_sizes(&[("heads x head_size", heads * head_size)], stage)?;
    let stage = stage.to_owned();
    if hidden.is_multiple_of(head_size) {
        return Ok(());
    }
    let (below, above) = (hidden / head_size * head_size, hidden.next_multiple_of(head_size));
    Err(PlanError::Width { stage, hidden, head_size, below, above })
}

fn check_growth(request: &StageRequest, previous: Option<&StageRequest>) -> Result<(), PlanError> {
    let stage = request.name.clone();
    let Some(previous) = previous else {
        if request.learning_rate.is_none() {
            return Err(PlanError::Inherited { stage });
        }
        let what = "the first stage starts from new weights and has no growth";
        return if request.growth.is_some() { Err(PlanError::Growth { stage, what }) } else { Ok(()) };
    };
    if let Some(axis) = request.shape.shrinks_from(&previous.shape) {
        return Err(PlanError::Shrinks { stage, axis });
    }
    let objection = request.growth.and_then(|growth| growth.objection(&previous.shape, &request.shape));
    if let Some(what) = objection {
        return Err(PlanError::Growth { stage, what });
    }
    if request.growth.is_none() && request.shape != previous.shape {
        let what = "its shape differs from the stage before; say how it grows: growth = { depth = \"stack\", width = \"random\", \
                    ramp = \"...\", moments = \"old\" }";
        return Err(PlanError::Growth { stage, what });
    }
    Ok(())
}

/// Optimizer steps of a stage: its budget cut to whole batches.
fn steps_of(request: &StageRequest) -> Result<u64, PlanError> {
    let stage = || request.name.clone();
    let Batch { rows, micro_rows } = request.batch;
    if rows % micro_rows != 0 {
        return Err(PlanError::MicroBatch { stage: stage(), rows, micro_rows });
    }
    let batch_tokens = request.batch_tokens();
    match request.tokens / batch_tokens {
        0 => Err(PlanError::Budget { stage: stage(), tokens: request.tokens, batch_tokens }),
        n_steps => Ok(n_steps),
    }
}

/// Steps with masks below 1. One step of the stage at least is trained without them: what comes after it has none left.
fn ramp_steps(request: &StageRequest, n_steps: u64) -> Result<u64, PlanError> {
    let tokens = request.growth.map_or(0, |growth| growth.ramp_tokens);
    let n_ramp_steps = tokens.div_ceil(request.batch_tokens());
    if n_ramp_steps >= n_steps {
        let stage_tokens = n_steps * request.batch_tokens();
        return Err(PlanError::TooLong { stage: request.name.clone(), what: "the mask ramp", tokens, stage_tokens });
    }
    Ok(n_ramp_steps)
}

/// The learning rate of every stage: a curve of its own, which the stages after it may go on with.
fn curves(requests: &[StageRequest], n_steps: &[u64]) -> Result<Vec<Curve>, PlanError> {
    let tokens: Vec<u64> = requests.iter().zip(n_steps).map(|(request, n)| n * request.batch_tokens()).collect();
    let mut curves: Vec<Curve> = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let curve = match (request.learning_rate, curves.last()) {
            (None, Some(last)) => Curve { tokens_before: last.tokens_before + tokens[index - 1], ..*last },
            (None, None) => return Err(PlanError::Inherited { stage: request.name.clone() }),
            (Some(rate), _) => {
                let goes_on = requests[index + 1..].iter().take_while(|later| later.learning_rate.is_none()).count();
                let length = tokens[index..=index + goes_on].iter().sum();
                check_rate(&rate, &request.name, length)?;
                Curve { rate, tokens_before: 0, tokens: length }
            }
        };
        curves.push(curve);
    }
    Ok(curves)
}

fn check_rate(rate: &LearningRate, stage: &str, stage_tokens: u64) -> Result<(), PlanError> {
    let too_long = |what, tokens| Err(PlanError::TooLong { stage: stage.to_owned(), what, tokens, stage_tokens });
    if rate.warmup_tokens() >= stage_tokens {
        return too_long("warm-up", rate.warmup_tokens());
    }
    let LearningRate::WarmupStableDecay { warmup_tokens, decay_tokens, .. } = *rate else { return Ok(()) };
    if decay_tokens == 0 {
        return Err(PlanError::Zero { stage: stage.to_owned(), what: "the decay of its learning rate" });
    }
    let tokens = warmup_tokens.saturating_add(decay_tokens);
    if tokens > stage_tokens { too_long("warm-up and decay of the learning rate together", tokens) } else { Ok(()) }
}
