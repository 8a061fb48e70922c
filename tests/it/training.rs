//! Training end to end: growth preserves the function, and `kill -9` anywhere changes no bit of the result.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use corpus::Manifest;
use serde_json::Value;

use crate::harness::{Bench, every_flipped_byte_is_found, expect_failure, moso};

/// Steps of the tiny run: 30 + 20 + 20, with mask ramps over steps 31 to 40 and 51 to 60.
const LAST_STEP: u64 = 70;

fn events(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Hashes of weights and moments at the end of the run.
fn final_hashes(out: &Path) -> Vec<String> {
    let manifest = Manifest::read(&out.join(format!("checkpoints/step-{LAST_STEP:08}"))).unwrap();
    manifest.files.into_iter().map(|file| file.blake3).collect()
}

fn has_step(out: &Path, step: u64) -> bool {
    events(out).iter().any(|event| event["event"] == "step" && event["step"].as_u64() >= Some(step))
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let bench = Bench::new();
    bench.succeed("run", "whole");
    let whole = final_hashes(&bench.path("whole"));
    // While documents are being read, in the first stage, inside the second mask ramp: each alone, then all in one run.
    let points: [fn(&Path) -> bool; 3] =
        [|out| out.join(".lock").exists(), |out| has_step(out, 15), |out| has_step(out, 53)];
    for (index, point) in points.into_iter().enumerate() {
        let out = format!("killed-{index}");
        bench.kill_when("run", &out, point);
        bench.succeed("run", &out);
        assert_eq!(final_hashes(&bench.path(&out)), whole, "killed at point {index}");
    }
    for point in points {
        bench.kill_when("run", "killed-often", point);
    }
    bench.succeed("run", "killed-often");
    assert_eq!(final_hashes(&bench.path("killed-often")), whole);
    let log = events(&bench.path("killed-often"));
    let steps: Vec<u64> =
        log.iter().filter(|event| event["event"] == "step").filter_map(|event| event["step"].as_u64()).collect();
    assert_eq!(steps, (1..=LAST_STEP).collect::<Vec<_>>());
    assert!(moso().arg("verify").arg(bench.path("killed-often")).status().unwrap().success());
}

/// The short form of `cargo xtask soak kills`: wherever in start-up, a step or a background write the kill falls, the same command
/// goes on to the same bits.
#[test]
fn kills_at_any_moment_change_no_bit() {
    let bench = Bench::new();
    bench.edit("checkpoint_every = 6", "checkpoint_every = 1");
    bench.make_rows("rows");
    bench.copy_rows("rows", "whole");
    let start = Instant::now();
    bench.succeed("train", "whole");
    let length = start.elapsed();
    bench.copy_rows("rows", "killed");
    // Moments spread evenly, none a simple part of another: multiples of the golden ratio.
    for index in 1..=8 {
        let mut child: Child = bench.command("train", "killed").stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(length.mul_f64((f64::from(index) * 0.618).fract()));
        let _ = child.kill();
        child.wait().unwrap();
    }
    bench.succeed("train", "killed");
    assert_eq!(final_hashes(&bench.path("killed")), final_hashes(&bench.path("whole")));
    let losses = |out: &str| -> Vec<(Value, Value)> {
        let steps = events(&bench.path(out)).into_iter().filter(|event| event["event"] == "step");
        steps.map(|event| (event["step"].clone(), event["loss"].clone())).collect()
    };
    assert_eq!(losses("killed"), losses("whole"));
}

#[test]
fn ctrl_c_ends_in_a_state_that_goes_on_and_a_folder_has_one_master() {
    let bench = Bench::new();
    let mut child: Child = bench.command("run", "out").stderr(Stdio::piped()).spawn().unwrap();
    while !has_step(&bench.path("out"), 15) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended too early");
        std::thread::sleep(Duration::from_millis(2));
    }
    bench.fail("run", "out", 4, &["another moso is working in"]);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    expect_failure(child.wait_with_output().unwrap(), 130, &["the same command goes on from here"]);
    let log = events(&bench.path("out"));
    // The process ends only when the checkpoint is whole.
    assert_eq!(log.last().unwrap()["event"], "saved");
    bench.succeed("run", "out");
    assert!(final_hashes(&bench.path("out")).len() > 3);
}

/// The checkpoint before stays whole, and the same command goes on once there is room.
#[test]
fn a_full_disk_while_saving_a_checkpoint_loses_nothing() {
    let bench = Bench::new();
    bench.kill_when("run", "out", |out| has_step(out, 7));
    let checkpoints = fs::read_dir(bench.path("out/checkpoints")).unwrap().flatten().map(|entry| entry.path());
    let whole = checkpoints.filter(|folder| folder.join("manifest.json").exists());
    let newest = whole.filter_map(|folder| folder.to_str()?.rsplit('-').next()?.parse::<u64>().ok()).max().unwrap();
    let next = format!("step-{:08}", newest + 6);
    let partial = bench.path(&format!("out/checkpoints/{next}/first-moment-00000.safetensors.partial"));
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    symlink("/dev/full", &partial).unwrap();
    bench.fail("run", "out", 4, &["the disk is full", &next]);
    assert!(!partial.with_file_name("manifest.json").exists());
    fs::remove_file(&partial).unwrap();
    bench.succeed("run", "out");
    let log = events(&bench.path("out"));
    assert!(log.iter().any(|event| event["event"] == "resume" && event["step"] == newest));
    let steps = log.iter().filter(|event| event["event"] == "step").count() as u64;
    assert_eq!(steps, LAST_STEP);
}

#[test]
fn the_whole_way() {
    let bench = Bench::new();
    bench.succeed("run", "out");
    let out = bench.path("out");
    let log = events(&out);
    let growths: Vec<&Value> = log.iter().filter(|event| event["event"] == "growth").collect();
    assert_eq!(growths.len(), 2);
    for growth in growths {
        assert!(growth["max_logit_diff"].as_f64().unwrap() <= 1e-4, "{growth}");
        assert!(growth["loss_after"].as_f64().unwrap() - growth["loss_before"].as_f64().unwrap() <= 1e-3, "{growth}");
    }
    let steps: Vec<&Value> = log.iter().filter(|event| event["event"] == "step").collect();
    let loss = |index: usize| steps[index]["loss"].as_f64().unwrap();
    assert!(loss(69) < loss(0) - 1.0, "from {} to {}", loss(0), loss(69));
    for key in ["language", "source", "kind"] {
        assert!(steps[0]["loss_by"][key].as_object().unwrap().len() >= 2, "{key}");
    }
    let results: Value = serde_json::from_slice(&fs::read(out.join("eval/results.json")).unwrap()).unwrap();
    for lang in ["en", "zh"] {
        assert!(results["results"][format!("validation_{lang}")]["loss,none"].as_f64().unwrap() > 0.0);
    }
    for task in ["iq_counting", "iq_replace_lowercase"] {
        assert!(results["results"][task]["exact_match_stderr,none"].as_f64().unwrap() > 0.0);
    }
    let report = fs::read_to_string(out.join("report/index.html")).unwrap();
    for outside in ["<script", "<link", "<img", "src=", "@import", "url("] {
        assert!(!report.contains(outside), "the report must stand alone, it has {outside}");
    }
    looks_at_the_result(&bench);
    refuses_other_settings(&bench);
}

/// Losses of all steps of a run that began on `device`.
fn losses(out: &Path, device: &str) -> Vec<f64> {
    let log = events(out);
    assert_eq!(log[0]["device"], device);
    log.iter().filter(|event| event["event"] == "step").filter_map(|event| event["loss"].as_f64()).collect()
}

/// The same rows and the same first weights, so the same losses but for rounding; and training goes on from one device's
/// checkpoint on the other.
#[test]
fn a_gpu_learns_what_the_cpu_learns() {
    let bench = Bench::new();
    let output = bench.command("run", "gpu").args(["--device", "cuda"]).output().unwrap();
    if output.status.code() == Some(4) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("skipped, there is no GPU to compare with: {said}");
        return expect_failure(output, 4, &["libtorch"]);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    bench.succeed("run", "cpu");
    let (gpu, cpu) = (losses(&bench.path("gpu"), "cuda:0"), losses(&bench.path("cpu"), "cpu"));
    let furthest = gpu.iter().zip(&cpu).map(|(gpu, cpu)| (gpu - cpu).abs()).fold(0.0, f64::max);
    assert_eq!(gpu.len(), cpu.len());
    assert!((gpu[0] - cpu[0]).abs() < 1e-5 && furthest < 0.02, "{} {} {furthest}", gpu[0], cpu[0]);
    bench.kill_when("run", "both", |out| has_step(out, 15));
    let output = bench.command("run", "both").args(["--device", "cuda"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!((losses(&bench.path("both"), "cpu")[69] - cpu[69]).abs() < 0.02);
}

fn looks_at_the_result(bench: &Bench) {
    let out = bench.path("out");
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = said(moso().arg("generate").arg(&out).args(["--prompt", "The", "--tokens", "4"]));
    assert!(text.starts_with("The"));
    let trace = said(moso().arg("trace").arg(&out).args(["--step", "31"]));
    assert!(trace.contains("step 31, stage medium, rows 240 to 247") && trace.contains("laws-zh"), "{trace}");
    for folder in ["documents", "dropped", "tokens", "packed/large", "ledger/large"] {
        assert!(said(moso().arg("inspect").arg(out.join(folder))).contains("blake3"));
    }
    expect_failure(moso().arg("trace").arg(&out).args(["--step", "71"]).output().unwrap(), 2, &["70 steps"]);
    every_flipped_byte_is_found(&out);
}

/// Checkpoints are never thrown away because of a changed run file.
fn refuses_other_settings(bench: &Bench) {
    bench.edit("peak = 1e-2", "peak = 2e-2");
    bench.fail("train", "out", 2, &["checkpoints of other settings"]);
    let weights = bench.path(&format!("out/checkpoints/step-{LAST_STEP:08}/weights-00000.safetensors"));
    assert!(weights.exists());
}
