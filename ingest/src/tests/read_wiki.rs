//! MediaWiki dumps and Markdown: what is article, and what of its markup is text.

use proptest::prelude::*;

use crate::fuzz::read;
use crate::read::{clean_markdown, wikitext_to_text};

const DUMP: &str = include_str!("../../testdata/dump.xml");

fn wiki(markup: &str) -> String {
    wikitext_to_text(markup, &["archivo".to_owned()])
}

#[test]
fn articles_come_out_of_a_dump() {
    let found = read("mediawiki", "dump.xml", DUMP.as_bytes());
    let expected = [
        (
            "dump.xml:1",
            Ok("Bamboo & grass\n\nBamboo is a grass. Over 1,400 species are known.\n\nUses\n\n- paper\n- music"),
        ),
        ("dump.xml:4", Err("is not XML: an entity that it does not define")),
        ("dump.xml:5", Ok("毛竹\n\n毛竹是计算机以外的植物。")),
    ];
    let expected: Vec<(String, Result<String, String>)> =
        expected.map(|(locator, text)| (locator.to_owned(), text.map(str::to_owned).map_err(str::to_owned))).into();
    assert_eq!(found, expected);
}

#[test]
fn a_dump_cut_anywhere_gives_the_pages_before_the_cut() {
    let whole = read("mediawiki", "dump", DUMP.as_bytes());
    let is_boundary = |index: &usize| DUMP.is_char_boundary(*index);
    for length in (1..DUMP.len() - 1).filter(is_boundary).step_by(7) {
        let found = read("mediawiki", "dump", &DUMP.as_bytes()[..length]);
        let n_same = found.iter().zip(&whole).take_while(|(left, right)| left == right).count();
        let rest = &found[n_same..];
        let is_fault = |what: &String| what.contains("cut off") || what.contains("no page of");
        assert!(rest.len() == 1 && rest[0].1.as_ref().is_err_and(is_fault), "{length}: {rest:?}");
    }
    let [(locator, Err(what))] = &read("mediawiki", "d", b"<html>no dump</html>")[..] else { panic!() };
    assert_eq!((&locator[..], &what[..]), ("d:1", "is no page of a MediaWiki dump in UTF-8"));
}

#[test]
fn links_and_emphasis_leave_their_words() {
    for (markup, text) in [
        ("'''Bold''', ''italic'' and '''''both'''''; the dog's", "Bold, italic and both; the dog's"),
        ("a [[bamboo]] and [[grass|grasses]] and [[:Category:Grass|the list]]", "a bamboo and grasses and the list"),
        ("[[File:A.jpg|thumb|A [[link]] in a caption]]Text[[Category:Grass]][[de:Bambus]]", "Text"),
        ("[[Archivo:A.jpg|thumb]][[文件:A.jpg]]Text", "Text"),
        ("see [https://example.org the site] or [https://example.org]", "see the site or"),
        ("open [[link\nnext line", "open [[link\nnext line"),
        ("open {{template and {more", "open {{template and {more"),
        ("5 < 6 & 7 > 3 &ndash; &#39;x&#x4E00; &nosuch;", "5 < 6 & 7 > 3 – 'x一 &nosuch;"),
        ("__NOTOC__one<!-- two -->three<br/>four", "onethree\nfour"),
        ("<nowiki>[[not a link]] &amp; '''so'''</nowiki>", "[[not a link]] & '''so'''"),
        ("<math>x^2 < y</math> holds", "$x^2 < y$ holds"),
        ("fact<ref>Book, {{p|3}}</ref> and<ref name=\"a>b\" /> more<ref name=x>y</ref>.", "fact and more."),
        ("an unclosed <ref> swallows nothing", "an unclosed swallows nothing"),
    ] {
        assert_eq!(wiki(markup), text, "{markup}");
    }
}

#[test]
fn templates_are_dropped_unless_their_words_are_in_a_sentence() {
    for (markup, text) in [
        ("{{Infobox\n| name = x\n| {{nested|[[a|b]]}}\n}}\n'''X''' is", "X is"),
        (
            "X ({{IPAc-en|x}}, so called) and {{x}}, then {{chem|CO|2}} at {{frac|1|2}}",
            "X (so called) and, then CO2 at 1/2",
        ),
        ("X ({{lang-la|Phyllostachys}}; {{IPA|x}}) is {{convert|5|m|ft}} high", "X (Phyllostachys; x) is 5 m high"),
        ("他（{{bd|1912年|6月|1954年|7月}}）", "他（（1912年6月－1954年7月））"),
        ("{{lang|zh|竹}} {{nowrap|a b}} {{unknown|a b}}c", "竹 a b c"),
        ("{{quote|text=Said so.|by=X}}", "Said so."),
        ("{{{parameter|default}}}", "default"),
        (
            "使用-{zh-hans:计算机; zh-hant:電腦;}-工作-{H|zh-cn:甲;zh-tw:乙}-，-{R|原文}-，-{只有}-",
            "使用计算机工作，原文，只有",
        ),
        ("a -{b", "a -{b"),
    ] {
        assert_eq!(wiki(markup), text, "{markup}");
    }
}

#[test]
fn blocks_stay_readable() {
    let markup = "Lead.\n== Uses ==\n* paper\n** fine\n# one\n:indented\n;term\n----\n=== Empty ===\n{{x}}\n== Code ==\n\
        <syntaxhighlight lang=\"c\">\nint  a;\n\nint b;\n</syntaxhighlight>\nEnd.\n== See also ==\n=== Deeper ===\n";
    let text = "Lead.\n\nUses\n\n- paper\n- fine\n- one\nindented\nterm\n\nCode\n\nint  a;\n\nint b;\n\nEnd.";
    assert_eq!(wiki(markup), text);
    let table = "Before\n{| class=\"x\"\n|+ Caption\n! Name !! style=\"y\" | Height\n|-\n| [[moso|Moso]] || 28 m\n|- style=\"z\"\n\
        | align=right | {{nowrap|Black}}\n| 10 m\n|-\n|}\nAfter";
    assert_eq!(wiki(table), "Before\n\nCaption\nName\tHeight\nMoso\t28 m\nBlack\t10 m\n\nAfter");
    assert_eq!(wiki("{{Infobox\n|a=b\n|}}Text"), "Text");
}

#[test]
fn markdown_is_kept_without_what_is_no_text() {
    let markdown = "---\ntitle: Bamboo\ntags:\n  - grass\n---\n# Bamboo\n\nA [link][1] and `<!-- code -->`.<!-- gone -->\n\
        <!--\ngone\n-->\n```html\n<!-- kept -->\n[1]: kept\n```\n[1]: https://example.org \"title\"\n[2]: <x>\n    \"title\"\n\
        [^1]: A footnote.\n- [ ] task: open\n";
    let text = "# Bamboo\n\nA [link][1] and `<!-- code -->`.\n```html\n<!-- kept -->\n[1]: kept\n```\n[^1]: A footnote.\n\
        - [ ] task: open\n";
    assert_eq!(clean_markdown(markdown), text);
    for kept in [
        "---\nA text below a rule.\n---\nAnother.\n",
        "---\n",
        "",
        "[x]: \n",
        "~~~\n<!-- never closed\n",
        "a ` b `` c\n",
    ] {
        assert_eq!(clean_markdown(kept), kept);
    }
    assert_eq!(clean_markdown("+++\na = 1\n+++\ntext\n"), "text\n");
    assert_eq!(clean_markdown("one <!-- two\nthree --> four\n"), "one \n four\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn plain_text_has_no_markup(text in "[a-z。，竹 ]{1,20}(\n[a-z。，竹 ]{1,20}){0,3}") {
        let expected: Vec<&str> = text.split('\n').collect();
        let same_words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(same_words(&wiki(&text)), same_words(&expected.join("\n")));
        prop_assert_eq!(clean_markdown(&text), text);
    }

    #[test]
    fn any_markup_ends(markup in "(\\{\\{|\\}\\}|\\[\\[|\\]\\]|\\{\\||\\|\\}|\\|-|\\||\n|!|-\\{|\\}-|<ref>|</ref>|<nowiki>|<b x|==|\\*|''|&lt;|<!--|-->|:|a|竹|（|）| |\\{|\\}|\\[http://x|\\]|;){0,60}") {
        wiki(&markup);
    }

    #[test]
    fn any_markdown_ends_and_does_not_grow(markdown in "(---\n|\\+\\+\\+|```|~~~|\n|<!--|-->|`|\\[a\\]: b|\"t\"|a: b|竹| |>){0,60}") {
        prop_assert!(clean_markdown(&markdown).len() <= markdown.len() + 1);
    }
}

#[test]
fn nesting_costs_no_stack_and_little_time() {
    for unit in [
        "{{",
        "[[",
        "{|\n|",
        "-{",
        "{{{",
        "<ref>",
        "[http://x ",
        "{{a|",
        "[[a|",
        "'''",
        "<div>",
        "<!--",
        "== a ==\n",
        "&",
        "__A",
    ] {
        let text = unit.repeat(200_000 / unit.len());
        assert!(wiki(&text).len() <= 2 * text.len(), "{unit}");
    }
    clean_markdown(&"` `` ``` ".repeat(20_000));
    clean_markdown(&"<!-- ".repeat(40_000));
}

/// What is dropped at the end of a text may not take the place of a bar with it.
#[test]
fn a_bar_stays_inside_its_text() {
    let dump = include_bytes!("../../../fuzz/seeds/mediawiki/bar-behind-the-end");
    assert!(!read("mediawiki", "dump", dump).is_empty());
    for markup in ["{{a |; \n\n{{b}}}}", "[[a |; \n----\n|c]]", "{{lang| |; |\n== | (; )"] {
        wikitext_to_text(markup, &[]);
    }
}
