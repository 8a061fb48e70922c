//! Which language a text is in, and which script its Chinese is written in.
//!
//! Counting scripts decides between Chinese, Japanese, Korean and the rest: a Han character weighs as three letters,
//! as it does in UTF-8, so a Chinese manual full of commands is still Chinese. Text in letters is English where enough
//! of its words are ones that only English uses; that settles nearly all English pages at a fraction of the cost, and
//! short questions on which trigrams guess. Everything else is whatlang's answer (trigrams and alphabets, 69 languages),
//! except that a few words of which it cannot tell whether they are English are taken for English, by far the most
//! frequent language of that script in any source, at the confidence [`SUPPOSED`].
//!
//! At most [`SAMPLE_CHARS`] characters are looked at, from the start, the middle and the end, so that a page in two
//! languages isn't judged by its first paragraph.

use std::borrow::Cow;
use std::sync::LazyLock;

/// Characters that are looked at; trigram profiles are settled long before.
const SAMPLE_CHARS: usize = 1500;

/// A Han, kana or hangul character weighs as many letters.
const CJK_WEIGHT: usize = 3;

/// From this share of kana on, Han characters are Japanese.
const KANA_SHARE_MIN: f64 = 0.1;

/// Measured on 9,883 English articles: median 0.32, least 0.10. On 551 French and Spanish ones: at most 0.03.
const FUNCTION_WORD_SHARE_MIN: f64 = 0.12;

/// From this share on, nothing else is considered.
const FUNCTION_WORD_SHARE_SURE: f64 = 0.2;

/// Words that are frequent in English and rare in every other language of the Latin script; in order of bytes.
const FUNCTION_WORDS: [&str; 64] = [
    "about", "after", "all", "and", "any", "are", "as", "be", "because", "been", "between", "but", "by", "can",
    "could", "do", "does", "for", "from", "had", "has", "have", "he", "her", "his", "how", "if", "into", "is", "it",
    "its", "my", "not", "of", "or", "our", "she", "should", "than", "that", "the", "their", "them", "then", "there",
    "these", "they", "this", "to", "using", "was", "we", "were", "what", "when", "where", "which", "who", "why",
    "will", "with", "would", "you", "your",
];

/// Where whatlang itself begins to call an answer reliable.
const RELIABLE: f64 = 0.9;

/// The confidence of English that was only supposed.
const SUPPOSED: f64 = 0.5;

/// The most frequent characters that only Simplified Chinese has, and below them, in the same order, those that they
/// replace: a quarter of all characters of running text. Made by counting a corpus in either script against OpenCC's
/// tables; characters that the corpora have in both scripts were left out.
const SIMPLIFIED: &str = "条国当应关对规会为务机业员将选设个动门于军时标经发责单进处权数后与来并级产据组区构开请监实报马护体计议过见项证险图运织职资准从营点违备学义择统农书决无间档输种复执检调问长录审导万这环罚许说击负张采确划给则块编货协县结强现参华记场节术预损济页况显传费变该题众转质领约适网范杀财别帮类语维视劳两装称严战偿边师认办户销态号样专";
const TRADITIONAL: &str = "條國當應關對規會爲務機業員將選設個動門於軍時標經發責單進處權數後與來並級產據組區構開請監實報馬護體計議過見項證險圖運織職資準從營點違備學義擇統農書決無間檔輸種復執檢調問長錄審導萬這環罰許說擊負張採確劃給則塊編貨協縣結強現參華記場節術預損濟頁況顯傳費變該題衆轉質領約適網範殺財別幫類語維視勞兩裝稱嚴戰償邊師認辦戶銷態號樣專";

/// ISO 639-3 to 639-1, for the languages whatlang knows; in order.
const TWO_LETTER_CODES: [(&str, &str); 70] = [
    ("afr", "af"),
    ("aka", "ak"),
    ("amh", "am"),
    ("ara", "ar"),
    ("aze", "az"),
    ("bel", "be"),
    ("ben", "bn"),
    ("bul", "bg"),
    ("cat", "ca"),
    ("ces", "cs"),
    ("cmn", "zh"),
    ("cym", "cy"),
    ("dan", "da"),
    ("deu", "de"),
    ("ell", "el"),
    ("eng", "en"),
    ("epo", "eo"),
    ("est", "et"),
    ("fin", "fi"),
    ("fra", "fr"),
    ("guj", "gu"),
    ("heb", "he"),
    ("hin", "hi"),
    ("hrv", "hr"),
    ("hun", "hu"),
    ("hye", "hy"),
    ("ind", "id"),
    ("ita", "it"),
    ("jav", "jv"),
    ("jpn", "ja"),
    ("kan", "kn"),
    ("kat", "ka"),
    ("khm", "km"),
    ("kor", "ko"),
    ("lat", "la"),
    ("lav", "lv"),
    ("lit", "lt"),
    ("mal", "ml"),
    ("mar", "mr"),
    ("mkd", "mk"),
    ("mya", "my"),
    ("nep", "ne"),
    ("nld", "nl"),
    ("nob", "nb"),
    ("ori", "or"),
    ("pan", "pa"),
    ("pes", "fa"),
    ("pol", "pl"),
    ("por", "pt"),
    ("ron", "ro"),
    ("rus", "ru"),
    ("sin", "si"),
    ("slk", "sk"),
    ("slv", "sl"),
    ("sna", "sn"),
    ("spa", "es"),
    ("srp", "sr"),
    ("swe", "sv"),
    ("tam", "ta"),
    ("tel", "te"),
    ("tgl", "tl"),
    ("tha", "th"),
    ("tuk", "tk"),
    ("tur", "tr"),
    ("ukr", "uk"),
    ("urd", "ur"),
    ("uzb", "uz"),
    ("vie", "vi"),
    ("yid", "yi"),
    ("zul", "zu"),
];

/// The characters of both lists, sorted.
static TELLING: LazyLock<Vec<(char, Script)>> = LazyLock::new(|| {
    let simplified = SIMPLIFIED.chars().map(|char| (char, Script::Hans));
    let traditional = TRADITIONAL.chars().map(|char| (char, Script::Hant));
    let mut telling: Vec<(char, Script)> = simplified.chain(traditional).collect();
    telling.sort_by_key(|&(char, _)| char);
    telling
});

/// A language and how sure of it one can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Language {
    /// `en`, `zh`, another code of ISO 639-1, or `unknown`.
    pub code: &'static str,
    /// From 0 to 1.
    pub confidence: f64,
    /// For Chinese that has telling characters.
    pub script: Option<Script>,
}

/// How Chinese is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Simplified.
    Hans,
    /// Traditional.
    Hant,
}

/// What a text of some language is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The language puts spaces between words.
    Words,
    /// It does not.
    Characters,
}

impl Script {
    /// The name in ISO 15924.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hans => "Hans",
            Self::Hant => "Hant",
        }
    }
}

impl Unit {
    /// The unit of a language by its code.
    pub fn of(lang: &str) -> Self {
        match lang {
            "zh" | "ja" | "th" | "km" | "my" | "lo" => Self::Characters,
            _ => Self::Words,
        }
    }
}

/// Finds the language of a text.
pub fn detect_language(text: &str) -> Language {
    let sample = sample(text);
    let counts = count_scripts(&sample);
    let cjk = CJK_WEIGHT * (counts.han + counts.kana + counts.hangul);
    let all = cjk + counts.letters;
    if all == 0 {
        return Language { code: "unknown", confidence: 0.0, script: None };
    }
    let share = |amount: usize| amount as f64 / all as f64;
    if cjk < counts.letters {
        let (code, confidence) = detect_letters(&sample);
        return Language { code, confidence: confidence * share(counts.letters), script: None };
    }
    if counts.hangul > counts.han + counts.kana {
        return Language { code: "ko", confidence: share(CJK_WEIGHT * counts.hangul), script: None };
    }
    let han_and_kana = CJK_WEIGHT * (counts.han + counts.kana);
    if counts.kana as f64 >= KANA_SHARE_MIN * (counts.han + counts.kana) as f64 {
        return Language { code: "ja", confidence: share(han_and_kana), script: None };
    }
    Language { code: "zh", confidence: share(CJK_WEIGHT * counts.han), script: chinese_script(&sample) }
}

/// Whether `char` is a Han character.
pub(crate) fn is_han(char: char) -> bool {
    matches!(char, '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{3005}' | '\u{3007}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFD}')
}

struct ScriptCounts {
    han: usize,
    kana: usize,
    hangul: usize,
    letters: usize,
}

fn count_scripts(text: &str) -> ScriptCounts {
    let mut counts = ScriptCounts { han: 0, kana: 0, hangul: 0, letters: 0 };
    for char in text.chars() {
        match char {
            _ if is_han(char) => counts.han += 1,
            '\u{3041}'..='\u{30FF}' | '\u{FF66}'..='\u{FF9D}' => counts.kana += 1,
            '\u{AC00}'..='\u{D7A3}' | '\u{1100}'..='\u{11FF}' | '\u{3131}'..='\u{318E}' => counts.hangul += 1,
            _ if char.is_alphabetic() => counts.letters += 1,
            _ => {}
        }
    }
    counts
}

fn detect_letters(sample: &str) -> (&'static str, f64) {
    let (mut n_words, mut n_function_words) = (0_usize, 0_usize);
    for word in sample.split(|char: char| !char.is_alphabetic()).filter(|word| !word.is_empty()) {
        n_words += 1;
        n_function_words += usize::from(is_function_word(word));
    }
    let share = n_function_words as f64 / n_words.max(1) as f64;
    if share >= FUNCTION_WORD_SHARE_MIN && n_function_words > 1 {
        return ("en", (share / FUNCTION_WORD_SHARE_SURE).min(1.0));
    }
    let Some(found) = whatlang::detect(sample) else { return ("unknown", 0.0) };
    if found.confidence() < RELIABLE && !is_surer_than_english(sample, found.lang()) {
        return ("en", SUPPOSED);
    }
    (two_letter_code(found.lang()), found.confidence())
}

/// Whether trigrams prefer `lang` to English by enough to mean something, which a handful of words does not allow.
fn is_surer_than_english(sample: &str, lang: whatlang::Lang) -> bool {
    let rivals = whatlang::Detector::with_allowlist(vec![whatlang::Lang::Eng, lang]);
    rivals.detect(sample).is_some_and(|found| found.lang() != whatlang::Lang::Eng && found.confidence() >= RELIABLE)
}

fn is_function_word(word: &str) -> bool {
    let mut lower = [0; 8];
    let Some(lower) = lower.get_mut(..word.len()) else { return false };
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    FUNCTION_WORDS.binary_search_by(|function_word| function_word.as_bytes().cmp(lower)).is_ok()
}

fn chinese_script(sample: &str) -> Option<Script> {
    let (mut n_simplified, mut n_traditional) = (0_usize, 0_usize);
    for char in sample.chars() {
        match TELLING.binary_search_by_key(&char, |&(telling, _)| telling).map(|index| TELLING[index].1) {
            Ok(Script::Hans) => n_simplified += 1,
            Ok(Script::Hant) => n_traditional += 1,
            Err(_) => {}
        }
    }
    match n_simplified.cmp(&n_traditional) {
        std::cmp::Ordering::Greater => Some(Script::Hans),
        std::cmp::Ordering::Less => Some(Script::Hant),
        std::cmp::Ordering::Equal => None,
    }
}

fn sample(text: &str) -> Cow<'_, str> {
    const WINDOWS: usize = 3;
    // A character is at most four bytes, so a text this short needs no count.
    if text.len() <= SAMPLE_CHARS {
        return Cow::Borrowed(text);
    }
    let window = SAMPLE_CHARS / WINDOWS;
    let mut sample = String::with_capacity(SAMPLE_CHARS * 2);
    let mut end = 0;
    for index in 0..WINDOWS {
        let start = text.floor_char_boundary((text.len() * index / WINDOWS).max(end));
        let rest = &text[start..];
        let len = rest.char_indices().nth(window).map_or(rest.len(), |(at, _)| at);
        sample.push_str(&rest[..len]);
        sample.push('\n');
        end = start + len;
    }
    Cow::Owned(sample)
}

fn two_letter_code(lang: whatlang::Lang) -> &'static str {
    let code = lang.code();
    TWO_LETTER_CODES.binary_search_by_key(&code, |&(long, _)| long).map_or(code, |index| TWO_LETTER_CODES[index].1)
}
