//! Random streams as pure functions of one root seed: no ambient generator, no hidden state.

use crate::document::DocId;

/// A 256-bit seed from which named streams are derived.
///
/// `Seed::root(7).stream("mix").stream("plain-en")` is the same value in every process, thread and rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The seed of the whole run.
    pub fn root(value: u64) -> Self {
        Self(*blake3::hash(&value.to_le_bytes()).as_bytes())
    }

    /// A stream of its own, told apart by name.
    #[must_use]
    pub fn stream(&self, name: &str) -> Self {
        Self(*blake3::keyed_hash(&self.0, name.as_bytes()).as_bytes())
    }

    /// A 64-bit number that depends on the seed and on `item` only; sorting by it shuffles.
    pub fn order_key(&self, item: &[u8]) -> u64 {
        first_u64(blake3::keyed_hash(&self.0, item).as_bytes())
    }

    /// The seed as one number, for generators that take no more (libtorch's).
    pub fn as_u64(&self) -> u64 {
        first_u64(&self.0)
    }

    /// A number in `0..bound` for the item at `index`. The bias of the modulo is below `bound / 2^64`.
    pub fn below(&self, index: u64, bound: u64) -> u64 {
        assert!(bound > 0, "a range must hold something");
        self.order_key(&index.to_le_bytes()) % bound
    }
}

/// The held-out set: a fixed share of all ids, whatever else is in the corpus.
#[derive(Clone, Copy, Debug)]
pub struct HeldOut {
    seed: Seed,
    share: f64,
}

impl HeldOut {
    /// The set of a run.
    pub fn new(seed: &Seed, share: f64) -> Self {
        Self { seed: seed.stream("held-out"), share }
    }

    /// Whether a document belongs to it.
    pub fn contains(&self, id: DocId) -> bool {
        (self.seed.order_key(&id.0) as f64) < self.share * (u64::MAX as f64)
    }
}

/// Whether a document belongs to the held-out set.
pub fn is_held_out(seed: &Seed, id: DocId, share: f64) -> bool {
    HeldOut::new(seed, share).contains(id)
}

fn first_u64(bytes: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(first)
}
