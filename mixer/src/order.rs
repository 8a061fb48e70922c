//! Every order in this crate as a pure function: which document is read when, which row comes when.
//!
//! Nothing is shuffled by moving things about. A document's place in a reading is a hash of its id; a row's place among the rows
//! of its stratum is a permutation that is computed number by number; and where the rows of different strata meet is
//! arithmetic. So any place can be computed by itself, in any thread, in no memory.

use corpus::{DocId, Seed};

/// The order in which documents are read for the nth time.
#[derive(Clone, Copy, Debug)]
pub struct ReadingOrder {
    keys: [u64; 2],
}

impl ReadingOrder {
    /// The order of reading number `pass`, from 1. Reading again is in another order.
    pub fn new(seed: &Seed, pass: u8) -> Self {
        let seed = seed.stream("reading").stream(&pass.to_string());
        Self { keys: [0, 1].map(|half: u64| seed.order_key(&half.to_le_bytes())) }
    }

    /// What documents are sorted by. Ids are hashes already: two rounds of mixing are enough to make the order another one.
    pub fn key(&self, id: DocId) -> u64 {
        let (halves, _) = id.0.as_chunks::<8>();
        let [low, high] = [halves[0], halves[1]].map(u64::from_le_bytes);
        mix(mix(low ^ self.keys[0]) ^ high ^ self.keys[1])
    }
}

/// Changes every bit with every other (Steele, Lea and Flood's SplitMix64, variant 13 of Stafford's mixers). One to one.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A permutation of `0..n`, computed number by number: a Feistel network over the next power of four, walked until it comes back
/// into the range (at most a few steps, four on average at worst).
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    n: u64,
    half_bits: u32,
    keys: [u64; Permutation::ROUNDS],
}

impl Permutation {
    const ROUNDS: usize = 4;

    /// The permutation of `0..n` that belongs to the seed.
    pub fn new(seed: &Seed, n: u64) -> Self {
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        let keys = [0, 1, 2, 3].map(|round: u64| seed.order_key(&round.to_le_bytes()));
        Self { n, half_bits: bits.div_ceil(2).max(1), keys }
    }

    /// Where `index` goes.
    ///
    /// # Panics
    /// Where it is not below n.
    pub fn apply(&self, index: u64) -> u64 {
        assert!(index < self.n, "a permutation of {} numbers has no number {index}", self.n);
        let mut place = self.encipher(index);
        while place >= self.n {
            place = self.encipher(place);
        }
        place
    }

    fn encipher(&self, index: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (index >> self.half_bits, index & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half_bits | right
    }
}

/// How rows of several groups take turns: the row `index` of a group with `quota` rows is due at (2 index + 1) / (2 quota) of the
/// way, and the rows come in the order in which they are due, those of earlier groups first where they are due together. So
/// every run of rows has every group's share to within a few rows.
#[derive(Clone, Debug)]
pub struct Turns {
    quotas: Vec<u64>,
}

impl Turns {
    /// Turns of groups of so many rows.
    pub fn new(quotas: Vec<u64>) -> Self {
        // The products below stay under 2^64.
        assert!(quotas.iter().all(|quota| quota >> 31 == 0), "a group has fewer than 2^31 rows");
        Self { quotas }
    }

    /// The place, among the rows of all groups, of row `index` of `group`.
    pub fn place(&self, group: usize, index: u64) -> u64 {
        let quota = self.quotas[group];
        assert!(index < quota, "a group of {quota} rows has no row {index}");
        let before = |(other, &other_quota): (usize, &u64)| {
            if other == group {
                return index;
            }
            // Rows i of the other group with (2 i + 1) / other_quota < (2 index + 1) / quota; equal counts for earlier groups.
            let due = (2 * index + 1) * other_quota;
            let n_odd = if other < group { due / quota } else { (due.max(1) - 1) / quota };
            n_odd.div_ceil(2)
        };
        self.quotas.iter().enumerate().map(before).sum()
    }

    /// The group of every row, in order.
    pub fn groups(&self) -> impl Iterator<Item = usize> + '_ {
        let mut next = vec![0_u64; self.quotas.len()];
        let n_rows: u64 = self.quotas.iter().sum();
        (0..n_rows).map(move |_| {
            let open = (0..next.len()).filter(|&group| next[group] < self.quotas[group]);
            let due = |group: usize| (2 * next[group] + 1, self.quotas[group]);
            let first = open.min_by(|&a, &b| {
                let ((n_a, of_a), (n_b, of_b)) = (due(a), due(b));
                (n_a * of_b).cmp(&(n_b * of_a)).then(a.cmp(&b))
            });
            let group = first.expect("there are as many turns as rows");
            next[group] += 1;
            group
        })
    }
}
