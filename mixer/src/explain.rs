//! The mix as text, before anything is read.

use std::fmt::Write;

use crate::config::{Mix, Packing, StageMix};
use crate::plan::quotas;

/// Rows and tokens of every group of every stage.
pub fn explain(stages: &[StageMix], context: usize) -> String {
    let mut text = String::new();
    for stage in stages {
        let n_tokens = stage.n_rows * context as u64;
        let _ =
            writeln!(text, "  packed/{}: {} rows of {context} tokens = {n_tokens} tokens", stage.name, stage.n_rows);
        let shares = match stage.mix.groups() {
            Ok(shares) => shares,
            Err(what) => {
                let _ = writeln!(text, "    cannot be mixed: {what}");
                continue;
            }
        };
        let rows = quotas(&shares.iter().map(|(_, share)| *share).collect::<Vec<_>>(), stage.n_rows);
        for ((group, share), rows) in shares.iter().zip(rows) {
            let _ = writeln!(text, "    {:<16} {:>6.2} %  {rows:>8} rows", group.to_string(), share * 100.0);
        }
        let _ = writeln!(text, "    a document is read at most {} times", stage.mix.epochs_max);
        explain_choices(&mut text, &stage.mix);
    }
    text
}

/// What a mix says beyond shares of languages and kinds.
fn explain_choices(text: &mut String, mix: &Mix) {
    let mut line = |words: String| {
        let _ = writeln!(text, "    {words}");
    };
    line(match mix.packing {
        Packing::Concatenate => "documents end to end, cut where a row is full".to_owned(),
        Packing::BestFit => "whole documents where they fit best; only those longer than a row are cut".to_owned(),
        Packing::BestFitMasked => "whole documents where they fit best, and attention within documents only".to_owned(),
    });
    for (source, share) in &mix.source {
        line(format!("{source}: {:.2} % of the stage", share.0 * 100.0));
    }
    if mix.temperature != 1.0 {
        line(format!("other sources by (their tokens)^(1 / {})", mix.temperature));
    }
    for (source, cap) in &mix.source_epochs_max {
        line(format!("{source}: a document is read at most {cap} times"));
    }
    for by in &mix.by {
        for bucket in 0..by.n_buckets() {
            let is_read = match (by.weights.get(bucket), by.shares.get(bucket)) {
                (Some(weight), _) => format!("read {weight} times as often as it lies there"),
                (None, share) => format!("{:.2} % of its source", share.map_or(0.0, |share| share.0) * 100.0),
            };
            line(format!("{}: {is_read}", by.describe(bucket as u8)));
        }
    }
    for (label, n_rows) in &mix.batch_min {
        line(format!("at least {n_rows} rows of {label} in every batch"));
    }
}
