//! Crawl archives: the same records whatever packs them, what another tool finds in them, and damage that stays where it is.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::Numbers;
use crate::fuzz::read;

const PAGES: &[u8] = include_bytes!("../../testdata/pages.warc.gz");
const PAGES_LISTING: &str = include_str!("../../testdata/pages.jsonl");
const ARC: &[u8] = include_bytes!("../../testdata/pages.arc");

type Texts = Vec<(String, Result<String, String>)>;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn record(kind: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://example.org/\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body, b"\r\n\r\n"].concat()
}

/// Records of different kinds and lengths, every one that is wanted a text of its own.
fn records(seed: u64, n: usize) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(seed);
    let record = |index: usize| {
        let text = format!("text {index} {}", "é\n".repeat(numbers.below(3000)));
        match numbers.below(3) {
            0 => record("conversion", "text/plain", text.as_bytes()),
            1 => record("metadata", "text/plain", text.as_bytes()),
            _ => {
                let http = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}");
                record("response", "application/http; msgtype=response", http.as_bytes())
            }
        }
    };
    (0..n).map(record).collect()
}

/// What a file of one record each says, renumbered: the slow way to read an archive.
fn one_by_one(records: &[Vec<u8>]) -> Texts {
    let texts = records.iter().enumerate().flat_map(|(index, record)| {
        read("warc", "alone", record).into_iter().map(move |(_, text)| (format!("a:{}", index + 1), text))
    });
    texts.collect()
}

#[test]
fn packing_does_not_matter() {
    for seed in 0..20 {
        let records = records(seed, 12);
        let expected = one_by_one(&records);
        assert!(expected.iter().all(|(_, text)| text.is_ok()));
        let (whole, half) = (records.concat(), records.concat().len() / 2);
        for (packing, bytes) in [
            ("plain", whole.clone()),
            ("a gzip member a record", records.iter().flat_map(|record| gzip(record)).collect()),
            ("one gzip member", gzip(&whole)),
            ("gzip members that end anywhere", [gzip(&whole[..half]), gzip(&whole[half..])].concat()),
            ("a frame a record", records.iter().flat_map(|record| zstd::encode_all(&record[..], 1).unwrap()).collect()),
            ("one frame", zstd::encode_all(&whole[..], 1).unwrap()),
        ] {
            assert_eq!(read("warc", "a", &bytes), expected, "{packing}, seed {seed}");
        }
    }
}

#[test]
fn another_tool_finds_the_same_records() {
    let found = read("warc", "pages.warc.gz", PAGES);
    let listed: Vec<Value> = PAGES_LISTING.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_text = |row: &&Value| {
        let is_picture = row["url"].as_str().unwrap().ends_with("picture");
        !is_picture && row["status"].as_str().is_none_or(|status| status.starts_with('2'))
    };
    let expected: Vec<String> =
        listed.iter().filter(is_text).map(|row| format!("pages.warc.gz:{}", row["number"])).collect();
    let locators: Vec<&String> = found.iter().map(|(locator, _)| locator).collect();
    assert_eq!(locators, expected.iter().collect::<Vec<_>>());
    let texts: Vec<&str> = found.iter().map(|(_, text)| &text.as_ref().unwrap()[..]).collect();
    assert!(texts[0].starts_with("毛竹") && texts[0].contains("几个星期"), "{texts:?}");
    assert_eq!(texts[1], texts[0], "GB18030 by header");
    assert!(texts[2].contains("幾個星期"), "Big5 by detection: {texts:?}");
    for english in &texts[3..8] {
        assert!(english.starts_with("Bamboo\n\nMoso bamboo"), "{texts:?}");
    }
    assert_eq!(texts[8], "Plain text, déjà vu.");
}

#[test]
fn arc_files_are_read_too() {
    for (name, bytes) in [("pages.arc", ARC.to_vec()), ("pages.arc.gz", gzip(ARC))] {
        let expected = [("2", "Bamboo\n\nMoso bamboo grows slowly."), ("4", "Plain text.\n")];
        let expected: Texts = expected.map(|(number, text)| (format!("{name}:{number}"), Ok(text.to_owned()))).into();
        assert_eq!(read("warc", name, &bytes), expected);
    }
}

#[test]
fn a_damaged_member_costs_its_own_record_only() {
    let records = records(3, 8);
    let members: Vec<Vec<u8>> = records.iter().map(|record| gzip(record)).collect();
    let frames: Vec<Vec<u8>> = records.iter().map(|record| zstd::encode_all(&record[..], 1).unwrap()).collect();
    let expected = one_by_one(&records);
    for (name, members, is_checked) in [("a.gz", members, true), ("a.zst", frames, false)] {
        for hurt in 0..members.len() {
            for at in (0..members[hurt].len()).step_by(1 + members[hurt].len() / 40) {
                let mut damaged = members.clone();
                damaged[hurt][at] ^= 0x55;
                let found = read("warc", name, &damaged.concat());
                let place = |texts: &Texts| -> Vec<String> {
                    let good = texts.iter().filter(|(_, text)| text.is_ok());
                    good.map(|(_, text)| text.clone().unwrap()).collect()
                };
                let (all, found_good) = (place(&expected), place(&found));
                let own = one_by_one(&records[hurt..=hurt]).pop().map(|(_, text)| text.unwrap());
                let others: Vec<&String> = all.iter().filter(|text| Some(*text) != own.as_ref()).collect();
                let good: Vec<&String> = found_good.iter().filter(|text| others.contains(text)).collect();
                assert_eq!(good, others, "{name}: member {hurt}, byte {at}: {found:?}");
                // A header's time or comment may be anything, and frames carry no checksum here.
                let n_bad = found.len() - found_good.len();
                assert!(!is_checked || n_bad == 1 || found_good == all, "{name}: member {hurt}, byte {at}: {found:?}");
            }
        }
    }
}

#[test]
fn a_wrong_length_costs_its_own_record_only() {
    let [before, hurt, after] = [1, 2, 3].map(|n| record("conversion", "text/plain", format!("text {n}").as_bytes()));
    let text = String::from_utf8(hurt).unwrap();
    for (length, what) in [
        ("5", "is longer or shorter than it says"),
        ("12", "is longer or shorter than it says"),
        ("999999", "ends before its length is reached"),
        ("-1", "has no valid Content-Length"),
        ("many", "has no valid Content-Length"),
    ] {
        let hurt = text.replace("Content-Length: 6", &format!("Content-Length: {length}"));
        let archive = [&before[..], hurt.as_bytes(), &after].concat();
        for (name, bytes) in [("plain", archive.clone()), ("one member", gzip(&archive))] {
            let found = read("warc", name, &bytes);
            // What was taken for its body is gone where there is no going back.
            let is_lost = name == "one member" && ["12", "999999"].contains(&length);
            assert_eq!(found[0].1, Ok("text 1".to_owned()), "{name} {length}");
            assert_eq!(found[1].1, Err(what.to_owned()), "{name} {length}");
            assert_eq!(
                found.get(2).map(|(_, text)| text.clone()),
                (!is_lost).then(|| Ok("text 3".to_owned())),
                "{name} {length}"
            );
        }
    }
    let garbage = [&before[..], b"no record at all\n\n", &after].concat();
    let found = read("warc", "garbage", &garbage);
    let texts: Vec<_> = found.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, [Err("is longer or shorter than it says".into()), Ok("text 3".to_owned())]);
}

#[test]
fn an_archive_cut_anywhere_gives_what_came_before() {
    let records = records(5, 6);
    let expected = one_by_one(&records);
    for (name, bytes) in [
        ("a", records.concat()),
        ("a.gz", records.iter().flat_map(|record| gzip(record)).collect::<Vec<u8>>()),
        ("a.zst", zstd::encode_all(&records.concat()[..], 1).unwrap()),
    ] {
        for length in (1..bytes.len()).step_by(1 + bytes.len() / 100) {
            let found = read("warc", name, &bytes[..length]);
            let n_good = found.iter().take_while(|(_, text)| text.is_ok()).count();
            assert!(found.len() - n_good <= 1, "{name} cut at {length}: {found:?}");
            let good: Vec<_> = found[..n_good].iter().map(|(_, text)| text).collect();
            assert_eq!(good, expected.iter().take(n_good).map(|(_, text)| text).collect::<Vec<_>>());
        }
    }
}

#[test]
fn bodies_that_are_not_as_declared_are_told_apart() {
    let response = |headers: &str, body: &[u8]| {
        let http = [b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n", headers.as_bytes(), b"\r\n", body].concat();
        read("warc", "a", &record("response", "application/http", &http)).pop().unwrap().1
    };
    assert_eq!(response("Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n").unwrap(), "hello!");
    assert_eq!(response("Transfer-Encoding: chunked\r\n", b"no chunks\r\n").unwrap(), "no chunks\r\n");
    assert!(response("Transfer-Encoding: chunked\r\n", b"5\r\nhel").unwrap_err().contains("last chunk"));
    assert!(response("Content-Encoding: gzip\r\n", &gzip(b"hello")[..12]).unwrap_err().contains("cut off"));
    assert!(response("Content-Encoding: gzip, x-y\r\n", b"hello").unwrap_err().contains("\"x-y\""));
    assert!(response("Content-Encoding: br\r\n", &[0xC5; 50]).unwrap_err().contains("damaged br data"));
    let bomb = gzip(&vec![b'x'; 3 << 20]);
    assert_eq!(response("Content-Encoding: gzip\r\n", &bomb).unwrap_err(), "is longer than 1048576 bytes");
    // What the crawler says it cut is read as far as it goes.
    let cut = [&b"HTTP/1.1 200 OK\nContent-Type: text/plain\nTransfer-Encoding: chunked\n\n5\nhel"[..]].concat();
    let head = format!(
        "WARC/1.0\nWARC-Type: response\nWARC-Truncated: length\nContent-Type: application/http\nContent-Length: {}\n\n",
        cut.len()
    );
    assert_eq!(read("warc", "a", &[head.as_bytes(), &cut].concat()), [("a:1".to_owned(), Ok("hel".to_owned()))]);
}
