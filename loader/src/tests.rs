//! Any way of asking for rows gives the same rows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corpus::{DocId, Kind, Manifest, PackedWriter, Segment, Settings};
use proptest::prelude::*;

use crate::*;

const CONTEXT: usize = 3;

/// Folders with shards of the given numbers of rows; row r holds the tokens 4r, 4r + 1, 4r + 2, 4r + 3.
fn packed(root: &Path, folders: &[Vec<usize>]) -> Vec<PathBuf> {
    let mut row = 0;
    let mut paths = Vec::new();
    for (index, shards) in folders.iter().enumerate() {
        let folder = root.join(format!("stage-{index}"));
        let mut files = Vec::new();
        for (shard, n_rows) in shards.iter().enumerate() {
            let mut writer = PackedWriter::new(CONTEXT);
            for _ in 0..*n_rows {
                let tokens: Vec<u32> = (0..4).map(|i| 4 * row + i).collect();
                let segment = Segment {
                    doc: DocId::new("s", &row.to_string()),
                    row_start: 0,
                    len: 4,
                    doc_offset: 0,
                    loss: None,
                    source: "s".into(),
                    lang: "en".into(),
                    kind: Kind::Plain,
                };
                writer.push(&tokens, vec![segment]);
                row += 1;
            }
            files.push(writer.finish(&folder, &format!("part-{shard:05}.arrow")).unwrap());
        }
        Manifest::new("mix", 1, &Settings::default()).with_files(files).commit(&folder).unwrap();
        paths.push(folder);
    }
    paths
}

fn open(paths: &[PathBuf], context: usize, verify: Verify) -> Result<Loader, LoadError> {
    Loader::open(paths, &LoaderSettings { context, verify, tokenizer: None })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Every row once and in order, whatever the batch sizes, the ranks and the restarts, and changes of all of them on the way.
    #[test]
    fn any_batches_ranks_and_restarts_give_the_same_rows(
        folders in prop::collection::vec(prop::collection::vec(0_usize..5, 1..4), 1..4),
        steps in prop::collection::vec((1_u64..7, 1_u64..5, prop::bool::ANY), 40),
    ) {
        let root = tempfile::tempdir().unwrap();
        let paths = packed(root.path(), &folders);
        let n_rows = folders.iter().flatten().sum::<usize>() as u64;
        let mut loader = open(&paths, CONTEXT, Verify::Ahead).unwrap();
        prop_assert_eq!(loader.n_rows(), n_rows);
        let (mut seen, mut position) = (Vec::new(), 0);
        for (batch, n_ranks, restarts) in steps {
            if restarts {
                // Resuming is opening and knowing one integer.
                loader = open(&paths, CONTEXT, Verify::Start).unwrap();
            }
            let n = batch.min(n_rows - position);
            for rank in 0..n_ranks {
                let (first, n_of_rank) = rows_of_rank(position, n, rank, n_ranks);
                prop_assert!(n_of_rank.abs_diff(n / n_ranks) <= 1);
                for block in loader.blocks(first, n_of_rank).unwrap() {
                    seen.extend_from_slice(block.as_ref());
                }
            }
            if n > 0 {
                prop_assert_eq!(loader.segments(position).unwrap()[0].doc, DocId::new("s", &position.to_string()));
            }
            position += n;
        }
        prop_assert_eq!(seen, (0..4 * position as u32).collect::<Vec<_>>());
    }

    #[test]
    fn prefetched_batches_are_those_of_the_loader(
        shards in prop::collection::vec(1_usize..6, 1..6), batch in 1_u64..5, depth in 1_usize..4,
    ) {
        let root = tempfile::tempdir().unwrap();
        let loader = Arc::new(open(&packed(root.path(), &[shards]), CONTEXT, Verify::Ahead).unwrap());
        let n_batches = loader.n_rows() / batch;
        let requests = (0..n_batches).map(move |index| (index * batch, batch));
        let mut batches = Prefetch::start(loader, requests, depth, Loader::blocks);
        let mut seen: Vec<u32> = Vec::new();
        while let Some(blocks) = batches.next(&mut |_| ()) {
            blocks.unwrap().iter().for_each(|block| seen.extend_from_slice(block.as_ref()));
        }
        prop_assert_eq!(seen, (0..4 * (n_batches * batch) as u32).collect::<Vec<_>>());
    }
}

#[test]
fn a_block_is_the_mapped_file_itself() {
    let root = tempfile::tempdir().unwrap();
    let loader = open(&packed(root.path(), &[vec![4]]), CONTEXT, Verify::Ahead).unwrap();
    let (all, part) = (loader.blocks(0, 4).unwrap(), loader.blocks(2, 2).unwrap());
    assert_eq!(all[0].as_ref()[8..].as_ptr(), part[0].as_ref().as_ptr());
    // What goes through the channel of a prefetcher is the same memory.
    let expected = all[0].as_ref().as_ptr() as usize;
    let make = |loader: &Loader, first, n| Ok::<_, LoadError>(loader.blocks(first, n)?.swap_remove(0));
    let mut batches = Prefetch::start(Arc::new(loader), [(0, 4)].into_iter(), 1, make);
    let block = batches.next(&mut |_| ()).unwrap().unwrap();
    assert_eq!(block.as_ref().as_ptr() as usize, expected);
}

/// A disk that stalls is a wait that is told of and measured, and training goes on when it is over.
#[test]
fn a_stalled_disk_is_a_wait_not_a_hang() {
    let root = tempfile::tempdir().unwrap();
    let loader = Arc::new(open(&packed(root.path(), &[vec![4, 4]]), CONTEXT, Verify::Ahead).unwrap());
    let stall = Duration::from_millis(300);
    let make = move |loader: &Loader, first: u64, n: u64| {
        if first == 4 {
            std::thread::sleep(stall);
        }
        loader.blocks(first, n)
    };
    let requests = [(0, 4), (4, 4)].into_iter();
    let mut batches = Prefetch::start(loader, requests, 1, make).with_patience(Duration::from_millis(20));
    assert!(batches.next(&mut |_| ()).unwrap().is_ok());
    let (start, mut waits) = (Instant::now(), Vec::new());
    assert!(batches.next(&mut |waiting| waits.push(waiting)).unwrap().is_ok());
    assert!(start.elapsed() >= stall / 2);
    assert!(!waits.is_empty());
    assert!(
        waits.iter().all(|waiting| waiting.path.ends_with("part-00001.arrow") && waiting.seconds > 0.0),
        "{waits:?}"
    );
    assert!(batches.next(&mut |_| ()).is_none());
}

/// Dropped while a batch is being made: its thread is gone then, and the rows are closed.
#[test]
fn a_prefetch_ends_with_its_thread() {
    let root = tempfile::tempdir().unwrap();
    let loader = Arc::new(open(&packed(root.path(), &[vec![2, 3]]), CONTEXT, Verify::Ahead).unwrap());
    let make = |loader: &Loader, first, n| {
        std::thread::sleep(Duration::from_millis(50));
        loader.blocks(first, n)
    };
    let mut batches = Prefetch::start(Arc::clone(&loader), (0..5).map(|row| (row, 1)), 1, make);
    assert!(batches.next(&mut |_| ()).unwrap().is_ok());
    drop(batches);
    assert_eq!(Arc::strong_count(&loader), 1);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let paths = packed(root.path(), &[vec![2, 3]]);
    let loader = open(&paths, 8, Verify::Ahead).unwrap();
    assert!(matches!(loader.blocks(0, 1), Err(LoadError::Context { found: 3, expected: 8, .. })));
    let loader = open(&paths, CONTEXT, Verify::Ahead).unwrap();
    assert!(matches!(loader.blocks(4, 2), Err(LoadError::Range { .. })));
    assert!(matches!(loader.blocks(1, u64::MAX), Err(LoadError::Range { .. })));
    assert!(matches!(loader.segments(5), Err(LoadError::Range { .. })));
    drop(loader);
    let shard = paths[0].join("part-00001.arrow");
    let whole = fs::read(&shard).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let names = |found: Result<(), LoadError>| matches!(found, Err(LoadError::Hash { path }) if path == shard);
    assert!(names(open(&paths, CONTEXT, Verify::Start).map(drop)));
    // Ahead: what lies in whole shards can be had, and not a row of the damaged one.
    let loader = Arc::new(open(&paths, CONTEXT, Verify::Ahead).unwrap());
    assert!(loader.blocks(0, 2).is_ok());
    assert!(names(loader.blocks(1, 2).map(drop)));
    let mut batches = Prefetch::start(loader, [(0, 2), (2, 2), (4, 1)].into_iter(), 2, Loader::blocks);
    assert!(batches.next(&mut |_| ()).unwrap().is_ok());
    assert!(names(batches.next(&mut |_| ()).unwrap().map(drop)));
    assert!(batches.next(&mut |_| ()).is_none(), "nothing comes after an error");
    fs::write(&shard, &whole[..whole.len() - 1]).unwrap();
    let error = open(&paths, CONTEXT, Verify::Ahead).err().unwrap().to_string();
    assert!(error.contains("part-00001.arrow") && error.contains("its manifest says"), "{error}");
    fs::remove_file(&shard).unwrap();
    assert!(open(&paths, CONTEXT, Verify::Ahead).err().unwrap().to_string().contains("part-00001.arrow"));
    assert!(matches!(open(&[root.path().join("none")], CONTEXT, Verify::Ahead), Err(LoadError::Manifest(_))));
}

#[test]
fn rows_of_another_run_are_refused_before_a_shard_is_touched() {
    let root = tempfile::tempdir().unwrap();
    let paths = packed(root.path(), &[vec![2]]);
    let mut manifest = Manifest::read(&paths[0]).unwrap();
    let (ours, theirs) = (corpus::hash_bytes(b"our tokenizer"), corpus::hash_bytes(b"their tokenizer"));
    manifest.details = serde_json::json!({ "context": CONTEXT, "tokenizer": theirs });
    manifest.commit(&paths[0]).unwrap();
    let open = |context, tokenizer: &String| {
        Loader::open(
            &paths,
            &LoaderSettings { context, verify: Verify::Never, tokenizer: Some(String::clone(tokenizer)) },
        )
        .map(drop)
    };
    assert!(open(CONTEXT, &theirs).is_ok());
    assert!(
        matches!(open(CONTEXT, &ours), Err(LoadError::Tokenizer { path, expected, .. }) if path == paths[0] && expected == ours)
    );
    assert!(
        matches!(open(7, &theirs), Err(LoadError::Context { path, found: CONTEXT, expected: 7 }) if path == paths[0])
    );
}

#[test]
fn more_shards_than_stay_mapped_are_read_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let loader = open(&packed(root.path(), &[vec![1; 150]]), CONTEXT, Verify::Ahead).unwrap();
    for row in [0, 149, 75, 0, 3, 149].into_iter().chain(0..150) {
        assert_eq!(loader.blocks(row, 1).unwrap()[0].as_ref()[0], 4 * row as u32);
    }
}
