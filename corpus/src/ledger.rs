//! `ledger/STAGE/`: what has been read of every document when a stage ends.
//!
//! Arrow IPC files, one for each shard of `tokens/`, row for row: `times` UInt8, how often reading of the document was begun;
//! `rest` `List<Struct<start UInt32, end UInt32>>?`, the spans of the last of these readings that are still to come (null:
//! none are). The next stage goes on from here whatever its mix is.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, ListArray, RecordBatch, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, UInt8Type};
use arrow::ipc::writer::FileWriter;

use crate::documents::FormatError;
use crate::files::AtomicFile;
use crate::manifest::FileEntry;
use crate::mapped::map_batches;
use crate::packed::Span;
use crate::tokens::{span_lists, spans_at};

/// Version of the folder's layout.
pub const LEDGER_FORMAT: u32 = 1;

/// What has been read of one document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How often reading it was begun.
    pub times: u8,
    /// What is still to come of the last time.
    pub rest: Vec<Span>,
}

/// Writes the readings of the documents of one shard, in their order.
pub fn write_ledger(folder: &Path, name: &str, readings: &[Reading]) -> Result<FileEntry, FormatError> {
    let file = AtomicFile::create(folder, name)?;
    let path = file.path();
    let failed = |source| FormatError::Arrow { path: path.clone(), source };
    let times = UInt8Array::from_iter_values(readings.iter().map(|reading| reading.times));
    let rest = span_lists(readings.iter().map(|reading| (!reading.rest.is_empty()).then_some(&reading.rest[..])));
    let schema = Arc::new(Schema::new(vec![
        Field::new("times", DataType::UInt8, false),
        Field::new("rest", rest.data_type().clone(), true),
    ]));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(times), Arc::new(rest)]).map_err(failed)?;
    let mut writer = FileWriter::try_new(file, &schema).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    let file = writer.into_inner().map_err(failed)?;
    Ok(file.finish(readings.len() as u64)?)
}

/// A mapped shard of a ledger.
pub struct LedgerShard {
    times: UInt8Array,
    rest: ListArray,
}

impl LedgerShard {
    /// Maps a shard.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let batches = map_batches(path)?;
        let layout = || FormatError::layout(path, "is not a shard of a ledger");
        let [batch] = &batches[..] else { return Err(layout()) };
        let times = batch.column_by_name("times").and_then(|array| array.as_primitive_opt::<UInt8Type>());
        let rest = batch.column_by_name("rest").and_then(|array| array.as_list_opt::<i32>());
        let (Some(times), Some(rest)) = (times, rest) else { return Err(layout()) };
        if rest.data_type() != span_lists(std::iter::empty()).data_type() {
            return Err(layout());
        }
        Ok(Self { times: times.clone(), rest: rest.clone() })
    }

    /// Documents.
    pub fn n_rows(&self) -> usize {
        self.times.len()
    }

    /// What has been read of a document.
    pub fn reading(&self, row: usize) -> Reading {
        let rest = if self.rest.is_valid(row) { spans_at(&self.rest, row) } else { Vec::new() };
        Reading { times: self.times.value(row), rest }
    }
}
