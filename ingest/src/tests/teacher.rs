//! Labelled data as propositions: one true and one false of each record, and never one without the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use corpus::Document;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::records::read;
use super::{Numbers, Output, english, run_on, settings, settings_with, sources};
use crate::Source;

const HEAD: &str = r#"
[[source]]
name = "tasks"
path = "tasks.jsonl"
format = "jsonl"
kind = "proposition"
license = "CC0-1.0"
"#;

fn task(keys: &str) -> Source {
    sources(&format!("{HEAD}{keys}"), Path::new("")).remove(0)
}

/// The texts of the true and the false proposition.
#[track_caller]
fn pair(source: &Source, record: Value) -> [String; 2] {
    let documents = read(source, record);
    let [Ok(right), Ok(wrong)] = &documents[..] else { panic!("{documents:?}") };
    assert_eq!((right.label, wrong.label), (Some(true), Some(false)));
    [right.text.clone(), wrong.text.clone()]
}

/// Why a record says nothing that is true or false.
#[track_caller]
fn unlabelled(source: &Source, record: Value) -> String {
    let documents = read(source, record);
    let [Ok(found)] = &documents[..] else { panic!("{documents:?}") };
    found.unlabelled.clone().unwrap()
}

#[test]
fn inference_sentiment_and_paraphrase() {
    let inference = task(
        "statements = [\"{premise} So: {hypothesis} This is {answer}:\"]\nlabel = \"label\"\n\
         answers = { \"0\" = \"entailment\", \"1\" = \"neutral\", \"2\" = \"contradiction\" }",
    );
    let record = |label: Value| json!({"premise": "It rains.", "hypothesis": "It is wet.", "label": label});
    let says = |answer: &str| format!("It rains. So: It is wet. This is {answer}:");
    for label in [json!(0), json!("0"), json!(0.0)] {
        let [right, wrong] = pair(&inference, record(label));
        assert_eq!(right, says("entailment"));
        assert!([says("neutral"), says("contradiction")].contains(&wrong), "{wrong}");
    }
    assert_eq!(unlabelled(&inference, record(json!(-1))), "field \"label\" is \"-1\", which is none of answers");
    for (label, what) in
        [(json!(null), "field \"label\" is null"), (json!([0]), "field \"label\" is neither text, number nor boolean")]
    {
        assert_eq!(read(&inference, record(label)), [Err(what.to_owned())]);
    }
    assert_eq!(
        read(&inference, json!({"premise": "a", "label": 0})),
        [Err("field \"hypothesis\" is missing".to_owned())]
    );
    let sentiment = task(
        "statements = [\"{review}\\nThe review is {answer}:\"]\nlabel = \"stars.class\"\nanswers = { good = \"kind\", bad = \"harsh\" }",
    );
    let [right, wrong] = pair(&sentiment, json!({"review": "Dull.", "stars": {"class": "bad"}}));
    assert_eq!([right, wrong], ["Dull.\nThe review is harsh:", "Dull.\nThe review is kind:"]);
    let paraphrase = task(
        "statements = [\"{a} / {b}: {answer}:\"]\nlabel = \"same\"\nanswers = { true = \"the same\", false = \"different\" }",
    );
    let [right, wrong] = pair(&paraphrase, json!({"a": "x", "b": "y", "same": false}));
    assert_eq!([right, wrong], ["x / y: different:", "x / y: the same:"]);
}

#[test]
fn multiple_choice_by_index_and_by_letter() {
    let by_index = task(
        "statements = [\"{question} {answer}:\"]\nlabel = \"answer\"\n\
         answers = { \"0\" = \"{choices.0}\", \"1\" = \"{choices.1}\", \"2\" = \"{choices.2}\", \"3\" = \"{choices.3}\" }",
    );
    let record = json!({"question": "2+2?", "subject": "sums", "choices": ["3", "4", "5", "6"], "answer": 1});
    let [right, wrong] = pair(&by_index, record);
    assert_eq!(right, "2+2? 4:");
    assert!(["2+2? 3:", "2+2? 5:", "2+2? 6:"].contains(&&wrong[..]), "{wrong}");
    // Shorter lists have fewer answers.
    let two = json!({"question": "2+2?", "choices": ["3", "4"], "answer": 1});
    assert_eq!(pair(&by_index, two), ["2+2? 4:", "2+2? 3:"]);
    let by_letter = task(
        "statements = [\"{question} {answer}:\"]\nlabel = \"answer\"\n\
         answers = { A = \"{A}\", B = \"{B}\", C = \"{C}\", D = \"{D}\" }",
    );
    // An empty choice is never drawn, nor one that reads as the right one.
    let record = json!({"id": "0", "question": "竹子是？", "A": "", "B": "草", "C": " 草", "D": "树", "answer": "B"});
    assert_eq!(pair(&by_letter, record), ["竹子是？ 草:", "竹子是？ 树:"]);
    let empty = json!({"question": "q", "A": "", "B": "b", "C": "c", "D": "d", "answer": "A"});
    assert_eq!(unlabelled(&by_letter, empty), "the right answer, \"A\", is empty");
    let alone = json!({"question": "q", "A": "a", "B": "a", "C": "", "answer": "A"});
    assert_eq!(unlabelled(&by_letter, alone), "has no wrong answer");
    let listed = json!({"question": "q", "A": "a", "B": ["b"], "answer": "A"});
    assert_eq!(read(&by_letter, listed), [Err("field \"B\" is an array, not text".to_owned())]);
}

#[test]
fn every_wrong_answer_and_every_statement_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let keys = "statements = [\"{question} Is it {answer}:\", \"To {question} say {answer}:\"]\nlabel = \"answer\"\n\
        answers = { A = \"{A}\", B = \"{B}\", C = \"{C}\", D = \"{D}\" }";
    let record = |index: u64| {
        let question = english(index, 12);
        format!("{}\n", json!({"question": question, "A": "one", "B": "two", "C": "three", "D": "four", "answer": "C"}))
    };
    fs::write(folder.path().join("tasks.jsonl"), (0..300).map(record).collect::<String>()).unwrap();
    let config = settings_with(&[("language_confidence_min = 0.5", "language_confidence_min = 0.0")]);
    let output = run_on(&sources(&format!("{HEAD}{keys}"), folder.path()), &config, 2).unwrap();
    let mut n: BTreeMap<(String, String, bool), usize> = BTreeMap::new();
    for document in &output.documents {
        let meta: Value = serde_json::from_str(&document.meta).unwrap();
        let of = |key: &str| meta[key].as_str().unwrap().to_owned();
        let answer = BTreeMap::from([("A", "one"), ("B", "two"), ("C", "three"), ("D", "four")])[&of("answer")[..]];
        assert!(document.text.ends_with(&format!("{answer}:")) && document.label == Some(of("answer") == "C"));
        assert_eq!(document.text.contains("Is it"), of("template") == "1");
        *n.entry((of("template"), of("answer"), document.label.unwrap())).or_default() += 1;
    }
    // About 150 of each statement are true, and 50 each of three wrong answers; six standard deviations are 52 and 39.
    assert_eq!(n.len(), 8, "{n:?}");
    for ((_, _, is_true), n) in n {
        assert!((n as i64 - if is_true { 150 } else { 50 }).abs() < 50, "{n}");
    }
}

/// Kept documents by the record they come of.
fn by_record(documents: &[Document]) -> BTreeMap<String, BTreeSet<bool>> {
    let mut halves: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for document in documents {
        let meta: Value = serde_json::from_str(&document.meta).unwrap();
        let record = meta["locator"].as_str().unwrap().split('#').next().unwrap().to_owned();
        assert!(halves.entry(record).or_default().insert(document.label.unwrap()), "one half twice");
    }
    halves
}

fn check_balanced(output: &Output) {
    assert!(by_record(&output.documents).values().all(|halves| halves.len() == 2));
    let n_of = |rule: &str| output.dropped.iter().filter(|one| one.rule == rule).count();
    assert_eq!(output.manifest.details["n_in"], output.documents.len() + output.dropped.len());
    let funnel = output.manifest.details["funnel"].as_array().unwrap();
    let n_counted: u64 =
        funnel.iter().filter(|row| row["rule"] == "unpaired").map(|row| row["n"].as_u64().unwrap()).sum();
    assert_eq!(n_counted, n_of("unpaired") as u64);
}

const PAIRS: &str = "true_text = \"{question} {answer}\"\nfalse_text = \"{question} {wrong}\"\nurl = \"{url?}\"\n";

#[test]
fn records_without_a_right_answer_are_counted_and_stop_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let keys =
        "statements = [\"{question} {answer}:\"]\nlabel = \"label\"\nanswers = { \"0\" = \"no\", \"1\" = \"yes\" }";
    let record = |(index, label): (u64, i32)| format!("{}\n", json!({"question": english(index, 20), "label": label}));
    let lines: String =
        [0, -1, 1, -1].into_iter().enumerate().map(|(index, label)| record((index as u64, label))).collect();
    fs::write(folder.path().join("tasks.jsonl"), lines).unwrap();
    let output = run_on(&sources(&format!("{HEAD}{keys}"), folder.path()), &settings(), 2).unwrap();
    check_balanced(&output);
    assert_eq!(output.documents.len(), 4);
    let dropped: Vec<_> = output.dropped.iter().map(|one| (&one.rule[..], &one.locator[..])).collect();
    assert_eq!(dropped, [("unlabelled", "tasks.jsonl:2"), ("unlabelled", "tasks.jsonl:4")]);
    assert!(output.dropped[0].excerpt.contains("\"label\":-1"));
}

#[test]
fn a_half_whose_twin_goes_goes_too_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (question, other) = (english(1, 20), english(2, 20));
    let french = "Longtemps, je me suis couché de bonne heure, et mes yeux se fermaient si vite. ".repeat(6);
    let records = [
        json!({"question": question, "answer": "yes", "wrong": "no", "url": "https://example.org/a"}),
        // Another wrong answer to the same question: its true half repeats the first record's.
        json!({"question": question, "answer": "yes", "wrong": "never"}),
        // Its false half is French.
        json!({"question": other, "answer": "yes", "wrong": french}),
        // Called both true and false.
        json!({"question": english(3, 20), "answer": "perhaps", "wrong": "perhaps"}),
        json!({"question": english(4, 20), "answer": "yes", "wrong": "no", "url": "https://example.org/b"}),
    ];
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    fs::write(folder.path().join("tasks.jsonl"), lines).unwrap();
    let output = run_on(&sources(&format!("{HEAD}{PAIRS}"), folder.path()), &settings(), 2).unwrap();
    check_balanced(&output);
    let kept: Vec<String> = by_record(&output.documents).into_keys().collect();
    // Both halves have the address of their record, and neither is a duplicate of the other for it.
    assert_eq!(kept, ["tasks.jsonl:1", "tasks.jsonl:5"]);
    let mut dropped: Vec<_> =
        output.dropped.iter().map(|one| (&one.locator[..], &one.rule[..], &one.detail[..])).collect();
    dropped.sort_unstable();
    let expected = [
        ("tasks.jsonl:2#false", "unpaired", "duplicates.exact dropped its other half"),
        ("tasks.jsonl:3#true", "unpaired", "language dropped its other half"),
        ("tasks.jsonl:4#true", "unpaired", "duplicates.exact dropped its other half"),
    ];
    assert_eq!(dropped.iter().copied().filter(|(_, rule, _)| *rule == "unpaired").collect::<Vec<_>>(), expected);
    assert_eq!(dropped.len(), 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_kept_is_balanced(seed in any::<u64>(), n_records in 1_usize..120, n_threads in 1_usize..4) {
        let folder = tempfile::tempdir().unwrap();
        let mut numbers = Numbers(seed);
        let said = |numbers: &mut Numbers| match numbers.below(12) {
            0 => String::new(),
            1 => "Longtemps, je me suis couché de bonne heure, et mes yeux se fermaient si vite. ".repeat(5),
            2 => "word ".repeat(300),
            index => english(index as u64, 6),
        };
        let record = |_| {
            let question = english(numbers.below(30) as u64, 12);
            let url = format!("https://example.org/{}", numbers.below(60));
            format!("{}\n", json!({"question": question, "answer": said(&mut numbers), "wrong": said(&mut numbers), "url": url}))
        };
        fs::write(folder.path().join("tasks.jsonl"), (0..n_records).map(record).collect::<String>()).unwrap();
        let sources = sources(&format!("{HEAD}{PAIRS}"), folder.path());
        let config = settings_with(&[("\"1M\"", "1000")]);
        check_balanced(&run_on(&sources, &config, n_threads).unwrap());
    }
}
