//! Duplicates against twins that compare every document with every other one, and the sketch against the similarity it
//! stands for.

use std::collections::{BTreeMap, BTreeSet};

use corpus::{DocId, Document, FileError, Kind, Share, Sorter};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Numbers, chinese, english, settings};
use crate::duplicates::{
    ByShard, Candidates, Comparable, Duplicate, Found, Relation, find_duplicates, find_repeats, jaccard,
    remove_repeats, shingles, sketch,
};
use crate::language::Unit;
use crate::{Duplicates, Fingerprint, RepeatedPieces, RepeatedSpans, Repeats, fingerprint, proposed};

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
        loss: None,
        meta: "{}".into(),
        signals: Vec::new(),
    }
}

/// Documents in memory, a few to a shard, some shards without any.
struct InMemory {
    documents: Vec<Document>,
    prints: Vec<Fingerprint>,
    starts: Vec<u64>,
}

impl InMemory {
    fn new(documents: Vec<Document>, config: &Duplicates) -> Self {
        let print = |one: &Document| {
            let url = one.url.as_ref().map(|url| xxhash_rust::xxh3::xxh3_128(url.as_bytes()));
            fingerprint(&one.text, &one.lang, (one.kind, one.label), url, config)
        };
        let prints = documents.iter().map(print).collect();
        let n = documents.len() as u64;
        let mut starts: Vec<u64> = (0..n).step_by(7).flat_map(|start| [start; 2]).chain([n, n]).collect();
        starts.dedup_by(|right, left| right == left && *right % 2 == 1);
        Self { documents, prints, starts }
    }

    fn range(&self, shard: usize) -> std::ops::Range<usize> {
        self.starts[shard] as usize..self.starts[shard + 1] as usize
    }
}

impl Candidates for InMemory {
    type Error = FileError;

    fn starts(&self) -> &[u64] {
        &self.starts
    }

    fn fingerprints(&self, shard: usize) -> Result<Vec<Fingerprint>, FileError> {
        Ok(self.prints[self.range(shard)].to_vec())
    }

    fn texts(&self, shard: usize, rows: &[usize]) -> Result<Vec<Comparable>, FileError> {
        let documents = &self.documents[self.range(shard)];
        let comparable =
            |&row: &usize| Comparable { unit: Unit::of(&documents[row].lang), text: documents[row].text.clone() };
        Ok(rows.iter().map(comparable).collect())
    }

    fn check(&self, _: &'static str, n_done: u64, n_all: u64) -> Result<(), FileError> {
        assert!(n_done <= n_all, "no more is done than there is");
        Ok(())
    }
}

fn all_rows<const N: usize>(rows: &ByShard<N>, starts: &[u64]) -> Vec<[u64; N]> {
    (0..starts.len() - 1)
        .flat_map(|shard| {
            let rows = rows.shard(shard).unwrap();
            assert!(rows.iter().all(|row| (starts[shard]..starts[shard + 1]).contains(&row[0])));
            rows
        })
        .collect()
}

fn find_within(
    candidates: &InMemory,
    config: &Duplicates,
    n_bytes_max: usize,
) -> (Vec<Option<Duplicate>>, Found, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let found = find_duplicates(candidates, config, folder.path(), n_bytes_max).unwrap();
    let mut duplicates = vec![None; candidates.documents.len()];
    for row in all_rows(&found.duplicates, &candidates.starts) {
        let duplicate = Duplicate::from_row(row);
        assert_eq!(duplicates[duplicate.position as usize].replace(duplicate), None);
    }
    for (position, duplicate) in (0..).zip(&duplicates) {
        assert_eq!(found.dropped.contains(position), duplicate.is_some());
    }
    (duplicates, found, folder)
}

fn found(documents: Vec<Document>) -> Vec<Option<Duplicate>> {
    let config = settings().duplicates;
    find_within(&InMemory::new(documents, &config), &config, 1 << 20).0
}

fn shingle_set(document: &Document) -> Vec<u64> {
    let mut set = shingles(&document.text, Unit::of(&document.lang), 5);
    set.sort_unstable();
    set.dedup();
    set
}

/// The definition: addresses, then texts, then similarity, each among what the question before left. `is_proposed` says
/// whether the sketches of two documents agree on a band.
fn brute_force(
    documents: &[Document],
    config: &Duplicates,
    is_proposed: impl Fn(usize, usize) -> bool,
) -> Vec<Option<Duplicate>> {
    let folded = |document: &Document| document.text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let near = config.near.as_ref().unwrap();
    let mut found: Vec<Option<Duplicate>> = vec![None; documents.len()];
    let kind = |at: usize| documents[at].kind;
    let same = |left: usize, right: usize| documents[left].lang == documents[right].lang && kind(left) == kind(right);
    type Question<'a> = Box<dyn Fn(usize, usize) -> Option<Relation> + 'a>;
    let url: Question<'_> = Box::new(|later, earlier| {
        let (one, other) = (&documents[later].url, &documents[earlier].url);
        (one.is_some() && one == other && kind(later) == kind(earlier)).then_some(Relation::Url)
    });
    let exact: Question<'_> = Box::new(|later, earlier| {
        (same(later, earlier) && folded(&documents[later]) == folded(&documents[earlier])).then_some(Relation::Exact)
    });
    let similar: Question<'_> = Box::new(|later, earlier| {
        if !same(later, earlier) || kind(later) == Kind::Proposition || !is_proposed(later, earlier) {
            return None;
        }
        let (of_later, of_earlier) = (shingle_set(&documents[later]), shingle_set(&documents[earlier]));
        let n_common = of_later.iter().filter(|shingle| of_earlier.contains(shingle)).count() as f64;
        let jaccard = n_common / (of_later.len() as f64 + of_earlier.len() as f64 - n_common);
        let containment = n_common / of_later.len() as f64;
        let is_contained = near.containment_min.is_some_and(|Share(least)| containment >= least);
        (jaccard >= near.jaccard_min.0 || is_contained).then_some(Relation::Near { jaccard, containment })
    });
    for question in [url, exact, similar] {
        let before = found.clone();
        for later in 0..documents.len() {
            if before[later].is_some() {
                continue;
            }
            let repeats = (0..later).filter(|&earlier| found[earlier].is_none()).find_map(|earlier| {
                let relation = question(later, earlier)?;
                Some(Duplicate { position: later as u64, of: earlier as u64, relation })
            });
            found[later] = repeats;
        }
    }
    found
}

/// Where each chain of duplicates ends, and how many documents lead there.
fn cluster_sizes(found: &[Option<Duplicate>]) -> BTreeMap<u64, u64> {
    let mut sizes = BTreeMap::new();
    for mut at in found.iter().flatten() {
        while let Some(next) = &found[at.of as usize] {
            at = next;
        }
        *sizes.entry(at.of).or_default() += 1;
    }
    sizes
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
        let mut document = document(index, &text, lang, Kind::Plain);
        document.url = (numbers.below(4) == 0).then(|| format!("address {}", numbers.below(n_documents)));
        documents.push(document);
    }
    documents
}

#[test]
fn equals_the_slow_twin_whatever_the_memory() {
    let mut relations = std::collections::HashSet::new();
    for (seed, containment_min) in [(1, None), (2, None), (3, Some(Share(0.9))), (4, Some(Share(0.6)))] {
        let mut config = settings().duplicates;
        config.near.as_mut().unwrap().containment_min = containment_min;
        let candidates = InMemory::new(edited_corpus(seed, 90), &config);
        let prints = &candidates.prints;
        let is_proposed = |later: usize, earlier: usize| {
            prints[later].bands.iter().zip(&prints[earlier].bands).any(|(one, other)| one == other)
        };
        let twin = brute_force(&candidates.documents, &config, is_proposed);
        for n_bytes_max in [1 << 24, 20_000, 0] {
            let (duplicates, found, _folder) = find_within(&candidates, &config, n_bytes_max);
            assert_eq!(duplicates, twin, "seed {seed}, {n_bytes_max} bytes");
            let clusters = all_rows(&found.clusters, &candidates.starts).into_iter().map(|[of, n]| (of, n));
            assert_eq!(clusters.collect::<BTreeMap<_, _>>(), cluster_sizes(&twin));
        }
        relations.extend(twin.iter().flatten().map(|one| std::mem::discriminant(&one.relation)));
    }
    assert_eq!(relations.len(), 3, "every relation occurs");
}

#[test]
fn nearly_all_true_duplicates_are_found() {
    let (mut n_found, mut n_true) = (0, 0);
    let config = settings().duplicates;
    for seed in 1..=6 {
        let documents = edited_corpus(seed, 60);
        let twin = brute_force(&documents, &config, |_, _| true);
        n_true += twin.iter().flatten().count();
        n_found += found(documents).iter().flatten().count();
    }
    assert!(n_true > 100, "the corpus holds {n_true} duplicates, too few to say something");
    assert!(n_found * 100 >= n_true * 93, "found {n_found} of {n_true}");
}

/// Of pairs of one similarity as many are proposed as the formula says, within what chance allows.
#[test]
fn pairs_are_proposed_as_often_as_the_theory_says() {
    const N_PAIRS: usize = 400;
    let near = settings().duplicates.near.unwrap();
    let (n_bands, n_rows) = (near.bands.get(), near.rows.get());
    for n_edits in [2, 5, 9, 14] {
        let mut by_similarity: BTreeMap<u32, (usize, usize, f64)> = BTreeMap::new();
        for pair in 0..N_PAIRS {
            let mut numbers = Numbers((pair * 31 + n_edits) as u64);
            let text = english((pair * 100 + n_edits) as u64, 300);
            let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            (0..n_edits).for_each(|edit| words[numbers.below(300)] = format!("edit{edit}of{pair}"));
            let (one, other) =
                (document(0, &text, "en", Kind::Plain), document(1, &words.join(" "), "en", Kind::Plain));
            let similarity = jaccard(&shingle_set(&one), &shingle_set(&other));
            let prints = InMemory::new(vec![one, other], &settings().duplicates).prints;
            let is_proposed = prints[0].bands.iter().zip(&prints[1].bands).any(|(left, right)| left == right);
            let (n, n_proposed, expected) = by_similarity.entry((similarity * 20.0) as u32).or_default();
            *n += 1;
            *n_proposed += usize::from(is_proposed);
            *expected += proposed(similarity, n_bands, n_rows);
        }
        for (similarity, (n, n_proposed, expected)) in by_similarity {
            let probability = expected / n as f64;
            let deviation = (n as f64 * probability * (1.0 - probability)).sqrt();
            let off = (n_proposed as f64 - expected).abs();
            assert!(off <= 4.0 * deviation + 1.0, "J {similarity}/20: {n_proposed} of {n}, expected {expected:.1}");
        }
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
    let documents = vec![
        document(0, &text, "en", Kind::Plain),
        document(1, &text, "en", Kind::Instruction),
        document(2, &text, "en", Kind::Proposition),
        document(3, &text.to_uppercase().replace(' ', "\n"), "en", Kind::Plain),
        document(4, &text, "en", Kind::Proposition),
        document(5, &format!("{text} indeed"), "en", Kind::Proposition),
        document(6, &format!("{text} indeed"), "en", Kind::Instruction),
    ];
    let found = found(documents);
    let exact = |position, of| Some(Duplicate { position, of, relation: Relation::Exact });
    assert_eq!(found[..6], [None, None, None, exact(3, 0), exact(4, 2), None]);
    assert!(
        matches!(found[6], Some(Duplicate { of: 1, relation: Relation::Near { jaccard, .. }, .. }) if jaccard > 0.95)
    );
}

#[test]
fn punctuation_quotes_and_spacing_do_not_hide_a_copy() {
    let (english, chinese) = (english(1, 100), chinese(1, 200));
    let documents = vec![
        document(0, &english, "en", Kind::Plain),
        document(1, &english.replace('.', " –").replace("the", "\"The\""), "en", Kind::Plain),
        document(2, &chinese, "zh", Kind::Plain),
        document(3, &chinese.replace('。', "！\n"), "zh", Kind::Plain),
    ];
    let found = found(documents);
    let relation = Relation::Near { jaccard: 1.0, containment: 1.0 };
    assert_eq!(found[1], Some(Duplicate { position: 1, of: 0, relation }));
    assert_eq!(found[3], Some(Duplicate { position: 3, of: 2, relation }));
}

#[test]
fn what_is_switched_off_is_not_done() {
    let config = Duplicates { url: false, exact: false, near: None, repeats: None };
    let documents = vec![document(0, "same", "en", Kind::Plain), document(1, "same", "en", Kind::Plain)];
    assert_eq!(find_within(&InMemory::new(documents, &config), &config, 0).0, [None, None]);
}

/// In a cluster of copies a document is compared with the first few only, and still goes.
#[test]
fn a_large_cluster_takes_linear_time() {
    let config = settings().duplicates;
    let compared_max = u64::from(config.near.as_ref().unwrap().compared_max.get());
    let text = english(5, 120);
    let documents: Vec<Document> =
        (0..1000).map(|index| document(index, &format!("{text} number{index}"), "en", Kind::Plain)).collect();
    let (duplicates, found, _folder) = find_within(&InMemory::new(documents, &config), &config, 1 << 20);
    assert!(duplicates[1..].iter().flatten().all(|one| one.of == 0) && duplicates[1..].iter().all(Option::is_some));
    assert!(found.n_compared <= 1000 * compared_max * 14, "{} pairs", found.n_compared);
}

mod repeats {
    use super::*;

    fn config(lines: bool, paragraphs: bool, spans: bool) -> Repeats {
        let occurrences_max = 1.try_into().unwrap();
        let pieces = RepeatedPieces { chars_min: 4, occurrences_max };
        Repeats {
            lines: lines.then_some(pieces),
            paragraphs: paragraphs.then_some(pieces),
            spans: spans.then_some(RepeatedSpans { units: 3.try_into().unwrap(), occurrences_max }),
            repeated_max: Share(1.0),
        }
    }

    fn cut(texts: &[&str], config: &Repeats, n_bytes_max: usize) -> Vec<String> {
        let documents: Vec<Document> =
            texts.iter().enumerate().map(|(index, text)| document(index, text, "en", Kind::Plain)).collect();
        let nothing = Duplicates { url: false, exact: false, near: None, repeats: Some(config.clone()) };
        let candidates = InMemory::new(documents, &nothing);
        let folder = tempfile::tempdir().unwrap();
        let (_, found, _folder) = find_within(&candidates, &nothing, n_bytes_max);
        let repeats =
            find_repeats(&candidates, config, &found.dropped, (folder.path(), "repeats"), n_bytes_max).unwrap();
        let rows = all_rows(&repeats, &candidates.starts);
        let cut = |(index, text): (usize, &&str)| {
            let own: Vec<[u64; 2]> = rows.iter().filter(|row| row[0] == index as u64).copied().collect();
            let comparable = Comparable { unit: Unit::Words, text: (*text).to_owned() };
            remove_repeats(&comparable, config, &own).0
        };
        texts.iter().enumerate().map(cut).collect()
    }

    #[test]
    fn of_lines_the_first_stays() {
        let texts = ["one line\nsame line\nx\n", "same line\nx\nother line", "  same line  "];
        assert_eq!(
            cut(&texts, &config(true, false, false), 0),
            ["one line\nsame line\nx", "\nx\nother line".trim(), ""]
        );
    }

    #[test]
    fn of_paragraphs_the_first_stays() {
        let texts = ["head\n\nfirst of\ntwo lines\n\nlast", "first of\ntwo lines\n\nnew words\n\n\nfirst of"];
        assert_eq!(cut(&texts, &config(false, true, false), 0), [texts[0], "new words\n\nfirst of"]);
    }

    #[test]
    fn spans_are_cut_in_whole_sentences() {
        let texts = [
            "It began. A quick brown fox jumps! The end",
            "Then a quick brown FOX jumps. It was the end.",
            "So it was. A quick brown fox jumps! What then",
            "quick brown",
        ];
        let left = cut(&texts, &config(false, false, true), 0);
        assert_eq!(left, [texts[0], texts[1], "So it was. What then", texts[3]]);
        assert_eq!(cut(&["no! no! no! no! no! no!"], &config(false, false, true), 0), ["no!"]);
        // A line end alone is inside of a sentence; quotes and brackets stay with the sentence that they belong to.
        let texts =
            ["One two three four (five six). Seven", "An (odd) line\none two\nthree four (five six).) [Eight] nine"];
        assert_eq!(cut(&texts, &config(false, false, true), 0), texts);
        let texts = ["He left. \"One two three four.\" [And] so", "She came. \"One two three four.\" [Or] not"];
        assert_eq!(cut(&texts, &config(false, false, true), 0), [texts[0], "She came. [Or] not"]);
        let texts = ["a b c\n\nOne two three\n\n[d] e", "f g\n\nOne two three\n\n[h] i"];
        assert_eq!(cut(&texts, &config(false, false, true), 0), [texts[0], "f g\n\n[h] i"]);
    }

    /// The definition, on the words of all texts: a window that stood before marks its words.
    fn naive_spans(texts: &[Vec<usize>]) -> Vec<Vec<bool>> {
        let mut seen: BTreeSet<&[usize]> = BTreeSet::new();
        let mut marked = Vec::new();
        for text in texts {
            let mut is_repeated = vec![false; text.len()];
            for (start, window) in text.windows(3).enumerate() {
                if !seen.insert(window) {
                    is_repeated[start..start + 3].fill(true);
                }
            }
            marked.push(is_repeated);
        }
        marked
    }

    proptest! {
        #[test]
        fn spans_equal_their_slow_twin(texts in prop::collection::vec(prop::collection::vec(0_usize..4, 0..30), 1..20)) {
            let words = ["alpha", "beta", "gamma", "delta"];
            let written: Vec<String> =
                texts.iter().map(|text| text.iter().map(|&word| words[word]).collect::<Vec<_>>().join("\n\n")).collect();
            let written: Vec<&str> = written.iter().map(|text| &text[..]).collect();
            let expected: Vec<Vec<&str>> = texts.iter().zip(naive_spans(&texts)).map(|(text, is_repeated)| {
                text.iter().zip(is_repeated).filter(|(_, is_repeated)| !is_repeated).map(|(&word, _)| words[word]).collect()
            }).collect();
            for n_bytes_max in [0, 1 << 20] {
                let cut = cut(&written, &config(false, false, true), n_bytes_max);
                let left: Vec<Vec<&str>> = cut.iter().map(|text| text.split_whitespace().collect()).collect();
                prop_assert_eq!(&left, &expected);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_sorter_is_a_sorted_set(
        rows in prop::collection::vec((0_u64..50, prop_oneof![0_u64..50, any::<u64>()], 0_u32..64), 0..20_000),
    ) {
        // Numbers of every width, first ones among them.
        let rows: Vec<[u64; 3]> = rows.into_iter().map(|(few, any, shift)| [few << shift, any >> shift, few]).collect();
        let folder = tempfile::tempdir().unwrap();
        for n_bytes_max in [0, 1 << 30] {
            let mut sorter = Sorter::new(&folder.path().join("rows"), n_bytes_max);
            rows.iter().for_each(|&row| sorter.push(row).unwrap());
            let mut sorted = sorter.finish().unwrap();
            for expected in rows.iter().collect::<BTreeSet<_>>() {
                prop_assert_eq!(sorted.next().unwrap(), Some(*expected));
            }
            prop_assert_eq!(sorted.next().unwrap(), None);
        }
        prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "run files go with their rows");
    }
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
