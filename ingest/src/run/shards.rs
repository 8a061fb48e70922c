//! The work folder: what the first pass leaves for the later ones, shard by shard.
//!
//! A shard is a run of consecutive records. What depends on its records alone was done to it; its folder holds the
//! candidates (`documents.parquet`), what was dropped (`dropped.parquet`), what candidates are compared by
//! (`fingerprints.bin`, rows of 64-bit numbers) and where each came from (`names.bin`). `shard.json`, renamed into place
//! last, is the commit: a shard that has one is never made again, one that has none never counts. It says where in the
//! sources the next shard begins, so that an interrupted run goes on from there without looking at what is done.
//!
//! Shards depend on the sources and settings only, so several processes or machines could make them.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use corpus::{
    AtomicFile, DocId, Document, Dropped, FileEntry, FileError, FormatError, Parent, Settings, read_documents,
    read_dropped, read_texts, write_atomically, write_documents, write_dropped,
};
use serde::{Deserialize, Serialize};

use crate::duplicates::Fingerprint;
use crate::examine::{Examination, Examined};
use crate::funnel::Funnel;

const DOCUMENTS: &str = "documents.parquet";
const DROPPED: &str = "dropped.parquet";
const FINGERPRINTS: &str = "fingerprints.bin";
const NAMES: &str = "names.bin";
const COMMIT: &str = "shard.json";
const PLAN: &str = "plan.json";

/// Version of everything in the folder.
const FORMAT: u32 = 1;

/// A place between two records of the sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) source: usize,
    pub(crate) file: usize,
    pub(crate) n_records: u64,
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BadRecord {
    pub(crate) source: String,
    pub(crate) locator: String,
    pub(crate) what: String,
}

/// What is known of a shard without opening its files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// Where the next one begins.
    pub(crate) end: Cursor,
    pub(crate) n_candidates: u64,
    /// Bytes of the candidates' texts.
    pub(crate) n_bytes: u64,
    pub(crate) n_bad: u64,
    /// The first bad records.
    pub(crate) bad: Vec<BadRecord>,
    /// What was dropped, and which candidates only just passed.
    pub(crate) funnel: Funnel,
    files: Vec<FileEntry>,
}

/// What the folder was begun for.
#[derive(PartialEq, Serialize, Deserialize)]
struct Plan {
    format: u32,
    settings: Settings,
    parents: Vec<Parent>,
}

/// The folder.
pub(crate) struct WorkFolder {
    path: PathBuf,
    fingerprint_width: usize,
}

impl WorkFolder {
    /// Opens the folder if it was begun for the same settings and inputs; else starts it anew.
    pub(crate) fn open(
        path: &Path,
        settings: &Settings,
        parents: &[Parent],
        fingerprint_width: usize,
    ) -> Result<Self, FileError> {
        let plan = Plan { format: FORMAT, settings: settings.clone(), parents: parents.to_vec() };
        let found = fs::read(path.join(PLAN)).ok().and_then(|bytes| serde_json::from_slice::<Plan>(&bytes).ok());
        if found.as_ref() != Some(&plan) {
            remove_folder(path)?;
            let bytes = serde_json::to_vec(&plan).expect("a plan has only string keys");
            write_atomically(path, PLAN, &bytes, 1)?;
        }
        Ok(Self { path: path.to_owned(), fingerprint_width })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the folder away, once all it was for has been written.
    pub(crate) fn remove(self) -> Result<(), FileError> {
        remove_folder(&self.path)
    }

    fn folder(&self, shard: usize) -> PathBuf {
        self.path.join(format!("shard-{shard:06}"))
    }

    /// The shard, if it was finished.
    pub(crate) fn finished(&self, shard: usize) -> Option<Shard> {
        let folder = self.folder(shard);
        let found: Shard = serde_json::from_slice(&fs::read(folder.join(COMMIT)).ok()?).ok()?;
        let is_whole = |entry: &FileEntry| {
            fs::metadata(folder.join(&entry.path)).is_ok_and(|metadata| metadata.len() == entry.bytes)
        };
        found.files.iter().all(is_whole).then_some(found)
    }

    /// Writes a shard and commits it.
    pub(crate) fn write(
        &self,
        index: usize,
        examination: Examination,
        end: Cursor,
        signal_names: &[String],
    ) -> Result<Shard, FormatError> {
        let folder = self.folder(index);
        let Examination { examined, funnel, bad, n_bad } = examination;
        let (mut documents, mut dropped, mut fingerprints, mut names) = (vec![], vec![], vec![], Names::default());
        for examined in examined {
            match examined {
                Examined::Candidate(candidate) => {
                    names.push(&candidate.document.source, &candidate.locator);
                    fingerprints.extend(candidate.fingerprint.to_row(self.fingerprint_width));
                    documents.push(candidate.document);
                }
                Examined::Dropped(one) => dropped.push(*one),
            }
        }
        let n_candidates = documents.len() as u64;
        let fingerprints: Vec<u8> = fingerprints.iter().flat_map(|value: &u64| value.to_le_bytes()).collect();
        let files = vec![
            write_documents(&folder, DOCUMENTS, &documents, signal_names)?,
            write_dropped(&folder, DROPPED, &dropped)?,
            write_atomically(&folder, FINGERPRINTS, &fingerprints, n_candidates)?,
            names.write(&folder)?,
        ];
        let n_bytes = documents.iter().map(|document| document.text.len() as u64).sum();
        let shard = Shard { end, n_candidates, n_bytes, n_bad, bad, funnel, files };
        let bytes = serde_json::to_vec(&shard).expect("a shard has only string keys");
        write_atomically(&folder, COMMIT, &bytes, 1)?;
        Ok(shard)
    }

    pub(crate) fn documents(&self, shard: usize) -> Result<Vec<Document>, FormatError> {
        Ok(read_documents(&self.folder(shard).join(DOCUMENTS))?.0)
    }

    /// Language and text of some candidates.
    pub(crate) fn texts(&self, shard: usize, rows: &[usize]) -> Result<Vec<(String, String)>, FormatError> {
        read_texts(&self.folder(shard).join(DOCUMENTS), rows)
    }

    pub(crate) fn dropped(&self, shard: usize) -> Result<Vec<Dropped>, FormatError> {
        read_dropped(&self.folder(shard).join(DROPPED))
    }

    pub(crate) fn fingerprints(&self, shard: usize) -> Result<Vec<Fingerprint>, FileError> {
        let path = self.folder(shard).join(FINGERPRINTS);
        let bytes = fs::read(&path).map_err(|source| FileError::new("read", &path, source))?;
        let values: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        Ok(values.chunks_exact(self.fingerprint_width).map(Fingerprint::from_row).collect())
    }

    /// Source and locator of a candidate.
    pub(crate) fn name(&self, shard: usize, row: usize) -> Result<(String, String), FileError> {
        let path = self.folder(shard).join(NAMES);
        Names::read(&path, row).map_err(|source| FileError::new("read", &path, source))
    }
}

/// The id of a candidate by its name.
pub(crate) fn id_of((source, locator): &(String, String)) -> DocId {
    DocId::new(source, locator)
}

fn remove_folder(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FileError::new("remove", path, error)),
        _ => Ok(()),
    }
}

/// Source and locator of each candidate, so that one can be read without the others: the ends of all names as 64-bit
/// numbers, then the names, each a source, a zero byte and a locator.
#[derive(Default)]
struct Names {
    ends: Vec<u64>,
    bytes: Vec<u8>,
}

impl Names {
    fn push(&mut self, source: &str, locator: &str) {
        self.bytes.extend(source.as_bytes());
        self.bytes.push(0);
        self.bytes.extend(locator.as_bytes());
        self.ends.push(self.bytes.len() as u64);
    }

    fn write(&self, folder: &Path) -> Result<FileEntry, FileError> {
        let mut file = AtomicFile::create(folder, NAMES)?;
        let path = file.path();
        let failed = |source| FileError::new("write", &path, source);
        file.write_all(&(self.ends.len() as u64).to_le_bytes()).map_err(failed)?;
        for end in &self.ends {
            file.write_all(&end.to_le_bytes()).map_err(failed)?;
        }
        file.write_all(&self.bytes).map_err(failed)?;
        file.finish(self.ends.len() as u64)
    }

    fn read(path: &Path, row: usize) -> std::io::Result<(String, String)> {
        let mut file = File::open(path)?;
        let n_names = read_number(&mut file, 0)?;
        let start = if row == 0 { 0 } else { read_number(&mut file, row as u64 * 8)? };
        let end = read_number(&mut file, (row as u64 + 1) * 8)?;
        let mut name = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start((n_names + 1) * 8 + start))?;
        file.read_exact(&mut name)?;
        let name = String::from_utf8(name).map_err(std::io::Error::other)?;
        let (source, locator) =
            name.split_once('\0').ok_or_else(|| std::io::Error::other("a name without its parts"))?;
        Ok((source.to_owned(), locator.to_owned()))
    }
}

fn read_number(file: &mut File, at: u64) -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
