//! A tiny run on a real slice of the demo corpus, and ways to start `moso` on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use corpus::Manifest;
use tempfile::TempDir;

use crate::tiny::{RUN, write_tiny_run, write_zst};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A folder with `run.toml`, a copy of configs/demo.toml cut down until it runs in seconds: the same sources, each cut to its
/// first records, a small vocabulary and small models, the same three stages and two growths.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        write_tiny_run(&root(), bench.folder.path()).unwrap();
        bench
    }

    /// The same settings for other sources, which the caller puts there.
    pub(crate) fn of_sources(sources: &str) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let whole = RUN;
        let settings = &whole[whole.find("[ingest]").unwrap()..];
        fs::write(bench.path("run.toml"), format!("seed = 7\n{sources}\n{settings}")).unwrap();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_zst(&self, name: &str, bytes: &[u8]) {
        write_zst(&self.path(name), bytes).unwrap();
    }

    /// Replaces text of the run file; it must be there.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("run.toml")).unwrap();
        assert!(text.contains(from), "{from} is not in the run file");
        fs::write(self.path("run.toml"), text.replacen(from, to, 1)).unwrap();
    }

    /// `moso COMMAND run.toml --out OUT`, not yet started.
    pub(crate) fn command(&self, command: &str, out: &str) -> Command {
        let mut moso = moso();
        moso.arg(command).arg(self.path("run.toml")).arg("--out").arg(self.path(out));
        moso
    }

    /// Runs `moso COMMAND` to its end.
    pub(crate) fn run(&self, command: &str, out: &str) -> Output {
        self.command(command, out).output().unwrap()
    }

    /// Runs `moso COMMAND`, which must succeed.
    pub(crate) fn succeed(&self, command: &str, out: &str) {
        let output = self.run(command, out);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts `moso COMMAND` and kills it, without any warning, as soon as `reached`.
    pub(crate) fn kill_when(&self, command: &str, out: &str, reached: impl Fn(&Path) -> bool) {
        let mut child: Child = self.command(command, out).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while !reached(&self.path(out)) {
            assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be killed");
            assert!(start.elapsed() < Duration::from_secs(120), "the run never came so far");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Makes everything that training reads.
    #[cfg(feature = "torch")]
    pub(crate) fn make_rows(&self, out: &str) {
        ["ingest", "tokenizer", "tokenize", "mix"].iter().for_each(|stage| self.succeed(stage, out));
    }

    /// Another run's folder with the same rows.
    #[cfg(feature = "torch")]
    pub(crate) fn copy_rows(&self, from: &str, to: &str) {
        for part in ["documents", "dropped", "tokenizer", "tokens", "packed", "ledger"] {
            for (path, bytes) in files_of(&self.path(from).join(part)) {
                let path = self.path(to).join(part).join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
    }

    /// Runs `moso COMMAND`, which must end with `code` and say all of `expected`.
    pub(crate) fn fail(&self, command: &str, out: &str, code: i32, expected: &[&str]) {
        expect_failure(self.run(command, out), code, expected);
    }
}

impl Bench {
    /// The same with more arguments.
    #[cfg(feature = "torch")]
    pub(crate) fn fail_with(&self, command: &str, out: &str, arguments: &[&str], code: i32, expected: &[&str]) {
        expect_failure(self.command(command, out).args(arguments).output().unwrap(), code, expected);
    }
}

pub(crate) fn moso() -> Command {
    Command::new(env!("CARGO_BIN_EXE_moso"))
}

pub(crate) fn expect_failure(output: Output, code: i32, expected: &[&str]) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    for expected in expected {
        assert!(said.contains(expected), "{expected:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// Relative paths and contents of all files below a folder, sorted.
pub(crate) fn files_of(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                walk(root, &entry.path(), found);
            } else {
                found.push((entry.path().strip_prefix(root).unwrap().to_owned(), fs::read(entry.path()).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// Flips a bit at the start, in the middle and at the end of every file that a manifest below `out` names; `moso verify` must
/// name the file each time, and be content before and after.
pub(crate) fn every_flipped_byte_is_found(out: &Path) {
    assert!(moso().arg("verify").arg(out).status().unwrap().success());
    let manifests = files_of(out).into_iter().filter(|(path, _)| path.ends_with(Manifest::NAME));
    for folder in manifests.map(|(path, _)| out.join(path.parent().unwrap())) {
        for entry in Manifest::read(&folder).unwrap().files {
            let path = folder.join(&entry.path);
            let whole = fs::read(&path).unwrap();
            for position in [0, whole.len() / 2, whole.len() - 1] {
                let mut flipped = whole.clone();
                flipped[position] ^= 1;
                fs::write(&path, flipped).unwrap();
                let output = moso().arg("verify").arg(out).output().unwrap();
                expect_failure(output, 3, &[&path.display().to_string()]);
            }
            fs::write(&path, whole).unwrap();
        }
    }
    assert!(moso().arg("verify").arg(out).status().unwrap().success());
}
