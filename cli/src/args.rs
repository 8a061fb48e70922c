//! Commands and flags. Every command but `run` and `explain` does one thing to one folder.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use corpus::Count;
use planner::{Depth, Moments, Width};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};

/// Build a bilingual corpus, and train on it a language model that grows while it learns
#[derive(Parser)]
#[command(name = "moso", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// All stages in order; finished ones are skipped, interrupted ones go on
    Run {
        #[command(flatten)]
        run: RunArguments,
        /// Run this stage and no other
        #[arg(long, value_name = "STAGE", conflicts_with = "from")]
        only: Option<Stage>,
        /// Run this stage and those behind it
        #[arg(long, value_name = "STAGE")]
        from: Option<Stage>,
    },
    /// Sources to documents/ and dropped/: clean, filter, deduplicate
    Ingest {
        #[command(flatten)]
        run: RunArguments,
        /// Write nothing; show what this one rule would drop, and what would only just pass
        #[arg(long, value_name = "RULE")]
        only_rule: Option<String>,
        /// Documents to show of each kind
        #[arg(long, value_name = "N", default_value_t = 10, requires = "only_rule")]
        sample: usize,
    },
    /// Train or import the tokenizer
    Tokenizer(RunArguments),
    /// documents/ to tokens/
    Tokenize(RunArguments),
    /// tokens/ to packed/STAGE/: rows in training order
    Mix(RunArguments),
    /// Search learning rate, initial deviation and output multiplier on a small model, as the section sweep says
    Sweep(RunArguments),
    /// Predict the loss of every stage from narrower models, as the section predict says
    Predict(RunArguments),
    /// packed/ to checkpoints/: train, grow, train on
    Train(RunArguments),
    /// Evaluate the last checkpoint
    Eval(RunArguments),
    /// One HTML file with everything a person wants to see
    Report(RunArguments),
    /// What would be read, dropped, mixed, grown and spent; runs nothing
    Explain {
        /// The run file
        run: PathBuf,
    },
    /// What a run takes: FLOPs, days, money, energy, memory; with --budget, which runs that much money buys
    Plan(PlanArguments),
    /// Show what is in a file or folder that moso wrote
    Inspect {
        /// A folder with a manifest, or a file of one
        path: PathBuf,
        /// Records to show; with a filter below, a fair sample of those that pass it
        #[arg(long, default_value_t = 3)]
        rows: usize,
        /// Of dropped/: only what this rule dropped
        #[arg(long, value_name = "RULE")]
        rule: Option<String>,
        /// Of documents/ and dropped/: only this language
        #[arg(long, value_name = "CODE")]
        lang: Option<String>,
        /// Of documents/ and dropped/: only this source
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
    },
    /// Re-hash everything the manifests below a folder name
    Verify {
        /// A run's folder, or any folder inside it
        path: PathBuf,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Which documents training steps saw, and how often until then
    Trace(TraceArguments),
    /// Train on documents or sources no more: list the steps that saw them, pack what follows anew
    Takedown(TakedownArguments),
    /// One growth step offline: a checkpoint of a larger shape
    Grow(GrowArguments),
    /// Continue a text with a checkpoint
    Generate(GenerateArguments),
}

#[derive(Args)]
pub(crate) struct RunArguments {
    /// The run file
    pub(crate) run: PathBuf,
    /// Where everything the run makes goes [default: out/NAME of the run file]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Threads; results do not depend on them [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZero<usize>>,
    /// Where to train and evaluate
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(crate) device: Device,
    /// One JSON object a line instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct PlanArguments {
    /// The run file; with --budget its text, tokenizer and optimizer are taken [default with --budget: FLM-101B's]
    #[arg(required_unless_present = "budget")]
    pub(crate) run: Option<PathBuf>,
    /// One JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// All tensors and matrix products of every stage besides
    #[arg(long)]
    pub(crate) tensors: bool,
    /// More devices, in the form of planner/src/hardware.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) hardware: Option<PathBuf>,
    /// What to compute on [default: what the section plan names, else cpu; with --budget A800]
    #[arg(long, value_name = "NAME")]
    pub(crate) gpu: Option<String>,
    /// How many; with another number than the run file's, every stage takes the layout that is fastest there
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=planner::DEVICES_MOST))]
    pub(crate) gpus: Option<u64>,
    /// Money for an hour of one; must be said of another device than the run file's
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    pub(crate) gpu_hour: Option<f64>,
    /// A folder of this run: speeds and availability as they were measured there, on the device of the run file
    #[arg(long, value_name = "DIR", conflicts_with = "budget")]
    pub(crate) measured: Option<PathBuf>,
    /// Propose growth schedules that cost no more
    #[arg(long, value_name = "USD", requires = "tokens", allow_negative_numbers = true)]
    pub(crate) budget: Option<f64>,
    /// Tokens of the proposed runs, such as 311B
    #[arg(long, value_name = "N", requires = "budget", value_parser = count)]
    pub(crate) tokens: Option<u64>,
    /// Write the best proposal as a run file
    #[arg(long, value_name = "FILE", requires = "budget")]
    pub(crate) out: Option<PathBuf>,
    /// Write it over a file that is there
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
}

fn count(written: &str) -> Result<u64, String> {
    Count::parse(written).map(|count| count.0).ok_or_else(|| "a count such as 4096, 2.5M or 245.37B".to_owned())
}

/// What models are computed on. It is named, never guessed: another device rounds differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Device {
    /// The processor
    Cpu,
    /// The first GPU that CUDA shows
    Cuda,
}

#[derive(Args)]
pub(crate) struct TraceArguments {
    /// The run's folder
    pub(crate) out: PathBuf,
    /// A step, from 1, or steps A..B, both included
    #[arg(long, value_name = "N|A..B", value_parser = steps)]
    pub(crate) step: Option<(u64, u64)>,
    /// Tokens of the run, from A to below B, such as 1.5B..1.6B
    #[arg(long, value_name = "A..B", value_parser = tokens, conflicts_with = "step")]
    pub(crate) tokens: Option<(u64, u64)>,
}

#[derive(Args)]
pub(crate) struct TakedownArguments {
    #[command(flatten)]
    pub(crate) run: RunArguments,
    /// A document, by its id; may be given again
    #[arg(long, value_name = "ID")]
    pub(crate) document: Vec<String>,
    /// A document, by its address; may be given again
    #[arg(long, value_name = "URL")]
    pub(crate) url: Vec<String>,
    /// A whole source; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Vec<String>,
    /// Only list the steps that saw them; change nothing
    #[arg(long)]
    pub(crate) list: bool,
}

fn steps(written: &str) -> Result<(u64, u64), String> {
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|&step| step > 0);
    let (first, last) = written.split_once("..").unwrap_or((written, written));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err("a step counted from 1, or a range such as 10..20".to_owned()),
    }
}

fn tokens(written: &str) -> Result<(u64, u64), String> {
    let number = |text: &str| Count::parse(text.trim()).map(|count| count.0);
    match written.split_once("..").map(|(first, end)| (number(first), number(end))) {
        Some((Some(first), Some(end))) if first < end => Ok((first, end)),
        _ => Err("a range such as 0..4096 or 1.5B..1.6B".to_owned()),
    }
}

#[derive(Args)]
pub(crate) struct GrowArguments {
    /// A run's folder, its checkpoints/ or one step-N
    pub(crate) checkpoint: PathBuf,
    /// The new shape, such as layers=6,hidden=256,heads=8,ffn=1024; what is not named stays
    #[arg(long, value_name = "SHAPE")]
    pub(crate) to: String,
    /// Where the grown checkpoint goes
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// What new blocks are: stack, interpose, zero or random
    #[arg(long, value_parser = named::<Depth>)]
    pub(crate) depth: Depth,
    /// What new coordinates are: random, zero or split
    #[arg(long, value_parser = named::<Width>)]
    pub(crate) width: Width,
    /// What becomes of Adam's moments: grown, old or reset
    #[arg(long, value_parser = named::<Moments>)]
    pub(crate) moments: Moments,
    /// Masks of 0 on everything new: the function is kept whatever is there
    #[arg(long)]
    pub(crate) masked: bool,
    /// Same seed, same new weights
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// A value as the run file names it.
fn named<T: DeserializeOwned>(written: &str) -> Result<T, String> {
    let deserializer: StrDeserializer<'_, serde::de::value::Error> = written.into_deserializer();
    T::deserialize(deserializer).map_err(|error| error.to_string())
}

#[derive(Args)]
pub(crate) struct GenerateArguments {
    /// A run's folder, its checkpoints/ or one step-N
    pub(crate) checkpoint: PathBuf,
    /// The beginning
    #[arg(long)]
    pub(crate) prompt: String,
    /// Tokens at most
    #[arg(long, default_value_t = 64)]
    pub(crate) tokens: usize,
    /// 0 takes the most likely token every time
    #[arg(long, default_value_t = 0.8)]
    pub(crate) temperature: f64,
    /// Same seed, same text
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Where to compute
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(crate) device: Device,
}

/// The stages, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Stage {
    Ingest,
    Tokenizer,
    Tokenize,
    Mix,
    Train,
    Eval,
    Report,
}

impl Stage {
    pub(crate) const ALL: [Self; 7] =
        [Self::Ingest, Self::Tokenizer, Self::Tokenize, Self::Mix, Self::Train, Self::Eval, Self::Report];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Tokenizer => "tokenizer",
            Self::Tokenize => "tokenize",
            Self::Mix => "mix",
            Self::Train => "train",
            Self::Eval => "eval",
            Self::Report => "report",
        }
    }
}
