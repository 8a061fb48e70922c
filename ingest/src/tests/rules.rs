//! Quality rules: each equals its slow twin on random and on real text; each has a text that breaks it and nothing before
//! it; good text breaks none.

mod twin;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{RunFile, SETTINGS, chinese, english, settings, settings_with};
use crate::rules::probe;
use crate::{ConfigError, IngestConfig, Judgement, Limit, Rules, Scope, Scratch, Unit, judge, normalise};

/// What spaCy makes of pieces of text.
const SPACY_WORDS: &str = include_str!("../../testdata/spacy-words.tsv");

fn judged<'t>(text: &'t str, rules: Rules) -> Judgement<'t> {
    judge(text, rules, Scope::Everything, &mut Scratch::default())
}

fn broken_rule(text: &str, language: &str) -> Option<&'static str> {
    let config = settings_with(&[("terminal_lines_min = 0.0", "terminal_lines_min = 0.12")]);
    let text = normalise(text);
    judged(&text, config.rules(language)).broken().map(|limit| limit.rule)
}

fn value(judgement: &Judgement, rule: &str) -> f64 {
    let limit = judgement.limits.iter().find(|limit| limit.rule == rule);
    limit.unwrap_or_else(|| panic!("{rule} was not asked")).value
}

#[test]
fn words_are_those_of_spacy() {
    let cases = SPACY_WORDS.lines().filter(|line| !line.starts_with("# "));
    for (piece, expected) in cases.map(|line| line.split_once('\t').unwrap()) {
        let expected: Vec<&str> = expected.split(' ').collect();
        assert_eq!(twin::words(piece), expected, "the twin on {piece:?}");
        let hashes: Vec<u64> = expected.iter().map(|word| probe::hash(word)).collect();
        assert_eq!(probe::word_hashes(piece), hashes, "{piece:?} should be {expected:?}");
    }
}

fn check_english(text: &str, rules: Rules) {
    let judgement = judged(text, rules);
    let (words, n_chars) = (twin::words(text), text.chars().count());
    let hashes: Vec<u64> = words.iter().map(|word| probe::hash(word)).collect();
    assert_eq!(probe::word_hashes(text), hashes, "{text:?}");
    let is = |rule: &str, expected: f64| {
        let value = value(&judgement, &format!("english.{rule}"));
        assert!((value - expected).abs() < 1e-12, "{rule} is {value}, should be {expected}: {text:?}");
    };
    let written: Vec<&String> = words.iter().filter(|word| word.chars().any(|char| !probe::is_mark(char))).collect();
    let with_letter = words.iter().filter(|word| word.chars().any(char::is_alphabetic)).count();
    let n_written_chars = written.iter().map(|word| word.chars().count()).sum();
    let stop_words = ["the", "be", "to", "of", "and", "that", "have", "with"];
    is("gopher_quality.words", written.len() as f64);
    is("gopher_quality.mean_word_length", twin::share(n_written_chars, written.len()));
    is("gopher_quality.letter_ratio", twin::share(with_letter, words.len()));
    let n_stop_words = stop_words.iter().filter(|&&stop| words.iter().any(|word| word == stop)).count();
    is("gopher_quality.stop_words", n_stop_words as f64);
    let n_ellipses = text.matches("...").count() + text.matches('…').count();
    is("gopher_quality.symbol_ratio", twin::share(text.matches('#').count().max(n_ellipses), words.len()));
    let lines: Vec<&str> = text.split('\n').filter(|line| !line.is_empty()).collect();
    let paragraphs: Vec<&str> = text.split("\n\n").collect();
    let (share, n) = twin::duplicates(&lines);
    is("gopher_repetition.duplicate_lines", share);
    is("gopher_repetition.duplicate_line_chars", twin::share(n, n_chars));
    let (share, n) = twin::duplicates(&paragraphs);
    is("gopher_repetition.duplicate_paragraphs", share);
    is("gopher_repetition.duplicate_paragraph_chars", twin::share(n, n_chars));
    for n in 2..=4 {
        is(&format!("gopher_repetition.top_{n}_words"), twin::top_ngram(&words, n, " ", 1, n_chars));
    }
    for n in 5..=10 {
        is(&format!("gopher_repetition.duplicate_{n}_words"), twin::duplicate_ngrams(&words, n, n_chars));
    }
}

fn check_fineweb(lines: &[&str], n_line_ends: usize, judgement: &Judgement) {
    let n_chars: usize = lines.iter().map(|line| line.chars().count()).sum();
    let n_words: usize = lines.iter().map(|line| twin::words(line).len()).sum();
    let share = |is_counted: fn(&&&str) -> bool| twin::share(lines.iter().filter(is_counted).count(), lines.len());
    for (rule, expected) in [
        ("terminal_lines", share(|line| line.ends_with(['.', '!', '?', '。']))),
        ("short_lines", share(|line| line.chars().count() <= 30)),
        ("duplicate_line_chars", twin::share(twin::duplicates(lines).1, n_chars)),
        ("newline_ratio", twin::share(n_line_ends, n_words)),
    ] {
        assert_eq!(value(judgement, &format!("english.fineweb.{rule}")), expected, "{rule}: {lines:?}");
    }
}

fn check_c4(text: &str, config: &IngestConfig, only_ends: bool) {
    let judgement = judged(text, config.rules("en"));
    let broken = judgement.limits.iter().find(|limit| limit.rule.starts_with("english.c4") && limit.is_broken());
    match (twin::c4(text, only_ends), broken) {
        (Err(_), Some(_)) => {}
        (Ok((kept, n_sentences)), None) => {
            assert_eq!(value(&judgement, "english.c4.sentences"), n_sentences as f64, "{text:?}");
            let lines: Vec<&str> = kept.iter().map(|line| &line[..]).collect();
            check_fineweb(&lines, kept.len() - 1, &judgement);
            let left: Vec<&str> = judgement.text.split('\n').map(str::trim_start).filter(|l| !l.is_empty()).collect();
            assert_eq!(left, lines, "{text:?}");
        }
        (expected, found) => panic!("{found:?}, should be {expected:?}: {text:?}"),
    }
}

fn check_chinese(text: &str, rules: Rules) {
    let judgement = judged(text, rules);
    let (units, n_chars) = (twin::units(text), text.chars().count());
    let is = |rule: &str, expected: f64| {
        let value = value(&judgement, &format!("chinese.{rule}"));
        assert!((value - expected).abs() < 1e-9, "{rule} is {value}, should be {expected}: {text:?}");
    };
    for n in [4, 6, 8] {
        is(&format!("repetition.top_{n}_chars"), twin::top_ngram(&units, n, "", 2, n_chars));
    }
    for n in [9, 11, 13, 14, 16, 18] {
        is(&format!("repetition.duplicate_{n}_chars"), twin::duplicate_ngrams(&units, n, n_chars));
    }
    let lines: Vec<&str> = text.split('\n').filter(|line| !line.is_empty()).collect();
    is("repetition.duplicate_lines", twin::duplicates(&lines).0);
    is("lines.newline_ratio", twin::share(text.matches('\n').count(), units.len()));
    if lines.len() >= 5 {
        let is_verse = |line: &str| {
            let bare =
                line.trim().trim_end_matches(['”', '’', '」', '』', '）', ')', '"', '\'', '】', '》', '〉', ']', '］']);
            bare.ends_with(['。', '！', '？', '；', '：', '…', '.', '!', '?', ';', ':', '，', ',', '、'])
        };
        let written: Vec<&str> = lines.iter().copied().filter(|line| !line.trim().is_empty()).collect();
        let is_short = |line: &&&str| line.chars().count() <= 10 && !is_verse(line);
        is("lines.short_lines", twin::share(written.iter().filter(is_short).count(), written.len()));
    }
    let marks: Vec<char> = units.iter().flat_map(|unit| unit.chars()).take(10_000).collect();
    let different: BTreeSet<char> = marks.iter().copied().collect();
    is("quality.distinct_ratio", twin::share(different.len(), marks.len()));
    let share_of = |char: &char| twin::share(marks.iter().filter(|mark| *mark == char).count(), marks.len());
    is("quality.entropy", different.iter().map(|char| -share_of(char) * share_of(char).ln()).sum());
}

#[test]
fn the_fast_rules_equal_the_slow_ones_on_real_text() {
    let config = settings();
    for text in REAL_ENGLISH {
        let text = normalise(text);
        check_english(&text, config.rules("en"));
        for only_ends in [false, true] {
            let said = format!("only_lines_that_end_in_marks = {only_ends}");
            let config = settings_with(&[
                ("only_lines_that_end_in_marks = false", &said),
                ("sentences_min = 1", "sentences_min = 5"),
            ]);
            check_c4(&text, &config, only_ends);
        }
    }
    for text in REAL_CHINESE {
        check_chinese(&normalise(text), config.rules("zh"));
    }
}

proptest! {
    #[test]
    fn the_fast_rules_equal_the_slow_ones_on_random_text(
        any in any::<String>(),
        english in "([a-c]{1,2}|the|don't|Mr|e\\.g|5|[0-9]{2}|:|\\)|-|\\.|…|\"|'|#|,|[ \\n]){0,120}",
        chinese in "[的了人a1。，\\n ]{0,160}",
    ) {
        let config = settings();
        for text in [&english, &chinese, &format!("{english}{english}"), &format!("{chinese}{english}")] {
            let text = normalise(text);
            if !text.is_empty() {
                check_english(&text, config.rules("en"));
                check_chinese(&text, config.rules("zh"));
            }
        }
        // Whatever comes, every value is a number and every share is one.
        let text = normalise(&any);
        for language in ["en", "zh"] {
            let judgement = judged(&text, config.rules(language));
            prop_assert!(judgement.limits.iter().all(|limit| !limit.value.is_nan()));
            let shares = crate::signals(&judgement.measures);
            prop_assert!(shares[3..7].iter().chain(&shares[8..13]).all(|share| (0.0..=1.0).contains(share)));
        }
    }

    #[test]
    fn lines_without_letters_are_as_good_as_absent(
        lines in prop::collection::vec("=====|\\}|[+]--[+]--[+]|a1|你好|[a-c]{1,2} (the|end|of) [a-c]{2,4}|[你好世界]{3,6}。|", 1..30),
    ) {
        let with = settings_with(&[("line_letters_min = 0", "line_letters_min = 4"); 4]);
        let (without, text) = (settings(), lines.join("\n"));
        let is_text = |line: &&str| line.chars().filter(|char| char.is_alphanumeric()).count() >= 4;
        let bare: Vec<&str> = text.split('\n').filter(is_text).collect();
        let bare = bare.join("\n");
        for (language, set) in [("en", "english.gopher_repetition"), ("zh", "chinese.repetition")] {
            let (all, left) = (judged(&text, with.rules(language)), judged(&bare, without.rules(language)));
            for limit in all.limits.iter().filter(|limit| limit.rule.starts_with(set) && !limit.rule.contains("paragraph")) {
                let n_chars = |text: &str| if limit.rule.ends_with("lines") { 1.0 } else { text.chars().count() as f64 };
                let (found, expected) = (limit.value * n_chars(&text), value(&left, limit.rule) * n_chars(&bare));
                // A share is cut at one.
                prop_assert!((found - expected).abs() < 1e-6 || value(&left, limit.rule) == 1.0, "{}: {text:?}", limit.rule);
            }
        }
    }

    #[test]
    fn c4_equals_its_slow_twin(
        lines in prop::collection::vec("(The end[.!?]|of it all|Use cookies now\\.|a \\{ b c\\.|JavaScript is on\\.|see [\\[]12[\\]] \
            and stop\\.|Lorem ipsum is it\\.|Yes\\. No\\. Maybe\\.|  deep in here|){1,2}", 0..9),
    ) {
        let text = normalise(&lines.join("\n"));
        for only_ends in [false, true] {
            let said = format!("only_lines_that_end_in_marks = {only_ends}");
            let config = settings_with(&[
                ("only_lines_that_end_in_marks = false", &said),
                ("sentences_min = 1", "sentences_min = 5"),
            ]);
            check_c4(&text, &config, only_ends);
        }
    }

    #[test]
    fn stopping_early_names_the_same_rule(seed in 0_u64..1000, text in "[的了人a-d1。，\\n .]{0,200}") {
        let config = settings();
        let mut scratch = Scratch::default();
        for text in [normalise(&text), english(seed, 90), format!("{}\n{}", chinese(seed, 90), "某。".repeat(40))] {
            for language in ["en", "zh"] {
                let all = judge(&text, config.rules(language), Scope::Everything, &mut scratch);
                let some = judge(&text, config.rules(language), Scope::UntilBroken, &mut scratch);
                prop_assert_eq!(all.broken(), some.broken());
                if all.broken().is_none() {
                    prop_assert_eq!(all, some);
                }
            }
        }
    }
}

#[test]
fn each_english_rule_finds_its_text() {
    let good = english(1, 120);
    let lines = |start: &str, end: &str| -> String {
        (0..8).map(|line| format!("{start}{}{end}\n", english(line + 10, 12))).collect()
    };
    let repeated = |n_words: usize| -> String {
        (0..9).map(|index| format!("{} {}. ", english(5, n_words), english(50 + index, 14))).collect()
    };
    let quality = |rule| Some(format!("english.gopher_quality.{rule}"));
    let repetition = |rule| Some(format!("english.gopher_repetition.{rule}"));
    let c4 = |rule| Some(format!("english.c4.{rule}"));
    let fineweb = |rule| Some(format!("english.fineweb.{rule}"));
    for (text, rule) in [
        (format!("{good}."), None),
        ("Two words.".into(), quality("words")),
        ("a b c d e f g h i j k l m n o p q r s t u v w x y z".into(), quality("mean_word_length")),
        ("internationalisation ".repeat(30), quality("mean_word_length")),
        (good.replace("river", "#river").replace(' ', " #"), quality("symbol_ratio")),
        (lines("- ", "."), quality("bullet_lines")),
        (lines("", "..."), quality("ellipsis_lines")),
        ("1999 2000 2001 the and ".repeat(10), quality("letter_ratio")),
        ("buy cheap tiles online shop best tiles deals sale ".repeat(4), quality("stop_words")),
        (format!("{}.\n\n{}.\n\n", english(3, 20), english(4, 20)).repeat(2), repetition("duplicate_paragraphs")),
        (format!("{}.\n", english(3, 20)).repeat(5), repetition("duplicate_lines")),
        (format!("{} ", "the same phrase ".repeat(12)) + &english(4, 20), repetition("top_2_words")),
        (repeated(12), repetition("duplicate_5_words")),
        (format!("{good}\nlorem ipsum dolor sit."), c4("lorem_ipsum")),
        (format!("{good}\nint main() {{ return 0 }}"), c4("curly_brackets")),
        (lines("We use cookies ", "."), c4("sentences")),
        (lines("", ""), fineweb("terminal_lines")),
        (format!("{}.\n{}", english(4, 30), lines_of(9, 4)), fineweb("short_lines")),
    ] {
        assert_eq!(broken_rule(&text, "en"), rule.as_deref(), "{text}");
    }
}

/// Lines of a few words that end in a full stop.
fn lines_of(n_lines: u64, n_words: usize) -> String {
    (0..n_lines).map(|line| format!("{}.\n", english(line + 90, n_words))).collect()
}

#[test]
fn each_chinese_rule_finds_its_text() {
    let lines = |start: &str, end: &str| -> String {
        (0..8).map(|line| format!("{start}{}{end}\n", chinese(line + 10, 20))).collect()
    };
    let quality = |rule| Some(format!("chinese.quality.{rule}"));
    let repetition = |rule| Some(format!("chinese.repetition.{rule}"));
    let of_lines = |rule| Some(format!("chinese.lines.{rule}"));
    let spam = |rule| Some(format!("chinese.spam.{rule}"));
    let bare = |seed, n: usize| chinese(seed, n).replace('。', "");
    for (text, rule) in [
        (chinese(1, 400), None),
        ("竹子。".into(), quality("chars")),
        (format!("{}{}", chinese(1, 20), english(1, 60)), quality("han_ratio")),
        (bare(1, 300), quality("punctuation_ratio")),
        (chinese(1, 60).chars().flat_map(|char| [char, '！']).collect(), quality("punctuation_ratio")),
        (format!("{}{}", chinese(1, 60), "1234567890".repeat(5)), quality("digit_ratio")),
        (format!("{}#", &chinese(1, 7)[..12]).repeat(12), quality("symbol_ratio")),
        (lines("【", "】。").replace('。', "【】"), quality("bracket_ratio")),
        ("山川河流湖海。".chars().cycle().take(300).collect(), quality("stop_chars")),
        (lines("• ", "。"), quality("bullet_lines")),
        ((0..6).map(|seed| format!("{}……\n", chinese(seed, 60))).collect(), quality("ellipsis_lines")),
        ("是的。".repeat(80), quality("distinct_ratio")),
        (format!("{}。\n\n{}。\n\n", chinese(3, 40), chinese(4, 40)).repeat(2), repetition("duplicate_paragraphs")),
        (format!("{}\n", chinese(3, 60)).repeat(5), repetition("duplicate_lines")),
        (format!("{}{}", "竹林深处".repeat(30), chinese(4, 160)), repetition("top_4_chars")),
        (format!("{}，", chinese(5, 60)).repeat(4), repetition("duplicate_9_chars")),
        ((0..8).map(|seed| format!("{}\n", bare(seed + 20, 24))).collect(), of_lines("terminal_lines")),
        (
            format!(
                "{}\n{}\n{}",
                chinese(6, 60),
                chinese(7, 60),
                (0..12).map(|seed| format!("{}\n", bare(seed + 60, 7))).collect::<String>()
            ),
            of_lines("short_lines"),
        ),
        (
            (0..6).map(|seed| format!("{}。\n{}更多\n", bare(seed, 40), bare(seed + 9, 30))).collect(),
            of_lines("more_lines"),
        ),
        (format!("{}真人荷官，百家乐，时时彩，老虎机，注册送彩金。", chinese(7, 300)), spam("gambling")),
        (format!("{}成人视频，激情视频，一本道，裸聊，制服丝袜。", chinese(7, 300)), spam("adult")),
        (format!("{}代开发票，关键词排名，友情链接，传奇私服，加微信。", chinese(7, 300)), spam("promotion")),
    ] {
        assert_eq!(broken_rule(&text, "zh"), rule.as_deref(), "{text}");
    }
}

#[test]
fn good_text_of_every_sort_is_kept() {
    for text in REAL_ENGLISH.into_iter().chain([
        "Zoology is the branch of biology that studies the animal kingdom, including the structure, embryology, \
         evolution, classification, habits, and distribution of all animals, both living and extinct.",
    ]) {
        assert_eq!(broken_rule(text, "en"), None, "{text}");
    }
    for text in REAL_CHINESE.into_iter().chain([
        "第一条　为了保障公民的合法权益，维护社会秩序，根据宪法，制定本法。\n第二条　中华人民共和国公民在法律面前一律平等。",
        "話說天下大勢，分久必合，合久必分。周末七國分爭，并入於秦；及秦滅之後，楚、漢分爭，又并入於漢。",
        "要安装软件包，请运行下面的命令：\n\n$ sudo apt-get install vim\n\n然后编辑配置文件 ~/.vimrc，保存后重新启动编辑器即可生效。",
    ]) {
        assert_eq!(broken_rule(text, "zh"), None, "{text}");
    }
}

#[test]
fn law_medicine_and_news_may_name_what_spam_lives_by() {
    let rules = settings();
    for text in [
        // Criminal Law of the People's Republic of China, articles 303, 363, 364.
        "以营利为目的，聚众赌博或者以赌博为业的，处三年以下有期徒刑、拘役或者管制，并处罚金。开设赌场的，处五年以下有期徒刑、拘役或者管制，\
         并处罚金；情节严重的，处五年以上十年以下有期徒刑，并处罚金。以牟利为目的，制作、复制、出版、贩卖、传播淫秽物品的，处三年以下有期徒刑、\
         拘役或者管制，并处罚金。传播淫秽的书刊、影片、音像、图片或者其他淫秽物品，情节严重的，处二年以下有期徒刑、拘役或者管制。组织播放淫秽的\
         电影、录像等音像制品的，处三年以下有期徒刑、拘役或者管制，并处罚金。卖淫、嫖娼的，依照治安管理处罚法处罚。",
        "性传播疾病主要通过性行为传播，包括梅毒、淋病、尖锐湿疣和生殖器疱疹。患者出现尿道分泌物、外阴溃疡或皮疹时应尽早就诊，医生会询问性生活史，\
         检查阴茎、阴道和肛门，并抽血化验。乳房出现肿块的妇女应当做超声检查。治疗期间避免性交，配偶应同时接受检查。",
        "警方日前捣毁一个跨境网络赌博团伙，抓获犯罪嫌疑人四十余名，查明该团伙以彩票、百家乐等形式招揽赌客下注，涉案金额逾两亿元。警方提醒，网络\
         赌博十赌九输，一切赌博网站都由庄家控制，市民切勿参与，发现线索可拨打电话举报。",
        "警方日前搗毀一個跨境網路賭博集團，查明該集團以彩票、百家樂等形式招攬賭客下注，涉案金額逾兩億元。警方提醒，民眾切勿參與。",
    ] {
        let text = normalise(text);
        let judgement = judged(&text, rules.rules("zh"));
        let spam = judgement.limits.iter().filter(|limit| limit.rule.starts_with("chinese.spam"));
        for limit in spam {
            assert!(!limit.is_broken(), "{limit:?}: {text}");
        }
    }
}

#[test]
fn rulers_and_tables_weigh_little() {
    let ruler =
        judged("表格\n----------------------------------------\n内容", Rules::Unjudged(Unit::Characters)).measures;
    assert_eq!((ruler.n_marks, ruler.han_ratio), (5, 1.0));
}

#[test]
fn evidence_is_written_as_value_and_limit() {
    let config = settings();
    let judgement = judged("one two", config.rules("en"));
    assert_eq!(judgement.limits[0].to_string(), "value 2, limit 20");
    assert_eq!(judgement.limits[0].bound.to_string(), "at least 20");
}

#[test]
fn all_limits_can_be_listed_without_a_document() {
    let config = settings();
    for language in ["en", "zh"] {
        let rules = config.rules(language);
        let names = |limits: &[Limit]| -> Vec<(&str, String)> {
            limits.iter().map(|limit| (limit.rule, limit.bound.to_string())).collect()
        };
        assert_eq!(names(&rules.limits()), names(&judged("竹 a", rules).limits));
    }
}

#[test]
fn c4_keeps_layout_around_the_lines_that_stay() {
    let config = settings();
    let text = "One two three.\n\n  Four five six[1].\nuse cookies here\n\nmore of it\nno\n你好世界。\nend of it";
    let judgement = judged(text, config.rules("en"));
    assert_eq!(judgement.text, "One two three.\n\n  Four five six.\n\nmore of it\n你好世界。\nend of it");
    assert_eq!((judgement.measures.c4.n_lines_out, judgement.measures.c4.n_sentences), (2, 5));
}

#[test]
fn a_rule_of_the_other_script_is_an_error_that_names_its_counterpart() {
    for (before, line, says) in [
        ("chars_min = ", "mean_word_length_min = 3.0", "its counterpart is han_ratio_min"),
        ("chars_min = ", "words_min = 50", "its counterpart is chars_min"),
        ("words_min = ", "stop_chars_min = 2", "its counterpart is stop_words_min"),
        ("[ingest.chinese.quality]", "[ingest.chinese.gopher_quality]", "its counterpart is [ingest.chinese.quality]"),
        ("[ingest.chinese.quality]", "[ingest.chinese.c4]", "its counterpart is [ingest.chinese.lines]"),
        ("[ingest.english.c4]", "[ingest.english.repetition]", "its counterpart is [ingest.english.gopher_repetition]"),
        ("[ingest.english.c4]", "[ingest.english.spam]", "there is no such rule for English"),
    ] {
        assert!(SETTINGS.contains(before), "{before}");
        let text = SETTINGS.replacen(before, &format!("{line}\n{before}"), 1);
        let Err(error) = toml::from_str::<RunFile>(&text) else { panic!("{line} was accepted") };
        let message = error.to_string();
        assert!(message.contains(says) && message.contains("line "), "{line}: {message}");
    }
}

#[test]
fn a_language_is_judged_or_said_not_to_be() {
    let settings = |changes: &[(&str, &str)]| {
        let text = changes.iter().fold(SETTINGS.to_owned(), |text, (from, to)| text.replacen(from, to, 1));
        let raw: RunFile = toml::from_str(&text).unwrap();
        IngestConfig::try_from(raw.ingest)
    };
    let (languages, french) = ("languages = [\"en\", \"zh\"]", "languages = [\"en\", \"zh\", \"fr\"]");
    let with = |line: &str| format!("{french}\nunjudged_languages = {line}");
    let not_judged = |language: &str, section| Err(ConfigError::NotJudged { language: language.into(), section });
    assert_eq!(settings(&[(languages, french)]), not_judged("fr", None));
    let accepted = settings(&[(languages, &with("[\"fr\"]"))]).unwrap();
    assert!(matches!(accepted.rules("fr"), Rules::Unjudged(Unit::Words)));
    let key = "ingest.unjudged_languages";
    let refused = settings(&[(languages, &with("[\"fr\", \"de\"]"))]);
    assert_eq!(refused, Err(ConfigError::NotAccepted { key, language: "de".into() }));
    let refused = settings(&[(languages, &with("[\"fr\", \"en\"]"))]);
    assert_eq!(refused, Err(ConfigError::JudgedAndNot { language: "en".into(), section: "english" }));
    let refused = settings(&[(languages, "languages = [\"zh\"]")]);
    assert_eq!(refused, Err(ConfigError::NotAccepted { key: "ingest.english", language: "en".into() }));
    let without: String =
        SETTINGS.split("\n\n").filter(|part| !part.contains("[ingest.chinese")).collect::<Vec<_>>().join("\n\n");
    let raw: RunFile = toml::from_str(&without).unwrap();
    assert_eq!(IngestConfig::try_from(raw.ingest), not_judged("zh", Some("chinese")));
}

/// Apache HTTP Server's manual (Apache-2.0) and FOLDOC (GFDL), as they look once they are text.
const REAL_ENGLISH: [&str; 2] = [
    "The Apache HTTP Server is configured by placing directives in plain text configuration files. The main configuration \
     file is usually called httpd.conf. The location of this file is set at compile-time, but may be overridden with the \
     -f command line flag. In addition, other configuration files may be added using the Include directive, and wildcards \
     can be used to include many configuration files. Any directive may be placed in any of these configuration files.\n\n\
     Changes to the main configuration files are only recognized by httpd when it is started or restarted.\n\
     httpd configuration files contain one directive per line. The backslash \"\\\" may be used as the last character on a \
     line to indicate that the directive continues onto the next line; there must be no other characters or white space \
     between the backslash and the end of the line.\n\
     Arguments to directives are separated by whitespace. If an argument contains spaces, you must enclose that argument in \
     quotes (e.g., \"a b\"), and it doesn't matter which.",
    "A computer virus is a program that attaches itself to other programs and so spreads. It isn't able to run on its own: \
     a host program has to be started first, e.g. by a user who opens a file that came by e-mail. The term was first used \
     in print by David Gerrold in 1972, and Fred Cohen's 1983 experiments showed how fast one could take over a machine \
     (half an hour on average).\n\n\
     There are three main kinds. Boot sector viruses are run when a disk is read at start-up; file viruses are run with \
     the file that carries them, whether it be a program or a document with macros. The third kind does both.\n\
     What can one do? Keep copies, and don't open what you didn't ask for. That's all!",
];

/// Statutes of the PRC and Three Kingdoms, both in the public domain.
const REAL_CHINESE: [&str; 2] = [
    "第一条 为了保护民事主体的合法权益，调整民事关系，维护社会和经济秩序，适应中国特色社会主义发展要求，弘扬社会主义核心价值观，根据宪法，制定本法。\n\
     第二条 民法调整平等主体的自然人、法人和非法人组织之间的人身关系和财产关系。\n\
     第三条 民事主体的人身权利、财产权利以及其他合法权益受法律保护，任何组织或者个人不得侵犯。\n\
     第四条 民事主体在民事活动中的法律地位一律平等。\n\
     第五条 民事主体从事民事活动，应当遵循自愿原则，按照自己的意思设立、变更、终止民事法律关系。",
    "話說天下大勢，分久必合，合久必分：周末七國分爭，并入於秦；及秦滅之後，楚、漢分爭，又并入於漢；漢朝自高祖斬白蛇而起義，一統天下，後來光武中興，\
     傳至獻帝，遂分為三國。推其致亂之由，殆始於桓、靈二帝。桓帝禁錮善類，崇信宦官。及桓帝崩，靈帝即位，大將軍竇武、太傅陳蕃，共相輔佐。時有宦官曹節\
     等弄權，竇武、陳蕃謀誅之，作事不密，反為所害，中涓自此愈橫。",
];
