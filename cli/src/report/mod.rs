//! The report: one self-contained HTML file that a person reads after a run.
//!
//! [`read`] turns the run's folder into plain [`facts`], [`checks`] asks them what must hold, [`page`] and [`charts`]
//! turn them into text. Only this file and [`read`] touch the disk, so a page can be tested from made-up facts.

mod charts;
mod checks;
mod facts;
mod markup;
mod page;
mod read;

#[cfg(test)]
mod tests;

use std::path::Path;

use corpus::{Manifest, Parent, Settings, StageFolder, write_atomically};

use crate::failure::Failure;
use crate::run_file::Run;

#[cfg(test)]
pub(crate) use facts::{Growth, Seconds};
pub(crate) use facts::{Log, Step};
pub(crate) use read::log as read_log;

/// Version of the folder's layout.
pub(crate) const REPORT_FORMAT: u32 = 1;

/// Writes `report/index.html`.
pub(crate) fn write(run: &Run, out: &Path, settings: &Settings, parents: Vec<Parent>) -> Result<(), Failure> {
    let facts = read::read(run, out, &parents)?;
    let page = page::page(&facts);
    let folder = StageFolder::begin(&out.join("report"))?;
    let file = write_atomically(folder.path(), "index.html", page.as_bytes(), 1)?;
    Manifest::new("report", REPORT_FORMAT, settings)
        .with_parents(parents)
        .with_files(vec![file])
        .commit(folder.path())?;
    Ok(())
}
