//! Perplexity against a twin that restates the formula over maps of strings; damaged files and settings are errors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use corpus::{Count, Share};

use super::{Numbers, english};
use crate::{Bucket, ModelError, PerplexityError, PerplexityModel, PerplexityTraining, Unit, train_perplexity};

fn training(order: u32, count_min: u32) -> PerplexityTraining {
    let (head, middle) = (Share(0.5), Share(1.0));
    PerplexityTraining { order, vocabulary_max: Count(40), count_min, head, middle }
}

/// Sentences of a small world, on lines, so that every order has something to say.
fn reference() -> Vec<String> {
    let mut numbers = Numbers(11);
    let mut pick = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        words[numbers.below(words.len())].to_owned()
    };
    let mut sentence = || {
        let (who, does, what) =
            (pick("cat dog bird fox old-man"), pick("sees likes eats"), pick("fish mice grass 12 345"));
        format!("The {who} {does} the {what} {} {}.", pick("in on under"), pick("water trees snow Zürich"))
    };
    (0..60).map(|_| (0..3).map(|_| sentence()).collect::<Vec<_>>().join("\n")).collect()
}

/// The definition, over maps: counts, discounts, and one recursive function.
struct Twin {
    order: usize,
    count_min: usize,
    vocabulary: BTreeSet<String>,
    /// Of every order from 1 on, how often each n-gram counts.
    counts: Vec<BTreeMap<Vec<String>, usize>>,
}

impl Twin {
    fn new(texts: &[String], order: usize, count_min: usize, vocabulary_max: usize) -> Self {
        let mut frequencies: BTreeMap<String, usize> = BTreeMap::new();
        for unit in texts.iter().flat_map(|text| text.lines()).flat_map(units) {
            *frequencies.entry(unit).or_default() += 1;
        }
        let mut by_count: Vec<(usize, String)> = frequencies.into_iter().map(|(unit, count)| (count, unit)).collect();
        by_count.sort_by(|one, two| two.0.cmp(&one.0).then_with(|| one.1.cmp(&two.1)));
        let vocabulary = by_count.into_iter().take(vocabulary_max).map(|(_, unit)| unit).collect();
        let mut twin = Self { order, count_min, vocabulary, counts: Vec::new() };
        let lines: Vec<Vec<String>> = texts.iter().flat_map(|text| text.lines()).map(|line| twin.line(line)).collect();
        for n in 1..=order {
            let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
            let mut followed: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
            for line in &lines {
                for (start, ngram) in line.windows(n).enumerate() {
                    if n == order || start == 0 {
                        *counts.entry(ngram.to_vec()).or_default() += 1;
                    } else {
                        followed.entry(ngram.to_vec()).or_default().insert(line[start - 1].clone());
                    }
                }
            }
            counts.remove(&vec!["<s>".to_owned()]);
            counts.extend(followed.into_iter().map(|(ngram, before)| (ngram, before.len())));
            twin.counts.push(counts);
        }
        twin
    }

    fn line(&self, line: &str) -> Vec<String> {
        let known =
            units(line).into_iter().map(|unit| if self.vocabulary.contains(&unit) { unit } else { "<unk>".into() });
        ["<s>".to_owned()].into_iter().chain(known).chain(["</s>".to_owned()]).collect()
    }

    fn discount(&self, n: usize, count: usize) -> f64 {
        let n_with = |wanted: usize| self.counts[n - 1].values().filter(|&&count| count == wanted).count() as f64;
        let [n1, n2, n3, n4] = [1, 2, 3, 4].map(n_with);
        let y = n1 / (n1 + 2.0 * n2);
        let discounts = [1.0 - 2.0 * y * n2 / n1, 2.0 - 3.0 * y * n3 / n2, 3.0 - 4.0 * y * n4 / n3];
        let are_sound = (0..3).all(|index| discounts[index] > 0.0 && discounts[index] <= index as f64 + 1.0);
        if are_sound { discounts[count.min(3) - 1] } else { count.min(3) as f64 / 2.0 }
    }

    fn probability(&self, context: &[String], unit: &str) -> f64 {
        let n = context.len() + 1;
        let shorter = match context.split_first() {
            Some((_, context)) => self.probability(context, unit),
            None => 1.0 / (self.vocabulary.len() + 2) as f64,
        };
        let of_context: Vec<(&Vec<String>, usize)> = self.counts[n - 1]
            .iter()
            .filter(|(ngram, _)| ngram.starts_with(context))
            .map(|(ngram, &count)| (ngram, count))
            .collect();
        let total: usize = of_context.iter().map(|&(_, count)| count).sum();
        if total == 0 {
            return shorter;
        }
        let kept = of_context.iter().filter(|&&(_, count)| n <= 2 || count >= self.count_min);
        let share = |count: usize| (count as f64 - self.discount(n, count)) / total as f64;
        let rest = 1.0 - kept.clone().map(|&(_, count)| share(count)).sum::<f64>();
        let own = kept.clone().find(|(ngram, _)| ngram.last().is_some_and(|last| last == unit));
        own.map_or(0.0, |&(_, count)| share(count)) + rest * shorter
    }

    fn perplexity(&self, text: &str) -> f64 {
        let (mut sum, mut n_units) = (0.0, 0.0);
        for line in text.lines().map(|line| self.line(line)) {
            for at in 1..line.len() {
                let context = &line[at.saturating_sub(self.order - 1)..at];
                sum += self.probability(context, &line[at]).ln();
                n_units += 1.0;
            }
        }
        (-sum / n_units).exp()
    }
}

/// Words, numbers as 0, marks, in lower case.
fn units(line: &str) -> Vec<String> {
    let class = |char: char| if char.is_numeric() { 1 } else { u8::from(char.is_alphabetic()) * 2 };
    let mut units: Vec<String> = Vec::new();
    let mut last = 0;
    for char in line.chars() {
        match class(char) {
            now if now != 0 && now == last => units.last_mut().unwrap().push(char),
            _ if char.is_whitespace() => {}
            _ => units.push(char.to_string()),
        }
        last = class(char);
    }
    units
        .iter()
        .map(|unit| if class(unit.chars().next().unwrap()) == 1 { "0".into() } else { unit.to_lowercase() })
        .collect()
}

#[test]
fn perplexities_are_those_of_the_definition() {
    let texts = reference();
    let seen: Vec<String> =
        (0..texts.len()).filter(|index| index % 10 != 9).map(|index| texts[index].clone()).collect();
    for (order, count_min) in [(3, 1), (4, 2), (5, 1), (5, 3)] {
        for vocabulary_max in [40, 12] {
            let settings = PerplexityTraining { vocabulary_max: Count(vocabulary_max), ..training(order, count_min) };
            let model = train_perplexity(&texts, Unit::Words, &settings).unwrap();
            let twin = Twin::new(&seen, order as usize, count_min as usize, vocabulary_max as usize);
            for text in
                [&texts[9], &texts[0], "Snow likes the cat.", "x", "Fish fish 7 fish!\nthe old", "the the the the"]
            {
                let (found, wanted) = (f64::from(model.perplexity(text)), twin.perplexity(text));
                assert!((found / wanted - 1.0).abs() < 1e-4, "order {order}: {found} {wanted} {text}");
            }
            let units = twin.vocabulary.iter().map(String::as_str).chain(["<unk>", "</s>"]);
            let context = ["<s>", "the", "cat"].map(str::to_owned);
            let context = &context[(4 - (order as usize).min(4))..];
            let mass: f64 = units.map(|unit| twin.probability(context, unit)).sum();
            assert!((mass - 1.0).abs() < 1e-9, "{mass}");
        }
    }
}

#[test]
fn real_order_is_less_surprising_than_none() {
    const LAW: &str = "为了保障军人地位和合法权益，激励军人履行职责使命，让军人成为全社会尊崇的职业，制定本法。\n\
        国家和社会尊重、优待军人，保障军人享有与其职业特点相适应的地位和权益。\n\
        军人地位和权益保障工作，坚持中国共产党的领导，以服务军队战斗力建设为根本目的。";
    const UNSEEN: &str = "国家保障军人的合法权益，社会尊重军人的地位。";
    let texts: Vec<&str> = std::iter::repeat_n(LAW, 20).collect();
    let model = train_perplexity(&texts, Unit::Characters, &training(5, 1)).unwrap();
    let reversed: String = UNSEEN.chars().rev().collect();
    assert!(2.0 * model.perplexity(UNSEEN) < model.perplexity(&reversed));
    assert!(model.perplexity(LAW) < 3.0);
    assert_eq!(model.perplexity(" \n\n"), f32::INFINITY);
}

#[test]
fn borders_are_those_of_texts_that_were_not_seen() {
    let texts: Vec<String> = (0..100).map(|seed| english(seed, 40)).collect();
    let model = train_perplexity(&texts, Unit::Words, &training(3, 1)).unwrap();
    let [head, middle] = model.borders();
    let buckets: Vec<Bucket> =
        (9..100).step_by(10).map(|index| model.bucket(model.perplexity(&texts[index]))).collect();
    assert!(head <= middle && buckets.iter().all(|&bucket| bucket != Bucket::Tail), "{buckets:?}");
    assert_eq!(buckets.iter().filter(|&&bucket| bucket == Bucket::Head).count(), 6);
    assert_eq!(model.bucket(f32::INFINITY), Bucket::Tail);
}

#[test]
fn a_file_gives_the_model_back_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let texts = reference();
    let model = train_perplexity(&texts, Unit::Words, &training(3, 2)).unwrap();
    model.save(folder.path(), "model").unwrap();
    let path = folder.path().join("model");
    let bytes = fs::read(&path).unwrap();
    let again = PerplexityModel::load(&path).unwrap();
    again.save(folder.path(), "again").unwrap();
    assert_eq!(fs::read(folder.path().join("again")).unwrap(), bytes);
    assert_eq!(again.perplexity(&texts[3]), model.perplexity(&texts[3]));
    assert_eq!(again.borders(), model.borders());
    let twice = train_perplexity(&texts, Unit::Words, &training(3, 2)).unwrap();
    twice.save(folder.path(), "twice").unwrap();
    assert_eq!(fs::read(folder.path().join("twice")).unwrap(), bytes);
    for cut in (0..bytes.len()).step_by(11) {
        fs::write(&path, &bytes[..cut]).unwrap();
        let error = PerplexityModel::load(&path).unwrap_err();
        assert!(matches!(error, ModelError::Magic { .. } | ModelError::Checksum { .. }), "{error}");
    }
    for at in (0..bytes.len()).step_by(13) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert!(PerplexityModel::load(&path).is_err(), "byte {at}");
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let train = |training: &PerplexityTraining| train_perplexity(&reference(), Unit::Words, training).map(|_| ());
    assert_eq!(train(&training(2, 1)), Err(PerplexityError::Order { order: 2 }));
    let small = PerplexityTraining { vocabulary_max: Count(0), ..training(3, 1) };
    assert_eq!(train(&small), Err(PerplexityError::Vocabulary { vocabulary_max: 0 }));
    let crossed = PerplexityTraining { head: Share(0.9), middle: Share(0.5), ..training(3, 1) };
    assert_eq!(train(&crossed), Err(PerplexityError::Borders));
    let few = train_perplexity(&["a", " ", "b"], Unit::Words, &training(3, 1)).map(|_| ());
    assert_eq!(few, Err(PerplexityError::TooFewTexts { n_texts: 2 }));
}
