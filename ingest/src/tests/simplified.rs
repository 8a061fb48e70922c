//! Traditional to Simplified: phrases decide where one character stands for two, Simplified text is left alone.

use proptest::prelude::*;

use crate::simplified::to_simplified;

#[test]
fn phrases_decide_between_characters() {
    for (traditional, simplified) in [
        ("頭髮、發現；皇后、後來；一隻、只有；里程、裡面", "头发、发现；皇后、后来；一只、只有；里程、里面"),
        ("乾隆皇帝在乾燥的地方吃餅乾", "乾隆皇帝在干燥的地方吃饼干"),
        ("著作與顯著，看著穿著", "著作与显著，看着穿着"),
        ("「開放中文轉換」，Debian 參考手冊\n第二行 ABC", "「开放中文转换」，Debian 参考手册\n第二行 ABC"),
        ("宮商角徵羽，徵求", "宫商角徵羽，征求"),
    ] {
        assert_eq!(to_simplified(traditional), simplified);
    }
}

#[test]
fn simplified_and_other_text_is_left_alone() {
    for text in [
        "公司股东会作出决议，应当显著标明；著作权法另有规定的除外。",
        "后来皇后只有一里路，干净的面条和云南的松树。",
        "English only,\n\twith tabs\n\n",
        "",
    ] {
        assert_eq!(to_simplified(text), text);
    }
}

proptest! {
    #[test]
    fn twice_is_once(text in "([頭髮發現皇后後來一隻只有里程裡面乾隆燥餅著作顯看穿國語體個這會\\n ,。a-z]|\\PC){0,40}") {
        let once = to_simplified(&text);
        prop_assert_eq!(to_simplified(&once), once);
    }

    #[test]
    fn lines_and_everything_but_han_stay(text in "\\PC{0,30}\\n?\\PC{0,30}") {
        let converted = to_simplified(&text);
        prop_assert_eq!(converted.matches('\n').count(), text.matches('\n').count());
        let others = |text: &str| text.chars().filter(|char| *char < '\u{2E80}').collect::<String>();
        prop_assert_eq!(others(&converted), others(&text));
    }
}
