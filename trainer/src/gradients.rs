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
use crate::loss::chunked_loss;
use crate::masks::Masks;
use crate::model::{Model, Surroundings, of_tensors, sums};
use crate::parameters::{BLOCK_TENSORS, OUTER_TENSORS};
use crate::staging::Inputs;

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
        // Processes that share a micro-batch must come to it in the same order.
        let n_workers = if model.parallel().has_whole_rows() { n_workers.max(1) } else { 1 };
        let worker = |_| Worker { model: model.replica(), logits: None };
        let workers = (0..n_workers).map(worker).collect();
        let places = tensors.iter().map(|tensor| (tensor.size(), (tensor.kind(), tensor.device()))).collect();
        let factors = factors(&model, masks, tensors);
        Self { model, workers, sums: Vec::new(), places, spare: Mutex::default(), factors, recompute }
    }

    /// Takes over what an update made of `tensors`, and the masks of the next step.
    pub fn refresh(&mut self, tensors: &[Tensor], masks: Option<&Masks>) {
        self.model.refresh(tensors, masks);
        self.factors = factors(&self.model, masks, tensors);
    }

    /// The L2 norm of the gradients that a batch gave, of the whole model.
    pub fn gradient_norm(&self, gradients: &[Tensor]) -> Result<f64, TorchError> {
        self.model.parallel().norm(self.model.shape(), gradients)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }
}

/// What gradients of masked weights are multiplied with, where those of `tensors` lie.
fn factors(model: &Model, masks: Option<&Masks>, tensors: &[Tensor]) -> Vec<Option<Tensor>> {
    let Some(masks) = masks else { return Vec::new() };
    let factors = model.parallel().parts_of_some(model.shape(), &masks.factors(model.shape()));
    factors
        .into_iter()
        .zip(tensors)
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
    let parallel = workers.model.parallel();
    let mut sums = batch.sum_losses(&losses);
    parallel.sum_losses(&mut sums, workers.model.device())?;
    let (loss, loss_by) = batch.mean_losses(&sums);
    let mut gradients: Vec<Tensor> =
        if with_gradients { workers.sums.iter().map(Sum::tensor).collect() } else { Vec::new() };
    if batch.micro_batches.is_empty() {
        gradients.iter_mut().for_each(|gradient| drop(gradient.zero_()));
    }
    if with_gradients {
        parallel.sum_gradients(&mut gradients)?;
    }
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
    let parallel = model.parallel();
    let mut d_embedding = job.scale.map(|_| job.embedding_gradient(number, model));
    let context = model.shape().context as i64;
    let surroundings = model.surroundings(micro.n_rows, documents.as_ref());
    let tokens = rows.narrow(1, 0, context);
    let front = match parallel.is_first() {
        true => tch::no_grad(|| model.embed(&tokens))?,
        false => received(model, micro.n_rows * context, -1)?,
    };
    let Run { blocks, last } = forward(model, front, &surroundings, job.scale.map(|_| job.recompute))?;
    let forward_seconds = start.elapsed().as_secs_f64();
    let (losses, d_last) = if parallel.is_last() {
        let ids = rows.narrow(1, 1, context).reshape([-1]).index_select(0, &selected).to_kind(Kind::Int64);
        let (losses, gradients) = loss(model, &last, (&selected, &ids), job.scale.zip(d_embedding.as_mut()), logits)?;
        if let Some([_, d_gain, d_bias]) = &gradients {
            job.turns.add(2, number, d_bias)?;
            job.turns.add(1, number, d_gain)?;
        }
        (losses, gradients.map(|[d_last, ..]| d_last))
    } else {
        parallel.pipeline.send(1, &last)?;
        if let Some(d_embedding) = &mut d_embedding {
            let _ = d_embedding.zero_();
        }
        let d_last = job.scale.map(|_| received(model, micro.n_rows * context, 1));
        (Tensor::zeros([0], (last.kind(), last.device())), d_last.transpose()?)
    };
    drop(last);
    if let (Some(d_last), Some(mut d_embedding)) = (d_last, d_embedding) {
        let d_front = backward(model, blocks, d_last, &surroundings, &mut |tensor, gradient| {
            job.turns.add(tensor, number, gradient)
        })?;
        match parallel.is_first() {
            true => model.add_embed_gradient(&mut d_embedding, &tokens, &d_front),
            false => parallel.pipeline.send(-1, &d_front)?,
        }
        job.turns.add(0, number, &d_embedding)?;
        if number > 0 {
            job.spare.lock().unwrap_or_else(PoisonError::into_inner).push(d_embedding);
        }
    }
    // A GPU has only begun: reading the losses waits for the forward pass at least.
    let losses = Vec::try_from(losses.to_kind(Kind::Double))?;
    Ok(Outcome { losses, seconds: (forward_seconds, start.elapsed().as_secs_f64() - forward_seconds) })
}

/// The residual stream `(n, h)`, or its gradient, from the process so many pipeline stages ahead.
fn received(model: &Model, n: i64, ahead: isize) -> Result<Tensor, TorchError> {
    let options = (sums(model.embedding().kind()), model.device());
    let mut stream = Tensor::empty([n, model.shape().hidden as i64], options);
    model.parallel().pipeline.receive(ahead, &mut stream)?;
    Ok(stream)
}

/// A forward pass through this process's blocks, as far as the backward pass needs it.
struct Run {
    /// In front of every block, leaves of its graph, and behind it; nothing behind it where it is computed again.
    blocks: Vec<(Tensor, Option<Tensor>)>,
    /// Behind the last block, a leaf.
    last: Tensor,
}

/// `recompute` is `None` where no gradients are wanted.
fn forward(
    model: &Model,
    front: Tensor,
    surroundings: &Surroundings,
    recompute: Option<Recompute>,
) -> Result<Run, TorchError> {
    let leaf = |x: Tensor| x.detach().set_requires_grad(recompute.is_some());
    let mut x = leaf(front);
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
    Ok(Run { blocks, last: x })
}

/// Hands the gradient of every tensor of the blocks to `add`, from the last to the first block, and returns that of the residual
/// stream in front of them.
fn backward(
    model: &Model,
    blocks: Vec<(Tensor, Option<Tensor>)>,
    d_last: Tensor,
    surroundings: &Surroundings,
    add: &mut dyn FnMut(usize, &Tensor) -> Result<(), BatchError>,
) -> Result<Tensor, BatchError> {
    let mut d_x = d_last;
    for (block, (x, out)) in blocks.into_iter().enumerate().rev() {
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

/// Losses `(n)` behind the last block at the selected positions, whose next tokens are `ids`; where gradients are wanted, those of the residual stream
/// there and of the last norm's gain and bias.
fn loss(
    model: &Model,
    last: &Tensor,
    (selected, ids): (&Tensor, &Tensor),
    with_gradients: Option<(f64, &mut Tensor)>,
    logits: &mut Option<Tensor>,
) -> Result<(Tensor, Option<[Tensor; 3]>), BatchError> {
    let normed = match with_gradients {
        Some(_) => model.last_norm(last)?,
        None => tch::no_grad(|| model.last_norm(last))?,
    };
    let all = normed.detach();
    let is_all = selected.numel() as i64 == all.size()[0];
    let hidden = if is_all { all.shallow_clone() } else { all.index_select(0, selected) };
    let (losses, d_hidden) = tch::no_grad(|| chunked_loss(model, &hidden, ids, with_gradients, logits))?;
    let Some(d_hidden) = d_hidden else { return Ok((losses, None)) };
    let d_hidden = if is_all { d_hidden } else { all.zeros_like().index_copy(0, selected, &d_hidden) };
    let [gain, bias] = model.final_norm();
    let gradients = gradients_of(&normed, &d_hidden, &[last, gain, bias])?;
    Ok((losses, Some(gradients.try_into().expect("a gradient for each of three"))))
}

fn gradients_of(out: &Tensor, d_out: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Tensor>, TorchError> {
    let gradients = torch_ext::gradients(out, d_out, inputs)?;
    Ok(gradients.into_iter().zip(inputs).map(|(found, input)| found.unwrap_or_else(|| input.zeros_like())).collect())
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
