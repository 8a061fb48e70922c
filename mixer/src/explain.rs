//! The mix as text, before anything is read.

use std::fmt::Write;

use crate::config::StageMix;
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
    }
    text
}
