//! Take-downs: documents and sources that must not be read from some row on.
//!
//! A take-down keeps every row before the first one that holds what is taken down: a checkpoint from before it stays good. From that
//! row on the stage is planned anew without it, from what was read until then, and so are all stages behind it. Rows stay a pure
//! function of (tokens, mix, seed, take-downs): nothing is patched, and what was lost can be packed again.

use std::collections::BTreeSet;

use corpus::{DocId, Hash, hash_bytes};
use serde::{Deserialize, Serialize};

/// Documents that must not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Single documents.
    pub documents: BTreeSet<DocId>,
    /// Whole sources.
    pub sources: BTreeSet<String>,
}

impl Removed {
    /// Whether a document is among them.
    pub fn contains(&self, id: DocId, source: &str) -> bool {
        self.documents.contains(&id) || self.sources.contains(source)
    }
}

/// A take-down, as it stands in `removed.json`: a list of these in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// Number of the stage whose rows change first.
    pub stage: usize,
    /// The first of its rows that changes.
    pub row: u64,
    /// Ids of documents, in hexadecimal.
    pub documents: Vec<String>,
    /// Names of sources.
    pub sources: Vec<String>,
    /// What the rows were before: hashes of the manifests of all stages.
    pub before: Vec<Hash>,
    /// And what they were made by: hashes of the settings of all stages,
    pub settings: Vec<Hash>,
    /// and of the manifest of the tokens.
    pub tokens: Hash,
}

impl Removal {
    fn removed(&self) -> Removed {
        let documents = self.documents.iter().filter_map(|id| DocId::parse(id)).collect::<BTreeSet<_>>();
        assert_eq!(documents.len(), self.documents.len(), "ids were checked when they were read");
        Removed { documents, sources: self.sources.iter().cloned().collect() }
    }
}

impl Removal {
    /// How many stages from the first one on are made as they were when this was taken down.
    pub fn n_same_stages(&self, settings: &[Hash], tokens: &Hash) -> usize {
        if self.tokens != *tokens {
            return 0;
        }
        self.settings.iter().zip(settings).take_while(|(then, now)| then == now).count()
    }

    /// The same take-down over stages of which only the first `n_same` are made as they were then: its place was found in rows that
    /// are not there any more, so it holds from the first stage on that differs.
    #[must_use]
    pub fn over(mut self, n_same: usize) -> Self {
        if (n_same, 0) < (self.stage, self.row) {
            (self.stage, self.row) = (n_same, 0);
        }
        self
    }
}

/// Where each take-down has its effect: at its own place, or where a later one made everything anew before it.
pub fn effective(removals: &[Removal]) -> Vec<(usize, u64)> {
    let mut places: Vec<(usize, u64)> = removals.iter().map(|removal| (removal.stage, removal.row)).collect();
    for index in (1..places.len()).rev() {
        places[index - 1] = places[index - 1].min(places[index]);
    }
    places
}

/// The parts of a stage: from which row on, and without what. The first part begins at row 0.
pub(crate) fn parts(removals: &[Removal], stage: usize, n_rows: u64) -> Vec<(u64, Removed)> {
    let places = effective(removals);
    let of_stage = places.iter().filter(|place| place.0 == stage && place.1 < n_rows).map(|place| place.1);
    let borders: BTreeSet<u64> = of_stage.chain([0]).collect();
    let part = |first: u64| {
        let mut removed = Removed::default();
        for (removal, place) in removals.iter().zip(&places) {
            if *place <= (stage, first) {
                let Removed { documents, sources } = removal.removed();
                removed.documents.extend(documents);
                removed.sources.extend(sources);
            }
        }
        (first, removed)
    };
    borders.into_iter().map(part).collect()
}

/// A hash of the take-downs that a stage's rows depend on; `None` where there are none.
pub(crate) fn fingerprint(removals: &[Removal], stage: usize) -> Option<Hash> {
    let places = effective(removals);
    let here: Vec<_> = removals
        .iter()
        .zip(places)
        .filter(|(_, place)| place.0 <= stage)
        .map(|(removal, place)| (place, &removal.documents, &removal.sources))
        .collect();
    (!here.is_empty()).then(|| hash_bytes(&serde_json::to_vec(&here).expect("lists of names are JSON")))
}
