//! The watchdog: a thread that notices when training hangs, and says in what.
//!
//! The loop beats at every phase of a step. Where a beat is overdue, the watchdog tells so once; what happens then (the process ends) is
//! the caller's matter. Checkpoints count by their manifest alone, so a process may end at any moment.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What training is doing, shared with the watchdog.
#[derive(Clone)]
pub(crate) struct Pulse(Arc<Mutex<Beat>>);

struct Beat {
    number: u64,
    since: Instant,
    step: u64,
    phase: String,
}

/// A beat that is overdue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stall {
    /// Steps done.
    pub(crate) step: u64,
    /// What was going on.
    pub(crate) phase: String,
    /// For how long.
    pub(crate) seconds: f64,
}

impl Pulse {
    /// Nothing has begun.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Beat { number: 0, since: Instant::now(), step: 0, phase: "start".to_owned() })))
    }

    /// A new phase begins after `step` steps.
    pub(crate) fn beat(&self, step: u64, phase: &str) {
        let mut beat = self.lock();
        *beat = Beat { number: beat.number + 1, since: Instant::now(), step, phase: phase.to_owned() };
    }

    /// The phase goes on, and more is known about it.
    pub(crate) fn say(&self, phase: &str) {
        phase.clone_into(&mut self.lock().phase);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches until it is dropped.
pub(crate) struct Watchdog {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Calls `tell` from a thread of its own, once for every phase that takes longer than `limit`.
    pub(crate) fn start(pulse: Pulse, limit: Duration, tell: impl Fn(Stall) + Send + 'static) -> Self {
        let (end, ended) = channel();
        let between_looks = (limit / 4).clamp(Duration::from_millis(1), Duration::from_secs(1));
        let watch = move || {
            let mut told = None;
            while ended.recv_timeout(between_looks) == Err(RecvTimeoutError::Timeout) {
                let stall = {
                    let beat = pulse.lock();
                    let waited = beat.since.elapsed();
                    let is_new = waited > limit && told.replace(beat.number) != Some(beat.number);
                    let (step, phase, seconds) = (beat.step, beat.phase.clone(), waited.as_secs_f64());
                    if waited <= limit {
                        told = None;
                    }
                    is_new.then_some(Stall { step, phase, seconds })
                };
                if let Some(stall) = stall {
                    tell(stall);
                }
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch);
        Self { end: Some(end), thread: Some(thread.expect("the system has room for one more thread")) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// The test's own clock is that of the watchdog: it waits for what it says, and only then goes on.
    #[test]
    fn every_phase_that_hangs_is_told_once() {
        let pulse = Pulse::new();
        let (tell, told) = channel();
        let watchdog =
            Watchdog::start(pulse.clone(), Duration::from_millis(20), move |stall| tell.send(stall).unwrap());
        pulse.beat(7, "update");
        let first = told.iter().find(|stall| stall.phase == "update").unwrap();
        assert!(first.step == 7 && first.seconds >= 0.02, "{first:?}");
        assert_eq!(told.recv_timeout(Duration::from_millis(100)).ok(), None);
        pulse.beat(8, "waiting for rows");
        pulse.say("waiting for rows of a.arrow");
        assert_eq!(told.recv().unwrap().phase, "waiting for rows of a.arrow");
        drop(watchdog);
        assert!(told.recv().is_err());
    }
}
