//! The training loop: stages, growth between them, checkpoints, validation, and going on after anything.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use corpus::{FileEntry, FileError, Manifest, Parent, Seed, Settings};
use loader::{LoadError, Loader, LoaderSettings, Prefetch};
use planner::{
    Batch as Batches, Growth, OptimizerSettings, Precision, Prediction, Recompute, RunPlan, SpikePolicy, Stability,
    StagePlan,
};
use tch::{Cuda, Device, Kind, Tensor};
use thiserror::Error;

use crate::batch::{Batch, load_batch};
use crate::checkpoint::{
    Checkpoint, CheckpointError, checkpoint_folder, list_checkpoints, load_and_tell, remove_others,
};
use crate::device::{device_name, n_workers};
use crate::gradients::{BatchError, BatchResult, Workers, run_batch};
use crate::growth::{GrowthStep, Head, grow, max_logit_difference};
use crate::masks::Masks;
use crate::metrics::{BatchDocument, Documents, Event, MetricsLog, Seconds};
use crate::optimizer::update;
use crate::resume::{first_checkpoint, newest_checkpoint, parents_until};
use crate::saving::{Keep, Saved, Saver};
use crate::stability::{Skipped, Spike, Window, skips_in_a_row};
use crate::tensorboard::TensorBoard;
use crate::validation::{HeldOut, validate};
use crate::watchdog::{Pulse, Stall, Watchdog};

/// Version of what `checkpoints/manifest.json` describes.
pub const TRAIN_FORMAT: u32 = 1;

/// A growth step that changes a logit by more than this share of the largest one, or of 1 where all are smaller, did not preserve the function:
/// rounding grows with the logits.
const LOGIT_DIFF_MAX: f64 = 1e-4;

/// A growth step that changes the loss by more than this many nats did not preserve the function.
const LOSS_JUMP_MAX: f64 = 1e-3;

/// Documents that a line of the log names.
const DOCUMENTS_MAX: usize = 16;

/// A full or dead disk must not keep the watchdog from ending the process.
const STALL_LINE_WAIT: Duration = Duration::from_secs(5);

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
    /// When a step is a spike, and what happens then.
    pub stability: Stability,
    /// Packed rows of each stage, in order; rows beyond those of the plan are left alone.
    pub packed: Vec<PathBuf>,
    /// Held-out rows.
    pub validation: PathBuf,
    /// Folders of rows as they were when an earlier checkpoint was written, and how many of their first rows are the same today.
    pub kept_rows: Vec<(Parent, u64)>,
    /// What the rows must be, and when that is verified.
    pub rows: LoaderSettings,
    /// Length in bytes of every token's text.
    pub token_bytes: Vec<u32>,
    /// A checkpoint whose model and moments the first stage begins with, instead of new weights.
    pub start: Option<PathBuf>,
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
    /// Held-out losses that were predicted: told at their steps, beside what was found. Changes no result.
    pub predictions: Vec<Prediction>,
    /// Where to compute.
    pub device: Device,
    /// Worker threads; the result does not depend on them, and a GPU has one worker.
    pub n_threads: usize,
    /// Now, in seconds since 1970: the event files of TensorBoard name it.
    pub started: f64,
    /// Called from another thread when training hangs, after the log has the event; it should end the process.
    pub stalled: Arc<dyn Fn(&Event) + Send + Sync>,
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
        "{} holds checkpoints of other {what} ({difference}): choose another --out, or remove that folder to train anew",
        path.display()
    )]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// Settings or data.
        what: &'static str,
        /// The first thing that differs.
        difference: String,
    },
    /// The log does not belong to the checkpoint.
    #[error(
        "{} has no line of the checkpoint at step {step}: put back the log that was written with it, or remove checkpoints/ beside it to \
         train anew",
        path.display()
    )]
    OtherLog {
        /// The log.
        path: PathBuf,
        /// The checkpoint.
        step: u64,
    },
    /// The packed rows are not those of the plan.
    #[error("the packed stages hold {found} rows, the plan needs {expected}")]
    Rows {
        /// Packed.
        found: u64,
        /// Planned.
        expected: u64,
    },
    /// A step must not be trained on, and the run file says to stop there.
    #[error(
        "step {step} was not trained on: {spike}. Its batch has {}. The last checkpoint is whole. `moso trace --step {step}` names all \
         documents; take bad ones down (`moso takedown`), or let [train] stability.policy pass over the step, and run the same command again",
        describe(documents)
    )]
    Spiked {
        /// The step.
        step: u64,
        /// What was found.
        spike: Spike,
        /// What is in its batch.
        documents: Documents,
    },
    /// Passing over batches does not help.
    #[error(
        "{n_steps} steps in a row up to step {step} could not be trained on, [train] stability.skips_max is {limit}; the last: {why}. Its \
         batch has {}. The last checkpoint is whole. It is hardly the data: lower lr.peak, or lengthen its warm-up, in another --out",
        describe(documents)
    )]
    Diverged {
        /// The last of them.
        step: u64,
        /// How many.
        n_steps: u64,
        /// How many there may be.
        limit: u64,
        /// What was wrong with the last.
        why: String,
        /// What is in its batch.
        documents: Documents,
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
    trainer.start()?;
    let _watchdog = trainer.watchdog();
    while let Some(index) = job.plan.stage_at(trainer.checkpoint.state.step) {
        if trainer.checkpoint.state.stage != index {
            trainer.enter_stage(index)?;
        }
        if trainer.train_stage(index)? == Flow::Interrupted {
            return Ok(Outcome::Interrupted);
        }
    }
    finish(job)
}

/// How a stage or a step ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Done,
    Interrupted,
    /// The state is another one now, perhaps of an earlier stage.
    WentBack,
}

/// The run's parts while it goes on.
struct Trainer<'a> {
    job: &'a TrainJob<'a>,
    rows: Arc<Loader>,
    held_out: Loader,
    /// The held-out rows as one batch, and the number of rows of its micro-batches.
    validation: Option<(u64, HeldOut)>,
    log: MetricsLog,
    board: TensorBoard,
    pulse: Pulse,
    /// Measured at start, in FLOP/s.
    peak_flops: f64,
    watch: &'a mut dyn FnMut(&Event),
    checkpoint: Checkpoint,
    workers: Workers,
    /// The batches of all steps to come, loaded one ahead of the one that is computed.
    batches: Prefetch<Batch, BatchError>,
    saver: Saver,
    /// How long training stood still for checkpoints since the last step.
    checkpoint_seconds: f64,
}

impl<'a> Trainer<'a> {
    fn open(job: &'a TrainJob<'a>, watch: &'a mut dyn FnMut(&Event)) -> Result<Self, TrainError> {
        let rows = Loader::open(&job.packed, &job.rows)?;
        let expected = job.plan.stages.iter().map(StagePlan::n_rows).sum();
        if rows.n_rows() < expected {
            return Err(TrainError::Rows { found: rows.n_rows(), expected });
        }
        let held_out = Loader::open(std::slice::from_ref(&job.validation), &job.rows)?;
        let newest = newest_checkpoint(job)?;
        // A manifest of an earlier end names what is about to change.
        drop(std::fs::remove_file(job.out.join("checkpoints").join(Manifest::NAME)));
        let resumed = newest.as_ref().map(|checkpoint| checkpoint.state.step);
        let log = MetricsLog::open(job.out, resumed)?;
        let checkpoint = newest.map_or_else(|| first_checkpoint(job), Ok)?.to_device(job.device);
        let rows = Arc::new(rows);
        let mut trainer = Self {
            job,
            board: TensorBoard::open(job.out, checkpoint.state.step, job.started)?,
            pulse: Pulse::new(),
            peak_flops: matmul_peak(job.device, job.precision, job.n_threads),
            workers: make_workers(job, &checkpoint),
            batches: prefetch(job, Arc::clone(&rows), checkpoint.state.position),
            saver: Saver::new(&job.out.join("checkpoints"), kept_checkpoints(job)),
            checkpoint_seconds: 0.0,
            rows,
            held_out,
            validation: None,
            log,
            watch,
            checkpoint,
        };
        if let Some(step) = resumed {
            let what = checkpoint_folder(Path::new("checkpoints"), step).display().to_string();
            trainer.emit(Event::Resume { step, what, why: "the run was started again".to_owned() })?;
        }
        Ok(trainer)
    }

    fn start(&mut self) -> Result<(), FileError> {
        let (step, tokens) = (self.checkpoint.state.step, self.checkpoint.state.tokens);
        let device = device_name(self.job.device);
        self.emit(Event::Start { step, tokens, device, peak_flops_per_s: self.peak_flops })
    }

    fn emit(&mut self, event: Event) -> Result<(), FileError> {
        self.log.write(&event)?;
        self.board.write(&event)?;
        (self.watch)(&event);
        Ok(())
    }

    /// Masks of the next step of stage `index`.
    fn masks(&self, index: usize) -> Option<Masks> {
        let stage = &self.job.plan.stages[index];
        let (growth, value) = (stage.growth?, stage.mask_at(self.checkpoint.state.step - stage.first_step));
        (value < 1.0).then(|| Masks { from: self.job.plan.stages[index - 1].shape, depth: growth.depth, value })
    }

    /// Goes on to stage `index`: with another model where it grows, with the same one else.
    fn enter_stage(&mut self, index: usize) -> Result<(), TrainError> {
        let stage = &self.job.plan.stages[index];
        if let Some(growth) = stage.growth {
            return self.grow_into(index, growth);
        }
        (self.checkpoint.state.stage, self.checkpoint.state.stage_name) = (index, stage.name.clone());
        self.checkpoint.state.window = Window::default();
        self.checkpoint.state.parents = parents_until(self.job, index);
        Ok(())
    }

    /// Makes the model of stage `index` from that of the stage before, and measures on a fixed batch what that changed.
    fn grow_into(&mut self, index: usize, growth: Growth) -> Result<(), TrainError> {
        let start = Instant::now();
        self.pulse.beat(self.checkpoint.state.step, "growth");
        let stage = &self.job.plan.stages[index];
        let (old, new) = (self.checkpoint.state.shape, stage.shape);
        let (before, loss_before) = self.fixed_batch()?;
        let seed = self.job.seed.stream("growth").stream(&stage.name);
        let growth_step = GrowthStep { old, new, growth, mup: self.job.plan.mup, seed };
        let (tensors, optimizer) = grow(&self.checkpoint.tensors, &self.checkpoint.optimizer, &growth_step);
        (self.checkpoint.tensors, self.checkpoint.optimizer) = (tensors, optimizer);
        let state = &mut self.checkpoint.state;
        (state.stage, state.shape, state.window) = (index, new, Window::default());
        state.parents = parents_until(self.job, index);
        let stage_from = std::mem::replace(&mut state.stage_name, stage.name.clone());
        self.checkpoint.state.masks = self.masks(index);
        self.workers = make_workers(self.job, &self.checkpoint);
        let (after, loss_after) = self.fixed_batch()?;
        let (max_logit_diff, max_logit) = max_logit_difference(&before, &after);
        let step = self.checkpoint.state.step;
        self.emit(Event::Growth {
            step,
            stage_from,
            stage_to: stage.name.clone(),
            operator: growth.name(),
            max_logit_diff,
            loss_before,
            loss_after,
            parameters: (old.n_parameters(), new.n_parameters()),
            seconds: start.elapsed().as_secs_f64(),
        })?;
        let loss_jump = loss_after - loss_before;
        // Written so that a NaN counts as not preserved.
        let preserved = max_logit_diff <= LOGIT_DIFF_MAX * max_logit.max(1.0) && loss_jump <= LOSS_JUMP_MAX;
        if preserved || growth.broken_promise(&old, &new).is_some() {
            return Ok(());
        }
        Err(TrainError::NotPreserved { stage: stage.name.clone(), logit_diff: max_logit_diff, loss_jump })
    }

    /// What makes the logits of the first held-out rows, and their mean loss.
    fn fixed_batch(&self) -> Result<(Head, f64), TrainError> {
        let state = &self.checkpoint.state;
        let (shape, step) = (state.shape, state.step);
        let failed = |source| batch_error(step, source);
        let (n_rows, device) = (self.held_out.n_rows().min(8), self.job.device);
        let batch = load_batch(&self.held_out, 0, n_rows, n_rows, shape.context, device).map_err(failed)?;
        // In float32 whatever the run computes in: what is measured is growth, not rounding.
        let model = (shape, state.mup, state.masks.as_ref());
        let mut worker = Workers::new(&self.checkpoint.tensors, model, Precision::Float32, Recompute::None, 1);
        let loss = run_batch(&batch, &mut worker, false).map_err(failed)?.loss;
        let tokens = batch.micro_batches[0].inputs().rows.narrow(1, 0, shape.context as i64);
        let model = worker.model();
        let hidden = tch::no_grad(|| model.hidden(&tokens, None)).map_err(|error| failed(error.into()))?;
        Ok((Head { hidden, embedding: model.embedding().shallow_clone() }, loss))
    }

    fn train_stage(&mut self, index: usize) -> Result<Flow, TrainError> {
        let stage = &self.job.plan.stages[index];
        let end = stage.first_step + stage.n_steps;
        while self.checkpoint.state.step < end {
            let saved = self.saver.look()?;
            self.tell_saved(saved)?;
            if self.train_step(index)? == Flow::WentBack {
                return Ok(Flow::WentBack);
            }
            let step = self.checkpoint.state.step;
            if step == end || step.is_multiple_of(self.job.validate_every) {
                self.validate(index)?;
            }
            let stopping = self.job.stop.load(Ordering::Relaxed);
            if step == end {
                self.save("end of stage")?;
                self.wait_until_saved()?;
            } else if stopping {
                self.save("interrupted")?;
                self.wait_until_saved()?;
            } else if step.is_multiple_of(self.job.checkpoint_every) {
                self.save("every so many steps")?;
            }
            if stopping && step < self.job.plan.n_steps() {
                return Ok(Flow::Interrupted);
            }
        }
        Ok(Flow::Done)
    }

    /// Trains on the next batch, or passes over it.
    fn train_step(&mut self, index: usize) -> Result<Flow, TrainError> {
        let start = Instant::now();
        let stage = &self.job.plan.stages[index];
        let step = self.checkpoint.state.step + 1;
        let mask = self.checkpoint.state.masks.map_or(1.0, |masks| masks.value);
        let failed = |source| batch_error(step - 1, source);
        let (batch, data) = self.next_batch().map_err(failed)?;
        let listed = self.checkpoint.state.skipped.iter().find(|skipped| skipped.step == step);
        if let Some(why) = listed.map(|skipped| skipped.why.clone()) {
            return self.skip(index, None, why);
        }
        self.pulse.beat(step - 1, "forward and backward pass");
        let result = run_batch(&batch, &mut self.workers, true).map_err(failed)?;
        let update_start = Instant::now();
        let norm = self.workers.gradient_norm(&result.gradients).map_err(|error| failed(error.into()))?;
        if let Some(spike) = self.checkpoint.state.window.judge(&self.job.stability, result.loss, norm) {
            return self.spiked(index, (result.loss, norm), spike);
        }
        let tokens_after = (step - stage.first_step) * stage.batch_tokens();
        let learning_rate = stage.learning_rate_at(tokens_after);
        let copied = self.wait_until_copied();
        self.pulse.beat(step - 1, "update");
        let Checkpoint { tensors, optimizer, state } = &mut self.checkpoint;
        let scales = (&stage.shape, &self.job.plan.mup, learning_rate);
        update(tensors, &result.gradients, norm, optimizer, &self.job.optimizer, scales)
            .map_err(|error| failed(error.into()))?;
        state.window.push(&self.job.stability, result.loss, norm);
        self.consume(index);
        let seconds = Seconds {
            data,
            forward: result.seconds_forward,
            backward: result.seconds_backward,
            optimizer: update_start.elapsed().as_secs_f64() - copied,
            communication: 0.0,
            checkpoint: std::mem::take(&mut self.checkpoint_seconds),
        };
        let length = start.elapsed().as_secs_f64() - copied;
        self.tell_step(stage, &result, (norm, learning_rate, mask), length, seconds)?;
        Ok(Flow::Done)
    }

    fn tell_step(
        &mut self,
        stage: &StagePlan,
        result: &BatchResult,
        (grad_norm, lr, mask): (f64, f64, f64),
        length: f64,
        seconds: Seconds,
    ) -> Result<(), FileError> {
        let model_flops_per_s = (stage.batch_tokens() * stage.shape.flops_per_token()) as f64 / length;
        self.emit(Event::Step {
            step: self.checkpoint.state.step,
            stage: stage.name.clone(),
            tokens: self.checkpoint.state.tokens,
            loss: result.loss,
            loss_by: result.loss_by.clone(),
            grad_norm,
            lr,
            mask,
            tokens_per_s: stage.batch_tokens() as f64 / length,
            model_flops_per_s,
            share_of_peak: model_flops_per_s / self.peak_flops,
            seconds,
        })
    }

    /// What the run file says to do at a spike.
    fn spiked(&mut self, index: usize, found: (f64, f64), spike: Spike) -> Result<Flow, TrainError> {
        let step = self.checkpoint.state.step + 1;
        match self.job.stability.policy {
            SpikePolicy::Skip => self.skip(index, Some(found), spike.to_string()),
            SpikePolicy::Stop => Err(TrainError::Spiked { step, spike, documents: self.documents(index)? }),
            SpikePolicy::Rollback { batches } => self.go_back(index, batches, &spike.to_string()),
        }
    }

    /// Passes over the next batch: it counts as consumed, and nothing is updated. `found` are its loss and gradient norm.
    fn skip(&mut self, index: usize, found: Option<(f64, f64)>, why: String) -> Result<Flow, TrainError> {
        let documents = self.documents(index)?;
        let stage = &self.job.plan.stages[index];
        self.consume(index);
        let state = &mut self.checkpoint.state;
        let step = state.step;
        note_skipped(&mut state.skipped, step..=step, &why);
        let tokens = state.tokens;
        self.check_skips(step, &why, &documents)?;
        let (loss, grad_norm) = (found.map(|(loss, _)| loss), found.map(|(_, norm)| norm));
        self.emit(Event::Skip { step, stage: stage.name.clone(), tokens, loss, grad_norm, why, documents })?;
        Ok(Flow::Done)
    }

    /// A step is behind us, whether it was trained on or passed over: tokens, schedule and masks go by rows.
    fn consume(&mut self, index: usize) {
        let stage = &self.job.plan.stages[index];
        let state = &mut self.checkpoint.state;
        state.step += 1;
        state.position += stage.batch.rows;
        state.tokens += stage.batch_tokens();
        let masks = self.masks(index);
        if self.checkpoint.state.masks.is_some() && masks.is_none() {
            // The model is a plain one from now on, over the weights themselves.
            self.checkpoint.state.masks = None;
            self.workers = make_workers(self.job, &self.checkpoint);
            return;
        }
        self.checkpoint.state.masks = masks;
        self.workers.refresh(&self.checkpoint.tensors, masks.as_ref());
    }

    /// Too many steps in a row up to `step` that cannot be trained on are not a matter of the data.
    fn check_skips(&self, step: u64, why: &str, documents: &Documents) -> Result<(), TrainError> {
        let (n_steps, limit) = (skips_in_a_row(&self.checkpoint.state.skipped, step), self.job.stability.skips_max);
        if n_steps <= limit {
            return Ok(());
        }
        Err(TrainError::Diverged { step, n_steps, limit, why: why.to_owned(), documents: documents.clone() })
    }

    /// Goes back to before the last `batches` batches, the next one among them, and has them passed over. They are remembered, so the same
    /// place cannot bring the run back again. Which ones they are is a matter of the run alone, and how far back it goes changes no bit: what
    /// is trained on again gives the same weights. So a process that is killed before its next checkpoint, finds the same spike
    /// again and perhaps goes back to another checkpoint, ends as if nothing had happened.
    fn go_back(&mut self, index: usize, batches: u64, why: &str) -> Result<Flow, TrainError> {
        self.wait_until_saved()?;
        let documents = self.documents(index)?;
        let last = self.checkpoint.state.step + 1;
        let checkpoints = self.job.out.join("checkpoints");
        let steps = list_checkpoints(&checkpoints);
        let first = last.saturating_sub(batches) + 1;
        let chosen = steps.iter().copied().rfind(|step| *step < first);
        let why = format!("{why} at step {last}");
        let mut skipped = std::mem::take(&mut self.checkpoint.state.skipped);
        note_skipped(&mut skipped, first..=last, &why);
        self.checkpoint.state.skipped = skipped.clone();
        self.check_skips(last, &why, &documents)?;
        let checkpoint = match chosen {
            Some(step) => {
                let pulse = &self.pulse;
                let told =
                    &mut |path: &Path| pulse.beat(last - 1, &format!("reading {}: is its disk there?", path.display()));
                load_and_tell(&checkpoint_folder(&checkpoints, step), told)?
            }
            None => first_checkpoint(self.job)?,
        };
        self.pulse.beat(last - 1, "going back");
        // The log is cut only when no checkpoint is left that would look for its line behind the cut.
        let kept: Vec<u64> = steps.into_iter().filter(|step| Some(*step) <= chosen).collect();
        remove_others(&checkpoints, &kept)?;
        self.checkpoint = checkpoint.to_device(self.job.device);
        let state = &mut self.checkpoint.state;
        state.skipped = skipped;
        state.parents = parents_until(self.job, state.stage);
        state.settings = self.job.settings.clone();
        let (step, tokens, position) = (state.step, state.tokens, state.position);
        self.workers = make_workers(self.job, &self.checkpoint);
        self.batches = prefetch(self.job, Arc::clone(&self.rows), position);
        self.log = MetricsLog::open(self.job.out, chosen)?;
        self.board = self.board.go_back(self.job.out, step)?;
        if chosen.is_none() {
            self.start()?;
        }
        let what = match chosen {
            Some(step) => checkpoint_folder(Path::new("checkpoints"), step).display().to_string(),
            None => "the weights that the run began with".to_owned(),
        };
        self.emit(Event::Rollback { step, tokens, what, why, skipped: (first, last), documents })?;
        Ok(Flow::WentBack)
    }

    /// What is in the next batch of stage `index`.
    fn documents(&self, index: usize) -> Result<Documents, LoadError> {
        let first = self.checkpoint.state.position;
        let mut found = BTreeSet::new();
        for row in first..first + self.job.plan.stages[index].batch.rows {
            let segments = self.rows.segments(row)?.into_iter();
            found.extend(segments.map(|segment| BatchDocument { id: segment.doc.to_string(), source: segment.source }));
        }
        let n_documents = found.len() as u64;
        Ok(Documents { n_documents, documents: found.into_iter().take(DOCUMENTS_MAX).collect() })
    }

    /// Takes the next batch. Also gives the time spent waiting for it.
    fn next_batch(&mut self) -> Result<(Batch, f64), BatchError> {
        let start = Instant::now();
        let step = self.checkpoint.state.step;
        let (watch, pulse) = (&mut *self.watch, &self.pulse);
        pulse.beat(step, "waiting for rows");
        let batch = self.batches.next(&mut |waiting| {
            let what = waiting.path.display().to_string();
            pulse.say(&format!("waiting for rows of {what}: is its disk there?"));
            watch(&Event::Waiting { step, what, seconds: waiting.seconds });
        });
        let batch = batch.expect("there is a batch for every step")?;
        Ok((batch, start.elapsed().as_secs_f64()))
    }

    /// Starts the thread that notices a hang, writes it into the log and has the process ended.
    fn watchdog(&self) -> Watchdog {
        let (out, stalled) = (self.job.out.to_owned(), Arc::clone(&self.job.stalled));
        let limit = Duration::from_secs_f64(self.job.stability.step_seconds_max);
        Watchdog::start(self.pulse.clone(), limit, move |Stall { step, phase, seconds }| {
            let event = Event::Stalled { step, what: phase, seconds };
            let (out, line) = (out.clone(), MetricsLog::line(&event));
            let (tell, told) = std::sync::mpsc::channel();
            let write = move || {
                let _ = tell.send(MetricsLog::append(&out, &line));
            };
            if std::thread::Builder::new().name("stall".to_owned()).spawn(write).is_ok() {
                let _ = told.recv_timeout(STALL_LINE_WAIT);
            }
            stalled(&event);
        })
    }

    fn validate(&mut self, index: usize) -> Result<(), TrainError> {
        let stage = &self.job.plan.stages[index];
        self.pulse.beat(self.checkpoint.state.step, "validation");
        let (step, tokens) = (self.checkpoint.state.step, self.checkpoint.state.tokens);
        let failed = |source| batch_error(step, source);
        let micro_rows = stage.batch.micro_rows;
        if self.validation.as_ref().is_none_or(|(made_for, _)| *made_for != micro_rows) {
            let (context, device) = (stage.shape.context, self.job.device);
            let held_out = HeldOut::new(&self.held_out, micro_rows, context, device, &self.job.token_bytes);
            self.validation = Some((micro_rows, held_out.map_err(failed)?));
        }
        let (_, held_out) = self.validation.as_ref().expect("it was made above");
        let validations = validate(held_out, &mut self.workers).map_err(failed)?;
        let n_targets: u64 = validations.iter().map(|validation| validation.n_targets).sum();
        let nats: f64 = validations.iter().map(|validation| validation.loss * validation.n_targets as f64).sum();
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
        self.tell_prediction(nats / n_targets.max(1) as f64)
    }

    /// Where the held-out loss of this step was predicted: whether what was found lies in the band.
    fn tell_prediction(&mut self, loss: f64) -> Result<(), TrainError> {
        let step = self.checkpoint.state.step;
        let told = self.job.predictions.iter().find(|prediction| prediction.is_reached && prediction.step == step);
        let Some(Prediction { stage, tokens, band, .. }) = told.cloned() else { return Ok(()) };
        let is_inside = band.holds(loss);
        Ok(self.emit(Event::Prediction { step, stage, tokens, loss, band, is_inside })?)
    }

    /// Begins to save the state; what was begun before must be done first.
    fn save(&mut self, why: &str) -> Result<(), TrainError> {
        self.wait_until_saved()?;
        let start = Instant::now();
        let state = &mut self.checkpoint.state;
        state.updates = self.checkpoint.optimizer.step;
        let step = state.step;
        let what = checkpoint_folder(Path::new("checkpoints"), step).display().to_string();
        self.emit(Event::Checkpoint { step, what, why: why.to_owned() })?;
        let (log, log_path) = self.log.handle()?;
        self.saver.begin(&self.checkpoint, log, log_path);
        self.checkpoint_seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Waits for the copy of the state, which changes next. Gives the seconds.
    fn wait_until_copied(&mut self) -> f64 {
        let start = Instant::now();
        self.pulse.beat(self.checkpoint.state.step, "copying the state for a checkpoint");
        self.saver.wait_until_copied();
        let seconds = start.elapsed().as_secs_f64();
        self.checkpoint_seconds += seconds;
        seconds
    }

    fn wait_until_saved(&mut self) -> Result<(), TrainError> {
        let start = Instant::now();
        self.pulse.beat(self.checkpoint.state.step, "waiting for a checkpoint to be written: is its disk there?");
        let saved = self.saver.wait()?;
        self.checkpoint_seconds += start.elapsed().as_secs_f64();
        Ok(self.tell_saved(saved)?)
    }

    fn tell_saved(&mut self, saved: Option<Saved>) -> Result<(), FileError> {
        let Some(Saved { step, bytes, seconds }) = saved else { return Ok(()) };
        let what = checkpoint_folder(Path::new("checkpoints"), step).display().to_string();
        self.emit(Event::Saved { step, what, bytes, seconds })
    }
}

/// What computes the batches of a checkpoint's model.
fn make_workers(job: &TrainJob<'_>, checkpoint: &Checkpoint) -> Workers {
    let model = (checkpoint.state.shape, checkpoint.state.mup, checkpoint.state.masks.as_ref());
    let n_workers = n_workers(job.device, job.n_threads);
    Workers::new(&checkpoint.tensors, model, job.precision, job.recompute, n_workers)
}

/// The batches of all steps from the one that begins at `position` on.
fn prefetch(job: &TrainJob<'_>, rows: Arc<Loader>, position: u64) -> Prefetch<Batch, BatchError> {
    let stages: Vec<(u64, Batches)> = job.plan.stages.iter().map(|stage| (stage.first_row, stage.batch)).collect();
    let n_rows: u64 = job.plan.stages.iter().map(StagePlan::n_rows).sum();
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
    Prefetch::start(rows, requests, 1, make)
}

/// Notes `steps`, keeping the list in order and what was noted before.
fn note_skipped(skipped: &mut Vec<Skipped>, steps: RangeInclusive<u64>, why: &str) {
    let known: BTreeSet<u64> = skipped.iter().map(|skipped| skipped.step).collect();
    skipped.extend(steps.filter(|step| !known.contains(step)).map(|step| Skipped { step, why: why.to_owned() }));
    skipped.sort_by_key(|skipped| skipped.step);
}

fn describe(documents: &Documents) -> String {
    let named: Vec<String> =
        documents.documents.iter().take(4).map(|document| format!("{} ({})", document.id, document.source)).collect();
    format!("{} documents, among them {}", documents.n_documents, named.join(", "))
}

/// Rows that cannot be loaded are a matter of the data, all else of the step.
fn batch_error(step: u64, source: BatchError) -> TrainError {
    match source {
        BatchError::Load(error) => TrainError::Load(error),
        source => TrainError::Batch { step, source },
    }
}

/// The last few checkpoints, the last of every stage, and what a spike would go back to.
fn kept_checkpoints(job: &TrainJob<'_>) -> Keep {
    let stage_ends = job.plan.stages.iter().map(|stage| stage.first_step + stage.n_steps).collect();
    let batches_back = match job.stability.policy {
        SpikePolicy::Rollback { batches } => batches,
        SpikePolicy::Skip | SpikePolicy::Stop => 0,
    };
    Keep { last: job.keep_last, stage_ends, batches_back }
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
    // Tests of this crate start hundreds of runs and do not look at it.
    let size: i64 = if cfg!(test) { 64 } else { 1024 };
    let size = if device == Device::Cpu { size } else { 8192 };
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
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.map(|seconds| seconds.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).fold(0.0, f64::max)
    });
    (2 * size.pow(3)) as f64 * (PRODUCTS * n_threads) as f64 / seconds
}
