//! Whole jobs over random corpora: the rows on disk against the ledger, and the ledger against what there was to read.

use std::collections::BTreeSet;
use std::fs;

use corpus::{LedgerShard, PackedShard, Reading, Segment, is_held_out};
use loader::{Loader, LoaderSettings, rows_of_rank};
use proptest::prelude::*;

use super::*;

/// Tokens and segments of rows.
type Rows = Vec<(Vec<u32>, Vec<Segment>)>;

/// All rows of a stage.
fn rows_of(out: &Path, stage: &str) -> Rows {
    let folder = out.join(packed_folder(stage));
    let mut rows = Vec::new();
    for path in Manifest::read(&folder).unwrap().paths(&folder) {
        let shard = PackedShard::open(&path).unwrap();
        rows.extend((0..shard.n_rows()).map(|row| (shard.tokens(row, 1).to_vec(), shard.segments(row).unwrap())));
    }
    rows
}

fn readings_of(out: &Path, stage: &str) -> Vec<Reading> {
    let folder = out.join(ledger_folder(stage));
    let shards = Manifest::read(&folder).unwrap().paths(&folder);
    let shards = shards.iter().map(|path| LedgerShard::open(path).unwrap());
    shards.flat_map(|shard| (0..shard.n_rows()).map(move |row| shard.reading(row)).collect::<Vec<_>>()).collect()
}

#[derive(Clone, Debug)]
struct Case {
    lens: Vec<(usize, u8)>,
    shard: usize,
    stages: Vec<(u64, f64, Packing, bool, bool)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let packing = prop::sample::select(vec![Packing::Concatenate, Packing::BestFit, Packing::BestFitMasked]);
    let stage = (1_u64..40, 0.2_f64..0.8, packing, any::<bool>(), any::<bool>());
    (prop::collection::vec((2_usize..30, 0_u8..8), 60..160), 5_usize..50, prop::collection::vec(stage, 1..4))
        .prop_map(|(lens, shard, stages)| Case { lens, shard, stages })
}

fn corpus_of(case: &Case) -> Vec<TokenizedDocument> {
    let one = |(index, &(len, class)): (usize, &(usize, u8))| {
        let lang = if class % 2 == 0 { "en" } else { "zh" };
        let (source, kind) = match class {
            0 | 1 => ("books", Kind::Plain),
            2..=5 => ("web", Kind::Plain),
            6 => ("asked", Kind::Instruction),
            _ => ("judged", Kind::Proposition),
        };
        let mut document = document(index, lang, source, kind, len);
        if kind == Kind::Instruction && len > 6 {
            document.loss = Some(vec![Span { start: 2, end: 4 }, Span { start: 5, end: len as u32 }]);
        }
        document
    };
    case.lens.iter().enumerate().map(one).collect()
}

fn stages_of(case: &Case) -> Vec<StageMix> {
    let stage = |(index, &(n_rows, en, packing, is_given, is_weighed)): (usize, &(u64, f64, Packing, bool, bool))| {
        let mut mix = Mix { packing, ..mix_of(en, 0.0, 0.0, 200) };
        if is_given {
            mix.source.insert("books".into(), Share(0.1));
            mix.temperature = 2.0;
        }
        if is_weighed {
            let (edges, weights) = (vec![1.0, 3.0], vec![1.0, 2.0, 0.5]);
            mix.by.push(By { column: "cluster_size".into(), edges, values: vec![], weights, shares: vec![] });
        }
        StageMix { name: format!("stage-{index}"), n_rows, batch_rows: 4, mix }
    };
    case.stages.iter().enumerate().map(stage).collect()
}

/// How a stage is trained: rows of a batch, ranks that share each, and steps between restarts.
type Training = (u64, u64, u64);

fn trainings() -> impl Strategy<Value = Vec<Training>> {
    prop::collection::vec((1_u64..9, 1_u64..6, 1_u64..5), 3)
}

/// All rows of a stage as its ranks get them: batch after batch from the rows of all stages, each rank its part, and everything opened anew
/// at the position reached whenever training is started again.
fn rows_trained_on(out: &Path, stages: &[StageMix], index: usize, (batch, n_ranks, n_steps): Training) -> Rows {
    let folders: Vec<_> = stages.iter().map(|stage| out.join(packed_folder(&stage.name))).collect();
    let open = || Loader::open(&folders, &LoaderSettings::of_context(12)).unwrap();
    let mut position: u64 = stages[..index].iter().map(|stage| stage.n_rows).sum();
    let end = position + stages[index].n_rows;
    let (mut rows, mut loader, mut step) = (Rows::new(), open(), 0);
    while position < end {
        let n_rows = batch.min(end - position);
        for rank in 0..n_ranks {
            let (first, n) = rows_of_rank(position, n_rows, rank, n_ranks);
            let blocks = if n > 0 { loader.blocks(first, n).unwrap() } else { Vec::new() };
            let tokens: Vec<u32> = blocks.iter().flat_map(|block| block.as_ref().iter().copied()).collect();
            let of_rows = (first..first + n).map(|row| loader.segments(row).unwrap());
            rows.extend(tokens.chunks(13).map(<[u32]>::to_vec).zip(of_rows));
            assert_eq!(tokens.len() as u64, 13 * n, "a rank gets whole rows");
        }
        position += n_rows;
        step += 1;
        if step % n_steps == 0 {
            loader = open();
        }
    }
    rows
}

/// How often every position of every document was read; the first token of a later piece was read in the piece before.
fn count(seen: &mut BTreeMap<(DocId, u32), u32>, predicted: &mut BTreeMap<(DocId, u32), u32>, segments: &[Segment]) {
    for segment in segments {
        let first = segment.doc_offset + u32::from(segment.doc_offset > 0);
        (first..segment.doc_offset + segment.len).for_each(|i| *seen.entry((segment.doc, i)).or_default() += 1);
        for position in segment.loss_spans().iter().flat_map(|span| span.start..span.end) {
            let position = segment.doc_offset + position - segment.row_start;
            *predicted.entry((segment.doc, position)).or_default() += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// Over random corpora and stages whose shares, strata, packing, batches, ranks and restarts change from one to the next: what ranks get
    /// from the loader is what the ledger says was read, token by token; quotas hold to the row; nothing is read again before everything
    /// else was read.
    #[test]
    fn what_is_trained_on_is_exactly_what_the_ledger_says(case in cases(), trainings in trainings()) {
        let out = tempfile::tempdir().unwrap();
        let (documents, stages) = (corpus_of(&case), stages_of(&case));
        write_corpus(out.path(), &documents, case.shard);
        match run(out.path(), &stages, |job| job.validation_rows = 0) {
            Ok(()) => {}
            // Some random corpora have nothing of what a stage asks for, and say so.
            Err(MixError::TooLittle { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{error:?}"))),
        }
        let by_id: BTreeMap<DocId, &TokenizedDocument> = documents.iter().map(|document| (document.id, document)).collect();
        let (mut seen, mut predicted) = (BTreeMap::new(), BTreeMap::new());
        for (index, stage) in stages.iter().enumerate() {
            let rows = rows_trained_on(out.path(), &stages, index, trainings[index]);
            prop_assert_eq!(rows.len() as u64, stage.n_rows);
            let mut by_lang: BTreeMap<String, u64> = BTreeMap::new();
            for (tokens, segments) in &rows {
                *by_lang.entry(segments[0].lang.clone()).or_default() += 1;
                let mut covered = vec![false; tokens.len()];
                for segment in segments {
                    let document = by_id[&segment.doc];
                    let (start, len, offset) = (segment.row_start as usize, segment.len as usize, segment.doc_offset as usize);
                    prop_assert_eq!(&tokens[start..start + len], &document.tokens[offset..offset + len]);
                    prop_assert!(covered[start..start + len].iter().all(|is_covered| !is_covered));
                    covered[start..start + len].fill(true);
                    prop_assert!(!is_held_out(&Seed::root(7), segment.doc, 0.2));
                }
                prop_assert!(tokens.iter().zip(&covered).all(|(&token, &is_covered)| is_covered || token == 0));
                count(&mut seen, &mut predicted, segments);
            }
            for (group, share) in stage.mix.groups().unwrap() {
                let n_rows = by_lang.get(&group.lang).copied().unwrap_or(0);
                prop_assert!((n_rows as f64 - share * stage.n_rows as f64).abs() < 1.0);
            }
            // The ledger at the end of this stage says the same of every token.
            let readings = readings_of(out.path(), &stage.name);
            for (document, reading) in documents.iter().zip(&readings) {
                // A first token may stand at the end of a row and, to be looked at, at the start of the next one.
                for position in 1..document.tokens.len() as u32 {
                    let is_in = |rest: &&Span| rest.start < position && position < rest.end;
                    let n_to_come = reading.rest.iter().filter(is_in).count() as u32;
                    let n = seen.get(&(document.id, position)).copied().unwrap_or(0);
                    prop_assert_eq!(n, u32::from(reading.times) - n_to_come);
                }
            }
        }
        // Every token but first ones is predicted as often as it was read, where its document says that it carries loss.
        for ((id, position), n) in seen {
            let carries_loss = by_id[&id].loss.as_ref().is_none_or(|loss| loss.iter().any(|span| (span.start..span.end).contains(&position)));
            let found = predicted.get(&(id, position)).copied().unwrap_or(0);
            if position > 0 {
                prop_assert_eq!(found, if carries_loss { n } else { 0 }, "position {}", position);
            } else {
                prop_assert!(found <= n);
            }
        }
    }

    #[test]
    fn neither_threads_nor_memory_nor_shards_change_a_byte(case in cases()) {
        let (documents, stages) = (corpus_of(&case), stages_of(&case));
        let bytes = |n_threads: usize, memory: u64, shard: usize| {
            let out = tempfile::tempdir().unwrap();
            write_corpus(out.path(), &documents, shard);
            let threads = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            threads.install(|| run(out.path(), &stages, |job| (job.validation_rows, job.memory) = (0, memory))).ok()?;
            let read = |stage: &StageMix| fs::read(out.path().join(packed_folder(&stage.name)).join("part-00000.arrow")).unwrap();
            Some(stages.iter().map(read).collect::<Vec<_>>())
        };
        let expected = bytes(1, 1 << 30, case.shard);
        prop_assert_eq!(&bytes(3, 0, case.shard), &expected);
        prop_assert_eq!(&bytes(2, 1 << 20, documents.len()), &expected);
    }
}

fn demo_stages() -> Vec<StageMix> {
    let stage =
        |name: &str, n_rows, en| StageMix { name: name.into(), n_rows, batch_rows: 10, mix: mix_of(en, 0.1, 0.1, 3) };
    vec![stage("small", 40, 0.535), stage("large", 30, 0.4)]
}

fn demo_corpus(out: &Path) -> Vec<TokenizedDocument> {
    let mut documents = Vec::new();
    for (lang, source, kind, n) in [
        ("en", "web", Kind::Plain, 60),
        ("zh", "web", Kind::Plain, 60),
        ("en", "asked", Kind::Instruction, 10),
        ("zh", "asked", Kind::Instruction, 10),
        ("en", "judged", Kind::Proposition, 20),
        ("zh", "judged", Kind::Proposition, 20),
    ] {
        for _ in 0..n {
            documents.push(document(documents.len(), lang, source, kind, 5 + documents.len() % 7));
        }
    }
    write_corpus(out, &documents, 50);
    documents
}

#[test]
fn held_out_documents_are_validated_on_and_never_trained_on() {
    let out = tempfile::tempdir().unwrap();
    demo_corpus(out.path());
    run(out.path(), &demo_stages(), |_| {}).unwrap();
    let held_out = |segment: &Segment| is_held_out(&Seed::root(7), segment.doc, 0.2);
    for (_, segments) in demo_stages().iter().flat_map(|stage| rows_of(out.path(), &stage.name)) {
        assert!(!segments.iter().any(held_out));
    }
    let validation = rows_of(out.path(), VALIDATION);
    assert_eq!(validation.len(), 6);
    for (_, segments) in validation {
        assert!(segments.iter().all(held_out));
        assert!(segments.iter().all(|segment| segment.kind == Kind::Plain));
    }
}

#[test]
fn a_later_mix_is_changed_without_touching_what_is_packed() {
    let out = tempfile::tempdir().unwrap();
    demo_corpus(out.path());
    let mut stages = demo_stages();
    run(out.path(), &stages, |_| {}).unwrap();
    let small = out.path().join("packed/small");
    let before = fs::metadata(small.join(Manifest::NAME)).unwrap().modified().unwrap();
    let first: BTreeSet<DocId> = ids(&rows_of(out.path(), "small"));
    let open = |stages: &[StageMix]| {
        let settings =
            |name: &str| Settings(serde_json::to_value(stages.iter().find(|stage| stage.name == name)).unwrap());
        unfinished(&job(out.path(), stages, &settings)).unwrap()
    };
    assert!(open(&stages).is_empty());
    stages[1].mix = mix_of(0.9, 0.0, 0.0, 3);
    assert_eq!(open(&stages), ["large"]);
    run(out.path(), &stages, |_| {}).unwrap();
    assert_eq!(fs::metadata(small.join(Manifest::NAME)).unwrap().modified().unwrap(), before);
    // What the second stage reads first is what the first one did not read.
    let again: Rows = rows_of(out.path(), "large");
    let readings = readings_of(out.path(), "large");
    let max = readings.iter().map(|reading| reading.times).max().unwrap();
    assert!(again.iter().flat_map(|row| &row.1).any(|segment| !first.contains(&segment.doc)));
    assert!(max <= 3);
    let pending = out.path().join("packed/.work-large");
    assert!(!pending.exists(), "nothing is left of the sorting");
}

fn ids(rows: &[(Vec<u32>, Vec<Segment>)]) -> BTreeSet<DocId> {
    rows.iter().flat_map(|(_, segments)| segments).map(|segment| segment.doc).collect()
}

#[test]
fn what_cannot_be_met_is_said_with_numbers() {
    let out = tempfile::tempdir().unwrap();
    demo_corpus(out.path());
    let refused = |change: &dyn Fn(&mut Mix, &mut u64)| {
        let mut stages = demo_stages();
        let StageMix { mix, n_rows, .. } = &mut stages[1];
        change(mix, n_rows);
        run(out.path(), &stages, |job| job.validation_rows = 0).unwrap_err().to_string()
    };
    let error = refused(&|_, n_rows| *n_rows = 4000);
    assert!(error.contains("stage large cannot be mixed: en plain, web: 1280 rows are needed"), "{error}");
    assert!(error.contains("zh plain, web: 1920 rows are needed"), "all that is wrong is said at once: {error}");
    assert!(error.contains("when a document is read at most 3 times"), "{error}");
    assert!(error.contains("epochs_max = "), "{error}");
    let error = refused(&|mix, _| {
        mix.source.insert("web".into(), Share(0.9));
    });
    assert!(error.contains("its sources are given") && error.contains("the group itself has 0.32"), "{error}");
    let error = refused(&|mix, _| {
        mix.batch_min.insert("instruction".into(), 3);
    });
    assert!(error.contains("batch_min asks for 3 rows of instruction in every batch of 10"), "{error}");
    let error = refused(&|mix, _| mix.language = BTreeMap::from([("fr".into(), Share(1.0))]));
    assert!(error.contains("fr plain: 24 rows are needed, there is not one row of it"), "{error}");
    let error = refused(&|mix, _| {
        let by =
            By { column: "cluster".into(), edges: vec![1.0], values: vec![], weights: vec![1.0, 1.0], shares: vec![] };
        mix.by.push(by);
    });
    assert!(error.contains("column \"cluster\" is not there; there are") && error.contains("cluster_size"), "{error}");
    let out = tempfile::tempdir().unwrap();
    demo_corpus(out.path());
    let error = run(out.path(), &demo_stages(), |job| job.validation_rows = 1000).unwrap_err().to_string();
    assert!(error.contains("too little is held out") && error.contains("1000 rows are needed"), "{error}");
}

#[test]
fn what_is_proposed_works() {
    let out = tempfile::tempdir().unwrap();
    demo_corpus(out.path());
    let mut stages = demo_stages();
    stages[0].mix.source_epochs_max.insert("asked".into(), 1);
    stages[0].mix.instruction = Share(0.6);
    stages[0].mix.proposition = Share(0.0);
    let error = run(out.path(), &stages[..1], |_| {}).unwrap_err().to_string();
    let epochs: u32 = error
        .split("epochs_max = ")
        .skip(1)
        .map(|rest| rest.split(' ').next().unwrap().parse::<u32>().unwrap())
        .max()
        .unwrap();
    stages[0].mix.source_epochs_max.insert("asked".into(), epochs);
    run(out.path(), &stages[..1], |_| {}).unwrap();
}

#[test]
fn sources_without_a_share_stand_in_for_each_other() {
    let out = tempfile::tempdir().unwrap();
    let mut documents: Vec<_> = (0..5).map(|index| document(index, "en", "small", Kind::Plain, 20)).collect();
    documents.extend((5..200).map(|index| document(index, "en", "large", Kind::Plain, 20)));
    write_corpus(out.path(), &documents, 60);
    let mut mix = mix_of(1.0, 0.0, 0.0, 2);
    mix.language.remove("zh");
    mix.temperature = 1e9;
    let stages = [StageMix { name: "only".into(), n_rows: 100, batch_rows: 4, mix }];
    run(out.path(), &stages, |job| job.validation_rows = 0).unwrap();
    let rows = rows_of(out.path(), "only");
    let n_small = rows.iter().filter(|(_, segments)| segments[0].source == "small").count();
    // At that temperature half would be of the small source, which has not so much: two readings of what is not held out.
    let n_training = documents[..5].iter().filter(|document| !is_held_out(&Seed::root(7), document.id, 0.2)).count();
    assert_eq!(n_small, (2 * 20 * n_training - 1) / 12);
    assert_eq!(rows.len(), 100);
}

#[test]
fn columns_weigh_documents() {
    let out = tempfile::tempdir().unwrap();
    let documents: Vec<_> = (0..400).map(|index| document(index, "en", "web", Kind::Plain, 13)).collect();
    write_corpus(out.path(), &documents, 60);
    let mut mix = mix_of(1.0, 0.0, 0.0, 9);
    mix.language.remove("zh");
    let by = |column: &str, edges, values, weights, shares: Vec<f64>| {
        let shares = shares.into_iter().map(Share).collect();
        By { column: column.into(), edges, values, weights, shares }
    };
    mix.by = vec![
        by("license", vec![], vec!["MIT".into()], vec![], vec![0.75, 0.25]),
        by("cluster_size", vec![3.0], vec![], vec![1.0, 3.0], vec![]),
    ];
    let stages = [StageMix { name: "only".into(), n_rows: 120, batch_rows: 4, mix }];
    run(out.path(), &stages, |job| job.validation_rows = 0).unwrap();
    let by_id: BTreeMap<DocId, u32> = documents.iter().map(|d| (d.id, d.tokens[0] / 10_000 - 1)).collect();
    let (mut n_mit, mut n_large) = (0, 0);
    for (_, segments) in rows_of(out.path(), "only") {
        let number = by_id[&segments[0].doc];
        assert!(segments.iter().all(|segment| by_id[&segment.doc] % 2 == number % 2), "a row is of one stratum");
        n_mit += u32::from(number % 2 == 1);
        n_large += u32::from(number % 5 >= 3);
    }
    assert_eq!(n_mit, 90);
    // Two of five documents are large and read three times as often: 6 of 9 rows, not exactly, since chance held out a fifth.
    assert!((72..=88).contains(&n_large), "{n_large}");
}

/// What is taken down is in no row from its first one on; everything before that row is as it was, and the stage is as long.
#[test]
fn a_take_down_keeps_what_was_before_it() {
    let out = tempfile::tempdir().unwrap();
    let documents = demo_corpus(out.path());
    let stages = demo_stages();
    let mix_without = |removals: &[Removal]| {
        let settings =
            |name: &str| Settings(serde_json::to_value(stages.iter().find(|stage| stage.name == name)).unwrap());
        let job = MixJob { removals, ..job(out.path(), &stages, &settings) };
        let open = unfinished(&job).unwrap();
        mix(&job, &|_, _| ControlFlow::Continue(())).unwrap();
        open
    };
    mix_without(&[]);
    let before = rows_of(out.path(), "small");
    // A document whose first row lies in the middle of the first stage.
    let first_row =
        |id: DocId| before.iter().position(|(_, segments)| segments.iter().any(|segment| segment.doc == id));
    let (id, row) =
        documents.iter().find_map(|d| Some((d.id, first_row(d.id).filter(|row| (10..30).contains(row))?))).unwrap();
    let removal = |row: usize, documents: Vec<DocId>, sources: &[&str]| Removal {
        stage: 0,
        row: row as u64,
        documents: documents.iter().map(DocId::to_string).collect(),
        sources: sources.iter().map(|&source| source.into()).collect(),
        before: Vec::new(),
        settings: Vec::new(),
        tokens: String::new(),
    };
    let first = removal(row, vec![id], &[]);
    assert_eq!(mix_without(std::slice::from_ref(&first)), ["small", "large"]);
    let after = rows_of(out.path(), "small");
    assert_eq!(after[..row], before[..row]);
    assert_eq!(after.len(), before.len());
    assert!(
        ![after.as_slice(), &rows_of(out.path(), "large")]
            .concat()
            .iter()
            .any(|row| ids(std::slice::from_ref(row)).contains(&id))
    );
    check_ledger(out.path(), &documents, &["small", "large"]);
    assert!(mix_without(std::slice::from_ref(&first)).is_empty(), "done once, done");
    // A whole source, from an earlier row on, which then is where both have their effect.
    let second = removal(5, Vec::new(), &["judged"]);
    let without_judged: Vec<StageMix> = stages.clone();
    let error = {
        let settings = |_: &str| NO_SETTINGS;
        let removals = [first.clone(), second.clone()];
        let job = MixJob { removals: &removals, ..job(out.path(), &without_judged, &settings) };
        mix(&job, &|_, _| ControlFlow::Continue(())).unwrap_err().to_string()
    };
    assert!(
        error.contains("proposition") && error.contains("not one row of it"),
        "what is gone must be mixed otherwise: {error}"
    );
    assert_eq!(effective(&[first, second]), [(0, 5), (0, 5)]);
}

/// The ledger of the last stage against all rows of all stages.
fn check_ledger(out: &Path, documents: &[TokenizedDocument], stages: &[&str]) {
    let (mut seen, mut predicted) = (BTreeMap::new(), BTreeMap::new());
    for (_, segments) in stages.iter().flat_map(|stage| rows_of(out, stage)) {
        count(&mut seen, &mut predicted, &segments);
    }
    let readings = readings_of(out, stages[stages.len() - 1]);
    for (document, reading) in documents.iter().zip(&readings) {
        for position in 1..document.tokens.len() as u32 {
            let n_to_come = reading.rest.iter().filter(|rest| rest.start < position && position < rest.end).count();
            let n = seen.get(&(document.id, position)).copied().unwrap_or(0);
            assert_eq!(n, u32::from(reading.times) - n_to_come as u32, "{reading:?} {position}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    /// Take-downs of random documents at random rows: rows before the first stay, the ledger still says what was read.
    #[test]
    fn take_downs_anywhere_leave_an_exact_ledger(case in cases(), rows in prop::collection::vec((0_usize..3, 0_u64..40, 0_usize..60), 1..4)) {
        let out = tempfile::tempdir().unwrap();
        let (documents, stages) = (corpus_of(&case), stages_of(&case));
        write_corpus(out.path(), &documents, case.shard);
        let removals: Vec<Removal> = rows
            .iter()
            .map(|&(stage, row, document)| {
                let documents = vec![documents[document % documents.len()].id.to_string()];
                Removal {
                    stage: stage % stages.len(),
                    row,
                    documents,
                    sources: Vec::new(),
                    before: Vec::new(),
                    settings: Vec::new(),
                    tokens: String::new(),
                }
            })
            .collect();
        let names: Vec<&str> = stages.iter().map(|stage| &stage.name[..]).collect();
        let run_with = |removals: &[Removal]| -> Result<Vec<Rows>, TestCaseError> {
            let settings = |name: &str| Settings(serde_json::to_value(stages.iter().find(|stage| stage.name == name)).unwrap());
            let job = MixJob { removals, validation_rows: 0, ..job(out.path(), &stages, &settings) };
            match mix(&job, &|_, _| ControlFlow::Continue(())) {
                Ok(()) => Ok(names.iter().map(|name| rows_of(out.path(), name)).collect()),
                Err(MixError::TooLittle { .. }) => Err(TestCaseError::reject("too little")),
                Err(error) => Err(TestCaseError::fail(format!("{error:?}"))),
            }
        };
        let before = run_with(&[])?;
        let after = run_with(&removals)?;
        check_ledger(out.path(), &documents, &names);
        let places = effective(&removals);
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            prop_assert_eq!(before.len(), after.len());
            for row in (0..before.len()).take_while(|&row| places.iter().all(|&place| (index, row as u64) < place)) {
                prop_assert_eq!(&before[row], &after[row]);
            }
            for (removal, &place) in removals.iter().zip(&places) {
                for (row, (_, segments)) in after.iter().enumerate().filter(|(row, _)| (index, *row as u64) >= place) {
                    prop_assert!(segments.iter().all(|segment| segment.doc.to_string() != removal.documents[0]), "{row}");
                }
            }
        }
    }
}
