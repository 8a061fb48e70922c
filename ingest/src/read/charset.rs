//! From bytes to text: the character set of a web page or a text.
//!
//! In this order: a byte order mark; valid UTF-8 with enough of it to be no accident, whatever is declared (pages are
//! served with wrong headers far more often than another encoding looks like UTF-8); what the server declares; what the
//! page declares in a `meta` tag or an XML declaration; valid UTF-8; and at last detection by chardetng, which knows the
//! GB18030, Big5, Shift_JIS, EUC, KOI8 and windows families. A text that does not decode is unreadable, unless so few of its
//! characters are damaged that the rest is worth having.

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, WINDOWS_1252, X_USER_DEFINED};
use thiserror::Error;

/// How far into a page a declaration of its encoding is looked for, as browsers do.
const DECLARATION_BYTES: usize = 1024;

/// Valid UTF-8 with so many characters beyond ASCII is UTF-8, whatever else is declared. In GBK, the likeliest to be
/// mistaken, a character is valid UTF-8 about once in seven; where a byte is a character, one is proof enough.
const UTF8_CHARS_MIN: usize = 8;

/// Characters that detection looks at are enough after so many bytes.
const DETECTION_BYTES: usize = 1 << 16;

/// Without a declaration, so many damaged characters beyond ASCII for each sound one still make it UTF-8.
const DAMAGED_UTF8_SHARE: f64 = 0.05;

/// Bytes that are not in the encoding they should be in.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum CharsetError {
    /// Too many bytes are not in the encoding declared.
    #[error("is not {encoding}, which it declares")]
    Declared {
        /// The encoding.
        encoding: &'static str,
    },
    /// Too many bytes are not in the encoding that fits best.
    #[error("is in no encoding that could be found out; {encoding} fits best")]
    Detected {
        /// The encoding.
        encoding: &'static str,
    },
}

/// Decodes a page. `declared` is the server's word for the character set, `host` the page's, whose last part says where
/// it is from; `damaged_share_max` is how many of its characters may be replaced by U+FFFD.
pub(crate) fn decode_page(
    bytes: &[u8],
    declared: Option<&str>,
    host: Option<&str>,
    damaged_share_max: f64,
) -> Result<String, CharsetError> {
    let declared = declared.and_then(|label| encoding_for(label.as_bytes())).or_else(|| declared_in_page(bytes));
    decode(bytes, declared, host, damaged_share_max)
}

/// Decodes a text, which unlike a page declares nothing itself.
pub(crate) fn decode_text(
    bytes: &[u8],
    declared: Option<&str>,
    host: Option<&str>,
    damaged_share_max: f64,
) -> Result<String, CharsetError> {
    let declared = declared.and_then(|label| encoding_for(label.as_bytes()));
    decode(bytes, declared, host, damaged_share_max)
}

fn decode(
    bytes: &[u8],
    declared: Option<&'static Encoding>,
    host: Option<&str>,
    damaged_share_max: f64,
) -> Result<String, CharsetError> {
    if let Some((encoding, bom_len)) = Encoding::for_bom(bytes) {
        let text = decode_as(encoding, &bytes[bom_len..], damaged_share_max);
        return text.ok_or(CharsetError::Declared { encoding: encoding.name() });
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let n_needed = match declared {
            Some(encoding) if encoding == UTF_8 => 0,
            Some(encoding) if encoding.is_single_byte() => 1,
            Some(_) => UTF8_CHARS_MIN,
            None => 0,
        };
        if text.chars().filter(|char| !char.is_ascii()).take(n_needed).count() == n_needed {
            return Ok(text.to_owned());
        }
    }
    if let Some(encoding) = declared {
        let text = decode_as(encoding, bytes, damaged_share_max);
        return text.ok_or(CharsetError::Declared { encoding: encoding.name() });
    }
    let encoding = if is_damaged_utf8(bytes) { UTF_8 } else { detect(bytes, host) };
    decode_as(encoding, bytes, damaged_share_max).ok_or(CharsetError::Detected { encoding: encoding.name() })
}

/// The text, unless more than a share of its characters is damaged. What is cut in the middle of a character at its end, as
/// crawlers cut long pages, is not held against it.
fn decode_as(encoding: &'static Encoding, bytes: &[u8], damaged_share_max: f64) -> Option<String> {
    let (text, has_errors) = encoding.decode_without_bom_handling(bytes);
    let mut text = text.into_owned();
    if !has_errors {
        return Some(text);
    }
    if text.ends_with(char::REPLACEMENT_CHARACTER) {
        text.pop();
    }
    let n_damaged = text.chars().filter(|&char| char == char::REPLACEMENT_CHARACTER).count();
    (n_damaged as f64 <= damaged_share_max * text.chars().count() as f64).then_some(text)
}

fn is_damaged_utf8(bytes: &[u8]) -> bool {
    let (mut n_sound, mut n_damaged) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        n_sound += chunk.valid().chars().filter(|char| !char.is_ascii()).count();
        n_damaged += usize::from(!chunk.invalid().is_empty());
    }
    n_sound >= UTF8_CHARS_MIN && n_damaged as f64 <= DAMAGED_UTF8_SHARE * n_sound as f64
}

fn detect(bytes: &[u8], host: Option<&str>) -> &'static Encoding {
    // Begins where there is something to see, since the head of a page is often plain ASCII for very long.
    let first = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(bytes.len()).saturating_sub(2);
    let seen = &bytes[first..];
    let seen = &seen[..seen.len().min(DETECTION_BYTES)];
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    detector.feed(seen, seen.len() == bytes.len() - first);
    let country = host.and_then(|host| host.rsplit('.').next()).map(str::to_ascii_lowercase);
    let country = country.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    detector.guess(country.as_deref().map(str::as_bytes), chardetng::Utf8Detection::Deny)
}

fn encoding_for(label: &[u8]) -> Option<&'static Encoding> {
    let encoding = Encoding::for_label(label)?;
    match encoding {
        // Labels that browsers refuse to decode at all.
        _ if encoding == REPLACEMENT => None,
        _ if encoding == X_USER_DEFINED => Some(WINDOWS_1252),
        _ => Some(encoding),
    }
}

/// What the first bytes of a page say in a `meta` tag or an XML declaration.
fn declared_in_page(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes[..bytes.len().min(DECLARATION_BYTES)].to_ascii_lowercase();
    let mut rest = &head[..];
    while let Some(at) = rest.iter().position(|&byte| byte == b'<') {
        rest = &rest[at..];
        let end = if rest.starts_with(b"<!--") { find(&rest[4..], b"-->").map(|at| at + 4) } else { find(rest, b">") };
        let tag = &rest[..end.unwrap_or(rest.len())];
        let label = match tag {
            [b'<', b'm', b'e', b't', b'a', ..] => label_behind(tag, b"charset"),
            [b'<', b'?', b'x', b'm', b'l', ..] => label_behind(tag, b"encoding"),
            _ => None,
        };
        if let Some(encoding) = label.and_then(encoding_for) {
            // A declaration that can be read byte by byte isn't in UTF-16, whatever it says.
            return Some(if encoding.is_ascii_compatible() { encoding } else { UTF_8 });
        }
        rest = &rest[tag.len().max(1)..];
    }
    None
}

/// The value behind `name =`, with or without quotes.
fn label_behind<'a>(tag: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = tag[find(tag, name)? + name.len()..].trim_ascii_start();
    let rest = rest.strip_prefix(b"=")?.trim_ascii_start();
    let label = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let len = label.iter().position(|byte| b"\"'; />?\t\r\n".contains(byte)).unwrap_or(label.len());
    Some(&label[..len])
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
