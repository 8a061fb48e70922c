//! Packing against slow twins that hold everything in memory.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

fn items(lens: &[u32]) -> Vec<Item> {
    let item = |(document, &len): (usize, &u32)| Item {
        document: document as u64,
        span: Span { start: 0, end: len },
        pass: 1,
    };
    lens.iter().enumerate().map(item).collect()
}

type Packer<'a> = dyn Fn(
        &mut dyn Iterator<Item = Result<Item, Infallible>>,
        &mut dyn FnMut(Placement) -> Result<(), Infallible>,
    ) -> Result<Packed, Infallible>
    + 'a;

fn packed(items: &[Item], pack: &Packer<'_>) -> (Packed, Vec<Placement>) {
    let mut placements = Vec::new();
    let outcome = pack(&mut items.iter().map(|&item| Ok(item)), &mut |placement| {
        placements.push(placement);
        Ok(())
    });
    (outcome.unwrap(), placements)
}

fn end_to_end(items: &[Item], context: usize, n_rows: u64) -> (Packed, Vec<Placement>) {
    packed(items, &|items, place| concatenate(items, context, n_rows, place))
}

fn fitted(items: &[Item], context: usize, n_rows: u64) -> (Packed, Vec<Placement>) {
    packed(items, &|items, place| best_fit(items, context, n_rows, true, place))
}

/// The tokens of every row as (document, position); `None` is padding.
fn rows(placements: &[Placement], context: usize, n_rows: u64) -> Vec<Vec<Option<(u64, u32)>>> {
    let mut rows = vec![vec![None; context + 1]; n_rows as usize];
    for placement in placements {
        for offset in 0..placement.span.n_positions() {
            let place = &mut rows[placement.row as usize][(placement.row_start + offset) as usize];
            assert_eq!(*place, None, "a position is taken once");
            *place = Some((placement.document, placement.span.start + offset));
        }
    }
    rows
}

/// Best-fit decreasing as it is written down: every item looks at every row.
fn slow_best_fit(lens: &[u32], capacity: u32) -> Vec<u32> {
    let mut lens = lens.to_vec();
    lens.sort_by_key(|len| std::cmp::Reverse(*len));
    let mut free: Vec<u32> = Vec::new();
    for len in lens {
        match free.iter_mut().filter(|free| **free >= len).min() {
            Some(tightest) => *tightest -= len,
            None => free.push(capacity - len),
        }
    }
    free
}

proptest! {
    /// Against the obvious twin: all documents in one long vector.
    #[test]
    fn cut_rows_are_the_documents_end_to_end(lens in prop::collection::vec(1_u32..40, 1..30), context in 1_usize..20, n_rows in 1_u64..30) {
        let items = items(&lens);
        let (outcome, placements) = end_to_end(&items, context, n_rows);
        let all: Vec<(u64, u32)> = items.iter().flat_map(|item| (0..item.span.end).map(|i| (item.document, i))).collect();
        let n_full = ((all.len() - 1) / context) as u64;
        prop_assert_eq!(outcome.n_rows, n_rows.min(n_full));
        for (row, tokens) in rows(&placements, context, outcome.n_rows).into_iter().enumerate() {
            let expected: Vec<_> = all[row * context..=(row + 1) * context].iter().copied().map(Some).collect();
            prop_assert_eq!(tokens, expected);
        }
        // What was begun and not ended is the rest, with the last token that was read.
        let end = outcome.n_rows as usize * context;
        let last = all[end];
        let rest = lens[last.0 as usize] - last.1;
        let expected = if rest > 1 && (outcome.n_rows > 0) { Some(vec![Span { start: last.1, end: last.1 + rest }]) } else { None };
        prop_assert_eq!(outcome.rest.get(&last.0).cloned(), expected);
        prop_assert!(outcome.rest.len() <= 1);
        let touched = if outcome.n_rows == 0 { 0 } else { last.0 + 1 };
        prop_assert_eq!(outcome.n_documents, touched);
    }

    #[test]
    fn fitted_rows_hold_whole_documents(lens in prop::collection::vec(1_u32..40, 1..60), context in 1_usize..20) {
        let items = items(&lens);
        let (outcome, placements) = fitted(&items, context, u64::MAX);
        prop_assert!(outcome.rest.is_empty());
        prop_assert_eq!(outcome.n_documents, lens.len() as u64);
        let capacity = context as u32 + 1;
        prop_assert_eq!(outcome.n_cut, lens.iter().filter(|&&len| len > capacity).count() as u64);
        let mut seen: BTreeMap<(u64, u32), u32> = BTreeMap::new();
        for placement in &placements {
            let whole = placement.span == items[placement.document as usize].span;
            prop_assert!(whole || lens[placement.document as usize] > capacity);
            // The first token of a later piece stands there to be looked at, and was predicted in the piece before.
            prop_assert_eq!(placement.predicts_first, placement.span.start == 0);
            let first = placement.span.start + u32::from(placement.span.start > 0);
            (first..placement.span.end).for_each(|i| *seen.entry((placement.document, i)).or_default() += 1);
        }
        rows(&placements, context, outcome.n_rows);
        prop_assert!(seen.values().all(|&n| n == 1));
        prop_assert_eq!(seen.len() as u32, lens.iter().sum::<u32>());
    }

    #[test]
    fn no_row_fits_better(lens in prop::collection::vec(1_u32..20, 1..80)) {
        let (outcome, placements) = fitted(&items(&lens), 19, u64::MAX);
        let mut free: Vec<usize> = rows(&placements, 19, outcome.n_rows)
            .iter()
            .map(|row| row.iter().filter(|token| token.is_none()).count())
            .collect();
        let mut expected: Vec<usize> = slow_best_fit(&lens, 20).into_iter().map(|free| free as usize).collect();
        free.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(free, expected);
    }

    /// A budget ends a stage anywhere; what was begun is the rest, and nothing is in a row that is not there.
    #[test]
    fn a_budget_of_rows_leaves_the_rest(lens in prop::collection::vec(1_u32..60, 1..40), context in 1_usize..20, n_rows in 1_u64..12) {
        let items = items(&lens);
        let (outcome, placements) = fitted(&items, context, n_rows);
        prop_assert!(outcome.n_rows <= n_rows);
        prop_assert!(placements.iter().all(|placement| placement.row < outcome.n_rows));
        rows(&placements, context, outcome.n_rows);
        for (document, &len) in lens.iter().enumerate() {
            let of = placements.iter().filter(|placement| placement.document == document as u64);
            let end = of.map(|placement| placement.span.end).max();
            let rest = end.filter(|&end| end < len).map(|end| vec![Span { start: end - 1, end: len }]);
            prop_assert_eq!(outcome.rest.get(&(document as u64)).cloned(), rest);
        }
    }
}

#[test]
fn a_reading_ends_before_the_next_one_begins() {
    // The long documents of the second reading would fit before the short ones of the first are all placed.
    let mut all = items(&[3, 3, 3, 9]);
    all.extend(items(&[3, 3, 3, 9]).into_iter().map(|item| Item { pass: 2, ..item }));
    let (outcome, placements) = fitted(&all, 9, 2);
    assert_eq!(outcome.n_rows, 2);
    assert!(placements.iter().all(|placement| placement.pass == 1), "{placements:?}");
}
