//! Reads `tokens/`, writes `packed/STAGE/` for every stage and `packed/validation/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use corpus::{
    FileEntry, FileError, FormatError, Kind, Manifest, ManifestError, PACKED_FORMAT, PackedWriter, Parent, Seed,
    Settings, StageFolder, Tally, TokenizedDocument, is_held_out, read_tokens,
};
use serde_json::json;
use thiserror::Error;

use crate::config::StageMix;
use crate::pack::{Row, Stream};
use crate::plan::{Group, interleave, quotas};

/// The folder of held-out rows, beside those of the stages.
pub const VALIDATION: &str = "validation";

/// Rows of one shard: large enough to be read in long strides, small enough to be remade quickly.
const SHARD_ROWS: usize = 8192;

/// What to pack.
#[derive(Clone, Debug)]
pub struct MixJob<'a> {
    /// The run's folder: `tokens/` is read, `packed/` is written.
    pub out: &'a Path,
    /// Stages, in training order.
    pub stages: &'a [StageMix],
    /// Tokens that a row predicts.
    pub context: usize,
    /// Root seed of the run.
    pub seed: Seed,
    /// Share of all documents that is held out.
    pub held_out: f64,
    /// Held-out rows of plain text packed for each language.
    pub validation_rows: u64,
    /// Everything that can change the result.
    pub settings: &'a Settings,
}

/// Rows that cannot be packed.
#[derive(Debug, Error)]
pub enum MixError {
    /// The tokens' manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A shard.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The shares of a stage do not add up.
    #[error("stage {stage}: {what}")]
    Shares {
        /// The stage.
        stage: String,
        /// What is wrong.
        what: String,
    },
    /// There is too little of a group.
    #[error(
        "stage {stage} needs {needed} rows of {group}; epoch {epochs_max}, the last that epochs_max allows, ends after \
         {found} of them. Lower its share or the budget, raise epochs_max, or add sources"
    )]
    TooLittle {
        /// The stage.
        stage: String,
        /// What there is too little of.
        group: Group,
        /// Rows needed.
        needed: u64,
        /// Rows there are.
        found: u64,
        /// Limit of the mix.
        epochs_max: u32,
    },
    /// There are too few held-out documents.
    #[error(
        "the held-out documents give {found} rows of {group}, {needed} are needed: raise [eval] held_out, lower \
         [eval] rows, or add sources"
    )]
    TooFewHeldOut {
        /// What there is too little of.
        group: Group,
        /// Rows needed.
        needed: u64,
        /// Rows there are.
        found: u64,
    },
}

/// The folder of a stage's rows inside the run's folder.
pub fn packed_folder(stage: &str) -> PathBuf {
    Path::new("packed").join(stage)
}

/// Packs all stages and the held-out rows. `progress` is told of every stage that is done.
pub fn mix(job: &MixJob<'_>, progress: &dyn Fn(&str, u64)) -> Result<(), MixError> {
    let tokens = job.out.join("tokens");
    let (manifest, hash) = Manifest::read_with_hash(&tokens)?;
    let parents = vec![Parent { name: "tokens".to_owned(), hash }];
    let mut documents: Vec<TokenizedDocument> = Vec::new();
    for path in manifest.paths(&tokens) {
        documents.extend(read_tokens(&path)?);
    }
    let (held_out, training): (Vec<_>, Vec<_>) =
        documents.iter().partition(|document| is_held_out(&job.seed, document.id, job.held_out));
    // The held-out rows come first: where there are too few, nothing else is worth packing.
    pack_validation(job, &held_out, &parents)?;
    progress(VALIDATION, 0);
    let mut streams = streams(job, &training);
    for stage in job.stages {
        pack_stage(job, stage, &mut streams, &parents)?;
        progress(&stage.name, stage.n_rows);
    }
    Ok(())
}

fn streams<'d>(job: &MixJob<'_>, documents: &[&'d TokenizedDocument]) -> BTreeMap<Group, Stream<'d>> {
    let mut groups: BTreeMap<Group, Vec<&TokenizedDocument>> = BTreeMap::new();
    for &document in documents {
        let group = Group { lang: document.lang.clone(), kind: document.kind };
        groups.entry(group).or_default().push(document);
    }
    let seed = job.seed.stream("mix");
    let stream = |(group, documents): (Group, Vec<&'d TokenizedDocument>)| {
        let stream = Stream::new(documents, seed.stream(&group.to_string()), job.context);
        (group, stream)
    };
    groups.into_iter().map(stream).collect()
}

fn pack_stage(
    job: &MixJob<'_>,
    stage: &StageMix,
    streams: &mut BTreeMap<Group, Stream<'_>>,
    parents: &[Parent],
) -> Result<(), MixError> {
    let shares = stage.mix.shares().map_err(|what| MixError::Shares { stage: stage.name.clone(), what })?;
    let quotas = quotas(&shares.iter().map(|(_, share)| *share).collect::<Vec<_>>(), stage.n_rows);
    let mut rows_of_groups = Vec::new();
    let mut planned = Vec::new();
    for ((group, share), &quota) in shares.iter().zip(&quotas) {
        let rows = take_rows(stage, group, quota, streams.get_mut(group))?;
        planned.push(json!({
            "lang": group.lang,
            "kind": group.kind,
            "share": share,
            "rows": quota,
            "epochs": streams.get(group).map_or(0, Stream::n_epochs),
            "too_long_for_a_row": streams.get(group).map_or(0, Stream::n_too_long),
        }));
        rows_of_groups.push(shuffled(rows, &job.seed.stream("rows").stream(&stage.name).stream(&group.to_string())));
    }
    let rows = interleave(&quotas)
        .into_iter()
        .map(|group| rows_of_groups[group].next().expect("a group has as many rows as turns"));
    write_rows(job, &stage.name, rows, planned, parents)
}

fn take_rows(
    stage: &StageMix,
    group: &Group,
    quota: u64,
    stream: Option<&mut Stream<'_>>,
) -> Result<Vec<Row>, MixError> {
    let epochs_max = stage.mix.epochs_max;
    let too_little = |found| MixError::TooLittle {
        stage: stage.name.clone(),
        group: group.clone(),
        needed: quota,
        found,
        epochs_max,
    };
    let mut rows = Vec::new();
    if quota == 0 {
        return Ok(rows);
    }
    let stream = stream.filter(|stream| !stream.is_empty()).ok_or_else(|| too_little(0))?;
    for found in 0..quota {
        rows.push(stream.next_row());
        if stream.n_epochs() > epochs_max {
            return Err(too_little(found));
        }
    }
    Ok(rows)
}

fn shuffled(rows: Vec<Row>, seed: &Seed) -> std::vec::IntoIter<Row> {
    let mut keyed: Vec<(u64, Row)> =
        rows.into_iter().enumerate().map(|(index, row)| (seed.order_key(&(index as u64).to_le_bytes()), row)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, row)| row).collect::<Vec<_>>().into_iter()
}

/// Plain text of every language that some stage reads, from held-out documents only.
fn pack_validation(job: &MixJob<'_>, held_out: &[&TokenizedDocument], parents: &[Parent]) -> Result<(), MixError> {
    let mut langs: Vec<&String> = job.stages.iter().flat_map(|stage| stage.mix.language.keys()).collect();
    langs.sort();
    langs.dedup();
    let mut rows = Vec::new();
    for lang in langs {
        let group = Group { lang: lang.clone(), kind: Kind::Plain };
        let belongs = |document: &&&TokenizedDocument| document.lang == *lang && document.kind == Kind::Plain;
        let documents: Vec<_> = held_out.iter().filter(belongs).copied().collect();
        let mut stream = Stream::new(documents, job.seed.stream(VALIDATION).stream(lang), job.context);
        for found in 0..job.validation_rows {
            let row = (!stream.is_empty()).then(|| stream.next_row()).filter(|_| stream.n_epochs() == 1);
            let needed = job.validation_rows;
            rows.push(row.ok_or_else(|| MixError::TooFewHeldOut { group: group.clone(), needed, found })?);
        }
    }
    write_rows(job, VALIDATION, rows.into_iter(), Vec::new(), parents)
}

fn write_rows(
    job: &MixJob<'_>,
    name: &str,
    rows: impl Iterator<Item = Row>,
    planned: Vec<serde_json::Value>,
    parents: &[Parent],
) -> Result<(), MixError> {
    let folder = StageFolder::begin(&job.out.join(packed_folder(name)))?;
    let mut files: Vec<FileEntry> = Vec::new();
    let mut counts = Vec::new();
    let mut n_padding = 0;
    let mut writer = PackedWriter::new(job.context);
    let shard = |writer: PackedWriter, index: usize| writer.finish(folder.path(), &format!("part-{index:05}.arrow"));
    for row in rows {
        let n_covered: u64 = row.segments.iter().map(|segment| u64::from(segment.len)).sum();
        n_padding += row.tokens.len() as u64 - n_covered;
        for segment in &row.segments {
            let key = (&segment.lang[..], &segment.source[..], segment.kind.as_str());
            // The first token of a row repeats the last of the row before and is not counted again.
            let n_tokens = u64::from(segment.len) - u64::from(segment.row_start == 0);
            Tally::add(&mut counts, key, "tokens", n_tokens);
            Tally::add(&mut counts, key, "targets", segment.n_targets());
        }
        writer.push(&row.tokens, row.segments);
        if writer.n_rows() == SHARD_ROWS {
            files.push(shard(std::mem::replace(&mut writer, PackedWriter::new(job.context)), files.len())?);
        }
    }
    if writer.n_rows() > 0 {
        files.push(shard(writer, files.len())?);
    }
    let mut manifest =
        Manifest::new("mix", PACKED_FORMAT, job.settings).with_parents(parents.to_vec()).with_files(files);
    manifest.counts = counts;
    manifest.details = json!({ "context": job.context, "padding_tokens": n_padding, "groups": planned });
    manifest.commit(folder.path())?;
    Ok(())
}
