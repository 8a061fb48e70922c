//! Any way of asking for rows gives the same rows.

use std::fs;
use std::path::PathBuf;

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_batch_size_and_restart_gives_the_same_rows(
        folders in prop::collection::vec(prop::collection::vec(0_usize..5, 1..4), 1..4),
        batch in 1_u64..7,
    ) {
        let root = tempfile::tempdir().unwrap();
        let paths = packed(root.path(), &folders);
        let n_rows = folders.iter().flatten().sum::<usize>() as u64;
        let mut seen = Vec::new();
        let mut position = 0;
        while position < n_rows {
            // A loader of its own for every batch: resuming is opening and knowing one integer.
            let loader = Loader::open(&paths, CONTEXT).unwrap();
            prop_assert_eq!(loader.n_rows(), n_rows);
            let n = batch.min(n_rows - position);
            for block in loader.blocks(position, n).unwrap() {
                seen.extend_from_slice(block.as_ref());
            }
            prop_assert_eq!(loader.segments(position).unwrap()[0].doc, DocId::new("s", &position.to_string()));
            position += n;
        }
        prop_assert_eq!(seen, (0..4 * n_rows as u32).collect::<Vec<_>>());
    }
}

#[test]
fn a_block_is_the_mapped_file_itself() {
    let root = tempfile::tempdir().unwrap();
    let loader = Loader::open(&packed(root.path(), &[vec![4]]), CONTEXT).unwrap();
    let (all, part) = (loader.blocks(0, 4).unwrap(), loader.blocks(2, 2).unwrap());
    assert_eq!(all[0].as_ref()[8..].as_ptr(), part[0].as_ref().as_ptr());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let paths = packed(root.path(), &[vec![2]]);
    assert!(matches!(Loader::open(&paths, 8), Err(LoadError::Context { found: 3, expected: 8, .. })));
    let loader = Loader::open(&paths, CONTEXT).unwrap();
    assert!(matches!(loader.blocks(1, 2), Err(LoadError::Range { .. })));
    assert!(matches!(loader.segments(2), Err(LoadError::Range { .. })));
    drop(loader);
    let shard = paths[0].join("part-00000.arrow");
    let mut bytes = fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&shard, bytes).unwrap();
    assert!(matches!(Loader::open(&paths, CONTEXT), Err(LoadError::Hash { path }) if path == shard));
    assert!(matches!(Loader::open(&[root.path().join("none")], CONTEXT), Err(LoadError::Manifest(_))));
}
