//! Files that are either whole or absent: written under a temporary name, hashed on the way, flushed, renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use crate::manifest::{FileEntry, Manifest, ManifestError};

/// The ending of a file that is being written; such a file is never read.
const PARTIAL: &str = "partial";

/// A file could not be opened, read, written or renamed.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// `action` is a verb: "read", "write", "create".
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }

    /// True where something could not be written: the machine is at fault, not the input.
    pub fn is_write(&self) -> bool {
        !matches!(self.action, "read" | "open" | "map" | "list" | "find")
    }

    /// True where the disk or a quota is full: nothing is wrong with the input.
    pub fn is_out_of_space(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

/// A file that appears under its name only when [`AtomicFile::finish`] returns.
pub struct AtomicFile {
    folder: PathBuf,
    name: String,
    writer: BufWriter<File>,
    hasher: blake3::Hasher,
    n_bytes: u64,
}

impl AtomicFile {
    /// Starts `folder/name`; the folder is made where it is missing.
    pub fn create(folder: &Path, name: &str) -> Result<Self, FileError> {
        fs::create_dir_all(folder).map_err(|source| FileError::new("create the folder", folder, source))?;
        let partial = partial_path(folder, name);
        let file = File::create(&partial).map_err(|source| FileError::new("create", &partial, source))?;
        Ok(Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            writer: BufWriter::with_capacity(1 << 20, file),
            hasher: blake3::Hasher::new(),
            n_bytes: 0,
        })
    }

    /// The path the file will have.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Flushes to the disk and renames into place. `n_rows` is what the manifest says the file holds.
    pub fn finish(mut self, n_rows: u64) -> Result<FileEntry, FileError> {
        let path = self.path();
        let partial = partial_path(&self.folder, &self.name);
        let wrote = self.writer.flush().and_then(|()| self.writer.get_ref().sync_all());
        wrote.map_err(|source| FileError::new("write", &path, source))?;
        fs::rename(&partial, &path).map_err(|source| FileError::new("rename into place", &path, source))?;
        sync_folder(&self.folder)?;
        Ok(FileEntry {
            path: self.name,
            rows: n_rows,
            bytes: self.n_bytes,
            blake3: self.hasher.finalize().to_hex().to_string(),
        })
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n_written = self.writer.write(buffer)?;
        self.hasher.update(&buffer[..n_written]);
        self.n_bytes += n_written as u64;
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes a small file in one go.
pub fn write_atomically(folder: &Path, name: &str, bytes: &[u8], n_rows: u64) -> Result<FileEntry, FileError> {
    let mut file = AtomicFile::create(folder, name)?;
    file.write_all(bytes).map_err(|source| FileError::new("write", &file.path(), source))?;
    file.finish(n_rows)
}

/// The folder of one stage while it is being made.
pub struct StageFolder {
    path: PathBuf,
}

impl StageFolder {
    /// Takes the old manifest away first, so that a half-made folder is never taken for whole, then the files it named
    /// and what an interrupted attempt left under a temporary name. Files of unknown origin are left alone.
    pub fn begin(path: &Path) -> Result<Self, FileError> {
        fs::create_dir_all(path).map_err(|source| FileError::new("create the folder", path, source))?;
        let old = match Manifest::read(path) {
            Ok(manifest) => Some(manifest),
            Err(ManifestError::Missing { .. }) => None,
            Err(ManifestError::File(error)) => return Err(error),
            Err(error @ ManifestError::Invalid { .. }) => {
                let not_ours = io::Error::new(io::ErrorKind::AlreadyExists, error.to_string());
                return Err(FileError::new("take over the folder", path, not_ours));
            }
        };
        remove_if_present(&path.join(Manifest::NAME))?;
        for entry in old.iter().flat_map(|manifest| &manifest.files) {
            let is_inside = Path::new(&entry.path).components().all(|part| matches!(part, Component::Normal(_)));
            if is_inside {
                remove_if_present(&path.join(&entry.path))?;
            }
        }
        let listing = fs::read_dir(path).map_err(|source| FileError::new("list", path, source))?;
        for entry in listing.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == PARTIAL) && entry.path().is_file() {
                remove_if_present(&entry.path())?;
            }
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Where the folder lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn partial_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{PARTIAL}"))
}

fn remove_if_present(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FileError::new("remove", path, source)),
    }
}

/// A rename is durable only once the folder that holds the name is on the disk too.
fn sync_folder(folder: &Path) -> Result<(), FileError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| FileError::new("flush the folder", folder, source))
}
