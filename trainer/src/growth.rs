//! Growth: a small model becomes a larger one. Weights and both Adam moments grow tensor by tensor, by the roles of their axes, so the large model
//! never has to be in memory as a whole.
//!
//! Old weights keep the top-left corner of every tensor; [`Growth`] says what stands in the rest, and whether masks keep it from being seen
//! at first. muP divides the logits by the width. Where new coordinates of the residual stream start as something new, that makes the old ones
//! count for less, and with tied embeddings only the final LayerNorm can make up for it: its gain and bias are multiplied by h2 / h1, and their
//! moments divided by it once and twice, as a change of variable asks. Copies (`split`) make up for it themselves.

use corpus::Seed;
use planner::{Depth, Growth, Moments, MuP, Shape, Width};
use tch::{Device, Kind, Tensor};

use crate::optimizer::OptimizerState;
use crate::parameters::{
    Axis, BLOCK_TENSORS, GENERATOR, OUTER_TENSORS, ParameterSpec, Role, initial_tensor, parameter_specs, seed_generator,
};

/// How unequally copies share what they write: a share of 1 / n is drawn from within so much of it, up and down.
const SPLIT_SPREAD: f64 = 0.5;

/// Rows of a matrix whose shares are drawn at a time.
const SPLIT_ROWS: i64 = 256;

/// One growth step.
#[derive(Clone, Debug)]
pub struct GrowthStep {
    /// Shape before.
    pub old: Shape,
    /// Shape after.
    pub new: Shape,
    /// How.
    pub growth: Growth,
    /// muP of the run.
    pub mup: MuP,
    /// Of everything that is drawn.
    pub seed: Seed,
}

/// What is kept for every weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The weight itself.
    Weight,
    /// The mean of its gradients.
    FirstMoment,
    /// The mean of their squares.
    SecondMoment,
}

/// Rows of logits that are compared at a time: all at once would be many times the weights.
const LOGIT_ROWS: i64 = 256;

/// What logits `(n, v)` are made of.
pub(crate) struct Head {
    /// Final hidden states, `(n, h)`.
    pub(crate) hidden: Tensor,
    /// `(v, h)`.
    pub(crate) embedding: Tensor,
}

impl Head {
    fn logits(&self, first: i64, n_rows: i64) -> Tensor {
        self.hidden.narrow(0, first, n_rows).matmul(&self.embedding.tr())
    }
}

/// The largest change of a logit, and the largest logit there was, by their absolute values; NaN where one is.
pub(crate) fn max_logit_difference(before: &Head, after: &Head) -> (f64, f64) {
    let n = before.hidden.size()[0];
    let largest = |first: i64| {
        let n_rows = LOGIT_ROWS.min(n - first);
        let before = before.logits(first, n_rows);
        let mut difference = after.logits(first, n_rows);
        difference -= &before;
        Tensor::stack(&[difference.abs_().max(), before.abs().max()], 0)
    };
    let largest: Vec<Tensor> = tch::no_grad(|| (0..n).step_by(LOGIT_ROWS as usize).map(largest).collect());
    let largest = Tensor::stack(&largest, 0).amax([0_i64], false);
    (largest.double_value(&[0]), largest.double_value(&[1]))
}

/// Grows weights and moments, those of [`parameter_specs`].
///
/// # Panics
/// Where the shape shrinks on some axis: `planner::plan` refuses that.
pub(crate) fn grow(tensors: &[Tensor], state: &OptimizerState, step: &GrowthStep) -> (Vec<Tensor>, OptimizerState) {
    let specs = parameter_specs(&step.new);
    let grown = |part: Part, small: &[Tensor]| {
        let of = |(index, spec): (usize, &ParameterSpec)| step.grown(part, index, spec, &small[step.source(index).0]);
        specs.iter().enumerate().map(of).collect()
    };
    let first = grown(Part::FirstMoment, &state.first);
    let second = grown(Part::SecondMoment, &state.second);
    (grown(Part::Weight, tensors), OptimizerState { step: step.updates(state.step), first, second })
}

impl GrowthStep {
    /// Updates that the optimizer counts afterwards, from those before.
    pub(crate) fn updates(&self, before: u64) -> u64 {
        if self.growth.moments == Moments::Reset { 0 } else { before }
    }

    /// The old tensor that the new tensor `index` starts from, and whether it belongs to a new block.
    pub(crate) fn source(&self, index: usize) -> (usize, bool) {
        let Some(inner) = index.checked_sub(OUTER_TENSORS) else { return (index, false) };
        let (block, tensor) = (inner / BLOCK_TENSORS, inner % BLOCK_TENSORS);
        let (n_old, n_new) = (self.old.layers as usize, self.new.layers as usize);
        let (source, is_new) = self.growth.depth.source(block, n_old, n_new);
        (OUTER_TENSORS + source * BLOCK_TENSORS + tensor, is_new)
    }

    /// The new tensor `index`, which `spec` describes, or a moment of it, from the old one that it starts from.
    pub(crate) fn grown(&self, part: Part, index: usize, spec: &ParameterSpec, small: &Tensor) -> Tensor {
        assert_eq!(self.new.shrinks_from(&self.old), None, "a model can only grow");
        let is_new = self.source(index).1;
        tch::no_grad(|| match part {
            Part::Weight => self.weight(spec, small, is_new),
            Part::FirstMoment => self.moment(spec, small, is_new, 1),
            Part::SecondMoment => self.moment(spec, small, is_new, 2),
        })
    }

    fn weight(&self, spec: &ParameterSpec, small: &Tensor, is_new: bool) -> Tensor {
        match (is_new, self.growth.depth) {
            (true, Depth::Random) => return self.fresh(spec, small),
            (true, Depth::Zero) if writes(spec) => return self.zeros(spec, small),
            _ => {}
        }
        match self.growth.width {
            Width::Split => self.split(spec, small),
            Width::Zero if writes(spec) || spec.role == Role::Embedding => pasted(small, self.zeros(spec, small), 1.0),
            Width::Zero | Width::Random => {
                let scale = self.compensation(spec);
                pasted(small, self.fresh(spec, small) * scale, scale)
            }
        }
    }

    fn moment(&self, spec: &ParameterSpec, small: &Tensor, is_new: bool, power: i32) -> Tensor {
        let zeros = self.zeros(spec, small);
        let is_made = is_new
            && (self.growth.moments == Moments::Old
                || self.growth.depth == Depth::Random
                || self.growth.depth == Depth::Zero && writes(spec));
        if is_made || self.growth.moments == Moments::Reset {
            return zeros;
        }
        if self.growth.width != Width::Split {
            return pasted(small, zeros, self.compensation(spec).powi(-power));
        }
        // Each of n copies that are read in the same places gets an n-th of the gradient.
        let written = usize::from(spec.role == Role::Embedding);
        let copies = self.copies(spec.axes[written]);
        let sources = copies.sources.to_device(small.device());
        let shares = copies.shares(small.device()).to_kind(small.kind()).pow_tensor_scalar(i64::from(power));
        let shares = if spec.axes.len() == 2 && written == 0 { shares.unsqueeze(1) } else { shares };
        if self.growth.moments == Moments::Old {
            let n_old = spec.axes[written].len(&self.old);
            return pasted(&(small * shares.narrow(0, 0, n_old)), zeros, 1.0);
        }
        let mut grown = small.index_select(written as i64, &sources) * shares;
        if spec.axes.len() == 2 && written == 0 {
            grown = grown.index_select(1, &self.copies(spec.axes[1]).sources.to_device(small.device()));
        }
        grown
    }

    /// The factor that keeps the logits where muP divides them by a larger width.
    fn compensation(&self, spec: &ParameterSpec) -> f64 {
        match spec.role {
            Role::FinalGain | Role::FinalBias => self.new.hidden as f64 / self.old.hidden as f64,
            _ => 1.0,
        }
    }

    /// As a new model of the new shape has it.
    fn fresh(&self, spec: &ParameterSpec, like: &Tensor) -> Tensor {
        initial_tensor(spec, &self.new, &self.mup, &self.seed).to_kind(like.kind()).to_device(like.device())
    }

    fn zeros(&self, spec: &ParameterSpec, like: &Tensor) -> Tensor {
        Tensor::zeros(spec.size(&self.new), (like.kind(), like.device()))
    }

    /// Copies of units along every axis. What reads a unit now reads its copies, and shares its weight among them.
    fn split(&self, spec: &ParameterSpec, small: &Tensor) -> Tensor {
        let mut grown = small.shallow_clone();
        for (dimension, axis) in spec.axes.iter().enumerate() {
            let sources = self.copies(*axis).sources.to_device(small.device());
            grown = grown.index_select(dimension as i64, &sources);
        }
        let reads = matches!(spec.role, Role::Matrix | Role::ResidualMatrix);
        let has_more = |axis: Axis| axis.len(&self.new) > axis.len(&self.old);
        if reads && has_more(spec.axes[1]) {
            self.share_reading(spec, &grown);
        }
        grown
    }

    /// Multiplies every row of a matrix with the shares of a unit's copies in its old weight, which add up to 1: unequal, or copies would stay
    /// copies. A few rows at a time: in float64, all at once would take many times the memory of the matrix.
    fn share_reading(&self, spec: &ParameterSpec, grown: &Tensor) {
        let (n_rows, n_units) = (spec.axes[0].len(&self.new), spec.axes[1].len(&self.new));
        let copies = self.copies(spec.axes[1]);
        let shares = copies.shares(Device::Cpu);
        let _alone = GENERATOR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seed_generator(&self.seed.stream("split").stream(&spec.name));
        for first in (0..n_rows).step_by(SPLIT_ROWS as usize) {
            let len = SPLIT_ROWS.min(n_rows - first);
            let noise = (Tensor::rand([len, n_units], (Kind::Double, Device::Cpu)) - 0.5) * (2.0 * SPLIT_SPREAD);
            let by_unit = Tensor::zeros([len, spec.axes[1].len(&self.old)], (Kind::Double, Device::Cpu));
            let means = by_unit.index_add(1, &copies.sources, &(&noise * &shares)).index_select(1, &copies.sources);
            let factors = (noise - means + 1.0) * &shares;
            let mut rows = grown.narrow(0, first, len);
            rows *= factors.to_kind(grown.kind()).to_device(grown.device());
        }
    }

    fn copies(&self, axis: Axis) -> Copies {
        let (old, new) = (axis.len(&self.old), axis.len(&self.new));
        // Whole heads are copied: counting along their axis comes back to the first head behind the last one.
        let sources: Vec<i64> = (0..new).map(|index| index % old).collect();
        let mut times = vec![0_i64; old as usize];
        sources.iter().for_each(|&source| times[source as usize] += 1);
        let times: Vec<i64> = sources.iter().map(|&source| times[source as usize]).collect();
        Copies { sources: Tensor::from_slice(&sources), times: Tensor::from_slice(&times) }
    }
}

/// Where the units of a longer axis come from.
struct Copies {
    /// The old unit of every new one.
    sources: Tensor,
    /// How often that old unit is there now.
    times: Tensor,
}

impl Copies {
    /// An equal share for each copy of a unit.
    fn shares(&self, device: Device) -> Tensor {
        self.times.to_kind(Kind::Double).reciprocal().to_device(device)
    }
}

/// Whether a tensor writes into the residual stream from within a block.
fn writes(spec: &ParameterSpec) -> bool {
    matches!(spec.role, Role::ResidualMatrix | Role::ResidualBias)
}

/// `small * scale` in the top-left corner of `large`.
fn pasted(small: &Tensor, large: Tensor, scale: f64) -> Tensor {
    let mut corner = large.shallow_clone();
    for (axis, len) in small.size().into_iter().enumerate() {
        corner = corner.narrow(axis as i64, 0, len);
    }
    corner.copy_(&(small * scale));
    large
}
