//! The run file: one TOML that describes one complete run. Unknown keys are refused with line and column.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use corpus::{ByteSize, Count, Manifest, Seed, Settings, Share};
use ingest::{IngestConfig, RawIngest, RawSource, Source, resolve_sources};
use loader::Verify;
use mixer::{Mix, StageMix};
use planner::{
    Batch, Cost, Depth, Growth, Layout, LearningRate, Moments, MuP, OptimizerSettings, Precision, Recompute, RunPlan,
    Shape, SpikePolicy, Stability, StageRequest, Width, nearest_divisors, plan,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokenize::{Labels, RawTokenizer, TokenizerConfig};

use crate::failure::Failure;
use crate::plan::PlanSection;

mod trials;

pub(crate) use trials::{Predict, Sweep};

/// Memory for mixing where the run file names none.
const MIX_MEMORY: ByteSize = ByteSize(1 << 30);

/// Embedding rows are padded to a multiple of this.
const VOCABULARY_MULTIPLE: u64 = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRun {
    seed: u64,
    source: Vec<RawSource>,
    ingest: RawIngest,
    tokenizer: RawTokenizer,
    mix: Option<RawMix>,
    stage: Vec<RawStage>,
    train: RawTrain,
    plan: Option<PlanSection>,
    sweep: Option<trials::RawSweep>,
    predict: Option<trials::RawPredict>,
    eval: EvalConfig,
    report: ReportConfig,
}

/// `[mix]`: what does not change the rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMix {
    memory: ByteSize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStage {
    name: String,
    tokens: Count,
    mix: Mix,
    shape: RawShape,
    batch: Batch,
    lr: RawLearningRate,
    parallel: Layout,
    growth: Option<RawGrowth>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShape {
    layers: u64,
    hidden: u64,
    heads: u64,
    /// `hidden / heads` where it is not stated.
    head_size: Option<u64>,
    ffn: u64,
}

#[derive(Deserialize)]
#[serde(tag = "schedule", rename_all = "kebab-case", deny_unknown_fields)]
enum RawLearningRate {
    Cosine {
        peak: f64,
        end: f64,
        warmup: Count,
    },
    WarmupStableDecay {
        peak: f64,
        end: f64,
        warmup: Count,
        decay: Count,
    },
    /// The curve of the stage before goes on.
    Inherit {},
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGrowth {
    depth: Depth,
    width: Width,
    ramp: Count,
    moments: Moments,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTrain {
    context: u64,
    mup: MuP,
    optimizer: OptimizerSettings,
    precision: Precision,
    /// What is computed twice to save memory. Cannot change results.
    #[serde(default)]
    recompute: Recompute,
    stability: Stability,
    /// The folder of a checkpoint whose model the first stage begins with, such as one of `moso grow`; without it, new weights.
    start: Option<PathBuf>,
    checkpoint_every: u64,
    keep_last: usize,
    validate_every: u64,
    /// When the hashes of packed rows are compared: `start`, or `ahead` of their use. Cannot change results.
    #[serde(default)]
    verify: Verify,
}

/// `[eval]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EvalConfig {
    /// Share of all documents that is never trained on.
    pub(crate) held_out: Share,
    /// Rows of plain held-out text for each language.
    pub(crate) rows: u64,
    /// Beginnings of the samples.
    pub(crate) prompts: Vec<String>,
    /// Tokens of a sample.
    pub(crate) sample_tokens: usize,
    /// How adventurous samples are.
    pub(crate) temperature: f64,
    /// Only so many of the most likely tokens are drawn from.
    pub(crate) top_k: usize,
}

/// `[report]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportConfig {
    /// Headline of the page.
    pub(crate) title: String,
    /// What the machine costs.
    pub(crate) cost: Cost,
}

/// A run file that was read and checked.
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) seed_value: u64,
    pub(crate) sources: Vec<Source>,
    pub(crate) ingest: IngestConfig,
    pub(crate) tokenizer: TokenizerConfig,
    pub(crate) labels: Labels,
    pub(crate) mixes: Vec<StageMix>,
    pub(crate) mix_memory: ByteSize,
    pub(crate) plan: RunPlan,
    /// How every stage is shared among devices. Changes no result.
    pub(crate) layouts: Vec<Layout>,
    /// What it is computed with. Changes no result.
    pub(crate) plan_section: Option<PlanSection>,
    pub(crate) optimizer: OptimizerSettings,
    pub(crate) precision: Precision,
    pub(crate) recompute: Recompute,
    pub(crate) stability: Stability,
    /// A checkpoint's folder.
    pub(crate) start: Option<PathBuf>,
    pub(crate) checkpoint_every: u64,
    pub(crate) keep_last: usize,
    pub(crate) validate_every: u64,
    #[cfg_attr(not(feature = "torch"), expect(dead_code, reason = "only training loads rows"))]
    pub(crate) verify: Verify,
    pub(crate) sweep: Option<Sweep>,
    pub(crate) predict: Option<Predict>,
    pub(crate) eval: EvalConfig,
    pub(crate) report: ReportConfig,
}

impl Run {
    /// Reads and checks a run file. Reads none of its sources.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read the run file {}", path.display()));
        Self::parse(&text.map_err(Failure::run_file)?, path)
    }

    /// The same with the text of the file.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let raw: RawRun =
            toml::from_str(text).map_err(|error| anyhow!("{}: {error}", path.display())).map_err(Failure::run_file)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new(""));
        let run = Self::check(raw, name, folder).and_then(|run| crate::plan::checked(run, folder));
        run.with_context(|| path.display().to_string()).map_err(Failure::run_file)
    }

    fn check(raw: RawRun, name: String, folder: &Path) -> anyhow::Result<Self> {
        let RawRun { seed, source, stage, train, eval, .. } = raw;
        let RawTrain {
            context,
            mup,
            optimizer,
            precision,
            recompute,
            stability,
            start,
            checkpoint_every,
            keep_last,
            validate_every,
            verify,
        } = train;
        let labels = raw.tokenizer.labels;
        let tokenizer = TokenizerConfig::new(raw.tokenizer, folder).map_err(|what| anyhow!("[tokenizer] {what}"))?;
        let n_ids = tokenize::n_ids(&tokenizer).context("[tokenizer]")?;
        let vocabulary = n_ids.next_multiple_of(VOCABULARY_MULTIPLE);
        let mixes: Vec<(String, Mix)> = stage.iter().map(|stage| (stage.name.clone(), stage.mix.clone())).collect();
        let layouts: Vec<Layout> = stage.iter().map(|stage| stage.parallel).collect();
        let plan = plan(&stage_requests(stage, (context, vocabulary))?, mup)?;
        for (stage, layout) in plan.stages.iter().zip(&layouts) {
            layout.check(&stage.name, &stage.shape, stage.batch)?;
        }
        anyhow::ensure!(
            checkpoint_every > 0 && validate_every > 0,
            "[train] checkpoint_every and validate_every must be at least 1"
        );
        check_numbers(&plan, &optimizer, &eval)?;
        check_stability(&stability)?;
        let sweep = raw.sweep.map(|sweep| Sweep::new(sweep, &plan, seed)).transpose().context("[sweep]")?;
        let predict =
            raw.predict.map(|law| Predict::new(law, &plan, validate_every)).transpose().context("[predict]")?;
        let mixes: Vec<StageMix> = mixes
            .into_iter()
            .zip(&plan.stages)
            .map(|((name, mix), stage)| StageMix { name, n_rows: stage.n_rows(), batch_rows: stage.batch.rows, mix })
            .collect();
        let sources = resolve_sources(source, folder, seed)?;
        mixes.iter().try_for_each(|stage| check_mix(stage, &mixes, &sources))?;
        Ok(Self {
            name,
            seed_value: seed,
            sources,
            ingest: IngestConfig::try_from(raw.ingest)?.within(folder),
            tokenizer,
            labels,
            mixes,
            mix_memory: raw.mix.map_or(MIX_MEMORY, |mix| mix.memory),
            plan,
            layouts,
            plan_section: raw.plan,
            optimizer,
            precision,
            recompute,
            stability,
            start: start.map(|start| folder.join(start)),
            checkpoint_every,
            keep_last,
            validate_every,
            verify,
            sweep,
            predict,
            eval,
            report: raw.report,
        })
    }

    /// This version trains in one process: other layouts can be planned, not trained.
    pub(crate) fn check_one_process(&self) -> anyhow::Result<()> {
        let shared = self.layouts.iter().zip(&self.plan.stages).find(|(layout, _)| **layout != Layout::ONE);
        let Some((layout, stage)) = shared else { return Ok(()) };
        Err(anyhow!(
            "{}: stage {}: parallel is {layout}, {} devices; this version trains in one process: to train it, write parallel = \
             {{ tensor = 1, pipeline = 1, data = 1 }} (`moso explain` and `moso plan` take any layout)",
            self.name,
            stage.name,
            layout.n_devices()
        ))
    }

    /// The seed every stream of the run comes from.
    pub(crate) fn seed(&self) -> Seed {
        Seed::root(self.seed_value)
    }

    /// Tokens that a row predicts.
    pub(crate) fn context(&self) -> usize {
        self.plan.stages[0].shape.context as usize
    }

    /// Where the run goes if nobody says otherwise.
    pub(crate) fn default_out(&self) -> PathBuf {
        Path::new("out").join(&self.name)
    }

    /// Every setting that can change a result, by the stage whose result it changes.
    pub(crate) fn resolved(&self) -> Value {
        let mut settings = json!({
            "ingest": { "sources": self.sources, "ingest": self.ingest },
            "tokenizer": { "tokenizer": self.tokenizer, "seed": self.seed_value, "held_out": self.eval.held_out },
            "tokenize": { "labels": self.labels },
            "mix": self.resolved_mix(),
            "train": {
                "plan": self.plan, "optimizer": self.optimizer, "precision": self.precision, "stability": self.stability,
                "seed": self.seed_value,
            },
            "eval": { "eval": self.eval, "seed": self.seed_value },
            "report": { "report": self.report, "plan": self.plan_section },
        });
        // A run file without them has the hash it always had.
        let computed = json!({
            "optimizer": self.optimizer, "precision": self.precision, "stability": self.stability, "seed": self.seed_value,
        });
        if let Some(start) = &self.start {
            // What is there, wherever it lies; where nothing is, training says so.
            settings["train"]["start"] = json!(Manifest::read_with_hash(start).map(|(_, hash)| hash).ok());
        }
        if let Some(sweep) = &self.sweep {
            let MuP { base_width, input_multiplier, .. } = self.plan.mup;
            let mup = json!({ "base_width": base_width, "input_multiplier": input_multiplier });
            settings["sweep"] = json!({ "sweep": sweep.request, "mup": mup, "computed": computed });
        }
        if let Some(predict) = &self.predict {
            settings["predict"] = json!({ "predict": predict.request, "plan": self.plan, "computed": computed });
        }
        settings
    }

    /// Every stage's rows depend on its own mix and on what was read before, not on the mixes of other stages.
    fn resolved_mix(&self) -> Value {
        let rows = |more: Value| {
            let mut settings =
                json!({ "context": self.context(), "seed": self.seed_value, "held_out": self.eval.held_out });
            settings
                .as_object_mut()
                .expect("it is an object")
                .extend(more.as_object().expect("and so is this").clone());
            settings
        };
        let langs = mixer::validation_languages(&self.mixes);
        let mut stages = json!({ mixer::VALIDATION: rows(json!({ "languages": langs, "rows": self.eval.rows })) });
        for stage in &self.mixes {
            stages[&stage.name] = rows(json!({ "stage": stage }));
            if !stage.mix.batch_min.is_empty() {
                stages[&stage.name]["batch_rows"] = json!(stage.batch_rows);
            }
        }
        stages
    }

    /// The settings of one stage of the run.
    pub(crate) fn settings(&self, stage: &str) -> Settings {
        Settings(self.resolved()[stage].clone())
    }

    /// The settings that made a folder of the run.
    pub(crate) fn settings_of(&self, folder: &Path) -> Settings {
        let stage = stage_of(folder);
        let Settings(mut settings) = self.settings(stage);
        match folder.iter().nth(1).and_then(|name| name.to_str()) {
            Some(name) if stage == "mix" => Settings(settings[name].take()),
            _ => Settings(settings),
        }
    }
}

/// What a stage's mix must be, whatever is read.
fn check_mix(stage: &StageMix, mixes: &[StageMix], sources: &[Source]) -> anyhow::Result<()> {
    anyhow::ensure!(stage.n_rows >> 31 == 0, "stage {}: {} rows are more than 2^31", stage.name, stage.n_rows);
    stage.mix.groups().map_err(|what| anyhow!("stage {}: {what}", stage.name))?;
    for name in stage.mix.source.keys().chain(stage.mix.source_epochs_max.keys()) {
        let is_known = sources.iter().any(|source| source.name == *name);
        anyhow::ensure!(is_known, "stage {}: its mix names the source {name:?}, which there is not", stage.name);
    }
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = !stage.name.is_empty() && stage.name.bytes().all(safe) && !stage.name.starts_with('.');
    anyhow::ensure!(
        is_name && stage.name != mixer::VALIDATION,
        "stage {:?}: names a folder; use letters, digits, - and _",
        stage.name
    );
    anyhow::ensure!(
        mixes.iter().filter(|other| other.name == stage.name).count() == 1,
        "two stages are called {:?}",
        stage.name
    );
    Ok(())
}

/// Numbers that would be accepted without a word and spoil a run.
fn check_numbers(plan: &RunPlan, optimizer: &OptimizerSettings, eval: &EvalConfig) -> anyhow::Result<()> {
    let positive = |name: &str, value: f64| {
        anyhow::ensure!(value > 0.0 && value.is_finite(), "{name} is {value}; it must be above 0");
        Ok(())
    };
    for stage in &plan.stages {
        let (peak, end) = (stage.learning_rate.rate.peak(), stage.learning_rate.rate.end());
        positive(&format!("stage {}: lr.peak", stage.name), peak)?;
        positive(&format!("stage {}: lr.end", stage.name), end)?;
        anyhow::ensure!(end <= peak, "stage {}: lr.end is {end}; it must not be above lr.peak, {peak}", stage.name);
    }
    positive("[train] mup.base_width", plan.mup.base_width as f64)?;
    positive("[train] mup.input_multiplier", plan.mup.input_multiplier)?;
    positive("[train] mup.output_multiplier", plan.mup.output_multiplier)?;
    positive("[train] mup.init_std", plan.mup.init_std)?;
    positive("[train] optimizer.epsilon", optimizer.epsilon)?;
    positive("[train] optimizer.clip", optimizer.clip)?;
    for (name, beta) in [("beta1", optimizer.beta1), ("beta2", optimizer.beta2)] {
        anyhow::ensure!((0.0..1.0).contains(&beta), "[train] optimizer.{name} is {beta}; it must be from 0 to below 1");
    }
    let decay = optimizer.weight_decay;
    anyhow::ensure!(
        (0.0..1.0).contains(&decay),
        "[train] optimizer.weight_decay is {decay}; it must be from 0 to below 1"
    );
    anyhow::ensure!(eval.rows > 0, "[eval] rows must be at least 1");
    anyhow::ensure!(eval.temperature >= 0.0, "[eval] temperature must not be negative");
    anyhow::ensure!(eval.prompts.iter().all(|prompt| !prompt.is_empty()), "[eval] prompts must not be empty");
    Ok(())
}

fn check_stability(stability: &Stability) -> anyhow::Result<()> {
    let Stability { window, loss_sigma, norm_sigma, policy, skips_max, step_seconds_max } = *stability;
    anyhow::ensure!(window >= 4, "[train] stability.window is {window}; it must be at least 4");
    for (name, sigma) in [("loss_sigma", loss_sigma), ("norm_sigma", norm_sigma)] {
        let is_above_chance = sigma >= 3.0 && sigma.is_finite();
        anyhow::ensure!(
            is_above_chance,
            "[train] stability.{name} is {sigma}; below 3 it would find a spike every few steps"
        );
    }
    anyhow::ensure!(
        step_seconds_max > 0.0 && step_seconds_max.is_finite(),
        "[train] stability.step_seconds_max is {step_seconds_max}; it must be above 0"
    );
    if let SpikePolicy::Rollback { batches } = policy {
        anyhow::ensure!(
            (1..=skips_max).contains(&batches),
            "[train] stability.policy.rollback.batches is {batches}; it must be at least 1 and not above skips_max, {skips_max}"
        );
    }
    Ok(())
}

fn stage_requests(stages: Vec<RawStage>, sizes: (u64, u64)) -> anyhow::Result<Vec<StageRequest>> {
    let mut requests: Vec<StageRequest> = Vec::new();
    for stage in stages {
        let first = requests.first().map(|first| first.shape.head_size).filter(|&size| size > 0);
        requests.push(stage_request(stage, sizes, first)?);
    }
    Ok(requests)
}

/// `first` is the head size of the first stage, where this is a later one.
fn stage_request(raw: RawStage, (context, vocabulary): (u64, u64), first: Option<u64>) -> anyhow::Result<StageRequest> {
    let RawStage { name, tokens, mix: _, shape, batch, lr, parallel: _, growth } = raw;
    let shape = whole_shape(shape, (vocabulary, context), first).with_context(|| format!("stage {name}"))?;
    let growth =
        growth.map(|RawGrowth { depth, width, ramp, moments }| Growth { depth, width, ramp_tokens: ramp.0, moments });
    Ok(StageRequest { name, tokens: tokens.0, shape, batch, learning_rate: learning_rate(lr), growth })
}

/// Without `head_size`, heads fill the hidden size; those of later stages are as wide as those of the first.
fn whole_shape(raw: RawShape, (vocabulary, context): (u64, u64), first: Option<u64>) -> anyhow::Result<Shape> {
    let RawShape { layers, hidden, heads, head_size, ffn } = raw;
    anyhow::ensure!(heads > 0, "heads must be at least 1");
    // Before anything is multiplied, or divided in search of what would fit.
    [("layers", layers), ("hidden", hidden), ("heads", heads), ("ffn", ffn), ("context", context)]
        .into_iter()
        .try_for_each(|(what, size)| planner::check_size(what, size))?;
    let head_size = match (head_size, first) {
        (Some(head_size), _) => head_size,
        (None, Some(first)) if !hidden.is_multiple_of(first) => {
            let (below, above) = (hidden / first * first, hidden.next_multiple_of(first));
            bail!("hidden {hidden} is no multiple of the head size {first} of the first stage; {below} and {above} are")
        }
        (None, Some(first)) if hidden != heads.saturating_mul(first) => bail!(
            "heads must be {}: those of the first stage are {first} wide and hidden is {hidden}; or state head_size = {first} where they need not \
             fill it",
            hidden / first
        ),
        (None, Some(first)) => first,
        (None, None) if hidden.is_multiple_of(heads) => hidden / heads,
        (None, None) => bail!(
            "hidden {hidden} is no multiple of heads {heads}; heads may be {}, or state head_size",
            nearest_divisors(hidden, heads)
        ),
    };
    Ok(Shape { layers, hidden, heads, head_size, ffn, vocabulary, context })
}

/// `None` where the curve of the stage before goes on.
fn learning_rate(raw: RawLearningRate) -> Option<LearningRate> {
    Some(match raw {
        RawLearningRate::Cosine { peak, end, warmup } => LearningRate::Cosine { peak, end, warmup_tokens: warmup.0 },
        RawLearningRate::WarmupStableDecay { peak, end, warmup, decay } => {
            LearningRate::WarmupStableDecay { peak, end, warmup_tokens: warmup.0, decay_tokens: decay.0 }
        }
        RawLearningRate::Inherit {} => return None,
    })
}

/// The stage that makes a folder of a run.
pub(crate) fn stage_of(folder: &Path) -> &'static str {
    match folder.iter().next().and_then(|name| name.to_str()) {
        Some("documents" | "dropped") => "ingest",
        Some("tokenizer") => "tokenizer",
        Some("tokens") => "tokenize",
        Some("packed" | "ledger") => "mix",
        Some("checkpoints") => "train",
        Some("report") => "report",
        Some("sweep") => "sweep",
        Some("predict") => "predict",
        _ => "eval",
    }
}
