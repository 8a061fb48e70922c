//! Growth keeps the function where it says so, in every combination; moments follow the weights.

use std::path::Path;

use super::*;
use crate::growth::{GrowthStep, Head, Part, max_logit_difference};
use crate::parameters::Role;

/// muP as a run has it, and without multipliers at the base width: what a model without muP is.
fn parametrisations() -> [MuP; 2] {
    [mup(), MuP { base_width: 16, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.3 }]
}

fn old_shape() -> Shape {
    shape(2, 2, 64)
}

/// Every axis alone, and all at once: width, heads, units, depth.
fn grown_shapes() -> Vec<Shape> {
    let old = old_shape();
    vec![
        Shape { hidden: 32, ..old },
        Shape { heads: 3, ..old },
        Shape { ffn: 96, ..old },
        Shape { layers: 5, ..old },
        shape(3, 4, 160),
        shape(3, 5, 160),
    ]
}

fn ways() -> Vec<Growth> {
    let mut ways = Vec::new();
    for depth in [Depth::Stack, Depth::Interpose, Depth::Zero, Depth::Random] {
        for width in [Width::Random, Width::Zero, Width::Split] {
            for ramp_tokens in [0, 1] {
                ways.push(Growth { depth, width, ramp_tokens, moments: Moments::Grown });
            }
        }
    }
    ways
}

/// Weights far from their initial values, so that nothing is small by accident.
fn weights(shape: &Shape, mup: &MuP, kind: Kind) -> Vec<Tensor> {
    tch::manual_seed(5);
    let noisy = |tensor: &Tensor| (tensor + Tensor::randn_like(tensor) * 0.2).to_kind(kind);
    initial_tensors(shape, mup, &Seed::root(1)).iter().map(noisy).collect()
}

fn step_to(new: Shape, growth: Growth, mup: MuP) -> GrowthStep {
    GrowthStep { old: old_shape(), new, growth, mup, seed: Seed::root(2) }
}

/// Logits of every row and the loss of a batch that has documents apart, or propositions.
fn computed(shape: Shape, mup: MuP, tensors: &[Tensor], masks: Option<Masks>, folder: &Path) -> (Tensor, f64) {
    let loader = Loader::open(&[folder.to_owned()], &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
    let batch = load_batch(&loader, 0, loader.n_rows(), 2, CONTEXT, Device::Cpu).unwrap();
    let mut workers = Workers::new(tensors, (shape, mup, masks.as_ref()), Precision::Float32, Recompute::None, 1);
    let loss = run_batch(&batch, &mut workers, false).unwrap().loss;
    let logits_of = |micro: &batch::MicroBatch| {
        let Inputs { rows, documents, .. } = micro.inputs();
        let model = workers.model();
        let tokens = rows.narrow(1, 0, CONTEXT as i64);
        tch::no_grad(|| model.logits(&model.hidden(&tokens, documents.as_ref()).unwrap()))
    };
    (Tensor::cat(&batch.micro_batches.iter().map(logits_of).collect::<Vec<_>>(), 0), loss)
}

/// Growth in all its ways, along every axis alone and along all at once, with muP and without, with document masks and with propositions:
/// what is promised holds in float64 to 1e-12 and in float32 to 1e-4, and where nothing is promised, the function changes.
#[test]
fn growth_keeps_what_it_promises() {
    let root = tempfile::tempdir().unwrap();
    let folders = [pack(&root.path().join("plain"), 4, "rows"), pack_documents(&root.path().join("documents"), None)];
    let (mut n_kept, mut n_changed, mut n_refused) = (0, 0, 0);
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-4)] {
        let cases = parametrisations().into_iter().flat_map(|mup| folders.iter().map(move |folder| (mup, folder)));
        for (mup, folder) in cases {
            let old = old_shape();
            let tensors = weights(&old, &mup, kind);
            let (before, loss_before) = computed(old, mup, &tensors, None, folder);
            for (new, growth) in
                grown_shapes().into_iter().flat_map(|new| ways().into_iter().map(move |way| (new, way)))
            {
                if planner::check_growth_step(&growth, &old, &new).is_err() {
                    n_refused += 1;
                    continue;
                }
                let (grown, _) = grow(&tensors, &OptimizerState::new(&tensors), &step_to(new, growth, mup));
                let masked = |value| Masks { from: old, depth: growth.depth, value };
                let (after, loss) = computed(new, mup, &grown, (growth.ramp_tokens > 0).then(|| masked(0.0)), folder);
                let difference = (after - &before).abs().max().double_value(&[]);
                if growth.broken_promise(&old, &new).is_none() {
                    assert!(difference < tolerance, "{growth:?} to {new:?}: {difference:e}");
                    assert!((loss - loss_before).abs() < tolerance, "{growth:?} to {new:?}: {loss} {loss_before}");
                    n_kept += 1;
                } else {
                    assert!(difference > 1e-3, "{growth:?} to {new:?} keeps more than it promises: {difference:e}");
                    n_changed += 1;
                }
                if growth.ramp_tokens > 0 {
                    let half = computed(new, mup, &grown, Some(masked(0.5)), folder).0;
                    let difference = (half - &before).abs().max().double_value(&[]);
                    // Zeros that write nothing stay unseen behind any mask.
                    let is_wider = new != Shape { layers: new.layers, ..old };
                    let is_silent = (new.layers == old.layers || growth.depth == Depth::Zero)
                        && (!is_wider || growth.width == Width::Zero);
                    assert!(difference > 1e-3 || is_silent, "{growth:?} to {new:?}: the mask must matter");
                }
            }
        }
    }
    assert!(n_kept > 300 && n_changed > 100, "{n_kept} {n_changed} {n_refused}");
}

/// At mask 1 the masked model is the plain one of the new shape, to the bit: its logits, its loss and its gradients.
#[test]
fn masks_at_one_are_no_masks() {
    let root = tempfile::tempdir().unwrap();
    let folder = pack(&root.path().join("rows"), 4, "rows");
    let loader = Loader::open(&[folder], &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
    let batch = load_batch(&loader, 0, 4, 2, CONTEXT, Device::Cpu).unwrap();
    let new = shape(5, 5, 100);
    let tensors = weights(&new, &mup(), Kind::Float);
    for precision in [Precision::Float32, Precision::Bfloat16] {
        let run = |masks: Option<Masks>| {
            let model = (new, mup(), masks.as_ref());
            let mut workers = Workers::new(&tensors, model, precision, Recompute::None, 2);
            let result = run_batch(&batch, &mut workers, true).unwrap();
            (result.loss, result.gradients.iter().map(Tensor::copy).collect::<Vec<_>>())
        };
        let (loss, gradients) = run(None);
        for depth in [Depth::Stack, Depth::Interpose] {
            let masked = |value| run(Some(Masks { from: old_shape(), depth, value }));
            let (at_one, below) = (masked(1.0), masked(0.99));
            assert_eq!(at_one.0, loss);
            assert!(at_one.1.iter().zip(&gradients).all(|(masked, plain)| masked.equal(plain)));
            assert_ne!(below.0, loss);
        }
    }
}

/// Moments of masked growth: the top-left corner is kept, zeros stand elsewhere, copies of blocks start from nothing or from their
/// originals', or everything starts anew.
#[test]
fn moments_grow_with_the_weights() {
    let (old, new) = (old_shape(), shape(3, 4, 96));
    let tensors = initial_tensors(&old, &mup(), &Seed::root(1));
    let ones: Vec<Tensor> = tensors.iter().map(Tensor::ones_like).collect();
    let state = OptimizerState { step: 7, first: ones.iter().map(Tensor::copy).collect(), second: ones };
    for moments in [Moments::Old, Moments::Grown, Moments::Reset] {
        let growth = Growth { moments, ..masked(1) };
        let (_, grown) = grow(&tensors, &state, &step_to(new, growth, mup()));
        assert_eq!(grown.step, if moments == Moments::Reset { 0 } else { 7 });
        for (spec, (first, second)) in parameter_specs(&new).iter().zip(grown.first.iter().zip(&grown.second)) {
            let is_empty = match moments {
                Moments::Old => spec.name.starts_with("blocks.2."),
                Moments::Grown => false,
                Moments::Reset => true,
            };
            let n_old: i64 = if is_empty { 0 } else { spec.size(&old).iter().product() };
            let ratio = if spec.name.starts_with("final_norm") { 0.5 } else { 1.0 };
            assert_eq!(first.sum(Kind::Double).double_value(&[]), n_old as f64 * ratio, "{}", spec.name);
            assert_eq!(second.sum(Kind::Double).double_value(&[]), n_old as f64 * ratio * ratio, "{}", spec.name);
        }
    }
}

/// First moments are means of gradients. Growing a gradient must give about the gradient of the grown model: exactly for masked
/// growth at mask 0, where new places have none, and for copies when those of one unit are added up.
#[test]
fn moments_grow_as_gradients_do() {
    let root = tempfile::tempdir().unwrap();
    let folder = pack(&root.path().join("rows"), 4, "rows");
    let loader = Loader::open(&[folder], &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
    let batch = load_batch(&loader, 0, 4, 2, CONTEXT, Device::Cpu).unwrap();
    let (old, new) = (old_shape(), shape(2, 4, 160));
    let tensors = weights(&old, &mup(), Kind::Double);
    let gradients = |shape: Shape, tensors: &[Tensor], masks: Option<Masks>| {
        let mut workers = Workers::new(tensors, (shape, mup(), masks.as_ref()), Precision::Float32, Recompute::None, 1);
        let result = run_batch(&batch, &mut workers, true).unwrap();
        result.gradients.iter().map(Tensor::copy).collect::<Vec<_>>()
    };
    let small = gradients(old, &tensors, None);
    for (width, ramp_tokens) in [(Width::Random, 1), (Width::Split, 0)] {
        let growth = Growth { depth: Depth::Zero, width, ramp_tokens, moments: Moments::Grown };
        let step = step_to(new, growth, mup());
        let (grown, _) = grow(&tensors, &OptimizerState::new(&tensors), &step);
        let masks = (ramp_tokens > 0).then_some(Masks { from: old, depth: Depth::Zero, value: 0.0 });
        let found = gradients(new, &grown, masks);
        for (index, spec) in parameter_specs(&new).iter().enumerate() {
            let expected = step.grown(Part::FirstMoment, index, spec, &small[index]);
            let axis = i64::from(spec.role == Role::Embedding);
            let in_old_places = |tensor: &Tensor| {
                if width == Width::Random {
                    let corner = spec.size(&old).into_iter().enumerate();
                    return corner
                        .fold(tensor.shallow_clone(), |corner, (axis, len)| corner.narrow(axis as i64, 0, len));
                }
                // Copies added up, along the axis that is written.
                let (n_old, n_new) = (spec.size(&old)[axis as usize], spec.size(&new)[axis as usize]);
                let sources = Tensor::arange(n_new, (Kind::Int64, Device::Cpu)).remainder(n_old);
                let mut size = tensor.size();
                size[axis as usize] = n_old;
                Tensor::zeros(size, (Kind::Double, Device::Cpu)).index_add(axis, &sources, tensor)
            };
            let difference = furthest(&[in_old_places(&found[index])], &[in_old_places(&expected)]);
            assert!(difference < 1e-9, "{width:?} {}: {difference:e}", spec.name);
        }
    }
}

/// Copies of a unit must not stay equal: after a few updates they have parted.
#[test]
fn copies_part_ways() {
    let root = tempfile::tempdir().unwrap();
    let folder = pack(&root.path().join("rows"), 4, "rows");
    let loader = Loader::open(&[folder], &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
    let batch = load_batch(&loader, 0, 4, 2, CONTEXT, Device::Cpu).unwrap();
    let new = shape(2, 4, 128);
    let growth = Growth { depth: Depth::Zero, width: Width::Split, ramp_tokens: 0, moments: Moments::Grown };
    let tensors = weights(&old_shape(), &mup(), Kind::Float);
    let (grown, mut state) = grow(&tensors, &OptimizerState::new(&tensors), &step_to(new, growth, mup()));
    let mut workers = Workers::new(&grown, (new, mup(), None), Precision::Float32, Recompute::None, 1);
    let settings = OptimizerSettings { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.0, clip: 1.0 };
    for _ in 0..3 {
        let result = run_batch(&batch, &mut workers, true).unwrap();
        optimizer::update(&grown, &result.gradients, 1.0, &mut state, &settings, (&new, &mup(), 1e-3)).unwrap();
        workers.refresh(&grown, None);
    }
    for (spec, tensor) in parameter_specs(&new).iter().zip(&grown) {
        let axis = i64::from(spec.role == Role::Embedding);
        let half = spec.size(&new)[axis as usize] / 2;
        let apart =
            (tensor.narrow(axis, 0, half) - tensor.narrow(axis, half, half)).abs().mean(Kind::Double).double_value(&[]);
        // Where copies only differ by what their neighbours became, they part more slowly.
        let least = if spec.axes.len() == 2 { 1e-4 } else { 1e-8 };
        assert!(apart > least, "{}: {apart:e}", spec.name);
    }
}

/// In whatever piece of the rows the change lies, it is found; and a NaN is never taken for none.
#[test]
fn logits_are_compared_piece_by_piece() {
    tch::manual_seed(1);
    let random = |size: [i64; 2]| Tensor::randn(size, (Kind::Float, Device::Cpu));
    let (hidden, embedding) = (random([600, 8]), random([32, 8]));
    let before = Head { hidden: hidden.shallow_clone(), embedding: embedding.shallow_clone() };
    for row in [0, 255, 256, 511, 599] {
        for value in [0.5, f64::NAN] {
            let (changed, wider) = (hidden.copy(), Tensor::cat(&[&embedding, &random([32, 4])], 1));
            let _ = changed.get(row).get(3).fill_(value);
            // Another width, as after growth: the new coordinates add nothing.
            let changed = Tensor::cat(&[&changed, &Tensor::zeros([600, 4], (Kind::Float, Device::Cpu))], 1);
            let logits = hidden.matmul(&embedding.tr());
            let expected = (changed.matmul(&wider.tr()) - &logits).abs().max().double_value(&[]);
            let (found, largest) = max_logit_difference(&before, &Head { hidden: changed, embedding: wider });
            assert!((largest - logits.abs().max().double_value(&[])).abs() < 1e-5);
            assert!((found - expected).abs() < 1e-5 || (found.is_nan() && value.is_nan()), "{row}: {found} {expected}");
        }
    }
}
