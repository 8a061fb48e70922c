//! Everything the page tells, as plain values, and the sums over them that more than one section needs.

use std::collections::{BTreeMap, BTreeSet};

use corpus::Tally;
use planner::{Cost, Forecast, RunPlan, StagePlan};
use serde::{Deserialize, Deserializer};

use crate::prediction::PredictedLosses;
use crate::sweep::Results;

/// A finished run.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Headline.
    pub(crate) title: String,
    /// Name of the run file.
    pub(crate) name: String,
    pub(crate) seed: u64,
    /// Hash of the whole resolved run file.
    pub(crate) run_hash: String,
    pub(crate) plan: RunPlan,
    pub(crate) cost: Cost,
    /// What the planner makes of it, or why it cannot.
    pub(crate) forecast: Result<Forecast, String>,
    pub(crate) corpus: Corpus,
    /// Stages in training order.
    pub(crate) packed: Vec<Packed>,
    /// Share of all documents that is never trained on.
    pub(crate) held_out: f64,
    pub(crate) log: Log,
    /// The search that was made in the folder, and the prediction.
    pub(crate) search: Option<Results>,
    pub(crate) predicted: Option<PredictedLosses>,
    pub(crate) eval: Evaluation,
    pub(crate) folders: Vec<Folder>,
}

/// What came of the sources.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Corpus {
    pub(crate) n_in: u64,
    pub(crate) n_kept: u64,
    pub(crate) n_dropped: u64,
    /// In the order in which the rules are asked.
    pub(crate) funnel: Vec<Dropped>,
    pub(crate) by_source: Vec<SourceCount>,
    pub(crate) samples: Vec<DroppedSample>,
    /// Documents that stayed, but only just, by the rule that nearly took them.
    pub(crate) passed: Vec<DroppedSample>,
    /// Documents, bytes and tokens that were kept, by language, source and kind.
    #[serde(skip)]
    pub(crate) kept: Vec<Tally>,
    /// Ids of the tokenizer.
    #[serde(skip)]
    pub(crate) n_ids: u64,
}

/// Documents of one language that one rule dropped.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dropped {
    pub(crate) rule: String,
    pub(crate) lang: String,
    pub(crate) n: u64,
}

/// Documents of one source.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct SourceCount {
    pub(crate) source: String,
    pub(crate) n_in: u64,
    pub(crate) n_kept: u64,
    #[serde(skip)]
    pub(crate) kind: String,
    #[serde(skip)]
    pub(crate) license: String,
}

/// A document that was dropped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DroppedSample {
    pub(crate) rule: String,
    pub(crate) source: String,
    pub(crate) locator: String,
    pub(crate) lang: String,
    pub(crate) detail: String,
    pub(crate) text: String,
}

/// The rows of one stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    pub(crate) stage: String,
    pub(crate) context: u64,
    /// Rows in the files.
    pub(crate) n_rows: u64,
    pub(crate) n_padding: u64,
    pub(crate) groups: Vec<Group>,
}

/// Rows of one language and kind in one stage.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Group {
    pub(crate) lang: String,
    pub(crate) kind: String,
    /// What the run file asks for.
    pub(crate) share: f64,
    /// Whole rows that the mixer set out to pack.
    pub(crate) rows: u64,
    /// Epoch of the group's stream at the end of the stage.
    pub(crate) epochs: u64,
    /// Documents left out since they do not fit a row.
    pub(crate) too_long_for_a_row: u64,
    /// Rows found in the files.
    #[serde(skip)]
    pub(crate) n_rows_found: u64,
    #[serde(skip)]
    pub(crate) n_tokens: u64,
    /// Tokens that carry loss.
    #[serde(skip)]
    pub(crate) n_targets: u64,
}

/// `metrics.jsonl`, sorted by event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) steps: Vec<Step>,
    pub(crate) growths: Vec<Growth>,
    pub(crate) validations: Vec<Validation>,
    pub(crate) skips: Vec<Skip>,
    pub(crate) rollbacks: Vec<Rollback>,
    pub(crate) compared: Vec<Compared>,
    pub(crate) n_resumes: u64,
}

impl Log {
    /// Tokens that were trained on or passed over.
    pub(crate) fn tokens(&self) -> u64 {
        let (steps, skips) = (self.steps.last().map(|step| step.tokens), self.skips.last().map(|skip| skip.tokens));
        steps.max(skips).unwrap_or(0)
    }
}

/// A step that was passed over.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Skip {
    pub(crate) step: u64,
    /// Tokens of all steps so far, this one included.
    pub(crate) tokens: u64,
    pub(crate) why: String,
    pub(crate) n_documents: u64,
}

/// Training went back.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Rollback {
    /// Steps done after going back.
    pub(crate) step: u64,
    pub(crate) why: String,
    /// The first and the last step to be passed over.
    pub(crate) skipped: (u64, u64),
    /// In the batch of the last of them.
    pub(crate) n_documents: u64,
}

/// A held-out loss that was predicted, and what was found.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Compared {
    pub(crate) step: u64,
    pub(crate) stage: String,
    #[serde(deserialize_with = "number")]
    pub(crate) loss: f64,
    pub(crate) is_inside: bool,
}

/// An optimizer step.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Step {
    pub(crate) stage: String,
    /// Tokens of all steps so far.
    pub(crate) tokens: u64,
    #[serde(deserialize_with = "number")]
    pub(crate) loss: f64,
    #[serde(deserialize_with = "number")]
    pub(crate) lr: f64,
    #[serde(deserialize_with = "number")]
    pub(crate) mask: f64,
    #[serde(deserialize_with = "number")]
    pub(crate) tokens_per_s: f64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) model_flops_per_s: f64,
    pub(crate) seconds: Seconds,
}

/// Where the time of a step went.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Seconds {
    pub(crate) data: f64,
    pub(crate) forward: f64,
    pub(crate) backward: f64,
    pub(crate) optimizer: f64,
    pub(crate) communication: f64,
    pub(crate) checkpoint: f64,
}

/// A growth step.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Growth {
    pub(crate) stage_from: String,
    pub(crate) stage_to: String,
    pub(crate) operator: String,
    #[serde(deserialize_with = "number")]
    pub(crate) max_logit_diff: f64,
    #[serde(deserialize_with = "number")]
    pub(crate) loss_before: f64,
    #[serde(deserialize_with = "number")]
    pub(crate) loss_after: f64,
    pub(crate) parameters: (u64, u64),
    #[serde(deserialize_with = "number")]
    pub(crate) seconds: f64,
}

impl Growth {
    /// How far the loss on the fixed batch moved.
    pub(crate) fn loss_jump(&self) -> f64 {
        (self.loss_after - self.loss_before).abs()
    }
}

/// Loss on held-out rows of one language.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Validation {
    pub(crate) stage: String,
    pub(crate) tokens: u64,
    pub(crate) lang: String,
    #[serde(deserialize_with = "number")]
    pub(crate) loss: f64,
    #[serde(deserialize_with = "number")]
    pub(crate) bits_per_byte: f64,
    #[serde(deserialize_with = "number")]
    pub(crate) unigram_entropy: f64,
    pub(crate) n_targets: u64,
}

/// JSON has no NaN: it is written as null, and a report on a run that went wrong must still be readable.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// What the evaluation found on the last checkpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evaluation {
    pub(crate) validations: Vec<Validation>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) samples: Vec<Sample>,
}

/// A task with answers that are right or wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) accuracy: f64,
    pub(crate) stderr: f64,
    pub(crate) chance: f64,
    pub(crate) n_items: u64,
    pub(crate) n_shots: u64,
    pub(crate) n_cut: u64,
}

/// A prompt and what the model made of it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Sample {
    pub(crate) prompt: String,
    pub(crate) text: String,
}

/// A folder the report was made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) config_hash: String,
    pub(crate) hash: String,
    pub(crate) n_files: u64,
    pub(crate) n_bytes: u64,
}

/// The parts of a stage's time, in the order in which they are drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Time {
    pub(crate) parts: [f64; Time::NAMES.len()],
}

impl Time {
    /// What the parts are called.
    pub(crate) const NAMES: [&'static str; 7] =
        ["data", "forward", "backward", "optimizer", "communication", "checkpoint", "other"];

    /// Seconds of so many steps; `step_tokens` is what one step trains on. A step's length follows from its speed; what
    /// its parts leave unexplained (such as threads that wait for each other) is `other`. Checkpoints come before their
    /// step.
    pub(crate) fn of<'s>(steps: impl Iterator<Item = &'s Step>, step_tokens: u64) -> Self {
        let mut parts = [0.0; Self::NAMES.len()];
        for step in steps {
            let Seconds { data, forward, backward, optimizer, communication, checkpoint } = step.seconds;
            let known = data + forward + backward + optimizer + communication;
            let length = if step.tokens_per_s > 0.0 { step_tokens as f64 / step.tokens_per_s } else { known };
            let of_step = [data, forward, backward, optimizer, communication, checkpoint, (length - known).max(0.0)];
            parts.iter_mut().zip(of_step).for_each(|(sum, part)| *sum += part);
        }
        Self { parts }
    }

    /// All parts together.
    pub(crate) fn total(&self) -> f64 {
        self.parts.iter().sum()
    }
}

impl Facts {
    /// Languages that were kept, in a fixed order: the position decides the colour.
    pub(crate) fn langs(&self) -> Vec<String> {
        let kept = self.corpus.kept.iter().map(|row| row.lang.clone());
        let validated = self.log.validations.iter().map(|row| row.lang.clone());
        kept.chain(validated).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Where the time of a stage's steps went.
    pub(crate) fn time(&self, stage: &StagePlan) -> Time {
        Time::of(self.log.steps.iter().filter(|step| step.stage == stage.name), stage.batch_tokens())
    }

    /// Seconds of all steps, checkpoints and growth steps.
    pub(crate) fn seconds(&self) -> f64 {
        let steps: f64 = self.plan.stages.iter().map(|stage| self.time(stage).total()).sum();
        let growths: f64 = self.log.growths.iter().map(|growth| growth.seconds).filter(|s| s.is_finite()).sum();
        steps + growths
    }

    /// The last validation of every language; of one stage, or of the whole run.
    pub(crate) fn last_validations(&self, stage: Option<&str>) -> BTreeMap<&str, &Validation> {
        let wanted = |row: &&Validation| stage.is_none_or(|stage| row.stage == stage);
        self.log.validations.iter().filter(wanted).map(|row| (&row.lang[..], row)).collect()
    }

    /// Kept documents, bytes or tokens of some rows.
    pub(crate) fn kept(&self, unit: &str, wanted: impl Fn(&Tally) -> bool) -> u64 {
        self.corpus.kept.iter().filter(|row| wanted(row)).map(|row| row.amount(unit)).sum()
    }
}
