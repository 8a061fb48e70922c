//! The page. Every number on it comes from the run.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::clusters::{Fate, Fates};
use crate::curve::{Bin, Curve, LEAST, N_BINS, N_DRAWS, SIZES, mean_and_deviation, start_of};
use crate::documents::Settings;
use crate::{Found, Group, PUBLISHED};

/// The bins by which sizes are compared: where the bands decide.
const STEEP: std::ops::Range<usize> = 8..12;

/// The part of a bell curve that lies more than two deviations off.
const BEYOND_TWO: f64 = 0.0455;

/// Characters of a line of prose.
const LINE: usize = 120;

/// Writes the page.
pub(crate) fn page(settings: &Settings, found: &[Found]) -> String {
    let mut page = introduction(settings, found);
    page += &compared(found);
    page += &curves(found);
    page += &dropped(settings, found);
    page += &conclusion(settings, found);
    wrap(&page)
}

/// Prose in lines of at most `LINE` characters; tables, headings and pictures stay as they are.
fn wrap(page: &str) -> String {
    let mut text = String::new();
    for line in page.lines() {
        if line.starts_with(['|', '#', '!']) {
            add(&mut text, format_args!("{line}\n"));
            continue;
        }
        let indent = if line.starts_with("- ") { "  " } else { "" };
        let mut n_chars = 0;
        for (index, word) in line.split(' ').enumerate() {
            let n_more = word.chars().count();
            if index > 0 && n_chars + 1 + n_more > LINE {
                add(&mut text, format_args!("\n{indent}{word}"));
                n_chars = indent.len() + n_more;
            } else {
                add(&mut text, format_args!("{}{word}", if index > 0 { " " } else { "" }));
                n_chars += usize::from(index > 0) + n_more;
            }
        }
        text.push('\n');
    }
    text
}

fn introduction(settings: &Settings, found: &[Found]) -> String {
    let near = settings.near();
    let (bands, rows) = (near.bands, near.rows);
    let all: Vec<String> = found
        .iter()
        .map(|one| {
            format!(
                "{} {} documents ({} shingles)",
                count(one.n_documents as u64),
                one.name,
                count(one.n_shingles as u64)
            )
        })
        .collect();
    let sample: Vec<String> = found
        .iter()
        .map(|one| {
            format!("{} {} documents with {} pairs", count(one.n_plain.0 as u64), one.name, count(one.n_plain.1 as u64))
        })
        .collect();
    format!(
        "# Near duplicates against a search that misses nothing\n\n\
         Written, with its figure, by `cargo xtask near-duplicates`; every number is of that run. Documents are those \
         of the large corpus (docs/large-corpus.md says what its sources are), repaired as `moso ingest` repairs \
         them, without quality rules, Traditional Chinese turned into Simplified, each text once: {}. The settings \
         are `ingest/examples/near_duplicates/settings.toml`: {bands} bands of {rows} rows, shingles of {} words or \
         {} characters, duplicates from Jaccard {} on, each document compared with the first {} of a group at \
         most.\n\n\
         - **All pairs.** Of the documents of a language all pairs with a Jaccard similarity of {LEAST} or more were \
         listed, without a sketch and without leaving out frequent shingles. Shingles are ordered from the rarest to \
         the most frequent; two sets with Jaccard `t` must share one among the first `n - ceil(t n) + 1` of the \
         larger and `m - ceil(2 t m / (1 + t)) + 1` of the smaller (Xiao et al., WWW 2008), and each pair that does \
         is counted out in full. A pair that shares nothing but the most frequent shingles shares one of those too, \
         because then so many of its shingles are frequent that they reach into the beginning. No list is cut off.\n\
         - **Plain loop.** {} were also compared each with each, over sets of strings that know nothing of hashes: \
         the same pairs, the same similarities to the last bit.\n\
         - **Slow twin.** From the list, the band keys and the settings it was worked out document by document what \
         ingest must do. Ingest, run over the same files, did the same for every document: dropped or not, for which \
         other document, with which similarity, and how many copies the document that stays stands for. (The run \
         stops where one differs.)\n\n\
         ",
        all.join(" and "),
        near.shingle_words,
        near.shingle_chars,
        near.jaccard_min.0,
        near.compared_max,
        sample.join(" and "),
    )
}

/// Documents and pairs by source.
fn compared(found: &[Found]) -> String {
    let mut table = "| source |".to_owned();
    found.iter().for_each(|one| add(&mut table, format_args!(" {} documents | pairs |", one.name)));
    table += "\n| --- |";
    found.iter().for_each(|_| table += " --: | --: |");
    table += "\n";
    let sources: BTreeSet<&String> = found.iter().flat_map(|one| one.by_source.keys()).collect();
    for source in sources {
        add(&mut table, format_args!("| {source} |"));
        for one in found {
            let (documents, pairs) = one.by_source.get(source).copied().unwrap_or_default();
            add(&mut table, format_args!(" {} | {} |", count(documents), count(pairs)));
        }
        table += "\n";
    }
    table += "| all |";
    for one in found {
        add(&mut table, format_args!(" {} | {} |", count(one.n_documents as u64), count(one.n_pairs as u64)));
    }
    format!("## What was compared\n\nPairs stand at the source of the later document.\n\n{table}\n\n")
}

fn curves(found: &[Found]) -> String {
    let mut text = format!(
        "## As many pairs are proposed as the theory says\n\n\
         ![Share of pairs proposed over their similarity](near-duplicates.svg)\n\n\
         Lines are the theory, dots are ingest's own keys, bars two standard errors.\n\n\
         Of a pair with Jaccard `J`, `b` bands of `r` rows propose `1 - (1 - J^r)^b`; \"theory\" is the mean of that \
         over the pairs of a bin. The theory is about a hash function drawn at random, while the documents are what \
         they are. So the error was measured by drawing: all pairs were proposed {N_DRAWS} more times, each shingle \
         hashed anew with another seed, and the standard deviation over these draws is the standard error of one. \
         Pairs that have a document or a paragraph in common rise and fall together in a draw, so the error holds \
         however pairs hang together. `z` is the distance of ingest's own keys from the theory in such errors; \
         \"fewer\" says how many draws propose fewer pairs, a test that asks for no bell curve. The mean over the \
         draws, whose error is ten times smaller, shows what is systematic; beside it stands MinHash with a separate \
         hash function for every entry, drawn as often. No `z` is given where fewer than five pairs are expected on \
         one side.\n\n\
         "
    );
    for group in found.iter().flat_map(|one| &one.groups) {
        let Some(curve) = group.curves.first() else { continue };
        let (bands, rows) = (curve.bands.n_bands, curve.bands.n_rows);
        add(
            &mut text,
            format_args!("### {}: {bands} bands of {rows}, {} pairs\n\n", group.name, count(group.n_pairs as u64)),
        );
        text += &curve_table(curve);
        let (off, n_farther) = curve.off();
        add(
            &mut text,
            format_args!(
                "\nAll bins together: the squares of `z` sum to {off:.1}; {n_farther} of {N_DRAWS} draws are farther \
                 off.\n\n"
            ),
        );
    }
    text += &by_size(found);
    text += &others(found);
    text
}

fn curve_table(curve: &Curve) -> String {
    let bins = curve.bins();
    let is_classic = bins.iter().any(|bin| !bin.classic.is_empty());
    let mut table = "| Jaccard | pairs | theory % | ingest % | error | z | fewer | mean of draws % | z |".to_owned();
    table += if is_classic { " separate hashes % | z |\n" } else { "\n" };
    table += "| --- | --: | --: | --: | --: | --: | --: | --: | --: |";
    table += if is_classic { " --: | --: |\n" } else { "\n" };
    for (index, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.n_pairs > 0) {
        let (mean, deviation) = bin.drawn();
        let (fewer, equal) = bin.n_fewer_and_equal();
        let fewer = if equal == bin.draws.len() { "–".into() } else { fewer.to_string() };
        let cells = [
            name(index),
            count(bin.n_pairs),
            percent(bin, bin.expected),
            percent(bin, bin.shipped as f64),
            percent(bin, deviation),
            z(bin.z()),
            fewer,
            percent(bin, mean),
            z(bin.z_of_mean(&bin.draws)),
        ];
        add(&mut table, format_args!("| {} |", cells.join(" | ")));
        if is_classic {
            let (mean, _) = mean_and_deviation(&bin.classic);
            add(&mut table, format_args!(" {} | {} |", percent(bin, mean), z(bin.z_of_mean(&bin.classic))));
        }
        table += "\n";
    }
    table
}

/// Whether small sets follow the theory as large ones do.
fn by_size(found: &[Found]) -> String {
    let mut text = format!(
        "### By size\n\n\
         The same for the pairs between {:.2} and {:.2}, where the bands decide, by the shingles of the larger \
         document.\n\n\
         | | shingles | pairs | theory % | ingest % | z | mean of draws % | z | separate hashes % | z |\n\
         | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n",
        start_of(STEEP.start),
        start_of(STEEP.end),
    );
    for group in found.iter().filter_map(|one| one.groups.first()) {
        let Some(curve) = group.curves.first() else { continue };
        for (size, from) in SIZES.iter().enumerate() {
            let bin = Bin::sum(curve.bins_of_size(size)[STEEP].iter());
            let to = SIZES.get(size + 1).map_or("and more".to_owned(), |next| format!("to {}", next - 1));
            let cells = [
                group.name.clone(),
                format!("{from} {to}"),
                count(bin.n_pairs),
                percent(&bin, bin.expected),
                percent(&bin, bin.shipped as f64),
                z(bin.z()),
                percent(&bin, bin.drawn().0),
                z(bin.z_of_mean(&bin.draws)),
                percent(&bin, mean_and_deviation(&bin.classic).0),
                z(bin.z_of_mean(&bin.classic)),
            ];
            add(&mut text, format_args!("| {} |\n", cells.join(" | ")));
        }
    }
    text + "\n"
}

/// The other bands, in short.
fn others(found: &[Found]) -> String {
    let names: Vec<String> = PUBLISHED.iter().map(|(bands, rows, of)| format!("{bands} × {rows} ({of})")).collect();
    let mut text = format!(
        "### Other bands\n\nBands as others publish them, over the same shingles: {}. Theory, ingest's keys, `z`.\n\n",
        names.join(", ")
    );
    for group in found.iter().filter_map(|one| one.groups.first()) {
        let curves = &group.curves[1..];
        add(&mut text, format_args!("| {} | pairs |", group.name));
        curves
            .iter()
            .for_each(|curve| add(&mut text, format_args!(" {} × {} |", curve.bands.n_bands, curve.bands.n_rows)));
        text += "\n| --- | --: |";
        curves.iter().for_each(|_| text += " --: |");
        text += "\n";
        let all: Vec<Vec<Bin>> = curves.iter().map(Curve::bins).collect();
        for index in 0..N_BINS {
            let n_pairs = all.first().map_or(0, |bins| bins[index].n_pairs);
            add(&mut text, format_args!("| {} | {} |", name(index), count(n_pairs)));
            for bin in all.iter().map(|bins| &bins[index]).filter(|bin| bin.n_pairs > 0) {
                let (theory, ingest) = (percent(bin, bin.expected), percent(bin, bin.shipped as f64));
                add(&mut text, format_args!(" {theory}, {ingest}, {} |", z(bin.z())));
            }
            text += "\n";
        }
        text += "| draws farther off | |";
        curves.iter().for_each(|curve| add(&mut text, format_args!(" {} of {N_DRAWS} |", curve.off().1)));
        text += "\n\n";
    }
    text
}

fn dropped(settings: &Settings, found: &[Found]) -> String {
    let jaccard_min = settings.near().jaccard_min.0;
    let mut text = format!(
        "## What is dropped\n\n\
         Documents by their similarity to the earlier document that they are most similar to. \"Ideal\" drops what is \
         similar (from {jaccard_min} on) to an earlier document that stays, and misses no pair. \"Unverified\" takes \
         all documents with a common key for one cluster and keeps its first, as LSH without a look at the texts \
         does.\n\n\
         "
    );
    for one in found {
        add(
            &mut text,
            format_args!(
                "| {} | documents | ideal | ingest | unverified |\n| --- | --: | --: | --: | --: |\n",
                one.name
            ),
        );
        for (index, fate) in one.fates.bins.iter().enumerate() {
            let name = if index == 0 { format!("below {LEAST:.2}") } else { name(index - 1) };
            add(&mut text, format_args!("| {name} | {} |\n", fate_cells(fate)));
        }
        let all = one.fates.total();
        add(&mut text, format_args!("| all | {} |\n\n", fate_cells(&all)));
        text += &in_words(one, jaccard_min, settings.near().compared_max.get());
    }
    text
}

fn fate_cells(fate: &Fate) -> String {
    [fate.n_documents, fate.ideal, fate.dropped, fate.unverified].map(count).join(" | ")
}

fn in_words(found: &Found, jaccard_min: f64, compared_max: u32) -> String {
    let Fates { n_both, n_true, n_unlike_any, n_unlike_kept, n_proposed, n_compared, largest, .. } = found.fates;
    let all = found.fates.total();
    let share = |part: u64, whole: u64| format!("{:.2} %", 100.0 * part as f64 / whole.max(1) as f64);
    format!(
        "Ingest drops {} documents, and {} of them ({}) are as similar to the document that is named, and that stays, \
         by the exact list: precision. Of the {} that the ideal drops it drops {}: recall {}. Of the listed pairs {} \
         have a common key, and {} of these were compared, since a document is compared with the first {compared_max} \
         of a group. Unverified, {} documents more would go: {} are not {jaccard_min} similar to any earlier \
         document, and {} not to the one that stays for their cluster ({} of all that would be dropped). The largest \
         cluster has {} documents, unverified {}.\n\n\
         ",
        count(all.dropped),
        count(n_true),
        share(n_true, all.dropped),
        count(all.ideal),
        count(n_both),
        share(n_both, all.ideal),
        count(n_proposed),
        count(n_compared),
        count(all.unverified - all.dropped),
        count(n_unlike_any),
        count(n_unlike_kept),
        share(n_unlike_kept, all.unverified),
        count(largest.0),
        count(largest.1),
    )
}

fn conclusion(settings: &Settings, found: &[Found]) -> String {
    let groups: Vec<&Group> = found.iter().flat_map(|one| &one.groups).collect();
    let zs: Vec<f64> = groups
        .iter()
        .flat_map(|group| &group.curves)
        .flat_map(|curve| curve.bins())
        .filter_map(|bin| bin.z())
        .collect();
    let n_beyond = zs.iter().filter(|z| z.abs() > 2.0).count();
    let most = zs.iter().fold(0.0_f64, |most, z| most.max(z.abs()));
    let offs: Vec<usize> = groups.iter().flat_map(|group| &group.curves).map(|curve| curve.off().1).collect();
    let (least_off, most_off) = (offs.iter().min().copied().unwrap_or(0), offs.iter().max().copied().unwrap_or(0));
    let own: Vec<Bin> =
        found.iter().filter_map(|one| one.groups.first()?.curves.first()).flat_map(Curve::bins).collect();
    let gap = |bin: &Bin| 100.0 * (bin.share(bin.drawn().0) - bin.share(bin.expected));
    let gaps: Vec<f64> = own.iter().filter(|bin| bin.is_telling()).map(gap).collect();
    let (low, high) = gaps.iter().fold((0.0_f64, 0.0_f64), |(low, high), &gap| (low.min(gap), high.max(gap)));
    let kept: Vec<String> =
        found.iter().map(|one| format!("{} {} documents", count(one.fates.n_unlike_kept), one.name)).collect();
    format!(
        "## Conclusion\n\n\
         Pairs are proposed as often as the bands promise. Of {} bins that can tell something {n_beyond} are more \
         than two errors off ({:.0} would be by chance), {most:.1} at most; of {} curves as wholes, the one farthest \
         off has {least_off} of {N_DRAWS} draws beyond it, the nearest {most_off}. The mean of {N_DRAWS} draws, \
         with errors ten times smaller, resolves a difference that one draw cannot: it lies between {low:.1} and \
         +{high:.1} points of the formula, below it where pairs are rarely proposed and above it where they nearly \
         always are. That is how the sketch is made and no fault: in one round each shingle goes to one entry only, so \
         the entries of a sketch are drawn without replacement and agree a little more evenly than independent ones. \
         The curve is a little steeper than the formula, which is the good side at both ends, most so for documents \
         with about as many shingles as the sketch has entries; MinHash with a separate hash for every entry would \
         follow the formula, at many times the cost. What is dropped equals the slow twin in every document, every \
         drop is right by the exact list, and verifying is what makes it so: unverified, {} would have gone for one \
         that they are not {} similar to.\n",
        zs.len(),
        BEYOND_TWO * zs.len() as f64,
        offs.len(),
        kept.join(" and "),
        settings.near().jaccard_min.0,
    )
}

/// The bin's bounds.
fn name(bin: usize) -> String {
    if bin + 1 == N_BINS { "1".to_owned() } else { format!("{:.2} – {:.2}", start_of(bin), start_of(bin + 1)) }
}

fn percent(bin: &Bin, n: f64) -> String {
    format!("{:.2}", 100.0 * bin.share(n))
}

fn z(z: Option<f64>) -> String {
    z.map_or_else(|| "–".to_owned(), |z| format!("{z:+.1}"))
}

/// With commas.
fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes everything");
}
