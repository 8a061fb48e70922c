//! Compares every id that a rival gave with ours.
//!
//! Called with the name of a task and `-tokens`, each program leaves `tokens-SYSTEM.bin` in the scratch folder: for each document the number
//! of its tokens, then their ids, all `u32`, little-endian. A rival may have had fewer documents than we had: the first ones. Files rather
//! than a hash, since a hash of all documents says nothing about a prefix of them, and not how much differs.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

use super::Places;

/// In how many documents two systems differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    n_documents: usize,
    n_different: usize,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self.n_different {
            0 => write!(out, "same tokens"),
            n => write!(out, "other tokens in {n} of {} documents", self.n_documents),
        }
    }
}

/// Compares what a rival left, which is removed, with what we left.
pub(super) fn compare(places: &Places, ours: &str, rival: &str) -> anyhow::Result<Difference> {
    let read = |system: &str| {
        let path = path(places, system);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let difference = differences(&read(ours)?, &read(rival)?);
    forget(places, rival);
    difference.with_context(|| format!("the tokens of {rival} cannot be compared"))
}

/// Removes what a system left, tens of megabytes, if it left any.
pub(super) fn forget(places: &Places, system: &str) {
    drop(fs::remove_file(path(places, system)));
}

fn path(places: &Places, system: &str) -> PathBuf {
    places.scratch.join(format!("tokens-{system}.bin"))
}

fn differences(mut ours: &[u8], mut theirs: &[u8]) -> anyhow::Result<Difference> {
    let mut difference = Difference { n_documents: 0, n_different: 0 };
    while !theirs.is_empty() {
        ensure!(!ours.is_empty(), "there are more documents than ours");
        difference.n_documents += 1;
        difference.n_different += usize::from(take_document(&mut ours)? != take_document(&mut theirs)?);
    }
    ensure!(difference.n_documents > 0, "there are no documents");
    Ok(difference)
}

/// The ids of the next document, as they lie in the file.
fn take_document<'f>(file: &mut &'f [u8]) -> anyhow::Result<&'f [u8]> {
    let Some((n_tokens, rest)) = file.split_first_chunk() else { bail!("a document's length is cut off") };
    let n_bytes = 4 * u32::from_le_bytes(*n_tokens) as usize;
    let (ids, rest) = rest.split_at_checked(n_bytes).context("a document's tokens are cut off")?;
    *file = rest;
    Ok(ids)
}

#[cfg(test)]
mod tests;
