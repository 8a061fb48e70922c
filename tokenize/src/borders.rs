//! Borders between Han characters across which no token reaches.
//!
//! Byte-pair merging makes nothing but tokens, so a border that no token has inside it stays a border whatever surrounds it,
//! and the two sides can be encoded apart. Vocabularies know some hundreds to some ten thousand pairs of Han characters,
//! and text has millions: most clauses fall into words of one or two characters, which a cache remembers.
//!
//! A pair is one bit, at the hash of the pair; two pairs may share it, which costs time but no token. Tokens that begin
//! or end inside a character are few; the whole character that they know keeps its border on that side closed
//! to cutting.

use crate::scanner::{FIRST_HAN, N_HAN};

/// See the module documentation. Characters are counted from U+4E00.
pub(crate) struct Borders {
    pairs: Vec<u64>,
    shift: u32,
    /// Characters whose border in front may always be crossed, and those whose border behind may.
    in_front: Vec<u64>,
    behind: Vec<u64>,
}

/// Bits for each pair, so that few share one.
const BITS_PER_PAIR: usize = 32;

impl Borders {
    pub(crate) fn new<'t>(tokens: impl Iterator<Item = &'t [u8]>) -> Borders {
        let flags = || vec![0_u64; N_HAN.div_ceil(64)];
        let (mut in_front, mut behind, mut known) = (flags(), flags(), Vec::new());
        for token in tokens {
            for border in (1..token.len()).filter(|&border| is_lead(token[border])) {
                match (last_of(&token[..border]), first_of(&token[border..])) {
                    (Side::Whole(left), Side::Whole(right)) => known.push((left, right)),
                    (Side::Whole(left), Side::Part) => set(&mut behind, left),
                    (Side::Part, Side::Whole(right)) => set(&mut in_front, right),
                    (Side::Part, Side::Part) => open_all_after(&token[border..], &mut in_front),
                    (Side::Other, _) | (_, Side::Other) => {}
                }
            }
        }
        let n_bits = (known.len() * BITS_PER_PAIR).next_power_of_two().max(64);
        let mut borders = Borders { pairs: vec![0; n_bits / 64], shift: 64 - n_bits.ilog2(), in_front, behind };
        for (left, right) in known {
            let bit = borders.bit(left, right);
            borders.pairs[bit / 64] |= 1 << (bit % 64);
        }
        borders
    }

    #[inline]
    pub(crate) fn may_be_crossed(&self, left: u16, right: u16) -> bool {
        has(&self.pairs, self.bit(left, right))
            | has(&self.behind, usize::from(left))
            | has(&self.in_front, usize::from(right))
    }

    #[inline]
    fn bit(&self, left: u16, right: u16) -> usize {
        let pair = u64::from(left) << 16 | u64::from(right);
        (pair.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }
}

#[inline]
fn has(flags: &[u64], idx: usize) -> bool {
    flags[idx / 64] >> (idx % 64) & 1 == 1
}

fn set(flags: &mut [u64], idx: u16) {
    flags[usize::from(idx) / 64] |= 1 << (idx % 64);
}

/// What a token has on one side of a border.
enum Side {
    /// All of a Han character.
    Whole(u16),
    /// What could be a part of one.
    Part,
    /// No Han character.
    Other,
}

fn is_lead(byte: u8) -> bool {
    byte & 0xC0 != 0x80
}

fn last_of(left: &[u8]) -> Side {
    let n_continued = left.iter().rev().take_while(|&&byte| !is_lead(byte)).count();
    match left.len() - n_continued {
        0 if n_continued < 3 => Side::Part,
        0 => Side::Other,
        n => whole(&left[n - 1..]),
    }
}

fn first_of(right: &[u8]) -> Side {
    let n_bytes = 1 + right[1..].iter().take_while(|&&byte| !is_lead(byte)).count();
    match right[0] {
        0xE4..=0xE9 if n_bytes < 3 && n_bytes == right.len() => Side::Part,
        _ => whole(&right[..n_bytes]),
    }
}

fn whole(bytes: &[u8]) -> Side {
    let han = std::str::from_utf8(bytes).ok().and_then(|text| u32::from(text.chars().next()?).checked_sub(FIRST_HAN));
    match han {
        Some(han) if (han as usize) < N_HAN => Side::Whole(han as u16),
        _ => Side::Other,
    }
}

/// All characters that begin with `bytes`.
fn open_all_after(bytes: &[u8], in_front: &mut [u64]) {
    for han in 0..N_HAN as u16 {
        let character = char::from_u32(FIRST_HAN + u32::from(han)).expect("Han characters are characters");
        if character.encode_utf8(&mut [0; 4]).as_bytes().starts_with(bytes) {
            set(in_front, han);
        }
    }
}
