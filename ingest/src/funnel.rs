//! What went in, what stayed and which rule took the rest: the `details` and `counts` of the manifest.

use std::collections::BTreeMap;

use corpus::{Document, Dropped, Tally};
use serde_json::{Value, json};

use crate::config::Source;

/// Dropped documents shown for each rule.
const SAMPLES: usize = 5;

/// Counts over one run.
#[derive(Default)]
pub(crate) struct Funnel {
    /// By position of the rule and by language.
    dropped: BTreeMap<(usize, String), u64>,
    samples: BTreeMap<usize, Vec<Value>>,
    /// By source: documents in, documents kept.
    sources: BTreeMap<String, (u64, u64)>,
    tallies: Vec<Tally>,
}

impl Funnel {
    /// Counts a document that was dropped; the first few of each rule are kept as samples.
    pub(crate) fn count_dropped(&mut self, rules: &[&str], dropped: &Dropped, excerpt: &str) {
        let rule = rules.iter().position(|&rule| rule == dropped.rule).expect("every rule is listed");
        *self.dropped.entry((rule, dropped.lang.clone())).or_default() += 1;
        self.sources.entry(dropped.source.clone()).or_default().0 += 1;
        let samples = self.samples.entry(rule).or_default();
        if samples.len() < SAMPLES {
            samples.push(json!({
                "rule": dropped.rule,
                "source": dropped.source,
                "locator": dropped.locator,
                "lang": dropped.lang,
                "detail": dropped.detail,
                "text": excerpt,
            }));
        }
    }

    /// Counts a document that stays.
    pub(crate) fn count_kept(&mut self, document: &Document) {
        let counts = self.sources.entry(document.source.clone()).or_default();
        counts.0 += 1;
        counts.1 += 1;
        let key = (&document.lang[..], &document.source[..], document.kind.as_str());
        Tally::add(&mut self.tallies, key, "documents", 1);
        Tally::add(&mut self.tallies, key, "bytes", document.text.len() as u64);
    }

    /// Documents by language, source and kind.
    pub(crate) fn tallies(&self) -> Vec<Tally> {
        self.tallies.clone()
    }

    /// The manifest's details; `n_in` is counted where documents come in, so that none is lost between here and there.
    pub(crate) fn details(&self, n_in: u64, rules: &[&str], sources: &[Source]) -> Value {
        let n_dropped: u64 = self.dropped.values().sum();
        let n_kept: u64 = self.sources.values().map(|&(_, n_kept)| n_kept).sum();
        assert_eq!(n_in, n_kept + n_dropped, "every document is either kept or dropped");
        let funnel: Vec<Value> = self
            .dropped
            .iter()
            .map(|((rule, lang), n)| json!({ "rule": rules[*rule], "lang": lang, "n": n }))
            .collect();
        let by_source: Vec<Value> = sources
            .iter()
            .map(|source| {
                let (n_in, n_kept) = self.sources.get(&source.name).copied().unwrap_or_default();
                json!({ "source": source.name, "n_in": n_in, "n_kept": n_kept })
            })
            .collect();
        let samples: Vec<&Value> = self.samples.values().flatten().collect();
        json!({
            "n_in": n_in,
            "n_kept": n_kept,
            "n_dropped": n_dropped,
            "funnel": funnel,
            "by_source": by_source,
            "samples": samples,
        })
    }
}
