//! The report: one self-contained HTML file.

use std::path::Path;

use corpus::{Manifest, Parent, StageFolder, write_atomically};

use crate::failure::Failure;
use crate::run_file::Run;

/// Version of the folder's layout.
pub(crate) const REPORT_FORMAT: u32 = 1;

/// Writes `report/index.html`.
pub(crate) fn write(run: &Run, out: &Path, config_hash: &str, parents: Vec<Parent>) -> Result<(), Failure> {
    let folder = StageFolder::begin(&out.join("report"))?;
    let page = format!("<h1>{}</h1>", run.report.title);
    let file = write_atomically(folder.path(), "index.html", page.as_bytes(), 1)?;
    Manifest::new("report", REPORT_FORMAT, config_hash)
        .with_parents(parents)
        .with_files(vec![file])
        .commit(folder.path())?;
    Ok(())
}
