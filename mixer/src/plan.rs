//! How many rows of what: from shares and from what there is, before anything is packed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use corpus::{Kind, Share};
use serde::Serialize;

use crate::config::{By, Mix, Packing};
use crate::order::Turns;

/// Documents of one language and kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Group {
    /// Language.
    pub lang: String,
    /// Kind.
    pub kind: Kind,
}

/// Documents of a group that have a share of their own: those of one source, and of one bucket of every column that the mix
/// weighs by. Every row is of one stratum.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stratum {
    /// Language and kind.
    pub group: Group,
    /// Source; empty where sources are not told apart.
    pub source: String,
    /// Bucket of every column of the mix's `by`.
    pub buckets: Vec<u8>,
}

/// What there is of a stratum, and how much of it was read before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Supply {
    /// Tokens still to come of readings that were begun.
    pub(crate) n_rest: u64,
    /// Documents and tokens by how often they were read.
    pub(crate) by_times: BTreeMap<u8, (u64, u64)>,
    /// Propositions that do not fit into a row, which are never read.
    pub(crate) n_too_long: u64,
}

/// Rows of a stratum in a stage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quota {
    /// Of what.
    pub(crate) stratum: Stratum,
    /// Its share of the stage's rows by the mix.
    pub(crate) share: f64,
    /// Whether the run file gives that share; others stand in for each other where one runs out.
    pub(crate) is_given: bool,
    /// How often its documents may be read.
    pub(crate) cap: u8,
    /// Rows.
    pub(crate) n_rows: u64,
    /// The last reading that documents are drawn for.
    pub(crate) last_pass: u8,
}

/// There is too little of something.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    /// Of what.
    pub what: String,
    /// Rows needed.
    pub needed: u64,
    /// Rows there are.
    pub found: u64,
    /// How often documents may be read.
    pub cap: u8,
    /// Rows of one reading of everything, read before or not.
    pub rows_per_pass: u64,
    /// Rows of the stage.
    pub n_rows: u64,
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.lang, self.kind)
    }
}

impl Stratum {
    /// The stratum in words.
    pub fn describe(&self, by: &[By]) -> String {
        let buckets = by.iter().zip(&self.buckets).map(|(by, &bucket)| by.describe(bucket));
        let source = Some(self.source.clone()).filter(|source| !source.is_empty());
        [self.group.to_string()].into_iter().chain(source).chain(buckets).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, needed, found, cap, rows_per_pass, n_rows } = self;
        write!(formatter, "{what}: {needed} rows are needed, ")?;
        if *rows_per_pass == 0 && *found == 0 {
            return write!(formatter, "there is not one row of it. Give it no share, or add sources");
        }
        let times = if *cap == 1 { "once".to_owned() } else { format!("at most {cap} times") };
        write!(formatter, "{found} are left when a document is read {times}. ")?;
        let share = *found as f64 / *n_rows as f64;
        // Rounded down: what is proposed must hold.
        write!(formatter, "A share of {:.6} of this stage would do", (share * 1e6).floor() / 1e6)?;
        let n_short = needed - found;
        match u64::from(*cap) + n_short.div_ceil((*rows_per_pass).max(1)) {
            more @ 0..=254 => write!(
                formatter,
                ", or epochs_max = {more} (or source_epochs_max, where it caps the source), or {n_short} more rows of documents"
            ),
            _ => write!(formatter, ", or {n_short} more rows of documents"),
        }
    }
}

impl Supply {
    /// Tokens of all documents, each counted once.
    pub(crate) fn n_tokens(&self) -> u64 {
        self.by_times.values().map(|(_, n_tokens)| n_tokens).sum()
    }

    /// Documents.
    pub(crate) fn n_documents(&self) -> u64 {
        self.by_times.values().map(|(n_documents, _)| n_documents).sum()
    }

    /// Tokens of reading number `pass`, counted from 1.
    fn of_pass(&self, pass: u8) -> u64 {
        self.by_times.range(..pass).map(|(_, (_, n_tokens))| n_tokens).sum()
    }

    /// Tokens that may still be read when documents are read `cap` times.
    pub(crate) fn left(&self, cap: u8) -> u64 {
        self.n_rest + (1..=cap).map(|pass| self.of_pass(pass)).sum::<u64>()
    }

    /// The first reading after which `n_tokens` have been read, at most `cap`.
    fn last_pass(&self, n_tokens: u64, cap: u8) -> u8 {
        let mut sum = self.n_rest;
        let enough = |&pass: &u8| {
            sum += self.of_pass(pass);
            sum >= n_tokens
        };
        (1..=cap).find(enough).unwrap_or(cap)
    }
}

/// Whole rows for every share by largest remainder: each within one row of its share, together exactly `n_rows`.
pub fn quotas(shares: &[f64], n_rows: u64) -> Vec<u64> {
    let total: f64 = shares.iter().sum();
    assert!(n_rows == 0 || (total.is_finite() && total > 0.0), "there is something to share rows out among");
    let exact: Vec<f64> = shares.iter().map(|share| share / total * n_rows as f64).collect();
    let mut quotas: Vec<u64> = exact.iter().map(|rows| rows.floor() as u64).collect();
    let n_left = n_rows.saturating_sub(quotas.iter().sum::<u64>());
    let mut by_remainder: Vec<usize> = (0..shares.len()).collect();
    let remainder = |index: usize| exact[index] - exact[index].floor();
    by_remainder.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)).then(a.cmp(&b)));
    by_remainder.iter().take(n_left as usize).for_each(|&index| quotas[index] += 1);
    quotas
}

/// The rows of every group and stratum of a stage, groups in the mix's order; or everything there is too little of.
pub(crate) fn plan(
    mix: &Mix,
    n_rows: u64,
    context: usize,
    supplies: &BTreeMap<Stratum, Supply>,
    removed: &BTreeSet<String>,
) -> Result<Vec<Vec<Quota>>, Vec<String>> {
    let groups = mix.groups().map_err(|what| vec![what])?;
    let supplies = &supplies_of(supplies, &groups);
    let is_there = |name: &String| supplies.iter().any(|(of, supply)| of.source == *name && supply.n_tokens() > 0);
    let missing = |(name, share): &(&String, &Share)| share.0 > 0.0 && !removed.contains(*name) && !is_there(name);
    let given = mix.source.iter().filter(|_| supplies.keys().any(|stratum| !stratum.source.is_empty()));
    let missing = given.filter(missing).map(|(name, share)| {
        format!(
            "{name} is given {} of the stage, and there is nothing of it in the languages and kinds of the mix",
            share.0
        )
    });
    let missing: Vec<String> = missing.collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let of_groups = quotas(&groups.iter().map(|(_, share)| *share).collect::<Vec<_>>(), n_rows);
    let mut plans = Vec::new();
    let mut wrong = Vec::new();
    for ((group, share), quota) in groups.into_iter().zip(of_groups) {
        let here: Vec<(&Stratum, &Supply)> = supplies.iter().filter(|(stratum, _)| stratum.group == group).collect();
        match plan_group(mix, &group, (share, quota, n_rows), context, &here, supplies, removed) {
            Ok(plan) => plans.push(plan),
            Err(what) => wrong.extend(what),
        }
    }
    if wrong.is_empty() { Ok(plans) } else { Err(wrong) }
}

/// What there is of groups that have a share.
fn supplies_of(supplies: &BTreeMap<Stratum, Supply>, groups: &[(Group, f64)]) -> BTreeMap<Stratum, Supply> {
    let is_wanted = |stratum: &Stratum| groups.iter().any(|(group, _)| *group == stratum.group);
    let wanted = supplies.iter().filter(|(stratum, _)| is_wanted(stratum));
    wanted.map(|(stratum, supply)| (stratum.clone(), supply.clone())).collect()
}

fn plan_group(
    mix: &Mix,
    group: &Group,
    (share, quota, n_rows): (f64, u64, u64),
    context: usize,
    here: &[(&Stratum, &Supply)],
    supplies: &BTreeMap<Stratum, Supply>,
    removed: &BTreeSet<String>,
) -> Result<Vec<Quota>, Vec<String>> {
    let read: Vec<_> = here.iter().copied().filter(|(_, supply)| supply.n_tokens() > 0).collect();
    if read.is_empty() {
        let none = Shortage { what: group.to_string(), needed: quota, found: 0, cap: 1, rows_per_pass: 0, n_rows };
        let n_too_long: u64 = here.iter().map(|(_, supply)| supply.n_too_long).sum();
        let why = if n_too_long == 0 { String::new() } else { format!(" ({n_too_long} are longer than a row)") };
        return if quota == 0 { Ok(Vec::new()) } else { Err(vec![format!("{none}{why}")]) };
    }
    let mut planned = source_shares(mix, group, share, &read, supplies, removed).map_err(|what| vec![what])?;
    // Those that run out first are given theirs first, so that the others know what is left to them.
    let room = |quota: &Quota| supplies[&quota.stratum].left(quota.cap) as f64 / quota.share.max(f64::MIN_POSITIVE);
    planned.sort_by(|a, b| (!a.is_given).cmp(&!b.is_given).then(room(a).total_cmp(&room(b))));
    let shares: Vec<f64> = planned.iter().map(|planned| planned.share).collect();
    for (planned, n) in planned.iter_mut().zip(quotas(&shares, quota)) {
        planned.n_rows = n;
    }
    let mut short = Vec::new();
    for index in 0..planned.len() {
        let supply = &supplies[&planned[index].stratum];
        let (cap, needed) = (planned[index].cap, planned[index].n_rows);
        let found = rows_left(mix, group.kind, supply.left(cap), context).min(needed);
        planned[index].last_pass = supply.last_pass(tokens_to_draw(mix, group.kind, needed, context), cap);
        if found < needed && !pass_on(&mut planned, index, found) {
            short.push(shortage(mix, &planned[index], supply, found, context, n_rows).to_string());
        }
    }
    if short.is_empty() { Ok(planned) } else { Err(short) }
}

/// Leaves stratum `index` with the `found` rows that there are, and shares what is missing out among those behind it that have no
/// share of their own. False where it was given its share, or there is nobody to take it.
pub(crate) fn pass_on(planned: &mut [Quota], index: usize, found: u64) -> bool {
    let behind: Vec<usize> = (index + 1..planned.len()).filter(|&other| !planned[other].is_given).collect();
    let shares: Vec<f64> = behind.iter().map(|&other| planned[other].share).collect();
    if planned[index].is_given || shares.iter().sum::<f64>() <= 0.0 {
        return false;
    }
    let missing = planned[index].n_rows - found;
    planned[index].n_rows = found;
    for (&other, more) in behind.iter().zip(quotas(&shares, missing)) {
        planned[other].n_rows += more;
    }
    true
}

/// What is said where a stratum has too little.
pub(crate) fn shortage(
    mix: &Mix,
    planned: &Quota,
    supply: &Supply,
    found: u64,
    context: usize,
    n_rows: u64,
) -> Shortage {
    Shortage {
        what: planned.stratum.describe(&mix.by),
        needed: planned.n_rows,
        found,
        cap: planned.cap,
        rows_per_pass: rows_of(supply.n_tokens(), context),
        n_rows,
    }
}

/// Rows that so many tokens fill when they are laid end to end, each row beginning with the last token of the one before.
fn rows_of(n_tokens: u64, context: usize) -> u64 {
    n_tokens.saturating_sub(1) / context as u64
}

/// Rows that so many tokens fill at most.
fn rows_left(mix: &Mix, kind: Kind, n_tokens: u64, context: usize) -> u64 {
    let cut = mix.packing == Packing::Concatenate && kind != Kind::Proposition;
    if cut { rows_of(n_tokens, context) } else { n_tokens.div_ceil(context as u64 + 1) }
}

/// Tokens that surely fill so many rows. Rows of whole documents are more than half full: of two that are not, one would have
/// been put into the other.
fn tokens_to_draw(mix: &Mix, kind: Kind, n_rows: u64, context: usize) -> u64 {
    let cut = mix.packing == Packing::Concatenate && kind != Kind::Proposition;
    let n_tokens = n_rows * context as u64 + 1;
    if cut { n_tokens } else { 2 * n_tokens + context as u64 }
}

/// The share of every stratum of a group.
fn source_shares(
    mix: &Mix,
    group: &Group,
    share: f64,
    here: &[(&Stratum, &Supply)],
    supplies: &BTreeMap<Stratum, Supply>,
    removed: &BTreeSet<String>,
) -> Result<Vec<Quota>, String> {
    let mut sources: BTreeMap<&str, Vec<(&Stratum, &Supply)>> = BTreeMap::new();
    for &(stratum, supply) in here {
        sources.entry(&stratum.source).or_default().push((stratum, supply));
    }
    let tokens = |strata: &[(&Stratum, &Supply)]| strata.iter().map(|(_, supply)| supply.n_tokens()).sum::<u64>();
    // A source of several groups has its share in each by its tokens there.
    let given = |source: &str| {
        let wanted = mix.source.get(source)?.0;
        let all = supplies.iter().filter(|(stratum, _)| stratum.source == source);
        let all: u64 = all.map(|(_, supply)| supply.n_tokens()).sum();
        Some(wanted * tokens(&sources[source]) as f64 / all as f64)
    };
    let taken: f64 = sources.keys().filter_map(|source| given(source)).sum();
    // Relative to the largest: a power of a large number is beyond all numbers.
    let most = sources.values().map(|strata| tokens(strata)).max().unwrap_or(1).max(1) as f64;
    let weight = |source: &str| (tokens(&sources[source]) as f64 / most).powf(1.0 / mix.temperature);
    let open: f64 = sources.keys().filter(|source| given(source).is_none()).map(|source| weight(source)).sum();
    let rest = share - taken;
    if rest < -1e-9 {
        return Err(format!("{group}: its sources are given {taken:.6} of the stage, the group itself has {share:.6}"));
    }
    // The share of a source that was taken down goes to the others.
    let is_removed = mix.source.keys().any(|source| removed.contains(source));
    let scale = if is_removed && open == 0.0 && taken > 0.0 { share / taken } else { 1.0 };
    if rest > 1e-9 && open == 0.0 && scale == 1.0 {
        return Err(format!(
            "{group}: its sources are given {taken:.6} of the stage, the group has {share:.6}: give them more, or leave \
             one without a share, which then gets the rest"
        ));
    }
    let mut planned = Vec::new();
    for (source, strata) in &sources {
        let (of_source, is_given) = match given(source) {
            Some(given) => (given * scale, true),
            None => (rest.max(0.0) * weight(source) / open, false),
        };
        if of_source == 0.0 {
            continue;
        }
        bucket_shares(mix, 0, (of_source, is_given), strata, &mut planned)?;
    }
    Ok(planned)
}

/// Shares a source out among the buckets of column `depth` and, below them, of the columns behind it.
fn bucket_shares(
    mix: &Mix,
    depth: usize,
    (share, is_given): (f64, bool),
    strata: &[(&Stratum, &Supply)],
    planned: &mut Vec<Quota>,
) -> Result<(), String> {
    let Some(by) = mix.by.get(depth) else {
        for &(stratum, _) in strata {
            let (stratum, cap) = (stratum.clone(), mix.cap(&stratum.source));
            planned.push(Quota { stratum, share, is_given, cap, n_rows: 0, last_pass: cap });
        }
        return Ok(());
    };
    let mut buckets: BTreeMap<u8, Vec<(&Stratum, &Supply)>> = BTreeMap::new();
    for &(stratum, supply) in strata {
        buckets.entry(stratum.buckets[depth]).or_default().push((stratum, supply));
    }
    let weight = |bucket: u8| match by.shares.get(usize::from(bucket)) {
        Some(share) => share.0,
        None => {
            let n_tokens: u64 = buckets[&bucket].iter().map(|(_, supply)| supply.n_tokens()).sum();
            let most = by.weights.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            by.weights[usize::from(bucket)] / most * n_tokens as f64
        }
    };
    let total: f64 = buckets.keys().map(|&bucket| weight(bucket)).sum();
    if let Some(empty) =
        (0..by.shares.len()).find(|&bucket| by.shares[bucket].0 > 0.0 && !buckets.contains_key(&(bucket as u8)))
    {
        let (what, bucket) = (strata[0].0.group.to_string(), by.describe(empty as u8));
        return Err(format!("{what}, {}: nothing is {bucket}, which is to have a share", strata[0].0.source));
    }
    if total <= 0.0 {
        let source = &strata[0].0.source;
        return Err(format!(
            "{source}: all its documents have weight 0 by {}: give the source a share of 0",
            by.column
        ));
    }
    for (&bucket, strata) in &buckets {
        // What the run file gives is the share of a bucket; weights only say how a source is read.
        let is_given = is_given || !by.shares.is_empty();
        bucket_shares(mix, depth + 1, (share * weight(bucket) / total, is_given), strata, planned)?;
    }
    Ok(())
}

/// Checks that every whole batch holds as many rows of a language or kind as the mix asks for.
///
/// `first` is the row of the stage that the groups' rows begin at; the batch it lies in is checked only where it begins there.
pub(crate) fn check_batches(mix: &Mix, groups: &[(Group, u64)], batch_rows: u64, first: u64) -> Result<(), String> {
    let turns = Turns::new(groups.iter().map(|(_, quota)| *quota).collect());
    for (label, &needed) in &mix.batch_min {
        let belongs = |group: &Group| group.lang == *label || group.kind.as_str() == label;
        let counts: Vec<u64> = groups.iter().map(|(group, _)| u64::from(belongs(group))).collect();
        // What lies before `first` is not known here and taken to be enough.
        let n_before = first % batch_rows.max(1);
        let (mut fewest, mut in_batch, mut n) = (u64::MAX, if n_before > 0 { needed } else { 0 }, n_before);
        for group in turns.groups() {
            (in_batch, n) = (in_batch + counts[group], n + 1);
            if n == batch_rows {
                fewest = fewest.min(in_batch);
                (in_batch, n) = (0, 0);
            }
        }
        if fewest < needed {
            let quota: u64 = groups.iter().zip(&counts).map(|((_, quota), count)| quota * count).sum();
            let n_rows: u64 = groups.iter().map(|(_, quota)| quota).sum();
            let share = quota as f64 / n_rows.max(1) as f64;
            return Err(format!(
                "batch_min asks for {needed} rows of {label} in every batch of {batch_rows}; with a share of {share:.4} one has \
                 {fewest}. A share of {:.4} gives {needed} in all, or batches of {:.0} rows do",
                (needed + 1) as f64 / batch_rows as f64,
                ((needed + 1) as f64 / share.max(f64::MIN_POSITIVE)).ceil(),
            ));
        }
    }
    Ok(())
}
