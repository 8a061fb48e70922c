//! The funnel of the large corpus as a page: what came in, what every rule took, what was kept, from the manifest of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;

/// Reasons shown of a source.
const REASONS_SHOWN: usize = 4;

#[derive(Deserialize)]
struct Manifest {
    counts: Vec<Count>,
    details: Details,
}

#[derive(Deserialize)]
struct Count {
    lang: String,
    amounts: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Details {
    n_in: u64,
    n_kept: u64,
    n_dropped: u64,
    amounts: BTreeMap<String, u64>,
    by_source: Vec<BySource>,
    by_rule_and_source: Vec<ByRule>,
    funnel: Vec<ByLanguage>,
}

#[derive(Deserialize)]
struct BySource {
    source: String,
    n_in: u64,
    n_kept: u64,
}

#[derive(Deserialize)]
struct ByRule {
    rule: String,
    source: String,
    n: u64,
}

#[derive(Deserialize)]
struct ByLanguage {
    rule: String,
    lang: String,
    n: u64,
}

/// Writes `page` from the run in `out`.
pub(crate) fn write(out: &Path, page: &Path) -> anyhow::Result<()> {
    let path = out.join("documents/manifest.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Manifest = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
    let Details { n_in, n_kept, n_dropped, ref by_rule_and_source, .. } = manifest.details;
    let n_by_rules: u64 = by_rule_and_source.iter().map(|row| row.n).sum();
    ensure!(n_kept + n_dropped == n_in && n_by_rules == n_dropped, "the counts of {} do not add up", path.display());
    fs::write(page, render(&manifest)).with_context(|| format!("cannot write {}", page.display()))?;
    println!("{}: {n_in} in, {n_kept} kept, {n_dropped} dropped", page.display());
    Ok(())
}

fn render(manifest: &Manifest) -> String {
    let Details { n_in, n_kept, n_dropped, ref amounts, .. } = manifest.details;
    let mut page = format!(
        "# The funnel of the large corpus\n\nWhat `moso ingest configs/large-corpus.toml` made of [the large corpus](large-corpus.md), \
        written by\n`cargo xtask funnel out/large-corpus` from the manifest of the run: {} documents came in, {} were kept, {} were \
        dropped.\n\n## Kept\n\n| language | documents | MB |\n| --- | --: | --: |\n",
        grouped(n_in),
        grouped(n_kept),
        grouped(n_dropped),
    );
    let mut kept: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for Count { lang, amounts } in &manifest.counts {
        let sums = kept.entry(lang).or_default();
        sums.0 += amounts.get("documents").copied().unwrap_or(0);
        sums.1 += amounts.get("bytes").copied().unwrap_or(0);
    }
    for (lang, (n_documents, n_bytes)) in kept {
        let _ = writeln!(page, "| {lang} | {} | {:.1} |", grouped(n_documents), n_bytes as f64 / 1e6);
    }
    page.push_str("\n## Dropped, by rule\n\n| rule | English | Chinese | other |\n| --- | --: | --: | --: |\n");
    for (rule, [english, chinese, other]) in by_rule(&manifest.details.funnel) {
        let _ = writeln!(page, "| {rule} | {} | {} | {} |", cell(english), cell(chinese), cell(other));
    }
    page.push_str(
        "\n## By source\n\n| source | in | kept | % | dropped mostly by |\n| --- | --: | --: | --: | --- |\n",
    );
    for BySource { source, n_in, n_kept } in &manifest.details.by_source {
        let share = 100.0 * *n_kept as f64 / (*n_in).max(1) as f64;
        let reasons = reasons(source, &manifest.details.by_rule_and_source);
        let _ = writeln!(page, "| {source} | {} | {} | {share:.0} | {reasons} |", grouped(*n_in), grouped(*n_kept));
    }
    page.push_str("\n## Counted on the way\n\n| what | how many |\n| --- | --: |\n");
    for (what, n) in amounts {
        let _ = writeln!(page, "| {} | {} |", what.replace("n_", "").replace('_', " "), grouped(*n));
    }
    page
}

/// Every rule with its drops in English, Chinese and other languages; the rules with most first.
fn by_rule(funnel: &[ByLanguage]) -> Vec<(&str, [u64; 3])> {
    let mut sums: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for ByLanguage { rule, lang, n } in funnel {
        let column = match &lang[..] {
            "en" => 0,
            "zh" => 1,
            _ => 2,
        };
        sums.entry(rule).or_default()[column] += n;
    }
    let mut rows: Vec<(&str, [u64; 3])> = sums.into_iter().collect();
    rows.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().sum::<u64>()));
    rows
}

/// What took most of a source.
fn reasons(source: &str, rows: &[ByRule]) -> String {
    let mut own: Vec<&ByRule> = rows.iter().filter(|row| row.source == source).collect();
    own.sort_by_key(|row| std::cmp::Reverse(row.n));
    let shown = own.iter().take(REASONS_SHOWN).map(|row| format!("{} {}", row.rule, grouped(row.n)));
    shown.collect::<Vec<_>>().join(", ")
}

fn cell(n: u64) -> String {
    if n == 0 { String::new() } else { grouped(n) }
}

/// `12,345`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!([0, 12, 999, 1000, 1_234_567].map(grouped), ["0", "12", "999", "1,000", "1,234,567"]);
    }
}
