//! The tensors of a model: their names, what each axis means, how they start and how they are trained.
//!
//! Growth, checkpoints and the optimizer work on this list; only `model.rs` knows what the tensors are multiplied with.
//! Axes carry a role, so that growing means "pad along the roles that grow" for weights and moments alike.

use std::sync::{Mutex, PoisonError};

use corpus::Seed;
use planner::{MuP, Shape};
use tch::{Device, Kind, Tensor};

/// Held while libtorch's generator is seeded and drawn from.
pub(crate) static GENERATOR: Mutex<()> = Mutex::new(());

/// What an axis of a tensor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Embedding rows.
    Vocabulary,
    /// The residual stream.
    Hidden,
    /// Head after head, each `head_size` wide: new heads append.
    Heads,
    /// Feed-forward units.
    FeedForward,
}

impl Axis {
    /// Its length in a model of that shape.
    pub fn len(self, shape: &Shape) -> i64 {
        let len = match self {
            Self::Vocabulary => shape.vocabulary,
            Self::Hidden => shape.hidden,
            Self::Heads => shape.attention(),
            Self::FeedForward => shape.ffn,
        };
        i64::try_from(len).expect("a model's axis fits into an i64")
    }
}

/// How a tensor starts and how muP scales its training (rules as coded in Mu-scaling and nanoLM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Token embedding, tied to the output: std sigma, learning rate and weight decay unscaled.
    Embedding,
    /// Hidden matrix: std sigma / sqrt(m), learning rate / m, weight decay x m.
    Matrix,
    /// Hidden matrix that writes into the residual stream: std smaller by sqrt(2 layers) besides.
    ResidualMatrix,
    /// LayerNorm gain: starts at 1, learning rate unscaled, no weight decay.
    Gain,
    /// Gain or bias of the final LayerNorm, which a growing width rescales.
    FinalGain,
    /// As a bias, but of the final LayerNorm.
    FinalBias,
    /// Starts at 0, learning rate unscaled, no weight decay.
    Bias,
    /// The same, where it is added to the residual stream.
    ResidualBias,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Its name in checkpoints.
    pub name: String,
    /// Its axes.
    pub axes: Vec<Axis>,
    /// Its role.
    pub role: Role,
}

impl ParameterSpec {
    /// Its sizes in a model of that shape.
    pub fn size(&self, shape: &Shape) -> Vec<i64> {
        self.axes.iter().map(|axis| axis.len(shape)).collect()
    }
}

/// Tensors of one block.
pub(crate) const BLOCK_TENSORS: usize = 16;

/// Tensors outside the blocks: embedding, final gain, final bias.
pub(crate) const OUTER_TENSORS: usize = 3;

/// All tensors of a model, in the order in which everything lists them.
pub fn parameter_specs(shape: &Shape) -> Vec<ParameterSpec> {
    let spec = |name: String, axes: &[Axis], role| ParameterSpec { name, axes: axes.to_vec(), role };
    let mut specs = vec![
        spec("embedding".to_owned(), &[Axis::Vocabulary, Axis::Hidden], Role::Embedding),
        spec("final_norm.gain".to_owned(), &[Axis::Hidden], Role::FinalGain),
        spec("final_norm.bias".to_owned(), &[Axis::Hidden], Role::FinalBias),
    ];
    for block in 0..shape.layers {
        for (name, axes, role) in block_tensors() {
            specs.push(spec(format!("blocks.{block}.{name}"), axes, role));
        }
    }
    specs
}

fn block_tensors() -> [(&'static str, &'static [Axis], Role); BLOCK_TENSORS] {
    use Axis::{FeedForward, Heads, Hidden};
    [
        ("attention_norm.gain", &[Hidden], Role::Gain),
        ("attention_norm.bias", &[Hidden], Role::Bias),
        ("query.weight", &[Heads, Hidden], Role::Matrix),
        ("query.bias", &[Heads], Role::Bias),
        ("key.weight", &[Heads, Hidden], Role::Matrix),
        ("key.bias", &[Heads], Role::Bias),
        ("value.weight", &[Heads, Hidden], Role::Matrix),
        ("value.bias", &[Heads], Role::Bias),
        ("output.weight", &[Hidden, Heads], Role::ResidualMatrix),
        ("output.bias", &[Hidden], Role::ResidualBias),
        ("feed_forward_norm.gain", &[Hidden], Role::Gain),
        ("feed_forward_norm.bias", &[Hidden], Role::Bias),
        ("up.weight", &[FeedForward, Hidden], Role::Matrix),
        ("up.bias", &[FeedForward], Role::Bias),
        ("down.weight", &[Hidden, FeedForward], Role::ResidualMatrix),
        ("down.bias", &[Hidden], Role::ResidualBias),
    ]
}

/// New weights for all tensors, float32. Each tensor has a random stream of its own, named after it.
pub fn initial_tensors(shape: &Shape, mup: &MuP, seed: &Seed) -> Vec<Tensor> {
    parameter_specs(shape).iter().map(|spec| initial_tensor(spec, shape, mup, seed)).collect()
}

/// Seeds libtorch's generator, which must be held.
pub(crate) fn seed_generator(seed: &Seed) {
    tch::manual_seed(i64::from_ne_bytes(seed.as_u64().to_ne_bytes()));
}

/// New weights for one tensor. Matrices are rescaled to exactly their mean and standard deviation (Mu-scaling).
pub(crate) fn initial_tensor(spec: &ParameterSpec, shape: &Shape, mup: &MuP, seed: &Seed) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    let size = spec.size(shape);
    let ratio = mup.width_ratio(shape);
    let std = match spec.role {
        Role::Gain | Role::FinalGain => return Tensor::ones(size, options),
        Role::Bias | Role::ResidualBias | Role::FinalBias => return Tensor::zeros(size, options),
        Role::Embedding => mup.init_std,
        Role::Matrix => mup.init_std / ratio.sqrt(),
        Role::ResidualMatrix => mup.init_std / ratio.sqrt() / (2.0 * shape.layers as f64).sqrt(),
    };
    // The generator is one for the whole process: nobody else may draw between seeding it and drawing.
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    seed_generator(&seed.stream(&spec.name));
    let mut noise = Tensor::randn(size, options);
    // In place: the largest tensor of a large model should not be there three times.
    noise -= noise.mean(Kind::Float);
    noise *= std / noise.std(false).double_value(&[]);
    noise
}
