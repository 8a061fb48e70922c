//! Text that was decoded with the wrong character set (mojibake) and is decoded again.
//!
//! Two mistakes are undone, line by line since pages are often stitched from several files:
//! - UTF-8 read as windows-1252 or ISO 8859-1 (`donâ€™t`, `ä½ å¥½`). A stretch of characters that these sets have is
//!   replaced as a whole where its bytes are UTF-8 and say something that people write. Where only parts of it were
//!   misread, single sequences are replaced that no language writes: three or four symbols in a row, or a capital with a
//!   tilde inside a word of small letters.
//! - GB2312 read as either (`ÄãºÃ£¬ÊÀ½ç`): eight or more accented letters in a row that are frequent Chinese characters.
//!
//! A French or German line has accented letters between unaccented ones, which is never UTF-8, so it is safe by
//! construction; Chinese has no character that begins a misreading. Cost: linear.

use std::borrow::Cow;

use encoding_rs::GBK;

/// Fewer accented letters are no evidence that they were Chinese.
const GB_BYTES_MIN: usize = 8;

/// Characters that make up a fifth of any running Chinese text, and the marks between them.
const FREQUENT_CHARS: &str = "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里，。、：；！？“”";

/// Share of [`FREQUENT_CHARS`], one in so many, that a run must have.
const FREQUENT_ONE_IN: usize = 8;

/// The line as it was meant; `None` where nothing changes.
pub(crate) fn repair_misreading(line: &str) -> Option<String> {
    if !has_misread_pair(line) {
        return None;
    }
    let mut repaired = String::with_capacity(line.len());
    let mut is_changed = false;
    for stretch in stretches(line) {
        let replacement = repair_stretch(stretch);
        is_changed |= replacement.is_some();
        repaired.push_str(replacement.as_deref().unwrap_or(stretch));
    }
    (is_changed && repaired != line).then_some(repaired)
}

/// Whether some character that windows-1252 makes of the first byte of a UTF-8 sequence is followed by one that it makes
/// of a later byte, or `GB_BYTES_MIN` accented letters stand in a row.
pub(crate) fn has_misread_pair(line: &str) -> bool {
    let (mut is_after_lead, mut n_high) = (false, 0);
    line.chars().any(|char| {
        let byte = if char.is_ascii() { None } else { windows_1252_byte(char) };
        let is_pair = is_after_lead && byte.is_some_and(|byte| (0x80..0xC0).contains(&byte));
        is_after_lead = byte.is_some_and(|byte| (0xC2..0xF5).contains(&byte));
        n_high = if byte.is_some_and(|byte| byte > 0xA0) { n_high + 1 } else { 0 };
        is_pair || n_high >= GB_BYTES_MIN
    })
}

/// Cuts a line where a character begins or ends that windows-1252 does not have.
fn stretches(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let is_first_latin = windows_1252_byte(rest.chars().next()?).is_some();
        let end = rest.find(|char| windows_1252_byte(char).is_some() != is_first_latin).unwrap_or(rest.len());
        let (stretch, after) = rest.split_at(end);
        rest = after;
        Some(stretch)
    })
}

fn repair_stretch(stretch: &str) -> Option<String> {
    if !has_misread_pair(stretch) {
        return None;
    }
    let bytes = windows_1252_bytes(stretch)?;
    // Quotes and dashes alone may follow a sign by right: `3×“`.
    let is_evident = stretch.chars().zip(&bytes).any(|(char, byte)| (0x80..0xC0).contains(byte) && !is_closing(char));
    if !is_evident {
        return None;
    }
    repair_whole(&bytes).or_else(|| repair_gb2312(stretch, &bytes)).or_else(|| repair_sequences(stretch, &bytes))
}

/// Reads the whole stretch as UTF-8, and what comes out once more where it was misread twice: the controls in between
/// must not be lost.
fn repair_whole(bytes: &[u8]) -> Option<String> {
    let mut repaired = std::str::from_utf8(bytes).ok()?.to_owned();
    while !is_plausible(&repaired) {
        repaired = String::from_utf8(windows_1252_bytes(&repaired)?).ok().filter(|next| next.len() < repaired.len())?;
    }
    Some(repaired)
}

fn is_plausible(repaired: &str) -> bool {
    let foreign = repaired.chars().filter(|char| !char.is_ascii());
    let n_cjk = foreign.clone().filter(|&char| char >= '\u{3040}').count();
    // One lone Han character in a line of Latin letters is more likely an accident, as in `café»—`.
    foreign.clone().all(is_common) && n_cjk != 1
}

/// Decodes the runs of characters beyond ASCII as GB2312 where all of them together look like Chinese.
fn repair_gb2312(stretch: &str, bytes: &[u8]) -> Option<String> {
    let runs = || bytes.chunk_by(|left, right| left.is_ascii() == right.is_ascii());
    let (mut n_chars, mut n_frequent) = (0, 0);
    for run in runs().filter(|run| !run[0].is_ascii()) {
        let decoded = decode_gb2312(run)?;
        n_chars += decoded.chars().count();
        n_frequent += decoded.chars().filter(|&char| FREQUENT_CHARS.contains(char)).count();
    }
    if 2 * n_chars < GB_BYTES_MIN || n_frequent * FREQUENT_ONE_IN < n_chars {
        return None;
    }
    let mut repaired = String::with_capacity(stretch.len());
    for run in runs() {
        match decode_gb2312(run) {
            Some(decoded) => repaired.push_str(&decoded),
            None => repaired.extend(run.iter().map(|&byte| windows_1252_char(byte))),
        }
    }
    Some(repaired)
}

/// Pairs of bytes as the set's punctuation and characters; the rows of frequent characters must be most of them.
fn decode_gb2312(run: &[u8]) -> Option<String> {
    let is_pair = |pair: &[u8]| matches!(pair[0], 0xA1..=0xA3 | 0xB0..=0xF7) && pair.len() == 2 && pair[1] > 0xA0;
    let n_rare = run.chunks(2).filter(|pair| pair[0] > 0xD7).count();
    let is_likely = run.chunks(2).all(is_pair) && n_rare * 5 <= run.len() / 2;
    is_likely.then(|| GBK.decode_without_bom_handling_and_without_replacement(run))?.map(Cow::into_owned)
}

/// Replaces single sequences in a stretch that has correct text beside them.
fn repair_sequences(stretch: &str, bytes: &[u8]) -> Option<String> {
    let chars: Vec<char> = stretch.chars().collect();
    let mut repaired = String::with_capacity(stretch.len());
    let (mut at, mut is_changed) = (0, false);
    while at < chars.len() {
        match sequence_at(&chars, bytes, at).or_else(|| misread_a_at(&chars, bytes, at, is_changed)) {
            Some((meant, n_chars)) => {
                repaired.push_str(&meant);
                at += n_chars;
                is_changed = true;
            }
            None => {
                repaired.push(chars[at]);
                at += 1;
            }
        }
    }
    is_changed.then_some(repaired)
}

/// What the misread sequence at `at` was meant to be, and its length in characters.
fn sequence_at(chars: &[char], bytes: &[u8], at: usize) -> Option<(String, usize)> {
    // The closing quote's third byte has no character in windows-1252 and is lost on many pages.
    if bytes[at..].starts_with(&[0xE2, 0x80]) && bytes.get(at + 2).is_none_or(|&byte| byte.is_ascii()) {
        return Some(("”".into(), 2));
    }
    let (meant, n_bytes) = decode_one(&bytes[at..])?;
    let is_meant = match n_bytes {
        2 => is_misread_pair(chars, bytes, at),
        // An accented letter before two closing marks, as in `café»—`, unless another such sequence touches it.
        3 if bytes[at] > 0xE2 => {
            let is_sequence = |at: usize| decode_one(bytes.get(at..)?).filter(|&(_, n_bytes)| n_bytes == 3);
            let is_text = is_closing(chars[at + 1]) && is_closing(chars[at + 2]);
            !is_text || is_sequence(at + 3).is_some() || at >= 3 && is_sequence(at - 3).is_some()
        }
        _ => true,
    };
    (is_meant && is_common(meant)).then(|| (meant.to_string(), n_bytes))
}

/// `Ã` before a no-break space, which may have become a space since: a misread `à` at the end of a word. It stands alone
/// in no word of small letters; elsewhere something must have been repaired before it.
fn misread_a_at(chars: &[char], bytes: &[u8], at: usize, is_changed: bool) -> Option<(String, usize)> {
    let n_chars = match bytes[at..] {
        [0xC3, 0xA0, ..] => 2,
        [0xC3, b' ', ..] | [0xC3] => 1,
        _ => return None,
    };
    let is_in_word = at > 0 && chars[at - 1].is_lowercase();
    (is_in_word || is_changed).then(|| ("à".into(), n_chars))
}

fn decode_one(bytes: &[u8]) -> Option<(char, usize)> {
    let n_bytes = match bytes.first()? {
        0xC2..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0..0xF5 => 4,
        _ => return None,
    };
    let meant = std::str::from_utf8(bytes.get(..n_bytes)?).ok()?.chars().next()?;
    Some((meant, n_bytes))
}

/// `Ã©` inside or beside small letters, `Â°` and its like behind anything but a capital.
fn is_misread_pair(chars: &[char], bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| chars[before]);
    let is_lower = |char: Option<char>| char.is_some_and(char::is_lowercase);
    match bytes[at] {
        _ if chars[at + 1].is_control() => true,
        0xC2 => bytes[at + 1] >= 0xA0 && !before.is_some_and(char::is_uppercase),
        0xC3..=0xC6 => !is_closing(chars[at + 1]) && (is_lower(before) || is_lower(chars.get(at + 2).copied())),
        _ => false,
    }
}

/// Marks that stand behind a word.
fn is_closing(char: char) -> bool {
    matches!(char, '»' | '”' | '’' | '…' | '–' | '—' | '›' | '“' | '‘' | '«' | '•' | '„' | '‚' | '\u{A0}')
}

/// Blocks that running text is made of. Phonetic letters and the rarer Latin extensions are left out: they are what a
/// capital with a closing quote (`CAFÉ»`) looks like when it is taken for UTF-8.
fn is_common(char: char) -> bool {
    matches!(char,
        '\u{A0}'..='\u{17F}' | 'Ơ' | 'ơ' | 'Ư' | 'ư' | 'Ș'..='ț' | '\u{370}'..='\u{6FF}' | '\u{900}'..='\u{DFF}' | '\u{E00}'..='\u{E7F}'
        | '\u{1E00}'..='\u{1FFF}' | '\u{2000}'..='\u{206F}' | '\u{20A0}'..='\u{20BF}' | '\u{2100}'..='\u{27BF}'
        | '\u{3000}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}' | '\u{FE0F}' | '\u{FEFF}'
        | '\u{FF00}'..='\u{FFEF}' | '\u{1F300}'..='\u{1FAFF}')
}

/// What windows-1252 makes of the bytes from 0x80 to 0x9F; the five that it leaves out read as controls, as in browsers.
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

/// The character that browsers read the byte as.
pub(crate) fn windows_1252_char(byte: u8) -> char {
    match byte {
        0x80..0xA0 => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

fn windows_1252_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(windows_1252_byte).collect()
}

/// The byte that reads as `char` in windows-1252, or in ISO 8859-1 where that has a control.
fn windows_1252_byte(char: char) -> Option<u8> {
    match char {
        '\0'..='\u{FF}' => u8::try_from(u32::from(char)).ok(),
        '\u{152}'..='\u{2122}' => HIGH.iter().position(|&high| high == char).map(|index| 0x80 + index as u8),
        _ => None,
    }
}
