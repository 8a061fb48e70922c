//! Single columns of `documents/`, by name: what a mix may weigh documents by.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float32Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::document::DocId;
use crate::documents::{FormatError, id_at, id_column, string_column};
use crate::files::FileError;

/// A column of one shard, in the order of its rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// A quality signal; NaN where it was not measured.
    Numbers(Vec<f32>),
    /// A name; empty where there is none.
    Texts(Vec<String>),
}

/// Where a document came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The document.
    pub id: DocId,
    /// Its source.
    pub source: String,
    /// Its licence.
    pub license: String,
    /// Its address; where it has none, what else is known of it, with file and record.
    pub place: String,
}

/// Calls `visit` with the origin of every document of one shard, in order. Texts are not read.
pub fn read_origins(path: &Path, visit: &mut dyn FnMut(Origin)) -> Result<(), FormatError> {
    let file = File::open(path).map_err(|source| FileError::new("open", path, source))?;
    let failed = |source| FormatError::Parquet { path: path.to_owned(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
    let columns = ["id", "source", "license", "url", "meta"];
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
    for batch in builder.with_projection(mask).build().map_err(failed)? {
        let batch = batch.map_err(|source| FormatError::Arrow { path: path.to_owned(), source })?;
        let ids = id_column(path, &batch, "id")?;
        let text = |name| string_column(path, &batch, name);
        let (source, license, url, meta) = (text("source")?, text("license")?, text("url")?, text("meta")?);
        for row in 0..batch.num_rows() {
            let place = if url.is_valid(row) { url.value(row) } else { meta.value(row) }.to_owned();
            let (source, license) = (source.value(row).to_owned(), license.value(row).to_owned());
            visit(Origin { id: id_at(ids, row), source, license, place });
        }
    }
    Ok(())
}

/// Reads columns of one shard of kept documents, in the order of `names`. Only these columns are read from the disk.
pub fn read_columns(path: &Path, names: &[&str]) -> Result<Vec<Column>, FormatError> {
    let file = File::open(path).map_err(|source| FileError::new("open", path, source))?;
    let failed = |source| FormatError::Parquet { path: path.to_owned(), source };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let field = builder.schema().fields().iter().find(|field| field.name() == name);
        columns.push(match field.map(|field| field.data_type()) {
            Some(DataType::Float32) => Column::Numbers(Vec::new()),
            Some(DataType::Utf8) => Column::Texts(Vec::new()),
            found => {
                let fits = |kind: &DataType| matches!(kind, DataType::Float32 | DataType::Utf8);
                let fields = builder.schema().fields().iter().filter(|field| fits(field.data_type()));
                let there: Vec<&str> = fields.map(|field| &field.name()[..]).filter(|name| *name != "text").collect();
                let what = if found.is_some() { "holds neither numbers nor names" } else { "is not there" };
                let what = format!("column {name:?} {what}; there are {}", there.join(", "));
                return Err(FormatError::layout(path, what));
            }
        });
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
    for batch in builder.with_projection(mask).build().map_err(failed)? {
        let batch = batch.map_err(|source| FormatError::Arrow { path: path.to_owned(), source })?;
        for (name, column) in names.iter().zip(&mut columns) {
            match column {
                Column::Numbers(values) => {
                    values.extend(
                        batch[*name].as_primitive::<Float32Type>().iter().map(|value| value.unwrap_or(f32::NAN)),
                    );
                }
                Column::Texts(values) => {
                    let texts = batch[*name].as_string::<i32>();
                    values.extend(
                        (0..texts.len()).map(|row| if texts.is_null(row) { "" } else { texts.value(row) }.to_owned()),
                    );
                }
            }
        }
    }
    Ok(columns)
}
