//! What a run of digits may be. Each function gets the text and a maximal run of ASCII digits, and returns the bytes of
//! what it takes the run to begin.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// How far back a word that says what a number is may stand, in bytes.
const CONTEXT_BYTES: usize = 40;

/// Provinces in the first two digits of an identity number (GB/T 2260), Hong Kong, Macao and Taiwan residents included.
const CHINESE_PROVINCES: [u8; 34] = [
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52, 53, 54, 61, 62, 63,
    64, 65, 81, 82, 83,
];

/// Eighteen digits, the last of which may be X: region, date of birth, serial number, check character (ISO 7064 MOD
/// 11-2), as GB 11643 lays down.
pub(crate) fn chinese_identity(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: &[u8; 11] = b"10X98765432";
    const N_BYTES: usize = 18;
    let end = digits.start + N_BYTES;
    let number = text.as_bytes().get(digits.start..end)?;
    let is_whole = match digits.len() {
        18 => true,
        17 => matches!(number[17], b'X' | b'x'),
        _ => false,
    };
    if !is_whole || is_joined(text, digits.start, end) {
        return None;
    }
    let province = decimal(&number[..2]) as u8;
    let (year, month, day) = (decimal(&number[6..10]), decimal(&number[10..12]), decimal(&number[12..14]));
    let sum: u32 = number.iter().zip(WEIGHTS).map(|(&digit, weight)| u32::from(digit - b'0') * weight).sum();
    let check = CHECKS[sum as usize % CHECKS.len()];
    // Nobody alive was born before; the upper end only keeps years that are none out, since no clock is read here.
    let is_proved = CHINESE_PROVINCES.contains(&province)
        && (1880..2060).contains(&year)
        && is_date(year, month, day)
        && number[17].to_ascii_uppercase() == check;
    is_proved.then_some(digits.start..end)
}

/// Thirteen to nineteen digits in one run or in groups, with the prefix and length of an issuer (ISO/IEC 7812) and Luhn's
/// checksum. One run has to be of sixteen or nineteen: shorter ones are more often something else.
pub(crate) fn bank_card(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    let (number, range, n_groups) = if digits.len() >= 13 {
        (text[digits.clone()].to_owned(), digits.clone(), 1)
    } else {
        grouped_card(text, digits.clone())?
    };
    let is_long = matches!(number.len(), 16 | 19);
    if !(is_long || n_groups > 1) || is_joined(text, range.start, range.end) || is_luhn(&number) == Some(false) {
        return None;
    }
    let is_issued = is_issued(&number) && !is_monotonous(&number);
    (is_luhn(&number)? && is_issued).then_some(range)
}

/// 4-4-4-4, 4-4-4-4-3, 4-6-5 or 4-6-4, with the same space or hyphen between all groups.
fn grouped_card(text: &str, digits: Range<usize>) -> Option<(String, Range<usize>, usize)> {
    let groups = groups(text, digits.clone(), b" -", 5)?;
    let lengths: Vec<usize> = groups.iter().map(Range::len).collect();
    let n_groups = match lengths[..] {
        [4, 4, 4, 4, 3] => 5,
        [4, 4, 4, 4, ..] => 4,
        [4, 6, 5 | 4, ..] => 3,
        _ => return None,
    };
    let separator = text.as_bytes()[groups[0].end];
    let is_even = groups[1..n_groups].iter().all(|group| text.as_bytes()[group.start - 1] == separator);
    let number = groups[..n_groups].iter().map(|group| &text[group.clone()]).collect();
    is_even.then(|| (number, digits.start..groups[n_groups - 1].end, n_groups))
}

fn is_issued(number: &str) -> bool {
    let prefix = |n_digits: usize| decimal(&number.as_bytes()[..n_digits]);
    match number.len() {
        15 => matches!(prefix(2), 34 | 37),
        14 => matches!(prefix(3), 300..=305 | 360..=369 | 380..=399),
        16..=19 => {
            let is_visa = prefix(1) == 4 && matches!(number.len(), 16 | 19);
            let is_mastercard =
                number.len() == 16 && (matches!(prefix(2), 51..=55) || matches!(prefix(4), 2221..=2720));
            let is_discover = prefix(4) == 6011 || matches!(prefix(3), 644..=649) || prefix(2) == 65;
            let is_jcb = matches!(prefix(4), 3528..=3589);
            let is_mir = number.len() == 16 && matches!(prefix(4), 2200..=2204);
            let is_union_pay = prefix(2) == 62;
            is_visa || is_mastercard || is_discover || is_jcb || is_mir || is_union_pay
        }
        _ => false,
    }
}

fn is_luhn(number: &str) -> Option<bool> {
    let mut sum = 0;
    for (index, byte) in number.bytes().rev().enumerate() {
        let digit = u32::from(byte.checked_sub(b'0')?);
        let doubled = digit * 2;
        sum += if index % 2 == 0 { digit } else { doubled / 10 + doubled % 10 };
    }
    Some(sum % 10 == 0)
}

/// Filler such as 4444 4444 4444 4444 has at most two different digits.
fn is_monotonous(number: &str) -> bool {
    let seen = number.bytes().fold(0_u32, |seen, byte| seen | 1 << (byte & 0x1F));
    seen.count_ones() < 3
}

/// Countries with account numbers of the standard, and how long these are.
const IBAN_LENGTHS: &str = "\
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 \
    FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IS26 IT27 JO30 KW30 KZ20 LB28 LI21 LT20 LU20 LV21 \
    MC27 MD24 ME22 MK19 MT31 NL18 NO15 PK24 PL28 PT25 QA29 RO24 RS22 SA24 SE24 SI19 SK24 TR26";

/// Two letters, two check digits and the account, of the length the country has, in one run or in groups of four
/// (ISO 13616, remainder 1 by 97).
pub(crate) fn iban(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    let start = digits.start.checked_sub(2)?;
    let country = text.get(start..digits.start)?;
    let n_chars: usize = IBAN_LENGTHS.split(' ').find_map(|entry| entry.strip_prefix(country)?.parse().ok())?;
    let mut account = String::with_capacity(n_chars);
    let mut end = start;
    for &byte in &text.as_bytes()[start..] {
        let is_gap = byte == b' ' && account.len().is_multiple_of(4) && !account.is_empty();
        if account.len() == n_chars || !(is_gap || byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
            break;
        }
        if !is_gap {
            account.push(char::from(byte));
        }
        end += 1;
    }
    if account.len() != n_chars || is_joined(text, start, end) {
        return None;
    }
    let remainder = account[4..].bytes().chain(account[..4].bytes()).fold(0, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    (remainder == 1).then_some(start..end)
}

/// AAA-GG-SSSS with numbers that are given out.
pub(crate) fn social_security(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    let groups = groups(text, digits.clone(), b"-", 3)?;
    let [area, group, serial] = &groups[..] else { return None };
    let value = |range: &Range<usize>| decimal(&text.as_bytes()[range.clone()]);
    let is_given = (area.len(), group.len(), serial.len()) == (3, 2, 4)
        && !matches!(value(area), 0 | 666 | 900..)
        && value(group) > 0
        && value(serial) > 0;
    (is_given && !is_joined(text, area.start, serial.end)).then_some(area.start..serial.end)
}

/// Four numbers up to 255. Out: what is not reachable from outside, and what is rather a version or a section.
pub(crate) fn ip_address(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    /// Nearly every address has a part that is larger; versions, sections and rows of a table rarely have.
    const SMALL_PART_MAX: u8 = 99;
    if digits.len() > 3 {
        return None;
    }
    let groups = groups(text, digits.clone(), b".", 5)?;
    let [_, _, _, last] = &groups[..] else { return None };
    let end = last.end;
    let address: Ipv4Addr = text[digits.start..end].parse().ok()?;
    let is_release = matches!(&text.as_bytes()[..digits.start], [.., letter, b'-' | b'/'] if is_word(*letter));
    if is_release || is_joined(text, digits.start, end) {
        return None;
    }
    let before = context(text, digits.start);
    let is_version = ends_with_any(
        before.trim_end_matches([' ', ':', '=', '"', '\'', '(']),
        &["version", "versions", "ver", "ver.", "v", "release", "build", "section", "chapter", "版本", "版本号", "第"],
    );
    let is_named = contains_any(before, &["ip", "addr", "host", "server", "dns", "ping", "地址", "服务器", "主机"]);
    let is_small = address.octets().iter().all(|&part| part <= SMALL_PART_MAX);
    (is_public(address) && !is_version && (!is_small || is_named)).then_some(digits.start..end)
}

/// Everything that is routed (IANA's registry of special-purpose addresses), less the resolvers that manuals quote.
fn is_public(address: Ipv4Addr) -> bool {
    let [first, second, third, fourth] = address.octets();
    let is_special = matches!(
        (first, second, third),
        (0 | 10 | 127 | 224.., _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    let is_resolver = matches!(
        (first, second, third, fourth),
        (8, 8, 8, 8) | (8, 8, 4, 4) | (1, 1, 1, 1) | (1, 0, 0, 1) | (9, 9, 9, 9) | (114, 114, 114, 114)
    );
    !is_special && !is_resolver
}

/// The address around its first colon: global unicast, at least three of its groups written out.
pub(crate) fn ip_address_6(text: &str, colon: usize) -> Option<Range<usize>> {
    const GROUPS_MIN: usize = 3;
    const BYTES_MAX: usize = 39;
    let bytes = text.as_bytes();
    let n_before = bytes[..colon].iter().rev().take(5).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let start = colon - n_before;
    if !(1..=4).contains(&n_before) || is_joined_before(text, start) || bytes[..start].ends_with(b":") {
        return None;
    }
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == b':';
    let n_bytes = bytes[start..].iter().take(BYTES_MAX + 1).take_while(is_part).count();
    let written = text[start..start + n_bytes].trim_end_matches(':');
    let end = start + written.len();
    let address: Ipv6Addr = written.parse().ok()?;
    let n_groups = written.split(':').filter(|group| !group.is_empty()).count();
    let [first, second, ..] = address.segments();
    let is_example = (first, second) == (0x2001, 0x0DB8) || first == 0x3FFF;
    let is_public = (0x2000..0x4000).contains(&first) && !is_example;
    (is_public && n_groups >= GROUPS_MIN && !is_joined_after(text, end)).then_some(start..end)
}

/// A telephone number: with `+` and a country, in the North American or the Chinese form, or any run of groups behind a
/// word that calls it one.
pub(crate) fn phone(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    let range = international(text, digits.clone())
        .or_else(|| chinese_mobile(text, digits.clone()))
        .or_else(|| chinese_landline(text, digits.clone()))
        .or_else(|| north_american(text, digits.clone()))
        .or_else(|| named_phone(text, digits.clone()))?;
    // A word follows a Chinese mobile number where two lines became one: `13812345678qq`.
    let is_mobile = digits.len() == 11 && chinese_mobile(text, digits).as_ref() == Some(&range);
    let behind = text[range.end..].trim_start_matches(|char: char| char.is_ascii_alphabetic());
    let is_word_behind = is_mobile
        && behind.len() < text.len() - range.end
        && !behind.starts_with(|char: char| char == '_' || char.is_ascii_digit());
    // Years, page numbers and paths.
    let is_free = !is_joined_before(text, range.start) && (is_word_behind || !is_joined_after(text, range.end));
    is_free.then_some(range)
}

/// E.164: `+`, a country code that is assigned, eight to fifteen digits in all.
fn international(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    let start = digits.start.checked_sub(1).filter(|&at| text.as_bytes()[at] == b'+')?;
    let is_operator =
        text[..start].trim_end().bytes().next_back().is_some_and(|byte| byte.is_ascii_digit() || byte == b')');
    let is_ip = groups(text, digits.clone(), b".", 4).is_some_and(|groups| groups.len() == 4 && digits.len() < 4);
    let (n_digits, end) = phone_digits(text, digits.start);
    let is_short_without_gaps = end - digits.start == n_digits && n_digits < 10;
    let is_long_enough = (8..=15).contains(&n_digits) && !is_short_without_gaps;
    (is_long_enough && !is_operator && !is_ip && is_country(&text[digits.start..end])).then_some(start..end)
}

/// Country codes of the ITU by their first two digits; `+1 ` is followed by a gap.
fn is_country(number: &str) -> bool {
    let mut digits = number.bytes().filter(u8::is_ascii_digit).map(|digit| u32::from(digit - b'0'));
    let prefix = digits.next().unwrap_or(0) * 10 + digits.next().unwrap_or(0);
    // 2^31 - 1 is a number of programs, not of North Africa.
    if prefix == 21 && !matches!(digits.next(), Some(1 | 2 | 3 | 6 | 8)) {
        return false;
    }
    matches!(prefix, 10..=19 | 20 | 27 | 30..=34 | 36 | 39..=41 | 43..=49 | 51..=58 | 60..=66 | 70..=79 | 81 | 82 | 84
        | 86 | 90..=95 | 98 | 21..=26 | 29 | 35 | 37 | 38 | 42 | 50 | 59 | 67..=69 | 80 | 85 | 87 | 88 | 96 | 97 | 99)
}

/// Eleven digits that begin with an assigned 13 to 19, in one run or as 3-4-4.
fn chinese_mobile(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    let is_assigned = |number: &str| {
        matches!(number.as_bytes(), [b'1', b'3' | b'8', ..] | [b'1', b'4', b'0' | b'1' | b'4'..=b'9', ..]
            | [b'1', b'5', b'0'..=b'3' | b'5'..=b'9', ..] | [b'1', b'6', b'2' | b'5'..=b'7', ..]
            | [b'1', b'7', b'0'..=b'8', ..] | [b'1', b'9', b'0'..=b'3' | b'5'..=b'9', ..])
    };
    if !is_assigned(&text[digits.clone()]) {
        return None;
    }
    if digits.len() == 11 {
        // A size or a time stamp in a listing has no Chinese beside it.
        return (!is_in_path(text, &digits) && is_beside_chinese(text, &digits)).then_some(digits);
    }
    let groups = groups(text, digits.clone(), b" -", 4)?;
    let is_mobile = groups.len() == 3 && groups.iter().map(Range::len).eq([3, 4, 4]);
    is_mobile.then(|| digits.start..groups[2].end)
}

/// An area code with its zero, a hyphen, a space or brackets, seven or eight digits.
fn chinese_landline(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let area = &bytes[digits.clone()];
    let is_area =
        matches!(area, [b'0', b'1', b'0'] | [b'0', b'2', b'0'..=b'5' | b'7'..=b'9'] | [b'0', b'3'..=b'9', _, _]);
    if !is_area {
        return None;
    }
    let is_bracketed = digits.start > 0 && bytes[digits.start - 1] == b'(' && bytes.get(digits.end) == Some(&b')');
    let mut start = digits.end + 1;
    if is_bracketed {
        start += usize::from(matches!(bytes.get(start), Some(b' ' | b'-')));
    } else if bytes.get(digits.end) != Some(&b'-') {
        return None;
    }
    let n_digits = bytes[start.min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    // 010-8888 8888
    let second = start + n_digits + 1;
    let is_split = n_digits == 4 && matches!(bytes.get(start + 4), Some(b' ' | b'-'));
    let n_second = if is_split { bytes[second..].iter().take_while(|byte| byte.is_ascii_digit()).count() } else { 0 };
    let end = match (n_digits, n_second) {
        (7 | 8, _) => start + n_digits,
        (4, 4) => second + 4,
        _ => return None,
    };
    Some(digits.start - usize::from(is_bracketed)..end)
}

/// NXX-NXX-XXXX, also with dots or a bracketed area code, with or without `1-` before it.
fn north_american(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    if digits.len() != 3 || bytes[digits.start] < b'2' {
        return None;
    }
    let is_bracketed = digits.start > 0 && bytes[digits.start - 1] == b'(' && bytes.get(digits.end) == Some(&b')');
    let separator = if is_bracketed { b'-' } else { *bytes.get(digits.end)? };
    let exchange = digits.end + 1 + usize::from(is_bracketed && matches!(bytes.get(digits.end + 1), Some(b' ' | b'-')));
    let rest = bytes.get(exchange..exchange + 8)?;
    let is_number = matches!(rest[0], b'2'..=b'9')
        && rest[..3].iter().all(u8::is_ascii_digit)
        && (rest[3] == separator || is_bracketed && matches!(rest[3], b' ' | b'.'))
        && rest[4..].iter().all(u8::is_ascii_digit)
        && matches!(separator, b'-' | b'.');
    if !is_number {
        return None;
    }
    let start = digits.start - usize::from(is_bracketed);
    let before = &bytes[..start];
    let country = usize::from(before.ends_with(b"1-") || before.ends_with(b"1 ") || before.ends_with(b"1.")) * 2;
    let is_alone = !bytes[..start - country].last().is_some_and(|&byte| byte.is_ascii_digit());
    Some(if is_alone { start - country } else { start }..exchange + 8)
}

/// Seven to fifteen digits right behind a word for telephone.
fn named_phone(text: &str, digits: Range<usize>) -> Option<Range<usize>> {
    const NAMES: [&str; 22] = [
        "tel",
        "tel.",
        "telephone",
        "phone",
        "phone number",
        "mobile",
        "fax",
        "call",
        "whatsapp",
        "cell",
        "hotline",
        "电话",
        "手机",
        "手机号",
        "手机号码",
        "电话号码",
        "联系方式",
        "联系电话",
        "热线",
        "传真",
        "咨询电话",
        "致电",
    ];
    let (n_digits, end) = phone_digits(text, digits.start);
    if !(7..=15).contains(&n_digits) || text[digits.start..].starts_with("00000") {
        return None;
    }
    let before = context(text, digits.start);
    let named = before.trim_end_matches([' ', ':', '：', '(', '（', '+', '是', '为']);
    ends_with_any(named, &NAMES).then_some(digits.start..end)
}

/// How many digits a number with single gaps has, and where it ends.
fn phone_digits(text: &str, start: usize) -> (usize, usize) {
    const DIGITS_MAX: usize = 16;
    let bytes = text.as_bytes();
    let (mut n_digits, mut end) = (0, start);
    while n_digits < DIGITS_MAX {
        let gap = match &bytes[end..] {
            [b')', b' ' | b'-', next, ..] | [b' ', b'(', next, ..] if next.is_ascii_digit() => 2,
            [b' ' | b'-' | b'.' | b'(' | b')' | b'/', next, ..] if next.is_ascii_digit() => 1,
            [next, ..] if next.is_ascii_digit() => 0,
            _ => break,
        };
        end += gap + 1;
        n_digits += 1;
    }
    (n_digits, end)
}

/// Runs of digits from `first` on with one of the separators between each two, at most `n_max`; `None` where the run is
/// not the first of its number.
fn groups(text: &str, first: Range<usize>, separators: &[u8], n_max: usize) -> Option<Vec<Range<usize>>> {
    let bytes = text.as_bytes();
    let mut end = first.end;
    let mut groups = vec![first];
    while groups.len() < n_max && bytes.get(end).is_some_and(|byte| separators.contains(byte)) {
        let n_digits = bytes[end + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if n_digits == 0 {
            break;
        }
        groups.push(end + 1..end + 1 + n_digits);
        end += 1 + n_digits;
    }
    (groups.len() > 1).then_some(groups)
}

/// Whether letters, digits or a sign that joins numbers touch the range: then it is a piece of something longer.
fn is_joined(text: &str, start: usize, end: usize) -> bool {
    is_joined_before(text, start) || is_joined_after(text, end)
}

fn is_joined_before(text: &str, start: usize) -> bool {
    match &text.as_bytes()[..start] {
        [.., byte] if is_word(*byte) => true,
        [.., before, b'.' | b'-' | b'/' | b',' | b':'] => before.is_ascii_digit(),
        [.., b'#' | b'$' | b'=' | b'%' | b'&'] => true,
        _ => text[..start].ends_with(['¥', '￥', '€', '£', '第', '№']),
    }
}

fn is_joined_after(text: &str, end: usize) -> bool {
    match &text.as_bytes()[end..] {
        [byte, ..] if is_word(*byte) => true,
        [b'.' | b'-' | b':' | b',', after, ..] => after.is_ascii_digit(),
        _ => text[end..].starts_with(['元', '万', '亿', '％', '%']),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether the number stands in an address of the web or of a file.
fn is_in_path(text: &str, range: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let is_path = |byte: Option<&u8>| matches!(byte, Some(b'/' | b'\\' | b'~'));
    is_path(range.start.checked_sub(1).and_then(|at| bytes.get(at)))
        || is_path(bytes.get(range.end))
        || matches!(&bytes[range.end..], [b'.', after, ..] if after.is_ascii_alphabetic())
}

/// Whether a Chinese character stands near.
fn is_beside_chinese(text: &str, range: &Range<usize>) -> bool {
    let start = text.ceil_char_boundary(range.start.saturating_sub(CONTEXT_BYTES));
    let end = text.floor_char_boundary((range.end + CONTEXT_BYTES).min(text.len()));
    text[start..end].chars().any(|char| ('\u{3000}'..='\u{9FFF}').contains(&char))
}

/// The end of what stands before `at` in its line.
fn context(text: &str, at: usize) -> &str {
    let before = &text[text.ceil_char_boundary(at.saturating_sub(CONTEXT_BYTES))..at];
    before.rsplit('\n').next().unwrap_or(before)
}

fn ends_with_any(before: &str, words: &[&str]) -> bool {
    let lower = before.to_ascii_lowercase();
    words.iter().any(|word| {
        let is_word_start = |rest: &str| !rest.bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric());
        lower.strip_suffix(word).is_some_and(|rest| !word.is_ascii() || is_word_start(rest))
    })
}

fn contains_any(before: &str, words: &[&str]) -> bool {
    let lower = before.to_ascii_lowercase();
    words.iter().any(|word| lower.contains(word))
}

fn is_date(year: u32, month: u32, day: u32) -> bool {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let n_days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=n_days).contains(&day)
}

/// The value of at most nine digits.
fn decimal(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}
