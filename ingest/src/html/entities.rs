//! Character references: `&amp;`, `&#x4e2d;`, `&nbsp` without its semicolon.
//!
//! The table of names is the HTML standard's, which is closed to additions, from a crate that holds nothing else. Rules
//! as in the standard (section "named character references"): the longest name wins, only names from before HTML 4.01
//! may lack the semicolon, and numbers 0x80 to 0x9F mean what they mean in windows-1252. Cost: one binary search per
//! ampersand.

use std::sync::LazyLock;

use encoding_rs::WINDOWS_1252;
use memchr::memchr;

/// Longest name in the table with its semicolon, `CounterClockwiseContourIntegral;`.
const NAME_LEN_MAX: usize = 32;

/// Names without their ampersand, sorted by bytes.
static NAMES: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    let mut names: Vec<_> = entities::ENTITIES.iter().map(|entry| (&entry.entity[1..], entry.characters)).collect();
    names.sort_unstable();
    names
});

/// Appends `text` with its references resolved; what is no reference stays as it is.
pub(super) fn push_decoded(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = memchr(b'&', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let len = push_reference(out, rest);
        if len == 0 {
            out.push('&');
        }
        rest = &rest[len.max(1)..];
    }
    out.push_str(rest);
}

/// Appends what the reference at the start of `text` stands for and returns its length; 0 where there is none.
pub(super) fn push_reference(out: &mut String, text: &str) -> usize {
    let Some(body) = text.strip_prefix('&') else { return 0 };
    if let Some(number) = body.strip_prefix('#') {
        return push_number(out, number).map_or(0, |len| len + 2);
    }
    let bytes = body.as_bytes();
    let n_letters = bytes.iter().take(NAME_LEN_MAX).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    if bytes.get(n_letters) == Some(&b';')
        && let Some(characters) = named(&body[..=n_letters])
    {
        out.push_str(characters);
        return n_letters + 2;
    }
    for len in (2..=n_letters).rev() {
        if let Some(characters) = named(&body[..len]) {
            out.push_str(characters);
            return len + 1;
        }
    }
    0
}

fn named(name: &str) -> Option<&'static str> {
    NAMES.binary_search_by(|(listed, _)| (*listed).cmp(name)).ok().map(|at| NAMES[at].1)
}

/// Reads what follows `&#`; returns its length.
fn push_number(out: &mut String, number: &str) -> Option<usize> {
    let (digits, radix, n_prefix) = match number.as_bytes().first()? {
        b'x' | b'X' => (&number[1..], 16, 1),
        _ => (number, 10, 0),
    };
    let n_digits = digits.bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
    if n_digits == 0 {
        return None;
    }
    // Too many digits for a number are too many for a character.
    let code = u32::from_str_radix(&digits[..n_digits], radix).unwrap_or(u32::MAX);
    match code {
        0x80..=0x9F => {
            let byte = u8::try_from(code).expect("below 0xA0");
            out.push_str(&WINDOWS_1252.decode_without_bom_handling(&[byte]).0);
        }
        0 => out.push(char::REPLACEMENT_CHARACTER),
        _ => out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
    }
    Some(n_prefix + n_digits + usize::from(digits.as_bytes().get(n_digits) == Some(&b';')))
}
