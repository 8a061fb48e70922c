//! The run file: every key is needed, every wrong value is refused where it stands, templates do what they say.

use std::path::Path;

use serde_json::json;

use super::{PLAIN, RunFile, SETTINGS, settings, sources};
use crate::{ConfigError, FieldPath, IngestConfig, Reading, Template, explain, resolve_sources};

#[test]
fn every_line_of_the_settings_is_needed() {
    for line in SETTINGS.lines().filter(|line| line.contains(" = ")) {
        let without = SETTINGS.replacen(&format!("{line}\n"), "", 1);
        assert!(toml::from_str::<RunFile>(&without).is_err(), "{line:?} could be left out");
    }
}

#[test]
fn wrong_values_are_refused_with_their_line() {
    for (from, to, says) in [
        ("words_min = 20", "words_min = -1", "words_min = -1"),
        ("letter_ratio_min = 0.6", "letter_ratio_min = 1.2", "a share between 0.0 and 1.0"),
        ("bands = 14", "bands = 0", "nonzero"),
        ("mean_word_length_min = 3.0", "mean_word_length_min = nan", "a finite number"),
        ("chinese_script = \"keep\"", "chinese_script = \"simplify\"", "keep"),
        ("\"zh\"]", "\"chinese\"]", "a code of two letters"),
        ("document_chars_max = \"1M\"", "document_chars_max = \"1X\"", "a count such as"),
        ("exact = true", "exact = true\nfuzzy = true", "unknown field `fuzzy`"),
    ] {
        assert!(SETTINGS.contains(from), "{from}");
        let Err(error) = toml::from_str::<RunFile>(&SETTINGS.replacen(from, to, 1)) else {
            panic!("{to} was accepted")
        };
        let message = error.to_string();
        assert!(message.contains(says) && message.contains("line "), "{to}: {message}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (from, to, expected) in [
        ("[\"en\", \"zh\"]", "[]", ConfigError::Languages),
        ("[\"en\", \"zh\"]", "[\"en\", \"en\"]", ConfigError::Languages),
        (
            "length_max = 12.0",
            "length_max = 2.0",
            ConfigError::Crossed { key: "english.gopher_quality.mean_word_length" },
        ),
        ("\"1M\"", "0", ConfigError::Characters),
        ("bands = 14", "bands = 1000", ConfigError::Hashes { bands: 1000, rows: 8 }),
        ("bands = 14", "bands = 4294967295", ConfigError::Hashes { bands: u32::MAX, rows: 8 }),
    ] {
        let raw: RunFile = toml::from_str(&SETTINGS.replacen(from, to, 1)).unwrap();
        assert_eq!(IngestConfig::try_from(raw.ingest), Err(expected), "{to}");
    }
}

#[test]
fn sources_are_checked_against_their_format_and_kind() {
    let not = |key, only_for| ConfigError::NotApplicable { name: "web".into(), key, only_for };
    let missing = |key| ConfigError::Missing { name: "web".into(), key };
    for (from, to, expected) in [
        ("\"jsonl\"", "\"text\"", not("text", "formats \"jsonl\" and \"parquet\"")),
        ("text = \"{text}\"", "", missing("text")),
        ("text = \"{text}\"", "text = \"{text}\"\nseparator = \"x\"", not("separator", "format \"text\"")),
        ("text = \"{text}\"", "text = \"{text}\"\nlabel = \"l\"", not("label", "kind \"proposition\"")),
        ("\"plain\"", "\"proposition\"", missing("label, or true_text with false_text,")),
        ("\"plain\"", "\"proposition\"\ntrue_text = \"{a}\"", not("text or label", "sources without true_text")),
    ] {
        let text = format!("{}\n{SETTINGS}", PLAIN.replacen(from, to, 1));
        let raw: RunFile = toml::from_str(&text).unwrap();
        assert_eq!(resolve_sources(raw.source, Path::new("")), Err(expected), "{to}");
    }
    let twice: RunFile = toml::from_str(&format!("{PLAIN}{PLAIN}{SETTINGS}")).unwrap();
    assert_eq!(resolve_sources(twice.source, Path::new("")), Err(ConfigError::DuplicateName { name: "web".into() }));
}

#[test]
fn paths_are_reckoned_from_the_run_file_and_do_not_count_as_settings() {
    let here = sources(PLAIN, Path::new("/a"));
    let there = sources(PLAIN, Path::new("/b"));
    assert_eq!(here[0].path, Path::new("/a/web.jsonl"));
    assert!(matches!(here[0].reading, Reading::Jsonl { .. }));
    assert_eq!(serde_json::to_string(&here).unwrap(), serde_json::to_string(&there).unwrap());
    let json = serde_json::to_value(settings()).unwrap();
    assert_eq!(json["duplicates"]["near"]["bands"], 14);
    assert_eq!(json["english"]["gopher_quality"]["mean_word_length_max"], 12.0);
}

#[test]
fn templates_render_fields_and_refuse_what_is_not_text() {
    let record = json!({ "a": "x", "n": 7, "t": true, "null": null, "list": [{ "b": "y" }], "object": {}, "none": [],
        "talk": [{ "says": "one" }, { "says": "two", "to": "b" }] });
    for (template, expected) in [
        ("{a}", Ok("x")),
        ("{list.0.b}-{n}-{t}", Ok("y-7-true")),
        ("{{{a}}}", Ok("{x}")),
        ("{a}{null?}{gone?}{list.5.b?}", Ok("x")),
        ("{null}", Err("field \"null\" is null")),
        ("{gone.b}", Err("field \"gone.b\" is missing")),
        ("{object}", Err("field \"object\" is an object, not text")),
        ("{list?}", Err("field \"list\" is an array, not text")),
        ("{talk.*.says}!", Ok("one\n\ntwo!")),
        ("{a}{none.*.b?}", Ok("x")),
        ("{none.*.b}", Err("field \"none.*.b\" is missing")),
        ("{talk.*.to}", Err("field \"talk.*.to\" is missing")),
        ("{talk.*}", Err("field \"talk.*\" is an object, not text")),
    ] {
        let rendered = Template::parse(template).unwrap().render(&record).map_err(|error| error.to_string());
        assert_eq!(rendered.as_deref().map_err(|error| &error[..]), expected, "{template}");
    }
    for template in ["{a", "a}", "{}", "{a..b}", "{a{b}", "no field", "{{a}}", "{a??}"] {
        assert!(Template::parse(template).is_err(), "{template} was accepted");
    }
    assert_eq!(FieldPath::parse("t").unwrap().boolean(&record), Ok(true));
    assert!(FieldPath::parse("n").unwrap().boolean(&record).is_err());
}

#[test]
fn the_plan_names_every_rule_and_every_source() {
    let plan = explain(&sources(PLAIN, Path::new("/nowhere")), &settings());
    for part in [
        "source web: plain, CC0-1.0, JSON lines, text \"{text}\"",
        "language: en, zh at 0.5 or surer",
        "english.gopher_quality.words: at least 20",
        "chinese.quality.stop_chars: at least 2, from 200 characters on",
        "duplicates.near: jaccard 0.75 of 5 words or 5 characters, proposed by 14 bands of 8 rows",
    ] {
        assert!(plan.contains(part), "{part:?} is not in\n{plan}");
    }
    assert!(!plan.contains("nowhere"));
}
