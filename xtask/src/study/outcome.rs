//! What came out: `out/study/growth.json`, the raw losses in `docs/growth/losses.csv`, and the table and pictures of `docs/growth/study.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::arms::{Budget, Training, scratch_flops, words};
use super::{is_done, log_of, picture};

/// Every held-out loss of every training that is done: the record from which a study goes on, on any machine.
const LOSSES: &str = "docs/growth/losses.csv";

/// A training that is done.
pub(super) struct Outcome {
    pub(super) arm: &'static str,
    pub(super) budget: Budget,
    pub(super) seed: u64,
    pub(super) flops: f64,
    pub(super) loss: f64,
    /// Validation loss by FLOPs.
    pub(super) curve: Vec<(f64, f64)>,
}

/// Mean and standard deviation over seeds.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub(super) mean: f64,
    pub(super) deviation: f64,
    pub(super) n: usize,
}

impl Spread {
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (n > 0).then(|| Self { mean, deviation: (squares / (n.max(2) - 1) as f64).sqrt(), n })
    }
}

impl Outcome {
    /// Of a curve that has a point.
    fn new(training: &Training, curve: Vec<(f64, f64)>) -> Option<Self> {
        let &(flops, loss) = curve.last()?;
        let Training { arm, budget, seed, .. } = *training;
        Some(Self { arm, budget, seed, flops, loss, curve })
    }

    pub(super) fn is_of(&self, training: &Training) -> bool {
        (self.arm, self.budget, self.seed) == (training.arm, training.budget, training.seed)
    }
}

/// What the trainings of this study, as it is defined now, came to wherever they ran: `docs/growth/losses.csv`.
pub(super) fn known(root: &Path, rows: &str, all: &[Training]) -> anyhow::Result<Vec<Outcome>> {
    let path = root.join(LOSSES);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (known, n_others) = recorded(&text, rows, all).with_context(|| path.display().to_string())?;
    if n_others > 0 {
        println!("{n_others} trainings in {LOSSES} were of other arms or rows: they are forgotten");
    }
    Ok(known)
}

/// The trainings of a record that are among `all`, and how many are not.
fn recorded(text: &str, rows: &str, all: &[Training]) -> anyhow::Result<(Vec<Outcome>, usize)> {
    let mut curves: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let wrong = || format!("not a loss of the study: {line}");
        let [arm, budget, seed, definition, flops, loss] = line.split(',').collect::<Vec<_>>()[..] else {
            bail!(wrong())
        };
        let point = (flops.parse().with_context(wrong)?, loss.parse().with_context(wrong)?);
        curves.entry([arm, budget, seed, definition].join(",")).or_default().push(point);
    }
    let of = |training: &Training| {
        let curve = curves.remove(&key(training, rows));
        curve.and_then(|curve| Outcome::new(training, curve))
    };
    let known = all.iter().filter_map(of).collect();
    Ok((known, curves.len()))
}

/// Names a training in the record: arm, budget, seed, and what was trained on which rows, in eight hexadecimal digits.
fn key(training: &Training, rows: &str) -> String {
    let definition = blake3::hash(format!("{} {rows}", training.to_json()).as_bytes()).to_hex();
    format!("{},{},{},{}", training.arm, training.budget.name(), training.seed, &definition[..8])
}

/// Writes results and pictures of what is known and of what is done in `folder`.
pub(super) fn write(
    root: &Path,
    folder: &Path,
    rows: &str,
    known: Vec<Outcome>,
    all: &[Training],
) -> anyhow::Result<()> {
    let mut known = known;
    let mut outcomes = Vec::new();
    let mut csv = "arm,budget,seed,definition,flops,loss\n".to_owned();
    for training in all {
        let outcome = match known.iter().position(|outcome| outcome.is_of(training)) {
            Some(index) => known.swap_remove(index),
            None if is_done(&training.folder(folder)) => read(folder, training)?,
            None => continue,
        };
        for (flops, loss) in &outcome.curve {
            let _ = writeln!(csv, "{},{flops:.0},{loss:.5}", key(training, rows));
        }
        outcomes.push(outcome);
    }
    let records: Vec<Value> = outcomes.iter().map(|outcome| record(outcome, &outcomes)).collect();
    fs::write(folder.join("growth.json"), serde_json::to_string_pretty(&records)?)?;
    fs::write(root.join(LOSSES), csv)?;
    let table = table(&outcomes);
    println!("{table}");
    let docs = root.join("docs/growth");
    fs::write(docs.join("table.md"), &table)?;
    fs::write(docs.join("study.svg"), picture::draw(&outcomes))?;
    println!(
        "{} of {} trainings are done; results in out/study/growth.json and docs/growth/",
        outcomes.len(),
        all.len()
    );
    Ok(())
}

/// The mean loss of both languages, each with the same number of held-out rows.
fn read(folder: &Path, training: &Training) -> anyhow::Result<Outcome> {
    let path = log_of(folder, training);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut by_tokens: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["event"] == "validation" {
            let (tokens, loss) = (event["tokens"].as_u64(), event["loss"].as_f64());
            let (tokens, loss) = tokens.zip(loss).with_context(|| format!("{}: {line}", path.display()))?;
            by_tokens.entry(tokens).or_default().push(loss);
        }
    }
    let curve: Vec<(f64, f64)> = by_tokens
        .into_iter()
        .map(|(tokens, losses)| (training.flops_after(tokens), losses.iter().sum::<f64>() / losses.len() as f64))
        .collect();
    Outcome::new(training, curve).with_context(|| format!("{} has no validation", path.display()))
}

fn record(outcome: &Outcome, all: &[Outcome]) -> Value {
    json!({
        "arm": outcome.arm,
        "budget": outcome.budget.name(),
        "seed": outcome.seed,
        "final_loss": outcome.loss,
        "flops": outcome.flops,
        "flops_to_scratch_loss": flops_to_scratch(outcome.arm, outcome.seed, all),
        "curve": outcome.curve,
    })
}

/// FLOPs at which an arm, trained to its end, has the final loss of the large model from scratch: between its two budgets by the straight line of
/// loss over the logarithm of FLOPs. Where it is lower at the smaller budget already, that budget, and `None` where it never is.
pub(super) fn flops_to_scratch(arm: &str, seed: u64, all: &[Outcome]) -> Option<f64> {
    let of =
        |arm: &str| all.iter().filter(move |outcome| outcome.seed == seed && outcome.arm == arm).collect::<Vec<_>>();
    let target = of("scratch").into_iter().find(|outcome| outcome.budget == Budget::EqualFlops)?.loss;
    let mut ends: Vec<(f64, f64)> = of(arm).iter().map(|outcome| (outcome.flops, outcome.loss)).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let &(first, first_loss) = ends.first()?;
    if first_loss <= target {
        return Some(first);
    }
    let (&(flops, loss), &(last, last_loss)) = (ends.first()?, ends.last()?);
    if last_loss > target {
        return None;
    }
    let way = (loss - target) / (loss - last_loss);
    Some((flops.ln() + way * (last.ln() - flops.ln())).exp())
}

/// Arms in the order of the study.
pub(super) fn arms(outcomes: &[Outcome]) -> Vec<&'static str> {
    let mut arms: Vec<&'static str> = Vec::new();
    for outcome in outcomes {
        if !arms.contains(&outcome.arm) {
            arms.push(outcome.arm);
        }
    }
    arms
}

pub(super) fn spread(outcomes: &[Outcome], arm: &str, budget: Budget) -> Option<Spread> {
    let of = outcomes.iter().filter(|outcome| outcome.arm == arm && outcome.budget == budget);
    Spread::of(&of.map(|outcome| outcome.loss).collect::<Vec<_>>())
}

/// The share of the FLOPs of scratch at which an arm has its loss; nothing where it had one budget, which says little of that.
pub(super) fn reached(arm: &str, outcomes: &[Outcome]) -> String {
    if outcomes.iter().all(|outcome| outcome.arm != arm || outcome.budget == Budget::EqualFlops) {
        return String::new();
    }
    let of = outcomes.iter().filter(|outcome| outcome.arm == arm && outcome.budget == Budget::EqualFlops);
    let seeds: Vec<u64> = of.map(|outcome| outcome.seed).collect();
    let shares = seeds.iter().filter_map(|&seed| flops_to_scratch(arm, seed, outcomes));
    match Spread::of(&shares.map(|flops| flops / scratch_flops()).collect::<Vec<_>>()) {
        Some(spread) if spread.n == seeds.len() => format!("{:.2} ± {:.2}", spread.mean, spread.deviation),
        Some(spread) => format!("{:.2}, in {} of {} seeds", spread.mean, spread.n, seeds.len()),
        None => "not by then".to_owned(),
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = "| arm | in words | seeds | FLOPs at equal tokens | loss there | loss at equal FLOPs | less than scratch, same seed | FLOPs to \
                    the loss of scratch |\n| --- | --- | --: | --: | --: | --: | --: | --: |\n"
        .to_owned();
    let in_words = |spread: Option<Spread>| {
        spread.map_or_else(String::new, |spread| format!("{:.4} ± {:.4}", spread.mean, spread.deviation))
    };
    for arm in arms(outcomes) {
        let of = |budget| outcomes.iter().filter(move |outcome| outcome.arm == arm && outcome.budget == budget);
        let lower = |outcome: &Outcome| {
            let scratch = |other: &&Outcome| {
                (other.arm, other.budget, other.seed) == ("scratch", Budget::EqualFlops, outcome.seed)
            };
            outcomes.iter().find(scratch).map(|scratch| scratch.loss - outcome.loss)
        };
        let lower: Vec<f64> = of(Budget::EqualFlops).filter_map(lower).collect();
        let n_seeds = of(Budget::EqualFlops).count();
        let reached = reached(arm, outcomes);
        let share = of(Budget::EqualTokens).map(|outcome| outcome.flops / scratch_flops()).next();
        let _ = writeln!(
            text,
            "| {arm} | {} | {} | {} | {} | {} | {} | {reached} |",
            words(arm),
            n_seeds,
            share.map_or_else(String::new, |share| format!("{share:.2}")),
            in_words(spread(outcomes, arm, Budget::EqualTokens)),
            in_words(spread(outcomes, arm, Budget::EqualFlops)),
            in_words(Spread::of(&lower)),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(arm: &'static str, budget: Budget, flops: f64, loss: f64) -> Outcome {
        Outcome { arm, budget, seed: 1, flops, loss, curve: Vec::new() }
    }

    #[test]
    fn a_record_holds_for_the_same_arms_and_rows_alone() {
        let all = super::super::arms::trainings();
        let line =
            |training: &Training| format!("{},1000,3.5\n{},2000,2.5\n", key(training, "rows"), key(training, "rows"));
        let text = format!("arm,budget,seed,definition,flops,loss\n{}{}", line(&all[0]), line(&all[5]));
        let (known, n_others) = recorded(&text, "rows", &all).unwrap();
        assert!(known.len() == 2 && n_others == 0 && known[1].is_of(&all[5]));
        assert_eq!((known[0].flops, known[0].loss, known[0].curve.len()), (2000.0, 2.5, 2));
        let (known, n_others) = recorded(&text, "other rows", &all).unwrap();
        assert!(known.is_empty() && n_others == 2);
        assert!(recorded(&text.replace("3.5", "x"), "rows", &all).is_err());
    }

    #[test]
    fn where_an_arm_meets_the_model_from_scratch() {
        let all = [
            outcome("scratch", Budget::EqualFlops, 100.0, 3.0),
            outcome("between", Budget::EqualTokens, 25.0, 3.2),
            outcome("between", Budget::EqualFlops, 100.0, 2.8),
            outcome("early", Budget::EqualTokens, 25.0, 2.9),
            outcome("never", Budget::EqualFlops, 100.0, 3.1),
        ];
        assert!((flops_to_scratch("between", 1, &all).unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(flops_to_scratch("early", 1, &all), Some(25.0));
        assert_eq!(flops_to_scratch("never", 1, &all), None);
        assert_eq!(flops_to_scratch("scratch", 1, &all), Some(100.0));
    }
}
