//! Speeds and availability out of a run's `metrics.jsonl`, for the run's plan.

use std::collections::BTreeMap;
use std::path::Path;

use planner::{RunPlan, Speed, StageSpeed};

use crate::report::{Log, Time, read_log};

/// What every stage of the plan reached in the run in `out`. Stages that it has not come to yet are taken to be as fast as the last that it
/// has: FLOP/s differ less between stages than the tokens a second that they give.
pub(super) fn speeds(plan: &RunPlan, out: &Path, n_devices: u64) -> anyhow::Result<BTreeMap<String, StageSpeed>> {
    let path = out.join("metrics.jsonl");
    let log = read_log(&path).map_err(|failure| failure.error)?;
    let mut last = None;
    let mut found = BTreeMap::new();
    for stage in &plan.stages {
        last = measured(&log, stage, n_devices).or(last);
        if let Some(speed) = last {
            found.insert(stage.name.clone(), speed);
        }
    }
    anyhow::ensure!(!found.is_empty(), "{} has no step of this run: train some of it first", path.display());
    Ok(found)
}

/// FLOP/s of a stage's steps, and the share that they are of its time: checkpoints that training waits for, and its growth, are the rest.
fn measured(log: &Log, stage: &planner::StagePlan, n_devices: u64) -> Option<StageSpeed> {
    let steps = || log.steps.iter().filter(|step| step.stage == stage.name);
    let total = Time::of(steps(), stage.batch_tokens()).total();
    let waiting: f64 = steps().map(|step| step.seconds.checkpoint).sum();
    let growing: f64 = log.growths.iter().filter(|growth| growth.stage_to == stage.name).map(|g| g.seconds).sum();
    let computing = total - waiting;
    let flops = steps().count() as f64 * stage.batch_tokens() as f64 * stage.shape.flops_per_token() as f64;
    (computing > 0.0).then(|| StageSpeed {
        speed: Some(Speed::Exact(flops / computing / n_devices as f64)),
        availability: Some(computing / (total + growing)),
    })
}
