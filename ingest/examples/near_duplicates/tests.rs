//! The search for pairs against the plain loop, on texts that share rare shingles, frequent ones or both.

use ingest::{Unit, shingles};

use crate::clusters::{Groups, decide};
use crate::pairs::{Pair, all_pairs, plain_pairs};

/// Numbers from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Sentences drawn from a few that all texts share, and of words that only one text has.
fn texts(seed: u64, n: usize) -> Vec<String> {
    let mut numbers = Numbers(seed);
    let mut sentence = |text: usize| match numbers.below(3) {
        0 => format!("The {} sentence, that stands in Every text as it is. ", numbers.below(4)),
        1 => format!("Family {} has words of its own – {} of them! ", text % 7, numbers.below(3)),
        _ => format!("Nobody else says {text} {}\n", numbers.below(1000)),
    };
    (0..n).map(|text| (0..1 + text % 9).map(|_| sentence(text)).collect()).collect()
}

fn sets(texts: &[&str], unit: Unit, n: usize) -> Vec<Vec<u64>> {
    let set = |text: &&str| {
        let mut set = shingles(text, unit, n);
        set.sort_unstable();
        set.dedup();
        set
    };
    texts.iter().map(set).collect()
}

#[test]
fn the_search_finds_what_the_plain_loop_finds() {
    for (seed, unit, n) in [(1, Unit::Words, 5), (2, Unit::Words, 2), (3, Unit::Characters, 5), (4, Unit::Words, 1)] {
        let mut texts = texts(seed, 150);
        texts.extend(["".to_owned(), "one".to_owned(), "One.".to_owned(), "– –".to_owned()]);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for least in [0.05, 0.3, 0.5, 0.9, 1.0] {
            let plain = plain_pairs(&texts, unit, n, least);
            assert!(plain.len() > 1, "too few pairs to say something");
            assert_eq!(all_pairs(&sets(&texts, unit, n), least), plain, "seed {seed}, from {least} on");
        }
    }
}

/// What a search that leaves frequent shingles out would miss.
#[test]
fn pairs_that_share_only_what_all_share_are_found() {
    let common: Vec<u64> = (0..30).collect();
    let sets: Vec<Vec<u64>> = (0..40).map(|at| common.iter().copied().chain([100 + at, 200 + at]).collect()).collect();
    let pairs = all_pairs(&sets, 0.3);
    assert_eq!(pairs.len(), 40 * 39 / 2);
    assert!(pairs.iter().all(|pair| pair.jaccard == 30.0 / 34.0));
}

#[test]
fn a_document_goes_for_the_first_that_stays() {
    let pair = |later, earlier, jaccard| Pair { later, earlier, jaccard };
    let pairs = [pair(1, 0, 0.8), pair(2, 0, 0.7), pair(2, 1, 0.9), pair(3, 0, 0.75), pair(3, 2, 0.9)];
    assert_eq!(decide(4, &pairs, 0.75, |_| true), [None, Some((0, 0.8)), None, Some((0, 0.75))]);
    assert_eq!(decide(4, &pairs, 0.75, |pair| pair.earlier != 0), [None, None, Some((1, 0.9)), None]);
}

#[test]
fn only_the_first_of_a_group_are_compared() {
    let keys: [&[u64]; 4] = [&[1, 2], &[1, 3], &[1, 3], &[4, 3]];
    let groups = Groups::new(&keys);
    let is_compared = |later, earlier, max| groups.is_compared(&keys, &Pair { later, earlier, jaccard: 1.0 }, max);
    assert!(is_compared(2, 1, 1), "the first of the second band");
    assert!(!is_compared(3, 2, 1) && is_compared(3, 2, 2));
    assert!(!is_compared(3, 0, 9), "no common key");
}
