//! `moso inspect`: what is in a file or folder that moso wrote, in words.

use std::path::Path;

use anyhow::anyhow;
use corpus::{Count, FileError, Manifest, PackedShard, Segment, read_documents, read_dropped, read_tokens};
use tokenize::{Vocabulary, decode, load_tokenizer};

use crate::failure::Failure;

/// Characters of a text that are shown.
const EXCERPT: usize = 160;

/// Prints counts and a few records.
pub(crate) fn inspect(path: &Path, n_rows: usize) -> Result<(), Failure> {
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

fn inspect_file(stage: &str, path: &Path, n_rows: usize) -> Result<(), Failure> {
    say!("\n{}", path.display());
    match stage {
        "ingest" => {
            for document in read_documents(path)?.0.into_iter().take(n_rows) {
                say!("  {} {} {} {}", document.id, document.lang, document.kind, document.source);
                say!("    {}", excerpt(&document.text));
            }
        }
        "dropped" => {
            for dropped in read_dropped(path)?.into_iter().take(n_rows) {
                say!(
                    "  {} {} {} {}: {} ({})",
                    dropped.id,
                    dropped.lang,
                    dropped.source,
                    dropped.locator,
                    dropped.rule,
                    dropped.detail
                );
            }
        }
        "tokenize" => {
            let vocabulary = vocabulary_beside(path, 2)?;
            for document in read_tokens(path)?.into_iter().take(n_rows) {
                say!("  {} {} {} {} tokens", document.id, document.lang, document.kind, document.tokens.len());
                say!("    {}", excerpt(&text(&vocabulary, &document.tokens)));
            }
        }
        "mix" => inspect_packed(path, n_rows)?,
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
