//! The two stages: `tokenizer/` (tokenizer.json, token lengths) and `tokens/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use corpus::{
    Document, FileError, FormatError, Kind, Manifest, ManifestError, Parent, Seed, Settings, Span, StageFolder,
    TOKENS_FORMAT, Tally, TokenizedDocument, is_held_out, read_documents, write_atomically, write_tokens,
};
use rayon::prelude::*;
use serde_json::json;
use thiserror::Error;

use crate::config::TokenizerConfig;
use crate::encoder::Encoder;
use crate::import::{ImportError, cl100k_base, read_tiktoken};
use crate::pattern::Pattern;
use crate::tokenizer_json::{TokenizerJsonError, from_tokenizer_json, to_tokenizer_json};
use crate::train::{TrainError, train};
use crate::vocabulary::Vocabulary;

/// Version of `tokenizer/`.
pub const TOKENIZER_FORMAT: u32 = 1;

/// cl100k_base's 100,256 ranks and our three special ids.
const CL100K_IDS: u64 = 100_259;

/// Documents that one encoder takes in a row: enough to warm its cache, few enough to share the work evenly.
const DOCUMENTS_PER_TASK: usize = 64;

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
    /// The sample does not fill the vocabulary.
    #[error(transparent)]
    Train(#[from] TrainError),
}

/// Makes `out/tokenizer/`. A sample is drawn from plain documents that are not held out.
pub fn make_tokenizer(
    out: &Path,
    config: &TokenizerConfig,
    (seed, held_out): (&Seed, f64),
    settings: &Settings,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<(), TokenizeError> {
    let parents = tokenizer_parents(out, config)?;
    let vocabulary = match config {
        TokenizerConfig::Cl100kBase => cl100k_base(),
        TokenizerConfig::RankFile(path) => read_tiktoken(&read(path)?, &path.display().to_string(), Pattern::Cl100k)?,
        TokenizerConfig::TokenizerJson(path) => parse_tokenizer(path)?,
        TokenizerConfig::Train { ids, sample_bytes, language } => {
            let documents = out.join("documents");
            let texts =
                sample(&Manifest::read(&documents)?.paths(&documents), *sample_bytes, language, seed, held_out)?;
            train(Pattern::Bilingual, &texts.iter().map(String::as_str).collect::<Vec<_>>(), *ids as usize, progress)?
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
    manifest.details = json!({ "ids": vocabulary.n_ids(), "ids_padded": vocabulary.n_ids_padded() });
    manifest.commit(folder.path())?;
    Ok(())
}

/// What a tokenizer is made from: the documents it is trained on, or the file it is read from.
pub fn tokenizer_parents(out: &Path, config: &TokenizerConfig) -> Result<Vec<Parent>, TokenizeError> {
    let (name, hash) = match config {
        TokenizerConfig::Cl100kBase => return Ok(Vec::new()),
        TokenizerConfig::RankFile(path) | TokenizerConfig::TokenizerJson(path) => {
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
        TokenizerConfig::RankFile(path) => {
            Ok(read_tiktoken(&read(path)?, &path.display().to_string(), Pattern::Cl100k)?.n_ids() as u64)
        }
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

fn parse_tokenizer(path: &Path) -> Result<Vocabulary, TokenizeError> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    from_tokenizer_json(&text).map_err(|source| TokenizeError::TokenizerJson { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, TokenizeError> {
    Ok(fs::read(path).map_err(|source| FileError::new("read", path, source))?)
}

/// Whole documents in a seeded order until every language has its share of the bytes.
fn sample(
    paths: &[PathBuf],
    sample_bytes: u64,
    language: &BTreeMap<String, corpus::Share>,
    seed: &Seed,
    held_out: f64,
) -> Result<Vec<String>, TokenizeError> {
    let seed_of_sample = seed.stream("tokenizer-sample");
    let mut documents: Vec<Document> = Vec::new();
    for path in paths {
        let wanted = |document: &Document| {
            document.kind == Kind::Plain
                && language.contains_key(&document.lang)
                && !is_held_out(seed, document.id, held_out)
        };
        documents.extend(read_documents(path)?.0.into_iter().filter(wanted));
    }
    documents.sort_by_cached_key(|document| (seed_of_sample.order_key(&document.id.0), document.id));
    let mut budgets: BTreeMap<&str, f64> =
        language.iter().map(|(lang, share)| (&lang[..], share.0 * sample_bytes as f64)).collect();
    let mut texts = Vec::new();
    for document in documents {
        let budget = budgets.get_mut(&document.lang[..]).expect("only wanted languages are left");
        if *budget > 0.0 {
            *budget -= document.text.len() as f64;
            texts.push(document.text);
        }
    }
    Ok(texts)
}

/// Turns `out/documents/` into `out/tokens/`, shard by shard. `progress` is told of documents and bytes.
pub fn tokenize(out: &Path, settings: &Settings, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<(), TokenizeError> {
    let documents = out.join("documents");
    let (manifest, documents_hash) = Manifest::read_with_hash(&documents)?;
    let (_, tokenizer_hash) = Manifest::read_with_hash(&out.join("tokenizer"))?;
    let vocabulary = load_tokenizer(out)?;
    let folder = StageFolder::begin(&out.join("tokens"))?;
    let (mut files, mut counts) = (Vec::new(), Vec::new());
    for (index, path) in manifest.paths(&documents).iter().enumerate() {
        let (documents, _) = read_documents(path)?;
        let tokenized = tokenize_documents(&vocabulary, &documents, progress);
        for (document, tokens) in documents.iter().zip(&tokenized) {
            let key = (&document.lang[..], &document.source[..], document.kind.as_str());
            Tally::add(&mut counts, key, "documents", 1);
            Tally::add(&mut counts, key, "bytes", document.text.len() as u64);
            Tally::add(&mut counts, key, "tokens", tokens.tokens.len() as u64);
        }
        files.push(write_tokens(folder.path(), &format!("part-{index:05}.arrow"), &tokenized)?);
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

fn tokenize_documents(
    vocabulary: &Vocabulary,
    documents: &[Document],
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Vec<TokenizedDocument> {
    let encode_some = |some: &[Document]| {
        let mut encoder = Encoder::new(vocabulary);
        let tokenized: Vec<_> =
            some.iter().map(|document| tokenize_document(vocabulary, &mut encoder, document)).collect();
        progress(some.len() as u64, some.iter().map(|document| document.text.len() as u64).sum());
        tokenized
    };
    documents.par_chunks(DOCUMENTS_PER_TASK).flat_map_iter(encode_some).collect()
}

/// Text, then the label of a proposition, then the end of the text. Only a label carries loss in a proposition.
fn tokenize_document(vocabulary: &Vocabulary, encoder: &mut Encoder<'_>, document: &Document) -> TokenizedDocument {
    let mut tokens = Vec::new();
    encoder.encode(&document.text, &mut tokens);
    let loss = document.label.map(|label| {
        let position = u32::try_from(tokens.len()).expect("a document has fewer than 2^32 tokens");
        tokens.push(vocabulary.label(label).0);
        vec![Span { start: position, end: position + 1 }]
    });
    tokens.push(vocabulary.end_of_text().0);
    TokenizedDocument {
        id: document.id,
        tokens,
        loss,
        lang: document.lang.clone(),
        source: document.source.clone(),
        kind: document.kind,
    }
}
