//! Grids, subsets, and where a run and its small models can be compared.

use proptest::prelude::*;

use super::*;

fn shape(hidden: u64) -> Shape {
    Shape { layers: 2, hidden, heads: hidden / 16, head_size: 16, ffn: 4 * hidden, vocabulary: 1024, context: 128 }
}

fn mup() -> MuP {
    MuP { base_width: 32, input_multiplier: 1.0, output_multiplier: 2.0, init_std: 0.05 }
}

fn request() -> SweepRequest {
    SweepRequest {
        shape: shape(32),
        tokens: 10_240,
        batch: Batch { rows: 8, micro_rows: 4 },
        schedule: LearningRate::Cosine { peak: 1.0, end: 0.1, warmup_tokens: 1_024 },
        learning_rates: vec![1e-3, 1e-2, 1e-1],
        init_stds: vec![0.02, 0.05],
        output_multipliers: vec![1.0, 2.0],
        seeds: vec![1, 2],
        points: None,
    }
}

fn run() -> RunPlan {
    let stage = |name: &str, tokens: u64| StageRequest {
        name: name.to_owned(),
        tokens,
        shape: shape(64),
        batch: Batch { rows: 8, micro_rows: 4 },
        learning_rate: (name != "b").then_some(LearningRate::Cosine { peak: 0.02, end: 0.01, warmup_tokens: 1_024 }),
        growth: None,
    };
    plan(&[stage("a", 30_720), stage("b", 20_480), stage("c", 10_240)], mup()).unwrap()
}

fn law(tokens: u64, widths: &[u64]) -> LawRequest {
    LawRequest { shape: shape(32), widths: widths.to_vec(), tokens, seeds: vec![7], confidence: 0.9 }
}

#[test]
fn every_point_is_tried_with_every_seed() {
    let trials = sweep_trials(&request(), mup(), 7).unwrap();
    assert_eq!(trials.len(), 3 * 2 * 2 * 2);
    let names: std::collections::BTreeSet<&String> = trials.iter().map(|trial| &trial.name).collect();
    assert_eq!(names.len(), trials.len());
    for trial in &trials {
        let (point, stage) = (trial.point.unwrap(), &trial.plan.stages[0]);
        assert_eq!((stage.learning_rate.rate.peak(), trial.plan.mup.init_std), (point.lr, point.init_std));
        assert_eq!(stage.learning_rate.rate.end(), 0.1 * point.lr);
        assert_eq!(trial.plan.mup.output_multiplier, point.output_multiplier);
        assert_eq!((trial.n_tokens(), trial.n_steps), (10_240, 10));
    }
}

proptest! {
    /// A subset is a part of the grid in the grid's order, a function of the seed, and grows without losing what it had.
    #[test]
    fn a_subset_is_part_of_the_grid(points in 1_u64..12, seed in any::<u64>()) {
        let names = |points: Option<u64>| -> Vec<String> {
            let trials = sweep_trials(&SweepRequest { points, ..request() }, mup(), seed).unwrap();
            trials.into_iter().map(|trial| trial.name).collect()
        };
        let (all, some, more) = (names(None), names(Some(points)), names(Some(points + 1)));
        prop_assert_eq!(some.len() as u64, 2 * points);
        let kept: Vec<String> = all.into_iter().filter(|name| some.contains(name)).collect();
        prop_assert_eq!(&kept, &some);
        prop_assert!(some.iter().all(|name| more.contains(name)));
    }

    /// Places are those steps at which a stage ends, or the last step: against a count of every step.
    #[test]
    fn places_are_where_stages_end(n_steps in 1_u64..=60) {
        let run = run();
        for (place, stage) in places(&run, n_steps).into_iter().zip(&run.stages) {
            let trained: Vec<u64> = (0..n_steps).filter(|step| run.stage_at(*step) == Some(place.stage)).collect();
            prop_assert_eq!(place.is_reached, !trained.is_empty());
            prop_assert_eq!(place.step, trained.last().map_or(n_steps, |last| last + 1));
            prop_assert_eq!(place.tokens, place.step * stage.batch_tokens());
        }
    }
}

#[test]
fn subsets_differ_by_seed() {
    let names =
        |seed: u64| sweep_trials(&SweepRequest { points: Some(5), ..request() }, mup(), seed).unwrap().remove(0).name;
    assert!((0..20).any(|seed| names(seed) != names(0)));
}

#[test]
fn models_of_a_law_take_the_runs_way_at_other_widths() {
    let run = run();
    let trials = law_trials(&law(40_960, &[64, 32, 16, 48]), &run, 10).unwrap();
    let widths: Vec<u64> = trials.iter().map(|trial| trial.shape().hidden).collect();
    assert_eq!(widths, [16, 32, 48, 64]);
    for trial in &trials {
        assert_eq!((trial.n_steps, trial.n_tokens()), (40, 40_960));
        assert_eq!((trial.shape().head_size, trial.shape().ffn), (16, 4 * trial.shape().hidden));
        let same = |(of_trial, of_run): (&StagePlan, &StagePlan)| {
            StagePlan { shape: of_run.shape, ..of_trial.clone() } == *of_run
        };
        assert!(trial.plan.stages.iter().zip(&run.stages).all(same));
    }
}

#[test]
fn what_cannot_be_tried_is_said() {
    let check = |change: fn(&mut SweepRequest), expected: &str| {
        let mut request = request();
        change(&mut request);
        let error = sweep_trials(&request, mup(), 7).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(|request| request.learning_rates.clear(), "lr.peaks must name at least one value");
    check(|request| request.init_stds.push(0.02), "init_std must name at least one value, each above 0 and only once");
    check(|request| request.output_multipliers[0] = -1.0, "output_multiplier must");
    check(|request| request.seeds = vec![1, 1], "seeds must");
    check(|request| request.points = Some(13), "points is 13, the grid has 12");
    check(|request| request.points = Some(0), "points is 0");
    check(|request| request.tokens = 100, "less than one batch of 1024");
    let check = |law: LawRequest, expected: &str| {
        let error = law_trials(&law, &run(), 10).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(law(40_960, &[16, 32, 40, 64]), "width 40 is no multiple of the head size 16");
    check(law(40_960, &[16, 32, 64]), "at least four different widths, there are 3");
    check(law(100_000, &[16, 32, 48, 64]), "the whole run has 61440");
    check(law(41_984, &[16, 32, 48, 64]), "is step 41 of the run, where no loss is measured");
    check(law(40_961, &[16, 32, 48, 64]), "choose a multiple of validate_every (10 steps, here 10240 tokens)");
    let shape = |head_size: u64| Shape { head_size, ..shape(32) };
    check(LawRequest { shape: shape(0), ..law(40_960, &[16, 32, 48, 64]) }, "its heads are 0 wide");
    check(LawRequest { shape: shape(24), ..law(40_960, &[16, 32, 48, 64]) }, "24");
    // The end of a stage is always measured.
    assert_eq!(law_trials(&law(51_200, &[16, 32, 48, 64]), &run(), 1000).unwrap()[0].n_steps, 50);
}
