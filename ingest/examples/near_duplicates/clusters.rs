//! What is dropped: by ingest, by a slow twin of it, if nothing were missed, and if nothing were verified.

use std::error::Error;

use ingest::NearDuplicates;

use crate::curve::{N_BINS, bin_of, share_a_key};
use crate::documents::{Decided, Documents};
use crate::pairs::Pair;

/// For each document the one it repeats and how similar they are; `None` for those that stay.
pub(crate) type Decisions = Vec<Option<(u32, f64)>>;

/// Documents by how similar they are to the earlier document they are most similar to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate {
    pub(crate) n_documents: u64,
    /// Would go if no pair were missed.
    pub(crate) ideal: u64,
    /// Go.
    pub(crate) dropped: u64,
    /// Would go if every two documents with a common key were taken for duplicates.
    pub(crate) unverified: u64,
}

/// All documents, and what becomes of them.
pub(crate) struct Fates {
    /// Below the least listed similarity, then by bin.
    pub(crate) bins: [Fate; N_BINS + 1],
    /// Dropped both by ingest and ideally.
    pub(crate) n_both: u64,
    /// Dropped, and as similar to the document that is named and stays as the settings ask for.
    pub(crate) n_true: u64,
    /// Dropped unverified though not so similar to any earlier document.
    pub(crate) n_unlike_any: u64,
    /// Dropped unverified though not so similar to the document that stays of their cluster.
    pub(crate) n_unlike_kept: u64,
    /// Listed pairs with a common key, and those of them that ingest compares.
    pub(crate) n_proposed: u64,
    pub(crate) n_compared: u64,
    /// Documents in the largest cluster, and in the largest unverified one.
    pub(crate) largest: (u64, u64),
}

impl Fates {
    /// All bins together.
    pub(crate) fn total(&self) -> Fate {
        self.bins.iter().fold(Fate::default(), |all, fate| Fate {
            n_documents: all.n_documents + fate.n_documents,
            ideal: all.ideal + fate.ideal,
            dropped: all.dropped + fate.dropped,
            unverified: all.unverified + fate.unverified,
        })
    }
}

/// Goes through the documents in order; one that is similar enough to an earlier one that stays goes. `pairs` are in
/// order.
pub(crate) fn decide(n: usize, pairs: &[Pair], jaccard_min: f64, is_compared: impl Fn(&Pair) -> bool) -> Decisions {
    let mut decisions: Decisions = vec![None; n];
    for pair in pairs.iter().filter(|pair| pair.jaccard >= jaccard_min) {
        let (later, earlier) = (pair.later as usize, pair.earlier as usize);
        if decisions[later].is_none() && decisions[earlier].is_none() && is_compared(pair) {
            decisions[later] = Some((pair.earlier, pair.jaccard));
        }
    }
    decisions
}

/// Documents by common key, in order.
pub(crate) struct Groups {
    /// Band and key, document; sorted.
    rows: Vec<(u64, u32)>,
    /// For each band of each document, how many documents with the same key come before it.
    before: Vec<Vec<u32>>,
}

impl Groups {
    pub(crate) fn new(keys: &[&[u64]]) -> Self {
        let mut rows: Vec<(u64, u32)> =
            (0..).zip(keys).flat_map(|(document, keys)| keys.iter().map(move |&key| (key, document))).collect();
        rows.sort_unstable();
        let mut before: Vec<Vec<u32>> = keys.iter().map(|keys| vec![0; keys.len()]).collect();
        for group in rows.chunk_by(|one, next| one.0 == next.0) {
            for (rank, &(key, document)) in (0..).zip(group) {
                for (band, _) in keys[document as usize].iter().enumerate().filter(|(_, own)| **own == key) {
                    before[document as usize][band] = rank;
                }
            }
        }
        Self { rows, before }
    }

    /// Whether two documents have a common key, and the earlier one is among the first of those that have it.
    pub(crate) fn is_compared(&self, keys: &[&[u64]], pair: &Pair, compared_max: u32) -> bool {
        let (later, earlier) = (pair.later as usize, pair.earlier as usize);
        let bands = keys[later].iter().zip(keys[earlier]).zip(&self.before[earlier]);
        bands.into_iter().any(|((one, other), &before)| one == other && before < compared_max)
    }

    /// For each document the first one of its cluster, where all that have a common key are of one cluster.
    fn first_of_cluster(&self, n: usize) -> Vec<u32> {
        let mut first: Vec<u32> = (0..n as u32).collect();
        fn find(first: &mut [u32], mut at: u32) -> u32 {
            while first[at as usize] != at {
                first[at as usize] = first[first[at as usize] as usize];
                at = first[at as usize];
            }
            at
        }
        for group in self.rows.chunk_by(|one, next| one.0 == next.0) {
            for two in group.windows(2) {
                let (one, other) = (find(&mut first, two[0].1), find(&mut first, two[1].1));
                first[one.max(other) as usize] = one.min(other);
            }
        }
        (0..n as u32).map(|at| find(&mut first, at)).collect()
    }
}

/// Compares what ingest did with its slow twin, document by document: what was dropped, for which document, on what
/// evidence, and the sizes of clusters. An error names the first document in which they differ.
pub(crate) fn check_twin(documents: &Documents, twin: &Decisions, decided: &Decided) -> Result<(), Box<dyn Error>> {
    let all = &documents.documents;
    let mut sizes: Vec<u64> = all.iter().map(|document| document.n_copies).collect();
    for (at, repeats) in twin.iter().enumerate() {
        if let Some((of, _)) = repeats {
            sizes[*of as usize] += all[at].n_copies;
        }
    }
    for (at, document) in all.iter().enumerate() {
        let id = document.id;
        let is_equal = match (&twin[at], decided.kept.get(&id), decided.dropped.get(&id)) {
            (None, Some(&size), None) => size == sizes[at],
            (Some((of, jaccard)), None, Some(evidence)) => {
                evidence.starts_with(&format!("jaccard {jaccard:.4} with {} ", all[*of as usize].id))
            }
            _ => false,
        };
        if !is_equal {
            let (kept, dropped) = (decided.kept.get(&id), decided.dropped.get(&id));
            return Err(format!(
                "{id} of {}: ingest has {kept:?} {dropped:?}, the twin {:?} of a cluster of {}",
                document.source, twin[at], sizes[at]
            )
            .into());
        }
    }
    Ok(())
}

/// What becomes of all documents.
pub(crate) fn fates(documents: &Documents, pairs: &[Pair], near: &NearDuplicates, twin: &Decisions) -> Fates {
    let n = documents.documents.len();
    let jaccard_min = near.jaccard_min.0;
    let keys: Vec<&[u64]> = documents.documents.iter().map(|document| &document.keys[..]).collect();
    let ideal = decide(n, pairs, jaccard_min, |_| true);
    let groups = Groups::new(&keys);
    let first = groups.first_of_cluster(n);
    let mut best = vec![0.0_f64; n];
    let mut to_first = vec![0.0_f64; n];
    for pair in pairs {
        let later = pair.later as usize;
        best[later] = best[later].max(pair.jaccard);
        if first[later] == pair.earlier {
            to_first[later] = pair.jaccard;
        }
    }
    let is_unverified = |at: usize| first[at] as usize != at;
    let count = |is_so: &dyn Fn(usize) -> bool| (0..n).filter(|&at| is_so(at)).count() as u64;
    let is_true =
        |at: usize| twin[at].is_some_and(|(of, jaccard)| jaccard >= jaccard_min && twin[of as usize].is_none());
    let mut fates = Fates {
        bins: Default::default(),
        n_both: count(&|at| ideal[at].is_some() && twin[at].is_some()),
        n_true: count(&is_true),
        n_unlike_any: count(&|at| is_unverified(at) && best[at] < jaccard_min),
        n_unlike_kept: count(&|at| is_unverified(at) && to_first[at] < jaccard_min),
        n_proposed: count_pairs(pairs, |pair| share_a_key(keys[pair.later as usize], keys[pair.earlier as usize])),
        n_compared: count_pairs(pairs, |pair| groups.is_compared(&keys, pair, near.compared_max.get())),
        largest: (
            largest(twin.iter().flatten().map(|&(of, _)| of)),
            largest((0..n).filter(|&at| is_unverified(at)).map(|at| first[at])),
        ),
    };
    for at in 0..n {
        let bin = if best[at] == 0.0 { 0 } else { bin_of(best[at]) + 1 };
        let fate = &mut fates.bins[bin];
        fate.n_documents += 1;
        fate.ideal += u64::from(ideal[at].is_some());
        fate.dropped += u64::from(twin[at].is_some());
        fate.unverified += u64::from(is_unverified(at));
    }
    fates
}

fn count_pairs(pairs: &[Pair], is_so: impl Fn(&Pair) -> bool) -> u64 {
    pairs.iter().filter(|pair| is_so(pair)).count() as u64
}

/// Documents of the largest cluster, the one that stays included.
fn largest(kept: impl Iterator<Item = u32>) -> u64 {
    let mut kept: Vec<u32> = kept.collect();
    kept.sort_unstable();
    kept.chunk_by(|one, next| one == next).map(|cluster| cluster.len() as u64 + 1).max().unwrap_or(0)
}
