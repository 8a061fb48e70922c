//! What a character is to the English rules: a letter, a mark at the end of a word, a symbol, the end of a sentence.
//!
//! The sets are those of spaCy 3.8 (`lang/char_classes.py`, MIT licence) and of datatrove 0.10.1 (`utils/text.py`,
//! Apache-2.0), so far as English and Chinese pages have them.

/// Marks that aren't of a word, beside ASCII's and the control characters: datatrove's `PUNCTUATION_SET`. That `•` is
/// missing there and a full-width one is not is theirs.
const MARKS: &str = "”％１〈（、━【「」，】；“《„’∶´．–？！：～«〉》）。…►»—؟۔।॥‼‽⁇⁈⁉⸮⸼｡﹒﹖﹗";

/// What ends a sentence where it stands alone as a word.
const TERMINATORS: &str = "!.?։؟۔।॥‼‽⁇⁈⁉⸮⸼﹒﹖﹗！．？｡。";

/// Marks that part from either end of a word.
pub(super) fn is_outer_mark(char: char) -> bool {
    if char.is_ascii() {
        return matches!(
            char,
            ',' | ':'
                | ';'
                | '!'
                | '?'
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '<'
                | '>'
                | '_'
                | '#'
                | '*'
                | '&'
                | '\''
                | '"'
                | '`'
        );
    }
    matches!(
        char,
        '…' | '¿'
            | '؟'
            | '¡'
            | '。'
            | '？'
            | '！'
            | '，'
            | '、'
            | '；'
            | '：'
            | '～'
            | '·'
            | '।'
            | '،'
            | '۔'
            | '؛'
            | '٪'
    ) || is_quote(char)
}

pub(super) fn is_quote(char: char) -> bool {
    matches!(
        char,
        '\'' | '"'
            | '”'
            | '“'
            | '`'
            | '‘'
            | '´'
            | '’'
            | '‚'
            | ','
            | '„'
            | '»'
            | '«'
            | '「'
            | '」'
            | '『'
            | '』'
            | '（'
            | '）'
            | '〔'
            | '〕'
            | '【'
            | '】'
            | '《'
            | '》'
            | '〈'
            | '〉'
            | '\u{2329}'
            | '\u{232A}'
            | '⟦'
            | '⟧'
    )
}

pub(super) fn is_currency(char: char) -> bool {
    matches!(char, '$' | '£' | '€' | '¥' | '฿' | '﷼' | '\u{20A0}'..='\u{20BF}')
}

/// Symbols that stand alone wherever they are: Unicode's category `So`, near enough.
pub(super) fn is_symbol(char: char) -> bool {
    if char < '\u{A6}' {
        return false;
    }
    matches!(char, '¦' | '©' | '®' | '°' | '\u{482}'
        | '\u{2100}' | '\u{2101}' | '\u{2103}'..='\u{2106}' | '\u{2108}' | '\u{2109}' | '\u{2114}' | '\u{2116}' | '\u{2117}'
        | '\u{211E}'..='\u{2123}' | '\u{2125}' | '\u{2127}' | '\u{2129}' | '\u{212E}' | '\u{213A}' | '\u{213B}'
        | '\u{214A}' | '\u{214C}' | '\u{214D}' | '\u{214F}' | '\u{2195}'..='\u{2199}' | '\u{219C}'..='\u{219F}'
        | '\u{21A1}' | '\u{21A2}' | '\u{21A4}' | '\u{21A5}' | '\u{21A7}'..='\u{21AD}' | '\u{21AF}'..='\u{21CD}'
        | '\u{21D0}' | '\u{21D1}' | '\u{21D3}' | '\u{21D5}'..='\u{21F3}' | '\u{2300}'..='\u{2307}'
        | '\u{230C}'..='\u{231F}' | '\u{2322}'..='\u{2328}' | '\u{232B}'..='\u{237B}' | '\u{237D}'..='\u{239A}'
        | '\u{23B4}'..='\u{23DB}' | '\u{23E2}'..='\u{2426}' | '\u{2440}'..='\u{244A}' | '\u{249C}'..='\u{24E9}'
        | '\u{2500}'..='\u{25B6}' | '\u{25B8}'..='\u{25C0}' | '\u{25C2}'..='\u{25F7}' | '\u{2600}'..='\u{266E}'
        | '\u{2670}'..='\u{2767}' | '\u{2794}'..='\u{27BF}' | '\u{2800}'..='\u{28FF}' | '\u{2B00}'..='\u{2B2F}'
        | '\u{2B45}' | '\u{2B46}' | '\u{2B4D}'..='\u{2BFE}' | '\u{2E80}'..='\u{2FFB}' | '\u{3004}' | '\u{3012}' | '\u{3013}'
        | '\u{3020}' | '\u{3036}' | '\u{3037}' | '\u{303E}' | '\u{303F}' | '\u{3190}' | '\u{3191}'
        | '\u{3196}'..='\u{319F}' | '\u{31C0}'..='\u{31E3}' | '\u{3200}'..='\u{321E}' | '\u{322A}'..='\u{33FF}'
        | '\u{4DC0}'..='\u{4DFF}' | '\u{FFE4}' | '\u{FFE8}' | '\u{FFED}' | '\u{FFEE}' | '\u{FFFC}' | '\u{FFFD}'
        | '\u{1D000}'..='\u{1D356}' | '\u{1F000}'..='\u{1F0FF}' | '\u{1F110}'..='\u{1F3FA}' | '\u{1F400}'..='\u{1FA6D}')
}

pub(super) fn is_letter(char: char) -> bool {
    char.is_ascii_alphabetic() || (char >= '\u{C0}' && char.is_alphabetic())
}

pub(super) fn is_upper(char: char) -> bool {
    char.is_ascii_uppercase() || (char >= '\u{C0}' && char.is_alphabetic() && !char.is_lowercase())
}

pub(super) fn is_lower(char: char) -> bool {
    char.is_ascii_lowercase() || (char >= '\u{C0}' && char.is_alphabetic() && !char.is_uppercase())
}

pub(crate) fn is_mark(char: char) -> bool {
    if char.is_ascii() { char.is_ascii_punctuation() || char.is_ascii_control() } else { MARKS.contains(char) }
}

/// Unicode's punctuation as far as English and Chinese pages have it.
pub(super) fn is_punctuation(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_punctuation() && !matches!(char, '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~');
    }
    matches!(char, '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{2043}'
        | '\u{2045}'..='\u{2051}' | '\u{2053}'..='\u{205E}' | '\u{2308}'..='\u{230B}' | '\u{2329}' | '\u{232A}'
        | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301F}' | '\u{30FB}'
        | '\u{FE30}'..='\u{FE52}' | '\u{FF01}'..='\u{FF03}' | '\u{FF05}'..='\u{FF0A}' | '\u{FF0C}'..='\u{FF0F}'
        | '\u{FF1A}' | '\u{FF1B}' | '\u{FF1F}' | '\u{FF20}' | '\u{FF3B}'..='\u{FF3D}' | '\u{FF5F}'..='\u{FF65}')
}

/// Whether a word of this one character ends a sentence.
pub(super) fn is_terminator(char: char) -> bool {
    TERMINATORS.contains(char)
}
