//! Growth preserves the function, gradients are derivatives, resuming is exact. Small models, quick.

mod coordinates;
mod golden;
mod growth;
mod leaks;
mod parallel;
mod parity;
mod rollback;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use corpus::{DocId, Kind as DocumentKind, Manifest, PackedWriter, Seed, Segment, Settings, Span};
use loader::{Loader, LoaderSettings};
use planner::{
    Batch, Depth, Growth, LearningRate, Moments, MuP, OptimizerSettings, Precision, Recompute, RunPlan, Shape,
    SpikePolicy, Stability, StageRequest, Width, plan,
};
use tch::{Kind, Tensor};

use crate::batch::load_batch;
use crate::gradients::{Workers, run_batch};
use crate::growth::grow;
use crate::staging::{Inputs, Staged};
use crate::*;

const CONTEXT: u64 = 16;
const VOCABULARY: u64 = 64;

fn shape(layers: u64, heads: u64, ffn: u64) -> Shape {
    Shape { layers, hidden: 8 * heads, heads, head_size: 8, ffn, vocabulary: VOCABULARY, context: CONTEXT }
}

fn mup() -> MuP {
    MuP { base_width: 16, input_multiplier: 1.5, output_multiplier: 2.0, init_std: 0.3 }
}

fn masked(ramp_tokens: u64) -> Growth {
    Growth { depth: Depth::Stack, width: Width::Random, ramp_tokens, moments: Moments::Old }
}

fn two_stages() -> RunPlan {
    let rate = LearningRate::Cosine { peak: 1e-2, end: 1e-3, warmup_tokens: 2 * 4 * CONTEXT };
    grown_by(masked(4 * 4 * CONTEXT), Some(rate))
}

fn grown_by(growth: Growth, second_rate: Option<LearningRate>) -> RunPlan {
    let rate = LearningRate::Cosine { peak: 1e-2, end: 1e-3, warmup_tokens: 2 * 4 * CONTEXT };
    let stage = |name: &str, shape, steps: u64, growth, learning_rate| StageRequest {
        name: name.to_owned(),
        tokens: steps * 4 * CONTEXT,
        shape,
        batch: Batch { rows: 4, micro_rows: 1 },
        learning_rate,
        growth,
    };
    let small = stage("small", shape(2, 2, 64), 6, None, Some(rate));
    let large = stage("large", shape(3, 4, 96), 8, Some(growth), second_rate);
    plan(&[small, large], mup()).unwrap()
}

/// Rows 16 to 19 of every folder whose name says so are of another language than all others.
const HARD: &str = "hard";

/// Rows of a simple language (each token is the one before plus a constant of the row), with a proposition in every fourth.
fn pack(folder: &Path, n_rows: u64, name: &str) -> PathBuf {
    let seed = Seed::root(3).stream(name);
    let mut writer = PackedWriter::new(CONTEXT as usize);
    for row in 0..n_rows {
        let (first, step) = (seed.below(2 * row, VOCABULARY), 1 + seed.below(2 * row + 1, 3));
        let is_strange = name.starts_with(HARD) && (16..20).contains(&row);
        let id = |i: u64| match (name.starts_with(HARD), is_strange) {
            (false, _) => (first + i * step) % VOCABULARY,
            (true, false) => (first + i) % 4,
            (true, true) => 32 + (first * i) % 32,
        };
        let tokens: Vec<u32> = (0..=CONTEXT).map(|i| id(i) as u32).collect();
        let (kind, loss) = if row % 4 == 3 {
            (DocumentKind::Proposition, Some(vec![Span { start: CONTEXT as u32, end: CONTEXT as u32 + 1 }]))
        } else {
            (DocumentKind::Plain, None)
        };
        let segment = Segment {
            doc: DocId::new("s", &row.to_string()),
            row_start: 0,
            len: CONTEXT as u32 + 1,
            doc_offset: 0,
            loss,
            source: "s".into(),
            lang: if row % 2 == 0 { "en" } else { "zh" }.into(),
            kind,
        };
        writer.push(&tokens, vec![segment]);
    }
    let file = writer.finish(folder, "part-00000.arrow").unwrap();
    Manifest::new("mix", 1, &Settings::default()).with_files(vec![file]).commit(folder).unwrap();
    folder.to_owned()
}

/// Trains `two_stages` in `out` and returns the hash of the final weights. With `stop_after`, the run is interrupted there first.
fn run(root: &Path, out: &str, n_threads: usize, stop_after: Option<u64>) -> (String, Vec<Event>) {
    run_with(root, out, n_threads, stop_after, calm()).unwrap()
}

/// Nothing but what is no number counts as a spike, and stops the run.
fn calm() -> Stability {
    let (sigma, policy) = (f64::INFINITY, SpikePolicy::Stop);
    Stability { window: 8, loss_sigma: sigma, norm_sigma: sigma, policy, skips_max: 4, step_seconds_max: 600.0 }
}

/// The same under other rules for spikes.
fn run_with(
    root: &Path,
    out: &str,
    n_threads: usize,
    stop_after: Option<u64>,
    stability: Stability,
) -> Result<(String, Vec<Event>), TrainError> {
    run_plan(&two_stages(), &root.join(out), n_threads, stop_after, stability)
}

/// Trains in a folder beside `packed/`.
fn run_plan(
    plan: &RunPlan,
    out: &Path,
    n_threads: usize,
    stop_after: Option<u64>,
    stability: Stability,
) -> Result<(String, Vec<Event>), TrainError> {
    let (mut events, stop) = (Vec::new(), AtomicBool::new(false));
    let mut watch = |event: &Event| {
        if let Event::Step { step, .. } | Event::Skip { step, .. } = event {
            stop.store(stop_after == Some(*step), Ordering::Relaxed);
        }
        events.push(event.clone());
    };
    let outcome = train_in(plan, out, n_threads, stability, &stop, &mut watch)?;
    assert_eq!(outcome, if stop_after.is_some() { Outcome::Interrupted } else { Outcome::Finished });
    let last = *checkpoint::list_checkpoints(&out.join("checkpoints")).last().unwrap();
    let manifest = Manifest::read(&checkpoint::checkpoint_folder(&out.join("checkpoints"), last)).unwrap();
    Ok((manifest.files.iter().map(|file| &file.blake3[..]).collect(), events))
}

/// Trains until it ends or `stop` is set; `watch` sees every event.
fn train_in(
    plan: &RunPlan,
    out: &Path,
    n_threads: usize,
    stability: Stability,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Event),
) -> Result<Outcome, TrainError> {
    let root = out.parent().unwrap();
    std::fs::create_dir_all(out).unwrap();
    let job = TrainJob {
        start: None,
        kept_rows: Vec::new(),
        rows: LoaderSettings::of_context(CONTEXT as usize),
        out,
        plan,
        stability,
        started: 0.0,
        stalled: std::sync::Arc::new(|_| ()),
        optimizer: OptimizerSettings { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 1.0 },
        packed: vec![root.join("packed/small"), root.join("packed/large")],
        validation: root.join("packed/validation"),
        token_bytes: vec![2; VOCABULARY as usize],
        seed: Seed::root(1),
        settings: Settings(
            serde_json::json!({ "name": "settings", "stability": Stability { step_seconds_max: 600.0, ..stability } }),
        ),
        parents: Vec::new(),
        predictions: Vec::new(),
        checkpoint_every: 3,
        keep_last: 2,
        validate_every: 5,
        precision: Precision::Float32,
        recompute: Recompute::None,
        device: Device::Cpu,
        n_threads,
        stop,
    };
    train(&job, watch)
}

fn data(root: &Path) {
    pack(&root.join("packed/small"), 24, "small");
    pack(&root.join("packed/large"), 32, "large");
    pack(&root.join("packed/validation"), 8, "validation");
}

#[test]
fn threads_and_interruptions_change_no_bit() {
    let root = tempfile::tempdir().unwrap();
    data(root.path());
    let (whole, events) = run(root.path(), "whole", 1, None);
    assert_eq!(run(root.path(), "threads", 3, None).0, whole);
    // Before growth, at the growth step, inside the mask ramp, and after it.
    for (index, stop_after) in [4, 6, 8, 12].into_iter().enumerate() {
        let out = format!("stopped-{index}");
        run(root.path(), &out, 2, Some(stop_after));
        assert_eq!(run(root.path(), &out, 1, None).0, whole, "stopped after step {stop_after}");
        let log = std::fs::read_to_string(root.path().join(&out).join("metrics.jsonl")).unwrap();
        let steps: Vec<&str> = log.lines().filter(|line| line.contains("\"event\":\"step\"")).collect();
        assert_eq!(steps.len(), 14, "every step stands in the log once");
    }
    let (logit_diff, loss_jump) = growth_of(&events);
    assert!(logit_diff < 1e-4 && loss_jump.abs() < 1e-5, "{logit_diff:e} {loss_jump:e}");
    assert!(corpus::verify_tree(&root.path().join("whole")).unwrap().is_clean());
}

/// The largest change of a logit, and that of the loss, of the one growth step.
fn growth_of(events: &[Event]) -> (f64, f64) {
    let growths = events.iter().filter_map(|event| match event {
        Event::Growth { max_logit_diff, loss_before, loss_after, .. } => {
            Some((*max_logit_diff, loss_after - loss_before))
        }
        _ => None,
    });
    let growths: Vec<(f64, f64)> = growths.collect();
    assert_eq!(growths.len(), 1);
    growths[0]
}

/// Growth that does not promise to keep the function is measured and goes on; interrupted anywhere, it ends with the same bits, under a
/// learning rate that goes on over the growth step too.
#[test]
fn growth_that_changes_the_function_is_told_and_exact() {
    let root = tempfile::tempdir().unwrap();
    data(root.path());
    for (index, (depth, width, moments)) in
        [(Depth::Interpose, Width::Split, Moments::Grown), (Depth::Random, Width::Zero, Moments::Reset)]
            .into_iter()
            .enumerate()
    {
        let plan = grown_by(Growth { depth, width, ramp_tokens: 0, moments }, None);
        let run = |out: &str, stop_after| {
            run_plan(&plan, &root.path().join(format!("{out}-{index}")), 2, stop_after, calm()).unwrap()
        };
        let (whole, events) = run("whole", None);
        let (logit_diff, loss_jump) = growth_of(&events);
        assert!(logit_diff > 1e-2 && loss_jump != 0.0, "{logit_diff:e} {loss_jump:e}");
        for stop_after in [6, 7] {
            let out = format!("stopped-{stop_after}");
            run(&out, Some(stop_after));
            assert_eq!(run(&out, None).0, whole);
        }
        let rate_of = |wanted: u64| {
            let mut rates = events.iter().filter_map(|event| match event {
                Event::Step { step, lr, .. } if *step == wanted => Some(*lr),
                _ => None,
            });
            rates.next_back().unwrap()
        };
        assert!(rate_of(7) < rate_of(6) && rate_of(6) < rate_of(3), "the curve goes on");
    }
}

/// On the CPU rows are used where the file is mapped; only where shards meet inside a micro-batch they are put together.
#[test]
fn staged_rows_are_the_mapped_rows() {
    let root = tempfile::tempdir().unwrap();
    let folders = [pack(&root.path().join("a"), 3, "a"), pack(&root.path().join("b"), 2, "b")];
    let loader = Loader::open(&folders, &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
    let staged = |first, n_rows| {
        let blocks = loader.blocks(first, n_rows).unwrap();
        let staged = Staged::new(&blocks, CONTEXT as usize + 1, &[0, 5], None, Device::Cpu).unwrap();
        let Inputs { rows, targets, .. } = staged.inputs();
        assert_eq!(Vec::<i64>::try_from(targets).unwrap(), [0, 5]);
        (blocks, rows)
    };
    let (blocks, rows) = staged(1, 2);
    let mapped: &[u32] = blocks[0].as_ref();
    assert_eq!(rows.data_ptr() as usize, mapped.as_ptr() as usize);
    let (blocks, rows) = staged(2, 3);
    let mapped: Vec<i32> = blocks.iter().flat_map(|block| block.as_ref()).map(|&token| token as i32).collect();
    assert_eq!((rows.size(), blocks.len()), (vec![3, CONTEXT as i64 + 1], 2));
    assert_eq!(Vec::<i32>::try_from(rows.view([-1])).unwrap(), mapped);
}

#[test]
fn a_checkpoint_of_another_run_or_with_a_flipped_bit_is_refused() {
    let root = tempfile::tempdir().unwrap();
    data(root.path());
    run(root.path(), "out", 1, Some(4));
    let folder = checkpoint::checkpoint_folder(&root.path().join("out/checkpoints"), 4);
    let mut other = checkpoint::load(&folder).unwrap();
    other.state.settings = Settings("other".into());
    other.state.step = 5;
    checkpoint::save(&root.path().join("out/checkpoints"), &other).unwrap();
    let refused = run_with(root.path(), "out", 1, None, calm()).unwrap_err();
    assert!(matches!(&refused, TrainError::OtherRun { what: "settings", .. }), "{refused}");
    std::fs::remove_dir_all(checkpoint::checkpoint_folder(&root.path().join("out/checkpoints"), 5)).unwrap();
    let file = folder.join("first-moment-00000.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(matches!(checkpoint::load(&folder), Err(CheckpointError::Hash { path }) if path == file));
    // Who only looks at the weights does not read the moments.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(checkpoint::load_weights(&folder).unwrap().tensors.len(), other.tensors.len());
}

/// Going on would give a log without the steps before.
#[test]
fn a_log_of_another_run_is_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    data(root.path());
    run(root.path(), "out", 1, Some(4));
    let log = root.path().join("out/metrics.jsonl");
    let whole = std::fs::read_to_string(&log).unwrap();
    let other: String = whole.lines().filter(|line| !line.contains("\"event\":\"checkpoint\"")).collect();
    std::fs::write(&log, &other).unwrap();
    let refused = run_with(root.path(), "out", 1, None, calm()).unwrap_err();
    assert!(matches!(&refused, TrainError::OtherLog { path, step: 4 } if *path == log), "{refused}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), other);
    std::fs::write(&log, whole).unwrap();
    run(root.path(), "out", 1, None);
}

/// Data with a batch that spikes in the second stage (in the first the loss falls too steeply to tell), and rules that find it.
fn spiking(root: &Path, policy: SpikePolicy) -> Stability {
    if !root.join("packed").exists() {
        pack(&root.join("packed/small"), 24, "hard-small");
        pack(&root.join("packed/large"), 32, "hard-large");
        pack(&root.join("packed/validation"), 8, "validation");
    }
    Stability { window: 4, loss_sigma: 4.0, norm_sigma: 1e9, policy, ..calm() }
}

/// Steps of the log by kind, from the file.
fn logged(root: &Path, out: &str, kind: &str) -> Vec<u64> {
    let log = std::fs::read_to_string(root.join(out).join("metrics.jsonl")).unwrap();
    let events = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    events.filter(|event| event["event"] == kind).map(|event| event["step"].as_u64().unwrap()).collect()
}

/// A batch that spikes is passed over, wherever the run is interrupted; going back passes over the same batches and ends with the same
/// weights, since nothing was updated by them; and every step stands in the log once.
#[test]
fn spikes_are_passed_over_to_the_bit() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let skip = spiking(root, SpikePolicy::Skip);
    let (whole, events) = run_with(root, "whole", 1, None, skip).unwrap();
    let skipped = logged(root, "whole", "skip");
    assert_eq!(skipped, [11], "{events:?}");
    let is_named = |event: &Event| matches!(event, Event::Skip { documents, .. } if documents.n_documents == 4);
    assert_eq!(events.iter().filter(|event| is_named(event)).count(), 1);
    for (index, stop_after) in [8, 12].into_iter().enumerate() {
        let out = format!("stopped-{index}");
        run_with(root, &out, 2, Some(stop_after), skip).unwrap();
        assert_eq!(run_with(root, &out, 1, None, skip).unwrap().0, whole, "stopped after step {stop_after}");
        assert_eq!(logged(root, &out, "skip"), skipped);
    }
    let back = Stability { policy: SpikePolicy::Rollback { batches: 1 }, ..skip };
    let (went_back, events) = run_with(root, "back", 1, None, back).unwrap();
    let n_tensor_files = 3;
    assert_eq!(went_back[..64 * n_tensor_files], whole[..64 * n_tensor_files]);
    let steps: Vec<u64> = events
        .iter()
        .filter_map(|event| if let Event::Rollback { step, .. } = event { Some(*step) } else { None })
        .collect();
    assert_eq!(steps, [9]);
    let mut all = [logged(root, "back", "step"), logged(root, "back", "skip")].concat();
    all.sort_unstable();
    assert_eq!((all, logged(root, "back", "skip")), ((1..=14).collect(), skipped));
    // What TensorBoard shows is what the log says: the second file begins where the run went back to.
    let board = |number: u32| root.join(format!("back/tensorboard/events.out.tfevents.{number:010}.moso"));
    let records = tensorboard::tests::read(&board(1));
    assert_eq!(records[1], tensorboard::tests::Record::Start(10));
    assert!(!board(2).exists());
}

#[test]
fn a_run_that_stops_at_a_spike_goes_on_under_another_policy() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let skip = spiking(root, SpikePolicy::Skip);
    let stop = Stability { policy: SpikePolicy::Stop, ..skip };
    let whole = run_with(root, "whole", 1, None, skip).unwrap().0;
    let error = run_with(root, "out", 1, None, stop).unwrap_err();
    assert!(matches!(error, TrainError::Spiked { step: 11, .. }), "{error}");
    let said = error.to_string();
    for expected in ["step 11", "standard deviations above the mean", "4 documents", "(s)", "moso trace --step 11"] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    assert_eq!(run_with(root, "out", 1, None, skip).unwrap().0, whole);
    // Once something was passed over, another policy would have given other bits.
    run_with(root, "other", 1, Some(12), skip).unwrap();
    let refused = run_with(root, "other", 1, None, stop).unwrap_err().to_string();
    assert!(refused.contains("stability.policy: \"skip\" there, \"stop\" now"), "{refused}");
    // Where it is not the data, passing over ends.
    let never = Stability { skips_max: 0, ..skip };
    let error = run_with(root, "never", 1, None, never).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { step: 11, n_steps: 1, limit: 0, .. }), "{error}");
}

/// What is written is the copy, whatever training does meanwhile; and a copy takes the memory of the one before.
#[test]
fn a_copied_state_stays_what_it_was() {
    let root = tempfile::tempdir().unwrap();
    data(root.path());
    run(root.path(), "out", 1, Some(4));
    let folder = checkpoint::checkpoint_folder(&root.path().join("out/checkpoints"), 4);
    let mut training = checkpoint::load(&folder).unwrap();
    let copy = checkpoint::snapshot(&training, None);
    let memory = copy.tensors[0].data_ptr();
    training
        .tensors
        .iter_mut()
        .chain(&mut training.optimizer.second)
        .for_each(|tensor| drop(tensor.g_add_scalar_(1.0)));
    let other = root.path().join("other");
    checkpoint::save(&other, &copy).unwrap();
    let hashes = |folder: &Path| {
        let files = Manifest::read(folder).unwrap().files;
        files.into_iter().map(|file| (file.path, file.blake3)).collect::<Vec<_>>()
    };
    assert_eq!(hashes(&checkpoint::checkpoint_folder(&other, 4)), hashes(&folder));
    let copy = checkpoint::snapshot(&training, Some(copy));
    assert_eq!(copy.tensors[0].data_ptr(), memory);
    assert!(copy.tensors.iter().zip(&training.tensors).all(|(copy, tensor)| copy.equal(tensor)));
}

/// The gradient of the unified objective against finite differences, in float64 on one weight of every tensor.
#[test]
fn gradients_are_derivatives() {
    let root = tempfile::tempdir().unwrap();
    let loader =
        Loader::open(&[pack(&root.path().join("rows"), 4, "rows")], &LoaderSettings::of_context(CONTEXT as usize))
            .unwrap();
    let batch = load_batch(&loader, 0, 4, 2, CONTEXT, Device::Cpu).unwrap();
    assert_eq!(batch.n_targets, 3 * CONTEXT + 1);
    let (old, new) = (shape(2, 2, 64), shape(3, 3, 96));
    let mut tensors: Vec<Tensor> =
        initial_tensors(&new, &mup(), &Seed::root(1)).iter().map(|tensor| tensor.to_kind(Kind::Double)).collect();
    for masks in [None, Some(Masks { from: old, depth: Depth::Stack, value: 0.5 })] {
        let loss = |tensors: &[Tensor], with_gradients| {
            let model = (new, mup(), masks.as_ref());
            let mut workers = Workers::new(tensors, model, Precision::Float32, Recompute::None, 2);
            run_batch(&batch, &mut workers, with_gradients).unwrap()
        };
        let gradients = loss(&tensors, true).gradients;
        for (index, gradient) in gradients.iter().enumerate() {
            let (gradient, epsilon) = (gradient.view([-1]).double_value(&[1]), 1e-5);
            let moved = |tensors: &mut [Tensor], by: f64| {
                let mut weight = tensors[index].view([-1]).get(1);
                let _ = weight.g_add_scalar_(by);
            };
            moved(&mut tensors, epsilon);
            let above = loss(&tensors, false).loss;
            moved(&mut tensors, -2.0 * epsilon);
            let below = loss(&tensors, false).loss;
            moved(&mut tensors, epsilon);
            let expected = (above - below) / (2.0 * epsilon);
            assert!((gradient - expected).abs() < 1e-6 + 1e-4 * expected.abs(), "{index}: {gradient} {expected}");
        }
    }
}

#[test]
fn generation_is_a_function_of_its_seed_and_greedy_is_the_argmax() {
    let root = tempfile::tempdir().unwrap();
    data(root.path());
    run(root.path(), "out", 1, Some(4));
    let checkpoint = checkpoint::load(&checkpoint::checkpoint_folder(&root.path().join("out/checkpoints"), 4)).unwrap();
    let model = checkpoint.model();
    tch::set_num_threads(2);
    let draw = |temperature, seed| {
        let sampling = Sampling { temperature, top_k: 20, n_tokens: 24 };
        generate(&model, &[1, 2, 3], u32::MAX, &sampling, &Seed::root(seed))
    };
    assert_eq!(draw(1.0, 1), draw(1.0, 1));
    assert_ne!(draw(1.0, 1), draw(1.0, 2));
    assert_eq!(draw(0.0, 1), draw(0.0, 2));
    assert_eq!(most_likely(&model, &[1, 2, 3])[2], draw(0.0, 1)[0]);
    assert_eq!(tch::get_num_threads(), 1, "how many there are changes sums");
}

/// With keys and values kept, token by token, what is said is what whole forward passes say, growing or not; beyond the context too.
#[test]
fn generation_with_a_cache_is_that_of_whole_passes() {
    let (old, new) = (shape(2, 2, 64), shape(3, 4, 96));
    for masks in [None, Some(Masks { from: old, depth: Depth::Stack, value: 0.5 })] {
        let tensors = initial_tensors(&new, &mup(), &Seed::root(1));
        let model = Model::new(new, mup(), Precision::Float32, &tensors, masks.as_ref());
        let tokens: Vec<i64> = (0..CONTEXT as i64).map(|index| index * index % VOCABULARY as i64).collect();
        let row = Tensor::from_slice(&tokens).unsqueeze(0);
        let logits = |hidden: &Tensor| tch::no_grad(|| model.logits(hidden));
        let whole = tch::no_grad(|| logits(&model.hidden(&row, None).unwrap()));
        for n_first in [1, 5, CONTEXT as i64] {
            let mut cache = model.cache();
            let mut next = |first: i64, len: i64| {
                tch::no_grad(|| logits(&model.hidden_of_next(&row.narrow(1, first, len), &mut cache).unwrap()))
            };
            let mut parts = vec![next(0, n_first)];
            parts.extend((n_first..CONTEXT as i64).map(|position| next(position, 1)));
            let parts = Tensor::cat(&parts, 0);
            assert!((&parts - &whole).abs().max().double_value(&[]) < 1e-4);
            assert!(parts.argmax(-1, false).equal(&whole.argmax(-1, false)));
        }
    }
}

/// Rows as the mixer packs them for document masks: three documents side by side and padding behind them.
fn pack_documents(folder: &Path, changed: Option<usize>) -> PathBuf {
    let lens = [CONTEXT as usize / 2, CONTEXT as usize / 4, CONTEXT as usize / 8];
    let mut tokens: Vec<u32> = (0..=CONTEXT as u32).map(|position| (position * 37 + 11) % VOCABULARY as u32).collect();
    let (mut segments, mut start) = (Vec::new(), 0);
    for (number, len) in lens.into_iter().enumerate() {
        let first = start as u32 + 1;
        segments.push(Segment {
            doc: DocId::new("s", &number.to_string()),
            row_start: start as u32,
            len: len as u32,
            doc_offset: 0,
            loss: Some(vec![Span { start: first, end: (start + len) as u32 }]),
            source: "s".into(),
            lang: "en".into(),
            kind: DocumentKind::Plain,
        });
        start += len;
    }
    tokens[start..].fill(0);
    if let Some(position) = changed {
        tokens[position] = (tokens[position] + 1) % VOCABULARY as u32;
    }
    let mut writer = PackedWriter::new(CONTEXT as usize);
    writer.push(&tokens, segments);
    let file = writer.finish(folder, "part-00000.arrow").unwrap();
    let mut manifest = Manifest::new("mix", 1, &Settings::default()).with_files(vec![file]);
    manifest.details = serde_json::json!({ "context": CONTEXT, "packing": "best-fit-masked" });
    manifest.commit(folder).unwrap();
    folder.to_owned()
}

/// Logits `(t, v)` of the one row of a packed folder, with its document masks or without.
fn logits_of(folder: &Path, model: &Model, with_masks: bool) -> Tensor {
    let loader = Loader::open(&[folder.to_owned()], &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
    let Inputs { rows, documents, .. } =
        load_batch(&loader, 0, 1, 1, CONTEXT, Device::Cpu).unwrap().micro_batches[0].inputs();
    let documents = documents.filter(|_| with_masks);
    let tokens = rows.narrow(1, 0, CONTEXT as i64);
    tch::no_grad(|| model.logits(&model.hidden(&tokens, documents.as_ref()).unwrap()))
}

/// What stands in one document of a row changes not one bit of what the model says of another one; without masks it does.
#[test]
fn documents_of_a_row_do_not_leak_into_each_other() {
    let root = tempfile::tempdir().unwrap();
    let shape = shape(3, 3, 96);
    let model = Model::new(shape, mup(), Precision::Float32, &initial_tensors(&shape, &mup(), &Seed::root(5)), None);
    let before = pack_documents(&root.path().join("before"), None);
    let (masked, unmasked) = (logits_of(&before, &model, true), logits_of(&before, &model, false));
    let borders = [0, CONTEXT / 2, CONTEXT / 2 + CONTEXT / 4, CONTEXT / 2 + CONTEXT / 4 + CONTEXT / 8, CONTEXT];
    for changed in 0..CONTEXT as usize {
        let after = pack_documents(&root.path().join(format!("after-{changed}")), Some(changed));
        let (now_masked, now_unmasked) = (logits_of(&after, &model, true), logits_of(&after, &model, false));
        let is_inside = |span: &[u64]| span[0] <= changed as u64 && (changed as u64) < span[1];
        for span in borders.windows(2) {
            let of = |logits: &Tensor| logits.narrow(0, span[0] as i64, (span[1] - span[0]) as i64);
            assert_eq!(of(&masked).equal(&of(&now_masked)), !is_inside(span), "token {changed}, positions {span:?}");
        }
        let last = |logits: &Tensor| logits.narrow(0, CONTEXT as i64 - 1, 1);
        assert!(!last(&unmasked).equal(&last(&now_unmasked)), "without masks the last position sees token {changed}");
    }
}

/// The mean loss and all gradients of a batch, by the kernels of the CPU or by libtorch's operations.
fn loss_and_gradients(
    batch: &batch::Batch,
    shape: Shape,
    tensors: &[Tensor],
    (precision, recompute): (Precision, Recompute),
    is_fused: bool,
) -> (f64, Vec<Tensor>) {
    let model = Model::new(shape, mup(), precision, tensors, None);
    let model = if is_fused { model } else { model.plain() };
    let mut workers = Workers::of(model, tensors, None, (recompute, 2));
    let result = run_batch(batch, &mut workers, true).unwrap();
    (result.loss, result.gradients.iter().map(Tensor::copy).collect())
}

/// Largest difference of any gradient as a share of the largest value there; NaN where there is one. Zeros are no way from zeros.
fn furthest(found: &[Tensor], expected: &[Tensor]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
    let share = |(found, expected): (&Tensor, &Tensor)| match largest(&(found - expected)) {
        0.0 => 0.0,
        difference => difference / largest(expected),
    };
    // In the total order a NaN lies beyond every number, if its sign is gone.
    found.iter().zip(expected).map(share).map(f64::abs).max_by(f64::total_cmp).expect("there are tensors")
}

#[test]
fn what_is_no_number_is_far_from_everything() {
    let tensor = |values: [f64; 2]| [Tensor::from_slice(&values)];
    assert!(furthest(&tensor([f64::NAN, 1.0]), &tensor([1.0, 1.0])).is_nan());
    assert!(furthest(&tensor([1.0, 1.0]), &tensor([1.0, f64::NAN])).is_nan());
    assert_eq!(furthest(&tensor([1.0, 0.0]), &tensor([0.0, 0.0])), f64::INFINITY);
    assert_eq!(furthest(&tensor([0.0, 0.0]), &tensor([0.0, 0.0])), 0.0);
    assert_eq!(furthest(&tensor([1.0, 3.0]), &tensor([1.0, 4.0])), 0.25);
}

/// The kernels of the CPU against libtorch's operations: with documents apart and without, in all kinds.
#[test]
fn fused_blocks_are_plain_blocks() {
    let root = tempfile::tempdir().unwrap();
    let shape = shape(3, 3, 96);
    let folders = [pack(&root.path().join("plain"), 4, "rows"), pack_documents(&root.path().join("documents"), None)];
    for folder in folders {
        let loader = Loader::open(&[folder], &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
        let batch = load_batch(&loader, 0, loader.n_rows(), 2, CONTEXT, Device::Cpu).unwrap();
        let tensors = initial_tensors(&shape, &mup(), &Seed::root(1));
        tch::manual_seed(5);
        let tensors: Vec<Tensor> = tensors.iter().map(|tensor| tensor + Tensor::randn_like(tensor) * 0.1).collect();
        let exact: Vec<Tensor> = tensors.iter().map(|tensor| tensor.to_kind(Kind::Double)).collect();
        for (tensors, precision, tolerance) in [
            (&exact, Precision::Float32, 1e-12),
            (&tensors, Precision::Float32, 1e-5),
            (&tensors, Precision::Bfloat16, 0.1),
        ] {
            let run =
                |recompute, is_fused| loss_and_gradients(&batch, shape, tensors, (precision, recompute), is_fused);
            let (fused, plain) = (run(Recompute::None, true), run(Recompute::None, false));
            assert!((fused.0 - plain.0).abs() < tolerance * plain.0, "{} {}", fused.0, plain.0);
            let difference = furthest(&fused.1, &plain.1);
            assert!(difference < tolerance, "{precision:?}: {difference:e}");
            let again = run(Recompute::Blocks, true);
            assert_eq!(again.0, fused.0);
            assert!(
                again.1.iter().zip(&fused.1).all(|(again, fused)| again.equal(fused)),
                "recomputing changes no bit"
            );
        }
        let exact = loss_and_gradients(&batch, shape, &tensors, (Precision::Float32, Recompute::None), true);
        let rounded = loss_and_gradients(&batch, shape, &tensors, (Precision::Bfloat16, Recompute::None), true);
        assert!((exact.0 - rounded.0).abs() < 0.02 * exact.0 && exact.0 != rounded.0, "{} {}", exact.0, rounded.0);
    }
}

/// A document in the middle of a row is seen as if it stood alone: scores depend on distances, not on places.
#[test]
fn a_masked_document_is_as_if_it_were_alone() {
    let root = tempfile::tempdir().unwrap();
    let shape = shape(3, 3, 96);
    let model = Model::new(shape, mup(), Precision::Float32, &initial_tensors(&shape, &mup(), &Seed::root(5)), None);
    let folder = pack_documents(&root.path().join("rows"), None);
    let loader = Loader::open(std::slice::from_ref(&folder), &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
    let rows = load_batch(&loader, 0, 1, 1, CONTEXT, Device::Cpu).unwrap().micro_batches[0].inputs().rows;
    let (start, len) = (CONTEXT as i64 / 2, CONTEXT as i64 / 4);
    let alone = tch::no_grad(|| model.logits(&model.hidden(&rows.narrow(1, start, len), None).unwrap()));
    let packed = logits_of(&folder, &model, true).narrow(0, start, len);
    let difference = (alone - packed).abs().max().double_value(&[]);
    assert!(difference < 1e-4, "{difference}");
}
