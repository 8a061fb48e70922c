//! Rows change under a run that has begun: a later mix, a take-down. What was trained before stays, what comes after is as if it had
//! never been otherwise.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Bench, expect_failure, moso};

const LATER_MIX: &str = "tokens = 20_480\nmix = { language = { en = 0.535, zh = 0.465 }, instruction = 0.1";

const OTHER_MIX: &str = "tokens = 20_480\nmix = { packing = \"best-fit-masked\", temperature = 2.0, \
                         source_epochs_max = { \"answers-en\" = 9 }, language = { en = 0.6, zh = 0.4 }, instruction = 0.05";

/// Losses of all steps, and the steps it was resumed at.
fn log(out: &Path) -> (Vec<f64>, Vec<u64>) {
    let text = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &'static str| events.iter().filter(move |event| event["event"] == name);
    let losses = of("step").map(|event| event["loss"].as_f64().unwrap()).collect();
    (losses, of("resume").map(|event| event["step"].as_u64().unwrap()).collect())
}

fn has_step(out: &Path, step: u64) -> bool {
    out.join(format!("checkpoints/step-{step:08}/manifest.json")).exists()
}

fn said(out: &Path, arguments: &[&str]) -> String {
    let output = moso().arg("trace").arg(out).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_later_mix_may_change_while_an_earlier_stage_is_trained() {
    let bench = Bench::new();
    bench.kill_when("run", "out", |out| has_step(out, 18));
    let packed = fs::read(bench.path("out/packed/small/part-00000.arrow")).unwrap();
    bench.edit(LATER_MIX, OTHER_MIX);
    bench.fail("train", "out", 2, &["packed/medium", "run `moso mix` first"]);
    bench.succeed("mix", "out");
    assert_eq!(fs::read(bench.path("out/packed/small/part-00000.arrow")).unwrap(), packed);
    bench.succeed("train", "out");
    let (losses, resumed) = log(&bench.path("out"));
    assert!(resumed == [18] || resumed == [24], "training went on: {resumed:?}");
    // As if the mix had been this one from the beginning, to the last bit.
    for stage in ["ingest", "tokenizer", "tokenize", "mix", "train"] {
        bench.succeed(stage, "straight");
    }
    assert_eq!(log(&bench.path("straight")).0, losses);
    assert_eq!(losses.len(), 70);
    // A mix of a stage that was trained cannot change any more, the first one's or a later one's.
    bench.edit("packing = \"best-fit-masked\"", "packing = \"best-fit\"");
    bench.succeed("mix", "out");
    bench.fail("train", "out", 2, &["checkpoints of other data"]);
    bench.edit("packing = \"best-fit\"", "packing = \"best-fit-masked\"");
    bench.edit("instruction = 0.1, proposition = 0.1", "instruction = 0.05, proposition = 0.1");
    bench.succeed("mix", "out");
    bench.fail("train", "out", 2, &["checkpoints of other data"]);
}

#[test]
fn a_take_down_rebuilds_only_what_follows() {
    let bench = Bench::new();
    bench.edit("keep_last = 2", "keep_last = 50");
    for stage in ["ingest", "tokenizer", "tokenize", "mix", "train"] {
        bench.succeed(stage, "out");
    }
    let out = bench.path("out");
    let (before, _) = log(&out);
    let take_down = |arguments: &[&str]| {
        let output = bench.command("takedown", "out").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    // A document that some step in the middle was the first to see.
    let early = said(&out, &["--step", "1..9"]);
    let middle = said(&out, &["--step", "10..25"]);
    let ids = middle.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.len() == 32);
    let id = ids.into_iter().find(|id| !early.contains(id)).unwrap();
    let listed = take_down(&["--document", id, "--list"]);
    assert!(!out.join("removed.json").exists(), "a list changes nothing");
    let first: u64 =
        listed.lines().find_map(|line| line.trim().strip_prefix("step ")?.split(':').next()?.parse().ok()).unwrap();
    let told = take_down(&["--document", id]);
    assert!(told.contains("rows of stage small from row"), "{told}");
    bench.succeed("train", "out");
    let (after, resumed) = log(&out);
    let resumed = resumed[0];
    assert!(
        resumed < first && resumed + 6 >= first && resumed > 0,
        "from the last checkpoint before step {first}: {resumed}"
    );
    assert_eq!(after[..first as usize - 1], before[..first as usize - 1]);
    assert_ne!(after, before);
    assert_eq!(after.len(), before.len());
    assert!(!said(&out, &["--step", "1..70"]).contains(id));
    assert!(
        said(&out, &["--tokens", "0..1024"]).contains("steps 1 to 1, ")
            || said(&out, &["--tokens", "0..1024"]).contains("step 1,")
    );
    assert!(moso().arg("verify").arg(&out).status().unwrap().success());
    let listed = take_down(&["--document", id, "--list"]);
    assert!(listed.contains("stage small: 0 rows in 0 steps"), "{listed}");
    bench.fail_with("takedown", "out", &["--source", "nowhere"], 2, &["no source \"nowhere\""]);
    bench.fail_with("takedown", "out", &[], 2, &["say what"]);
    bench.fail_with("takedown", "out", &["--document", &"0".repeat(32)], 2, &["no document \"0000"]);
    bench.fail_with(
        "takedown",
        "out",
        &["--source", "judged-en"],
        2,
        &["nothing is left of en proposition", "stage small"],
    );
    // Also after a take-down, rows that were trained on may not become others.
    bench.edit("epochs_max = 8", "epochs_max = 9");
    bench.succeed("mix", "out");
    bench.fail("train", "out", 2, &["checkpoints of other data"]);
    assert!(!said(&out, &["--step", "1..70"]).contains(id), "what is taken down stays so under another mix");
    expect_failure(moso().arg("trace").arg(&out).output().unwrap(), 2, &["say which"]);
}
