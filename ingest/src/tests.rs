//! What the tests share: a complete `[ingest]`, sources made of strings, and a run on a chosen number of threads.

mod charset;
mod classifier;
mod config;
mod decontaminate;
mod duplicates;
mod fasttext;
mod html;
mod instructions;
mod language;
mod normalise;
mod perplexity;
mod preview;
mod privacy;
mod read;
mod read_archives;
mod read_fuzz;
mod read_tables;
mod read_values;
mod read_wiki;
mod records;
mod rules;
mod run;
mod run_fates;
mod run_models;
mod run_stops;
mod simplified;
mod teacher;
mod urls;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use corpus::{Document, Dropped, Manifest, read_documents, read_dropped};
use serde::Deserialize;

use crate::{IngestConfig, IngestError, RawIngest, RawSource, Source, resolve_sources};

/// The settings that the demo runs with.
pub(crate) const SETTINGS: &str = r#"
[ingest]
languages = ["en", "zh"]
language_confidence_min = 0.5
chinese_script = "keep"
measured = "all"
bad_records_max = 0
document_chars_max = "1M"
memory = "1GiB"

[ingest.english.gopher_quality]
words_min = 20
words_max = 100_000
mean_word_length_min = 3.0
mean_word_length_max = 12.0
symbol_ratio_max = 0.1
bullet_lines_max = 0.9
ellipsis_lines_max = 0.3
letter_ratio_min = 0.6
stop_words_min = 1

[ingest.english.gopher_repetition]
duplicate_paragraphs_max = 0.3
duplicate_paragraph_chars_max = 0.2
duplicate_lines_max = 0.3
duplicate_line_chars_max = 0.2
top_2_words_max = 0.3
top_3_words_max = 0.3
top_4_words_max = 0.3
duplicate_5_words_max = 0.15
duplicate_6_words_max = 0.14
duplicate_7_words_max = 0.13
duplicate_8_words_max = 0.12
duplicate_9_words_max = 0.11
duplicate_10_words_max = 0.1
top_times_min = 1
line_letters_min = 0

[ingest.english.c4]
only_lines_that_end_in_marks = false
line_words_min = 3
word_chars_max = 1000
without_javascript = true
without_policies = true
without_citations = true
without_lorem_ipsum = true
without_curly_brackets = true
sentences_min = 1

[ingest.english.fineweb]
terminal_lines_min = 0.0
short_lines_max = 0.67
short_line_chars = 30
duplicate_line_chars_max = 0.01
newline_ratio_max = 0.3
line_letters_min = 0

[ingest.chinese.quality]
chars_min = 30
chars_max = 1_000_000
han_ratio_min = 0.25
punctuation_ratio_min = 0.01
punctuation_ratio_max = 0.4
digit_ratio_max = 0.3
symbol_ratio_max = 0.06
bracket_ratio_max = 0.1
stop_chars_min = 2
stop_chars_from = 200
lines_from = 5
bullet_lines_max = 0.9
ellipsis_lines_max = 0.3
distinct_ratio_min = 0.02
entropy_min = 3.0

[ingest.chinese.repetition]
duplicate_paragraphs_max = 0.3
duplicate_paragraph_chars_max = 0.2
duplicate_lines_max = 0.287
duplicate_line_chars_max = 0.2
top_4_chars_max = 0.256
top_6_chars_max = 0.25
top_8_chars_max = 0.25
duplicate_9_chars_max = 0.5
duplicate_11_chars_max = 0.46
duplicate_13_chars_max = 0.43
duplicate_14_chars_max = 0.41
duplicate_16_chars_max = 0.38
duplicate_18_chars_max = 0.35
line_letters_min = 0

[ingest.chinese.lines]
lines_from = 5
terminal_lines_min = 0.106
short_lines_max = 0.8
short_line_chars = 10
duplicate_line_chars_max = 0.2
newline_ratio_max = 0.2
line_letters_min = 0
more_lines_max = 0.3

[ingest.chinese.spam]
gambling_max = 20.0
adult_max = 20.0
promotion_max = 20.0

[ingest.reading]
record_bytes_max = "16M"
expansion_max = 1000
zstd_window_max = "128MiB"
damaged_chars_max = 0.002

[ingest.normalise]
misreadings = true
entities = true
escaped_line_ends = true
full_width = true
form = "nfc"
boilerplate_lines = false

[ingest.duplicates]
url = true
exact = true

[ingest.duplicates.near]
bands = 14
rows = 8
shingle_words = 5
shingle_chars = 5
jaccard_min = 0.75
compared_max = 64
"#;

/// A source of running text that is one JSON file.
pub(crate) const PLAIN: &str = r#"
[[source]]
name = "web"
path = "web.jsonl"
format = "jsonl"
kind = "plain"
license = "CC0-1.0"
text = "{text}"
"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFile {
    #[serde(default)]
    source: Vec<RawSource>,
    ingest: RawIngest,
}

pub(crate) fn settings() -> IngestConfig {
    settings_with(&[])
}

/// The settings with some lines replaced.
pub(crate) fn settings_with(changes: &[(&str, &str)]) -> IngestConfig {
    settings_and("", changes)
}

/// The settings with some lines replaced and more sections behind them.
pub(crate) fn settings_and(sections: &str, changes: &[(&str, &str)]) -> IngestConfig {
    let mut text = format!("{SETTINGS}\n{sections}");
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is no line of the settings");
        text = text.replacen(from, to, 1);
    }
    IngestConfig::try_from(toml::from_str::<RunFile>(&text).unwrap().ingest).unwrap()
}

pub(crate) fn sources(text: &str, folder: &Path) -> Vec<Source> {
    resolve_sources(toml::from_str::<RunFile>(&format!("{text}\n{SETTINGS}")).unwrap().source, folder, 7).unwrap()
}

pub(crate) struct Output {
    pub(crate) manifest: Manifest,
    pub(crate) documents: Vec<Document>,
    pub(crate) dropped: Vec<Dropped>,
    pub(crate) bytes: Vec<Vec<u8>>,
}

pub(crate) fn run_on(sources: &[Source], config: &IngestConfig, n_threads: usize) -> Result<Output, IngestError> {
    let out = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    let go_on = |_| ControlFlow::Continue(());
    let manifest = pool.install(|| {
        let parents = crate::ingest_parents(sources, config)?;
        crate::run(sources, config, out.path(), &corpus::Settings::default(), parents, &go_on)
    })?;
    let output = read_output(out.path());
    assert_eq!(output.manifest, manifest);
    Ok(output)
}

pub(crate) fn read_output(out: &Path) -> Output {
    let (documents_folder, dropped_folder) = (out.join("documents"), out.join("dropped"));
    let manifest = Manifest::read(&documents_folder).unwrap();
    let dropped_manifest = Manifest::read(&dropped_folder).unwrap();
    assert!(corpus::verify_tree(out).unwrap().is_clean());
    let mut paths = manifest.paths(&documents_folder);
    let documents = paths.iter().flat_map(|path| read_documents(path).unwrap().0).collect();
    let dropped_paths = dropped_manifest.paths(&dropped_folder);
    let dropped = dropped_paths.iter().flat_map(|path| read_dropped(path).unwrap()).collect();
    paths.extend(dropped_paths);
    paths.extend([documents_folder.join(Manifest::NAME), dropped_folder.join(Manifest::NAME)]);
    let bytes = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    Output { manifest, documents, dropped, bytes }
}

/// JSON lines with a field `text`.
pub(crate) fn json_lines<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(|text| format!("{}\n", serde_json::json!({ "text": text }))).collect()
}

/// Numbers from a seed: good enough to make texts with, the same everywhere.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

const ENGLISH_WORDS: &str = "the river and its valley have been home to people who fish with nets that are made of \
    reed while others grow rice on terraces above water because floods come every spring after snow melts in high \
    mountains where few roads lead through forest toward towns built from stone long before trade reached them";

const CHINESE_CHARS: &str = "这条河的两岸住着许多人家他们用芦苇编成渔网在水里捕鱼也在山坡上种稻子因为每年春天雪化了以后就会涨大水\
    所以房子都建得很高路也不好走只有几个小镇用石头修了桥和城墙那里很早就有人做生意了";

/// English that passes every rule; two of the same seed are the same, two of different seeds share nothing.
pub(crate) fn english(seed: u64, n_words: usize) -> String {
    let words: Vec<&str> = ENGLISH_WORDS.split_whitespace().collect();
    let mut numbers = Numbers(seed);
    let sentence = |index: usize, word: &str| if index % 11 == 10 { format!("{word}.") } else { word.to_owned() };
    (0..n_words).map(|index| sentence(index, words[numbers.below(words.len())])).collect::<Vec<_>>().join(" ")
}

/// Chinese that passes every rule.
pub(crate) fn chinese(seed: u64, n_chars: usize) -> String {
    let chars: Vec<char> = CHINESE_CHARS.chars().filter(|char| char.is_alphanumeric()).collect();
    let mut numbers = Numbers(seed);
    (0..n_chars).map(|index| if index % 15 == 14 { '。' } else { chars[numbers.below(chars.len())] }).collect()
}
