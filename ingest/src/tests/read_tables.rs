//! Tables: rows as another tool reads them, and files that are damaged.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use corpus::{ByteSize, Count, Share};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterVersion};
use serde_json::Value;

use super::sources;
use crate::fuzz::read;
use crate::read::{Payload, ReadLimits, RecordReader};

const TABLE: &[u8] = include_bytes!("../../testdata/table.parquet");
const LISTING: &str = include_str!("../../testdata/table.jsonl");

const SOURCE: &str = r#"
[[source]]
name = "table"
path = "table.parquet"
format = "parquet"
kind = "plain"
license = "CC0-1.0"
text = "{text?} {meta.lang} {messages.0.content?} {tags.0?} {flag} {count} {small} {ratio} {raw}"
url = "{url}"
"#;

fn rows(record_bytes_max: u64, n_skipped: u64) -> Vec<(String, Result<Value, String>)> {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(SOURCE, folder.path());
    let limits = ReadLimits {
        record_bytes_max: Count(record_bytes_max),
        expansion_max: Count(1000),
        zstd_window_max: ByteSize(128 << 20),
        damaged_chars_max: Share(0.0),
    };
    let path = folder.path().join("table.parquet");
    fs::write(&path, TABLE).unwrap();
    let files = crate::read::list_files(&sources[0]).unwrap();
    let n_bytes_read = Arc::default();
    let mut reader = RecordReader::new(&sources[0], files, limits, Arc::clone(&n_bytes_read));
    reader.skip_records(n_skipped).unwrap();
    let mut rows = Vec::new();
    loop {
        let batch = reader.next_batch().unwrap();
        if batch.is_empty() {
            assert_eq!(n_bytes_read.load(std::sync::atomic::Ordering::Relaxed), TABLE.len() as u64);
            return rows;
        }
        rows.extend(batch.into_iter().map(|record| {
            let row = record.content.map(|payload| match payload {
                Payload::Row(row) => row,
                other => panic!("{other:?}"),
            });
            (record.locator, row)
        }));
    }
}

#[test]
fn rows_are_those_that_another_tool_reads() {
    let expected: Vec<Value> = LISTING.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = rows(1 << 20, 0);
    assert_eq!(found.len(), expected.len());
    for (index, ((locator, row), expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(locator, &format!("table.parquet:{}", index + 1));
        assert_eq!(row.as_ref().unwrap(), expected);
    }
    for n_skipped in 0..=found.len() + 1 {
        let rest = rows(1 << 20, n_skipped as u64);
        assert_eq!(rest, found[n_skipped.min(found.len())..]);
    }
}

#[test]
fn a_row_that_is_too_long_is_a_bad_one() {
    let n_bad = |limit| rows(limit, 0).iter().filter(|(_, row)| row.is_err()).count();
    assert_eq!((n_bad(1000), n_bad(10)), (0, 10));
    let falling: Vec<usize> = (0..60).map(|step| n_bad(10 + 5 * step)).collect();
    assert!(falling.is_sorted_by(|left, right| left >= right), "{falling:?}");
    assert!(falling.iter().any(|n| (1..9).contains(n)), "{falling:?}");
    assert_eq!(rows(10, 0)[0].1, Err("is longer than 10 bytes".to_owned()));
}

#[test]
fn a_table_without_the_column_is_named() {
    let found = read("parquet", "table.parquet", TABLE);
    assert_eq!(found.len(), 10);
    assert_eq!(found[7].1, Err("field \"text\" is null".to_owned()));
    let other = TABLE.to_vec();
    let renamed: Vec<u8> = replace(&replace(&other, b"text", b"txet"), b"url", b"lru");
    let [(locator, Err(what))] = &read("parquet", "t", &renamed)[..] else { panic!() };
    assert_eq!((&locator[..], &what[..]), ("t", "is no table that can be read: it has no column text or url"));
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn damage_is_named_and_no_more_rows_come_out_than_went_in() {
    for length in (0..TABLE.len()).step_by(61) {
        let [(locator, Err(what))] = &read("parquet", "t", &TABLE[..length])[..] else { panic!("cut at {length}") };
        assert!(locator == "t" && what.starts_with("is no table that can be read: "), "{what}");
    }
    let whole = read("parquet", "t", TABLE);
    let mut n_lost_groups = 0;
    for at in (0..TABLE.len()).step_by(13) {
        let mut damaged = TABLE.to_vec();
        damaged[at] ^= 0x55;
        let found = read("parquet", "t", &damaged);
        assert!(!found.is_empty() && found.len() <= whole.len() + 3, "byte {at}");
        n_lost_groups +=
            found.iter().filter(|(_, text)| text.as_ref().is_err_and(|what| what.contains("in all"))).count();
    }
    assert!(n_lost_groups > 10, "{n_lost_groups}");
}

/// Tables whose texts are delta encoded, in every layout of a page.
fn delta_tables(texts: &[Option<String>]) -> Vec<Vec<u8>> {
    let mut tables = Vec::new();
    for encoding in [Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
                for is_nullable in [false, true] {
                    let column: ArrayRef = match is_nullable {
                        true => Arc::new(StringArray::from_iter(texts)),
                        false => Arc::new(StringArray::from_iter_values(texts.iter().flatten())),
                    };
                    let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, is_nullable)]));
                    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
                    let properties = WriterProperties::builder()
                        .set_writer_version(version)
                        .set_compression(compression)
                        .set_dictionary_enabled(false)
                        .set_encoding(encoding)
                        .set_data_page_row_count_limit(700)
                        .build();
                    let mut bytes = Vec::new();
                    let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties)).unwrap();
                    writer.write(&batch).unwrap();
                    writer.close().unwrap();
                    tables.push(bytes);
                }
            }
        }
    }
    tables
}

#[test]
fn delta_encoded_texts_are_read_in_every_layout() {
    let text = |n: usize| format!("{}{n}", "一 line of its own ".repeat(n % 7));
    for n_rows in [1, 2, 33, 129, 2000] {
        let texts: Vec<Option<String>> = (0..n_rows).map(|n| (n % 5 != 3).then(|| text(n))).collect();
        for table in delta_tables(&texts) {
            let found: Vec<String> =
                read("parquet", "t", &table).into_iter().filter_map(|(_, text)| text.ok()).collect();
            assert_eq!(found, texts.iter().flatten().cloned().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_count_inside_a_page_is_not_believed() {
    let table = include_bytes!("../../../fuzz/seeds/parquet/lengths-beyond-values");
    let found = read("parquet", "t", table);
    let [(locator, Err(what))] = &found[..] else { panic!("{found:?}") };
    assert!(locator.starts_with("t:1") && what.contains("a page that has"), "{locator}: {what}");
    // Wherever a byte is wrong, no more rows come out than went in.
    for table in delta_tables(&[Some("one".to_owned()), None, Some("once".to_owned())]) {
        for at in 4..table.len() {
            for damage in [0x01, 0x80, 0xFF] {
                let mut damaged = table.clone();
                damaged[at] ^= damage;
                assert!((1..=4).contains(&read("parquet", "t", &damaged).len()), "byte {at}");
            }
        }
    }
}
