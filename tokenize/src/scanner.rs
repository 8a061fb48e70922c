//! Cuts a text into pretokens, sixty-four characters at a time.
//!
//! The published patterns differ in little, and whether a character begins a piece depends on its neighbours: so a window of 64
//! characters is turned into bit sets, one for each class of characters, and shifts, ands and ors of these give the
//! characters at which pieces begin, without a branch for a piece. A window begins where a piece begins, and ends where the
//! last one begins of which the window knows for certain. A piece longer than a window, and the patterns that depend on
//! more than neighbours (GPT-4o's on case), are cut by `pattern.rs`, which is the slow twin of all this in the tests.
//!
//! In the same pass, runs of Han characters are cut further where no token can reach across ([`Borders`]): most Chinese
//! pretokens are clauses, which do not come back, but the words in them do.
//!
//! Time is linear; a character is in two windows at most.

use wide::i8x16;

use crate::borders::Borders;
use crate::characters::{CharKind, KINDS, N_KINDS};
use crate::pattern::{Case, Pattern, contraction_end, first_piece_end};

/// The pretokens of `text`, in order. Put together they are the text.
pub fn pretokens<'p, 't: 'p>(pattern: &'p Pattern, text: &'t str) -> impl Iterator<Item = &'t str> + use<'p, 't> {
    let mut scanner = Scanner::new(pattern, None, text);
    let mut batch = Batch::new();
    let (mut start, mut idx) = (0, 0);
    std::iter::from_fn(move || {
        if idx == batch.ends().len() {
            if !scanner.next_batch(&mut batch) {
                return None;
            }
            idx = 0;
        }
        let end = batch.ends()[idx];
        idx += 1;
        Some(&text[std::mem::replace(&mut start, end)..end])
    })
}

/// Characters in a window: one bit each.
pub(crate) const WINDOW: usize = 64;

/// Where consecutive pieces end, as positions in the text.
pub(crate) struct Batch {
    ends: [usize; WINDOW + 1],
    n_pieces: usize,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch { ends: [0; WINDOW + 1], n_pieces: 0 }
    }

    pub(crate) fn ends(&self) -> &[usize] {
        &self.ends[..self.n_pieces]
    }

    #[inline]
    fn push(&mut self, end: usize) {
        self.ends[self.n_pieces] = end;
        self.n_pieces += 1;
    }
}

/// A text while it is being cut.
pub(crate) struct Scanner<'t> {
    text: &'t str,
    /// Where the next piece starts.
    at: usize,
    rules: Rules<'t>,
    window: Window,
}

/// What cuts: bits, or the slow twin alone.
enum Rules<'t> {
    Bits(Bits, Option<&'t Borders>, &'t Pattern),
    Slow(&'t Pattern),
}

/// The published patterns as far as they differ.
#[derive(Clone, Copy)]
struct Bits {
    classes: [u8; N_KINDS],
    /// At most so many digits are a piece.
    digits: Digits,
    /// Whether letters take any one mark or space in front of them, and line ends are told from other space. If not, letters
    /// and numbers take a blank.
    is_modern: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Digits {
    One,
    Three,
    Any,
}

const LETTER: u8 = 1;
const NUMBER: u8 = 2;
const LINE_END: u8 = 4;
const SPACE: u8 = 8;
const MARK: u8 = 16;
const BLANK: u8 = 32;
const APOSTROPHE: u8 = 64;
const HAN: u8 = 128;

impl Bits {
    fn of(pattern: &Pattern) -> Option<Bits> {
        let (digits, is_modern) = match pattern {
            Pattern::Gpt2 => (Digits::Any, false),
            Pattern::Cl100k | Pattern::Bilingual => (Digits::Three, true),
            Pattern::Qwen2 => (Digits::One, true),
            Pattern::O200k | Pattern::Other(_) => return None,
        };
        let mut classes = [0; N_KINDS];
        for (kind, class) in [
            (CharKind::Mark, MARK),
            (CharKind::Combining, MARK),
            (CharKind::Upper, LETTER),
            (CharKind::Lower, LETTER),
            (CharKind::Caseless, LETTER),
            (CharKind::Han, if matches!(pattern, Pattern::Bilingual) { HAN } else { LETTER | HAN }),
            (CharKind::Number, NUMBER),
            (CharKind::LineEnd, LINE_END),
            (CharKind::Space, SPACE),
        ] {
            classes[kind as usize] = class;
        }
        Some(Bits { classes, digits, is_modern })
    }
}

impl<'t> Scanner<'t> {
    /// With `borders`, Han runs are cut further.
    pub(crate) fn new(pattern: &'t Pattern, borders: Option<&'t Borders>, text: &'t str) -> Scanner<'t> {
        let (rules, window) = match Bits::of(pattern) {
            Some(bits) => (Rules::Bits(bits, borders, pattern), Window::new(&bits)),
            None => (Rules::Slow(pattern), Window::empty()),
        };
        Scanner { text, at: 0, rules, window }
    }

    /// Cuts off the next pieces; false at the end of the text.
    pub(crate) fn next_batch(&mut self, batch: &mut Batch) -> bool {
        batch.n_pieces = 0;
        if self.at == self.text.len() {
            return false;
        }
        match &self.rules {
            Rules::Slow(pattern) => {
                while batch.n_pieces < WINDOW && self.at < self.text.len() {
                    self.at = next_end(pattern, self.text, self.at);
                    batch.push(self.at);
                }
            }
            Rules::Bits(bits, borders, pattern) => {
                self.window.fill(self.text, self.at, *borders);
                let mut starts = self.window.starts(bits, self.text) & !1;
                while starts != 0 {
                    batch.push(self.window.position(starts.trailing_zeros() as usize));
                    starts &= starts - 1;
                }
                if self.window.is_last {
                    batch.push(self.text.len());
                } else if batch.n_pieces == 0 {
                    batch.push(next_end(pattern, self.text, self.at));
                }
                self.at = batch.ends[batch.n_pieces - 1];
            }
        }
        true
    }
}

fn next_end(pattern: &Pattern, text: &str, at: usize) -> usize {
    match pattern {
        // It may look at what is in front of the piece.
        Pattern::Other(other) => other.piece_end(text, at),
        _ => at + first_piece_end(pattern, &text[at..]),
    }
}

/// Up to 64 characters and their classes.
struct Window {
    ascii: [u8; 128],
    of_kind: [u8; N_KINDS],
    at: usize,
    n_chars: usize,
    /// Whether the text ends with it.
    is_last: bool,
    /// Whether every character is one byte, so that characters are positions.
    is_ascii: bool,
    classes: [u8; WINDOW],
    /// Where each character starts, and the last one ends, counted from `at`.
    offsets: [u16; WINDOW + 1],
    /// Characters in front of which a token may reach across, if both are Han.
    joined: u64,
}

impl Window {
    fn empty() -> Window {
        Window {
            ascii: [0; 128],
            of_kind: [0; N_KINDS],
            at: 0,
            n_chars: 0,
            is_last: true,
            is_ascii: true,
            classes: [0; WINDOW],
            offsets: [0; WINDOW + 1],
            joined: 0,
        }
    }

    fn new(bits: &Bits) -> Window {
        let mut window = Window { of_kind: bits.classes, ..Window::empty() };
        for (class, kind) in window.ascii.iter_mut().zip(KINDS.ascii) {
            *class = bits.classes[kind as usize];
        }
        window.ascii[usize::from(b' ')] |= BLANK;
        window.ascii[usize::from(b'\'')] |= APOSTROPHE;
        window
    }

    fn fill(&mut self, text: &str, at: usize, borders: Option<&Borders>) {
        self.at = at;
        self.joined = u64::MAX;
        let ascii = text.as_bytes()[at..].first_chunk::<WINDOW>().filter(|bytes| bytes.is_ascii());
        self.is_ascii = ascii.is_some();
        match ascii {
            Some(bytes) => {
                for (class, &byte) in self.classes.iter_mut().zip(bytes) {
                    *class = self.ascii[usize::from(byte & 0x7F)];
                }
                self.n_chars = WINDOW;
                self.is_last = at + WINDOW == text.len();
            }
            None => self.fill_any(text, borders),
        }
    }

    fn fill_any(&mut self, text: &str, borders: Option<&Borders>) {
        let bytes = &text.as_bytes()[self.at..];
        let (mut at, mut n_chars, mut before, mut joined) = (0, 0, None, u64::MAX);
        self.classes = [0; WINDOW];
        while n_chars < WINDOW && at < bytes.len() {
            self.offsets[n_chars] = at as u16;
            let byte = bytes[at];
            if byte < 0x80 {
                self.classes[n_chars] = self.ascii[usize::from(byte)];
                at += 1;
                before = None;
            } else if let Some(han) = han_at(bytes, at) {
                self.classes[n_chars] = self.of_kind[CharKind::Han as usize];
                if let (Some(before), Some(borders)) = (before, borders) {
                    joined ^= u64::from(!borders.may_be_crossed(before, han)) << n_chars;
                }
                at += 3;
                before = Some(han);
            } else {
                let character = text[self.at + at..].chars().next().expect("a character starts there");
                self.classes[n_chars] = self.of_kind[KINDS.of(character) as usize];
                at += character.len_utf8();
                before = None;
            }
            n_chars += 1;
        }
        self.offsets[n_chars] = at as u16;
        (self.n_chars, self.joined, self.is_last) = (n_chars, joined, at == bytes.len());
    }

    /// Where a character starts in the text.
    #[inline]
    fn position(&self, char_idx: usize) -> usize {
        self.at + if self.is_ascii { char_idx } else { usize::from(self.offsets[char_idx]) }
    }

    /// The characters at which a piece begins. Those of which a longer window would know better are left out, together
    /// with all behind them.
    #[inline]
    fn starts(&self, bits: &Bits, text: &str) -> u64 {
        let [letter, number, line_end, space, mark, blank, apostrophe, han] = bit_sets(&self.classes);
        let sets = Sets { letter, number, line_end, space, mark, blank, han };
        let n_chars = self.n_chars as u32;
        let all = u64::MAX >> (WINDOW as u32 - n_chars);
        let mut known = if self.is_last { all } else { self.known(space | line_end) };
        let mut starts = match bits.is_modern {
            true => sets.modern_starts(bits.digits, self.is_last.then_some(n_chars - 1)),
            false => sets.gpt2_starts(self.is_last.then_some(n_chars - 1)),
        };
        let mut contractions = apostrophe & starts & (letter >> 1) & !han >> 1;
        while contractions != 0 {
            let at = contractions.trailing_zeros();
            contractions &= contractions - 1;
            if at + 3 >= WINDOW as u32 && !self.is_last {
                // It begins there, but where it ends is out of sight.
                known &= u64::MAX >> (WINDOW as u32 - 1 - at);
                break;
            }
            let start = self.position(at as usize);
            let case = if bits.is_modern { Case::Any } else { Case::Lower };
            let Some(end) = contraction_end(text, start, case) else { continue };
            // A contraction is two or three characters; U+017F has two bytes.
            let is_long_s = text.as_bytes()[start + 1] >= 0x80;
            let n_chars = (end - start) as u32 - u32::from(is_long_s);
            starts &= !(1 << (at + 1));
            starts |= letter & 1_u64.checked_shl(at + n_chars).unwrap_or(0);
        }
        starts |= han & (han << 1) & !self.joined;
        starts & known
    }

    /// All but the space at the window's end, of which only the beginning is known: what becomes of it depends on what follows.
    #[inline]
    fn known(&self, any_space: u64) -> u64 {
        let n_chars = self.n_chars as u32;
        let n_space = (any_space << (WINDOW as u32 - n_chars)).leading_ones();
        // One character more than what is in front of it.
        1_u64.checked_shl((n_chars - n_space + 1).min(n_chars)).map_or(u64::MAX, |bit| bit - 1)
    }
}

/// A character of the block of Han characters that nearly all Chinese is written in, counted from its first.
#[inline]
fn han_at(bytes: &[u8], at: usize) -> Option<u16> {
    let &[a @ 0xE4..=0xE9, b, c] = bytes[at..].first_chunk::<3>()? else { return None };
    let code = u32::from(a & 0x0F) << 12 | u32::from(b & 0x3F) << 6 | u32::from(c & 0x3F);
    code.checked_sub(FIRST_HAN).map(|han| han as u16)
}

/// U+4E00. The lead bytes E4 to E9 end with U+9FFF, as the block does.
pub(crate) const FIRST_HAN: u32 = 0x4E00;
pub(crate) const N_HAN: usize = 0xA000 - 0x4E00;

/// One set for each bit of a class, the lowest first.
#[inline]
fn bit_sets(classes: &[u8; WINDOW]) -> [u64; 8] {
    let mut sets = [0; 8];
    for (idx, sixteen) in classes.as_chunks::<16>().0.iter().enumerate() {
        let mut classes = i8x16::new(sixteen.map(|class| class as i8));
        for set in sets.iter_mut().rev() {
            // The uppermost bits; then the next ones become the uppermost.
            *set |= u64::from(classes.to_bitmask() as u16) << (16 * idx);
            classes += classes;
        }
    }
    sets
}

/// The characters of each class. `blank` is among `space`, `han` may be among `letter`.
struct Sets {
    letter: u64,
    number: u64,
    line_end: u64,
    space: u64,
    mark: u64,
    blank: u64,
    han: u64,
}

impl Sets {
    /// cl100k and its kin, contractions apart. `last` is the text's last character, if the window has it.
    #[inline]
    fn modern_starts(&self, digits: Digits, last: Option<u32>) -> u64 {
        let Sets { letter, number, line_end, space, mark, .. } = *self;
        let marks = self.mark_starts();
        // A mark at the start of a piece is taken by the letter behind it, a space always.
        let letters = first_of(letter) & !((marks | space) << 1);
        let own_han = first_of(self.han) & !letter;
        // Line ends behind marks belong to these.
        let taken = line_end & !line_end.wrapping_add(line_end & (mark << 1));
        let line_end = line_end & !taken;
        let any_space = space | line_end;
        // Space in front of a line end goes with it, also across several line ends.
        let mut in_front = space & (line_end >> 1);
        loop {
            let more = in_front | space & (in_front >> 1);
            if more == in_front {
                break;
            }
            in_front = more;
        }
        let after_line_end = space & (line_end << 1) & !in_front;
        let last_space = space & !(any_space >> 1) & !last.map_or(0, |last| 1 << last);
        letters | own_han | marks | digits.starts(number) | first_of(any_space) | after_line_end | last_space
    }

    #[inline]
    fn gpt2_starts(&self, last: Option<u32>) -> u64 {
        let any_space = self.space | self.line_end;
        let words = (first_of(self.letter) | first_of(self.number)) & !(self.blank << 1);
        let last_space = any_space & !(any_space >> 1) & !last.map_or(0, |last| 1 << last);
        words | self.mark_starts() | first_of(any_space) | last_space
    }

    /// Marks take a blank in front of them.
    #[inline]
    fn mark_starts(&self) -> u64 {
        first_of(self.mark) & !(self.blank << 1)
    }
}

impl Digits {
    #[inline]
    fn starts(self, number: u64) -> u64 {
        let mut starts = first_of(number);
        match self {
            Digits::One => return number,
            Digits::Any => return starts,
            Digits::Three => {}
        }
        let fourth = number & (number << 1) & (number << 2) & (number << 3);
        let mut latest = starts;
        while (latest << 3) & fourth != 0 {
            latest = (latest << 3) & fourth;
            starts |= latest;
        }
        starts
    }
}

/// The first of each run.
#[inline]
fn first_of(set: u64) -> u64 {
    set & !(set << 1)
}
