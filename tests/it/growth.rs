//! Growth as a person meets it: in a run in ways that change the function, killed and gone on with, and offline on one checkpoint.

use std::path::Path;
use std::process::Output;

use corpus::Manifest;
use serde_json::Value;

use crate::harness::{Bench, expect_failure, files_of, moso};

const MASKED: &str = "growth = { depth = \"stack\", width = \"random\", moments = \"old\", ramp = 10_240 }";

fn events(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The second stage grows without masks, into another function, under a learning rate that goes on: it is told before and while it happens, and a
/// run that is killed behind it ends with the same bits.
#[test]
fn growth_that_changes_the_function_goes_on_after_a_kill() {
    let bench = Bench::new();
    bench.edit(MASKED, "growth = { depth = \"interpose\", width = \"zero\", moments = \"reset\", ramp = 0 }");
    let second = "lr = { schedule = \"cosine\", peak = 1e-2, end = 5e-3, warmup = 2_560 }";
    bench.edit(second, "lr = { schedule = \"inherit\" }");
    let plan = said(&moso().arg("explain").arg(bench.path("run.toml")).output().unwrap());
    for expected in [
        "interpose + zero; no masks",
        "does NOT keep the function",
        "goes on behind 30720 tokens",
        "stack + random, masked",
    ] {
        assert!(plan.contains(expected), "{expected}: {plan}");
    }
    bench.make_rows("whole");
    bench.copy_rows("whole", "killed");
    bench.succeed("train", "whole");
    let reached = |out: &Path| events(out).iter().any(|event| event["event"] == "step" && event["step"] == 33);
    bench.kill_when("train", "killed", reached);
    bench.succeed("train", "killed");
    let hashes = |out: &str| {
        let manifest = Manifest::read(&bench.path(out).join("checkpoints/step-00000070")).unwrap();
        manifest.files.into_iter().map(|file| file.blake3).collect::<Vec<_>>()
    };
    assert_eq!(hashes("killed"), hashes("whole"));
    let log = events(&bench.path("killed"));
    let growths: Vec<&Value> = log.iter().filter(|event| event["event"] == "growth").collect();
    assert_eq!((&growths[0]["operator"], growths.len()), (&Value::from("interpose + zero"), 2));
    assert!(growths[0]["max_logit_diff"].as_f64().unwrap() > 1e-2);
    assert!(growths[1]["max_logit_diff"].as_f64().unwrap() < 1e-4);
    offline(&bench);
    begins_with(&bench);
}

/// A masked model says what the small one says, word for word; what cannot be grown is refused by name.
fn offline(bench: &Bench) {
    let checkpoint = bench.path("whole/checkpoints/step-00000030");
    let grow_into = |out: &str, to: &str, more: &[&str]| {
        let mut command = moso();
        command.arg("grow").arg(&checkpoint).args(["--to", to, "--moments", "old"]);
        command.arg("--out").arg(bench.path(out)).args(more).output().unwrap()
    };
    let grow = |to: &str, more: &[&str]| grow_into("grown", to, &[more, &["--depth", "stack"]].concat());
    let told = said(&grow("layers=5,hidden=80,heads=5,ffn=300", &["--width", "random", "--masked"]));
    assert!(told.contains("stack + random, masked") && told.contains("keeps the function"), "{told}");
    assert!(said(&moso().arg("verify").arg(bench.path("grown")).output().unwrap()).contains("re-hashed"));
    let greedy = |of: &Path| {
        let mut command = moso();
        command.arg("generate").arg(of).args(["--prompt", "The history of", "--temperature", "0", "--tokens", "24"]);
        said(&command.output().unwrap())
    };
    assert_eq!(greedy(&bench.path("grown")), greedy(&checkpoint));
    // Neither another grown checkpoint nor the run that it comes from is written over.
    for out in ["grown", "whole"] {
        let before = files_of(&bench.path(out));
        expect_failure(
            grow_into(out, "layers=4", &["--width", "random", "--depth", "stack"]),
            2,
            &[out, "another --out"],
        );
        assert!(files_of(&bench.path(out)) == before, "{out} is as it was");
    }
    let random = grow_into("random", "layers=4", &["--width", "random", "--depth", "stack"]);
    assert!(said(&random).contains("does NOT keep the function"));
    for (to, more, expected) in [
        ("layers=1", ["--width", "random"], "layers shrinks; a model can only grow"),
        ("hidden=40", ["--width", "random"], "hidden 40 is no multiple of the head size 16; 32 and 48 are"),
        ("hidden=48,heads=3", ["--width", "split"], "a whole multiple of the one before"),
        ("width=48", ["--width", "random"], "names are layers, hidden, heads, ffn"),
        ("layers=3", ["--width", "sideways"], "unknown variant `sideways`, expected one of `random`, `zero`, `split`"),
    ] {
        expect_failure(grow(to, &more), 2, &[expected]);
    }
}

/// A run that begins with a checkpoint grown offline: its first loss is that of a model that has learnt, and it goes on after a kill to the same bits.
fn begins_with(bench: &Bench) {
    let grow = |out: &str, more: &[&str]| {
        let mut command = moso();
        command.arg("grow").arg(bench.path("whole/checkpoints/step-00000030"));
        command.args(["--to", "layers=3", "--width", "random", "--moments", "old", "--out"]).arg(bench.path(out));
        said(&command.args(more).output().unwrap())
    };
    grow("start", &["--depth", "zero"]);
    grow("masked", &["--depth", "stack", "--masked"]);
    bench.edit("shape = { layers = 2, hidden = 32", "shape = { layers = 3, hidden = 32");
    let start = |checkpoint: &str| format!("[train]\nstart = \"{checkpoint}/checkpoints/step-00000030\"");
    bench.edit("[train]", &start("masked"));
    bench.copy_rows("whole", "begun");
    expect_failure(bench.run("train", "begun"), 3, &["masked", "in the middle of a mask ramp"]);
    bench.edit(&start("masked"), &start("start"));
    let reached = |out: &Path| events(out).iter().any(|event| event["event"] == "step" && event["step"] == 12);
    bench.kill_when("train", "begun", reached);
    bench.succeed("train", "begun");
    let losses = |out: &str| {
        let log = events(&bench.path(out)).into_iter();
        log.filter(|event| event["event"] == "step").map(|event| event["loss"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let (begun, new) = (losses("begun"), losses("whole"));
    assert!(begun[0] < new[0] - 0.3, "{} {}", begun[0], new[0]);
    bench.copy_rows("whole", "again");
    bench.succeed("train", "again");
    assert_eq!(losses("again"), begun);
    // Another checkpoint there is another run.
    std::fs::remove_dir_all(bench.path("start")).unwrap();
    grow("start", &["--depth", "stack"]);
    expect_failure(bench.run("train", "again"), 2, &["checkpoints of other settings", "start"]);
}
