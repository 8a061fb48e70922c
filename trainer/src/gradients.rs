//! Loss and gradients of one batch: micro-batches shared among threads, added up in order.
//!
//! Each thread runs libtorch single-threaded on micro-batches of its own. The sum over micro-batches is taken in their order
//! whatever thread computed them, so the bits do not depend on the number of threads; and two micro-batches side by side waste
//! less of two cores than two threads inside one matrix product. On a GPU there is one worker, and micro-batches follow each other.

use std::collections::BTreeMap;
use std::time::Instant;

use corpus::{Kind as DocumentKind, Segment};
use loader::{LoadError, Loader, RowBlock};
use planner::Shape;
use serde::Serialize;
use tch::{Device, Kind, Reduction, Tensor};
use thiserror::Error;
use torch_ext::TorchError;

use crate::model::{Masks, Model};
use crate::staging::{Inputs, Staged};

/// Targets whose logits are computed at a time. Buffers of up to 32 MB are kept by the allocator for the next use; larger ones go
/// back to the system every time, and clearing their pages again costs a fifth of a step.
const LOGIT_ROWS: i64 = 512;

/// A batch that cannot be computed.
#[derive(Debug, Error)]
pub enum BatchError {
    /// Its rows cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// libtorch refused an operation.
    #[error("libtorch refused an operation of the forward or backward pass")]
    Tch(#[from] tch::TchError),
    /// The C++ side refused an operation.
    #[error(transparent)]
    Torch(#[from] TorchError),
}

/// Rows with the positions whose prediction carries loss.
pub struct MicroBatch {
    staged: Staged,
    n_rows: i64,
    /// Index into the batch's groups, for every target.
    groups: Vec<u32>,
}

/// A batch: its micro-batches, and the kinds of text in it.
pub struct Batch {
    micro_batches: Vec<MicroBatch>,
    groups: Vec<Group>,
    /// Targets that carry loss, the denominator of the mean.
    pub n_targets: u64,
}

/// Language, source and kind of a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    lang: String,
    source: String,
    kind: DocumentKind,
}

/// Mean loss in nats by what the text is.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct LossBy {
    /// By language.
    pub language: BTreeMap<String, f64>,
    /// By source.
    pub source: BTreeMap<String, f64>,
    /// By kind.
    pub kind: BTreeMap<String, f64>,
}

/// What a batch gave.
pub struct BatchResult {
    /// Mean loss over all targets, in nats.
    pub loss: f64,
    /// The same, by what the text is.
    pub loss_by: LossBy,
    /// Gradients of the mean loss, in the order of the model's tensors; empty where none were asked for.
    pub gradients: Vec<Tensor>,
    /// Time in forward passes, per thread. (On a GPU they are only queued in it: backward passes wait for them.)
    pub seconds_forward: f64,
    /// Time in backward passes, per thread.
    pub seconds_backward: f64,
}

/// Positions that carry loss, while they are collected.
#[derive(Default)]
struct Targets {
    /// Index into the `(row, position)` grid of predictions.
    positions: Vec<i32>,
    /// Index into the batch's groups, for every position.
    groups: Vec<u32>,
}

/// Loads rows `first .. first + n_rows` as micro-batches of `micro_rows`, for a model on `device`.
pub fn load_batch(
    loader: &Loader,
    first: u64,
    n_rows: u64,
    micro_rows: u64,
    context: u64,
    device: Device,
) -> Result<Batch, BatchError> {
    let mut groups: Vec<Group> = Vec::new();
    let mut micro_batches = Vec::new();
    let mut row = first;
    while row < first + n_rows {
        let n = micro_rows.min(first + n_rows - row);
        let mut targets = Targets::default();
        // A batch is of one stage, and a stage is packed one way.
        let is_masked = loader.masks_documents(row)?;
        let mut documents: Vec<i32> = Vec::new();
        for index in 0..n {
            let segments = loader.segments(row + index)?;
            if is_masked {
                add_documents(&mut documents, &segments, context as usize);
            }
            for segment in segments {
                add_targets(&mut targets, &mut groups, &segment, index * context);
            }
        }
        let blocks: Vec<RowBlock> = loader.blocks(row, n)?;
        let documents = is_masked.then_some(&documents[..]);
        let staged = Staged::new(&blocks, context as usize + 1, &targets.positions, documents, device)?;
        micro_batches.push(MicroBatch { staged, n_rows: n as i64, groups: targets.groups });
        row += n;
    }
    let n_targets = micro_batches.iter().map(|micro| micro.groups.len() as u64).sum();
    Ok(Batch { micro_batches, groups, n_targets })
}

/// Appends, for every position of a row that something is predicted at, the number of its segment; -1 for padding.
fn add_documents(documents: &mut Vec<i32>, segments: &[Segment], context: usize) {
    let row = documents.len();
    documents.resize(row + context, -1);
    for (number, segment) in segments.iter().enumerate() {
        let start = (segment.row_start as usize).min(context);
        let end = ((segment.row_start + segment.len) as usize).min(context);
        documents[row + start..row + end].fill(number as i32);
    }
}

/// The token at row position p is predicted at p - 1.
fn add_targets(targets: &mut Targets, groups: &mut Vec<Group>, segment: &Segment, row_offset: u64) {
    let spans = segment.loss_spans();
    if spans.is_empty() {
        return;
    }
    let key = Group { lang: segment.lang.clone(), source: segment.source.clone(), kind: segment.kind };
    let group = groups.iter().position(|group| *group == key).unwrap_or_else(|| {
        groups.push(key);
        groups.len() - 1
    });
    for position in spans.iter().flat_map(|span| span.start..span.end) {
        let target = row_offset + u64::from(position) - 1;
        targets.positions.push(i32::try_from(target).expect("a micro-batch has fewer than 2^31 tokens"));
        targets.groups.push(group as u32);
    }
}

/// Masks in value form: threads do not share tensors.
pub type MaskSettings = Option<(Shape, f64)>;

/// Computes a batch on as many threads as there are `replicas`, with gradients or without.
pub fn run_batch(
    batch: &Batch,
    replicas: &mut [Model],
    shape: &Shape,
    masks: MaskSettings,
    with_gradients: bool,
) -> Result<BatchResult, BatchError> {
    let n_threads = replicas.len();
    let mut result = BatchResult {
        loss: 0.0,
        loss_by: LossBy::default(),
        gradients: Vec::new(),
        seconds_forward: 0.0,
        seconds_backward: 0.0,
    };
    let mut sums = vec![(0.0_f64, 0_u64); batch.groups.len()];
    let scale = 1.0 / batch.n_targets.max(1) as f64;
    for wave in batch.micro_batches.chunks(n_threads) {
        let outcomes = run_wave(wave, replicas, shape, masks, with_gradients.then_some(scale));
        for (micro, outcome) in wave.iter().zip(outcomes) {
            let outcome = outcome?;
            for (loss, &group) in outcome.losses.iter().zip(&micro.groups) {
                sums[group as usize].0 += f64::from(*loss);
                sums[group as usize].1 += 1;
            }
            add_gradients(&mut result.gradients, outcome.gradients);
            result.seconds_forward += outcome.seconds.0 / n_threads as f64;
            result.seconds_backward += outcome.seconds.1 / n_threads as f64;
        }
    }
    result.loss = sums.iter().map(|(loss, _)| loss).sum::<f64>() * scale;
    result.loss_by = loss_by(&batch.groups, &sums);
    Ok(result)
}

struct Outcome {
    losses: Vec<f32>,
    gradients: Vec<Tensor>,
    seconds: (f64, f64),
}

fn run_wave(
    wave: &[MicroBatch],
    replicas: &mut [Model],
    shape: &Shape,
    masks: MaskSettings,
    gradient_scale: Option<f64>,
) -> Vec<Result<Outcome, BatchError>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = wave
            .iter()
            .zip(replicas)
            .map(|(micro, model)| {
                scope.spawn(move || {
                    tch::set_num_threads(1);
                    let masks = masks.map(|(old, c)| Masks::new(&old, shape, c, model.device()));
                    run_micro_batch(micro, model, shape, masks.as_ref(), gradient_scale)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker returns its errors")).collect()
    })
}

#[cfg(test)]
impl Batch {
    /// What the first micro-batch holds.
    pub(crate) fn inputs_of_first(&self) -> Inputs {
        self.micro_batches[0].staged.inputs()
    }
}

/// The mean loss in the weights' own precision, for tests against finite differences.
#[cfg(test)]
pub(crate) fn exact_loss(batch: &Batch, model: &Model, shape: &Shape, masks: MaskSettings) -> f64 {
    let masks = masks.map(|(old, c)| Masks::new(&old, shape, c, model.device()));
    let losses = batch.micro_batches.iter().map(|micro| {
        let losses = micro_losses(micro, model, shape, masks.as_ref()).expect("a batch of a test");
        losses.sum(Kind::Double).double_value(&[])
    });
    losses.sum::<f64>() / batch.n_targets as f64
}

fn run_micro_batch(
    micro: &MicroBatch,
    model: &Model,
    shape: &Shape,
    masks: Option<&Masks>,
    gradient_scale: Option<f64>,
) -> Result<Outcome, BatchError> {
    let start = Instant::now();
    let Some(scale) = gradient_scale else {
        let losses = tch::no_grad(|| micro_losses(micro, model, shape, masks))?;
        let losses = to_floats(&losses)?;
        let seconds = (start.elapsed().as_secs_f64(), 0.0);
        return Ok(Outcome { losses, gradients: Vec::new(), seconds });
    };
    let losses = micro_losses(micro, model, shape, masks)?;
    let forward_seconds = start.elapsed().as_secs_f64();
    let total = losses.sum(losses.kind()) * scale;
    let gradients = Tensor::f_run_backward(&[&total], model.tensors(), false, false)?;
    // A GPU has only begun: reading the losses waits for the forward pass at least.
    let losses = to_floats(&losses)?;
    let seconds = (forward_seconds, start.elapsed().as_secs_f64() - forward_seconds);
    Ok(Outcome { losses, gradients, seconds })
}

/// Loss of every target in nats, `(n_targets)`. Positions without loss are left out before the logits are computed.
fn micro_losses(micro: &MicroBatch, model: &Model, shape: &Shape, masks: Option<&Masks>) -> Result<Tensor, BatchError> {
    let Inputs { rows, targets: selected, documents } = micro.staged.inputs();
    let context = shape.context as i64;
    let targets = rows.narrow(1, 1, context).reshape([-1]).index_select(0, &selected).to_kind(Kind::Int64);
    let hidden = model.hidden_within(&rows.narrow(1, 0, context), masks, documents.as_ref());
    let hidden = hidden.view([micro.n_rows * context, -1]).index_select(0, &selected);
    let chunks = hidden.split(LOGIT_ROWS, 0).into_iter().zip(targets.split(LOGIT_ROWS, 0));
    let losses = chunks.map(|(hidden, targets)| {
        model.logits(&hidden).f_cross_entropy_loss(&targets, None::<Tensor>, Reduction::None, -100, 0.0)
    });
    Ok(Tensor::f_cat(&losses.collect::<Result<Vec<_>, _>>()?, 0)?)
}

fn to_floats(losses: &Tensor) -> Result<Vec<f32>, BatchError> {
    Ok(Vec::try_from(losses.detach().to_kind(Kind::Float))?)
}

fn add_gradients(sum: &mut Vec<Tensor>, gradients: Vec<Tensor>) {
    if sum.is_empty() {
        *sum = gradients;
        return;
    }
    for (sum, gradient) in sum.iter_mut().zip(&gradients) {
        let _ = sum.g_add_(gradient);
    }
}

fn loss_by(groups: &[Group], sums: &[(f64, u64)]) -> LossBy {
    let mean = |key: fn(&Group) -> &str| {
        let mut by: BTreeMap<String, (f64, u64)> = BTreeMap::new();
        for (group, (loss, n)) in groups.iter().zip(sums) {
            let entry = by.entry(key(group).to_owned()).or_default();
            *entry = (entry.0 + loss, entry.1 + n);
        }
        by.into_iter().map(|(name, (loss, n))| (name, loss / n.max(1) as f64)).collect()
    };
    LossBy {
        language: mean(|group| &group.lang),
        source: mean(|group| &group.source),
        kind: mean(|group| group.kind.as_str()),
    }
}
