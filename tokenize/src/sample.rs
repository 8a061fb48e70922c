//! The texts that a vocabulary is trained on, and how well it compresses them.

use std::collections::BTreeMap;
use std::path::Path;

use corpus::{DocId, Kind, Manifest, Seed, Share, document_batches, is_held_out, read_texts};
use rayon::prelude::*;
use serde::Serialize;

use crate::encoder::Encoder;
use crate::run::TokenizeError;
use crate::vocabulary::Vocabulary;

/// A document of the sample.
pub(crate) struct Sampled {
    pub(crate) text: String,
    lang: String,
    source: String,
}

/// What is known of a document before it is chosen.
struct Candidate {
    order: u64,
    id: DocId,
    shard: usize,
    row: usize,
    n_bytes: usize,
    lang: String,
    source: String,
}

/// Whole plain documents that are not held out, in a seeded order, until every language has its share of the bytes. Reads the
/// documents twice, so that memory is held for those that are chosen and some words for each of the others.
pub(crate) fn sample(
    folder: &Path,
    sample_bytes: u64,
    language: &BTreeMap<String, Share>,
    seed: &Seed,
    held_out: f64,
) -> Result<Vec<Sampled>, TokenizeError> {
    let paths = Manifest::read(folder)?.paths(folder);
    let order = seed.stream("tokenizer-sample");
    let mut candidates = Vec::new();
    for (shard, path) in paths.iter().enumerate() {
        let mut first_row = 0;
        for batch in document_batches(path)? {
            let batch = batch?;
            let is_wanted = |row: &usize| {
                batch.kind(*row) == Kind::Plain
                    && language.contains_key(batch.lang(*row))
                    && !is_held_out(seed, batch.id(*row), held_out)
            };
            candidates.extend((0..batch.n_rows()).filter(is_wanted).map(|row| Candidate {
                order: order.order_key(&batch.id(row).0),
                id: batch.id(row),
                shard,
                row: first_row + row,
                n_bytes: batch.text(row).len(),
                lang: batch.lang(row).to_owned(),
                source: batch.source(row).to_owned(),
            }));
            first_row += batch.n_rows();
        }
    }
    candidates.sort_unstable_by_key(|candidate| (candidate.order, candidate.id));
    let mut budgets: BTreeMap<&str, f64> =
        language.iter().map(|(lang, share)| (&lang[..], share.0 * sample_bytes as f64)).collect();
    candidates.retain(|candidate| {
        let budget = budgets.get_mut(&candidate.lang[..]).expect("only wanted languages are left");
        let is_chosen = *budget > 0.0;
        *budget -= candidate.n_bytes as f64;
        is_chosen
    });
    candidates.sort_unstable_by_key(|candidate| (candidate.shard, candidate.row));
    let mut sampled = Vec::with_capacity(candidates.len());
    for of_shard in candidates.chunk_by(|left, right| left.shard == right.shard) {
        let rows: Vec<usize> = of_shard.iter().map(|candidate| candidate.row).collect();
        let texts = read_texts(&paths[of_shard[0].shard], &rows)?;
        sampled.extend(of_shard.iter().zip(texts).map(|(candidate, (_, text))| Sampled {
            text,
            lang: candidate.lang.clone(),
            source: candidate.source.clone(),
        }));
    }
    Ok(sampled)
}

/// How many tokens a part of the sample takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compression {
    /// Language.
    pub lang: String,
    /// Source.
    pub source: String,
    /// Bytes of text.
    pub bytes: u64,
    /// Tokens of the vocabulary that was trained.
    pub tokens: u64,
    /// Tokens of cl100k_base.
    pub tokens_cl100k: u64,
}

/// By language and source, in order of name.
pub(crate) fn compression(sample: &[Sampled], vocabulary: &Vocabulary, cl100k: &Vocabulary) -> Vec<Compression> {
    let mut parts: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for document in sample {
        parts.entry((&document.lang, &document.source)).or_default().push(&document.text);
    }
    let n_tokens = |vocabulary: &Vocabulary, texts: &[&str]| {
        let (mut encoder, mut ids, mut n) = (Encoder::new(vocabulary), Vec::new(), 0);
        for text in texts {
            ids.clear();
            encoder.encode(text, &mut ids);
            n += ids.len() as u64;
        }
        n
    };
    let parts: Vec<_> = parts.into_iter().collect();
    let compressed = parts.par_iter().map(|((lang, source), texts)| Compression {
        lang: (*lang).to_owned(),
        source: (*source).to_owned(),
        bytes: texts.iter().map(|text| text.len() as u64).sum(),
        tokens: n_tokens(vocabulary, texts),
        tokens_cl100k: n_tokens(cl100k, texts),
    });
    compressed.collect()
}
