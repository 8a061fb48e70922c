//! `packed/STAGE/`: rows of `context + 1` tokens in training order, in Arrow IPC files that are mapped, not read.
//!
//! Columns: `tokens` `FixedSizeList<UInt32, context + 1>`; `segments` `List<Struct<doc FixedSizeBinary(16), row_start UInt32,
//! len UInt32, doc_offset UInt32, loss List<Struct<start, end>>?, source, lang, kind>>`. The file is uncompressed and its
//! buffers are 64-byte aligned, one record batch a file, so the tokens of a shard are one contiguous slice.
//!
//! Token `i + 1` of a row is predicted from the tokens up to `i`: the first token of a row is never a target. A segment
//! covers the row positions `row_start .. row_start + len`, which hold the document's positions from `doc_offset` on.
//! `loss` holds row positions of targets that carry loss; null means every position of the segment except the row's
//! first. Positions that no segment covers are padding and carry none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, ListArray, RecordBatch, StructArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, UInt32Type};
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};

use crate::document::{DocId, Kind};
use crate::documents::{FormatError, id_at, ids, parse_kind, strings};
use crate::files::AtomicFile;
use crate::manifest::FileEntry;
use crate::mapped::map_batches;
use crate::tokens::{span_lists, spans_at};

/// Version of the folder's layout.
pub const PACKED_FORMAT: u32 = 1;

/// A half-open range of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first position.
    pub start: u32,
    /// One past the last.
    pub end: u32,
}

impl Span {
    /// How many positions it holds.
    pub fn n_positions(self) -> u32 {
        self.end - self.start
    }
}

/// A piece of a document in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The document.
    pub doc: DocId,
    /// First row position.
    pub row_start: u32,
    /// Number of positions.
    pub len: u32,
    /// The document's position that lies at `row_start`.
    pub doc_offset: u32,
    /// Row positions of targets that carry loss; `None` where all of the segment do.
    pub loss: Option<Vec<Span>>,
    /// Source.
    pub source: String,
    /// Language.
    pub lang: String,
    /// Kind.
    pub kind: Kind,
}

impl Segment {
    /// The row positions whose prediction is trained on. Position 0 of a row is never one of them.
    pub fn loss_spans(&self) -> Vec<Span> {
        let whole = Span { start: self.row_start.max(1), end: self.row_start + self.len };
        match &self.loss {
            Some(spans) => spans.clone(),
            None if whole.start < whole.end => vec![whole],
            None => Vec::new(),
        }
    }

    /// How many targets carry loss.
    pub fn n_targets(&self) -> u64 {
        self.loss_spans().iter().map(|span| u64::from(span.n_positions())).sum()
    }
}

/// Writes one shard of rows.
pub struct PackedWriter {
    n_row_tokens: usize,
    tokens: Vec<u32>,
    segments: Vec<Vec<Segment>>,
}

impl PackedWriter {
    /// A shard of rows of `context + 1` tokens.
    pub fn new(context: usize) -> Self {
        Self { n_row_tokens: context + 1, tokens: Vec::new(), segments: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// Where the row has another length, a segment leaves it, or a token does not fit into an int32.
    pub fn push(&mut self, tokens: &[u32], segments: Vec<Segment>) {
        assert_eq!(tokens.len(), self.n_row_tokens, "a row is context + 1 tokens long");
        assert!(tokens.iter().all(|&token| token < 1 << 31), "a token id must fit into an int32");
        for segment in &segments {
            assert!((segment.row_start + segment.len) as usize <= tokens.len(), "a segment must lie inside its row");
        }
        self.tokens.extend_from_slice(tokens);
        self.segments.push(segments);
    }

    /// Rows so far.
    pub fn n_rows(&self) -> usize {
        self.segments.len()
    }

    /// Writes the shard.
    pub fn finish(self, folder: &Path, name: &str) -> Result<FileEntry, FormatError> {
        let n_rows = self.n_rows() as u64;
        let file = AtomicFile::create(folder, name)?;
        let path = file.path();
        let failed = |source| FormatError::Arrow { path: path.clone(), source };
        let schema = Arc::new(schema(self.n_row_tokens));
        let batch = RecordBatch::try_new(schema.clone(), self.into_columns()).map_err(failed)?;
        let options = IpcWriteOptions::try_new(64, false, MetadataVersion::V5).map_err(failed)?;
        let mut writer = FileWriter::try_new_with_options(file, &schema, options).map_err(failed)?;
        writer.write(&batch).map_err(failed)?;
        let file = writer.into_inner().map_err(failed)?;
        Ok(file.finish(n_rows)?)
    }

    fn into_columns(self) -> Vec<ArrayRef> {
        let item = Arc::new(Field::new("item", DataType::UInt32, false));
        let width = i32::try_from(self.n_row_tokens).expect("a context fits into an int32");
        let tokens = FixedSizeListArray::new(item, width, Arc::new(UInt32Array::from(self.tokens)), None);
        let offsets = OffsetBuffer::from_lengths(self.segments.iter().map(Vec::len));
        let flat: Vec<Segment> = self.segments.into_iter().flatten().collect();
        let number = |value: fn(&Segment) -> u32| -> ArrayRef {
            Arc::new(UInt32Array::from_iter_values(flat.iter().map(value)))
        };
        let columns: Vec<ArrayRef> = vec![
            ids(flat.iter().map(|segment| segment.doc)),
            number(|segment| segment.row_start),
            number(|segment| segment.len),
            number(|segment| segment.doc_offset),
            Arc::new(span_lists(flat.iter().map(|segment| segment.loss.as_deref()))),
            strings(flat.iter().map(|segment| &segment.source[..])),
            strings(flat.iter().map(|segment| &segment.lang[..])),
            strings(flat.iter().map(|segment| segment.kind.as_str())),
        ];
        let structs = StructArray::new(segment_fields(), columns, None);
        let item = Arc::new(Field::new("item", DataType::Struct(segment_fields()), false));
        vec![Arc::new(tokens), Arc::new(ListArray::new(item, offsets, Arc::new(structs), None))]
    }
}

fn segment_fields() -> Fields {
    let loss = span_lists(std::iter::empty());
    vec![
        Field::new("doc", DataType::FixedSizeBinary(16), false),
        Field::new("row_start", DataType::UInt32, false),
        Field::new("len", DataType::UInt32, false),
        Field::new("doc_offset", DataType::UInt32, false),
        Field::new("loss", loss.data_type().clone(), true),
        Field::new("source", DataType::Utf8, false),
        Field::new("lang", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
    ]
    .into()
}

fn schema(n_row_tokens: usize) -> Schema {
    let width = i32::try_from(n_row_tokens).expect("a context fits into an int32");
    let token = Arc::new(Field::new("item", DataType::UInt32, false));
    let segment = Arc::new(Field::new("item", DataType::Struct(segment_fields()), false));
    Schema::new(vec![
        Field::new("tokens", DataType::FixedSizeList(token, width), false),
        Field::new("segments", DataType::List(segment), false),
    ])
}

/// A mapped shard: its tokens are a slice of the file itself.
pub struct PackedShard {
    path: PathBuf,
    n_row_tokens: usize,
    n_rows: usize,
    tokens: UInt32Array,
    segments: ListArray,
}

impl PackedShard {
    /// Maps a shard. Nothing is copied; the pages are read when they are touched.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let batch = map_batch(path)?;
        let layout = |what: &str| FormatError::layout(path, what);
        let rows = batch.column_by_name("tokens").and_then(|array| array.as_fixed_size_list_opt());
        let rows = rows.ok_or_else(|| layout("has no column of token rows"))?;
        let n_row_tokens = usize::try_from(rows.value_length()).unwrap_or(0);
        if batch.schema().fields() != schema(n_row_tokens).fields() {
            return Err(layout("its columns are not those of packed rows"));
        }
        let tokens = rows.values().as_primitive::<UInt32Type>().clone();
        let segments = batch.column(1).as_list::<i32>().clone();
        Ok(Self { path: path.to_owned(), n_row_tokens, n_rows: batch.num_rows(), tokens, segments })
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Tokens that a row predicts: its length less one.
    pub fn context(&self) -> usize {
        self.n_row_tokens - 1
    }

    /// The tokens of `n_rows` rows from `first_row` on, `(n_rows, context + 1)`, row after row, in the mapped file.
    pub fn tokens(&self, first_row: usize, n_rows: usize) -> &[u32] {
        &self.tokens.values()[first_row * self.n_row_tokens..(first_row + n_rows) * self.n_row_tokens]
    }

    /// The segments of one row.
    pub fn segments(&self, row: usize) -> Result<Vec<Segment>, FormatError> {
        let values = self.segments.value(row);
        let values = values.as_struct();
        let number = |column: usize| values.column(column).as_primitive::<UInt32Type>();
        let text = |column: usize| values.column(column).as_string::<i32>();
        let (docs, loss) = (values.column(0).as_fixed_size_binary(), values.column(4).as_list::<i32>());
        let segment = |index: usize| {
            Ok(Segment {
                doc: id_at(docs, index),
                row_start: number(1).value(index),
                len: number(2).value(index),
                doc_offset: number(3).value(index),
                loss: loss.is_valid(index).then(|| spans_at(loss, index)),
                source: text(5).value(index).to_owned(),
                lang: text(6).value(index).to_owned(),
                kind: parse_kind(&self.path, text(7).value(index))?,
            })
        };
        (0..values.len()).map(segment).collect()
    }
}

/// The one batch of a shard.
fn map_batch(path: &Path) -> Result<RecordBatch, FormatError> {
    let batches = map_batches(path)?;
    match <[RecordBatch; 1]>::try_from(batches) {
        Ok([batch]) => Ok(batch),
        Err(batches) => {
            Err(FormatError::layout(path, format!("has {} record batches where one was expected", batches.len())))
        }
    }
}
