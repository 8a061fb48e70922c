//! Web pages: the article without its surroundings, and pages made to break a parser.

use proptest::prelude::*;

use crate::{HtmlError, extract_main_text};

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
    assert_eq!(text, "T\n\none\ntwo\n\na\tb");
    assert_eq!(extract_main_text("").unwrap(), "");
}

#[test]
fn depth_is_refused_and_breadth_is_not() {
    let nested = |open: &str, close: &str, n: usize| format!("{}word{}", open.repeat(n), close.repeat(n));
    for deep in [
        nested("<div>", "</div>", 100_000),
        nested("<b>", "", 2000),
        nested("<div></x>", "", 2000),
        nested("<table><tr><td>", "</td></tr></table>", 1000),
        nested("<font size=1><p>", "</p>", 2000),
    ] {
        assert_eq!(extract_main_text(&deep), Err(HtmlError::Depth), "{}", &deep[..20]);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tags_are_text_or_an_error(html in "(<(/?(div|p|table|td|tr|script|pre|b|svg|title|ul|li|a|h1|body)( [a-z]=.)?/?>)?|[a-z ]{1,9}|<!--|-->|&amp;){0,40}") {
        let _ = extract_main_text(&html);
    }
}
