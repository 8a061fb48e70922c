//! Unicode repair: real damage is undone, everything else is left as it is, and twice is the same as once.

use proptest::prelude::*;

use crate::normalise::{Normalise, Normalised, UnicodeForm, normalise, normalise_with};

/// Everything that web pages need.
const WEB: Normalise =
    Normalise { entities: true, escaped_line_ends: true, boilerplate_lines: true, ..Normalise::REPAIR };

#[test]
fn damage_is_repaired() {
    for (damaged, repaired) in [
        // UTF-8 read as windows-1252, as found on real pages.
        ("donâ€™t, â€œquotedâ€\u{9d}", "don’t, “quoted”"),
        ("cafÃ© and naÃ¯ve", "café and naïve"),
        ("ä½\u{a0}å¥½ï¼Œä¸–ç•Œ", "你好，世界"),
        ("ÃƒÂ©tÃƒÂ©", "été"),
        ("first line is fine: 好\ncafÃ©", "first line is fine: 好\ncafé"),
        // Misread as ISO 8859-1, twice, with the closing quote's last byte lost, and beside correct text.
        ("donâ\u{80}\u{99}t", "don’t"),
        ("Ã¢â‚¬Å“twiceÃ¢â‚¬Â\u{9d} RÃ„Â\u{81}jarÃ„Â\u{81}ja", "“twice” Rājarāja"),
        ("the â€œextra handsâ€ cause", "the “extra hands” cause"),
        ("“It’s” a cafÃ© — donâ€™t", "“It’s” a café — don’t"),
        ("l’originalitÃ\u{a0} dâ€™ici", "l’originalità d’ici"),
        ("Title: è»¸, Cáº§n ThÆ¡", "Title: 軸, Cần Thơ"),
        ("35,786Â\u{a0}km, 608 Ã— 224, Ã–gedei, â”‚ ï¿½ SÄ“n", "35,786 km, 608 × 224, Ögedei, │ \u{fffd} Sēn"),
        // GB2312 read as windows-1252.
        ("ÄãºÃ£¬ÊÀ½çµÄÈËÃñ£¡", "你好，世界的人民！"),
        ("\u{feff}text", "text"),
        ("a\r\nb\rc\u{2028}d", "a\nb\nc\nd"),
        ("soft\u{ad}hy\u{200b}phen\u{0}s", "softhyphens"),
        ("e\u{301}", "é"),
        ("one  two\u{a0}\u{a0}three  \n\n\n\n four ", "one two three\n\n four"),
        ("a\t b", "a\tb"),
        ("ＡＢＣ１２３，全角。", "ABC123，全角。"),
        ("占５０％，１２．５；ａ＠ｂ．ｃｎ；你＋我", "占50%，12.5；a@b.cn；你＋我"),
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
        "der Buchstabe „Ä“ und „Ö“, 3×“a”, a lettra “Ã”, NÃO–SIM, «Â»",
        "café»— «naïveté»… “ÉTÉ”",
        "中文里的锟字、锛字和½、×、±都不动。",
        "ﾊﾝｶｸ ｶﾀｶﾅ",
        "👨‍👩‍👧 family, ☀️ sun",
        "Ελληνικά, русский, עברית",
    ] {
        assert_eq!(normalise(text), text);
    }
}

#[test]
fn what_was_escaped_is_read() {
    for (escaped, read) in [
        ("Tom &amp; Jerry&#39;s &quot;day&quot;&nbsp;out", "Tom & Jerry's \"day\" out"),
        ("5 &lt; 6 &amp;amp; 7&hellip;", "5 < 6 & 7…"),
        ("她说&ldquo;好&rdquo;&mdash;&#x4F60;", "她说“好”—你"),
        ("第一段。\\n\u{3000}\u{3000}第二段。\\r\\n", "第一段。\n第二段。"),
        ("（完）\\n2017年，(完)\\n2018", "（完）\n2017年，(完)\n2018"),
    ] {
        assert_eq!(normalise_with(escaped, &WEB).text, read);
        assert_eq!(normalise_with(read, &WEB).text, read);
    }
    for plain in [
        "write &amp; for & in HTML",
        "<b>fish &amp; chips</b>",
        "AT&T &unknown; &#0; a&b;",
        "printf(\"你好\\n\");",
        "C:\\new\\table and a regular expression \\n",
    ] {
        assert_eq!(normalise_with(plain, &WEB).text, plain);
    }
    assert_eq!(normalise("a &amp; b"), "a &amp; b", "only where it is asked for");
}

#[test]
fn lines_of_a_frame_are_taken_out_and_counted() {
    let page = "Share this:\nA page about cookies and their policy.\n» Read More »\n\n责任编辑：张三 pn222\n原标题：旧题\n\
        点击查看更多\n他说，点击查看更多的人会看到责任编辑：李四的名字，这一行很长，是正文的一部分，不该去掉。\n[返回搜狐，查看更多]\n\
        Related posts\nRelated posts are listed by date.\n© 2020 Example Inc. All rights reserved.\nCopyright © 2020 Example";
    let normalised = normalise_with(page, &WEB);
    let kept = "A page about cookies and their policy.\n\n\
        他说，点击查看更多的人会看到责任编辑：李四的名字，这一行很长，是正文的一部分，不该去掉。\n\
        Related posts are listed by date.\n© 2020 Example Inc. All rights reserved.";
    assert_eq!(normalised.text, kept);
    assert_eq!(normalised.n_boilerplate_lines, 8);
    assert_eq!(normalise_with("Home", &WEB).text, "Home", "a heading may say as much");
    assert_eq!(normalise("Share this:"), "Share this:", "only where it is asked for");
}

#[test]
fn what_is_lost_is_counted() {
    let Normalised { text, n_replacement_chars, n_misread_lines, .. } =
        normalise_with("one \u{fffd} two\n锟斤拷\ncafÃ©\ncafé", &Normalise::REPAIR);
    assert_eq!(text, "one \u{fffd} two\n锟斤拷\ncafé\ncafé");
    assert_eq!((n_replacement_chars, n_misread_lines), (2, 1));
}

#[test]
fn forms_are_as_asked_for() {
    let nfkc = Normalise { form: UnicodeForm::Nfkc, ..Normalise::REPAIR };
    assert_eq!(normalise_with("ﾊﾝｶｸ，½ ①", &nfkc).text, "ハンカク,1⁄2 1");
    let wide = Normalise { full_width: false, ..Normalise::REPAIR };
    assert_eq!(normalise_with("Ａ１\u{3000}ｅ\u{301}", &wide).text, "Ａ１ ｅ\u{301}");
}

proptest! {
    #[test]
    fn every_setting_reaches_a_fixed_point(
        text in "([a-z ]|&amp;|&lt;|&|;|#39;|\\\\n|\n|\r|好|，|Ã|©|â|€|™|\u{85}|\u{3000}|\u{301}|Share this|。|½|\u{9d}|\u{ad}){0,24}",
        bits in 0..32_u8,
    ) {
        let is_set = |bit: u8| bits & (1 << bit) != 0;
        let settings = Normalise {
            misreadings: is_set(0),
            entities: is_set(1),
            escaped_line_ends: is_set(2),
            full_width: is_set(3),
            form: if is_set(4) { UnicodeForm::Nfkc } else { UnicodeForm::Nfc },
            boilerplate_lines: is_set(1),
        };
        let once = normalise_with(&text, &settings).text;
        prop_assert_eq!(&normalise_with(&once, &settings).text, &once);
    }

    #[test]
    fn correct_text_keeps_its_characters(text in "[a-zA-Z0-9你好世界的是在“”‘’—…，。！？；：、（）《》éèüñàçöß«»× -]{0,40}") {
        let kept: String = normalise_with(&text, &WEB).text.split(' ').collect();
        prop_assert_eq!(kept, text.split(' ').collect::<String>());
    }

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
        prop_assume!(text.chars().filter(|char| ('\u{3040}'..='\u{D7A3}').contains(char)).count() != 1);
        prop_assert_eq!(normalise(&misread), text);
    }
}

#[test]
fn colours_of_a_terminal_go_with_their_parameters() {
    let coloured = "\u{1B}[33m《静夜思》\u{1B}[0m 床前\u{1B}[1;32m明月光";
    assert_eq!(normalise(coloured), "《静夜思》 床前明月光");
}

#[test]
fn a_frame_behind_the_last_sentence_goes() {
    for (page, kept, n) in [
        ("球队赢了。返回搜狐，查看更多 责任编辑：张三", "球队赢了。", 1),
        ("他说：“好。” 责任编辑：李四", "他说：“好。”", 1),
        ("（完）（责任编辑：王五）", "（完）", 1),
        ("消息说完了。原标题：旧题 责编：赵六", "消息说完了。", 1),
        ("我的工作是责任编辑：校对文字。", "我的工作是责任编辑：校对文字。", 0),
        ("找一位编辑。责任编辑：要求三年经验。另有一位校对。", "找一位编辑。责任编辑：要求三年经验。另有一位校对。", 0),
    ] {
        let normalised = normalise_with(page, &WEB);
        assert_eq!((&normalised.text[..], normalised.n_boilerplate_lines), (kept, n), "{page}");
    }
}
