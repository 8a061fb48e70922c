//! How much of a text repeats itself: lines, paragraphs, the most frequent n-gram, long n-grams that stood before.
//!
//! The measures are those of Gopher (arXiv 2112.11446, table A1) as datatrove counts them. For n-grams that stood
//! before, the text is read from the start: one that was seen is counted and skipped as a whole, one that wasn't is
//! remembered and the reading goes on by one unit, so that nothing is counted twice.
//!
//! Cost: one look into a hash table a unit for the shortest n-grams. A longer n-gram can only repeat where both
//! shorter ones inside it do, so all other lengths look at those places alone; in ordinary text that is a few in a
//! hundred.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::hash::{Table, next_sum, power};
use super::ratio;

/// Lengths of n-grams whose most frequent one is measured.
pub(super) const N_TOP: usize = 3;
/// Lengths of n-grams of which those that stood before are measured.
pub(super) const N_DUPLICATE: usize = 6;

/// Shares of a text that repeat other parts of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Repetition {
    /// Share of paragraphs that stood before.
    pub duplicate_paragraphs: f64,
    /// Share of characters in those.
    pub duplicate_paragraph_chars: f64,
    /// Share of lines that stood before.
    pub duplicate_lines: f64,
    /// Share of characters in those.
    pub duplicate_line_chars: f64,
    /// Share of characters in the most frequent n-gram, for each length.
    pub top_ngram_chars: [f64; N_TOP],
    /// Share of characters in n-grams that stood before, for each length.
    pub duplicate_ngram_chars: [f64; N_DUPLICATE],
}

/// A text as units.
#[derive(Clone, Copy)]
pub(super) struct Units<'a> {
    /// The hash of each.
    pub(super) hashes: &'a [u64],
    /// Characters of all up to and with each one.
    pub(super) chars_to: &'a [u32],
    /// Characters that are put between two units of an n-gram.
    pub(super) gap: usize,
    /// How often the most frequent n-gram has to occur to be one. datatrove takes the first n-gram where none occurs twice.
    pub(super) top_times_min: u32,
    /// Units in the n-grams of [`Repetition::top_ngram_chars`], ascending.
    pub(super) top: [usize; N_TOP],
    /// Units in the n-grams of [`Repetition::duplicate_ngram_chars`], ascending, longer than those of `top`.
    pub(super) duplicate: [usize; N_DUPLICATE],
}

/// A line and what has been computed of it.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) n_chars: usize,
    pub(super) hash: u64,
    /// Units up to the end of this line.
    pub(super) units_to: usize,
    /// Whether it is looked at: rulers, borders of tables and closing braces are repeated in good texts too.
    pub(super) is_text: bool,
}

/// What is used again for every text.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) table: Table,
    sums: Vec<u64>,
    /// Positions whose n-gram occurs more than once, or may.
    candidates: Vec<u32>,
    places: Vec<u32>,
}

/// Measures a text of `n_chars` characters; `lines` are all its lines, blank ones too.
pub(super) fn measure_repetition(
    text: &str,
    n_chars: usize,
    lines: &[Line],
    units: Units,
    tables: &mut Tables,
) -> Repetition {
    let mut found = Repetition::default();
    let written = || lines.iter().filter(|line| line.end > line.start && line.is_text);
    let (n, n_duplicates, n_duplicate_chars) =
        count_duplicates(written().map(|line| (line.hash, line.n_chars)), lines.len(), &mut tables.table);
    found.duplicate_lines = ratio(n_duplicates, n);
    found.duplicate_line_chars = ratio(n_duplicate_chars, n_chars);
    let n_lines = n;
    let (n, n_duplicates, n_duplicate_chars) =
        count_duplicates(paragraphs(text, lines), lines.len(), &mut tables.table);
    // A text without blank lines is one paragraph.
    assert!(n <= n_lines, "every paragraph has a line");
    found.duplicate_paragraphs = ratio(n_duplicates, n);
    found.duplicate_paragraph_chars = ratio(n_duplicate_chars, n_chars);
    if lines.iter().all(|line| line.is_text) {
        measure_ngrams(units, n_chars, tables, &mut found);
    } else {
        let (hashes, chars_to) = units.of_text(lines);
        measure_ngrams(Units { hashes: &hashes, chars_to: &chars_to, ..units }, n_chars, tables, &mut found);
    }
    found
}

/// How many there are, how many stood before, and the characters of those.
pub(super) fn count_duplicates(
    parts: impl Iterator<Item = (u64, usize)>,
    n_max: usize,
    table: &mut Table,
) -> (usize, usize, usize) {
    table.reset(n_max);
    let (mut n, mut n_duplicates, mut n_duplicate_chars) = (0, 0, 0);
    for (hash, n_chars) in parts {
        n += 1;
        let place = table.add(hash);
        if table.count(place) > 1 {
            n_duplicates += 1;
            n_duplicate_chars += n_chars;
        }
    }
    (n, n_duplicates, n_duplicate_chars)
}

/// Hash and characters of each paragraph: lines without a blank one between them.
fn paragraphs<'a>(text: &'a str, lines: &'a [Line]) -> impl Iterator<Item = (u64, usize)> + 'a {
    let is_text = |lines: &&[Line]| lines.iter().any(|line| line.is_text);
    lines.split(|line| line.end == line.start).filter(is_text).map(|lines| {
        let [first, ..] = lines else { unreachable!("empty ones were left out") };
        let end = lines[lines.len() - 1].end;
        let n_chars = lines.iter().map(|line| line.n_chars).sum::<usize>() + lines.len() - 1;
        let hash = if lines.len() == 1 { first.hash } else { xxh3_64(&text.as_bytes()[first.start..end]) };
        (hash, n_chars)
    })
}

fn measure_ngrams(units: Units, n_chars: usize, tables: &mut Tables, found: &mut Repetition) {
    let n_units = units.hashes.len();
    tables.sums.clear();
    tables.sums.push(0);
    let mut sum = 0;
    for &hash in units.hashes {
        sum = next_sum(sum, hash);
        tables.sums.push(sum);
    }
    tables.candidates.clear();
    tables.candidates.extend(0..n_units as u32);
    let mut before = 0;
    for (index, &n) in units.top.iter().enumerate() {
        if n > n_units {
            break;
        }
        let top = count_ngrams(units, n, n - before, tables);
        let n_times = if top.count >= units.top_times_min { top.count as usize } else { 0 };
        let n_top_chars = n_times * (units.chars(top.first, n) + (n - 1) * units.gap);
        // The most frequent of `哈哈哈哈` covers some characters twice.
        found.top_ngram_chars[index] = ratio(n_top_chars, n_chars).min(1.0);
        before = n;
    }
    if let Some(n) = units.duplicate.first().copied().filter(|&n| n <= n_units) {
        count_ngrams(units, n, n - before, tables);
        for (index, &n) in units.duplicate.iter().enumerate() {
            found.duplicate_ngram_chars[index] = ratio(count_seen_before(units, n, tables), n_chars);
        }
    }
}

struct Top {
    count: u32,
    first: usize,
}

/// The most frequent n-gram, the first of several. Leaves in `tables.candidates` where n-grams stand that occur more than
/// once; on entry, it holds those of the next shorter length, which is `n_more` units less, or every position.
fn count_ngrams(units: Units, n: usize, n_more: usize, tables: &mut Tables) -> Top {
    let Tables { table, sums, candidates, places } = tables;
    let factor = power(n);
    let n_positions = (units.hashes.len() + 1 - n) as u32;
    // A position that begins a repeated shorter n-gram may begin a longer one only if the last shorter one in it,
    // `n_more` units on, is repeated too.
    keep_pairs(candidates, n_more as u32, n_positions, units.hashes.len());
    table.reset(candidates.len());
    places.clear();
    for &position in candidates.iter() {
        places.push(table.add(ngram(sums, position as usize, n, factor)) as u32);
    }
    let (mut top, mut n_kept) = (Top { count: 1, first: 0 }, 0);
    for index in 0..candidates.len() {
        let (position, count) = (candidates[index], table.count(places[index] as usize));
        if count > 1 {
            candidates[n_kept] = position;
            n_kept += 1;
            if count > top.count {
                top = Top { count, first: position as usize };
            }
        }
    }
    candidates.truncate(n_kept);
    top
}

/// Keeps positions that have another one `distance` further on, and of these the ones below `n_positions`. Where all
/// `n_units` positions are there, that is a matter of numbers.
fn keep_pairs(positions: &mut Vec<u32>, distance: u32, n_positions: u32, n_units: usize) {
    if positions.len() == n_units {
        positions.truncate(n_positions as usize);
        return;
    }
    let (mut n_kept, mut ahead) = (0, 0);
    for index in 0..positions.len() {
        let position = positions[index];
        while ahead < positions.len() && positions[ahead] < position + distance {
            ahead += 1;
        }
        if position < n_positions && positions.get(ahead) == Some(&(position + distance)) {
            positions[n_kept] = position;
            n_kept += 1;
        }
    }
    positions.truncate(n_kept);
}

/// Characters in n-grams that stood before. Only `tables.candidates` are looked at: no other place begins one.
fn count_seen_before(units: Units, n: usize, tables: &mut Tables) -> usize {
    let Tables { table, sums, candidates, .. } = tables;
    let factor = power(n);
    let Some(last) = units.hashes.len().checked_sub(n) else { return 0 };
    table.reset(candidates.len());
    let (mut n_seen_chars, mut next) = (0, 0);
    for &position in candidates.iter() {
        let position = position as usize;
        if position < next || position > last {
            continue;
        }
        let place = table.add(ngram(sums, position, n, factor));
        if table.count(place) > 1 {
            n_seen_chars += units.chars(position, n);
            next = position + n;
        }
    }
    n_seen_chars
}

fn ngram(sums: &[u64], position: usize, n: usize, factor: u64) -> u64 {
    sums[position + n].wrapping_sub(sums[position].wrapping_mul(factor))
}

impl Units<'_> {
    /// Those of lines that are text.
    fn of_text(&self, lines: &[Line]) -> (Vec<u64>, Vec<u32>) {
        let (mut hashes, mut chars_to) = (Vec::new(), Vec::new());
        let (mut start, mut n_chars) = (0, 0);
        for line in lines {
            for at in start..if line.is_text { line.units_to } else { start } {
                n_chars += self.chars(at, 1) as u32;
                hashes.push(self.hashes[at]);
                chars_to.push(n_chars);
            }
            start = line.units_to;
        }
        (hashes, chars_to)
    }

    /// Characters of the n-gram at a position.
    fn chars(&self, position: usize, n: usize) -> usize {
        let before = position.checked_sub(1).map_or(0, |before| self.chars_to[before]);
        (self.chars_to[position + n - 1] - before) as usize
    }
}

/// The lines of a text, without what [`Line`] says of units.
pub(super) fn for_each_line(text: &str, mut visit: impl FnMut(&str, Range<usize>)) {
    let mut start = 0;
    for line in text.split('\n') {
        visit(line, start..start + line.len());
        start += line.len() + 1;
    }
}

/// Whether a line holds at least so many letters and digits.
pub(super) fn has_letters(line: &str, n_min: u8) -> bool {
    match usize::from(n_min).checked_sub(1) {
        None => true,
        Some(n_before) => line.chars().filter(|char| char.is_alphanumeric()).nth(n_before).is_some(),
    }
}

/// Characters of a text: bytes that don't continue one.
pub(super) fn count_chars(text: &str) -> usize {
    text.bytes().filter(|&byte| byte & 0xC0 != 0x80).count()
}
