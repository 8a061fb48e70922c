//! Every token is trained on exactly as often as the plan says.

use std::collections::BTreeMap;
use std::path::Path;

use corpus::{
    DocId, Kind, Manifest, PackedShard, Seed, Settings, Share, Span, TokenizedDocument, is_held_out, write_tokens,
};
use proptest::prelude::*;

use crate::*;

const NO_SETTINGS: Settings = Settings(serde_json::Value::Null);

fn document(index: usize, lang: &str, kind: Kind, len: usize) -> TokenizedDocument {
    TokenizedDocument {
        id: DocId::new("s", &index.to_string()),
        tokens: (0..len as u32).map(|i| 1000 * (index as u32 + 1) + i).collect(),
        loss: (kind == Kind::Proposition).then(|| vec![Span { start: len as u32 - 1, end: len as u32 }]),
        lang: lang.into(),
        source: "s".into(),
        kind,
    }
}

fn mix_of(en: f64, instruction: f64, proposition: f64, epochs_max: u32) -> Mix {
    Mix {
        language: BTreeMap::from([("en".into(), Share(en)), ("zh".into(), Share(1.0 - en))]),
        instruction: Share(instruction),
        proposition: Share(proposition),
        epochs_max,
    }
}

proptest! {
    #[test]
    fn quotas_are_exact_and_within_one_row(weights in prop::collection::vec(0.01_f64..1.0, 1..7), n_rows in 0_u64..5000) {
        let total: f64 = weights.iter().sum();
        let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let quotas = quotas(&shares, n_rows);
        prop_assert_eq!(quotas.iter().sum::<u64>(), n_rows);
        for (share, quota) in shares.iter().zip(&quotas) {
            prop_assert!((share * n_rows as f64 - *quota as f64).abs() < 1.0 + 1e-6);
        }
        // Every group has its turns, and no run of rows is far from the mix.
        let turns = interleave(&quotas);
        for (group, quota) in quotas.iter().enumerate() {
            prop_assert_eq!(turns.iter().filter(|&&turn| turn == group).count() as u64, *quota);
        }
        let mut emitted = vec![0_u64; quotas.len()];
        for (row, &turn) in turns.iter().enumerate() {
            emitted[turn] += 1;
            for (group, &n) in emitted.iter().enumerate() {
                let due = quotas[group] as f64 * (row + 1) as f64 / n_rows as f64;
                prop_assert!((due - n as f64).abs() < quotas.len() as f64);
            }
        }
    }

    /// Against the obvious twin: all documents of all epochs end to end in one long vector.
    #[test]
    fn cut_rows_are_the_documents_end_to_end(lens in prop::collection::vec(1_usize..40, 1..8), context in 1_usize..20, n_rows in 1_usize..30) {
        let documents: Vec<_> = lens.iter().enumerate().map(|(i, &len)| document(i, "en", Kind::Plain, len)).collect();
        let mut stream = Stream::new(documents.iter().collect(), Seed::root(1), context);
        let rows: Vec<Row> = (0..n_rows).map(|_| stream.next_row()).collect();
        let mut all = rows[0].tokens[..1].to_vec();
        rows.iter().for_each(|row| all.extend_from_slice(&row.tokens[1..]));
        // Epoch by epoch every document stands there whole and once.
        let n_epoch: usize = lens.iter().sum();
        for epoch in all.chunks_exact(n_epoch) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            let mut expected: Vec<u32> = documents.iter().flat_map(|document| document.tokens.clone()).collect();
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }
        // Segments say where every token came from, and every token but the first is a target once.
        let mut n_targets = 0;
        for row in &rows {
            for segment in &row.segments {
                n_targets += segment.n_targets();
                let document = documents.iter().find(|document| document.id == segment.doc).unwrap();
                let (start, len, offset) = (segment.row_start as usize, segment.len as usize, segment.doc_offset as usize);
                prop_assert_eq!(&row.tokens[start..start + len], &document.tokens[offset..offset + len]);
            }
        }
        prop_assert_eq!(n_targets as usize, n_rows * context);
    }

    #[test]
    fn propositions_stay_whole_and_keep_their_label(lens in prop::collection::vec(2_usize..14, 1..9), n_rows in 1_usize..9) {
        let documents: Vec<_> = lens.iter().enumerate().map(|(i, &len)| document(i, "en", Kind::Proposition, len)).collect();
        let mut stream = Stream::new(documents.iter().collect(), Seed::root(1), 9);
        let n_long = lens.iter().filter(|&&len| len > 10).count();
        prop_assert_eq!(stream.n_too_long() as usize, n_long);
        if stream.is_empty() {
            return Ok(());
        }
        for _ in 0..n_rows {
            let row = stream.next_row();
            prop_assert_eq!(row.tokens.len(), 10);
            prop_assert!(!row.segments.is_empty());
            for segment in &row.segments {
                let document = documents.iter().find(|document| document.id == segment.doc).unwrap();
                prop_assert_eq!(segment.len as usize, document.tokens.len());
                let label = segment.row_start + segment.len - 1;
                prop_assert_eq!(segment.loss_spans(), vec![Span { start: label, end: label + 1 }]);
            }
        }
    }
}

#[test]
fn an_epoch_counts_once_a_row_has_begun_it() {
    let documents: Vec<_> = (0..4).map(|index| document(index, "en", Kind::Proposition, 5)).collect();
    let mut stream = Stream::new(documents.iter().collect(), Seed::root(1), 9);
    let epochs: Vec<u32> = (0..4).map(|_| (stream.next_row(), stream.n_epochs()).1).collect();
    assert_eq!(epochs, [1, 1, 2, 2]);
}

fn corpus_in(out: &Path) -> Vec<TokenizedDocument> {
    let mut documents = Vec::new();
    for (lang, kind, n) in [
        ("en", Kind::Plain, 60),
        ("zh", Kind::Plain, 60),
        ("en", Kind::Instruction, 10),
        ("zh", Kind::Instruction, 10),
        ("en", Kind::Proposition, 20),
        ("zh", Kind::Proposition, 20),
    ] {
        for _ in 0..n {
            documents.push(document(documents.len(), lang, kind, 5 + documents.len() % 7));
        }
    }
    let file = write_tokens(&out.join("tokens"), "part-00000.arrow", &documents).unwrap();
    Manifest::new("tokenize", 1, &NO_SETTINGS).with_files(vec![file]).commit(&out.join("tokens")).unwrap();
    documents
}

fn stages() -> Vec<StageMix> {
    let stage = |name: &str, n_rows, en| StageMix { name: name.into(), n_rows, mix: mix_of(en, 0.1, 0.1, 3) };
    vec![stage("small", 40, 0.535), stage("large", 30, 0.4)]
}

fn job<'a>(out: &'a Path, stages: &'a [StageMix]) -> MixJob<'a> {
    MixJob { out, stages, context: 12, seed: Seed::root(7), held_out: 0.2, validation_rows: 3, settings: &NO_SETTINGS }
}

#[test]
fn stages_share_one_stream_and_never_see_held_out_documents() {
    let out = tempfile::tempdir().unwrap();
    let documents = corpus_in(out.path());
    mix(&job(out.path(), &stages()), &|_, _| {}).unwrap();
    let mut seen: BTreeMap<(DocId, u32), u32> = BTreeMap::new();
    for stage in stages() {
        let shard = PackedShard::open(&out.path().join(packed_folder(&stage.name)).join("part-00000.arrow")).unwrap();
        assert_eq!(shard.n_rows() as u64, stage.n_rows);
        let mut by_group: BTreeMap<(String, Kind), u64> = BTreeMap::new();
        for row in 0..shard.n_rows() {
            let segments = shard.segments(row).unwrap();
            *by_group.entry((segments[0].lang.clone(), segments[0].kind)).or_default() += 1;
            for segment in segments {
                assert!(!is_held_out(&Seed::root(7), segment.doc, 0.2));
                for span in segment.loss_spans() {
                    for position in span.start..span.end {
                        let key = (segment.doc, segment.doc_offset + position - segment.row_start);
                        *seen.entry(key).or_default() += 1;
                    }
                }
            }
        }
        let shares = stage.mix.shares().unwrap();
        for (group, share) in shares {
            let rows = by_group[&(group.lang.clone(), group.kind)];
            assert!((rows as f64 - share * stage.n_rows as f64).abs() < 1.0, "{group}: {rows}");
        }
    }
    // Within a group no token is more than one epoch ahead of another: nothing was repeated before all was read.
    for kind in [Kind::Plain, Kind::Instruction] {
        let training =
            documents.iter().filter(|d| d.kind == kind && d.lang == "en" && !is_held_out(&Seed::root(7), d.id, 0.2));
        let counts: Vec<u32> = training
            .flat_map(|d| (0..d.tokens.len() as u32).map(|i| seen.get(&(d.id, i)).copied().unwrap_or(0)))
            .collect();
        let first_token_of_the_stream = 1;
        let (low, high) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(high - low <= 1 + first_token_of_the_stream, "{kind}: {low} to {high}");
    }
    let validation = PackedShard::open(&out.path().join("packed/validation/part-00000.arrow")).unwrap();
    assert_eq!(validation.n_rows(), 6);
    for row in 0..6 {
        assert!(validation.segments(row).unwrap().iter().all(|s| is_held_out(&Seed::root(7), s.doc, 0.2)));
    }
}

#[test]
fn a_later_stage_changes_nothing_before_it() {
    let bytes = |stages: &[StageMix]| {
        let out = tempfile::tempdir().unwrap();
        corpus_in(out.path());
        mix(&job(out.path(), stages), &|_, _| {}).unwrap();
        std::fs::read(out.path().join("packed/small/part-00000.arrow")).unwrap()
    };
    let mut changed = stages();
    changed[1].mix = mix_of(0.9, 0.0, 0.0, 3);
    assert_eq!(bytes(&stages()), bytes(&changed));
}

#[test]
fn what_cannot_be_met_is_said_with_numbers() {
    let out = tempfile::tempdir().unwrap();
    corpus_in(out.path());
    let refused = |change: fn(&mut Vec<StageMix>)| {
        let mut stages = stages();
        change(&mut stages);
        mix(&job(out.path(), &stages), &|_, _| {}).unwrap_err().to_string()
    };
    let error = refused(|stages| stages[1].n_rows = 4000);
    assert!(error.contains("stage large needs 1280 rows of en plain; epoch 3"), "{error}");
    assert!(refused(|stages| stages[0].mix.instruction = Share(0.95)).contains("more than everything"));
    assert!(refused(|stages| stages[0].mix.language.clear()).contains("add up to 0"));
    let stages = stages();
    let job = MixJob { validation_rows: 1000, ..job(out.path(), &stages) };
    assert!(mix(&job, &|_, _| {}).unwrap_err().to_string().contains("1000 are needed: raise [eval] held_out"));
}
