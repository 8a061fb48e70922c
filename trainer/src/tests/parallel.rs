//! A model that threads share is the model of one: the groups of several processes, with threads in their place.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use planner::{Depth, Precision, Recompute, Shape};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};
use torch_ext::TorchError;

use super::*;
use crate::batch::load_part;
use crate::optimizer::update;
use crate::parallel::{Group, Members, Parallel};

/// Who waits longer was left alone: another thread failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the members of one group meet.
#[derive(Default)]
struct Room {
    size: usize,
    /// Of every call, by its number: what members brought.
    brought: Mutex<HashMap<usize, Vec<Option<Tensor>>>>,
    /// On the way, by sender and receiver.
    mail: Mutex<HashMap<(usize, usize), Vec<Tensor>>>,
    something_came: Condvar,
}

struct Member {
    room: Arc<Room>,
    rank: usize,
    n_calls: Mutex<usize>,
}

impl Member {
    /// What all brought to this call, in the order of their ranks.
    fn meet(&self, x: &Tensor) -> Result<Vec<Tensor>, TorchError> {
        let mut n_calls = self.n_calls.lock().unwrap();
        let call = *n_calls;
        *n_calls += 1;
        let mut brought = self.room.brought.lock().unwrap();
        let places = brought.entry(call).or_insert_with(|| (0..self.room.size).map(|_| None).collect());
        places[self.rank] = Some(x.copy());
        self.room.something_came.notify_all();
        let is_missing = |brought: &mut HashMap<usize, Vec<Option<Tensor>>>| brought[&call].iter().any(Option::is_none);
        let (brought, late) = self.room.something_came.wait_timeout_while(brought, PATIENCE, is_missing).unwrap();
        if late.timed_out() {
            return Err(TorchError::new(format!("member {} waited in vain", self.rank)));
        }
        Ok(brought[&call].iter().flatten().map(Tensor::copy).collect())
    }
}

impl Members for Member {
    fn sum(&self, x: &mut Tensor) -> Result<(), TorchError> {
        let all = self.meet(x)?;
        x.copy_(&all[1..].iter().fold(all[0].shallow_clone(), |sum, next| sum + next));
        Ok(())
    }

    fn max(&self, x: &mut Tensor) -> Result<(), TorchError> {
        let all = self.meet(x)?;
        x.copy_(&all[1..].iter().fold(all[0].shallow_clone(), |largest, next| largest.maximum(next)));
        Ok(())
    }

    fn send(&self, to: usize, x: &Tensor) -> Result<(), TorchError> {
        self.room.mail.lock().unwrap().entry((self.rank, to)).or_default().push(x.copy());
        self.room.something_came.notify_all();
        Ok(())
    }

    fn receive(&self, from: usize, x: &mut Tensor) -> Result<(), TorchError> {
        let mail = self.room.mail.lock().unwrap();
        let way = (from, self.rank);
        let is_empty = |mail: &mut HashMap<_, Vec<Tensor>>| mail.get(&way).is_none_or(Vec::is_empty);
        let (mut mail, late) = self.room.something_came.wait_timeout_while(mail, PATIENCE, is_empty).unwrap();
        if late.timed_out() {
            return Err(TorchError::new(format!("nothing came from member {from}")));
        }
        x.copy_(&mail.get_mut(&way).expect("something came").remove(0));
        Ok(())
    }
}

/// How many share blocks, the order of blocks, and rows.
type Layout = (usize, usize, usize);

/// The groups of all processes of a layout.
fn processes((n_tensor, n_pipeline, n_data): Layout) -> Vec<Parallel> {
    let mut rooms: HashMap<(&str, usize, usize), Arc<Room>> = HashMap::new();
    let mut group = |name, of: (usize, usize), rank: usize, size: usize| {
        let room = rooms.entry((name, of.0, of.1)).or_insert_with(|| Arc::new(Room { size, ..Room::default() }));
        Group::new(rank, size, Arc::new(Member { room: Arc::clone(room), rank, n_calls: Mutex::new(0) }))
    };
    let mut all = Vec::new();
    for data in 0..n_data {
        for pipeline in 0..n_pipeline {
            for tensor in 0..n_tensor {
                all.push(Parallel {
                    tensor: group("tensor", (pipeline, data), tensor, n_tensor),
                    pipeline: group("pipeline", (tensor, data), pipeline, n_pipeline),
                    data: group("data", (tensor, pipeline), data, n_data),
                });
            }
        }
    }
    all
}

/// What is trained, and how.
#[derive(Clone, Copy, Debug)]
struct Case {
    layout: Layout,
    kind: Kind,
    is_fused: bool,
    recompute: Recompute,
    masks: Option<Masks>,
}

const SHAPE: Shape =
    Shape { layers: 5, hidden: 32, heads: 4, head_size: 8, ffn: 64, vocabulary: VOCABULARY, context: CONTEXT };

/// What a process found.
struct Found {
    loss: f64,
    loss_by: batch::LossBy,
    norm: f64,
    /// Gradients, then the tensors after an update, both in the order of the process's tensors.
    tensors: Vec<Tensor>,
}

/// One step of a process that has these groups.
fn step(parallel: &Parallel, case: Case, whole: &[Tensor], loader: &Loader) -> Found {
    tch::set_num_threads(1);
    let tensors: Vec<Tensor> = parallel.parts(&SHAPE, whole).iter().map(Tensor::copy).collect();
    let masks = case.masks.as_ref();
    let model = Model::part(parallel.clone(), (SHAPE, mup()), Precision::Float32, &tensors, masks);
    let model = if case.is_fused { model } else { model.plain() };
    let mut workers = Workers::of(model, &tensors, masks, (case.recompute, 1));
    let batch = load_part(loader, (0, 7), 2, CONTEXT, Device::Cpu, &parallel.data).unwrap();
    let validation = run_batch(&batch, &mut workers, false).unwrap();
    let result = run_batch(&batch, &mut workers, true).unwrap();
    assert!((validation.loss - result.loss).abs() < 1e-6, "{} and {}", validation.loss, result.loss);
    let norm = workers.gradient_norm(&result.gradients).unwrap();
    let gradients: Vec<Tensor> = result.gradients.iter().map(Tensor::copy).collect();
    let mut state = OptimizerState::new(&tensors);
    let settings = OptimizerSettings { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 0.5 };
    update(&tensors, &result.gradients, norm, &mut state, &settings, (&SHAPE, &mup(), 1e-3)).unwrap();
    let tensors = gradients.into_iter().chain(tensors).collect();
    Found { loss: result.loss, loss_by: result.loss_by, norm, tensors }
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    if a.numel() == 0 {
        return 0.0;
    }
    let scale = b.abs().max().double_value(&[]).max(1e-3);
    (a - b).abs().max().double_value(&[]) / scale
}

fn check(case: Case, loader: &Loader) {
    let limit = if case.kind == Kind::Double { 1e-11 } else { 2e-5 };
    let whole: Vec<Tensor> =
        initial_tensors(&SHAPE, &mup(), &Seed::root(4)).iter().map(|tensor| tensor.to_kind(case.kind)).collect();
    let alone = step(&Parallel::default(), case, &whole, loader);
    let processes = processes(case.layout);
    // Tensors cannot be shared among threads, only handed over.
    let founds: Vec<Found> = std::thread::scope(|scope| {
        let own = |_| whole.iter().map(Tensor::copy).collect::<Vec<Tensor>>();
        let copies: Vec<Vec<Tensor>> = processes.iter().map(own).collect();
        let pairs = processes.iter().zip(copies);
        let run = |(parallel, whole): (_, Vec<Tensor>)| scope.spawn(move || step(parallel, case, &whole, loader));
        let threads: Vec<_> = pairs.map(run).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|found| found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let (gradients, updated) = alone.tensors.split_at(whole.len());
    for (parallel, found) in processes.iter().zip(founds) {
        let parts = [gradients, updated].into_iter().flat_map(|tensors| parallel.parts(&SHAPE, tensors));
        let expected: Vec<Tensor> = parts.collect();
        assert_eq!(found.tensors.len(), expected.len());
        let expected_gradients = expected.len() / 2;
        for (index, (found, expected)) in found.tensors.iter().zip(&expected).enumerate() {
            assert_eq!(found.size(), expected.size());
            // Adam's first update is the sign of the gradient, also where that is little more than rounding.
            let limit = match (index >= expected_gradients, case.kind) {
                (false, _) => limit,
                (true, Kind::Double) => 1e-7,
                (true, _) => continue,
            };
            let difference = difference(found, expected);
            assert!(difference <= limit, "{case:?}, {parallel:?}: tensor {index} differs by {difference:e}");
        }
        assert!((found.loss / alone.loss - 1.0).abs() <= limit, "{case:?}: {} is not {}", found.loss, alone.loss);
        assert!((found.norm / alone.norm - 1.0).abs() <= limit, "{case:?}: {} is not {}", found.norm, alone.norm);
        let (by, expected) = (&found.loss_by, &alone.loss_by);
        for (by, expected) in
            [(&by.language, &expected.language), (&by.source, &expected.source), (&by.kind, &expected.kind)]
        {
            assert_eq!(by.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            for (name, loss) in by {
                assert!((loss / expected[name] - 1.0).abs() <= limit, "{case:?}, {parallel:?}: loss of {name}");
            }
        }
    }
}

/// Seven rows of two documents each, of sources that not every part of the rows has.
fn pack_pairs(folder: &Path, is_masked: bool) -> PathBuf {
    let mut writer = PackedWriter::new(CONTEXT as usize);
    let half = CONTEXT as u32 / 2;
    for row in 0..7_u32 {
        let tokens: Vec<u32> = (0..=CONTEXT as u32).map(|i| (row * 11 + i * i * 7 + i) % VOCABULARY as u32).collect();
        let segment = |number: u32, len: u32| Segment {
            doc: DocId::new("s", &format!("{row}-{number}")),
            row_start: number * half,
            len,
            doc_offset: 0,
            loss: (row == 3).then(|| vec![Span { start: number * half + len - 1, end: number * half + len }]),
            source: format!("source {}", (row + number) / 3),
            lang: if number == 0 { "en" } else { "zh" }.into(),
            kind: if row == 3 { DocumentKind::Proposition } else { DocumentKind::Plain },
        };
        writer.push(&tokens, vec![segment(0, half), segment(1, half + 1)]);
    }
    let file = writer.finish(folder, "part-00000.arrow").unwrap();
    let mut manifest = Manifest::new("mix", 1, &Settings::default()).with_files(vec![file]);
    let packing = if is_masked { "best-fit-masked" } else { "best-fit" };
    manifest.details = serde_json::json!({ "context": CONTEXT, "packing": packing });
    manifest.commit(folder).unwrap();
    folder.to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Losses, every gradient, their norm and the weights after an update, for any way of sharing: to the rounding.
    #[test]
    fn a_shared_model_is_the_model_of_one(
        tensor in prop::sample::select(vec![1_usize, 2, 4]),
        pipeline in 1_usize..=3,
        data in 1_usize..=3,
        is_double in any::<bool>(),
        is_fused in any::<bool>(),
        is_recomputed in any::<bool>(),
        is_masked in any::<bool>(),
        sees_documents in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rows = pack_pairs(folder.path(), sees_documents);
        let loader = Loader::open(&[rows], &LoaderSettings::of_context(CONTEXT as usize)).unwrap();
        let from = Shape { layers: 3, hidden: 16, heads: 2, ffn: 32, ..SHAPE };
        check(
            Case {
                layout: (tensor, pipeline, data),
                kind: if is_double { Kind::Double } else { Kind::Float },
                is_fused,
                recompute: if is_recomputed { Recompute::Blocks } else { Recompute::None },
                masks: is_masked.then_some(Masks { from, depth: Depth::Stack, value: 0.4 }),
            },
            &loader,
        );
    }
}

#[test]
#[should_panic(expected = "4 heads cannot be cut evenly among 3 processes")]
fn heads_that_cannot_be_shared_are_refused() {
    let parallel = &processes((3, 1, 1))[0];
    let whole = initial_tensors(&SHAPE, &mup(), &Seed::root(4));
    let _ = Model::part(parallel.clone(), (SHAPE, mup()), Precision::Float32, &whole, None);
}
