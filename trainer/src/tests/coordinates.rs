//! muP's coordinate check (Yang et al., arXiv 2203.03466, appendix D.1): whatever the width, a few steps change hidden states and logits by as
//! much. Without muP they change by more, the wider the model.

use super::*;
use crate::optimizer::{gradient_norm, update};

const WIDTHS: [u64; 4] = [32, 64, 128, 256];
const N_STEPS: u64 = 4;
const N_SEEDS: u64 = 3;

/// Hidden states behind the last norm and logits of the first batch, with muP's factor on the former taken out.
fn coordinates(workers: &Workers, batch: &batch::Batch, factor: f64) -> [Tensor; 2] {
    let model = workers.model();
    let tokens = batch.micro_batches[0].inputs().rows.narrow(1, 0, CONTEXT as i64);
    let hidden = tch::no_grad(|| model.hidden(&tokens, None, None).unwrap());
    [&hidden / factor, tch::no_grad(|| model.logits(&hidden))]
}

/// Root mean square change of both in a few steps.
fn changes(loader: &Loader, width: u64, base_width: u64, seed: u64) -> [f64; 2] {
    let shape =
        Shape { layers: 3, hidden: width, heads: width / 16, ffn: 4 * width, vocabulary: VOCABULARY, context: CONTEXT };
    let mup = MuP { base_width, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.18 };
    let settings = OptimizerSettings { beta1: 0.9, beta2: 0.95, epsilon: 1e-12, weight_decay: 0.1, clip: 1.0 };
    let tensors = initial_tensors(&shape, &mup, &Seed::root(seed));
    let mut state = OptimizerState::new(&tensors);
    let mut workers = Workers::new(&tensors, (shape, mup), Precision::Float32, Recompute::None, 1);
    let batch = load_batch(loader, 0, 16, 16, CONTEXT, Device::Cpu).unwrap();
    let factor = mup.output_multiplier / mup.width_ratio(&shape);
    let before = coordinates(&workers, &batch, factor);
    for _ in 0..N_STEPS {
        let result = run_batch(&batch, &mut workers, None, true).unwrap();
        let norm = gradient_norm(&result.gradients).unwrap();
        update(&tensors, &result.gradients, norm, &mut state, &settings, (&shape, &mup, 2e-3)).unwrap();
        workers.refresh(&tensors);
    }
    let after = coordinates(&workers, &batch, factor);
    let size = |index: usize| (&after[index] - &before[index]).square().mean(Kind::Double).double_value(&[]).sqrt();
    [size(0), size(1)]
}

/// Slopes of the logarithms of both changes over the logarithm of the width, by least squares.
fn slopes(loader: &Loader, base_width_of: fn(u64) -> u64) -> [f64; 2] {
    let mut points = [Vec::new(), Vec::new()];
    for width in WIDTHS {
        for seed in 0..N_SEEDS {
            for (points, change) in points.iter_mut().zip(changes(loader, width, base_width_of(width), seed)) {
                points.push(((width as f64).ln(), change.ln()));
            }
        }
    }
    points.map(|points| {
        let n = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        covariance / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
    })
}

#[test]
fn a_step_changes_as_much_at_every_width() {
    let root = tempfile::tempdir().unwrap();
    let folder = pack(&root.path().join("rows"), 16, "coordinates");
    let loader = Loader::open(&[folder], &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
    let with = slopes(&loader, |_| WIDTHS[0]);
    let without = slopes(&loader, |width| width);
    assert!(with.iter().all(|slope| slope.abs() < 0.15), "with muP {with:?}, without {without:?}");
    assert!(without.iter().all(|slope| *slope > 0.4), "with muP {with:?}, without {without:?}");
}
