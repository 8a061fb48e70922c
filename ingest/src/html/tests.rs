//! Parts of reading a page against slower twins: references by trying every name, weights by summing up every subtree.

use proptest::prelude::*;

use super::entities::push_decoded;
use super::hints::{Hints, TABLE, TABLE_LEN, hides, of_names};
use super::names::Tag;
use super::tree::{DEPTH_MAX, Tree, parse};
use super::weigh::{Weight, weigh, weigh_characters};

/// Tags in any order, with and without their ends, among text.
pub(crate) const SOUP: &str = "(</?(div|p|table|tbody|tr|td|th|ul|ol|li|a href=x|a|b|h1|h2|pre|svg|math|select|title|\
    script|article|main|nav|aside class=ad|section|br|dl|dt|dd|ruby|rt|x-y|body|html|p hidden|ol start=7)/?>|<!--|-->|\
    <|>|&amp;|&#20013;|&nope;|[a-z ,.]{1,12}|竹子。|\n){0,60}";

/// Every end is inside of the end of the parent, and runs of characters are in order.
fn check_tree(tree: &Tree<'_>) {
    let mut text_end = 0;
    for (at, node) in tree.nodes.iter().enumerate() {
        let parent = &tree.nodes[node.parent as usize];
        assert!(at == 0 || (node.parent as usize) < at, "a parent comes first");
        assert!(at < node.end as usize && node.end <= parent.end, "ends are nested");
        if node.tag == Tag::Text && !node.hints.has(Hints::TEX) {
            assert!(node.start >= text_end && node.len > 0, "characters are in order");
            text_end = node.start + node.len;
            assert!(tree.html.is_char_boundary(node.start as usize) && tree.html.is_char_boundary(text_end as usize));
        }
    }
    assert!(tree.nodes.len() <= tree.html.len() + 1, "no more nodes than bytes");
}

fn depth_of(tree: &Tree<'_>, node: usize) -> usize {
    let (mut at, mut depth) = (node, 0);
    while at != 0 {
        at = tree.nodes[at].parent as usize;
        depth += 1;
    }
    depth
}

/// What a reference stands for, by trying every name.
fn decoded_slowly(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let names = entities::ENTITIES.iter().filter(|entry| rest.starts_with(entry.entity));
        if let Some(longest) = names.max_by_key(|entry| entry.entity.len()) {
            out.push_str(longest.characters);
            rest = &rest[longest.entity.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_soup_makes_a_tree(html in SOUP) {
        check_tree(&parse(&html));
    }

    #[test]
    fn any_text_makes_a_tree(html in any::<String>()) {
        check_tree(&parse(&html));
    }

    #[test]
    fn weights_are_sums(html in SOUP) {
        let tree = parse(&html);
        let characters = weigh_characters(&tree);
        let weights = weigh(&tree, &characters, &vec![false; tree.nodes.len()]);
        for (at, node) in tree.nodes.iter().enumerate() {
            let below = &characters[at..node.end as usize];
            let sum = |of: fn(&Weight) -> u32| below.iter().map(of).sum::<u32>();
            prop_assert_eq!(weights[at].text, sum(|weight| weight.text));
            prop_assert_eq!(weights[at].link, sum(|weight| weight.link));
            prop_assert_eq!(weights[at].marks, sum(|weight| weight.marks));
            prop_assert!(weights[at].prose <= weights[at].text);
        }
    }

    #[test]
    fn references_are_the_longest_names(
        text in "(&(amp|lt|notin|not|no|copy|copysr|nbsp|hellip|Aacute|ThickSpace|zzz)[;]?|[a-z;]{0,3}|。){0,8}",
    ) {
        let mut decoded = String::new();
        push_decoded(&mut decoded, &text);
        prop_assert_eq!(decoded, decoded_slowly(&text));
    }
}

#[test]
fn every_name_is_known() {
    for entry in &entities::ENTITIES {
        let mut decoded = String::new();
        push_decoded(&mut decoded, &format!("x{}-", entry.entity));
        assert_eq!(decoded, format!("x{}-", entry.characters), "{}", entry.entity);
    }
}

#[test]
fn numbers_are_characters() {
    for (reference, character) in [
        ("&#20013;", "中"),
        ("&#x4E2D;", "中"),
        ("&#X4e2d ", "中 "),
        ("&#150;", "–"),
        ("&#0;", "\u{FFFD}"),
        ("&#xD800;", "\u{FFFD}"),
        ("&#99999999999;", "\u{FFFD}"),
        ("&#;", "&#;"),
        ("&#x;", "&#x;"),
        ("&", "&"),
        ("&;", "&;"),
    ] {
        let mut decoded = String::new();
        push_decoded(&mut decoded, reference);
        assert_eq!(decoded, character, "{reference}");
    }
}

#[test]
fn elements_end_as_in_browsers() {
    let depth = |html: &str, word: &str| {
        let tree = parse(html);
        let at = tree.nodes.iter().position(|node| tree.source(node).contains(word)).expect("the word is in the page");
        depth_of(&tree, at)
    };
    assert_eq!(depth("<p>a<p>b", "b"), 2, "a paragraph ends a paragraph");
    assert_eq!(depth("<ul><li>a<li>b", "b"), 3, "an item ends an item");
    assert_eq!(depth("<ul><li>a<ul><li>b", "b"), 5, "but not the one around its list");
    assert_eq!(depth("<table><tr><td>a<td>b<tr><td>c", "c"), 4);
    assert_eq!(depth("<table><tr><td><div>a<td>b", "b"), 4, "a cell ends whatever is open in a cell");
    assert_eq!(depth("<div><table><tr><td></div>a", "a"), 5, "an end tag in a cell ends nothing outside");
    assert_eq!(depth("<h1>a<h2>b", "b"), 2);
    assert_eq!(depth("<b><div>a</b>b</div>c", "c"), 2, "formatting outlives a block");
    assert_eq!(depth("<dl><dt>a<dd>b", "b"), 3);
    assert_eq!(depth("<select><option>a</select>b", "b"), 1);
    assert_eq!(depth(&"<i>".repeat(5000).replace("<i>", "<i>x"), "x"), 2);
    let deep = parse(&format!("{}word", "<div>".repeat(5000))).nodes.len();
    assert_eq!(deep, DEPTH_MAX + 1, "what is deeper is flat");
}

#[test]
fn a_link_ends_where_it_says() {
    let linked = |html: &str| {
        let tree = parse(html);
        let texts = tree.nodes.iter().filter(|node| node.tag == Tag::Text);
        texts.filter(|node| node.is_linked).map(|node| tree.source(node)).collect::<String>()
    };
    assert_eq!(linked("<a href=x>a</a>b"), "a");
    assert_eq!(linked("<a name=x>a</a>b"), "", "an anchor is no link");
    assert_eq!(linked("<a href=x><div>a</a>b</div>c"), "a", "a block in it does not keep it open");
    assert_eq!(linked("<p><a href=x>a<p>b"), "a");
}

#[test]
fn names_are_cut_into_words() {
    assert!(of_names("post-sidebar").has(Hints::CLUTTER));
    assert!(of_names("leftSidebar entryContent").has(Hints::BODY));
    assert!(of_names("TRS_Editor").has(Hints::BODY));
    assert!(!of_names("has-sidebar no-comments tag-social category-reviews").has(Hints::CLUTTER));
    assert!(!of_names("shadow headline adapted").has(Hints::CLUTTER));
    assert_eq!(of_names("  "), Hints::default());
    assert_eq!(of_names("竹子 -- __"), Hints::default());
    assert_eq!(of_names(&"a".repeat(100)), Hints::default());
    assert!(TABLE.iter().filter(|(word, _)| *word != 0).count() * 2 < TABLE_LEN, "the table has room");
}

#[test]
fn styles_hide() {
    assert!(hides("color: red; DISPLAY : none"));
    assert!(hides("display:none!important"));
    assert!(!hides("display: block; background: none"));
}
