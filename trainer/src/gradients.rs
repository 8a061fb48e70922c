//! Loss and gradients of one batch: micro-batches shared among threads, added up in order.
//!
//! Each worker runs libtorch single-threaded on micro-batches of its own; two micro-batches side by side waste less of two cores than two
//! threads inside one matrix product. A gradient is added to the sum when it is its micro-batch's turn, whichever thread computed it, so the
//! bits do not depend on the number of threads. Workers come to a tensor one after the other by themselves: whoever waited once
//! stays behind by that much. On a GPU there is one worker, and micro-batches follow each other.
//!
//! The graph is cut between blocks: a block's gradients are taken as soon as that of what lies behind it is known, and its activations
//! are freed then, or, with [`Recompute::Blocks`], are made only then. Between the last block and the loss there is no graph: logits of a
//! few rows at a time become losses and gradients in place, and are gone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use loader::LoadError;
use planner::{MuP, Precision, Recompute, Shape};
use tch::{Device, Kind, Tensor};
use thiserror::Error;
use torch_ext::TorchError;

use crate::batch::{Batch, LossBy, MicroBatch};
use crate::masks::Masks;
use crate::model::{Model, Surroundings, of_tensors, sums};
use crate::parameters::{BLOCK_TENSORS, OUTER_TENSORS};
use crate::staging::Inputs;

/// Logits that are computed at a time take about so many bytes on the CPU: beyond the cache, passes over them wait for memory.
const LOGIT_BYTES: i64 = 8 << 20;

/// Rows of logits at a time: fewer make matrix products slow, more cost memory.
const LOGIT_ROWS_MIN: i64 = 256;
const LOGIT_ROWS_OF_GPU: i64 = 4096;

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
    /// Another worker failed first.
    #[error("another worker of the batch failed")]
    Abandoned,
}

/// What a batch gave.
pub struct BatchResult {
    /// Mean loss over all targets, in nats.
    pub loss: f64,
    /// The same, by what the text is.
    pub loss_by: LossBy,
    /// Gradients of the mean loss, in the order of the model's tensors; empty where none were asked for. They lie in the workers'
    /// memory: the next batch overwrites them.
    pub gradients: Vec<Tensor>,
    /// Time in forward passes, per thread. (On a GPU they are only queued in it: backward passes wait for them.)
    pub seconds_forward: f64,
    /// Time in backward passes, per thread.
    pub seconds_backward: f64,
}

/// What computes batches: a model, a view of it for every thread, and the memory that is used again for every batch.
pub struct Workers {
    model: Model,
    workers: Vec<Worker>,
    /// Made for the first batch with gradients: who only looks at losses needs no room for them.
    sums: Vec<Sum>,
    /// Size, kind and device of every tensor.
    places: Vec<(Vec<i64>, (Kind, Device))>,
    /// Memory for a micro-batch's gradient of the embedding, `(v, h)`, that is not in use.
    spare: Mutex<Vec<Tensor>>,
    /// What the gradients of masked weights are multiplied with to be those of the weights.
    factors: Vec<Option<Tensor>>,
    recompute: Recompute,
}

struct Worker {
    model: Model,
    /// Logits, then their gradients, of a few rows: `(rows, v)`.
    logits: Option<Tensor>,
}

impl Workers {
    /// `n_workers` threads that compute with `tensors`, those of [`crate::parameter_specs`].
    pub fn new(
        tensors: &[Tensor],
        (shape, mup, masks): (Shape, MuP, Option<&Masks>),
        precision: Precision,
        recompute: Recompute,
        n_workers: usize,
    ) -> Self {
        let model = Model::new(shape, mup, precision, tensors, masks);
        Self::of(model, tensors, masks, (recompute, n_workers))
    }

    /// Threads that compute with a model over `tensors`.
    pub fn of(
        model: Model,
        tensors: &[Tensor],
        masks: Option<&Masks>,
        (recompute, n_workers): (Recompute, usize),
    ) -> Self {
        let worker = |_| Worker { model: model.replica(), logits: None };
        let workers = (0..n_workers.max(1)).map(worker).collect();
        let places = tensors.iter().map(|tensor| (tensor.size(), (tensor.kind(), tensor.device()))).collect();
        let factors = factors(model.shape(), masks, tensors);
        Self { model, workers, sums: Vec::new(), places, spare: Mutex::default(), factors, recompute }
    }

    /// Takes over what an update made of `tensors`, and the masks of the next step.
    pub fn refresh(&mut self, tensors: &[Tensor], masks: Option<&Masks>) {
        self.model.refresh(tensors, masks);
        self.factors = factors(self.model.shape(), masks, tensors);
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }
}

/// What gradients of masked weights are multiplied with, where those of `tensors` lie.
fn factors(shape: &Shape, masks: Option<&Masks>, tensors: &[Tensor]) -> Vec<Option<Tensor>> {
    let factors = masks.map_or_else(Vec::new, |masks| masks.factors(shape)).into_iter().zip(tensors);
    factors
        .map(|(factor, tensor)| factor.map(|factor| factor.to_kind(tensor.kind()).to_device(tensor.device())))
        .collect()
}

/// Computes a batch, with gradients or without.
pub fn run_batch(batch: &Batch, workers: &mut Workers, with_gradients: bool) -> Result<BatchResult, BatchError> {
    if with_gradients && workers.sums.is_empty() {
        workers.sums = workers.places.iter().map(|(size, options)| Sum::new(size, *options)).collect();
    }
    let turns = Turns { sums: &workers.sums, failed: AtomicBool::new(false) };
    let scale = with_gradients.then(|| 1.0 / batch.n_targets.max(1) as f64);
    turns.begin();
    let next = AtomicUsize::new(0);
    let (spare, recompute) = (&workers.spare, workers.recompute);
    let job = Job { batch, next: &next, turns: &turns, spare, scale, recompute };
    let n_threads = workers.workers.len();
    let outcomes: Vec<Result<Vec<(usize, Outcome)>, BatchError>> = match &mut workers.workers[..] {
        // Libraries of a GPU keep plans by thread: with a new one for every batch, cuDNN planned its attention in every step.
        [worker] if worker.model.device() != Device::Cpu => vec![run_worker(&job, worker)],
        workers => std::thread::scope(|scope| {
            let threads: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(|| run_worker(&job, worker))).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            // What made it panic is what must be told: it may be the machine's memory.
            joined.map(|outcome| outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        }),
    };
    let is_consequence = |outcome: &Result<_, BatchError>| matches!(outcome, Err(BatchError::Abandoned));
    let (consequences, mut outcomes): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(is_consequence);
    outcomes.extend(consequences);
    let mut outcomes: Vec<(usize, Outcome)> =
        outcomes.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    outcomes.sort_by_key(|(number, _)| *number);
    let seconds =
        |of: fn(&Outcome) -> f64| outcomes.iter().map(|(_, outcome)| of(outcome)).sum::<f64>() / n_threads as f64;
    let (seconds_forward, seconds_backward) =
        (seconds(|outcome| outcome.seconds.0), seconds(|outcome| outcome.seconds.1));
    let losses: Vec<Vec<f64>> = outcomes.into_iter().map(|(_, outcome)| outcome.losses).collect();
    let (loss, loss_by) = batch.mean_losses(&losses);
    let mut gradients: Vec<Tensor> =
        if with_gradients { workers.sums.iter().map(Sum::tensor).collect() } else { Vec::new() };
    for (gradient, factor) in gradients.iter_mut().zip(&workers.factors) {
        if let Some(factor) = factor {
            *gradient *= factor;
        }
    }
    Ok(BatchResult { loss, loss_by, gradients, seconds_forward, seconds_backward })
}

/// What the threads of a batch share.
struct Job<'a> {
    batch: &'a Batch,
    /// The micro-batch that nobody has begun.
    next: &'a AtomicUsize,
    turns: &'a Turns<'a>,
    spare: &'a Mutex<Vec<Tensor>>,
    /// Factor on the sum of all losses; `None` where no gradients are wanted.
    scale: Option<f64>,
    recompute: Recompute,
}

impl Job<'_> {
    /// Where a micro-batch's gradient of the embedding is made: the first one's in the sum itself, which is nobody else's until then.
    fn embedding_gradient(&self, number: usize, model: &Model) -> Tensor {
        if number == 0 {
            return self.turns.sums[0].tensor();
        }
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let embedding = model.embedding();
        spare.unwrap_or_else(|| Tensor::empty(embedding.size(), (sums(embedding.kind()), embedding.device())))
    }
}

struct Outcome {
    /// Of every target, in nats.
    losses: Vec<f64>,
    seconds: (f64, f64),
}

fn run_worker(job: &Job<'_>, worker: &mut Worker) -> Result<Vec<(usize, Outcome)>, BatchError> {
    tch::set_num_threads(1);
    let abandon = Abandon(job.turns);
    let mut outcomes = Vec::new();
    loop {
        let number = job.next.fetch_add(1, Ordering::Relaxed);
        let Some(micro) = job.batch.micro_batches.get(number) else { break };
        let outcome = run_micro_batch(job, (number, micro), worker)?;
        outcomes.push((number, outcome));
    }
    std::mem::forget(abandon);
    Ok(outcomes)
}

fn run_micro_batch(
    job: &Job<'_>,
    (number, micro): (usize, &MicroBatch),
    worker: &mut Worker,
) -> Result<Outcome, BatchError> {
    let start = Instant::now();
    let Inputs { rows, targets: selected, documents } = micro.inputs();
    let Worker { model, logits } = worker;
    let mut d_embedding = job.scale.map(|_| job.embedding_gradient(number, model));
    let context = model.shape().context as i64;
    let surroundings = model.surroundings(micro.n_rows, documents.as_ref());
    let ids = rows.narrow(1, 1, context).reshape([-1]).index_select(0, &selected).to_kind(Kind::Int64);
    let tokens = rows.narrow(1, 0, context);
    let run = forward(model, &tokens, &surroundings, job.scale.map(|_| job.recompute))?;
    let is_all = selected.numel() as i64 == micro.n_rows * context;
    let hidden = run.hidden.detach();
    let hidden = if is_all { hidden } else { hidden.index_select(0, &selected) };
    let forward_seconds = start.elapsed().as_secs_f64();
    let (losses, d_hidden) =
        tch::no_grad(|| chunked_loss(model, &hidden, &ids, job.scale.zip(d_embedding.as_mut()), logits))?;
    if let (Some(d_hidden), Some(mut d_embedding)) = (d_hidden, d_embedding) {
        let spread = || run.hidden.detach().zeros_like().index_copy(0, &selected, &d_hidden);
        let d_hidden = if is_all { d_hidden } else { spread() };
        let d_x = backward(model, run, &d_hidden, &surroundings, &mut |tensor, gradient| {
            job.turns.add(tensor, number, gradient)
        })?;
        let d_rows = model.embed_backward(&d_x);
        let _ = d_embedding.index_add_(0, &tokens.reshape([-1]), &d_rows);
        job.turns.add(0, number, &d_embedding)?;
        if number > 0 {
            job.spare.lock().unwrap_or_else(PoisonError::into_inner).push(d_embedding);
        }
    }
    // A GPU has only begun: reading the losses waits for the forward pass at least.
    let losses = Vec::try_from(losses.to_kind(Kind::Double))?;
    Ok(Outcome { losses, seconds: (forward_seconds, start.elapsed().as_secs_f64() - forward_seconds) })
}

/// A forward pass as far as the backward pass needs it.
struct Run {
    /// In front of every block, leaves of its graph, and behind it; nothing behind it where it is computed again.
    blocks: Vec<(Tensor, Option<Tensor>)>,
    /// In front of the last norm, and the final hidden states `(n, h)`.
    last: Tensor,
    hidden: Tensor,
}

/// `recompute` is `None` where no gradients are wanted.
fn forward(
    model: &Model,
    tokens: &Tensor,
    surroundings: &Surroundings,
    recompute: Option<Recompute>,
) -> Result<Run, TorchError> {
    let leaf = |x: Tensor| x.detach().set_requires_grad(recompute.is_some());
    let mut x = leaf(tch::no_grad(|| model.embed(tokens)));
    let mut blocks = Vec::with_capacity(model.n_blocks());
    for block in 0..model.n_blocks() {
        let out = match recompute {
            Some(Recompute::None) => model.block(block, &x, surroundings)?,
            Some(Recompute::Blocks) | None => tch::no_grad(|| model.block(block, &x, surroundings))?,
        };
        let next = leaf(out.shallow_clone());
        if recompute.is_some() {
            blocks.push((x, (recompute == Some(Recompute::None)).then_some(out)));
        }
        x = next;
    }
    let hidden = match recompute {
        Some(_) => model.last_norm(&x)?,
        None => tch::no_grad(|| model.last_norm(&x))?,
    };
    Ok(Run { blocks, last: x, hidden })
}

/// Hands the gradient of every tensor but the embedding to `add`, from the last to the first block, and returns that of the residual
/// stream in front of them.
fn backward(
    model: &Model,
    run: Run,
    d_hidden: &Tensor,
    surroundings: &Surroundings,
    add: &mut dyn FnMut(usize, &Tensor) -> Result<(), BatchError>,
) -> Result<Tensor, BatchError> {
    let [gain, bias] = model.final_norm();
    let mut gradients = gradients_of(&run.hidden, d_hidden, &[&run.last, gain, bias])?;
    add(2, &gradients.remove(2))?;
    add(1, &gradients.remove(1))?;
    let mut d_x = gradients.remove(0);
    drop((run.hidden, run.last));
    for (block, (x, out)) in run.blocks.into_iter().enumerate().rev() {
        let out = match out {
            Some(out) => out,
            None => model.block(block, &x, surroundings)?,
        };
        let inputs: Vec<&Tensor> = std::iter::once(&x).chain(model.weights(block)).collect();
        let mut gradients = gradients_of(&out, &d_x, &inputs)?;
        d_x = gradients.remove(0);
        let first = OUTER_TENSORS + block * BLOCK_TENSORS;
        for (index, gradient) in of_tensors(&gradients).iter().enumerate() {
            add(first + index, gradient)?;
        }
    }
    Ok(d_x)
}

fn gradients_of(out: &Tensor, d_out: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Tensor>, TorchError> {
    let gradients = torch_ext::gradients(out, d_out, inputs)?;
    Ok(gradients.into_iter().zip(inputs).map(|(found, input)| found.unwrap_or_else(|| input.zeros_like())).collect())
}

/// Losses `(n)` of `hidden` `(n, h)` for `targets` `(n)`. With a factor and a place `(v, h)` also the gradient of `hidden` for the sum of all losses
/// times the factor, and in that place the embedding's. Only a few rows of `logits` are there at a time.
fn chunked_loss(
    model: &Model,
    hidden: &Tensor,
    targets: &Tensor,
    mut with_gradients: Option<(f64, &mut Tensor)>,
    logits: &mut Option<Tensor>,
) -> Result<(Tensor, Option<Tensor>), BatchError> {
    let embedding = model.embedding();
    let all_logits = logits.get_or_insert_with(|| room_for_logits(embedding));
    let n = hidden.size()[0];
    let d_hidden = with_gradients.as_ref().map(|_| hidden.empty_like());
    if let (Some((_, d_embedding)), 0) = (&mut with_gradients, n) {
        let _ = d_embedding.zero_();
    }
    let n_at_once = all_logits.size()[0];
    let mut losses = vec![Tensor::zeros([0], (sums(hidden.kind()), hidden.device()))];
    for first in (0..n).step_by(n_at_once as usize) {
        let len = n_at_once.min(n - first);
        let (hidden, targets) = (hidden.narrow(0, first, len), targets.narrow(0, first, len));
        let mut logits = all_logits.narrow(0, 0, len);
        let _ = hidden.f_matmul_out(&logits, &embedding.tr())?;
        let scale = with_gradients.as_ref().map_or(0.0, |(scale, _)| *scale);
        losses.push(torch_ext::cross_entropy(&mut logits, &targets, scale)?);
        let (Some(d_hidden), Some((_, d_embedding))) = (&d_hidden, &mut with_gradients) else { continue };
        let _ = logits.f_matmul_out(&d_hidden.narrow(0, first, len), embedding)?;
        torch_ext::add_transposed_product(d_embedding, &logits, &hidden, first == 0)?;
    }
    Ok((Tensor::f_cat(&losses, 0)?, d_hidden))
}

/// Memory for the logits that are computed at a time, `(rows, v)`.
fn room_for_logits(embedding: &Tensor) -> Tensor {
    let (kind, device, n_ids) = (embedding.kind(), embedding.device(), embedding.size()[0]);
    let n_rows = LOGIT_BYTES / (n_ids * kind.elt_size_in_bytes() as i64);
    let n_rows = if device == Device::Cpu { n_rows.max(LOGIT_ROWS_MIN) } else { LOGIT_ROWS_OF_GPU };
    Tensor::empty([n_rows, n_ids], (kind, device))
}

/// The sum of one tensor's gradients, and whose turn it is to add to it.
struct Sum {
    turn: Mutex<(usize, Tensor)>,
    is_next: Condvar,
}

impl Sum {
    fn new(size: &[i64], options: (Kind, Device)) -> Self {
        Self { turn: Mutex::new((0, Tensor::empty(size, options))), is_next: Condvar::new() }
    }

    fn tensor(&self) -> Tensor {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner).1.shallow_clone()
    }
}

/// All sums while a batch is computed.
struct Turns<'a> {
    sums: &'a [Sum],
    failed: AtomicBool,
}

impl Turns<'_> {
    fn begin(&self) {
        self.sums.iter().for_each(|sum| sum.turn.lock().unwrap_or_else(PoisonError::into_inner).0 = 0);
    }

    /// Adds the gradient of a tensor that micro-batch `number` has, after those of all micro-batches before it.
    fn add(&self, tensor: usize, number: usize, gradient: &Tensor) -> Result<(), BatchError> {
        let Sum { turn, is_next } = &self.sums[tensor];
        let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let is_not_yet = |turn: &mut (usize, Tensor)| turn.0 != number && !self.failed.load(Ordering::Relaxed);
        let mut turn = is_next.wait_while(turn, is_not_yet).unwrap_or_else(PoisonError::into_inner);
        if turn.0 != number {
            return Err(BatchError::Abandoned);
        }
        let (next, sum) = &mut *turn;
        if number == 0 {
            sum.f_copy_(gradient)?;
        } else {
            drop(sum.f_add_(gradient)?);
        }
        *next += 1;
        is_next.notify_all();
        Ok(())
    }
}

/// Wakes those who wait for a turn that will not come, when a worker ends early.
struct Abandon<'a>(&'a Turns<'a>);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        for sum in self.0.sums {
            // With the lock held, nobody is between looking at the flag and waiting.
            let _turn = sum.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.failed.store(true, Ordering::Relaxed);
            sum.is_next.notify_all();
        }
    }
}
