//! Instructions through the whole stage: where answers stand is known after every repair, and what is drawn for a record
//! depends on nothing but the seed and its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use corpus::Document;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::records::DIALOGUES;
use super::run_fates::{SECTIONS, write_lists};
use super::{RunFile, SETTINGS, english, run_on, settings, settings_and, settings_with, sources};
use crate::{IngestConfig, Source, normalise_with, replace_private, resolve_sources};

/// What repair finds something to do with, and what could run together across the border of a turn.
const ODD: [&str; 24] = [
    " ",
    "\n",
    "\n\n\n",
    "\u{301}",
    "e\u{301}",
    "donâ€™t",
    "â",
    "€™",
    "&amp;",
    "&am",
    "p;",
    "\u{200B}",
    "\u{FEFF}",
    "\u{3000}",
    "Ａ１",
    "．",
    "mail me: jane.doe@mail-server.org",
    "jane.doe@",
    "mail-server.org",
    "\\n",
    "。\\n你好",
    "\u{FDD0}",
    "{text}",
    "锟斤拷",
];

const TEMPLATES: [&str; 4] = [
    "{ system = \"{text}\\n\\n\", user = \"Human: {text}\\n\", assistant = \"Assistant:{text}\\n\" }",
    "{ system = \"{text}\", user = \"{text}\", assistant = \"{text}\" }",
    "{ system = \"\\u0301{text}\", user = \"jane.doe{text}@\", assistant = \"{text}&amp;\", end = \"  \\n\" }",
    "{ system = \"# {text}\\n\", user = \"{{Q}} {text} \", assistant = \" &am{text}p;\\u00e2\", end = \"\\u20ac\\u2122 end\" }",
];

fn said() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        2 => prop::sample::select(&ODD[..]).prop_map(str::to_owned),
        1 => (0_u64..50, 1_usize..12).prop_map(|(seed, n)| english(seed, n)),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

fn private(changes: &[(&str, &str)], folder: &Path) -> IngestConfig {
    write_lists(folder);
    settings_and(&SECTIONS.replace("FOLDER", folder.to_str().unwrap()), changes)
}

fn of_meta(document: &Document, key: &str) -> Value {
    serde_json::from_str::<Value>(&document.meta).unwrap()[key].clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    /// The twin: each turn repaired by itself, then put into the template's words by `format!`-like joining.
    #[test]
    fn spans_cover_the_repaired_answers_and_nothing_else(
        turns in prop::collection::vec((0_usize..3, said()), 0..6),
        last in said(),
        template in 0..TEMPLATES.len(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let config = private(&[("language_confidence_min = 0.5", "language_confidence_min = 0.0")], folder.path());
        let roles = ["system", "user", "assistant"];
        let mut messages: Vec<Value> =
            turns.iter().map(|(role, text)| json!({"role": roles[*role], "content": text})).collect();
        messages.push(json!({"role": "assistant", "content": last}));
        // A turn in plain English, so that few texts are dropped for their language.
        messages.insert(0, json!({"role": "user", "content": english(3, 60)}));
        fs::write(folder.path().join("talk.json"), json!([{ "messages": messages }]).to_string()).unwrap();
        let text = DIALOGUES.replace("alpaca", "openai");
        let start = text.find("templates").unwrap();
        let of = |loss: &str| {
            let text = format!("{}templates = [{}]", &text[..start], TEMPLATES[template]).replace("\"responses\"", loss);
            run_on(&sources(&text, folder.path()), &config, 1).unwrap()
        };
        let (responses, all) = (of("\"responses\""), of("\"all\""));
        // Which tokens carry loss says nothing about the text.
        let texts = |documents: &[Document]| documents.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
        prop_assert_eq!(texts(&responses.documents), texts(&all.documents));
        prop_assert!(all.documents.iter().all(|one| one.loss.is_none()));
        let repair = |text: &str| {
            let text = normalise_with(text, &config.normalise).text;
            replace_private(&text, config.privacy.as_ref().unwrap()).0.unwrap_or(text)
        };
        let said: Vec<(&str, String)> = messages
            .iter()
            .map(|one| (one["role"].as_str().unwrap(), one["content"].as_str().unwrap()))
            .filter(|(role, text)| *role != "system" || !text.trim().is_empty())
            .map(|(role, text)| (role, repair(text)))
            .collect();
        if said.iter().any(|(_, text)| text.is_empty()) {
            prop_assert_eq!(&responses.dropped[0].rule[..], "empty");
            return Ok(());
        }
        let Some(document) = responses.documents.first() else { return Ok(()) };
        let spans = document.loss.clone().unwrap();
        let marked: BTreeSet<usize> = spans.iter().flat_map(|span| span.start as usize..span.end as usize).collect();
        let template: toml::Table = toml::from_str(&format!("it = {}", TEMPLATES[template])).unwrap();
        let words = |role: &str| -> Option<String> {
            Some(template["it"].get(role)?.as_str()?.replace("{{", "{").replace("}}", "}"))
        };
        let (mut twin, mut answers) = (String::new(), Vec::new());
        for (role, text) in &said {
            let words = words(role).unwrap();
            let (before, after) = words.split_once("{text}").unwrap();
            twin.push_str(before);
            answers.extend((*role == "assistant").then_some(twin.len()..twin.len() + text.len()));
            twin.push_str(text);
            twin.push_str(after);
        }
        twin.push_str(&words("end").unwrap_or_default());
        let n_cut = twin.len() - twin.trim_start().len();
        prop_assert_eq!(&document.text, twin.trim());
        let expected: BTreeSet<usize> = answers.into_iter().flatten().map(|at| at - n_cut).collect();
        prop_assert_eq!(marked, expected);
        prop_assert!(spans.windows(2).all(|pair| pair[0].end < pair[1].start));
    }
}

const SEVERAL: &str = r#"
[[source]]
name = "talk"
path = "talk.jsonl"
format = "jsonl"
kind = "instruction"
license = "CC0-1.0"
records = "alpaca"
loss = "all"
templates = [
    { system = "{text}", user = "First {text}\n", assistant = "{text}" },
    { system = "{text}", user = "Second {text}\n", assistant = "{text}" },
    { system = "{text}", user = "Third {text}\n", assistant = "{text}" },
]

[[source]]
name = "web"
path = "web.jsonl"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = ["One: {text}", "Two: {text}"]
"#;

fn write_several(folder: &Path, n: u64) {
    let talk = |seed| json!({"instruction": english(seed, 20), "input": "", "output": english(seed + 1000, 20)});
    let web = |seed| json!({"text": english(seed + 2000, 60)});
    let lines = |line: &dyn Fn(u64) -> Value| (0..n).map(|seed| format!("{}\n", line(seed))).collect::<String>();
    fs::write(folder.join("talk.jsonl"), lines(&talk)).unwrap();
    fs::write(folder.join("web.jsonl"), lines(&web)).unwrap();
}

fn with_seed(folder: &Path, seed: u64) -> Vec<Source> {
    let raw = toml::from_str::<RunFile>(&format!("{SEVERAL}\n{SETTINGS}")).unwrap();
    resolve_sources(raw.source, folder, seed).unwrap()
}

/// What was drawn for each document, by source and place.
fn drawn(documents: &[Document]) -> BTreeMap<(String, String), String> {
    let words = [("1", ["First ", "One: "]), ("2", ["Second ", "Two: "]), ("3", ["Third ", "?"])];
    let of = |one: &Document| {
        let number = of_meta(one, "template").as_str().unwrap().to_owned();
        let known = words.iter().find(|(known, _)| *known == number).unwrap();
        assert!(known.1.iter().any(|word| one.text.starts_with(word)), "{} by {number}", one.text);
        ((one.source.clone(), of_meta(one, "locator").as_str().unwrap().to_owned()), number)
    };
    documents.iter().map(of).collect()
}

#[test]
fn templates_are_drawn_by_the_seed_and_the_place_of_the_record() {
    let folder = tempfile::tempdir().unwrap();
    write_several(folder.path(), 300);
    let sources = with_seed(folder.path(), 7);
    let once = run_on(&sources, &settings(), 1).unwrap();
    let of_seed_7 = drawn(&once.documents);
    assert!(once.bytes == run_on(&sources, &settings(), 3).unwrap().bytes);
    // The records that stand before or behind it do not matter.
    write_several(folder.path(), 150);
    let fewer = drawn(&run_on(&sources, &settings(), 2).unwrap().documents);
    assert!(fewer.len() > 250 && fewer.iter().all(|(place, number)| of_seed_7[place] == *number));
    let of_seed_8 = drawn(&run_on(&with_seed(folder.path(), 8), &settings(), 2).unwrap().documents);
    assert!(fewer.iter().any(|(place, number)| of_seed_8[place] != *number));
    // Of 300 about 100 get each of three templates, and 150 each of two; six standard deviations are 49 and 52.
    let mut n: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    of_seed_7.iter().for_each(|((source, _), number)| *n.entry((source, number)).or_default() += 1);
    assert_eq!(
        n.keys().copied().collect::<Vec<_>>(),
        [("talk", "1"), ("talk", "2"), ("talk", "3"), ("web", "1"), ("web", "2")]
    );
    for ((source, _), n) in n {
        let expected = if source == "talk" { 100_i64 } else { 150 };
        assert!((n as i64 - expected).abs() < 50, "{source}: {n}");
    }
}

#[test]
fn the_seed_is_a_setting_only_where_it_decides_something() {
    let here = Path::new("");
    let settings = |seed| serde_json::to_value(with_seed(here, seed)).unwrap();
    assert_ne!(settings(7), settings(8));
    let plain = |seed| {
        let raw = toml::from_str::<RunFile>(&format!("{DIALOGUES}\n{SETTINGS}")).unwrap();
        serde_json::to_value(resolve_sources(raw.source, here, seed).unwrap()).unwrap()
    };
    assert_eq!(plain(7), plain(8));
}

#[test]
fn simplified_characters_do_not_move_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let record = json!({"instruction": "請問竹子為什麼長得這麼快？這與它的結構有關嗎？", "input": "", "output": "竹子的節間分生組織讓它長得很快。"});
    fs::write(folder.path().join("talk.json"), json!([record]).to_string()).unwrap();
    let config = settings_with(&[("chinese_script = \"keep\"", "chinese_script = \"simplified\"")]);
    let output = run_on(&sources(DIALOGUES, folder.path()), &config, 1).unwrap();
    let document = &output.documents[0];
    let answers: Vec<&str> =
        document.loss.iter().flatten().map(|span| &document.text[span.start as usize..span.end as usize]).collect();
    assert_eq!(answers, ["竹子的节间分生组织让它长得很快。"]);
    assert_eq!(document.text, "U(请问竹子为什么长得这么快？这与它的结构有关吗？)A(竹子的节间分生组织让它长得很快。)");
}
