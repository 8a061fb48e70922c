//! One run with everything switched on, over documents of which it is known beforehand what must become of each.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Output, chinese, english, run_on, settings_and, sources};
use crate::examine::signal_names;
use crate::{IngestConfig, Source};

const SOURCES: &str = r#"
[[source]]
name = "web"
path = "web.jsonl"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"
url = "{url?}"

[[source]]
name = "laws"
path = "laws.jsonl"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"
url = "{url?}"

[[source]]
name = "answers"
path = "answers.jsonl"
format = "jsonl"
kind = "instruction"
license = "CC0-1.0"
text = "{text}"
url = "{url?}"
"#;

/// A list of blocked sites, two sets of evaluation items, private data, and what is cut out.
pub(super) const SECTIONS: &str = r#"
[ingest.urls]
blocked = "FOLDER/blocked"

[ingest.privacy]
secrets = true
emails = true
ip_addresses = true
chinese_identity_numbers = true
ibans = true
bank_cards = true
phones = true
social_security_numbers = true

[ingest.decontamination]
ngram_words = 6
ngram_chars = 8
short_words_min = 5
short_chars_min = 8
share_min = 0.5
items_per_ngram_max = 10

[[ingest.decontamination.sets]]
task = "sums"
path = "FOLDER/sums.jsonl"
text = "{question} {answer}"

[[ingest.decontamination.sets]]
task = "law"
path = "FOLDER/law.jsonl"
text = "{text}"

[ingest.duplicates.repeats]
paragraphs = { chars_min = 60, occurrences_max = 1 }
spans = { units = 24, occurrences_max = 1 }
repeated_max = 0.5
"#;

const SUM: &str = "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and sells the \
    remainder. How much does she make? 18 dollars";

const LAW: &str = "下列情形中属于不当得利的是甲误将货款汇入乙的账户而乙明知后仍予以使用";

/// The lists that [`SECTIONS`] names.
pub(super) fn write_lists(folder: &Path) {
    fs::create_dir_all(folder.join("blocked/gambling")).unwrap();
    fs::write(folder.join("blocked/gambling/domains"), "casino.example.net\n").unwrap();
    fs::write(folder.join("blocked/gambling/urls"), "example.org/ads\n").unwrap();
    let (question, answer) = SUM.split_once("? ").unwrap();
    let sum = json!({ "question": format!("{question}?"), "answer": answer });
    let other = json!({ "question": "What is the airspeed of an unladen swallow?", "answer": "It depends." });
    fs::write(folder.join("sums.jsonl"), format!("{other}\n{sum}\n")).unwrap();
    fs::write(folder.join("law.jsonl"), format!("{}\n", json!({ "text": LAW }))).unwrap();
}

/// What must become of a document.
#[derive(Clone)]
enum Fate {
    /// It stays, with these pieces in its text and without those.
    Kept { has: Vec<String>, lacks: Vec<String> },
    /// This rule takes it, and says this.
    Dropped { rule: &'static str, says: Vec<String> },
}

fn kept(has: &[&str], lacks: &[&str]) -> Fate {
    let owned = |pieces: &[&str]| pieces.iter().map(|&piece| piece.to_owned()).collect();
    Fate::Kept { has: owned(has), lacks: owned(lacks) }
}

fn dropped(rule: &'static str, says: &[&str]) -> Fate {
    Fate::Dropped { rule, says: says.iter().map(|&piece| piece.to_owned()).collect() }
}

/// A document of a source, its address, and its fate.
type Case = (String, &'static str, Fate);

/// English that shares nothing with what another seed gives.
fn good(seed: u64) -> String {
    format!("{}.", english(seed, 76))
}

fn web() -> Vec<Case> {
    let (notice, quote) = (good(50), good(60));
    let quote_words = "Now they speak of something new";
    let private = |address: &str| {
        format!("{} Write to {address} or call (415) 555-2671, the server is 195.4.7.3 as before.", good(6))
    };
    let case = |text: String, url, fate| (text, url, fate);
    vec![
        case(good(1), "https://example.com/a?b=1", kept(&[&good(1)], &[])),
        case(
            good(2),
            "http://www.example.com/a/?utm_source=x&b=1#top",
            dropped("duplicates.url", &["same address as", "web.jsonl:1 of web"]),
        ),
        case(good(3), "http://www.casino.example.net/x", dropped("urls.blocked", &["casino.example.net"])),
        case(good(4), "https://example.org/ads/1", dropped("urls.blocked", &["example.org/ads"])),
        case(good(5), "https://example.org/adsense", kept(&[&good(5)], &[])),
        case(
            private("jane.doe@mail.shop.co.uk"),
            "",
            kept(&["Write to <EMAIL> or call <PHONE>, the server is <IP_ADDRESS> as before."], &["jane", "555", "195"]),
        ),
        // Once the address is gone, the text is the same.
        case(
            private("john@other.shop.co.uk"),
            "",
            dropped("duplicates.exact", &["same text as", "web.jsonl:6 of web"]),
        ),
        case(
            format!("{} {SUM} {}", good(8), good(9)),
            "",
            dropped("contamination", &["sums sums.jsonl:2: ", " n-grams at \"", "ducks lay 16 eggs"]),
        ),
        case(
            format!("{}\n\n{SUM} {LAW}。", good(10)),
            "",
            dropped("contamination", &["sums sums.jsonl:2: ", "; law law.jsonl:1: "]),
        ),
        case(good(1).replace(' ', "  "), "", dropped("duplicates.exact", &["same text as", "web.jsonl:1 of web"])),
        case(good(1) + " Indeed so.", "", dropped("duplicates.near", &["jaccard 0.9", "web.jsonl:1 of web"])),
        case(format!("{}\n\n{notice}\n\n{}", good(12), good(13)), "", kept(&[&good(12), &notice, &good(13)], &[])),
        case(
            format!("{}\n\n{notice}\n\n{}", good(14), good(15)),
            "",
            kept(&[&format!("{}\n\n{}", good(14), good(15))], &[&notice]),
        ),
        case(
            format!("{}\n\n{notice}", english(16, 40)),
            "",
            dropped("duplicates.repeated", &["characters stood in earlier documents"]),
        ),
        case(format!("{} {quote_words}. {quote} {}", good(17), good(18)), "", kept(&[&quote], &[])),
        // The span ends where whole sentences do.
        case(
            format!("{} And here as well. {quote} {}", good(19), good(20)),
            "",
            kept(&[&format!("{} And here as well. {}", good(19), good(20))], &[&quote]),
        ),
        case("Too short to be of use to anybody.".into(), "", dropped("english.gopher_quality.words", &["limit 20"])),
        case(
            "Longtemps, je me suis couché de bonne heure, et mes yeux se fermaient si vite que je ne le savais pas."
                .into(),
            "",
            dropped("language", &["fr at ", "accepted en, zh"]),
        ),
        case(" \u{200b}\u{feff} ".into(), "", dropped("empty", &[])),
        case(english(21, 900), "", dropped("too_long", &["limit 4000"])),
    ]
}

fn laws() -> Vec<Case> {
    let notice = chinese(50, 90);
    let case = |text: String, fate| (text, "", fate);
    vec![
        case(
            "后来皇后说，头发与发现是两回事，里程在里面，只有一只鸟听见了这句话，于是它飞过了那条宽阔的河。".into(),
            kept(&["后来皇后说，头发与发现"], &[]),
        ),
        case(
            "後來皇后說，頭髮與發現是兩回事，里程在裡面，只有一隻鳥聽見了這句話，於是它飛過了那條寬闊的河。".into(),
            dropped("duplicates.exact", &["laws.jsonl:1 of laws"]),
        ),
        case(
            "話說天下大勢，分久必合，合久必分：周末七國分爭，並入於秦；及秦滅之後，楚、漢分爭，又並入於漢。".into(),
            kept(&["话说天下大势", "楚、汉分争"], &["話說", "漢"]),
        ),
        case(
            format!("{}身份证号：11010519491231002X，手机13851087818微信同号。{}", chinese(3, 90), chinese(4, 90)),
            kept(&["身份证号：<ID_NUMBER>，手机<PHONE>微信同号。"], &["1101", "138"]),
        ),
        // Written in the other script, and with marks that the item does not have.
        case(
            format!(
                "{}下列情形中，屬於不當得利的是：甲誤將貨款匯入乙的賬戶，而乙明知後仍予以使用。{}",
                chinese(5, 60),
                chinese(6, 60)
            ),
            dropped("contamination", &["law law.jsonl:1: "]),
        ),
        case(
            format!("{}\n\n{notice}\n\n{}", chinese(7, 90), chinese(8, 90)),
            kept(&[&chinese(7, 90), &notice, &chinese(8, 90)], &[]),
        ),
        case(
            format!("{}\n\n{notice}\n\n{}", chinese(9, 90), chinese(10, 90)),
            kept(&[&format!("{}\n\n{}", chinese(9, 90), chinese(10, 90))], &[&notice]),
        ),
        case("竹子先长根。".into(), dropped("chinese.quality.chars", &["limit 30"])),
    ]
}

fn answers() -> Vec<Case> {
    let case = |text: String, url, fate| (text, url, fate);
    let short = "What grows a metre in a day? It is bamboo, and no other plant does it.";
    vec![
        // Instructions are compared with instructions only, by address as well.
        case(good(1), "https://example.com/a?b=1", kept(&[&good(1)], &[])),
        case(short.into(), "", kept(&[short], &[])),
        case(short.to_uppercase(), "", dropped("duplicates.exact", &["answers.jsonl:2 of answers"])),
        case(format!("{SUM}, that is the answer."), "", dropped("contamination", &["sums sums.jsonl:2: "])),
        // Nothing is cut out of an instruction.
        case(
            format!("What does the notice say? {}\n\n{}", good(23), good(50)),
            "https://casino.example.net.au/",
            kept(&[&good(50)], &[]),
        ),
        case(good(24), "//CASINO.example.net:443", dropped("urls.blocked", &["casino.example.net"])),
    ]
}

fn by_source() -> [(&'static str, Vec<Case>); 3] {
    [("web", web()), ("laws", laws()), ("answers", answers())]
}

/// Writes the sources, with one line at the end of the first that is no record.
fn write_sources(folder: &Path) -> (Vec<Source>, IngestConfig) {
    for (name, cases) in by_source() {
        let record = |(text, url, _): &Case| match *url {
            "" => json!({ "text": text }),
            url => json!({ "text": text, "url": url }),
        };
        let mut lines: String = cases.iter().map(|case| format!("{}\n", record(case))).collect();
        lines.push_str(if name == "web" { "{\"text\": cut" } else { "" });
        fs::write(folder.join(format!("{name}.jsonl")), lines).unwrap();
    }
    write_lists(folder);
    let sections = SECTIONS.replace("FOLDER", folder.to_str().unwrap());
    let changes = [("\"1M\"", "4000"), ("\"keep\"", "\"simplified\""), ("bad_records_max = 0", "bad_records_max = 1")];
    (sources(SOURCES, folder), settings_and(&sections, &changes))
}

fn check_fate(output: &Output, source: &str, locator: &str, fate: &Fate) {
    let meta = |meta: &str| serde_json::from_str::<Value>(meta).unwrap()["locator"].as_str().unwrap().to_owned();
    let documents: Vec<_> =
        output.documents.iter().filter(|one| one.source == source && meta(&one.meta) == locator).collect();
    let gone: Vec<_> = output.dropped.iter().filter(|one| one.source == source && one.locator == locator).collect();
    assert_eq!(documents.len() + gone.len(), 1, "{locator} is there once");
    match (fate, &documents[..], &gone[..]) {
        (Fate::Kept { has, lacks }, [document], []) => {
            let text = &document.text;
            assert!(has.iter().all(|piece| text.contains(&piece[..])), "{locator} lacks one of {has:?}: {text}");
            assert!(!lacks.iter().any(|piece| text.contains(&piece[..])), "{locator} has one of {lacks:?}: {text}");
        }
        (Fate::Dropped { rule, says }, [], [gone]) => {
            assert_eq!(&gone.rule, rule, "{locator}: {}", gone.detail);
            assert!(
                says.iter().all(|piece| gone.detail.contains(&piece[..])),
                "{locator}: {}, not {says:?}",
                gone.detail
            );
        }
        (_, [document], _) => panic!("{locator} was kept: {}", document.text),
        (_, _, gone) => panic!("{locator} was dropped by {} ({})", gone[0].rule, gone[0].detail),
    }
}

#[test]
fn every_document_meets_the_fate_it_was_written_for() {
    let folder = tempfile::tempdir().unwrap();
    let (sources, config) = write_sources(folder.path());
    let output = run_on(&sources, &config, 2).unwrap();
    let mut by_rule: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut n_in = 0;
    for (source, mut cases) in by_source() {
        if source == "web" {
            cases.push((String::new(), "", dropped("unreadable", &["is not JSON at column"])));
        }
        let mut n_kept = 0;
        for (line, (.., fate)) in (1..).zip(&cases) {
            check_fate(&output, source, &format!("{source}.jsonl:{line}"), fate);
            match fate {
                Fate::Kept { .. } => n_kept += 1,
                Fate::Dropped { rule, .. } => *by_rule.entry((rule, source)).or_default() += 1,
            }
        }
        n_in += cases.len();
        let row = json!({ "source": source, "n_in": cases.len(), "n_kept": n_kept });
        assert!(output.manifest.details["by_source"].as_array().unwrap().contains(&row), "{row}");
    }
    check_funnel(&output, &by_rule, n_in);
    check_details(&config, &output);
}

/// The funnel counts what became of the documents, and nothing is lost between reading and the two folders.
fn check_funnel(output: &Output, by_rule: &BTreeMap<(&str, &str), u64>, n_in: usize) {
    let details = &output.manifest.details;
    let number = |key: &str| usize::try_from(details[key].as_u64().unwrap()).unwrap();
    assert_eq!((number("n_in"), number("n_kept") + number("n_dropped")), (n_in, n_in));
    assert_eq!((number("n_kept"), number("n_dropped")), (output.documents.len(), output.dropped.len()));
    let rows = details["by_rule_and_source"].as_array().unwrap();
    let counted: BTreeMap<(&str, &str), u64> = rows
        .iter()
        .map(|row| ((row["rule"].as_str().unwrap(), row["source"].as_str().unwrap()), row["n"].as_u64().unwrap()))
        .collect();
    assert_eq!(&counted, by_rule);
    let of_rules: u64 = details["funnel"].as_array().unwrap().iter().map(|row| row["n"].as_u64().unwrap()).sum();
    assert_eq!(of_rules, by_rule.values().sum::<u64>());
    for row in &output.dropped {
        let sample = json!({ "rule": row.rule, "id": row.id.to_string(), "source": row.source, "locator": row.locator,
            "lang": row.lang, "detail": row.detail, "text": row.excerpt });
        assert!(details["samples"].as_array().unwrap().contains(&sample), "all of so few are shown: {sample}");
    }
}

/// Columns and counts that say what was done to those that stay.
fn check_details(config: &IngestConfig, output: &Output) {
    let amounts = &output.manifest.details["amounts"];
    // The document that was dropped for its twin was replaced in as well.
    for (what, n) in [("n_emails", 2), ("n_phones", 3), ("n_ip_addresses", 2), ("n_chinese_identity_numbers", 1)] {
        assert_eq!(amounts[what], n, "{what}: {amounts}");
    }
    let names = signal_names(config);
    let column = |name: &str| names.iter().position(|column| column == name).unwrap();
    let (clusters, repeated) = (column("cluster_size"), column("repeated_chars"));
    let of = |locator: &str| {
        let wanted = format!("\"locator\":\"{locator}\"");
        output.documents.iter().find(|one| one.meta.contains(&wanted)).unwrap()
    };
    // Itself, the one of its address, the one of its text, the one that is nearly it.
    assert_eq!(of("web.jsonl:1").signals[clusters], 4.0);
    assert_eq!(of("answers.jsonl:1").signals[clusters], 1.0);
    let cut = [("web.jsonl:13", good(50)), ("web.jsonl:16", good(60)), ("laws.jsonl:7", chinese(50, 90))];
    for (locator, piece) in &cut {
        let n = of(locator).signals[repeated] as usize;
        assert!((piece.chars().count()..piece.chars().count() + 3).contains(&n), "{locator}: {n} characters");
    }
    let n_cut: f32 = output.documents.iter().map(|one| one.signals[repeated]).sum();
    assert_eq!(amounts["characters cut out as repeated"], n_cut as u64);
    assert!(of("laws.jsonl:3").meta.contains("\"script\":\"Hans\""));
}

/// What is cut out of documents is what stands in one that stays.
#[test]
fn a_document_that_goes_takes_no_piece_with_it() {
    let paragraph = |seed| english(seed, 60);
    let (first, stays_once) = ([paragraph(1), paragraph(2), paragraph(3)].join("\n\n"), paragraph(4));
    // Three quarters of the second stood in the first, so it goes, and with it what only it had before the third.
    let second = format!("{first}\n\n{stays_once}");
    let third = format!("{stays_once}\n\n{}", paragraph(5));
    let fourth = format!("{}\n\n{stays_once}", paragraph(6));
    let folder = tempfile::tempdir().unwrap();
    let lines = super::json_lines([&first[..], &second, &third, &fourth]);
    fs::write(folder.path().join("web.jsonl"), lines).unwrap();
    let sections =
        "[ingest.duplicates.repeats]\nparagraphs = { chars_min = 60, occurrences_max = 1 }\nrepeated_max = 0.6";
    let config = settings_and(sections, &[("jaccard_min = 0.75", "jaccard_min = 0.99")]);
    let output = run_on(&sources(super::PLAIN, folder.path()), &config, 2).unwrap();
    let texts: Vec<&str> = output.documents.iter().map(|document| &document.text[..]).collect();
    assert_eq!(texts, [&first[..], &third, &paragraph(6)]);
    let [dropped] = &output.dropped[..] else { panic!("one goes: {:?}", output.dropped) };
    assert_eq!(dropped.rule, "duplicates.repeated");
    assert!(dropped.detail.ends_with("characters stood in earlier documents"), "{}", dropped.detail);
}

/// A page in two languages that loses the half in one of them is a page in the other.
#[test]
fn what_is_left_of_a_document_is_judged_as_what_it_is() {
    let (english, chinese) = (english(1, 220), chinese(2, 160));
    let short = chinese.chars().take(15).collect::<String>();
    let folder = tempfile::tempdir().unwrap();
    let lines = super::json_lines([&english[..], &format!("{english}\n\n{chinese}"), &format!("{english}\n\n{short}")]);
    fs::write(folder.path().join("web.jsonl"), lines).unwrap();
    let sections =
        "[ingest.duplicates.repeats]\nparagraphs = { chars_min = 60, occurrences_max = 1 }\nrepeated_max = 0.99";
    let config = settings_and(sections, &[("jaccard_min = 0.75", "jaccard_min = 0.99")]);
    let output = run_on(&sources(super::PLAIN, folder.path()), &config, 2).unwrap();
    let kept: Vec<(&str, &str)> =
        output.documents.iter().map(|document| (&document.lang[..], &document.text[..])).collect();
    assert_eq!(kept, [("en", &english[..]), ("zh", &chinese)], "{:?}", output.dropped);
    let [dropped] = &output.dropped[..] else { panic!("one goes: {:?}", output.dropped) };
    assert_eq!(dropped.rule, "chinese.quality.chars");
    assert!(dropped.detail.ends_with("after repeated pieces were cut out"), "{}", dropped.detail);
}
