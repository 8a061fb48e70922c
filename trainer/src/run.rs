//! The training loop: stages, growth between them, checkpoints, validation, and going on after anything.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use corpus::{FileEntry, FileError, Manifest, Parent, Seed, Settings};
use loader::{LoadError, Loader, LoaderSettings, Prefetch};
use planner::{Batch as Batches, OptimizerSettings, Precision, Recompute, RunPlan, StagePlan};
use tch::{Cuda, Device, Kind, Tensor};
use thiserror::Error;

use crate::batch::{Batch, load_batch};
use crate::checkpoint::{
    Checkpoint, CheckpointError, MaskState, RunState, checkpoint_folder, list_checkpoints, load, remove_others, save,
};
use crate::device::{device_name, n_workers};
use crate::gradients::{BatchError, BatchResult, MaskSettings, Workers, run_batch};
use crate::growth::grow;
use crate::metrics::{Event, MetricsLog, Seconds};
use crate::model::Masks;
use crate::optimizer::{OptimizerState, gradient_norm, update};
use crate::parameters::initial_tensors;
use crate::validation::validate;

/// Version of what `checkpoints/manifest.json` describes.
pub const TRAIN_FORMAT: u32 = 1;

/// A growth step that changes a logit by more than this did not preserve the function.
const LOGIT_DIFF_MAX: f64 = 1e-4;

/// A growth step that changes the loss by more than this many nats did not preserve the function.
const LOSS_JUMP_MAX: f64 = 1e-3;

/// What to train, on what, and how often to look and save.
pub struct TrainJob<'a> {
    /// The run's folder: holds `checkpoints/` and `metrics.jsonl`.
    pub out: &'a Path,
    /// Stages and muP.
    pub plan: &'a RunPlan,
    /// Optimizer.
    pub optimizer: OptimizerSettings,
    /// What matrix products compute in.
    pub precision: Precision,
    /// What is computed twice to save memory; changes no bit.
    pub recompute: Recompute,
    /// Packed rows of each stage, in order.
    pub packed: Vec<PathBuf>,
    /// Held-out rows.
    pub validation: PathBuf,
    /// Folders of rows as they were when an earlier checkpoint was written, and how many of their first rows are the same today.
    pub kept_rows: Vec<(Parent, u64)>,
    /// What the rows must be, and when that is verified.
    pub rows: LoaderSettings,
    /// Length in bytes of every token's text.
    pub token_bytes: Vec<u32>,
    /// Root seed of the run.
    pub seed: Seed,
    /// Everything that can change the result.
    pub settings: Settings,
    /// What the run trains on.
    pub parents: Vec<Parent>,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints kept besides every stage's last.
    pub keep_last: usize,
    /// Steps between validations; the end of every stage is validated besides.
    pub validate_every: u64,
    /// Where to compute.
    pub device: Device,
    /// Worker threads; the result does not depend on them, and a GPU has one worker.
    pub n_threads: usize,
    /// Set from outside to stop after the current step.
    pub stop: &'a AtomicBool,
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All stages are done.
    Finished,
    /// It was asked to stop; the state is saved.
    Interrupted,
}

/// Training that cannot go on.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Packed rows.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A batch.
    #[error("cannot compute step {step}")]
    Batch {
        /// Steps done before.
        step: u64,
        /// Why.
        source: BatchError,
    },
    /// The checkpoints here are of another run.
    #[error(
        "{} holds checkpoints of other {what}: choose another --out, or remove that folder to train anew",
        path.display()
    )]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// Settings or data.
        what: &'static str,
    },
    /// The packed rows are not those of the plan.
    #[error("the packed stages hold {found} rows, the plan needs {expected}")]
    Rows {
        /// Packed.
        found: u64,
        /// Planned.
        expected: u64,
    },
    /// The loss or a gradient is not a number.
    #[error("step {step} has loss {loss} and gradient norm {norm}; nothing was updated. {}", advice)]
    Diverged {
        /// The step.
        step: u64,
        /// Its loss.
        loss: f64,
        /// Its gradient norm.
        norm: f64,
        /// What to do.
        advice: &'static str,
    },
    /// A growth step changed the function.
    #[error(
        "growing into stage {stage} changed a logit by {logit_diff:e} and the loss by {loss_jump:e}: it must preserve both"
    )]
    NotPreserved {
        /// The stage.
        stage: String,
        /// Largest change of a logit.
        logit_diff: f64,
        /// Change of the loss.
        loss_jump: f64,
    },
}

/// Trains from the newest checkpoint in `out`, or from new weights, to the end of the plan. `watch` sees every event.
pub fn train(job: &TrainJob<'_>, watch: &mut dyn FnMut(&Event)) -> Result<Outcome, TrainError> {
    tch::set_num_threads(1);
    let mut trainer = Trainer::open(job, watch)?;
    let peak_flops = matmul_peak(job.device, job.precision, job.n_threads);
    trainer.start(peak_flops)?;
    while let Some(index) = job.plan.stage_at(trainer.checkpoint.state.step) {
        if trainer.checkpoint.state.stage != index {
            trainer.enter_stage(index)?;
        }
        if trainer.train_stage(index, peak_flops)? == Outcome::Interrupted {
            return Ok(Outcome::Interrupted);
        }
    }
    finish(job)
}

/// The run's parts while it goes on.
struct Trainer<'a> {
    job: &'a TrainJob<'a>,
    held_out: Loader,
    log: MetricsLog,
    watch: &'a mut dyn FnMut(&Event),
    checkpoint: Checkpoint,
    workers: Workers,
    /// The batches of all steps to come, loaded one ahead of the one that is computed.
    batches: Prefetch<Batch, BatchError>,
    checkpoint_seconds: f64,
}

impl<'a> Trainer<'a> {
    fn open(job: &'a TrainJob<'a>, watch: &'a mut dyn FnMut(&Event)) -> Result<Self, TrainError> {
        let rows = Loader::open(&job.packed, &job.rows)?;
        let expected = job.plan.stages.iter().map(StagePlan::n_rows).sum();
        if rows.n_rows() != expected {
            return Err(TrainError::Rows { found: rows.n_rows(), expected });
        }
        let held_out = Loader::open(std::slice::from_ref(&job.validation), &job.rows)?;
        let newest = newest_checkpoint(job)?;
        // A manifest of an earlier end names what is about to change.
        drop(std::fs::remove_file(job.out.join("checkpoints").join(Manifest::NAME)));
        let resumed = newest.as_ref().map(|checkpoint| checkpoint.state.step);
        let log = MetricsLog::open(job.out, resumed)?;
        let checkpoint = newest.unwrap_or_else(|| first_checkpoint(job)).to_device(job.device);
        let workers = make_workers(job, &checkpoint);
        let batches = prefetch(job, rows, checkpoint.state.position);
        let mut trainer = Self { job, held_out, log, watch, checkpoint, workers, batches, checkpoint_seconds: 0.0 };
        if let Some(step) = resumed {
            let what = checkpoint_folder(Path::new("checkpoints"), step).display().to_string();
            trainer.emit(Event::Resume { step, what, why: "the run was started again".to_owned() })?;
        }
        Ok(trainer)
    }

    fn start(&mut self, peak_flops: f64) -> Result<(), FileError> {
        let step = self.checkpoint.state.step;
        self.emit(Event::Start { step, device: device_name(self.job.device), peak_flops_per_s: peak_flops })
    }

    fn emit(&mut self, event: Event) -> Result<(), FileError> {
        self.log.write(&event)?;
        (self.watch)(&event);
        Ok(())
    }

    /// Masks of the next step of stage `index`.
    fn masks(&self, index: usize) -> MaskSettings {
        let stage = &self.job.plan.stages[index];
        let mask = stage.mask_at(self.checkpoint.state.step - stage.first_step);
        (mask < 1.0).then(|| (self.job.plan.stages[index - 1].shape, mask))
    }

    /// Goes on to stage `index`: with another model where it grows, with the same one else.
    fn enter_stage(&mut self, index: usize) -> Result<(), TrainError> {
        let stage = &self.job.plan.stages[index];
        if stage.growth.is_some() {
            return self.grow_into(index);
        }
        (self.checkpoint.state.stage, self.checkpoint.state.stage_name) = (index, stage.name.clone());
        self.checkpoint.state.parents = parents_until(self.job, index);
        Ok(())
    }

    /// Makes the model of stage `index` from that of the stage before, and measures on a fixed batch what that changed.
    fn grow_into(&mut self, index: usize) -> Result<(), TrainError> {
        let start = Instant::now();
        let stage = &self.job.plan.stages[index];
        let (old, new) = (self.checkpoint.state.shape, stage.shape);
        let (logits_before, loss_before) = self.fixed_batch(None)?;
        let seed = self.job.seed.stream("growth").stream(&stage.name);
        let (tensors, optimizer) =
            grow(&self.checkpoint.tensors, &self.checkpoint.optimizer, (&old, &new), &self.job.plan.mup, &seed);
        (self.checkpoint.tensors, self.checkpoint.optimizer) = (tensors, optimizer);
        let state = &mut self.checkpoint.state;
        (state.stage, state.shape) = (index, new);
        state.parents = parents_until(self.job, index);
        let stage_from = std::mem::replace(&mut state.stage_name, stage.name.clone());
        self.workers = make_workers(self.job, &self.checkpoint);
        let (logits_after, loss_after) = self.fixed_batch(self.masks(index))?;
        let max_logit_diff = (logits_after - logits_before).abs().max().double_value(&[]);
        let step = self.checkpoint.state.step;
        self.emit(Event::Growth {
            step,
            stage_from,
            stage_to: stage.name.clone(),
            operator: "masked".to_owned(),
            max_logit_diff,
            loss_before,
            loss_after,
            parameters: (old.n_parameters(), new.n_parameters()),
            seconds: start.elapsed().as_secs_f64(),
        })?;
        let loss_jump = loss_after - loss_before;
        // Written so that a NaN counts as not preserved.
        let preserved = max_logit_diff <= LOGIT_DIFF_MAX && loss_jump <= LOSS_JUMP_MAX;
        if preserved {
            return Ok(());
        }
        Err(TrainError::NotPreserved { stage: stage.name.clone(), logit_diff: max_logit_diff, loss_jump })
    }

    /// Logits `(n, v)` and mean loss on the first held-out rows.
    fn fixed_batch(&mut self, masks: MaskSettings) -> Result<(Tensor, f64), TrainError> {
        let state = &self.checkpoint.state;
        let (shape, step) = (state.shape, state.step);
        let failed = |source| batch_error(step, source);
        let (n_rows, device) = (self.held_out.n_rows().min(8), self.job.device);
        let batch = load_batch(&self.held_out, 0, n_rows, n_rows, shape.context, device).map_err(failed)?;
        // In float32 whatever the run computes in: what is measured is growth, not rounding.
        let model = (shape, state.mup);
        let mut worker = Workers::new(&self.checkpoint.tensors, model, Precision::Float32, Recompute::None, 1);
        let result = run_batch(&batch, &mut worker, masks, false).map_err(failed)?;
        let block = self.held_out.blocks(0, n_rows)?.swap_remove(0);
        let n_rows = block.n_rows();
        let rows = torch_ext::rows_tensor(block, n_rows).map_err(|error| failed(error.into()))?.to_device(device);
        let masks = masks.map(|(old, c)| Masks::new(&old, &shape, c, device));
        let model = self.checkpoint.model();
        let tokens = rows.narrow(1, 0, shape.context as i64);
        let hidden = tch::no_grad(|| model.hidden(&tokens, masks.as_ref(), None));
        Ok((model.logits(&hidden.map_err(|error| failed(error.into()))?), result.loss))
    }

    fn train_stage(&mut self, index: usize, peak_flops: f64) -> Result<Outcome, TrainError> {
        let stage = &self.job.plan.stages[index];
        let end = stage.first_step + stage.n_steps;
        while self.checkpoint.state.step < end {
            self.train_step(index, peak_flops)?;
            let step = self.checkpoint.state.step;
            if step == end || step.is_multiple_of(self.job.validate_every) {
                self.validate(index)?;
            }
            let stopping = self.job.stop.load(Ordering::Relaxed);
            if step == end {
                self.save(index, "end of stage")?;
            } else if stopping {
                self.save(index, "interrupted")?;
            } else if step.is_multiple_of(self.job.checkpoint_every) {
                self.save(index, "every so many steps")?;
            }
            if stopping && step < self.job.plan.n_steps() {
                return Ok(Outcome::Interrupted);
            }
        }
        Ok(Outcome::Finished)
    }

    fn train_step(&mut self, index: usize, peak_flops: f64) -> Result<(), TrainError> {
        let start = Instant::now();
        let stage = &self.job.plan.stages[index];
        let step = self.checkpoint.state.step;
        let masks = self.masks(index);
        let failed = |source| batch_error(step, source);
        let (result, data) = self.run_batch(masks).map_err(failed)?;
        let update_start = Instant::now();
        let norm = gradient_norm(&result.gradients).map_err(|error| failed(error.into()))?;
        if !result.loss.is_finite() || !norm.is_finite() {
            let advice = "The last checkpoint is whole; lower the learning rate or skip these rows";
            return Err(TrainError::Diverged { step: step + 1, loss: result.loss, norm, advice });
        }
        let tokens_after = (step - stage.first_step + 1) * stage.batch_tokens();
        let learning_rate = stage.learning_rate.at(tokens_after, stage.n_tokens());
        let Checkpoint { tensors, optimizer, state } = &mut self.checkpoint;
        let scales = (&stage.shape, &self.job.plan.mup, learning_rate);
        update(tensors, &result.gradients, norm, optimizer, &self.job.optimizer, scales)
            .map_err(|error| failed(error.into()))?;
        self.workers.refresh(tensors);
        state.step += 1;
        state.position += stage.batch.rows;
        state.tokens += stage.batch_tokens();
        let seconds = start.elapsed().as_secs_f64();
        let model_flops_per_s = (stage.batch_tokens() * stage.shape.flops_per_token()) as f64 / seconds;
        let event = Event::Step {
            step: state.step,
            stage: stage.name.clone(),
            tokens: state.tokens,
            loss: result.loss,
            loss_by: result.loss_by,
            grad_norm: norm,
            lr: learning_rate,
            mask: masks.map_or(1.0, |(_, mask)| mask),
            tokens_per_s: stage.batch_tokens() as f64 / seconds,
            model_flops_per_s,
            share_of_peak: model_flops_per_s / peak_flops,
            seconds: Seconds {
                data,
                forward: result.seconds_forward,
                backward: result.seconds_backward,
                optimizer: update_start.elapsed().as_secs_f64(),
                communication: 0.0,
                checkpoint: std::mem::take(&mut self.checkpoint_seconds),
            },
        };
        Ok(self.emit(event)?)
    }

    /// Computes the batch of the next step. Also gives the time spent waiting for its rows.
    fn run_batch(&mut self, masks: MaskSettings) -> Result<(BatchResult, f64), BatchError> {
        let start = Instant::now();
        let step = self.checkpoint.state.step;
        let watch = &mut *self.watch;
        let batch = self.batches.next(&mut |waiting| {
            let what = waiting.path.display().to_string();
            watch(&Event::Waiting { step, what, seconds: waiting.seconds });
        });
        let batch = batch.expect("there is a batch for every step")?;
        let data = start.elapsed().as_secs_f64();
        let result = run_batch(&batch, &mut self.workers, masks, true)?;
        Ok((result, data))
    }

    fn validate(&mut self, index: usize) -> Result<(), TrainError> {
        let stage = &self.job.plan.stages[index];
        let masks = self.masks(index);
        let (step, tokens) = (self.checkpoint.state.step, self.checkpoint.state.tokens);
        let micro_rows = stage.batch.micro_rows;
        let validations = validate(&self.held_out, &mut self.workers, masks, micro_rows, &self.job.token_bytes)
            .map_err(|source| batch_error(step, source))?;
        for validation in validations {
            self.emit(Event::Validation {
                step,
                stage: stage.name.clone(),
                tokens,
                lang: validation.lang,
                loss: validation.loss,
                bits_per_byte: validation.bits_per_byte,
                unigram_entropy: validation.unigram_entropy,
                n_targets: validation.n_targets,
            })?;
        }
        Ok(())
    }

    fn save(&mut self, index: usize, why: &str) -> Result<(), TrainError> {
        let start = Instant::now();
        let masks = self.masks(index);
        let state = &mut self.checkpoint.state;
        state.masks = masks.map(|(from, value)| MaskState { from, value });
        let step = state.step;
        let checkpoints = self.job.out.join("checkpoints");
        let what = checkpoint_folder(Path::new("checkpoints"), step).display().to_string();
        self.emit(Event::Checkpoint { step, what, why: why.to_owned() })?;
        self.log.sync()?;
        save(&checkpoints, &self.checkpoint)?;
        remove_others(&checkpoints, &kept_steps(self.job, &list_checkpoints(&checkpoints)))?;
        self.checkpoint_seconds = start.elapsed().as_secs_f64();
        Ok(())
    }
}

/// What computes the batches of a checkpoint's model.
fn make_workers(job: &TrainJob<'_>, checkpoint: &Checkpoint) -> Workers {
    let model = (checkpoint.state.shape, checkpoint.state.mup);
    let n_workers = n_workers(job.device, job.n_threads);
    Workers::new(&checkpoint.tensors, model, job.precision, job.recompute, n_workers)
}

/// The batches of all steps from the one that begins at `position` on.
fn prefetch(job: &TrainJob<'_>, rows: Loader, position: u64) -> Prefetch<Batch, BatchError> {
    let stages: Vec<(u64, Batches)> = job.plan.stages.iter().map(|stage| (stage.first_row, stage.batch)).collect();
    let n_rows = rows.n_rows();
    let batch_of = move |row: u64| stages[stages.partition_point(|(first, _)| *first <= row) - 1].1;
    let size_of = batch_of.clone();
    let mut next = position;
    let requests = std::iter::from_fn(move || {
        let first = next;
        (first < n_rows).then(|| {
            next += size_of(first).rows;
            (first, next - first)
        })
    });
    let (context, device) = (job.plan.stages[0].shape.context, job.device);
    let make = move |rows: &Loader, first: u64, n: u64| {
        load_batch(rows, first, n, batch_of(first).micro_rows, context, device)
    };
    Prefetch::start(Arc::new(rows), requests, 1, make)
}

/// Rows that cannot be loaded are a matter of the data, all else of the step.
fn batch_error(step: u64, source: BatchError) -> TrainError {
    match source {
        BatchError::Load(error) => TrainError::Load(error),
        source => TrainError::Batch { step, source },
    }
}

/// The last few checkpoints, and the last of every stage.
fn kept_steps(job: &TrainJob<'_>, steps: &[u64]) -> Vec<u64> {
    let is_stage_end = |step: &u64| job.plan.stages.iter().any(|stage| stage.first_step + stage.n_steps == *step);
    let newest = steps.iter().rev().take(job.keep_last.max(1));
    newest.chain(steps.iter().filter(|step| is_stage_end(step))).copied().collect()
}

/// The newest checkpoint that was trained on the rows that lie there now; those that saw other rows are removed. Rows may have
/// changed behind it: a later mix, or a take-down.
fn newest_checkpoint(job: &TrainJob<'_>) -> Result<Option<Checkpoint>, TrainError> {
    let checkpoints = job.out.join("checkpoints");
    let steps = list_checkpoints(&checkpoints);
    let other = |what| Err(TrainError::OtherRun { path: checkpoints.clone(), what });
    for (index, &step) in steps.iter().enumerate().rev() {
        let mut checkpoint = load(&checkpoint_folder(&checkpoints, step))?;
        if checkpoint.state.settings != job.settings {
            return other("settings");
        }
        let Some(n_rows) = rows_in_common(job, &checkpoint.state.parents) else { return other("data") };
        if checkpoint.state.position <= n_rows {
            if index + 1 < steps.len() {
                remove_others(&checkpoints, &steps[..=index])?;
            }
            checkpoint.state.parents = parents_until(job, checkpoint.state.stage);
            return Ok(Some(checkpoint));
        }
    }
    // None was written before the rows changed: training begins anew, and what saw other rows goes.
    if !steps.is_empty() {
        remove_others(&checkpoints, &[])?;
    }
    Ok(None)
}

/// What a checkpoint of stage `index` was made from: rows of later stages are none of its parents.
fn parents_until(job: &TrainJob<'_>, index: usize) -> Vec<Parent> {
    let is_later = |parent: &&Parent| job.plan.stages[index + 1..].iter().any(|stage| parent.name == rows_of(stage));
    job.parents.iter().filter(|parent| !is_later(parent)).cloned().collect()
}

/// The name of a stage's rows among the parents.
fn rows_of(stage: &StagePlan) -> String {
    format!("packed/{}", stage.name)
}

/// How many rows from the first one on are the same for `parents` as for the job; `None` where something else differs, or rows differ
/// that no take-down accounts for. Held-out rows are not trained on.
fn rows_in_common(job: &TrainJob<'_>, parents: &[Parent]) -> Option<u64> {
    let mut n_rows = u64::MAX;
    let differs = |old: &&Parent| !job.parents.contains(old) && old.name != "packed/validation";
    for old in parents.iter().filter(differs) {
        let stage = job.plan.stages.iter().find(|stage| old.name == rows_of(stage))?;
        let same = job.kept_rows.iter().filter(|(parent, _)| parent == old).map(|(_, same)| *same).min()?;
        n_rows = n_rows.min(stage.first_row + same);
    }
    Some(n_rows)
}

fn first_checkpoint(job: &TrainJob<'_>) -> Checkpoint {
    let stage = &job.plan.stages[0];
    let tensors = initial_tensors(&stage.shape, &job.plan.mup, &job.seed.stream("init"));
    let optimizer = OptimizerState::new(&tensors);
    let state = RunState {
        stage: 0,
        stage_name: stage.name.clone(),
        step: 0,
        tokens: 0,
        position: 0,
        shape: stage.shape,
        mup: job.plan.mup,
        masks: None,
        seed: job.seed.as_u64(),
        settings: job.settings.clone(),
        parents: parents_until(job, 0),
    };
    Checkpoint { state, tensors, optimizer }
}

/// Commits the stage: its manifest names the log and every checkpoint that was kept, by the hash of its manifest.
fn finish(job: &TrainJob<'_>) -> Result<Outcome, TrainError> {
    let checkpoints = job.out.join("checkpoints");
    let mut files = vec![entry(&checkpoints, &format!("../{}", MetricsLog::NAME))?];
    for step in list_checkpoints(&checkpoints) {
        let folder = checkpoint_folder(Path::new(""), step);
        files.push(entry(&checkpoints, &folder.join(Manifest::NAME).display().to_string())?);
    }
    Manifest::new("train", TRAIN_FORMAT, &job.settings)
        .with_parents(job.parents.clone())
        .with_files(files)
        .commit(&checkpoints)?;
    Ok(Outcome::Finished)
}

fn entry(folder: &Path, name: &str) -> Result<FileEntry, FileError> {
    let path = folder.join(name);
    let metadata = std::fs::metadata(&path).map_err(|source| FileError::new("read", &path, source))?;
    Ok(FileEntry { path: name.to_owned(), rows: 1, bytes: metadata.len(), blake3: corpus::hash_file(&path)? })
}

/// Matrix-product peak of `n_threads` single-threaded workers at the same time in FLOP/s, or of a GPU, in the precision of the run: the best of
/// a few rounds, about a second in all. (Two hardware threads of one core share its units, so workers must be measured together.)
pub fn matmul_peak(device: Device, precision: Precision, n_threads: usize) -> f64 {
    const PRODUCTS: usize = 8;
    const ROUNDS: usize = 4;
    let size: i64 = if device == Device::Cpu { 1024 } else { 8192 };
    let kind = match precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    };
    let n_threads = n_workers(device, n_threads);
    let together = Barrier::new(n_threads);
    let worker = || {
        tch::set_num_threads(1);
        // Values as of any matrix: products of ones use less power, and a GPU is limited by that.
        let a = Tensor::arange(size * size, (Kind::Float, device)).sin().view([size, size]).to_kind(kind);
        let round = |_| {
            together.wait();
            let start = Instant::now();
            (0..PRODUCTS).for_each(|_| drop(a.matmul(&a)));
            if let Device::Cuda(index) = device {
                // Products are only queued until then.
                Cuda::synchronize(index as i64);
            }
            together.wait();
            start.elapsed().as_secs_f64()
        };
        (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
    };
    let seconds = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a product does not panic")).fold(0.0, f64::max)
    });
    (2 * size.pow(3)) as f64 * (PRODUCTS * n_threads) as f64 / seconds
}
