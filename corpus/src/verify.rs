//! Re-hashes everything that the manifests below a folder name, and checks that children name their parents as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::files::FileError;
use crate::hash::{Hash, hash_file};
use crate::manifest::{Manifest, ManifestError};

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verification {
    /// Manifests read.
    pub n_manifests: usize,
    /// Files re-hashed.
    pub n_files: usize,
    /// Their bytes.
    pub n_bytes: u64,
    /// What is wrong; empty where all is well.
    pub problems: Vec<Problem>,
}

impl Verification {
    /// Nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// One thing that is wrong with one file.
#[derive(Debug)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

/// Verifies every manifest in `root` and below. A folder with none at all is an error.
pub fn verify_tree(root: &Path) -> Result<Verification, ManifestError> {
    let mut folders = Vec::new();
    find_manifests(root, &mut folders)?;
    if folders.is_empty() {
        return Err(ManifestError::Missing { folder: root.to_owned() });
    }
    let mut verification = Verification::default();
    let mut manifests: BTreeMap<PathBuf, (Manifest, Hash)> = BTreeMap::new();
    for folder in folders {
        match Manifest::read_with_hash(&folder) {
            Ok(read) => {
                verify_files(&folder, &read.0, &mut verification);
                manifests.insert(folder, read);
            }
            Err(error) => {
                verification.problems.push(Problem { path: folder.join(Manifest::NAME), what: error.to_string() });
            }
        }
    }
    verification.n_manifests = manifests.len();
    verify_parents(root, &manifests, &mut verification);
    Ok(verification)
}

fn find_manifests(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), FileError> {
    if folder.join(Manifest::NAME).is_file() {
        found.push(folder.to_owned());
    }
    let listing = fs::read_dir(folder).map_err(|source| FileError::new("list", folder, source))?;
    let mut subfolders: Vec<PathBuf> =
        listing.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    subfolders.sort();
    subfolders.iter().try_for_each(|subfolder| find_manifests(subfolder, found))
}

fn verify_files(folder: &Path, manifest: &Manifest, verification: &mut Verification) {
    for entry in &manifest.files {
        let path = folder.join(&entry.path);
        verification.n_files += 1;
        verification.n_bytes += entry.bytes;
        let what = match (fs::metadata(&path), hash_file(&path)) {
            (Ok(metadata), _) if metadata.len() != entry.bytes => {
                format!("holds {} bytes, its manifest says {}", metadata.len(), entry.bytes)
            }
            (_, Ok(hash)) if hash != entry.blake3 => "its contents do not match the hash in its manifest".to_owned(),
            (Ok(_), Ok(_)) => continue,
            (Err(error), _) => format!("cannot be read: {error}"),
            (_, Err(error)) => error.to_string(),
        };
        verification.problems.push(Problem { path, what });
    }
}

/// The file that lists what was taken down, with what the folders were before.
pub const REMOVED: &str = "removed.json";

/// Hashes of folders that a take-down replaced: what was made from them before stays good.
fn replaced(root: &Path) -> BTreeSet<Hash> {
    let removals: Vec<serde_json::Value> =
        fs::read(root.join(REMOVED)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let before = removals.iter().filter_map(|removal| removal["before"].as_array()).flatten();
    before.filter_map(|hash| hash.as_str()).map(str::to_owned).collect()
}

/// A parent that is a folder of the same run must be the one the child was made from.
fn verify_parents(root: &Path, manifests: &BTreeMap<PathBuf, (Manifest, Hash)>, verification: &mut Verification) {
    let replaced = replaced(root);
    for (folder, (manifest, _)) in manifests {
        for parent in &manifest.parents {
            let Some((_, hash)) = manifests.get(&root.join(&parent.name)) else { continue };
            if *hash != parent.hash && !replaced.contains(&parent.hash) {
                let what = format!("was made from another version of {} than the one here", parent.name);
                verification.problems.push(Problem { path: folder.join(Manifest::NAME), what });
            }
        }
    }
}
