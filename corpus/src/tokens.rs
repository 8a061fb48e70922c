//! `tokens/`: Arrow IPC files, one row a document.
//!
//! Columns: `id` FixedSizeBinary(16), `tokens` `List<UInt32>`, `loss` `List<Struct<start UInt32, end UInt32>>?` (spans of
//! token positions that carry loss; null means all), `lang`, `source`, `kind`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, UInt32Type};
use arrow::ipc::CompressionType;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};

use crate::document::{DocId, Kind};
use crate::documents::{DocumentBatch, FormatError, id_at, id_column, ids, parse_kind, string_column, strings};
use crate::files::AtomicFile;
use crate::manifest::FileEntry;
use crate::mapped::map_file;
use crate::packed::Span;

/// Version of the folder's layout.
pub const TOKENS_FORMAT: u32 = 1;

/// A document as token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizedDocument {
    /// The document.
    pub id: DocId,
    /// Its tokens; all below 2^31.
    pub tokens: Vec<u32>,
    /// Token positions that carry loss; `None` where all do.
    pub loss: Option<Vec<Span>>,
    /// Language.
    pub lang: String,
    /// Source.
    pub source: String,
    /// Kind.
    pub kind: Kind,
}

/// The tokens of a batch of documents, one document after the other.
pub struct TokenBatch {
    /// All tokens; all below 2^31.
    pub tokens: Vec<u32>,
    /// Tokens of each document.
    pub lengths: Vec<usize>,
    /// Token positions in each document that carry loss; `None` where all do.
    pub loss: Vec<Option<Vec<Span>>>,
}

/// Writes one shard.
pub fn write_tokens(folder: &Path, name: &str, documents: &[TokenizedDocument]) -> Result<FileEntry, FormatError> {
    let mut writer = TokensWriter::create(folder, name)?;
    let columns = [
        ids(documents.iter().map(|document| document.id)),
        strings(documents.iter().map(|document| &document.lang[..])),
        strings(documents.iter().map(|document| &document.source[..])),
        strings(documents.iter().map(|document| document.kind.as_str())),
    ];
    let tokens = TokenBatch {
        tokens: documents.iter().flat_map(|document| document.tokens.iter().copied()).collect(),
        lengths: documents.iter().map(|document| document.tokens.len()).collect(),
        loss: documents.iter().map(|document| document.loss.clone()).collect(),
    };
    writer.append(columns, tokens)?;
    writer.finish()
}

/// A shard while it is written, batch by batch.
pub struct TokensWriter {
    path: PathBuf,
    schema: Arc<Schema>,
    writer: FileWriter<AtomicFile>,
    n_rows: u64,
}

impl TokensWriter {
    /// Starts `folder/name`.
    pub fn create(folder: &Path, name: &str) -> Result<Self, FormatError> {
        let file = AtomicFile::create(folder, name)?;
        let path = file.path();
        let failed = |source| FormatError::Arrow { path: path.clone(), source };
        let text = |name| Field::new(name, DataType::Utf8, false);
        let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, false)));
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::FixedSizeBinary(16), false),
            Field::new("tokens", list(DataType::UInt32), false),
            Field::new("loss", list(DataType::Struct(span_fields())), true),
            text("lang"),
            text("source"),
            text("kind"),
        ]));
        let options = IpcWriteOptions::default().try_with_compression(None::<CompressionType>).map_err(failed)?;
        let writer = FileWriter::try_new_with_options(file, &schema, options).map_err(failed)?;
        Ok(Self { path, schema, writer, n_rows: 0 })
    }

    /// Appends the tokens of `documents`. Nothing is copied on the way to the file.
    pub fn write(&mut self, documents: &DocumentBatch, tokens: TokenBatch) -> Result<(), FormatError> {
        let columns = ["id", "lang", "source", "kind"].map(|name| Arc::clone(&documents.batch[name]));
        self.append(columns, tokens)
    }

    fn append(&mut self, [id, lang, source, kind]: [ArrayRef; 4], tokens: TokenBatch) -> Result<(), FormatError> {
        let failed = |source| FormatError::Arrow { path: self.path.clone(), source };
        let TokenBatch { tokens, lengths, loss } = tokens;
        assert_eq!(lengths.iter().sum::<usize>(), tokens.len(), "every token is one document's");
        let field = Arc::new(Field::new("item", DataType::UInt32, false));
        let values = Arc::new(UInt32Array::from(tokens));
        let lists = ListArray::new(field, OffsetBuffer::from_lengths(lengths), values, None);
        let loss = span_lists(loss.iter().map(Option::as_deref));
        let columns: Vec<ArrayRef> = vec![id, Arc::new(lists), Arc::new(loss), lang, source, kind];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(failed)?;
        self.n_rows += batch.num_rows() as u64;
        self.writer.write(&batch).map_err(failed)
    }

    /// Completes the file.
    pub fn finish(self) -> Result<FileEntry, FormatError> {
        let file = self.writer.into_inner().map_err(|source| FormatError::Arrow { path: self.path, source })?;
        Ok(file.finish(self.n_rows)?)
    }
}

/// Reads one shard.
pub fn read_tokens(path: &Path) -> Result<Vec<TokenizedDocument>, FormatError> {
    let buffer = map_file(path)?;
    let failed = |source| FormatError::Arrow { path: path.to_owned(), source };
    let reader = FileReader::try_new(std::io::Cursor::new(buffer.as_slice()), None).map_err(failed)?;
    let mut documents = Vec::new();
    for batch in reader {
        append_tokens(path, &batch.map_err(failed)?, &mut documents)?;
    }
    Ok(documents)
}

fn append_tokens(path: &Path, batch: &RecordBatch, documents: &mut Vec<TokenizedDocument>) -> Result<(), FormatError> {
    let ids = id_column(path, batch, "id")?;
    let (lang, source) = (string_column(path, batch, "lang")?, string_column(path, batch, "source")?);
    let kind = string_column(path, batch, "kind")?;
    let list = |name| {
        let array = batch.column_by_name(name).and_then(|array| array.as_list_opt::<i32>());
        array.ok_or_else(|| FormatError::layout(path, format!("has no list column {name}")))
    };
    let (tokens, loss) = (list("tokens")?, list("loss")?);
    for row in 0..batch.num_rows() {
        let values = tokens.value(row);
        let values = values.as_primitive_opt::<UInt32Type>();
        let values = values.ok_or_else(|| FormatError::layout(path, "tokens are not UInt32"))?;
        documents.push(TokenizedDocument {
            id: id_at(ids, row),
            tokens: values.values().to_vec(),
            loss: loss.is_valid(row).then(|| spans_at(loss, row)),
            lang: lang.value(row).to_owned(),
            source: source.value(row).to_owned(),
            kind: parse_kind(path, kind.value(row))?,
        });
    }
    Ok(())
}

pub(crate) fn span_fields() -> Fields {
    vec![Field::new("start", DataType::UInt32, false), Field::new("end", DataType::UInt32, false)].into()
}

/// A list of spans for each row; `None` becomes null.
pub(crate) fn span_lists<'a>(rows: impl Iterator<Item = Option<&'a [Span]>> + Clone) -> ListArray {
    let offsets = OffsetBuffer::from_lengths(rows.clone().map(|spans| spans.map_or(0, <[Span]>::len)));
    let nulls: NullBuffer = rows.clone().map(|spans| spans.is_some()).collect::<Vec<bool>>().into();
    let spans: Vec<Span> = rows.flatten().flatten().copied().collect();
    let starts = UInt32Array::from_iter_values(spans.iter().map(|span| span.start));
    let ends = UInt32Array::from_iter_values(spans.iter().map(|span| span.end));
    let values = StructArray::new(span_fields(), vec![Arc::new(starts), Arc::new(ends)], None);
    let field = Arc::new(Field::new("item", DataType::Struct(span_fields()), false));
    ListArray::new(field, offsets, Arc::new(values), Some(nulls))
}

/// The spans of one row of [`span_lists`].
pub(crate) fn spans_at(lists: &ListArray, row: usize) -> Vec<Span> {
    let values = lists.value(row);
    let values = values.as_struct();
    let (starts, ends) = (values.column(0).as_primitive::<UInt32Type>(), values.column(1).as_primitive::<UInt32Type>());
    starts.values().iter().zip(ends.values()).map(|(&start, &end)| Span { start, end }).collect()
}
