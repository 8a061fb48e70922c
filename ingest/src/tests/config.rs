//! The run file: every key is needed, every wrong value is refused where it stands, templates do what they say.

use std::path::Path;

use serde_json::json;

use super::{PLAIN, RunFile, SETTINGS, settings, sources};
use crate::{ConfigError, FieldPath, FieldsFormat, IngestConfig, Reading, Template, explain, resolve_sources};

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
        ("\"jsonl\"", "\"text\"", not("text", "formats \"jsonl\", \"json\", \"csv\" and \"parquet\"")),
        ("text = \"{text}\"", "", missing("text")),
        ("text = \"{text}\"", "text = \"{text}\"\nseparator = \"x\"", not("separator", "format \"text\"")),
        ("text = \"{text}\"", "text = \"{text}\"\nlabel = \"l\"", not("label", "kind \"proposition\"")),
        ("\"plain\"", "\"proposition\"", missing("label, or true_text with false_text,")),
        ("\"plain\"", "\"proposition\"\ntrue_text = \"{a}\"", not("text or label", "sources without true_text")),
    ] {
        let text = format!("{}\n{SETTINGS}", PLAIN.replacen(from, to, 1));
        let raw: RunFile = toml::from_str(&text).unwrap();
        assert_eq!(resolve_sources(raw.source, Path::new(""), 7), Err(expected), "{to}");
    }
    let twice: RunFile = toml::from_str(&format!("{PLAIN}{PLAIN}{SETTINGS}")).unwrap();
    assert_eq!(resolve_sources(twice.source, Path::new(""), 7), Err(ConfigError::DuplicateName { name: "web".into() }));
}

/// A source of dialogues, one of statements, and what must not stand in either.
#[test]
fn instructions_and_statements_are_checked_where_they_are_written() {
    let head = "[[source]]\nname = \"web\"\npath = \"web\"\nformat = \"json\"\nlicense = \"x\"\n";
    let one = "{ system = \"{text}\", user = \"{text}\", assistant = \"{text}\" }";
    let talk = format!("{head}kind = \"instruction\"\nrecords = \"dpo\"\nloss = \"all\"\ntemplates = [{one}]\n");
    let task = format!(
        "{head}kind = \"proposition\"\nstatements = [\"{{q}} {{answer}}\"]\nlabel = \"l\"\nanswers = {{ a = \"A\", b = \"B\" }}\n"
    );
    for text in [&talk, &task] {
        let raw: RunFile = toml::from_str(&format!("{text}\n{SETTINGS}")).unwrap();
        resolve_sources(raw.source, Path::new(""), 7).unwrap();
    }
    for (source, from, to, says) in [
        (&talk, "\"dpo\"", "\"vicuna\"", "unknown variant `vicuna`, expected one of `alpaca`"),
        (&talk, ", assistant = \"{text}\"", "", "missing field `assistant`"),
        (&talk, "user = \"{text}\"", "user = \"Human:\"", "must hold {text} once and no other field"),
        (&talk, "user = \"{text}\"", "user = \"{text} {text}\"", "must hold {text} once and no other field"),
        (&talk, "user = \"{text}\"", "user = \"{name}: {text}\"", "must hold {text} once and no other field"),
        (&talk, "user = \"{text}\"", "user = \"{text\"", "is never closed"),
        (&talk, "user =", "human =", "unknown field `human`"),
        (&talk, "\"all\"", "\"answers\"", "unknown variant `answers`"),
        (&task, "{q} {answer}", "{q}", "has no {answer}"),
        (&task, "[\"{q} {answer}\"]", "\"{q} {answer}\"", "expected a sequence"),
        (&task, "b = \"B\"", "b = \"{\"", "is never closed"),
    ] {
        assert!(source.contains(from), "{from}");
        let Err(error) = toml::from_str::<RunFile>(&format!("{}\n{SETTINGS}", source.replacen(from, to, 1))) else {
            panic!("{to} was accepted")
        };
        let message = error.to_string();
        assert!(message.contains(says) && message.contains("line "), "{to}: {message}");
    }
    for (source, from, to, says) in [
        (&talk, "loss = \"all\"\n", "", "loss is missing"),
        (&talk, &format!("templates = [{one}]")[..], "", "templates is missing"),
        (&talk, &format!("[{one}]")[..], "[]", "templates must hold at least 1"),
        (&talk, "kind = \"instruction\"", "kind = \"plain\"", "records is only for kinds"),
        (&talk, "loss =", "text = \"{a}\"\nloss =", "text is only for sources without records"),
        (&talk, "loss =", "label = \"a\"\nloss =", "label is only for sources without records"),
        (&talk, "records = \"dpo\"", "text = \"{a}\"", "templates is only for sources with records"),
        (&talk, "\"json\"", "\"text\"", "records is only for formats"),
        (&talk, "kind = \"instruction\"", "kind = \"proposition\"", "loss is only for kind \"instruction\""),
        (
            &talk,
            "kind = \"instruction\"\nrecords = \"dpo\"\nloss = \"all\"",
            "kind = \"proposition\"\nrecords = \"dpo\"",
            "each of templates needs an end",
        ),
        (
            &talk,
            "kind = \"instruction\"\nrecords = \"dpo\"",
            "kind = \"proposition\"\nrecords = \"oig\"",
            "kind \"proposition\" is only for records \"dpo\"",
        ),
        (&task, ", b = \"B\"", "", "answers must hold at least 2"),
        (&task, "[\"{q} {answer}\"]", "[]", "statements must hold at least 1"),
        (&task, "label = \"l\"\n", "", "label is missing"),
        (&task, "label =", "text = \"{a}\"\nlabel =", "text is only for sources without statements"),
        (&task, "kind = \"proposition\"", "kind = \"plain\"", "label is only for kind \"proposition\""),
        (&task, "statements = [\"{q} {answer}\"]", "text = \"{a}\"", "answers is only for sources with statements"),
    ] {
        assert!(source.contains(from), "{from}");
        let raw: RunFile = toml::from_str(&format!("{}\n{SETTINGS}", source.replacen(from, to, 1))).unwrap();
        let message = resolve_sources(raw.source, Path::new(""), 7).unwrap_err().to_string();
        assert!(message.contains(says), "{to}: {message}");
    }
}

#[test]
fn lists_of_templates_hold_something() {
    for (text, is_taken) in
        [("[\"{a}\", \"{b}\"]", true), ("[\"{a}\"]", true), ("[]", false), ("[\"a\"]", false), ("3", false)]
    {
        let source = PLAIN.replace("text = \"{text}\"", &format!("text = {text}"));
        assert_eq!(toml::from_str::<RunFile>(&format!("{source}\n{SETTINGS}")).is_ok(), is_taken, "{text}");
    }
}

#[test]
fn paths_are_reckoned_from_the_run_file_and_do_not_count_as_settings() {
    let here = sources(PLAIN, Path::new("/a"));
    let there = sources(PLAIN, Path::new("/b"));
    assert_eq!(here[0].path, Path::new("/a/web.jsonl"));
    assert!(matches!(here[0].reading, Reading::Fields { format: FieldsFormat::Jsonl, .. }));
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
