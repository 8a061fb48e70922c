//! Duplicates against a brute-force twin, and the sketch against the similarity it stands for.

use corpus::{DocId, Document, Kind, Share};
use proptest::prelude::*;

use super::{Numbers, chinese, english, settings};
use crate::duplicates::{jaccard, shingles, sketch};
use crate::{Duplicate, Duplicates, Fingerprint, find_duplicates, fingerprint};

fn document(index: usize, text: &str, lang: &str, kind: Kind) -> Document {
    Document {
        id: DocId::new("source", &index.to_string()),
        text: text.to_owned(),
        lang: lang.to_owned(),
        source: "source".into(),
        kind,
        url: None,
        license: "CC0-1.0".into(),
        label: None,
        meta: "{}".into(),
        signals: Vec::new(),
    }
}

fn fingerprints(documents: &[Document], config: &Duplicates) -> Vec<Fingerprint> {
    documents.iter().map(|one| fingerprint(&one.text, &one.lang, one.kind, config)).collect()
}

fn found(documents: &[Document]) -> Vec<Option<Duplicate>> {
    let config = settings().duplicates;
    find_duplicates(documents, &fingerprints(documents, &config), &config)
}

fn shingle_set(document: &Document) -> Vec<u64> {
    let near = settings().duplicates.near.unwrap();
    let mut set = shingles(&document.text, &document.lang, &near);
    set.sort_unstable();
    set.dedup();
    set
}

/// Compares every document with every kept one before it.
fn brute_force(documents: &[Document]) -> Vec<Option<Duplicate>> {
    let Share(jaccard_min) = settings().duplicates.near.unwrap().jaccard_min;
    let folded = |document: &Document| document.text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found: Vec<Option<Duplicate>> = Vec::new();
    for (position, document) in documents.iter().enumerate() {
        let kept = || (0..position).filter(|&of| found[of].is_none());
        let same = |of: &usize| documents[*of].lang == document.lang && documents[*of].kind == document.kind;
        let exact = kept().filter(same).find(|&of| folded(&documents[of]) == folded(document));
        let near = || {
            kept().filter(same).find_map(|of| {
                let jaccard = jaccard(&shingle_set(&documents[of]), &shingle_set(document));
                (jaccard >= jaccard_min).then_some(Duplicate { of, jaccard: Some(jaccard) })
            })
        };
        let duplicate = exact.map(|of| Duplicate { of, jaccard: None }).or_else(near);
        found.push(duplicate);
    }
    found
}

/// Texts of which many are edits of others: a few words replaced, cut or in capitals.
fn edited_corpus(seed: u64, n_documents: usize) -> Vec<Document> {
    let mut numbers = Numbers(seed);
    let mut documents: Vec<Document> = Vec::new();
    for index in 0..n_documents {
        let (lang, unit) = if index % 2 == 0 { ("en", " ") } else { ("zh", "") };
        let original = (index >= 4).then(|| numbers.below(index / 2) * 2 + index % 2).filter(|_| numbers.below(3) > 0);
        let text = match (original, lang) {
            (None, "en") => english(seed * 1000 + index as u64, 150),
            (None, _) => chinese(seed * 1000 + index as u64, 300),
            (Some(original), _) => {
                let mut parts: Vec<String> = match unit {
                    " " => documents[original].text.split(' ').map(str::to_owned).collect(),
                    _ => documents[original].text.chars().map(String::from).collect(),
                };
                for _ in 0..numbers.below(12) {
                    let at = numbers.below(parts.len());
                    parts[at] = if unit.is_empty() { "竹".into() } else { "bamboo".into() };
                }
                parts.join(unit)
            }
        };
        documents.push(document(index, &text, lang, Kind::Plain));
    }
    documents
}

#[test]
fn only_true_duplicates_are_found_and_nearly_all_of_them() {
    let (mut n_found, mut n_true) = (0, 0);
    for seed in 1..=6 {
        let documents = edited_corpus(seed, 60);
        let (found, twin) = (found(&documents), brute_force(&documents));
        n_found += found.iter().flatten().count();
        n_true += twin.iter().flatten().count();
        for (position, duplicate) in found.iter().enumerate() {
            let Some(duplicate) = duplicate else { continue };
            assert!(duplicate.of < position && found[duplicate.of].is_none(), "only kept documents are repeated");
            let similarity = jaccard(&shingle_set(&documents[duplicate.of]), &shingle_set(&documents[position]));
            match duplicate.jaccard {
                Some(jaccard) => assert_eq!(jaccard, similarity),
                None => assert_eq!(documents[duplicate.of].text, documents[position].text),
            }
        }
    }
    assert!(n_true > 100, "the corpus holds {n_true} duplicates, too few to say something");
    assert!(n_found * 100 >= n_true * 93, "found {n_found} of {n_true}");
}

#[test]
fn with_one_hash_a_band_the_twin_is_matched_exactly() {
    let mut config = settings().duplicates;
    let near = config.near.as_mut().unwrap();
    near.bands = 128.try_into().unwrap();
    near.rows = 1.try_into().unwrap();
    for seed in 1..=3 {
        let documents = edited_corpus(seed, 40);
        assert_eq!(find_duplicates(&documents, &fingerprints(&documents, &config), &config), brute_force(&documents));
    }
}

#[test]
fn the_sketch_agrees_as_often_as_the_sets_do() {
    const N_HASHES: usize = 112;
    for (n_shingles, n_common) in [(40, 20), (100, 75), (1000, 500), (5000, 4500)] {
        let (mut n_agreeing, mut n_trials) = (0, 0);
        for trial in 0..60_u64 {
            let item = |index: u64| xxhash_rust::xxh3::xxh3_64(&(trial << 32 | index).to_le_bytes());
            let left: Vec<u64> = (0..n_shingles).map(item).collect();
            let right: Vec<u64> = (n_shingles - n_common..2 * n_shingles - n_common).map(item).collect();
            let (left, right) = (sketch(&left, N_HASHES), sketch(&right, N_HASHES));
            n_agreeing += left.iter().zip(&right).filter(|(left, right)| left == right).count();
            n_trials += N_HASHES;
        }
        let expected = n_common as f64 / (2 * n_shingles - n_common) as f64;
        let measured = n_agreeing as f64 / n_trials as f64;
        assert!((measured - expected).abs() < 0.03, "{n_shingles} {n_common}: {measured} for {expected}");
    }
}

#[test]
fn kinds_and_languages_are_not_mixed() {
    let text = english(1, 100);
    let exact = |of| Some(Duplicate { of, jaccard: None });
    let documents = [
        document(0, &text, "en", Kind::Plain),
        document(1, &text, "en", Kind::Instruction),
        document(2, &text, "en", Kind::Proposition),
        document(3, &text.to_uppercase().replace(' ', "\n"), "en", Kind::Plain),
        document(4, &text, "en", Kind::Proposition),
        document(5, &format!("{text} indeed"), "en", Kind::Proposition),
        document(6, &format!("{text} indeed"), "en", Kind::Instruction),
    ];
    let found = found(&documents);
    assert_eq!(found[..6], [None, None, None, exact(0), exact(2), None]);
    let near = found[6].unwrap();
    assert!(near.of == 1 && near.jaccard.unwrap() > 0.95, "{near:?}");
}

#[test]
fn punctuation_quotes_and_spacing_do_not_hide_a_copy() {
    let (english, chinese) = (english(1, 100), chinese(1, 200));
    let documents = [
        document(0, &english, "en", Kind::Plain),
        document(1, &english.replace('.', " –").replace("the", "\"The\""), "en", Kind::Plain),
        document(2, &chinese, "zh", Kind::Plain),
        document(3, &chinese.replace('。', "！\n"), "zh", Kind::Plain),
    ];
    let found = found(&documents);
    assert_eq!(found[1], Some(Duplicate { of: 0, jaccard: Some(1.0) }));
    assert_eq!(found[3], Some(Duplicate { of: 2, jaccard: Some(1.0) }));
}

#[test]
fn what_is_switched_off_is_not_done() {
    let mut config = settings().duplicates;
    config.exact = false;
    config.near = None;
    let documents = [document(0, "same", "en", Kind::Plain), document(1, "same", "en", Kind::Plain)];
    assert_eq!(find_duplicates(&documents, &fingerprints(&documents, &config), &config), [None, None]);
}

proptest! {
    #[test]
    fn jaccard_is_that_of_sets(left in proptest::collection::btree_set(0_u64..40, 0..30), right in proptest::collection::btree_set(0_u64..40, 0..30)) {
        let n_common = left.intersection(&right).count() as f64;
        let n_all = left.union(&right).count().max(1) as f64;
        let (left, right): (Vec<u64>, Vec<u64>) = (left.into_iter().collect(), right.into_iter().collect());
        prop_assert_eq!(jaccard(&left, &right), n_common / n_all);
    }

    #[test]
    fn a_sketch_does_not_depend_on_order_or_repetition(mut items in proptest::collection::vec(any::<u64>(), 1..200), n_hashes in 1_usize..64) {
        let before = sketch(&items, n_hashes);
        items.reverse();
        items.push(items[0]);
        prop_assert_eq!(sketch(&items, n_hashes), before);
    }
}
