//! What fuzzers call: a file made of any bytes, read by any reader, in memory.
//!
//! Not a part of the interface. Limits are small, so that an input of a few kilobytes reaches them.

use corpus::{ByteSize, Count, Kind, Share};

use crate::read::{ReadError, ReadLimits, RecordReader, is_guarded, read_documents};
use crate::source::{Content, FieldsFormat, Reading, Source};
use crate::template::Template;

/// Fuzzers end at every panic, also at one that is caught. Those of the Parquet decoder, which are a damaged table here, are let
/// through to where they are caught.
pub fn forgive_guarded_panics() {
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_guarded() {
            end(panic);
        }
    }));
}

/// Reads a file of a format as a run does. Gives each document's locator and text, or why there is none. The format is that
/// of a run file, `pieces` for a text with a separator.
///
/// # Panics
/// If a reader is wrong about itself: a record passed over that is not the one that would have been read.
pub fn read(format: &str, name: &str, bytes: &[u8]) -> Vec<(String, Result<String, String>)> {
    let source = source_of(format);
    let limits = ReadLimits {
        record_bytes_max: Count(1 << 20),
        expansion_max: Count(100),
        zstd_window_max: ByteSize(8 << 20),
        damaged_chars_max: Share(0.002),
    };
    let new_reader = || RecordReader::of_memory(&source, name, bytes.to_vec(), limits);
    let Ok(mut reader) = new_reader() else { return Vec::new() };
    let mut found = Vec::new();
    let mut locators = Vec::new();
    while let Some(batch) = next(&mut reader) {
        for record in batch {
            locators.push(record.locator.clone());
            let documents = read_documents(record, &source, &limits).into_iter();
            found.extend(documents.map(|document| match document {
                Ok(document) => (document.locator, Ok(document.text)),
                Err(bad) => (bad.locator, Err(bad.what)),
            }));
        }
    }
    let n_skipped = locators.len() / 2;
    let mut reader = new_reader().expect("it was opened before");
    reader.skip_records(n_skipped as u64).expect("memory does not fail");
    let first = next(&mut reader).and_then(|batch| batch.into_iter().next());
    assert_eq!(first.map(|record| record.locator), locators.get(n_skipped).cloned());
    found
}

fn next(reader: &mut RecordReader<'_>) -> Option<Vec<crate::read::Record>> {
    let batch: Result<_, ReadError> = reader.next_batch();
    Some(batch.expect("memory does not fail")).filter(|batch| !batch.is_empty())
}

fn source_of(format: &str) -> Source {
    let text = || Content::Plain(Template::parse("{text}").expect("a template").into());
    let url = || Template::parse("{url?}").ok();
    let fields = |format| Reading::Fields { format, content: text(), url: url(), is_html: false };
    let reading = match format {
        "jsonl" => fields(FieldsFormat::Jsonl),
        "json" => fields(FieldsFormat::Json),
        "csv" => fields(FieldsFormat::Csv { columns: None }),
        "parquet" => fields(FieldsFormat::Parquet),
        "html" => Reading::Html,
        "markdown" => Reading::Markdown,
        "warc" => Reading::Warc,
        "mediawiki" => Reading::Mediawiki,
        "pieces" => Reading::Text { separator: Some("\n\n".to_owned()) },
        _ => Reading::Text { separator: None },
    };
    Source { name: "fuzz".into(), path: "fuzz".into(), kind: Kind::Plain, license: "none".into(), reading, seed: None }
}
