//! Decontamination: planted items are found wherever they stand and however they were edited, clean texts are left alone.

use std::io::Write;

use corpus::Share;
use proptest::prelude::*;

use super::{Numbers, chinese, english};
use crate::decontaminate::{
    Coverage, Decontamination, Decontaminator, EvaluationError, EvaluationItem, EvaluationSet, read_items,
};
use crate::template::Template;

const SETTINGS: &str = r#"
sets = []
ngram_words = 6
ngram_chars = 8
short_words_min = 5
short_chars_min = 8
share_min = 0.2
items_per_ngram_max = 10
"#;

fn settings() -> Decontamination {
    toml::from_str(SETTINGS).unwrap()
}

fn items(texts: &[&str]) -> Vec<EvaluationItem> {
    let item = |(index, text): (usize, &&str)| EvaluationItem {
        task: "task".into(),
        locator: format!("items.jsonl:{}", index + 1),
        text: (*text).to_owned(),
    };
    texts.iter().enumerate().map(item).collect()
}

fn index(texts: &[&str]) -> Decontaminator {
    Decontaminator::build(&items(texts), &settings())
}

const DUCKS: &str = "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for \
    her friends every day with four. She sells the remainder at the farmers' market daily for $2 per fresh duck egg.";

const LAW: &str =
    "下列情形中，属于不当得利的是：甲误将货款汇入乙的账户，乙明知后仍予以使用；丙在图书馆拾得他人钱包，拒不返还失主。";

#[test]
fn items_are_found_anywhere() {
    let decontaminator = index(&[DUCKS, LAW, "What is the airspeed of an unladen swallow?", "羚羊挂角无迹可求"]);
    let long = (english(1, 3000), chinese(2, 4000));
    for (item, host, is_at) in [
        (DUCKS, &long.0, 1),
        (LAW, &long.1, 2),
        ("what is the Airspeed,\nof an unladen SWALLOW", &long.0, 3),
        ("“羚羊挂角”，无迹可求。", &long.1, 4),
    ] {
        for at in [0, host.len() / 2, host.len()] {
            let (before, after) = host.split_at(host.floor_char_boundary(at));
            let hits = decontaminator.hits(&format!("{before} {item} {after}"));
            assert_eq!(hits.len(), 1, "{item}");
            assert_eq!(hits[0].item, format!("items.jsonl:{is_at}"));
            assert_eq!(hits[0].task, "task");
            assert_eq!(hits[0].n_matched, hits[0].n_ngrams);
            assert!(item.replace('\n', " ").contains(&hits[0].excerpt), "{}", hits[0].excerpt);
        }
    }
    assert_eq!(decontaminator.hits(&long.0), []);
    assert_eq!(decontaminator.hits(&long.1), []);
    assert_eq!(decontaminator.hits(""), []);
}

#[test]
fn one_common_phrase_is_no_hit() {
    let decontaminator = index(&[DUCKS, LAW]);
    for text in [
        "She eats three for breakfast every morning and then she goes to school with her friends.",
        "他说，甲误将货款汇入乙的账户是常有的事。",
        "ducks Janet’s lay eggs 16 day per",
    ] {
        assert_eq!(decontaminator.hits(text), []);
    }
}

#[test]
fn the_same_item_in_two_tasks_is_listed_twice() {
    let mut both = items(&[DUCKS, DUCKS]);
    both[1].task = "another".into();
    let hits = Decontaminator::build(&both, &settings()).hits(DUCKS);
    let listed: Vec<_> = hits.iter().map(|hit| (&hit.task[..], &hit.item[..])).collect();
    assert_eq!(listed, [("task", "items.jsonl:1"), ("another", "items.jsonl:2")]);
}

#[test]
fn prompts_that_many_items_share_say_nothing() {
    let prompt = "The following are multiple choice questions with answers. Choose the one that is correct. Question";
    let texts: Vec<String> = (0..30).map(|seed| format!("{prompt} {}", english(100 + seed, 20))).collect();
    let decontaminator = index(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(decontaminator.hits(&format!("{prompt} {}", english(7, 60))), []);
    let hits = decontaminator.hits(&texts[17]);
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].item, "items.jsonl:18");
    assert!(hits[0].n_ngrams < 25, "the prompt's own n-grams are not asked for");
}

#[test]
fn what_cannot_be_looked_for_is_counted() {
    let same: Vec<String> =
        (0..12).map(|index| format!("which of the two numbers is the greater one {index}")).collect();
    let mut texts = vec!["Who was it that they were with?", "Paris", "是不是这样", "好好好好好好好好好", DUCKS];
    texts.push("Name the longest river of Asia");
    let decontaminator = index(&texts);
    let expected = Coverage { n_items: 6, n_long: 2, n_short: 0, n_too_short: 4, n_common: 0 };
    assert_eq!(decontaminator.coverage()["task"], expected);
    let common = index(&same.iter().map(String::as_str).collect::<Vec<_>>());
    let coverage = common.coverage()["task"];
    assert_eq!(coverage.n_items, 12);
    assert_eq!(coverage.n_long + coverage.n_common, 12);
}

#[test]
fn sets_are_read_with_their_template_and_faults_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let set = |name: &str| EvaluationSet {
        task: "qa".into(),
        path: folder.path().join(name),
        text: Template::parse("{question} {answer}").unwrap(),
    };
    let lines = "{\"question\": \"2+2?\", \"answer\": \"4\"}\n\n{\"question\": \"3+3?\", \"answer\": 6}\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    write("plain.jsonl", lines.as_bytes());
    write("items.jsonl.gz", &gzip.finish().unwrap());
    write("items.jsonl.zst", &zstd::encode_all(lines.as_bytes(), 1).unwrap());
    for name in ["plain.jsonl", "items.jsonl.gz", "items.jsonl.zst"] {
        let items = read_items(&[set(name)]).unwrap();
        assert_eq!(items.iter().map(|item| &item.text[..]).collect::<Vec<_>>(), ["2+2? 4", "3+3? 6"]);
        assert_eq!(items[1].locator, format!("{name}:3"));
    }
    write("empty.jsonl", b"\n");
    write("broken.jsonl", b"{\"question\": \"a\", \"answer\": \"b\"}\n{");
    write("field.jsonl", b"{\"question\": \"a\"}\n");
    assert!(matches!(read_items(&[set("empty.jsonl")]), Err(EvaluationError::Empty { .. })));
    assert!(matches!(read_items(&[set("broken.jsonl")]), Err(EvaluationError::Json { line: 2, .. })));
    assert!(matches!(read_items(&[set("field.jsonl")]), Err(EvaluationError::Field { line: 1, .. })));
    assert!(matches!(read_items(&[set("missing.jsonl")]), Err(EvaluationError::Io { .. })));
}

#[test]
fn every_setting_is_needed() {
    for line in SETTINGS.trim().lines() {
        let without = SETTINGS.replacen(line, "", 1);
        assert!(toml::from_str::<Decontamination>(&without).is_err(), "{line:?} could be left out");
    }
    assert!(toml::from_str::<Decontamination>(&SETTINGS.replace("0.2", "1.2")).is_err());
}

/// The units as [`Decontaminator`] makes them of ASCII and Han.
fn units(text: &str) -> Vec<String> {
    let mut units = vec![String::new()];
    for char in text.chars() {
        if char.is_ascii_alphanumeric() {
            units.last_mut().unwrap().push(char.to_ascii_lowercase());
        } else {
            units.extend([if char.is_alphanumeric() { char.to_string() } else { String::new() }, String::new()]);
        }
    }
    units.retain(|unit| !unit.is_empty());
    units
}

proptest! {
    #[test]
    fn an_item_is_held_where_a_slow_search_finds_all_of_it(
        seed in 0..1000_u64, n_words in 5..40_usize, at in 0..300_usize, is_planted: bool,
    ) {
        let item = english(seed, n_words);
        let host = english(seed + 5000, 400);
        let words: Vec<&str> = host.split(' ').collect();
        let (before, after) = words.split_at(at);
        let text = match is_planted {
            true => format!("{} {item} {}", before.join(" "), after.join(" ")),
            false => host.clone(),
        };
        let all = Decontamination { share_min: Share(1.0), ..settings() };
        let decontaminator = Decontaminator::build(&items(&[&item]), &all);
        prop_assume!(decontaminator.coverage()["task"].n_too_short == 0);
        let (item, text_units) = (units(&item), units(&text));
        let is_held = text_units.windows(item.len()).any(|window| window == item);
        prop_assert_eq!(!decontaminator.hits(&text).is_empty(), is_held);
    }

    #[test]
    fn edits_of_long_items_are_forgiven(seed in 0..200_u64, kind in 0..3_u8) {
        let mut numbers = Numbers(seed);
        let (item, host) = (english(seed, 80), english(seed + 5000, 500));
        // One word in fourteen.
        let first = numbers.below(14);
        let edited: Vec<String> = item.split(' ').enumerate().map(|(index, word)| {
            match (index % 14 == first, kind) {
                (true, 0) => "replaced".to_owned(),
                (true, 1) => String::new(),
                (true, _) => format!("{word} inserted"),
                (false, _) => word.to_owned(),
            }
        }).collect();
        let text = format!("{host} {} {host}", edited.join(" "));
        prop_assert_eq!(index(&[&item]).hits(&text).len(), 1);
    }

    #[test]
    fn any_text_is_searched(text in "\\PC{0,80}", item in "\\PC{0,80}") {
        let decontaminator = index(&[&item]);
        let hits = decontaminator.hits(&text);
        prop_assert!(hits.iter().all(|hit| hit.n_matched <= hit.n_ngrams));
        if decontaminator.coverage()["task"].n_too_short == 0 {
            prop_assert_eq!(decontaminator.hits(&format!("{text} {item}\n{text}")).len(), 1);
        }
    }
}
