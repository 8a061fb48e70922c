//! Languages of real sentences, short ones and mixed pages among them.

use proptest::prelude::*;

use super::{chinese, english};
use crate::{Script, Unit, detect_language};

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
fn scripts_of_chinese_are_told_apart() {
    for (text, script) in [
        ("国家发展改革委员会关于进一步推动经济发展的意见", Some(Script::Hans)),
        ("國家發展改革委員會關於進一步推動經濟發展的意見", Some(Script::Hant)),
        ("山高水长", Some(Script::Hans)),
        ("山水", None),
    ] {
        let found = detect_language(text);
        assert_eq!((found.code, found.script), ("zh", script), "{text}");
    }
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
