//! Cuts a text into pretokens, the pieces that merges never cross.
//!
//! The pattern is that of `cl100k_base`, written by hand because a backtracking regex engine would take most of the
//! encoding time:
//!
//! ```text
//! (?i:'s|'t|'re|'ve|'m|'ll|'d)     a contraction; (?i:s) is also U+017F, the long s
//! [^\r\n\p{L}\p{N}]?\p{L}+        letters, with at most one mark or space in front
//! \p{N}{1,3}                       digits, three at a time
//!  ?[^\s\p{L}\p{N}]+[\r\n]*       marks, with at most one space in front and the line ends after them
//! \s*[\r\n]+                      space up to the last line end in it
//! \s+(?!\S)                       space, less the one character that the next piece takes
//! \s+
//! ```
//!
//! Every vocabulary, ours and imported, is cut by this one pattern, and exported files spell it letter for letter.
//! Newer versions of tiktoken have one more alternative, `\s++$`, which leaves a line end and the spaces after it in one
//! piece where they end the text. The tokens are the same all the same: none of `cl100k_base` goes on after a line end
//! (a test looks). Time is linear: a run of space is looked at three times at most, everything else once.

use std::sync::LazyLock;

/// The pretokens of `text`, in order. Put together they are the text.
pub fn pretokens(text: &str) -> Pretokens<'_> {
    Pretokens { rest: text, classes: &CLASSES }
}

/// What [`pretokens`] returns.
pub struct Pretokens<'t> {
    rest: &'t str,
    classes: &'static ClassTable,
}

impl<'t> Iterator for Pretokens<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.rest.is_empty() {
            return None;
        }
        let (piece, rest) = self.rest.split_at(self.first_piece_end());
        self.rest = rest;
        Some(piece)
    }
}

impl Pretokens<'_> {
    /// Where the first alternative that matches at the start of the rest ends. Each branch below is one alternative
    /// of the pattern, in its order.
    fn first_piece_end(&self) -> usize {
        let (first, first_end) = self.class_at(0);
        if first == Class::Letter {
            return self.run_end(first_end, Class::Letter);
        }
        if let Some(end) = contraction_end(self.rest.as_bytes()) {
            return end;
        }
        let (second, second_end) = self.class_at(first_end);
        if second == Class::Letter && !matches!(first, Class::LineEnd | Class::Number) {
            return self.run_end(second_end, Class::Letter);
        }
        if first == Class::Number {
            return self.digits_end(first_end);
        }
        if first == Class::Mark {
            return self.run_end(self.run_end(first_end, Class::Mark), Class::LineEnd);
        }
        if second == Class::Mark && self.rest.starts_with(' ') {
            return self.run_end(self.run_end(second_end, Class::Mark), Class::LineEnd);
        }
        self.space_end()
    }

    /// The class of the character that starts at `start`, and where it ends.
    #[inline]
    fn class_at(&self, start: usize) -> (Class, usize) {
        let bytes = self.rest.as_bytes();
        match bytes.get(start) {
            None => (Class::End, start),
            Some(&byte) if byte < 0x80 => (self.classes.ascii[usize::from(byte)], start + 1),
            // E5 to E8 begin U+5000 to U+8FFF, which are all Han and therefore letters: nine in ten characters of
            // Chinese text take this branch and are never decoded.
            Some(0xE5..=0xE8) => (Class::Letter, start + 3),
            Some(_) => {
                let character = self.rest[start..].chars().next().expect("start is inside the text");
                (self.classes.of(character), start + character.len_utf8())
            }
        }
    }

    /// The end of the run of `class` that begins at `start`, which is `start` itself if there is none.
    #[inline]
    fn run_end(&self, mut start: usize, class: Class) -> usize {
        loop {
            let (next, end) = self.class_at(start);
            if next != class {
                return start;
            }
            start = end;
        }
    }

    fn digits_end(&self, first_end: usize) -> usize {
        let mut end = first_end;
        for _ in 1..3 {
            let (class, next_end) = self.class_at(end);
            if class != Class::Number {
                break;
            }
            end = next_end;
        }
        end
    }

    /// The last three alternatives. The rest starts with space and nothing before them matched.
    fn space_end(&self) -> usize {
        let (mut end, mut last_start, mut line_end) = (0, 0, None);
        let next = loop {
            let (class, next_end) = self.class_at(end);
            match class {
                Class::Space => {}
                Class::LineEnd => line_end = Some(next_end),
                Class::Letter | Class::Number | Class::Mark | Class::End => break class,
            }
            (last_start, end) = (end, next_end);
        };
        match line_end {
            Some(line_end) => line_end,
            None if next != Class::End && last_start > 0 => last_start,
            None => end,
        }
    }
}

/// The end of a contraction at the start of `bytes`.
fn contraction_end(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(b"'")?;
    let lower = |idx: usize| rest.get(idx).map(u8::to_ascii_lowercase);
    match (lower(0)?, lower(1)) {
        (b's' | b'd' | b'm' | b't', _) => Some(2),
        (b'l', Some(b'l')) | (b'v' | b'r', Some(b'e')) => Some(3),
        // U+017F folds to s; none of the other letters here has a partner outside ASCII.
        (0xC5, Some(0xBF)) => Some(3),
        _ => None,
    }
}

/// The only distinctions the pattern makes between characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `[\r\n]`
    LineEnd,
    /// `\s` without the line ends
    Space,
    /// `[^\s\p{L}\p{N}]`
    Mark,
    /// After the last character.
    End,
}

/// Classes of all characters in two steps: a block of 256 code points names one of the distinct rows. 45 kB, of which
/// a text touches the rows of its scripts.
struct ClassTable {
    ascii: [Class; 128],
    row_of_block: Vec<u8>,
    rows: Vec<[Class; 256]>,
}

impl ClassTable {
    #[inline]
    fn of(&self, character: char) -> Class {
        let code = u32::from(character) as usize;
        self.rows[usize::from(self.row_of_block[code >> 8])][code & 0xFF]
    }
}

/// The tables come from `regex-syntax` because they are then those of the reference implementation, to the Unicode
/// version; `char::is_alphabetic` is another set than `\p{L}`. The version is pinned by a test, since a new one would
/// cut rare characters differently.
static CLASSES: LazyLock<ClassTable> = LazyLock::new(|| {
    let mut classes = vec![Class::Mark; 0x11_0000];
    for (pattern, class) in [(r"\p{L}", Class::Letter), (r"\p{N}", Class::Number)] {
        for (first, last) in unicode_ranges(pattern) {
            classes[first as usize..=last as usize].fill(class);
        }
    }
    for code in (0..=0x3000).filter(|&code| char::from_u32(code).is_some_and(char::is_whitespace)) {
        classes[code as usize] = Class::Space;
    }
    classes[usize::from(b'\r')] = Class::LineEnd;
    classes[usize::from(b'\n')] = Class::LineEnd;

    let mut table = ClassTable { ascii: [Class::Mark; 128], row_of_block: Vec::new(), rows: Vec::new() };
    table.ascii.copy_from_slice(&classes[..128]);
    for block in classes.as_chunks::<256>().0 {
        let row = table.rows.iter().position(|row| row == block).unwrap_or_else(|| {
            table.rows.push(*block);
            table.rows.len() - 1
        });
        table.row_of_block.push(u8::try_from(row).expect("Unicode has fewer than 256 distinct blocks of classes"));
    }
    table
});

/// First and last code point of every range of a one-class pattern.
fn unicode_ranges(pattern: &str) -> Vec<(u32, u32)> {
    let parsed = regex_syntax::parse(pattern).expect("the pattern is a constant");
    let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) = parsed.kind() else {
        unreachable!("the pattern is one Unicode class")
    };
    class.iter().map(|range| (u32::from(range.start()), u32::from(range.end()))).collect()
}

/// The characters of a class, such as `\p{Cn}`.
#[cfg(test)]
pub(crate) fn characters(class: &str) -> impl Iterator<Item = char> {
    unicode_ranges(class).into_iter().flat_map(|(first, last)| first..=last).filter_map(char::from_u32)
}

#[cfg(test)]
pub(crate) fn n_letters_and_numbers() -> (usize, usize) {
    let count = |class| ('\0'..=char::MAX).filter(|&character| CLASSES.of(character) == class).count();
    (count(Class::Letter), count(Class::Number))
}
