//! How often pairs of one similarity are proposed, beside what the theory of the bands says.
//!
//! The theory speaks of a hash function drawn at random; the documents are what they are. So the error of a share is
//! measured by drawing: the same pairs are proposed again with other hash functions (every shingle is hashed anew with
//! a seed before it is sketched), and the spread of the share from one to the next is its standard error. Pairs that
//! have a document in common, or copies of one paragraph, rise and fall together in each draw, so that the error
//! respects them without a model of how they hang together. The mean over all draws has an error smaller by the root of
//! their number.

use std::num::NonZeroU32;

use ingest::{NearDuplicates, band_keys, proposed};
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::documents::Documents;
use crate::pairs::Pair;

/// The least similarity of a pair that is listed.
pub(crate) const LEAST: f64 = 0.3;

/// Bins a unit of similarity: each is 0.05 wide.
const BINS: f64 = 20.0;

/// From [`LEAST`] to below 1, and 1.
pub(crate) const N_BINS: usize = 15;

/// Sizes of the larger set of a pair by which shares are also given.
pub(crate) const SIZES: [usize; 4] = [0, 50, 200, 1000];

/// Draws of a hash function.
pub(crate) const N_DRAWS: u64 = 100;

/// How sketches are cut.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Bands {
    pub(crate) n_bands: NonZeroU32,
    pub(crate) n_rows: NonZeroU32,
    /// Who publishes them.
    pub(crate) of: &'static str,
}

/// Pairs of similar similarity, and how many of them are proposed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bin {
    pub(crate) n_pairs: u64,
    /// Sum of their similarities.
    pub(crate) jaccard: f64,
    /// Pairs that the theory expects to be proposed.
    pub(crate) expected: f64,
    /// By the keys that ingest makes.
    pub(crate) shipped: u64,
    /// By every other draw.
    pub(crate) draws: Vec<u64>,
    /// By MinHash with a separate hash function for every entry; empty where it wasn't asked.
    pub(crate) classic: Vec<u64>,
}

/// The bins of a choice of bands, by size of the larger set and similarity.
pub(crate) struct Curve {
    pub(crate) bands: Bands,
    by_size: Vec<[Bin; N_BINS]>,
}

/// The bin of a similarity.
pub(crate) fn bin_of(jaccard: f64) -> usize {
    // A quotient of small numbers such as 0.35 may lie a rounding error below the bound.
    ((jaccard - LEAST) * BINS + 1e-9) as usize
}

/// Where a bin begins.
pub(crate) fn start_of(bin: usize) -> f64 {
    LEAST + bin as f64 / BINS
}

/// Proposes `pairs` by `bands`, as ingest does and by all draws.
pub(crate) fn curve(
    documents: &Documents,
    pairs: &[Pair],
    near: &NearDuplicates,
    bands: Bands,
    is_classic: bool,
) -> Curve {
    let mut by_size: Vec<[Bin; N_BINS]> = (0..SIZES.len()).map(|_| Default::default()).collect();
    let cell = |pair: &Pair| {
        let larger = documents.sets[pair.later as usize].len().max(documents.sets[pair.earlier as usize].len());
        (SIZES.partition_point(|&size| size <= larger) - 1, bin_of(pair.jaccard))
    };
    for pair in pairs {
        let (size, bin) = cell(pair);
        by_size[size][bin].n_pairs += 1;
        by_size[size][bin].jaccard += pair.jaccard;
        by_size[size][bin].expected += proposed(pair.jaccard, bands.n_bands.get(), bands.n_rows.get());
    }
    let count = |keys: &[Vec<u64>]| {
        let mut counts = vec![[0_u64; N_BINS]; SIZES.len()];
        for pair in pairs {
            let (size, bin) = cell(pair);
            counts[size][bin] += u64::from(share_a_key(&keys[pair.later as usize], &keys[pair.earlier as usize]));
        }
        counts
    };
    let mut is_needed = vec![false; documents.sets.len()];
    pairs.iter().for_each(|pair| (is_needed[pair.later as usize], is_needed[pair.earlier as usize]) = (true, true));
    let keys = |make: &(dyn Fn(usize) -> Vec<u64> + Sync)| -> Vec<Vec<u64>> {
        let of = |index: usize| if is_needed[index] { make(index) } else { Vec::new() };
        (0..documents.sets.len()).into_par_iter().map(of).collect()
    };
    let (n_bands, n_rows) = (bands.n_bands.get() as usize, bands.n_rows.get() as usize);
    let shipped = count(&keys(&|index| documents.keys(index, near, bands)));
    let drawn =
        (1..=N_DRAWS).map(|seed| count(&keys(&|index| drawn_keys(&documents.sets[index], n_bands, n_rows, seed))));
    let drawn: Vec<_> = drawn.collect();
    let n_classic = if is_classic { N_DRAWS } else { 0 };
    let classic =
        (1..=n_classic).map(|seed| count(&keys(&|index| classic_keys(&documents.sets[index], n_bands, n_rows, seed))));
    let classic: Vec<_> = classic.collect();
    for (size, bins) in by_size.iter_mut().enumerate() {
        for (bin, cell) in bins.iter_mut().enumerate() {
            cell.shipped = shipped[size][bin];
            cell.draws = drawn.iter().map(|counts| counts[size][bin]).collect();
            cell.classic = classic.iter().map(|counts| counts[size][bin]).collect();
        }
    }
    Curve { bands, by_size }
}

/// Whether two documents agree on a band.
pub(crate) fn share_a_key(one: &[u64], other: &[u64]) -> bool {
    one.iter().zip(other).any(|(one, other)| one == other)
}

/// Keys by the sketch that ingest has, over another hash of every shingle.
fn drawn_keys(set: &[u64], n_bands: usize, n_rows: usize, seed: u64) -> Vec<u64> {
    let anew: Vec<u64> = set.iter().map(|shingle| xxh3_64_with_seed(&shingle.to_le_bytes(), seed)).collect();
    band_keys(&anew, n_bands, n_rows, 0)
}

/// Keys by MinHash as Broder described it: the least value of every hash function.
fn classic_keys(set: &[u64], n_bands: usize, n_rows: usize, seed: u64) -> Vec<u64> {
    let anew: Vec<u64> = set.iter().map(|shingle| xxh3_64_with_seed(&shingle.to_le_bytes(), !seed)).collect();
    let least = |function: usize| {
        let salt = xxh3_64_with_seed(&(function as u64).to_le_bytes(), seed);
        anew.iter().map(|&shingle| spread(shingle ^ salt)).min().unwrap_or(u64::MAX)
    };
    let key = |band: usize| {
        let rows = (band * n_rows..(band + 1) * n_rows).flat_map(|function| least(function).to_le_bytes());
        xxh3_64_with_seed(&rows.collect::<Vec<u8>>(), band as u64)
    };
    (0..n_bands).map(key).collect()
}

/// The finaliser of MurmurHash3.
fn spread(value: u64) -> u64 {
    let value = (value ^ (value >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let value = (value ^ (value >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    value ^ (value >> 33)
}

impl Curve {
    /// All pairs, by similarity.
    pub(crate) fn bins(&self) -> Vec<Bin> {
        (0..N_BINS).map(|bin| Bin::sum(self.by_size.iter().map(|bins| &bins[bin]))).collect()
    }

    /// How far the keys that ingest makes are off over all bins, as the sum of squared `z`, and how many draws are
    /// farther off.
    pub(crate) fn off(&self) -> (f64, usize) {
        let bins = self.bins();
        let off = |count: &dyn Fn(&Bin) -> u64| -> f64 {
            let squares = bins.iter().filter(|bin| bin.is_telling()).map(|bin| {
                let (_, deviation) = bin.drawn();
                ((count(bin) as f64 - bin.expected) / deviation).powi(2)
            });
            squares.sum()
        };
        let own = off(&|bin| bin.shipped);
        let n_farther = (0..N_DRAWS as usize).filter(|&draw| off(&|bin| bin.draws[draw]) > own).count();
        (own, n_farther)
    }

    /// The pairs whose larger set is of the `size`th class, by similarity.
    pub(crate) fn bins_of_size(&self, size: usize) -> &[Bin] {
        &self.by_size[size]
    }
}

impl Bin {
    /// Bins as one.
    pub(crate) fn sum<'b>(bins: impl Iterator<Item = &'b Self>) -> Self {
        let add = |sums: &mut Vec<u64>, more: &[u64]| {
            sums.resize(more.len().max(sums.len()), 0);
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        };
        bins.fold(Self::default(), |mut sum, bin| {
            sum.n_pairs += bin.n_pairs;
            sum.jaccard += bin.jaccard;
            sum.expected += bin.expected;
            sum.shipped += bin.shipped;
            add(&mut sum.draws, &bin.draws);
            add(&mut sum.classic, &bin.classic);
            sum
        })
    }

    pub(crate) fn share(&self, n: f64) -> f64 {
        n / self.n_pairs as f64
    }

    /// Mean and standard deviation of the pairs proposed by a draw.
    pub(crate) fn drawn(&self) -> (f64, f64) {
        mean_and_deviation(&self.draws)
    }

    /// Draws that propose fewer pairs than the keys that ingest makes, and those that propose as many.
    pub(crate) fn n_fewer_and_equal(&self) -> (usize, usize) {
        let count = |is_so: &dyn Fn(u64) -> bool| self.draws.iter().filter(|&&draw| is_so(draw)).count();
        (count(&|draw| draw < self.shipped), count(&|draw| draw == self.shipped))
    }

    /// Whether enough pairs are expected on either side for a deviation to mean something.
    pub(crate) fn is_telling(&self) -> bool {
        self.expected.min(self.n_pairs as f64 - self.expected) >= 5.0
    }

    /// How many errors the keys that ingest makes are off.
    pub(crate) fn z(&self) -> Option<f64> {
        let (_, deviation) = self.drawn();
        (self.is_telling() && deviation > 0.0).then(|| (self.shipped as f64 - self.expected) / deviation)
    }

    /// How many errors the mean of draws is off, of [`Self::draws`] or of [`Self::classic`].
    pub(crate) fn z_of_mean(&self, draws: &[u64]) -> Option<f64> {
        let (mean, deviation) = mean_and_deviation(draws);
        (self.is_telling() && deviation > 0.0).then(|| (mean - self.expected) / deviation * (draws.len() as f64).sqrt())
    }
}

/// Of counts.
pub(crate) fn mean_and_deviation(counts: &[u64]) -> (f64, f64) {
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<u64>() as f64 / n;
    let squares: f64 = counts.iter().map(|&count| (count as f64 - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}
