//! The FLM block at any shape: GPT-3's, pre-LN, with biases, tied embeddings and xPos (FLM-101B, section 2.1).

use serde::{Deserialize, Serialize};

/// The sizes of a model. `ffn` is 4 x `hidden` in the paper; `vocabulary` counts embedding rows, padding included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Transformer blocks.
    pub layers: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Attention heads.
    pub heads: u64,
    /// Width of one head; constant while a model grows. The paper's is `hidden / heads` at every stage.
    pub head_size: u64,
    /// Units of the feed-forward layer.
    pub ffn: u64,
    /// Rows of the embedding.
    pub vocabulary: u64,
    /// Tokens a row predicts.
    pub context: u64,
}

impl Shape {
    /// Width of all heads together: queries, keys and values are that long.
    pub fn attention(&self) -> u64 {
        self.heads * self.head_size
    }

    /// Parameters of one block: q, k, v, o and two feed-forward matrices with biases, two LayerNorms.
    pub fn n_block_parameters(&self) -> u64 {
        let attention = 4 * self.hidden * self.attention() + 3 * self.attention() + self.hidden;
        let feed_forward = 2 * self.hidden * self.ffn + self.ffn + self.hidden;
        attention + feed_forward + 4 * self.hidden
    }

    /// All parameters; the embedding is tied to the output and counted once.
    pub fn n_parameters(&self) -> u64 {
        self.layers * self.n_block_parameters() + self.vocabulary * self.hidden + 2 * self.hidden
    }

    /// Floating-point operations that one trained token takes, forward and backward, counted operation by operation: two
    /// for each multiply-add, matrix products only, attention over the whole context, backward twice the forward.
    pub fn flops_per_token(&self) -> u64 {
        let products = self.layers * (4 * self.hidden * self.attention() + 2 * self.hidden * self.ffn);
        let attention = self.layers * 2 * self.context * self.attention();
        let logits = self.hidden * self.vocabulary;
        3 * 2 * (products + attention + logits)
    }

    /// Where this shape is smaller than `other` on some axis, the name of the axis.
    pub fn shrinks_from(&self, other: &Self) -> Option<&'static str> {
        let axes = [
            ("layers", self.layers, other.layers),
            ("hidden", self.hidden, other.hidden),
            ("heads", self.heads, other.heads),
            ("ffn", self.ffn, other.ffn),
        ];
        axes.into_iter().find(|(_, new, old)| new < old).map(|(name, _, _)| name)
    }
}

/// Maximal-update parametrisation: hyperparameters found at `base_width` hold at every width (FLM-101B, section 2.3; rules
/// as coded in Mu-scaling). With m = hidden / base_width: hidden matrices start at std `init_std / sqrt(m)`, train at learning
/// rate / m and weight decay x m; logits are `output_multiplier` x (x / m) . E.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuP {
    /// The width at which learning rate and standard deviation were searched (256 in the paper).
    pub base_width: u64,
    /// Factor on the embeddings (1.0 in the paper).
    pub input_multiplier: f64,
    /// Factor on the logits (2.0 in the paper).
    pub output_multiplier: f64,
    /// Standard deviation of the initial weights at the base width (0.016 in the paper).
    pub init_std: f64,
}

impl MuP {
    /// m: how much wider than the base the model is.
    pub fn width_ratio(&self, shape: &Shape) -> f64 {
        shape.hidden as f64 / self.base_width as f64
    }
}

/// What matrix products, and what lies between them, compute in. Weights, both Adam moments, the residual stream, norms, softmax and loss
/// are float32 with either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits of mantissa.
    Float32,
    /// 8 bits of mantissa, the range of float32: no loss scaling.
    Bfloat16,
}

/// What of a forward pass is computed again in the backward pass instead of being kept. The bits are the same either way. (Attention's
/// scores and the feed-forward units' outputs always are: they cost next to nothing.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// Nothing more.
    #[default]
    None,
    /// Every block: of it only the residual stream in front is kept, and a third more is computed.
    Blocks,
}
