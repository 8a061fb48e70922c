//! The model, its loss, its gradients and its optimizer beside an independent model in PyTorch (`trainer/parity/reference.py`).
//!
//! What PyTorch computed is recorded; `cargo xtask parity` computes it again and compares. Shapes, weights, rows and settings are
//! written on both sides, so that neither can lead the other astray.

use super::*;
use crate::optimizer::update;

const ROW: usize = 13;
const N_ROWS: u64 = 4;
const N_STEPS: u64 = 10;

const SHAPE: Shape =
    Shape { layers: 2, hidden: 16, heads: 4, head_size: 4, ffn: 24, vocabulary: 32, context: ROW as u64 - 1 };

const OPTIMIZER: OptimizerSettings =
    OptimizerSettings { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 0.5 };

/// Documents of a row by the row's place in its batch: start and length. What is behind the last one is padding.
const DOCUMENTS: [&[(u32, u32)]; N_ROWS as usize] =
    [&[(0, 13)], &[(0, 5), (5, 8)], &[(0, 6), (6, 4)], &[(0, 3), (3, 3), (6, 7)]];

#[derive(Clone, Copy)]
struct Case {
    has_mup: bool,
    has_masks: bool,
    has_teacher: bool,
}

impl Case {
    fn name(self) -> String {
        let digits = [self.has_mup, self.has_masks, self.has_teacher].map(u8::from);
        digits.map(|digit| digit.to_string()).concat()
    }

    fn mup(self) -> MuP {
        let (base_width, input_multiplier, output_multiplier) =
            if self.has_mup { (8, 1.5, 2.0) } else { (16, 1.0, 1.0) };
        MuP { base_width, input_multiplier, output_multiplier, init_std: 0.0 }
    }
}

/// In which precision, and by which of the two ways to compute a block.
#[derive(Clone, Copy, Debug)]
struct Way {
    kind: Kind,
    is_fused: bool,
    tolerance: f64,
}

const WAYS: [Way; 4] = [
    Way { kind: Kind::Double, is_fused: true, tolerance: 1e-12 },
    Way { kind: Kind::Double, is_fused: false, tolerance: 1e-12 },
    Way { kind: Kind::Float, is_fused: true, tolerance: 1e-5 },
    Way { kind: Kind::Float, is_fused: false, tolerance: 1e-5 },
];

/// A multiple of 2^-16 in [-1/2, 1/2): bits of a multiplicative hash.
fn number(stream: u64, index: u64) -> f64 {
    let hash = (stream * 1_000_003 + index + 1) * 2_654_435_761 % (1 << 32);
    (hash >> 16) as f64 / f64::from(1 << 16) - 0.5
}

fn weights(kind: Kind) -> Vec<Tensor> {
    let weight = |(stream, spec): (usize, ParameterSpec)| {
        let size = spec.size(&SHAPE);
        let values: Vec<f64> =
            (0..size.iter().product::<i64>()).map(|index| number(stream as u64, index as u64)).collect();
        let shift = if spec.name.ends_with("gain") { 1.0 } else { 0.0 };
        (Tensor::from_slice(&values).view(&size[..]) + shift).to_kind(kind)
    };
    parameter_specs(&SHAPE).into_iter().enumerate().map(weight).collect()
}

fn pack_rows(folder: &Path, case: Case) -> Loader {
    let mut writer = PackedWriter::new(SHAPE.context as usize);
    for row in 0..N_STEPS * N_ROWS {
        let token = |index| ((number(1000 + row, index) + 0.5) * SHAPE.vocabulary as f64) as u32;
        let tokens: Vec<u32> = (0..ROW as u64).map(token).collect();
        let segment = |&(start, len): &(u32, u32)| {
            let end = start + len;
            let first = if case.has_teacher && row % 2 == 1 { end - 1 } else { start + 1 };
            Segment {
                doc: DocId::new("s", &format!("{row} {start}")),
                row_start: start,
                len,
                doc_offset: 0,
                loss: Some(vec![Span { start: first, end }]),
                source: "s".into(),
                lang: "en".into(),
                kind: DocumentKind::Plain,
            }
        };
        writer.push(&tokens, DOCUMENTS[(row % N_ROWS) as usize].iter().map(segment).collect());
    }
    let file = writer.finish(folder, "part-00000.arrow").unwrap();
    let mut manifest = Manifest::new("mix", 1, &Settings::default()).with_files(vec![file]);
    if case.has_masks {
        manifest.details = serde_json::json!({ "context": SHAPE.context, "packing": "best-fit-masked" });
    }
    manifest.commit(folder).unwrap();
    Loader::open(&[folder.to_owned()], &LoaderSettings::of_context(SHAPE.context as usize)).unwrap()
}

/// Logits `(b, t, v)` of a batch.
fn logits(model: &Model, batch: &batch::Batch) -> Tensor {
    let of_micro_batch = |micro: &batch::MicroBatch| {
        let Inputs { rows, documents, .. } = micro.inputs();
        let tokens = rows.narrow(1, 0, SHAPE.context as i64);
        model.logits(&model.hidden(&tokens, documents.as_ref()).unwrap())
    };
    let parts: Vec<Tensor> = tch::no_grad(|| batch.micro_batches.iter().map(of_micro_batch).collect());
    Tensor::cat(&parts, 0).view([N_ROWS as i64, SHAPE.context as i64, SHAPE.vocabulary as i64])
}

/// What the reference records of a case, by the same names: two micro-batches a step, on two threads.
fn compute(loader: &Loader, case: Case, way: Way) -> Vec<(String, Tensor)> {
    let names: Vec<String> = parameter_specs(&SHAPE).into_iter().map(|spec| spec.name).collect();
    let named = |what: &str, tensors: &[Tensor]| {
        let pairs = names.iter().zip(tensors);
        pairs.map(|(name, tensor)| (format!("{what}/{name}"), tensor.copy())).collect::<Vec<_>>()
    };
    let schedule = LearningRate::Cosine { peak: 4e-4, end: 6e-6, warmup_tokens: 4 };
    let (tensors, mup) = (weights(way.kind), case.mup());
    let mut state = OptimizerState::new(&tensors);
    let model = Model::new(SHAPE, mup, Precision::Float32, &tensors, None);
    let model = if way.is_fused { model } else { model.plain() };
    let mut workers = Workers::of(model, &tensors, None, (Recompute::None, 2));
    let mut found = Vec::new();
    for step in 0..N_STEPS {
        let batch = load_batch(loader, step * N_ROWS, N_ROWS, 2, SHAPE.context, Device::Cpu).unwrap();
        let result = run_batch(&batch, &mut workers, true).unwrap();
        if step == 0 {
            found.push(("logits".to_owned(), logits(workers.model(), &batch)));
            found.push(("loss".to_owned(), Tensor::from_slice(&[result.loss])));
            found.extend(named("gradient", &result.gradients));
        }
        let norm = workers.gradient_norm(&result.gradients).unwrap();
        let scales = (&SHAPE, &mup, schedule.at(step + 1, N_STEPS));
        update(&tensors, &result.gradients, norm, &mut state, &OPTIMIZER, scales).unwrap();
        workers.refresh(&tensors, None);
    }
    found.extend(named("after", &tensors));
    found
}

/// Logits, loss, every gradient, and every tensor after ten optimizer steps: the largest difference in a tensor is less than the
/// tolerance times the largest value there.
#[test]
fn model_and_optimizer_are_those_of_the_reference() {
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/record.safetensors");
    let record: BTreeMap<String, Tensor> = Tensor::read_safetensors(record).unwrap().into_iter().collect();
    let root = tempfile::tempdir().unwrap();
    let bits = |index: u32| [4, 2, 1].map(|bit| index & bit != 0);
    let (mut compared, mut far) = (0, Vec::new());
    for [has_mup, has_masks, has_teacher] in (0..8).map(bits) {
        let case = Case { has_mup, has_masks, has_teacher };
        let loader = pack_rows(&root.path().join(case.name()), case);
        for way in WAYS {
            for (name, found) in compute(&loader, case, way) {
                let name = format!("{}/{name}", case.name());
                let difference = furthest(&[found.to_kind(Kind::Double)], std::slice::from_ref(&record[&name]));
                compared += 1;
                if difference.is_nan() || difference >= way.tolerance {
                    far.push(format!("{way:?} {name}: {difference:e}"));
                }
            }
        }
    }
    assert_eq!(compared, WAYS.len() * record.len());
    assert!(far.is_empty(), "{} of {compared} tensors differ:\n{}", far.len(), far.join("\n"));
}
