//! All pairs of sets that are at least so similar, without any sketch.
//!
//! [`all_pairs`] loses nothing: it is the search by prefixes of Chaudhuri, Ganti and Kaushik (ICDE 2006) with the
//! bounds of Xiao et al., "Efficient Similarity Joins for Near Duplicate Detection" (WWW 2008). The shingles of each
//! set are put in one order, the rarest of the corpus first. Two sets whose Jaccard similarity is at least `t`, the
//! smaller of `m` shingles and the larger of `n`, share at least `t n` and at least `2 t m / (1 + t)` shingles, hence
//! one of the first `n - ceil(t n) + 1` of the larger and the first `m - ceil(2 t m / (1 + t)) + 1` of the smaller: if
//! they shared none there, all that they share would stand behind the beginning of one of them, where there is no room
//! for so many. Every pair that shares such a shingle is counted out in full. No list is cut off, so a pair that
//! shares nothing but the most frequent shingles is found as well.
//!
//! [`plain_pairs`] compares each set with every other one, and knows neither hashes nor prefixes: its shingles are
//! text.

use std::collections::BTreeSet;

use ingest::Unit;
use rayon::prelude::*;

/// Taken off a bound before it is rounded up, so that rounding errors only make the search wider.
const SLACK: f64 = 1e-6;

/// Two sets by their numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) later: u32,
    pub(crate) earlier: u32,
    pub(crate) jaccard: f64,
}

/// The pairs of sorted sets with a similarity of at least `least`, in order.
pub(crate) fn all_pairs(sets: &[Vec<u64>], least: f64) -> Vec<Pair> {
    assert!(least > 0.0, "sets that share nothing are too many");
    let (ranked, n_shingles) = rank(sets);
    let mut order: Vec<u32> = (0..sets.len() as u32).filter(|&one| !ranked[one as usize].is_empty()).collect();
    order.sort_by_key(|&one| (ranked[one as usize].len(), one));
    let sorted: Vec<&[u32]> = order.iter().map(|&one| &ranked[one as usize][..]).collect();
    let postings = Postings::new(&sorted, n_shingles, 2.0 * least / (1.0 + least));
    let found = (0..sorted.len()).into_par_iter().map_init(
        || vec![u32::MAX; sorted.len()],
        |seen, larger| {
            let n = sorted[larger].len();
            let mut pairs = Vec::new();
            for &shingle in &sorted[larger][..prefix(n, least)] {
                for &smaller in postings.of(shingle).iter().take_while(|&&smaller| (smaller as usize) < larger) {
                    let is_new = std::mem::replace(&mut seen[smaller as usize], larger as u32) != larger as u32;
                    if is_new && sorted[smaller as usize].len() as f64 >= least * n as f64 - SLACK {
                        let jaccard = jaccard(sorted[larger], sorted[smaller as usize]);
                        if jaccard >= least {
                            let (one, other) = (order[larger], order[smaller as usize]);
                            pairs.push(Pair { later: one.max(other), earlier: one.min(other), jaccard });
                        }
                    }
                }
            }
            pairs
        },
    );
    let mut pairs: Vec<Pair> = found.flatten_iter().collect();
    pairs.par_sort_unstable_by_key(|pair| (pair.later, pair.earlier));
    pairs
}

/// How many of a set's shingles have to be looked at where at least `share` of them must be common.
fn prefix(n: usize, share: f64) -> usize {
    n + 1 - ((share * n as f64 - SLACK).ceil() as usize).max(1)
}

/// Which sets have a shingle in their prefix.
struct Postings {
    starts: Vec<u32>,
    sets: Vec<u32>,
}

impl Postings {
    fn new(sets: &[&[u32]], n_shingles: usize, share: f64) -> Self {
        let mut starts = vec![0_u32; n_shingles + 1];
        for set in sets {
            set[..prefix(set.len(), share)].iter().for_each(|&shingle| starts[shingle as usize + 1] += 1);
        }
        (0..n_shingles).for_each(|shingle| starts[shingle + 1] += starts[shingle]);
        let mut ends = starts.clone();
        let mut postings = vec![0; starts[n_shingles] as usize];
        for (index, set) in sets.iter().enumerate() {
            for &shingle in &set[..prefix(set.len(), share)] {
                let end = &mut ends[shingle as usize];
                postings[*end as usize] = index as u32;
                *end += 1;
            }
        }
        Self { starts, sets: postings }
    }

    fn of(&self, shingle: u32) -> &[u32] {
        let shingle = shingle as usize;
        &self.sets[self.starts[shingle] as usize..self.starts[shingle + 1] as usize]
    }
}

/// Shingles as numbers, the rarest first, and how many there are.
fn rank(sets: &[Vec<u64>]) -> (Vec<Vec<u32>>, usize) {
    let mut all: Vec<u64> = sets.iter().flatten().copied().collect();
    all.par_sort_unstable();
    let mut counted: Vec<(u32, u64)> =
        all.chunk_by(|one, next| one == next).map(|same| (same.len() as u32, same[0])).collect();
    drop(all);
    counted.par_sort_unstable();
    let n_shingles = counted.len();
    let mut ranks: Vec<(u64, u32)> = (0..).zip(counted).map(|(rank, (_, shingle))| (shingle, rank)).collect();
    ranks.par_sort_unstable();
    let rank_of = |shingle: &u64| {
        ranks[ranks.binary_search_by_key(shingle, |&(shingle, _)| shingle).expect("all shingles were ranked")].1
    };
    let ranked = sets.par_iter().map(|set| {
        let mut ranked: Vec<u32> = set.iter().map(rank_of).collect();
        ranked.sort_unstable();
        ranked
    });
    (ranked.collect(), n_shingles)
}

fn jaccard<T: Ord>(left: &[T], right: &[T]) -> f64 {
    let (mut in_left, mut in_right, mut n_common) = (0, 0, 0);
    while in_left < left.len() && in_right < right.len() {
        match left[in_left].cmp(&right[in_right]) {
            std::cmp::Ordering::Less => in_left += 1,
            std::cmp::Ordering::Greater => in_right += 1,
            std::cmp::Ordering::Equal => (in_left, in_right, n_common) = (in_left + 1, in_right + 1, n_common + 1),
        }
    }
    n_common as f64 / (left.len() + right.len() - n_common) as f64
}

/// The pairs of texts with a similarity of at least `least`, by their definition.
pub(crate) fn plain_pairs(texts: &[&str], unit: Unit, n_units: usize, least: f64) -> Vec<Pair> {
    let sets: Vec<Vec<String>> =
        texts.par_iter().map(|text| plain_shingles(text, unit, n_units).into_iter().collect()).collect();
    let of_later = |later: usize| {
        let sets = &sets;
        let pairs = (0..later).filter(move |&earlier| !sets[later].is_empty() && !sets[earlier].is_empty());
        let compare = move |earlier: usize| {
            let jaccard = jaccard(&sets[later], &sets[earlier]);
            (jaccard >= least).then_some(Pair { later: later as u32, earlier: earlier as u32, jaccard })
        };
        pairs.filter_map(compare)
    };
    (0..sets.len()).into_par_iter().flat_map_iter(of_later).collect()
}

fn is_han(char: char) -> bool {
    let blocks = ['\u{3400}'..='\u{4DBF}', '\u{4E00}'..='\u{9FFF}', '\u{F900}'..='\u{FAFF}', '\u{20000}'..='\u{3FFFD}'];
    "々〇".contains(char) || blocks.iter().any(|block| block.contains(&char))
}

/// Runs of `n` words, or of characters, in lower case and without marks; a shorter text is one. Each Han character among words
/// is a word.
fn plain_shingles(text: &str, unit: Unit, n: usize) -> BTreeSet<String> {
    let is_letter = |char: &char| char.is_alphanumeric();
    let lower = |word: &str| word.chars().filter(is_letter).flat_map(char::to_lowercase).collect::<String>();
    let units: Vec<String> = match unit {
        Unit::Words => {
            let apart = |char| if is_han(char) { format!(" {char} ") } else { char.to_string() };
            let apart: String = text.chars().map(apart).collect();
            apart.split_whitespace().map(lower).filter(|word| !word.is_empty()).collect()
        }
        Unit::Characters => text.chars().filter(is_letter).map(|char| char.to_lowercase().collect()).collect(),
    };
    units.windows(n.min(units.len()).max(1)).map(|units| units.join(" ")).collect()
}
