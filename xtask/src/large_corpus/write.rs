//! Writers of the large corpus. All are streams, so that no source has to fit into memory, and none of them writes a
//! date or a name of this machine: the same texts give the same bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

use crate::contents::count_text_bytes;

/// The languages the table counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Language {
    English,
    SimplifiedChinese,
    TraditionalChinese,
    /// Before the 20th century, in either script: it is not what a model of today's Chinese should mostly read.
    ClassicalChinese,
    Other,
}

/// What a source holds.
#[derive(Clone, Default)]
pub(super) struct Tally {
    pub(super) n_documents: u64,
    pub(super) n_text_bytes: BTreeMap<Language, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, language: Language, n_bytes: usize) {
        self.n_documents += 1;
        *self.n_text_bytes.entry(language).or_default() += n_bytes as u64;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.n_documents += other.n_documents;
        for (language, n_bytes) in other.n_text_bytes {
            *self.n_text_bytes.entry(language).or_default() += n_bytes;
        }
    }
}

/// A file of records, compressed as its name says.
pub(super) struct Records {
    encoder: Encoder,
    /// What stands before every record but the first.
    separator: &'static str,
    tally: Tally,
}

enum Encoder {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Records {
    /// One JSON object a line.
    pub(super) fn lines(path: &Path) -> anyhow::Result<Self> {
        Self::create(path, "")
    }

    /// Running text with `separator` between two documents.
    pub(super) fn text(path: &Path, separator: &'static str) -> anyhow::Result<Self> {
        ensure!(!separator.is_empty(), "two documents would run into each other");
        Self::create(path, separator)
    }

    fn create(path: &Path, separator: &'static str) -> anyhow::Result<Self> {
        let file = create(path)?;
        let encoder = match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => Encoder::Gzip(GzEncoder::new(file, Compression::new(6))),
            Some("zst") => Encoder::Zstd(zstd_encoder(file)?),
            _ => Encoder::Plain(file),
        };
        Ok(Self { encoder, separator, tally: Tally::default() })
    }

    pub(super) fn write_json(&mut self, language: Language, value: &Value) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.encoder.write_all(&line)?;
        self.tally.add(language, count_text_bytes(value));
        Ok(())
    }

    pub(super) fn write_text(&mut self, language: Language, text: &[u8]) -> anyhow::Result<()> {
        let separator = self.separator.as_bytes();
        ensure!(
            !text.windows(separator.len()).any(|window| window == separator),
            "a document contains the separator of its file: {:?}",
            String::from_utf8_lossy(&text[..text.len().min(80)])
        );
        if self.tally.n_documents > 0 {
            self.encoder.write_all(separator)?;
        }
        self.encoder.write_all(text)?;
        self.tally.add(language, text.len());
        Ok(())
    }

    pub(super) fn finish(self) -> anyhow::Result<Tally> {
        let mut file = match self.encoder {
            Encoder::Plain(file) => file,
            Encoder::Gzip(encoder) => encoder.finish()?,
            Encoder::Zstd(encoder) => encoder.finish()?,
        };
        file.flush()?;
        Ok(self.tally)
    }
}

impl Write for Encoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

fn zstd_encoder(file: BufWriter<File>) -> io::Result<zstd::Encoder<'static, BufWriter<File>>> {
    let mut encoder = zstd::Encoder::new(file, 9)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

fn create(path: &Path) -> anyhow::Result<BufWriter<File>> {
    fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}

/// A web archive as crawlers write it (WARC 1.0, ISO 28500): a `warcinfo` record, then for each page a `request` and a
/// `response`, every record a gzip member of its own.
pub(super) struct WebArchive {
    file: BufWriter<File>,
    n_records: u64,
    tally: Tally,
}

/// The format wants a date; one that never changes keeps the bytes the same.
const WARC_DATE: &str = "2024-01-01T00:00:00Z";

impl WebArchive {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut archive = Self { file: create(path)?, n_records: 0, tally: Tally::default() };
        let fields = b"software: cargo xtask large-corpus\r\nformat: WARC File Format 1.0\r\n";
        archive.write_record("warcinfo", None, "application/warc-fields", fields)?;
        Ok(archive)
    }

    /// Writes the page as if a server had sent it. `content_type` is that of its HTTP header, with or without a
    /// character set.
    pub(super) fn write_page(
        &mut self,
        url: &str,
        content_type: &str,
        page: &[u8],
        (language, n_text_bytes): (Language, usize),
    ) -> anyhow::Result<()> {
        let without_scheme = url.strip_prefix("https://").context("the address of a page starts with https://")?;
        let (host, path) = without_scheme.split_once('/').context("the address of a page has a path")?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n");
        self.write_record("request", Some(url), "application/http; msgtype=request", request.as_bytes())?;
        let n_bytes = page.len();
        let mut response = format!(
            "HTTP/1.1 200 OK\r\nServer: Apache\r\nContent-Type: {content_type}\r\nContent-Length: {n_bytes}\r\n\r\n"
        )
        .into_bytes();
        response.extend_from_slice(page);
        self.write_record("response", Some(url), "application/http; msgtype=response", &response)?;
        self.tally.add(language, n_text_bytes);
        Ok(())
    }

    fn write_record(&mut self, kind: &str, url: Option<&str>, content_type: &str, block: &[u8]) -> anyhow::Result<()> {
        // Identifiers have only to differ within the file, so they are counted.
        let mut header = format!(
            "WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Date: {WARC_DATE}\r\n\
             WARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-{:012x}>\r\n",
            self.n_records
        );
        if let Some(url) = url {
            header.push_str(&format!("WARC-Target-URI: {url}\r\n"));
        }
        header.push_str(&format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", block.len()));
        let mut member = GzEncoder::new(&mut self.file, Compression::new(6));
        member.write_all(header.as_bytes())?;
        member.write_all(block)?;
        member.write_all(b"\r\n\r\n")?;
        member.finish()?;
        self.n_records += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> anyhow::Result<Tally> {
        self.file.flush()?;
        Ok(self.tally)
    }
}

/// A row of a labelled data set.
pub(super) struct LabelledRow {
    pub(super) title: String,
    pub(super) content: String,
    pub(super) label: i64,
}

/// Rows of a group, as the Hugging Face tools write them.
const N_ROWS_GROUP: usize = 1000;

/// A Parquet file with the columns `title`, `content` and `label`, which may be null and are not.
pub(super) fn write_parquet(path: &Path, rows: &[LabelledRow]) -> anyhow::Result<()> {
    const SCHEMA: &str = "message schema {
        OPTIONAL BYTE_ARRAY title (UTF8);
        OPTIONAL BYTE_ARRAY content (UTF8);
        OPTIONAL INT64 label;
    }";
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let compression = ParquetCompression::ZSTD(ZstdLevel::try_new(3)?);
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut writer = SerializedFileWriter::new(create(path)?, schema, properties)?;
    for rows in rows.chunks(N_ROWS_GROUP) {
        let is_there = vec![1; rows.len()];
        let mut group = writer.next_row_group()?;
        let titles: Vec<ByteArray> = rows.iter().map(|row| row.title.as_str().into()).collect();
        let contents: Vec<ByteArray> = rows.iter().map(|row| row.content.as_str().into()).collect();
        for values in [titles, contents] {
            let mut column = group.next_column()?.context("the schema has three columns")?;
            column.typed::<ByteArrayType>().write_batch(&values, Some(&is_there), None)?;
            column.close()?;
        }
        let labels: Vec<i64> = rows.iter().map(|row| row.label).collect();
        let mut column = group.next_column()?.context("the schema has three columns")?;
        column.typed::<Int64Type>().write_batch(&labels, Some(&is_there), None)?;
        column.close()?;
        group.close()?;
    }
    writer.close()?;
    Ok(())
}
