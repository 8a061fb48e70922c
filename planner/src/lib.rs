//! Model shapes, stages and what they cost: everything about a run that can be known before it starts.
//!
//! A run is a list of [`StagePlan`]s. Each has a token budget, a [`Shape`], a batch, a learning rate and, from the second
//! on, a growth step. [`plan`] turns what a person wrote into exact numbers (rows, steps, parameters, FLOPs) or says what
//! does not fit and what would.
//!
//! ```
//! use planner::Shape;
//!
//! let (heads, head_size) = (80, 128);
//! let flm_101b = Shape { layers: 80, hidden: 10_240, heads, head_size, ffn: 40_960, vocabulary: 100_352, context: 2_048 };
//! assert_eq!(flm_101b.attention(), flm_101b.hidden);
//! assert_eq!(flm_101b.n_parameters() / 1_000_000, 101_701);
//! ```
//!
//! No libtorch here, and nothing of ours: a lab plans on a laptop.

mod cost;
mod counts;
mod forecast;
mod growth;
mod hardware;
mod layout;
mod limits;
mod loss;
mod memory;
mod names;
mod prediction;
mod proposal;
mod schedule;
mod shape;
mod stability;
mod stage;
mod sweep;

#[cfg(test)]
mod tests;

pub use cost::{Cost, formula_flops};
pub use counts::{Operation, TensorCount, computed_flops_per_token, operations, tensors};
pub use forecast::{
    Amounts, AvailabilitySource, Forecast, ForecastError, Resources, Speed, SpeedSource, StageForecast, StageSpeed,
    fastest_layouts, forecast,
};
pub use growth::{Depth, Growth, Moments, Width};
pub use hardware::{Device, DeviceKind, Hardware, HardwareError, Node, Peak};
pub use layout::{Layout, LayoutError, LayoutForecast, Machine, forecast_layout, layouts, usable_gib};
pub use limits::{DEVICES_MOST, SizeError, check_size};
pub use loss::{CHINCHILLA, LossLaw};
pub use memory::{Beginning, GIB, Memory, Place, Process, of_process, of_stage};
pub use names::nearest_divisors;
pub use prediction::{Band, LawError, SizeLaw, SizedLoss, fit};
pub use proposal::{Proposal, ProposalError, ProposedStage, Question, propose};
pub use schedule::{Curve, LearningRate};
pub use shape::{MuP, Precision, Recompute, Shape};
pub use stability::{SpikePolicy, Stability};
pub use stage::{Batch, OptimizerSettings, PlanError, RunPlan, StagePlan, StageRequest, check_growth_step, plan};
pub use sweep::{
    LawPlace, LawRequest, Prediction, SearchPoint, SweepRequest, Trial, TrialError, law_trials, places, sweep_trials,
};
