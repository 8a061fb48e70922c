//! The `[tokenizer]` section of the run file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use corpus::{Count, Share};
use serde::{Deserialize, Serialize, Serializer};

use crate::pattern::Pattern;

/// `[tokenizer]` as it is written: either `import`, or `train` with what to train on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTokenizer {
    import: Option<String>,
    pattern: Option<String>,
    train: Option<RawTraining>,
    #[serde(default)]
    pub labels: Labels,
}

/// How the label at the end of a proposition is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// One id each, which no text encodes to: a label is one prediction.
    #[default]
    Reserved,
    /// An angry face where it is false and a smiling one with horns where it is true, as text (FLM-101B, section 2.2, which doesn't say which is
    /// which). In cl100k_base each is two tokens, and the first is the same.
    Emoji,
}

/// False and true, as [`Labels::Emoji`] writes them.
pub(crate) const EMOJI: [&str; 2] = ["\u{1f621}", "\u{1f608}"];

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTraining {
    ids: u32,
    sample_bytes: Count,
    language: BTreeMap<String, Share>,
}

/// Where the vocabulary comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerConfig {
    /// The built-in cl100k_base.
    Cl100kBase,
    /// A rank file in tiktoken's format, and the pattern that goes with it.
    RankFile(#[serde(serialize_with = "file_name")] PathBuf, #[serde(serialize_with = "spelling")] Pattern),
    /// A `tokenizer.json` of a byte-level BPE vocabulary.
    TokenizerJson(#[serde(serialize_with = "file_name")] PathBuf),
    /// Trained on a sample of the kept plain documents.
    Train {
        /// Ids, bytes and special tokens included.
        ids: u32,
        /// Size of the sample in bytes of text.
        sample_bytes: u64,
        /// Share of each language in the sample.
        language: BTreeMap<String, Share>,
    },
}

/// Where an imported file lies changes nothing: its contents are hashed as a parent.
fn file_name<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.file_name().unwrap_or_default().to_string_lossy())
}

fn spelling<S: Serializer>(pattern: &Pattern, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(pattern.spelling())
}

/// Names of the patterns, as a run file says them.
const PATTERNS: [(&str, Pattern); 5] = [
    ("gpt2", Pattern::Gpt2),
    ("cl100k", Pattern::Cl100k),
    ("qwen2", Pattern::Qwen2),
    ("o200k", Pattern::O200k),
    ("bilingual", Pattern::Bilingual),
];

/// Rank files that are published under these names.
const RANK_FILES: [(&str, Pattern); 5] = [
    ("gpt2.tiktoken", Pattern::Gpt2),
    ("r50k_base.tiktoken", Pattern::Gpt2),
    ("cl100k_base.tiktoken", Pattern::Cl100k),
    ("o200k_base.tiktoken", Pattern::O200k),
    ("qwen.tiktoken", Pattern::Qwen2),
];

/// The pattern of a rank file: the one that is named, a regular expression in full, or that of a published file.
fn pattern_of(path: &Path, named: Option<&str>) -> Result<Pattern, String> {
    let Some(named) = named else {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let known = RANK_FILES.into_iter().find(|(file, _)| *file == name);
        return known.map(|(_, pattern)| pattern).ok_or_else(|| {
            let names = PATTERNS.map(|(name, _)| format!("\"{name}\"")).join(", ");
            format!("{name} does not say how its texts are cut: add pattern = one of {names}, or a regular expression")
        });
    };
    match PATTERNS.into_iter().find(|(name, _)| *name == named) {
        Some((_, pattern)) => Ok(pattern),
        None => Pattern::from_spelling(named).map_err(|why| format!("the pattern {named:?} cannot be run: {why}")),
    }
}

impl TokenizerConfig {
    /// Checks the section. Paths are relative to `folder`, that of the run file.
    pub fn new(raw: RawTokenizer, folder: &Path) -> Result<Self, String> {
        let RawTokenizer { import, pattern, train, labels: _ } = raw;
        match (import, train) {
            (Some(name), None) if name.ends_with(".tiktoken") => {
                let path = folder.join(name);
                let pattern = pattern_of(&path, pattern.as_deref())?;
                Ok(Self::RankFile(path, pattern))
            }
            _ if pattern.is_some() => Err("pattern goes with the import of a .tiktoken rank file only".to_owned()),
            (Some(name), None) if name == "cl100k_base" => Ok(Self::Cl100kBase),
            (Some(name), None) if name.ends_with(".json") => Ok(Self::TokenizerJson(folder.join(name))),
            (Some(name), None) => {
                Err(format!("cannot import {name:?}: expected \"cl100k_base\", a .tiktoken rank file or a .json"))
            }
            (None, Some(RawTraining { ids, sample_bytes, language })) => {
                let total: f64 = language.values().map(|share| share.0).sum();
                if ids < 259 {
                    return Err(format!("train.ids {ids} is too few: 256 bytes and 3 special tokens come first"));
                }
                if (total - 1.0).abs() > 1e-9 {
                    return Err(format!("train.language shares add up to {total:.3}, not to 1"));
                }
                Ok(Self::Train { ids, sample_bytes: sample_bytes.0, language })
            }
            _ => Err("say either import = \"...\" or train = { ... }".to_owned()),
        }
    }

    /// The plan as text.
    pub fn explain(&self) -> String {
        match self {
            Self::Cl100kBase => "  cl100k_base, built in: 100256 ranks, 3 special ids from 100256 on\n".to_owned(),
            Self::RankFile(path, pattern) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                format!("  imported from {name}, 3 special ids behind its own; pattern {}\n", pattern.spelling())
            }
            Self::TokenizerJson(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                format!("  imported from {name}; special ids that it lacks behind its own\n")
            }
            Self::Train { ids, sample_bytes, language } => {
                let mut text = format!("  byte-level BPE of {ids} ids, trained on {} bytes:", Count(*sample_bytes));
                for (lang, share) in language {
                    let _ = write!(text, " {lang} {:.1} %", share.0 * 100.0);
                }
                let _ = writeln!(text, "\n  special ids: {} end of text, {} false, {} true", ids - 3, ids - 2, ids - 1);
                text
            }
        }
    }
}
