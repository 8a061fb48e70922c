//! Web pages: the article without its surroundings, and pages made to break a parser.

use proptest::prelude::*;

use crate::{extract_main_text, extract_page};

const PAGE: &str = r##"<!DOCTYPE html><html lang="en"><head><title>Bamboo - The Garden Site</title>
<style>p { color: green }</style><script>alert("</p>")</script></head><body>
<nav><a href="/">Home</a> <a href="/shop">Shop</a></nav>
<div id="sidebar" class="sidebar"><ul><li><a href="/1">Roses</a></li><li><a href="/2">Tulips</a></li></ul></div>
<div class="article"><h1>Bamboo</h1>
<p>Moso bamboo grows slowly for years, and then several metres in a few weeks, which is what it is famous for.</p>
<p>Its roots spread first. Only when they are strong enough do the culms rise, all of them in the same spring, and they
reach their full height before the summer, after which they never grow any taller.</p>
<dl><dt>culm</dt><dd>the stem of the plant, hollow between its nodes, as in all large grasses</dd></dl>
<pre>
year 1:  roots
year 5:  culms
</pre>
<p>People have used it for scaffolding, paper, food and music for some thousands of years, in China above all.</p></div>
<div class="footer">Copyright, all rights reserved, <a href="/imprint">imprint</a></div></body></html>"##;

#[test]
fn the_article_is_found() {
    let text = extract_main_text(PAGE).unwrap();
    assert!(text.starts_with("Bamboo\n\nMoso bamboo grows"), "{text}");
    assert!(text.contains("famous for.\n\nIts roots"), "{text}");
    assert!(text.contains("culm\nthe stem"), "{text}");
    assert!(text.contains("year 1:  roots\nyear 5:  culms"), "{text}");
    for left_out in ["Home", "Tulips", "alert", "color", "imprint"] {
        assert!(!text.contains(left_out), "{left_out} is in {text}");
    }
}

#[test]
fn a_page_without_an_article_gives_its_body() {
    let text = extract_main_text("<title>T</title><body>one<br>two<table><tr><td>a<td>b</table>").unwrap();
    assert_eq!(text, "T\n\none\ntwo\n\na | b");
    assert_eq!(extract_main_text("").unwrap(), "");
}

#[test]
fn neither_depth_nor_breadth_costs_more_than_the_page() {
    let nested = |open: &str, close: &str, n: usize| format!("{}word{}", open.repeat(n), close.repeat(n));
    for deep in [
        nested("<div>", "</div>", 100_000),
        nested("<b>", "", 2000),
        nested("<div></x>", "", 2000),
        nested("<table><tr><td>", "</td></tr></table>", 1000),
        nested("<font size=1><p>", "</p>", 2000),
    ] {
        assert_eq!(extract_main_text(&deep).as_deref(), Ok("word"), "{}", &deep[..20]);
    }
    for flat in [
        nested("<p>", "", 3000),
        "<li>item ".repeat(3000),
        "<div>a</div>".repeat(3000),
        "<br/><img alt='<div>'>".repeat(100),
        format!("<svg>{}</svg>text", "<path/>".repeat(3000)),
        format!("<script>{}</script>text", "<div>".repeat(3000)),
        format!("<!--{}-->text", "<div>".repeat(3000)),
    ] {
        assert!(extract_main_text(&flat).is_ok(), "{}", &flat[..20]);
    }
}

#[test]
fn the_allowed_depth_fits_a_small_stack() {
    let deep = format!("{}<p>{}</p>{}", "<div>".repeat(500), "Words of a text. ".repeat(50), "</div>".repeat(500));
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(move || extract_main_text(&deep)).unwrap();
    assert!(thread.join().unwrap().unwrap().contains("Words of a text."));
}

/// A page, and what is to be read of it.
const SHAPES: [(&str, &str); 24] = [
    ("<h1>Bamboo</h1><p>one<p>two", "Bamboo\n\none\n\ntwo"),
    ("<title>Bamboo - Garden</title><h1>Bamboo</h1><p>one", "Bamboo\n\none"),
    ("<title>Bamboo</title><p>one", "Bamboo\n\none"),
    ("<p>one\n  two&nbsp; three<br>four", "one two three\nfour"),
    ("<p>竹子先长根，\n  后长高。", "竹子先长根，后长高。"),
    ("<p>竹子 bamboo\n竹子", "竹子 bamboo 竹子"),
    ("<p>　　竹子先长根。　<p>　后长高。", "竹子先长根。\n\n后长高。"),
    ("<ul><li>one<li>two<ul><li>three</ul><li>four</ul>end", "- one\n- two\n  - three\n- four\n\nend"),
    ("<ol start=3><li>three<li>four</ol>", "3. three\n4. four"),
    ("<ul><li><p>one</p><p>two</p><li></li><li>three</ul>", "- one\n  two\n- three"),
    ("<table><tr><th>a<th>b<tr><td>1<td>2<tr><td><td>4</table>", "a | b\n1 | 2\n| 4"),
    ("<table><caption>T</caption><tr><td>a<br>b<td><p>c</p><p>d</p></table>", "T\na b | c d"),
    ("<table><tr><td>menu<td><table><tr><td>a<td>b</table></table>", "menu\n\na | b"),
    ("<pre>\n  a\n\n    b &lt; c\n</pre>end", "  a\n\n    b < c\n\nend"),
    ("<pre><code>a<span>b</span><br>c</code></pre>", "ab\nc"),
    ("<p>a<b>b</b> c <i>d</i>, e", "ab c d, e"),
    ("<dl><dt>culm<dd>the stem</dl>", "culm\nthe stem"),
    ("<p>don&apos;t &amp;amp; caf&eacute;&hellip; &#x4e2d", "don't &amp; café… 中"),
    ("<p><ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>字", "漢字"),
    (
        "<p>so <math><mi>x</mi><annotation encoding='application/x-tex'>{\\displaystyle x^2}</annotation></math> it is",
        "so $x^2$ it is",
    ),
    ("<p>so <math><mi>x</mi><mo>+</mo><mn>1</mn></math> it is", "so x+1 it is"),
    ("<p>a<span hidden>b</span><span aria-hidden=true>c</span><span style='display: none'>d</span>e<img alt=f>", "ae"),
    ("a<script>b</script><style>c</style><noscript>d</noscript><template>e</template><svg><text>f</text></svg>g", "ag"),
    ("<p>a<!-- <p>b --><![CDATA[c]]><?php d ?>e < f <3 </3>g", "ae < f <3 g"),
];

#[test]
fn shapes_are_kept() {
    for (html, text) in SHAPES {
        assert_eq!(extract_main_text(html).as_deref(), Ok(text), "{html}");
    }
}

/// The same page as other programs would write it.
fn rewritten(html: &str) -> String {
    html.replace("<p>", "<P\n class = 'x'  id=y >")
        .replace("<div class=\"article\">", "<DIV\n\tID=\"z\" CLASS=article >")
        .replace("<div id=\"sidebar\" class=\"sidebar\">", "<div class='sidebar' data-x='>' id='sidebar'/>")
        .replace("</p>", "</p\n>")
        .replace("<a href=\"/\">", "<a title='\"' href=/ >")
        .replace("</li>", "")
}

#[test]
fn the_way_of_writing_tags_does_not_matter() {
    assert_ne!(rewritten(PAGE), PAGE);
    assert_eq!(extract_main_text(&rewritten(PAGE)), extract_main_text(PAGE));
}

/// Two megabytes each; what costs the square of a page's length would never end.
#[test]
fn pages_made_to_be_slow_are_not() {
    const N: usize = 2_000_000;
    let repeated = |unit: &str| unit.repeat(N / unit.len());
    let heading = format!("<title>{}</title>", "x ".repeat(N / 4));
    for page in [
        format!("{}word{}", repeated("<div>"), repeated("</div>")),
        repeated("<!--"),
        repeated("<!-- -"),
        repeated("<svg>"),
        repeated("<svg><!--"),
        repeated("<script>"),
        repeated("<title>"),
        repeated("<textarea>"),
        repeated("</p>"),
        repeated("<a href=x>b"),
        repeated("<span>b"),
        repeated("<a b="),
        repeated("<a b='"),
        repeated("&"),
        repeated("&notinva"),
        repeated("<table><tr><td>"),
        repeated("<td>"),
        repeated("<li>x"),
        repeated("<ul><li>x"),
        repeated("<h1>x</h1>"),
        repeated("<h1><div>x"),
        format!("{heading}{}", repeated("<h1>x x y</h1>")),
        repeated("<p>Words of a text, which go on.<aside>"),
        repeated("<x-y><z-w>"),
        repeated("<"),
        repeated("</"),
        repeated("<math><mi>x"),
        repeated("\u{3000}"),
        repeated("<article class='comment sidebar'><p>Words of a text, which go on and on."),
    ] {
        let text = extract_main_text(&page).unwrap();
        assert!(text.len() <= 6 * page.len(), "the text is as long as {} pages", text.len() / page.len());
    }
}

/// Pages of the demo's corpus: manuals with menus on all four sides, in English and in Chinese.
#[test]
fn manuals_are_read_without_their_menus() {
    for (page, expected) in [
        ("vhosts-index.zh-cn", include_str!("html/vhosts-index.zh-cn.txt")),
        ("handler.en", include_str!("html/handler.en.txt")),
    ] {
        let path = format!("{}/../demo-corpus/html/{page}.html", env!("CARGO_MANIFEST_DIR"));
        let html = std::fs::read_to_string(path).unwrap();
        assert_eq!(extract_main_text(&html).unwrap(), expected.trim_end_matches('\n'), "{page}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Words are in the order of the page, with nothing added but the marks of items, cells and formulas.
    #[test]
    fn text_comes_from_the_page(html in crate::html::SOUP) {
        let page = extract_page(&html).unwrap();
        let characters = |text: &str| text.chars().filter(|char| char.is_alphabetic()).collect::<Vec<_>>();
        let source = characters(&html.replace("&amp;", "").replace("&#20013;", "中"));
        let mut rest = source.iter();
        for char in characters(&page.text) {
            prop_assert!(rest.any(|next| *next == char), "{char} of {:?} is not there in {html:?}", page.text);
        }
    }
}

/// Tags with attributes, broken ones too.
const TAGS: &str = "(<(/?(div|p|table|td|tr|script|pre|b|svg|title|ul|li|a|h1|body)( [a-z]=.)?/?>)?|[a-z ]{1,9}|<!--|\
    -->|&amp;){0,40}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tags_are_read(html in TAGS) {
        let _ = extract_main_text(&html);
    }
}
