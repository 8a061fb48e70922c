//! Unicode repair: real damage is undone, everything else is left as it is, and twice is the same as once.

use proptest::prelude::*;

use crate::normalise;

#[test]
fn damage_is_repaired() {
    for (damaged, repaired) in [
        // UTF-8 read as windows-1252, as found on real pages.
        ("donâ€™t, â€œquotedâ€\u{9d}", "don’t, “quoted”"),
        ("cafÃ© and naÃ¯ve", "café and naïve"),
        ("ä½\u{a0}å¥½ï¼Œä¸–ç•Œ", "你好，世界"),
        ("ÃƒÂ©tÃƒÂ©", "été"),
        ("first line is fine: 好\ncafÃ©", "first line is fine: 好\ncafé"),
        ("\u{feff}text", "text"),
        ("a\r\nb\rc\u{2028}d", "a\nb\nc\nd"),
        ("soft\u{ad}hy\u{200b}phen\u{0}s", "softhyphens"),
        ("e\u{301}", "é"),
        ("one  two\u{a0}\u{a0}three  \n\n\n\n four ", "one two three\n\n four"),
        ("a\t b", "a\tb"),
        ("ＡＢＣ１２３，全角。", "ABC123，全角。"),
        ("第一条\u{3000}\u{3000}总则\n\u{3000}\u{3000}第二条", "第一条 总则\n第二条"),
        ("if x:\n    return\n\ty", "if x:\n    return\n\ty"),
        (" \n\t\u{200b}\n", ""),
    ] {
        assert_eq!(normalise(damaged), repaired, "{damaged:?}");
    }
}

#[test]
fn innocent_text_is_left_alone() {
    for text in [
        "L’été à Paris : « Être ou ne pas être », c’est déjà ça… où ?",
        "CAFÉ» dit-il — «À bientôt»",
        "Ã is a letter of Portuguese: NÃO, SÃO",
        "Müßiggang ist aller Laster Anfang. Größe: 20 °C",
        "你好，世界！（全角标点）“引号”……——《书名》、；：",
        "「繁體中文」與全形標點，保持不變。",
        "10 € – 20 £ ± 5 %",
        "👨‍👩‍👧 family, ☀️ sun",
        "Ελληνικά, русский, עברית",
    ] {
        assert_eq!(normalise(text), text);
    }
}

proptest! {
    #[test]
    fn twice_is_once(text in "\\PC*[ \\n\\t\\r\u{85}\u{ad}\u{200b}]*(é|Ã|©|â|€|™|\u{3000}|\u{301}|Â|ä|½|ï|»|¿)*\\PC{0,5}") {
        let once = normalise(&text);
        prop_assert_eq!(normalise(&once), once);
    }

    #[test]
    fn any_string_has_a_form(text in any::<String>()) {
        let once = normalise(&text);
        prop_assert_eq!(once.trim(), &once[..]);
        prop_assert!(!once.contains("\n\n\n") && !once.contains('\r'));
        prop_assert_eq!(normalise(&once), once);
    }

    #[test]
    fn misread_text_comes_back(text in "[a-z ]{0,10}[éèüñ你好世界中文，。“”’—€]{2,20}[a-z ]{0,10}") {
        let text = normalise(&text);
        let (misread, _, _) = encoding_rs::WINDOWS_1252.decode(text.as_bytes());
        // One Han character alone is not evidence enough, on purpose.
        prop_assume!(text.chars().filter(|&char| char >= '\u{3040}').count() != 1);
        prop_assert_eq!(normalise(&misread), text);
    }
}
