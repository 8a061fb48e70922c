//! `moso explain` is a function of the run file, and the demo's plan is what it says here.

use expect_test::expect_file;

use crate::harness::{Bench, expect_failure, moso, root};

#[test]
fn the_demos_plan() {
    let output = moso().arg("explain").arg(root().join("configs/demo.toml")).output().unwrap();
    assert!(output.status.success());
    // Update with UPDATE_EXPECT=1.
    expect_file!["explain-demo.txt"].assert_eq(&String::from_utf8(output.stdout).unwrap());
}

#[test]
fn what_is_wrong_with_a_run_file_is_said_with_its_line() {
    let refused = |from: &str, to: &str, expected: &[&str]| {
        let bench = Bench::new();
        bench.edit(from, to);
        let output = moso().arg("explain").arg(bench.path("run.toml")).output().unwrap();
        expect_failure(output, 2, &[&["run.toml"], expected].concat());
    };
    // The line is that of the changed text.
    let check_line = |from: &str, to: &str, expected: &[&str]| {
        let text = include_str!("tiny.toml").replacen(from, to, 1);
        let changed = &text[..text.find(to).unwrap() + to.len()];
        let line = format!("line {}, column", changed.lines().count());
        refused(from, to, &[&[&line[..]], expected].concat());
    };
    check_line("words_min = 20", "wrods_min = 20", &["unknown field `wrods_min`", "words_min"]);
    check_line("seed = 7", "seed = 7\nspeed = 8", &["unknown field `speed`"]);
    check_line("document_chars_max = \"1M\"", "document_chars_max = \"1 million\"", &["a count such as 4096"]);
    check_line("instruction = 0.1", "instruction = 1.1", &["a share between 0.0 and 1.0"]);
    let check = refused;
    check("heads = 3,", "heads = 5,", &["stage medium: hidden 48 is no multiple of heads 5"]);
    check(
        "en = 0.535, zh = 0.465 }, instruction",
        "en = 0.5, zh = 0.4 }, instruction",
        &["stage small", "add up to 0.9"],
    );
    check("ramp = 10_240", "ramp = 20_480", &["stage medium: the mask ramp takes 20480 tokens"]);
    check("clip = 1.0", "clip = 0.0", &["optimizer.clip is 0; it must be above 0"]);
    check(
        "hidden = 48",
        "head_size = 16, hidden = 50",
        &["stage medium: hidden 50 is no multiple of the head size 16"],
    );
    check("layers = 3, hidden", "layers = 1, hidden", &["stage medium: layers shrinks; a model can only grow"]);
    check("ramp = 10_240", "ramp = 0, operator = \"x\"", &["unknown field `operator`", "moments"]);
    check(
        "width = \"random\"",
        "width = \"split\"",
        &["stage medium: width = \"split\" keeps the function", "ramp = 0"],
    );
    check(
        "decay = 5_120",
        "decay = 20_000",
        &["stage large: warm-up and decay of the learning rate together takes 22560"],
    );
    check("end = 5e-3", "end = 5e-2", &["stage small: lr.end is 0.05; it must not be above lr.peak, 0.01"]);
    check_line("schedule = \"cosine\"", "schedule = \"sine\"", &["unknown variant `sine`", "warmup-stable-decay"]);
    check_line("warmup = 5_120", "warmup = 5_120, decay = 1", &["unknown field `decay`"]);
    check("policy = \"skip\"", "policy = { rollback = { batches = 9 } }", &["rollback.batches is 9", "skips_max, 8"]);
    check("window = 128", "window = 3", &["stability.window is 3; it must be at least 4"]);
    check("loss_sigma = 6.0", "loss_sigma = 0.5", &["stability.loss_sigma is 0.5"]);
    check("tensor = 1", "tensor = 2", &["stage small: parallel must be"]);
    check("name = \"medium\"", "name = \"../x\"", &["names a folder"]);
    check("ids = 1024", "ids = 100", &["train.ids 100 is too few"]);
}

#[test]
fn a_missing_run_file_is_named() {
    let output = moso().args(["explain", "no-such.toml"]).output().unwrap();
    expect_failure(output, 2, &["cannot read the run file no-such.toml"]);
}
