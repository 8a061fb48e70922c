//! Duplicates: by address, by text, by similarity, and the lines, paragraphs and spans that many documents repeat.
//!
//! The first document stays, in the order in which the run file lists the sources; whatever repeats it goes. Four questions
//! are asked one after another, each of what the one before it left: is there an earlier document with this address, with
//! this text, with nearly this text ([`find`]), and which of its lines, paragraphs or spans stood somewhere before
//! ([`repeats`])? A document is dropped as a near duplicate only once its full set of shingles was compared with that of a
//! document that stays: sketches merely propose pairs. Every drop names the document it repeats.
//!
//! Documents are compared with their like only: of the same kind, and, but for the address, of the same language.
//!
//! Memory does not grow with the corpus beyond some bits a document and eight bytes a shard: everything else is sorted
//! outside of memory ([`corpus::Sorter`]).

mod find;
mod fingerprint;
mod repeats;
mod shingles;
mod sketch;

use std::num::{NonZeroU8, NonZeroU32};

use corpus::Share;
use serde::{Deserialize, Serialize};

pub(crate) use find::{ByShard, Candidates, Comparable, Duplicate, Found, Positions, Relation, find_duplicates};
pub use fingerprint::{Fingerprint, fingerprint};
pub(crate) use repeats::{find_repeats, remove_repeats};
pub use shingles::shingles;
pub use sketch::{band_keys, proposed};
#[cfg(test)]
pub(crate) use sketch::{jaccard, sketch};

/// `[ingest.duplicates]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duplicates {
    /// Drop documents that have the address of an earlier one (scheme, `www.`, fragments and tracking parameters aside).
    pub url: bool,
    /// Drop documents that differ only in case and white space from an earlier one.
    pub exact: bool,
    /// Drop documents that share most of their shingles with an earlier one; left out, none are.
    pub near: Option<NearDuplicates>,
    /// Cut out what stood in earlier documents; left out, nothing is.
    pub repeats: Option<Repeats>,
}

/// `[ingest.duplicates.near]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearDuplicates {
    /// Groups of hashes; two documents that agree in one group are compared.
    pub bands: NonZeroU32,
    /// Hashes in a group.
    pub rows: NonZeroU32,
    /// Words in a shingle of a language that puts spaces between words.
    pub shingle_words: NonZeroU32,
    /// Characters in a shingle of any other language.
    pub shingle_chars: NonZeroU32,
    /// Least Jaccard similarity of the full sets of shingles.
    pub jaccard_min: Share,
    /// Least share of the later document's shingles that the earlier one holds, for a document that is part of a longer one; left
    /// out, only the Jaccard similarity counts.
    pub containment_min: Option<Share>,
    /// With how many documents of one group a document is compared at most, the first ones: what keeps the time of a cluster of
    /// a million pages in bounds.
    pub compared_max: NonZeroU32,
}

/// `[ingest.duplicates.repeats]`: what is cut out of plain documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeats {
    /// Whole lines.
    pub lines: Option<RepeatedPieces>,
    /// Whole paragraphs: what stands between two blank lines.
    pub paragraphs: Option<RepeatedPieces>,
    /// Runs of words or characters, wherever they begin (Lee et al., arXiv 2107.06499).
    pub spans: Option<RepeatedSpans>,
    /// A document of which more than this share of characters stood before is dropped whole.
    pub repeated_max: Share,
}

/// `[ingest.duplicates.repeats.lines]` and `.paragraphs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepeatedPieces {
    /// Shorter pieces stay: a heading or a closing brace may come again.
    pub chars_min: u32,
    /// How many occurrences stay, the first ones.
    pub occurrences_max: NonZeroU8,
}

/// `[ingest.duplicates.repeats.spans]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepeatedSpans {
    /// Length of the shortest span that is found, in words, or in characters where a language has no spaces.
    pub units: NonZeroU32,
    /// How many occurrences stay, the first ones.
    pub occurrences_max: NonZeroU8,
}
