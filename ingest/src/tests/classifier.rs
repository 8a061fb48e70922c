//! Classifiers learn what they are shown, the same bytes every time; damaged files and settings are typed errors.

use std::fs;

use corpus::Seed;
use tempfile::TempDir;

use super::{Numbers, chinese, english};
use crate::{
    Classifier, ClassifierError, ClassifierSettings, ClassifierSource, ClassifierTraining, ModelError, NotNegative,
    Unit, train_classifier,
};

fn training() -> ClassifierTraining {
    let number = |value: u32| value.try_into().unwrap();
    ClassifierTraining { ngrams_max: number(2), rows_log2: number(14), epochs: number(4), step_size: NotNegative(0.2) }
}

/// The words of the English of the tests in alphabetical runs: the same words, never a sentence.
fn word_lists(seed: u64, n_words: usize) -> String {
    let text = english(seed, n_words);
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.sort_unstable();
    words.join(" ")
}

/// Advertising, from a seed.
fn advertising(seed: u64, n_phrases: usize) -> String {
    const PHRASES: [&str; 8] =
        ["加微信", "点击下载", "注册送彩金！", "官方直营", "客服热线", "免费领取", "最新网址", "高额返利，"];
    let mut numbers = Numbers(seed);
    (0..n_phrases).map(|_| PHRASES[numbers.below(PHRASES.len())]).collect()
}

fn scores(classifier: &Classifier, texts: impl Iterator<Item = String>) -> Vec<f32> {
    texts.map(|text| classifier.score(&text)).collect()
}

#[test]
fn what_was_learnt_holds_for_texts_that_were_not_seen() {
    let seed = Seed::root(3);
    for (unit, positive, negative) in [
        (Unit::Words, english as fn(u64, usize) -> String, word_lists as fn(u64, usize) -> String),
        (Unit::Characters, chinese, advertising),
    ] {
        let texts = |make: fn(u64, usize) -> String, n| (0..n).map(|seed| make(seed, 80)).collect::<Vec<_>>();
        // Ten times as many of one side are no reason to prefer it.
        let classifier =
            train_classifier(&texts(positive, 20), &texts(negative, 200), unit, &training(), &seed).unwrap();
        let good = scores(&classifier, (1000..1100).map(|seed| positive(seed, 60)));
        let bad = scores(&classifier, (1000..1100).map(|seed| negative(seed, 300)));
        assert!(good.iter().all(|&score| score > 0.5 && score <= 1.0), "{unit:?} {good:?}");
        assert!(bad.iter().all(|&score| (0.0..0.5).contains(&score)), "{unit:?} {bad:?}");
    }
}

#[test]
fn a_score_is_a_mean_over_the_text() {
    let texts: Vec<String> = (0..20).map(|seed| chinese(seed, 80)).collect();
    let other: Vec<String> = (0..20).map(|seed| advertising(seed, 30)).collect();
    let classifier = train_classifier(&texts, &other, Unit::Characters, &training(), &Seed::root(3)).unwrap();
    let text = format!("{}{}", chinese(50, 100), advertising(50, 20));
    let (once, often) = (classifier.score(&text), classifier.score(&text.repeat(50)));
    assert!((once - often).abs() < 0.02, "{once} {often}");
    assert!(classifier.score(&texts[0]) > once && once > classifier.score(&other[0]));
    assert!((0.0..=1.0).contains(&classifier.score("")));
}

#[test]
fn the_same_seed_gives_the_same_classifier() {
    let texts: Vec<String> = (0..10).map(|seed| english(seed, 50)).collect();
    let other: Vec<String> = (0..10).map(|seed| word_lists(seed, 50)).collect();
    let train = |seed| train_classifier(&texts, &other, Unit::Words, &training(), &Seed::root(seed)).unwrap();
    assert_eq!(train(1), train(1));
    assert_ne!(train(1), train(2));
}

#[test]
fn a_file_gives_the_classifier_back_or_an_error() {
    let folder = TempDir::new().unwrap();
    let small = ClassifierTraining { rows_log2: 8.try_into().unwrap(), ..training() };
    let texts = [english(1, 50)];
    let classifier = train_classifier(&texts, &[word_lists(2, 50)], Unit::Words, &small, &Seed::root(1)).unwrap();
    classifier.save(folder.path(), "model").unwrap();
    let path = folder.path().join("model");
    assert_eq!(Classifier::load(&path).unwrap(), classifier);
    let bytes = fs::read(&path).unwrap();
    for cut in 0..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let error = Classifier::load(&path).unwrap_err();
        assert!(matches!(error, ModelError::Magic { .. } | ModelError::Checksum { .. }), "{error}");
    }
    for at in (0..bytes.len()).step_by(7) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert!(Classifier::load(&path).is_err(), "byte {at}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(Classifier::load(&path), Err(ModelError::File(_))));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let train = |positive: &[&str], negative: &[&str], training: &ClassifierTraining| {
        train_classifier(positive, negative, Unit::Words, training, &Seed::root(1)).map(|_| ())
    };
    assert_eq!(train(&["a"], &[], &training()), Err(ClassifierError::NoTexts { side: "negative" }));
    assert_eq!(train(&[], &["a"], &training()), Err(ClassifierError::NoTexts { side: "positive" }));
    let long = ClassifierTraining { ngrams_max: 6.try_into().unwrap(), ..training() };
    assert!(matches!(train(&["a"], &["b"], &long), Err(ClassifierError::Setting { key: "ngrams_max", .. })));
    let large = ClassifierTraining { rows_log2: 40.try_into().unwrap(), ..training() };
    assert!(matches!(train(&["a"], &["b"], &large), Err(ClassifierError::Setting { key: "rows_log2", .. })));
}

#[test]
fn a_classifier_has_one_source() {
    let ours =
        "positive = 'a'\nnegative = 'b'\ntraining = { ngrams_max = 2, rows_log2 = 20, epochs = 5, step_size = 0.1 }\n";
    let theirs = "fasttext = 'c'\nlabel = '__label__hq'\nmin = 0.1\n";
    let settings = |text: &str| toml::from_str::<ClassifierSettings>(text).unwrap();
    assert!(matches!(settings(ours).source(), Ok(ClassifierSource::Texts { .. })));
    assert!(matches!(settings(theirs).source(), Ok(ClassifierSource::FastText { label: "__label__hq", .. })));
    for text in [format!("{ours}{theirs}"), "min = 0.5".to_owned(), "positive = 'a'\nnegative = 'b'".to_owned()] {
        assert_eq!(settings(&text).source(), Err(ClassifierError::Sources), "{text}");
    }
    assert!(toml::from_str::<ClassifierSettings>("label = 'x'\nthreshold = 3").is_err());
}
