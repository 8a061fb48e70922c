//! What there is to read: the documents of `tokens/` with their strata and with what was read of them before.
//!
//! A pass over the catalogue touches ids, lengths and names, never a token. Shards are visited independently of each other, so a
//! caller may visit them in any order, on any thread.

use std::path::{Path, PathBuf};

use corpus::{
    Column, DocId, FormatError, HeldOut, Kind, LedgerShard, Manifest, ManifestError, Reading, TokenShard, read_columns,
};

use crate::config::By;
use crate::plan::{Group, Stratum};
use crate::removal::Removed;

/// Which of the documents are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All that are not held out.
    Training,
    /// Plain text that is held out, sources not told apart.
    Validation,
}

/// The documents of a run.
pub(crate) struct Catalogue<'a> {
    /// Their shards, in order.
    pub(crate) shards: Vec<Shard>,
    /// Which of them.
    pub(crate) wanted: Wanted,
    /// What is held out.
    pub(crate) held_out: HeldOut,
    /// What must not be read.
    pub(crate) removed: Removed,
    /// Columns that strata are told apart by.
    pub(crate) by: &'a [By],
    /// Propositions that are longer are not read.
    pub(crate) n_row_tokens: usize,
}

/// A shard of tokens, the documents they are of, and what was read of them.
pub(crate) struct Shard {
    /// File of `tokens/`.
    pub(crate) tokens: PathBuf,
    documents: Option<PathBuf>,
    ledger: Option<PathBuf>,
    /// Number of its first document among all.
    pub(crate) first: u64,
    n_rows: u64,
}

/// A document that may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number among all documents.
    pub(crate) document: u64,
    /// Its identity.
    pub(crate) id: DocId,
    /// Its length.
    pub(crate) n_tokens: u32,
    /// What was read of it before.
    pub(crate) reading: Reading,
    /// Whether it cannot be read, since it is a proposition that no row holds.
    pub(crate) is_too_long: bool,
}

/// The shards of `tokens/`, each with its documents and with what the ledger says of them.
pub(crate) fn shards(
    out: &Path,
    documents: Option<&Path>,
    ledger: Option<&Path>,
) -> Result<Vec<Shard>, CatalogueError> {
    let tokens = out.join("tokens");
    let manifest = Manifest::read(&tokens)?;
    let paths = manifest.paths(&tokens);
    let beside = |folder: Option<&Path>| -> Result<Vec<Option<PathBuf>>, CatalogueError> {
        let Some(folder) = folder else { return Ok(vec![None; paths.len()]) };
        let found: Vec<Option<PathBuf>> = Manifest::read(folder)?.paths(folder).into_iter().map(Some).collect();
        if found.len() == paths.len() {
            return Ok(found);
        }
        Err(CatalogueError::Shards { folder: folder.to_owned(), found: found.len(), expected: paths.len() })
    };
    let (of_documents, readings) = (beside(documents)?, beside(ledger)?);
    let mut first = 0;
    let mut shards = Vec::with_capacity(paths.len());
    for (((tokens, documents), ledger), entry) in paths.into_iter().zip(of_documents).zip(readings).zip(&manifest.files)
    {
        shards.push(Shard { tokens, documents, ledger, first, n_rows: entry.rows });
        first += entry.rows;
    }
    Ok(shards)
}

/// Documents that cannot be looked through.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A shard.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Folders that do not belong together.
    #[error("{} has {found} shards where tokens/ has {expected}: run `moso mix` again from the first stage", folder.display())]
    Shards {
        /// The folder.
        folder: PathBuf,
        /// Shards in it.
        found: usize,
        /// Shards of tokens/.
        expected: usize,
    },
    /// A shard of other documents.
    #[error("{} has {found} rows where its shard of tokens/ has {expected}", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// Rows in it.
        found: usize,
        /// Rows of tokens/.
        expected: usize,
    },
}

impl Shard {
    /// What was read of its documents, in their order.
    pub(crate) fn readings(&self) -> Result<Readings, CatalogueError> {
        let Some(path) = &self.ledger else { return Ok(Readings(None)) };
        let ledger = LedgerShard::open(path)?;
        self.check_rows(path, ledger.n_rows())?;
        Ok(Readings(Some(ledger)))
    }

    fn check_rows(&self, path: &Path, found: usize) -> Result<(), CatalogueError> {
        let expected = self.n_rows as usize;
        if found == expected {
            return Ok(());
        }
        Err(CatalogueError::Rows { path: path.to_owned(), found, expected })
    }
}

/// What was read of a shard's documents; nothing before the first stage.
pub(crate) struct Readings(Option<LedgerShard>);

impl Readings {
    /// Of one document.
    pub(crate) fn of(&self, row: usize) -> Reading {
        self.0.as_ref().map(|ledger| ledger.reading(row)).unwrap_or_default()
    }
}

/// Documents in shards that can be visited independently of each other.
pub(crate) trait Documents: Sync {
    /// Number of shards.
    fn n_shards(&self) -> usize;

    /// Visits the wanted documents of a shard in their order. `name` is asked once in a while what a stratum is to be called.
    fn visit<Name: Copy, E: From<CatalogueError>>(
        &self,
        shard: usize,
        name: &mut dyn FnMut(&Stratum) -> Name,
        visit: &mut dyn FnMut(Name, Entry) -> Result<(), E>,
    ) -> Result<(), E>;
}

impl Documents for Catalogue<'_> {
    fn n_shards(&self) -> usize {
        self.shards.len()
    }

    fn visit<Name: Copy, E: From<CatalogueError>>(
        &self,
        shard: usize,
        name: &mut dyn FnMut(&Stratum) -> Name,
        visit: &mut dyn FnMut(Name, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let shard = &self.shards[shard];
        let tokens = TokenShard::open(&shard.tokens).map_err(CatalogueError::from)?;
        shard.check_rows(&shard.tokens, tokens.n_rows())?;
        let readings = shard.readings()?;
        let buckets = self.buckets(shard)?;
        let mut last: Option<(Stratum, Name)> = None;
        let mut row = 0;
        for batch in tokens.batches() {
            for index in 0..batch.n_rows() {
                let (id, kind, lang, source) =
                    (batch.id(index), batch.kind(index), batch.lang(index), batch.source(index));
                let place = row;
                row += 1;
                if !self.wants(id, kind, source) {
                    continue;
                }
                let source = if self.wanted == Wanted::Validation { "" } else { source };
                let is_last = |(stratum, _): &(Stratum, Name)| {
                    stratum.group.kind == kind
                        && stratum.group.lang == lang
                        && stratum.source == source
                        && stratum.buckets.iter().zip(&buckets).all(|(bucket, column)| *bucket == column[place])
                };
                let found = match last.take().filter(is_last) {
                    Some(found) => found,
                    None => {
                        let group = Group { lang: lang.to_owned(), kind };
                        let buckets = buckets.iter().map(|column| column[place]).collect();
                        let stratum = Stratum { group, source: source.to_owned(), buckets };
                        let name = name(&stratum);
                        (stratum, name)
                    }
                };
                let n_tokens = batch.n_tokens(index) as u32;
                let is_too_long = kind == Kind::Proposition && n_tokens as usize > self.n_row_tokens;
                let (document, reading) = (shard.first + place as u64, readings.of(place));
                visit(found.1, Entry { document, id, n_tokens, reading, is_too_long })?;
                last = Some(found);
            }
        }
        Ok(())
    }
}

impl Catalogue<'_> {
    fn wants(&self, id: DocId, kind: Kind, source: &str) -> bool {
        let is_wanted = match self.wanted {
            Wanted::Training => !self.held_out.contains(id),
            Wanted::Validation => kind == Kind::Plain && self.held_out.contains(id),
        };
        is_wanted && !self.removed.contains(id, source)
    }

    /// The bucket of every document of a shard, for each column.
    fn buckets(&self, shard: &Shard) -> Result<Vec<Vec<u8>>, CatalogueError> {
        let Some(path) = &shard.documents else { return Ok(Vec::new()) };
        let names: Vec<&str> = self.by.iter().map(|by| &by.column[..]).collect();
        let columns = read_columns(path, &names)?;
        let mut buckets = Vec::with_capacity(columns.len());
        for (column, by) in columns.into_iter().zip(self.by) {
            let of_column: Vec<u8> = match (&column, by.values.is_empty()) {
                (Column::Numbers(values), true) => values.iter().map(|&value| by.bucket_of_number(value)).collect(),
                (Column::Texts(values), false) => values.iter().map(|value| by.bucket_of_text(value)).collect(),
                (Column::Numbers(_), false) => return Err(wrong_column(path, by, "numbers: give edges, not values")),
                (Column::Texts(_), true) => return Err(wrong_column(path, by, "names: give values, not edges")),
            };
            shard.check_rows(path, of_column.len())?;
            buckets.push(of_column);
        }
        Ok(buckets)
    }
}

fn wrong_column(path: &Path, by: &By, what: &str) -> CatalogueError {
    FormatError::Layout { path: path.to_owned(), what: format!("column {} holds {what}", by.column) }.into()
}
