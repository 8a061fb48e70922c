//! `manifest.json`: what a folder holds, what it was made from, and the hashes that prove it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files::{FileError, write_atomically};
use crate::hash::{Hash, hash_bytes};
use crate::settings::Settings;

/// The commit of a folder. It is renamed into place after every file it names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The stage that made the folder.
    pub stage: String,
    /// Version of the folder's format.
    pub format: u32,
    /// Every setting that can change the result.
    pub config: Settings,
    /// Their hash.
    pub config_hash: Hash,
    /// What it was made from.
    pub parents: Vec<Parent>,
    /// The files of the folder; paths are relative to it.
    pub files: Vec<FileEntry>,
    /// Amounts by language, source and kind.
    pub counts: Vec<Tally>,
    /// What else the stage has to tell: the funnel, the realised mix, bytes per token.
    pub details: serde_json::Value,
}

/// An input: another folder of the run, by the hash of its manifest, or a source, by the hash of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The folder's path inside the run's folder, or `source NAME`.
    pub name: String,
    /// Hash of its manifest, or of its files.
    pub hash: Hash,
}

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Relative to the manifest.
    pub path: String,
    /// Documents, rows or lines in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its BLAKE3 hash.
    pub blake3: Hash,
}

/// How much there is of one language, source and kind; `amounts` says of what (documents, bytes, tokens).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Language.
    pub lang: String,
    /// Source.
    pub source: String,
    /// Kind.
    pub kind: String,
    /// Unit to amount.
    pub amounts: BTreeMap<String, u64>,
}

/// A manifest that cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// There is none: the folder was never finished.
    #[error("{} has no manifest.json: the folder is unfinished or not one of ours", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not a manifest.
    #[error("{} is not a manifest", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What the JSON reader found.
        source: serde_json::Error,
    },
}

impl Manifest {
    /// The file's name in every folder.
    pub const NAME: &'static str = "manifest.json";

    /// An empty manifest of `stage`.
    pub fn new(stage: &str, format: u32, settings: &Settings) -> Self {
        Self {
            stage: stage.to_owned(),
            format,
            config: settings.clone(),
            config_hash: settings.hash(),
            parents: Vec::new(),
            files: Vec::new(),
            counts: Vec::new(),
            details: serde_json::Value::Null,
        }
    }

    /// Names the inputs.
    #[must_use]
    pub fn with_parents(mut self, parents: Vec<Parent>) -> Self {
        self.parents = parents;
        self
    }

    /// Names the files.
    #[must_use]
    pub fn with_files(mut self, files: Vec<FileEntry>) -> Self {
        self.files = files;
        self
    }

    /// Writes the manifest: from here on the folder counts as whole. Returns the manifest's own hash.
    pub fn commit(&self, folder: &Path) -> Result<Hash, FileError> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest has only string keys");
        bytes.push(b'\n');
        write_atomically(folder, Self::NAME, &bytes, 1)?;
        Ok(hash_bytes(&bytes))
    }

    /// Reads the manifest of a folder.
    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        Self::read_with_hash(folder).map(|(manifest, _)| manifest)
    }

    /// Reads the manifest of a folder and the hash by which children name it.
    pub fn read_with_hash(folder: &Path) -> Result<(Self, Hash), ManifestError> {
        let path = folder.join(Self::NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ManifestError::Missing { folder: folder.to_owned() });
            }
            Err(source) => return Err(FileError::new("read", &path, source).into()),
        };
        let manifest = serde_json::from_slice(&bytes).map_err(|source| ManifestError::Invalid { path, source })?;
        Ok((manifest, hash_bytes(&bytes)))
    }

    /// Whether `folder` was made by the same stage, settings and inputs as this manifest describes, and every file it
    /// names is there at its full size. Contents are checked by [`crate::verify_tree`], not here.
    pub fn is_done(&self, folder: &Path) -> bool {
        let Ok(found) = Self::read(folder) else { return false };
        let same = found.stage == self.stage
            && found.format == self.format
            && found.config_hash == self.config_hash
            && found.parents == self.parents;
        let has_size = |entry: &FileEntry| {
            fs::metadata(folder.join(&entry.path)).is_ok_and(|metadata| metadata.len() == entry.bytes)
        };
        same && found.files.iter().all(has_size)
    }

    /// The full paths of the files, in the manifest's order.
    pub fn paths(&self, folder: &Path) -> Vec<PathBuf> {
        self.files.iter().map(|entry| folder.join(&entry.path)).collect()
    }

    /// Rows in all files together.
    pub fn n_rows(&self) -> u64 {
        self.files.iter().map(|entry| entry.rows).sum()
    }
}

impl Tally {
    /// Adds `amount` of `unit` to the row of (lang, source, kind), which is made where it is missing. Rows stay sorted.
    pub fn add(rows: &mut Vec<Self>, key: (&str, &str, &str), unit: &str, amount: u64) {
        let (lang, source, kind) = key;
        let found = rows.binary_search_by(|row| (&row.lang[..], &row.source[..], &row.kind[..]).cmp(&key));
        let index = found.unwrap_or_else(|index| {
            let row = Self {
                lang: lang.to_owned(),
                source: source.to_owned(),
                kind: kind.to_owned(),
                amounts: BTreeMap::new(),
            };
            rows.insert(index, row);
            index
        });
        *rows[index].amounts.entry(unit.to_owned()).or_default() += amount;
    }

    /// The amount of `unit`; 0 where there is none.
    pub fn amount(&self, unit: &str) -> u64 {
        self.amounts.get(unit).copied().unwrap_or(0)
    }
}
