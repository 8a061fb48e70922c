//! Unicode repair: every text leaves here in one form, so that the same words give the same bytes.
//!
//! In this order: UTF-8 that was once read as windows-1252 is read again; marks nobody sees are taken out; all line
//! ends become `\n`, all spaces one space; full-width letters and digits become ordinary ones; NFC; blank lines and
//! trailing spaces go. Left alone on purpose: Chinese punctuation (ftfy's defaults and NFKC would turn it into ASCII),
//! quotes, indentation by spaces and tabs (it is meaning in source code).
//!
//! The result is a fixed point: normalising twice changes nothing. Cost: linear, a few passes over the text.

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// How many times text may have been misread one reading upon another.
const MISREADINGS_MAX: usize = 8;

/// The text in its one form; empty where there is nothing to read.
pub fn normalise(text: &str) -> String {
    let mut clean = tidy(&repair_misreading(text).unwrap_or_else(|| text.to_owned()));
    // Taking out a hidden mark can uncover a misreading that it had broken apart.
    for _ in 0..MISREADINGS_MAX {
        let Some(repaired) = repair_misreading(&clean) else { break };
        clean = tidy(&repaired);
    }
    clean
}

/// Reads again what was UTF-8 and has been read as windows-1252 (`donâ€™t`, `ä½ å¥½`), line by line since pages are
/// often stitched from several files. A line is replaced only where it can be written as windows-1252 byte for byte,
/// those bytes are UTF-8, and what comes out are characters that people write. A French or German line has accented
/// letters between unaccented ones, which is never UTF-8, so it is safe by construction. `None` where nothing changes.
fn repair_misreading(text: &str) -> Option<String> {
    if !has_misread_pair(text) {
        return None;
    }
    let mut is_changed = false;
    let repaired: String = text
        .split_inclusive('\n')
        .map(|line| match repair_line(line) {
            Some(repaired) => {
                is_changed = true;
                repaired
            }
            None => line.to_owned(),
        })
        .collect();
    is_changed.then_some(repaired)
}

fn repair_line(line: &str) -> Option<String> {
    if !has_misread_pair(line) {
        return None;
    }
    let bytes: Vec<u8> = line.chars().map(windows_1252_byte).collect::<Option<_>>()?;
    let repaired = String::from_utf8(bytes).ok()?;
    let foreign = repaired.chars().filter(|char| !char.is_ascii());
    let n_cjk = foreign.clone().filter(|&char| char >= '\u{3040}').count();
    // One lone Han character in a line of Latin letters is more likely an accident, as in `café»—`.
    let is_plausible = foreign.clone().all(is_common) && n_cjk != 1;
    is_plausible.then_some(repaired)
}

/// Whether some character that windows-1252 makes of the first byte of a UTF-8 sequence is followed by one that it makes
/// of a later byte.
fn has_misread_pair(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    let mut is_after_lead = false;
    text.chars().any(|char| {
        let byte = if char.is_ascii() { None } else { windows_1252_byte(char) };
        let is_pair = is_after_lead && byte.is_some_and(|byte| (0x80..0xC0).contains(&byte));
        is_after_lead = byte.is_some_and(|byte| (0xC2..0xF5).contains(&byte));
        is_pair
    })
}

/// Blocks that running text is made of. Phonetic letters and the rarer Latin extensions are left out: they are what a
/// capital with a closing quote (`CAFÉ»`) looks like when it is taken for UTF-8.
fn is_common(char: char) -> bool {
    matches!(char,
        '\u{A0}'..='\u{17F}' | '\u{370}'..='\u{6FF}' | '\u{900}'..='\u{DFF}' | '\u{E00}'..='\u{E7F}'
        | '\u{1E00}'..='\u{1FFF}' | '\u{2010}'..='\u{205E}' | '\u{20A0}'..='\u{20BF}' | '\u{2100}'..='\u{27BF}'
        | '\u{3000}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}' | '\u{FE0F}' | '\u{FEFF}'
        | '\u{FF00}'..='\u{FFEF}' | '\u{1F300}'..='\u{1FAFF}')
}

/// The byte that reads as `char` in windows-1252 as browsers define it: the five unassigned bytes read as controls.
fn windows_1252_byte(char: char) -> Option<u8> {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
    ];
    match char {
        '\0'..='\u{7F}' | '\u{A0}'..='\u{FF}' => u8::try_from(u32::from(char)).ok(),
        _ => HIGH.iter().position(|&high| high == char).map(|index| 0x80 + index as u8),
    }
}

fn tidy(text: &str) -> String {
    let mapped = map_characters(text);
    let composed = if is_surely_nfc(&mapped) || is_nfc(&mapped) { mapped } else { mapped.nfc().collect() };
    tidy_spaces(&composed)
}

/// Characters outside these ranges are rare enough in English and Chinese for the exact test.
fn is_surely_nfc(text: &str) -> bool {
    text.chars().all(|char| {
        matches!(char, '\0'..='\u{2FF}' | '\u{2010}'..='\u{2027}' | '\u{3001}'..='\u{3029}' | '\u{4E00}'..='\u{9FFF}'
            | '\u{FF00}'..='\u{FFEF}')
    })
}

fn map_characters(text: &str) -> String {
    let mut mapped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            ' '..='~' | '\n' | '\t' => mapped.push(char),
            '\r' => {
                chars.next_if_eq(&'\n');
                mapped.push('\n');
            }
            '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => mapped.push('\n'),
            // The joiner holds an emoji together; anywhere else it is noise in English and Chinese.
            '\u{200D}' if mapped.chars().next_back().is_some_and(is_emoji) => mapped.push(char),
            _ if is_hidden(char) => {}
            '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' => mapped.push(half_width(char)),
            _ if char.is_whitespace() => mapped.push(if is_wide_space(char) { '\u{3000}' } else { ' ' }),
            _ => mapped.push(char),
        }
    }
    mapped
}

fn is_wide_space(char: char) -> bool {
    char == '\u{3000}'
}

fn is_emoji(char: char) -> bool {
    matches!(char, '\u{2600}'..='\u{27BF}' | '\u{FE0F}' | '\u{1F000}'..='\u{1FAFF}')
}

fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{AD}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}' | '\u{E0000}'..='\u{E007F}')
}

fn half_width(char: char) -> char {
    const FULL_TO_HALF: u32 = 0xFEE0;
    char::from_u32(u32::from(char) - FULL_TO_HALF).expect("full-width letters and digits lie above ASCII")
}

/// Keeps a line's indentation where it is of spaces and tabs, gives every other run of spaces one space (a tab where
/// one was among them, since it parts columns), and lets at most one blank line stand.
fn tidy_spaces(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let mut n_line_ends = 0;
    for line in text.split('\n') {
        let content = line.trim();
        if content.is_empty() {
            n_line_ends += 1;
            continue;
        }
        if !tidied.is_empty() {
            tidied.push_str(if n_line_ends > 1 { "\n\n" } else { "\n" });
            let indentation = &line[..line.len() - line.trim_start().len()];
            if !indentation.contains('\u{3000}') {
                tidied.push_str(indentation);
            }
        }
        n_line_ends = 1;
        push_with_single_spaces(&mut tidied, content);
    }
    tidied
}

fn push_with_single_spaces(tidied: &mut String, content: &str) {
    let is_space = |byte: u8| byte == b' ' || byte == b'\t';
    let is_tidy = content.as_bytes().windows(2).all(|pair| !(is_space(pair[0]) && is_space(pair[1])));
    if is_tidy && !content.contains('\u{3000}') {
        tidied.push_str(content);
        return;
    }
    let mut rest = content;
    while let Some(start) = rest.find([' ', '\t', '\u{3000}']) {
        tidied.push_str(&rest[..start]);
        let after = rest[start..].trim_start_matches([' ', '\t', '\u{3000}']);
        let run = &rest[start..rest.len() - after.len()];
        tidied.push(if run.contains('\t') { '\t' } else { ' ' });
        rest = after;
    }
    tidied.push_str(rest);
}
