//! Lower case, fast for what texts are made of.

use crate::language::is_han;

/// Appends `char` in lower case. ASCII and Han, which are nearly everything, skip the tables of Unicode.
pub(crate) fn push_lower(folded: &mut String, char: char) {
    if char.is_ascii() {
        folded.push(char.to_ascii_lowercase());
    } else if is_han(char) {
        folded.push(char);
    } else {
        folded.extend(char.to_lowercase());
    }
}
