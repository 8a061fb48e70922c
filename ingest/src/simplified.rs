//! Traditional Chinese in Simplified characters, by OpenCC's tables of phrases and characters (`t2s`).
//!
//! Nothing here asks whether a text is Traditional: that is for the caller, who knows its script. What has no character
//! that the tables turn into another one is copied, so Simplified text costs little and stays as it is. Measured against
//! opencc 1.4.2 on 4.5 million characters of manuals from Taiwan: 8 differ, four of them compatibility forms that NFC takes away. As with
//! opencc's `t2s`, 著 is never turned into 着, for which the tables of Taiwan's usage would be needed (`tw2s`; they harm
//! what is Simplified already: 什么 becomes 什幺).
//!
//! Cost: linear, one look-up in an automaton of phrases for each character of a clause that changes.

use std::sync::LazyLock;

use ferrous_opencc::OpenCC;
use ferrous_opencc::config::BuiltinConfig;

/// The blocks that the tables turn characters of.
const FIRST: u32 = 0x3400;
const LAST: u32 = 0x9FFF;

pub(crate) static TABLES: LazyLock<OpenCC> =
    LazyLock::new(|| OpenCC::from_config(BuiltinConfig::T2s).expect("the tables are part of the program"));

/// Characters that only phrases turn (瞭解, but 瞭望).
const TURNED_IN_PHRASES: &str = "沈牴瞭藉衹覆";

/// For each character from [`FIRST`] on, whether the tables turn it into another one.
static IS_TURNED: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let chars = (FIRST..=LAST).map(|code| char::from_u32(code).expect("no surrogates are among them").to_string());
    chars.map(|char| TURNED_IN_PHRASES.contains(&char) || TABLES.convert(&char) != char).collect()
});

/// The text in Simplified characters. Punctuation stays: 「」 are right in either script.
pub(crate) fn to_simplified(text: &str) -> String {
    let mut simplified = String::with_capacity(text.len());
    let is_han = |char: char| char >= '\u{3400}';
    let mut rest = text;
    while let Some(start) = rest.find(is_han) {
        simplified.push_str(&rest[..start]);
        let clause = &rest[start..];
        let end = clause.find(|char| !is_han(char)).unwrap_or(clause.len());
        if clause[..end].chars().any(is_turned) {
            simplified.push_str(&TABLES.convert(&clause[..end]));
        } else {
            simplified.push_str(&clause[..end]);
        }
        rest = &clause[end..];
    }
    simplified.push_str(rest);
    simplified
}

/// Characters beyond the two blocks are rare enough for the tables.
fn is_turned(char: char) -> bool {
    (u32::from(char) - FIRST).try_into().ok().and_then(|index: usize| IS_TURNED.get(index)).copied().unwrap_or(true)
}
