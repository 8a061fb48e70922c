//! Exact counts of a shape: every tensor, and every matrix product.

use serde::Serialize;

use crate::shape::Shape;

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorCount {
    /// Its name in checkpoints; in those of blocks, `blocks.N` for block N.
    pub name: String,
    /// Its sizes.
    pub size: Vec<u64>,
    /// How often it is there: once, or once in every block.
    pub n: u64,
}

impl TensorCount {
    /// Parameters of all of them.
    pub fn n_parameters(&self) -> u64 {
        self.n * self.size.iter().product::<u64>()
    }
}

/// All tensors. Their parameters add up to [`Shape::n_parameters`].
pub fn tensors(shape: &Shape) -> Vec<TensorCount> {
    let Shape { layers, hidden, ffn, vocabulary, .. } = *shape;
    let heads = shape.attention();
    let once = |name: &str, size: &[u64]| TensorCount { name: name.to_owned(), size: size.to_vec(), n: 1 };
    let mut tensors = vec![
        once("embedding", &[vocabulary, hidden]),
        once("final_norm.gain", &[hidden]),
        once("final_norm.bias", &[hidden]),
    ];
    let of_block: [(&str, &[u64]); 16] = [
        ("attention_norm.gain", &[hidden]),
        ("attention_norm.bias", &[hidden]),
        ("query.weight", &[heads, hidden]),
        ("query.bias", &[heads]),
        ("key.weight", &[heads, hidden]),
        ("key.bias", &[heads]),
        ("value.weight", &[heads, hidden]),
        ("value.bias", &[heads]),
        ("output.weight", &[hidden, heads]),
        ("output.bias", &[hidden]),
        ("feed_forward_norm.gain", &[hidden]),
        ("feed_forward_norm.bias", &[hidden]),
        ("up.weight", &[ffn, hidden]),
        ("up.bias", &[ffn]),
        ("down.weight", &[hidden, ffn]),
        ("down.bias", &[hidden]),
    ];
    tensors.extend(of_block.map(|(name, size)| TensorCount { n: layers, ..once(&format!("blocks.N.{name}"), size) }));
    tensors
}

/// One kind of matrix product, in all blocks together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// What is multiplied.
    pub name: &'static str,
    /// FLOPs of one token's forward pass; the backward pass takes twice as many.
    pub forward: u64,
    /// Whether it is in a block, and computed once more where blocks are.
    pub in_block: bool,
}

/// All matrix products; three times their sum is [`Shape::flops_per_token`]. Attention counts the whole context, as everybody does, though
/// a causal kernel computes half of it. What lies between products (norms, GELU, softmax, the update) is not counted: it takes time, but
/// far below 1 % of the FLOPs.
pub fn operations(shape: &Shape) -> [Operation; 7] {
    let Shape { layers, hidden, ffn, vocabulary, context, .. } = *shape;
    let of_blocks =
        |name, multiplications: u64| Operation { name, forward: 2 * layers * multiplications, in_block: true };
    [
        of_blocks("queries, keys, values", 3 * hidden * shape.attention()),
        of_blocks("scores", context * shape.attention()),
        of_blocks("weighted values", context * shape.attention()),
        of_blocks("attention output", shape.attention() * hidden),
        of_blocks("feed forward, up", hidden * ffn),
        of_blocks("feed forward, down", ffn * hidden),
        Operation { name: "logits", forward: 2 * hidden * vocabulary, in_block: false },
    ]
}

/// FLOPs of one trained token as they are computed: with blocks computed twice, those of a forward pass more.
pub fn computed_flops_per_token(shape: &Shape, recomputes_blocks: bool) -> u64 {
    let passes = |operation: &Operation| if recomputes_blocks && operation.in_block { 4 } else { 3 };
    operations(shape).iter().map(|operation| passes(operation) * operation.forward).sum()
}
