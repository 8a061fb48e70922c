//! `moso explain` is a function of the run file, and the demo's plan is what it says here. `moso plan` says what runs take.

use std::fs;
use std::path::{Path, PathBuf};
#[cfg(feature = "torch")]
use std::time::Instant;

use expect_test::expect_file;
use serde_json::Value;

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
    check("heads = 3,", "heads = 5,", &["stage medium: heads must be 3", "16 wide", "state head_size = 16"]);
    check(
        "hidden = 48",
        "hidden = 50",
        &["stage medium: hidden 50 is no multiple of the head size 16 of the first", "48 and 64 are"],
    );
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
    for wrong in ["\"rollback\"", "{ rollback = { batches = 2 }, x = 1 }", "{ rollback = { rows = 9 } }", "7"] {
        check_line(
            "policy = \"skip\"",
            &format!("policy = {wrong}"),
            &["\"skip\", \"stop\" or { rollback = { batches = 2 } }"],
        );
    }
    check("window = 128", "window = 3", &["stability.window is 3; it must be at least 4"]);
    check("loss_sigma = 6.0", "loss_sigma = 0.5", &["stability.loss_sigma is 0.5"]);
    check("tensor = 1", "tensor = 7", &["stage small", "heads cannot be shared evenly by tensor = 7", "tensor may be"]);
    check("name = \"medium\"", "name = \"../x\"", &["names a folder"]);
    check("ids = 1024", "ids = 100", &["train.ids 100 is too few"]);
}

#[test]
fn a_missing_run_file_is_named() {
    let output = moso().args(["explain", "no-such.toml"]).output().unwrap();
    expect_failure(output, 2, &["cannot read the run file no-such.toml"]);
}

/// `moso plan ARGUMENTS --json`, which must succeed.
fn planned(arguments: &[&str]) -> Value {
    let output = moso().arg("plan").args(arguments).arg("--json").current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(arguments: &[&str], expected: &[&str]) {
    let output = moso().arg("plan").args(arguments).current_dir(root()).output().unwrap();
    expect_failure(output, 2, expected);
}

fn configs() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(root().join("configs")).unwrap().flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    found.sort();
    found
}

#[test]
fn every_run_that_we_stand_behind_can_be_explained_and_planned() {
    let names: Vec<String> =
        configs().iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    for name in ["demo", "flm-101b", "ladder-24-nodes", "ladder-laptop", "ladder-node"] {
        assert!(names.iter().any(|found| found == name), "{name}");
    }
    for path in configs() {
        for command in ["explain", "plan"] {
            let output = moso().arg(command).arg(&path).output().unwrap();
            assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
        }
        let plan = planned(&[&path.display().to_string()]);
        for stage in plan["stages"].as_array().unwrap() {
            assert!(stage["name"].is_string() && stage["fits"] == true, "{stage}");
            let keys = ["params", "tokens", "steps", "zflops", "days", "gpu_hours", "usd", "kwh", "memory_gib_per_gpu"];
            for amounts in [stage, &plan["total"], &plan["from_scratch"]] {
                assert!(keys.iter().all(|key| amounts[key].as_f64().unwrap() > 0.0), "{amounts}");
            }
            let n: u64 = stage["tensors"].as_array().unwrap().iter().map(n_parameters).sum();
            assert_eq!(stage["params"], n);
        }
        assert!((0.0..1.0).contains(&plan["saving"].as_f64().unwrap()));
    }
}

fn n_parameters(tensor: &Value) -> u64 {
    let size: u64 = tensor["size"].as_array().unwrap().iter().map(|axis| axis.as_u64().unwrap()).product();
    size * tensor["n"].as_u64().unwrap()
}

#[track_caller]
fn near(found: &Value, expected: f64, within: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() <= within, "{found} instead of {expected}");
}

/// `configs/flm-101b.toml` comes out as it was published.
#[test]
fn the_papers_run_as_it_was_published() {
    let plan = planned(&["configs/flm-101b.toml"]);
    let published = [
        (52_000, 9.63, 162.0, "tp 2 pp 1 dp 96"),
        (8_400, 5.37, 160.0, "tp 4 pp 2 dp 24"),
        (6_000, 6.54, 165.0, "tp 4 pp 4 dp 12"),
    ];
    for (stage, (steps, days, tflops, _)) in plan["stages"].as_array().unwrap().iter().zip(published) {
        assert_eq!((&stage["steps"], &stage["speed"]), (&Value::from(steps), &Value::from("stated")));
        near(&stage["days"], days, 0.005);
        near(&stage["tflops"], tflops, 1e-9);
    }
    let (total, scratch) = (&plan["total"], &plan["from_scratch"]);
    near(&total["days"], 21.54, 0.005);
    near(&scratch["days"], 76.77, 0.05);
    near(&plan["saving"], 0.72, 0.005);
    near(&total["zflops"], 52.76, 0.03);
    near(&total["usd"], 100_000.0, 20.0);
    near(&total["kwh"], 39_700.0, 20.0);
    near(&total["kg_co2e"], 25_400.0, 50.0);
    let output = moso().args(["plan", "configs/flm-101b.toml", "--tensors"]).current_dir(root()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let layouts = published.map(|(.., layout)| layout);
    assert_eq!(plan["stages"][0]["shape"]["vocabulary"], 100_352, "100,256 entries, padded to a multiple of 128");
    for expected in [
        "52.78 Z",
        "1.0075 an hour of each ([plan] usd_per_gpu_hour)",
        "91.3 % of the time (stated)",
        "Growing saves 71.9 %",
        "layout      ",
        "blocks.N.query.weight",
        "feed forward, up",
    ]
    .iter()
    .chain(&layouts)
    {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

/// This version trains in one process. It says so before it makes anything.
#[test]
fn a_layout_of_many_devices_is_planned_and_not_trained() {
    for command in ["train", "run"] {
        let bench = Bench::new();
        bench.edit(
            "parallel = { tensor = 1, pipeline = 1, data = 1 }",
            "parallel = { tensor = 1, pipeline = 1, data = 2 }",
        );
        bench.fail(command, "out", 2, &["stage small: parallel is tp 1 pp 1 dp 2, 2 devices", "trains in one process"]);
        assert!(!bench.path("out").exists());
        assert!(moso().arg("explain").arg(bench.path("run.toml")).output().unwrap().status.success());
        // Who plans two devices must say which.
        let run = bench.path("run.toml").display().to_string();
        refused(&[&run], &["laid out over 2 devices, and nothing says which: add [plan]", "--gpu-hour"]);
    }
}

#[test]
fn a_budget_becomes_a_run_that_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("mine.toml").display().to_string();
    let asked = ["--budget", "100000", "--gpu-hour", "1.0", "--gpus", "192", "--tokens", "311B", "--out", &out];
    let proposals = planned(&asked);
    let best = &proposals["proposals"][0];
    assert!(best["usd"].as_f64().unwrap() <= 100_000.0);
    let text = fs::read_to_string(&out).unwrap();
    let lines = |begins: &str| text.lines().filter(|line| line.starts_with(begins)).collect::<Vec<_>>();
    assert_eq!(
        lines("growth = "),
        [r#"growth = { depth = "stack", width = "random", moments = "grown", ramp = 0 }"#; 2]
    );
    let [first, second, last] = lines("lr = ")[..] else { panic!("{text}") };
    for (line, end) in [(first, "end = 4.0000e-4"), (second, "end = 4.0000e-4"), (last, "end = 6.0000e-6")] {
        assert!(line.contains("peak = 4.0000e-4") && line.contains(end), "{line}");
    }
    let plan = planned(&[&out]);
    near(&plan["total"]["usd"], best["usd"].as_f64().unwrap(), 1.0);
    near(&plan["total"]["tokens"], 311e9, 0.01 * 311e9);
    assert!(moso().args(["explain", &out]).output().unwrap().status.success());
    // With the text and vocabulary of another run, on another machine.
    let laptop = [
        "configs/ladder-laptop.toml",
        "--budget",
        "5",
        "--gpu-hour",
        "0.1",
        "--gpu",
        "cpu",
        "--gpus",
        "1",
        "--tokens",
        "1B",
        "--out",
        &out,
    ];
    refused(&laptop, &["mine.toml is there already; --force writes over it"]);
    planned(&[&laptop[..], &["--force"]].concat());
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.contains("ids = 8192") && text.contains("gpu = \"cpu\""), "{text}");
    let plan = planned(&[&out]);
    assert!(plan["total"]["usd"].as_f64().unwrap() <= 5.0);
    assert!(plan["stages"].as_array().unwrap().iter().all(|stage| stage["fits"] == true), "{plan}");
}

/// A written run names the sources of its template from where it stands, also when it is the template itself.
#[test]
fn a_written_run_finds_its_sources() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(folder.path().join("in")).unwrap();
    let (first, second) = (path("in/first.toml"), path("second.toml"));
    for (template, out) in [("configs/demo.toml", &first), (&first[..], &second), (&second[..], &second)] {
        let asked = ["--budget", "5", "--gpu-hour", "0.1", "--gpu", "cpu", "--gpus", "1", "--tokens", "500M"];
        planned(&[&[template], &asked[..], &["--out", out, "--force"]].concat());
        let text = fs::read_to_string(out).unwrap();
        let sources: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("path = \"")).collect();
        assert!(sources.len() > 10);
        for source in sources {
            let source = Path::new(out).parent().unwrap().join(source.trim_end_matches('"'));
            assert!(source.exists(), "{}", source.display());
        }
    }
}

/// What belongs to the models, or to the machine, of a template stays there; what belongs to the place goes along.
#[test]
fn a_written_run_keeps_what_still_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let out = path("out.toml");
    let asked = ["--budget", "50", "--gpu-hour", "0.1", "--gpu", "cpu", "--gpus", "1", "--tokens", "1B", "--out", &out];
    let output = moso().arg("plan").arg("configs/prediction.toml").args(asked).current_dir(root()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("without [sweep] and [predict]"), "{said}");
    planned(&[&out]);
    // A device of one's own goes with its file, relative to the run; its price, speeds and availability don't.
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::write(folder.path().join("in/hw.toml"), table_of("B200")).unwrap();
    let asked = [
        "configs/flm-101b.toml",
        "--hardware",
        &path("in/hw.toml"),
        "--budget",
        "100000",
        "--gpu-hour",
        "4.0",
        "--gpu",
        "b200",
        "--gpus",
        "64",
        "--tokens",
        "311B",
        "--out",
        &path("b200.toml"),
    ];
    planned(&asked);
    let text = fs::read_to_string(folder.path().join("b200.toml")).unwrap();
    for expected in
        ["gpu = \"B200\"\nhardware = \"in/hw.toml\"", "kg_co2e_per_kwh = 0.581", "power_usage_effectiveness = 1.1"]
    {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    assert!(!text.contains("[plan.stage]"), "{text}");
    let plan = planned(&[&path("b200.toml")]);
    assert!(plan["gpu"] == "B200" && plan["total"]["kg_co2e"].as_f64().unwrap() > 0.0, "{plan}");
    fs::remove_file(folder.path().join("in/hw.toml")).unwrap();
    for command in ["plan", "explain"] {
        let output = moso().arg(command).arg(path("b200.toml")).output().unwrap();
        expect_failure(output, 2, &["[plan] hardware", "cannot read the hardware file", "in/hw.toml"]);
    }
}

/// Price, speed and availability are those of the machine they were said of.
#[test]
fn another_device_has_no_price_until_one_is_said() {
    let run = "configs/flm-101b.toml";
    refused(
        &[run, "--gpu", "H100"],
        &["1.0075 USD an hour is the price of the run file's A800", "one H100 costs: --gpu-hour"],
    );
    refused(&["configs/demo.toml", "--gpu", "H100"], &["no price of a H100", "--gpu-hour"]);
    let source = |plan: &Value| {
        let stage = &plan["stages"][0];
        [&plan["price_from"], &stage["speed"], &stage["availability_source"]]
            .map(|from| from.as_str().unwrap().to_owned())
    };
    assert_eq!(source(&planned(&[run])), ["[plan] usd_per_gpu_hour", "stated", "stated"]);
    assert_eq!(source(&planned(&[run, "--gpu", "a800"])), ["[plan] usd_per_gpu_hour", "stated", "stated"]);
    let elsewhere = planned(&[run, "--gpu", "H100", "--gpu-hour", "2.5"]);
    assert_eq!(source(&elsewhere), ["--gpu-hour", "modelled", "assumed"]);
    near(&elsewhere["total"]["usd"], 2.5 * elsewhere["total"]["gpu_hours"].as_f64().unwrap(), 1e-3);
    assert_eq!(source(&planned(&["configs/demo.toml"])), ["[report] cost", "modelled", "assumed"]);
}

/// Sizes, counts and money that would overflow are refused where they are read.
#[test]
fn what_is_too_large_is_refused_by_name() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        let bench = Bench::new();
        bench.edit(from, to);
        for command in ["plan", "explain"] {
            let output = moso().arg(command).arg(bench.path("run.toml")).output().unwrap();
            expect_failure(output, 2, &[&["stage small"], expected].concat());
        }
    };
    check(
        "rows = 8,",
        "rows = 216000000000000000,",
        &["batch rows is 216000000000000000; it must be at most 16777216"],
    );
    check("heads = 2,", "heads = 8_000_000_000,", &["heads is 8000000000; it must be at most"]);
    check("layers = 2,", "layers = 80_000_000_000_000,", &["layers is 80000000000000; it must be at most 10000"]);
    check("hidden = 32,", "hidden = 9_000_000_000_000_000_000,", &["hidden is"]);
    let flm = "configs/flm-101b.toml";
    let output = moso().args(["plan", flm, "--gpus", "18446744073709551615"]).current_dir(root()).output().unwrap();
    expect_failure(output, 2, &["--gpus", "1000000"]);
    let asked = |budget, price| ["--budget", budget, "--gpu-hour", price, "--gpus", "192", "--tokens", "311B"];
    refused(&asked("1e300", "1"), &["a budget of", "at most 1e15"]);
    for price in ["1e-300", "0", "-1"] {
        refused(&asked("1000", price), &["USD for an hour of one device cannot be planned with"]);
    }
    refused(&[flm, "--gpu-hour", "-1"], &["usd_per_gpu_hour is -1; it must be from 0 to 1000000"]);
}

/// A layout that doesn't fit can be looked at, but not overlooked.
#[test]
fn a_layout_that_does_not_fit_is_marked() {
    let bench = Bench::new();
    bench.edit("hidden = 64, heads = 4, ffn = 256", "hidden = 8192, heads = 512, ffn = 32768");
    let run = bench.path("run.toml").display().to_string();
    let output = moso().args(["plan", &run]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("DOES NOT FIT: large (marked !)"), "{text}");
    assert!(text.lines().any(|line| line.trim_start().starts_with("large") && line.contains(" !")), "{text}");
    assert_eq!(planned(&[&run])["stages"][2]["n_layouts"], 0);
}

/// A table with one device.
fn table_of(name: &str) -> String {
    format!(
        "[[device]]\nname = \"{name}\"\ntflops = {{ bfloat16 = 2250.0, float32 = 80.0 }}\nmemory_gib = 180.0\nwatts = 1000.0\n\
         compute_share = 0.5\navailability = 1.0\nlink_gb_per_s = 900.0\nhost_gb_per_s = 50.0\n\
         node = {{ devices = 8, network_gb_per_s = 50.0, storage_gb_per_s = 2.0 }}\n"
    )
}

#[test]
fn what_cannot_be_planned_is_said_with_what_can() {
    refused(&["configs/flm-101b.toml", "--gpu", "A1000"], &["no device \"A1000\"; did you mean \"A100\"?", "MI300X"]);
    let budget = |usd| ["--budget", usd, "--gpu-hour", "1.0", "--gpus", "192", "--tokens", "311B"];
    refused(&budget("1"), &["1 USD is too little for any schedule: 311000000000 tokens need ", " USD at least"]);
    refused(&budget("0.0001"), &["0.0001 USD is too little"]);
    refused(&["--budget", "10", "--tokens", "1B"], &["--gpu-hour"]);
    refused(&["configs/flm-101b.toml", "--gpus", "7"], &["7 x A800 cannot be shared by all stages", "devices can"]);
    refused(&["configs/flm-101b.toml", "--measured", "no/such/folder"], &["there is no folder no/such/folder"]);
    refused(&["configs/flm-101b.toml", "--measured", ".", "--gpus", "8"], &["192 devices", "leave out --gpus"]);
    let elsewhere = ["configs/flm-101b.toml", "--measured", ".", "--gpu", "H100", "--gpu-hour", "1"];
    refused(&elsewhere, &["the speed of A800", "leave out --gpu"]);
    let bench = Bench::new();
    let run = bench.path("run.toml").display().to_string();
    bench.edit(
        "[eval]",
        "[plan]\ngpu = \"cpu\"\ngpus = 1\nusd_per_gpu_hour = 0.1\nstage = { smal = { tflops = 1.0 } }\n\n[eval]",
    );
    refused(&[&run], &["[plan] names the stage \"smal\", which there is not; the stages are small, medium, large"]);
    bench.edit("smal = { tflops = 1.0 }", "small = { availability = 1.5 }");
    refused(&[&run], &["[plan] stage.small.availability is 1.5; it must be above 0 and at most 1"]);
    bench.edit("availability = 1.5", "avail = 1.0");
    refused(&[&run], &["unknown field `avail`", "line"]);
}

/// A device of one's own, and another price.
#[test]
fn the_table_of_hardware_can_be_extended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let table = "[[device]]\nname = \"mine\"\ntflops = { bfloat16 = 100.0, float32 = 50.0 }\nmemory_gib = 200.0\nwatts = 1000.0\n\
                 compute_share = 0.5\navailability = 1.0\nlink_gb_per_s = 100.0\nhost_gb_per_s = 10.0\n\
                 node = { devices = 8, network_gb_per_s = 10.0, storage_gb_per_s = 1.0 }\n";
    fs::write(&path, table).unwrap();
    let hardware = path.display().to_string();
    let plan = planned(&["configs/ladder-node.toml", "--hardware", &hardware, "--gpu", "mine", "--gpu-hour", "3.0"]);
    let total = &plan["total"];
    near(&total["usd"], 3.0 * total["gpu_hours"].as_f64().unwrap(), 1e-6);
    near(&total["kwh"], total["gpu_hours"].as_f64().unwrap(), 1e-6);
    assert!(plan["stages"][0]["share_of_peak"].as_f64().unwrap() < 0.5);
    fs::write(&path, table.replace("watts = 1000.0\n", "")).unwrap();
    refused(&["configs/ladder-node.toml", "--hardware", &hardware], &["mine.toml", "missing field `watts`"]);
}

/// The planner's tensors are the trainer's.
#[cfg(feature = "torch")]
#[test]
fn the_planners_tensors_are_the_trainers() {
    let shape =
        planner::Shape { layers: 3, hidden: 48, heads: 3, head_size: 20, ffn: 100, vocabulary: 256, context: 32 };
    let mut of_planner: Vec<(String, Vec<u64>)> = Vec::new();
    for tensor in planner::tensors(&shape) {
        let name = |block: u64| tensor.name.replace("blocks.N", &format!("blocks.{block}"));
        of_planner.extend((0..tensor.n).map(|block| (name(block), tensor.size.clone())));
    }
    let size = |size: Vec<i64>| size.into_iter().map(|axis| axis as u64).collect::<Vec<_>>();
    let specs = trainer::parameter_specs(&shape);
    let mut of_trainer: Vec<(String, Vec<u64>)> =
        specs.iter().map(|spec| (spec.name.clone(), size(spec.size(&shape)))).collect();
    of_planner.sort();
    of_trainer.sort();
    assert_eq!(of_planner, of_trainer);
}

/// What a run did is what was planned: parameters and FLOPs to the last digit, and speeds that are fed back give the time of its steps. Time by the
/// clock and memory are held against the demo by `cargo xtask forecast`.
#[cfg(feature = "torch")]
#[test]
fn a_run_is_what_was_planned() {
    let bench = Bench::new();
    let (run, out) = (bench.path("run.toml").display().to_string(), bench.path("out").display().to_string());
    refused(&[&run, "--measured", &out], &["there is no folder"]);
    fs::create_dir(&out).unwrap();
    refused(&[&run, "--measured", &out], &["metrics.jsonl has no step of this run: train some of it first"]);
    let start = Instant::now();
    bench.succeed("run", "out");
    let by_the_clock = start.elapsed().as_secs_f64();
    let plan = planned(&[&run, "--measured", &out]);
    let text = fs::read_to_string(bench.path("out/metrics.jsonl")).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &'static str| events.iter().filter(move |line| line["event"] == event);
    let params: Vec<&Value> = plan["stages"].as_array().unwrap().iter().map(|stage| &stage["params"]).collect();
    let grown: Vec<&Value> = of("growth").map(|growth| &growth["parameters"][1]).collect();
    assert_eq!(params[1..], grown);
    for stage in plan["stages"].as_array().unwrap() {
        let steps = || of("step").filter(|step| step["stage"] == stage["name"]);
        assert_eq!(stage["steps"], steps().count());
        let per_token =
            steps().map(|step| step["model_flops_per_s"].as_f64().unwrap() / step["tokens_per_s"].as_f64().unwrap());
        let tokens = stage["tokens"].as_f64().unwrap();
        let flops = stage["zflops_exact"].as_f64().unwrap() * 1e21;
        assert!(per_token.into_iter().all(|per_token| (per_token * tokens / flops - 1.0).abs() < 1e-9), "{stage}");
        // Parts of a step have clocks of their own; all of them lie within what the plan takes for it.
        let parts = ["data", "optimizer"];
        let seconds: f64 =
            steps().map(|step| parts.map(|part| step["seconds"][part].as_f64().unwrap()).iter().sum::<f64>()).sum();
        assert!(stage["compute_days"].as_f64().unwrap() * 86_400.0 > seconds, "{stage}");
        assert_eq!(stage["speed"], "measured");
    }
    // The whole run took longer than its training: so says a clock outside.
    let planned_seconds = plan["total"]["days"].as_f64().unwrap() * 86_400.0;
    assert!(planned_seconds < by_the_clock, "{planned_seconds} {by_the_clock}");
    let page = fs::read_to_string(bench.path("out/report/index.html")).unwrap();
    assert!(page.contains("at the speeds of the table of hardware"), "the report's plan was made before the run");
    // The log of another model, or another batch, is not of this plan.
    bench.edit("layers = 2, hidden = 32, heads = 2, ffn = 128", "layers = 2, hidden = 32, heads = 2, ffn = 64");
    refused(&[&run, "--measured", &out], &["stage small: another model was measured"]);
    bench.edit("ffn = 64 }", "ffn = 128 }");
    bench.edit("batch = { rows = 8, micro_rows = 4 }", "batch = { rows = 4, micro_rows = 4 }");
    refused(&[&run, "--measured", &out], &["stage small: steps of 1024 tokens were measured, the run file's have 512"]);
}
