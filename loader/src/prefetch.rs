//! Batches made ready ahead of the training loop.
//!
//! A thread of its own maps and verifies the shards that come next, has their pages read, and makes batches of them, a few ahead.
//! Nothing is copied: what goes through the channel are views of mapped memory. Where the disk is slower than training, the
//! loop waits in [`Prefetch::next`], which says so while it waits: time spent there is data time, not a hang.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, bounded, never};

use crate::rows::{LoadError, Loader};

/// How long a wait goes unmentioned, and then how often it is mentioned.
const PATIENCE: Duration = Duration::from_secs(5);

/// A page of mapped memory, in tokens.
const PAGE_TOKENS: usize = 1024;

/// What a loop is told while it waits for data.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Since when, in seconds.
    pub seconds: f64,
    /// The file that is being read.
    pub path: PathBuf,
}

/// Batches in the order in which they were asked for.
pub struct Prefetch<Batch, E> {
    batches: Receiver<Result<Batch, E>>,
    reading: Arc<Mutex<PathBuf>>,
    patience: Duration,
    thread: Option<JoinHandle<()>>,
}

impl<Batch: Send + 'static, E: From<LoadError> + Send + 'static> Prefetch<Batch, E> {
    /// Makes batches of the rows that `requests` names, as first row and number of rows, `depth` of them (at least one) ahead of the
    /// one that is in use. `make` runs on the prefetching thread.
    pub fn start(
        loader: Arc<Loader>,
        requests: impl Iterator<Item = (u64, u64)> + Send + 'static,
        depth: usize,
        make: impl Fn(&Loader, u64, u64) -> Result<Batch, E> + Send + 'static,
    ) -> Self {
        // One more is in the thread's hands, waiting to be taken.
        let (sender, batches) = bounded(depth.max(1) - 1);
        let reading = Arc::new(Mutex::new(PathBuf::new()));
        let told = Arc::clone(&reading);
        let work = move || {
            for (first, n_rows) in requests {
                if let Ok(path) = loader.path_of(first) {
                    path.clone_into(&mut told.lock().unwrap_or_else(PoisonError::into_inner));
                }
                let batch = touch(&loader, first, n_rows).map_err(E::from).and_then(|()| make(&loader, first, n_rows));
                let is_last = batch.is_err();
                // The other end is gone where training has stopped.
                if sender.send(batch).is_err() || is_last {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("prefetch".to_owned()).spawn(work);
        let thread = thread.expect("the system has room for one more thread");
        Self { batches, reading, patience: PATIENCE, thread: Some(thread) }
    }

    /// Mentions waits after another time; for tests.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The next batch; `None` after the last. `waiting` is told every few seconds that it is not there yet.
    pub fn next(&mut self, waiting: &mut dyn FnMut(Waiting)) -> Option<Result<Batch, E>> {
        let start = Instant::now();
        loop {
            match self.batches.recv_timeout(self.patience) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Timeout) => {
                    let path = self.reading.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    waiting(Waiting { seconds: start.elapsed().as_secs_f64(), path });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    // A thread that ended without a word has ended its requests, or panicked: then so do we.
                    if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                        std::panic::resume_unwind(panic);
                    }
                    return None;
                }
            }
        }
    }
}

impl<Batch, E> Drop for Prefetch<Batch, E> {
    /// The thread ends with the batch it is at: nothing of it goes on while the process does something else, or ends.
    fn drop(&mut self) {
        drop(std::mem::replace(&mut self.batches, never()));
        if let Some(thread) = self.thread.take() {
            // If it panicked, it did so over rows that nobody wants any more.
            let _ = thread.join();
        }
    }
}

/// Has the system read the pages of some rows.
fn touch(loader: &Loader, first: u64, n_rows: u64) -> Result<(), LoadError> {
    let blocks = loader.blocks(first, n_rows)?;
    let pages = blocks.iter().flat_map(|block| block.as_ref().iter().step_by(PAGE_TOKENS));
    // The compiler would leave out reads that nobody looks at.
    std::hint::black_box(pages.map(|&token| u64::from(token)).sum::<u64>());
    Ok(())
}
