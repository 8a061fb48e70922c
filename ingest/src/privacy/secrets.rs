//! What opens a door: private keys, tokens by their issuers' prefixes, passwords and keys that were assigned in code.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{Private, PrivateSpan};

/// Bits a character, over the characters of the value itself, from which an assigned value counts as random: English
/// words of that length stay below, generated keys of sixteen characters or more above.
const ENTROPY_MIN: f64 = 3.3;

/// A shorter value has too few characters to tell.
const ASSIGNED_BYTES_MIN: usize = 10;
const ASSIGNED_BYTES_MAX: usize = 200;

/// A key longer than this was never a key.
const KEY_BYTES_MAX: usize = 16 << 10;

/// A prefix and what follows it.
enum Beginning {
    /// `-----BEGIN`, of a private key.
    Block,
    /// So many characters of base64url, at least and at most, behind the prefix.
    Token(usize, usize),
    /// The capitals and digits of Amazon's key ids.
    Capitals(usize),
    /// Three parts of base64url with dots between.
    WebToken,
    /// The name of a variable that holds a secret.
    Assigned,
}

const BEGINNINGS: [(&str, Beginning); 44] = [
    ("-----BEGIN", Beginning::Block),
    ("AKIA", Beginning::Capitals(16)),
    ("ASIA", Beginning::Capitals(16)),
    ("ghp_", Beginning::Token(36, 255)),
    ("gho_", Beginning::Token(36, 255)),
    ("ghu_", Beginning::Token(36, 255)),
    ("ghs_", Beginning::Token(36, 255)),
    ("ghr_", Beginning::Token(36, 255)),
    ("github_pat_", Beginning::Token(22, 255)),
    ("glpat-", Beginning::Token(20, 255)),
    ("xoxa-", Beginning::Token(16, 255)),
    ("xoxb-", Beginning::Token(16, 255)),
    ("xoxp-", Beginning::Token(16, 255)),
    ("xoxr-", Beginning::Token(16, 255)),
    ("xoxs-", Beginning::Token(16, 255)),
    ("AIza", Beginning::Token(35, 35)),
    ("sk_live_", Beginning::Token(20, 255)),
    ("rk_live_", Beginning::Token(20, 255)),
    ("sk-proj-", Beginning::Token(32, 255)),
    ("sk-ant-", Beginning::Token(32, 255)),
    ("npm_", Beginning::Token(36, 36)),
    ("pypi-AgE", Beginning::Token(50, 255)),
    ("hf_", Beginning::Token(34, 40)),
    ("dop_v1_", Beginning::Token(64, 64)),
    ("eyJ", Beginning::WebToken),
    ("assword", Beginning::Assigned),
    ("ASSWORD", Beginning::Assigned),
    ("asswd", Beginning::Assigned),
    ("pwd", Beginning::Assigned),
    ("pi_key", Beginning::Assigned),
    ("pi-key", Beginning::Assigned),
    ("piKey", Beginning::Assigned),
    ("pikey", Beginning::Assigned),
    ("PI_KEY", Beginning::Assigned),
    ("secret", Beginning::Assigned),
    ("Secret", Beginning::Assigned),
    ("SECRET", Beginning::Assigned),
    ("_token", Beginning::Assigned),
    ("_TOKEN", Beginning::Assigned),
    ("Token", Beginning::Assigned),
    ("access_key", Beginning::Assigned),
    ("ACCESS_KEY", Beginning::Assigned),
    ("accessKey", Beginning::Assigned),
    ("密码", Beginning::Assigned),
];

static SEARCH: LazyLock<AhoCorasick> =
    LazyLock::new(|| AhoCorasick::new(BEGINNINGS.iter().map(|(prefix, _)| prefix)).expect("a few short patterns fit"));

/// Appends every secret of the text.
pub(super) fn find(text: &str, spans: &mut Vec<PrivateSpan>) {
    let mut end = 0;
    for found in SEARCH.find_iter(text) {
        if found.start() < end {
            continue;
        }
        let range = match BEGINNINGS[found.pattern().as_usize()].1 {
            Beginning::Block => key_block(text, found.start()),
            Beginning::Token(n_min, n_max) => token(text, found.start(), found.end(), n_min, n_max),
            Beginning::Capitals(n_chars) => capitals(text, found.start(), found.end(), n_chars),
            Beginning::WebToken => web_token(text, found.start()),
            Beginning::Assigned => assigned(text, found.end()),
        };
        if let Some(range) = range {
            end = range.end;
            spans.push(PrivateSpan { kind: Private::Secret, range });
        }
    }
}

/// From `-----BEGIN … PRIVATE KEY-----` to the end of its block, or of its base64 where that was cut off.
fn key_block(text: &str, start: usize) -> Option<Range<usize>> {
    const KEY_BYTES_MIN: usize = 64;
    let rest = &text[start..text.floor_char_boundary(start.saturating_add(KEY_BYTES_MAX).min(text.len()))];
    let header = rest[10..].find("-----").map(|at| at + 10)?;
    if !rest[..header].ends_with("PRIVATE KEY") && !rest[..header].ends_with("PRIVATE KEY BLOCK") {
        return None;
    }
    let body = &rest[header + 5..];
    let is_key = |char: char| char.is_ascii_alphanumeric() || char.is_ascii_whitespace() || "+/=\\:,-.".contains(char);
    let n_key = body.find(|char| !is_key(char)).unwrap_or(body.len());
    let n_body = match body.find("-----END") {
        Some(at) => at + 8 + body[at + 8..].find("-----").map(|at| at + 5)?,
        None => n_key,
    };
    let n_solid = body[..n_key].bytes().filter(u8::is_ascii_alphanumeric).count();
    (n_solid >= KEY_BYTES_MIN).then(|| start..start + header + 5 + body[..n_body].trim_end().len())
}

fn token(text: &str, start: usize, body: usize, n_min: usize, n_max: usize) -> Option<Range<usize>> {
    let n_body = n_token_bytes(&text[body..]);
    let is_whole = (n_min..=n_max).contains(&n_body) && !is_word_before(text, start);
    (is_whole && is_mixed(&text[body..body + n_body])).then_some(start..body + n_body)
}

fn capitals(text: &str, start: usize, body: usize, n_chars: usize) -> Option<Range<usize>> {
    let value = &text[body..];
    let n_body = value.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let is_key = n_body == n_chars && value[..n_body].bytes().all(|byte| !byte.is_ascii_lowercase());
    // Amazon's own example.
    let is_example = value[..n_body].ends_with("EXAMPLE");
    (is_key && !is_example && is_mixed(&value[..n_body]) && !is_word_before(text, start))
        .then_some(start..body + n_body)
}

/// The header of a JSON web token is `{"`, as is its payload: both begin with `eyJ`.
fn web_token(text: &str, start: usize) -> Option<Range<usize>> {
    const PART_BYTES_MIN: usize = 10;
    let mut end = start;
    for part in 0..3 {
        let n_part = n_token_bytes(&text[end..]);
        let is_part = n_part >= PART_BYTES_MIN && (part == 2 || text[end..].starts_with("eyJ"));
        if !is_part || (part < 2 && !text[end + n_part..].starts_with('.')) {
            return None;
        }
        end += n_part + usize::from(part < 2);
    }
    (!is_word_before(text, start)).then_some(start..end)
}

/// The value behind `name =`, `name: "` or `"name": "`.
fn assigned(text: &str, end_of_name: usize) -> Option<Range<usize>> {
    let rest = &text[end_of_name..];
    let after_name = rest.trim_start_matches(['"', '\'', ']', ' ', '\t']);
    let after_sign = after_name.strip_prefix([':', '=']).or_else(|| after_name.strip_prefix('：'))?;
    let after_sign = after_sign.strip_prefix('>').unwrap_or(after_sign);
    let value = after_sign.trim_start_matches([' ', '\t']);
    let value = value.strip_prefix(['"', '\'', '`']).unwrap_or(value);
    let start = text.len() - value.len();
    let is_value = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-.!@#^&*~%$".contains(byte);
    let n_value = value.bytes().take(ASSIGNED_BYTES_MAX + 1).take_while(is_value).count();
    let value = value[..n_value].trim_end_matches('.');
    let is_secret = (ASSIGNED_BYTES_MIN..=ASSIGNED_BYTES_MAX).contains(&value.len()) && is_random(value);
    is_secret.then(|| start..start + value.len())
}

/// Letters and digits mixed as no name or path mixes them.
fn is_random(value: &str) -> bool {
    const PLACEHOLDERS: [&str; 12] = [
        "example",
        "your",
        "xxxx",
        "changeme",
        "placeholder",
        "password",
        "secret",
        "...",
        "1234",
        "abcd",
        "test",
        "token",
    ];
    let lower = value.to_ascii_lowercase();
    let is_named = PLACEHOLDERS.iter().any(|word| lower.contains(word));
    // A path, a call, a variable of a template or an attribute: words joined by single signs.
    let is_reference = value.starts_with(['$', '%', '/', '&', '@', '.', '-']) || value.contains("://");
    is_mixed(value) && !is_named && !is_reference && entropy(value) >= ENTROPY_MIN
}

/// Digits among letters, more than at the end (`key2`, `release-1.0`).
fn is_mixed(value: &str) -> bool {
    let n_digits = value.bytes().filter(u8::is_ascii_digit).count();
    let n_letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let is_letter_behind_digit =
        value.as_bytes().windows(2).any(|pair| pair[0].is_ascii_digit() && pair[1].is_ascii_alphabetic());
    n_digits >= 2 && n_letters >= 2 && is_letter_behind_digit
}

/// Shannon's, in bits a byte.
fn entropy(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    value.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let n_bytes = value.len() as f64;
    let shares = counts.iter().filter(|&&count| count > 0).map(|&count| f64::from(count) / n_bytes);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}

fn n_token_bytes(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).count()
}

fn is_word_before(text: &str, start: usize) -> bool {
    text[..start].bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
