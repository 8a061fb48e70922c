//! The largest sizes and counts that can be planned: far above anything that is trained, and so low that no product of them overflows.
//!
//! The largest product is that of FLOPs a token with blocks computed twice: 8 x layers x 2 context x attention is below 2^62 at these limits.

use thiserror::Error;

/// The most of everything that is written as a whole number, by what it is called in messages.
const MOST: [(&str, u64); 10] = [
    ("layers", 10_000),
    ("hidden", 1 << 20),
    ("heads", 1 << 20),
    ("head_size", 1 << 20),
    ("heads x head_size", 1 << 20),
    ("ffn", 1 << 22),
    ("vocabulary", 1 << 31),
    ("context", 1 << 24),
    ("batch rows", 1 << 24),
    ("tokens", TOKENS_MOST),
];

/// Tokens of a stage: ten million billion.
pub(crate) const TOKENS_MOST: u64 = 10_000_000_000_000_000;

/// Rows of a step.
pub(crate) const ROWS_MOST: u64 = 1 << 24;

/// Devices that a run is planned for.
pub const DEVICES_MOST: u64 = 1_000_000;

/// A size or a count that nothing has.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{what} is {value}; it must be at most {most}")]
pub struct SizeError {
    /// What it is called.
    pub what: &'static str,
    /// What it is.
    pub value: u64,
    /// What it may be.
    pub most: u64,
}

/// Checks a size against its limit. What has none passes.
pub fn check_size(what: &'static str, value: u64) -> Result<(), SizeError> {
    match MOST.iter().find(|(name, most)| *name == what && value > *most) {
        Some(&(_, most)) => Err(SizeError { what, value, most }),
        None => Ok(()),
    }
}
