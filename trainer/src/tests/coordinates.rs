//! muP's coordinate check (Yang et al., arXiv 2203.03466, appendix D.1): whatever the width, a few steps change hidden states by as much,
//! and bring the loss down by as much. Without muP they change by more, the wider the model.

use super::*;
use crate::optimizer::update;

const WIDTHS: [u64; 4] = [32, 64, 128, 256];
const N_STEPS: u64 = 4;
const N_SEEDS: u64 = 3;

/// As small as FLM-101B's, so that the hidden states stay far from where norms and softmax flatten everything.
const INIT_STD: f64 = 0.02;
const LEARNING_RATE: f64 = 2e-4;

/// What a few steps change: hidden states behind the last norm and logits, root mean square, and the loss, as a decrease.
struct Changes {
    hidden: f64,
    logits: f64,
    loss: f64,
}

/// Hidden states of the batch, with muP's factor taken out, and logits.
fn coordinates(workers: &Workers, batch: &batch::Batch, factor: f64) -> (Tensor, Tensor) {
    let model = workers.model();
    let tokens = batch.micro_batches[0].inputs().rows.narrow(1, 0, CONTEXT as i64);
    let hidden = tch::no_grad(|| model.hidden(&tokens, None).unwrap());
    (&hidden / factor, tch::no_grad(|| model.logits(&hidden)))
}

fn changes(loader: &Loader, width: u64, base_width: u64, seed: u64) -> Changes {
    let shape = Shape {
        layers: 3,
        hidden: width,
        heads: width / 16,
        head_size: 16,
        ffn: 4 * width,
        vocabulary: VOCABULARY,
        context: CONTEXT,
    };
    let mup = MuP { base_width, input_multiplier: 1.0, output_multiplier: 1.0, init_std: INIT_STD };
    let settings = OptimizerSettings { beta1: 0.9, beta2: 0.95, epsilon: 1e-12, weight_decay: 0.1, clip: 1.0 };
    let tensors = initial_tensors(&shape, &mup, &Seed::root(seed));
    let mut state = OptimizerState::new(&tensors);
    let mut workers = Workers::new(&tensors, (shape, mup, None), Precision::Float32, Recompute::None, 1);
    let batch = load_batch(loader, 0, 16, 16, CONTEXT, Device::Cpu).unwrap();
    let factor = mup.output_multiplier / mup.width_ratio(&shape);
    let before = coordinates(&workers, &batch, factor);
    let loss_before = run_batch(&batch, &mut workers, false).unwrap().loss;
    for _ in 0..N_STEPS {
        let result = run_batch(&batch, &mut workers, true).unwrap();
        let norm = workers.gradient_norm(&result.gradients).unwrap();
        update(&tensors, &result.gradients, norm, &mut state, &settings, (&shape, &mup, LEARNING_RATE)).unwrap();
        workers.refresh(&tensors, None);
    }
    let after = coordinates(&workers, &batch, factor);
    let size = |before: &Tensor, after: &Tensor| (after - before).square().mean(Kind::Double).double_value(&[]).sqrt();
    Changes {
        hidden: size(&before.0, &after.0),
        logits: size(&before.1, &after.1),
        loss: loss_before - run_batch(&batch, &mut workers, false).unwrap().loss,
    }
}

/// By how much the logarithms of the changes grow with that of the width, by least squares over widths and seeds.
fn slopes(loader: &Loader, base_width_of: fn(u64) -> u64) -> Changes {
    let runs = WIDTHS.into_iter().flat_map(|width| (0..N_SEEDS).map(move |seed| (width, seed)));
    let points: Vec<(f64, Changes)> =
        runs.map(|(width, seed)| ((width as f64).ln(), changes(loader, width, base_width_of(width), seed))).collect();
    let n = points.len() as f64;
    let centre = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let spread: f64 = points.iter().map(|(x, _)| (x - centre).powi(2)).sum();
    let slope = |of: fn(&Changes) -> f64| {
        points.iter().map(|(x, changes)| (x - centre) * of(changes).ln()).sum::<f64>() / spread
    };
    Changes { hidden: slope(|c| c.hidden), logits: slope(|c| c.logits), loss: slope(|c| c.loss) }
}

#[test]
fn a_step_changes_as_much_at_every_width() {
    let root = tempfile::tempdir().unwrap();
    let folder = pack(&root.path().join("rows"), 16, "coordinates");
    let loader = Loader::open(&[folder], &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
    let Changes { hidden, logits, loss } = slopes(&loader, |_| WIDTHS[0]);
    assert!(hidden.abs() < 0.15 && loss.abs() < 0.15, "with muP: {hidden} {loss}");
    // What training moves at random among many logits averages out as the width grows.
    assert!(-0.4 < logits && logits < 0.1, "with muP: {logits}");
    let Changes { hidden, logits, loss } = slopes(&loader, |width| width);
    assert!(hidden > 0.3 && logits > 0.8 && loss > 0.8, "without muP: {hidden} {logits} {loss}");
}
