//! Formats: round trips, files that are cut or changed, and numbers as people write them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use proptest::prelude::*;

use crate::*;

fn document(index: u32) -> Document {
    let locator = format!("file.jsonl:{index}");
    Document {
        id: DocId::new("source", &locator),
        text: format!("text 文本 {index}"),
        lang: "en".into(),
        source: "source".into(),
        kind: Kind::Proposition,
        url: index.is_multiple_of(2).then(|| "https://example.org".into()),
        license: "CC0".into(),
        label: index.is_multiple_of(3).then_some(index.is_multiple_of(2)),
        loss: [None, Some(vec![]), Some(vec![Span { start: 0, end: 5 }, Span { start: 5, end: 8 }])]
            [index as usize % 3]
            .clone(),
        meta: format!("{{\"locator\":\"{locator}\"}}"),
        signals: vec![index as f32, 0.5],
    }
}

fn segment(row_start: u32, len: u32, loss: Option<Vec<Span>>) -> Segment {
    Segment {
        doc: DocId::new("source", "1"),
        row_start,
        len,
        doc_offset: 7,
        loss,
        source: "source".into(),
        lang: "zh".into(),
        kind: Kind::Plain,
    }
}

#[test]
fn documents_and_dropped_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let documents: Vec<Document> = (0..5).map(document).collect();
    let entry =
        write_documents(folder.path(), "part.parquet", &documents, &["length".to_owned(), "score".to_owned()]).unwrap();
    assert_eq!(entry.rows, 5);
    let (read, names) = read_documents(&folder.path().join("part.parquet")).unwrap();
    assert_eq!((read, names), (documents, vec!["length".to_owned(), "score".to_owned()]));

    let dropped = vec![Dropped {
        id: DocId::new("s", "1"),
        source: "s".into(),
        locator: "1".into(),
        lang: "fr".into(),
        kind: Kind::Plain,
        rule: "language".into(),
        detail: "fr 0.99".into(),
        excerpt: "Il était une fois".into(),
    }];
    write_dropped(folder.path(), "dropped.parquet", &dropped).unwrap();
    assert_eq!(read_dropped(&folder.path().join("dropped.parquet")).unwrap(), dropped);
}

#[test]
fn documents_in_batches_are_those_that_were_written_and_impossible_spans_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["length".to_owned(), "score".to_owned()];
    let path = folder.path().join("part.parquet");
    let documents: Vec<Document> = (0..7).map(document).collect();
    write_documents(folder.path(), "part.parquet", &documents, &names).unwrap();
    let batches: Vec<DocumentBatch> = document_batches(&path).unwrap().collect::<Result<_, _>>().unwrap();
    let rows = batches.iter().flat_map(|batch| (0..batch.n_rows()).map(move |row| (batch, row)));
    let read: Vec<_> = rows.map(|(batch, row)| (batch.id(row), batch.label(row), batch.loss(row))).collect();
    let expected: Vec<_> = documents.iter().map(|one| (one.id, one.label, one.loss.clone())).collect();
    assert_eq!(read, expected);
    let end = documents[0].text.len() as u32;
    // Beyond the end, inside a character, empty, out of order.
    for spans in [vec![(0, end + 1)], vec![(5, 6)], vec![(3, 3)], vec![(4, 5), (0, 2)], vec![(0, 3), (2, 5)]] {
        let loss = Some(spans.iter().map(|&(start, end)| Span { start, end }).collect());
        write_documents(folder.path(), "part.parquet", &[Document { loss, ..document(0) }], &names).unwrap();
        let error = document_batches(&path).unwrap().find_map(Result::err).unwrap();
        assert!(error.to_string().contains("which cannot be"), "{spans:?}: {error}");
    }
}

#[test]
fn tokens_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let document = |tokens: Vec<u32>, loss| TokenizedDocument {
        id: DocId::new("s", &format!("{tokens:?}")),
        tokens,
        loss,
        lang: "en".into(),
        source: "s".into(),
        kind: Kind::Plain,
    };
    let documents = vec![
        document(vec![1, 2, 3], None),
        document(vec![], Some(vec![])),
        document(vec![9; 40], Some(vec![Span { start: 3, end: 4 }, Span { start: 9, end: 40 }])),
    ];
    write_tokens(folder.path(), "part.arrow", &documents).unwrap();
    assert_eq!(read_tokens(&folder.path().join("part.arrow")).unwrap(), documents);
}

#[test]
fn packed_rows_are_mapped_aligned_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = PackedWriter::new(4);
    let second = vec![segment(0, 2, Some(vec![Span { start: 1, end: 2 }])), segment(2, 2, None)];
    writer.push(&[1, 2, 3, 4, 5], vec![segment(0, 5, None)]);
    writer.push(&[6, 7, 8, 9, 0], second.clone());
    writer.finish(folder.path(), "rows.arrow").unwrap();
    let shard = PackedShard::open(&folder.path().join("rows.arrow")).unwrap();
    assert_eq!((shard.n_rows(), shard.context()), (2, 4));
    assert_eq!(shard.tokens(0, 2), [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    assert_eq!(shard.tokens(0, 1).as_ptr() as usize % 64, 0);
    assert_eq!(shard.segments(1).unwrap(), second);
    assert_eq!(shard.segments(0).unwrap()[0].n_targets(), 4);
    assert_eq!(second[0].n_targets() + second[1].n_targets(), 3);
}

/// Every cut and many flips of a packed shard give an error or an unchanged shard, never a panic. (A flip inside the
/// tokens is what the manifest's hash is for.)
#[test]
fn damaged_packed_shards_are_refused_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = PackedWriter::new(4);
    writer.push(&[1, 2, 3, 4, 5], vec![segment(0, 5, None)]);
    writer.finish(folder.path(), "rows.arrow").unwrap();
    let whole = fs::read(folder.path().join("rows.arrow")).unwrap();
    let damaged = folder.path().join("damaged.arrow");
    for length in 0..whole.len() {
        fs::write(&damaged, &whole[..length]).unwrap();
        assert!(PackedShard::open(&damaged).is_err(), "cut at {length} was accepted");
    }
}

#[test]
fn verification_names_every_changed_file() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("documents");
    let entries: Vec<FileEntry> = ["a", "b"]
        .into_iter()
        .map(|name| write_atomically(&folder, name, name.repeat(10).as_bytes(), 1).unwrap())
        .collect();
    let hash = Manifest::new("ingest", 1, &Settings::default()).with_files(entries).commit(&folder).unwrap();
    let child = root.path().join("tokens");
    let parent = Parent { name: "documents".into(), hash };
    Manifest::new("tokenize", 1, &Settings::default()).with_parents(vec![parent]).commit(&child).unwrap();
    assert!(verify_tree(root.path()).unwrap().is_clean());

    for byte in 0..10 {
        let mut bytes = b"a".repeat(10);
        bytes[byte] ^= 1;
        fs::write(folder.join("a"), &bytes).unwrap();
        let found = verify_tree(root.path()).unwrap();
        assert_eq!(found.problems.len(), 1);
        assert!(found.problems[0].path.ends_with("documents/a"));
    }
    fs::remove_file(folder.join("a")).unwrap();
    assert_eq!(verify_tree(root.path()).unwrap().problems.len(), 1);
    write_atomically(&folder, "a", "a".repeat(10).as_bytes(), 1).unwrap();
    Manifest::new("ingest", 1, &Settings("other".into())).commit(&folder).unwrap();
    assert!(verify_tree(root.path()).unwrap().problems[0].what.contains("another version of documents"));
}

#[test]
fn an_unfinished_file_has_no_name_and_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = AtomicFile::create(folder.path(), "part").unwrap();
    file.write_all(b"half").unwrap();
    drop(file);
    assert!(!folder.path().join("part").exists());
    StageFolder::begin(folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("manifest.json"), "{\"name\": \"a web application\"}").unwrap();
    assert!(StageFolder::begin(folder.path()).is_err());
    assert!(folder.path().join("manifest.json").exists());
}

#[test]
fn a_full_disk_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("part.parquet.partial")).unwrap();
    let error =
        write_documents(folder.path(), "part.parquet", &[document(1)], &["a".to_owned(), "b".to_owned()]).unwrap_err();
    assert!(error.is_out_of_space(), "{error:?}");
    assert!(!folder.path().join("part.parquet").exists());
}

#[test]
fn tallies_stay_sorted_and_add_up() {
    let mut rows = Vec::new();
    for key in [("zh", "b", "plain"), ("en", "a", "plain"), ("zh", "b", "plain")] {
        Tally::add(&mut rows, key, "documents", 2);
    }
    assert_eq!(rows.iter().map(|row| &row.lang[..]).collect::<Vec<_>>(), ["en", "zh"]);
    assert_eq!(rows[1].amounts, BTreeMap::from([("documents".to_owned(), 4)]));
}

#[test]
fn seeds_are_functions_of_their_names() {
    let seed = Seed::root(7);
    assert_eq!(seed.stream("mix"), Seed::root(7).stream("mix"));
    assert_ne!(seed.stream("mix"), seed.stream("init"));
    assert_ne!(seed.stream("mix"), Seed::root(8).stream("mix"));
    let held_out = (0..10_000).filter(|i| is_held_out(&seed, DocId::new("s", &i.to_string()), 0.02)).count();
    assert!((150..250).contains(&held_out), "{held_out} of 10000 at 2 %");
}

#[test]
fn counts_are_read_as_people_write_them() {
    for (text, value) in [
        ("12", Some(12)),
        ("4_608_000", Some(4_608_000)),
        ("245.37B", Some(245_370_000_000)),
        ("2.5M", Some(2_500_000)),
        ("1.0K", Some(1000)),
        ("1.0001K", None),
        ("1.5", None),
        ("-3", None),
        ("B", None),
        ("", None),
        ("12Q", None),
    ] {
        assert_eq!(Count::parse(text).map(|count| count.0), value, "{text:?}");
    }
    assert_eq!(Count(245_370_000_000).to_string(), "245.37B");
}

proptest! {
    #[test]
    fn whole_counts_survive_printing(value in 0_u64..1000) {
        prop_assert_eq!(Count::parse(&Count(value).to_string()), Some(Count(value)));
    }
}
