//! What must hold after every run, asked of the facts.

use std::collections::BTreeMap;

use super::facts::{Facts, Packed};

/// Largest change of a logit that a growth step may make.
pub(crate) const LOGIT_DIFF_MAX: f64 = 1e-4;
/// Largest change of the loss, in nats, that a growth step may make.
pub(crate) const LOSS_JUMP_MAX: f64 = 1e-3;
/// Largest difference, in nats, between the last validation and the evaluation of the checkpoint read back.
pub(crate) const REREAD_DIFF_MAX: f64 = 1e-5;

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Check {
    /// In words, with data in it: to be escaped.
    pub(crate) what: String,
    pub(crate) measure: Measure,
    pub(crate) verdict: Verdict,
}

/// What was found and what it is held against.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Measure {
    /// At most; tiny numbers, written as powers of ten.
    AtMost(f64, f64),
    /// Less than; nats.
    Below(f64, f64),
    /// Counts on both sides of an equation.
    Equal(u64, u64),
    /// Less than so many rows.
    RowsOff(f64),
    /// Nothing was measured.
    Nothing,
}

/// Whether it holds. What was not measured does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Fails,
    NotMeasured,
}

impl Check {
    fn new(what: String, measure: Measure) -> Self {
        // NaN compares as false, so it never holds.
        let holds = match measure {
            Measure::AtMost(found, limit) => found <= limit,
            Measure::Below(found, limit) => found < limit,
            Measure::Equal(left, right) => left == right,
            Measure::RowsOff(rows) => rows < 1.0,
            Measure::Nothing => false,
        };
        let verdict = match (holds, &measure) {
            (true, _) => Verdict::Holds,
            (false, Measure::Nothing) => Verdict::NotMeasured,
            (false, _) => Verdict::Fails,
        };
        Self { what, measure, verdict }
    }
}

/// A heading and what must hold below it.
pub(crate) type Group = (&'static str, Vec<Check>);

/// All checks, by what they are about.
pub(crate) fn checks(facts: &Facts) -> Vec<Group> {
    let groups = [
        ("Growing changes the model, not what it computes", growth(facts)),
        ("The model learned more than word frequencies", learning(facts)),
        ("Every count adds up", counts(facts)),
    ];
    groups.into_iter().filter(|(_, checks)| !checks.is_empty()).collect()
}

fn growth(facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    for stage in facts.plan.stages.iter().filter(|stage| stage.growth.is_some()) {
        let found = facts.log.growths.iter().find(|growth| growth.stage_to == stage.name);
        let measure = |measure: Option<Measure>| measure.unwrap_or(Measure::Nothing);
        checks.push(Check::new(
            format!("Growth into {}: largest change of a logit on a fixed batch", stage.name),
            measure(found.map(|growth| Measure::AtMost(growth.max_logit_diff, LOGIT_DIFF_MAX))),
        ));
        checks.push(Check::new(
            format!("Growth into {}: change of the loss on that batch, in nats", stage.name),
            measure(found.map(|growth| Measure::AtMost(growth.loss_jump(), LOSS_JUMP_MAX))),
        ));
    }
    checks
}

fn learning(facts: &Facts) -> Vec<Check> {
    let last = facts.last_validations(None);
    if last.is_empty() {
        return vec![Check::new("Validation loss".to_owned(), Measure::Nothing)];
    }
    let mut checks = Vec::new();
    for (lang, row) in &last {
        let what = format!("{}: final validation loss is below the unigram entropy of the same tokens", name(lang));
        checks.push(Check::new(what, Measure::Below(row.loss, row.unigram_entropy)));
    }
    if let [first, _, ..] = &facts.plan.stages[..] {
        let early = facts.last_validations(Some(&first.name));
        for (lang, row) in &last {
            let what = format!("{}: final validation loss is below that of stage {}", name(lang), first.name);
            let measure = early.get(lang).map(|early| Measure::Below(row.loss, early.loss));
            checks.push(Check::new(what, measure.unwrap_or(Measure::Nothing)));
        }
    }
    let read_back: BTreeMap<&str, f64> = facts.eval.validations.iter().map(|row| (&row.lang[..], row.loss)).collect();
    for (lang, row) in &last {
        let what = format!("{}: the checkpoint, read back, has the same validation loss", name(lang));
        let measure = read_back.get(lang).map(|loss| Measure::AtMost((loss - row.loss).abs(), REREAD_DIFF_MAX));
        checks.push(Check::new(what, measure.unwrap_or(Measure::Nothing)));
    }
    checks
}

fn counts(facts: &Facts) -> Vec<Check> {
    let corpus = &facts.corpus;
    let by_rule: u64 = corpus.funnel.iter().map(|row| row.n).sum();
    let (sources_in, sources_kept) =
        corpus.by_source.iter().fold((0, 0), |(n_in, n_kept), row| (n_in + row.n_in, n_kept + row.n_kept));
    let equal = |what: &str, left, right| Check::new(what.to_owned(), Measure::Equal(left, right));
    let mut checks = vec![
        equal("Documents in = kept + dropped", corpus.n_in, corpus.n_kept + corpus.n_dropped),
        equal("Documents dropped = sum over all rules", corpus.n_dropped, by_rule),
        equal("Documents in = sum over all sources", corpus.n_in, sources_in),
        equal("Documents kept = sum over all sources", corpus.n_kept, sources_kept),
        equal("Documents kept = documents tokenized", corpus.n_kept, facts.kept("documents", |_| true)),
    ];
    for (packed, stage) in facts.packed.iter().zip(&facts.plan.stages) {
        let name = &packed.stage;
        let tokens: u64 = packed.groups.iter().map(|group| group.n_tokens).sum();
        checks.push(equal(&format!("Stage {name}: rows packed = rows planned"), packed.n_rows, stage.n_rows()));
        let slots = packed.n_rows * packed.context;
        checks.push(equal(
            &format!("Stage {name}: tokens + padding = rows × context"),
            tokens + packed.n_padding,
            slots,
        ));
        let what = format!("Stage {name}: rows by which any group misses its share");
        checks.push(Check::new(what, Measure::RowsOff(rows_off(packed))));
    }
    checks.push(equal("Tokens trained on + passed over = tokens planned", facts.log.tokens(), facts.plan.n_tokens()));
    checks
}

/// The largest distance, in rows, of a group from its share of the stage.
pub(crate) fn rows_off(packed: &Packed) -> f64 {
    let off = |group: &super::facts::Group| (group.n_rows_found as f64 - group.share * packed.n_rows as f64).abs();
    packed.groups.iter().map(off).fold(0.0, f64::max)
}

fn name(lang: &str) -> &str {
    super::markup::language(lang)
}
