//! Every token is trained on exactly as often as the plan says.

mod orders;
mod packing;
mod stages;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use corpus::{
    DocId, Document, Kind, Manifest, Seed, Settings, Share, Span, TokenizedDocument, write_documents, write_tokens,
};

use crate::*;

const NO_SETTINGS: Settings = Settings(serde_json::Value::Null);

/// A document whose tokens say which document and position they are.
fn document(index: usize, lang: &str, source: &str, kind: Kind, len: usize) -> TokenizedDocument {
    TokenizedDocument {
        id: DocId::new(source, &index.to_string()),
        tokens: (0..len as u32).map(|i| 10_000 * (index as u32 + 1) + i).collect(),
        loss: (kind == Kind::Proposition).then(|| vec![Span { start: len as u32 - 1, end: len as u32 }]),
        lang: lang.into(),
        source: source.into(),
        kind,
    }
}

fn mix_of(en: f64, instruction: f64, proposition: f64, epochs_max: u32) -> Mix {
    let language = BTreeMap::from([("en".into(), Share(en)), ("zh".into(), Share(1.0 - en))]);
    Mix { instruction: Share(instruction), proposition: Share(proposition), ..Mix::plain(language, epochs_max) }
}

/// Writes `tokens/` and `documents/` in shards of at most `shard` documents. Every document has the signal `cluster_size`, which is
/// its number modulo 5.
fn write_corpus(out: &Path, documents: &[TokenizedDocument], shard: usize) {
    let (mut tokens, mut texts) = (Vec::new(), Vec::new());
    for (number, part) in documents.chunks(shard).enumerate() {
        let name = format!("part-{number:05}");
        tokens.push(write_tokens(&out.join("tokens"), &format!("{name}.arrow"), part).unwrap());
        let part: Vec<Document> = part.iter().map(text_of).collect();
        let signals = ["cluster_size".to_owned()];
        texts.push(write_documents(&out.join("documents"), &format!("{name}.parquet"), &part, &signals).unwrap());
    }
    Manifest::new("tokenize", 1, &NO_SETTINGS).with_files(tokens).commit(&out.join("tokens")).unwrap();
    Manifest::new("ingest", 1, &NO_SETTINGS).with_files(texts).commit(&out.join("documents")).unwrap();
}

fn text_of(tokens: &TokenizedDocument) -> Document {
    let number = tokens.tokens[0] / 10_000 - 1;
    Document {
        id: tokens.id,
        text: "text".into(),
        lang: tokens.lang.clone(),
        source: tokens.source.clone(),
        kind: tokens.kind,
        url: None,
        license: if number.is_multiple_of(2) { "CC0-1.0".into() } else { "MIT".into() },
        label: (tokens.kind == Kind::Proposition).then_some(true),
        loss: None,
        meta: "{}".into(),
        signals: vec![(number % 5) as f32],
    }
}

fn job<'a>(out: &'a Path, stages: &'a [StageMix], settings: &'a dyn Fn(&str) -> Settings) -> MixJob<'a> {
    MixJob {
        out,
        stages,
        context: 12,
        seed: Seed::root(7),
        held_out: 0.2,
        validation_rows: 3,
        removals: &[],
        memory: 1 << 20,
        settings,
    }
}

/// Mixes with settings that say what every stage is.
fn run(out: &Path, stages: &[StageMix], change: impl Fn(&mut MixJob<'_>)) -> Result<(), MixError> {
    let settings = |name: &str| {
        let stage = stages.iter().find(|stage| stage.name == name);
        Settings(serde_json::to_value(stage).unwrap())
    };
    let mut job = job(out, stages, &settings);
    change(&mut job);
    mix(&job, &|_, _| ControlFlow::Continue(()))
}
