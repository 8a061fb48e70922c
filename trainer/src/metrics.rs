//! `metrics.jsonl`: one object a line, told apart by `event`.
//!
//! The line of a checkpoint stands where its state was copied, and is on the disk before the checkpoint counts. Steps that were
//! trained while it was written stand behind that line. A run that resumes from step N finds the line and cuts the log behind it: no
//! step stands there twice, and none is missing. Going back to a checkpoint (`rollback`) cuts it in the same way. A step that was passed
//! over has a `skip` line and no `step` line: the two together count every step once.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use corpus::{FileError, write_atomically};
use planner::Band;
use serde::Serialize;

use crate::batch::LossBy;
use crate::run::TrainError;

/// Seconds of one step by what they went to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Seconds {
    /// Waiting for rows, beyond what was loaded during the step before.
    pub data: f64,
    /// Forward passes; on a GPU the time to queue them.
    pub forward: f64,
    /// Backward passes; on a GPU with all that is queued before them.
    pub backward: f64,
    /// Clipping and update.
    pub optimizer: f64,
    /// Talking to other ranks; 0 on one.
    pub communication: f64,
    /// Standing still for the checkpoint before this step: until its state was copied, and an earlier one was written.
    pub checkpoint: f64,
}

/// A document of a batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BatchDocument {
    /// Its id.
    pub id: String,
    /// Its source.
    pub source: String,
}

/// Documents of a batch: `moso trace --step` names all of them, with their places.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Documents {
    /// How many there are.
    pub n_documents: u64,
    /// Some of them.
    pub documents: Vec<BatchDocument>,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// Training begins, or goes on.
    Start {
        /// Steps done.
        step: u64,
        /// Tokens trained on.
        tokens: u64,
        /// Where it is computed.
        device: String,
        /// Matrix-product peak measured there.
        peak_flops_per_s: f64,
    },
    /// Rows are not there yet: told while the wait lasts, and in the log as `seconds.data` of the step.
    Waiting {
        /// Steps done.
        step: u64,
        /// The file that is being read.
        what: String,
        /// Since when.
        seconds: f64,
    },
    /// An optimizer step.
    Step {
        /// Steps done.
        step: u64,
        /// Stage.
        stage: String,
        /// Tokens trained on.
        tokens: u64,
        /// Mean loss in nats.
        loss: f64,
        /// The same by what the text is.
        loss_by: LossBy,
        /// L2 norm of all gradients before clipping.
        grad_norm: f64,
        /// Learning rate (before muP's scaling).
        lr: f64,
        /// Mask of new coordinates.
        mask: f64,
        /// Speed.
        tokens_per_s: f64,
        /// FLOPs of the model's matrix products per second.
        model_flops_per_s: f64,
        /// The same as a share of the matrix-product peak measured at start.
        share_of_peak: f64,
        /// Where the time went.
        seconds: Seconds,
    },
    /// A growth step.
    Growth {
        /// Steps done.
        step: u64,
        /// From this stage.
        stage_from: String,
        /// To this one.
        stage_to: String,
        /// How.
        operator: String,
        /// Largest change of a logit on the fixed batch.
        max_logit_diff: f64,
        /// Loss on the fixed batch before.
        loss_before: f64,
        /// And after.
        loss_after: f64,
        /// Parameters before and after.
        parameters: (u64, u64),
        /// Time it took.
        seconds: f64,
    },
    /// Loss on held-out rows of one language.
    Validation {
        /// Steps done.
        step: u64,
        /// Stage.
        stage: String,
        /// Tokens trained on.
        tokens: u64,
        /// Language.
        lang: String,
        /// Mean loss in nats.
        loss: f64,
        /// Loss in bits by UTF-8 byte of the text.
        bits_per_byte: f64,
        /// Entropy in nats of the tokens' own frequencies: what a model that knows only those would reach at best.
        unigram_entropy: f64,
        /// Predicted tokens.
        n_targets: u64,
    },
    /// A held-out loss that was predicted from smaller models, and what was found.
    Prediction {
        /// Steps done.
        step: u64,
        /// Stage.
        stage: String,
        /// Tokens trained on.
        tokens: u64,
        /// Mean held-out loss in nats over all languages.
        loss: f64,
        /// What was predicted.
        #[serde(rename = "predicted")]
        band: Band,
        /// Whether the loss lies in the band.
        is_inside: bool,
    },
    /// The state is being copied and written.
    Checkpoint {
        /// Steps done.
        step: u64,
        /// Its folder.
        what: String,
        /// Every so many steps, end of stage, interrupted.
        why: String,
    },
    /// A checkpoint counts from now on; what it replaced is gone.
    Saved {
        /// Steps that were done when it was copied.
        step: u64,
        /// Its folder.
        what: String,
        /// Size of its files.
        bytes: u64,
        /// How long it took behind training's back.
        seconds: f64,
    },
    /// A step was passed over: its batch counts as consumed, nothing was updated. Stands in place of the step's own line.
    Skip {
        /// Steps done, this one included.
        step: u64,
        /// Stage.
        stage: String,
        /// Tokens trained on or passed over.
        tokens: u64,
        /// Its loss; none where it was not computed again after a rollback.
        loss: Option<f64>,
        /// Its gradient norm.
        grad_norm: Option<f64>,
        /// What was wrong with it.
        why: String,
        /// What is in its batch.
        #[serde(flatten)]
        documents: Documents,
    },
    /// Training went back to a checkpoint, and will pass over some steps on its way.
    Rollback {
        /// Steps done after going back.
        step: u64,
        /// Tokens trained on up to there.
        tokens: u64,
        /// The checkpoint.
        what: String,
        /// What was wrong, and with which step.
        why: String,
        /// The first and the last step to be passed over.
        skipped: (u64, u64),
        /// What is in the batch of the last of them.
        #[serde(flatten)]
        documents: Documents,
    },
    /// Training hangs.
    Stalled {
        /// Steps done.
        step: u64,
        /// In what.
        what: String,
        /// Since when.
        seconds: f64,
    },
    /// The run went on from a checkpoint.
    Resume {
        /// Steps done.
        step: u64,
        /// The checkpoint.
        what: String,
        /// Why it had stopped, as far as known.
        why: String,
    },
}

/// The log while the run goes on.
pub(crate) struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// The file's name in the run's folder.
    pub(crate) const NAME: &'static str = "metrics.jsonl";

    /// Opens the log. With `resume_step` everything behind that checkpoint's line, which must be there, is cut away; else the log starts empty.
    pub(crate) fn open(out: &Path, resume_step: Option<u64>) -> Result<Self, TrainError> {
        let path = out.join(Self::NAME);
        let kept = match resume_step {
            Some(step) => {
                let text = fs::read_to_string(&path).map_err(|source| FileError::new("read", &path, source))?;
                lines_up_to_checkpoint(&text, step).ok_or_else(|| TrainError::OtherLog { path: path.clone(), step })?
            }
            None => String::new(),
        };
        write_atomically(out, Self::NAME, kept.as_bytes(), 0)?;
        let file = Self::open_end(&path)?;
        Ok(Self { path, file })
    }

    fn open_end(path: &Path) -> Result<File, FileError> {
        OpenOptions::new().append(true).open(path).map_err(|source| FileError::new("open", path, source))
    }

    /// Appends a line to whatever log lies in `out` now: going back replaces the file, and not everybody hears of it.
    pub(crate) fn append(out: &Path, line: &[u8]) -> Result<(), FileError> {
        let path = out.join(Self::NAME);
        Self::open_end(&path)?.write_all(line).map_err(|source| FileError::new("write", &path, source))
    }

    /// An event as the log has it.
    pub(crate) fn line(event: &Event) -> Vec<u8> {
        let mut line = serde_json::to_vec(event).expect("an event has only string keys");
        line.push(b'\n');
        line
    }

    /// Appends a line.
    pub(crate) fn write(&mut self, event: &Event) -> Result<(), FileError> {
        self.file.write_all(&Self::line(event)).map_err(|source| FileError::new("write", &self.path, source))
    }

    /// The open file and its path, for who brings all lines written so far to the disk.
    pub(crate) fn handle(&self) -> Result<(File, PathBuf), FileError> {
        let file = self.file.try_clone().map_err(|source| FileError::new("open", &self.path, source))?;
        Ok((file, self.path.clone()))
    }
}

/// The lines up to that of a checkpoint, if it is there.
fn lines_up_to_checkpoint(text: &str, step: u64) -> Option<String> {
    let is_checkpoint = |line: &str| {
        let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
        value.is_some_and(|value| value["event"] == "checkpoint" && value["step"] == step)
    };
    let mut kept = String::new();
    for line in text.lines() {
        kept.push_str(line);
        kept.push('\n');
        if is_checkpoint(line) {
            return Some(kept);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::lines_up_to_checkpoint;

    #[test]
    fn the_log_is_cut_behind_the_checkpoint() {
        let first = "{\"event\":\"step\",\"step\":1}\n{\"event\":\"checkpoint\",\"step\":1}\n";
        let text = format!("{first}{{\"event\":\"growth\",\"step\":1}}\n{{\"event\":\"step\",\"st");
        assert_eq!(lines_up_to_checkpoint(&text, 1).unwrap(), first);
        assert_eq!(lines_up_to_checkpoint(&text, 2), None);
    }
}
