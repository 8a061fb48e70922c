//! Readers: every way a file can be cut, broken or too large, and the places that errors name.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::{PLAIN, sources};
use std::sync::Arc;

use crate::read::{ReadLimits, RecordReader, list_files};
use crate::{ReadError, Source};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
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

fn read_all(sources: &[Source], n_bytes_max: usize) -> (Records, Option<ReadError>) {
    let files = match sources.iter().map(list_files).collect::<Result<Vec<_>, _>>() {
        Ok(files) => files,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let limits = ReadLimits { record_bytes_max: n_bytes_max };
    let mut records = Vec::new();
    let mut readers = sources.iter().zip(files);
    let mut next = || readers.next().map(|(source, files)| RecordReader::new(source, files, limits, Arc::default()));
    let mut reader = next();
    while let Some(open) = &mut reader {
        match open.next_batch() {
            Err(error) => return (records, Some(error)),
            Ok(batch) if batch.is_empty() => reader = next(),
            Ok(batch) => records.extend(batch.into_iter().map(|record| {
                (record.locator, record.bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
            })),
        }
    }
    (records, None)
}

#[test]
fn lines_of_every_compression_have_the_same_places() {
    let folder = tempfile::tempdir().unwrap();
    let lines = b"first\n\n  \nfourth\nlast without an end";
    for (name, bytes) in [
        ("a.jsonl", lines.to_vec()),
        ("a.jsonl.gz", [gzip(&lines[..9]), gzip(&lines[9..])].concat()),
        ("a.jsonl.zst", [zstandard(&lines[..9]), zstandard(&lines[9..])].concat()),
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
fn a_file_cut_anywhere_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let text: String =
        (0..200).map(|line| format!("line {line} of a text that does not repeat {}\n", line * line)).collect();
    for (name, bytes) in [("cut.jsonl.gz", gzip(text.as_bytes())), ("cut.jsonl.zst", zstandard(text.as_bytes()))] {
        for length in (0..bytes.len()).step_by(7).chain([1, 2, 3, 4, 5, bytes.len() - 1]) {
            fs::write(folder.path().join(name), &bytes[..length]).unwrap();
            let (_, error) = read_all(&source(folder.path(), name, "jsonl", None), 1000);
            let error = error.unwrap_or_else(|| panic!("{name} cut at {length} was accepted"));
            assert!(matches!(error, ReadError::Truncated { .. }), "{name} cut at {length}: {error:?}");
            assert!(error.to_string().contains(name));
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_after_the_records_before_the_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.jsonl.zst");
    fs::write(&path, [zstandard(b"good\n"), b"not zstandard at all".to_vec()].concat()).unwrap();
    let (records, error) = read_all(&source(folder.path(), "bad.jsonl.zst", "jsonl", None), 1000);
    assert_eq!(records.len(), 1);
    let error = error.unwrap();
    assert!(matches!(&error, ReadError::Io { path: named, .. } if *named == path), "{error:?}");
    assert!(error.source().is_some());
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
