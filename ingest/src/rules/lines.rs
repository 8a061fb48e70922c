//! What FineWeb's rules look at: how lines end, how long they are, whether they stood before.

use super::hash::Table;
use super::ratio;
use super::repetition::count_duplicates;

/// Shares of lines. A line with nothing but white space is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LineMeasures {
    /// Share that ends in a mark that ends a sentence.
    pub terminal_lines: f64,
    /// Share that is short.
    pub short_lines: f64,
    /// Share of characters in lines that stood before.
    pub duplicate_line_chars: f64,
    /// Line ends a word, or a character in Chinese.
    pub newline_ratio: f64,
    /// Share that ends in an invitation to read on; Chinese only.
    pub more_lines: f64,
}

/// A line that is left of a text.
#[derive(Clone, Copy)]
pub(super) struct KeptLine {
    pub(super) hash: u64,
    pub(super) n_chars: usize,
    pub(super) n_units: usize,
    pub(super) is_terminal: bool,
    /// Whether it ends in a mark as lines of verse do, and then is short on purpose; never in English.
    pub(super) is_marked: bool,
    /// Whether it counts as one that stood before.
    pub(super) is_text: bool,
}

/// Measures lines; those of `short_line_chars` or fewer are short.
pub(super) fn measure_lines(
    lines: &[KeptLine],
    short_line_chars: u32,
    n_line_ends: usize,
    table: &mut Table,
) -> LineMeasures {
    let n_chars: usize = lines.iter().map(|line| line.n_chars).sum();
    let n_units: usize = lines.iter().map(|line| line.n_units).sum();
    let n_terminal = lines.iter().filter(|line| line.is_terminal).count();
    let n_short = lines.iter().filter(|line| line.n_chars <= short_line_chars as usize && !line.is_marked).count();
    let with_chars = lines.iter().filter(|line| line.is_text).map(|line| (line.hash, line.n_chars));
    let (_, _, n_duplicate_chars) = count_duplicates(with_chars, lines.len(), table);
    LineMeasures {
        terminal_lines: ratio(n_terminal, lines.len()),
        short_lines: ratio(n_short, lines.len()),
        duplicate_line_chars: ratio(n_duplicate_chars, n_chars),
        newline_ratio: ratio(n_line_ends, n_units),
        more_lines: 0.0,
    }
}
