//! FLOPs, money and energy.

use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// Training FLOPs by the formula of Narayanan et al. (arXiv 2104.04473), which the paper's table uses:
/// `k T l h^2 (1 + s/(6h) + V/(16 l h))`, with k = 72 without and 96 with full activation recomputation. That form is for feed-forward layers
/// of 4h and heads that are h wide together. With f and a for these two widths it is `k/12 T (l (4ha + 2hf + 2sa) + 3/4 h V)`, which is
/// what is computed here: a wider layer costs more whichever speed it is held against.
pub fn formula_flops(k: u64, n_tokens: u64, shape: &Shape) -> f64 {
    let [layers, hidden, ffn, context, vocabulary] =
        [shape.layers, shape.hidden, shape.ffn, shape.context, shape.vocabulary].map(|size| size as f64);
    let attention = shape.attention() as f64;
    let blocks = layers * (4.0 * hidden * attention + 2.0 * hidden * ffn + 2.0 * context * attention);
    k as f64 / 12.0 * n_tokens as f64 * (blocks + 0.75 * hidden * vocabulary)
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
