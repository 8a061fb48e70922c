//! Orders are permutations, and shares hold wherever one looks.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn quotas_are_exact_and_within_one_row(weights in prop::collection::vec(0.01_f64..1.0, 1..7), n_rows in 0_u64..5000) {
        let total: f64 = weights.iter().sum();
        let quotas = quotas(&weights, n_rows);
        prop_assert_eq!(quotas.iter().sum::<u64>(), n_rows);
        for (weight, quota) in weights.iter().zip(&quotas) {
            prop_assert!((weight / total * n_rows as f64 - *quota as f64).abs() < 1.0 + 1e-6);
        }
    }

    #[test]
    fn a_permutation_hits_every_place_once(seed in any::<u64>(), n in 1_u64..3000) {
        let order = Permutation::new(&Seed::root(seed), n);
        let mut places: Vec<u64> = (0..n).map(|index| order.apply(index)).collect();
        places.sort_unstable();
        prop_assert_eq!(places, (0..n).collect::<Vec<_>>());
    }

    /// Against the obvious twin: all rows sorted by when they are due.
    #[test]
    fn turns_are_rows_sorted_by_when_they_are_due(quotas in prop::collection::vec(0_u64..60, 1..7)) {
        let turns = Turns::new(quotas.clone());
        let mut rows: Vec<(usize, u64)> =
            quotas.iter().enumerate().flat_map(|(group, &quota)| (0..quota).map(move |index| (group, index))).collect();
        rows.sort_by(|a, b| {
            let due = |&(_, index): &(usize, u64), other: &(usize, u64)| (2 * index + 1) * quotas[other.0].max(1);
            due(a, b).cmp(&due(b, a)).then(a.0.cmp(&b.0))
        });
        for (place, &(group, index)) in rows.iter().enumerate() {
            prop_assert_eq!(turns.place(group, index), place as u64);
        }
        prop_assert_eq!(turns.groups().collect::<Vec<_>>(), rows.iter().map(|row| row.0).collect::<Vec<_>>());
        // No run of rows is far from the mix.
        let (n_rows, mut n_so_far) = (rows.len() as f64, vec![0.0; quotas.len()]);
        for (place, row) in rows.iter().enumerate() {
            n_so_far[row.0] += 1.0;
            for (n, &quota) in n_so_far.iter().zip(&quotas) {
                let due = quota as f64 * (place + 1) as f64 / n_rows;
                prop_assert!((n - due).abs() <= 0.5 + quotas.len() as f64 / 2.0);
            }
        }
    }
}

#[test]
fn every_reading_is_in_another_order() {
    let ids: Vec<DocId> = (0..50).map(|index| DocId::new("s", &format!("{index}"))).collect();
    let order = |seed, pass| {
        let order = ReadingOrder::new(&Seed::root(seed), pass);
        let mut sorted = ids.clone();
        sorted.sort_by_key(|&id| order.key(id));
        sorted
    };
    assert_eq!(order(1, 1), order(1, 1));
    assert_ne!(order(1, 1), order(1, 2));
    assert_ne!(order(1, 1), order(2, 1));
}

/// Shuffled means that neighbours part: the mean distance of two rows that lay side by side is a third of all rows.
#[test]
fn rows_that_lay_side_by_side_are_spread_over_the_stage() {
    for n in [1000_u64, 4096, 100_003] {
        let order = Permutation::new(&Seed::root(3), n);
        let distance: u64 = (1..n).map(|index| order.apply(index).abs_diff(order.apply(index - 1))).sum();
        let mean = distance as f64 / (n - 1) as f64 / n as f64;
        assert!((mean - 1.0 / 3.0).abs() < 0.02, "{n}: {mean}");
    }
}
