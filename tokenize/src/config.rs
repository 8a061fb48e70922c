//! The `[tokenizer]` section of the run file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use corpus::{Count, Share};
use serde::{Deserialize, Serialize, Serializer};

/// `[tokenizer]` as it is written: either `import`, or `train` with what to train on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTokenizer {
    import: Option<String>,
    train: Option<RawTraining>,
}

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
    /// A rank file in tiktoken's format.
    RankFile(#[serde(serialize_with = "file_name")] PathBuf),
    /// A `tokenizer.json` that we wrote.
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

impl TokenizerConfig {
    /// Checks the section. Paths are relative to `folder`, that of the run file.
    pub fn new(raw: RawTokenizer, folder: &Path) -> Result<Self, String> {
        let RawTokenizer { import, train } = raw;
        match (import, train) {
            (Some(name), None) if name == "cl100k_base" => Ok(Self::Cl100kBase),
            (Some(name), None) if name.ends_with(".tiktoken") => Ok(Self::RankFile(folder.join(name))),
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
            Self::RankFile(path) | Self::TokenizerJson(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                format!("  imported from {name}, 3 special ids behind its own\n")
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
