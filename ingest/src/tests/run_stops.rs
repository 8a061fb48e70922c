//! What cannot change the result: threads, memory, and being stopped at any point of any phase.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use corpus::{Manifest, Settings};

use super::run::{MIXED, write_mixed};
use super::run_fates::{SECTIONS, write_lists};
use super::{read_output, settings_and, sources};
use crate::{IngestConfig, IngestError, Source, Tell, ingest_parents, run};

/// Everything switched on that needs no model, over sources with something for most rules.
fn everything(folder: &Path, n_records: usize) -> (Vec<Source>, IngestConfig) {
    write_mixed(folder, n_records);
    write_lists(folder);
    let sections = SECTIONS.replace("FOLDER", folder.to_str().unwrap());
    (sources(MIXED, folder), settings_and(&sections, &[]))
}

fn run_in(
    out: &Path,
    (sources, config): &(Vec<Source>, IngestConfig),
    n_threads: usize,
    tell: Tell<'_>,
) -> Result<Manifest, IngestError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    pool.install(|| {
        let parents = ingest_parents(sources, config)?;
        run(sources, config, out, &Settings::default(), parents, tell)
    })
}

/// The sorts that have files of spilled rows in the work folder: `bands` for a file `bands.3`.
fn spilled(out: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(out.join("ingest-work")).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        name.split_once('.').filter(|(_, end)| end.parse::<u32>().is_ok()).map(|(sort, _)| sort.to_owned())
    };
    names.filter_map(name).collect()
}

#[test]
fn neither_threads_nor_memory_change_a_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (sources, config) = everything(folder.path(), 2000);
    let run_with = |n_threads, memory| {
        let out = folder.path().join(format!("out-{n_threads}-{memory}"));
        let seen = Mutex::new(BTreeSet::new());
        let watch = |_| {
            seen.lock().unwrap().extend(spilled(&out));
            ControlFlow::Continue(())
        };
        let config = IngestConfig { memory, ..config.clone() };
        run_in(&out, &(sources.clone(), config), n_threads, &watch).unwrap();
        (read_output(&out).bytes, seen.into_inner().unwrap())
    };
    let (once, seen) = run_with(1, 1 << 30);
    assert_eq!(seen, BTreeSet::new(), "all rows fit into a gigabyte");
    for (n_threads, memory) in [(2, 1 << 30), (7, 1 << 30), (1, 0), (2, 1 << 20), (7, 0)] {
        let (bytes, seen) = run_with(n_threads, memory);
        assert!(bytes == once, "{n_threads} threads with {memory} bytes differ");
        let is_small = memory < 1 << 30;
        for sort in ["bands", "pieces"] {
            assert_eq!(seen.contains(sort), is_small, "{sort}, {memory} bytes: {seen:?}");
        }
    }
}

/// Stopped wherever it can be, at each of these points alone, a run goes on to the same bytes; until then no result
/// lies there that looks whole.
#[test]
fn a_run_that_is_stopped_anywhere_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let job = everything(folder.path(), 800);
    let phases = Mutex::new(Vec::new());
    let whole = folder.path().join("whole");
    let note = |at: crate::Progress| {
        phases.lock().unwrap().push(at.phase);
        ControlFlow::Continue(())
    };
    run_in(&whole, &job, 1, &note).unwrap();
    let (whole, phases) = (read_output(&whole).bytes, phases.into_inner().unwrap());
    let all: BTreeSet<&str> = phases.iter().copied().collect();
    let expected = [
        "reading",
        "equal documents",
        "sketches",
        "reading pairs",
        "comparing pairs",
        "cutting",
        "repeated pieces",
        "writing",
    ];
    assert_eq!(all, BTreeSet::from(expected));
    let mut stopped_in = BTreeSet::new();
    for (point, phase) in phases.iter().enumerate() {
        // The first and the last point of every phase, and every third.
        let is_border = point == 0 || phases[point - 1] != *phase || phases.get(point + 1) != Some(phase);
        if !is_border && point % 3 != 0 {
            continue;
        }
        let out = folder.path().join(format!("stopped-{point}"));
        let n_told = AtomicUsize::new(0);
        let stop = |_| match n_told.fetch_add(1, Ordering::Relaxed) < point {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let stopped = run_in(&out, &job, 1, &stop);
        assert!(matches!(stopped, Err(IngestError::Interrupted)), "point {point}");
        assert!(!out.join("documents/manifest.json").exists() && out.join("ingest-work").exists(), "point {point}");
        stopped_in.insert(*phase);
        run_in(&out, &job, 2, &|_| ControlFlow::Continue(())).unwrap();
        assert!(read_output(&out).bytes == whole, "stopped at point {point}, {phase}");
        assert!(!out.join("ingest-work").exists());
        fs::remove_dir_all(&out).unwrap();
    }
    assert_eq!(stopped_in, all);
}

/// What a kill leaves of a shard that was being written (files without their commit, or a commit whose files are gone)
/// is not taken for the shard.
#[test]
fn half_a_shard_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let job = everything(folder.path(), 800);
    let whole = folder.path().join("whole");
    run_in(&whole, &job, 2, &|_| ControlFlow::Continue(())).unwrap();
    let whole = read_output(&whole).bytes;
    let out = folder.path().join("out");
    let stop_at = |phase: &'static str| {
        move |at: crate::Progress| match at.phase == phase {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    for name in ["shard.json", "documents.parquet", "dropped.parquet", "fingerprints.bin", "names.bin"] {
        run_in(&out, &job, 2, &stop_at("sketches")).unwrap_err();
        let shards = fs::read_dir(out.join("ingest-work")).unwrap().flatten().filter(|one| one.path().is_dir());
        assert!(shards.count() >= 2);
        fs::remove_file(out.join("ingest-work/shard-000001").join(name)).unwrap();
        run_in(&out, &job, 2, &stop_at("sketches")).unwrap_err();
        let path = out.join("ingest-work/shard-000000").join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        run_in(&out, &job, 2, &|_| ControlFlow::Continue(())).unwrap();
        assert!(read_output(&out).bytes == whole, "{name}");
    }
}
