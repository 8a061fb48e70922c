//! Checkpoints written behind training's back: a thread of its own copies the state, writes the copy, brings it to the disk and
//! reads it back, while training goes on.
//!
//! Forward and backward passes only read weights, so even the copy is taken while the next step is computed; training stands still
//! only where it comes to the next update before the copy is done.
//!
//! One write is under way at a time. What is removed is removed by that thread too, after the new checkpoint counts: until then
//! all that were whole before stay whole.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use corpus::FileError;

use crate::checkpoint::{Checkpoint, CheckpointError, list_checkpoints, remove_others, save_after, snapshot};

/// Which checkpoints stay beside a new one.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    /// So many of the newest.
    pub(crate) last: usize,
    /// The last of every stage.
    pub(crate) stage_ends: Vec<u64>,
}

/// A checkpoint that counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Saved {
    /// Steps done.
    pub(crate) step: u64,
    /// Size of its files.
    pub(crate) bytes: u64,
    /// From the copy until it counted and what it replaced was gone.
    pub(crate) seconds: f64,
}

/// Writes checkpoints one after the other.
pub(crate) struct Saver {
    checkpoints: PathBuf,
    keep: Keep,
    under_way: Option<JoinHandle<Result<(Saved, Checkpoint), CheckpointError>>>,
    /// Hears when the copy is done.
    copied: Option<Receiver<()>>,
    /// The copy that was written last: the next one takes its memory.
    spare: Option<Checkpoint>,
}

impl Saver {
    /// Nothing is under way yet.
    pub(crate) fn new(checkpoints: &Path, keep: Keep) -> Self {
        Self { checkpoints: checkpoints.to_owned(), keep, under_way: None, copied: None, spare: None }
    }

    /// Begins to copy and to write `checkpoint`, whose tensors must not change before [`Saver::wait_until_copied`]. The write before must
    /// have been waited for. `log` is brought to the disk before the checkpoint counts.
    ///
    /// # Panics
    /// Where a write is under way.
    pub(crate) fn begin(&mut self, checkpoint: &Checkpoint, log: File, log_path: PathBuf) {
        assert!(self.under_way.is_none(), "one checkpoint is written at a time");
        let (training, spare) = (checkpoint.shallow_clone(), self.spare.take());
        let (tell_copied, copied) = channel();
        let (checkpoints, keep) = (self.checkpoints.clone(), self.keep.clone());
        let work = move || {
            let start = Instant::now();
            tch::set_num_threads(1);
            let copy = snapshot(&training, spare);
            drop(training);
            // Nobody listens where training has stopped.
            let _ = tell_copied.send(());
            let sync = || log.sync_data().map_err(|source| FileError::new("write", &log_path, source));
            let (_, bytes) = save_after(&checkpoints, &copy, sync)?;
            remove_others(&checkpoints, &keep.among(&list_checkpoints(&checkpoints)))?;
            let saved = Saved { step: copy.state.step, bytes, seconds: start.elapsed().as_secs_f64() };
            Ok((saved, copy))
        };
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(work);
        self.under_way = Some(thread.expect("the system has room for one more thread"));
        self.copied = Some(copied);
    }

    /// Waits until the tensors may change again.
    pub(crate) fn wait_until_copied(&mut self) {
        if let Some(copied) = self.copied.take() {
            // A thread that panicked says so when it is waited for.
            let _ = copied.recv();
        }
    }

    /// The checkpoint that was under way, if it is done or cannot be. Does not wait.
    pub(crate) fn look(&mut self) -> Result<Option<Saved>, CheckpointError> {
        match &self.under_way {
            Some(thread) if thread.is_finished() => self.wait(),
            _ => Ok(None),
        }
    }

    /// Waits for the checkpoint that is under way, if there is one.
    pub(crate) fn wait(&mut self) -> Result<Option<Saved>, CheckpointError> {
        let Some(thread) = self.under_way.take() else { return Ok(None) };
        self.copied = None;
        let written = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (saved, copy) = written?;
        self.spare = Some(copy);
        Ok(Some(saved))
    }
}

impl Drop for Saver {
    /// Training that stops for another reason leaves a whole checkpoint behind rather than half of one.
    fn drop(&mut self) {
        if let Some(thread) = self.under_way.take() {
            drop(thread.join());
        }
    }
}

impl Keep {
    fn among(&self, steps: &[u64]) -> Vec<u64> {
        let newest = steps.iter().rev().take(self.last.max(1));
        newest.chain(steps.iter().filter(|step| self.stage_ends.contains(step))).copied().collect()
    }
}
