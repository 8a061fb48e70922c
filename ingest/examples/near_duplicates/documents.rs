//! The documents that are compared, and what the stage itself made of them: two runs of ingest over the same sources,
//! one that only drops exact duplicates and one that also drops near ones. They differ in nothing else.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use corpus::{DocId, Document, Kind, Manifest, read_documents, read_dropped};
use ingest::{
    Duplicates, IngestConfig, NearDuplicates, RawIngest, RawSource, Source, Unit, fingerprint, ingest_parents,
};
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::curve::Bands;

/// What is compared, and how.
pub(crate) struct Settings {
    pub(crate) sources: Vec<Source>,
    pub(crate) ingest: IngestConfig,
    /// The source whose pairs have curves of their own.
    pub(crate) apart: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSettings {
    sources: Vec<String>,
    apart: String,
    ingest: RawIngest,
}

#[derive(Deserialize)]
struct RunFile {
    source: Vec<RawSource>,
}

/// The documents of a language, in reading order.
pub(crate) struct Documents {
    pub(crate) lang: &'static str,
    pub(crate) documents: Vec<Compared>,
    /// Their sets of shingles, sorted.
    pub(crate) sets: Vec<Vec<u64>>,
}

/// A document.
pub(crate) struct Compared {
    pub(crate) id: DocId,
    pub(crate) source: String,
    pub(crate) text: String,
    /// Documents with this very text, itself included.
    pub(crate) n_copies: u64,
    /// The keys of its bands as ingest has them.
    pub(crate) keys: Vec<u64>,
}

impl Documents {
    /// The keys of a document's bands as ingest makes them, for bands that may differ from the settings'.
    pub(crate) fn keys(&self, index: usize, near: &NearDuplicates, bands: Bands) -> Vec<u64> {
        let near = NearDuplicates { bands: bands.n_bands, rows: bands.n_rows, ..near.clone() };
        let duplicates = Duplicates { url: false, exact: false, near: Some(near), repeats: None };
        fingerprint(&self.documents[index].text, self.lang, (Kind::Plain, None), None, &duplicates).bands().to_vec()
    }
}

/// What ingest did with the documents.
pub(crate) struct Decided {
    /// Those that stayed, with the size of their cluster.
    pub(crate) kept: BTreeMap<DocId, u64>,
    /// Near duplicates, with the evidence.
    pub(crate) dropped: BTreeMap<DocId, String>,
}

impl Settings {
    /// Takes the sources that `settings` names from the run file.
    pub(crate) fn read(run_file: &Path, settings: &Path) -> Result<Self, Box<dyn Error>> {
        let read =
            |path: &Path| fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
        let raw: RawSettings = toml::from_str(&read(settings)?)?;
        let run: RunFile = toml::from_str(&read(run_file)?)?;
        let mut sources = ingest::resolve_sources(run.source, run_file.parent().unwrap_or(Path::new("")), 0)?;
        sources.retain(|source| raw.sources.contains(&source.name));
        if sources.len() != raw.sources.len() {
            return Err(format!("{} does not have all sources that are named", run_file.display()).into());
        }
        Ok(Self { sources, ingest: raw.ingest.try_into()?, apart: raw.apart })
    }

    /// The bands and the least similarity.
    pub(crate) fn near(&self) -> &NearDuplicates {
        self.ingest.duplicates.near.as_ref().expect("the settings are about near duplicates")
    }

    /// The documents of a language, without exact duplicates.
    pub(crate) fn documents(&self, out: &Path, lang: &'static str) -> Result<Documents, Box<dyn Error>> {
        let mut without = self.ingest.clone();
        without.duplicates.near = None;
        let manifest = self.run(&without, out)?;
        let mut documents = Vec::new();
        for path in manifest.paths(&out.join("documents")) {
            let (read, signals) = read_documents(&path)?;
            let copies = signals.iter().position(|name| name == "cluster_size").ok_or("no cluster sizes")?;
            documents.extend(read.into_iter().filter(|one| one.lang == lang).map(|one| (copies, one)));
        }
        let n_shingle_units = match Unit::of(lang) {
            Unit::Words => self.near().shingle_words,
            Unit::Characters => self.near().shingle_chars,
        };
        let of_document = |(copies, document): (usize, Document)| {
            let mut set = ingest::shingles(&document.text, Unit::of(lang), n_shingle_units.get() as usize);
            set.sort_unstable();
            set.dedup();
            let print = fingerprint(&document.text, lang, (Kind::Plain, None), None, &self.ingest.duplicates);
            let compared = Compared {
                id: document.id,
                source: document.source,
                text: document.text,
                n_copies: document.signals[copies] as u64,
                keys: print.bands().to_vec(),
            };
            (compared, set)
        };
        let (documents, sets) = documents.into_par_iter().map(of_document).unzip();
        Ok(Documents { lang, documents, sets })
    }

    /// What ingest itself keeps and drops.
    pub(crate) fn decided(&self, out: &Path) -> Result<Decided, Box<dyn Error>> {
        let manifest = self.run(&self.ingest, out)?;
        let mut decided = Decided { kept: BTreeMap::new(), dropped: BTreeMap::new() };
        for path in manifest.paths(&out.join("documents")) {
            let (documents, signals) = read_documents(&path)?;
            let size = signals.iter().position(|name| name == "cluster_size").ok_or("no cluster sizes")?;
            decided.kept.extend(documents.into_iter().map(|document| (document.id, document.signals[size] as u64)));
        }
        let folder = out.join("dropped");
        for path in Manifest::read(&folder)?.paths(&folder) {
            let near = read_dropped(&path)?.into_iter().filter(|one| one.rule == "duplicates.near");
            decided.dropped.extend(near.map(|one| (one.id, one.detail)));
        }
        Ok(decided)
    }

    /// Runs the stage, unless what it would make lies there.
    fn run(&self, config: &IngestConfig, out: &Path) -> Result<Manifest, Box<dyn Error>> {
        let parents = ingest_parents(&self.sources, config)?;
        let resolved = corpus::Settings(json!({ "sources": self.sources, "ingest": config }));
        let planned = Manifest::new("ingest", corpus::DOCUMENTS_FORMAT, &resolved).with_parents(parents.clone());
        if planned.is_done(&out.join("documents")) {
            return Ok(Manifest::read(&out.join("documents"))?);
        }
        fs::create_dir_all(out).map_err(|error| format!("cannot create {}: {error}", out.display()))?;
        let tell = |_| ControlFlow::Continue(());
        Ok(ingest::run(&self.sources, config, out, &resolved, parents, &tell)?)
    }
}
