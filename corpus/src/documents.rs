//! `documents/` and `dropped/`: Parquet, zstd, one row a document.
//!
//! documents: `id` FixedSizeBinary(16), `text`, `lang`, `source`, `kind`, `url`?, `license`, `label` Boolean?, `loss`
//! `List<Struct<start UInt32, end UInt32>>?` (spans of bytes of the text whose tokens carry loss; null means all), `meta` (a
//! JSON object), then one Float32 column for each quality signal. dropped: `id`, `source`, `locator`, `lang`, `kind`,
//! `rule`, `detail`, `excerpt`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Float32Array, ListArray, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use thiserror::Error;

use crate::document::{DocId, Document, Dropped, Kind};
use crate::files::{AtomicFile, FileError};
use crate::manifest::FileEntry;
use crate::packed::Span;
use crate::tokens::{span_fields, span_lists, spans_at};

/// Version of the two folders' layout.
pub const DOCUMENTS_FORMAT: u32 = 3;

/// A shard that cannot be written or read.
#[derive(Debug, Error)]
pub enum FormatError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// Parquet found the file damaged, or could not write it.
    #[error("cannot read or write {} as Parquet", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What Parquet says.
        source: ParquetError,
    },
    /// Arrow found the file damaged, or could not write it.
    #[error("cannot read or write {} as Arrow", path.display())]
    Arrow {
        /// The file.
        path: PathBuf,
        /// What Arrow says.
        source: ArrowError,
    },
    /// The file is whole but holds something else.
    #[error("{}: {what}", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is not as it should be.
        what: String,
    },
}

impl FormatError {
    pub(crate) fn layout(path: &Path, what: impl Into<String>) -> Self {
        Self::Layout { path: path.to_owned(), what: what.into() }
    }

    /// True where the disk is full.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::File(error) => error.is_out_of_space(),
            Self::Parquet { source: ParquetError::External(source), .. } => is_storage_full(source.as_ref()),
            Self::Arrow { source: ArrowError::IoError(_, source), .. } => is_storage_full(source),
            _ => false,
        }
    }
}

fn is_storage_full(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
}

/// How long a file is to be there, which decides how much work is put into making it small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// For good: zstd at level 3.
    Lasting,
    /// Until the end of the run: level 1, at more than twice the speed.
    Passing,
}

impl Storage {
    fn properties(self) -> WriterProperties {
        let level = match self {
            Self::Lasting => 3,
            Self::Passing => 1,
        };
        let level = ZstdLevel::try_new(level).expect("1 and 3 are zstd levels");
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(format!("moso documents format {DOCUMENTS_FORMAT}"))
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::Chunk);
        // Nearly every other value is the only one of its kind: looking each up costs more than it saves.
        for column in ["lang", "source", "kind", "license", "rule"] {
            properties = properties.set_column_dictionary_enabled(column.into(), true);
        }
        for column in ["text", "meta", "detail", "excerpt"] {
            properties = properties.set_column_statistics_enabled(column.into(), EnabledStatistics::None);
        }
        properties.build()
    }
}

/// Writes one shard of kept documents that passes away with the run. `signal_names` names the values of
/// [`Document::signals`], in order.
pub fn write_documents(
    folder: &Path,
    name: &str,
    documents: &[Document],
    signal_names: &[String],
) -> Result<FileEntry, FormatError> {
    let mut writer = DocumentsWriter::create(folder, name, signal_names, Storage::Passing)?;
    writer.write(documents)?;
    writer.finish()
}

/// A shard of kept documents while it is written, a group of rows at a time.
pub struct DocumentsWriter<'a> {
    rows: RowsWriter,
    signal_names: &'a [String],
}

impl<'a> DocumentsWriter<'a> {
    /// Starts `folder/name`.
    pub fn create(
        folder: &Path,
        name: &str,
        signal_names: &'a [String],
        storage: Storage,
    ) -> Result<Self, FormatError> {
        let mut writer = Self { rows: RowsWriter::create(folder, name, storage)?, signal_names };
        // The columns are known even where no document follows.
        writer.write(&[])?;
        Ok(writer)
    }

    /// Appends documents. Memory is held for those of one call.
    pub fn write(&mut self, documents: &[Document]) -> Result<(), FormatError> {
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("id", ids(documents.iter().map(|document| document.id))),
            ("text", strings(documents.iter().map(|document| &document.text[..]))),
            ("lang", strings(documents.iter().map(|document| &document.lang[..]))),
            ("source", strings(documents.iter().map(|document| &document.source[..]))),
            ("kind", strings(documents.iter().map(|document| document.kind.as_str()))),
            ("url", Arc::new(documents.iter().map(|document| document.url.as_deref()).collect::<StringArray>())),
            ("license", strings(documents.iter().map(|document| &document.license[..]))),
            ("label", Arc::new(documents.iter().map(|document| document.label).collect::<BooleanArray>())),
            ("loss", Arc::new(span_lists(documents.iter().map(|document| document.loss.as_deref())))),
            ("meta", strings(documents.iter().map(|document| &document.meta[..]))),
        ];
        for (index, signal) in self.signal_names.iter().enumerate() {
            let values = documents.iter().map(|document| document.signals[index]);
            columns.push((signal, Arc::new(Float32Array::from_iter_values(values))));
        }
        self.rows.write(columns, &["url", "label", "loss"])
    }

    /// Completes the file.
    pub fn finish(self) -> Result<FileEntry, FormatError> {
        self.rows.finish()
    }
}

/// Writes one shard of dropped documents that passes away with the run.
pub fn write_dropped(folder: &Path, name: &str, dropped: &[Dropped]) -> Result<FileEntry, FormatError> {
    let mut writer = DroppedWriter::create(folder, name, Storage::Passing)?;
    writer.write(dropped)?;
    writer.finish()
}

/// A shard of dropped documents while it is written, a group of rows at a time.
pub struct DroppedWriter(RowsWriter);

impl DroppedWriter {
    /// Starts `folder/name`.
    pub fn create(folder: &Path, name: &str, storage: Storage) -> Result<Self, FormatError> {
        let mut writer = Self(RowsWriter::create(folder, name, storage)?);
        writer.write(&[])?;
        Ok(writer)
    }

    /// Appends dropped documents.
    pub fn write(&mut self, dropped: &[Dropped]) -> Result<(), FormatError> {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", ids(dropped.iter().map(|document| document.id))),
            ("source", strings(dropped.iter().map(|document| &document.source[..]))),
            ("locator", strings(dropped.iter().map(|document| &document.locator[..]))),
            ("lang", strings(dropped.iter().map(|document| &document.lang[..]))),
            ("kind", strings(dropped.iter().map(|document| document.kind.as_str()))),
            ("rule", strings(dropped.iter().map(|document| &document.rule[..]))),
            ("detail", strings(dropped.iter().map(|document| &document.detail[..]))),
            ("excerpt", strings(dropped.iter().map(|document| &document.excerpt[..]))),
        ];
        self.0.write(columns, &[])
    }

    /// Completes the file.
    pub fn finish(self) -> Result<FileEntry, FormatError> {
        self.0.finish()
    }
}

/// Reads one shard of kept documents, with the names of its signals.
pub fn read_documents(path: &Path) -> Result<(Vec<Document>, Vec<String>), FormatError> {
    let mut documents = Vec::new();
    let mut signal_names = Vec::new();
    for batch in read_parquet(path)? {
        let is_signal = |field: &&Arc<Field>| *field.data_type() == DataType::Float32;
        signal_names = batch.schema().fields().iter().filter(is_signal).map(|field| field.name().clone()).collect();
        append_documents(path, &batch, &signal_names, &mut documents)?;
    }
    Ok((documents, signal_names))
}

/// Reads language and text of some documents of a shard, by their rows, ascending.
pub fn read_texts(path: &Path, rows: &[usize]) -> Result<Vec<(String, String)>, FormatError> {
    let file = File::open(path).map_err(|source| FileError::new("open", path, source))?;
    let failed = |source| FormatError::Parquet { path: path.to_owned(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
    let n_rows = builder.metadata().file_metadata().num_rows() as usize;
    let wanted = rows.iter().map(|&row| row..row + 1);
    let selection = RowSelection::from_consecutive_ranges(wanted, n_rows);
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["lang", "text"]);
    let reader = builder.with_projection(columns).with_row_selection(selection).build().map_err(failed)?;
    let mut texts = Vec::with_capacity(rows.len());
    for batch in reader {
        let batch = batch.map_err(|source| FormatError::Arrow { path: path.to_owned(), source })?;
        let (lang, text) = (string_column(path, &batch, "lang")?, string_column(path, &batch, "text")?);
        texts.extend((0..batch.num_rows()).map(|row| (lang.value(row).to_owned(), text.value(row).to_owned())));
    }
    Ok(texts)
}

/// Documents as they lie in Arrow's memory, without what only people ask for.
pub struct DocumentBatch {
    path: PathBuf,
    pub(crate) batch: RecordBatch,
}

/// Rows of a batch: enough for an encoder to warm up on, few enough that the longest of documents fit together.
const BATCH_ROWS: usize = 256;

/// Reads one shard of kept documents batch by batch, always cut at the same rows.
pub fn document_batches(
    path: &Path,
) -> Result<impl Iterator<Item = Result<DocumentBatch, FormatError>> + use<>, FormatError> {
    let file = File::open(path).map_err(|source| FileError::new("open", path, source))?;
    let failed = |source| FormatError::Parquet { path: path.to_owned(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
    let names = ["id", "text", "lang", "source", "kind", "label", "loss"];
    let columns = ProjectionMask::columns(builder.parquet_schema(), names);
    let reader = builder.with_projection(columns).with_batch_size(BATCH_ROWS).build().map_err(failed)?;
    let path = path.to_owned();
    Ok(reader.map(move |batch| {
        let batch = batch.map_err(|source| FormatError::Arrow { path: path.clone(), source })?;
        DocumentBatch::new(path.clone(), batch)
    }))
}

impl DocumentBatch {
    fn new(path: PathBuf, batch: RecordBatch) -> Result<Self, FormatError> {
        for name in ["text", "lang", "source", "kind"] {
            let array = string_column(&path, &batch, name)?;
            if array.null_count() > 0 {
                return Err(FormatError::layout(&path, format!("column {name} has rows without a value")));
            }
        }
        id_column(&path, &batch, "id")?;
        let label = column(&path, &batch, "label")?;
        label.as_boolean_opt().ok_or_else(|| FormatError::layout(&path, "label is not Boolean"))?;
        let (loss, text) = (span_column(&path, &batch)?, batch["text"].as_string::<i32>());
        for row in 0..batch.num_rows() {
            parse_kind(&path, batch["kind"].as_string::<i32>().value(row))?;
            if loss.is_valid(row) {
                check_spans(&path, &spans_at(loss, row), text.value(row))?;
            }
        }
        Ok(Self { path, batch })
    }

    /// Documents.
    pub fn n_rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Identity of a document.
    pub fn id(&self, row: usize) -> DocId {
        id_at(self.batch["id"].as_fixed_size_binary(), row)
    }

    /// Text of a document.
    pub fn text(&self, row: usize) -> &str {
        self.batch["text"].as_string::<i32>().value(row)
    }

    /// Language of a document.
    pub fn lang(&self, row: usize) -> &str {
        self.batch["lang"].as_string::<i32>().value(row)
    }

    /// Source of a document.
    pub fn source(&self, row: usize) -> &str {
        self.batch["source"].as_string::<i32>().value(row)
    }

    /// Kind of a document.
    pub fn kind(&self, row: usize) -> Kind {
        parse_kind(&self.path, self.batch["kind"].as_string::<i32>().value(row))
            .expect("it was parsed when it was read")
    }

    /// Label of a proposition.
    pub fn label(&self, row: usize) -> Option<bool> {
        let label = self.batch["label"].as_boolean();
        label.is_valid(row).then(|| label.value(row))
    }

    /// Bytes of a document's text whose tokens carry loss, in order and apart; `None` where all do.
    pub fn loss(&self, row: usize) -> Option<Vec<Span>> {
        let loss = self.batch["loss"].as_list::<i32>();
        loss.is_valid(row).then(|| spans_at(loss, row))
    }
}

fn span_column<'a>(path: &Path, batch: &'a RecordBatch) -> Result<&'a ListArray, FormatError> {
    let loss = column(path, batch, "loss")?.as_list_opt::<i32>();
    let spans = loss.filter(|lists| lists.value_type() == DataType::Struct(span_fields()));
    spans.ok_or_else(|| FormatError::layout(path, "loss is not a list of spans"))
}

/// Spans hold something, come in order and end where characters do.
fn check_spans(path: &Path, spans: &[Span], text: &str) -> Result<(), FormatError> {
    let mut end = 0;
    for span in spans {
        let (from, to) = (span.start as usize, span.end as usize);
        if from < end || to <= from || text.get(from..to).is_none() {
            return Err(FormatError::layout(path, format!("loss has a span of bytes {from} to {to}, which cannot be")));
        }
        end = to;
    }
    Ok(())
}

/// Reads one shard of dropped documents.
pub fn read_dropped(path: &Path) -> Result<Vec<Dropped>, FormatError> {
    let mut dropped = Vec::new();
    for batch in read_parquet(path)? {
        let ids = id_column(path, &batch, "id")?;
        let text = |name| string_column(path, &batch, name);
        let (source, locator, lang) = (text("source")?, text("locator")?, text("lang")?);
        let (kind, rule, detail) = (text("kind")?, text("rule")?, text("detail")?);
        let excerpt = text("excerpt")?;
        for row in 0..batch.num_rows() {
            dropped.push(Dropped {
                id: id_at(ids, row),
                source: source.value(row).to_owned(),
                locator: locator.value(row).to_owned(),
                lang: lang.value(row).to_owned(),
                kind: parse_kind(path, kind.value(row))?,
                rule: rule.value(row).to_owned(),
                detail: detail.value(row).to_owned(),
                excerpt: excerpt.value(row).to_owned(),
            });
        }
    }
    Ok(dropped)
}

fn append_documents(
    path: &Path,
    batch: &RecordBatch,
    signal_names: &[String],
    documents: &mut Vec<Document>,
) -> Result<(), FormatError> {
    let ids = id_column(path, batch, "id")?;
    let string = |name| string_column(path, batch, name);
    let (text, lang, source, kind) = (string("text")?, string("lang")?, string("source")?, string("kind")?);
    let (url, license, meta) = (string("url")?, string("license")?, string("meta")?);
    let label = column(path, batch, "label")?;
    let label = label.as_boolean_opt().ok_or_else(|| FormatError::layout(path, "label is not Boolean"))?;
    let loss = span_column(path, batch)?;
    let signals: Vec<&Float32Array> = signal_names
        .iter()
        .map(|name| column(path, batch, name).map(|array| array.as_primitive::<Float32Type>()))
        .collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        documents.push(Document {
            id: id_at(ids, row),
            text: text.value(row).to_owned(),
            lang: lang.value(row).to_owned(),
            source: source.value(row).to_owned(),
            kind: parse_kind(path, kind.value(row))?,
            url: url.is_valid(row).then(|| url.value(row).to_owned()),
            license: license.value(row).to_owned(),
            label: label.is_valid(row).then(|| label.value(row)),
            loss: loss.is_valid(row).then(|| spans_at(loss, row)),
            meta: meta.value(row).to_owned(),
            signals: signals.iter().map(|signal| signal.value(row)).collect(),
        });
    }
    Ok(())
}

/// A Parquet file while it is written; each call of `write` with rows makes a row group.
struct RowsWriter {
    path: PathBuf,
    /// The file until its columns are known.
    file: Option<AtomicFile>,
    storage: Storage,
    writer: Option<ArrowWriter<AtomicFile>>,
    n_rows: u64,
}

impl RowsWriter {
    fn create(folder: &Path, name: &str, storage: Storage) -> Result<Self, FormatError> {
        let file = AtomicFile::create(folder, name)?;
        Ok(Self { path: file.path(), file: Some(file), storage, writer: None, n_rows: 0 })
    }

    fn write(&mut self, columns: Vec<(&str, ArrayRef)>, nullable: &[&str]) -> Result<(), FormatError> {
        let field =
            |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), nullable.contains(name));
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let failed = |source| FormatError::Parquet { path: self.path.clone(), source };
        if let Some(file) = self.file.take() {
            let properties = self.storage.properties();
            self.writer = Some(ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(failed)?);
        }
        let batch = RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect())
            .map_err(|source| FormatError::Arrow { path: self.path.clone(), source })?;
        self.n_rows += batch.num_rows() as u64;
        let writer = self.writer.as_mut().expect("made by the first call");
        writer.write(&batch).and_then(|()| writer.flush()).map_err(failed)
    }

    fn finish(self) -> Result<FileEntry, FormatError> {
        let failed = |source| FormatError::Parquet { path: self.path.clone(), source };
        let writer = self.writer.expect("made by the first call of write");
        Ok(writer.into_inner().map_err(failed)?.finish(self.n_rows)?)
    }
}

fn read_parquet(path: &Path) -> Result<Vec<RecordBatch>, FormatError> {
    let file = File::open(path).map_err(|source| FileError::new("open", path, source))?;
    let failed = |source| FormatError::Parquet { path: path.to_owned(), source };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?.build().map_err(failed)?;
    reader.collect::<Result<_, _>>().map_err(|source| FormatError::Arrow { path: path.to_owned(), source })
}

pub(crate) fn ids(ids: impl ExactSizeIterator<Item = DocId>) -> ArrayRef {
    let bytes: Vec<u8> = ids.flat_map(|id| id.0).collect();
    Arc::new(FixedSizeBinaryArray::new(16, bytes.into(), None))
}

pub(crate) fn strings<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(crate) fn column<'a>(path: &Path, batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, FormatError> {
    batch.column_by_name(name).ok_or_else(|| FormatError::layout(path, format!("has no column {name}")))
}

pub(crate) fn string_column<'a>(
    path: &Path,
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a StringArray, FormatError> {
    let array = column(path, batch, name)?.as_string_opt::<i32>();
    array.ok_or_else(|| FormatError::layout(path, format!("column {name} is not text")))
}

pub(crate) fn id_column<'a>(
    path: &Path,
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a FixedSizeBinaryArray, FormatError> {
    let array = column(path, batch, name)?.as_fixed_size_binary_opt();
    array
        .filter(|array| array.value_length() == 16)
        .ok_or_else(|| FormatError::layout(path, format!("column {name} is not 16 bytes wide")))
}

pub(crate) fn id_at(array: &FixedSizeBinaryArray, row: usize) -> DocId {
    let mut id = [0; 16];
    id.copy_from_slice(array.value(row));
    DocId(id)
}

pub(crate) fn parse_kind(path: &Path, name: &str) -> Result<Kind, FormatError> {
    Kind::parse(name).ok_or_else(|| FormatError::layout(path, format!("unknown kind {name:?}")))
}
