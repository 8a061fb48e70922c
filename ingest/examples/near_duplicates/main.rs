//! `cargo xtask near-duplicates`: near duplicates on real documents, against a search that misses nothing.
//!
//! `near_duplicates RUN_FILE SETTINGS SCRATCH PAGE FIGURE`. All pairs of documents of a language with a Jaccard
//! similarity of 0.3 or more are found without a sketch ([`pairs`]). Then three questions: are as many of them proposed
//! as the theory of the bands says ([`curve`]), does ingest decide as a slow twin does that is given the proposed
//! pairs, and what is missed and what is saved by verifying ([`clusters`])? The answers go to a page and a figure
//! ([`report`], [`figure`]). It takes ten minutes or more.
#![expect(clippy::print_stdout, reason = "a person waits for it")]

mod clusters;
mod curve;
mod documents;
mod figure;
mod pairs;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use clusters::Fates;
use curve::{Bands, Curve, LEAST};
use documents::{Decided, Documents, Settings};
use ingest::Unit;
use pairs::Pair;

/// Bands as others publish them, beside those of the settings. Their shingles differ from ours; here all have ours.
const PUBLISHED: [(u32, u32, &str); 4] =
    [(20, 5, "duplodocus"), (26, 11, "OLMo, marin"), (9, 13, "SlimPajama, MAP-NEO"), (20, 13, "NeMo Curator")];

/// Documents that are also compared each with each.
const N_PLAIN: usize = 2000;

/// What was found in a language.
pub(crate) struct Found {
    pub(crate) name: &'static str,
    pub(crate) n_documents: usize,
    pub(crate) n_shingles: usize,
    /// Documents of a source, and pairs whose later document is one of them.
    pub(crate) by_source: BTreeMap<String, (u64, u64)>,
    pub(crate) n_pairs: usize,
    /// Documents and pairs of the sample that was also compared each with each.
    pub(crate) n_plain: (usize, usize),
    pub(crate) groups: Vec<Group>,
    pub(crate) fates: Fates,
}

/// Pairs that are shown together.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) n_pairs: usize,
    /// The first one is that of the settings.
    pub(crate) curves: Vec<Curve>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [run_file, settings, scratch, page, figure] = &arguments[..] else {
        return Err("usage: near_duplicates RUN_FILE SETTINGS SCRATCH PAGE FIGURE".into());
    };
    let settings = Settings::read(Path::new(run_file), Path::new(settings))?;
    let scratch = Path::new(scratch);
    println!("ingest, with near duplicates dropped");
    let decided = settings.decided(&scratch.join("with"))?;
    let mut found = Vec::new();
    for (lang, name) in [("en", "English"), ("zh", "Chinese")] {
        println!("{name}: ingest, without");
        let documents = settings.documents(&scratch.join("without"), lang)?;
        found.push(compare(documents, name, &settings, &decided)?);
    }
    let (n_documents, n_decided) =
        (found.iter().map(|one| one.n_documents).sum(), decided.kept.len() + decided.dropped.len());
    if usize::ne(&n_documents, &n_decided) {
        return Err(format!("{n_documents} documents were compared, ingest decided on {n_decided}").into());
    }
    let write =
        |path: &str, text: String| fs::write(path, text).map_err(|error| format!("cannot write {path}: {error}"));
    write(figure, figure::draw(&found))?;
    write(page, report::page(&settings, &found))?;
    println!("wrote {page} and {figure}");
    Ok(())
}

fn compare(
    documents: Documents,
    name: &'static str,
    settings: &Settings,
    decided: &Decided,
) -> Result<Found, Box<dyn Error>> {
    println!("{name}: all pairs of {} documents", documents.sets.len());
    let pairs = pairs::all_pairs(&documents.sets, LEAST);
    println!("{name}: {} pairs; a sample by the plain loop", pairs.len());
    let n_plain = check_plain(&documents, &pairs, settings)?;
    let near = settings.near();
    println!("{name}: what is dropped");
    let keys: Vec<&[u64]> = documents.documents.iter().map(|document| &document.keys[..]).collect();
    let by_key = clusters::Groups::new(&keys);
    let is_compared = |pair: &Pair| by_key.is_compared(&keys, pair, near.compared_max.get());
    let twin = clusters::decide(documents.sets.len(), &pairs, near.jaccard_min.0, is_compared);
    clusters::check_twin(&documents, &twin, decided)?;
    let fates = clusters::fates(&documents, &pairs, near, &twin);
    let is_apart = |at: u32| documents.documents[at as usize].source == settings.apart;
    let (apart, together): (Vec<Pair>, Vec<Pair>) =
        pairs.iter().partition(|pair| is_apart(pair.later) && is_apart(pair.earlier));
    let mut groups = Vec::new();
    if apart.len() > together.len() {
        groups.push(group(name.to_owned(), &documents, &together, settings, &PUBLISHED)?);
        groups.push(group(format!("{name}, {} alone", settings.apart), &documents, &apart, settings, &[])?);
    } else {
        groups.push(group(name.to_owned(), &documents, &pairs, settings, &PUBLISHED)?);
    }
    let mut by_source: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    documents.documents.iter().for_each(|document| by_source.entry(document.source.clone()).or_default().0 += 1);
    for pair in &pairs {
        let later = &documents.documents[pair.later as usize];
        by_source.entry(later.source.clone()).or_default().1 += 1;
    }
    let n_shingles = documents.sets.iter().map(Vec::len).sum();
    let n_documents = documents.sets.len();
    Ok(Found { name, n_documents, n_shingles, by_source, n_pairs: pairs.len(), n_plain, groups, fates })
}

/// The curves of the settings' bands and of `others`, where there are any.
fn group(
    name: String,
    documents: &Documents,
    pairs: &[Pair],
    settings: &Settings,
    others: &[(u32, u32, &'static str)],
) -> Result<Group, Box<dyn Error>> {
    let near = settings.near();
    let number = |n: u32| NonZeroU32::new(n).ok_or("no bands");
    let mut all = vec![Bands { n_bands: near.bands, n_rows: near.rows, of: "FineWeb, FineWeb2" }];
    for &(n_bands, n_rows, of) in others {
        all.push(Bands { n_bands: number(n_bands)?, n_rows: number(n_rows)?, of });
    }
    let mut curves = Vec::new();
    for bands in all {
        println!("{name}: {} bands of {}", bands.n_bands, bands.n_rows);
        let is_classic = curves.is_empty() && !others.is_empty();
        curves.push(curve::curve(documents, pairs, near, bands, is_classic));
    }
    Ok(Group { name, n_pairs: pairs.len(), curves })
}

/// Compares a sample of documents each with each: those of some pairs, and as many others. Gives the numbers of
/// documents and of pairs.
fn check_plain(documents: &Documents, pairs: &[Pair], settings: &Settings) -> Result<(usize, usize), Box<dyn Error>> {
    let n = documents.documents.len();
    let every = |of: usize, n: usize| (0..of).step_by(of.div_ceil(n).max(1));
    let of_pairs =
        every(pairs.len(), N_PLAIN / 4).flat_map(|at| [pairs[at].earlier as usize, pairs[at].later as usize]);
    let sample: Vec<usize> = of_pairs.chain(every(n, N_PLAIN / 2)).collect::<BTreeSet<usize>>().into_iter().collect();
    let texts: Vec<&str> = sample.iter().map(|&at| &documents.documents[at].text[..]).collect();
    let near = settings.near();
    let unit = Unit::of(documents.lang);
    let n_units = if unit == Unit::Words { near.shingle_words } else { near.shingle_chars };
    let plain = pairs::plain_pairs(&texts, unit, n_units.get() as usize, LEAST);
    let number = |at: u32| sample.binary_search(&(at as usize)).ok().map(|index| index as u32);
    let expected: Vec<Pair> = pairs
        .iter()
        .filter_map(|pair| Some(Pair { later: number(pair.later)?, earlier: number(pair.earlier)?, ..*pair }))
        .collect();
    if plain != expected {
        return Err(
            format!("the plain loop finds {} pairs where the search finds {}", plain.len(), expected.len()).into()
        );
    }
    Ok((sample.len(), plain.len()))
}
