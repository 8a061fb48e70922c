//! Ingest as a person meets it: one rule shown before a run, what was dropped looked at after it; killed at any moment
//! it goes on to the same bytes; its memory stays within the setting.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use corpus::{Dropped, Manifest, read_dropped};
use serde_json::{Value, json};

use crate::harness::{Bench, expect_failure, files_of, moso};

/// What a command that must succeed prints.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn dropped_rows(out: &Path) -> Vec<Dropped> {
    let folder = out.join("dropped");
    let paths = Manifest::read(&folder).unwrap().paths(&folder);
    paths.iter().flat_map(|path| read_dropped(path).unwrap()).collect()
}

#[test]
fn one_rule_is_shown_and_nothing_written() {
    let bench = Bench::new();
    bench.succeed("ingest", "out");
    let mut by_rule: BTreeMap<String, Vec<Dropped>> = BTreeMap::new();
    for row in dropped_rows(&bench.path("out")) {
        by_rule.entry(row.rule.clone()).or_default().push(row);
    }
    by_rule.retain(|rule, _| !rule.starts_with("duplicates.") && rule != "unpaired");
    assert!(by_rule.len() > 2, "{:?}", by_rule.keys());
    let before = files_of(&bench.path(""));
    let show = |rule: &str, n: &str| {
        let mut command = moso();
        command.arg("ingest").arg(bench.path("run.toml")).args(["--only-rule", rule, "--sample", n]);
        command.current_dir(bench.path(""));
        command
    };
    for (rule, rows) in &by_rule {
        let result: Value = serde_json::from_str(&said(show(rule, "100000").arg("--json"))).unwrap();
        let result = &result["result"];
        let shown = result["dropped"].as_array().unwrap();
        // The rule alone takes what it takes in the run, and what another rule took before it was asked.
        assert!(shown.len() >= rows.len() && result["n_dropped"] == shown.len());
        for row in rows {
            let is_row = |one: &&Value| one["source"] == row.source && one["locator"] == row.locator;
            assert_eq!(shown.iter().find(is_row).unwrap()["detail"], row.detail, "{rule}");
        }
        let output = show(rule, "2").output().unwrap();
        let (text, summary) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success() && summary.contains(&format!("{rule} would drop {} of the ", shown.len())));
        assert!(text.contains(&format!("\n{} of those that would be dropped:\n", shown.len().min(2))), "{text}");
        let first = &shown[0];
        let place = ["lang", "source", "locator"].map(|key| first[key].as_str().unwrap()).join(" ");
        assert!(text.contains(&format!("{place}: {}", first["detail"].as_str().unwrap())), "{text}");
        assert!(text.contains("of those that would only just pass:"));
    }
    assert!(files_of(&bench.path("")) == before, "a rule that is only shown writes nothing");
    expect_failure(
        show("english.words", "2").output().unwrap(),
        2,
        &["\"english.words\"", "english.gopher_quality.words"],
    );
    expect_failure(show("duplicates.near", "2").output().unwrap(), 2, &["moso inspect", "--rule duplicates.near"]);
    let alone = moso().arg("ingest").arg(bench.path("run.toml")).args(["--sample", "2"]).output().unwrap();
    expect_failure(alone, 2, &["--only-rule"]);
}

#[test]
fn what_was_dropped_is_found_by_rule_language_and_source() {
    let bench = Bench::new();
    bench.succeed("ingest", "out");
    let inspect = |folder: &str, filters: &[&str]| {
        said(moso().arg("inspect").arg(bench.path("out").join(folder)).args(filters).args(["--rows", "100000"]))
    };
    let rows = dropped_rows(&bench.path("out"));
    let keys: [fn(&Dropped) -> &str; 3] = [|row| &row.rule, |row| &row.lang, |row| &row.source];
    let flags = ["--rule", "--lang", "--source"];
    let row = &rows[rows.len() / 2];
    for wanted in 1..8 {
        let asked: Vec<usize> = (0..3).filter(|index| wanted >> index & 1 == 1).collect();
        let filters: Vec<&str> = asked.iter().flat_map(|&index| [flags[index], keys[index](row)]).collect();
        let passes = |one: &&Dropped| asked.iter().all(|&index| keys[index](one) == keys[index](row));
        let found: Vec<&Dropped> = rows.iter().filter(passes).collect();
        assert!(!found.is_empty() && found.len() < rows.len());
        let text = inspect("dropped", &filters);
        assert!(text.starts_with(&format!("{} records, of which {} are shown\n", found.len(), found.len())), "{text}");
        for one in found {
            let Dropped { id, lang, source, locator, rule, detail, .. } = one;
            assert!(text.contains(&format!("  {id} {lang} {source} {locator}: {rule} ({detail})\n")), "{text}");
        }
    }
    let funnel = Manifest::read(&bench.path("out/documents")).unwrap().details;
    for row in funnel["by_source"].as_array().unwrap() {
        let text = inspect("documents", &["--source", row["source"].as_str().unwrap()]);
        assert!(text.starts_with(&format!("{} records", row["n_kept"])), "{text}");
    }
    assert!(inspect("dropped", &["--rule", "no.such.rule"]).starts_with("0 records"));
    // The same few every time, and with more rows the same and more.
    let few = said(moso().arg("inspect").arg(bench.path("out/dropped")).args(["--lang", &row.lang, "--rows", "2"]));
    let lines: Vec<&str> = few.lines().skip(1).collect();
    assert_eq!(lines.len(), 4);
    let all = inspect("dropped", &["--lang", &row.lang]);
    assert_eq!(all.lines().skip(1).take(4).collect::<Vec<_>>(), lines);
}

/// Numbers from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

const ENGLISH: &str = "the river and its valley have been home to people who fish with nets that are made of reed \
    while others grow rice on terraces above water because floods come every spring after snow melts in high mountains \
    where few roads lead through forest toward towns built from stone long before trade reached them";

const RUSSIAN: &str = "река и её долина были домом для людей которые ловят рыбу сетями из тростника а другие растят \
    рис на террасах над водой потому что весной приходит паводок когда тает снег в горах";

/// Sentences of ten words, drawn from some thousand.
fn prose(numbers: &mut Numbers, sentences: &[String], n_sentences: usize) -> String {
    (0..n_sentences).map(|_| &sentences[numbers.below(sentences.len())][..]).collect::<Vec<_>>().join(" ")
}

fn sentences(words: &str, n: usize) -> Vec<String> {
    let (mut numbers, words) = (Numbers(3), words.split_whitespace().collect::<Vec<_>>());
    let mut word = || words[numbers.below(words.len())];
    (0..n).map(|_| format!("{}.", std::iter::repeat_with(&mut word).take(10).collect::<Vec<_>>().join(" "))).collect()
}

const ANSWERS: &str = r#"
[[source]]
name = "answers"
path = "answers.jsonl"
format = "jsonl"
kind = "instruction"
license = "CC0-1.0"
text = "{text}"

[[source]]
name = "pages"
path = "pages.jsonl"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"
"#;

/// Three shards: two are full of short records, the last holds pages, some of which are nearly the same.
fn write_answers(bench: &Bench) {
    let (mut numbers, sentences) = (Numbers(5), sentences(ENGLISH, 5000));
    let write = |name: &str, texts: &mut dyn Iterator<Item = String>| {
        let lines: String = texts.map(|text| format!("{}\n", json!({ "text": text }))).collect();
        fs::write(bench.path(name), lines).unwrap();
    };
    write("answers.jsonl", &mut (0..33_000).map(|_| prose(&mut numbers, &sentences, 2)));
    let page = |index: u64| {
        let end = if index.is_multiple_of(7) { " It was so." } else { "" };
        format!("{}{end}", prose(&mut Numbers(1000 + index / 2), &sentences, 12))
    };
    write("pages.jsonl", &mut (0..2000).map(page));
}

/// Killed with `kill -9` when it has begun, with one shard made, with two, once duplicates were found, and while it
/// writes.
#[test]
fn a_killed_ingest_goes_on_to_the_same_bytes() {
    let bench = Bench::of_sources(ANSWERS);
    write_answers(&bench);
    bench.succeed("ingest", "whole");
    let whole = files_of(&bench.path("whole"));
    let documents = Manifest::read(&bench.path("whole/documents")).unwrap();
    assert!(documents.n_rows() > 30_000 && documents.details["n_dropped"].as_u64().unwrap() > 900);
    let moments: [fn(&Path) -> bool; 5] = [
        |out| out.join("ingest-work/plan.json").exists(),
        |out| out.join("ingest-work/shard-000000/shard.json").exists(),
        |out| out.join("ingest-work/shard-000001/shard.json").exists(),
        |out| out.join("ingest-work/duplicates").exists(),
        |out| out.join("documents/part-00000.parquet.partial").exists(),
    ];
    for (index, moment) in moments.into_iter().enumerate() {
        let out = format!("killed-{index}");
        bench.kill_when("ingest", &out, moment);
        assert!(!bench.path(&out).join("documents/manifest.json").exists(), "killed too late at moment {index}");
        bench.succeed("ingest", &out);
        assert!(files_of(&bench.path(&out)) == whole, "killed at moment {index}");
    }
    for moment in moments {
        bench.kill_when("ingest", "killed-often", moment);
    }
    bench.succeed("ingest", "killed-often");
    assert!(files_of(&bench.path("killed-often")) == whole);
}

const LARGE: &str = r#"
[[source]]
name = "ru"
path = "ru.jsonl.zst"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"

[[source]]
name = "en"
path = "en.jsonl.zst"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"
"#;

/// The least that the settings accept.
const MEMORY: u64 = 256 << 20;

/// Writes JSON lines in blocks that are packed one by one; their size unpacked. `make` is given the number of the
/// block.
fn write_blocks(path: &Path, n_blocks: u64, make: &dyn Fn(u64) -> Vec<String>) -> u64 {
    let mut file = File::create(path).unwrap();
    let mut n_bytes = 0;
    for block in 0..n_blocks {
        let lines: String = make(block).iter().map(|text| format!("{}\n", json!({ "text": text }))).collect();
        n_bytes += lines.len() as u64;
        file.write_all(&zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
    }
    n_bytes
}

/// Bytes of memory that `moso ingest` had at most: the high-water mark that the system keeps, asked for until it is
/// gone.
fn peak_of_ingest(bench: &Bench, out: &str) -> u64 {
    let mut child = bench.command("ingest", out).args(["--threads", "2"]).stderr(Stdio::null()).spawn().unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let kilobytes =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
        peak = peak.max(kilobytes.unwrap_or(0_u64) << 10);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{:?}", status.signal());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a run of a few documents needs is the program itself, its libraries and tables. Beyond that, a run over more
/// text than the setting allows memory stays within the setting: text in a language that is not accepted, which only
/// passes through, and text that is compared to the end.
#[test]
fn memory_stays_within_the_setting() {
    let bench = Bench::of_sources(LARGE);
    bench.edit("memory = \"1GiB\"", "memory = \"256MiB\"");
    let (english, russian) = (sentences(ENGLISH, 20_000), sentences(RUSSIAN, 500));
    let texts = |sentences: &[String], seed: u64, n: usize| {
        let mut numbers = Numbers(seed);
        (0..n).map(|_| prose(&mut numbers, sentences, 60)).collect::<Vec<_>>()
    };
    write_blocks(&bench.path("ru.jsonl.zst"), 1, &|seed| texts(&russian, seed, 2));
    write_blocks(&bench.path("en.jsonl.zst"), 1, &|seed| texts(&english, seed, 2));
    let floor = peak_of_ingest(&bench, "small");
    // The same block again and again costs little to make; it never gets as far as to be compared.
    let block = texts(&russian, 1, 500);
    let n_bytes = write_blocks(&bench.path("ru.jsonl.zst"), 110, &|_| block.clone())
        + write_blocks(&bench.path("en.jsonl.zst"), 25, &|seed| texts(&english, seed, 500));
    assert!(n_bytes > MEMORY + (64 << 20), "{n_bytes} bytes of input are too few");
    let peak = peak_of_ingest(&bench, "large");
    let details = Manifest::read(&bench.path("large/documents")).unwrap().details;
    assert_eq!((&details["n_in"], &details["n_kept"]), (&json!(67_500), &json!(12_500)));
    assert!(peak - floor < MEMORY, "{} MiB beyond the {} MiB of a small run", (peak - floor) >> 20, floor >> 20);
}
