//! Reads tiktoken rank files: one token a line, its bytes in base64, a space, its merge rank.
//!
//! Ranks become ids as they are. The lines may come in any order, as long as every rank from 0 on occurs once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustc_hash::FxHashMap;

use crate::pattern::Pattern;
use crate::vocabulary::{Vocabulary, VocabularyError};

/// The ranks of GPT-3.5 and GPT-4. Where they come from is told in `vocabularies/NOTICE`.
const CL100K_BASE: &[u8] = include_bytes!("../vocabularies/cl100k_base.tiktoken.zst");

/// The built-in vocabulary `cl100k_base` with our special tokens after its 100,256 ranks. Takes a moment to build: keep it.
pub fn cl100k_base() -> Vocabulary {
    let file = zstd::decode_all(CL100K_BASE).expect("the built-in file is whole: a test reads it");
    read_tiktoken(&file, "cl100k_base", Pattern::Cl100k).expect("the built-in file is a vocabulary: a test reads it")
}

/// Reads a rank file, which does not say by which pattern its texts are cut. `source` is what errors call it.
pub fn read_tiktoken(file: &[u8], source: &str, pattern: Pattern) -> Result<Vocabulary, ImportError> {
    let at_line = |(line, cause)| ImportError::Line { source_name: source.into(), line, cause };
    let mut lines = read_lines(file).map_err(at_line)?;
    check_distinct(&lines).map_err(at_line)?;
    lines.sort_unstable_by_key(|&(_, rank)| rank);
    if let Some((rank, _)) = (0..).zip(&lines).find(|&(rank, line)| line.1 != rank) {
        return Err(ImportError::MissingRank { source_name: source.into(), rank });
    }
    let tokens: Vec<Vec<u8>> = lines.into_iter().map(|(token, _)| token).collect();
    Vocabulary::new(pattern, &tokens).map_err(|cause| ImportError::Vocabulary { source_name: source.into(), cause })
}

/// Why a rank file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A line is wrong.
    #[error("{source_name}, line {line}")]
    Line {
        /// The file, as the caller calls it.
        source_name: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        #[source]
        cause: LineError,
    },
    /// Ranks have a gap.
    #[error("{source_name}: no token has rank {rank}, but some have higher ranks")]
    MissingRank {
        /// The file, as the caller calls it.
        source_name: String,
        /// The lowest rank that is missing.
        rank: u32,
    },
    /// Every line is right, but together they are no vocabulary.
    #[error("{source_name} is not a byte-level BPE vocabulary")]
    Vocabulary {
        /// The file, as the caller calls it.
        source_name: String,
        /// What is wrong. Ids are ranks.
        #[source]
        cause: VocabularyError,
    },
}

/// What is wrong with a line of a rank file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not two fields.
    #[error("expected a token in base64, one space and a rank")]
    Shape,
    /// The first field is no token.
    #[error("the token is not base64")]
    Base64(#[source] base64::DecodeError),
    /// A token of no bytes.
    #[error("the token is empty")]
    Empty,
    /// The second field is no number.
    #[error("the rank {rank:?} is not a number below 2^31")]
    Rank {
        /// What is there instead.
        rank: String,
    },
    /// A second line for a rank.
    #[error("rank {rank} has been given on line {first_line}")]
    DuplicateRank {
        /// The rank.
        rank: u32,
        /// Where it was first.
        first_line: usize,
    },
    /// A second line for a token.
    #[error("the token has been given on line {first_line}")]
    DuplicateToken {
        /// Where it was first.
        first_line: usize,
    },
}

/// Ids are handed to tensors as signed 32-bit numbers.
const RANK_LIMIT: u32 = 1 << 31;

/// What a line says: the bytes of a token and its rank.
type RankedToken = (Vec<u8>, u32);

/// All lines, in order.
fn read_lines(file: &[u8]) -> Result<Vec<RankedToken>, (usize, LineError)> {
    let file = file.strip_suffix(b"\n").unwrap_or(file);
    file.split(|&byte| byte == b'\n')
        .zip(1..)
        .map(|(line, line_number)| read_line(line).map_err(|error| (line_number, error)))
        .collect()
}

fn read_line(line: &[u8]) -> Result<RankedToken, LineError> {
    let mut fields = line.split(|&byte| byte == b' ');
    let (Some(token), Some(rank), None) = (fields.next(), fields.next(), fields.next()) else {
        return Err(LineError::Shape);
    };
    let token = STANDARD.decode(token).map_err(LineError::Base64)?;
    if token.is_empty() {
        return Err(LineError::Empty);
    }
    let number = std::str::from_utf8(rank).ok().and_then(|rank| rank.parse().ok());
    match number.filter(|&rank| rank < RANK_LIMIT) {
        Some(rank) => Ok((token, rank)),
        None => Err(LineError::Rank { rank: String::from_utf8_lossy(rank).into_owned() }),
    }
}

fn check_distinct(lines: &[RankedToken]) -> Result<(), (usize, LineError)> {
    let mut line_of_rank = FxHashMap::default();
    let mut line_of_token = FxHashMap::default();
    for (&(ref token, rank), line) in lines.iter().zip(1..) {
        if let Some(first_line) = line_of_rank.insert(rank, line) {
            return Err((line, LineError::DuplicateRank { rank, first_line }));
        }
        if let Some(first_line) = line_of_token.insert(token, line) {
            return Err((line, LineError::DuplicateToken { first_line }));
        }
    }
    Ok(())
}
