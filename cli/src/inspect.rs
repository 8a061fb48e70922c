//! `moso inspect`: what is in a file or folder that moso wrote, in words.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use corpus::{
    Count, DocId, Document, Dropped, FileError, LedgerShard, Manifest, PackedShard, Segment, read_documents,
    read_dropped, read_tokens,
};
use tokenize::{Vocabulary, decode, load_tokenizer};

use crate::failure::Failure;

/// Characters of a text that are shown.
const EXCERPT: usize = 160;

/// Which records of `documents/` and `dropped/` a person wants to see.
pub(crate) struct Filter {
    pub(crate) rule: Option<String>,
    pub(crate) lang: Option<String>,
    pub(crate) source: Option<String>,
}

impl Filter {
    fn is_set(&self) -> bool {
        self.rule.is_some() || self.lang.is_some() || self.source.is_some()
    }

    fn passes(&self, rule: Option<&str>, lang: &str, source: &str) -> bool {
        let is_wanted = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is_wanted(&self.rule, rule.unwrap_or_default())
            && is_wanted(&self.lang, lang)
            && is_wanted(&self.source, source)
    }
}

/// Prints counts and a few records.
pub(crate) fn inspect(path: &Path, n_rows: usize, filter: &Filter) -> Result<(), Failure> {
    if filter.is_set() {
        return inspect_sample(path, n_rows, filter);
    }
    if !path.is_dir() {
        let folder = path.parent().unwrap_or(Path::new("."));
        let stage = Manifest::read(folder)?.stage;
        return inspect_file(&stage, path, n_rows);
    }
    let manifest = Manifest::read(path)?;
    say!("{} by stage {}, format {}", path.display(), manifest.stage, manifest.format);
    for parent in &manifest.parents {
        say!("  made from {} {}", parent.name, short(&parent.hash));
    }
    for file in &manifest.files {
        say!("  {}  {} rows, {} bytes, blake3 {}", file.path, file.rows, Count(file.bytes), short(&file.blake3));
    }
    for row in &manifest.counts {
        let amounts: Vec<String> = row.amounts.iter().map(|(unit, amount)| format!("{amount} {unit}")).collect();
        say!("  {:<3} {:<12} {:<28} {}", row.lang, row.kind, row.source, amounts.join(", "));
    }
    match manifest.paths(path).first() {
        Some(first) if first.extension().is_some_and(|end| end == "parquet" || end == "arrow") => {
            inspect_file(&manifest.stage, first, n_rows)
        }
        _ => Ok(()),
    }
}

/// Prints those records that pass the filter and have the smallest ids: ids are hashes, so the sample is fair, and the same
/// every time.
fn inspect_sample(folder: &Path, n_rows: usize, filter: &Filter) -> Result<(), Failure> {
    let manifest = Manifest::read(folder)?;
    let (mut n_found, mut sample) = (0_u64, BTreeMap::new());
    for path in manifest.paths(folder) {
        let records: Vec<(DocId, String)> = match manifest.stage.as_str() {
            "ingest" => {
                let documents = read_documents(&path)?.0.into_iter();
                let wanted = documents.filter(|one| filter.passes(None, &one.lang, &one.source));
                wanted.map(|one| (one.id, show_document(&one))).collect()
            }
            "dropped" => {
                let dropped = read_dropped(&path)?.into_iter();
                let wanted = dropped.filter(|one| filter.passes(Some(&one.rule), &one.lang, &one.source));
                wanted.map(|one| (one.id, show_dropped(&one))).collect()
            }
            other => return Err(Failure::run_file(anyhow!("files of stage {other} cannot be filtered"))),
        };
        n_found += records.len() as u64;
        sample.extend(records);
        while sample.len() > n_rows {
            sample.pop_last();
        }
    }
    say!("{n_found} records, of which {} are shown", sample.len());
    sample.values().for_each(|text| say!("{text}"));
    Ok(())
}

fn show_document(document: &Document) -> String {
    let Document { id, lang, kind, source, text, .. } = document;
    format!("  {id} {lang} {kind} {source}\n    {}", excerpt(text))
}

fn show_dropped(dropped: &Dropped) -> String {
    let Dropped { id, lang, source, locator, rule, detail, excerpt, .. } = dropped;
    format!("  {id} {lang} {source} {locator}: {rule} ({detail})\n    {excerpt}")
}

fn inspect_file(stage: &str, path: &Path, n_rows: usize) -> Result<(), Failure> {
    say!("\n{}", path.display());
    match stage {
        "ingest" => {
            read_documents(path)?.0.iter().take(n_rows).for_each(|document| say!("{}", show_document(document)));
        }
        "dropped" => read_dropped(path)?.iter().take(n_rows).for_each(|dropped| say!("{}", show_dropped(dropped))),
        "tokenize" => {
            let vocabulary = vocabulary_beside(path, 2)?;
            for document in read_tokens(path)?.into_iter().take(n_rows) {
                say!("  {} {} {} {} tokens", document.id, document.lang, document.kind, document.tokens.len());
                say!("    {}", excerpt(&text(&vocabulary, &document.tokens)));
            }
        }
        "mix" => inspect_packed(path, n_rows)?,
        "ledger" => inspect_ledger(path)?,
        other => return Err(Failure::run_file(anyhow!("files of stage {other} hold no records to show"))),
    }
    Ok(())
}

fn inspect_packed(path: &Path, n_rows: usize) -> Result<(), Failure> {
    let vocabulary = vocabulary_beside(path, 3)?;
    let shard = PackedShard::open(path)?;
    say!("  {} rows of context {}", shard.n_rows(), shard.context());
    for row in 0..shard.n_rows().min(n_rows) {
        let tokens = shard.tokens(row, 1);
        let segments = shard.segments(row)?;
        let n_targets: u64 = segments.iter().map(Segment::n_targets).sum();
        say!("  row {row}: {} segments, {n_targets} targets", segments.len());
        for segment in segments {
            let (start, end) = (segment.row_start as usize, (segment.row_start + segment.len) as usize);
            say!("    {} {} {} {start}..{end}", segment.lang, segment.kind, segment.source);
            say!("      {}", excerpt(&text(&vocabulary, &tokens[start..end])));
        }
    }
    Ok(())
}

fn inspect_ledger(path: &Path) -> Result<(), Failure> {
    let ledger = LedgerShard::open(path)?;
    let mut by_times: BTreeMap<u8, [u64; 2]> = BTreeMap::new();
    for reading in (0..ledger.n_rows()).map(|row| ledger.reading(row)) {
        let [n_documents, n_begun] = by_times.entry(reading.times).or_default();
        *n_documents += 1;
        *n_begun += u64::from(!reading.rest.is_empty());
    }
    for (times, [n_documents, n_begun]) in by_times {
        say!("  {n_documents} documents read {times} times, {n_begun} of them not to their end the last time");
    }
    Ok(())
}

/// The tokenizer of the run whose folder lies `depth` levels above `path`.
fn vocabulary_beside(path: &Path, depth: usize) -> Result<Vocabulary, Failure> {
    let path = path.canonicalize().map_err(|source| FileError::new("find", path, source))?;
    Ok(load_tokenizer(path.ancestors().nth(depth).unwrap_or(&path))?)
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn text(vocabulary: &Vocabulary, tokens: &[u32]) -> String {
    String::from_utf8_lossy(&decode(vocabulary, tokens)).into_owned()
}

fn excerpt(text: &str) -> String {
    let line: String = text.chars().take(EXCERPT).collect();
    line.replace('\n', "⏎")
}
