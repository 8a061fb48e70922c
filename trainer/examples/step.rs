//! Our side of `cargo xtask peers train`: a few training steps in a fresh process; times, memory and loss as one line of JSON.
//!
//! `step TASK INPUT SCRATCH [cuda]`. The task `rows` writes, for each contest, INPUT/NAME.json, and in INPUT/NAME/ its rows, packed for us
//! and plain for the others, and the weights that all begin with. The other tasks (`fp32-tokens-small` and the like) train on them:
//! INPUT is then the contest's JSON file. A step is what [`trainer::train`] makes of it, from the mapped rows to the updated
//! weights and the line in the log; what that does around the steps (a checkpoint at the end) is not run. With `cuda` a GPU computes,
//! and `rows` writes a contest of its size, without weights; `fp32-blocks` and `bf16-blocks` compute blocks twice.
#![expect(clippy::print_stdout, reason = "the result is read from there")]

mod process;

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use corpus::{DocId, Kind, Manifest, PackedWriter, Seed, Segment, Settings};
use loader::LoaderSettings;
use planner::{
    Batch, LearningRate, MuP, OptimizerSettings, Precision, Recompute, RunPlan, Shape, SpikePolicy, Stability,
    StageRequest, plan,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::Tensor;
use trainer::{Device, Event, Seconds, TrainJob, cuda_device, initial_tensors, parameter_specs, train};

use process::{cpu_time, memory_mib};

/// Workers of ours, threads of the others.
const THREADS: usize = 2;

/// Both begin with the weights of this seed.
const SEED: u64 = 6;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What everybody trains, and how; the others read it from a file.
#[derive(Clone, Serialize, Deserialize)]
struct Contest {
    name: String,
    shape: Shape,
    /// Rows of a step.
    rows: u64,
    /// Rows of a forward and backward pass.
    micro_rows: u64,
    /// Steps that are not measured, and steps that are.
    n_warm: u64,
    n_steps: u64,
    learning_rate: f64,
    #[serde(flatten)]
    optimizer: OptimizerSettings,
}

fn contests() -> [Contest; 2] {
    let optimizer = OptimizerSettings { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip: 1.0 };
    let contest = |name: &str, shape: Shape, rows, (n_warm, n_steps)| Contest {
        name: name.to_owned(),
        shape,
        rows,
        micro_rows: rows / THREADS as u64,
        n_warm,
        n_steps,
        learning_rate: 1e-3,
        optimizer,
    };
    let small = Shape { layers: 6, hidden: 256, heads: 4, head_size: 64, ffn: 1024, vocabulary: 8192, context: 256 };
    let large = Shape { layers: 8, hidden: 512, heads: 8, head_size: 64, ffn: 2048, vocabulary: 100_352, context: 512 };
    [contest("small", small, 16, (3, 12)), contest("large", large, 8, (1, 4))]
}

/// 1.4 billion parameters.
fn contest_of_gpus() -> Contest {
    let [small, _] = contests();
    let shape =
        Shape { layers: 24, hidden: 2048, heads: 16, head_size: 128, ffn: 8192, vocabulary: 100_352, context: 2048 };
    Contest {
        name: "gpu".to_owned(),
        shape,
        rows: 8,
        micro_rows: 4,
        n_warm: 2,
        n_steps: 8,
        learning_rate: 1e-4,
        ..small
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (task, input, scratch, device) = match &arguments[..] {
        [task, input, scratch] => (task, input, scratch, Device::Cpu),
        [task, input, scratch, cuda] if cuda == "cuda" => (task, input, scratch, cuda_device()?),
        _ => return Err("usage: step TASK INPUT SCRATCH [cuda]".into()),
    };
    let input = Path::new(input);
    if task == "rows" {
        contests().iter().try_for_each(|contest| write_input(input, contest))?;
        if device != Device::Cpu {
            let contest = contest_of_gpus();
            write_rows(&contest, &input.join(&contest.name))?;
            write_contest(input, &contest)?;
        }
        println!("{}", json!({}));
        return Ok(());
    }
    let recompute = if task.contains("blocks") { Recompute::Blocks } else { Recompute::None };
    let precision = if task.starts_with("bf16") { Precision::Bfloat16 } else { Precision::Float32 };
    let contest: Contest = serde_json::from_slice(&fs::read(input)?)?;
    let out = Path::new(scratch).join("train");
    drop(fs::remove_dir_all(&out));
    fs::create_dir_all(&out)?;
    run(&contest, (precision, recompute, device), &input.with_extension(""), &out)
}

/// The widths of the contests are their own base: muP's factors are 1, and what is trained is the block that the others have.
fn plan_of(contest: &Contest) -> Outcome<RunPlan> {
    let Contest { shape, rows, micro_rows, learning_rate, .. } = *contest;
    let mup = MuP { base_width: shape.hidden, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.02 };
    let stage = StageRequest {
        name: contest.name.clone(),
        tokens: n_rows(contest) * shape.context,
        shape,
        batch: Batch { rows, micro_rows },
        learning_rate: Some(LearningRate::Cosine { peak: learning_rate, end: learning_rate, warmup_tokens: 0 }),
        growth: None,
    };
    Ok(plan(&[stage], mup)?)
}

/// A step more than is run: the last one of a stage would write a checkpoint.
fn n_rows(contest: &Contest) -> u64 {
    (contest.n_warm + contest.n_steps + 1) * contest.rows
}

fn run(
    contest: &Contest,
    (precision, recompute, device): (Precision, Recompute, Device),
    folder: &Path,
    out: &Path,
) -> Outcome<()> {
    let (plan, stop) = (plan_of(contest)?, AtomicBool::new(false));
    let packed = folder.join("packed");
    let job = TrainJob {
        out,
        plan: &plan,
        optimizer: contest.optimizer,
        precision,
        recompute,
        packed: vec![packed.clone()],
        validation: packed,
        start: None,
        kept_rows: Vec::new(),
        rows: LoaderSettings::of_context(contest.shape.context as usize),
        token_bytes: vec![1; contest.shape.vocabulary as usize],
        seed: Seed::root(SEED),
        settings: Settings::default(),
        parents: Vec::new(),
        predictions: Vec::new(),
        checkpoint_every: u64::MAX,
        keep_last: 1,
        validate_every: u64::MAX,
        // Nothing here is unusual: the rows are random, and nobody is to be skipped.
        stability: Stability {
            window: 128,
            loss_sigma: 100.0,
            norm_sigma: 100.0,
            policy: SpikePolicy::Stop,
            skips_max: 0,
            step_seconds_max: 3600.0,
        },
        started: 0.0,
        stalled: Arc::new(|_| ()),
        device,
        n_threads: THREADS,
        stop: &stop,
    };
    let mut steps = Steps::default();
    let mut watch = |event: &Event| {
        if let Event::Step { step, loss, seconds, .. } = event {
            steps.add(*seconds, *loss);
            if *step == contest.n_warm + contest.n_steps {
                println!("{}", steps.report(contest, *loss));
                // Behind the last measured step nothing is left but to save the state.
                torch_ext::end_process(0);
            }
        } else {
            if let Event::Start { peak_flops_per_s, .. } = event {
                steps.peak = *peak_flops_per_s;
            }
            steps.begin();
        }
    };
    train(&job, &mut watch)?;
    Err("training ended before its last step".into())
}

/// Times of the steps so far; what lies between two of their events is the later one.
struct Steps {
    since: (Instant, Duration),
    wall: Vec<f64>,
    cpu: Vec<f64>,
    phases: Vec<Seconds>,
    losses: Vec<f64>,
    /// Of matrix products, in FLOP/s.
    peak: f64,
}

impl Default for Steps {
    fn default() -> Self {
        let since = (Instant::now(), cpu_time());
        Self { since, wall: Vec::new(), cpu: Vec::new(), phases: Vec::new(), losses: Vec::new(), peak: 0.0 }
    }
}

impl Steps {
    fn begin(&mut self) {
        self.since = (Instant::now(), cpu_time());
    }

    fn add(&mut self, phases: Seconds, loss: f64) {
        let (wall, cpu) = (self.since.0.elapsed(), cpu_time() - self.since.1);
        self.wall.push(wall.as_secs_f64());
        self.cpu.push(cpu.as_secs_f64());
        self.phases.push(phases);
        self.losses.push(loss);
        self.begin();
    }

    fn report(&self, contest: &Contest, loss: f64) -> serde_json::Value {
        let n_warm = contest.n_warm as usize;
        let phase = |of: fn(&Seconds) -> f64| median(self.phases[n_warm..].iter().map(of).collect());
        let (wall, forward, backward, optimizer) =
            (median(self.wall[n_warm..].to_vec()), phase(|s| s.forward), phase(|s| s.backward), phase(|s| s.optimizer));
        let share = |seconds: f64| (100.0 * seconds / wall).round();
        let rest = wall - forward - backward - optimizer;
        let remark = format!(
            "loss {loss:.4} after {} steps; of a step {} % forward, {} % backward, {} % clipping and update, {} % the rest",
            self.wall.len(),
            share(forward),
            share(backward),
            share(optimizer),
            share(rest),
        );
        let n_tokens = contest.rows * contest.shape.context;
        let flops = (n_tokens * contest.shape.flops_per_token()) as f64 / wall;
        json!({
            "tokens_per_s": (n_tokens as f64 / wall).round(),
            "share_of_peak": flops / self.peak,
            "peak_flops_per_s": self.peak,
            "losses": self.losses,
            "n_documents": contest.rows,
            "n_bytes": contest.rows * contest.shape.context * 4,
            "wall_seconds": wall,
            "cpu_seconds": median(self.cpu[n_warm..].to_vec()),
            "seconds": self.wall,
            "profile": { "forward": forward, "backward": backward, "optimizer": optimizer, "rest": rest, "data": phase(|s| s.data) },
            "loss": loss,
            "peak_mib": memory_mib("VmHWM:"),
            "version": env!("CARGO_PKG_VERSION"),
            "remark": remark,
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}

/// Writes the rows and the weights of a contest, and, last, the file that says what it is.
fn write_input(folder: &Path, contest: &Contest) -> Outcome<()> {
    let data = folder.join(&contest.name);
    write_rows(contest, &data)?;
    let mup = plan_of(contest)?.mup;
    // The stream that `train` draws the first weights from.
    let tensors = initial_tensors(&contest.shape, &mup, &Seed::root(SEED).stream("init"));
    let specs = parameter_specs(&contest.shape);
    let named: Vec<(&str, &Tensor)> = specs.iter().map(|spec| &spec.name[..]).zip(&tensors).collect();
    Tensor::write_safetensors(&named, data.join("weights.safetensors"))?;
    write_contest(folder, contest)
}

fn write_contest(folder: &Path, contest: &Contest) -> Outcome<()> {
    let path: PathBuf = folder.join(format!("{}.json", contest.name));
    Ok(fs::write(path, serde_json::to_string_pretty(contest)?)?)
}

/// Rows of one document each. Low ids are frequent and high ones rare, as in text; there is nothing else to learn.
fn write_rows(contest: &Contest, folder: &Path) -> Outcome<()> {
    let Shape { vocabulary, context, .. } = contest.shape;
    fs::create_dir_all(folder.join("packed"))?;
    let seed = Seed::root(SEED).stream(&contest.name);
    let mut writer = PackedWriter::new(context as usize);
    let mut plain = BufWriter::new(File::create(folder.join("rows.bin"))?);
    for row in 0..n_rows(contest) {
        let token = |position: u64| {
            let share = seed.below(row * (context + 1) + position, 1 << 32) as f64 / (1_u64 << 32) as f64;
            (share.powi(3) * vocabulary as f64) as u32
        };
        let tokens: Vec<u32> = (0..=context).map(token).collect();
        for token in &tokens {
            plain.write_all(&token.to_le_bytes())?;
        }
        writer.push(&tokens, vec![whole_row(row, tokens.len())?]);
    }
    plain.flush()?;
    let file = writer.finish(&folder.join("packed"), "part-00000.arrow")?;
    Manifest::new("mix", 1, &Settings::default()).with_files(vec![file]).commit(&folder.join("packed"))?;
    Ok(())
}

fn whole_row(row: u64, len: usize) -> Outcome<Segment> {
    Ok(Segment {
        doc: DocId::new("peers", &row.to_string()),
        row_start: 0,
        len: len.try_into()?,
        doc_offset: 0,
        loss: None,
        source: "peers".into(),
        lang: "en".into(),
        kind: Kind::Plain,
    })
}
