//! Growth schedules under a budget, ranked by the loss that [`crate::loss`] predicts.
//!
//! Last models have about as many blocks as heads, heads 128 wide, feed-forward four times the width. That is the aspect of the paper's last model (80
//! layers of 80 heads), around which Kaplan et al. (arXiv 2001.08361, section 3.2) found the loss flat. Each is trained from scratch, or grows as what won in
//! our study of growth did (docs/growth.md): a third of its blocks, two thirds, all of them, by stacked copies. What a shape costs follows from its fastest
//! layout that fits, where it grows with the memory that growing takes.

use std::collections::BTreeSet;

use serde::Serialize;
use thiserror::Error;

use crate::forecast::{PRICE_MOST, Resources};
use crate::layout::{LayoutError, LayoutForecast, Machine, layouts};
use crate::limits::{ROWS_MOST, TOKENS_MOST};
use crate::loss::LossLaw;
use crate::memory::Beginning;
use crate::shape::Shape;

/// Width of a head (FLM-101B, and its search's proxy).
const HEAD_SIZE: u64 = 128;

/// Heads of the models that are looked at: with as many blocks, 2 million parameters beside the embedding to a thousand billion.
const HEADS: [u64; 27] =
    [2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 64, 72, 80, 88, 96, 104, 112, 128, 144, 168];

/// Beside as many blocks as heads, multiples of this from three quarters to five quarters of that.
const BLOCKS: u64 = 3;

/// Tokens are shared in so many parts, and the stages of a model that grows have so many of them.
const PARTS: u64 = 10;
const PARTS_OF_STAGES: [u64; 3] = [3, 3, 4];

/// Proposals that are given.
const PROPOSALS_MAX: usize = 10;

/// The share of its stage that warm-up takes.
const WARMUP_SHARE: f64 = 0.05;

/// The largest budget: more than there is.
const BUDGET_MOST: f64 = 1e15;

/// Budgets that are tried to find one that is enough.
const BUDGETS_TRIED: usize = 20;

/// The smallest price of an hour.
const PRICE_LEAST: f64 = 1e-6;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Money.
    pub budget_usd: f64,
    /// Tokens of the whole run.
    pub n_tokens: u64,
    /// Rows of the embedding.
    pub vocabulary: u64,
    /// Tokens that a row predicts.
    pub context: u64,
    /// Highest learning rate, found on a small proxy under muP, and the last one.
    pub learning_rates: (f64, f64),
    /// What it is computed with. Known speeds are not used: shapes are new.
    pub resources: &'a Resources,
    /// What ranks schedules.
    pub law: LossLaw,
}

/// A stage of a proposal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProposedStage {
    /// Its name, after its size.
    pub name: String,
    /// Its model.
    pub shape: Shape,
    /// Whole steps.
    pub n_steps: u64,
    /// Rows of a step.
    pub rows: u64,
    /// The fastest layout.
    pub layout: LayoutForecast,
    /// Learning rate after warm-up, and at the end.
    pub learning_rates: (f64, f64),
    /// Steps of warm-up.
    pub warmup_steps: u64,
}

impl ProposedStage {
    /// Tokens trained on.
    pub fn n_tokens(&self) -> u64 {
        self.n_steps * self.rows * self.shape.context
    }
}

/// A schedule under the budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposal {
    /// In training order.
    pub stages: Vec<ProposedStage>,
    /// Days.
    pub days: f64,
    /// Money.
    pub usd: f64,
    /// Predicted loss.
    pub loss: f64,
    /// Money for the last model from scratch on as many tokens.
    pub from_scratch_usd: f64,
}

/// A question without an answer.
#[derive(Debug, Error, PartialEq)]
pub enum ProposalError {
    /// Even the cheapest schedule costs more.
    #[error(
        "{budget_usd} USD is too little for any schedule: {n_tokens} tokens need {needed_usd} USD at least, for a model of {n_parameters} \
         parameters{instead}"
    )]
    Budget {
        /// Money.
        budget_usd: f64,
        /// Tokens asked for.
        n_tokens: u64,
        /// Parameters of the cheapest model.
        n_parameters: u64,
        /// A budget that is enough, to three digits.
        needed_usd: String,
        /// Where the budget is enough for fewer tokens, how many.
        instead: String,
    },
    /// Fewer tokens than one batch in every part.
    #[error("{n_tokens} tokens are less than {PARTS} batches of {batch_tokens}; take at least {needed}")]
    Tokens {
        /// Tokens asked for.
        n_tokens: u64,
        /// Tokens of a batch.
        batch_tokens: u64,
        /// The least that works.
        needed: u64,
    },
    /// More tokens than can be planned.
    #[error("{n_tokens} tokens are more than can be planned; take at most {TOKENS_MOST}")]
    ManyTokens {
        /// Tokens asked for.
        n_tokens: u64,
    },
    /// Not even the smallest model fits.
    #[error("no model fits: it isn't the budget, it is memory")]
    Memory(#[source] LayoutError),
    /// Not a number of money.
    #[error("a budget of {0:?} USD cannot be planned with; it must be above 0 and at most {BUDGET_MOST:e}")]
    BudgetRange(f64),
    /// Not a price.
    #[error(
        "{0:?} USD for an hour of one device cannot be planned with; it must be from {PRICE_LEAST:?} to {PRICE_MOST}"
    )]
    Price(f64),
}

/// A shape with its cost.
#[derive(Clone, Copy)]
struct Candidate {
    shape: Shape,
    layout: LayoutForecast,
    usd_per_token: f64,
    seconds_per_token: f64,
}

/// The best schedules under the budget, lowest predicted loss first: of every width the best from scratch and the best that grows.
pub fn propose(question: &Question<'_>) -> Result<Vec<Proposal>, ProposalError> {
    check(question)?;
    let n_tokens = question.n_tokens;
    let rows = batch_rows(question);
    let batch_tokens = rows * question.context;
    if n_tokens < PARTS * batch_tokens {
        return Err(ProposalError::Tokens { n_tokens, batch_tokens, needed: PARTS * batch_tokens });
    }
    let n_steps = n_tokens / batch_tokens;
    let ways = |shape: Shape| [from_scratch(question, rows, n_steps, shape), growing(question, rows, n_steps, shape)];
    let ways = last_shapes(question).flat_map(ways).flatten();
    let mut found: Vec<Priced> = ways.filter_map(|stages| price(question, stages, batch_tokens)).collect();
    if found.is_empty() {
        return Err(too_little(question, rows));
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut told = BTreeSet::new();
    found.retain(|(_, stages)| told.insert((stages.len(), stages[stages.len() - 1].0.shape.hidden)));
    found.truncate(PROPOSALS_MAX);
    Ok(found.into_iter().map(|(loss, stages)| proposal(question, rows, loss, &stages)).collect())
}

fn check(question: &Question<'_>) -> Result<(), ProposalError> {
    let Question { budget_usd, n_tokens, resources, .. } = *question;
    if !(budget_usd > 0.0 && budget_usd <= BUDGET_MOST) {
        return Err(ProposalError::BudgetRange(budget_usd));
    }
    if !(PRICE_LEAST..=PRICE_MOST).contains(&resources.usd_per_device_hour) {
        return Err(ProposalError::Price(resources.usd_per_device_hour));
    }
    if n_tokens > TOKENS_MOST {
        return Err(ProposalError::ManyTokens { n_tokens });
    }
    Ok(())
}

/// Rows of a step: DeepSeek LLM's law for the compute-optimal batch, `0.2920 C^0.3271` tokens (arXiv 2401.02954, section 3.1), at the FLOPs that the
/// budget buys, made to divide evenly among the devices.
fn batch_rows(question: &Question<'_>) -> u64 {
    let Question { budget_usd, context, resources, .. } = *question;
    let device_seconds = budget_usd / resources.usd_per_device_hour * 3600.0;
    let device = &resources.device;
    let flops = device_seconds * device.availability * device.compute_share * device.peak_flops(resources.precision);
    let rows = 0.2920 * flops.powf(0.3271) / context as f64;
    // A multiple of the devices divides in every layout of them, one of sixteen into every micro-batch that is tried.
    let multiple =
        (1..).map(|n| n * resources.n_devices).find(|n| n.is_multiple_of(16)).expect("the sixteenth at the latest");
    ((rows / multiple as f64).round() as u64).clamp(1, (ROWS_MOST / multiple).max(1)) * multiple
}

/// A shape in its fastest layout, if it fits in any where a stage begins so.
fn candidate(question: &Question<'_>, rows: u64, shape: Shape, beginning: Beginning) -> Option<Candidate> {
    let Resources { device, n_devices, usd_per_device_hour, .. } = question.resources;
    // What doesn't fit, or divide, is no candidate.
    let layout = layouts("", &shape, rows, beginning, &machine(question)).ok()?.into_iter().next()?;
    let seconds = layout.step_seconds / (rows * question.context) as f64 / device.availability;
    let usd = seconds / 3600.0 * *n_devices as f64 * usd_per_device_hour;
    Some(Candidate { shape, layout, usd_per_token: usd, seconds_per_token: seconds })
}

/// Candidates with the steps of their stages.
type Stages = Vec<(Candidate, u64)>;

fn from_scratch(question: &Question<'_>, rows: u64, n_steps: u64, whole: Shape) -> Option<Stages> {
    Some(vec![(candidate(question, rows, whole, Beginning::PLAIN)?, n_steps)])
}

/// A third of the blocks, two thirds, and all.
fn growing(question: &Question<'_>, rows: u64, n_steps: u64, whole: Shape) -> Option<Stages> {
    let layers = [1, 2, 3].map(|thirds| (whole.layers * thirds).div_ceil(3));
    if layers[0] == layers[1] || layers[1] == layers[2] {
        return None;
    }
    let steps = PARTS_OF_STAGES.map(|parts| n_steps * parts / PARTS);
    let steps = [steps[0], steps[1], n_steps - steps[0] - steps[1]];
    let stage = |index: usize| {
        let beginning = if index == 0 { Beginning::PLAIN } else { Beginning::GROWN };
        let shape = Shape { layers: layers[index], ..whole };
        Some((candidate(question, rows, shape, beginning)?, steps[index]))
    };
    (0..3).map(stage).collect()
}

fn machine<'a>(question: &Question<'a>) -> Machine<'a> {
    let Resources { device, n_devices, precision, recompute, .. } = question.resources;
    Machine { device, n_devices: *n_devices, precision: *precision, recompute: *recompute }
}

/// Models to end with.
fn last_shapes(question: &Question<'_>) -> impl Iterator<Item = Shape> {
    let (vocabulary, context) = (question.vocabulary, question.context);
    HEADS.into_iter().flat_map(move |heads| {
        let near = (heads * 3).div_ceil(4 * BLOCKS)..=heads * 5 / (4 * BLOCKS);
        let layers: BTreeSet<u64> = near.map(|n| n * BLOCKS).chain([heads]).collect();
        let hidden = heads * HEAD_SIZE;
        let shape =
            move |layers| Shape { layers, hidden, heads, head_size: HEAD_SIZE, ffn: 4 * hidden, vocabulary, context };
        layers.into_iter().map(shape)
    })
}

type Priced = (f64, Stages);

/// The predicted loss, where the budget is enough.
fn price(question: &Question<'_>, stages: Stages, batch_tokens: u64) -> Option<Priced> {
    let tokens = || stages.iter().map(|(candidate, steps)| (candidate, (steps * batch_tokens) as f64));
    let usd: f64 = tokens().map(|(candidate, tokens)| candidate.usd_per_token * tokens).sum();
    if usd > question.budget_usd {
        return None;
    }
    let sizes = tokens().map(|(candidate, tokens)| (candidate.shape.n_parameters() as f64, tokens));
    Some((question.law.of_stages(sizes), stages))
}

/// The model that is cheapest to train from scratch.
fn cheapest(question: &Question<'_>, rows: u64) -> Option<Candidate> {
    let alone = last_shapes(question).filter_map(|shape| candidate(question, rows, shape, Beginning::PLAIN));
    alone.min_by(|a, b| a.usd_per_token.total_cmp(&b.usd_per_token))
}

fn too_little(question: &Question<'_>, rows: u64) -> ProposalError {
    let batch_tokens = rows * question.context;
    let Some(cheapest) = cheapest(question, rows) else {
        let smallest = last_shapes(question).next().expect("there are shapes");
        let found = layouts(&name(&smallest), &smallest, rows, Beginning::PLAIN, &machine(question));
        return ProposalError::Memory(found.expect_err("it would be a candidate else"));
    };
    let affordable = (question.budget_usd / cheapest.usd_per_token) as u64 / batch_tokens * batch_tokens;
    let is_enough = affordable >= PARTS * batch_tokens;
    ProposalError::Budget {
        budget_usd: question.budget_usd,
        n_tokens: question.n_tokens,
        n_parameters: cheapest.shape.n_parameters(),
        needed_usd: needed_usd(question),
        instead: if is_enough { format!("; it is enough for {affordable} tokens") } else { String::new() },
    }
}

/// A budget that is enough, rounded up to three digits. Another budget has another batch, and with it another price: so one is looked for that pays
/// its own, and little more.
fn needed_usd(question: &Question<'_>) -> String {
    let mut asked = question.clone();
    let mut enough = f64::INFINITY;
    for _ in 0..BUDGETS_TRIED {
        let Some(cheapest) = cheapest(&asked, batch_rows(&asked)) else { break };
        let costs = cheapest.usd_per_token * asked.n_tokens as f64;
        if costs <= asked.budget_usd {
            enough = enough.min(asked.budget_usd);
        }
        let unit = 10.0_f64.powf(costs.log10().floor() - 2.0);
        asked.budget_usd = (costs / unit).ceil() * unit;
        if asked.budget_usd >= enough {
            break;
        }
    }
    let needed = if enough.is_finite() { enough } else { asked.budget_usd };
    let digits = (2.0 - needed.log10().floor()).clamp(0.0, 20.0) as usize;
    format!("{needed:.digits$}")
}

/// Each stage warms up to the highest learning rate; the last falls from there, along a cosine, and the others stay (docs/growth.md).
fn proposal(question: &Question<'_>, rows: u64, loss: f64, stages: &[(Candidate, u64)]) -> Proposal {
    let n_steps: u64 = stages.iter().map(|(_, steps)| steps).sum();
    let (peak, end) = question.learning_rates;
    let batch_tokens = rows * question.context;
    let stage = |(index, (candidate, steps)): (usize, &(Candidate, u64))| ProposedStage {
        name: stage_name(&candidate.shape, stages),
        shape: candidate.shape,
        n_steps: *steps,
        rows,
        layout: candidate.layout,
        learning_rates: (peak, if index + 1 == stages.len() { end } else { peak }),
        warmup_steps: ((*steps as f64 * WARMUP_SHARE) as u64).max(1),
    };
    let proposed: Vec<ProposedStage> = stages.iter().enumerate().map(stage).collect();
    let sum = |of: fn(&Candidate) -> f64| {
        stages.iter().map(|(candidate, steps)| of(candidate) * (steps * batch_tokens) as f64).sum::<f64>()
    };
    let last = stages[stages.len() - 1].0;
    Proposal {
        stages: proposed,
        days: sum(|candidate| candidate.seconds_per_token) / 86_400.0,
        usd: sum(|candidate| candidate.usd_per_token),
        loss,
        from_scratch_usd: last.usd_per_token * (n_steps * batch_tokens) as f64,
    }
}

/// The size; with the blocks, where that is another stage's too.
fn stage_name(shape: &Shape, stages: &[(Candidate, u64)]) -> String {
    let size = name(shape);
    let n_alike = stages.iter().filter(|(other, _)| name(&other.shape) == size).count();
    if n_alike > 1 { format!("{size}-{}", shape.layers) } else { size }
}

/// A size as a name: 16B, 350M.
fn name(shape: &Shape) -> String {
    let n = shape.n_parameters() as f64;
    if n >= 9.95e9 {
        format!("{:.0}B", n / 1e9)
    } else if n >= 1e9 {
        format!("{:.1}B", n / 1e9)
    } else {
        format!("{:.0}M", n / 1e6)
    }
}
