//! `tokens/`: Arrow IPC files, one row a document.
//!
//! Columns: `id` FixedSizeBinary(16), `tokens` `List<UInt32>`, `loss` `List<Struct<start UInt32, end UInt32>>?` (spans of
//! token positions that carry loss; null means all), `lang`, `source`, `kind`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, UInt32Type};
use arrow::ipc::CompressionType;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};

use crate::document::{DocId, Kind};
use crate::documents::{FormatError, id_at, id_column, ids, parse_kind, string_column, strings};
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

/// Writes one shard.
pub fn write_tokens(folder: &Path, name: &str, documents: &[TokenizedDocument]) -> Result<FileEntry, FormatError> {
    let file = AtomicFile::create(folder, name)?;
    let path = file.path();
    let failed = |source| FormatError::Arrow { path: path.clone(), source };
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("id", ids(documents.iter().map(|document| document.id)), false),
        ("tokens", token_lists(documents), false),
        ("loss", Arc::new(span_lists(documents.iter().map(|document| document.loss.as_deref()))), true),
        ("lang", strings(documents.iter().map(|document| &document.lang[..])), false),
        ("source", strings(documents.iter().map(|document| &document.source[..])), false),
        ("kind", strings(documents.iter().map(|document| document.kind.as_str())), false),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array, nullable)| Field::new(*name, array.data_type().clone(), *nullable)).collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(failed)?;
    let options = IpcWriteOptions::default().try_with_compression(None::<CompressionType>).map_err(failed)?;
    let mut writer = FileWriter::try_new_with_options(file, &schema, options).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    let file = writer.into_inner().map_err(failed)?;
    Ok(file.finish(documents.len() as u64)?)
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

fn token_lists(documents: &[TokenizedDocument]) -> ArrayRef {
    let offsets = OffsetBuffer::from_lengths(documents.iter().map(|document| document.tokens.len()));
    let values: Vec<u32> = documents.iter().flat_map(|document| document.tokens.iter().copied()).collect();
    let field = Arc::new(Field::new("item", DataType::UInt32, false));
    Arc::new(ListArray::new(field, offsets, Arc::new(UInt32Array::from(values)), None))
}

fn span_fields() -> Fields {
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
