//! Growth schedules under a budget, ranked by the loss that [`crate::loss`] predicts.
//!
//! Shapes come from one family: `layers` = `heads`, heads 128 wide, feed-forward four times the width. That is the aspect of the paper's last
//! model (80 layers of 80 heads), near what Kaplan et al. (arXiv 2001.08361, section 3.2) found flat. Every schedule of one to three rising shapes and
//! every share of the tokens on a grid is looked at. What a shape costs follows from its fastest layout that fits, where it grows with the memory
//! that growing takes.

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

/// Heads of the shapes that are looked at: 2 million parameters beside the embedding to a thousand billion.
const HEADS: [u64; 27] =
    [2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 64, 72, 80, 88, 96, 104, 112, 128, 144, 168];

/// A model grows at least by this factor, or growing isn't worth its ramp.
const GROWTH_MIN: f64 = 1.5;

/// Tokens are shared in parts of one in so many.
const PARTS: u64 = 40;

/// A stage has so many of them at least.
const PARTS_MIN: u64 = 2;

/// Proposals that are given.
const PROPOSALS_MAX: usize = 10;

/// The share of the stage that masks, or warm-up, may take at most.
const RAMP_SHARE: f64 = 0.1;

/// Steps of warm-up of the first stage and of the others (FLM-101B: 4,608,000 and 230,400 samples of 2,304 a step).
const WARMUP_STEPS: [u64; 2] = [2000, 100];

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
    /// Steps over which masks rise; 0 in the first stage.
    pub ramp_steps: u64,
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

/// The best schedules under the budget, lowest predicted loss first; one for every last model and number of stages.
pub fn propose(question: &Question<'_>) -> Result<Vec<Proposal>, ProposalError> {
    check(question)?;
    let n_tokens = question.n_tokens;
    let rows = batch_rows(question);
    let batch_tokens = rows * question.context;
    if n_tokens < PARTS * batch_tokens {
        return Err(ProposalError::Tokens { n_tokens, batch_tokens, needed: PARTS * batch_tokens });
    }
    let first = candidates(question, rows, Beginning::PLAIN);
    let grown = candidates(question, rows, Beginning::MASKED);
    let mut found: Vec<Priced> = Vec::new();
    for shapes in rising(&first, &grown) {
        let shares = shares(shapes.len() as u64, n_tokens / batch_tokens);
        let priced = shares.filter_map(|steps| price(question, &shapes, &steps, batch_tokens));
        if let Some(best) = priced.min_by(|a, b| a.0.total_cmp(&b.0)) {
            found.push(best);
        }
    }
    if found.is_empty() {
        return Err(too_little(question, batch_tokens, &first));
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut told = BTreeSet::new();
    found.retain(|(_, stages)| told.insert((stages.len(), stages[stages.len() - 1].0.shape.layers)));
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

/// The shapes that fit in some layout where a stage begins so.
fn candidates(question: &Question<'_>, rows: u64, beginning: Beginning) -> Vec<Candidate> {
    let Resources { device, n_devices, usd_per_device_hour, .. } = question.resources;
    let machine = machine(question);
    let candidate = |heads: u64| {
        let shape = shape_of(question, heads);
        // What doesn't fit, or divide, is no candidate.
        let layout = layouts("", &shape, rows, beginning, &machine).ok()?.into_iter().next()?;
        let seconds = layout.step_seconds / (rows * question.context) as f64 / device.availability;
        let usd = seconds / 3600.0 * *n_devices as f64 * usd_per_device_hour;
        Some(Candidate { shape, layout, usd_per_token: usd, seconds_per_token: seconds })
    };
    HEADS.into_iter().filter_map(candidate).collect()
}

fn machine<'a>(question: &Question<'a>) -> Machine<'a> {
    let Resources { device, n_devices, precision, recompute, .. } = question.resources;
    Machine { device, n_devices: *n_devices, precision: *precision, recompute: *recompute }
}

fn shape_of(question: &Question<'_>, heads: u64) -> Shape {
    let hidden = heads * HEAD_SIZE;
    let (vocabulary, context) = (question.vocabulary, question.context);
    Shape { layers: heads, hidden, heads, head_size: HEAD_SIZE, ffn: 4 * hidden, vocabulary, context }
}

/// All lists of one of `first` and up to two of `grown`, each larger than the one before.
fn rising(first: &[Candidate], grown: &[Candidate]) -> Vec<Vec<Candidate>> {
    let mut lists: Vec<Vec<Candidate>> = first.iter().map(|candidate| vec![*candidate]).collect();
    let mut longest = lists.clone();
    for _ in 1..3 {
        let grows = |list: &Vec<Candidate>, next: &Candidate| {
            let before = list[list.len() - 1].shape.n_parameters() as f64;
            next.shape.n_parameters() as f64 >= GROWTH_MIN * before
        };
        let longer = |list: &Vec<Candidate>| {
            let next = grown.iter().filter(|next| grows(list, next));
            next.map(|next| [&list[..], &[*next]].concat()).collect::<Vec<_>>()
        };
        longest = longest.iter().flat_map(longer).collect();
        lists.extend(longest.clone());
    }
    lists
}

/// Steps of every stage, for every way to share [`PARTS`] parts of them; the last stage has the rest.
fn shares(n_stages: u64, n_steps: u64) -> Box<dyn Iterator<Item = Vec<u64>>> {
    let part = move |parts: u64| n_steps * parts / PARTS;
    match n_stages {
        1 => Box::new(std::iter::once(vec![n_steps])),
        2 => Box::new((PARTS_MIN..=PARTS - PARTS_MIN).map(move |first| vec![part(first), n_steps - part(first)])),
        _ => Box::new((PARTS_MIN..=PARTS - 2 * PARTS_MIN).flat_map(move |first| {
            let rest = move |second: u64| n_steps - part(first) - part(second);
            (PARTS_MIN..=PARTS - first - PARTS_MIN).map(move |second| vec![part(first), part(second), rest(second)])
        })),
    }
}

type Priced = (f64, Vec<(Candidate, u64)>);

/// The predicted loss, where the budget is enough.
fn price(question: &Question<'_>, shapes: &[Candidate], steps: &[u64], batch_tokens: u64) -> Option<Priced> {
    let stages = || shapes.iter().zip(steps).map(|(candidate, steps)| (candidate, steps * batch_tokens));
    let usd: f64 = stages().map(|(candidate, tokens)| candidate.usd_per_token * tokens as f64).sum();
    if usd > question.budget_usd {
        return None;
    }
    let sizes = stages().map(|(candidate, tokens)| (candidate.shape.n_parameters() as f64, tokens as f64));
    let loss = question.law.of_stages(sizes);
    Some((loss, shapes.iter().copied().zip(steps.iter().copied()).collect()))
}

fn cheapest(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().min_by(|a, b| a.usd_per_token.total_cmp(&b.usd_per_token))
}

fn too_little(question: &Question<'_>, batch_tokens: u64, candidates: &[Candidate]) -> ProposalError {
    let Some(cheapest) = cheapest(candidates) else {
        let smallest = shape_of(question, HEADS[0]);
        let found =
            layouts(&name(&smallest), &smallest, batch_tokens / question.context, Beginning::PLAIN, &machine(question));
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
        let candidates = candidates(&asked, batch_rows(&asked), Beginning::PLAIN);
        let Some(cheapest) = cheapest(&candidates) else { break };
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

/// Each stage begins at the learning rate at which the one before ended ("approximately inherit", FLM-101B, section 2.3): one cosine over the whole
/// run says what that is. Between these rates, and behind its warm-up, each stage has half a cosine of its own.
fn proposal(question: &Question<'_>, rows: u64, loss: f64, stages: &[(Candidate, u64)]) -> Proposal {
    let n_steps: u64 = stages.iter().map(|(_, steps)| steps).sum();
    let (peak, end) = question.learning_rates;
    let rate =
        |steps: u64| end + (peak - end) * 0.5 * (1.0 + (std::f64::consts::PI * steps as f64 / n_steps as f64).cos());
    let batch_tokens = rows * question.context;
    let mut done = 0;
    let mut stage = |(index, (candidate, steps)): (usize, &(Candidate, u64))| {
        let learning_rates = (rate(done), rate(done + steps));
        done += steps;
        let at_most = ((*steps as f64 * RAMP_SHARE) as u64).max(1);
        let ramp_steps = if index == 0 { 0 } else { at_most.min(WARMUP_STEPS[0]) };
        ProposedStage {
            name: name(&candidate.shape),
            shape: candidate.shape,
            n_steps: *steps,
            rows,
            layout: candidate.layout,
            learning_rates,
            warmup_steps: WARMUP_STEPS[index.min(1)].min(at_most),
            ramp_steps,
        }
    };
    let proposed: Vec<ProposedStage> = stages.iter().enumerate().map(&mut stage).collect();
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
