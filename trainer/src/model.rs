//! The FLM block: GPT-3's pre-LN transformer with biases, tanh-GELU, xPos and tied embeddings, under muP (FLM-101B, section
//! 2.1; xPos: Sun et al., arXiv 2212.10554).
//!
//! Shapes: b rows, t positions, h hidden, n heads, d head size, f feed-forward units, v vocabulary.
//!
//! While a model grows, its new coordinates carry a mask c that rises from 0 to 1 ([`Masks`]): with c = 0 they change nothing,
//! whatever their weights (masked structural growth, Yao et al., arXiv 2305.02869).

use planner::{MuP, Shape};
use tch::{Device, Kind, Tensor};

use crate::parameters::{BLOCK_TENSORS, OUTER_TENSORS};

/// Added to the variance in LayerNorm.
const NORM_EPSILON: f64 = 1e-5;

/// Base of the rotary frequencies.
const ROTARY_THETA: f64 = 10_000.0;

/// Distance over which xPos decays by its base.
const XPOS_SCALE_BASE: f64 = 512.0;

/// Keeps the slowest-decaying pair of xPos away from no decay at all.
const XPOS_GAMMA: f64 = 0.4;

/// The tensors of a model as the forward pass uses them.
pub struct Model {
    shape: Shape,
    mup: MuP,
    tensors: Vec<Tensor>,
    rotary: Rotary,
}

/// cos and sin of the rotary angles times the xPos scale of queries, and of keys; each `(t, 1, d / 2)`.
struct Rotary {
    query: (Tensor, Tensor),
    key: (Tensor, Tensor),
}

/// Masks of the coordinates that a growth step added: 1 for old coordinates, c for new ones.
pub struct Masks {
    hidden: Tensor,
    heads: Tensor,
    feed_forward: Tensor,
    blocks: Vec<f64>,
    n_hidden: f64,
}

impl Masks {
    /// Masks of a model on `device` that grew from shape `old` to shape `new`, at mask value `c`.
    pub fn new(old: &Shape, new: &Shape, c: f64, device: Device) -> Self {
        let axis = |old: u64, new: u64| {
            let ones = Tensor::ones([old as i64], (Kind::Float, device));
            Tensor::cat(&[ones, Tensor::full([(new - old) as i64], c, (Kind::Float, device))], 0)
        };
        Self {
            hidden: axis(old.hidden, new.hidden),
            heads: axis(old.heads * old.head_size(), new.heads * new.head_size()),
            feed_forward: axis(old.ffn, new.ffn),
            blocks: (0..new.layers).map(|block| if block < old.layers { 1.0 } else { c }).collect(),
            n_hidden: old.hidden as f64 + c * (new.hidden - old.hidden) as f64,
        }
    }
}

impl Model {
    /// A model over `tensors`, which are those of [`crate::parameter_specs`] in that order.
    ///
    /// # Panics
    /// Where their number does not fit the shape.
    pub fn new(shape: Shape, mup: MuP, tensors: Vec<Tensor>) -> Self {
        assert_eq!(
            tensors.len(),
            OUTER_TENSORS + shape.layers as usize * BLOCK_TENSORS,
            "a tensor for every parameter"
        );
        let rotary = Rotary::new(shape.context as i64, shape.head_size() as i64, tensors[0].device());
        Self { shape, mup, tensors, rotary }
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.tensors[0].device()
    }

    /// Its tensors.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The same weights as leaves of an autograd graph of their own: what a worker thread computes gradients for.
    #[must_use]
    pub fn replica(&self) -> Self {
        let leaf = |tensor: &Tensor| tensor.detach().set_requires_grad(true);
        Self::new(self.shape, self.mup, self.tensors.iter().map(leaf).collect())
    }

    /// The final hidden states `(b, t, h)`, scaled so that [`Model::logits`] is one matrix product. `tokens` is `(b, t)` of
    /// integers, t at most the context.
    pub fn hidden(&self, tokens: &Tensor, masks: Option<&Masks>) -> Tensor {
        self.hidden_within(tokens, masks, None)
    }

    /// The same where every position attends only to those of its own document: `documents` `(b, t)` numbers the documents of each
    /// row. Positions still count from the start of the row; scores depend on distances only.
    pub fn hidden_within(&self, tokens: &Tensor, masks: Option<&Masks>, documents: Option<&Tensor>) -> Tensor {
        let visible = documents.map(visible);
        let embedded = Tensor::embedding(&self.tensors[0], tokens, -1, false, false);
        let scaled = if self.mup.input_multiplier == 1.0 { embedded } else { embedded * self.mup.input_multiplier };
        let mut x_bth = masked(scaled, masks.map(|masks| &masks.hidden));
        for (index, block) in self.tensors[OUTER_TENSORS..].chunks_exact(BLOCK_TENSORS).enumerate() {
            x_bth = self.block(block, index, &x_bth, masks, visible.as_ref());
        }
        let x_bth = norm(&x_bth, &self.tensors[1], &self.tensors[2], masks);
        x_bth * (self.mup.output_multiplier / self.mup.width_ratio(&self.shape))
    }

    /// Logits `(.., v)` of hidden states `(.., h)`.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        hidden.linear(&self.tensors[0], None::<Tensor>)
    }

    fn block(
        &self,
        tensors: &[Tensor],
        index: usize,
        x_bth: &Tensor,
        masks: Option<&Masks>,
        visible: Option<&Tensor>,
    ) -> Tensor {
        let branch = |out: Tensor| {
            let out = masked(out, masks.map(|masks| &masks.hidden));
            match masks.map(|masks| masks.blocks[index]) {
                Some(mask) if mask < 1.0 => out * mask,
                _ => out,
            }
        };
        let normed = norm(x_bth, &tensors[0], &tensors[1], masks);
        let x_bth = x_bth + branch(self.attention(&tensors[2..10], &normed, masks, visible));
        let normed = norm(&x_bth, &tensors[10], &tensors[11], masks);
        let up_btf = normed.linear(&tensors[12], Some(&tensors[13]));
        let up_btf = masked(up_btf, masks.map(|masks| &masks.feed_forward));
        &x_bth + branch(up_btf.gelu("tanh").linear(&tensors[14], Some(&tensors[15])))
    }

    /// Causal attention over the whole row, or over what is `visible`; scores are scaled by 1 / sqrt(d), which muP leaves alone since
    /// d is constant.
    fn attention(&self, tensors: &[Tensor], x_bth: &Tensor, masks: Option<&Masks>, visible: Option<&Tensor>) -> Tensor {
        let (n_rows, n_positions, _) = x_bth.size3().expect("hidden states have three axes");
        let heads = |weight: &Tensor, bias: &Tensor| {
            let projected = masked(x_bth.linear(weight, Some(bias)), masks.map(|masks| &masks.heads));
            projected.view([n_rows, n_positions, self.shape.heads as i64, self.shape.head_size() as i64])
        };
        let query = rotate(&heads(&tensors[0], &tensors[1]), &self.rotary.query).transpose(1, 2);
        let key = rotate(&heads(&tensors[2], &tensors[3]), &self.rotary.key).transpose(1, 2);
        let value = heads(&tensors[4], &tensors[5]).transpose(1, 2);
        let is_causal = visible.is_none();
        let mixed =
            Tensor::scaled_dot_product_attention(&query, &key, &value, visible, 0.0, is_causal, None::<f64>, false);
        let mixed_bth = mixed.transpose(1, 2).reshape([n_rows, n_positions, -1]);
        mixed_bth.linear(&tensors[6], Some(&tensors[7]))
    }
}

impl Rotary {
    /// Tables for `n_positions` positions, in float32 from float64. xPos counts from the middle of the row, so its factors
    /// stay near 1; the centre cancels in every score.
    fn new(n_positions: i64, head_size: i64, device: Device) -> Self {
        let n_pairs = head_size / 2;
        let mut tables = [(); 4].map(|()| Vec::with_capacity((n_positions * n_pairs) as usize));
        for position in 0..n_positions {
            for pair in 0..n_pairs {
                let share = pair as f64 / n_pairs as f64;
                let angle = position as f64 * ROTARY_THETA.powf(-share);
                let zeta =
                    (2.0 * pair as f64 + XPOS_GAMMA * head_size as f64) / ((1.0 + XPOS_GAMMA) * head_size as f64);
                let scale = zeta.powf((position - n_positions / 2) as f64 / XPOS_SCALE_BASE);
                let values = [angle.cos() * scale, angle.sin() * scale, angle.cos() / scale, angle.sin() / scale];
                tables.iter_mut().zip(values).for_each(|(table, value)| table.push(value as f32));
            }
        }
        let [query_cos, query_sin, key_cos, key_sin] =
            tables.map(|table| Tensor::from_slice(&table).view([n_positions, 1, n_pairs]).to_device(device));
        Self { query: (query_cos, query_sin), key: (key_cos, key_sin) }
    }
}

/// Which positions each position sees, `(b, 1, t, t)`: itself and those before it in its own document.
fn visible(documents_bt: &Tensor) -> Tensor {
    documents_bt.unsqueeze(2).eq_tensor(&documents_bt.unsqueeze(1)).tril(0).unsqueeze(1)
}

fn masked(x: Tensor, mask: Option<&Tensor>) -> Tensor {
    match mask {
        Some(mask) => x * mask,
        None => x,
    }
}

/// Rotates pairs (i, i + d/2) of `x_btnd` by the angle of their position.
fn rotate(x_btnd: &Tensor, (cos, sin): &(Tensor, Tensor)) -> Tensor {
    let (n_positions, n_pairs) = (x_btnd.size()[1], x_btnd.size()[3] / 2);
    let (cos, sin) = (cos.narrow(0, 0, n_positions), sin.narrow(0, 0, n_positions));
    let (first, second) = (x_btnd.narrow(3, 0, n_pairs), x_btnd.narrow(3, n_pairs, n_pairs));
    Tensor::cat(&[&first * &cos - &second * &sin, &second * &cos + &first * &sin], 3)
}

/// LayerNorm over the hidden axis. With masks, mean and variance are weighted by them, so that new coordinates at mask 0 do
/// not count (MSG, section 3).
fn norm(x_bth: &Tensor, gain: &Tensor, bias: &Tensor, masks: Option<&Masks>) -> Tensor {
    let Some(masks) = masks else {
        return x_bth.layer_norm(gain.size(), Some(gain), Some(bias), NORM_EPSILON, false);
    };
    let sum = |x: &Tensor| (x * &masks.hidden).sum_dim_intlist(-1, true, x.kind()) / masks.n_hidden;
    let centred = x_bth - sum(x_bth);
    let variance = sum(&centred.square());
    (centred * (variance + NORM_EPSILON).rsqrt() * gain + bias) * &masks.hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xPos as the paper writes it (Sun et al., equation 13): the score of a query at n and a key at m is, for every pair of
    /// channels as complex numbers, Re(q conj(k) e^(i (n-m) theta)) zeta^((n-m) / 512). It depends on n - m only.
    #[test]
    fn scores_are_those_of_xpos() {
        let (n_positions, head_size) = (64_i64, 8_i64);
        let rotary = Rotary::new(n_positions, head_size, Device::Cpu);
        let pairs = (head_size / 2) as usize;
        let query: Vec<f32> = (0..head_size).map(|i| (i as f32 * 0.7).sin()).collect();
        let key: Vec<f32> = (0..head_size).map(|i| (i as f32 * 1.3).cos()).collect();
        let everywhere =
            |values: &[f32]| Tensor::from_slice(values).view([1, 1, 1, -1]).expand([1, n_positions, 1, -1], false);
        let queries = rotate(&everywhere(&query), &rotary.query).view([n_positions, head_size]);
        let keys = rotate(&everywhere(&key), &rotary.key).view([n_positions, head_size]);
        let scores = queries.matmul(&keys.transpose(0, 1));
        for (n, m) in [(0_i64, 0_i64), (5, 2), (63, 60), (40, 3), (63, 26)] {
            let distance = (n - m) as f64;
            let expected: f64 = (0..pairs)
                .map(|i| {
                    let theta = ROTARY_THETA.powf(-2.0 * i as f64 / head_size as f64);
                    let zeta = (2.0 * i as f64 + 0.4 * head_size as f64) / (1.4 * head_size as f64);
                    let (qa, qb) = (f64::from(query[i]), f64::from(query[i + pairs]));
                    let (ka, kb) = (f64::from(key[i]), f64::from(key[i + pairs]));
                    let (real, imaginary) = (qa * ka + qb * kb, qb * ka - qa * kb);
                    let angle = distance * theta;
                    (real * angle.cos() - imaginary * angle.sin()) * zeta.powf(distance / XPOS_SCALE_BASE)
                })
                .sum();
            let found = scores.double_value(&[n, m]);
            assert!((found - expected).abs() < 1e-5, "{n} {m}: {found} {expected}");
        }
    }
}
