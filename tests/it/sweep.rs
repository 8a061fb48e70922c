//! Searches and predictions end to end: killed ones go on to the same results, and what they froze is held against training.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Bench, expect_failure, files_of, moso};

/// Four points and one seed, fifteen steps each.
const SWEEP: &str = r#"
[sweep]
shape = { layers = 2, hidden = 32, heads = 2, ffn = 128 }
tokens = 15_360
batch = { rows = 8, micro_rows = 4 }
lr = { schedule = "cosine", peaks = [1e-3, 1e-2], end_share = 0.1, warmup = 2_048 }
init_std = [0.02, 0.05]
output_multiplier = [2.0]
seeds = [7]
"#;

/// Up to the end of the second stage.
const PREDICT: &str = r#"
[predict]
shape = { layers = 2, hidden = 32, heads = 2, ffn = 128 }
widths = [16, 32, 48, 64]
tokens = 51_200
seeds = [7]
confidence = 0.9

[eval]"#;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.edit("[eval]", &format!("{SWEEP}{PREDICT}"));
    bench
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn events(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Folders of the trials that were begun.
fn trials(out: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(out.join("sweep")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = listing.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The trial number `n_trials` has a whole checkpoint and is not done: a kill now leaves those before it done, and this one goes on.
fn is_inside_a_trial(out: &Path, n_trials: usize) -> bool {
    let has_checkpoint = |folder: &PathBuf| {
        let checkpoints = fs::read_dir(folder.join("checkpoints")).into_iter().flatten().flatten();
        checkpoints.into_iter().any(|checkpoint| checkpoint.path().join("manifest.json").exists())
    };
    let begun = trials(out);
    begun.len() == n_trials
        && begun.iter().any(|folder| has_checkpoint(folder) && !folder.join("manifest.json").exists())
}

#[test]
fn a_search_and_a_prediction_go_on_after_a_kill() {
    let bench = bench();
    bench.make_rows("whole");
    bench.copy_rows("whole", "killed");
    bench.fail("report", "whole", 3, &["checkpoints"]);
    for command in ["sweep", "predict"] {
        bench.succeed(command, "whole");
        let n_before = trials(&bench.path("killed")).len();
        bench.kill_when(command, "killed", |out| is_inside_a_trial(out, n_before + 2));
        let done: Vec<_> =
            trials(&bench.path("killed")).into_iter().filter(|folder| folder.join("manifest.json").exists()).collect();
        let logs: Vec<_> = done.iter().map(|folder| fs::read(folder.join("metrics.jsonl")).unwrap()).collect();
        assert!(!bench.path("killed").join(command).join("manifest.json").exists());
        bench.succeed(command, "killed");
        for (folder, log) in done.iter().zip(logs) {
            assert_eq!(fs::read(folder.join("metrics.jsonl")).unwrap(), log, "a finished trial is left alone");
        }
    }
    let resumed = |folder: &PathBuf| {
        events(&folder.join("metrics.jsonl")).iter().filter(|event| event["event"] == "resume").count()
    };
    assert_eq!(trials(&bench.path("killed")).iter().map(resumed).sum::<usize>(), 2);
    for file in ["sweep/results.json", "predict/predict.json"] {
        let [whole, killed] = ["whole", "killed"].map(|out| fs::read_to_string(bench.path(out).join(file)).unwrap());
        assert_eq!(whole, killed, "{file}");
    }
    let left_over = files_of(&bench.path("whole/sweep")).into_iter().find(|(path, _)| path.starts_with("checkpoints"));
    assert_eq!(left_over, None);
    assert!(trials(&bench.path("whole")).iter().all(|folder| !folder.join("checkpoints").exists()));
    assert!(moso().arg("verify").arg(bench.path("whole")).status().unwrap().success());
    results_are_those_of_the_trials(&bench.path("whole"));
    training_is_held_against_the_band(&bench);
    report_shows_both(&bench);
    another_mix_or_tokenizer_is_refused(&bench);
}

fn results_are_those_of_the_trials(out: &Path) {
    let results = json(&out.join("sweep/results.json"));
    let points = results["points"].as_array().unwrap();
    assert_eq!((points.len(), results["trials"].as_array().unwrap().len()), (4, 4));
    let loss = |point: &Value| point["loss"].as_f64().unwrap();
    let best = points.iter().min_by(|a, b| loss(a).total_cmp(&loss(b))).unwrap();
    assert_eq!(best["at"], results["best"]);
    // Fifteen steps are too few for the low rate.
    assert_eq!(results["best"]["lr"], 1e-2);
    for trial in results["trials"].as_array().unwrap() {
        let log = events(&out.join("sweep").join(trial["folder"].as_str().unwrap()).join("metrics.jsonl"));
        let steps: Vec<u64> =
            log.iter().filter(|event| event["event"] == "step").filter_map(|event| event["step"].as_u64()).collect();
        assert_eq!(steps, (1..=15).collect::<Vec<_>>());
        let (mut nats, mut targets) = (0.0, 0.0);
        for event in log.iter().filter(|event| event["event"] == "validation" && event["step"] == 15) {
            nats += event["loss"].as_f64().unwrap() * event["n_targets"].as_f64().unwrap();
            targets += event["n_targets"].as_f64().unwrap();
        }
        assert!((trial["losses"][0]["loss"].as_f64().unwrap() - nats / targets).abs() < 1e-12);
    }
    let forecast = json(&out.join("predict/predict.json"));
    let stages: Vec<(&str, u64, bool)> = forecast["predictions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["stage"].as_str().unwrap(), row["step"].as_u64().unwrap(), row["is_reached"].as_bool().unwrap())
        })
        .collect();
    assert_eq!(stages, [("small", 30, true), ("medium", 50, true), ("large", 50, false)]);
}

/// The event stands behind the validations of its step, and says of each stage what the numbers say.
fn training_is_held_against_the_band(bench: &Bench) {
    let output = bench.run("train", "whole");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let log = events(&bench.path("whole/metrics.jsonl"));
    let told: Vec<&Value> = log.iter().filter(|event| event["event"] == "prediction").collect();
    assert_eq!(told.iter().map(|event| event["step"].as_u64().unwrap()).collect::<Vec<_>>(), [30, 50]);
    for event in told {
        let number = |key: &str| event["predicted"][key].as_f64().unwrap();
        let loss = event["loss"].as_f64().unwrap();
        let is_inside = (number("low")..=number("high")).contains(&loss);
        assert_eq!(event["is_inside"], is_inside);
        let verdict = if is_inside { "inside the band" } else { "OUTSIDE the band" };
        assert!(said.contains(&format!("held-out loss {loss:.4}, {verdict}")), "{said}");
    }
    // The first stage is width 32 of the prediction, trained once more: the same bits.
    let forecast = json(&bench.path("whole/predict/predict.json"));
    let trial = forecast["trials"].as_array().unwrap().iter().find(|trial| trial["width"] == 32).unwrap();
    let at_30 = trial["losses"].as_array().unwrap().iter().find(|found| found["step"] == 30).unwrap();
    let told = log.iter().find(|event| event["event"] == "prediction").unwrap();
    assert_eq!(at_30["loss"], told["loss"]);
}

fn report_shows_both(bench: &Bench) {
    bench.succeed("eval", "whole");
    bench.succeed("report", "whole");
    let page = fs::read_to_string(bench.path("whole/report/index.html")).unwrap();
    for expected in ["Search and prediction", "over the learning rate", "The ring marks the best", "N<sup>"] {
        assert!(page.contains(expected), "{expected}");
    }
}

/// Exit code 2, with the hash that was frozen and the one that is there now.
fn another_mix_or_tokenizer_is_refused(bench: &Bench) {
    let frozen = json(&bench.path("whole/sweep/results.json"))["frozen"].clone();
    let frozen = |what: &str| frozen[what].as_str().unwrap().to_owned();
    // A longer or shorter stage, or other learning rates, are no other mix; here only checkpoints are in the way.
    bench.edit("peak = 1e-2, end = 5e-3, warmup = 5_120", "peak = 9e-3, end = 5e-3, warmup = 5_120");
    bench.fail("train", "whole", 2, &["checkpoints of other settings"]);
    bench.copy_rows("whole", "mix");
    for (path, bytes) in files_of(&bench.path("whole/sweep")) {
        let path = bench.path("mix/sweep").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    bench.edit("instruction = 0.1, proposition = 0.1", "instruction = 0.15, proposition = 0.1");
    bench.succeed("mix", "mix");
    let refused = [&bench.path("mix/sweep").display().to_string(), &frozen("mix"), "the data mix", "`moso sweep`"];
    bench.fail("train", "mix", 2, &refused);
    let said = bench.run("train", "mix").stderr;
    assert!(!String::from_utf8_lossy(&said).contains("tokenizer"), "it is the same one");
    bench.edit("sample_bytes = \"500K\"", "sample_bytes = \"400K\"");
    ["tokenizer", "tokenize", "mix"].iter().for_each(|stage| bench.succeed(stage, "mix"));
    let now = corpus::Manifest::read_with_hash(&bench.path("mix/tokenizer")).unwrap().1;
    bench.fail("train", "mix", 2, &["the tokenizer", &frozen("tokenizer"), &now, &frozen("mix")]);
    fs::remove_dir_all(bench.path("mix/sweep")).unwrap();
    bench.succeed("train", "mix");
}

#[test]
fn a_run_file_without_them_is_told_what_is_missing() {
    let bench = Bench::new();
    bench.fail("sweep", "out", 2, &["the run file has no [sweep]"]);
    bench.fail("predict", "out", 2, &["the run file has no [predict]"]);
}

#[test]
fn what_is_wrong_with_a_search_is_said() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        let bench = bench();
        bench.edit(from, to);
        let output = moso().arg("explain").arg(bench.path("run.toml")).output().unwrap();
        expect_failure(output, 2, &[&["run.toml"], expected].concat());
    };
    check("peaks = [1e-3, 1e-2]", "peaks = []", &["[sweep]", "lr.peaks must name at least one value"]);
    check("end_share = 0.1", "end_share = 1.5", &["[sweep]", "lr.end_share is 1.5"]);
    check("tokens = 15_360\nbatch", "tokens = \"1M\"\nbatch", &["[sweep]", "the whole run has 71680"]);
    check("widths = [16,", "widths = [24,", &["[predict]", "width 24 is no multiple of the head size 16"]);
    check("tokens = 51_200", "tokens = 51_100", &["[predict]", "no loss is measured"]);
    check("confidence = 0.9", "confidence = 1.0", &["[predict]", "confidence is 1"]);
    check("seeds = [7]\n", "seeds = [7]\nwidth = 3\n", &["unknown field `width`"]);
    let output = moso().arg("explain").arg(bench().path("run.toml")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("4 trials of 15.36K tokens") && said.contains("4 trials of 51.2K tokens"), "{said}");
}
