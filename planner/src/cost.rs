//! FLOPs, money and energy.

use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// Training FLOPs by the formula of Narayanan et al. (arXiv 2104.04473), which the paper's table uses:
/// `k T l h^2 (1 + s/(6h) + V/(16 l h))`, with k = 72 without and 96 with full activation recomputation.
pub fn formula_flops(k: u64, n_tokens: u64, shape: &Shape) -> f64 {
    let (layers, hidden) = (shape.layers as f64, shape.hidden as f64);
    let (context, vocabulary) = (shape.context as f64, shape.vocabulary as f64);
    let extra = 1.0 + context / (6.0 * hidden) + vocabulary / (16.0 * layers * hidden);
    k as f64 * n_tokens as f64 * layers * hidden * hidden * extra
}

/// What an hour of the machine costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Money for an hour of the whole machine.
    pub usd_per_hour: f64,
    /// Power of the whole machine.
    pub watts: f64,
}

impl Cost {
    /// Money for so many seconds.
    pub fn usd(&self, seconds: f64) -> f64 {
        self.usd_per_hour * seconds / 3600.0
    }

    /// Energy for so many seconds.
    pub fn kwh(&self, seconds: f64) -> f64 {
        self.watts * seconds / 3_600_000.0
    }
}
