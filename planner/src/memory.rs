//! Memory of one device by what it is for.
//!
//! Two trainers are described. `moso train` runs in one process ([`of_process`]): its parts are counted in the trainer's own code, and what
//! they predict was held against runs (docs/planning.md). A layout over several devices is that of Megatron-LM ([`of_layout`]), with sequence
//! parallelism, an attention that keeps no scores, and an optimizer whose state is shared among replicas; its parts are published formulas.

use serde::Serialize;

use crate::layout::Layout;
use crate::shape::{Precision, Recompute, Shape};
use crate::stage::Batch;

/// Bytes in a GiB.
pub const GIB: f64 = (1_u64 << 30) as f64;

/// What libtorch, its threads and its allocator take in a process on the CPU (measured: docs/planning.md).
const PROCESS_BYTES: f64 = 0.35 * GIB;

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
    /// Libraries.
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
    /// Whether masks of growth rise in the stage: blocks then run in libtorch's operations, which keep more.
    pub has_masks: bool,
    /// Whether checkpoints are written.
    pub has_checkpoints: bool,
}

/// Memory of `moso train` at its highest (`trainer/src/{gradients,model,saving}.rs`).
pub fn of_process(shape: &Shape, batch: Batch, process: &Process) -> Memory {
    let Shape { layers, hidden, vocabulary, context, .. } = *shape;
    let n_parameters = shape.n_parameters() as f64;
    let n_matrices = (vocabulary * hidden + layers * (4 * hidden * hidden + 2 * hidden * shape.ffn)) as f64;
    let n_micro_batches = batch.rows.div_ceil(batch.micro_rows);
    let is_float32 = process.precision == Precision::Float32;
    let (n_workers, libraries) = match process.place {
        Place::Cpu { n_threads } => (n_threads.min(n_micro_batches).max(1) as f64, PROCESS_BYTES),
        Place::Gpu => (1.0, CUDA_BYTES),
    };
    // In float32 only queries, keys and values are copied: they lie side by side there. In bfloat16 all matrices are.
    let copies = if is_float32 { 4 * 3 * layers * hidden * (hidden + 1) } else { 0 } as f64;
    let copies = copies + if is_float32 { 0.0 } else { 2.0 * n_matrices };
    let element = if is_float32 { 4.0 } else { 2.0 };
    // Of every micro-batch but the first the embedding's gradient is made apart, and of every block as its turn comes.
    let embeddings_apart = n_workers.min((n_micro_batches - 1) as f64);
    let block = shape.n_block_parameters() as f64;
    let gradients =
        4.0 * n_parameters + 4.0 * embeddings_apart * (vocabulary * hidden) as f64 + n_workers * element * block;
    let n_positions = n_workers * (batch.micro_rows * context) as f64;
    let of_block = block_bytes_of_process(shape, process);
    let kept_blocks = match process.recompute {
        Recompute::None => layers as f64 * of_block,
        Recompute::Blocks => layers as f64 * 4.0 * hidden as f64 + of_block,
    };
    // In front of and behind the last norm, in float32, with the gradients of both.
    let activations = n_positions * (kept_blocks + 16.0 * hidden as f64);
    Memory {
        weights: 4.0 * n_parameters + copies,
        gradients,
        optimizer: 8.0 * n_parameters,
        activations,
        logits: n_workers * element * vocabulary as f64 * logit_rows(vocabulary, element, process.place),
        checkpoint_copy: match (process.place, process.has_checkpoints) {
            (Place::Cpu { .. }, true) => 12.0 * n_parameters,
            _ => 0.0,
        },
        libraries,
    }
}

/// Rows of logits that are there at a time.
fn logit_rows(vocabulary: u64, element: f64, place: Place) -> f64 {
    match place {
        Place::Cpu { .. } => ((8 << 20) as f64 / (vocabulary as f64 * element)).floor().max(256.0),
        Place::Gpu => 4096.0,
    }
}

/// What one block keeps of one position. Fused: the residual stream in front of both norms in float32; in the kind of products both norms'
/// outputs, queries, keys, values, attention's output twice (by head and by position) and the feed-forward units before GELU. With masks
/// also each norm's centred and scaled input instead of the residual stream between them, and the units behind GELU.
fn block_bytes_of_process(shape: &Shape, process: &Process) -> f64 {
    let (hidden, ffn) = (shape.hidden as f64, shape.ffn as f64);
    let element = if process.precision == Precision::Float32 { 4.0 } else { 2.0 };
    match process.has_masks {
        false => 8.0 * hidden + element * (7.0 * hidden + ffn),
        true => 20.0 * hidden + element * (7.0 * hidden + 2.0 * ffn),
    }
}

/// Memory of the fullest device of a layout. Weights and gradients: 2 and 4 bytes a parameter in mixed precision, optimizer 12 bytes shared by
/// the replicas (Megatron-LM's distributed optimizer; ZeRO, arXiv 1910.02054). Activations: 34 bytes a position and unit of width in every
/// block, shared by `tensor` (Korthikanti et al., arXiv 2205.05198, equation 4 without the scores); with blocks computed twice 2, and those of
/// one block. The first of `pipeline` parts holds those of as many micro-batches (one forward, one backward: Narayanan et al., arXiv 2104.04473,
/// section 2.2); the last one has the logits, in float32.
pub fn of_layout(shape: &Shape, batch: Batch, layout: &Layout, precision: Precision, recompute: Recompute) -> Memory {
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
        libraries: RANK_BYTES,
        ..Memory::default()
    };
    // With their gradient, in the kind of products.
    let logits = (4.0 + half * 2.0) * positions * vocabulary as f64 / tensor;
    let last = Memory { activations: kept(1), logits, ..first };
    if last.total() > first.total() { last } else { first }
}
