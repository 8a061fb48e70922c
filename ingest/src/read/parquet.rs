//! Tables in Parquet files, each row a JSON object, so that the templates of JSON lines serve for both.
//!
//! Only the columns that the templates name are read, a few rows at a time. Texts are taken as views into their page, so
//! that a value which a dictionary repeats a million times is held once. What a file claims about its pages is checked
//! before they are decoded (`page_headers.rs`, `page_deltas.rs`), since the claims of a damaged file can be anything. A row
//! group that cannot be decoded is one bad record that says how many rows are lost; reading goes on with the next row
//! group. Memory: a page of each column in use, and rows of at most [`BATCH_BYTES`].

use std::cell::Cell;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Schema, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::{ChunkReader, Length};
use serde_json::{Map, Number, Value};

use super::files::Origin;
use super::layers::EXPANSION_GRACE;
use super::page_deltas::check_deltas;
use super::page_headers::{Pages, check_pages, check_schema};
use super::{Numbered, Payload};
use crate::source::Reading;

/// So many rows are decoded at once, if their largest page allows for it.
const BATCH_ROWS_MAX: u64 = 1024;
const BATCH_BYTES: u64 = 32 << 20;

/// What lists in one column of a row group may hold; a row is taken whole, so this bounds it before it is measured.
const LISTED_VALUES_MAX: u64 = 1 << 24;

/// Every row weighs at least so much in the count of what a file unpacks to.
const ROW_BYTES_MIN: usize = 64;

/// An open table.
pub(super) struct Table {
    file: Opened,
    metadata: Option<ArrowReaderMetadata>,
    /// Why nothing more can be read, until that has been told.
    fault: Option<String>,
    /// The columns in use, by their place in the table.
    columns: Vec<usize>,
    n_groups_begun: usize,
    group: Option<ParquetRecordBatchReader>,
    batch: Option<RecordBatch>,
    n_batch_rows_done: usize,
    /// Rows of the open row group that are done with, and those of the whole file.
    n_group_rows: u64,
    n_rows: u64,
    n_unpacked: u64,
    n_bytes: u64,
    n_counted: u64,
    expansion_max: u64,
    n_bytes_read: Arc<AtomicU64>,
}

/// What the decoder reads from, shared by the columns.
#[derive(Clone)]
struct Opened(Arc<Origin>);

impl Table {
    /// Opens a file and reads its footer. What is wrong with it is told by [`Table::next_row`].
    pub(super) fn open(origin: Origin, reading: &Reading, expansion_max: u64, n_bytes_read: Arc<AtomicU64>) -> Self {
        let file = Opened(Arc::new(origin));
        let mut table = Self {
            n_bytes: file.len(),
            file,
            metadata: None,
            fault: None,
            columns: Vec::new(),
            n_groups_begun: 0,
            group: None,
            batch: None,
            n_batch_rows_done: 0,
            n_group_rows: 0,
            n_rows: 0,
            n_unpacked: 0,
            n_counted: 0,
            expansion_max,
            n_bytes_read,
        };
        match guarded(|| read_footer(&table.file))
            .and_then(|metadata| Ok((choose_columns(&metadata, reading)?, metadata)))
        {
            Ok((columns, metadata)) => (table.columns, table.metadata) = (columns, Some(metadata)),
            Err(what) => table.fault = Some(format!("is no table that can be read: {what}")),
        }
        table
    }

    /// The next row, or what is wrong with it and those behind it; nothing at the end.
    pub(super) fn next_row(&mut self, n_bytes_max: usize) -> Option<Numbered> {
        loop {
            if let Some(what) = self.fault.take() {
                self.metadata = None;
                return Some((None, Err(what)));
            }
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.n_batch_rows_done < batch.num_rows()) {
                let mut n_bytes_left = n_bytes_max;
                let row = row_value(batch, self.n_batch_rows_done, &mut n_bytes_left);
                self.pass_rows(1);
                self.n_unpacked += (n_bytes_max - n_bytes_left).max(ROW_BYTES_MIN) as u64;
                if self.n_unpacked > self.expansion_max.saturating_mul(self.n_bytes).saturating_add(EXPANSION_GRACE) {
                    self.give_up(format!("unpacks to more than {} times its size", self.expansion_max));
                }
                let row = row.map_err(|fault| fault.describe(n_bytes_max));
                return Some((Some(self.n_rows), row.map(Payload::Row)));
            }
            self.batch = None;
            let what = match self.next_rows()? {
                Ok(()) => continue,
                Err(what) => what,
            };
            let n_declared = self.metadata.as_ref().map_or(0, |metadata| n_rows_of(metadata, self.n_groups_begun - 1));
            let n_lost = n_declared.saturating_sub(self.n_group_rows).max(1);
            let number = self.n_rows + 1;
            self.n_rows += n_lost;
            return Some((
                Some(number),
                Err(format!("and the rows behind it, {n_lost} in all, cannot be decoded: {what}")),
            ));
        }
    }

    /// Passes over rows that are decoded already; how many.
    pub(super) fn skip_rows(&mut self, n: u64) -> u64 {
        let n_here = self.batch.as_ref().map_or(0, |batch| batch.num_rows() - self.n_batch_rows_done) as u64;
        self.pass_rows(n.min(n_here));
        n.min(n_here)
    }

    fn pass_rows(&mut self, n: u64) {
        self.n_batch_rows_done += n as usize;
        self.n_group_rows += n;
        self.n_rows += n;
    }

    fn give_up(&mut self, what: String) {
        (self.group, self.batch, self.fault) = (None, None, Some(what));
    }

    /// Decodes more rows, from the next row group where one is through; nothing at the end. What is wrong concerns the rest
    /// of the row group begun last.
    fn next_rows(&mut self) -> Option<Result<(), String>> {
        if let Some(group) = &mut self.group {
            match guarded(|| group.next().transpose().map_err(|error| error.to_string())) {
                Ok(Some(batch)) => {
                    self.n_batch_rows_done = 0;
                    self.batch = Some(batch);
                    return Some(Ok(()));
                }
                Ok(None) => self.group = None,
                Err(what) => {
                    self.group = None;
                    return Some(Err(what));
                }
            }
        }
        let metadata = self.metadata.as_ref()?;
        let index = self.n_groups_begun;
        if index == metadata.metadata().num_row_groups() {
            self.count(self.n_bytes);
            return None;
        }
        let n_packed: u64 = metadata
            .metadata()
            .row_group(index)
            .columns()
            .iter()
            .map(|column| column.compressed_size().max(0).unsigned_abs())
            .sum();
        let group = guarded(|| open_group(&self.file, metadata, index, &self.columns));
        self.n_groups_begun += 1;
        self.n_group_rows = 0;
        self.count(n_packed);
        Some(group.map(|group| self.group = Some(group)))
    }

    fn count(&mut self, n_bytes: u64) {
        let n_new = n_bytes.min(self.n_bytes - self.n_counted);
        self.n_counted += n_new;
        self.n_bytes_read.fetch_add(n_new, Ordering::Relaxed);
    }
}

/// Weighs a row as it stands in memory, roughly.
pub(super) fn n_bytes(row: &Value) -> usize {
    match row {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(n_bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + n_bytes(value)).sum(),
    }
}

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would be caught here, and be a damaged file.
pub(crate) fn is_guarded() -> bool {
    IS_GUARDED.get()
}

/// What the decoder panics on is a damaged file, not our end.
fn guarded<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    IS_GUARDED.set(true);
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    IS_GUARDED.set(false);
    decoded.unwrap_or_else(|_| Err("the decoder failed".to_owned()))
}

fn read_footer(file: &Opened) -> Result<ArrowReaderMetadata, String> {
    check_schema(file)?;
    let options =
        || ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(PageIndexPolicy::Skip);
    let plain = ArrowReaderMetadata::load(file, options()).map_err(|error| error.to_string())?;
    let schema = Arc::new(Schema::new(as_views(plain.schema().fields())));
    let viewed = ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options().with_schema(schema));
    viewed.map_err(|error| error.to_string())
}

/// Texts and bytes as views into the page that they come from.
fn as_views(fields: &Fields) -> Fields {
    fields.iter().map(as_view).collect()
}

fn as_view(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(item) => DataType::List(as_view(item)),
        DataType::LargeList(item) => DataType::LargeList(as_view(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(as_view(item), *length),
        DataType::Map(entries, is_sorted) => DataType::Map(as_view(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(as_views(fields)),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(kind))
}

fn choose_columns(metadata: &ArrowReaderMetadata, reading: &Reading) -> Result<Vec<usize>, String> {
    let wanted = reading.fields();
    let fields = metadata.schema().fields().iter().enumerate();
    let chosen: Vec<usize> =
        fields.filter(|(_, field)| wanted.contains(&&field.name()[..])).map(|(index, _)| index).collect();
    if chosen.is_empty() {
        return Err(format!("it has no column {}", wanted.join(" or ")));
    }
    Ok(chosen)
}

fn n_rows_of(metadata: &ArrowReaderMetadata, group: usize) -> u64 {
    u64::try_from(metadata.metadata().row_group(group).num_rows()).unwrap_or(0)
}

fn open_group(
    file: &Opened,
    metadata: &ArrowReaderMetadata,
    index: usize,
    columns: &[usize],
) -> Result<ParquetRecordBatchReader, String> {
    let group = metadata.metadata().row_group(index);
    let schema = metadata.parquet_schema();
    let mask = ProjectionMask::roots(schema, columns.iter().copied());
    let mut n_page_bytes = 1;
    for (leaf, column) in group.columns().iter().enumerate().filter(|(leaf, _)| mask.leaf_included(*leaf)) {
        let starts = [Some(column.data_page_offset()), column.dictionary_page_offset()];
        let start = starts.into_iter().flatten().min().unwrap_or_default();
        let (Ok(start), Ok(n_bytes)) = (u64::try_from(start), u64::try_from(column.compressed_size())) else {
            return Err("a column lies outside the file".to_owned());
        };
        let pages: Pages = check_pages(file, start, n_bytes)?;
        n_page_bytes = n_page_bytes.max(pages.n_bytes_max);
        let is_listed = schema.column(leaf).max_rep_level() > 0;
        if is_listed && (pages.n_values > LISTED_VALUES_MAX || pages.has_deltas) {
            let what = if pages.has_deltas { "DELTA_BYTE_ARRAY inside lists" } else { "too many values inside lists" };
            return Err(format!("column {:?} has {what}", schema.column(leaf).path().string()));
        }
        if pages.has_lengths {
            check_deltas(&Arc::new(file.clone()), column, n_rows_of(metadata, index) as usize)?;
        }
    }
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata.clone());
    let n_rows = (BATCH_BYTES / n_page_bytes).clamp(1, BATCH_ROWS_MAX);
    let builder = builder.with_projection(mask).with_row_groups(vec![index]).with_batch_size(n_rows as usize);
    builder.build().map_err(|error| error.to_string())
}

/// Why a row has no value.
enum RowFault {
    TooLong,
    NotText(String),
    Kind(String),
}

impl RowFault {
    fn describe(self, n_bytes_max: usize) -> String {
        match self {
            Self::TooLong => format!("is longer than {n_bytes_max} bytes"),
            Self::NotText(column) => format!("column {column:?} holds bytes that are not UTF-8"),
            Self::Kind(what) => what,
        }
    }
}

fn row_value(batch: &RecordBatch, row: usize, n_bytes_left: &mut usize) -> Result<Value, RowFault> {
    let schema = batch.schema_ref();
    let fields = schema.fields().iter().zip(batch.columns());
    let fields = fields.map(|(field, column)| {
        Ok((
            field.name().clone(),
            value_at(column, row, n_bytes_left).map_err(|fault| match fault {
                RowFault::NotText(_) => RowFault::NotText(field.name().clone()),
                other => other,
            })?,
        ))
    });
    fields.collect::<Result<Map<_, _>, _>>().map(Value::Object)
}

fn value_at(column: &ArrayRef, row: usize, n_bytes_left: &mut usize) -> Result<Value, RowFault> {
    *n_bytes_left = n_bytes_left.checked_sub(8).ok_or(RowFault::TooLong)?;
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    macro_rules! number {
        ($kind:ty) => {
            Value::from(column.as_primitive::<$kind>().value(row))
        };
    }
    Ok(match column.data_type() {
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float16 => Value::from(f32::from(column.as_primitive::<Float16Type>().value(row))),
        DataType::Float32 => shortest(column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => number!(Float64Type),
        DataType::Utf8View => text(column.as_string_view().value(row).as_bytes(), n_bytes_left)?,
        DataType::BinaryView => text(column.as_binary_view().value(row), n_bytes_left)?,
        DataType::FixedSizeBinary(_) => text(column.as_fixed_size_binary().value(row), n_bytes_left)?,
        DataType::List(_) => list(&column.as_list::<i32>().value(row), n_bytes_left)?,
        DataType::LargeList(_) => list(&column.as_list::<i64>().value(row), n_bytes_left)?,
        DataType::FixedSizeList(..) => list(&column.as_fixed_size_list().value(row), n_bytes_left)?,
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            let fields =
                columns.map(|(field, column)| Ok((field.name().clone(), value_at(column, row, n_bytes_left)?)));
            Value::Object(fields.collect::<Result<_, RowFault>>()?)
        }
        DataType::Map(..) => object(&column.as_map().value(row), n_bytes_left)?,
        _ => {
            let written = array_value_to_string(column, row).map_err(|error| RowFault::Kind(error.to_string()))?;
            text(written.as_bytes(), n_bytes_left)?
        }
    })
}

fn text(bytes: &[u8], n_bytes_left: &mut usize) -> Result<Value, RowFault> {
    *n_bytes_left = n_bytes_left.checked_sub(bytes.len()).ok_or(RowFault::TooLong)?;
    let text = std::str::from_utf8(bytes).map_err(|_| RowFault::NotText(String::new()))?;
    Ok(Value::String(text.to_owned()))
}

fn list(items: &ArrayRef, n_bytes_left: &mut usize) -> Result<Value, RowFault> {
    (0..items.len()).map(|index| value_at(items, index, n_bytes_left)).collect::<Result<_, _>>().map(Value::Array)
}

/// The entries of a map by their keys; whatever their type, they are written as texts.
fn object(entries: &StructArray, n_bytes_left: &mut usize) -> Result<Value, RowFault> {
    let [keys, values] = entries.columns() else { return Err(RowFault::Kind("holds a map without values".to_owned())) };
    let entry = |index| {
        let key = match value_at(keys, index, n_bytes_left)? {
            Value::String(key) => key,
            other => other.to_string(),
        };
        Ok((key, value_at(values, index, n_bytes_left)?))
    };
    (0..entries.len()).map(entry).collect::<Result<_, _>>().map(Value::Object)
}

/// The number that is written with the fewest digits, not the one that a wider type makes of it.
fn shortest(value: f32) -> Value {
    value.to_string().parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

impl Length for Opened {
    fn len(&self) -> u64 {
        match &*self.0 {
            Origin::File(file) => file.metadata().map_or(0, |metadata| metadata.len()),
            Origin::Memory(bytes) => bytes.len() as u64,
        }
    }
}

impl ChunkReader for Opened {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(match &*self.0 {
            Origin::File(file) => Box::new(file.get_read(start)?),
            Origin::Memory(bytes) => Box::new(bytes.get_read(start)?),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.saturating_add(length as u64) > self.len() {
            return Err(ParquetError::EOF("a page lies outside the file".to_owned()));
        }
        match &*self.0 {
            Origin::File(file) => file.get_bytes(start, length),
            Origin::Memory(bytes) => bytes.get_bytes(start, length),
        }
    }
}
