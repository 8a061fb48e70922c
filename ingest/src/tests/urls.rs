//! Addresses: all spellings of one page have one key, different pages have different ones, lists block what they say.

use proptest::prelude::*;

use crate::urls::{BlockedUrls, BlockedUrlsError, normalise_url, url_key};

#[test]
fn spellings_of_a_page_agree() {
    for (form, spellings) in [
        (
            "example.com/a/b",
            &[
                "http://www.Example.com/a/b/",
                "https://example.com:443/a/b#top",
                "HTTP://EXAMPLE.COM.:80/a/./x/../b",
                "//example.com/a/b?",
                "example.com/a/b?utm_source=x&fbclid=1&UTM_medium=y",
                "http://user:pw@example.com/%61/b",
                " http://example.com/a/b;jsessionid=0A1B ",
            ][..],
        ),
        ("example.com", &["http://example.com", "http://www.example.com/", "https://example.com/?#", "example.com//"]),
        ("example.com/?a=1&b=2", &[]),
        ("example.com/p?a=1&b=2", &["http://example.com/p?b=2&a=1&gclid=7", "http://example.com/p/?a=1&&b=2"]),
        ("zh.example.org/%E4%BD%A0%20x", &["http://zh.example.org/你%20x", "http://zh.example.org/%e4%bd%a0 x"]),
        ("例子.中国/a", &["http://例子.中国/a", "http://www.例子.中国/a"]),
        ("example.com/#!page=1", &[]),
        ("example.com#!page=1", &["http://example.com/#!page=1"]),
        ("example.com:8080/a", &["http://example.com:8080/a"]),
        ("www.com/a", &["http://www.com/a"]),
        ("203.0.113.7/x", &["http://203.0.113.7/x"]),
        ("[2001:db8::1]/x", &["http://[2001:DB8::1]/x"]),
        ("example.com/?to=http://a.b", &[]),
        ("example.com?to=http://a.b", &["example.com/?to=http://a.b", "http://example.com?to=http://a.b"]),
    ] {
        for spelling in spellings {
            assert_eq!(normalise_url(spelling).as_deref(), Some(form), "{spelling}");
            assert_eq!(url_key(spelling), url_key(form));
        }
    }
}

#[test]
fn other_pages_and_other_things_differ() {
    let pages = [
        "example.com/a",
        "example.com/A",
        "example.com/a/b",
        "example.com/a?b",
        "example.com/a?b=1",
        "example.com/a%2Fb",
        "sub.example.com/a",
        "example.com/a;v=1",
        "example.com/a//b",
        "example.org/a",
        "example.com:81/a",
        "example.com/%",
    ];
    let keys: std::collections::BTreeSet<u128> = pages.iter().map(|page| url_key(page).unwrap()).collect();
    assert_eq!(keys.len(), pages.len());
    for other in [
        "",
        "page one",
        "mailto:a@b.org",
        "ftp://example.com/a",
        "file:///etc/passwd",
        "http://",
        "localhost/a",
        "a..b/c",
    ] {
        assert_eq!(url_key(other), None, "{other}");
    }
}

#[test]
fn lists_block_domains_with_all_below_and_addresses_with_all_behind() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("adult/domains", "bad.example\n# comment\n\n*.worse.example.org\nnonsense line\n"),
        ("adult/urls.gz", ""),
        ("misc/urls", "blog.example.net/~spam\nhttp://www.shop.example/casino/\n"),
        ("misc/expressions", "example\\.com"),
    ] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, b"gz.example/path?x=1\n\xFF\xFE.example/a\n").unwrap();
        std::fs::write(&path, if name.ends_with("gz") { gzip.finish().unwrap() } else { text.as_bytes().to_vec() })
            .unwrap();
    }
    let blocked = BlockedUrls::read(folder.path()).unwrap();
    assert_eq!((blocked.len(), blocked.n_unreadable()), (5, 2));
    for (url, entry) in [
        ("https://www.bad.example/any?x", Some("bad.example")),
        ("http://a.b.bad.example", Some("bad.example")),
        ("http://worse.example.org/x", Some("worse.example.org")),
        ("http://blog.example.net/~spam/2020/page", Some("blog.example.net/~spam")),
        ("http://blog.example.net/~spam?p=1", Some("blog.example.net/~spam")),
        ("http://shop.example/casino", Some("shop.example/casino")),
        ("http://gz.example/path?x=1&utm_id=2", Some("gz.example/path?x=1")),
        ("http://notbad.example/", None),
        ("http://example.org/", None),
        ("http://blog.example.net/~spammer", None),
        ("http://example.com/bad.example", None),
        ("no address", None),
    ] {
        assert_eq!(blocked.find(url).as_deref(), entry, "{url}");
    }
}

#[test]
fn lists_that_block_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("list.txt"), "# nothing\n").unwrap();
    assert!(matches!(BlockedUrls::read(&folder.path().join("list.txt")), Err(BlockedUrlsError::Empty { .. })));
    assert!(matches!(BlockedUrls::read(folder.path()), Err(BlockedUrlsError::Empty { .. })));
    assert!(matches!(BlockedUrls::read(&folder.path().join("missing")), Err(BlockedUrlsError::Io { .. })));
}

proptest! {
    #[test]
    fn the_form_is_a_fixed_point(path in "(/|\\.|\\.\\.|%[0-9a-fA-F]{2}|[a-z?&=#;!你 ~-]|utm_a=1|%75tm_b=3|;?jsessionid=2){0,16}") {
        let once = normalise_url(&format!("http://www.example.com/{path}")).unwrap();
        prop_assert_eq!(normalise_url(&once), Some(once.clone()));
        prop_assert!(once.is_ascii());
    }

    #[test]
    fn any_text_is_looked_at(text in any::<String>()) {
        if let Some(form) = normalise_url(&text) {
            prop_assert_eq!(url_key(&form), url_key(&text));
        }
    }
}
