//! House rules that a program can check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::root;

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "out" {
                walk(&path, found);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found.sort();
    found
}

#[test]
fn every_file_says_what_it_holds() {
    for path in sources() {
        assert!(fs::read_to_string(&path).unwrap().starts_with("//! "), "{} has no header", path.display());
    }
}

#[test]
fn functions_fit_on_a_screen() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let mut start = None;
        for (index, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let body = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let is_declared_only = line.ends_with(';') && start.is_some_and(|(_, outer)| indent == outer);
            if start.is_none() && body.starts_with("fn ") && !line.ends_with('}') && !line.ends_with(';') {
                start = Some((index, indent));
            } else if is_declared_only {
                start = None;
            } else if let Some((first, outer)) = start
                && line.trim() == "}"
                && indent == outer
            {
                assert!(index - first < 70, "{}:{} is {} lines long", path.display(), first + 1, index - first + 1);
                start = None;
            }
        }
    }
}

#[test]
fn unsafe_code_has_its_places() {
    let places = ["corpus/src/mapped.rs", "torch-ext/src/ffi.rs"];
    // Split, so that this file does not find itself.
    let word = ["uns", "afe {"].concat();
    for path in sources() {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let has_unsafe = fs::read_to_string(&path).unwrap().contains(&word);
        assert!(!has_unsafe || places.contains(&&name[..]), "{name} has unsafe code");
    }
}

/// Who may depend on whom; a new edge is an argued change (docs/decisions).
#[test]
fn crates_depend_one_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let mut edges = BTreeSet::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            if ours.contains(name) && dependency["kind"].is_null() {
                edges.insert(format!("{} -> {name}", package["name"].as_str().unwrap()));
            }
        }
    }
    let expected = [
        "cli -> corpus",
        "cli -> eval",
        "cli -> ingest",
        "cli -> loader",
        "cli -> mixer",
        "cli -> planner",
        "cli -> tokenize",
        "cli -> trainer",
        "eval -> corpus",
        "eval -> tokenize",
        "eval -> trainer",
        "ingest -> corpus",
        "loader -> corpus",
        "mixer -> corpus",
        "tokenize -> corpus",
        "trainer -> corpus",
        "trainer -> loader",
        "trainer -> planner",
        "trainer -> torch-ext",
        "xtask -> planner",
    ];
    assert_eq!(edges, expected.into_iter().map(str::to_owned).collect());
}
