//! `tokens/`: Arrow IPC files, one row a document.
//!
//! Columns: `id` FixedSizeBinary(16), `tokens` `List<UInt32>`, `loss` `List<Struct<start UInt32, end UInt32>>?` (spans of
//! token positions that carry loss; null means all), `lang`, `source`, `kind`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, ListArray, RecordBatch, StringArray, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, UInt32Type};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};

use crate::document::{DocId, Kind};
use crate::documents::{DocumentBatch, FormatError, id_at, id_column, ids, parse_kind, string_column, strings};
use crate::files::AtomicFile;
use crate::manifest::FileEntry;
use crate::mapped::map_batches;
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

/// Reads one shard whole. For a few documents; [`TokenShard`] copies nothing.
pub fn read_tokens(path: &Path) -> Result<Vec<TokenizedDocument>, FormatError> {
    let shard = TokenShard::open(path)?;
    let documents = shard.batches().iter().flat_map(|batch| (0..batch.n_rows()).map(move |row| batch.document(row)));
    Ok(documents.collect())
}

/// A mapped shard.
pub struct TokenShard {
    batches: Vec<TokenRows>,
}

/// Documents of a mapped shard, as they lie in the file.
pub struct TokenRows {
    ids: FixedSizeBinaryArray,
    tokens: ListArray,
    values: UInt32Array,
    loss: ListArray,
    lang: StringArray,
    source: StringArray,
    kind: StringArray,
}

impl TokenShard {
    /// Maps a shard and checks that its columns are those of tokens. Tokens are read when they are touched.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let batches = map_batches(path)?.iter().map(|batch| TokenRows::new(path, batch)).collect::<Result<_, _>>()?;
        Ok(Self { batches })
    }

    /// Its documents, in order.
    pub fn batches(&self) -> &[TokenRows] {
        &self.batches
    }

    /// Documents in all batches.
    pub fn n_rows(&self) -> usize {
        self.batches.iter().map(TokenRows::n_rows).sum()
    }
}

impl TokenRows {
    fn new(path: &Path, batch: &RecordBatch) -> Result<Self, FormatError> {
        let list = |name| {
            let array = batch.column_by_name(name).and_then(|array| array.as_list_opt::<i32>());
            array.cloned().ok_or_else(|| FormatError::layout(path, format!("has no list column {name}")))
        };
        let (tokens, loss) = (list("tokens")?, list("loss")?);
        let values = tokens.values().as_primitive_opt::<UInt32Type>().cloned();
        let values = values.ok_or_else(|| FormatError::layout(path, "tokens are not UInt32"))?;
        if *loss.values().data_type() != DataType::Struct(span_fields()) {
            return Err(FormatError::layout(path, "loss is not a list of spans"));
        }
        let kind = string_column(path, batch, "kind")?.clone();
        kind.iter().flatten().try_for_each(|name| parse_kind(path, name).map(drop))?;
        Ok(Self {
            ids: id_column(path, batch, "id")?.clone(),
            tokens,
            values,
            loss,
            lang: string_column(path, batch, "lang")?.clone(),
            source: string_column(path, batch, "source")?.clone(),
            kind,
        })
    }

    /// Documents.
    pub fn n_rows(&self) -> usize {
        self.ids.len()
    }

    /// Identity of a document.
    pub fn id(&self, row: usize) -> DocId {
        id_at(&self.ids, row)
    }

    /// Number of its tokens. Touches none of them.
    pub fn n_tokens(&self, row: usize) -> usize {
        self.tokens.value_length(row) as usize
    }

    /// Its tokens, in the mapped file.
    pub fn tokens(&self, row: usize) -> &[u32] {
        let offsets = self.tokens.value_offsets();
        &self.values.values()[offsets[row] as usize..offsets[row + 1] as usize]
    }

    /// Its token positions that carry loss; `None` where all do.
    pub fn loss(&self, row: usize) -> Option<Vec<Span>> {
        self.loss.is_valid(row).then(|| spans_at(&self.loss, row))
    }

    /// Its language.
    pub fn lang(&self, row: usize) -> &str {
        self.lang.value(row)
    }

    /// Its source.
    pub fn source(&self, row: usize) -> &str {
        self.source.value(row)
    }

    /// Its kind.
    pub fn kind(&self, row: usize) -> Kind {
        Kind::parse(self.kind.value(row)).expect("it was parsed when the shard was opened")
    }

    fn document(&self, row: usize) -> TokenizedDocument {
        TokenizedDocument {
            id: self.id(row),
            tokens: self.tokens(row).to_vec(),
            loss: self.loss(row),
            lang: self.lang(row).to_owned(),
            source: self.source(row).to_owned(),
            kind: self.kind(row),
        }
    }
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
