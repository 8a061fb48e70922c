//! A document: one text with its origin, and the record that stays behind where one is dropped.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::packed::Span;

/// What a document is for: it decides where loss is taken and which share of the mix it counts towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Running text; every token carries loss.
    Plain,
    /// A prompt with its answer; every token carries loss, as in FLM-101B, or only the answer's.
    Instruction,
    /// A statement that is true or false; only its label carries loss (FreeLM's teacher signal).
    Proposition,
}

impl Kind {
    /// All kinds, in the order in which they are listed everywhere.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Instruction, Self::Proposition];

    /// The name in files and run files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Instruction => "instruction",
            Self::Proposition => "proposition",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A document's identity: 16 bytes of the hash of its source and its place in the source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocId(pub [u8; 16]);

impl DocId {
    /// The id of the record at `locator` (for instance `file.jsonl.zst:12`) of `source`.
    pub fn new(source: &str, locator: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(source.len() as u64).to_le_bytes());
        hasher.update(source.as_bytes());
        hasher.update(locator.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(id)
    }
}

impl DocId {
    /// The id that is written as 32 hexadecimal digits.
    pub fn parse(written: &str) -> Option<Self> {
        let is_hex = written.len() == 32 && written.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = u128::from_str_radix(Some(written).filter(|_| is_hex)?, 16).ok()?;
        Some(Self(id.to_be_bytes()))
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for DocId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A document that was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Hash of source and locator.
    pub id: DocId,
    /// The cleaned text; never empty.
    pub text: String,
    /// `en` or `zh` (or whatever the run file accepts).
    pub lang: String,
    /// Name of the `[[source]]`.
    pub source: String,
    /// What it is for.
    pub kind: Kind,
    /// Where it came from, if known.
    pub url: Option<String>,
    /// Licence of the source.
    pub license: String,
    /// Whether the statement is true; only propositions have one.
    pub label: Option<bool>,
    /// Bytes of the text whose tokens carry loss, in order; `None` where all do.
    pub loss: Option<Vec<Span>>,
    /// Anything else as a JSON object; holds at least `locator`.
    pub meta: String,
    /// Quality signals, in the order of the names handed to the writer.
    pub signals: Vec<f32>,
}

/// What stays of a document that was dropped, so that any drop can be argued with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Hash of source and locator.
    pub id: DocId,
    /// Name of the `[[source]]`.
    pub source: String,
    /// File and record.
    pub locator: String,
    /// The language found, or `unknown`.
    pub lang: String,
    /// What it would have been for.
    pub kind: Kind,
    /// The rule that dropped it.
    pub rule: String,
    /// The evidence: the measured value and the limit, or the document it duplicates.
    pub detail: String,
    /// The beginning of its text, on one line; empty where none could be read.
    pub excerpt: String,
}
