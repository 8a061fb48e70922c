//! `moso predict`: the loss of every stage, from models of smaller widths; and what training is told of it.
//!
//! `predict/predict.json` holds the trials, a law for every place of the run where they were measured, and what the laws say of every
//! stage. It holds for the plan it was made for: another learning rate or other rows, and it is not used.

use planner::{Band, Prediction, SizedLoss};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
#[cfg(not(feature = "torch"))]
use crate::stages::Stages;
use crate::sweep::{TrialResult, read_committed};

#[cfg(feature = "torch")]
mod run;

#[cfg(feature = "torch")]
pub(crate) use run::{predict, predictions};

/// The file in `predict/`.
const PREDICT: &str = "predict.json";

/// What was predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PredictedLosses {
    /// Probability with which the bands hold.
    pub(crate) confidence: f64,
    /// By place, in the order of the run.
    pub(crate) laws: Vec<Law>,
    /// By stage.
    pub(crate) predictions: Vec<Prediction>,
    /// Places where no law could be fitted, and why.
    pub(crate) missing: Vec<String>,
    pub(crate) trials: Vec<TrialResult>,
}

/// The law at one step of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Law {
    pub(crate) step: u64,
    /// Tokens of the run up to there.
    pub(crate) tokens: u64,
    /// L(N) = a N^b + c, N in parameters, L in nats.
    pub(crate) a: f64,
    pub(crate) b: f64,
    pub(crate) c: f64,
    /// Root of the mean squared distance of the points, in nats.
    pub(crate) scatter: f64,
    /// Of every width the mean over its seeds.
    pub(crate) points: Vec<SizedLoss>,
    /// The law and its band from the smallest model to the largest stage.
    pub(crate) curve: Vec<(f64, Band)>,
}

/// The prediction in the folder of a run.
pub(crate) fn read_predicted(out: &std::path::Path) -> Result<Option<PredictedLosses>, Failure> {
    read_committed(&out.join("predict"), PREDICT)
}

#[cfg(not(feature = "torch"))]
pub(crate) fn predict(_: &Stages<'_>) -> Result<(), Failure> {
    Err(Failure::no_torch())
}
