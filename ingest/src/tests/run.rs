//! The whole stage: the same bytes on any number of threads, counts that add up, errors that name their place.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use corpus::{Document, Kind, Manifest, Settings};
use proptest::prelude::*;

use super::{Numbers, PLAIN, chinese, english, json_lines, read_output, run_on, settings, settings_with, sources};
use crate::{IngestConfig, IngestError, Progress, ingest_parents, run};

pub(super) const MIXED: &str = r#"
[[source]]
name = "web"
path = "web.jsonl"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"
url = "{url?}"

[[source]]
name = "pages"
path = "pages"
format = "html"
kind = "plain"
license = "CC0-1.0"

[[source]]
name = "novel"
path = "novel.txt"
format = "text"
kind = "plain"
license = "CC0-1.0"
separator = "\n%%\n"

[[source]]
name = "questions"
path = "questions.jsonl"
format = "jsonl"
kind = "proposition"
license = "CC0-1.0"
true_text = "{question} {answer}"
false_text = "{question} {wrong}"

[[source]]
name = "judged"
path = "judged.jsonl"
format = "jsonl"
kind = "proposition"
license = "CC0-1.0"
text = "{messages.0.content}"
label = "label"
"#;

/// Sources of every format with something for most rules; so many records in the largest.
pub(super) fn write_mixed(folder: &Path, n_records: usize) {
    let mut numbers = Numbers(7);
    let mut texts: Vec<String> = Vec::new();
    for index in 0..n_records {
        texts.push(match numbers.below(10) {
            0 if index > 0 => texts[numbers.below(index)].to_uppercase(),
            1 if index > 0 => format!("{} indeed so", texts[numbers.below(index)]),
            2 => "too short".into(),
            3 => "Longtemps, je me suis couché de bonne heure, et mes yeux se fermaient si vite.".into(),
            4 | 5 => chinese(index as u64, 60 + numbers.below(100)),
            _ => english(index as u64, 40 + numbers.below(60)),
        });
    }
    fs::write(folder.join("web.jsonl"), json_lines(texts.iter().map(|text| &text[..]))).unwrap();
    fs::create_dir_all(folder.join("pages/deep")).unwrap();
    let page = |seed| format!("<title>Page</title><body><p>{}</p>", english(seed, 200));
    fs::write(folder.join("pages/deep/a.html"), page(1)).unwrap();
    fs::write(folder.join("pages/b.html"), page(2)).unwrap();
    fs::write(folder.join("novel.txt"), format!("{}\n%%\n{}", chinese(1, 500), chinese(2, 500))).unwrap();
    let question =
        r#"{"question": "What is it that grows a metre in a day?", "answer": "Moso bamboo.", "wrong": "An oak."}"#;
    fs::write(folder.join("questions.jsonl"), format!("{question}\n{question}\n")).unwrap();
    let judged = r#"{"messages": [{"content": "The moon is made of cheese and that is the truth."}], "label": false}"#;
    fs::write(folder.join("judged.jsonl"), judged).unwrap();
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    write_mixed(folder.path(), 3000);
    let sources = sources(MIXED, folder.path());
    let once = run_on(&sources, &settings(), 1).unwrap();
    for (n_threads, memory) in [(2, 1 << 30), (5, 1 << 30), (2, 0)] {
        let config = IngestConfig { memory, ..settings() };
        let output = run_on(&sources, &config, n_threads).unwrap();
        assert!(output.bytes == once.bytes, "{n_threads} threads with {memory} bytes differ");
    }
}

/// Stopped after every few steps and started again until it ends by itself, a run makes the same bytes, and never reads
/// again what it had finished.
#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    write_mixed(folder.path(), 3000);
    let (sources, config) = (sources(MIXED, folder.path()), settings());
    let once = run_on(&sources, &config, 2).unwrap();
    let out = folder.path().join("out");
    let parents = ingest_parents(&sources, &config).unwrap();
    let mut n_runs = 0;
    loop {
        n_runs += 1;
        let n_told = AtomicU64::new(0);
        let stop_soon = |_: Progress| match n_told.fetch_add(1, Ordering::Relaxed) < n_runs * 3 {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        match run(&sources, &config, &out, &Settings::default(), parents.clone(), &stop_soon) {
            Err(IngestError::Interrupted) => assert!(n_runs < 200, "the run never ends"),
            result => {
                result.unwrap();
                break;
            }
        }
    }
    assert!(n_runs > 4, "{n_runs} runs");
    assert!(read_output(&out).bytes == once.bytes);
    assert!(!out.join("ingest-work").exists());
}

#[test]
fn counts_add_up_and_every_drop_has_its_row() {
    let folder = tempfile::tempdir().unwrap();
    write_mixed(folder.path(), 3000);
    let output = run_on(&sources(MIXED, folder.path()), &settings(), 2).unwrap();
    let details = &output.manifest.details;
    let (n_kept, n_dropped) = (output.documents.len() as u64, output.dropped.len() as u64);
    assert_eq!(details["n_in"], n_kept + n_dropped);
    assert_eq!((&details["n_kept"], &details["n_dropped"]), (&n_kept.into(), &n_dropped.into()));
    let funnel = details["funnel"].as_array().unwrap();
    assert_eq!(funnel.iter().map(|row| row["n"].as_u64().unwrap()).sum::<u64>(), n_dropped);
    let rules: Vec<&str> = funnel.iter().map(|row| row["rule"].as_str().unwrap()).collect();
    for rule in ["language", "english.gopher_quality.words", "duplicates.exact", "duplicates.near"] {
        assert!(rules.contains(&rule), "{rule} took nothing: {rules:?}");
    }
    let in_order = |name: &str| rules.iter().position(|&rule| rule == name);
    assert!(
        in_order("language") < in_order("english.gopher_quality.words")
            && in_order("english.gopher_quality.words") < in_order("duplicates.exact")
    );
    let by_source = details["by_source"].as_array().unwrap();
    assert_eq!(by_source.iter().map(|row| row["n_kept"].as_u64().unwrap()).sum::<u64>(), n_kept);
    assert_eq!(by_source[0]["source"], "web");
    let n_counted: u64 = output.manifest.counts.iter().map(|row| row.amount("documents")).sum();
    let n_bytes: u64 = output.manifest.counts.iter().map(|row| row.amount("bytes")).sum();
    let n_bytes_found: usize = output.documents.iter().map(|document| document.text.len()).sum();
    assert_eq!((n_counted, n_bytes), (n_kept, n_bytes_found as u64));
    assert!(details["samples"].as_array().unwrap().iter().all(|sample| sample["text"].is_string()));
}

#[test]
fn documents_carry_where_they_come_from() {
    let folder = tempfile::tempdir().unwrap();
    write_mixed(folder.path(), 3000);
    let output = run_on(&sources(MIXED, folder.path()), &settings(), 2).unwrap();
    let of = |name: &str| -> Vec<&Document> { output.documents.iter().filter(|one| one.source == name).collect() };
    let locators = |name: &str| -> Vec<String> {
        let meta = |one: &&Document| serde_json::from_str::<serde_json::Value>(&one.meta).unwrap();
        of(name).iter().map(|one| meta(one)["locator"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(locators("pages"), ["b.html", "deep/a.html"]);
    assert_eq!(locators("novel"), ["novel.txt:1", "novel.txt:2"]);
    // The second record repeats the first: true and false twins stay, their copies go.
    assert_eq!(locators("questions"), ["questions.jsonl:1#true", "questions.jsonl:1#false"]);
    let labels: Vec<Option<bool>> = of("questions").iter().chain(&of("judged")).map(|one| one.label).collect();
    assert_eq!(labels, [Some(true), Some(false), Some(false)]);
    assert_eq!(of("judged")[0].kind, Kind::Proposition);
    assert!(of("novel")[0].meta.contains("\"script\":\"Hans\""));
    assert!(output.documents.iter().all(|one| one.signals.len() == 17 && !one.text.is_empty()));
    let near = output.dropped.iter().find(|one| one.rule == "duplicates.near").unwrap();
    let kept = &near.detail[near.detail.find("with ").unwrap() + 5..][..32];
    assert!(output.documents.iter().any(|one| one.id.to_string() == kept), "{}", near.detail);
    assert!(output.dropped.iter().all(|one| output.documents.iter().all(|kept| kept.id != one.id)));
}

#[test]
fn an_unreadable_record_is_an_error_beyond_the_limit_and_a_row_up_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let good = json_lines([&english(1, 40)[..]]);
    for (bad, says) in [
        (&b"{\"text\": \"\xFF\"}"[..], "web.jsonl:3 is not UTF-8 at byte 11"),
        (b"{\"text\": \"cut", "web.jsonl:3 is not JSON at column 13"),
        (b"{\"title\": \"no text\"}", "web.jsonl:3 field \"text\" is missing"),
        (b"{\"text\": [\"a\"]}", "web.jsonl:3 field \"text\" is an array, not text"),
        (b"[1, 2]", "web.jsonl:3 field \"text\" is missing"),
    ] {
        let lines = [good.as_bytes(), b"\n", bad, b"\n", &good.as_bytes()[..9], &good.as_bytes()[9..]].concat();
        fs::write(folder.path().join("web.jsonl"), lines).unwrap();
        let sources = sources(PLAIN, folder.path());
        let Err(error) = run_on(&sources, &settings(), 2) else { panic!("{says} was accepted") };
        assert!(error.to_string().contains(says) && error.is_input(), "{error}");
        let tolerant = settings_with(&[("bad_records_max = 0", "bad_records_max = 1")]);
        let output = run_on(&sources, &tolerant, 2).unwrap();
        assert_eq!((&output.dropped[0].rule[..], &output.dropped[0].locator[..]), ("unreadable", "web.jsonl:3"));
        assert_eq!(output.manifest.details["n_in"], 3);
    }
}

#[test]
fn long_and_empty_documents_are_dropped_and_longer_lines_are_not_held() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [english(1, 20), english(2, 60), "word ".repeat(4 << 20), " \u{200b} ".into()];
    fs::write(folder.path().join("web.jsonl"), json_lines(texts.iter().map(|text| &text[..]))).unwrap();
    let config = settings_with(&[("\"1M\"", "200"), ("bad_records_max = 0", "bad_records_max = 1")]);
    let output = run_on(&sources(PLAIN, folder.path()), &config, 1).unwrap();
    let rules: Vec<&str> = output.dropped.iter().map(|dropped| &dropped.rule[..]).collect();
    assert_eq!(rules, ["too_long", "unreadable", "empty"]);
    assert_eq!(output.dropped[1].detail, "is longer than 16000000 bytes");
}

#[test]
fn a_failed_or_interrupted_run_leaves_the_last_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::write(folder.path().join("web.jsonl"), json_lines([&english(1, 40)[..]])).unwrap();
    let sources = sources(PLAIN, folder.path());
    let go_on = |_| ControlFlow::Continue(());
    run(&sources, &settings(), &out, &Settings("first".into()), Vec::new(), &go_on).unwrap();
    let stopped = run(&sources, &settings(), &out, &Settings("second".into()), Vec::new(), &|_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(IngestError::Interrupted)));
    fs::remove_file(folder.path().join("web.jsonl")).unwrap();
    let missing = run(&sources, &settings(), &out, &Settings("third".into()), Vec::new(), &go_on).unwrap_err();
    assert!(missing.is_input() && !missing.is_out_of_space());
    assert_eq!(Manifest::read(&out.join("documents")).unwrap().config, Settings("first".into()));
}

#[test]
fn progress_ends_at_the_size_of_the_sources() {
    let folder = tempfile::tempdir().unwrap();
    let text = json_lines([&english(1, 40)[..], &english(2, 40)[..]]);
    fs::write(folder.path().join("web.jsonl"), &text).unwrap();
    let n_bytes_read = AtomicU64::new(0);
    let watch = |progress: Progress| {
        if progress.phase == "reading" {
            assert_eq!(progress.n_all, text.len() as u64);
            n_bytes_read.store(progress.n_done, Ordering::Relaxed);
        }
        ControlFlow::Continue(())
    };
    let sources = sources(PLAIN, folder.path());
    run(&sources, &settings(), &folder.path().join("out"), &Settings::default(), Vec::new(), &watch).unwrap();
    assert_eq!(n_bytes_read.into_inner(), text.len() as u64);
}

#[test]
fn parents_change_with_contents_and_names_but_not_with_places() {
    let hash = |name: &str, text: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("web.jsonl")).unwrap();
        fs::write(folder.path().join("web.jsonl").join(name), text).unwrap();
        let parents = ingest_parents(&sources(PLAIN, folder.path()), &settings()).unwrap();
        assert_eq!(parents[0].name, "source web");
        parents[0].hash.clone()
    };
    assert_eq!(hash("a", "text"), hash("a", "text"));
    assert_ne!(hash("a", "text"), hash("b", "text"));
    assert_ne!(hash("a", "text"), hash("a", "texts"));
}

#[test]
fn a_full_disk_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.jsonl"), json_lines([&english(1, 40)[..]])).unwrap();
    let documents = folder.path().join("out/documents");
    fs::create_dir_all(&documents).unwrap();
    std::os::unix::fs::symlink("/dev/full", documents.join("part-00000.parquet.partial")).unwrap();
    let go_on = |_| ControlFlow::Continue(());
    let sources = sources(PLAIN, folder.path());
    let error =
        run(&sources, &settings(), &folder.path().join("out"), &Settings::default(), Vec::new(), &go_on).unwrap_err();
    assert!(error.is_out_of_space() && !error.is_input(), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_are_kept_or_dropped(bytes in proptest::collection::vec(any::<u8>(), 0..400), is_html in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("web.jsonl"), &bytes).unwrap();
        let text = if is_html { PLAIN.replace("\"jsonl\"", "\"html\"").replace("text = \"{text}\"", "") } else { PLAIN.into() };
        let config = settings_with(&[("bad_records_max = 0", "bad_records_max = \"1M\"")]);
        let output = run_on(&sources(&text, folder.path()), &config, 1).unwrap();
        let n_out = (output.documents.len() + output.dropped.len()) as u64;
        prop_assert_eq!(output.manifest.details["n_in"].as_u64(), Some(n_out));
    }
}
