//! Whether a word is the address of a page: such a word is not cut at its slashes and dots.
//!
//! The shape is that of Diego Perini's validator as spaCy 3.8 uses it (`lang/tokenizer_exceptions.py`): a scheme and a
//! user may stand in front, then a public IPv4 address or a domain whose last label is of small letters, then a port
//! and a path. An address without a scheme counts (`example.org/page`), one on a private network does not.

/// Longest label of a domain, in characters.
const LABEL_CHARS_MAX: usize = 64;

/// Longest last label.
const TOP_LABEL_CHARS_MAX: usize = 63;

pub(crate) fn is_web_address(word: &str) -> bool {
    if !word.contains('.') {
        return false;
    }
    let after_scheme = word.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).map(|(_, rest)| rest);
    [Some(word), after_scheme].into_iter().flatten().any(|rest| {
        let after_user = rest.match_indices('@').filter(|&(at, _)| at > 0).map(|(at, _)| &rest[at + 1..]);
        std::iter::once(rest).chain(after_user).any(is_host_and_path)
    })
}

fn is_scheme(scheme: &str) -> bool {
    scheme.chars().count() >= 2 && scheme.chars().all(|char| is_word(char) || matches!(char, '+' | '-' | '.'))
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn is_host_and_path(text: &str) -> bool {
    // No host holds an @: where one comes first, the host stands behind it, and is looked at by itself.
    let end = text.find([':', '/', '?', '#', '@']).unwrap_or(text.len());
    (is_domain(&text[..end]) || is_public_ip(&text[..end])) && is_port_and_path(&text[end..])
}

fn is_domain(host: &str) -> bool {
    let Some((labels, top)) = host.rsplit_once('.') else { return false };
    let is_top = top.chars().all(|char| char.is_alphabetic() && !char.is_uppercase())
        && (2..=TOP_LABEL_CHARS_MAX).contains(&top.chars().count());
    is_top && labels.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let is_outer = |char: char| char.is_ascii_alphanumeric() || matches!(char, '\u{A1}'..='\u{FFFF}');
    label.starts_with(is_outer)
        && label.ends_with(is_outer)
        && label.chars().all(|char| is_outer(char) || matches!(char, '_' | '-'))
        && label.chars().count() <= LABEL_CHARS_MAX
}

fn is_public_ip(host: &str) -> bool {
    let parts: Vec<Option<u16>> = host.split('.').map(octet).collect();
    let [Some(a), Some(b), Some(_), Some(d)] = parts[..] else { return false };
    let is_private = matches!((a, b), (10 | 127, _) | (169, 254) | (192, 168) | (172, 16..=31));
    (1..=223).contains(&a) && (1..=254).contains(&d) && !is_private
}

fn octet(text: &str) -> Option<u16> {
    let is_number = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let value: u16 = if is_number { text.parse().ok()? } else { return None };
    (value < 256).then_some(value)
}

fn is_port_and_path(text: &str) -> bool {
    let after_port = text.strip_prefix(':').and_then(|rest| {
        let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        (2..=5).contains(&n_digits).then(|| &rest[n_digits..])
    });
    let rest = after_port.unwrap_or(text);
    rest.is_empty() || rest.starts_with(['/', '?', '#'])
}
