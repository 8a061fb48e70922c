//! One training of a study: `study ARM.json` trains what the file describes, and goes on where it stopped.
//!
//! Rows are those of a folder that the mixer packed, from the first one on, whatever the stages: runs with other stages see the same
//! data in the same order. The log is `metrics.jsonl` in the run's folder, as of every training.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use corpus::{Seed, Settings};
use loader::LoaderSettings;
use planner::{MuP, OptimizerSettings, Precision, Recompute, Stability, StageRequest, plan};
use serde::Deserialize;
use serde_json::json;
use trainer::{Device, TrainJob, train};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    out: PathBuf,
    packed: PathBuf,
    validation: PathBuf,
    seed: u64,
    stages: Vec<StageRequest>,
    mup: MuP,
    optimizer: OptimizerSettings,
    precision: Precision,
    stability: Stability,
    validate_every: u64,
    checkpoint_every: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: study ARM.json")?;
    let json = fs::read(path)?;
    let arm: Arm = serde_json::from_slice(&json)?;
    let plan = plan(&arm.stages, arm.mup)?;
    // Arms that begin alike may go on from one checkpoint: the study itself sees to it that a folder stays one arm's.
    let settings = json!({ "seed": arm.seed, "mup": arm.mup, "optimizer": arm.optimizer, "precision": arm.precision });
    let job = TrainJob {
        out: &arm.out,
        plan: &plan,
        optimizer: arm.optimizer,
        precision: arm.precision,
        recompute: Recompute::None,
        stability: arm.stability,
        packed: vec![arm.packed],
        validation: arm.validation,
        start: None,
        kept_rows: Vec::new(),
        rows: LoaderSettings::of_context(plan.stages[0].shape.context as usize),
        // Bits per byte are of no use here.
        token_bytes: Vec::new(),
        seed: Seed::root(arm.seed),
        settings: Settings(settings),
        parents: Vec::new(),
        predictions: Vec::new(),
        checkpoint_every: arm.checkpoint_every,
        keep_last: 1,
        validate_every: arm.validate_every,
        device: Device::Cpu,
        n_threads: 1,
        started: 0.0,
        stalled: Arc::new(|_| ()),
        stop: &AtomicBool::new(false),
    };
    train(&job, &mut |_| ())?;
    Ok(())
}
