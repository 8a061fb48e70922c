//! A batch on its way from packed rows to micro-batches, and its loss by what the text is.

use std::collections::BTreeMap;

use corpus::{Kind as DocumentKind, Segment};
use loader::{Loader, RowBlock, rows_of_rank};
use serde::Serialize;
use tch::Device;

use crate::gradients::BatchError;
use crate::parallel;
use crate::staging::{Inputs, Staged};

/// Rows with the positions whose prediction carries loss.
pub(crate) struct MicroBatch {
    staged: Staged,
    pub(crate) n_rows: i64,
    /// Index into the batch's groups, for every target.
    groups: Vec<u32>,
}

impl MicroBatch {
    /// What it holds.
    pub(crate) fn inputs(&self) -> Inputs {
        self.staged.inputs()
    }
}

/// A batch: the micro-batches of this process, and the kinds of text in all of it.
pub struct Batch {
    pub(crate) micro_batches: Vec<MicroBatch>,
    groups: Vec<Group>,
    /// Targets of every group.
    n_targets_of: Vec<u64>,
    /// Targets that carry loss, the denominator of the mean.
    pub n_targets: u64,
}

impl Batch {
    /// Sums of the losses of every micro-batch's targets, by group.
    pub(crate) fn sum_losses(&self, losses: &[Vec<f64>]) -> Vec<f64> {
        let mut sums = vec![0.0; self.groups.len()];
        for (micro, losses) in self.micro_batches.iter().zip(losses) {
            for (loss, &group) in losses.iter().zip(&micro.groups) {
                sums[group as usize] += loss;
            }
        }
        sums
    }

    /// The mean loss and its parts, from the sums over all of the batch.
    pub(crate) fn mean_losses(&self, sums: &[f64]) -> (f64, LossBy) {
        let sums: Vec<(f64, u64)> = sums.iter().copied().zip(self.n_targets_of.iter().copied()).collect();
        let mean = sums.iter().map(|(loss, _)| loss).sum::<f64>() / self.n_targets.max(1) as f64;
        (mean, loss_by(&self.groups, &sums))
    }
}

/// Language, source and kind of a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    lang: String,
    source: String,
    kind: DocumentKind,
}

/// Mean loss in nats by what the text is.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct LossBy {
    /// By language.
    pub language: BTreeMap<String, f64>,
    /// By source.
    pub source: BTreeMap<String, f64>,
    /// By kind.
    pub kind: BTreeMap<String, f64>,
}

/// Positions that carry loss, while they are collected.
#[derive(Default)]
struct Targets {
    /// Index into the `(row, position)` grid of predictions.
    positions: Vec<i32>,
    /// Index into the batch's groups, for every position.
    groups: Vec<u32>,
}

impl Targets {
    fn append(&mut self, mut more: Self) {
        self.positions.append(&mut more.positions);
        self.groups.append(&mut more.groups);
    }
}

/// Loads rows `first .. first + n_rows` as micro-batches of `micro_rows`, for a model on `device`.
pub fn load_batch(
    loader: &Loader,
    first: u64,
    n_rows: u64,
    micro_rows: u64,
    context: u64,
    device: Device,
) -> Result<Batch, BatchError> {
    load_part(loader, (first, n_rows), micro_rows, context, device, &parallel::Group::default())
}

/// The same where a data group shares them: the micro-batches of this process's rows. What is known of all rows is the same for all members.
pub fn load_part(
    loader: &Loader,
    (first, n_rows): (u64, u64),
    micro_rows: u64,
    context: u64,
    device: Device,
    data: &parallel::Group,
) -> Result<Batch, BatchError> {
    let (own_first, n_own) = rows_of_rank(first, n_rows, data.rank() as u64, data.size() as u64);
    let own_end = own_first + n_own;
    let mut batch = Batch { micro_batches: Vec::new(), groups: Vec::new(), n_targets_of: Vec::new(), n_targets: 0 };
    // Groups are numbered in the order of the batch's rows, whoever's they are.
    for row in first..own_first {
        batch.targets_of(&loader.segments(row)?, 0);
    }
    let mut row = own_first;
    while row < own_end {
        let n = micro_rows.min(own_end - row);
        let mut targets = Targets::default();
        // A batch is of one stage, and a stage is packed one way.
        let is_masked = loader.masks_documents(row)?;
        let mut documents: Vec<i32> = Vec::new();
        for index in 0..n {
            let segments = loader.segments(row + index)?;
            if is_masked {
                add_documents(&mut documents, &segments, context as usize);
            }
            targets.append(batch.targets_of(&segments, index * context));
        }
        let blocks: Vec<RowBlock> = loader.blocks(row, n)?;
        let documents = is_masked.then_some(&documents[..]);
        let staged = Staged::new(&blocks, context as usize + 1, &targets.positions, documents, device)?;
        batch.micro_batches.push(MicroBatch { staged, n_rows: n as i64, groups: targets.groups });
        row += n;
    }
    for row in own_end..first + n_rows {
        batch.targets_of(&loader.segments(row)?, 0);
    }
    batch.n_targets = batch.n_targets_of.iter().sum();
    Ok(batch)
}

/// Appends, for every position of a row that something is predicted at, the number of its segment; -1 for padding.
fn add_documents(documents: &mut Vec<i32>, segments: &[Segment], context: usize) {
    let row = documents.len();
    documents.resize(row + context, -1);
    for (number, segment) in segments.iter().enumerate() {
        let start = (segment.row_start as usize).min(context);
        let end = ((segment.row_start + segment.len) as usize).min(context);
        documents[row + start..row + end].fill(number as i32);
    }
}

impl Batch {
    /// The targets of a row, whose first position is `row_offset`, counted by group. The token at row position p is predicted at p - 1.
    fn targets_of(&mut self, segments: &[Segment], row_offset: u64) -> Targets {
        let mut targets = Targets::default();
        for segment in segments {
            let spans = segment.loss_spans();
            if spans.is_empty() {
                continue;
            }
            let group = self.group_of(segment);
            for position in spans.iter().flat_map(|span| span.start..span.end) {
                let target = row_offset + u64::from(position) - 1;
                targets.positions.push(i32::try_from(target).expect("a micro-batch has fewer than 2^31 tokens"));
                targets.groups.push(group as u32);
                self.n_targets_of[group] += 1;
            }
        }
        targets
    }

    fn group_of(&mut self, segment: &Segment) -> usize {
        let key = Group { lang: segment.lang.clone(), source: segment.source.clone(), kind: segment.kind };
        self.groups.iter().position(|group| *group == key).unwrap_or_else(|| {
            self.groups.push(key);
            self.n_targets_of.push(0);
            self.groups.len() - 1
        })
    }
}

fn loss_by(groups: &[Group], sums: &[(f64, u64)]) -> LossBy {
    let mean = |key: fn(&Group) -> &str| {
        let mut by: BTreeMap<String, (f64, u64)> = BTreeMap::new();
        for (group, (loss, n)) in groups.iter().zip(sums) {
            let entry = by.entry(key(group).to_owned()).or_default();
            *entry = (entry.0 + loss, entry.1 + n);
        }
        by.into_iter().map(|(name, (loss, n))| (name, loss / n.max(1) as f64)).collect()
    };
    LossBy {
        language: mean(|group| &group.lang),
        source: mean(|group| &group.source),
        kind: mean(|group| group.kind.as_str()),
    }
}
