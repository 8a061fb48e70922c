//! Ways to share a model and its data among devices: which fit, and how long a step takes in each.
//!
//! The time of a step is that of Megatron-LM's schedule (Narayanan et al., arXiv 2104.04473): micro-batches pass through `pipeline` parts, one
//! forward, one backward; parts that wait for the first and last one make up (p - 1) / m of it. A micro-batch takes its products at the
//! device's `compute_share` of its peak, four all-reductions of the residual stream a block among `tensor` devices (six with blocks computed
//! twice), and what goes to the next part and back. Then gradients are summed among `data` replicas, and new weights handed out. Nothing of
//! this is taken to overlap. docs/planning.md holds the model against published runs.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::counts::computed_flops_per_token;
use crate::hardware::Device;
use crate::memory::{Beginning, USABLE, of_stage};
use crate::names::{divisors, nearest_divisors};
use crate::shape::{Precision, Recompute, Shape};
use crate::stage::Batch;

/// Micro-batches of so many rows are tried.
const MICRO_ROWS: [u64; 5] = [1, 2, 4, 8, 16];

/// How many devices share each block, how many parts the blocks are cut into, and how many replicas share the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Devices that share every block.
    pub tensor: u64,
    /// Parts that blocks are cut into, one after the other.
    pub pipeline: u64,
    /// Replicas, each with rows of its own.
    pub data: u64,
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "tp {} pp {} dp {}", self.tensor, self.pipeline, self.data)
    }
}

/// A layout that cannot be, and what would.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum LayoutError {
    /// Something cannot be shared evenly.
    #[error("stage {stage}: {size} {what} cannot be shared evenly by {by} = {n}; {by} may be {nearest}")]
    Uneven {
        /// The stage.
        stage: String,
        /// What is shared.
        what: &'static str,
        /// How much there is of it.
        size: u64,
        /// Among what.
        by: &'static str,
        /// Among how many.
        n: u64,
        /// The nearest that work.
        nearest: String,
    },
    /// It is for another number of devices.
    #[error("stage {stage}: {layout} takes {found} devices, the run has {expected}; data may be {nearest}")]
    Devices {
        /// The stage.
        stage: String,
        /// The layout.
        layout: Layout,
        /// What it takes.
        found: u64,
        /// What there are.
        expected: u64,
        /// What would do.
        nearest: String,
    },
    /// Nothing divides.
    #[error(
        "stage {stage}: no layout of {n_devices} devices shares its {heads} heads, {ffn} feed-forward units, {layers} layers and {n_rows} rows \
         evenly"
    )]
    NoSplit {
        /// The stage.
        stage: String,
        /// Devices.
        n_devices: u64,
        /// Its heads.
        heads: u64,
        /// Its feed-forward units.
        ffn: u64,
        /// Its blocks.
        layers: u64,
        /// Rows of its steps.
        n_rows: u64,
    },
    /// No layout fits into memory.
    #[error(
        "stage {stage}: no layout of {n_devices} devices with {memory_gib} GiB each holds {n_parameters} parameters; the smallest takes \
         {needed_gib:.1} GiB ({layout}): take more devices, or recompute = \"blocks\""
    )]
    TooLarge {
        /// The stage.
        stage: String,
        /// Devices.
        n_devices: u64,
        /// Memory of one.
        memory_gib: f64,
        /// Size of the model.
        n_parameters: u64,
        /// What the smallest layout takes.
        needed_gib: f64,
        /// That layout.
        layout: Layout,
    },
}

impl Layout {
    /// One device.
    pub const ONE: Self = Self { tensor: 1, pipeline: 1, data: 1 };

    /// Devices of one part of one replica, all parts, all replicas.
    pub fn n_devices(&self) -> u64 {
        self.tensor * self.pipeline * self.data
    }

    /// Checks that heads, feed-forward units, blocks and micro-batches can be shared evenly.
    pub fn check(&self, stage: &str, shape: &Shape, batch: Batch) -> Result<(), LayoutError> {
        let shared = [
            ("heads", shape.heads, "tensor", self.tensor),
            ("feed-forward units", shape.ffn, "tensor", self.tensor),
            ("layers", shape.layers, "pipeline", self.pipeline),
            ("micro-batches of a step", batch.rows / batch.micro_rows.max(1), "data", self.data),
        ];
        for (what, size, by, n) in shared {
            if n == 0 || !size.is_multiple_of(n) {
                let nearest = nearest_divisors(size, n);
                return Err(LayoutError::Uneven { stage: stage.to_owned(), what, size, by, n, nearest });
            }
        }
        Ok(())
    }
}

/// What a stage is computed with.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// One device.
    pub device: &'a Device,
    /// How many.
    pub n_devices: u64,
    /// What products compute in.
    pub precision: Precision,
    /// What is computed twice.
    pub recompute: Recompute,
}

/// A layout with what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LayoutForecast {
    /// The layout.
    #[serde(flatten)]
    pub layout: Layout,
    /// Rows of a micro-batch of one replica.
    pub micro_rows: u64,
    /// Seconds of a step.
    pub step_seconds: f64,
    /// Of which waiting for the first and last part of the pipeline, and talking.
    pub pipeline_share: f64,
    /// Talking among devices that share blocks, parts, and replicas.
    pub communication_share: f64,
    /// FLOP/s of the model of one device, nothing counted twice.
    pub flops_per_s: f64,
    /// Memory of the fullest device, GiB.
    pub memory_gib: f64,
}

/// Time of a step in one layout, and memory of the stage.
pub fn forecast_layout(
    shape: &Shape,
    batch: Batch,
    layout: Layout,
    beginning: Beginning,
    machine: &Machine<'_>,
) -> LayoutForecast {
    let Machine { device, precision, recompute, .. } = *machine;
    let (tensor, pipeline, data) = (layout.tensor as f64, layout.pipeline as f64, layout.data as f64);
    let link = device.link_gb_per_s * 1e9;
    let network = device.node.network_gb_per_s * 1e9;
    // Neighbours share blocks first, then come replicas, then parts: what talks most is nearest.
    let speed_within = |n_devices: u64| if n_devices <= device.node.devices { link } else { network };
    let recomputes = recompute == Recompute::Blocks;
    let positions = (batch.micro_rows * shape.context) as f64;
    let element = if precision == Precision::Float32 { 4.0 } else { 2.0 };
    let n_layers = shape.layers as f64 / pipeline;
    let n_micro_batches = batch.rows as f64 / (data * batch.micro_rows as f64);
    let n_flops = positions * computed_flops_per_token(shape, recomputes) as f64 / (tensor * pipeline);
    let compute = n_flops / (device.peak_flops(precision) * device.compute_share);
    let stream = element * positions * shape.hidden as f64;
    let n_reductions = if recomputes { 6.0 } else { 4.0 };
    let reductions = n_layers * n_reductions * 2.0 * (tensor - 1.0) / tensor * stream / speed_within(layout.tensor);
    let hops = if layout.pipeline > 1 { 2.0 * stream / tensor / speed_within(layout.n_devices()) } else { 0.0 };
    let n_parameters =
        (n_layers * shape.n_block_parameters() as f64 + (shape.vocabulary * shape.hidden) as f64) / tensor;
    // Gradients in float32 to whoever updates them, weights back in the kind of products.
    let replicas = (data - 1.0) / data * n_parameters * (4.0 + element) / speed_within(layout.tensor * layout.data);
    let micro_batch = compute + reductions + hops;
    let step_seconds = (n_micro_batches + pipeline - 1.0) * micro_batch + replicas;
    let step_flops = (batch.rows * shape.context) as f64 * shape.flops_per_token() as f64;
    LayoutForecast {
        layout,
        micro_rows: batch.micro_rows,
        step_seconds,
        pipeline_share: (pipeline - 1.0) * micro_batch / step_seconds,
        communication_share: (n_micro_batches * (reductions + hops) + replicas) / step_seconds,
        flops_per_s: step_flops / step_seconds / layout.n_devices() as f64,
        memory_gib: of_stage(shape, batch, &layout, beginning, machine).gib(),
    }
}

/// All layouts of a stage over all devices that fit into their memory, the fastest first, each with the rows of a micro-batch that are fastest
/// in it. Devices of one node share blocks; more than a node never do.
pub fn layouts(
    stage: &str,
    shape: &Shape,
    n_rows: u64,
    beginning: Beginning,
    machine: &Machine<'_>,
) -> Result<Vec<LayoutForecast>, LayoutError> {
    let mut found: Vec<LayoutForecast> = Vec::new();
    for layout in splits(machine.n_devices, machine.device.node.devices) {
        for micro_rows in MICRO_ROWS.into_iter().filter(|micro_rows| n_rows.is_multiple_of(*micro_rows)) {
            let batch = Batch { rows: n_rows, micro_rows };
            if layout.check(stage, shape, batch).is_ok() {
                found.push(forecast_layout(shape, batch, layout, beginning, machine));
            }
        }
    }
    let Some(smallest) = found.iter().copied().min_by(|a, b| a.memory_gib.total_cmp(&b.memory_gib)) else {
        let Shape { heads, ffn, layers, .. } = *shape;
        let n_devices = machine.n_devices;
        return Err(LayoutError::NoSplit { stage: stage.to_owned(), n_devices, heads, ffn, layers, n_rows });
    };
    let memory_gib = machine.device.memory_gib;
    found.retain(|layout| layout.memory_gib <= USABLE * memory_gib);
    if found.is_empty() {
        return Err(LayoutError::TooLarge {
            stage: stage.to_owned(),
            n_devices: machine.n_devices,
            memory_gib,
            n_parameters: shape.n_parameters(),
            needed_gib: smallest.memory_gib,
            layout: smallest.layout,
        });
    }
    found.sort_by(|a, b| a.step_seconds.total_cmp(&b.step_seconds));
    let mut told = BTreeSet::new();
    found.retain(|LayoutForecast { layout, .. }| told.insert((layout.tensor, layout.pipeline)));
    Ok(found)
}

/// All ways to write `n_devices` as tensor x pipeline x data with at most `node` devices for tensor.
fn splits(n_devices: u64, node: u64) -> impl Iterator<Item = Layout> {
    divisors(n_devices).into_iter().filter(move |tensor| *tensor <= node).flat_map(move |tensor| {
        let rest = n_devices / tensor;
        divisors(rest).into_iter().map(move |pipeline| Layout { tensor, pipeline, data: rest / pipeline })
    })
}

/// Memory that a layout may fill, in GiB.
pub fn usable_gib(device: &Device) -> f64 {
    USABLE * device.memory_gib
}
