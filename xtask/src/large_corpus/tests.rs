//! Manual pages as text, and files that come out the same every time.

use std::io::Read as _;

use flate2::bufread::MultiGzDecoder;

use super::english::dictionary_entries;
use super::manpage::text_of_manual_page;
use super::write::{Language, Records, WebArchive};
use super::{Scratch, language_of_page};

fn scratch(name: &str) -> Scratch {
    let name = format!("moso-large-corpus-{name}-{}", std::process::id());
    Scratch::create(std::env::temp_dir().join(name)).unwrap()
}

#[test]
fn a_manual_page_loses_its_typesetting_and_keeps_its_text() {
    let page = r#".\" A remark.
.de Vb
.ft CW
..
.TH LS 1 2022年9月 "GNU coreutils 9.1"
.SH 名称
ls \- 列出目录内容
.SH 概述
\fBls\fP [\fI\,选项\/\fP]...
.PP
列出指定“文件”
（默认为当前目录）的信息。\" another remark
Use
.BR date (1)
and \s-1POSIX\s0 \(em or \*(lqnot\*(rq.
.TP
\fB\-a\fP, \fB\-\-all\fP
不要忽略
.nf
  first  line
second line
.fi
"#;
    let expected = "\
LS 1 2022年9月 GNU coreutils 9.1

名称

ls - 列出目录内容

概述

ls [选项]...

列出指定“文件”（默认为当前目录）的信息。 Use date(1) and POSIX — or \"not\".

-a, --all 不要忽略

  first  line
second line
";
    assert_eq!(text_of_manual_page(page), expected);
}

#[test]
fn a_manual_page_of_loose_ends_does_not_panic() {
    for end in ["\\", "\\f", "\\f(", "\\f(B", "\\[", "\\*", "\\h", "\\h'", "\\s", "\\s-", "\\s(1", ".B \"", ".de", "."]
    {
        for before in ["", "中", ".SH ", "\\"] {
            text_of_manual_page(&format!("{before}{end}"));
        }
    }
}

#[test]
fn an_entry_of_a_dictionary_begins_at_the_margin_behind_an_empty_line() {
    let book = b"\n\npercent\n%\n\n   The sign.\n\n   More.\n\nper cent\n   See percent.\n\n";
    let entries = dictionary_entries(book);
    assert_eq!(entries, [&b"percent\n%\n\n   The sign.\n\n   More."[..], b"per cent\n   See percent."]);
}

#[test]
fn a_web_archive_is_gzip_members_of_records_as_long_as_they_say() {
    let scratch = scratch("warc");
    let path = scratch.path.join("pages.warc.gz");
    let mut archive = WebArchive::create(&path).unwrap();
    let page = "<p>中文</p>".as_bytes();
    archive.write_page("https://example.org/a/b.html", "text/html", page, (Language::SimplifiedChinese, 6)).unwrap();
    assert_eq!(archive.finish().unwrap().n_documents, 1);
    let bytes = std::fs::read(&path).unwrap();
    let mut kinds = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let mut member = flate2::bufread::GzDecoder::new(rest);
        let mut record = Vec::new();
        member.read_to_end(&mut record).unwrap();
        rest = member.into_inner();
        let head_end = record.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let head = std::str::from_utf8(&record[..head_end]).unwrap();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_string();
        let n_bytes: usize = field("Content-Length:").parse().unwrap();
        assert_eq!(record.len(), head_end + n_bytes + 4, "{head}");
        kinds.push(field("WARC-Type:"));
    }
    assert_eq!(kinds, ["warcinfo", "request", "response"]);
    let mut whole = Vec::new();
    MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut whole).unwrap();
    assert!(whole.ends_with(&[b"Content-Length: 13\r\n\r\n", page, b"\r\n\r\n"].concat()));
}

#[test]
fn a_document_may_not_contain_the_separator_of_its_file() {
    let scratch = scratch("separator");
    let mut records = Records::text(&scratch.path.join("texts.txt"), "\n%\n").unwrap();
    records.write_text(Language::English, b"one").unwrap();
    records.write_text(Language::English, b"two").unwrap();
    assert!(records.write_text(Language::English, b"three\n%\nfour").is_err());
    records.finish().unwrap();
    assert_eq!(std::fs::read(scratch.path.join("texts.txt")).unwrap(), b"one\n%\ntwo");
}

#[test]
fn an_untranslated_page_is_in_english() {
    let declared = Language::SimplifiedChinese;
    assert_eq!(language_of_page(declared, "<p>This page was not yet translated, 中.</p>"), Language::English);
    assert_eq!(language_of_page(declared, "<p>这一页是中文的，Debian.</p>"), declared);
    assert_eq!(language_of_page(Language::Other, "<p>Encore en anglais</p>"), Language::Other);
}
