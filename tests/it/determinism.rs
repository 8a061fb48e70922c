//! The data stages give the same bytes for any number of threads, skip what is done, and every flipped byte is found.

use corpus::Manifest;

use crate::harness::{Bench, every_flipped_byte_is_found, expect_failure, files_of, moso};

const DATA_STAGES: [&str; 4] = ["ingest", "tokenizer", "tokenize", "mix"];

#[test]
fn threads_change_no_byte_and_finished_stages_are_skipped() {
    let bench = Bench::new();
    for (out, threads) in [("one", "1"), ("four", "4")] {
        for stage in DATA_STAGES {
            let status = bench.command(stage, out).args(["--threads", threads]).status().unwrap();
            assert!(status.success());
        }
    }
    assert_eq!(files_of(&bench.path("one")), files_of(&bench.path("four")));
    for stage in DATA_STAGES {
        let output = bench.run(stage, "one");
        assert!(String::from_utf8_lossy(&output.stderr).contains("skipped"), "{stage}");
    }
    // Another threshold makes ingest anew, and what follows from it.
    bench.edit("words_min = 20", "words_min = 200");
    bench.succeed("ingest", "one");
    let verify = moso().arg("verify").arg(bench.path("one")).output().unwrap();
    expect_failure(verify, 3, &["was made from another version of documents"]);
}

#[test]
fn stale_inputs_are_refused() {
    let bench = Bench::new();
    DATA_STAGES.iter().for_each(|stage| bench.succeed(stage, "out"));
    bench.edit("words_min = 20", "words_min = 200");
    bench.fail("tokenize", "out", 2, &["documents was made from other settings than now: run `moso ingest` first"]);
    bench.succeed("ingest", "out");
    bench.fail("mix", "out", 2, &["tokens was made from other documents than now: run `moso tokenize` first"]);
}

#[test]
fn a_published_vocabulary_can_be_imported() {
    let bench = Bench::new();
    let trained = "[tokenizer.train]\nids = 1024\nsample_bytes = \"500K\"\nlanguage = { en = 0.535, zh = 0.465 }";
    bench.edit(trained, "[tokenizer]\nimport = \"cl100k_base\"");
    DATA_STAGES.iter().for_each(|stage| bench.succeed(stage, "out"));
    let tokenizer = Manifest::read(&bench.path("out/tokenizer")).unwrap();
    assert_eq!((&tokenizer.details["ids"], &tokenizer.details["ids_padded"]), (&100_259.into(), &100_352.into()));
    // The tokens decode to the documents they were made from.
    let excerpts = |folder: &str| {
        let output = moso().arg("inspect").arg(bench.path(folder)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.starts_with("    ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(excerpts("out/tokens").len(), 3);
    assert_eq!(excerpts("out/tokens"), excerpts("out/documents"));
}

#[test]
fn counts_add_up_and_a_flipped_byte_is_found() {
    let bench = Bench::new();
    for stage in DATA_STAGES {
        bench.succeed(stage, "out");
    }
    let out = bench.path("out");
    let documents = Manifest::read(&out.join("documents")).unwrap();
    let dropped = Manifest::read(&out.join("dropped")).unwrap();
    let details = &documents.details;
    assert_eq!(details["n_in"], documents.n_rows() + dropped.n_rows());
    assert_eq!(details["n_kept"], documents.n_rows());
    assert_eq!(Manifest::read(&out.join("tokens")).unwrap().n_rows(), documents.n_rows());
    every_flipped_byte_is_found(&out);
}
