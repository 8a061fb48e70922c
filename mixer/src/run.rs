//! Reads `tokens/`, writes `packed/STAGE/` and `ledger/STAGE/` for every stage, and `packed/validation/`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use corpus::{
    FileEntry, FileError, FormatError, Hash, HeldOut, LEDGER_FORMAT, Manifest, ManifestError, PACKED_FORMAT,
    PackedWriter, Parent, REMOVED, Reading, Seed, Segment, Settings, Share, StageFolder, Tally, write_ledger,
};
use serde_json::{Value, json};
use thiserror::Error;

use crate::catalogue::{Catalogue, CatalogueError, Wanted, shards};
use crate::config::{Mix, StageMix};
use crate::order::Turns;
use crate::pack::Packed;
use crate::plan::{Group, Quota, Stratum, Supply, check_batches, plan};
use crate::removal::{Removal, Removed, fingerprint, parts};
use crate::shuffle::{Piece, RowShuffle, Shuffled};
use crate::stage::{Keep, Names, Part, draw, lay_out, shuffle, survey};

/// The folder of held-out rows, beside those of the stages.
pub const VALIDATION: &str = "validation";

/// Rows of one shard: large enough to be read in long strides, small enough to be remade quickly.
const SHARD_ROWS: usize = 8192;

/// What to pack.
pub struct MixJob<'a> {
    /// The run's folder: `tokens/` is read, `packed/` and `ledger/` are written.
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
    /// Take-downs, in the order in which they were made.
    pub removals: &'a [Removal],
    /// Bytes of memory to keep within; the tokens that are mapped are not counted, the system takes them back.
    pub memory: u64,
    /// Everything that can change the result, by the name of the stage.
    pub settings: &'a dyn Fn(&str) -> Settings,
}

/// What is told while a job runs: the stage, and rows packed since the last time. A break stops the job; finished stages stay.
pub type Progress<'a> = &'a dyn Fn(&str, u64) -> ControlFlow<()>;

/// Rows that cannot be packed.
#[derive(Debug, Error)]
pub enum MixError {
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Tokens, or what was read of them.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A file.
    #[error(transparent)]
    File(FileError),
    /// The mix of a stage is wrong in itself, or asks for more than there is.
    #[error("stage {stage} cannot be mixed: {}", what.join("; "))]
    TooLittle {
        /// The stage.
        stage: String,
        /// What is wrong, each with what would do.
        what: Vec<String>,
    },
    /// There are too few held-out documents.
    #[error("too little is held out: {}. Raise [eval] held_out, lower [eval] rows, or add sources", what.join("; "))]
    TooFewHeldOut {
        /// What there is too little of.
        what: Vec<String>,
    },
    /// It was asked to stop.
    #[error("interrupted while packing stage {stage}")]
    Interrupted {
        /// The stage.
        stage: String,
    },
}

/// The folder of a stage's rows inside the run's folder.
pub fn packed_folder(stage: &str) -> PathBuf {
    Path::new("packed").join(stage)
}

/// The folder, inside the run's folder, that says what has been read when a stage ends.
pub fn ledger_folder(stage: &str) -> PathBuf {
    Path::new("ledger").join(stage)
}

/// What the rows of a stage are made from: the tokens, what the stages before it have read, and what was taken down.
fn parents(job: &MixJob<'_>, stage: Option<usize>) -> Result<Vec<Parent>, ManifestError> {
    let out = job.out;
    let before = stage.and_then(|stage| stage.checked_sub(1)).map(|before| &job.stages[before].name[..]);
    let folders = [Some(PathBuf::from("tokens")), before.map(ledger_folder)];
    let parent = |folder: PathBuf| -> Result<Parent, ManifestError> {
        let hash: Hash = Manifest::read_with_hash(&out.join(&folder))?.1;
        Ok(Parent { name: folder.display().to_string(), hash })
    };
    let mut parents: Vec<Parent> = folders.into_iter().flatten().map(parent).collect::<Result<_, _>>()?;
    let removed = stage.and_then(|stage| fingerprint(job.removals, stage));
    parents.extend(removed.map(|hash| Parent { name: REMOVED.to_owned(), hash }));
    Ok(parents)
}

/// The stages whose rows are not there as the job wants them, and all behind the first of these. A later mix may be changed
/// without touching what was packed before.
pub fn unfinished(job: &MixJob<'_>) -> Result<Vec<String>, ManifestError> {
    let is_done = |name: &str, stage: Option<usize>| -> Result<bool, ManifestError> {
        let (parents, settings) = (parents(job, stage)?, (job.settings)(name));
        let rows = Manifest::new("mix", PACKED_FORMAT, &settings).with_parents(parents.clone());
        let ledger = Manifest::new("ledger", LEDGER_FORMAT, &settings).with_parents(parents);
        let ledger_is_done = stage.is_none() || ledger.is_done(&job.out.join(ledger_folder(name)));
        Ok(ledger_is_done && rows.is_done(&job.out.join(packed_folder(name))))
    };
    let mut open = Vec::new();
    if !is_done(VALIDATION, None)? {
        open.push(VALIDATION.to_owned());
    }
    for (index, stage) in job.stages.iter().enumerate() {
        if !is_done(&stage.name, Some(index))? {
            open.extend(job.stages[index..].iter().map(|stage| stage.name.clone()));
            break;
        }
    }
    Ok(open)
}

/// Packs the held-out rows and the stages that are not done.
pub fn mix(job: &MixJob<'_>, progress: Progress<'_>) -> Result<(), MixError> {
    let open = unfinished(job)?;
    // The held-out rows come first: where there are too few, nothing else is worth packing.
    if open.iter().any(|name| name == VALIDATION) {
        pack_validation(job, progress)?;
    }
    for (index, stage) in job.stages.iter().enumerate() {
        if open.contains(&stage.name) {
            pack_stage(job, index, stage, progress)?;
        }
    }
    Ok(())
}

/// Hash of what the tokens were made from: rows are of no use with another `tokenizer`, and are another mix with other `documents`.
fn behind_tokens(out: &Path, name: &str) -> Result<Option<Hash>, ManifestError> {
    let parents = Manifest::read(&out.join("tokens"))?.parents;
    Ok(parents.into_iter().find(|parent| parent.name == name).map(|parent| parent.hash))
}

/// A folder for sorted runs, gone with the value.
struct Work(PathBuf);

impl Work {
    fn begin(job: &MixJob<'_>, stage: &str) -> Result<Self, MixError> {
        let path = job.out.join("packed").join(format!(".work-{stage}"));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).map_err(|source| FileError::new("create the folder", &path, source))?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn pack_stage(job: &MixJob<'_>, index: usize, stage: &StageMix, progress: Progress<'_>) -> Result<(), MixError> {
    let StageMix { name, mix, n_rows, .. } = stage;
    let before = index.checked_sub(1).map(|before| job.out.join(ledger_folder(&job.stages[before].name)));
    let parents = parents(job, Some(index))?;
    let request =
        Request { name, mix, n_rows: *n_rows, batch_rows: stage.batch_rows, wanted: Wanted::Training, before };
    let parts = parts(job.removals, index, *n_rows);
    // What lies there stays until it is known that there is enough for something else.
    check(job, &request, &parts[0].1)?;
    let ledger = StageFolder::begin(&job.out.join(ledger_folder(name)))?;
    let mut files = Vec::new();
    pack(job, &request, parts, &parents, Some((ledger.path(), &mut files)), progress)?;
    let settings = (job.settings)(name);
    Manifest::new("ledger", LEDGER_FORMAT, &settings).with_parents(parents).with_files(files).commit(ledger.path())?;
    Ok(())
}

/// A group and its rows; nothing for a group that has none.
fn group_rows(group: &[Quota]) -> Option<(Group, u64)> {
    Some((group.first()?.stratum.group.clone(), group.iter().map(|quota| quota.n_rows).sum()))
}

/// Languages that some stage reads, sorted.
pub fn validation_languages(stages: &[StageMix]) -> Vec<&String> {
    let languages = stages.iter().flat_map(|stage| &stage.mix.language);
    let mut langs: Vec<&String> = languages.filter(|(_, share)| share.0 > 0.0).map(|(lang, _)| lang).collect();
    langs.sort();
    langs.dedup();
    langs
}

/// Plain text of every language that some stage reads, from held-out documents only.
fn pack_validation(job: &MixJob<'_>, progress: Progress<'_>) -> Result<(), MixError> {
    let langs = validation_languages(job.stages);
    let share = 1.0 / langs.len().max(1) as f64;
    let mix = Mix::plain(langs.iter().map(|&lang| (lang.clone(), Share(share))).collect(), 1);
    let n_rows = job.validation_rows * langs.len() as u64;
    let (wanted, parents) = (Wanted::Validation, parents(job, None)?);
    let request = Request { name: VALIDATION, mix: &mix, n_rows, batch_rows: 1, wanted, before: None };
    // What is held out is not trained on: a take-down does not change what was measured before it.
    pack(job, &request, vec![(0, Removed::default())], &parents, None, progress)
}

struct Request<'a> {
    name: &'a str,
    mix: &'a Mix,
    n_rows: u64,
    batch_rows: u64,
    wanted: Wanted,
    /// The ledger of what was read before.
    before: Option<PathBuf>,
}

impl Request<'_> {
    fn catalogue(&self, job: &MixJob<'_>, removed: Removed, ledger: Option<&Path>) -> Result<Catalogue<'_>, MixError> {
        // The rows of documents/ are those of tokens/; only a mix that weighs by their columns looks at them.
        let documents = (!self.mix.by.is_empty()).then(|| job.out.join("documents"));
        Ok(Catalogue {
            shards: shards(job.out, documents.as_deref(), ledger)?,
            wanted: self.wanted,
            held_out: HeldOut::new(&job.seed, job.held_out),
            removed,
            by: &self.mix.by,
            n_row_tokens: job.context + 1,
        })
    }

    fn too_little(&self, what: Vec<String>) -> MixError {
        match self.wanted {
            Wanted::Training => MixError::TooLittle { stage: self.name.to_owned(), what },
            Wanted::Validation => MixError::TooFewHeldOut { what },
        }
    }
}

/// Whether the mix can be met from what there is, as far as that can be said before documents are laid out.
fn check(job: &MixJob<'_>, request: &Request<'_>, removed: &Removed) -> Result<(), MixError> {
    let catalogue = request.catalogue(job, removed.clone(), request.before.as_deref())?;
    let supplies = survey(&catalogue)?;
    let plan = plan(request.mix, request.n_rows, job.context, &supplies, &removed.sources);
    let plan = plan.map_err(|what| request.too_little(what))?;
    let groups: Vec<(Group, u64)> = plan.iter().filter_map(|group| group_rows(group)).collect();
    check_batches(request.mix, &groups, request.batch_rows, 0).map_err(|what| request.too_little(vec![what]))
}

/// Packs one folder and commits it. `ledger` is where to write what was read, and the files that were written.
fn pack(
    job: &MixJob<'_>,
    request: &Request<'_>,
    parts: Vec<(u64, Removed)>,
    parents: &[Parent],
    mut ledger: Option<(&Path, &mut Vec<FileEntry>)>,
    progress: Progress<'_>,
) -> Result<(), MixError> {
    let folder = StageFolder::begin(&job.out.join(packed_folder(request.name)))?;
    let work = Work::begin(job, request.name)?;
    // The rows being written take their part of the memory, the sorters theirs before that.
    let n_shard_bytes = (SHARD_ROWS.min(request.n_rows as usize) * (job.context + 1) * 6) as u64;
    let memory = usize::try_from(job.memory.saturating_sub(SHARDS_IN_MEMORY * n_shard_bytes)).unwrap_or(usize::MAX);
    let mut shuffle = RowShuffle::new(&work.0.join("rows"), memory / 2);
    let (mut names, mut told) = (Names::default(), Told::default());
    let mut before = request.before.clone();
    let ends: Vec<u64> = parts.iter().skip(1).map(|part| part.0).chain([request.n_rows]).collect();
    for (index, ((first, removed), end)) in parts.into_iter().zip(ends).enumerate() {
        let catalogue = request.catalogue(job, removed, before.as_deref())?;
        let part = Part { first, n_kept: end - first };
        let mut files = Vec::new();
        let is_last = end == request.n_rows;
        let to = match &ledger {
            Some((folder, _)) if is_last => folder.to_path_buf(),
            _ => work.0.join(format!("ledger-{index}")),
        };
        let has_ledger = ledger.is_some();
        let keep = &mut |shard: usize, readings: &[Reading]| {
            if has_ledger {
                files.push(write_ledger(&to, &format!("part-{shard:05}.arrow"), readings)?);
            }
            Ok(())
        };
        pack_part(job, request, &catalogue, part, (&work.0, memory), (&mut shuffle, &mut names), keep, &mut told)?;
        match &mut ledger {
            Some((_, written)) if is_last => **written = files,
            None => {}
            Some(_) => {
                Manifest::new("ledger", LEDGER_FORMAT, &Settings::default()).with_files(files).commit(&to)?;
            }
        }
        before = Some(to);
    }
    let mut written = write_rows(job, request, folder.path(), shuffle.finish()?, &names, progress)?;
    assert_eq!(written.n_rows, request.n_rows, "every row of the plan is written");
    let mut manifest = Manifest::new("mix", PACKED_FORMAT, &(job.settings)(request.name))
        .with_parents(parents.to_vec())
        .with_files(std::mem::take(&mut written.files));
    manifest.counts = written.counts(&names);
    manifest.details = json!({
        "context": job.context, "packing": request.mix.packing, "tokenizer": behind_tokens(job.out, "tokenizer")?,
        "documents": behind_tokens(job.out, "documents")?,
        "padding_tokens": written.n_padding, "groups": told.groups, "strata": told.strata,
        "documents_read": told.n_documents, "documents_cut": told.n_cut, "documents_longer_than_a_row": told.n_long,
    });
    manifest.commit(folder.path())?;
    Ok(())
}

/// Plans a part of a stage up to the stage's end, and sends the pieces of the rows that are kept to the shuffle.
#[expect(clippy::too_many_arguments, reason = "one caller, which holds all of these anyway")]
fn pack_part(
    job: &MixJob<'_>,
    request: &Request<'_>,
    catalogue: &Catalogue<'_>,
    part: Part,
    (work, memory): (&Path, usize),
    (rows, names): (&mut RowShuffle, &mut Names),
    keep: Keep<'_>,
    told: &mut Told,
) -> Result<(), MixError> {
    let (mix, n_rows) = (request.mix, request.n_rows - part.first);
    let supplies = survey(catalogue)?;
    let mut plan = plan(mix, n_rows, job.context, &supplies, &catalogue.removed.sources)
        .map_err(|what| request.too_little(what))?;
    let groups: Vec<(Group, u64)> = plan.iter().filter_map(|group| group_rows(group)).collect();
    check_batches(mix, &groups, request.batch_rows, part.first).map_err(|what| request.too_little(vec![what]))?;
    let seed = job.seed.stream("mix");
    let drawn = draw(catalogue, &plan, &seed, &work.join("drawn"), memory / 4)?;
    let size = (job.context, n_rows);
    let layout = lay_out(drawn, &mut plan, mix, size, &supplies, &work.join("laid-out"), memory / 4);
    let layout = layout.map_err(|error| match error {
        MixError::TooLittle { what, .. } => request.too_little(what),
        error => error,
    })?;
    told.add(request, &plan, &layout.packed, &supplies, part);
    let order = seed.stream("rows").stream(request.name);
    let order = if part.first == 0 { order } else { order.stream(&format!("from row {}", part.first)) };
    shuffle(catalogue, &plan, layout, (&order, part), (rows, names), keep)
}

/// What the manifest has to tell of a mix: the rows of every group and stratum, and how documents were treated.
#[derive(Default)]
struct Told {
    groups: Vec<Value>,
    strata: Vec<Value>,
    n_documents: u64,
    n_cut: u64,
    n_long: u64,
}

impl Told {
    fn add(
        &mut self,
        request: &Request<'_>,
        plan: &[Vec<Quota>],
        packed: &[Packed],
        supplies: &BTreeMap<Stratum, Supply>,
        part: Part,
    ) {
        let quotas: Vec<(Group, u64)> = plan.iter().filter_map(|group| group_rows(group)).collect();
        let mut n_kept = vec![0_u64; quotas.len()];
        let turns = Turns::new(quotas.iter().map(|(_, n_rows)| *n_rows).collect());
        turns.groups().take(part.n_kept as usize).for_each(|group| n_kept[group] += 1);
        // Documents are told of the last part only: those of earlier ones are laid out to the stage's end and kept in part.
        (self.n_documents, self.n_cut, self.n_long) = (0, 0, 0);
        self.strata.clear();
        let mut packed = packed.iter();
        for (group, ((of, _), n_rows)) in plan.iter().filter(|group| !group.is_empty()).zip(quotas.iter().zip(n_kept)) {
            let mut epochs = 0;
            for (quota, packed) in group.iter().zip(packed.by_ref()) {
                epochs = epochs.max(packed.last_pass);
                self.n_documents += packed.n_documents;
                self.n_cut += packed.n_cut;
                self.n_long += packed.n_long;
                let Stratum { source, buckets, .. } = &quota.stratum;
                let buckets = request.mix.by.iter().zip(buckets).map(|(by, &bucket)| by.describe(bucket));
                let supply = &supplies[&quota.stratum];
                self.strata.push(json!({
                    "lang": of.lang, "kind": of.kind, "source": source, "buckets": buckets.collect::<Vec<_>>(),
                    "from_row": part.first, "share": quota.share, "rows": quota.n_rows, "epochs": packed.last_pass,
                    "documents_read": packed.n_documents, "documents_cut": packed.n_cut,
                    "documents": supply.n_documents(), "tokens": supply.n_tokens(),
                }));
            }
            let here = supplies.iter().filter(|(stratum, _)| stratum.group == *of);
            let too_long: u64 = here.map(|(_, supply)| supply.n_too_long).sum();
            let share: f64 = group.iter().map(|quota| quota.share).sum();
            self.add_group(json!({
                "lang": of.lang, "kind": of.kind, "share": share, "rows": n_rows, "epochs": epochs,
                "too_long_for_a_row": too_long,
            }));
        }
    }

    /// Adds the rows of a later part to those of an earlier one.
    fn add_group(&mut self, mut group: Value) {
        let same = |known: &&mut Value| known["lang"] == group["lang"] && known["kind"] == group["kind"];
        let Some(known) = self.groups.iter_mut().find(same) else { return self.groups.push(group) };
        let sum = known["rows"].as_u64().unwrap_or(0) + group["rows"].as_u64().unwrap_or(0);
        group["rows"] = json!(sum);
        *known = group;
    }
}

/// Shards of rows that are in memory at once: one that is filled, and one that is written meanwhile.
const SHARDS_IN_MEMORY: u64 = 2;

#[derive(Default)]
struct Written {
    files: Vec<FileEntry>,
    n_rows: u64,
    n_padding: u64,
    /// Tokens and targets by name.
    by_name: Vec<[u64; 2]>,
}

impl Written {
    fn count(&mut self, name: usize, segment: &Segment) {
        self.by_name.resize(self.by_name.len().max(name + 1), [0; 2]);
        // The first token of a row is not predicted and not counted.
        self.by_name[name][0] += u64::from(segment.len) - u64::from(segment.row_start == 0);
        self.by_name[name][1] += segment.n_targets();
    }

    fn counts(&self, names: &Names) -> Vec<Tally> {
        let mut counts = Vec::new();
        for ((lang, source, kind), [n_tokens, n_targets]) in names.0.iter().zip(&self.by_name) {
            let key = (&lang[..], &source[..], kind.as_str());
            Tally::add(&mut counts, key, "tokens", *n_tokens);
            Tally::add(&mut counts, key, "targets", *n_targets);
        }
        counts
    }
}

/// Writes the rows in their order; full shards are hashed and written beside, on a thread of their own.
fn write_rows(
    job: &MixJob<'_>,
    request: &Request<'_>,
    folder: &Path,
    mut pieces: Shuffled,
    names: &Names,
    progress: Progress<'_>,
) -> Result<Written, MixError> {
    let (sender, full) = crossbeam::channel::bounded::<PackedWriter>(0);
    let write = move || -> Result<Vec<FileEntry>, FormatError> {
        let named = full.into_iter().enumerate();
        named.map(|(index, shard)| shard.finish(folder, &format!("part-{index:05}.arrow"))).collect()
    };
    std::thread::scope(|scope| {
        // Moved in: where filling rows panics, the writer must see that nothing more comes.
        let sender = sender;
        let writing = scope.spawn(write);
        let rows = fill_rows(job.context, request, &mut pieces, names, (&sender, progress));
        drop(sender);
        let files = writing.join().expect("writing a shard does not panic").map_err(CatalogueError::from)?;
        Ok(Written { files, ..rows? })
    })
}

/// Puts pieces into rows and rows into shards, and hands over full shards. Ends early where nobody takes them any more: why, the
/// writer says.
fn fill_rows(
    context: usize,
    request: &Request<'_>,
    pieces: &mut Shuffled,
    names: &Names,
    (full, progress): (&crossbeam::channel::Sender<PackedWriter>, Progress<'_>),
) -> Result<Written, MixError> {
    let mut written = Written::default();
    let mut row = Row::new(context);
    let mut shard = PackedWriter::new(context);
    let mut next = pieces.next()?.map(|piece| row.put(&piece, names, &mut written));
    while let Some(number) = next {
        next = match pieces.next()? {
            Some(piece) if piece.row == number => Some(row.put(&piece, names, &mut written)),
            piece => {
                assert_eq!(number, written.n_rows, "no row is left out");
                row.write(&mut shard, &mut written);
                let is_last = piece.is_none();
                if shard.n_rows() == SHARD_ROWS || is_last {
                    let n_rows = shard.n_rows() as u64;
                    let is_taken = full.send(std::mem::replace(&mut shard, PackedWriter::new(context))).is_ok();
                    if progress(request.name, n_rows).is_break() && !is_last {
                        return Err(MixError::Interrupted { stage: request.name.to_owned() });
                    }
                    if !is_taken {
                        return Ok(written);
                    }
                }
                piece.map(|piece| row.put(&piece, names, &mut written))
            }
        };
    }
    Ok(written)
}

/// A row while its pieces come in.
struct Row {
    tokens: Vec<u32>,
    segments: Vec<Segment>,
}

impl Row {
    fn new(context: usize) -> Self {
        Self { tokens: vec![0; context + 1], segments: Vec::new() }
    }

    /// Puts a piece in its place; gives the number of the row.
    fn put(&mut self, piece: &Piece<'_>, names: &Names, written: &mut Written) -> u64 {
        let (lang, source, kind) = &names.0[piece.name as usize];
        let segment = Segment {
            doc: piece.id,
            row_start: piece.row_start,
            len: (piece.tokens.len() / 4) as u32,
            doc_offset: piece.doc_offset,
            loss: piece.loss.clone(),
            source: source.clone(),
            lang: lang.clone(),
            kind: *kind,
        };
        written.count(piece.name as usize, &segment);
        let start = segment.row_start as usize;
        let place = &mut self.tokens[start..start + segment.len as usize];
        let words = piece.tokens.as_chunks::<4>().0;
        place.iter_mut().zip(words).for_each(|(token, word)| *token = u32::from_le_bytes(*word));
        self.segments.push(segment);
        piece.row
    }

    /// Appends the row to a shard and clears it: padding is token 0 that no segment covers.
    fn write(&mut self, shard: &mut PackedWriter, written: &mut Written) {
        let n_covered: u64 = self.segments.iter().map(|segment| u64::from(segment.len)).sum();
        written.n_padding += self.tokens.len() as u64 - n_covered;
        written.n_rows += 1;
        shard.push(&self.tokens, std::mem::take(&mut self.segments));
        self.tokens.fill(0);
    }
}
