//! What came out: the record of every loss in `docs/growth/losses.csv`, and what is made of it: `out/study/growth.json`, and in `docs/growth/` a table and a picture.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::arms::{Budget, Training, scratch_flops, words};
use super::{log_of, picture};

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

/// Every held-out loss of every training, wherever it ran. Lines are only added: those of other arms or rows are left alone and not read.
pub(super) struct Record {
    path: PathBuf,
    /// The hash of the rows.
    rows: String,
}

const HEADER: &str = "arm,budget,seed,definition,flops,loss\n";

impl Record {
    pub(super) fn new(root: &Path, rows: String) -> Self {
        Self { path: root.join("docs/growth/losses.csv"), rows }
    }

    /// Names a training: arm, budget, seed, and what was trained on which rows, in eight hexadecimal digits.
    pub(super) fn key(&self, training: &Training) -> String {
        let definition = blake3::hash(format!("{} {}", training.to_json(), self.rows).as_bytes()).to_hex();
        format!("{},{},{},{}", training.arm, training.budget.name(), training.seed, &definition[..8])
    }

    /// Those of `all` that are done.
    pub(super) fn outcomes(&self, all: &[Training]) -> anyhow::Result<Vec<Outcome>> {
        let text = self.text()?;
        let (known, n_others) = self.known(&text, all).with_context(|| self.path.display().to_string())?;
        if n_others > 0 {
            println!("{n_others} trainings in {} are of other arms or rows and don't count", self.path.display());
        }
        Ok(known)
    }

    fn text(&self) -> anyhow::Result<String> {
        match self.path.exists() {
            true => fs::read_to_string(&self.path).with_context(|| format!("cannot read {}", self.path.display())),
            false => Ok(HEADER.to_owned()),
        }
    }

    /// The trainings of a record that are among `all`, and how many are not.
    fn known(&self, text: &str, all: &[Training]) -> anyhow::Result<(Vec<Outcome>, usize)> {
        let mut curves: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for line in text.lines().skip(1) {
            let wrong = || format!("not a loss of the study: {line}");
            let (rest, loss) = line.rsplit_once(',').with_context(wrong)?;
            let (key, flops) = rest.rsplit_once(',').with_context(wrong)?;
            let point = (flops.parse().with_context(wrong)?, loss.parse().with_context(wrong)?);
            curves.entry(key.to_owned()).or_default().push(point);
        }
        let mut known = Vec::new();
        for training in all {
            let Some(curve) = curves.remove(&self.key(training)) else { continue };
            let flops = curve.last().map_or(0.0, |&(flops, _)| flops);
            ensure!(
                curve.is_sorted_by(|a, b| a.0 < b.0) && (flops - training.flops()).abs() < 1.0,
                "{} is there twice, or not to its end: remove its lines, and it is trained again",
                training.name()
            );
            known.extend(Outcome::new(training, curve));
        }
        Ok((known, curves.len()))
    }

    /// Adds a training that is done.
    pub(super) fn add(&self, training: &Training, folder: &Path) -> anyhow::Result<()> {
        let mut text = self.text()?;
        for (flops, loss) in read(folder, training)?.curve {
            let _ = writeln!(text, "{},{flops:.0},{loss:.5}", self.key(training));
        }
        // Whole or not at all.
        let partial = self.path.with_extension("partial");
        fs::write(&partial, text)?;
        fs::rename(&partial, &self.path).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Writes results and pictures.
pub(super) fn write(root: &Path, folder: &Path, outcomes: &[Outcome], n_all: usize) -> anyhow::Result<()> {
    let records: Vec<Value> = outcomes.iter().map(|outcome| record(outcome, outcomes)).collect();
    fs::write(folder.join("growth.json"), serde_json::to_string_pretty(&records)?)?;
    let table = table(outcomes);
    println!("{table}");
    let docs = root.join("docs/growth");
    fs::write(docs.join("table.md"), &table)?;
    fs::write(docs.join("study.svg"), picture::draw(outcomes))?;
    println!("{} of {n_all} trainings are done; results in out/study/growth.json and docs/growth/", outcomes.len());
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
        "flops_to_scratch_loss": flops_to("scratch", outcome.arm, outcome.seed, all),
        "curve": outcome.curve,
    })
}

/// FLOPs at which an arm, trained to its end, has the final loss of another at equal FLOPs: between its two budgets by the straight line of
/// loss over the logarithm of FLOPs. Where it is lower at the smaller budget already, that budget, and `None` where it never is.
fn flops_to(other: &str, arm: &str, seed: u64, all: &[Outcome]) -> Option<f64> {
    let of =
        |arm: &str| all.iter().filter(move |outcome| outcome.seed == seed && outcome.arm == arm).collect::<Vec<_>>();
    let target = of(other).into_iter().find(|outcome| outcome.budget == Budget::EqualFlops)?.loss;
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

/// The share of the FLOPs at which an arm has the loss of `other`, which is from scratch; nothing where it had one budget, which says little of that.
pub(super) fn reached(other: &str, arm: &str, outcomes: &[Outcome]) -> String {
    if outcomes.iter().all(|outcome| outcome.arm != arm || outcome.budget == Budget::EqualFlops) {
        return String::new();
    }
    let of = outcomes.iter().filter(|outcome| outcome.arm == arm && outcome.budget == Budget::EqualFlops);
    let seeds: Vec<u64> = of.map(|outcome| outcome.seed).collect();
    let shares = seeds.iter().filter_map(|&seed| flops_to(other, arm, seed, outcomes));
    match Spread::of(&shares.map(|flops| flops / scratch_flops()).collect::<Vec<_>>()) {
        Some(spread) if spread.n == seeds.len() => format!("{:.2} ± {:.2}", spread.mean, spread.deviation),
        Some(spread) => format!("{:.2}, in {} of {} seeds", spread.mean, spread.n, seeds.len()),
        None => "not by then".to_owned(),
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = "| arm | in words | seeds | FLOPs at equal tokens | loss there | loss at equal FLOPs | less than scratch, same seed | FLOPs to \
                    the loss of scratch | less than scratch-stable | FLOPs to its loss |\n| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |\n"
        .to_owned();
    let in_words = |spread: Option<Spread>| {
        spread.map_or_else(String::new, |spread| format!("{:.4} ± {:.4}", spread.mean, spread.deviation))
    };
    for arm in arms(outcomes) {
        let of = |budget| outcomes.iter().filter(move |outcome| outcome.arm == arm && outcome.budget == budget);
        let lower = |than: &str| {
            let lower = |outcome: &Outcome| {
                let is_other = |other: &&Outcome| {
                    (other.arm, other.budget, other.seed) == (than, Budget::EqualFlops, outcome.seed)
                };
                outcomes.iter().find(is_other).map(|other| other.loss - outcome.loss)
            };
            in_words(Spread::of(&of(Budget::EqualFlops).filter_map(lower).collect::<Vec<_>>()))
        };
        let share = of(Budget::EqualTokens).map(|outcome| outcome.flops / scratch_flops()).next();
        let _ = writeln!(
            text,
            "| {arm} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            words(arm),
            of(Budget::EqualFlops).count(),
            share.map_or_else(String::new, |share| format!("{share:.2}")),
            in_words(spread(outcomes, arm, Budget::EqualTokens)),
            in_words(spread(outcomes, arm, Budget::EqualFlops)),
            lower("scratch"),
            reached("scratch", arm, outcomes),
            lower("scratch-stable"),
            reached("scratch-stable", arm, outcomes),
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
        let mut all = super::super::arms::trainings();
        let of = |rows: &str| Record::new(Path::new(""), rows.to_owned());
        let record = of("rows");
        let lines = |training: &Training| {
            let (key, flops) = (record.key(training), training.flops());
            format!("{key},1000,3.5\n{key},{flops:.0},2.5\n")
        };
        let text = format!("{HEADER}{}{}", lines(&all[0]), lines(&all[5]));
        let (known, n_others) = record.known(&text, &all).unwrap();
        assert!(known.len() == 2 && n_others == 0 && known[1].is_of(&all[5]));
        assert_eq!((known[0].loss, known[0].curve.len()), (2.5, 2));
        let (known, n_others) = of("other rows").known(&text, &all).unwrap();
        assert!(known.is_empty() && n_others == 2);
        let refused = |text: &str| record.known(text, &all).is_err();
        assert!(refused(&text.replace("3.5", "x")), "not a number");
        assert!(refused(&format!("{text}{}", lines(&all[5]))), "twice");
        assert!(refused(&text[..text.trim_end().rfind('\n').unwrap() + 1]), "cut");
        all[5].stages[0].tokens += 1;
        let (known, n_others) = record.known(&text, &all).unwrap();
        assert!(known.len() == 1 && n_others == 1, "another definition");
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
        assert!((flops_to("scratch", "between", 1, &all).unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(flops_to("scratch", "early", 1, &all), Some(25.0));
        assert_eq!(flops_to("scratch", "never", 1, &all), None);
        assert_eq!(flops_to("scratch", "scratch", 1, &all), Some(100.0));
    }
}
