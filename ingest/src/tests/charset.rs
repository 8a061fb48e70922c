//! Character sets: declared, detected, contradicted, and damaged.

use encoding_rs::{BIG5, EUC_KR, Encoding, GB18030, KOI8_R, SHIFT_JIS, WINDOWS_1251, WINDOWS_1252};
use proptest::prelude::*;

use crate::extract_main_text;
use crate::read::{CharsetError, decode_page, decode_text};

const CHINESE: &str = "毛竹的根在地下生长好几年，到了春天，竹笋才破土而出，几个星期之内就长到十几米高。";
const TRADITIONAL: &str = "毛竹的根在地下生長好幾年，到了春天，竹筍才破土而出，幾個星期之內就長到十幾公尺高。";
const JAPANESE: &str = "孟宗竹は地下で何年も根を伸ばし、春になると数週間で十数メートルの高さになります。";
const KOREAN: &str = "죽순은 봄에 땅을 뚫고 나와서 몇 주 만에 십여 미터 높이까지 자란다.";
const RUSSIAN: &str = "Бамбук несколько лет растит корни под землёй, а весной поднимается за несколько недель.";
const FRENCH: &str =
    "Le bambou géant développe d'abord ses racines, puis s'élève très haut dès l'été à côté de la forêt.";

fn page(bytes: &[u8]) -> Result<String, CharsetError> {
    decode_page(bytes, None, None, 0.002)
}

#[test]
fn pages_are_decoded_as_they_declare() {
    let page_of =
        |charset: &str| format!("<html><head><meta charset=\"{charset}\"></head><body>竹子 café</body></html>");
    let (gbk, _, _) = encoding_rs::GBK.encode("<meta charset=gbk><p>竹子");
    assert_eq!(page(&gbk).unwrap(), "<meta charset=gbk><p>竹子");
    assert_eq!(page(page_of("utf-8").as_bytes()).unwrap(), page_of("utf-8"));
    assert_eq!(page("\u{feff}<p>é".as_bytes()).unwrap(), "<p>é");
    assert_eq!(page(b"\xFF\xFE<\0p\0").unwrap(), "<p");
    for latin in [
        &b"<meta content='text/html; charset=ISO-8859-1'>caf\xE9"[..],
        b"<?xml version='1.0' encoding='iso-8859-1'?><p>caf\xE9",
        b"<!-- <meta charset=utf-8> --><script charset=\"utf-8\"></script><META CHARSET = latin1 />caf\xE9",
    ] {
        assert!(page(latin).unwrap().ends_with("café"), "{}", String::from_utf8_lossy(latin));
    }
    assert_eq!(page(b"<meta charset=utf-8>caf\xE9 au lait").unwrap_err(), CharsetError::Declared { encoding: "UTF-8" });
}

#[test]
fn the_server_is_believed_before_the_page_and_utf8_before_both() {
    let (big5, _, _) = BIG5.encode(TRADITIONAL);
    let lying = [b"<meta charset=gbk>", &big5[..]].concat();
    assert!(decode_page(&lying, Some("big5"), None, 0.0).unwrap().ends_with(TRADITIONAL));
    let utf8 = format!("<meta charset=gbk>{CHINESE}");
    assert_eq!(decode_page(utf8.as_bytes(), Some("ISO-8859-1"), None, 0.0).unwrap(), utf8);
    // Characters of GBK that are valid UTF-8, too few to be no accident.
    let is_accident = |char: &char| std::str::from_utf8(&GB18030.encode(&char.to_string()).0).is_ok();
    let text: String = ('一'..='龥').filter(is_accident).take(7).collect();
    assert_eq!(text.chars().count(), 7);
    let (bytes, _, _) = GB18030.encode(&text);
    assert_eq!(decode_text(&bytes, Some("gbk"), None, 0.0).unwrap(), text);
    assert_ne!(decode_text(&bytes, None, None, 0.0).unwrap(), text);
}

#[test]
fn undeclared_character_sets_are_detected() {
    let cases: [(&'static Encoding, &str); 7] = [
        (GB18030, CHINESE),
        (BIG5, TRADITIONAL),
        (SHIFT_JIS, JAPANESE),
        (EUC_KR, KOREAN),
        (WINDOWS_1251, RUSSIAN),
        (KOI8_R, RUSSIAN),
        (WINDOWS_1252, FRENCH),
    ];
    for (encoding, text) in cases {
        let (bytes, _, is_lossy) = encoding.encode(text);
        assert!(!is_lossy);
        let html = [b"<html><body><p>", &bytes[..]].concat();
        assert_eq!(page(&html).unwrap(), format!("<html><body><p>{text}"), "{}", encoding.name());
        assert_eq!(decode_text(&bytes, None, Some("www.example.com"), 0.0).unwrap(), text, "{}", encoding.name());
    }
}

#[test]
fn a_few_damaged_characters_are_replaced_and_many_are_not() {
    let long = CHINESE.repeat(40);
    for declared in [Some("utf-8"), None] {
        let mut bytes = long.clone().into_bytes();
        // In the middle of a character.
        bytes[301] = b'?';
        assert!(decode_text(&bytes, declared, None, 0.0).is_err());
        let text = decode_text(&bytes, declared, None, 0.002).unwrap();
        assert_eq!(text.matches('\u{FFFD}').count(), 2);
        assert!(text.ends_with(CHINESE));
        let every_third: Vec<u8> =
            bytes.iter().enumerate().map(|(index, byte)| if index % 30 == 1 { b'?' } else { *byte }).collect();
        assert!(decode_text(&every_third, Some("utf-8"), None, 0.002).is_err());
    }
    // Crawlers cut long pages anywhere.
    let cut = &long.as_bytes()[..long.len() - 1];
    assert_eq!(decode_text(cut, Some("utf-8"), None, 0.0).unwrap(), long.trim_end_matches('。'));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn utf8_is_what_it_says(text in "\\PC{0,60}") {
        prop_assume!(!text.starts_with('\u{FEFF}'));
        for declared in [None, Some("utf-8")] {
            prop_assert_eq!(decode_text(text.as_bytes(), declared, None, 0.0).unwrap(), text.clone());
        }
    }

    #[test]
    fn any_bytes_are_text_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300), host in "\\PC{0,9}") {
        if let Ok(html) = decode_page(&bytes, Some(&host), Some(&host), 0.5) {
            let _ = extract_main_text(&html);
        }
    }
}
