//! Memory of one device by what it is for.
//!
//! Two trainers are described, and [`of_stage`] takes the one that a layout is for. `moso train` runs in one process ([`of_process`]): its parts
//! are counted in the trainer's own code, and what they predict was held against runs (docs/planning.md). A layout over several devices is that
//! of Megatron-LM, with sequence parallelism, an attention that keeps no scores, and an optimizer whose state is shared among replicas; its
//! parts are published formulas, and models grow there between two stages.

use serde::Serialize;

use crate::hardware::DeviceKind;
use crate::layout::{Layout, Machine};
use crate::shape::{Precision, Recompute, Shape};
use crate::stage::{Batch, StagePlan};

/// Bytes in a GiB.
pub const GIB: f64 = (1_u64 << 30) as f64;

/// What libtorch and its threads take in a process on the CPU (measured: docs/planning.md).
const PROCESS_BYTES: f64 = 0.2 * GIB;

/// What CUDA's context, its libraries and their workspaces take (measured for one H100: docs/planning.md; assumed for others).
const CUDA_BYTES: f64 = 0.6 * GIB;

/// What CUDA, NCCL's buffers and fragments take where devices talk to each other: assumed.
const RANK_BYTES: f64 = 3.0 * GIB;

/// Share of a device's memory that a plan may fill.
pub(crate) const USABLE: f64 = 0.95;

/// Bytes of one device, by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Weights: those that are updated where every replica has them, and those that are multiplied with.
    pub weights: f64,
    /// Sums of gradients, and gradients on the way there.
    pub gradients: f64,
    /// Both Adam moments, and where they are shared among replicas the weights that are updated.
    pub optimizer: f64,
    /// What forward passes keep for backward passes.
    pub activations: f64,
    /// Logits, and what is made of them.
    pub logits: f64,
    /// A checkpoint's copy of the state while it is written.
    pub checkpoint_copy: f64,
    /// Libraries, and what the allocator keeps of freed memory.
    pub libraries: f64,
}

impl Memory {
    /// What the parts are called, in the order of [`Memory::parts`].
    pub const NAMES: [&'static str; 7] =
        ["weights", "gradients", "optimizer", "activations", "logits", "checkpoint copy", "libraries"];

    /// The parts in bytes.
    pub fn parts(&self) -> [f64; 7] {
        let Self { weights, gradients, optimizer, activations, logits, checkpoint_copy, libraries } = *self;
        [weights, gradients, optimizer, activations, logits, checkpoint_copy, libraries]
    }

    /// All of them in bytes.
    pub fn total(&self) -> f64 {
        self.parts().iter().sum()
    }

    /// All of them in GiB.
    pub fn gib(&self) -> f64 {
        self.total() / GIB
    }
}

/// How a stage begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Whether with growth, which is looked at with all logits of a few rows before and after.
    pub grows: bool,
    /// Whether masks of growth rise in it: what is multiplied with is then another copy of the weights.
    pub has_masks: bool,
}

impl Beginning {
    /// With new weights, or those of the stage before as they are.
    pub const PLAIN: Self = Self { grows: false, has_masks: false };
    /// With growth behind masks.
    pub const MASKED: Self = Self { grows: true, has_masks: true };
    /// With growth that is there at once.
    pub const GROWN: Self = Self { grows: true, has_masks: false };

    /// Of a stage of a run.
    pub fn of(stage: &StagePlan) -> Self {
        Self { grows: stage.growth.is_some(), has_masks: stage.n_ramp_steps > 0 }
    }
}

/// Memory of the fullest device of a stage.
pub fn of_stage(shape: &Shape, batch: Batch, layout: &Layout, beginning: Beginning, machine: &Machine<'_>) -> Memory {
    let Machine { device, precision, recompute, .. } = *machine;
    if *layout != Layout::ONE {
        return of_layout(shape, batch, layout, machine);
    }
    let place = match device.kind {
        DeviceKind::Cpu => Place::Cpu { n_threads: device.threads },
        DeviceKind::Gpu => Place::Gpu,
    };
    of_process(shape, batch, &Process { place, precision, recompute, beginning, has_checkpoints: true })
}

/// Where `moso train` computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the CPU with so many threads.
    Cpu {
        /// Threads, each with a micro-batch of its own.
        n_threads: u64,
    },
    /// On one GPU; a checkpoint's copy is in its host's memory.
    Gpu,
}

/// What computes a stage in one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// Where.
    pub place: Place,
    /// What products compute in.
    pub precision: Precision,
    /// What is computed twice.
    pub recompute: Recompute,
    /// How the stage begins.
    pub beginning: Beginning,
    /// Whether checkpoints are written.
    pub has_checkpoints: bool,
}

/// Memory of `moso train` at its highest (`trainer/src/{gradients,model,run,saving}.rs`): within a step, or where it looks at a growth.
pub fn of_process(shape: &Shape, batch: Batch, process: &Process) -> Memory {
    let (step, growth) = (of_step(shape, batch, process), of_growth(shape, process));
    if process.beginning.grows && growth.total() > step.total() { growth } else { step }
}

fn of_step(shape: &Shape, batch: Batch, process: &Process) -> Memory {
    let Shape { layers, hidden, vocabulary, context, .. } = *shape;
    let n_micro_batches = batch.rows.div_ceil(batch.micro_rows);
    let n_workers = match process.place {
        Place::Cpu { n_threads } => n_threads.min(n_micro_batches).max(1) as f64,
        Place::Gpu => 1.0,
    };
    // Of every micro-batch but the first the embedding's gradient is made apart, and of every block as its turn comes.
    let embeddings_apart = n_workers.min((n_micro_batches - 1) as f64);
    let apart = 4.0 * embeddings_apart * (vocabulary * hidden) as f64
        + n_workers * process.element() * shape.n_block_parameters() as f64;
    let kept = match process.recompute {
        Recompute::None => layers as f64 * block_bytes(shape, process),
        Recompute::Blocks => layers as f64 * 4.0 * hidden as f64 + block_bytes(shape, process),
    };
    // In front of and behind the last norm in float32, with the gradients of both; and the block whose turn it is.
    let of_position = kept + 16.0 * hidden as f64 + backward_bytes(shape, process);
    let of_worker = of_position * (batch.micro_rows * context) as f64;
    let kept_by_allocator = if process.writes_beside() { of_worker } else { 0.0 };
    let state = of_state(shape, process);
    Memory {
        gradients: state.gradients + apart,
        activations: n_workers * of_worker,
        logits: n_workers * process.element() * vocabulary as f64 * logit_rows(vocabulary, process),
        libraries: state.libraries + kept_by_allocator,
        ..state
    }
}

/// All logits of eight rows before and after, and their difference, in float32, beside another model over the same weights.
fn of_growth(shape: &Shape, process: &Process) -> Memory {
    let state = of_state(shape, process);
    let logits = 3.0 * 4.0 * (8 * shape.context * shape.vocabulary) as f64;
    Memory { gradients: 2.0 * state.gradients, logits, ..state }
}

/// What is there all the time.
fn of_state(shape: &Shape, process: &Process) -> Memory {
    let n_parameters = shape.n_parameters() as f64;
    let (embedding, attention) = (shape.vocabulary * shape.hidden, shape.attention());
    let n_joined = 3 * shape.layers * attention * (shape.hidden + 1);
    let n_matrices = embedding + shape.layers * (4 * shape.hidden * attention + 2 * shape.hidden * shape.ffn);
    // In bfloat16 all matrices are copied. In float32 only queries, keys and values are, since they lie side by side there; with masks
    // everything is but the embedding.
    let copies = match (process.precision, process.beginning.has_masks) {
        (Precision::Bfloat16, _) => 2 * n_matrices,
        (Precision::Float32, false) => 4 * n_joined,
        (Precision::Float32, true) => 4 * (shape.n_parameters() - embedding),
    };
    Memory {
        weights: 4.0 * n_parameters + copies as f64,
        gradients: 4.0 * n_parameters,
        optimizer: 8.0 * n_parameters,
        checkpoint_copy: if process.writes_beside() { 12.0 * n_parameters } else { 0.0 },
        libraries: if process.place == Place::Gpu { CUDA_BYTES } else { PROCESS_BYTES },
        ..Memory::default()
    }
}

impl Process {
    /// Bytes of a number in the kind of products.
    fn element(&self) -> f64 {
        if self.precision == Precision::Float32 { 4.0 } else { 2.0 }
    }

    /// Whether a thread writes checkpoints beside the workers, in their memory. The system's allocator gives each thread a pool of its own and keeps
    /// what was freed there; workers that find another pool free than before leave theirs full, so that about one worker's activations more are
    /// held (measured: docs/planning.md).
    fn writes_beside(&self) -> bool {
        self.has_checkpoints && self.place != Place::Gpu
    }
}

/// Rows of logits that are there at a time.
fn logit_rows(vocabulary: u64, process: &Process) -> f64 {
    match process.place {
        Place::Cpu { .. } => ((8 << 20) as f64 / (vocabulary as f64 * process.element())).floor().max(256.0),
        Place::Gpu => 4096.0,
    }
}

/// What one block keeps of one position: the residual stream in front of both norms in float32; in the kind of products both norms' outputs,
/// queries, keys, values, attention's output twice (by head and by position) and the feed-forward units before GELU.
fn block_bytes(shape: &Shape, process: &Process) -> f64 {
    let (hidden, attention, ffn) = (shape.hidden as f64, shape.attention() as f64, shape.ffn as f64);
    8.0 * hidden + process.element() * (2.0 * hidden + 5.0 * attention + ffn)
}

/// What the backward pass of one block holds of one position besides: gradients of queries, keys and values, of the feed-forward units on both
/// sides of GELU with the units themselves, of a norm's output, and of the residual stream on both sides.
fn backward_bytes(shape: &Shape, process: &Process) -> f64 {
    let (hidden, attention, ffn) = (shape.hidden as f64, shape.attention() as f64, shape.ffn as f64);
    8.0 * hidden + process.element() * (hidden + 3.0 * attention + 2.0 * ffn)
}

/// Memory of the fullest device of a layout. Weights and gradients: 2 and 4 bytes a parameter in mixed precision, optimizer 12 bytes shared by
/// the replicas (Megatron-LM's distributed optimizer; ZeRO, arXiv 1910.02054). Activations: 34 bytes a position and unit of width in every
/// block, shared by `tensor` (Korthikanti et al., arXiv 2205.05198, equation 4 without the scores); with blocks computed twice 2, and those of
/// one block. The first of `pipeline` parts holds those of as many micro-batches (one forward, one backward: Narayanan et al., arXiv 2104.04473,
/// section 2.2); the last one has the logits, in float32.
fn of_layout(shape: &Shape, batch: Batch, layout: &Layout, machine: &Machine<'_>) -> Memory {
    let Machine { device, precision, recompute, .. } = *machine;
    let Shape { layers, hidden, vocabulary, context, .. } = *shape;
    let Layout { tensor, pipeline, data } = *layout;
    let (tensor, n_layers) = (tensor as f64, layers.div_ceil(pipeline) as f64);
    let embedding = (vocabulary * hidden) as f64 / tensor;
    let n_parameters = n_layers * shape.n_block_parameters() as f64 / tensor + embedding;
    let (weight, optimizer, half) = match precision {
        Precision::Bfloat16 => (2.0, 12.0, 1.0),
        Precision::Float32 => (4.0, 8.0, 2.0),
    };
    let positions = (batch.micro_rows * context) as f64;
    let n_micro_batches = (batch.rows / (data * batch.micro_rows)).max(1);
    let block = half * 34.0 * positions * hidden as f64 / tensor;
    let kept = |in_flight: u64| {
        let in_flight = in_flight.min(n_micro_batches) as f64;
        match recompute {
            Recompute::None => in_flight * n_layers * block,
            Recompute::Blocks => in_flight * n_layers * half * 2.0 * positions * hidden as f64 / tensor + block,
        }
    };
    let first = Memory {
        weights: weight * n_parameters,
        gradients: 4.0 * n_parameters,
        optimizer: optimizer * n_parameters / data as f64,
        activations: kept(pipeline),
        libraries: if device.kind == DeviceKind::Cpu { PROCESS_BYTES } else { RANK_BYTES },
        ..Memory::default()
    };
    // With their gradient, in the kind of products.
    let logits = (4.0 + half * 2.0) * positions * vocabulary as f64 / tensor;
    let last = Memory { activations: kept(1), logits, ..first };
    if last.total() > first.total() { last } else { first }
}
