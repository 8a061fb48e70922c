//! The plan of the stage as text. Reads no files, so it can be printed before anything is fetched.

use std::fmt::Write;

use corpus::Share;

use crate::config::{ChineseScript, IngestConfig, NotNegative};
use crate::decontaminate::Decontamination;
use crate::dialogue::Loss;
use crate::duplicates::{Duplicates, RepeatedPieces, RepeatedSpans, Repeats};
use crate::examine::UNPAIRED;
use crate::models::{CLASSIFIER_RULE, PERPLEXITY_RULE};
use crate::normalise::{Normalise, UnicodeForm};
use crate::privacy::{Privacy, Private};
use crate::read::ReadLimits;
use crate::rules::{Limit, Rules};
use crate::source::{Content, FieldsFormat, Reading, Source};
use crate::template::Templates;

/// What would be read, dropped and compared.
pub fn explain(sources: &[Source], config: &IngestConfig) -> String {
    let mut plan = String::from("ingest\n");
    for source in sources {
        push(
            &mut plan,
            &format!("source {}: {}, {}, {}", source.name, source.kind, source.license, describe(&source.reading)),
        );
    }
    push_reading(&mut plan, config);
    push(
        &mut plan,
        &format!("language: {} at {} or surer", config.languages.join(", "), config.language_confidence_min),
    );
    for language in &config.languages {
        push_rules(&mut plan, language, config);
    }
    push_models(&mut plan, config);
    push(&mut plan, &format!("private data: {}", config.privacy.as_ref().map_or("kept".into(), describe_privacy)));
    push(&mut plan, &format!("contamination: {}", describe_decontamination(config.decontamination.as_ref())));
    push_duplicates(&mut plan, &config.duplicates);
    if sources.iter().any(|source| source.reading.has_pairs()) {
        push(
            &mut plan,
            &format!("{UNPAIRED}: of a true proposition and its false twin, neither stays without the other"),
        );
    }
    plan
}

fn push_reading(plan: &mut String, config: &IngestConfig) {
    let ReadLimits { record_bytes_max, expansion_max, zstd_window_max, damaged_chars_max } = config.reading;
    push(
        plan,
        &format!(
            "unreadable: records of more than {} bytes, files that unpack to more than {expansion_max} times their size \
             or need a window of more than {} for it, texts of which \
             more than {} is damaged; an error beyond {} of them",
            record_bytes_max.0, zstd_window_max, damaged_chars_max.0, config.bad_records_max,
        ),
    );
    push(plan, &format!("urls.blocked: {}", if config.urls.is_some() { "by a list" } else { "none" }));
    let Normalise { misreadings, entities, escaped_line_ends, full_width, form, boilerplate_lines } = config.normalise;
    let steps = [
        (misreadings, "text decoded wrongly is decoded again"),
        (entities, "entities are read"),
        (escaped_line_ends, "written-out line ends are read"),
        (full_width, "full-width letters and digits become ASCII"),
        (form == UnicodeForm::Nfc, "NFC"),
        (form == UnicodeForm::Nfkc, "NFKC"),
        (boilerplate_lines, "lines of page frames go"),
        (config.chinese_script == ChineseScript::Simplified, "Traditional Chinese becomes Simplified"),
    ];
    let steps: Vec<&str> = steps.into_iter().filter(|&(is_done, _)| is_done).map(|(_, step)| step).collect();
    push(plan, &format!("repair: {}", steps.join(", ")));
    push(plan, &format!("too_long: more than {} characters", config.document_chars_max));
}

fn push_models(plan: &mut String, config: &IngestConfig) {
    for (language, settings) in &config.classifier {
        let filter = settings.min.map_or("a column only".into(), |Share(min)| format!("at least {min}"));
        push(plan, &format!("{CLASSIFIER_RULE} of {language}: {filter}"));
    }
    for (language, settings) in &config.perplexity {
        let filter = settings.max.map_or("columns only".into(), |NotNegative(max)| format!("at most {max}"));
        push(plan, &format!("{PERPLEXITY_RULE} of {language}: {filter}"));
    }
}

fn describe_privacy(privacy: &Privacy) -> String {
    let kinds: Vec<&str> =
        Private::ALL.into_iter().filter(|kind| kind.is_wanted(privacy)).map(Private::placeholder).collect();
    format!("replaced by {}", kinds.join(", "))
}

fn describe_decontamination(settings: Option<&Decontamination>) -> String {
    let Some(settings) = settings else { return "not looked for".to_owned() };
    let tasks: Vec<&str> = settings.sets.iter().map(|set| &set.task[..]).collect();
    format!(
        "documents that hold {} of an item's n-grams of {} words or {} characters, or a whole item of {} words or {} characters at least; \
         n-grams of more than {} items say nothing; items of {}",
        settings.share_min.0,
        settings.ngram_words,
        settings.ngram_chars,
        settings.short_words_min,
        settings.short_chars_min,
        settings.items_per_ngram_max,
        tasks.join(", "),
    )
}

fn push_duplicates(plan: &mut String, duplicates: &Duplicates) {
    let Duplicates { url, exact, near, repeats } = duplicates;
    let dropped = |is_dropped: bool| if is_dropped { "dropped" } else { "kept" };
    push(plan, &format!("duplicates.url: {}", dropped(*url)));
    push(plan, &format!("duplicates.exact: {}", dropped(*exact)));
    let near = match near {
        None => "kept".to_owned(),
        Some(near) => {
            let contained = near.containment_min.map(|Share(least)| format!(", or {least} of the later one contained"));
            format!(
                "jaccard {}{} of {} words or {} characters, proposed by {} bands of {} rows, compared with {} of a group at most; \
                 not for propositions",
                near.jaccard_min.0,
                contained.unwrap_or_default(),
                near.shingle_words,
                near.shingle_chars,
                near.bands,
                near.rows,
                near.compared_max,
            )
        }
    };
    push(plan, &format!("duplicates.near: {near}"));
    let Some(Repeats { lines, paragraphs, spans, repeated_max }) = repeats else {
        return push(plan, "duplicates.repeated: nothing is cut out");
    };
    let mut cut = Vec::new();
    for (name, pieces) in [("lines", lines), ("paragraphs", paragraphs)] {
        if let Some(RepeatedPieces { chars_min, occurrences_max }) = pieces {
            cut.push(format!("{name} of {chars_min} characters or more after {occurrences_max}"));
        }
    }
    if let Some(RepeatedSpans { units, occurrences_max }) = spans {
        cut.push(format!("spans of {units} words or characters or more after {occurrences_max}"));
    }
    push(
        plan,
        &format!(
            "duplicates.repeated: cut out {}; documents go that lose more than {}",
            cut.join(", "),
            repeated_max.0
        ),
    );
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
        Reading::Fields { format, content, url, is_html } => {
            let records = match format {
                FieldsFormat::Jsonl => "JSON lines",
                FieldsFormat::Json => "JSON",
                FieldsFormat::Csv { .. } => "CSV",
                FieldsFormat::Parquet => "rows of tables",
            };
            let url = url.as_ref().map(|url| format!(", url {:?}", url.to_string())).unwrap_or_default();
            format!(
                "{records}, {}{url}{}",
                describe_content(content),
                if *is_html { ", main text of HTML" } else { "" }
            )
        }
    }
}

fn describe_content(content: &Content) -> String {
    let drawn = |n: usize, what: &str| {
        if n == 1 { format!("a {what}") } else { format!("one of {n} {what}s drawn by the seed") }
    };
    let texts = |texts: &Templates| match texts.all() {
        [text] => format!("text {:?}", text.to_string()),
        several => format!("text by {}, the first {:?}", drawn(several.len(), "template"), several[0].to_string()),
    };
    match content {
        Content::Plain(text) => texts(text),
        Content::Labelled { text, label } => format!("{}, true if {label}", texts(text)),
        Content::Pair { true_text, false_text } => {
            format!("true {:?}, false {:?}", true_text.to_string(), false_text.to_string())
        }
        Content::Answers { statements, label, answers } => {
            let answers: Vec<String> =
                answers.iter().map(|(class, answer)| format!("{class} {:?}", answer.to_string())).collect();
            format!(
                "true with the answer of {label}, false with another drawn by the seed, by {}, the first {:?}; answers {}",
                drawn(statements.len(), "statement"),
                statements[0].to_string(),
                answers.join(", "),
            )
        }
        Content::Dialogue { records, templates, loss } => format!(
            "dialogues in the layout {records}, by {}, loss on {}",
            drawn(templates.len(), "template"),
            match loss {
                Loss::All => "all of it",
                Loss::Responses => "the assistant's turns",
            },
        ),
        Content::Preference { templates } => {
            format!("true with the better answer, false with the worse, by {}", drawn(templates.len(), "template"))
        }
    }
}
