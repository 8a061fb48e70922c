//! How many rows each group gets, and in which order the groups take turns.

use std::fmt;

use corpus::Kind;
use serde::Serialize;

/// Documents of one language and kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Group {
    /// Language.
    pub lang: String,
    /// Kind.
    pub kind: Kind,
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.lang, self.kind)
    }
}

/// Whole rows for every share by largest remainder: each within one row of its share, together exactly `n_rows`.
pub fn quotas(shares: &[f64], n_rows: u64) -> Vec<u64> {
    let exact: Vec<f64> = shares.iter().map(|share| share * n_rows as f64).collect();
    let mut quotas: Vec<u64> = exact.iter().map(|rows| rows.floor() as u64).collect();
    let n_left = n_rows - quotas.iter().sum::<u64>();
    let mut by_remainder: Vec<usize> = (0..shares.len()).collect();
    let remainder = |index: usize| exact[index] - exact[index].floor();
    by_remainder.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)).then(a.cmp(&b)));
    by_remainder.iter().take(n_left as usize).for_each(|&index| quotas[index] += 1);
    quotas
}

/// The group of every row: at each row the group that is furthest behind its share, so that any run of rows has the mix.
pub fn interleave(quotas: &[u64]) -> Vec<usize> {
    let n_rows: u64 = quotas.iter().sum();
    let mut emitted = vec![0; quotas.len()];
    let mut turns = Vec::with_capacity(n_rows as usize);
    for row in 1..=n_rows {
        // Compared as integers: quota x row - emitted x n_rows is the lag in units of 1 / n_rows rows.
        let lag = |index: usize| {
            i128::from(quotas[index]) * i128::from(row) - i128::from(emitted[index]) * i128::from(n_rows)
        };
        let open = (0..quotas.len()).filter(|&index| emitted[index] < quotas[index]);
        let next = open.max_by(|&a, &b| lag(a).cmp(&lag(b)).then(b.cmp(&a))).expect("the quotas add up to all rows");
        emitted[next] += 1;
        turns.push(next);
    }
    turns
}
