//! Evaluates one checkpoint and writes `eval/results.json` and `eval/samples.json`.

use std::path::{Path, PathBuf};

use corpus::{FileError, Manifest, Parent, Seed, Settings, StageFolder, write_atomically};
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokenize::{Encoder, TokenizeError, Vocabulary, decode, load_tokenizer, token_lengths};
use trainer::checkpoint::load_weights;
use trainer::gradients::BatchError;
use trainer::{CheckpointError, Device, Model, Precision, Sampling, generate, most_likely, validate_folder};

use crate::tasks::{Item, Task, rule_tasks};

/// Version of the folder's layout.
pub const EVAL_FORMAT: u32 = 1;

/// What to evaluate and how.
pub struct EvalJob<'a> {
    /// The run's folder.
    pub out: &'a Path,
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// Held-out rows.
    pub validation: PathBuf,
    /// Root seed of the run.
    pub seed: Seed,
    /// Beginnings of the samples.
    pub prompts: &'a [String],
    /// How samples are drawn.
    pub sampling: Sampling,
    /// What the run's matrix products compute in: a loss is that of training only in the same precision.
    pub precision: Precision,
    /// Where to compute.
    pub device: Device,
    /// Worker threads; results do not depend on them.
    pub n_threads: usize,
    /// Everything that can change the result.
    pub settings: &'a Settings,
    /// What is evaluated.
    pub parents: Vec<Parent>,
}

/// A checkpoint that cannot be evaluated.
#[derive(Debug, Error)]
pub enum EvalError {
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizeError),
    /// A result file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The validation loss.
    #[error("cannot compute the validation loss")]
    Validation(#[source] BatchError),
}

/// How a task went.
struct Score {
    n_right: usize,
    n_items: usize,
    /// Items whose prompt had to be cut from the left to fit the context.
    n_cut: usize,
}

/// Evaluates; `progress` is told what is being done.
pub fn evaluate(job: &EvalJob<'_>, progress: &dyn Fn(&str)) -> Result<(), EvalError> {
    tch::set_num_threads(1);
    let checkpoint = load_weights(&job.checkpoint)?.to_device(job.device);
    let vocabulary = load_tokenizer(job.out)?;
    let mut results = Map::new();
    progress("validation loss");
    let token_bytes = token_lengths(job.out)?;
    for found in validate_folder(&checkpoint, &job.validation, job.precision, job.n_threads, &token_bytes)
        .map_err(EvalError::Validation)?
    {
        let name = format!("validation_{}", found.lang);
        let values = json!({
            "alias": name,
            "loss,none": found.loss,
            "bits_per_byte,none": found.bits_per_byte,
            "unigram_entropy,none": found.unigram_entropy,
            "targets,none": found.n_targets,
        });
        results.insert(name, values);
    }
    let model = checkpoint.model();
    let (mut n_shots, mut n_samples, mut higher) = (Map::new(), Map::new(), Map::new());
    for task in rule_tasks(&job.seed.stream("eval")) {
        progress(task.name);
        let score = score(&model, &vocabulary, &task, job.n_threads);
        results.insert(task.name.to_owned(), task_result(&task, &score));
        n_shots.insert(task.name.to_owned(), json!(task.n_shots));
        n_samples.insert(task.name.to_owned(), json!({ "original": score.n_items, "effective": score.n_items }));
        higher.insert(task.name.to_owned(), json!({ "exact_match": true }));
    }
    progress("samples");
    let samples = samples(job, &model, &vocabulary);
    let name = job.checkpoint.file_name().unwrap_or_default().to_string_lossy();
    let results = json!({
        "results": results,
        "n-shot": n_shots,
        "n-samples": n_samples,
        "higher_is_better": higher,
        "config": { "model": "moso", "model_args": format!("checkpoint={name}"), "batch_size": 1 },
        "versions": { "iq_counting": 1, "iq_replace_lowercase": 1 },
    });
    write(job, &results, &samples)
}

fn write(job: &EvalJob<'_>, results: &Value, samples: &Value) -> Result<(), EvalError> {
    let folder = StageFolder::begin(&job.out.join("eval"))?;
    let json = |value| serde_json::to_vec_pretty(value).expect("values are JSON");
    let files = vec![
        write_atomically(folder.path(), "results.json", &json(results), 1)?,
        write_atomically(folder.path(), "samples.json", &json(samples), job.prompts.len() as u64)?,
    ];
    Manifest::new("eval", EVAL_FORMAT, job.settings)
        .with_parents(job.parents.clone())
        .with_files(files)
        .commit(folder.path())?;
    Ok(())
}

/// Accuracy with the standard error of a share; 0 and 1 are given that of one more right and one more wrong answer
/// (Agresti and Coull), since no number of items proves certainty.
fn task_result(task: &Task, score: &Score) -> Value {
    let n = score.n_items as f64;
    let accuracy = score.n_right as f64 / n;
    let smoothed = (score.n_right as f64 + 1.0) / (n + 2.0);
    json!({
        "alias": task.name,
        "exact_match,none": accuracy,
        "exact_match_stderr,none": (smoothed * (1.0 - smoothed) / (n + 2.0)).sqrt(),
        "chance,none": task.chance,
        "cut_prompts,none": score.n_cut,
    })
}

fn score(model: &Model, vocabulary: &Vocabulary, task: &Task, n_threads: usize) -> Score {
    let n_threads = n_threads.max(1);
    // A model cannot be shared between threads, only its memory: each worker takes a view of its own along.
    let views: Vec<Model> = (0..n_threads).map(|_| model.replica()).collect();
    let found: Vec<(bool, bool)> = std::thread::scope(|scope| {
        let part = task.items.len().div_ceil(n_threads).max(1);
        let workers: Vec<_> = task
            .items
            .chunks(part)
            .zip(views)
            .map(|(items, view)| {
                scope.spawn(move || {
                    tch::set_num_threads(1);
                    items.iter().map(|item| is_right(&view, vocabulary, item)).collect::<Vec<_>>()
                })
            })
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.flat_map(|found| found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    Score {
        n_right: found.iter().filter(|(right, _)| *right).count(),
        n_items: found.len(),
        n_cut: found.iter().filter(|(_, cut)| *cut).count(),
    }
}

/// Whether greedy decoding gives the answer, and whether the prompt had to be cut.
fn is_right(model: &Model, vocabulary: &Vocabulary, item: &Item) -> (bool, bool) {
    let mut encoder = Encoder::new(vocabulary);
    let (mut tokens, mut answer) = (Vec::new(), Vec::new());
    encoder.encode(&item.prompt, &mut tokens);
    encoder.encode(&item.answer, &mut answer);
    tokens.extend_from_slice(&answer);
    // The last token is predicted and never read.
    tokens.pop();
    let n_cut = tokens.len().saturating_sub(model.shape().context as usize);
    let tokens = &tokens[n_cut..];
    let predicted = most_likely(model, tokens);
    (predicted.ends_with(&answer), n_cut > 0)
}

fn samples(job: &EvalJob<'_>, model: &Model, vocabulary: &Vocabulary) -> Value {
    let seed = job.seed.stream("samples");
    let sample = |prompt: &String| {
        let mut tokens = Vec::new();
        Encoder::new(vocabulary).encode(prompt, &mut tokens);
        let stop = vocabulary.end_of_text().0;
        let continued = generate(model, &tokens, stop, &job.sampling, &seed.stream(prompt));
        let text = String::from_utf8_lossy(&decode(vocabulary, &continued)).into_owned();
        json!({ "prompt": prompt, "text": text })
    };
    job.prompts.iter().map(sample).collect()
}
