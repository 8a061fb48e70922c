//! Trials of a search or a prediction: ordinary trainings of small models, each in a folder of its own below `sweep/`.
//!
//! A trial is resumed as any training is. When it is done its folder is committed (a manifest that names `metrics.jsonl` and holds
//! the result) and only then its checkpoints go: a search of many points needs the room of one. The folder's name ends in a
//! hash of settings and rows, so that other settings never meet an old trial.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use corpus::{Count, FileEntry, FileError, Manifest, Parent, Settings, StageFolder, hash_bytes, hash_file};
use planner::Trial;
use serde_json::{Value, json};
use trainer::{Event, Outcome, TrainError, TrainJob};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::stages::Stages;
use crate::sweep::{StepLoss, TrialResult};

/// Version of a trial's folder.
const TRIAL_FORMAT: u32 = 1;

/// The log of a training.
const METRICS: &str = "metrics.jsonl";

/// Trains every trial that is not done yet, one after the other, on the first rows of `packed`.
pub(crate) fn run_trials(
    stages: &Stages<'_>,
    command: &'static str,
    trials: &[Trial],
    parents: &[Parent],
) -> Result<Vec<TrialResult>, Failure> {
    let n_tokens = trials.iter().map(Trial::n_tokens).sum();
    let progress = stages.console.start(command, n_tokens, "tokens");
    let (mut results, mut tokens_before) = (Vec::new(), 0);
    for (index, trial) in trials.iter().enumerate() {
        let prefix = format!("{} of {}: {}", index + 1, trials.len(), trial.name);
        let result = run_trial(stages, trial, parents, &mut |tokens, loss| {
            progress.set(tokens_before + tokens, &format!("{prefix}  loss {loss:.3}"));
        })?;
        tokens_before += trial.n_tokens();
        tell(&progress, &prefix, &result);
        results.push(result);
    }
    progress.finish(&format!("{} trials of {} tokens in all", trials.len(), Count(n_tokens)), json!(results));
    Ok(results)
}

fn tell(progress: &Progress<'_>, prefix: &str, result: &TrialResult) {
    progress.event(result, false);
    match (&result.stopped, result.losses.last()) {
        (Some(why), _) => progress.note(&format!("{prefix}: stopped: {why}")),
        (None, Some(last)) => progress.note(&format!("{prefix}: held-out loss {:.4}", last.loss)),
        (None, None) => {}
    }
}

fn run_trial(
    stages: &Stages<'_>,
    trial: &Trial,
    parents: &[Parent],
    watch: &mut dyn FnMut(u64, f64),
) -> Result<TrialResult, Failure> {
    let settings = Settings(json!({
        "plan": trial.plan, "steps": trial.n_steps, "seed": trial.seed, "optimizer": stages.run.optimizer,
        "precision": stages.run.precision, "stability": stages.run.stability,
    }));
    let hash = hash_bytes(json!({ "settings": settings, "parents": parents }).to_string().as_bytes());
    let name = format!("{}-{}", trial.name, &hash[..8]);
    let folder = stages.out.join("sweep").join(&name);
    let manifest = Manifest::new("trial", TRIAL_FORMAT, &settings).with_parents(parents.to_vec());
    let checkpoints = folder.join("checkpoints");
    if manifest.is_done(&folder) {
        remove_folder(&checkpoints)?;
        let details = Manifest::read(&folder)?.details;
        return serde_json::from_value(details).map_err(Failure::input);
    }
    if folder.join(Manifest::NAME).exists() {
        // Its log is gone or another one: nothing goes on from there.
        remove_folder(&checkpoints)?;
    }
    StageFolder::begin(&folder)?;
    let stopped = train(stages, trial, (&folder, settings), parents, watch)?;
    let result = TrialResult {
        name: trial.name.clone(),
        folder: name,
        seed: trial.seed,
        point: trial.point,
        width: trial.shape().hidden,
        n_parameters: trial.shape().n_parameters(),
        losses: held_out_losses(&folder.join(METRICS), trial.n_steps)?,
        stopped,
    };
    let mut manifest = manifest.with_files(vec![log_entry(&folder)?]);
    manifest.details = json!(result);
    manifest.commit(&folder)?;
    remove_folder(&checkpoints)?;
    Ok(result)
}

/// Trains up to the trial's last step; gives why it stopped itself before, where it did.
fn train(
    stages: &Stages<'_>,
    trial: &Trial,
    (folder, settings): (&Path, Settings),
    parents: &[Parent],
    watch: &mut dyn FnMut(u64, f64),
) -> Result<Option<String>, Failure> {
    let stop = AtomicBool::new(false);
    let is_row = |parent: &&Parent| parent.name.starts_with("packed/") && parent.name != "packed/validation";
    let job = TrainJob {
        out: folder,
        plan: &trial.plan,
        packed: parents.iter().filter(is_row).map(|parent| stages.out.join(&parent.name)).collect(),
        kept_rows: Vec::new(),
        start: None,
        seed: corpus::Seed::root(trial.seed),
        settings,
        keep_last: 1,
        stop: &stop,
        ..stages.train_job(parents.to_vec())?
    };
    let mut last = 0;
    let trained = trainer::train(&job, &mut |event| {
        if let Event::Step { step, .. } | Event::Skip { step, .. } = event {
            last = *step;
        }
        if let Event::Step { tokens, loss, .. } = event {
            watch(*tokens, *loss);
        }
        // Asked after every event; the step that is being trained is finished and validated first.
        if last >= trial.n_steps || stages.stop.load(Ordering::Relaxed) {
            stop.store(true, Ordering::Relaxed);
        }
    });
    match trained {
        Ok(Outcome::Finished) => Ok(None),
        Ok(Outcome::Interrupted) if last >= trial.n_steps => Ok(None),
        Ok(Outcome::Interrupted) => Err(Failure::interrupted()),
        Err(error @ (TrainError::Diverged { .. } | TrainError::Spiked { .. })) => Ok(Some(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Mean held-out loss over all languages at every step up to `n_steps` where it was measured.
fn held_out_losses(path: &Path, n_steps: u64) -> Result<Vec<StepLoss>, Failure> {
    let text = fs::read_to_string(path).map_err(|source| FileError::new("read", path, source))?;
    let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).map_err(Failure::input)?;
        if event["event"] == "validation" {
            let number = |key: &str| event[key].as_f64().unwrap_or(f64::NAN);
            let (nats, targets) = sums.entry(event["step"].as_u64().unwrap_or(0)).or_default();
            *nats += number("loss") * number("n_targets");
            *targets += number("n_targets");
        }
    }
    let of_trial = sums.into_iter().filter(|(step, _)| *step <= n_steps);
    Ok(of_trial.map(|(step, (nats, targets))| StepLoss { step, loss: nats / targets }).collect())
}

fn log_entry(folder: &Path) -> Result<FileEntry, FileError> {
    let path = folder.join(METRICS);
    let metadata = fs::metadata(&path).map_err(|source| FileError::new("read", &path, source))?;
    Ok(FileEntry { path: METRICS.to_owned(), rows: 1, bytes: metadata.len(), blake3: hash_file(&path)? })
}

fn remove_folder(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FileError::new("remove", path, source)),
    }
}
