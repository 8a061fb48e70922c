//! Training end to end: growth preserves the function, and `kill -9` anywhere changes no bit of the result.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use corpus::{Manifest, PackedWriter};
use serde_json::Value;

use crate::harness::{Bench, every_flipped_byte_is_found, expect_failure, files_of, moso};
use crate::spikes::with_spikes;

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
    let hashes = final_hashes(&bench.path("out"));
    assert!(hashes.len() > 3);
    // Asked twice, it ends at once, whatever it does just then, and goes on all the same.
    bench.copy_rows("out", "twice");
    let mut child: Child = bench.command("train", "twice").stderr(Stdio::piped()).spawn().unwrap();
    while !has_step(&bench.path("twice"), 15) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended too early");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    // Both signals at once would be one.
    std::thread::sleep(Duration::from_millis(20));
    let _ = Command::new("kill").args(["-INT", &pid]).stderr(Stdio::null()).status().unwrap();
    expect_failure(child.wait_with_output().unwrap(), 130, &[]);
    bench.succeed("train", "twice");
    assert_eq!(final_hashes(&bench.path("twice")), hashes);
}

/// Numbers of all events of a kind, in the order of the log.
fn logged(out: &Path, kind: &str) -> Vec<u64> {
    let log = events(out).into_iter().filter(|event| event["event"] == kind);
    log.filter_map(|event| event["step"].as_u64()).collect()
}

/// A rule that finds spikes: training goes back and passes over them, or only passes over them; killed among them it ends with the same bits,
/// every step stands in the log once, and the report and `moso trace` tell of them.
#[test]
fn spikes_go_through_the_command_line() {
    let bench = Bench::new();
    bench.make_rows("rows");
    let text = fs::read_to_string(bench.path("run.toml")).unwrap();
    let back = with_spikes(&text);
    let skip = back.replace("{ rollback = { batches = 3 } }", "\"skip\"");
    for (policy, run_file) in [("rollback", back), ("skip", skip)] {
        fs::write(bench.path("run.toml"), run_file).unwrap();
        let (whole, killed) = (format!("{policy}-whole"), format!("{policy}-killed"));
        [&whole, &killed].iter().for_each(|out| bench.copy_rows("rows", out));
        bench.succeed("train", &whole);
        let skipped = logged(&bench.path(&whole), "skip");
        assert!(!skipped.is_empty() && skipped.len() < 20, "{policy}: {skipped:?}");
        bench.kill_when("train", &killed, |out| has_step(out, skipped[0] + 1));
        bench.succeed("train", &killed);
        assert_eq!(final_hashes(&bench.path(&killed)), final_hashes(&bench.path(&whole)), "{policy}");
        for out in [&whole, &killed] {
            let mut all = [logged(&bench.path(out), "step"), logged(&bench.path(out), "skip")].concat();
            all.sort_unstable();
            assert_eq!(all, (1..=LAST_STEP).collect::<Vec<_>>(), "{out}");
        }
        let n_back = logged(&bench.path(&whole), "rollback").len();
        assert_eq!(n_back > 0, policy == "rollback", "{n_back}");
        ["eval", "report"].iter().for_each(|stage| bench.succeed(stage, &whole));
        let report = fs::read_to_string(bench.path(&whole).join("report/index.html")).unwrap();
        assert!(
            report.contains("<h3>Spikes</h3>") && report.contains("standard deviations above the mean"),
            "{policy}"
        );
        let step = skipped[0].to_string();
        let trace = moso().arg("trace").arg(bench.path(&whole)).args(["--step", &step]).output().unwrap();
        assert!(String::from_utf8_lossy(&trace.stdout).contains("passed over"), "{trace:?}");
    }
}

/// A watchdog that waits for less than a step finds a hang in every run; its patience changes no result.
#[test]
fn a_hang_ends_the_process_in_a_state_that_goes_on() {
    let bench = Bench::new();
    bench.make_rows("whole");
    bench.copy_rows("whole", "out");
    bench.succeed("train", "whole");
    bench.kill_when("train", "out", |out| has_step(out, 15));
    bench.edit("step_seconds_max = 600", "step_seconds_max = 0.001");
    bench.fail("train", "out", 5, &["training has hung", "after step", "goes on from the last checkpoint"]);
    let log = events(&bench.path("out"));
    let stall = log.iter().find(|event| event["event"] == "stalled").unwrap();
    assert!(stall["what"].as_str().unwrap().len() > 3 && stall["seconds"].as_f64().unwrap() >= 0.001, "{stall}");
    bench.edit("step_seconds_max = 0.001", "step_seconds_max = 600");
    bench.succeed("train", "out");
    assert_eq!(final_hashes(&bench.path("out")), final_hashes(&bench.path("whole")));
}

/// Replaces `edit` of a JSON file that a manifest names, and what the manifest says about it.
fn forge(folder: &Path, name: &str, edit: impl Fn(&mut Value)) {
    let path = folder.join(name);
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(&path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
    if name != Manifest::NAME {
        rehash(folder, name);
    }
}

/// Makes a manifest agree with a file that was changed.
fn rehash(folder: &Path, name: &str) {
    let path = folder.join(name);
    forge(folder, Manifest::NAME, |manifest| {
        let files = manifest["files"].as_array_mut().unwrap();
        let entry = files.iter_mut().find(|entry| entry["path"] == name).unwrap();
        entry["blake3"] = corpus::hash_file(&path).unwrap().into();
        entry["bytes"] = fs::metadata(&path).unwrap().len().into();
    });
}

/// Each is refused with the file and what differs, and nothing is thrown away.
#[test]
fn a_checkpoint_that_is_not_what_it_should_be_is_refused() {
    let bench = Bench::new();
    bench.make_rows("rows");
    bench.copy_rows("rows", "out");
    bench.kill_when("train", "out", |out| has_step(out, 15));
    let checkpoints = bench.path("out/checkpoints");
    let mut folders: Vec<_> = fs::read_dir(&checkpoints).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join(Manifest::NAME).exists());
    let newest = folders.into_iter().max().unwrap();
    let whole: Vec<_> = files_of(&newest);
    let restore = || whole.iter().for_each(|(path, bytes)| fs::write(newest.join(path), bytes).unwrap());
    let check = |damage: &dyn Fn(), code: i32, expected: &[&str]| {
        damage();
        bench.fail("train", "out", code, expected);
        restore();
    };
    let moment = newest.join("second-moment-00000.safetensors");
    let name = moment.display().to_string();
    let flip = || {
        let mut bytes = fs::read(&moment).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&moment, bytes).unwrap();
    };
    check(&flip, 3, &[&name, "does not match the hash in its manifest"]);
    check(&|| fs::remove_file(&moment).unwrap(), 3, &["cannot read", &name]);
    let forged = |edit: &dyn Fn(&mut Value), code: i32, expected: &[&str]| {
        check(&|| forge(&newest, "state.json", edit), code, expected);
    };
    let other_vocabulary =
        |state: &mut Value| state["settings"]["plan"]["stages"][0]["shape"]["vocabulary"] = 2048.into();
    forged(
        &other_vocabulary,
        2,
        &["checkpoints of other settings (plan.stages.0.shape.vocabulary: 2048 there, 1024 now)"],
    );
    let other_tokenizer = |state: &mut Value| {
        let parents = state["parents"].as_array_mut().unwrap();
        let tokenizer = parents.iter_mut().find(|parent| parent["name"] == "tokenizer").unwrap();
        tokenizer["hash"] = "0".repeat(64).into();
    };
    forged(&other_tokenizer, 2, &["checkpoints of other data (tokenizer is not what it was then)"]);
    let other_model = |state: &mut Value| state["shape"]["hidden"] = 64.into();
    forged(&other_model, 3, &["weights-00000.safetensors", "was expected"]);
    let other_stage = |state: &mut Value| state["stage"] = 2.into();
    forged(&other_stage, 3, &["state.json", "holds a model of Shape { layers: 2", "has Shape { layers: 4"]);
    let old_format = || forge(&newest, Manifest::NAME, |manifest| manifest["format"] = 1.into());
    check(&old_format, 3, &["manifest.json", "is of format 1"]);
    bench.succeed("train", "out");
}

/// Rows that were brought from elsewhere are held against the run before anything is trained on them.
#[test]
fn rows_that_are_not_of_this_run_are_refused() {
    let bench = Bench::new();
    bench.make_rows("rows");
    bench.copy_rows("rows", "out");
    // What rows were made from need not be where training is.
    ["documents", "tokens", "ledger"].iter().for_each(|part| fs::remove_dir_all(bench.path("out").join(part)).unwrap());
    let folder = bench.path("out/packed/small");
    let manifest = fs::read(folder.join(Manifest::NAME)).unwrap();
    forge(&folder, Manifest::NAME, |manifest| manifest["details"]["tokenizer"] = "f".repeat(64).into());
    bench.fail("train", "out", 3, &["packed/small", "tokens of another tokenizer (ffff"]);
    forge(&folder, Manifest::NAME, |manifest| manifest["details"]["context"] = 64.into());
    bench.fail("train", "out", 3, &["packed/small", "has rows of context 64, this run trains at 128"]);
    fs::write(folder.join(Manifest::NAME), manifest).unwrap();
    let entry = Manifest::read(&folder).unwrap().files.swap_remove(0);
    let mut writer = PackedWriter::new(64);
    (0..entry.rows).for_each(|_| writer.push(&[0; 65], Vec::new()));
    writer.finish(&folder, &entry.path).unwrap();
    rehash(&folder, &entry.path);
    bench.fail("train", "out", 3, &[&entry.path, "has rows of context 64, this run trains at 128"]);
}

/// The checkpoint before stays whole, and the same command goes on once there is room.
#[test]
fn a_full_disk_while_saving_a_checkpoint_loses_nothing() {
    let bench = Bench::new();
    bench.kill_when("run", "out", |out| out.join("checkpoints/step-00000006/manifest.json").exists());
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

/// In bfloat16, with the paper's emoji for labels: killed inside a mask ramp it goes on to the same bits, and a checkpoint that is read
/// back has the validation loss that it had in training.
#[test]
fn bfloat16_and_emoji_go_the_whole_way() {
    let bench = Bench::new();
    bench.edit("precision = \"float32\"", "precision = \"bfloat16\"");
    bench.edit("[tokenizer.train]", "[tokenizer]\nlabels = \"emoji\"\n\n[tokenizer.train]");
    bench.succeed("run", "whole");
    bench.make_rows("killed");
    bench.kill_when("train", "killed", |out| has_step(out, 53));
    bench.succeed("train", "killed");
    assert_eq!(final_hashes(&bench.path("killed")), final_hashes(&bench.path("whole")));
    let out = bench.path("whole");
    let results: Value = serde_json::from_slice(&fs::read(out.join("eval/results.json")).unwrap()).unwrap();
    let log = events(&out);
    for lang in ["en", "zh"] {
        let mut of_lang = log.iter().filter(|event| event["event"] == "validation" && event["lang"] == lang);
        let trained = of_lang.next_back().unwrap()["loss"].as_f64().unwrap();
        let read_back = results["results"][format!("validation_{lang}")]["loss,none"].as_f64().unwrap();
        assert!((trained - read_back).abs() < 1e-5, "{lang}: {trained} {read_back}");
    }
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
