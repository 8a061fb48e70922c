//! Speeds and availability out of a run's `metrics.jsonl`, for the run's plan.

use std::collections::BTreeMap;
use std::path::Path;

use planner::{RunPlan, Speed, StagePlan, StageSpeed};

use crate::report::{Log, Step, read_log};

/// What every stage of the plan reached in the run in `out`. Stages that it has not come to yet are taken to be as fast as the last that it
/// has: FLOP/s differ less between stages than the tokens a second that they give.
pub(super) fn speeds(plan: &RunPlan, out: &Path, n_devices: u64) -> anyhow::Result<BTreeMap<String, StageSpeed>> {
    anyhow::ensure!(out.is_dir(), "there is no folder {}", out.display());
    let path = out.join("metrics.jsonl");
    let log = read_log(&path).map_err(|failure| failure.error)?;
    let mut last = None;
    let mut found = BTreeMap::new();
    for stage in &plan.stages {
        last = measured(&log, stage, n_devices)?.or(last);
        if let Some(speed) = last {
            found.insert(stage.name.clone(), speed);
        }
    }
    anyhow::ensure!(!found.is_empty(), "{} has no step of this run: train some of it first", path.display());
    Ok(found)
}

/// FLOP/s of a stage's steps, and the share that they are of its time: checkpoints that training waits for, and its growth, are the rest.
fn measured(log: &Log, stage: &StagePlan, n_devices: u64) -> anyhow::Result<Option<StageSpeed>> {
    let steps: Vec<&Step> = log.steps.iter().filter(|step| step.stage == stage.name).collect();
    check_model(&steps, stage)?;
    check_batch(log, stage)?;
    let length = |step: &Step| stage.batch_tokens() as f64 / step.tokens_per_s;
    let computing: f64 = steps.iter().map(|step| length(step)).sum();
    let flops: f64 = steps.iter().map(|step| step.model_flops_per_s * length(step)).sum();
    let waiting: f64 = steps.iter().map(|step| step.seconds.checkpoint).sum();
    let growing: f64 = log.growths.iter().filter(|growth| growth.stage_to == stage.name).map(|g| g.seconds).sum();
    Ok((computing > 0.0).then(|| StageSpeed {
        speed: Some(Speed::Exact(flops / computing / n_devices as f64)),
        availability: Some(computing / (computing + waiting + growing)),
    }))
}

/// Whether those steps trained the stage's model: FLOPs a token tell.
fn check_model(steps: &[&Step], stage: &StagePlan) -> anyhow::Result<()> {
    let planned = stage.shape.flops_per_token() as f64;
    let of_another = steps.iter().map(|step| step.model_flops_per_s / step.tokens_per_s).find(|flops_per_token| {
        let is_same = (flops_per_token / planned - 1.0).abs() < 1e-6;
        !is_same
    });
    match of_another {
        None => Ok(()),
        Some(flops) => anyhow::bail!(
            "stage {}: another model was measured: it took {flops:.0} FLOPs a token, the run file's takes {planned:.0}",
            stage.name
        ),
    }
}

/// Whether its steps had the stage's batch. Batches that were passed over lie between two steps, so the smallest distance counts.
fn check_batch(log: &Log, stage: &StagePlan) -> anyhow::Result<()> {
    let before = std::iter::once(0).chain(log.steps.iter().map(|step| step.tokens));
    let pairs = before.zip(&log.steps).filter(|(_, step)| step.stage == stage.name);
    let measured =
        pairs.filter_map(|(before, step)| step.tokens.checked_sub(before).filter(|tokens| *tokens > 0)).min();
    match measured {
        Some(tokens) if tokens != stage.batch_tokens() => anyhow::bail!(
            "stage {}: steps of {tokens} tokens were measured, the run file's have {}",
            stage.name,
            stage.batch_tokens()
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use planner::{Batch, LearningRate, MuP, Shape, StageRequest, plan};

    use super::*;
    use crate::report::{Growth, Seconds};

    /// One stage, of 4 steps of 2 x 8 tokens.
    fn stage() -> StagePlan {
        let shape = Shape { layers: 1, hidden: 8, heads: 1, head_size: 8, ffn: 32, vocabulary: 16, context: 8 };
        let request = StageRequest {
            name: "a".to_owned(),
            tokens: 64,
            shape,
            batch: Batch { rows: 2, micro_rows: 1 },
            learning_rate: Some(LearningRate::Cosine { peak: 1.0, end: 0.5, warmup_tokens: 0 }),
            growth: None,
        };
        let mup = MuP { base_width: 8, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.02 };
        plan(&[request], mup).unwrap().stages.remove(0)
    }

    /// Steps that took so many seconds each; the second was waited for by a checkpoint of a second.
    fn log(seconds: &[f64]) -> Log {
        let flops = stage().shape.flops_per_token() as f64;
        let step = |(index, seconds): (usize, &f64)| Step {
            stage: "a".to_owned(),
            tokens: 16 * (index as u64 + 1),
            tokens_per_s: 16.0 / seconds,
            model_flops_per_s: 16.0 * flops / seconds,
            seconds: Seconds { checkpoint: if index == 1 { 1.0 } else { 0.0 }, ..Seconds::default() },
            ..Step::default()
        };
        Log { steps: seconds.iter().enumerate().map(step).collect(), ..Log::default() }
    }

    /// By hand: 32 tokens in 8 seconds, beside 1 second of a checkpoint and 1 of growth.
    #[test]
    fn speed_and_availability_are_those_of_the_log() {
        let mut log = log(&[2.0, 6.0]);
        log.growths.push(Growth { stage_to: "a".to_owned(), seconds: 1.0, ..Growth::default() });
        let found = measured(&log, &stage(), 2).unwrap().unwrap();
        let Some(Speed::Exact(flops)) = found.speed else { panic!("{found:?}") };
        assert!((flops / (32.0 * stage().shape.flops_per_token() as f64 / 8.0 / 2.0) - 1.0).abs() < 1e-12);
        assert!((found.availability.unwrap() - 0.8).abs() < 1e-12);
        assert!(measured(&Log::default(), &stage(), 1).unwrap().is_none());
    }

    #[test]
    fn another_model_or_batch_is_refused() {
        let refused = |log: &Log, stage: &StagePlan| measured(log, stage, 1).unwrap_err().to_string();
        let mut wider = stage();
        wider.shape.ffn = 64;
        assert!(refused(&log(&[1.0, 1.0]), &wider).contains("stage a: another model was measured"));
        let mut larger = stage();
        larger.batch.rows = 4;
        assert!(
            refused(&log(&[1.0, 1.0]), &larger).contains("steps of 16 tokens were measured, the run file's have 32")
        );
        // A batch that was passed over makes one distance longer, and going back makes one negative.
        let mut skipped = log(&[1.0, 1.0, 1.0, 1.0]);
        (skipped.steps[2].tokens, skipped.steps[3].tokens) = (64, 32);
        assert!(measured(&skipped, &stage(), 1).is_ok());
    }
}
