//! The letters of a text by writing system, and the n-grams of letters by which languages that share one are told apart.
//!
//! The generator of the table (`cargo xtask language-table`) compiles this file as well, so that training and use cut
//! text in the same way: it needs nothing but the standard library.
//!
//! A word is a run of letters of one of the [`Writing`]s that several languages share, in lower case, with a border on
//! either side. Its n-grams of two, three and four signs (the borders count) and the word itself are hashed into
//! [`N_ROWS`] rows. Cost: one table look-up and four multiplications a letter.

use std::sync::LazyLock;

/// Columns of the table, a line of cache; those beyond [`CLASSES`] are empty.
pub(crate) const N_COLUMNS: usize = 64;

/// Rows of the table: n-grams are hashed into so many.
pub(crate) const N_ROWS: usize = 1 << ROW_BITS;

const ROW_BITS: u32 = 13;

/// The sign before and after a word.
const BORDER: u64 = 1;

/// Letters above this have no entry in [`FOLDED`].
const FOLDED_END: usize = 0x2000;

/// How a letter is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Writing {
    /// Not a letter.
    None,
    /// Latin.
    Latin,
    /// Cyrillic.
    Cyrillic,
    /// Arabic.
    Arabic,
    /// Devanagari.
    Devanagari,
    /// Han characters.
    Han,
    /// Hiragana and katakana.
    Kana,
    /// Hangul.
    Hangul,
    /// Greek, and from here on alphabets that one language has for itself.
    Greek,
    /// Armenian.
    Armenian,
    /// Hebrew.
    Hebrew,
    /// Bengali.
    Bengali,
    /// Gurmukhi.
    Gurmukhi,
    /// Gujarati.
    Gujarati,
    /// Odia.
    Odia,
    /// Tamil.
    Tamil,
    /// Telugu.
    Telugu,
    /// Kannada.
    Kannada,
    /// Malayalam.
    Malayalam,
    /// Sinhala.
    Sinhala,
    /// Thai.
    Thai,
    /// Lao.
    Lao,
    /// Tibetan.
    Tibetan,
    /// Myanmar.
    Myanmar,
    /// Georgian.
    Georgian,
    /// Ethiopic.
    Ethiopic,
    /// Khmer.
    Khmer,
    /// A letter of any other alphabet.
    Other,
}

/// How many there are.
pub(crate) const N_WRITINGS: usize = Writing::Other as usize + 1;

/// A language that shares its writing with others, by its code of ISO 639-1; the columns of the table, in order.
/// Bosnian and Serbian in Latin letters are taken for Croatian, Malay for Indonesian. The last number says how much more of a language
/// there is than of the rarest, before a word was read; it decides nothing but a handful of words, and between twins
/// such as Spanish and Catalan. Common Crawl's shares (English 43 %, two dozen languages from 0.2 to 6 %) are further
/// apart, but a source may be anything.
pub(crate) const CLASSES: [(&str, Writing, f32); 60] = [
    ("af", Writing::Latin, 1.0),
    ("sq", Writing::Latin, 1.0),
    ("az", Writing::Latin, 1.0),
    ("eu", Writing::Latin, 1.0),
    ("nb", Writing::Latin, 5.0),
    ("ca", Writing::Latin, 1.0),
    ("hr", Writing::Latin, 1.0),
    ("cs", Writing::Latin, 5.0),
    ("da", Writing::Latin, 5.0),
    ("nl", Writing::Latin, 5.0),
    ("en", Writing::Latin, 20.0),
    ("eo", Writing::Latin, 1.0),
    ("et", Writing::Latin, 1.0),
    ("fi", Writing::Latin, 5.0),
    ("fr", Writing::Latin, 5.0),
    ("lg", Writing::Latin, 1.0),
    ("de", Writing::Latin, 5.0),
    ("hu", Writing::Latin, 5.0),
    ("is", Writing::Latin, 1.0),
    ("id", Writing::Latin, 5.0),
    ("ga", Writing::Latin, 1.0),
    ("it", Writing::Latin, 5.0),
    ("la", Writing::Latin, 1.0),
    ("lv", Writing::Latin, 1.0),
    ("lt", Writing::Latin, 1.0),
    ("mi", Writing::Latin, 1.0),
    ("nn", Writing::Latin, 1.0),
    ("pl", Writing::Latin, 5.0),
    ("pt", Writing::Latin, 5.0),
    ("ro", Writing::Latin, 5.0),
    ("sn", Writing::Latin, 1.0),
    ("sk", Writing::Latin, 5.0),
    ("sl", Writing::Latin, 1.0),
    ("so", Writing::Latin, 1.0),
    ("st", Writing::Latin, 1.0),
    ("es", Writing::Latin, 5.0),
    ("sw", Writing::Latin, 1.0),
    ("sv", Writing::Latin, 5.0),
    ("tl", Writing::Latin, 1.0),
    ("ts", Writing::Latin, 1.0),
    ("tn", Writing::Latin, 1.0),
    ("tr", Writing::Latin, 5.0),
    ("vi", Writing::Latin, 5.0),
    ("cy", Writing::Latin, 1.0),
    ("xh", Writing::Latin, 1.0),
    ("yo", Writing::Latin, 1.0),
    ("zu", Writing::Latin, 1.0),
    ("be", Writing::Cyrillic, 1.0),
    ("bg", Writing::Cyrillic, 5.0),
    ("kk", Writing::Cyrillic, 1.0),
    ("mk", Writing::Cyrillic, 1.0),
    ("mn", Writing::Cyrillic, 1.0),
    ("ru", Writing::Cyrillic, 5.0),
    ("sr", Writing::Cyrillic, 1.0),
    ("uk", Writing::Cyrillic, 5.0),
    ("ar", Writing::Arabic, 5.0),
    ("fa", Writing::Arabic, 5.0),
    ("ur", Writing::Arabic, 1.0),
    ("hi", Writing::Devanagari, 5.0),
    ("mr", Writing::Devanagari, 1.0),
];

/// Letters below [`FOLDED_END`] with their writing, in lower case.
static FOLDED: LazyLock<Vec<(Writing, u16)>> = LazyLock::new(|| {
    let fold = |code: u32| {
        let Some(char) = char::from_u32(code) else { return (Writing::None, 0) };
        let writing = writing_of_block(char);
        let lower = char.to_lowercase().next().map_or(code, u32::from);
        // The few whose lower case lies above 0xFFFF are written with nothing in this table.
        (writing, u16::try_from(lower).unwrap_or_default())
    };
    (0..FOLDED_END as u32).map(fold).collect()
});

impl Writing {
    /// All of them, in order.
    pub(crate) const ALL: [Self; N_WRITINGS] = [
        Self::None,
        Self::Latin,
        Self::Cyrillic,
        Self::Arabic,
        Self::Devanagari,
        Self::Han,
        Self::Kana,
        Self::Hangul,
        Self::Greek,
        Self::Armenian,
        Self::Hebrew,
        Self::Bengali,
        Self::Gurmukhi,
        Self::Gujarati,
        Self::Odia,
        Self::Tamil,
        Self::Telugu,
        Self::Kannada,
        Self::Malayalam,
        Self::Sinhala,
        Self::Thai,
        Self::Lao,
        Self::Tibetan,
        Self::Myanmar,
        Self::Georgian,
        Self::Ethiopic,
        Self::Khmer,
        Self::Other,
    ];
}

/// The writing of a letter, and the letter in lower case; [`Writing::None`] for whatever is no letter.
pub(crate) fn fold(char: char) -> (Writing, u16) {
    let code = u32::from(char);
    match FOLDED.get(code as usize) {
        Some(&folded) => folded,
        None => (writing_above(char), 0),
    }
}

/// Calls `visit` with the row of every n-gram of the shared writings, in the order of the text.
pub(crate) fn for_each_row(text: &str, mut visit: impl FnMut(usize)) {
    let folded = &**FOLDED;
    // Up to four signs, the latest lowest, and how many of the word there are.
    let (mut signs, mut n_signs, mut word) = (BORDER, 1_u32, 0_u64);
    for char in text.chars().chain(std::iter::once(' ')) {
        let (writing, lower) = folded.get(char as usize).copied().unwrap_or_else(|| fold(char));
        let is_shared = matches!(writing, Writing::Latin | Writing::Cyrillic | Writing::Arabic | Writing::Devanagari);
        if !is_shared && n_signs == 1 {
            continue;
        }
        let sign = if is_shared { u64::from(lower) } else { BORDER };
        signs = signs << 16 | sign;
        n_signs += 1;
        visit(row(signs & 0xFFFF_FFFF));
        if n_signs > 2 {
            visit(row(signs & 0xFFFF_FFFF_FFFF));
        }
        if n_signs > 3 {
            visit(row(signs));
        }
        if is_shared {
            word = (word ^ sign).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
        } else {
            // Shorter words are n-grams already.
            if n_signs > 4 {
                visit(row(word));
            }
            (signs, n_signs, word) = (BORDER, 1, 0);
        }
    }
}

fn row(signs: u64) -> usize {
    let mixed = (signs ^ signs >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> (64 - ROW_BITS)) as usize
}

fn writing_of_block(char: char) -> Writing {
    match char {
        'a'..='z' | 'A'..='Z' | 'ª' | 'º' => Writing::Latin,
        'À'..='\u{24F}' if char != '×' && char != '÷' => Writing::Latin,
        '\u{250}'..='\u{2AF}' | '\u{300}'..='\u{36F}' | '\u{1E00}'..='\u{1EFF}' => Writing::Latin,
        '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' if char.is_alphabetic() => Writing::Greek,
        '\u{400}'..='\u{52F}' if char.is_alphabetic() => Writing::Cyrillic,
        '\u{531}'..='\u{587}' if char.is_alphabetic() => Writing::Armenian,
        '\u{591}'..='\u{5F4}' if char.is_alphabetic() => Writing::Hebrew,
        '\u{620}'..='\u{6FF}' | '\u{750}'..='\u{77F}' if char.is_alphabetic() => Writing::Arabic,
        // Here and below, marks that aren't alphabetic (the virama) are part of words.
        '\u{900}'..='\u{963}' | '\u{970}'..='\u{97F}' => Writing::Devanagari,
        '\u{980}'..='\u{9E3}' => Writing::Bengali,
        '\u{A00}'..='\u{A65}' | '\u{A70}'..='\u{A7F}' => Writing::Gurmukhi,
        '\u{A80}'..='\u{AE3}' => Writing::Gujarati,
        '\u{B00}'..='\u{B63}' | '\u{B70}'..='\u{B7F}' => Writing::Odia,
        '\u{B80}'..='\u{BE5}' => Writing::Tamil,
        '\u{C00}'..='\u{C63}' => Writing::Telugu,
        '\u{C80}'..='\u{CE3}' => Writing::Kannada,
        '\u{D00}'..='\u{D63}' => Writing::Malayalam,
        '\u{D80}'..='\u{DF3}' => Writing::Sinhala,
        '\u{E01}'..='\u{E3A}' | '\u{E40}'..='\u{E4E}' => Writing::Thai,
        '\u{E80}'..='\u{ECF}' | '\u{EDC}'..='\u{EDF}' => Writing::Lao,
        '\u{F40}'..='\u{FBC}' => Writing::Tibetan,
        '\u{1000}'..='\u{103F}' | '\u{1050}'..='\u{109F}' => Writing::Myanmar,
        '\u{10A0}'..='\u{10FF}' if char.is_alphabetic() => Writing::Georgian,
        '\u{1200}'..='\u{135A}' => Writing::Ethiopic,
        '\u{1780}'..='\u{17D3}' => Writing::Khmer,
        '\u{1100}'..='\u{11FF}' => Writing::Hangul,
        _ if char.is_alphabetic() => Writing::Other,
        _ => Writing::None,
    }
}

fn writing_above(char: char) -> Writing {
    match char {
        '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{3005}' | '\u{3007}' => Writing::Han,
        '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFD}' => Writing::Han,
        '\u{3041}'..='\u{30FF}' | '\u{FF66}'..='\u{FF9D}' if char != '\u{30FB}' => Writing::Kana,
        '\u{AC00}'..='\u{D7A3}' | '\u{3131}'..='\u{318E}' => Writing::Hangul,
        '\u{FF21}'..='\u{FF3A}' | '\u{FF41}'..='\u{FF5A}' => Writing::Other,
        _ if char.is_alphabetic() => Writing::Other,
        _ => Writing::None,
    }
}
