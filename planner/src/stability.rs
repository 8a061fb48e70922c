//! What a run does where a step goes wrong.

use serde::{Deserialize, Serialize};

/// When a step's loss or gradient norm counts as a spike, what happens then, and how long a step may take.
///
/// The rule is that of OLMo's optimizer (OLMo et al., arXiv 2501.00656; a window of 128 steps and 6 standard deviations there): a value
/// that lies more than so many standard deviations above the mean of the last steps. A value that is not finite always counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stability {
    /// Steps of this stage that a step is held against; nothing is judged before half as many were trained.
    pub window: usize,
    /// Standard deviations of the loss.
    pub loss_sigma: f64,
    /// Standard deviations of the gradient norm.
    pub norm_sigma: f64,
    /// What happens.
    pub policy: SpikePolicy,
    /// More steps than this passed over one after the other stop the run: then it is not the data.
    pub skips_max: u64,
    /// Nothing between two beats of the loop (waiting for rows, a batch, an update, a validation, a growth step, waiting for a
    /// checkpoint) may take longer. Cannot change results.
    #[serde(skip_serializing)]
    pub step_seconds_max: f64,
}

/// What happens at a spike. Nothing was updated yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "WrittenPolicy")]
pub enum SpikePolicy {
    /// The batch is passed over.
    Skip,
    /// Training stops, with the checkpoint before.
    Stop,
    /// Training goes back to a checkpoint and passes over what led to the spike (PaLM, arXiv 2204.02311, section 5.1).
    Rollback {
        /// How many batches are passed over: the one that spiked is the last of them.
        batches: u64,
    },
}

/// As run files have it: serde's own words for a wrong one are about Rust.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "a policy is \"skip\", \"stop\" or { rollback = { batches = 2 } }")]
enum WrittenPolicy {
    Word(String),
    Rollback { rollback: WrittenRollback },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRollback {
    batches: u64,
}

impl TryFrom<WrittenPolicy> for SpikePolicy {
    type Error = String;

    fn try_from(written: WrittenPolicy) -> Result<Self, String> {
        match written {
            WrittenPolicy::Word(word) if word == "skip" => Ok(Self::Skip),
            WrittenPolicy::Word(word) if word == "stop" => Ok(Self::Stop),
            WrittenPolicy::Word(word) => Err(format!(
                "there is no policy \"{word}\": it is \"skip\", \"stop\" or {{ rollback = {{ batches = 2 }} }}"
            )),
            WrittenPolicy::Rollback { rollback: WrittenRollback { batches } } => Ok(Self::Rollback { batches }),
        }
    }
}
