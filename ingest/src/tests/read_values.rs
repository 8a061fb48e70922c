//! JSON files and CSV files: cut as a parser of the whole file would, and what is left where they are damaged.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::records::limits;
use super::{PLAIN, sources};
use crate::read::{ReadLimits, RecordReader, list_files, read_documents};
use corpus::Count;

/// Locators with texts, or with what is wrong.
fn read_with(format: &str, bytes: &[u8], limits: ReadLimits) -> Vec<(String, Result<String, String>)> {
    read_named("web.jsonl", format, bytes, limits)
}

fn read_named(name: &str, format: &str, bytes: &[u8], limits: ReadLimits) -> Vec<(String, Result<String, String>)> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), bytes).unwrap();
    let text = PLAIN.replace("web.jsonl", name).replace("format = \"jsonl\"", &format!("format = {format}"));
    let source = &sources(&text, folder.path())[0];
    let mut reader = RecordReader::new(source, list_files(source).unwrap(), limits, std::sync::Arc::default());
    let mut found = Vec::new();
    loop {
        let batch = reader.next_batch().unwrap();
        if batch.is_empty() {
            return found;
        }
        for record in batch {
            found.extend(read_documents(record, source, &limits).into_iter().map(|document| match document {
                Ok(document) => (document.locator, Ok(document.text)),
                Err(bad) => (bad.locator, Err(bad.what)),
            }));
        }
    }
}

#[track_caller]
fn check(format: &str, file: &str, expected: &[(u64, Result<&str, &str>)]) {
    let found = read_with(format, file.as_bytes(), ReadLimits { record_bytes_max: Count(60), ..limits() });
    let found: Vec<(String, Result<&str, &str>)> =
        found.iter().map(|(at, text)| (at.clone(), text.as_deref().map_err(|what| &what[..]))).collect();
    let expected: Vec<_> = expected.iter().map(|&(number, text)| (format!("web.jsonl:{number}"), text)).collect();
    assert_eq!(found, expected, "{file}");
}

const JSON: &str = "\"json\"";
const CSV: &str = "\"csv\"";

#[test]
fn arrays_and_objects_one_after_another_are_the_same_records() {
    let both = [(1, Ok("a [{\"}")), (2, Ok("b"))];
    for file in [
        "[{\"text\": \"a [{\\\"}\"}, {\"text\": \"b\"}]",
        "\u{FEFF}[\n  {\n    \"text\": \"a [{\\\"}\"\n  }\n  ,{\"text\": \"b\", \"more\": [1, {\"x\": []}]}\n]\n",
        "{\"text\": \"a [{\\\"}\"}\n{\"text\": \"b\"}\n",
        "{\"text\": \"a [{\\\"}\"}{\"text\": \"b\"}",
        "[{\"text\": \"a [{\\\"}\"}] [] [{\"text\": \"b\"}]",
    ] {
        check(JSON, file, &both);
    }
    for empty in ["", " \n", "[]", "[ ]\n"] {
        check(JSON, empty, &[]);
    }
}

#[test]
fn what_is_no_json_ends_the_file_and_what_is_no_record_does_not() {
    let cut_off = Err("is cut off: it is JSON without an end");
    let no_object = Err("is not an object, so nothing behind it is read");
    let no_comma = Err("is not parted from the record before it by a comma");
    let long = format!("{{\"text\": {:?}}}", "x".repeat(60));
    for (file, expected) in [
        ("[{\"text\": \"a\"}, {\"text\": \"b", &[(1, Ok("a")), (2, cut_off)][..]),
        ("[{\"text\": \"a\"}", &[(1, Ok("a")), (2, cut_off)]),
        ("[{\"text\": \"a\"},", &[(1, Ok("a")), (2, cut_off)]),
        ("[{\"text\": \"a\"} {\"text\": \"b\"}]", &[(1, Ok("a")), (2, no_comma)]),
        ("[{\"text\": \"a\"},,{\"text\": \"b\"}]", &[(1, Ok("a")), (2, no_object)]),
        ("[\"a\", {\"text\": \"b\"}]", &[(1, no_object)]),
        ("hello", &[(1, no_object)]),
        ("[[{\"text\": \"a\"}]]", &[(1, no_object)]),
        ("[{\"title\": 1}, {\"text\": \"b\"}]", &[(1, Err("field \"text\" is missing")), (2, Ok("b"))]),
        ("[{\"text\" 1}, {\"text\": \"b\"}]", &[(1, Err("is not JSON at column 9: expected `:`")), (2, Ok("b"))]),
        ("[{\n\"text\" 1}]", &[(1, Err("is not JSON at line 2 of it, column 8: expected `:`"))]),
        (&format!("[{long}, {{\"text\": \"b\"}}]"), &[(1, Err("is longer than 60 bytes")), (2, Ok("b"))]),
    ] {
        check(JSON, file, expected);
    }
}

#[test]
fn csv_as_exams_publish_it() {
    let exam = "\u{FEFF}id,text,A\r\n0,\"竹子，\n是\"\"草\"\"吗？\",是\r\n\r\n1,b,\n2,c,d";
    check(CSV, exam, &[(1, Ok("竹子，\n是\"草\"吗？")), (2, Ok("b")), (3, Ok("c"))]);
    let long = format!("text\na\n{}\nc", "x".repeat(70));
    check(CSV, &long, &[(1, Ok("a")), (2, Err("is longer than 60 bytes")), (3, Ok("c"))]);
    // The quote swallows what follows, which is not held.
    let open = format!("text\na\n\"{}", "b\n".repeat(100));
    check(CSV, &open, &[(1, Ok("a")), (2, Err("is longer than 60 bytes"))]);
    check(CSV, "text,n\na,1\nb\nc,1", &[(1, Ok("a")), (2, Err("has 1 values for 2 columns")), (3, Ok("c"))]);
    check(CSV, "title\na\n", &[(1, Err("field \"text\" is missing"))]);
    check(CSV, "", &[]);
    check("\"csv\"\ncolumns = [\"n\", \"text\"]", "1,a\n2,b\n", &[(1, Ok("a")), (2, Ok("b"))]);
    let found = read_with(CSV, b"text\na\n\xFF\nc\n", limits());
    let texts: Vec<_> = found.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, [Ok("a".to_owned()), Err("is not UTF-8".to_owned()), Ok("c".to_owned())]);
}

/// A file in a tar archive, after POSIX.
fn tar_file(name: &str, kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
    header[148..156].copy_from_slice(b"        ");
    header[156] = kind;
    header[257..263].copy_from_slice(b"ustar\0");
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let filled = bytes.len().next_multiple_of(512);
    [&header[..], bytes, &vec![0; filled - bytes.len()]].concat()
}

#[test]
fn a_record_a_file_in_an_archive() {
    let first = format!("{{\"text\": {:?}}}", "a".repeat(700));
    let files = [
        tar_file("chats/", b'5', b""),
        tar_file("chats/._1.json", b'0', b"\0 no JSON"),
        tar_file("chats/1.json", b'0', first.as_bytes()),
        tar_file("pax", b'x', b"27 mtime=1681794862.7259896\n"),
        tar_file("chats/2.json", 0, b"[{\"text\": \"b\"}]"),
        tar_file("chats/empty.json", b'0', b""),
        tar_file("chats/3.json", b'0', b"{\"text\": \"c\"}\n"),
        vec![0; 1024],
    ];
    let expected = [Ok("a".repeat(700)), Ok("b".into()), Ok("c".into())];
    let texts =
        |found: Vec<(String, Result<String, String>)>| found.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    let archive = files.concat();
    assert_eq!(texts(read_named("chats.tar", JSON, &archive, limits())), expected);
    let packed = zstd::encode_all(&archive[..], 1).unwrap();
    assert_eq!(texts(read_named("chats.tar.zst", JSON, &packed, limits())), expected);
    // Cut off or damaged anywhere, it gives what stands before, then says so.
    for length in (1..archive.len() - 1024).step_by(100) {
        let found = texts(read_named("chats.tar", JSON, &archive[..length], limits()));
        let (last, before) = found.split_last().unwrap();
        assert!(last.is_err() && before == &expected[..before.len()], "{length}: {found:?}");
    }
    let mut damaged = archive.clone();
    damaged[512 * 3 + 130] ^= 1;
    let found = texts(read_named("chats.tar", JSON, &damaged, limits()));
    assert_eq!(found, [Err("cannot be unpacked: a tar header is damaged".to_owned())]);
}

#[test]
fn a_compressed_file_that_is_cut_off_gives_what_stands_before() {
    let records: Vec<Value> = (0..200).map(|index| json!({"text": format!("{} {}", index, index * index)})).collect();
    let csv: String = std::iter::once("text\n".to_owned())
        .chain(records.iter().map(|record| format!("{}\n", record["text"].as_str().unwrap())))
        .collect();
    for (format, file) in [(JSON, Value::from(records.clone()).to_string()), (CSV, csv)] {
        let packed = zstd::encode_all(file.as_bytes(), 1).unwrap();
        for length in (8..packed.len()).step_by(97) {
            let found = read_with(format, &packed[..length], limits());
            let (last, before) = found.split_last().unwrap();
            assert!(last.1.is_err(), "{format} {length}: {last:?}");
            for (record, (_, text)) in records.iter().zip(before) {
                assert_eq!(text.as_deref().unwrap(), record["text"].as_str().unwrap());
            }
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a,\"\\\\{}\\[\\]\n\r é竹]{0,12}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The twin parses the file as a whole.
    #[test]
    fn json_is_cut_as_a_parser_would(texts in prop::collection::vec(text(), 0..12), layout in 0..4) {
        let records: Vec<Value> = texts.iter().map(|text| json!({"text": text, "other": [text, {text: 1}]})).collect();
        let file = match layout {
            0 => Value::from(records.clone()).to_string(),
            1 => serde_json::to_string_pretty(&records).unwrap(),
            2 => records.iter().map(|record| format!("{record}\n")).collect(),
            _ => records.iter().map(|record| format!("[{record:#}]")).collect(),
        };
        let found: Vec<_> = read_with(JSON, file.as_bytes(), limits()).into_iter().map(|(_, text)| text.unwrap()).collect();
        prop_assert_eq!(found, texts);
    }

    #[test]
    fn csv_is_cut_as_a_parser_would(rows in prop::collection::vec((text(), text()), 0..12)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["n", "text"]).unwrap();
        rows.iter().for_each(|(n, text)| writer.write_record([n, text]).unwrap());
        let file = writer.into_inner().unwrap();
        let found: Vec<_> = read_with(CSV, &file, limits()).into_iter().map(|(_, text)| text.unwrap()).collect();
        let expected: Vec<String> = rows.into_iter().map(|(_, text)| text).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn keys_of_other_formats_are_refused() {
    let refused = |text: &str| {
        let raw = toml::from_str::<super::RunFile>(&format!("{text}\n{}", super::SETTINGS)).unwrap();
        crate::resolve_sources(raw.source, Path::new(""), 7).unwrap_err().to_string()
    };
    let text = PLAIN.replace("text = ", "columns = [\"text\"]\ntext = ");
    assert_eq!(refused(&text), "source \"web\": columns is only for format \"csv\"");
}
