//! The trainings of the study of growth.

use std::path::{Path, PathBuf};

use planner::{Batch, Depth, Growth, LearningRate, Moments, MuP, OptimizerSettings, Shape, StageRequest, Width};
use serde_json::{Value, json};

const CONTEXT: u64 = 128;
const BATCH: Batch = Batch { rows: 16, micro_rows: 8 };
const BATCH_TOKENS: u64 = BATCH.rows * CONTEXT;

/// Steps of the large model from scratch: 6.3 M tokens. With 2,048 a model of two blocks, trained alone, is still ahead at equal FLOPs; with 4,096
/// it is 0.09 nats behind.
const STEPS: u64 = 3072;

/// Steps between validations.
const VALIDATE_EVERY: u64 = 256;

/// Of every arm, and of those that the answer hangs on.
const SEEDS: u64 = 3;
const MORE_SEEDS: u64 = 6;

const PEAK: f64 = 8e-3;

/// Share of the tokens that the small models see before the last growth step.
const SMALL_SHARE: f64 = 0.6;
const LATE_SHARE: f64 = 0.8;

/// Of a grown stage: masks rise over a tenth, the learning rate over a twentieth.
const RAMP: u64 = 10;
const WARM_UP: u64 = 20;

const LARGE: Shape = shape(6, 64);
/// A third of the blocks: 40 % of the FLOPs.
const SHALLOW: Shape = shape(2, 64);
const HALF_DEEP: Shape = shape(4, 64);
/// Half of the blocks and half of the width: 19 % of the FLOPs.
const NARROW: Shape = shape(3, 32);
const WIDENED: Shape = shape(3, 64);

const fn shape(layers: u64, hidden: u64) -> Shape {
    let head_size = 16;
    Shape { layers, hidden, heads: hidden / head_size, head_size, ffn: 4 * hidden, vocabulary: 640, context: CONTEXT }
}

/// How long an arm is trained, measured by the large model from scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    EqualFlops,
    /// As many FLOPs as half of them.
    HalfFlops,
    EqualTokens,
}

impl Budget {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EqualFlops => "equal-flops",
            Self::HalfFlops => "half-flops",
            Self::EqualTokens => "equal-tokens",
        }
    }
}

/// What the learning rate does at a growth step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rate {
    /// A short warm-up, then a cosine of its own from the peak.
    Rewarm,
    /// The same without the warm-up.
    Rewind,
    /// As `Rewarm`, but falling in the last stage alone.
    Stable,
    /// One cosine over all stages.
    Inherit,
}

/// One training.
pub(super) struct Training {
    pub(super) arm: &'static str,
    pub(super) budget: Budget,
    pub(super) seed: u64,
    pub(super) stages: Vec<StageRequest>,
}

impl Training {
    pub(super) fn name(&self) -> String {
        format!("{}-{}-{}", self.arm, self.budget.name(), self.seed)
    }

    pub(super) fn folder(&self, study: &Path) -> PathBuf {
        study.join("arms").join(self.name())
    }

    /// FLOPs after so many tokens.
    pub(super) fn flops_after(&self, mut tokens: u64) -> f64 {
        let mut flops = 0.0;
        for stage in &self.stages {
            let of_stage = tokens.min(stage.tokens);
            flops += (of_stage * stage.shape.flops_per_token()) as f64;
            tokens -= of_stage;
        }
        flops
    }

    pub(super) fn flops(&self) -> f64 {
        self.flops_after(u64::MAX)
    }

    /// Steps of the first stage.
    pub(super) fn n_first_steps(&self) -> u64 {
        self.stages[0].tokens / BATCH_TOKENS
    }

    /// Whether the other one is the same training until the first of several stages ends.
    pub(super) fn begins_like(&self, other: &Self) -> bool {
        let ([first, second, ..], [other_first, other_second, ..]) = (&self.stages[..], &other.stages[..]) else {
            return false;
        };
        // One that is inherited reaches over later stages.
        let is_inherited = |stage: &StageRequest| stage.learning_rate.is_none();
        self.seed == other.seed && first == other_first && !is_inherited(second) && !is_inherited(other_second)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "seed": self.seed,
            "stages": self.stages,
            "mup": MuP { base_width: LARGE.hidden, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.04 },
            "optimizer": OptimizerSettings { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 1.0 },
            "precision": "float32",
            // Nothing but what is no number stops an arm.
            "stability": {
                "window": 128, "loss_sigma": 1e9, "norm_sigma": 1e9, "policy": "stop", "skips_max": 0, "step_seconds_max": 600.0,
            },
            "validate_every": VALIDATE_EVERY,
            "checkpoint_every": 512,
        })
    }
}

/// FLOPs of the large model from scratch.
pub(super) fn scratch_flops() -> f64 {
    (STEPS * BATCH_TOKENS * LARGE.flops_per_token()) as f64
}

/// One way to the large model, or another model beside it.
struct Arm {
    name: &'static str,
    words: &'static str,
    /// The last growth is into `LARGE`.
    shapes: &'static [Shape],
    growths: &'static [Growth],
    rate: Rate,
    small_share: f64,
    n_seeds: u64,
    budgets: &'static [Budget],
}

const BOTH: &[Budget] = &[Budget::EqualTokens, Budget::EqualFlops];
const FLOPS: &[Budget] = &[Budget::EqualFlops];

const fn growth(depth: Depth, width: Width, is_masked: bool, moments: Moments) -> Growth {
    // The length of the ramp is set when that of the stage is known.
    Growth { depth, width, ramp_tokens: is_masked as u64, moments }
}

const fn plain(depth: Depth) -> Growth {
    growth(depth, Width::Random, false, Moments::Grown)
}

const MASKED: Growth = growth(Depth::Stack, Width::Random, true, Moments::Old);
const STACK: Growth = plain(Depth::Stack);

const fn arm(
    (name, words): (&'static str, &'static str),
    shapes: &'static [Shape],
    growths: &'static [Growth],
    budgets: &'static [Budget],
) -> Arm {
    Arm { name, words, shapes, growths, rate: Rate::Rewarm, small_share: SMALL_SHARE, n_seeds: SEEDS, budgets }
}

const ARMS: [Arm; 21] = [
    Arm {
        n_seeds: MORE_SEEDS,
        ..arm(("scratch", "from scratch"), &[LARGE], &[], &[Budget::HalfFlops, Budget::EqualFlops])
    },
    Arm {
        rate: Rate::Stable,
        n_seeds: MORE_SEEDS,
        ..arm(("scratch-stable", "from scratch, rate falls last"), &[LARGE, LARGE, LARGE], &[], FLOPS)
    },
    arm(("small-shallow", "2 blocks alone"), &[SHALLOW], &[], FLOPS),
    arm(("small-narrow", "3 blocks of half the width alone"), &[NARROW], &[], FLOPS),
    arm(("depth-stack", "2 to 6 blocks, stacked copies"), &[SHALLOW, LARGE], &[STACK], BOTH),
    arm(("depth-interpose", "2 to 6, copies interposed"), &[SHALLOW, LARGE], &[plain(Depth::Interpose)], BOTH),
    arm(("depth-zero", "2 to 6, copies that add zero at first"), &[SHALLOW, LARGE], &[plain(Depth::Zero)], BOTH),
    arm(("depth-masked", "2 to 6, stacked behind a mask"), &[SHALLOW, LARGE], &[MASKED], BOTH),
    arm(("both-masked", "width and depth, masked"), &[NARROW, LARGE], &[MASKED], BOTH),
    arm(
        ("both-zero", "width and depth, zeros behind a mask"),
        &[NARROW, LARGE],
        &[growth(Depth::Zero, Width::Zero, true, Moments::Old)],
        BOTH,
    ),
    arm(
        ("both-split", "width and depth, split units"),
        &[NARROW, LARGE],
        &[growth(Depth::Stack, Width::Split, false, Moments::Grown)],
        BOTH,
    ),
    arm(("three-stack", "2 to 4 to 6 blocks, stacked"), &[SHALLOW, HALF_DEEP, LARGE], &[STACK, STACK], BOTH),
    arm(("three-masked", "width, then depth, masked"), &[NARROW, WIDENED, LARGE], &[MASKED, MASKED], BOTH),
    arm(
        ("stack-old-moments", "stacked; copies start without moments"),
        &[SHALLOW, LARGE],
        &[growth(Depth::Stack, Width::Random, false, Moments::Old)],
        FLOPS,
    ),
    arm(
        ("stack-reset-moments", "stacked; moments reset"),
        &[SHALLOW, LARGE],
        &[growth(Depth::Stack, Width::Random, false, Moments::Reset)],
        FLOPS,
    ),
    Arm { rate: Rate::Rewind, ..arm(("stack-rewind", "stacked; no new warm-up"), &[SHALLOW, LARGE], &[STACK], FLOPS) },
    Arm {
        rate: Rate::Inherit,
        ..arm(("stack-inherit", "stacked; one learning rate curve"), &[SHALLOW, LARGE], &[STACK], FLOPS)
    },
    Arm {
        rate: Rate::Inherit,
        ..arm(("masked-inherit", "width and depth, masked; one curve"), &[NARROW, LARGE], &[MASKED], FLOPS)
    },
    arm(
        ("five-stack", "2 to 3 to 4 to 5 to 6 blocks, stacked"),
        &[SHALLOW, WIDENED, HALF_DEEP, shape(5, 64), LARGE],
        &[STACK, STACK, STACK, STACK],
        BOTH,
    ),
    Arm {
        small_share: LATE_SHARE,
        ..arm(
            ("three-late", "2 to 4 to 6, stacked, last after 80 %"),
            &[SHALLOW, HALF_DEEP, LARGE],
            &[STACK, STACK],
            BOTH,
        )
    },
    Arm {
        rate: Rate::Stable,
        n_seeds: MORE_SEEDS,
        ..arm(
            ("three-stable", "2 to 4 to 6, stacked, rate falls last"),
            &[SHALLOW, HALF_DEEP, LARGE],
            &[STACK, STACK],
            BOTH,
        )
    },
];

/// An arm in words.
pub(super) fn words(arm: &str) -> &'static str {
    ARMS.iter().find(|known| known.name == arm).map_or("", |known| known.words)
}

/// All trainings, one seed after the other.
pub(super) fn trainings() -> Vec<Training> {
    let of_arm = |seed: u64, arm: &Arm| {
        let training = |&budget: &Budget| Training { arm: arm.name, budget, seed, stages: stages(arm, budget) };
        arm.budgets.iter().map(training).collect::<Vec<_>>()
    };
    let seeds = 1..=MORE_SEEDS;
    let of_seed = |seed| ARMS.iter().filter(move |arm| seed <= arm.n_seeds).flat_map(move |arm| of_arm(seed, arm));
    seeds.flat_map(of_seed).collect()
}

fn stages(arm: &Arm, budget: Budget) -> Vec<StageRequest> {
    let n_small = arm.shapes.len() - 1;
    let share = |index: usize| match n_small {
        0 => 1.0,
        _ if index < n_small => arm.small_share / n_small as f64,
        _ => 1.0 - arm.small_share,
    };
    let flops_of_token: f64 =
        arm.shapes.iter().enumerate().map(|(index, shape)| share(index) * shape.flops_per_token() as f64).sum();
    let steps = match budget {
        Budget::EqualTokens => STEPS as f64,
        Budget::EqualFlops => scratch_flops() / flops_of_token / BATCH_TOKENS as f64,
        Budget::HalfFlops => scratch_flops() / flops_of_token / BATCH_TOKENS as f64 / 2.0,
    };
    let stage = |(index, shape): (usize, &Shape)| {
        let tokens = (steps * share(index)).round() as u64 * BATCH_TOKENS;
        // An arm that stays as it is has stages only for its learning rate.
        let before = index.checked_sub(1).filter(|&before| arm.shapes[before] != *shape);
        let growth = before.map(|before| {
            let growth = arm.growths[before];
            Growth { ramp_tokens: growth.ramp_tokens * (tokens / RAMP), ..growth }
        });
        let is_last = index == n_small;
        let learning_rate = match arm.rate {
            Rate::Inherit if index > 0 => None,
            // One curve for all stages ends where all end.
            Rate::Inherit => Some(cosine(PEAK, PEAK / 10.0, tokens / WARM_UP)),
            Rate::Rewind if index > 0 => Some(cosine(PEAK, if is_last { PEAK / 10.0 } else { PEAK / 2.0 }, 0)),
            Rate::Stable => {
                let warmup = if index > 0 && growth.is_none() { 0 } else { tokens / WARM_UP };
                Some(cosine(PEAK, if is_last { PEAK / 10.0 } else { PEAK }, warmup))
            }
            Rate::Rewarm | Rate::Rewind => {
                Some(cosine(PEAK, if is_last { PEAK / 10.0 } else { PEAK / 2.0 }, tokens / WARM_UP))
            }
        };
        StageRequest { name: format!("stage-{index}"), tokens, shape: *shape, batch: BATCH, learning_rate, growth }
    };
    arm.shapes.iter().enumerate().map(stage).collect()
}

fn cosine(peak: f64, end: f64, warmup_tokens: u64) -> LearningRate {
    LearningRate::Cosine { peak, end, warmup_tokens }
}
