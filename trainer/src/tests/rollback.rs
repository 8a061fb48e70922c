//! Going back after a spike is a function of the run: which batches are passed over, and the bits at the end, depend on no checkpoint that
//! happens to lie on the disk.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::*;

/// Step 11 spikes, so that 9 to 11 are passed over; checkpoints come after every third step.
fn back_by_three(root: &Path) -> Stability {
    Stability { loss_sigma: 15.0, ..spiking(root, SpikePolicy::Rollback { batches: 3 }) }
}

/// All rows in one stage: the end of a stage would always be a checkpoint to go back to.
fn one_stage() -> RunPlan {
    let request = StageRequest {
        name: "small".to_owned(),
        tokens: 14 * 4 * CONTEXT,
        shape: shape(2, 2, 64),
        batch: Batch { rows: 4, micro_rows: 1 },
        learning_rate: Some(LearningRate::Cosine { peak: 1e-2, end: 1e-3, warmup_tokens: 2 * 4 * CONTEXT }),
        growth: None,
    };
    plan(&[request], mup()).unwrap()
}

/// Trains it to its end, or until it is interrupted.
fn run_one(root: &Path, out: &str, n_threads: usize, stop_after: Option<u64>) -> (String, Vec<Event>) {
    run_plan(&one_stage(), &root.join(out), n_threads, stop_after, back_by_three(root)).unwrap()
}

/// Every step stands in the log once, and those were passed over.
fn check_log(root: &Path, out: &str) {
    let skipped = logged(root, out, "skip");
    assert_eq!(skipped, [9, 10, 11], "{out}");
    let mut all = [logged(root, out, "step"), skipped].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=14).collect::<Vec<_>>(), "{out}");
}

/// Ctrl-C leaves checkpoints where there would be none, among the batches that are passed over too. Twice there, it would push out all that are
/// old enough to go back to, if these were not kept.
#[test]
fn interrupted_around_a_spike_a_run_ends_with_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let whole = run_one(root, "whole", 1, None).0;
    check_log(root, "whole");
    for stop_after in 7..=13 {
        let out = format!("stopped-{stop_after}");
        run_one(root, &out, 2, Some(stop_after));
        assert_eq!(run_one(root, &out, 1, None).0, whole, "stopped after step {stop_after}");
        check_log(root, &out);
    }
    run_one(root, "stopped-twice", 1, Some(9));
    run_one(root, "stopped-twice", 1, Some(10));
    assert_eq!(run_one(root, "stopped-twice", 1, None).0, whole);
    // At each of these steps in turn, so that the last checkpoints are all too new to go back to.
    for stop_after in 7..=13 {
        run_one(root, "stopped-often", 1, Some(stop_after));
    }
    assert_eq!(run_one(root, "stopped-often", 1, None).0, whole);
    check_log(root, "stopped-often");
}

/// The process ends inside the step, or while it tells of it, in the replay after the spike too.
#[test]
fn killed_around_a_spike_a_run_ends_with_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let back = back_by_three(root);
    let (whole, mut events) = run_one(root, "whole", 1, None);
    // Told whenever the writing thread is done.
    let is_in_order = |event: &Event| !matches!(event, Event::Saved { .. });
    events.retain(is_in_order);
    let is_around = |event: &Event| match event {
        Event::Step { step, .. } | Event::Skip { step, .. } => (8..=12).contains(step),
        Event::Rollback { .. } => true,
        _ => false,
    };
    let around: Vec<usize> = (0..events.len()).filter(|&index| is_around(&events[index])).collect();
    assert!(around.len() >= 8, "{events:?}");
    for kill_at in around {
        let (out, mut n_events) = (format!("killed-{kill_at}"), 0);
        let mut watch = |event: &Event| {
            n_events += usize::from(is_in_order(event));
            if n_events == kill_at + 1 {
                resume_unwind(Box::new("killed"));
            }
        };
        let stop = AtomicBool::new(false);
        let path = root.join(&out);
        let killed = catch_unwind(AssertUnwindSafe(|| train_in(&one_stage(), &path, 1, back, &stop, &mut watch)));
        assert!(killed.is_err(), "it was not killed at {kill_at}");
        assert_eq!(run_one(root, &out, 1, None).0, whole, "killed at {:?}", events[kill_at]);
        check_log(root, &out);
    }
}

/// Where no checkpoint is old enough, the run goes back to its beginning.
#[test]
fn without_an_old_checkpoint_a_run_goes_back_to_its_beginning() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let whole = run_one(root, "whole", 1, None).0;
    run_one(root, "out", 1, Some(10));
    let checkpoints = root.join("out/checkpoints");
    for step in checkpoint::list_checkpoints(&checkpoints).into_iter().filter(|step| *step != 10) {
        std::fs::remove_dir_all(checkpoint::checkpoint_folder(&checkpoints, step)).unwrap();
    }
    let (found, events) = run_one(root, "out", 1, None);
    assert!(events.iter().any(|event| matches!(event, Event::Rollback { step: 0, tokens: 0, skipped: (9, 11), .. })));
    assert_eq!(found, whole);
    check_log(root, "out");
}

/// Going back replaces the log, and the watchdog writes into the one that lies there then.
#[test]
fn a_hang_after_going_back_stands_in_the_log() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let limit = Duration::from_secs(2);
    let back = Stability { step_seconds_max: limit.as_secs_f64(), ..back_by_three(root) };
    let (mut went_back, stop) = (false, AtomicBool::new(false));
    let mut watch = |event: &Event| match event {
        Event::Rollback { .. } => went_back = true,
        Event::Skip { step: 11, .. } => std::thread::sleep(2 * limit),
        _ => {}
    };
    train_in(&one_stage(), &root.join("out"), 1, back, &stop, &mut watch).unwrap();
    assert!(went_back);
    assert!(logged(root, "out", "stalled").contains(&10), "{:?}", logged(root, "out", "stalled"));
}
