//! Each published quality rule, document by document: what datatrove decides and what we decide, and every document on which they
//! differ, with both numbers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Places;
use super::environments::Environments;
use super::measure::{last_line, run_ours};

/// Agreement by rule.
pub(super) const RESULT: &str = "ingest-agreement.json";

/// The documents on which the two differ.
const DIFFERENCES: &str = "ingest-decisions.jsonl";

/// Megabytes of text for each language: about two thousand English documents and a thousand Chinese ones.
const SAMPLE: [(&str, usize); 2] = [("en", 6_000_000), ("zh", 5_000_000)];

/// Chinese rules that ask the same of words as ours ask of characters: theirs, ours. English rules have the same names.
const COUNTERPARTS: [(&str, &str); 17] = [
    ("gopher-quality/words_min", "gopher-quality/chars_min"),
    ("gopher-quality/symbol_ratio_max", "gopher-quality/symbol_ratio_max"),
    ("gopher-quality/bullet_lines_max", "gopher-quality/bullet_lines_max"),
    ("gopher-quality/ellipsis_lines_max", "gopher-quality/ellipsis_lines_max"),
    ("gopher-quality/stop_words_min", "gopher-quality/stop_chars_min"),
    ("gopher-repetition/duplicate_lines_max", "gopher-repetition/duplicate_lines_max"),
    ("gopher-repetition/top_2_words_max", "gopher-repetition/top_4_chars_max"),
    ("gopher-repetition/top_3_words_max", "gopher-repetition/top_6_chars_max"),
    ("gopher-repetition/top_4_words_max", "gopher-repetition/top_8_chars_max"),
    ("gopher-repetition/duplicate_5_words_max", "gopher-repetition/duplicate_9_chars_max"),
    ("gopher-repetition/duplicate_6_words_max", "gopher-repetition/duplicate_11_chars_max"),
    ("gopher-repetition/duplicate_7_words_max", "gopher-repetition/duplicate_13_chars_max"),
    ("gopher-repetition/duplicate_8_words_max", "gopher-repetition/duplicate_14_chars_max"),
    ("gopher-repetition/duplicate_9_words_max", "gopher-repetition/duplicate_16_chars_max"),
    ("gopher-repetition/duplicate_10_words_max", "gopher-repetition/duplicate_18_chars_max"),
    ("fineweb/terminal_lines_min", "fineweb/terminal_lines_min"),
    ("fineweb/newline_ratio_max", "fineweb/newline_ratio_max"),
];

/// How often two systems decided alike on a rule.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Agreement {
    pub(super) lang: String,
    /// Their rule, or the filter as a whole.
    pub(super) rule: String,
    pub(super) documents: usize,
    pub(super) both_keep: usize,
    pub(super) both_drop: usize,
    pub(super) only_ours_drops: usize,
    pub(super) only_theirs_drops: usize,
}

/// What one system says of one document.
#[derive(Deserialize)]
struct Decision {
    id: String,
    /// By filter: the first broken rule.
    filters: BTreeMap<String, Option<String>>,
    /// By rule: the number, where there is one, and whether the rule is broken.
    rules: BTreeMap<String, (Option<f64>, bool)>,
}

/// Asks both about the same documents, joins the answers and writes them down.
pub(super) fn compare(places: &Places, environments: &mut Environments) -> anyhow::Result<()> {
    let Ok(python) = environments.python("datatrove") else { return Ok(()) };
    let (mut agreements, mut differences) = (Vec::new(), String::new());
    for (lang, n_bytes) in SAMPLE {
        let sample = places.scratch.join(format!("decisions-{lang}.jsonl"));
        take(&places.inputs.join(format!("{lang}.jsonl")), &sample, n_bytes)?;
        println!("decisions on {lang} documents");
        run_ours(places, &format!("decisions-{lang}"), &sample)?;
        let ours = read(&places.scratch.join("decisions.jsonl"))?;
        let answers = places.scratch.join("decisions-datatrove.jsonl");
        let mut driver = Command::new(&python);
        driver.arg(places.drivers.join("datatrove_rules.py")).arg(lang).arg(&sample).arg(&answers);
        // It prints nothing but where it disagrees with itself, which is an error.
        if let Err(error) = last_line(&mut driver)
            && !answers.is_file()
        {
            bail!("datatrove's decisions: {error:#}");
        }
        join(lang, &ours, &read(&answers)?, &mut agreements, &mut differences)?;
    }
    let path = places.folder.join(DIFFERENCES);
    fs::write(&path, differences).with_context(|| format!("cannot write {}", path.display()))?;
    let path = places.folder.join(RESULT);
    fs::write(&path, serde_json::to_string_pretty(&agreements)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The first lines of a file, up to a size.
fn take(from: &Path, to: &Path, n_bytes: usize) -> anyhow::Result<()> {
    let file = fs::File::open(from).with_context(|| format!("cannot open {}", from.display()))?;
    let mut taken = String::new();
    for line in BufReader::new(file).lines() {
        if taken.len() >= n_bytes {
            break;
        }
        taken.push_str(&line.with_context(|| format!("cannot read {}", from.display()))?);
        taken.push('\n');
    }
    fs::write(to, taken).with_context(|| format!("cannot write {}", to.display()))
}

fn read(path: &Path) -> anyhow::Result<Vec<Decision>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parse = |line| serde_json::from_str(line).with_context(|| format!("{} is not as expected", path.display()));
    text.lines().map(parse).collect()
}

fn join(
    lang: &str,
    ours: &[Decision],
    theirs: &[Decision],
    agreements: &mut Vec<Agreement>,
    differences: &mut String,
) -> anyhow::Result<()> {
    if ours.len() != theirs.len() || ours.iter().zip(theirs).any(|(ours, theirs)| ours.id != theirs.id) {
        bail!("the two did not decide about the same documents");
    }
    let mut found: BTreeMap<String, Agreement> = BTreeMap::new();
    for (ours, theirs) in ours.iter().zip(theirs) {
        for (rule, theirs_said, ours_said) in pairs(lang, ours, theirs) {
            let (drops, others_drop) = (ours_said[1] == json!(true), theirs_said[1] == json!(true));
            let agreement = found.entry(rule.clone()).or_default();
            agreement.documents += 1;
            match (drops, others_drop) {
                (false, false) => agreement.both_keep += 1,
                (true, true) => agreement.both_drop += 1,
                (true, false) => agreement.only_ours_drops += 1,
                (false, true) => agreement.only_theirs_drops += 1,
            }
            if drops != others_drop {
                let line =
                    json!({ "id": ours.id, "lang": lang, "rule": rule, "datatrove": theirs_said, "moso": ours_said });
                differences.push_str(&format!("{line}\n"));
            }
        }
    }
    agreements.extend(found.into_iter().map(|(rule, agreement)| Agreement {
        lang: lang.to_owned(),
        rule,
        ..agreement
    }));
    Ok(())
}

/// What can be compared: rule, their `[number, broken]`, ours; for a filter as a whole the first broken rule stands for the number.
fn pairs(lang: &str, ours: &Decision, theirs: &Decision) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    for (filter, their_reason) in &theirs.filters {
        if let Some(our_reason) = ours.filters.get(filter) {
            let said = |reason: &Option<String>| json!([reason, reason.is_some()]);
            found.push((format!("{filter} as a whole"), said(their_reason), said(our_reason)));
        }
    }
    for (rule, said) in &theirs.rules {
        let name = match lang {
            "zh" => COUNTERPARTS.iter().find(|(theirs, _)| theirs == rule).map(|(_, ours)| *ours),
            _ => Some(&rule[..]),
        };
        // A rule without a number was never asked.
        if let (Some(our_said), Some(_)) = (name.and_then(|name| ours.rules.get(name)), said.0) {
            found.push((rule.clone(), json!(said), json!(our_said)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(id: &str, value: f64, is_broken: bool) -> Decision {
        let reason = is_broken.then(|| "short".to_owned());
        Decision {
            id: id.to_owned(),
            filters: BTreeMap::from([("gopher-quality".to_owned(), reason)]),
            rules: BTreeMap::from([("gopher-quality/words_min".to_owned(), (Some(value), is_broken))]),
        }
    }

    #[test]
    fn every_document_is_counted_once_a_rule_and_differences_are_listed() {
        let ours = [decision("a", 60.0, false), decision("b", 49.0, true), decision("c", 50.0, false)];
        let theirs = [decision("a", 60.0, false), decision("b", 49.0, true), decision("c", 48.0, true)];
        let (mut agreements, mut differences) = (Vec::new(), String::new());
        join("en", &ours, &theirs, &mut agreements, &mut differences).unwrap();
        assert_eq!(agreements.len(), 2);
        for agreement in &agreements {
            assert_eq!((agreement.documents, agreement.both_keep, agreement.both_drop), (3, 1, 1));
            assert_eq!((agreement.only_ours_drops, agreement.only_theirs_drops), (0, 1));
        }
        assert_eq!(differences.lines().count(), 2);
        assert!(differences.lines().all(|line| line.contains("\"c\"")), "{differences}");
        let mismatched = join("en", &ours, &theirs[..2], &mut agreements, &mut differences);
        assert!(mismatched.is_err());
    }

    #[test]
    fn a_chinese_rule_is_compared_with_its_counterpart_by_characters() {
        let mut ours = decision("a", 80.0, false);
        ours.rules = BTreeMap::from([("gopher-quality/chars_min".to_owned(), (Some(80.0), false))]);
        let theirs = decision("a", 45.0, true);
        let rules: Vec<String> = pairs("zh", &ours, &theirs).into_iter().map(|(rule, _, _)| rule).collect();
        assert_eq!(rules, ["gopher-quality as a whole", "gopher-quality/words_min"]);
    }
}
