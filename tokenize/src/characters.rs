//! The distinctions that the patterns make between characters.
//!
//! The tables come from `regex-syntax` because they are then those of the reference implementation, to the Unicode
//! version; `char::is_alphabetic` is another set than `\p{L}`. The version is pinned by a test, since a new one would
//! cut rare characters differently.

use std::sync::LazyLock;

/// What a character is to a pattern. Every character is of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CharKind {
    /// `[^\s\p{L}\p{M}\p{N}]`
    Mark,
    /// `[\p{Lu}\p{Lt}]`
    Upper,
    /// `\p{Ll}`
    Lower,
    /// `[\p{Lm}\p{Lo}]` that are not Han
    Caseless,
    /// `[\p{Han}&&\p{L}]`
    Han,
    /// `\p{M}`
    Combining,
    /// `\p{N}`
    Number,
    /// `[\r\n]`
    LineEnd,
    /// `\s` without the line ends
    Space,
    /// After the last character.
    End,
}

use CharKind::{Caseless, Combining, End, Han, LineEnd, Lower, Mark, Number, Space, Upper};

pub(crate) const N_KINDS: usize = 10;

impl CharKind {
    /// `\p{L}`
    pub(crate) fn is_letter(self) -> bool {
        matches!(self, Upper | Lower | Caseless | Han)
    }

    /// `[^\s\p{L}\p{N}]`
    pub(crate) fn is_mark(self) -> bool {
        matches!(self, Mark | Combining)
    }

    /// `\s`
    pub(crate) fn is_space(self) -> bool {
        matches!(self, Space | LineEnd)
    }
}

/// Kinds of all characters in two steps: a block of 256 code points names one of the distinct rows. About 45 kB, of which
/// a text touches the rows of its scripts.
pub(crate) struct KindTable {
    pub(crate) ascii: [CharKind; 128],
    row_of_block: Vec<u8>,
    rows: Vec<[CharKind; 256]>,
}

impl KindTable {
    #[inline]
    pub(crate) fn of(&self, character: char) -> CharKind {
        let code = u32::from(character) as usize;
        self.rows[usize::from(self.row_of_block[code >> 8])][code & 0xFF]
    }

    /// The kind of the character that starts at `at`, and where it ends.
    #[inline]
    pub(crate) fn kind_at(&self, text: &str, at: usize) -> (CharKind, usize) {
        match text.as_bytes().get(at) {
            None => (End, at),
            Some(&byte) if byte < 0x80 => (self.ascii[usize::from(byte)], at + 1),
            Some(_) => {
                let character = text[at..].chars().next().expect("a character starts there");
                (self.of(character), at + character.len_utf8())
            }
        }
    }
}

pub(crate) static KINDS: LazyLock<KindTable> = LazyLock::new(|| {
    let mut kinds = vec![Mark; 0x11_0000];
    for (pattern, kind) in [
        (r"[\p{Lu}\p{Lt}]", Upper),
        (r"\p{Ll}", Lower),
        (r"[\p{Lm}\p{Lo}]", Caseless),
        (r"[\p{Han}&&\p{L}]", Han),
        (r"\p{M}", Combining),
        (r"\p{N}", Number),
        (r"\s", Space),
        (r"[\r\n]", LineEnd),
    ] {
        for (first, last) in unicode_ranges(pattern) {
            kinds[first as usize..=last as usize].fill(kind);
        }
    }
    let mut table = KindTable { ascii: [Mark; 128], row_of_block: Vec::new(), rows: Vec::new() };
    table.ascii.copy_from_slice(&kinds[..128]);
    for block in kinds.as_chunks::<256>().0 {
        let row = table.rows.iter().position(|row| row == block).unwrap_or_else(|| {
            table.rows.push(*block);
            table.rows.len() - 1
        });
        table.row_of_block.push(u8::try_from(row).expect("Unicode has fewer than 256 distinct blocks of kinds"));
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
