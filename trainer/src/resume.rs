//! Where training begins: at the newest checkpoint of this run that saw the rows that lie there now, or at new weights.

use std::collections::BTreeSet;
use std::path::Path;

use corpus::{Parent, Settings};
use planner::StagePlan;
use serde_json::Value;
use tch::Tensor;

use crate::checkpoint::{
    Checkpoint, CheckpointError, RunState, checkpoint_folder, list_checkpoints, load, remove_others,
};
use crate::optimizer::OptimizerState;
use crate::parameters::initial_tensors;
use crate::run::{TrainError, TrainJob};
use crate::stability::Window;

/// The newest checkpoint that was trained on the rows that lie there now; those that saw other rows are removed. Rows may have
/// changed behind it: a later mix, or a take-down.
pub(crate) fn newest_checkpoint(job: &TrainJob<'_>) -> Result<Option<Checkpoint>, TrainError> {
    let checkpoints = job.out.join("checkpoints");
    let steps = list_checkpoints(&checkpoints);
    let other = |what, difference| Err(TrainError::OtherRun { path: checkpoints.clone(), what, difference });
    for (index, &step) in steps.iter().enumerate().rev() {
        let mut checkpoint = load(&checkpoint_folder(&checkpoints, step))?;
        if let Some(difference) = other_settings(&checkpoint.state, &job.settings) {
            return other("settings", difference);
        }
        check_shape(job, &checkpoint.state)?;
        let n_rows = match rows_in_common(job, &checkpoint.state.parents) {
            Ok(n_rows) => n_rows,
            Err(name) => return other("data", format!("{name} is not what it was then")),
        };
        if checkpoint.state.position <= n_rows {
            if index + 1 < steps.len() {
                remove_others(&checkpoints, &steps[..=index])?;
            }
            let parents = parents_until(job, checkpoint.state.stage);
            if checkpoint.state.parents != parents {
                // Steps to come have other rows now.
                checkpoint.state.skipped.retain(|skipped| skipped.step <= step);
            }
            checkpoint.state.parents = parents;
            checkpoint.state.settings = job.settings.clone();
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
pub(crate) fn parents_until(job: &TrainJob<'_>, index: usize) -> Vec<Parent> {
    let is_later = |parent: &&Parent| job.plan.stages[index + 1..].iter().any(|stage| parent.name == rows_of(stage));
    job.parents.iter().filter(|parent| !is_later(parent)).cloned().collect()
}

/// The name of a stage's rows among the parents.
fn rows_of(stage: &StagePlan) -> String {
    format!("packed/{}", stage.name)
}

/// How many rows from the first one on are the same for `parents` as for the job; the name of what differs where it is something else, or
/// rows that no take-down accounts for. Held-out rows are not trained on.
fn rows_in_common(job: &TrainJob<'_>, parents: &[Parent]) -> Result<u64, String> {
    let mut n_rows = u64::MAX;
    let differs = |old: &&Parent| !job.parents.contains(old) && old.name != "packed/validation";
    for old in parents.iter().filter(differs) {
        let stage = job.plan.stages.iter().find(|stage| old.name == rows_of(stage));
        let same = job.kept_rows.iter().filter(|(parent, _)| parent == old).map(|(_, same)| *same).min();
        let (Some(stage), Some(same)) = (stage, same) else { return Err(old.name.clone()) };
        n_rows = n_rows.min(stage.first_row + same);
    }
    Ok(n_rows)
}

/// Where a run begins: at new weights, or at the model of another checkpoint.
pub(crate) fn first_checkpoint(job: &TrainJob<'_>) -> Result<Checkpoint, TrainError> {
    let stage = &job.plan.stages[0];
    let (tensors, optimizer) = match &job.start {
        Some(start) => begun_with(job, start)?,
        None => {
            let tensors = initial_tensors(&stage.shape, &job.plan.mup, &job.seed.stream("init"));
            let optimizer = OptimizerState::new(&tensors);
            (tensors, optimizer)
        }
    };
    let state = RunState {
        stage: 0,
        stage_name: stage.name.clone(),
        step: 0,
        tokens: 0,
        position: 0,
        shape: stage.shape,
        mup: job.plan.mup,
        masks: None,
        updates: optimizer.step,
        window: Window::default(),
        skipped: Vec::new(),
        seed: job.seed.as_u64(),
        settings: job.settings.clone(),
        parents: parents_until(job, 0),
    };
    Ok(Checkpoint { state, tensors, optimizer })
}

/// Weights and moments of the checkpoint that a run begins with, which must be a model of the first stage.
fn begun_with(job: &TrainJob<'_>, start: &Path) -> Result<(Vec<Tensor>, OptimizerState), TrainError> {
    let Checkpoint { state, tensors, optimizer } = load(start)?;
    let shape = job.plan.stages[0].shape;
    let hash_of =
        |parents: &[Parent]| parents.iter().find(|parent| parent.name == "tokenizer").map(|it| it.hash.clone());
    let tokenizers = hash_of(&state.parents).zip(hash_of(&job.parents));
    let what = if state.shape != shape {
        format!("has a model of {:?}, the first stage one of {shape:?}", state.shape)
    } else if state.mup != job.plan.mup {
        format!("was trained under {:?}, this run under {:?}", state.mup, job.plan.mup)
    } else if state.masks.is_some() {
        "is in the middle of a mask ramp: a run begins with a whole model; let its stages grow one with masks"
            .to_owned()
    } else if tokenizers.is_some_and(|(there, here)| there != here) {
        "was trained on tokens of another tokenizer".to_owned()
    } else {
        return Ok((tensors, optimizer));
    };
    Err(CheckpointError::Layout { path: start.to_owned(), what }.into())
}

/// Where `state` was trained under other settings: what differs. What happens at a spike may be changed as long as there was none:
/// until then any policy gives the same bits.
fn other_settings(state: &RunState, now: &Settings) -> Option<String> {
    let (mut then, mut now) = (state.settings.0.clone(), now.0.clone());
    if state.skipped.is_empty() {
        for settings in [&mut then, &mut now] {
            for key in ["policy", "skips_max"] {
                settings.get_mut("stability").and_then(Value::as_object_mut).map(|stability| stability.remove(key));
            }
        }
    }
    first_difference("", &then, &now)
}

/// The first place where two values differ: `stages.0.shape.hidden: 64 there, 96 now`.
fn first_difference(path: &str, then: &Value, now: &Value) -> Option<String> {
    if then == now {
        return None;
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
            let value = |map: &serde_json::Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or(Value::Null);
            keys.into_iter().find_map(|key| first_difference(&below(key), &value(then, key), &value(now, key)))
        }
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => {
            let pairs = then.iter().zip(now).enumerate();
            pairs.into_iter().find_map(|(index, (then, now))| first_difference(&below(&index.to_string()), then, now))
        }
        _ => Some(format!("{path}: {} there, {} now", short(then), short(now))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 60 { text } else { "something else".to_owned() }
}

/// A checkpoint may be put together of whole files and still not be of this plan.
fn check_shape(job: &TrainJob<'_>, state: &RunState) -> Result<(), TrainError> {
    let planned = job.plan.stages.get(state.stage).map(|stage| stage.shape);
    if planned == Some(state.shape) {
        return Ok(());
    }
    let path = checkpoint_folder(&job.out.join("checkpoints"), state.step).join("state.json");
    let planned = planned.map_or("no such stage".to_owned(), |shape| format!("{shape:?}"));
    let what = format!("holds a model of {:?}, the plan's stage {} has {planned}", state.shape, state.stage_name);
    Err(CheckpointError::Layout { path, what }.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::first_difference;

    #[test]
    fn the_first_difference_is_named() {
        let then = json!({ "plan": [{ "a": 1 }, { "hidden": 64 }], "seed": 3 });
        let now = json!({ "plan": [{ "a": 1 }, { "hidden": 96, "more": 1 }], "seed": 4 });
        assert_eq!(first_difference("", &then, &now).unwrap(), "plan.1.hidden: 64 there, 96 now");
        assert_eq!(first_difference("", &now, &now), None);
        assert_eq!(first_difference("", &json!({}), &json!({ "x": true })).unwrap(), "x: null there, true now");
    }
}
