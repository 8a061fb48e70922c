//! Languages of real sentences, short ones and mixed pages among them; sums against a slow twin.

use proptest::prelude::*;

use super::{chinese, english};
use crate::language::letters::for_each_row;
use crate::language::{sum_rows, weights};
use crate::{Script, Shares, Unit, detect_language};

#[test]
fn sentences_have_their_language() {
    for (text, code) in [
        ("It is a truth universally acknowledged, that a single man must be in want of a wife.", "en"),
        ("Who invented scissors?", "en"),
        ("List of jobs: Tutor, Dog walker, Barista, Gardener, Lawn care worker", "en"),
        ("Longtemps, je me suis couché de bonne heure, et mes yeux se fermaient si vite.", "fr"),
        ("En un lugar de la Mancha, de cuyo nombre no quiero acordarme, vivía un hidalgo.", "es"),
        ("Die Würde des Menschen ist unantastbar. Sie zu achten ist Verpflichtung aller Gewalt.", "de"),
        ("Мы не знаем, чем закончится этот длинный день, но будем ждать вечера и смотреть на реку.", "ru"),
        ("话说天下大势，分久必合，合久必分。", "zh"),
        ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", "ja"),
        ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", "ko"),
        ("使用 apt-get install vim 命令安装软件包，然后编辑 /etc/vim/vimrc 文件。", "zh"),
        ("The Chinese word 竹子 means bamboo, and 毛竹 is the moso that grows a metre in a day.", "en"),
        ("營業時間は午前九時から午後五時まで。", "ja"),
        ("東京都庁舎の観光案内図、駅前広場", "ja"),
        ("道可道，非常道。名可名，非常名。無名天地之始；有名萬物之母。", "zh"),
        ("한국어는 漢字와 한글을 함께 쓰기도 했다.", "ko"),
        ("Мова має значення для кожної людини, і це треба пам’ятати.", "uk"),
        ("Η γλώσσα είναι το σπουδαιότερο πράγμα.", "el"),
        ("کتاب‌های زیادی در این کتابخانه وجود دارد.", "fa"),
        ("أكثر من مليون شخص يعيشون في هذه المدينة.", "ar"),
        ("यह किताब बहुत अच्छी है और मैंने इसे पढ़ा है।", "hi"),
        ("Ingen kan tjene to herrer uden at svigte den ene af dem på et tidspunkt.", "da"),
        ("La llengua catalana és la llengua pròpia de Catalunya, amb els seus dialectes.", "ca"),
        ("12345 + 67890 = ?!", "unknown"),
        ("", "unknown"),
    ] {
        let found = detect_language(text);
        assert_eq!(found.code, code, "{text}: {found:?}");
        assert!((0.0..=1.0).contains(&found.confidence));
    }
}

#[test]
fn a_page_in_two_languages_is_less_certain() {
    let pure = detect_language(&chinese(1, 3000));
    let mixed = detect_language(&format!("{}\n{}", chinese(1, 1500), english(1, 500)));
    assert_eq!((pure.code, mixed.code), ("zh", "zh"));
    assert!(pure.confidence > 0.99 && mixed.confidence < 0.9, "{pure:?} {mixed:?}");
}

#[test]
fn a_second_language_is_a_matter_of_prose() {
    let german = "Die Würde des Menschen ist unantastbar. Sie zu achten und zu schützen ist Verpflichtung. ".repeat(20);
    let half_german = format!("{}\n{german}", english(3, 300));
    let manual = "使用 apt-get install vim 命令安装软件包，然后编辑 /etc/vim/vimrc 文件，再运行 vim。".repeat(20);
    let menu = "Home About Products Contact Login";
    for (text, code, is_mixed) in [
        (english(1, 500), "en", false),
        (chinese(1, 1500), "zh", false),
        (format!("{menu}\n{}\n{menu}", chinese(1, 1500)), "zh", false),
        (manual, "zh", false),
        (format!("{}\n{}", chinese(1, 600), english(1, 250)), "zh", true),
        (format!("{}\n{}", chinese(1, 400), english(1, 350)), "en", true),
        (german.clone(), "de", false),
    ] {
        let found = detect_language(&text);
        assert_eq!((found.code, found.is_mixed), (code, is_mixed), "{found:?}");
    }
    let found = detect_language(&half_german);
    assert!(found.is_mixed && found.confidence < 0.8, "{found:?}");
    let Shares { han, kana, hangul, latin, other } = found.shares;
    assert!((han + kana + hangul + latin + other - 1.0).abs() < 1e-9 && latin == 1.0);
}

#[test]
fn what_a_few_words_do_not_tell_is_not_claimed() {
    for text in ["OK", "1. Info", "Taxi, Hotel, Bar", "xkcd qwzx vvbn", "Berlin Paris Madrid Roma"] {
        let found = detect_language(text);
        assert!(found.confidence < 0.9, "{text}: {found:?}");
    }
    let (few, many) = ("die Kinder", "die Kinder spielen im Garten hinter dem Haus, bis es dunkel wird");
    assert!(detect_language(few).confidence < detect_language(many).confidence);
}

#[test]
fn the_head_start_of_frequent_languages_is_soon_made_up_for() {
    let maori = "Ko te reo te mauri o te mana Maori, no reira me ako tatou ki te korero i nga ra katoa.";
    let found = detect_language(maori);
    assert!(found.code == "mi" && found.confidence > 0.9, "{found:?}");
}

#[test]
fn sums_of_bytes_do_not_overflow() {
    let text = english(5, 4000) + &"Жизнь прожить не поле перейти. ".repeat(300);
    let (sums, n_rows) = sum_rows(&text);
    let mut twin = vec![0_i64; sums.len()];
    let mut n_twin = 0;
    for_each_row(&text, |row| {
        n_twin += 1;
        twin.iter_mut().zip(weights(row)).for_each(|(sum, &weight)| *sum += i64::from(weight));
    });
    assert_eq!(n_rows, n_twin);
    assert!(sums.iter().map(|&sum| i64::from(sum)).eq(twin));
}

#[test]
fn scripts_of_chinese_are_told_apart() {
    for (text, script) in [
        ("国家发展改革委员会关于进一步推动经济发展的意见", Some(Script::Hans)),
        ("國家發展改革委員會關於進一步推動經濟發展的意見", Some(Script::Hant)),
        ("山高水长", Some(Script::Hans)),
        ("山水", None),
        ("国家发展经济，國家發展經濟", Some(Script::Both)),
    ] {
        let found = detect_language(text);
        assert_eq!((found.code, found.script), ("zh", script), "{text}");
    }
    let share = detect_language("國家發展經濟的关于").simplified_share.unwrap();
    assert!((share - 1.0 / 5.0).abs() < 1e-9, "{share}");
    assert_eq!(Unit::of("zh"), Unit::Characters);
    assert_eq!(Unit::of("en"), Unit::Words);
}

proptest! {
    #[test]
    fn any_string_has_an_answer(text in any::<String>()) {
        let found = detect_language(&text);
        prop_assert!((0.0..=1.0).contains(&found.confidence));
        prop_assert_eq!(detect_language(&text), found);
    }
}
