//! The two stages: `tokenizer/` (tokenizer.json, token lengths) and `tokens/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use corpus::{
    DocumentBatch, FileEntry, FileError, FormatError, Manifest, ManifestError, Parent, Seed, Settings, Span,
    StageFolder, TOKENS_FORMAT, Tally, TokenBatch, TokensWriter, document_batches, write_atomically,
};
use rayon::prelude::*;
use serde_json::json;
use thiserror::Error;

use crate::config::{EMOJI, Labels, TokenizerConfig};
use crate::encoder::Encoder;
use crate::import::{ImportError, cl100k_base, read_tiktoken};
use crate::pattern::Pattern;
use crate::sample::{Compression, compression, sample};
use crate::tokenizer_json::{TokenizerJsonError, from_tokenizer_json, to_tokenizer_json};
use crate::train::{TrainError, train};
use crate::vocabulary::Vocabulary;

/// Version of `tokenizer/`.
pub const TOKENIZER_FORMAT: u32 = 1;

/// cl100k_base's 100,256 ranks and our three special ids.
const CL100K_IDS: u64 = 100_259;

/// Batches of a shard that are in memory at once, for each thread.
const BATCHES_PER_THREAD: usize = 2;

/// A vocabulary that cannot be made, or documents that cannot be tokenized.
#[derive(Debug, Error)]
pub enum TokenizeError {
    /// The documents' or the tokenizer's manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A shard.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A rank file.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A tokenizer.json.
    #[error("{} cannot be used", path.display())]
    TokenizerJson {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TokenizerJsonError,
    },
    /// A file that is no text.
    #[error("{} is not UTF-8 from byte {position} on", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first byte that is wrong.
        position: usize,
    },
    /// The sample does not fill the vocabulary.
    #[error(transparent)]
    Train(#[from] TrainError),
}

/// Makes `out/tokenizer/`. A sample is drawn from plain documents that are not held out. Gives how well the sample that it was
/// trained on is compressed; nothing for a vocabulary that is imported.
pub fn make_tokenizer(
    out: &Path,
    config: &TokenizerConfig,
    (seed, held_out): (&Seed, f64),
    settings: &Settings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Compression>, TokenizeError> {
    let parents = tokenizer_parents(out, config)?;
    let mut compressions = Vec::new();
    let vocabulary = match config {
        TokenizerConfig::Cl100kBase => cl100k_base(),
        TokenizerConfig::RankFile(path, pattern) => read_ranks(path, pattern)?,
        TokenizerConfig::TokenizerJson(path) => parse_tokenizer(path)?,
        TokenizerConfig::Train { ids, sample_bytes, language } => {
            let sample = sample(&out.join("documents"), *sample_bytes, language, seed, held_out)?;
            let texts: Vec<&str> = sample.iter().map(|document| &document.text[..]).collect();
            let vocabulary = train(Pattern::Bilingual, &texts, *ids as usize, progress)?;
            compressions = compression(&sample, &vocabulary, &cl100k_base());
            vocabulary
        }
    };
    let folder = StageFolder::begin(&out.join("tokenizer"))?;
    let lengths = serde_json::to_vec(&lengths_of(&vocabulary)).expect("numbers are JSON");
    let files = vec![
        write_atomically(
            folder.path(),
            "tokenizer.json",
            to_tokenizer_json(&vocabulary).as_bytes(),
            vocabulary.n_ids() as u64,
        )?,
        write_atomically(folder.path(), "token_lengths.json", &lengths, vocabulary.n_ids() as u64)?,
    ];
    let mut manifest = Manifest::new("tokenizer", TOKENIZER_FORMAT, settings).with_parents(parents).with_files(files);
    manifest.details = json!({
        "ids": vocabulary.n_ids(),
        "ids_padded": vocabulary.n_ids_padded(),
        "sample": compressions,
    });
    manifest.commit(folder.path())?;
    Ok(compressions)
}

/// What a tokenizer is made from: the documents it is trained on, or the file it is read from.
pub fn tokenizer_parents(out: &Path, config: &TokenizerConfig) -> Result<Vec<Parent>, TokenizeError> {
    let (name, hash) = match config {
        TokenizerConfig::Cl100kBase => return Ok(Vec::new()),
        TokenizerConfig::RankFile(path, _) | TokenizerConfig::TokenizerJson(path) => {
            ("imported file", corpus::hash_file(path)?)
        }
        TokenizerConfig::Train { .. } => ("documents", Manifest::read_with_hash(&out.join("documents"))?.1),
    };
    Ok(vec![Parent { name: name.to_owned(), hash }])
}

/// Number of ids that a configuration gives, padding not counted. Reads an imported file; runs nothing.
pub fn n_ids(config: &TokenizerConfig) -> Result<u64, TokenizeError> {
    match config {
        TokenizerConfig::Cl100kBase => Ok(CL100K_IDS),
        TokenizerConfig::Train { ids, .. } => Ok(u64::from(*ids)),
        TokenizerConfig::RankFile(path, pattern) => Ok(read_ranks(path, pattern)?.n_ids() as u64),
        TokenizerConfig::TokenizerJson(path) => Ok(parse_tokenizer(path)?.n_ids() as u64),
    }
}

/// The vocabulary of a run.
pub fn load_tokenizer(out: &Path) -> Result<Vocabulary, TokenizeError> {
    let folder = out.join("tokenizer");
    Manifest::read(&folder)?;
    parse_tokenizer(&folder.join("tokenizer.json"))
}

/// Length in bytes of the text of every id, 0 for special and padding ids: what turns nats per token into bits per byte.
pub fn token_lengths(out: &Path) -> Result<Vec<u32>, TokenizeError> {
    load_tokenizer(out).map(|vocabulary| lengths_of(&vocabulary))
}

fn lengths_of(vocabulary: &Vocabulary) -> Vec<u32> {
    let special: Vec<u32> = vocabulary.special_tokens().map(|(_, id)| id.0).collect();
    let length = |id: u32| match vocabulary.token_bytes(crate::TokenId(id)) {
        Some(bytes) if !special.contains(&id) => bytes.len() as u32,
        _ => 0,
    };
    (0..vocabulary.n_ids_padded() as u32).map(length).collect()
}

fn read_ranks(path: &Path, pattern: &Pattern) -> Result<Vocabulary, TokenizeError> {
    Ok(read_tiktoken(&read(path)?, &path.display().to_string(), pattern.clone())?)
}

fn parse_tokenizer(path: &Path) -> Result<Vocabulary, TokenizeError> {
    let text = String::from_utf8(read(path)?).map_err(|source| TokenizeError::NotText {
        path: path.to_owned(),
        position: source.utf8_error().valid_up_to(),
    })?;
    from_tokenizer_json(&text).map_err(|source| TokenizeError::TokenizerJson { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, TokenizeError> {
    Ok(fs::read(path).map_err(|source| FileError::new("read", path, source))?)
}

/// Turns `out/documents/` into `out/tokens/`, shards side by side. `progress` is told of documents and bytes.
pub fn tokenize(
    out: &Path,
    labels: Labels,
    settings: &Settings,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), TokenizeError> {
    let documents = out.join("documents");
    let (manifest, documents_hash) = Manifest::read_with_hash(&documents)?;
    let (_, tokenizer_hash) = Manifest::read_with_hash(&out.join("tokenizer"))?;
    let vocabulary = load_tokenizer(out)?;
    let folder = StageFolder::begin(&out.join("tokens"))?;
    let encoders = Encoders::new(&vocabulary, labels);
    let shards = manifest.paths(&documents).into_par_iter().enumerate().map(|(index, path)| {
        let writer = TokensWriter::create(folder.path(), &format!("part-{index:05}.arrow"))?;
        tokenize_shard(&path, writer, &encoders, progress)
    });
    let (mut files, mut counts) = (Vec::new(), Vec::new());
    for (file, shard_counts) in shards.collect::<Result<Vec<_>, TokenizeError>>()? {
        files.push(file);
        for Tally { lang, source, kind, amounts } in shard_counts {
            amounts.iter().for_each(|(unit, n)| Tally::add(&mut counts, (&lang, &source, &kind), unit, *n));
        }
    }
    let parents = vec![
        Parent { name: "documents".to_owned(), hash: documents_hash },
        Parent { name: "tokenizer".to_owned(), hash: tokenizer_hash },
    ];
    let mut tokens = Manifest::new("tokenize", TOKENS_FORMAT, settings).with_parents(parents).with_files(files);
    tokens.counts = counts;
    assert_eq!(tokens.n_rows(), manifest.n_rows(), "every document becomes one row of tokens");
    tokens.commit(folder.path())?;
    Ok(())
}

/// Encoders that are not at work. One is taken for a batch and keeps what it has seen for the next.
struct Encoders<'v> {
    vocabulary: &'v Vocabulary,
    /// By id: whether the token is a part of a character.
    is_part: Vec<bool>,
    /// The tokens of a label, false and true.
    labels: [Vec<u32>; 2],
    idle: Mutex<Vec<Encoder<'v>>>,
}

impl<'v> Encoders<'v> {
    fn new(vocabulary: &'v Vocabulary, labels: Labels) -> Encoders<'v> {
        let is_part = |id| matches!(vocabulary.token_bytes(crate::TokenId(id)), Some(&[0x80..=0xFF]));
        let is_part = (0..vocabulary.n_ids() as u32).map(is_part).collect();
        Encoders { vocabulary, is_part, labels: label_tokens(vocabulary, labels), idle: Mutex::default() }
    }

    fn take(&self) -> Encoder<'v> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Encoder::new(self.vocabulary))
    }

    fn put_back(&self, encoder: Encoder<'v>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(encoder);
    }
}

fn tokenize_shard(
    path: &Path,
    mut writer: TokensWriter,
    encoders: &Encoders<'_>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(FileEntry, Vec<Tally>), TokenizeError> {
    let mut counts = Vec::new();
    let mut batches = document_batches(path)?;
    loop {
        let some = batches.by_ref().take(BATCHES_PER_THREAD * rayon::current_num_threads());
        let some: Vec<DocumentBatch> = some.collect::<Result<_, _>>()?;
        if some.is_empty() {
            return Ok((writer.finish()?, counts));
        }
        let encode = |batch: &DocumentBatch| {
            let mut encoder = encoders.take();
            let encoded = encode_batch(encoders, &mut encoder, batch);
            encoders.put_back(encoder);
            encoded
        };
        let encoded: Vec<_> = some.par_iter().map(encode).collect();
        for (batch, (tokens, n_in_parts)) in some.iter().zip(encoded) {
            let mut n_bytes = 0;
            for (row, (n_tokens, n_in_parts)) in tokens.lengths.iter().zip(n_in_parts).enumerate() {
                let key = (batch.lang(row), batch.source(row), batch.kind(row).as_str());
                for (unit, n) in [
                    ("documents", 1),
                    ("bytes", batch.text(row).len()),
                    ("tokens", *n_tokens),
                    ("bytes_in_parts", n_in_parts),
                ] {
                    Tally::add(&mut counts, key, unit, n as u64);
                }
                n_bytes += batch.text(row).len();
            }
            writer.write(batch, tokens)?;
            progress(batch.n_rows() as u64, n_bytes as u64);
        }
    }
}

/// The tokens of a batch, and for each document how many of its bytes are tokens by themselves although they are a part of a
/// character only: what the vocabulary does not know.
///
/// A document is its text, then the label of a proposition, then the end of the text. Only a label carries loss in a proposition;
/// where spans of the text do, so does its end, which is the last thing that is answered.
fn encode_batch(encoders: &Encoders<'_>, encoder: &mut Encoder<'_>, batch: &DocumentBatch) -> (TokenBatch, Vec<usize>) {
    let (vocabulary, n_rows) = (encoders.vocabulary, batch.n_rows());
    let mut encoded =
        TokenBatch { tokens: Vec::new(), lengths: Vec::with_capacity(n_rows), loss: Vec::with_capacity(n_rows) };
    let mut n_in_parts = Vec::with_capacity(n_rows);
    for row in 0..n_rows {
        let start = encoded.tokens.len();
        let mut loss = encode_text(encoder, batch.text(row), batch.loss(row).as_deref(), &mut encoded.tokens);
        let text_tokens = &encoded.tokens[start..];
        n_in_parts.push(text_tokens.iter().filter(|&&id| encoders.is_part[id as usize]).count());
        let n_text = u32::try_from(text_tokens.len()).expect("a document has fewer than 2^32 tokens");
        let behind_text = |n_tokens: usize| Span { start: n_text, end: n_text + n_tokens as u32 };
        if let Some(label) = batch.label(row) {
            let label = &encoders.labels[usize::from(label)];
            encoded.tokens.extend(label);
            loss = Some(vec![behind_text(label.len())]);
        } else if let Some(spans) = &mut loss {
            push_span(spans, behind_text(1));
        }
        encoded.loss.push(loss);
        encoded.tokens.push(vocabulary.end_of_text().0);
        encoded.lengths.push(encoded.tokens.len() - start);
    }
    (encoded, n_in_parts)
}

/// The tokens of both labels, false and true.
pub(crate) fn label_tokens(vocabulary: &Vocabulary, labels: Labels) -> [Vec<u32>; 2] {
    match labels {
        Labels::Reserved => [false, true].map(|truth| vec![vocabulary.label(truth).0]),
        Labels::Emoji => EMOJI.map(|emoji| {
            let mut tokens = Vec::new();
            Encoder::new(vocabulary).encode(emoji, &mut tokens);
            tokens
        }),
    }
}

/// Appends the tokens of a text. Gives the tokens of some spans of it, which are encoded by themselves, so that no token stands on
/// both sides of a border.
pub(crate) fn encode_text(
    encoder: &mut Encoder<'_>,
    text: &str,
    spans: Option<&[Span]>,
    tokens: &mut Vec<u32>,
) -> Option<Vec<Span>> {
    let Some(spans) = spans else {
        encoder.encode(text, tokens);
        return None;
    };
    let (first, mut end, mut of_tokens) = (tokens.len(), 0, Vec::with_capacity(spans.len() + 1));
    let place = |n: usize| u32::try_from(n - first).expect("a document has fewer than 2^32 tokens");
    for span in spans {
        encoder.encode(&text[end..span.start as usize], tokens);
        let start = tokens.len();
        end = span.end as usize;
        encoder.encode(&text[span.start as usize..end], tokens);
        push_span(&mut of_tokens, Span { start: place(start), end: place(tokens.len()) });
    }
    encoder.encode(&text[end..], tokens);
    Some(of_tokens)
}

/// Appends a span, which becomes one with the last where nothing lies between them.
fn push_span(spans: &mut Vec<Span>, span: Span) {
    match spans.last_mut() {
        Some(last) if last.end == span.start => last.end = span.end,
        _ => spans.push(span),
    }
}
