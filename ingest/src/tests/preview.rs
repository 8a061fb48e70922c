//! One rule shown alone: it counts and shows what the rule says of every document, whatever the other rules say.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use corpus::DocId;

use super::run::{MIXED, write_mixed};
use super::run_fates::{SECTIONS, write_lists};
use super::{PLAIN, english, json_lines, run_on, settings, settings_and, settings_with, sources};
use crate::{IngestConfig, IngestError, Preview, PreviewError, Scope, Scratch, Source, judge, normalise, preview};

fn show(sources: &[Source], config: &IngestConfig, rule: &str, n: usize) -> Preview {
    preview(sources, config, rule, n, &|_| ControlFlow::Continue(())).unwrap()
}

/// English documents of 5 to 104 words, one of each length, the last first, then one that is French.
fn write_lengths(folder: &Path) -> Vec<String> {
    let mut texts: Vec<String> =
        (5..105).rev().map(|n_words| format!("{}.", english(n_words as u64, n_words))).collect();
    texts.push("Longtemps, je me suis couché de bonne heure, et mes yeux se fermaient si vite.".into());
    fs::write(folder.join("web.jsonl"), json_lines(texts.iter().map(|text| &text[..]))).unwrap();
    texts
}

#[test]
fn a_rule_with_a_limit_is_asked_of_every_document_of_its_language() {
    let folder = tempfile::tempdir().unwrap();
    let texts = write_lengths(folder.path());
    let config = settings_with(&[("language_confidence_min = 0.5", "language_confidence_min = 0.0")]);
    let sources = sources(PLAIN, folder.path());
    let rule = "english.gopher_quality.words";
    // By the definition: the limit's value for each text, alone.
    let value = |text: &String| {
        let text = normalise(text);
        let judgement = judge(&text, config.rules("en"), Scope::Everything, &mut Scratch::default());
        *judgement.limits.iter().find(|limit| limit.rule == rule).unwrap()
    };
    let limits: Vec<_> = texts[..100].iter().map(value).collect();
    let broken: Vec<usize> = (0..100).filter(|&index| limits[index].is_broken()).collect();
    assert!(broken.len() > 5 && broken.len() < 50);
    let all = show(&sources, &config, rule, 1000);
    assert_eq!((all.n_documents, all.n_asked, all.n_dropped), (101, 100, broken.len() as u64));
    let locator = |index: &usize| format!("web.jsonl:{}", index + 1);
    // Those with the smallest ids first, which are hashes.
    let mut expected: Vec<(DocId, String)> =
        broken.iter().map(|index| (DocId::new("web", &locator(index)), locator(index))).collect();
    expected.sort();
    let shown: Vec<&String> = all.dropped.iter().map(|shown| &shown.locator).collect();
    assert_eq!(shown, expected.iter().map(|(_, locator)| locator).collect::<Vec<_>>());
    for shown in all.dropped.iter().chain(&all.passed) {
        let index: usize = shown.locator["web.jsonl:".len()..].parse::<usize>().unwrap() - 1;
        assert_eq!((&shown.detail, &shown.lang[..], &shown.source[..]), (&limits[index].to_string(), "en", "web"));
        assert!(texts[index].starts_with(&shown.text[..shown.text.len().min(40)]));
    }
    // Those that pass, the nearest to the limit first, and none that is far from it.
    let distances: Vec<f64> = all
        .passed
        .iter()
        .map(|shown| limits[shown.locator["web.jsonl:".len()..].parse::<usize>().unwrap() - 1].distance())
        .collect();
    assert!(distances.is_sorted() && distances.iter().all(|&distance| distance <= 0.5), "{distances:?}");
    let n_near = limits.iter().filter(|limit| !limit.is_broken() && limit.distance() <= 0.5).count();
    assert_eq!(distances.len(), n_near);
    // Fewer samples are the beginning of more.
    let some = show(&sources, &config, rule, 3);
    assert_eq!((some.n_dropped, some.dropped.len(), some.passed.len()), (all.n_dropped, 3, 3));
    let texts = |shown: &[crate::Shown]| shown.iter().take(3).map(|one| one.locator.clone()).collect::<Vec<_>>();
    assert_eq!((texts(&some.dropped), texts(&some.passed)), (texts(&all.dropped), texts(&all.passed)));
}

/// Every rule that takes documents in a run takes at least those when it is asked alone.
#[test]
fn what_a_run_drops_the_rule_alone_would_drop_too() {
    let folder = tempfile::tempdir().unwrap();
    write_mixed(folder.path(), 300);
    write_lists(folder.path());
    let mut web = fs::read_to_string(folder.path().join("web.jsonl")).unwrap();
    web.push_str("{\"text\": \"\\u200b\"}\nno record\n");
    let blocked = serde_json::json!({ "text": english(1, 60), "url": "http://casino.example.net/" });
    web.push_str(&format!("{blocked}\n{}\n", serde_json::json!({ "text": english(2, 3000) })));
    let question = "What is the airspeed of an unladen swallow? It depends.";
    web.push_str(&json_lines([&format!("{} {question}", english(3, 60))[..]]));
    fs::write(folder.path().join("web.jsonl"), web).unwrap();
    let sections = SECTIONS.replace("FOLDER", folder.path().to_str().unwrap());
    let config = settings_and(&sections, &[("\"1M\"", "6000"), ("bad_records_max = 0", "bad_records_max = 1")]);
    let sources = sources(MIXED, folder.path());
    let output = run_on(&sources, &config, 2).unwrap();
    let mut n_rules = 0;
    let is_alone = |rule: &&String| !rule.starts_with("duplicates.") && *rule != "unpaired";
    for rule in crate::examine::rule_names(&config).iter().filter(is_alone) {
        let shown = show(&sources, &config, rule, 100_000);
        n_rules += usize::from(shown.n_dropped > 0);
        assert_eq!(shown.n_documents, output.manifest.details["n_in"]);
        assert!(shown.n_dropped <= shown.n_asked && shown.n_dropped == shown.dropped.len() as u64, "{rule}");
        for gone in output.dropped.iter().filter(|gone| gone.rule == *rule) {
            let same = shown.dropped.iter().find(|one| (&one.source, &one.locator) == (&gone.source, &gone.locator));
            assert_eq!(same.map(|one| &one.detail), Some(&gone.detail), "{rule} {}", gone.locator);
        }
    }
    for rule in ["unreadable", "urls.blocked", "empty", "too_long", "language", "contamination"] {
        assert!(output.dropped.iter().any(|gone| gone.rule == rule), "{rule} took nothing");
    }
    assert!(n_rules > 7, "{n_rules} rules drop something");
}

#[test]
fn rules_that_are_not_there_or_not_alone_are_errors_that_help() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.jsonl"), json_lines([&english(1, 60)[..]])).unwrap();
    let sources = sources(PLAIN, folder.path());
    let fails = |rule: &str| preview(&sources, &settings(), rule, 3, &|_| ControlFlow::Continue(())).unwrap_err();
    let unknown = fails("english.gopher_quality.word");
    assert!(matches!(&unknown, PreviewError::Unknown { rule, .. } if rule == "english.gopher_quality.word"));
    let message = unknown.to_string();
    for name in
        ["no rule \"english.gopher_quality.word\"", "english.gopher_quality.words", "chinese.spam.adult", "language"]
    {
        assert!(message.contains(name), "{message}");
    }
    // A rule that is known, but that the run file does not ask for.
    assert!(matches!(fails("classifier.score"), PreviewError::Unknown { .. }));
    for rule in ["duplicates.url", "duplicates.exact", "duplicates.near", "duplicates.repeated"] {
        let message = fails(rule).to_string();
        assert!(message.contains(&format!("--rule {rule}")) && message.contains("compares documents"), "{message}");
    }
    let stopped = preview(&sources, &settings(), "language", 3, &|_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(stopped, PreviewError::Ingest(IngestError::Interrupted)));
    fs::remove_file(folder.path().join("web.jsonl")).unwrap();
    assert!(matches!(fails("language"), PreviewError::Ingest(IngestError::Read(_))));
}
