//! The files of a source: found, sorted by name, and opened. What can go wrong before the first byte is an error here;
//! what is wrong with the bytes is a bad record later.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use thiserror::Error;

use crate::source::Source;

/// A source file that cannot be used.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The path of a source leads nowhere.
    #[error("source {name:?}: {} does not exist", path.display())]
    Missing {
        /// The source.
        name: String,
        /// Its path.
        path: PathBuf,
    },
    /// A folder without files.
    #[error("source {name:?}: {} holds no files", path.display())]
    Empty {
        /// The source.
        name: String,
        /// Its path.
        path: PathBuf,
    },
    /// A file name that cannot stand in a locator.
    #[error("{} is not a name in UTF-8", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// A link to a folder could lead back to the folder it is in.
    #[error("{} is a link to a folder, which is not followed", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The disk, or a permission.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// A file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Below the source's path, parts joined by `/`; a source that is one file has the file's name here.
    pub(crate) relative: String,
    pub(crate) path: PathBuf,
    pub(crate) n_bytes: u64,
}

/// Where the bytes of a source file lie: on the disk, or for fuzzing in memory.
pub(super) enum Origin {
    File(File),
    Memory(Bytes),
}

/// The files of a source, sorted by their relative names.
pub(crate) fn list_files(source: &Source) -> Result<Vec<SourceFile>, ReadError> {
    let path = &source.path;
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ReadError::Missing { name: source.name.clone(), path: path.clone() });
        }
        Err(error) => return Err(io_error(path, error)),
    };
    let mut files = Vec::new();
    if metadata.is_dir() {
        list_folder(path, "", &mut files)?;
        files.sort_by(|left, right| left.relative.cmp(&right.relative));
    } else {
        let relative = utf8_name(path)?.to_owned();
        files.push(SourceFile { relative, path: path.clone(), n_bytes: metadata.len() });
    }
    if files.is_empty() {
        return Err(ReadError::Empty { name: source.name.clone(), path: path.clone() });
    }
    Ok(files)
}

fn list_folder(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> Result<(), ReadError> {
    let failed = |error| io_error(folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let relative = format!("{prefix}{}", utf8_name(&path)?);
        let metadata = fs::metadata(&path).map_err(|error| io_error(&path, error))?;
        if !metadata.is_dir() {
            files.push(SourceFile { relative, path, n_bytes: metadata.len() });
        } else if entry.file_type().map_err(failed)?.is_symlink() {
            return Err(ReadError::Link { path });
        } else {
            list_folder(&path, &format!("{relative}/"), files)?;
        }
    }
    Ok(())
}

fn utf8_name(path: &Path) -> Result<&str, ReadError> {
    path.file_name().and_then(|name| name.to_str()).ok_or_else(|| ReadError::Name { path: path.to_owned() })
}

pub(super) fn open(file: &SourceFile) -> Result<Origin, ReadError> {
    File::open(&file.path).map(Origin::File).map_err(|error| io_error(&file.path, error))
}

pub(super) fn io_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io { path: path.to_owned(), source }
}
