//! The calls of the crate that are measured, and the settings they are measured with; nothing else knows the crate's functions.

use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use corpus::Kind;
use ingest::{
    Bound, ChineseRules, EnglishRules, Fingerprint, IngestConfig, RawIngest, RawSource, Rules, Scope, Scratch,
    detect_language, extract_main_text, extract_page, fingerprint, ingest_parents, judge, resolve_sources,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The settings of the tasks.
pub(crate) struct Settings {
    /// Every rule and near duplicates: tasks rules, minhash, pipeline.
    ingest: IngestConfig,
    /// Near duplicates alone: task near-dedup.
    near_dedup: IngestConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSettings {
    ingest: RawIngest,
    near_dedup: RawIngest,
}

#[derive(Deserialize)]
struct Sources {
    source: Vec<RawSource>,
}

impl Settings {
    /// Reads them from a TOML file.
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let raw: RawSettings = toml::from_str(&text)?;
        Ok(Self { ingest: raw.ingest.try_into()?, near_dedup: raw.near_dedup.try_into()? })
    }
}

/// The main text of a page; nothing where there is none.
pub(crate) fn extract(html: &str) -> String {
    extract_main_text(html).unwrap_or_default()
}

/// The main text of a page without the title that stands first.
pub(crate) fn extract_body(html: &str) -> String {
    extract_page(html).map(|page| page.text).unwrap_or_default()
}

/// The language's code.
pub(crate) fn language(text: &str) -> String {
    detect_language(text).code.to_owned()
}

/// All rules of a language.
pub(crate) struct Judge<'s> {
    settings: &'s Settings,
    scratch: Scratch,
}

impl<'s> Judge<'s> {
    pub(crate) fn new(settings: &'s Settings) -> Self {
        Self { settings, scratch: Scratch::default() }
    }

    /// Whether no rule is broken; the first broken set of rules ends it.
    pub(crate) fn is_kept(&mut self, text: &str, lang: &str) -> bool {
        let rules = self.settings.ingest.rules(lang);
        judge(text, rules, Scope::UntilBroken, &mut self.scratch).broken().is_none()
    }
}

/// What near duplicates are found by.
pub(crate) fn signature(text: &str, lang: &str, settings: &Settings) -> Fingerprint {
    fingerprint(text, lang, (Kind::Plain, None), None, &settings.near_dedup.duplicates)
}

/// The stage as a whole, from a file of JSON lines to `documents/`: all of it, or without rules.
pub(crate) fn run_stage(
    is_whole: bool,
    input: &Path,
    out: &Path,
    settings: &Settings,
) -> Result<String, Box<dyn Error>> {
    let config = if is_whole { &settings.ingest } else { &settings.near_dedup };
    let raw: Sources = toml::from_str(&format!(
        "[[source]]\nname = \"documents\"\npath = {:?}\nformat = \"jsonl\"\nkind = \"plain\"\nlicense = \"various\"\ntext = \"{{text}}\"",
        fs::canonicalize(input)?,
    ))?;
    let sources = resolve_sources(raw.source, Path::new(""), 0)?;
    let parents = ingest_parents(&sources, config)?;
    let resolved = corpus::Settings(json!({ "sources": sources, "ingest": config }));
    let tell = |_| ControlFlow::Continue(());
    let details = ingest::run(&sources, config, out, &resolved, parents, &tell)?.details;
    Ok(format!("{} of {} kept, from the file to documents/ and dropped/", details["n_kept"], details["n_in"]))
}

/// What each published set of rules, alone, says of a text: `filters` with the first rule that is broken or null, and `rules` with
/// each rule's measured value and whether it is broken.
pub(crate) fn decisions(text: &str, lang: &str, settings: &Settings) -> Value {
    let (english, chinese) = sets(&settings.ingest);
    let sets: Vec<(&str, Rules)> = match lang {
        "en" => english.iter().map(|(name, rules)| (*name, Rules::English(rules))).collect(),
        _ => chinese.iter().map(|(name, rules)| (*name, Rules::Chinese(rules))).collect(),
    };
    let (mut filters, mut rules) = (Map::new(), Map::new());
    let mut scratch = Scratch::default();
    for (name, set) in sets {
        let judgement = judge(text, set, Scope::Everything, &mut scratch);
        filters.insert(name.to_owned(), json!(judgement.broken().map(|limit| limit.rule)));
        for limit in &judgement.limits {
            let end = if matches!(limit.bound, Bound::Min(_)) { "min" } else { "max" };
            let rule = limit.rule.rsplit('.').next().unwrap_or(limit.rule);
            rules.insert(format!("{name}/{rule}_{end}"), json!([limit.value, limit.is_broken()]));
        }
    }
    json!({ "filters": filters, "rules": rules })
}

/// A set of rules with its name.
type Named<Rules> = (&'static str, Rules);

/// The rules of either language, a set at a time; C4's also as it was published, where FineWeb's choice stands in the settings.
fn sets(config: &IngestConfig) -> (Vec<Named<EnglishRules>>, Vec<Named<ChineseRules>>) {
    let english = config.english.clone().unwrap_or_default();
    let chinese = config.chinese.clone().unwrap_or_default();
    let c4 =
        |only_lines_that_end_in_marks| english.c4.clone().map(|c4| ingest::C4 { only_lines_that_end_in_marks, ..c4 });
    let english = vec![
        ("gopher-quality", only(|set: &mut EnglishRules| set.gopher_quality = english.gopher_quality.clone())),
        ("gopher-repetition", only(|set: &mut EnglishRules| set.gopher_repetition = english.gopher_repetition.clone())),
        ("c4", only(|set: &mut EnglishRules| set.c4 = c4(true))),
        ("c4-any-ending", only(|set: &mut EnglishRules| set.c4 = c4(false))),
        ("fineweb", only(|set: &mut EnglishRules| set.fineweb = english.fineweb.clone())),
    ];
    let chinese = vec![
        ("gopher-quality", only(|set: &mut ChineseRules| set.quality = chinese.quality.clone())),
        ("gopher-repetition", only(|set: &mut ChineseRules| set.repetition = chinese.repetition.clone())),
        ("fineweb", only(|set: &mut ChineseRules| set.lines = chinese.lines.clone())),
    ];
    (english, chinese)
}

/// No rules but those that are filled in.
fn only<R: Default>(fill: impl FnOnce(&mut R)) -> R {
    let mut set = R::default();
    fill(&mut set);
    set
}
