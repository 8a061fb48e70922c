//! Twenty steps of a small run on the CPU and their recorded losses: what a change of the code does to training is seen at once.

use super::*;
use crate::optimizer::update;

const N_STEPS: u64 = 20;

/// Losses of the steps, in order.
fn losses(loader: &Loader, n_threads: usize, recompute: Recompute, is_fused: bool) -> Vec<f64> {
    let shape = shape(3, 4, 128);
    let settings = OptimizerSettings { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 1.0 };
    let schedule = LearningRate::Cosine { peak: 1e-2, end: 1e-3, warmup_tokens: 4 };
    let tensors = initial_tensors(&shape, &mup(), &Seed::root(1));
    let mut state = OptimizerState::new(&tensors);
    let model = Model::new(shape, mup(), Precision::Float32, &tensors, None);
    let model = if is_fused { model } else { model.plain() };
    let mut workers = Workers::of(model, &tensors, None, (recompute, n_threads));
    let step = |step: u64| {
        let batch = load_batch(loader, 8 * step, 8, 2, CONTEXT, Device::Cpu).unwrap();
        let result = run_batch(&batch, &mut workers, true).unwrap();
        let norm = workers.gradient_norm(&result.gradients).unwrap();
        let scales = (&shape, &mup(), schedule.at(step + 1, N_STEPS));
        update(&tensors, &result.gradients, norm, &mut state, &settings, scales).unwrap();
        workers.refresh(&tensors, None);
        result.loss
    };
    (0..N_STEPS).map(step).collect()
}

/// Two runs, runs on one, two and three threads, and runs that compute blocks twice, are equal to the bit. They are near the record, as
/// are libtorch's own operations: other processors round differently. Where training is changed on purpose, what the failure says becomes the record.
#[test]
fn losses_of_twenty_steps_are_the_recorded_ones() {
    let root = tempfile::tempdir().unwrap();
    let folder = pack(&root.path().join("rows"), 8 * N_STEPS, "golden");
    let loader = Loader::open(&[folder], &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
    let found = losses(&loader, 1, Recompute::None, true);
    for n_threads in [1, 2, 3] {
        assert_eq!(losses(&loader, n_threads, Recompute::None, true), found, "{n_threads} threads");
    }
    assert_eq!(losses(&loader, 2, Recompute::Blocks, true), found, "with blocks computed twice");
    let plain = losses(&loader, 1, Recompute::None, false);
    assert_eq!(
        losses(&loader, 2, Recompute::Blocks, false),
        plain,
        "libtorch's operations, with blocks computed twice"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/golden-losses.json");
    let recorded: Vec<f64> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for found in [&found, &plain] {
        assert_eq!(found.len(), recorded.len());
        let is_near = |(found, recorded): (&f64, &f64)| (found - recorded).abs() < 1e-5;
        assert!(found.iter().zip(&recorded).all(is_near), "not the record: {found:?}");
    }
    assert!(found[N_STEPS as usize - 1] < 0.8 * found[0], "nothing was learnt: {found:?}");
}
