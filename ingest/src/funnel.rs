//! What went in, what stayed and which rule took the rest: the `details` and `counts` of the manifest.
//!
//! Each shard has a funnel of its own; merged in any order they give the same whole. Of what a rule dropped a few documents
//! are shown, those with the smallest ids, which are hashes: a fair sample that is the same in every run. Beside them stand the
//! documents that only just passed the rule, so that a person can see on which side of its limit the mistakes are.

use std::collections::BTreeMap;

use corpus::{DocId, Document, Dropped, Tally};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::examine::excerpt;
use crate::rules::Limit;
use crate::source::Source;

/// Dropped documents, and documents that only just passed, shown for each rule.
const SAMPLES: usize = 8;

/// Counts over some shards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Funnel {
    /// Documents that came in, by source.
    n_in: BTreeMap<String, u64>,
    /// Documents dropped, by rule, source and language.
    dropped: BTreeMap<String, BTreeMap<String, BTreeMap<String, u64>>>,
    /// By rule.
    samples: BTreeMap<String, Vec<Sample>>,
    passed: BTreeMap<String, Vec<Sample>>,
    /// Documents that stay, by source.
    n_kept: BTreeMap<String, u64>,
    tallies: Vec<Tally>,
    /// Whatever else is counted: characters cut out, placeholders put in.
    amounts: BTreeMap<String, u64>,
}

/// A document shown for a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    /// Those with the least are shown: how far the document is from the limit, or 0.
    distance: f64,
    id: String,
    source: String,
    locator: String,
    lang: String,
    detail: String,
    text: String,
}

impl Funnel {
    /// Counts a document that comes in.
    pub(crate) fn count_in(&mut self, source: &str) {
        *self.n_in.entry(source.to_owned()).or_default() += 1;
    }

    /// Counts a document that was dropped.
    pub(crate) fn count_dropped(&mut self, dropped: &Dropped) {
        let by_source = self.dropped.entry(dropped.rule.clone()).or_default();
        *by_source.entry(dropped.source.clone()).or_default().entry(dropped.lang.clone()).or_default() += 1;
        let samples = self.samples.entry(dropped.rule.clone()).or_default();
        add_sample(samples, 0.0, dropped.id, || Sample {
            distance: 0.0,
            id: dropped.id.to_string(),
            source: dropped.source.clone(),
            locator: dropped.locator.clone(),
            lang: dropped.lang.clone(),
            detail: dropped.detail.clone(),
            text: dropped.excerpt.clone(),
        });
    }

    /// Remembers a document that passed all rules, if it is among the nearest to the limit of one.
    pub(crate) fn note_passed(&mut self, document: &Document, locator: &str, limits: &[Limit]) {
        for limit in limits {
            let distance = limit.distance();
            // A rule that has nothing to say of a document (an infinite value, none of what it counts) was not just passed.
            if !distance.is_finite() || distance > 0.5 {
                continue;
            }
            let samples = self.passed.entry(limit.rule.to_owned()).or_default();
            add_sample(samples, distance, document.id, || Sample {
                distance,
                id: document.id.to_string(),
                source: document.source.clone(),
                locator: locator.to_owned(),
                lang: document.lang.clone(),
                detail: limit.to_string(),
                text: excerpt(&document.text),
            });
        }
    }

    /// Counts a document that stays.
    pub(crate) fn count_kept(&mut self, document: &Document) {
        *self.n_kept.entry(document.source.clone()).or_default() += 1;
        let key = (&document.lang[..], &document.source[..], document.kind.as_str());
        Tally::add(&mut self.tallies, key, "documents", 1);
        Tally::add(&mut self.tallies, key, "bytes", document.text.len() as u64);
    }

    /// Counts `n` of something else.
    pub(crate) fn count(&mut self, what: &str, n: u64) {
        if n > 0 {
            *self.amounts.entry(what.to_owned()).or_default() += n;
        }
    }

    /// Adds the counts of other shards.
    pub(crate) fn merge(&mut self, other: Self) {
        let Self { n_in, dropped, samples, passed, n_kept, tallies, amounts } = other;
        add_all(&mut self.n_in, n_in);
        add_all(&mut self.n_kept, n_kept);
        add_all(&mut self.amounts, amounts);
        for (rule, by_source) in dropped {
            let own = self.dropped.entry(rule).or_default();
            by_source.into_iter().for_each(|(source, by_lang)| add_all(own.entry(source).or_default(), by_lang));
        }
        for (mine, theirs) in [(&mut self.samples, samples), (&mut self.passed, passed)] {
            for (rule, samples) in theirs {
                let own = mine.entry(rule).or_default();
                own.extend(samples);
                own.sort_by(|left, right| left.distance.total_cmp(&right.distance).then(left.id.cmp(&right.id)));
                own.truncate(SAMPLES);
            }
        }
        for row in tallies {
            let key = (&row.lang[..], &row.source[..], &row.kind[..]);
            row.amounts.iter().for_each(|(unit, &amount)| Tally::add(&mut self.tallies, key, unit, amount));
        }
    }

    /// Documents by language, source and kind.
    pub(crate) fn tallies(&self) -> Vec<Tally> {
        self.tallies.clone()
    }

    /// The manifest's details. Documents were counted where they came in, so that none is lost between there and here.
    pub(crate) fn details(&self, rules: &[String], sources: &[Source]) -> Value {
        let (mut funnel, mut by_rule_and_source): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        let mut n_dropped_by_source: BTreeMap<&str, u64> = BTreeMap::new();
        for rule in rules {
            let mut langs: BTreeMap<String, u64> = BTreeMap::new();
            for (source, by_lang) in self.dropped.get(rule).into_iter().flatten() {
                let n: u64 = by_lang.values().sum();
                *n_dropped_by_source.entry(source).or_default() += n;
                by_rule_and_source.push(json!({ "rule": rule, "source": source, "n": n }));
                add_all(&mut langs, by_lang.clone());
            }
            funnel.extend(langs.iter().map(|(lang, n)| json!({ "rule": rule, "lang": lang, "n": n })));
        }
        assert!(self.dropped.keys().all(|rule| rules.contains(rule)), "every rule is listed");
        let amount = |of: &BTreeMap<String, u64>, source: &str| of.get(source).copied().unwrap_or(0);
        let by_source: Vec<Value> = sources
            .iter()
            .map(|Source { name, .. }| {
                let (n_in, n_kept) = (amount(&self.n_in, name), amount(&self.n_kept, name));
                let n_dropped = n_dropped_by_source.get(&name[..]).copied().unwrap_or(0);
                assert_eq!(n_in, n_kept + n_dropped, "every document of {name} is either kept or dropped");
                json!({ "source": name, "n_in": n_in, "n_kept": n_kept })
            })
            .collect();
        let samples = |of: &BTreeMap<String, Vec<Sample>>| -> Vec<Value> {
            let of_rule =
                |rule: &String| of.get(rule).into_iter().flatten().map(|sample| sample.show(rule)).collect::<Vec<_>>();
            rules.iter().flat_map(of_rule).collect()
        };
        json!({
            "n_in": self.n_in.values().sum::<u64>(),
            "n_kept": self.n_kept.values().sum::<u64>(),
            "n_dropped": n_dropped_by_source.values().sum::<u64>(),
            "funnel": funnel,
            "by_rule_and_source": by_rule_and_source,
            "by_source": by_source,
            "amounts": self.amounts,
            "samples": samples(&self.samples),
            "passed": samples(&self.passed),
        })
    }
}

impl Sample {
    fn show(&self, rule: &str) -> Value {
        json!({
            "rule": rule,
            "id": self.id,
            "source": self.source,
            "locator": self.locator,
            "lang": self.lang,
            "detail": self.detail,
            "text": self.text,
        })
    }
}

/// Keeps the samples with the least distance, and of those the ones with the least ids.
fn add_sample(samples: &mut Vec<Sample>, distance: f64, id: DocId, sample: impl FnOnce() -> Sample) {
    let is_after =
        |other: &Sample| other.distance.total_cmp(&distance).then_with(|| other.id.cmp(&id.to_string())).is_gt();
    if samples.len() == SAMPLES && !samples.last().is_some_and(is_after) {
        return;
    }
    let at = samples.iter().position(is_after).unwrap_or(samples.len());
    samples.insert(at, sample());
    samples.truncate(SAMPLES);
}

fn add_all(own: &mut BTreeMap<String, u64>, other: BTreeMap<String, u64>) {
    other.into_iter().for_each(|(key, n)| *own.entry(key).or_default() += n);
}
