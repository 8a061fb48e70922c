//! Models in a run: each gives its column, equal to what the model says when it is asked alone, and its filter drops
//! the documents that it was taught to tell apart, by name.

use std::fs;
use std::path::Path;

use corpus::{Document, Seed};

use super::fasttext::naive_bayes;
use super::{Numbers, Output, json_lines, run_on, settings_and, sources};
use crate::examine::signal_names;
use crate::{ClassifierTraining, IngestConfig, Judge, PerplexityTraining, Unit, train_classifier, train_perplexity};

const SOURCES: &str = r#"
[[source]]
name = "good-en"
path = "good-en.jsonl"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"

[[source]]
name = "bad-en"
path = "bad-en.jsonl"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"

[[source]]
name = "good-zh"
path = "good-zh.jsonl"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"

[[source]]
name = "bad-zh"
path = "bad-zh.jsonl"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"
"#;

/// Five sentences of four parts; no part stands in two sentences of a text.
fn compose(seed: u64, parts: [&[&str]; 4], gap: &str, end: &str) -> String {
    let mut numbers = Numbers(seed);
    let columns = parts.map(|part| {
        let mut part = part.to_vec();
        (1..part.len()).rev().for_each(|last| part.swap(last, numbers.below(last + 1)));
        part
    });
    let sentence = |row: usize| format!("{}{end}", columns.each_ref().map(|column| column[row]).join(gap));
    (0..5).map(sentence).collect::<Vec<_>>().join(gap)
}

/// What an encyclopedia might say of a place.
fn article(seed: u64) -> String {
    let parts: [&[&str]; 4] = [
        &[
            "The river",
            "Its valley",
            "The old town",
            "A later survey",
            "The abbey",
            "Local trade",
            "That region",
            "The bridge",
        ],
        &[
            "was described in",
            "kept to",
            "grew out of",
            "was known for",
            "had been part of",
            "gave its name to",
            "was older than",
        ],
        &[
            "the records of the diocese",
            "a narrow gorge of limestone",
            "the wool market and its guild",
            "an early mill with three wheels",
            "the estate that a bishop had founded",
            "many small farms on the terraces",
        ],
        &[
            "until the war ended",
            "for almost two centuries",
            "long before the railway came",
            "when floods were common",
            "and is still studied",
            "as maps of that time show",
        ],
    ];
    compose(seed, parts, " ", ".")
}

/// What a shop says of everything.
fn offer(seed: u64) -> String {
    let parts: [&[&str]; 4] = [
        &["Buy now", "Order today", "Save big", "Shop online", "Click here", "Hurry up", "Check out", "Add to cart"],
        &["and get", "to receive", "with", "for", "to unlock", "and enjoy", "plus"],
        &[
            "free shipping on all cheap tiles",
            "a huge discount code",
            "the best price guaranteed",
            "exclusive deals of the week",
            "bonus coupons",
            "hot new arrivals",
        ],
        &[
            "while stocks last",
            "at checkout",
            "with every purchase",
            "in our store",
            "on top brands",
            "before midnight",
        ],
    ];
    compose(seed, parts, " ", "!")
}

/// What a statute might say.
fn statute(seed: u64) -> String {
    let parts: [&[&str]; 4] = [
        &["国家", "地方各级人民政府", "有关部门", "农业合作社", "县级以上机关", "社会组织", "高等学校", "医疗机构"],
        &["应当", "可以", "有权", "依法", "必须", "不得拒绝", "负责"],
        &[
            "保护公民的合法权益",
            "制定本地区的规划",
            "公布检查的结果",
            "听取当事人的意见",
            "安排必要的经费",
            "培训专业人员",
        ],
        &[
            "，并在三十日内答复",
            "，法律另有规定的除外",
            "，具体办法由国务院规定",
            "，所需费用列入预算",
            "，任何单位不得干涉",
        ],
    ];
    compose(seed, parts, "", "。")
}

/// The characters of a statute in an order that says nothing; marks stay where they were.
fn jumble(seed: u64) -> String {
    let text = statute(seed);
    let mut numbers = Numbers(seed);
    let mut chars: Vec<char> = text.chars().filter(|char| char.is_alphanumeric()).collect();
    for last in (1..chars.len()).rev() {
        chars.swap(last, numbers.below(last + 1));
    }
    text.chars().map(|char| if char.is_alphanumeric() { chars.pop().unwrap() } else { char }).collect()
}

/// Seeds below 1000 are for training, those above for the run.
fn texts(make: fn(u64) -> String, seeds: std::ops::Range<u64>) -> Vec<String> {
    seeds.map(make).collect()
}

fn write(path: &Path, texts: &[String]) {
    fs::write(path, json_lines(texts.iter().map(|text| &text[..]))).unwrap();
}

/// Good and bad documents of both languages, thirty of each; runs with `sections` behind the settings. A path in them
/// begins with `FOLDER`.
fn run_with(folder: &Path, sections: &str) -> (IngestConfig, Output) {
    for (name, make) in
        [("good-en", article as fn(u64) -> String), ("bad-en", offer), ("good-zh", statute), ("bad-zh", jumble)]
    {
        write(&folder.join(format!("{name}.jsonl")), &texts(make, 1000..1030));
    }
    let sections = sections.replace("FOLDER", folder.to_str().unwrap());
    let config = settings_and(&sections, &[]);
    let output = run_on(&sources(SOURCES, folder), &config, 2).unwrap();
    (config, output)
}

/// The values of a column, with their documents.
fn column<'a>(config: &IngestConfig, output: &'a Output, name: &str) -> Vec<(&'a Document, f32)> {
    let index = signal_names(config).iter().position(|column| column == name).unwrap();
    output.documents.iter().map(|one| (one, one.signals[index])).collect()
}

/// All documents of `dropped` went by `rule`, all of the other sources stay.
fn check_sources(output: &Output, rule: &str, dropped: &[&str]) {
    for one in &output.dropped {
        assert_eq!((dropped.contains(&&one.source[..]), &one.rule[..]), (true, rule), "{} {}", one.detail, one.excerpt);
    }
    let n_dropped: usize = dropped.iter().map(|_| 30).sum();
    assert_eq!((output.dropped.len(), output.documents.len()), (n_dropped, 120 - n_dropped));
    let funnel = output.manifest.details["funnel"].as_array().unwrap();
    assert!(funnel.iter().all(|row| row["rule"] == rule), "{funnel:?}");
}

const TRAINED: &str = r#"
[ingest.classifier.en]
positive = "FOLDER/articles.txt"
negative = "FOLDER/offers.jsonl.zst"
training = { ngrams_max = 2, rows_log2 = 14, epochs = 4, step_size = 0.2 }
"#;

#[test]
fn a_classifier_is_a_column_and_with_a_limit_a_filter() {
    let folder = tempfile::tempdir().unwrap();
    let (articles, offers) = (texts(article, 0..60), texts(offer, 0..60));
    fs::write(folder.path().join("articles.txt"), articles.join("\n")).unwrap();
    let lines = json_lines(offers.iter().map(|text| &text[..]));
    fs::write(folder.path().join("offers.jsonl.zst"), zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();

    let (config, output) = run_with(folder.path(), TRAINED);
    assert_eq!((output.dropped.len(), output.documents.len()), (0, 120));
    let number = |value: u32| value.try_into().unwrap();
    let training = ClassifierTraining {
        ngrams_max: number(2),
        rows_log2: number(14),
        epochs: number(4),
        step_size: crate::NotNegative(0.2),
    };
    let alone = train_classifier(&articles, &offers, Unit::Words, &training, &Seed::root(0)).unwrap();
    for (document, score) in column(&config, &output, "classifier") {
        match &document.source[..] {
            "good-en" | "bad-en" => assert_eq!(score, alone.score(&document.text)),
            // No model knows Chinese.
            _ => assert!(score.is_nan()),
        }
        assert_eq!(score > 0.5, document.source == "good-en");
    }

    let (config, output) = run_with(folder.path(), &format!("{TRAINED}min = 0.5\n"));
    check_sources(&output, "classifier.score", &["bad-en"]);
    assert!(column(&config, &output, "classifier").iter().all(|(_, score)| score.is_nan() || *score >= 0.5));
    assert!(output.dropped.iter().all(|one| one.detail.ends_with(", limit 0.5")));
}

#[test]
fn a_model_of_fasttext_does_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    fs::write(&path, naive_bayes(&texts(article, 0..60), &texts(offer, 0..60))).unwrap();
    let section = "[ingest.classifier.en]\nfasttext = \"FOLDER/model.bin\"\nlabel = \"__label__hq\"\n";
    let (config, output) = run_with(folder.path(), section);
    assert_eq!(output.dropped.len(), 0);
    let alone = Judge::load_fasttext(&path, "__label__hq").unwrap();
    for (document, score) in column(&config, &output, "classifier").iter().filter(|(one, _)| one.lang == "en") {
        assert_eq!(*score, alone.score(&document.text));
    }
    let (_, output) = run_with(folder.path(), &format!("{section}min = 0.5\n"));
    check_sources(&output, "classifier.score", &["bad-en"]);
    let (_, output) = run_with(folder.path(), &format!("{section}min = 0.5\n").replace("hq", "lq"));
    check_sources(&output, "classifier.score", &["good-en"]);
}

const PERPLEXITY: &str = r#"
[ingest.perplexity.zh]
reference = "FOLDER/statutes.jsonl"
training = { order = 5, vocabulary_max = 1000, count_min = 1, head = 0.3, middle = 0.9 }
"#;

#[test]
fn perplexity_is_two_columns_and_with_a_limit_a_filter() {
    let folder = tempfile::tempdir().unwrap();
    let reference = texts(statute, 0..200);
    write(&folder.path().join("statutes.jsonl"), &reference);
    let (config, output) = run_with(folder.path(), PERPLEXITY);
    assert_eq!(output.dropped.len(), 0);
    let training: PerplexityTraining =
        toml::from_str("order = 5\nvocabulary_max = 1000\ncount_min = 1\nhead = 0.3\nmiddle = 0.9").unwrap();
    let alone = train_perplexity(&reference, Unit::Characters, &training).unwrap();
    let (values, buckets) = (column(&config, &output, "perplexity"), column(&config, &output, "perplexity_bucket"));
    for ((document, value), (_, bucket)) in values.iter().zip(&buckets) {
        if document.lang == "en" {
            assert!(value.is_nan() && bucket.is_nan());
            continue;
        }
        assert_eq!(*value, alone.perplexity(&document.text));
        assert_eq!(*bucket, f32::from(alone.bucket(*value) as u8));
    }
    let of = |source: &str| values.iter().filter(|(one, _)| one.source == source).map(|&(_, value)| value).collect();
    let (good, bad): (Vec<f32>, Vec<f32>) = (of("good-zh"), of("bad-zh"));
    let max = 2.0 * good.iter().copied().fold(0.0, f32::max);
    assert!(bad.iter().all(|&value| value > max), "{good:?} {bad:?}");
    let (_, output) = run_with(folder.path(), &format!("{PERPLEXITY}max = {max:?}\n"));
    check_sources(&output, "perplexity.value", &["bad-zh"]);
}

#[test]
fn two_models_are_asked_in_turn_and_what_they_learn_from_is_an_input() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("statutes.jsonl"), &texts(statute, 0..200));
    fs::write(folder.path().join("articles.txt"), texts(article, 0..60).join("\n")).unwrap();
    fs::write(folder.path().join("offers.jsonl"), json_lines(texts(offer, 0..60).iter().map(|text| &text[..])))
        .unwrap();
    let both = format!("{TRAINED}min = 0.5\n{PERPLEXITY}max = 100.0\n").replace(".zst", "");
    let (_, output) = run_with(folder.path(), &both);
    let rules = |source: &str| -> Vec<&str> {
        output.dropped.iter().filter(|one| one.source == source).map(|one| &one.rule[..]).collect()
    };
    assert_eq!((rules("bad-en"), rules("bad-zh")), (vec!["classifier.score"; 30], vec!["perplexity.value"; 30]));
    assert_eq!(output.documents.len(), 60);
    let parent = |output: &Output| output.manifest.parents.last().unwrap().clone();
    assert_eq!(parent(&output).name, "files of [ingest]");
    // One more text to learn from: another model, another corpus.
    write(&folder.path().join("statutes.jsonl"), &texts(statute, 0..201));
    assert_ne!(parent(&run_with(folder.path(), &both).1), parent(&output));
    fs::remove_file(folder.path().join("statutes.jsonl")).unwrap();
    let sections = both.replace("FOLDER", folder.path().to_str().unwrap());
    let Err(error) = run_on(&sources(SOURCES, folder.path()), &settings_and(&sections, &[]), 1) else {
        panic!("a model was made of nothing")
    };
    assert!(error.is_input(), "{error}");
}
