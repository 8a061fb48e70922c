//! Unicode repair: every text leaves here in one form, so that the same words give the same bytes.
//!
//! Line by line, as the settings say: text decoded with the wrong character set is decoded again
//! ([`crate::misreading`]); what is plainly escaped (`&amp;`, a written-out `\n` between Chinese sentences) is read as
//! it was meant; marks nobody sees are taken out; all line ends become `\n`, all spaces one space; full-width letters and
//! digits become ordinary ones; NFC; lines that belong to a page's frame go ([`crate::boilerplate`]), and so do blank
//! lines and trailing spaces. Left alone on purpose: Chinese punctuation (ftfy's defaults and NFKC turn it into ASCII),
//! half-width katakana, quotes, repeated punctuation (a rule's business), indentation by spaces and tabs and columns of
//! spaces (they are meaning in source code and tables), and U+FFFD, which is counted: what stood there is lost.
//!
//! The result is a fixed point: normalising twice changes nothing. Cost: linear. Nearly every line of a clean corpus is
//! already in its form, which one look at its bytes (ASCII) or characters tells; it is copied. Any other is worked on
//! until nothing changes, at most [`PASSES_MAX`] times.

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::boilerplate::{frame_at_end, is_boilerplate};
use crate::misreading::{has_misread_pair, repair_misreading, windows_1252_char};

/// So many spaces part columns; two may stand behind a full stop.
const COLUMN_SPACES_MIN: usize = 3;

/// How often a line is worked on: misread texts may have been misread again, and each pass uncovers one layer.
const PASSES_MAX: usize = 8;

/// The longest name of an entity between `&` and `;`.
const ENTITY_BYTES_MAX: usize = 8;

/// Entities that editors and feeds leave in texts.
const ENTITIES: [(&str, char); 40] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("ensp", ' '),
    ("emsp", ' '),
    ("thinsp", ' '),
    ("shy", '\u{AD}'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("laquo", '«'),
    ("raquo", '»'),
    ("hellip", '…'),
    ("mdash", '—'),
    ("ndash", '–'),
    ("middot", '·'),
    ("bull", '•'),
    ("copy", '©'),
    ("reg", '®'),
    ("trade", '™'),
    ("deg", '°'),
    ("times", '×'),
    ("divide", '÷'),
    ("plusmn", '±'),
    ("euro", '€'),
    ("pound", '£'),
    ("yen", '¥'),
    ("cent", '¢'),
    ("sect", '§'),
    ("para", '¶'),
    ("eacute", 'é'),
    ("egrave", 'è'),
    ("agrave", 'à'),
    ("ouml", 'ö'),
    ("uuml", 'ü'),
    ("auml", 'ä'),
];

/// `[ingest.normalise]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalise {
    /// Decode again what was decoded with the wrong character set (`donâ€™t`).
    pub misreadings: bool,
    /// Read entities (`&amp;`) in lines where every ampersand begins one and no `<` stands: such a line was escaped, and
    /// escaped text holds no other ampersand. A lesson on HTML that writes about them bare loses them.
    pub entities: bool,
    /// Read a written-out `\n` as a line end where Chinese stands beside it and no straight quote in its line.
    pub escaped_line_ends: bool,
    /// Turn full-width letters and digits into ASCII, and full-width `．％＠－／＿＋` right behind one of them.
    pub full_width: bool,
    /// The Unicode form.
    pub form: UnicodeForm,
    /// Take out lines that belong to a page's frame (`Share this`, `责任编辑：…`).
    pub boilerplate_lines: bool,
}

/// A normal form of Unicode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnicodeForm {
    /// Canonical composition: the same text in the same bytes.
    Nfc,
    /// Compatibility composition: turns Chinese punctuation into ASCII, ½ into 1⁄2, half-width katakana into full.
    Nfkc,
}

/// A normalised text, and what was done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normalised {
    /// The text; empty where there is nothing to read.
    pub text: String,
    /// U+FFFD, and `锟斤拷`, which two of them become when they are read as GBK.
    pub n_replacement_chars: u32,
    /// Lines that had been decoded with the wrong character set.
    pub n_misread_lines: u32,
    /// Lines of a page's frame that were taken out.
    pub n_boilerplate_lines: u32,
}

impl Normalise {
    /// What cannot do harm.
    pub const REPAIR: Self = Self {
        misreadings: true,
        entities: false,
        escaped_line_ends: false,
        full_width: true,
        form: UnicodeForm::Nfc,
        boilerplate_lines: false,
    };
}

/// The text in its one form, with [`Normalise::REPAIR`].
pub fn normalise(text: &str) -> String {
    normalise_with(text, &Normalise::REPAIR).text
}

/// The text in the form that the settings ask for.
pub fn normalise_with(text: &str, settings: &Normalise) -> Normalised {
    let mut page = Page { settings, n_line_ends: 0, normalised: Normalised::default() };
    page.normalised.text.reserve(text.len());
    for line in text.split('\n') {
        page.take(line.strip_suffix('\r').unwrap_or(line), PASSES_MAX);
    }
    let Page { mut normalised, .. } = page;
    while let Some(start) = frame_at_end(&normalised.text).filter(|_| settings.boilerplate_lines) {
        normalised.text.truncate(normalised.text[..start].trim_end().len());
        normalised.n_boilerplate_lines += 1;
    }
    normalised.n_replacement_chars = count_replacement_chars(&normalised.text);
    normalised
}

fn count_replacement_chars(text: &str) -> u32 {
    let n_read_as_gbk = text.matches("锟斤拷").count();
    (text.matches(char::REPLACEMENT_CHARACTER).count() + n_read_as_gbk) as u32
}

/// The text as far as it has been taken in.
struct Page<'a> {
    settings: &'a Normalise,
    /// Line ends since the last line that was not blank.
    n_line_ends: usize,
    normalised: Normalised,
}

impl Page<'_> {
    /// Takes a line in that may have to be repaired, which can make several lines of it.
    fn take(&mut self, line: &str, n_passes: usize) {
        if n_passes == 0 || is_in_form(line, self.settings) {
            return self.push(line);
        }
        let mut is_misread = false;
        let repaired = repair(line, self.settings, &mut is_misread);
        self.normalised.n_misread_lines += u32::from(is_misread);
        if repaired == line {
            return self.push(line);
        }
        for line in repaired.split('\n') {
            self.take(line, n_passes - 1);
        }
    }

    /// Appends a line that is in its form, and lets at most one blank line stand before it.
    fn push(&mut self, line: &str) {
        let content = line.trim();
        if content.is_empty() {
            self.n_line_ends += 1;
            return;
        }
        if self.settings.boilerplate_lines && is_boilerplate(content) {
            self.normalised.n_boilerplate_lines += 1;
            return;
        }
        let text = &mut self.normalised.text;
        if text.is_empty() {
            text.push_str(content);
        } else {
            text.push_str(if self.n_line_ends > 1 { "\n\n" } else { "\n" });
            text.push_str(line.trim_end());
        }
        self.n_line_ends = 1;
    }
}

/// Whether [`repair`] would leave the line alone; may say no where it would, never yes where it would not.
fn is_in_form(line: &str, settings: &Normalise) -> bool {
    const WORK: u8 = 1;
    const SPACE: u8 = 2;
    const NON_ASCII: u8 = 4;
    const ESCAPE: u8 = 8;
    const CLASSES: [u8; 256] = {
        let mut classes = [NON_ASCII; 256];
        let mut byte = 0;
        while byte < 128 {
            classes[byte] = match byte as u8 {
                b' ' | b'\t' => SPACE,
                b'&' | b'\\' => ESCAPE,
                0..=0x1F | 0x7F => WORK,
                _ => 0,
            };
            byte += 1;
        }
        classes
    };
    let content = line.trim_ascii();
    let (mut found, mut before, mut pairs) = (0, 0, 0);
    for &byte in content.as_bytes() {
        let class = CLASSES[usize::from(byte)];
        found |= class;
        pairs |= class & before;
        before = class;
    }
    if found & WORK != 0 || pairs & SPACE != 0 {
        return false;
    }
    if found & ESCAPE != 0
        && (settings.entities && content.contains('&') || settings.escaped_line_ends && content.contains('\\'))
    {
        return false;
    }
    // What `trim_ascii` takes off the front may hold a form feed, which is a line end.
    let indentation = &line.as_bytes()[..line.len() - line.trim_ascii_start().len()];
    indentation.iter().all(|&byte| byte == b' ' || byte == b'\t')
        && (found & NON_ASCII == 0 || is_in_form_beyond_ascii(content, settings))
}

fn is_in_form_beyond_ascii(content: &str, settings: &Normalise) -> bool {
    let is_nfc_asked = settings.form == UnicodeForm::Nfc;
    let mut may_be_misread = false;
    let is_kept = content.chars().all(|char| match char {
        '\0'..='\u{7F}' | '\u{4E00}'..='\u{9FFF}' | '\u{3001}'..='\u{3029}' | '“' | '”' | '‘' | '’' | '—' => {
            true
        }
        '！' | '（' | '）' | '，' | '：' | '；' | '？' => is_nfc_asked,
        '\u{C0}'..='\u{17F}' | '\u{A1}'..='\u{AC}' | '\u{AE}'..='\u{BF}' => {
            may_be_misread = true;
            is_nfc_asked
        }
        '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' | '．' | '％' | '＠' | '－' | '／' | '＿' | '＋' => {
            !settings.full_width && is_nfc_asked
        }
        // Blocks without a character that decomposes, composes with another of them, or is a space.
        '\u{180}'..='\u{2FF}'
        | '\u{391}'..='\u{3CE}'
        | '\u{400}'..='\u{481}'
        | '\u{2010}'..='\u{2027}'
        | '\u{2030}'..='\u{205E}'
        | '\u{20A0}'..='\u{20BF}'
        | '\u{2190}'..='\u{21FF}'
        | '\u{2460}'..='\u{27BF}'
        | '\u{3041}'..='\u{3096}'
        | '\u{30A1}'..='\u{30FE}'
        | '\u{3105}'..='\u{312F}'
        | '\u{3220}'..='\u{33FF}'
        | '\u{AC00}'..='\u{D7A3}'
        | '\u{FE0F}'
        | '\u{FE30}'..='\u{FE4F}'
        | '\u{FF01}'..='\u{FF9F}'
        | '\u{FFFD}'
        | '\u{1F300}'..='\u{1FAFF}' => is_nfc_asked,
        _ => false,
    });
    is_kept && !(may_be_misread && settings.misreadings && has_misread_pair(content))
}

/// One pass over a line; the result may hold line ends.
fn repair(line: &str, settings: &Normalise, is_misread: &mut bool) -> String {
    let reread = if settings.misreadings { repair_misreading(line) } else { None };
    *is_misread = reread.is_some();
    let mut text = reread.unwrap_or_else(|| line.to_owned());
    if settings.entities && text.contains('&') {
        text = decode_entities(&text).unwrap_or(text);
    }
    if settings.escaped_line_ends && text.contains('\\') {
        text = read_escaped_line_ends(&text).unwrap_or(text);
    }
    let mapped = map_characters(&text, settings);
    let composed = match settings.form {
        UnicodeForm::Nfc if is_nfc(&mapped) => mapped,
        UnicodeForm::Nfc => mapped.nfc().collect(),
        // Some compatibility characters stand for a space and a mark.
        UnicodeForm::Nfkc => mapped.nfkc().collect(),
    };
    let mut tidied = String::with_capacity(composed.len());
    for (index, line) in composed.split('\n').enumerate() {
        if index > 0 {
            tidied.push('\n');
        }
        tidy_spaces(&mut tidied, line);
    }
    tidied
}

/// `None` where nothing is to be decoded. What has been escaped twice is read to the end.
fn decode_entities(line: &str) -> Option<String> {
    let mut decoded = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['&', '<']) {
        let (char, n_bytes) = entity(&rest[at..])?;
        decoded.push_str(&rest[..at]);
        decoded.push(char);
        rest = &rest[at + n_bytes..];
    }
    decoded.push_str(rest);
    (rest.len() < line.len()).then_some(decoded)
}

/// The entity at the start of `text` and its length.
fn entity(text: &str) -> Option<(char, usize)> {
    let mut name = text.strip_prefix('&')?;
    while let Some(inner) = name.strip_prefix("amp;") {
        let is_escaped_again = inner.starts_with("amp;") || entity_name(inner).is_some();
        if !is_escaped_again {
            return Some(('&', text.len() - inner.len()));
        }
        name = inner;
    }
    let (char, n_bytes) = entity_name(name)?;
    Some((char, text.len() - name.len() + n_bytes))
}

/// The character of `lt;` or `#39;` at the start of `text`, and how many bytes that takes.
fn entity_name(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(ENTITY_BYTES_MAX + 1).position(|byte| byte == b';')?;
    let name = &text[..end];
    let char = match name.strip_prefix('#') {
        None => ENTITIES.iter().find(|(known, _)| *known == name)?.1,
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            // Browsers take the numbers of C1 controls for windows-1252.
            let char = u8::try_from(code).map_or(char::from_u32(code)?, windows_1252_char);
            Some(char).filter(|char| !char.is_control())?
        }
    };
    Some((char, end + 1))
}

/// Reads `\n`, `\r` and `\t` that were written out; `None` where there are none.
fn read_escaped_line_ends(line: &str) -> Option<String> {
    // Where code may quote Chinese, only what ends a sentence and does not end the quotation is taken for prose.
    let has_quote = line.contains('"');
    let is_prose = |before: &str, after: &str| {
        !has_quote || before.ends_with(['。', '！', '？', '…', '”', '）', '」']) && !after.starts_with(['"', '\\'])
    };
    let mut read = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        read.push_str(before);
        let is_line_end = after.starts_with(['n', 'r', 't'])
            && is_between_chinese(&read, &after[1..])
            && is_prose(&read, &after[1..]);
        read.push(if is_line_end { '\n' } else { '\\' });
        rest = &after[usize::from(is_line_end)..];
    }
    read.push_str(rest);
    (read != line).then_some(read)
}

/// Whether one of the two ends in Chinese or begins with it. Numbers and ASCII marks may stand between, as in `（完）\n2017`,
/// but no letter behind them: a path or a formula may.
fn is_between_chinese(before: &str, after: &str) -> bool {
    let is_gap = |char: &char| char.is_whitespace() || char.is_ascii_digit() || char.is_ascii_punctuation();
    let is_next_chinese = |char: Option<char>| char.is_some_and(is_chinese);
    if after.starts_with(|char: char| char.is_ascii_alphabetic()) {
        return is_next_chinese(before.chars().rev().find(|char| !char.is_whitespace()));
    }
    is_next_chinese(before.chars().rev().find(|char| !is_gap(char)))
        || is_next_chinese(after.chars().find(|char| !is_gap(char)))
}

/// A Han character, Chinese punctuation or a full-width form.
fn is_chinese(char: char) -> bool {
    matches!(char, '\u{3000}'..='\u{9FFF}' | '\u{FF00}'..='\u{FFEF}' | '“' | '”' | '…' | '—')
}

fn map_characters(text: &str, settings: &Normalise) -> String {
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
            // A terminal's escape sequence, colours mostly: parameters, then a letter.
            '\u{1B}' if chars.next_if_eq(&'[').is_some() => {
                while chars.next_if(|next| matches!(next, ' '..='?')).is_some() {}
                chars.next_if(|next| matches!(next, '@'..='~'));
            }
            _ if is_hidden(char) => {}
            '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' if settings.full_width => mapped.push(half_width(char)),
            '．' | '％' | '＠' | '－' | '／' | '＿' | '＋' if settings.full_width => {
                let is_behind = mapped.bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric());
                let is_before = chars.peek().is_some_and(|&next| next.is_ascii_alphanumeric() || is_full_width(next));
                mapped.push(if is_behind && (is_before || char == '％') { half_width(char) } else { char });
            }
            _ if char.is_whitespace() => mapped.push(if char == '\u{3000}' { char } else { ' ' }),
            _ => mapped.push(char),
        }
    }
    mapped
}

fn is_emoji(char: char) -> bool {
    matches!(char, '\u{2600}'..='\u{27BF}' | '\u{FE0F}' | '\u{1F000}'..='\u{1FAFF}')
}

/// Controls, soft hyphens, zero-width and direction marks, byte order marks, tags, placeholders of objects.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{AD}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFC}' | '\u{FFFE}' | '\u{FFFF}' | '\u{E0000}'..='\u{E007F}')
}

fn is_full_width(char: char) -> bool {
    matches!(char, '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ')
}

fn half_width(char: char) -> char {
    const FULL_TO_HALF: u32 = 0xFEE0;
    char::from_u32(u32::from(char) - FULL_TO_HALF).expect("full-width forms lie above ASCII in its order")
}

/// Keeps a line's indentation where it is of spaces and tabs, and runs of spaces that align columns; gives every other run
/// one space (a tab where one was among them, since it parts columns).
fn tidy_spaces(tidied: &mut String, line: &str) {
    let content = line.trim();
    let indentation = &line[..line.len() - line.trim_start().len()];
    if !content.is_empty() && !indentation.contains('\u{3000}') {
        tidied.push_str(indentation);
    }
    let mut rest = content;
    while let Some(start) = rest.find([' ', '\t', '\u{3000}']) {
        tidied.push_str(&rest[..start]);
        let after = rest[start..].trim_start_matches([' ', '\t', '\u{3000}']);
        let run = &rest[start..rest.len() - after.len()];
        let is_between_ascii = start > 0 && rest.as_bytes()[start - 1].is_ascii() && after.as_bytes()[0].is_ascii();
        if is_between_ascii && run.len() >= COLUMN_SPACES_MIN && run.bytes().all(|byte| byte == b' ') {
            tidied.push_str(run);
        } else {
            tidied.push(if run.contains('\t') { '\t' } else { ' ' });
        }
        rest = after;
    }
    tidied.push_str(rest);
}
