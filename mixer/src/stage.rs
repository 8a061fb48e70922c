//! One stage: from the documents of `tokens/` to rows in training order.
//!
//! Four sorted passes, none of which holds more than the memory it is given:
//! 1. *survey*: how much there is of every stratum, and how much of it was read before (documents in order, shards side by side);
//! 2. *draw*: the documents of every stratum in the order in which they are read (sorted by stratum, reading, hash of the id);
//! 3. *lay out*: which piece goes to which row (sorted back into the order of documents);
//! 4. *shuffle*: the tokens of every piece go to their row (sorted by row), and the ledger is brought up to date.
//!
//! Passes 1 to 3 touch lengths only. O(n log n) comparisons for n documents; beyond memory every token is written and read once.

use std::collections::BTreeMap;
use std::path::Path;

use corpus::{FileError, FormatError, Kind, Reading, Seed, Sorted, Sorter, Span, TokenShard};
use rayon::prelude::*;

use crate::catalogue::{Catalogue, CatalogueError, Documents};
use crate::config::{Mix, Packing};
use crate::order::{Permutation, ReadingOrder, Turns};
use crate::pack::{Item, Packed, Placement, best_fit, concatenate};
use crate::plan::{Quota, Stratum, Supply, pass_on, shortage};
use crate::run::MixError;
use crate::shuffle::{Piece, RowShuffle};

/// Bits of a sorted row that hold the reading; those above it hold the stratum.
const PASS_BITS: u32 = 8;

/// Where `Placement::predicts_first` and `is_first` lie in a sorted row, above the position in the row.
const PREDICTS_FIRST: u64 = 1 << 32;
const IS_FIRST: u64 = 1 << 33;

/// Where stratum and reading lie, above those.
const STRATUM_BITS: u32 = 34;

/// Drawn documents that a thread gathers before it hands them to the sorter.
const DRAWN_BLOCK: usize = 1 << 14;

/// What is known of all strata before anything is read.
pub(crate) fn survey(catalogue: &impl Documents) -> Result<BTreeMap<Stratum, Supply>, MixError> {
    let of_shard = |shard| {
        let mut found: Vec<(Stratum, Supply)> = Vec::new();
        let names = std::cell::RefCell::new(&mut found);
        catalogue.visit::<usize, MixError>(
            shard,
            &mut |stratum| {
                let mut found = names.borrow_mut();
                found.iter().position(|(known, _)| known == stratum).unwrap_or_else(|| {
                    found.push((stratum.clone(), Supply::default()));
                    found.len() - 1
                })
            },
            &mut |stratum, entry| {
                let supply = &mut names.borrow_mut()[stratum].1;
                if entry.is_too_long {
                    supply.n_too_long += 1;
                    return Ok(());
                }
                supply.n_rest += entry.reading.rest.iter().map(|span| u64::from(span.n_positions())).sum::<u64>();
                let (n_documents, n_tokens) = supply.by_times.entry(entry.reading.times).or_default();
                *n_documents += 1;
                *n_tokens += u64::from(entry.n_tokens);
                Ok(())
            },
        )?;
        Ok(found)
    };
    let found: Vec<Vec<(Stratum, Supply)>> =
        (0..catalogue.n_shards()).into_par_iter().map(of_shard).collect::<Result<_, MixError>>()?;
    let mut supplies: BTreeMap<Stratum, Supply> = BTreeMap::new();
    for (stratum, found) in found.into_iter().flatten() {
        let supply = supplies.entry(stratum).or_default();
        supply.n_rest += found.n_rest;
        supply.n_too_long += found.n_too_long;
        for (times, (n_documents, n_tokens)) in found.by_times {
            let sum = supply.by_times.entry(times).or_default();
            *sum = (sum.0 + n_documents, sum.1 + n_tokens);
        }
    }
    Ok(supplies)
}

/// The documents of all strata of a plan, in the order in which they are read.
pub(crate) fn draw(
    catalogue: &impl Documents,
    plan: &[Vec<Quota>],
    seed: &Seed,
    spill: &Path,
    memory: usize,
) -> Result<Sorted<4>, MixError> {
    // A stratum without rows may get some where others run out, unless its share was given.
    let is_read = |(quota, _): &(&Quota, u64)| quota.n_rows > 0 || !quota.is_given;
    let strata = plan.iter().flatten().zip(0..).filter(is_read);
    let strata: BTreeMap<&Stratum, (u64, u8)> =
        strata.map(|(quota, number)| (&quota.stratum, (number, quota.last_pass))).collect();
    let orders: Vec<ReadingOrder> = (0..=u8::MAX).map(|pass| ReadingOrder::new(seed, pass)).collect();
    let sorter = std::sync::Mutex::new(Sorter::new(spill, memory));
    let hand_over = |rows: &mut Vec<[u64; 4]>| {
        let mut sorter = sorter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        rows.drain(..).try_for_each(|row| sorter.push(row))
    };
    (0..catalogue.n_shards()).into_par_iter().try_for_each(|shard| {
        let mut rows: Vec<[u64; 4]> = Vec::new();
        catalogue.visit::<Option<(u64, u8)>, MixError>(
            shard,
            &mut |stratum| strata.get(stratum).copied(),
            &mut |stratum, entry| {
                let Some((stratum, last_pass)) = stratum.filter(|_| !entry.is_too_long) else { return Ok(()) };
                let mut push = |pass: u8, more: u64, span: Span| {
                    let key = orders[usize::from(pass)].key(entry.id).wrapping_add(more);
                    let span = u64::from(span.start) << 32 | u64::from(span.end);
                    rows.push([stratum << PASS_BITS | u64::from(pass), key, entry.document, span]);
                };
                // Two rests may be equal, and the sorter gives equal rows once: they are told apart by their number.
                (0..).zip(&entry.reading.rest).for_each(|(number, &rest)| push(0, number, rest));
                let whole = Span { start: 0, end: entry.n_tokens };
                (entry.reading.times.saturating_add(1)..=last_pass).for_each(|pass| push(pass, 0, whole));
                if rows.len() >= DRAWN_BLOCK { Ok(hand_over(&mut rows)?) } else { Ok(()) }
            },
        )?;
        hand_over(&mut rows).map_err(MixError::from)
    })?;
    let sorter = sorter.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(sorter.finish()?)
}

/// What packing all strata came to: their rows, and what is still to come of documents that were begun.
pub(crate) struct Layout {
    /// Pieces by document: document, span, row in its stratum, and stratum, reading and position in the row.
    placements: Sorted<4>,
    /// Of every stratum, in the plan's order.
    pub(crate) packed: Vec<Packed>,
    rest: BTreeMap<u64, Vec<Span>>,
}

/// Lays out the rows of every stratum. Where one runs out that was not given its share, the ones behind it take its place; the
/// plan's quotas become what was laid out.
pub(crate) fn lay_out(
    drawn: Sorted<4>,
    plan: &mut [Vec<Quota>],
    mix: &Mix,
    (context, n_rows): (usize, u64),
    supplies: &BTreeMap<Stratum, Supply>,
    spill: &Path,
    memory: usize,
) -> Result<Layout, MixError> {
    let mut sorter = Sorter::new(spill, memory);
    let mut packed = Vec::new();
    let mut rest: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
    let mut short = Vec::new();
    let mut items = Items::new(drawn)?;
    for group in plan {
        for index in 0..group.len() {
            let number = packed.len() as u64;
            let mut place = |placement: Placement| sorter.push(to_row(number, &placement)).map_err(MixError::from);
            let items = items.of(number);
            let (quota, kind) = (group[index].n_rows, group[index].stratum.group.kind);
            let mut found = match mix.packing {
                Packing::Concatenate if kind != Kind::Proposition => concatenate(items, context, quota, &mut place)?,
                packing => best_fit(items, context, quota, packing != Packing::BestFitMasked, &mut place)?,
            };
            rest.append(&mut found.rest);
            if found.n_rows < quota && !pass_on(group, index, found.n_rows) {
                let supply = &supplies[&group[index].stratum];
                short.push(shortage(mix, &group[index], supply, found.n_rows, context, n_rows).to_string());
            }
            packed.push(found);
        }
    }
    if !short.is_empty() {
        return Err(MixError::TooLittle { stage: String::new(), what: short });
    }
    Ok(Layout { placements: sorter.finish()?, packed, rest })
}

fn to_row(stratum: u64, placement: &Placement) -> [u64; 4] {
    let Placement { document, span, pass, row, row_start, is_first, predicts_first } = *placement;
    let flags = if predicts_first { PREDICTS_FIRST } else { 0 } | if is_first { IS_FIRST } else { 0 };
    let place = (stratum << PASS_BITS | u64::from(pass)) << STRATUM_BITS | flags | u64::from(row_start);
    [document, u64::from(span.start) << 32 | u64::from(span.end), row, place]
}

fn from_row(row: [u64; 4]) -> (usize, Placement) {
    let [document, span, row, place] = row;
    let strata = place >> STRATUM_BITS;
    let placement = Placement {
        document,
        span: Span { start: (span >> 32) as u32, end: span as u32 },
        pass: strata as u8,
        row,
        row_start: place as u32,
        is_first: place & IS_FIRST != 0,
        predicts_first: place & PREDICTS_FIRST != 0,
    };
    ((strata >> PASS_BITS) as usize, placement)
}

/// The drawn documents, stratum by stratum.
struct Items {
    drawn: Sorted<4>,
    next: Option<[u64; 4]>,
}

impl Items {
    fn new(mut drawn: Sorted<4>) -> Result<Self, MixError> {
        let next = drawn.next()?;
        Ok(Self { drawn, next })
    }

    /// The documents of a stratum. Strata are asked for in ascending order; what was left of earlier ones is passed over.
    fn of(&mut self, stratum: u64) -> impl Iterator<Item = Result<Item, MixError>> + '_ {
        std::iter::from_fn(move || {
            loop {
                let [key, _, document, span] = self.next.filter(|row| row[0] >> PASS_BITS <= stratum)?;
                self.next = match self.drawn.next() {
                    Ok(next) => next,
                    Err(error) => return Some(Err(error.into())),
                };
                if key >> PASS_BITS == stratum {
                    let span = Span { start: (span >> 32) as u32, end: span as u32 };
                    return Some(Ok(Item { document, span, pass: key as u8 }));
                }
            }
        })
    }
}

/// Language, source and kind of pieces, by number.
#[derive(Default)]
pub(crate) struct Names(pub(crate) Vec<(String, String, Kind)>);

impl Names {
    fn number(&mut self, lang: &str, source: &str, kind: Kind) -> u32 {
        let is_it = |name: &(String, String, Kind)| name.0 == lang && name.1 == source && name.2 == kind;
        let found = self.0.iter().position(is_it).unwrap_or_else(|| {
            self.0.push((lang.to_owned(), source.to_owned(), kind));
            self.0.len() - 1
        });
        found as u32
    }
}

/// Where rows of strata go: their places in the stage.
struct Places {
    /// Of every stratum: its group, its number in the group, and the order of its rows.
    strata: Vec<(usize, usize, Permutation)>,
    /// How the strata of every group take turns.
    of_group: Vec<Turns>,
    groups: Turns,
}

impl Places {
    fn new(plan: &[Vec<Quota>], seed: &Seed) -> Self {
        let rows = |group: &Vec<Quota>| group.iter().map(|quota| quota.n_rows).collect::<Vec<_>>();
        let mut strata = Vec::new();
        for (group, quotas) in plan.iter().enumerate() {
            for (index, quota) in quotas.iter().enumerate() {
                let Stratum { group: of, source, buckets } = &quota.stratum;
                let seed = seed.stream(&of.to_string()).stream(source).stream(&format!("{buckets:?}"));
                strata.push((group, index, Permutation::new(&seed, quota.n_rows)));
            }
        }
        Self {
            strata,
            of_group: plan.iter().map(|group| Turns::new(rows(group))).collect(),
            groups: Turns::new(plan.iter().map(|group| rows(group).iter().sum()).collect()),
        }
    }

    fn place(&self, stratum: usize, row: u64) -> u64 {
        let (group, index, order) = &self.strata[stratum];
        self.groups.place(*group, self.of_group[*group].place(*index, order.apply(row)))
    }
}

impl Layout {
    /// Calls `visit` with the place of every piece in the stage, in the order of documents; for plans that nothing is packed by.
    pub(crate) fn places(
        mut self,
        plan: &[Vec<Quota>],
        seed: &Seed,
        visit: &mut dyn FnMut(u64),
    ) -> Result<(), MixError> {
        let places = Places::new(plan, seed);
        while let Some((stratum, placement)) = self.placements.next()?.map(from_row) {
            visit(places.place(stratum, placement.row));
        }
        Ok(())
    }
}

/// The rows of a part of a stage: planned up to the stage's end, and kept up to where the next part begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// The stage's row that the part begins at.
    pub(crate) first: u64,
    /// Rows that are kept.
    pub(crate) n_kept: u64,
}

/// Told, shard by shard, what has now been read of its documents.
pub(crate) type Keep<'a> = &'a mut dyn FnMut(usize, &[Reading]) -> Result<(), MixError>;

/// Sends the tokens of every piece of a part to its row. `keep` is told, shard by shard, what has now been read of its documents.
pub(crate) fn shuffle(
    catalogue: &Catalogue<'_>,
    plan: &[Vec<Quota>],
    layout: Layout,
    (seed, part): (&Seed, Part),
    (shuffle, names): (&mut RowShuffle, &mut Names),
    keep: Keep<'_>,
) -> Result<(), MixError> {
    let places = Places::new(plan, seed);
    let Layout { mut placements, mut rest, .. } = layout;
    let mut next = placements.next()?.map(from_row);
    for (number, shard) in catalogue.shards.iter().enumerate() {
        let tokens = TokenShard::open(&shard.tokens).map_err(CatalogueError::from)?;
        let old = shard.readings()?;
        let mut readings = Vec::with_capacity(tokens.n_rows());
        for batch in tokens.batches() {
            for index in 0..batch.n_rows() {
                let document = shard.first + readings.len() as u64;
                let mut reading = PartReading::new(old.of(readings.len()));
                while let Some((stratum, placement)) = next.filter(|(_, placement)| placement.document == document) {
                    let row = places.place(stratum, placement.row);
                    reading.add(&placement, row < part.n_kept);
                    if row < part.n_kept {
                        let span = placement.span;
                        let piece = Piece {
                            row: part.first + row,
                            row_start: placement.row_start,
                            id: batch.id(index),
                            doc_offset: span.start,
                            name: names.number(batch.lang(index), batch.source(index), batch.kind(index)),
                            loss: loss_of_piece(batch.loss(index).as_deref(), &placement),
                            tokens: &[],
                        };
                        shuffle.push(&piece, &batch.tokens(index)[span.start as usize..span.end as usize])?;
                    }
                    next = placements.next()?.map(from_row);
                }
                readings.push(reading.finish(rest.remove(&document).unwrap_or_default()));
            }
        }
        keep(number, &readings)?;
    }
    assert!(next.is_none() && rest.is_empty(), "every piece is of a document");
    Ok(())
}

/// What has been read of a document while the pieces of a part come in.
struct PartReading {
    reading: Reading,
    /// By reading: whether a piece of it was kept, and the pieces that were not.
    passes: Vec<(u8, bool, Vec<Span>)>,
}

impl PartReading {
    fn new(reading: Reading) -> Self {
        Self { reading, passes: Vec::new() }
    }

    fn add(&mut self, placement: &Placement, is_kept: bool) {
        let Placement { pass, span, .. } = *placement;
        if pass == 0 && placement.is_first {
            // One rest of it was laid out; what of that is not kept is still to come.
            let laid_out = self.reading.rest.iter().position(|rest| rest.start == span.start && rest.end >= span.end);
            laid_out.map(|index| self.reading.rest.remove(index));
        }
        let index = self.passes.iter().position(|known| known.0 == pass).unwrap_or_else(|| {
            self.passes.push((pass, pass == 0, Vec::new()));
            self.passes.len() - 1
        });
        let (_, is_begun, left) = &mut self.passes[index];
        *is_begun |= is_kept;
        // One token that stands in front of the next row to be looked at is not a piece to come back to.
        if !is_kept && span.n_positions() > 1 {
            left.push(span);
        }
    }

    /// `cut` is what the end of the stage left of the last reading.
    fn finish(self, cut: Vec<Span>) -> Reading {
        let Self { mut reading, passes } = self;
        let last_is_begun = passes.iter().max_by_key(|pass| pass.0).is_none_or(|(_, is_begun, _)| *is_begun);
        for (pass, _, left) in passes.into_iter().filter(|(_, is_begun, _)| *is_begun) {
            reading.times += u8::from(pass > 0);
            reading.rest.extend(left);
        }
        if last_is_begun {
            reading.rest.extend(cut);
        }
        reading
    }
}

/// Row positions of a piece that carry loss, from the document's; `None` where all of the piece do.
pub(crate) fn loss_of_piece(loss: Option<&[Span]>, placement: &Placement) -> Option<Vec<Span>> {
    let Placement { span, row_start, predicts_first, .. } = *placement;
    let first = span.start + u32::from(!predicts_first || row_start == 0);
    if loss.is_none() && (predicts_first || row_start == 0) {
        return None;
    }
    let whole = [Span { start: 0, end: u32::MAX }];
    let clipped =
        loss.unwrap_or(&whole).iter().map(|of| Span { start: of.start.max(first), end: of.end.min(span.end) });
    let in_row = |of: Span| Span { start: of.start - span.start + row_start, end: of.end - span.start + row_start };
    Some(clipped.filter(|of| of.start < of.end).map(in_row).collect())
}

impl From<FileError> for MixError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<FormatError> for MixError {
    fn from(error: FormatError) -> Self {
        Self::Catalogue(error.into())
    }
}
