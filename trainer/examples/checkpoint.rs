//! How long training stands still for a checkpoint, beside how long writing it takes: a model of 100M parameters.
//!
//! `checkpoint FOLDER [PAIRS]` trains two steps for each checkpoint and prints the pause as the log has it, then writes the same state as
//! if training waited for it. The folder should lie on the disk that checkpoints go to.
#![expect(clippy::print_stdout, reason = "the result is read from there")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use corpus::{DocId, Kind, Manifest, PackedWriter, Seed, Segment, Settings};
use loader::LoaderSettings;
use planner::{
    Batch, LearningRate, MuP, OptimizerSettings, Precision, Recompute, RunPlan, Shape, SpikePolicy, Stability,
    StageRequest, plan,
};
use trainer::checkpoint::{checkpoint_folder, list_checkpoints, load, save, snapshot};
use trainer::{Device, Event, TrainJob, train};

const CONTEXT: u64 = 256;

const BATCH: Batch = Batch { rows: 4, micro_rows: 2 };

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().ok_or("usage: checkpoint FOLDER [PAIRS]")?);
    let n_pairs: u64 = arguments.get(1).map_or(Ok(5), |text| text.parse())?;
    let plan = one_stage(2 * n_pairs)?;
    println!("{} parameters", plan.stages[0].shape.n_parameters());
    let (mut pauses, mut writes) = (Vec::new(), Vec::new());
    let stop = AtomicBool::new(false);
    train(&job(folder, &plan, &stop)?, &mut |event| match event {
        Event::Step { step, seconds, tokens_per_s, .. } => {
            let length = BATCH.rows as f64 * CONTEXT as f64 / tokens_per_s;
            println!("step {step}: {length:.2} s, pause {:.1} ms", seconds.checkpoint * 1e3);
            if step % 2 == 1 && *step > 1 {
                pauses.push(seconds.checkpoint);
            }
        }
        Event::Saved { bytes, seconds, .. } => println!("{bytes} bytes written behind training in {seconds:.2} s"),
        _ => {}
    })?;
    let checkpoints = folder.join("checkpoints");
    let last = *list_checkpoints(&checkpoints).last().ok_or("there is no checkpoint")?;
    let mut copy = load(&checkpoint_folder(&checkpoints, last))?;
    for _ in 0..n_pairs {
        let start = Instant::now();
        let again = snapshot(&copy, None);
        let copied = start.elapsed().as_secs_f64();
        let start = Instant::now();
        save(&folder.join("synchronous"), &again)?;
        writes.push(start.elapsed().as_secs_f64());
        println!("copied in {:.0} ms, written in {:.0} ms", copied * 1e3, writes[writes.len() - 1] * 1e3);
        copy = again;
    }
    println!("medians: pause {:.1} ms, synchronous write {:.0} ms", median(pauses) * 1e3, median(writes) * 1e3);
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn one_stage(n_steps: u64) -> Outcome<RunPlan> {
    let shape =
        Shape { layers: 12, hidden: 768, heads: 12, head_size: 64, ffn: 3072, vocabulary: 19_456, context: CONTEXT };
    let request = StageRequest {
        name: "only".to_owned(),
        tokens: n_steps * BATCH.rows * CONTEXT,
        shape,
        batch: BATCH,
        learning_rate: Some(LearningRate::Cosine { peak: 1e-3, end: 1e-4, warmup_tokens: 0 }),
        growth: None,
    };
    Ok(plan(&[request], MuP { base_width: 256, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.02 })?)
}

fn job<'a>(out: &'a Path, plan: &'a RunPlan, stop: &'a AtomicBool) -> Outcome<TrainJob<'a>> {
    Ok(TrainJob {
        out,
        plan,
        stability: Stability {
            window: 128,
            loss_sigma: 6.0,
            norm_sigma: 6.0,
            policy: SpikePolicy::Stop,
            skips_max: 0,
            step_seconds_max: 600.0,
        },
        started: 0.0,
        stalled: Arc::new(|_| ()),
        optimizer: OptimizerSettings { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 1.0 },
        packed: vec![pack(&out.join("packed/only"), plan.stages[0].n_rows())?],
        validation: pack(&out.join("packed/validation"), 1)?,
        start: None,
        kept_rows: Vec::new(),
        rows: LoaderSettings::of_context(CONTEXT as usize),
        token_bytes: vec![1; plan.stages[0].shape.vocabulary as usize],
        seed: Seed::root(1),
        settings: Settings::default(),
        parents: Vec::new(),
        predictions: Vec::new(),
        checkpoint_every: 2,
        keep_last: 1,
        validate_every: u64::MAX,
        precision: Precision::Float32,
        recompute: Recompute::None,
        device: Device::Cpu,
        n_threads: 2,
        stop,
    })
}

fn pack(folder: &Path, n_rows: u64) -> Outcome<PathBuf> {
    let mut writer = PackedWriter::new(CONTEXT as usize);
    let seed = Seed::root(2);
    for row in 0..n_rows {
        let tokens: Vec<u32> = (0..=CONTEXT).map(|i| seed.below(row * (CONTEXT + 1) + i, 19_000) as u32).collect();
        let doc = DocId::new("random", &row.to_string());
        let (source, lang) = ("random".to_owned(), "en".to_owned());
        let len = CONTEXT as u32 + 1;
        writer.push(
            &tokens,
            vec![Segment { doc, row_start: 0, len, doc_offset: 0, loss: None, source, lang, kind: Kind::Plain }],
        );
    }
    let file = writer.finish(folder, "part-00000.arrow")?;
    Manifest::new("mix", 1, &Settings::default()).with_files(vec![file]).commit(folder)?;
    Ok(folder.to_owned())
}
