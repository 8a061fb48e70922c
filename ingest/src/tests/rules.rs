//! Quality rules: each has a text that breaks it and nothing before it; good text breaks none.

use proptest::prelude::*;

use super::{chinese, english, settings};
use crate::{Limit, Unit, measure, normalise};

fn broken_rule(text: &str, unit: Unit) -> Option<&'static str> {
    let (config, measures) = (settings(), measure(&normalise(text), unit));
    let limits = match unit {
        Unit::Words => config.english.limits(&measures),
        Unit::Characters => config.chinese.limits(&measures),
    };
    limits.iter().find(|limit| limit.is_broken()).map(|limit| limit.rule)
}

#[test]
fn each_english_rule_finds_its_text() {
    let good = english(1, 120);
    let lines = |start: &str, end: &str| -> String {
        (0..8).map(|line| format!("{start}{}{end}\n", english(line + 10, 12))).collect()
    };
    for (text, rule) in [
        (good.clone(), None),
        ("Two words.".into(), Some("english.words")),
        ("a b c d e f g h i j k l m n o p q r s t u v w x y z".into(), Some("english.mean_word_length")),
        ("internationalisation ".repeat(30), Some("english.mean_word_length")),
        ("1999 2000 2001 the and ".repeat(10), Some("english.letter_ratio")),
        ("buy cheap tiles online shop best tiles deals sale ".repeat(4), Some("english.stop_words")),
        (good.replace("river", "#river").replace(' ', " #"), Some("english.symbol_ratio")),
        (lines("- ", ""), Some("english.bullet_lines")),
        (lines("", "..."), Some("english.ellipsis_lines")),
        (format!("{}\n", english(3, 20)).repeat(5), Some("english.duplicate_line_ratio")),
        (format!("{} ", "the same phrase ".repeat(12)) + &english(4, 20), Some("english.top_ngram_ratio")),
    ] {
        assert_eq!(broken_rule(&text, Unit::Words), rule, "{text}");
    }
}

#[test]
fn each_chinese_rule_finds_its_text() {
    let lines = |start: &str, end: &str| -> String {
        (0..8).map(|line| format!("{start}{}{end}\n", chinese(line + 10, 20))).collect()
    };
    for (text, rule) in [
        (chinese(1, 400), None),
        ("竹子。".into(), Some("chinese.chars")),
        (format!("{}{}", chinese(1, 20), english(1, 60)), Some("chinese.han_ratio")),
        (chinese(1, 60).chars().flat_map(|char| [char, '！']).collect(), Some("chinese.punctuation_ratio")),
        (format!("{}{}", chinese(1, 60), "1234567890".repeat(5)), Some("chinese.digit_ratio")),
        ("山川河流湖海".chars().cycle().take(300).collect(), Some("chinese.stop_chars")),
        (lines("• ", ""), Some("chinese.bullet_lines")),
        (lines("", "……"), Some("chinese.ellipsis_lines")),
        (format!("{}\n", chinese(3, 60)).repeat(5), Some("chinese.duplicate_line_ratio")),
        (format!("{}{}", "哈".repeat(80), chinese(4, 60)), Some("chinese.top_ngram_ratio")),
        (format!("{}，", chinese(5, 40)).repeat(4), Some("chinese.repeated_ngram_ratio")),
    ] {
        assert_eq!(broken_rule(&text, Unit::Characters), rule, "{text}");
    }
}

#[test]
fn good_text_of_every_sort_is_kept() {
    for text in [
        "Zoology is the branch of biology that studies the animal kingdom, including the structure, embryology, \
         evolution, classification, habits, and distribution of all animals, both living and extinct.",
        "def area(radius):\n    \"\"\"The area of a circle, which is the square of the radius times pi.\"\"\"\n    return \
         3.14159 * radius ** 2\n\nThis is the shortest way to write the function and to test it with a few numbers.",
    ] {
        assert_eq!(broken_rule(text, Unit::Words), None, "{text}");
    }
    for text in [
        "第一条　为了保障公民的合法权益，维护社会秩序，根据宪法，制定本法。\n第二条　中华人民共和国公民在法律面前一律平等。",
        "話說天下大勢，分久必合，合久必分。周末七國分爭，并入於秦；及秦滅之後，楚、漢分爭，又并入於漢。",
        "要安装软件包，请运行下面的命令：\n\n$ sudo apt-get install vim\n\n然后编辑配置文件 ~/.vimrc，保存后重新启动编辑器即可生效。",
    ] {
        assert_eq!(broken_rule(text, Unit::Characters), None, "{text}");
    }
}

#[test]
fn rulers_and_tables_weigh_little() {
    let ruler = measure("表格\n----------------------------------------\n内容", Unit::Characters);
    assert_eq!((ruler.n_marks, ruler.han_ratio), (5, 1.0));
}

#[test]
fn evidence_is_written_as_value_and_limit() {
    let limits = settings().english.limits(&measure("one two", Unit::Words));
    assert_eq!(limits[0].to_string(), "value 2, limit 20");
    assert_eq!(limits[0].bound.to_string(), "at least 20");
}

proptest! {
    #[test]
    fn every_ratio_is_a_share(text in any::<String>(), more in "[a-c的了 \\n]{0,200}") {
        for unit in [Unit::Words, Unit::Characters] {
            let measures = measure(&normalise(&format!("{text}{more}")), unit);
            for ratio in [
                measures.letter_ratio, measures.han_ratio, measures.punctuation_ratio, measures.digit_ratio,
                measures.bullet_lines, measures.ellipsis_lines, measures.duplicate_line_ratio,
                measures.top_ngram_ratio, measures.repeated_ngram_ratio,
            ] {
                prop_assert!((0.0..=1.0).contains(&ratio), "{:?}", measures);
            }
            let config = settings();
            let limits: Vec<Limit> =
                config.english.limits(&measures).into_iter().chain(config.chinese.limits(&measures)).collect();
            prop_assert!(limits.iter().all(|limit| !limit.value.is_nan()));
        }
    }
}
