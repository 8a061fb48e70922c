//! What identifies a person or opens a door: addresses, numbers and secrets, each replaced by a placeholder of its type.
//!
//! Two scans find where to look: one table look-up a byte for digits, `@` and `:`, and one search for the fixed
//! beginnings of secrets. Only there a text is read closely, so clean text costs next to nothing. A match has to be
//! proved as far as its kind allows: checksums (Chinese identity numbers, cards, IBAN), assigned prefixes (telephone
//! numbers, card issuers, area codes), addresses that are reachable from outside. What is only a run of digits of the
//! right length stays, as do examples that the standards reserve (`user@example.com`, 192.0.2.1, 2001:db8::).
//!
//! What is found never overlaps; where two kinds claim the same digits, the one listed first in [`Private::ALL`] wins.

mod numbers;
mod secrets;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub(crate) use numbers::{bank_card, chinese_identity, iban, ip_address, phone, social_security};

/// `[ingest.privacy]`: which types are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// Private keys, access tokens, passwords that were assigned.
    pub secrets: bool,
    /// E-mail addresses.
    pub emails: bool,
    /// Public addresses of the Internet protocol, versions 4 and 6.
    pub ip_addresses: bool,
    /// Identity numbers of the People's Republic of China.
    pub chinese_identity_numbers: bool,
    /// International bank account numbers.
    pub ibans: bool,
    /// Numbers of payment cards.
    pub bank_cards: bool,
    /// Telephone numbers: international, North American, Chinese.
    pub phones: bool,
    /// Social security numbers of the United States.
    pub social_security_numbers: bool,
}

/// A type of what is private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Private {
    /// [`Privacy::secrets`].
    Secret,
    /// [`Privacy::emails`].
    Email,
    /// [`Privacy::ip_addresses`].
    IpAddress,
    /// [`Privacy::chinese_identity_numbers`].
    ChineseIdentityNumber,
    /// [`Privacy::ibans`].
    Iban,
    /// [`Privacy::bank_cards`].
    BankCard,
    /// [`Privacy::phones`].
    Phone,
    /// [`Privacy::social_security_numbers`].
    SocialSecurityNumber,
}

/// Where something private stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateSpan {
    /// Its type.
    pub kind: Private,
    /// Its bytes.
    pub range: Range<usize>,
}

/// How many of each type were found, in the order of [`Private::ALL`].
pub type PrivateCounts = [u32; Private::ALL.len()];

impl Private {
    /// All types; the first of two that claim the same characters wins.
    pub const ALL: [Self; 8] = [
        Self::Secret,
        Self::Email,
        Self::IpAddress,
        Self::ChineseIdentityNumber,
        Self::Iban,
        Self::BankCard,
        Self::Phone,
        Self::SocialSecurityNumber,
    ];

    /// What stands in its place. The spelling is part of what models learn: it never changes.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Secret => "<SECRET>",
            Self::Email => "<EMAIL>",
            Self::IpAddress => "<IP_ADDRESS>",
            Self::ChineseIdentityNumber => "<ID_NUMBER>",
            Self::Iban => "<IBAN>",
            Self::BankCard => "<BANK_CARD>",
            Self::Phone => "<PHONE>",
            Self::SocialSecurityNumber => "<SSN>",
        }
    }

    /// The name of its count in signals and manifests.
    pub const fn signal(self) -> &'static str {
        match self {
            Self::Secret => "n_secrets",
            Self::Email => "n_emails",
            Self::IpAddress => "n_ip_addresses",
            Self::ChineseIdentityNumber => "n_chinese_identity_numbers",
            Self::Iban => "n_ibans",
            Self::BankCard => "n_bank_cards",
            Self::Phone => "n_phones",
            Self::SocialSecurityNumber => "n_social_security_numbers",
        }
    }

    pub(crate) fn is_wanted(self, settings: &Privacy) -> bool {
        match self {
            Self::Secret => settings.secrets,
            Self::Email => settings.emails,
            Self::IpAddress => settings.ip_addresses,
            Self::ChineseIdentityNumber => settings.chinese_identity_numbers,
            Self::Iban => settings.ibans,
            Self::BankCard => settings.bank_cards,
            Self::Phone => settings.phones,
            Self::SocialSecurityNumber => settings.social_security_numbers,
        }
    }
}

/// The text with placeholders, or `None` where nothing was found, and how many there are of each type.
pub fn replace_private(text: &str, settings: &Privacy) -> (Option<String>, PrivateCounts) {
    let mut counts = PrivateCounts::default();
    let spans = find_private(text, settings);
    if spans.is_empty() {
        return (None, counts);
    }
    let mut replaced = String::with_capacity(text.len());
    let mut end = 0;
    for PrivateSpan { kind, range } in spans {
        replaced.push_str(&text[end..range.start]);
        replaced.push_str(kind.placeholder());
        end = range.end;
        counts[kind as usize] += 1;
    }
    replaced.push_str(&text[end..]);
    (Some(replaced), counts)
}

/// Tells what the digits begin, if anything.
type Finder = fn(&str, Range<usize>) -> Option<Range<usize>>;

/// Everything private of the wanted types, in order, without overlaps.
pub fn find_private(text: &str, settings: &Privacy) -> Vec<PrivateSpan> {
    let mut spans = Vec::new();
    if settings.secrets {
        secrets::find(text, &mut spans);
    }
    find_by_bytes(text, settings, &mut spans);
    spans.sort_by_key(|span| (span.kind, span.range.start));
    let mut kept: Vec<PrivateSpan> = Vec::with_capacity(spans.len());
    for span in spans {
        let at = kept.partition_point(|other| other.range.end <= span.range.start);
        if kept.get(at).is_none_or(|next| span.range.end <= next.range.start) {
            kept.insert(at, span);
        }
    }
    kept
}

/// Looks closely wherever a number begins, at every `@` and every `:`.
fn find_by_bytes(text: &str, settings: &Privacy, spans: &mut Vec<PrivateSpan>) {
    const OTHER: u8 = 0;
    const DIGIT: u8 = 1;
    const AT: u8 = 2;
    const COLON: u8 = 3;
    /// The first byte of full-width forms.
    const FULL_WIDTH: u8 = 4;
    const CLASSES: [u8; 256] = {
        let mut classes = [OTHER; 256];
        let mut digit = b'0';
        while digit <= b'9' {
            classes[digit as usize] = DIGIT;
            digit += 1;
        }
        classes[b'@' as usize] = AT;
        classes[b':' as usize] = COLON;
        classes[0xEF] = FULL_WIDTH;
        classes
    };
    let bytes = text.as_bytes();
    let (mut at, mut is_folded) = (0, false);
    while at < bytes.len() {
        let class = CLASSES[usize::from(bytes[at])];
        match class {
            OTHER => at += 1,
            AT => {
                if settings.emails
                    && let Some(range) = email(bytes, at)
                {
                    spans.push(PrivateSpan { kind: Private::Email, range });
                }
                at += 1;
            }
            COLON => {
                if settings.ip_addresses
                    && let Some(range) = numbers::ip_address_6(text, at)
                {
                    spans.push(PrivateSpan { kind: Private::IpAddress, range });
                }
                at += 1;
            }
            FULL_WIDTH => {
                is_folded |= bytes.get(at + 1) == Some(&0xBC) && matches!(bytes.get(at + 2), Some(0x90..=0x99));
                at += 3;
            }
            _ => {
                let end = bytes[at..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |n| at + n);
                find_number(text, at..end, settings, spans);
                at = end;
            }
        }
    }
    if is_folded {
        find_full_width(text, settings, spans);
    }
}

/// Everything that the number at `digits` may be; what starts with a letter, a sign or a bracket reaches back for it.
fn find_number(text: &str, digits: Range<usize>, settings: &Privacy, spans: &mut Vec<PrivateSpan>) {
    let kinds: [(Private, Finder); 6] = [
        (Private::IpAddress, ip_address),
        (Private::ChineseIdentityNumber, chinese_identity),
        (Private::Iban, iban),
        (Private::BankCard, bank_card),
        (Private::Phone, phone),
        (Private::SocialSecurityNumber, social_security),
    ];
    for (kind, find) in kinds {
        if kind.is_wanted(settings)
            && let Some(range) = find(text, digits.clone())
        {
            spans.push(PrivateSpan { kind, range });
        }
    }
}

/// Numbers in full-width digits: the text is searched again with these in ASCII. Only for texts that were not
/// normalised, so its cost does not matter.
fn find_full_width(text: &str, settings: &Privacy, spans: &mut Vec<PrivateSpan>) {
    let mut folded = String::with_capacity(text.len());
    // For every byte of the folded text, the byte of the text that it came from.
    let mut origins = Vec::with_capacity(text.len() + 1);
    for (at, char) in text.char_indices() {
        let plain = match char {
            '！'..='～' => char::from_u32(u32::from(char) - 0xFEE0).expect("full-width forms lie above ASCII"),
            _ => char,
        };
        folded.push(plain);
        origins.resize(folded.len(), at);
    }
    origins.push(text.len());
    let mut found = Vec::new();
    find_by_bytes(&folded, settings, &mut found);
    spans.extend(found.into_iter().filter_map(|span| {
        let range = origins[span.range.start]..origins[span.range.end];
        let is_new = text[range.clone()].chars().any(|char| ('０'..='９').contains(&char));
        is_new.then_some(PrivateSpan { kind: span.kind, range })
    }));
}

/// The address around the `@`.
fn email(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    const LOCAL_BYTES_MAX: usize = 64;
    const DOMAIN_BYTES_MAX: usize = 253;
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let n_local = bytes[..at].iter().rev().take(LOCAL_BYTES_MAX + 1).take_while(|byte| is_local(byte)).count();
    let mut start = at - n_local;
    while start < at && matches!(bytes[start], b'.' | b'-' | b'%' | b'+') {
        start += 1;
    }
    if start == at || n_local > LOCAL_BYTES_MAX || bytes[at - 1] == b'.' {
        return None;
    }
    let n_domain = bytes[at + 1..].iter().take(DOMAIN_BYTES_MAX).take_while(|byte| is_domain(byte)).count();
    let mut end = at + 1 + n_domain;
    while end > at + 1 && matches!(bytes[end - 1], b'.' | b'-') {
        end -= 1;
    }
    let domain = std::str::from_utf8(&bytes[at + 1..end]).expect("ASCII").to_ascii_lowercase();
    // A login, or the id of a message in the address of an archive.
    let is_login = bytes[..start].ends_with(b"/") || &bytes[start..at] == b"git";
    // A handle of the fediverse, or the second `@` of `a@b@c`.
    let is_handle = start > 0 && bytes[start - 1] == b'@' || bytes.get(end) == Some(&b'@');
    (!is_login && !is_handle && is_mail_domain(&domain)).then_some(start..end)
}

/// Whether people may have an address there: a name with a top-level domain that isn't the ending of a file or of a unit
/// of systemd, and isn't reserved for examples (RFC 2606).
fn is_mail_domain(domain: &str) -> bool {
    const NOT_TOP_LEVEL: [&str; 32] = [
        "service",
        "socket",
        "target",
        "timer",
        "mount",
        "slice",
        "scope",
        "device",
        "path",
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "bmp",
        "js",
        "css",
        "html",
        "json",
        "txt",
        "xml",
        "php",
        "test",
        "invalid",
        "localhost",
        "example",
        "local",
        "internal",
        "dom",
        "ext",
        "domain",
    ];
    let Some((rest, top)) = domain.rsplit_once('.') else { return false };
    let mut labels = domain.split('.');
    let is_name = labels.all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    let is_top = top.len() > 1 && top.bytes().all(|byte| byte.is_ascii_alphabetic()) && !NOT_TOP_LEVEL.contains(&top);
    let second = rest.rsplit('.').next().unwrap_or(rest);
    is_name && is_top && !(second == "example" && matches!(top, "com" | "org" | "net" | "edu"))
}
