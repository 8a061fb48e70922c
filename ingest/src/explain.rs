//! The plan of the stage as text. Reads no files, so it can be printed before anything is fetched.

use std::fmt::Write;

use crate::config::{ChineseScript, Content, IngestConfig, Reading, Source};
use crate::rules::{Limit, Rules};

/// What would be read, dropped and compared.
pub fn explain(sources: &[Source], config: &IngestConfig) -> String {
    let mut plan = String::from("ingest\n");
    for source in sources {
        push(
            &mut plan,
            &format!("source {}: {}, {}, {}", source.name, source.kind, source.license, describe(&source.reading)),
        );
    }
    let ChineseScript::Keep = config.chinese_script;
    push(&mut plan, &format!("unreadable records: an error beyond {}", config.bad_records_max));
    push(&mut plan, &format!("too_long: more than {} characters", config.document_chars_max));
    push(
        &mut plan,
        &format!("language: {} at {} or surer", config.languages.join(", "), config.language_confidence_min),
    );
    push(&mut plan, "chinese script: kept as it is");
    for language in &config.languages {
        push_rules(&mut plan, language, config);
    }
    push(&mut plan, &format!("duplicates.exact: {}", if config.duplicates.exact { "dropped" } else { "kept" }));
    push(
        &mut plan,
        &match &config.duplicates.near {
            None => "duplicates.near: kept".to_owned(),
            Some(near) => format!(
                "duplicates.near: jaccard {} of {} words or {} characters, proposed by {} bands of {} rows; not for propositions",
                near.jaccard_min.0, near.shingle_words, near.shingle_chars, near.bands, near.rows,
            ),
        },
    );
    plan
}

fn push(plan: &mut String, line: &str) {
    writeln!(plan, "  {line}").expect("a string takes every line");
}

/// The rules for one language, one a line.
fn push_rules(plan: &mut String, language: &str, config: &IngestConfig) {
    let rules = config.rules(language);
    if let Rules::Unjudged(_) = rules {
        push(plan, &format!("{language}: measured, not judged"));
    }
    for Limit { rule, bound, .. } in rules.limits() {
        push(plan, &format!("{rule}: {bound}{}", rules.condition(rule)));
    }
}

fn describe(reading: &Reading) -> String {
    match reading {
        Reading::Html => "one page a file".into(),
        Reading::Text { separator: None } => "one text a file".into(),
        Reading::Text { separator: Some(separator) } => format!("texts parted by {separator:?}"),
        Reading::Markdown => "one Markdown text a file".into(),
        Reading::Warc => "web pages and texts of crawl archives".into(),
        Reading::Mediawiki => "articles of MediaWiki dumps".into(),
        Reading::Jsonl { content, url, is_html } | Reading::Parquet { content, url, is_html } => {
            let records = if matches!(reading, Reading::Jsonl { .. }) { "JSON lines" } else { "rows of tables" };
            let text = match content {
                Content::Plain(text) => format!("{records}, text {:?}", text.to_string()),
                Content::Labelled { text, label } => {
                    format!("{records}, text {:?}, true if {label}", text.to_string())
                }
                Content::Pair { true_text, false_text } => {
                    format!("{records}, true {:?}, false {:?}", true_text.to_string(), false_text.to_string())
                }
            };
            let url = url.as_ref().map(|url| format!(", url {:?}", url.to_string())).unwrap_or_default();
            format!("{text}{url}{}", if *is_html { ", main text of HTML" } else { "" })
        }
    }
}
