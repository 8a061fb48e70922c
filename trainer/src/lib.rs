//! How batches become weights, and small models large ones.
//!
//! [`train`] runs the stages of a plan: it computes gradients of micro-batches side by side ([`gradients`]), updates owned
//! AdamW state, grows the model between stages ([`growth`]), saves checkpoints that any layout can load ([`checkpoint`]), passes over
//! steps that go wrong ([`stability`]), and goes on to the bit after being killed anywhere.
//!
//! What makes the bits reproducible: weights start from streams named after their tensors; rows come in the order of the
//! packed files; gradients of micro-batches are added in order; every libtorch call that computes is single-threaded, or on a GPU takes
//! algorithms that add in a fixed order. What remains is the processor: another one may round differently.
//!
//! Invariant: the trainer sees token ids and never text.

pub mod batch;
pub mod checkpoint;
mod device;
mod generate;
pub mod gradients;
pub mod growth;
mod loss;
mod masks;
mod metrics;
mod model;
mod optimizer;
pub mod parallel;
mod parameters;
mod resume;
mod run;
mod saving;
pub mod stability;
mod staging;
mod tensor_files;
mod tensorboard;
mod validation;
mod watchdog;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use device::{cuda_device, is_out_of_memory};
pub use generate::{Sampling, generate, generate_each, most_likely};
pub use masks::Masks;
pub use metrics::{Event, Seconds};
pub use model::Model;
pub use optimizer::OptimizerState;
pub use parameters::{ParameterSpec, initial_tensors, parameter_specs};
pub use planner::Precision;
pub use run::{Outcome, TRAIN_FORMAT, TrainError, TrainJob, matmul_peak, train};
pub use tch::Device;
pub use torch_ext::end_process;
pub use validation::validate_folder;
