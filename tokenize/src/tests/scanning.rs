//! Cutting: the window of bits against the slow twin, the slow twin against a regex engine.

use super::*;
use crate::pattern::first_piece_end;

const PATTERNS: [Pattern; 5] = [Pattern::Gpt2, Pattern::Cl100k, Pattern::Qwen2, Pattern::O200k, Pattern::Bilingual];

#[track_caller]
fn check(text: &str, pieces: &[&str]) {
    assert_eq!(pretokens(&Pattern::Cl100k, text).collect::<Vec<_>>(), pieces);
    check_against_tiktoken(text);
}

/// As the documentation of each alternative says, one piece after the other.
fn slow_pieces<'t>(pattern: &Pattern, mut text: &'t str) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let (piece, rest) = text.split_at(first_piece_end(pattern, text));
        pieces.push(piece);
        text = rest;
    }
    pieces
}

/// What the regex engine finds of the pattern as it is spelled.
fn regex_pieces<'t>(pattern: &Pattern, text: &'t str) -> Vec<&'t str> {
    static REGEXES: LazyLock<Vec<fancy_regex::Regex>> =
        LazyLock::new(|| PATTERNS.iter().map(|pattern| fancy_regex::Regex::new(pattern.spelling()).unwrap()).collect());
    let idx = PATTERNS.iter().position(|known| known == pattern).unwrap();
    REGEXES[idx].find_iter(text).map(|found| found.unwrap().as_str()).collect()
}

#[track_caller]
fn check_twins(text: &str) {
    for pattern in &PATTERNS {
        let expected = regex_pieces(pattern, text);
        assert_eq!(expected.concat(), text);
        assert_eq!(slow_pieces(pattern, text), expected, "slow, {pattern:?}: {text:?}");
        assert_eq!(pretokens(pattern, text).collect::<Vec<_>>(), expected, "{pattern:?}: {text:?}");
    }
}

#[test]
fn follows_each_alternative_of_the_pattern() {
    check("", &[]);
    check("I'll don'T 'sun", &["I", "'ll", " don", "'T", " '", "sun"]);
    check("'sun it'\u{17F}", &["'s", "un", " it", "'\u{17F}"]);
    check("a 12345 6", &["a", " ", "123", "45", " ", "6"]);
    check("(word) !word !!word", &["(word", ")", " !", "word", " !!", "word"]);
    check("f();\r\n\r\n  x", &["f", "();\r\n\r\n", " ", " x"]);
    check("a   b\u{3000}\u{3000}中", &["a", "  ", " b", "\u{3000}", "\u{3000}中"]);
    check("a \n \n  b", &["a", " \n \n", " ", " b"]);
    check("a  1\u{a0}\u{a0}1", &["a", " ", " ", "1", "\u{a0}", "\u{a0}", "1"]);
    check("end.\n\n  ", &["end", ".\n\n", "  "]);
    check("end\n\n  ", &["end", "\n\n", "  "]);
    check("end   ", &["end", "   "]);
    check("中文,和English。", &["中文", ",和English", "。"]);
}

#[track_caller]
fn check_pattern(pattern: &Pattern, text: &str, pieces: &[&str]) {
    assert_eq!(pretokens(pattern, text).collect::<Vec<_>>(), pieces);
}

#[test]
fn follows_each_pattern_where_they_differ() {
    let text = "Let's GO to iPhoneXS\u{301}, 2024年中国GDP/\n/x";
    check_pattern(
        &Pattern::Gpt2,
        text,
        &["Let", "'s", " GO", " to", " iPhoneXS", "\u{301},", " 2024", "年中国GDP", "/", "\n", "/", "x"],
    );
    check_pattern(
        &Pattern::Cl100k,
        text,
        &["Let", "'s", " GO", " to", " iPhoneXS", "\u{301},", " ", "202", "4", "年中国GDP", "/\n", "/x"],
    );
    check_pattern(
        &Pattern::Qwen2,
        text,
        &["Let", "'s", " GO", " to", " iPhoneXS", "\u{301},", " ", "2", "0", "2", "4", "年中国GDP", "/\n", "/x"],
    );
    check_pattern(
        &Pattern::O200k,
        text,
        &["Let's", " GO", " to", " i", "Phone", "XS\u{301}", ",", " ", "202", "4", "年中国", "GDP", "/\n/", "x"],
    );
    check_pattern(
        &Pattern::Bilingual,
        text,
        &["Let", "'s", " GO", " to", " iPhoneXS", "\u{301},", " ", "202", "4", "年中国", "GDP", "/\n", "/x"],
    );
}

#[test]
fn twins_agree_on_real_text() {
    for text in [ENGLISH, CHINESE, CODE, include_str!("../bpe.rs"), include_str!("../../../Cargo.lock")] {
        check_twins(text);
    }
}

/// Runs that end at, before and after the end of a window.
#[test]
fn twins_agree_where_windows_end() {
    for part in BORDERS.iter() {
        for n in [61, 62, 63, 64, 65, 127, 130] {
            for (before, after) in [("", ""), ("a", "a"), ("!", "\n"), ("\n", " b"), (" ", "'s"), ("中", "中")] {
                let run: String = part.chars().cycle().take(n).collect();
                check_twins(&format!("{before}{run}{after}"));
                check_twins(&format!("{}{before}{part}{after}", "word".repeat(n / 4)));
            }
        }
    }
}

#[test]
fn a_pattern_of_others_is_run_by_a_regex_engine() {
    let pattern = Pattern::from_spelling(r"(?<=x)b|\p{Lu}\p{Ll}*|\d+").unwrap();
    check_pattern(&pattern, "OneTwo xb 12b中", &["One", "Two", " x", "b", " ", "12", "b中"]);
    check_pattern(&Pattern::from_spelling("z*").unwrap(), "azzb", &["a", "zz", "b"]);
    assert!(Pattern::from_spelling("(").is_err());
}

/// So that tiktoken's `\s++$`, which our pattern lacks, changes no token.
#[test]
fn no_token_of_cl100k_goes_on_after_a_line_end() {
    let is_line_end = |byte: &u8| b"\r\n".contains(byte);
    for (token, _) in CL100K.text_tokens().filter(|(token, _)| token.iter().any(is_line_end)) {
        assert!(token.last().is_some_and(is_line_end), "{token:?}");
    }
}

/// A newer Unicode version in `regex-syntax` would cut rare characters differently from the files that exist.
#[test]
fn knows_the_classes_of_unicode_16() {
    let count = |class: fn(CharKind) -> bool| ('\0'..=char::MAX).filter(|&it| class(KINDS.of(it))).count();
    assert_eq!(count(CharKind::is_letter), 141_028);
    assert_eq!(count(|kind| kind == CharKind::Number), 1_911);
    assert_eq!(count(|kind| kind == CharKind::Combining), 2_501);
}

fn long_border_text() -> impl Strategy<Value = String> {
    let run = (prop::sample::select(&BORDERS[..]), 1..40_usize).prop_map(|(part, n)| part.repeat(n));
    prop::collection::vec(prop_oneof![3 => border_text(), 1 => run], 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn twins_agree_at_the_borders_of_classes(text in long_border_text()) {
        check_twins(&text);
    }

    #[test]
    fn twins_agree_on_few_characters(text in "[aZ'sl1 \n\t!/中\u{301}\u{3000}é]{0,200}") {
        check_twins(&text);
    }

    #[test]
    fn twins_agree_on_any_characters(text in prop::collection::vec(any::<char>(), 0..100)) {
        check_twins(&text.into_iter().collect::<String>());
    }
}
