//! Commands and output that need libtorch: what training shows while it runs, and `moso generate`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use corpus::{Count, FileError, Seed};
use indicatif::HumanDuration;
use planner::{Cost, RunPlan};
use tokenize::{Encoder, StreamDecoder, TokenId, load_tokenizer};
use trainer::checkpoint::{checkpoint_folder, list_checkpoints, load_weights};
use trainer::{Event, Sampling, cuda_device};

use crate::args::{Device, GenerateArguments};
use crate::failure::Failure;
use crate::progress::Progress;

/// What the live line knows of the whole run.
pub(crate) struct Live<'a> {
    plan: &'a RunPlan,
    cost: Cost,
    /// FLOPs of the run when this process began to train, or went back to a checkpoint, and its time then.
    start: (f64, f64),
}

impl<'a> Live<'a> {
    pub(crate) fn new(plan: &'a RunPlan, cost: Cost) -> Self {
        Self { plan, cost, start: (0.0, 0.0) }
    }

    /// FLOPs of the first `tokens` of the run: a token of a later stage takes more of them.
    fn flops(&self, mut tokens: u64) -> f64 {
        let mut flops = 0.0;
        for stage in &self.plan.stages {
            let of_stage = tokens.min(stage.n_tokens());
            flops += of_stage as f64 * stage.shape.flops_per_token() as f64;
            tokens -= of_stage;
        }
        flops
    }

    /// From now on speed is measured.
    fn begin(&mut self, tokens: u64, seconds: f64) {
        self.start = (self.flops(tokens), seconds);
    }

    /// Seconds to the end after `tokens`, as fast as since the start, with all that stood between steps; no number where nothing was done since.
    fn seconds_left(&self, tokens: u64, seconds: f64) -> f64 {
        let done = self.flops(tokens);
        let (first, since) = self.start;
        (self.plan.flops() - done) * (seconds - since) / (done - first)
    }
}

/// A time for people; what is no number of seconds, or too many, is a question mark.
fn duration(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or_else(|_| "?".to_owned(), |time| HumanDuration(time).to_string())
}

/// Draws an event: steps move the bar, everything else stays as a line.
pub(crate) fn show(progress: &Progress<'_>, event: &Event, live: &mut Live<'_>) {
    progress.event(event, matches!(event, Event::Step { .. }));
    match event {
        Event::Step { tokens, loss, tokens_per_s, model_flops_per_s, share_of_peak, .. } => {
            let seconds = progress.seconds();
            let left = live.seconds_left(*tokens, seconds);
            let message = format!(
                "loss {loss:.3}  {tokens_per_s:.0} tokens/s  {:.0} GFLOP/s ({:.0} % of peak)  {} left  ${:.4} of ${:.4}",
                model_flops_per_s / 1e9,
                share_of_peak * 100.0,
                duration(left),
                live.cost.usd(seconds),
                live.cost.usd(seconds + left),
            );
            progress.set(*tokens, &message);
        }
        Event::Growth { stage_from, stage_to, max_logit_diff, loss_before, loss_after, parameters, .. } => {
            progress.note(&format!(
                "grew {stage_from} -> {stage_to}: {} -> {} parameters, max |logit difference| {max_logit_diff:.1e}, loss \
                 {loss_before:.4} -> {loss_after:.4}",
                Count(parameters.0),
                Count(parameters.1),
            ));
        }
        Event::Validation { step, lang, loss, bits_per_byte, unigram_entropy, .. } => {
            progress.note(&format!(
                "step {step}: {lang} held-out loss {loss:.3} nats ({bits_per_byte:.3} bits per byte; unigrams {unigram_entropy:.3})"
            ));
        }
        Event::Prediction { step, stage, loss, band, is_inside, .. } => {
            let verdict = if *is_inside { "inside the band" } else { "OUTSIDE the band" };
            progress.note(&format!(
                "step {step}: stage {stage} has held-out loss {loss:.4}, {verdict}: predicted {:.4} ({:.4} to {:.4})",
                band.loss, band.low, band.high
            ));
        }
        Event::Resume { what, .. } => progress.note(&format!("going on from {what}")),
        Event::Start { tokens, device, peak_flops_per_s, .. } => {
            live.begin(*tokens, progress.seconds());
            progress.note(&format!("on {device}, {:.0} GFLOP/s in matrix products", peak_flops_per_s / 1e9));
        }
        Event::Waiting { what, seconds, .. } => {
            progress.note(&format!("waiting for data since {seconds:.0} s: {what}"));
        }
        // What nobody could notice is in the log alone.
        Event::Saved { step, bytes, seconds, .. } if *seconds >= 1.0 => {
            progress.note(&format!("step {step}: checkpoint of {} MB written in {seconds:.1} s", bytes / 1_000_000));
        }
        Event::Skip { step, why, documents, .. } => {
            progress.note(&format!("step {step} passed over: {why} ({} documents)", documents.n_documents));
        }
        Event::Rollback { tokens, what, why, skipped: (first, last), .. } => {
            live.begin(*tokens, progress.seconds());
            progress.note(&format!("back to {what}: {why}; steps {first} to {last} will be passed over"));
        }
        // Told by the thread that found it.
        Event::Stalled { .. } | Event::Checkpoint { .. } | Event::Saved { .. } => {}
    }
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "event files of TensorBoard name the time")]
pub(crate) fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Ends a process whose training hangs. Nothing can be waited for: whatever hangs would be waited for too.
pub(crate) fn end_stalled(event: &Event) {
    if let Event::Stalled { step, what, seconds } = event {
        eprintln!(
            "error: training has hung for {seconds:.0} s after step {step}: {what}; the same command goes on from the last checkpoint"
        );
        trainer::end_process(i32::from(crate::failure::TRAINING));
    }
}

/// The device as libtorch knows it.
pub(crate) fn open_device(device: Device) -> Result<trainer::Device, Failure> {
    match device {
        Device::Cpu => Ok(trainer::Device::Cpu),
        Device::Cuda => cuda_device().map_err(Failure::environment),
    }
}

/// Continues a prompt and prints it token by token.
pub(crate) fn generate(arguments: &GenerateArguments) -> Result<(), Failure> {
    let folder = find_checkpoint(&arguments.checkpoint)?;
    let folder = folder.canonicalize().map_err(|source| FileError::new("find", &folder, source))?;
    let out = folder.parent().and_then(Path::parent).unwrap_or(&folder);
    let vocabulary = load_tokenizer(out)?;
    let model = load_weights(&folder)?.to_device(open_device(arguments.device)?).model();
    let mut prompt = Vec::new();
    Encoder::new(&vocabulary).encode(&arguments.prompt, &mut prompt);
    if prompt.is_empty() {
        return Err(Failure::run_file(anyhow!("--prompt must not be empty")));
    }
    let sampling = Sampling { temperature: arguments.temperature, top_k: 50, n_tokens: arguments.tokens };
    let seed = Seed::root(arguments.seed);
    let mut decoder = StreamDecoder::new(&vocabulary);
    let mut stdout = std::io::stdout().lock();
    let mut print = |text: &str| stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    let mut printed = print(&arguments.prompt);
    trainer::generate_each(&model, &prompt, vocabulary.end_of_text().0, &sampling, &seed, &mut |id| {
        if printed.is_ok() {
            printed = print(&decoder.push(TokenId(id)));
        }
        printed.is_ok()
    });
    printed.and_then(|()| print(&format!("{}\n", decoder.finish()))).map_err(Failure::environment)
}

/// The checkpoint itself, or the newest of a run's folder or its `checkpoints/`.
pub(crate) fn find_checkpoint(path: &Path) -> Result<PathBuf, Failure> {
    if path.join("state.json").is_file() {
        return Ok(path.to_owned());
    }
    for folder in [path.to_owned(), path.join("checkpoints")] {
        if let Some(&step) = list_checkpoints(&folder).last() {
            return Ok(checkpoint_folder(&folder, step));
        }
    }
    Err(Failure::input(anyhow!(
        "{} holds no checkpoint: name a run's folder or one checkpoints/step-N",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use planner::{Batch, LearningRate, MuP, Shape, StageRequest, plan};

    use super::*;
    use crate::progress::Console;

    fn step(tokens: u64) -> Event {
        Event::Step {
            step: 1,
            stage: "a".to_owned(),
            tokens,
            loss: f64::NAN,
            loss_by: Default::default(),
            grad_norm: 1.0,
            lr: 1.0,
            mask: 1.0,
            tokens_per_s: f64::INFINITY,
            model_flops_per_s: 1.0,
            share_of_peak: 1.0,
            seconds: Default::default(),
        }
    }

    /// A run of 10^15 tokens that goes on late and goes back to its beginning, as after a spike.
    #[test]
    fn the_live_line_survives_going_back() {
        let shape = Shape { layers: 9, hidden: 128, heads: 2, head_size: 64, ffn: 512, vocabulary: 512, context: 100 };
        let request = StageRequest {
            name: "a".to_owned(),
            tokens: 10_u64.pow(15),
            shape,
            batch: Batch { rows: 10, micro_rows: 10 },
            learning_rate: Some(LearningRate::Cosine { peak: 1.0, end: 0.1, warmup_tokens: 1000 }),
            growth: None,
        };
        let mup = MuP { base_width: 128, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.1 };
        let plan = plan(&[request], mup).unwrap();
        let console = Console::new(true);
        let progress = console.start("train", plan.n_tokens(), "tokens");
        let mut live = Live::new(&plan, Cost { usd_per_hour: 1.0, watts: 1.0 });
        let device = "cpu".to_owned();
        show(
            &progress,
            &Event::Start { step: 9, tokens: 9 * 10_u64.pow(14), device, peak_flops_per_s: 1.0 },
            &mut live,
        );
        show(&progress, &step(1000), &mut live);
        let (what, why, skipped, documents) = (String::new(), String::new(), (1, 2), Default::default());
        show(&progress, &Event::Rollback { step: 0, tokens: 0, what, why, skipped, documents }, &mut live);
        show(&progress, &step(1000), &mut live);
        // One of 10^12 steps in a second.
        live.start.1 = 0.0;
        let left = live.seconds_left(1000, 1.0);
        assert!((left / 1e12 - 1.0).abs() < 1e-9, "{left}");
    }

    #[test]
    fn any_number_is_a_duration_or_a_question_mark() {
        for (seconds, expected) in
            [(-1.0, "?"), (f64::NAN, "?"), (f64::INFINITY, "?"), (1e300, "?"), (0.0, "0 seconds"), (90.0, "2 minutes")]
        {
            assert_eq!(duration(seconds), expected);
        }
        assert!(duration(1e19).contains("years"));
    }
}
