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
    /// Batches that a spike takes back, which a checkpoint must lie before to be gone back to; 0 where nothing goes back.
    pub(crate) batches_back: u64,
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
    /// Of all checkpoints, by rising step, those that stay.
    fn among(&self, steps: &[u64]) -> Vec<u64> {
        let Some(newest) = steps.last() else { return Vec::new() };
        let last = steps.len().saturating_sub(self.last.max(1));
        // The next step is the first that can spike. Besides what it would go back to, the one behind that stays until it is old enough itself:
        // else newer ones would always take its place before.
        let n_old = steps.partition_point(|step| step + self.batches_back <= newest + 1);
        let for_going_back = n_old.saturating_sub(1)..=n_old;
        let stays = |(index, step): &(usize, &u64)| {
            *index >= last || for_going_back.contains(index) || self.stage_ends.contains(step)
        };
        steps.iter().enumerate().filter(stays).map(|(_, step)| *step).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is saved when (Ctrl-C saves at any step), the last ones stay, and from the first that can be there on there is always one before the
        /// batches that a spike takes back, not much further away than it must be.
        #[test]
        fn there_is_always_a_checkpoint_to_go_back_to(
            gaps in prop::collection::vec(1_u64..12, 1..80),
            last in 1_usize..4,
            batches_back in 1_u64..30,
        ) {
            let keep = Keep { last, stage_ends: vec![7], batches_back };
            let (first, largest) = (gaps[0], *gaps.iter().max().unwrap());
            let (mut newest, mut saved, mut kept) = (0, Vec::new(), Vec::new());
            for gap in gaps {
                newest += gap;
                saved.push(newest);
                kept.push(newest);
                kept = keep.among(&kept);
                prop_assert!(saved.iter().rev().take(last).all(|step| kept.contains(step)));
                prop_assert_eq!(saved.contains(&7), kept.contains(&7));
                prop_assert!(kept.len() <= last + 3, "{:?}", kept);
                let needed = (newest + 1).saturating_sub(batches_back);
                let found = kept.iter().copied().rfind(|step| *step <= needed);
                prop_assert_eq!(found.is_some(), first <= needed);
                prop_assert!(found.is_none_or(|step| needed - step <= batches_back + 2 * largest), "{:?}", kept);
            }
        }
    }
}
