//! Readers: every way a file can be cut, broken or too large, and the places that errors name.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use corpus::{ByteSize, Count, Share};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::{PLAIN, sources};
use crate::read::{Payload, ReadLimits, RecordReader, list_files};
use crate::{ReadError, Source};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn source(folder: &Path, path: &str, format: &str, separator: Option<&str>) -> Vec<Source> {
    let text = if format == "jsonl" { "text = \"{text}\"" } else { "" };
    let separator = separator.map(|separator| format!("separator = {separator:?}")).unwrap_or_default();
    let source = format!(
        "[[source]]\nname = \"s\"\npath = {path:?}\nformat = {format:?}\nkind = \"plain\"\nlicense = \"x\"\n{text}\n{separator}"
    );
    sources(&source, folder)
}

type Records = Vec<(String, Result<String, String>)>;

fn limits(n_bytes_max: u64) -> ReadLimits {
    ReadLimits {
        record_bytes_max: Count(n_bytes_max),
        expansion_max: Count(1000),
        zstd_window_max: ByteSize(128 << 20),
        damaged_chars_max: Share(0.002),
    }
}

fn read_all(sources: &[Source], n_bytes_max: u64) -> (Records, Option<ReadError>) {
    let source = &sources[0];
    let files = match list_files(source) {
        Ok(files) => files,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let n_bytes: u64 = files.iter().map(|file| file.n_bytes).sum();
    let n_bytes_read = Arc::new(AtomicU64::new(0));
    let mut reader = RecordReader::new(source, files, limits(n_bytes_max), Arc::clone(&n_bytes_read));
    let mut records = Vec::new();
    loop {
        match reader.next_batch() {
            Err(error) => return (records, Some(error)),
            Ok(batch) if batch.is_empty() => break,
            Ok(batch) => records.extend(batch.into_iter().map(|record| (record.locator, record.content.map(as_text)))),
        }
    }
    assert!(n_bytes_read.load(Ordering::Relaxed) <= n_bytes);
    (records, None)
}

fn as_text(payload: Payload) -> String {
    match payload {
        Payload::Bytes(bytes) | Payload::Page(bytes, _) => String::from_utf8_lossy(&bytes).into_owned(),
        Payload::Capture(capture) => String::from_utf8_lossy(&capture.body).into_owned(),
        Payload::Row(row) => row.to_string(),
    }
}

#[test]
fn lines_of_every_compression_have_the_same_places() {
    let folder = tempfile::tempdir().unwrap();
    let lines = b"first\n\n  \nfourth\nlast without an end";
    for (name, bytes) in [
        ("a.jsonl", lines.to_vec()),
        ("a.jsonl.gz", [gzip(&lines[..9]), gzip(&lines[9..])].concat()),
        ("a.jsonl.zst", [zstandard(&lines[..9]), zstandard(&lines[9..])].concat()),
        ("a.jsonl.bz2", [bzip2(&lines[..9]), bzip2(&lines[9..])].concat()),
        ("gzip without its ending", gzip(lines)),
    ] {
        fs::write(folder.path().join(name), bytes).unwrap();
        let (records, error) = read_all(&source(folder.path(), name, "jsonl", None), 1000);
        assert!(error.is_none());
        let expected = [(1, "first"), (4, "fourth"), (5, "last without an end")];
        let expected: Records = expected.map(|(line, text)| (format!("{name}:{line}"), Ok(text.to_owned()))).into();
        assert_eq!(records, expected);
    }
}

#[test]
fn a_file_cut_anywhere_ends_in_a_bad_record_and_the_next_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("cut");
    fs::create_dir(&root).unwrap();
    let text: String =
        (0..200).map(|line| format!("line {line} of a text that does not repeat {}\n", line * line)).collect();
    fs::write(root.join("next.jsonl"), "next").unwrap();
    for (name, bytes) in [
        ("cut.gz", gzip(text.as_bytes())),
        ("cut.zst", zstandard(text.as_bytes())),
        ("cut.bz2", bzip2(text.as_bytes())),
    ] {
        for length in (0..bytes.len()).step_by(7).chain([1, 2, 3, 4, 5, bytes.len() - 1]) {
            fs::write(root.join(name), &bytes[..length]).unwrap();
            let (records, error) = read_all(&source(folder.path(), "cut", "jsonl", None), 1000);
            assert!(error.is_none(), "{error:?}");
            let [before @ .., bad, next] = &records[..] else { panic!("{records:?}") };
            assert!(before.iter().all(|(_, content)| content.as_ref().is_ok_and(|line| text.contains(line))));
            assert_eq!(bad.0, format!("{name}:{}", before.len() + 1), "cut at {length}");
            let what = bad.1.as_ref().unwrap_err();
            assert!(what.contains("cut off"), "{name} cut at {length}: {what}");
            assert_eq!(next.1, Ok("next".to_owned()));
        }
        fs::remove_file(root.join(name)).unwrap();
    }
}

#[test]
fn a_damaged_file_gives_the_records_before_the_damage() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = [zstandard(b"good\n"), b"not zstandard at all".to_vec()].concat();
    fs::write(folder.path().join("bad.jsonl.zst"), bytes).unwrap();
    let (records, error) = read_all(&source(folder.path(), "bad.jsonl.zst", "jsonl", None), 1000);
    assert!(error.is_none());
    let [(_, good), (locator, bad)] = &records[..] else { panic!("{records:?}") };
    assert_eq!((good, &locator[..]), (&Ok("good".to_owned()), "bad.jsonl.zst:2"));
    assert!(bad.as_ref().unwrap_err().starts_with("cannot be unpacked: "), "{bad:?}");
}

#[test]
fn a_decompression_bomb_is_one_bad_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(b"first\n").unwrap();
    (0..100).for_each(|_| encoder.write_all(&[b'x'; 1 << 20]).unwrap());
    fs::write(folder.path().join("bomb.zst"), encoder.finish().unwrap()).unwrap();
    for format in ["jsonl", "warc", "text", "mediawiki"] {
        let (records, error) = read_all(&source(folder.path(), "bomb.zst", format, None), 100);
        assert!(error.is_none());
        let last = records.last().unwrap().1.as_ref().unwrap_err();
        let expected =
            if format == "text" { "is longer than 100 bytes" } else { "unpacks to more than 1000 times its size" };
        assert_eq!(last, expected, "{format}");
        assert_eq!(records.len(), if format == "jsonl" { 2 } else { 1 }, "{format}: {records:?}");
    }
}

#[test]
fn records_passed_over_are_those_that_would_have_been_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lines");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), "1\n\ntoo long a line\n4\n").unwrap();
    fs::write(root.join("b.gz"), &gzip(b"1\n2\n3\n")[..20]).unwrap();
    fs::write(root.join("c"), "1\n2").unwrap();
    let sources = source(folder.path(), "lines", "jsonl", None);
    let (all, _) = read_all(&sources, 10);
    assert_eq!(all.len(), 9, "{all:?}");
    for n in 0..=all.len() + 1 {
        let files = list_files(&sources[0]).unwrap();
        let mut reader = RecordReader::new(&sources[0], files, limits(10), Arc::default());
        reader.skip_records(n as u64).unwrap();
        let rest = reader.next_batch().unwrap().into_iter().map(|record| record.locator);
        let expected: Vec<_> = all.iter().skip(n).map(|(locator, _)| locator.clone()).collect();
        assert_eq!(rest.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_record_that_is_too_long_is_skipped_and_the_next_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for (separator, format) in [("\n", "jsonl"), ("\n%%\n", "text")] {
        let long = "x%\n".replace('\n', "").repeat(5000);
        let text = [&"a".repeat(10)[..], &long, &"b".repeat(11), "c"].join(separator);
        fs::write(folder.path().join("long"), text).unwrap();
        let separator = (format == "text").then_some(separator);
        let (records, error) = read_all(&source(folder.path(), "long", format, separator), 10);
        assert!(error.is_none());
        let too_long = Err("is longer than 10 bytes".to_owned());
        let expected = [Ok("a".repeat(10)), too_long.clone(), too_long, Ok("c".to_owned())];
        let found: Vec<_> = records.into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(found, expected);
    }
    fs::write(folder.path().join("page"), "y".repeat(11)).unwrap();
    let (records, _) = read_all(&source(folder.path(), "page", "html", None), 10);
    assert_eq!(records, [("page".to_owned(), Err("is longer than 10 bytes".to_owned()))]);
}

#[test]
fn a_line_of_two_gigabytes_is_one_bad_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = fs::File::create(folder.path().join("long")).unwrap();
    file.set_len(2 << 30).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"\nb\n").unwrap();
    let (records, error) = read_all(&source(folder.path(), "long", "jsonl", None), 1 << 20);
    assert!(error.is_none());
    let found: Vec<_> = records.into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(found, [Err(format!("is longer than {} bytes", 1 << 20)), Ok("b".to_owned())]);
}

#[test]
fn folders_are_read_in_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("pages");
    fs::create_dir_all(root.join("b/c")).unwrap();
    for name in ["z.html", "b/c/d.html", "b.html", "b/a.html"] {
        fs::write(root.join(name), name).unwrap();
    }
    let (records, _) = read_all(&source(folder.path(), "pages", "html", None), 1000);
    let locators: Vec<&str> = records.iter().map(|(locator, _)| &locator[..]).collect();
    assert_eq!(locators, ["b.html", "b/a.html", "b/c/d.html", "z.html"]);
    std::os::unix::fs::symlink(&root, root.join("loop")).unwrap();
    let (_, error) = read_all(&source(folder.path(), "pages", "html", None), 1000);
    assert!(matches!(error, Some(ReadError::Link { .. })), "{error:?}");
}

#[test]
fn sources_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_, error) = read_all(&sources(PLAIN, folder.path()), 1000);
    let message = error.unwrap().to_string();
    assert!(message.contains("source \"web\"") && message.contains("web.jsonl does not exist"), "{message}");
    fs::create_dir(folder.path().join("web.jsonl")).unwrap();
    let (_, error) = read_all(&sources(PLAIN, folder.path()), 1000);
    assert!(matches!(error, Some(ReadError::Empty { .. })), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_are_those_of_a_plain_split(text in "[%\\nab]{0,80}", separator in "\n|%|\n%\n|%%") {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pieces"), &text).unwrap();
        let (records, error) = read_all(&source(folder.path(), "pieces", "text", Some(&separator)), 6);
        prop_assert!(error.is_none());
        let expected: Records = text
            .split(&separator)
            .enumerate()
            .filter(|(_, piece)| !piece.trim().is_empty() || piece.len() > 6)
            .map(|(index, piece)| {
                let bytes = if piece.len() > 6 { Err("is longer than 6 bytes".into()) } else { Ok(piece.to_owned()) };
                (format!("pieces:{}", index + 1), bytes)
            })
            .collect();
        prop_assert_eq!(records, expected);
    }
}

#[test]
fn a_window_wider_than_the_limit_is_named_and_not_made() {
    let window = include_bytes!("../../../fuzz/seeds/text/two-gigabyte-window");
    let found = crate::fuzz::read("text", "file", window);
    let [(_, Err(what))] = &found[..] else { panic!("{found:?}") };
    assert!(what.contains("needs a window wider than reading.zstd_window_max, 8MiB"), "{what}");
}
