//! The FLM block: GPT-3's pre-LN transformer with biases, tanh-GELU, xPos and tied embeddings, under muP (FLM-101B, section
//! 2.1; xPos: Sun et al., arXiv 2212.10554).
//!
//! Shapes: b rows, t positions, n = b t, h hidden, a = heads x head size d, f feed-forward units, v vocabulary.
//!
//! A block is written twice, and the two are tested against each other: in `torch-ext`'s operations, which do everything between two matrix
//! products in one pass, and in libtorch's, which are the slow twin and continue a text token by token. Matrix products and
//! what lies between them compute in the [`Precision`]; the residual stream, norms, softmax and loss are kept in float32 at least.
//!
//! A growing model is a plain one over masked weights ([`Masks`]), in whose LayerNorms new coordinates count for less.

use planner::{MuP, Precision, Shape};
use tch::{Device, Kind, Tensor};
use torch_ext::TorchError;

use crate::loss::own_places;
use crate::masks::Masks;
use crate::parallel::Parallel;
use crate::parameters::{BLOCK_TENSORS, OUTER_TENSORS};

/// Added to the variance in LayerNorm.
const NORM_EPSILON: f64 = 1e-5;

/// Base of the rotary frequencies.
const ROTARY_THETA: f64 = 10_000.0;

/// Distance over which xPos decays by its base.
const XPOS_SCALE_BASE: f64 = 512.0;

/// Keeps the slowest-decaying pair of xPos away from no decay at all.
const XPOS_GAMMA: f64 = 0.4;

/// A model as it computes: weights in the kind of matrix products, gains and biases in that of sums.
pub struct Model {
    shape: Shape,
    mup: MuP,
    parallel: Parallel,
    /// `(v, h)`.
    embedding: Tensor,
    final_norm: [Tensor; 2],
    blocks: Vec<Block>,
    /// cos and sin of the rotary angles times the xPos scale of queries, then of keys: `(4, t, d / 2)`.
    rotary: Tensor,
    stream: Stream,
    /// Whether `torch-ext` computes whole rows.
    is_fused: bool,
}

/// The coordinates of the residual stream, in the kind of sums.
struct Stream {
    /// Their shares in mean and variance, `(h)`.
    shares: Tensor,
    /// Factors of what the embedding writes there, `(h)`, where some are not 1.
    masks: Option<Tensor>,
}

/// The weights of one block, in the order of [`crate::parameter_specs`] but for queries, keys and values, which are one.
pub(crate) struct Block(pub(crate) [Tensor; N_WEIGHTS]);

/// Weights of a block.
pub(crate) const N_WEIGHTS: usize = 12;

/// Places in a [`Block`].
mod weight {
    pub(super) const NORM: usize = 0;
    pub(super) const QKV: usize = 2;
    pub(super) const OUTPUT: usize = 4;
    pub(super) const FEED_FORWARD_NORM: usize = 6;
    pub(super) const UP: usize = 8;
    pub(super) const DOWN: usize = 10;
}

/// What the positions of some rows see of each other: the same for all blocks.
pub(crate) struct Surroundings {
    /// Rows that the positions are of.
    pub(crate) n_rows: i64,
    /// Where positions see only their own document: 0 for what is seen, minus infinity for what is not, `(b, 1, t, t)`.
    visible: Option<Tensor>,
}

impl Model {
    /// A whole model: one of [`Model::part`] where nothing is shared.
    ///
    /// # Panics
    /// Where the number of tensors does not fit the shape.
    pub fn new(shape: Shape, mup: MuP, precision: Precision, tensors: &[Tensor], masks: Option<&Masks>) -> Self {
        Self::part(Parallel::default(), (shape, mup), precision, tensors, masks)
    }

    /// This process's part of a model of that shape, over its parts ([`Parallel::parts`]) of the tensors of [`crate::parameter_specs`]. Those whose
    /// kind is that of the precision, and which no mask changes, are used as they are, others are copied.
    ///
    /// # Panics
    /// Where the number of tensors does not fit the shape, or the shape cannot be cut so.
    pub fn part(
        parallel: Parallel,
        (shape, mup): (Shape, MuP),
        precision: Precision,
        tensors: &[Tensor],
        masks: Option<&Masks>,
    ) -> Self {
        if let Some(objection) = parallel.objection(&shape) {
            panic!("{objection}");
        }
        let n_tensors = OUTER_TENSORS + parallel.blocks(&shape).len() * BLOCK_TENSORS;
        assert_eq!(tensors.len(), n_tensors, "a tensor for every parameter");
        let kind = kind_of(precision, tensors[0].kind());
        let tensors = masked_weights(tensors, (&shape, &parallel), masks);
        let (outer, blocks) = tensors.split_at(OUTER_TENSORS);
        let sums = sums(kind);
        let rotary = rotary_tables(shape.context as i64, shape.head_size as i64, sums).to_device(outer[0].device());
        Self {
            shape,
            mup,
            parallel,
            embedding: outer[0].to_kind(kind),
            final_norm: [outer[1].to_kind(sums), outer[2].to_kind(sums)],
            blocks: blocks.chunks_exact(BLOCK_TENSORS).map(|tensors| Block::new(tensors, kind)).collect(),
            rotary,
            stream: Stream::new(&shape, masks, (sums, outer[0].device())),
            is_fused: true,
        }
    }

    /// The same in libtorch's operations only, the slow twin.
    #[must_use]
    pub fn plain(self) -> Self {
        Self { is_fused: false, ..self }
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// Shape of the whole model.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Blocks that this process computes.
    pub(crate) fn n_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// How it is shared.
    pub(crate) fn parallel(&self) -> &Parallel {
        &self.parallel
    }

    /// Ids whose rows of the embedding this process holds.
    pub(crate) fn ids(&self) -> std::ops::Range<i64> {
        self.parallel.ids(&self.shape)
    }

    fn n_heads(&self) -> i64 {
        (self.shape.heads as usize / self.parallel.tensor.size()) as i64
    }

    pub(crate) fn embedding(&self) -> &Tensor {
        &self.embedding
    }

    pub(crate) fn final_norm(&self) -> &[Tensor; 2] {
        &self.final_norm
    }

    pub(crate) fn weights(&self, block: usize) -> &[Tensor; N_WEIGHTS] {
        &self.blocks[block].0
    }

    /// The same weights as leaves of an autograd graph of their own: what a worker thread computes gradients for.
    #[must_use]
    pub fn replica(&self) -> Self {
        let leaf = |tensor: &Tensor| tensor.detach().set_requires_grad(true);
        Self {
            shape: self.shape,
            mup: self.mup,
            parallel: self.parallel.clone(),
            embedding: self.embedding.detach(),
            final_norm: self.final_norm.each_ref().map(leaf),
            blocks: self.blocks.iter().map(|block| Block(block.0.each_ref().map(leaf))).collect(),
            rotary: self.rotary.shallow_clone(),
            stream: self.stream.shallow_clone(),
            is_fused: self.is_fused,
        }
    }

    /// Takes over what an update made of `tensors`, where it isn't over their memory, and the masks of the next step.
    ///
    /// # Panics
    /// Where the model began with masks and there are none now, or the other way round.
    pub(crate) fn refresh(&mut self, tensors: &[Tensor], masks: Option<&Masks>) {
        let tensors = masked_weights(tensors, (&self.shape, &self.parallel), masks);
        let options = (sums(self.embedding.kind()), self.device());
        self.stream.refresh(&Stream::new(&self.shape, masks, options));
        let copy = |to: &mut Tensor, from: &Tensor| {
            if to.data_ptr() != from.data_ptr() {
                to.copy_(from);
            }
        };
        tch::no_grad(|| {
            let (outer, blocks) = tensors.split_at(OUTER_TENSORS);
            copy(&mut self.embedding, &outer[0]);
            self.final_norm.iter_mut().zip(&outer[1..]).for_each(|(to, from)| copy(to, from));
            for (block, tensors) in self.blocks.iter_mut().zip(blocks.chunks_exact(BLOCK_TENSORS)) {
                for (part, joined) in JOINED {
                    let mut from = part.iter().map(|&index| &tensors[index]);
                    for mut to in block.0[joined].chunk(part.len() as i64, 0) {
                        copy(&mut to, from.next().expect("a tensor for every part"));
                    }
                }
            }
        });
    }

    /// What is the same for all blocks that compute `n_rows` rows. `documents` `(b, t)` numbers the documents of each row; without it every
    /// position sees all before it.
    pub(crate) fn surroundings(&self, n_rows: i64, documents: Option<&Tensor>) -> Surroundings {
        Surroundings { n_rows, visible: documents.map(|documents| visible(documents, self.embedding.kind())) }
    }

    /// The final hidden states `(n, h)`, scaled so that [`Model::logits`] is one matrix product. `tokens` is `(b, t)` of
    /// integers, t at most the context. `documents` `(b, t)` numbers the documents of each row; positions still count from the start of the row:
    /// scores depend on distances only.
    /// Of a model whose blocks are all here.
    pub fn hidden(&self, tokens: &Tensor, documents: Option<&Tensor>) -> Result<Tensor, TorchError> {
        let surroundings = self.surroundings(tokens.size()[0], documents);
        let mut x_nh = self.embed(tokens)?;
        for block in 0..self.blocks.len() {
            x_nh = self.block(block, &x_nh, &surroundings)?;
        }
        self.last_norm(&x_nh)
    }

    /// The residual stream in front of the first block, `(n, h)`.
    pub(crate) fn embed(&self, tokens: &Tensor) -> Result<Tensor, TorchError> {
        let (tokens, sums) = (tokens.reshape([-1]), sums(self.embedding.kind()));
        let embedded = if self.parallel.tensor.is_alone() {
            self.embedding.index_select(0, &tokens).to_kind(sums)
        } else {
            let (own, places) = own_places(&tokens, &self.ids());
            let mut rows = self.embedding.index_select(0, &places).to_kind(sums) * own.unsqueeze(1);
            self.parallel.tensor.sum(&mut rows)?;
            rows
        };
        let scaled = if self.mup.input_multiplier == 1.0 { embedded } else { embedded * self.mup.input_multiplier };
        Ok(self.stream.masked(scaled))
    }

    /// Adds, of the gradient `(n, h)` of what [`Model::embed`] gave, each token's to its row of the embedding's gradient.
    pub(crate) fn add_embed_gradient(&self, d_embedding: &mut Tensor, tokens: &Tensor, d_x: &Tensor) {
        let d_rows = self.stream.masked(d_x.shallow_clone()) * self.mup.input_multiplier;
        let tokens = tokens.reshape([-1]);
        let _ = match self.parallel.tensor.is_alone() {
            true => d_embedding.index_add_(0, &tokens, &d_rows),
            false => {
                let (own, places) = own_places(&tokens, &self.ids());
                d_embedding.index_add_(0, &places, &(d_rows * own.unsqueeze(1)))
            }
        };
    }

    /// The norm behind the last block, scaled for [`Model::logits`], `(n, h)`.
    pub(crate) fn last_norm(&self, x_nh: &Tensor) -> Result<Tensor, TorchError> {
        let ([gain, bias], shares) = (&self.final_norm, &self.stream.shares);
        let normed = match self.is_fused {
            true => torch_ext::norm(x_nh, gain, bias, shares, NORM_EPSILON, x_nh.kind())?.1,
            false => plain_norm(x_nh, gain, bias, shares),
        };
        let scale = self.mup.output_multiplier / self.mup.width_ratio(&self.shape);
        Ok((normed * scale).to_kind(self.embedding.kind()))
    }

    /// Logits `(n, v)` of hidden states `(n, h)`.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        hidden.matmul(&self.embedding.tr())
    }

    /// The final hidden states `(t, h)` of the next tokens `(1, t)` of a row, behind those that the cache has seen: those of
    /// [`Model::hidden`] but for rounding.
    ///
    /// # Panics
    /// Where the row would become longer than the context, or several tokens come at once and not first.
    pub(crate) fn hidden_of_next(&self, tokens: &Tensor, cache: &mut Cache) -> Result<Tensor, TorchError> {
        let n_new = tokens.size()[1];
        assert!(n_new == 1 || cache.n_positions == 0, "tokens come one by one, or all first");
        assert!(cache.n_positions + n_new <= self.shape.context as i64, "a row is no longer than the context");
        let surroundings = Surroundings { n_rows: 1, visible: None };
        let mut x_nh = self.embed(tokens)?;
        for (index, keys_and_values) in cache.blocks.iter().enumerate() {
            let seen = Seen { n_positions: cache.n_positions, keys_and_values };
            x_nh = self.plain_block(index, &x_nh, &surroundings, Some(seen))?;
        }
        cache.n_positions += n_new;
        self.last_norm(&x_nh)
    }

    /// A cache that has seen nothing.
    pub(crate) fn cache(&self) -> Cache {
        let Shape { context, head_size, .. } = self.shape;
        let size = [2, 1, self.n_heads(), context as i64, head_size as i64];
        let empty = |_: &Block| Tensor::empty(size, (self.embedding.kind(), self.device()));
        Cache { n_positions: 0, blocks: self.blocks.iter().map(empty).collect() }
    }

    /// One block: the residual stream behind it, `(n, h)`, from that in front of it.
    pub(crate) fn block(&self, index: usize, x_nh: &Tensor, surroundings: &Surroundings) -> Result<Tensor, TorchError> {
        if self.is_fused {
            return self.fused_block(&self.blocks[index].0, x_nh, surroundings);
        }
        self.plain_block(index, x_nh, surroundings, None)
    }

    fn plain_block(
        &self,
        index: usize,
        x_nh: &Tensor,
        surroundings: &Surroundings,
        seen: Option<Seen<'_>>,
    ) -> Result<Tensor, TorchError> {
        let Block(weights) = &self.blocks[index];
        let (tensor, sums) = (&self.parallel.tensor, x_nh.kind());
        let norm = |x: &Tensor, first: usize| {
            let normed = plain_norm(x, &weights[first], &weights[first + 1], &self.stream.shares);
            tensor.enter(normed.to_kind(weights[weight::QKV].kind()))
        };
        let mixed = self.attention(weights, &norm(x_nh, weight::NORM)?, surroundings, seen);
        let out = tensor.leave(mixed.matmul(&weights[weight::OUTPUT].tr()))?;
        let x_nh = x_nh + (out + &weights[weight::OUTPUT + 1]).to_kind(sums);
        let up_nf = linear(&norm(&x_nh, weight::FEED_FORWARD_NORM)?, &weights[weight::UP], &weights[weight::UP + 1]);
        let out = tensor.leave(up_nf.gelu("tanh").matmul(&weights[weight::DOWN].tr()))?;
        Ok(&x_nh + (out + &weights[weight::DOWN + 1]).to_kind(sums))
    }

    /// The same in `torch-ext`'s operations.
    fn fused_block(
        &self,
        weights: &[Tensor; N_WEIGHTS],
        x_nh: &Tensor,
        surroundings: &Surroundings,
    ) -> Result<Tensor, TorchError> {
        let (kind, tensor) = (weights[weight::QKV].kind(), &self.parallel.tensor);
        let shares = &self.stream.shares;
        let norm = |x: &Tensor, first: usize| {
            torch_ext::norm(x, &weights[first], &weights[first + 1], shares, NORM_EPSILON, kind)
        };
        let (x_nh, normed) = norm(x_nh, weight::NORM)?;
        let qkv = (&weights[weight::QKV], &weights[weight::QKV + 1]);
        let (visible, n_heads) = (surroundings.visible.as_ref(), self.n_heads());
        let mixed =
            torch_ext::attention(&tensor.enter(normed)?, qkv, &self.rotary, visible, surroundings.n_rows, n_heads)?;
        let out = tensor.leave(torch_ext::linear(&mixed, &weights[weight::OUTPUT])?)?;
        let x_nh = torch_ext::residual(&x_nh, &out, &weights[weight::OUTPUT + 1])?;
        let (x_nh, normed) = norm(&x_nh, weight::FEED_FORWARD_NORM)?;
        let (up, down) = (&weights[weight::UP], &weights[weight::DOWN]);
        let out = torch_ext::feed_forward(&tensor.enter(normed)?, up, &weights[weight::UP + 1], down)?;
        torch_ext::residual(&x_nh, &tensor.leave(out)?, &weights[weight::DOWN + 1])
    }

    /// Causal attention over the whole row, or over what is visible; scores are scaled by 1 / sqrt(d), which muP leaves alone since
    /// d is constant. `(n, a)`.
    fn attention(
        &self,
        weights: &[Tensor; N_WEIGHTS],
        x_nh: &Tensor,
        surroundings: &Surroundings,
        seen: Option<Seen<'_>>,
    ) -> Tensor {
        let (n_rows, n_heads) = (surroundings.n_rows, self.n_heads());
        let qkv = linear(x_nh, &weights[weight::QKV], &weights[weight::QKV + 1]);
        let qkv = qkv.view([n_rows, -1, 3, n_heads, self.shape.head_size as i64]);
        let heads = |part: i64| qkv.select(2, part);
        let first = seen.as_ref().map_or(0, |seen| seen.n_positions);
        let tables = self.rotary.narrow(1, first, qkv.size()[1]);
        let query = rotate(&heads(0), &tables.narrow(0, 0, 2)).transpose(1, 2);
        let key = rotate(&heads(1), &tables.narrow(0, 2, 2)).transpose(1, 2);
        let value = heads(2).transpose(1, 2);
        let (key, value) = match seen {
            Some(seen) => seen.and_these(&key, &value),
            None => (key, value),
        };
        let visible = surroundings.visible.as_ref();
        let (no_scale, is_causal) = (None::<f64>, visible.is_none() && query.size()[2] > 1);
        let mixed =
            Tensor::scaled_dot_product_attention(&query, &key, &value, visible, 0.0, is_causal, no_scale, false);
        mixed.transpose(1, 2).reshape([x_nh.size()[0], -1])
    }
}

/// Rotated keys, and values, of the tokens of one row that a model has seen.
pub(crate) struct Cache {
    /// Tokens seen.
    n_positions: i64,
    /// Of every block, `(2, 1, heads, context, d)`.
    blocks: Vec<Tensor>,
}

impl Cache {
    /// Tokens seen.
    pub(crate) fn n_positions(&self) -> usize {
        self.n_positions as usize
    }
}

/// One block's part of a [`Cache`].
struct Seen<'a> {
    n_positions: i64,
    keys_and_values: &'a Tensor,
}

impl Seen<'_> {
    /// Takes in more of both, and gives all.
    fn and_these(self, key: &Tensor, value: &Tensor) -> (Tensor, Tensor) {
        let n_new = key.size()[2];
        let take_in = |part: i64, new: &Tensor| {
            let all = self.keys_and_values.get(part);
            all.narrow(2, self.n_positions, n_new).copy_(new);
            all.narrow(2, 0, self.n_positions + n_new)
        };
        (take_in(0, key), take_in(1, value))
    }
}

/// The tensors of a block, by their number there, that are one weight, and which.
const JOINED: [(&[usize], usize); N_WEIGHTS] = [
    (&[0], weight::NORM),
    (&[1], weight::NORM + 1),
    (&[2, 4, 6], weight::QKV),
    (&[3, 5, 7], weight::QKV + 1),
    (&[8], weight::OUTPUT),
    (&[9], weight::OUTPUT + 1),
    (&[10], weight::FEED_FORWARD_NORM),
    (&[11], weight::FEED_FORWARD_NORM + 1),
    (&[12], weight::UP),
    (&[13], weight::UP + 1),
    (&[14], weight::DOWN),
    (&[15], weight::DOWN + 1),
];

impl Block {
    fn new(tensors: &[Tensor], kind: Kind) -> Self {
        Self(JOINED.map(|(parts, _)| {
            let kind = if tensors[parts[0]].dim() == 2 { kind } else { sums(kind) };
            match parts {
                [part] => tensors[*part].to_kind(kind),
                parts => {
                    let parts: Vec<&Tensor> = parts.iter().map(|&part| &tensors[part]).collect();
                    tch::no_grad(|| Tensor::cat(&parts, 0).to_kind(kind))
                }
            }
        }))
    }
}

/// Gradients of a block's weights as those of its tensors: queries, keys and values apart, in the order of [`crate::parameter_specs`].
pub(crate) fn of_tensors(weights: &[Tensor]) -> Vec<Tensor> {
    assert_eq!(weights.len(), N_WEIGHTS, "a gradient for every weight");
    let mut apart: Vec<(usize, Tensor)> = Vec::with_capacity(BLOCK_TENSORS);
    for ((parts, _), weight) in JOINED.iter().zip(weights) {
        apart.extend(parts.iter().copied().zip(weight.chunk(parts.len() as i64, 0)));
    }
    apart.sort_by_key(|(index, _)| *index);
    apart.into_iter().map(|(_, gradient)| gradient).collect()
}

/// The kind of matrix products: that of the precision, or float64 where the tensors have it (for tests).
fn kind_of(precision: Precision, tensors: Kind) -> Kind {
    match (precision, tensors) {
        (_, Kind::Double) => Kind::Double,
        (Precision::Float32, _) => Kind::Float,
        (Precision::Bfloat16, _) => Kind::BFloat16,
    }
}

/// The kind of the residual stream, norms and losses.
pub(crate) fn sums(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}

/// Tables for `n_positions` positions, from float64. xPos counts from the middle of the row, so its factors
/// stay near 1; the centre cancels in every score.
fn rotary_tables(n_positions: i64, head_size: i64, kind: Kind) -> Tensor {
    let n_pairs = head_size / 2;
    let mut tables = [(); 4].map(|()| Vec::with_capacity((n_positions * n_pairs) as usize));
    for position in 0..n_positions {
        for pair in 0..n_pairs {
            let share = pair as f64 / n_pairs as f64;
            let angle = position as f64 * ROTARY_THETA.powf(-share);
            let zeta = (2.0 * pair as f64 + XPOS_GAMMA * head_size as f64) / ((1.0 + XPOS_GAMMA) * head_size as f64);
            let scale = zeta.powf((position - n_positions / 2) as f64 / XPOS_SCALE_BASE);
            let values = [angle.cos() * scale, angle.sin() * scale, angle.cos() / scale, angle.sin() / scale];
            tables.iter_mut().zip(values).for_each(|(table, value)| table.push(value));
        }
    }
    Tensor::from_slice(&tables.concat()).view([4, n_positions, n_pairs]).to_kind(kind)
}

/// 0 where a position sees another, itself and those before it in its own document, minus infinity elsewhere: `(b, 1, t, t)`.
fn visible(documents_bt: &Tensor, kind: Kind) -> Tensor {
    let seen = documents_bt.unsqueeze(2).eq_tensor(&documents_bt.unsqueeze(1)).tril(0).unsqueeze(1);
    let zeros = seen.zeros_like().to_kind(kind);
    zeros.masked_fill(&seen.logical_not(), f64::NEG_INFINITY)
}

/// Weights as the model uses them: times their masks.
fn masked_weights(tensors: &[Tensor], (shape, parallel): (&Shape, &Parallel), masks: Option<&Masks>) -> Vec<Tensor> {
    let Some(masks) = masks else { return tensors.iter().map(Tensor::shallow_clone).collect() };
    let times = |(tensor, factor): (&Tensor, Option<Tensor>)| match factor {
        Some(factor) => tch::no_grad(|| tensor * factor.to_kind(tensor.kind()).to_device(tensor.device())),
        None => tensor.shallow_clone(),
    };
    tensors.iter().zip(parallel.parts_of_some(shape, &masks.factors(shape))).map(times).collect()
}

impl Stream {
    fn new(shape: &Shape, masks: Option<&Masks>, (kind, device): (Kind, Device)) -> Self {
        let hidden = shape.hidden as i64;
        let masks = masks.map(|masks| masks.stream(shape).to_kind(kind).to_device(device));
        let counts = masks.as_ref().map_or_else(|| Tensor::ones([hidden], (kind, device)), Tensor::shallow_clone);
        let sum = counts.sum(Kind::Double).double_value(&[]);
        Self { shares: counts / sum, masks }
    }

    fn shallow_clone(&self) -> Self {
        Self { shares: self.shares.shallow_clone(), masks: self.masks.as_ref().map(Tensor::shallow_clone) }
    }

    /// In place: the views of all threads see it.
    fn refresh(&mut self, now: &Self) {
        assert_eq!(self.masks.is_some(), now.masks.is_some(), "masks come and go with the model");
        tch::no_grad(|| {
            self.shares.copy_(&now.shares);
            if let (Some(masks), Some(now)) = (&mut self.masks, &now.masks) {
                masks.copy_(now);
            }
        });
    }

    fn masked(&self, x: Tensor) -> Tensor {
        match &self.masks {
            Some(masks) => x * masks,
            None => x,
        }
    }
}

/// The bias is added in the kind of sums.
fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    (x.matmul(&weight.tr()) + bias).to_kind(x.kind())
}

/// Rotates pairs (i, i + d/2) of `x_btnd` by the angle of their position.
fn rotate(x_btnd: &Tensor, tables: &Tensor) -> Tensor {
    let (n_positions, n_pairs) = (x_btnd.size()[1], x_btnd.size()[3] / 2);
    let table = |index: i64| tables.get(index).narrow(0, 0, n_positions).unsqueeze(1);
    let (cos, sin) = (table(0), table(1));
    let (first, second) = (x_btnd.narrow(3, 0, n_pairs), x_btnd.narrow(3, n_pairs, n_pairs));
    Tensor::cat(&[&first * &cos - &second * &sin, &second * &cos + &first * &sin], 3).to_kind(x_btnd.kind())
}

/// LayerNorm over the hidden axis, in the kind of the residual stream; coordinates count in mean and variance by their shares.
fn plain_norm(x_nh: &Tensor, gain: &Tensor, bias: &Tensor, shares: &Tensor) -> Tensor {
    let mean = |x: &Tensor| (x * shares).sum_dim_intlist(-1, true, x.kind());
    let centred = x_nh - mean(x_nh);
    let variance = mean(&centred.square());
    centred * (variance + NORM_EPSILON).rsqrt() * gain + bias
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xPos as the paper writes it (Sun et al., equation 13): the score of a query at n and a key at m is, for every pair of
    /// channels as complex numbers, Re(q conj(k) e^(i (n-m) theta)) zeta^((n-m) / 512). It depends on n - m only.
    #[test]
    fn scores_are_those_of_xpos() {
        let (n_positions, head_size) = (64_i64, 8_i64);
        let tables = rotary_tables(n_positions, head_size, Kind::Float);
        let pairs = (head_size / 2) as usize;
        let query: Vec<f32> = (0..head_size).map(|i| (i as f32 * 0.7).sin()).collect();
        let key: Vec<f32> = (0..head_size).map(|i| (i as f32 * 1.3).cos()).collect();
        let everywhere =
            |values: &[f32]| Tensor::from_slice(values).view([1, 1, 1, -1]).expand([1, n_positions, 1, -1], false);
        let queries = rotate(&everywhere(&query), &tables.narrow(0, 0, 2)).view([n_positions, head_size]);
        let keys = rotate(&everywhere(&key), &tables.narrow(0, 2, 2)).view([n_positions, head_size]);
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
