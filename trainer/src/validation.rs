//! Loss on held-out rows, by language.

use std::collections::BTreeMap;
use std::path::Path;

use loader::Loader;
use loader::LoaderSettings;
use planner::{Precision, Recompute};
use tch::Device;

use crate::batch::{Batch, load_batch};
use crate::checkpoint::Checkpoint;
use crate::device::n_workers;
use crate::gradients::{BatchError, Workers, run_batch};

/// Rows of one forward pass when a checkpoint is looked at from outside a run.
const MICRO_ROWS: u64 = 8;

/// Loss on the held-out rows of one language.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Language.
    pub lang: String,
    /// Mean loss in nats.
    pub loss: f64,
    /// Loss in bits by UTF-8 byte.
    pub bits_per_byte: f64,
    /// Entropy in nats of the same targets' own frequencies.
    pub unigram_entropy: f64,
    /// Predicted tokens.
    pub n_targets: u64,
}

/// Targets of one language: how often each token is one, and their bytes.
struct Targets {
    counts: BTreeMap<u32, u64>,
    n_targets: u64,
    n_bytes: u64,
}

/// Held-out rows, ready to be looked at again and again.
pub(crate) struct HeldOut {
    batch: Batch,
    /// By language.
    targets: BTreeMap<String, Targets>,
}

impl HeldOut {
    /// All rows of `loader`, for a model on `device`; a row is of one language. `token_bytes[id]` is the length of a token's text.
    pub(crate) fn new(
        loader: &Loader,
        micro_rows: u64,
        context: u64,
        device: Device,
        token_bytes: &[u32],
    ) -> Result<Self, BatchError> {
        let batch = load_batch(loader, 0, loader.n_rows(), micro_rows, context, device)?;
        Ok(Self { batch, targets: count_targets(loader, token_bytes)? })
    }
}

/// Computes the loss of a checkpoint on all rows of a packed folder, in the precision that it was trained in, on `n_threads`
/// threads or the GPU it lies on.
pub fn validate_folder(
    checkpoint: &Checkpoint,
    folder: &Path,
    precision: Precision,
    n_threads: usize,
    token_bytes: &[u32],
) -> Result<Vec<Validation>, BatchError> {
    let (context, device) = (checkpoint.state.shape.context, checkpoint.device());
    let loader = Loader::open(&[folder.to_owned()], &LoaderSettings::of_context(context as usize))?;
    let model = (checkpoint.state.shape, checkpoint.state.mup, checkpoint.state.masks.as_ref());
    let n_workers = n_workers(device, n_threads);
    let mut workers = Workers::new(&checkpoint.tensors, model, precision, Recompute::None, n_workers);
    validate(&HeldOut::new(&loader, MICRO_ROWS, context, device, token_bytes)?, &mut workers)
}

/// Computes the loss on held-out rows.
pub(crate) fn validate(held_out: &HeldOut, workers: &mut Workers) -> Result<Vec<Validation>, BatchError> {
    let result = run_batch(&held_out.batch, workers, false)?;
    let by_language = result.loss_by.language.into_iter();
    let validations = by_language.map(|(lang, loss)| {
        let Targets { counts, n_targets, n_bytes } = &held_out.targets[&lang];
        let share = |count: &u64| *count as f64 / *n_targets as f64;
        Validation {
            loss,
            bits_per_byte: loss * *n_targets as f64 / std::f64::consts::LN_2 / (*n_bytes).max(1) as f64,
            unigram_entropy: -counts.values().map(|count| share(count) * share(count).ln()).sum::<f64>(),
            n_targets: *n_targets,
            lang,
        }
    });
    Ok(validations.collect())
}

fn count_targets(loader: &Loader, token_bytes: &[u32]) -> Result<BTreeMap<String, Targets>, BatchError> {
    let mut by_language: BTreeMap<String, Targets> = BTreeMap::new();
    for row in 0..loader.n_rows() {
        let block = &loader.blocks(row, 1)?[0];
        let tokens: &[u32] = block.as_ref();
        for segment in loader.segments(row)? {
            let targets = by_language.entry(segment.lang.clone()).or_insert_with(|| Targets {
                counts: BTreeMap::new(),
                n_targets: 0,
                n_bytes: 0,
            });
            for position in segment.loss_spans().into_iter().flat_map(|span| span.start..span.end) {
                let token = tokens[position as usize];
                *targets.counts.entry(token).or_default() += 1;
                targets.n_targets += 1;
                targets.n_bytes += u64::from(token_bytes.get(token as usize).copied().unwrap_or(0));
            }
        }
    }
    Ok(by_language)
}
