//! Lines, paragraphs and spans that stood in an earlier document, or earlier in the same one, are cut out.
//!
//! Every piece of every document that is left is hashed, the hashes are sorted, and of the pieces with one hash all but the
//! first few go. Whatever is cut out still stands somewhere: an earlier copy was cut only because of a still earlier one, and where
//! a document goes as a whole for what was cut out of it, the pieces are looked for again without it (`run/decide.rs`).
//! Spans are found wherever they begin and end, as with a suffix array (Lee et al., "Deduplicating Training Data Makes
//! Language Models Better", arXiv 2107.06499), and cut as far as whole sentences or lines go, but by the hash of each window of as many units as the shortest span has, so
//! that it can be done outside of memory and never cuts a character. Two different windows share a 64-bit hash with a
//! probability of about `n²/2^65`: one in four thousand for a corpus of 10^8 windows, at which one span too much would go.
//!
//! Costs: 16 bytes of spill and their share of a sort for each line, and where spans are looked for, for each word.

use std::path::Path;

use corpus::Sorter;
use xxhash_rust::xxh3::xxh3_64;

use super::find::{ByShard, Candidates, Comparable, Positions};
use super::shingles::{for_each_unit, mix, shingles};
use super::{RepeatedPieces, RepeatedSpans, Repeats};

/// A piece is named by its document's position and its index, which has so many bits: 64 million words in a document.
const INDEX_BITS: u32 = 26;

/// What a piece is, as the highest bits of its index in a [`ByShard`].
const LINE: u64 = 0;
const PARAGRAPH: u64 = 1;
const SPAN: u64 = 2;
const WHAT_SHIFT: u32 = 32;

/// The repeated pieces of each shard's documents: position, what and index. They are written to the file `name`.
pub(crate) fn find_repeats<C: Candidates>(
    candidates: &C,
    config: &Repeats,
    dropped: &Positions,
    (folder, name): (&Path, &str),
    n_bytes_max: usize,
) -> Result<ByShard<2>, C::Error> {
    let n_bytes = n_bytes_max / 3;
    let mut repeated = Sorter::<2>::new(&folder.join("repeated"), n_bytes);
    let passes = [
        config.lines.map(|lines| (LINE, lines.occurrences_max)),
        config.paragraphs.map(|paragraphs| (PARAGRAPH, paragraphs.occurrences_max)),
        config.spans.map(|spans| (SPAN, spans.occurrences_max)),
    ];
    for (what, n_stay) in passes.into_iter().flatten() {
        let mut pieces = Sorter::<2>::new(&folder.join("pieces"), n_bytes);
        hash_pieces(candidates, config, what, dropped, &mut pieces)?;
        let mut pieces = pieces.finish()?;
        let (mut open, mut n_seen) = (None, 0);
        while let Some([hash, place]) = pieces.next()? {
            n_seen = if open == Some(hash) { n_seen + 1_u64 } else { 1 };
            open = Some(hash);
            if n_seen > u64::from(n_stay.get()) {
                let index = place & ((1 << INDEX_BITS) - 1);
                repeated.push([place >> INDEX_BITS, what << WHAT_SHIFT | index])?;
            }
        }
    }
    Ok(ByShard::write(&folder.join(name), repeated.finish()?, candidates.starts())?)
}

fn hash_pieces<C: Candidates>(
    candidates: &C,
    config: &Repeats,
    what: u64,
    dropped: &Positions,
    pieces: &mut Sorter<2>,
) -> Result<(), C::Error> {
    let starts = candidates.starts();
    for shard in 0..starts.len() - 1 {
        candidates.check("repeated pieces", starts[shard], starts[starts.len() - 1])?;
        let prints = candidates.fingerprints(shard)?;
        let rows: Vec<usize> = (0..prints.len())
            .filter(|&row| prints[row].is_plain && !dropped.contains(starts[shard] + row as u64))
            .collect();
        for (row, comparable) in rows.iter().zip(candidates.texts(shard, &rows)?) {
            let place = (starts[shard] + *row as u64) << INDEX_BITS;
            for (index, hash) in piece_hashes(&comparable, config, what) {
                assert!(index < 1 << INDEX_BITS, "a document has fewer pieces than its index can tell apart");
                pieces.push([hash, place | index])?;
            }
        }
    }
    Ok(())
}

fn piece_hashes(comparable: &Comparable, config: &Repeats, what: u64) -> Vec<(u64, u64)> {
    let text = &comparable.text;
    let hash_all = |pieces: Vec<(usize, usize)>, config: RepeatedPieces| {
        let counts = |&(_, (start, end)): &(u64, (usize, usize))| {
            text[start..end].trim().chars().take(config.chars_min as usize).count() == config.chars_min as usize
        };
        let hash = |(index, (start, end)): (u64, (usize, usize))| (index, xxh3_64(text[start..end].trim().as_bytes()));
        (0..).zip(pieces).filter(counts).map(hash).collect()
    };
    match (what, config) {
        (LINE, Repeats { lines: Some(lines), .. }) => hash_all(line_ranges(text), *lines),
        (PARAGRAPH, Repeats { paragraphs: Some(paragraphs), .. }) => hash_all(paragraph_ranges(text), *paragraphs),
        (SPAN, Repeats { spans: Some(RepeatedSpans { units, .. }), .. }) => {
            let n = units.get() as usize;
            let windows = shingles(text, comparable.unit, n);
            // A text shorter than a window is one shingle, but no span.
            let mut n_units = 0;
            for_each_unit(text, comparable.unit, |_, _| n_units += 1);
            let windows = if n_units < n { Vec::new() } else { windows };
            (0..).zip(windows.into_iter().map(|hash| mix(hash ^ comparable.unit as u64))).collect()
        }
        _ => Vec::new(),
    }
}

/// A document without its repeated pieces, and how many of its characters went. `repeated` are the document's rows.
pub(crate) fn remove_repeats(comparable: &Comparable, config: &Repeats, repeated: &[[u64; 2]]) -> (String, usize) {
    let text = &comparable.text;
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    let of =
        |what: u64| repeated.iter().filter(move |row| row[1] >> WHAT_SHIFT == what).map(|row| row[1] as u32 as usize);
    for (what, all) in [(LINE, line_ranges(text)), (PARAGRAPH, paragraph_ranges(text))] {
        ranges.extend(of(what).map(|index| all[index]));
    }
    if let Some(spans) = &config.spans {
        let mut units = Vec::new();
        for_each_unit(text, comparable.unit, |_, range| units.push(range));
        let windows: Vec<usize> = of(SPAN).collect();
        ranges.extend(whole_sentences(text, &units, &windows, spans.units.get() as usize));
    }
    ranges.sort_unstable();
    let mut kept = String::with_capacity(text.len());
    let (mut end, mut n_removed) = (0, 0);
    for (start, range_end) in ranges {
        if start > end {
            kept.push_str(&text[end..start]);
        }
        let from = start.max(end);
        if range_end > from {
            n_removed += text[from..range_end].chars().count();
            end = range_end;
        }
    }
    kept.push_str(&text[end..]);
    (close_gaps(&kept), n_removed)
}

/// The repeated windows joined to spans, each drawn in to the ends of sentences or lines inside it: what is left around a cut
/// is whole sentences. A span that then holds fewer than `n` units stays.
fn whole_sentences(text: &str, units: &[(usize, usize)], windows: &[usize], n: usize) -> Vec<(usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for &first in windows {
        let end = first + n;
        match spans.last_mut() {
            Some((_, last)) if first <= *last => *last = end.max(*last),
            _ => spans.push((first, end)),
        }
    }
    // Where the last sentence ends in front of unit `at`.
    let border = |at: usize| match at {
        0 => Some(0),
        _ if at == units.len() => Some(text.len()),
        _ => sentence_end(&text[units[at - 1].1..units[at].0]).map(|end| units[at - 1].1 + end),
    };
    let draw_in = |(start, end): (usize, usize)| {
        let (start, from) = (start..end).find_map(|at| Some((at, border(at)?)))?;
        let (end, to) = (start..=end).rev().find_map(|at| Some((at, border(at)?)))?;
        (end >= start + n).then_some((from, to))
    };
    spans.into_iter().filter_map(draw_in).collect()
}

/// Where a sentence ends in what stands between two words: behind its mark and the quotes and brackets that close with it, so
/// that what opens the next sentence stays with that one.
fn sentence_end(between: &str) -> Option<usize> {
    let mut ends = between.char_indices().filter(|&(at, char)| match char {
        '。' | '！' | '？' | '；' | '…' | '!' | '?' | ';' => true,
        // A line end alone may stand anywhere in a sentence; a blank line ends one.
        '\n' => between[..at].trim_end_matches([' ', '\t']).ends_with('\n'),
        '.' => between[at + 1..].starts_with(|next: char| next.is_whitespace() || is_closing(next)),
        _ => false,
    });
    let (at, mark) = ends.next_back()?;
    let behind = at + mark.len_utf8();
    let closed = if mark == '\n' { &between[behind..] } else { between[behind..].trim_start_matches(is_closing) };
    Some(between.len() - closed.len())
}

fn is_closing(char: char) -> bool {
    matches!(char, '”' | '’' | '」' | '』' | '）' | '】' | '》' | ')' | ']' | '"' | '\'')
}

/// No space is left at the end of a line, and at most one line is left blank between two.
fn close_gaps(text: &str) -> String {
    let mut closed = String::with_capacity(text.len());
    let mut n_blank = 0;
    for line in text.lines().map(str::trim_end) {
        n_blank = if line.is_empty() { n_blank + 1 } else { 0 };
        if n_blank < 2 {
            closed.push_str(line);
            closed.push('\n');
        }
    }
    closed.trim_matches('\n').to_owned()
}

/// Where the lines of a text begin and end, without their line ends.
fn line_ranges(text: &str) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        ranges.push((start, start + line.len()));
        start += line.len() + 1;
    }
    ranges
}

/// Where the paragraphs of a text begin and end: what stands between blank lines.
fn paragraph_ranges(text: &str) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    for (start, end) in line_ranges(text) {
        if text[start..end].trim().is_empty() {
            ranges.extend(open.take());
        } else {
            open = Some((open.map_or(start, |(first, _)| first), end));
        }
    }
    ranges.extend(open);
    ranges
}
