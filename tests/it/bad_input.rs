//! Bad input ends with the right exit code, names file and record, and leaves nothing that a later run takes for whole.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::{Bench, expect_failure, moso};

#[test]
fn a_missing_source_is_named() {
    let bench = Bench::new();
    fs::remove_file(bench.path("corpus/laws-zh.jsonl.zst")).unwrap();
    bench.fail("run", "out", 3, &["laws-zh.jsonl.zst"]);
    assert!(!bench.path("out/documents/manifest.json").exists());
}

#[test]
fn a_record_that_is_not_utf8_is_named_by_its_line() {
    let bench = Bench::new();
    bench.write_zst(
        "corpus/web-en.jsonl.zst",
        b"{\"text\":\"a\",\"url\":\"b\"}\n{\"text\":\"caf\xe9\",\"url\":\"b\"}\n",
    );
    bench.fail("ingest", "out", 3, &["web-en.jsonl.zst:2", "UTF-8"]);
    assert!(!bench.path("out/documents/manifest.json").exists());
    bench.edit("bad_records_max = 0", "bad_records_max = 1");
    bench.succeed("ingest", "out");
    let output = moso().arg("inspect").arg(bench.path("out/dropped")).args(["--rows", "100"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("web-en.jsonl.zst:2: unreadable"));
}

#[test]
fn a_truncated_source_is_named_and_the_next_run_is_right() {
    let bench = Bench::new();
    let path = bench.path("corpus/laws-zh.jsonl.zst");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    bench.fail("ingest", "out", 3, &["laws-zh.jsonl.zst"]);
    assert!(!bench.path("out/documents/manifest.json").exists());
    fs::write(&path, whole).unwrap();
    bench.succeed("ingest", "out");
    assert!(moso().arg("verify").arg(bench.path("out")).status().unwrap().success());
}

/// /dev/full fails every write with "no space left", as a full disk does. The file that is being written lies there in the guise
/// of its temporary name.
#[test]
fn a_full_disk_is_told_apart_and_leaves_nothing_whole() {
    let bench = Bench::new();
    for (stage, file) in [
        ("ingest", "documents/part-00000.parquet"),
        ("tokenizer", "tokenizer/tokenizer.json"),
        ("tokenize", "tokens/part-00000.arrow"),
        ("mix", "packed/small/part-00000.arrow"),
    ] {
        let partial = bench.path(&format!("out/{file}.partial"));
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        symlink("/dev/full", &partial).unwrap();
        bench.fail(stage, "out", 4, &["the disk is full: free some room", file]);
        assert!(!partial.with_file_name("manifest.json").exists(), "{file}");
        fs::remove_file(&partial).unwrap();
        bench.succeed(stage, "out");
    }
    assert!(moso().arg("verify").arg(bench.path("out")).status().unwrap().success());
}

#[test]
fn folders_that_are_not_ours_are_refused() {
    let bench = Bench::new();
    for command in ["verify", "inspect"] {
        let output = moso().arg(command).arg(bench.path("corpus")).output().unwrap();
        expect_failure(output, 3, &["corpus has no manifest.json"]);
    }
    // A stage whose inputs were never made says which.
    bench.fail("mix", "out", 3, &["tokens has no manifest.json"]);
}
