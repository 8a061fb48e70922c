//! Fetches the pinned libtorch: three wheels of the Python package index, checked by hash and unpacked side by side.
//!
//! They are unpacked once into a cache folder and `.libtorch` is a link to it, so a second clone is ready at once. Half-made folders
//! have another name and are never used. A LIBTORCH that is set from outside is honoured and nothing is fetched.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The version that tch binds.
const VERSION: &str = "2.13.0";

/// libtorch_cpu.so links the two small ones even on a machine without a GPU.
const WHEELS: [(&str, &str); 3] = [
    ("torch==2.13.0", "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7"),
    ("nvidia-cuda-runtime==13.0.96", "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"),
    ("nvidia-cuda-cupti==13.0.85", "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8"),
];

/// Parts of the torch wheel that nothing on the CPU path needs; they are most of its size.
const GPU_LIBRARIES: [&str; 2] = ["libtorch_cuda", "libtorch_nvshmem"];

/// Something the machine lacks, with the command that brings it.
#[derive(Debug)]
pub(crate) struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Makes `.libtorch` point to the unpacked wheels, fetching them where they are not in the cache.
pub(crate) fn setup(root: &Path) -> anyhow::Result<()> {
    require("c++", &["--version"], "a C++ compiler", "apt-get install g++")?;
    let link = root.join(".libtorch");
    if let Some(libtorch) = std::env::var_os("LIBTORCH").map(PathBuf::from) {
        // Cargo itself sets the variable to our own place where nobody else did.
        if libtorch != link.join("torch") {
            if !libtorch.join("lib").is_dir() {
                bail!(Missing(format!("LIBTORCH is {}, which has no lib folder", libtorch.display())));
            }
            println!("using LIBTORCH {}", libtorch.display());
            return Ok(());
        }
    }
    if link.join("torch/lib/libtorch_cpu.so").is_file() {
        return Ok(());
    }
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        bail!(Missing(format!(
            "the pinned libtorch is for Linux on x86-64: set LIBTORCH to a libtorch {VERSION} of yours"
        )));
    }
    let folder = cache_folder()?.join(format!("libtorch-{VERSION}-cpu"));
    if !folder.is_dir() {
        require("python3", &["-m", "pip", "--version"], "pip, which fetches libtorch", "apt-get install python3-pip")?;
        fetch(&folder)?;
    }
    if link.is_symlink() {
        fs::remove_file(&link).context("cannot replace the old link .libtorch")?;
    }
    std::os::unix::fs::symlink(&folder, &link).context("cannot make the link .libtorch")?;
    println!("libtorch {VERSION} is ready in .libtorch");
    Ok(())
}

/// Checks that a program runs.
fn require(program: &str, arguments: &[&str], what: &str, install: &str) -> anyhow::Result<()> {
    let works = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    if !works {
        bail!(Missing(format!("{what} is missing; install it with: {install}")));
    }
    Ok(())
}

fn cache_folder() -> anyhow::Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or_else(home);
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("moso"))
}

/// Downloads, checks and unpacks the wheels under a temporary name, then renames.
fn fetch(folder: &Path) -> anyhow::Result<()> {
    let partial = PathBuf::from(format!("{}.partial", folder.display()));
    let wheels = partial.join("wheels");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot clear {}", partial.display()))?;
    }
    fs::create_dir_all(&wheels).with_context(|| format!("cannot create {}", wheels.display()))?;
    println!("fetching libtorch {VERSION} (about 540 MB, once)");
    let requirements: String = WHEELS.iter().map(|(name, hash)| format!("{name} --hash=sha256:{hash}\n")).collect();
    let list = wheels.join("requirements.txt");
    fs::write(&list, requirements).with_context(|| format!("cannot write {}", list.display()))?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--python-version",
        "3.11",
    ]);
    // pip takes the wheels' own platform tags literally, so all that this system can run are named.
    for glibc in 17..=28 {
        pip.args(["--platform", &format!("manylinux_2_{glibc}_x86_64")]);
    }
    pip.args(["--platform", "manylinux2014_x86_64", "--dest"]).arg(&wheels).arg("--requirement").arg(&list);
    if !pip.status().context("cannot start pip")?.success() {
        bail!("pip could not fetch libtorch; is there a way to the Python package index?");
    }
    for wheel in
        fs::read_dir(&wheels)?.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "whl"))
    {
        let unpacked = Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel.path()).arg(&partial).status();
        if !unpacked.context("cannot start python3")?.success() {
            bail!("cannot unpack {}; is the disk full?", wheel.path().display());
        }
    }
    fs::remove_dir_all(&wheels)?;
    for library in fs::read_dir(partial.join("torch/lib"))?.flatten() {
        if GPU_LIBRARIES.iter().any(|name| library.file_name().to_string_lossy().starts_with(name)) {
            fs::remove_file(library.path())?;
        }
    }
    fs::rename(&partial, folder).with_context(|| format!("cannot rename {}", partial.display()))
}
