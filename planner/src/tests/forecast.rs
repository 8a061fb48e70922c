//! What holds for every forecast and every proposal.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::*;

fn resources(device: &str, n_devices: u64) -> Resources {
    // What fits is tested apart.
    let device = Device { memory_gib: 1e6, ..Hardware::built_in().find(device).unwrap().clone() };
    Resources {
        device,
        n_devices,
        precision: Precision::Bfloat16,
        recompute: Recompute::None,
        usd_per_device_hour: 2.0,
        kg_co2e_per_kwh: Some(0.5),
        power_usage_effectiveness: 1.2,
        speeds: BTreeMap::new(),
    }
}

fn request(name: &str, heads: u64, layers: u64, n_steps: u64, grows: bool) -> StageRequest {
    let hidden = heads * 128;
    let shape = Shape { layers, hidden, heads, head_size: 128, ffn: 4 * hidden, vocabulary: 8192, context: 1024 };
    StageRequest {
        name: name.to_owned(),
        tokens: n_steps * 64 * 1024,
        shape,
        batch: Batch { rows: 64, micro_rows: 1 },
        learning_rate: Some(LearningRate::Cosine { peak: 1e-3, end: 1e-4, warmup_tokens: 0 }),
        growth: grows.then_some(super::masked(1)),
    }
}

fn run(stages: &[StageRequest]) -> RunPlan {
    plan(stages, MuP { base_width: 128, input_multiplier: 1.0, output_multiplier: 2.0, init_std: 0.02 }).unwrap()
}

fn cost(stages: &[StageRequest], layout: Layout) -> Amounts {
    let layouts = vec![layout; stages.len()];
    forecast(&run(stages), &layouts, &resources("H100", layout.n_devices())).unwrap().total
}

/// Layouts of eight devices that divide everything below.
fn layout() -> impl Strategy<Value = Layout> {
    let all = [(1, 1, 8), (2, 1, 4), (2, 2, 2), (4, 2, 1), (1, 4, 2)];
    prop::sample::select(all.map(|(tensor, pipeline, data)| Layout { tensor, pipeline, data }).to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Everything that a run costs rises with its tokens, its width and its depth, as long as the layout is the same. In the fastest layout of each
    /// it needn't: a wider model may divide where a narrower one doesn't.
    #[test]
    fn cost_never_falls_in_a_given_layout(layout in layout(), heads in 1_u64..20, layers in 1_u64..20, n_steps in 2_u64..500, more in 1_u64..50) {
        let (heads, layers) = (4 * heads, 4 * layers);
        let of = |heads, layers, n_steps| cost(&[request("a", heads, layers, n_steps, false)], layout);
        let base = of(heads, layers, n_steps);
        for larger in [of(heads, layers, n_steps + more), of(heads + 4 * more, layers, n_steps), of(heads, layers + 4 * more, n_steps)] {
            for (less, greater) in [
                (base.zflops, larger.zflops), (base.zflops_exact, larger.zflops_exact), (base.days, larger.days),
                (base.gpu_hours, larger.gpu_hours), (base.usd, larger.usd), (base.kwh, larger.kwh),
                (base.kg_co2e.unwrap(), larger.kg_co2e.unwrap()),
            ] {
                prop_assert!(less < greater, "{:?} {:?}", base, larger);
            }
            prop_assert!(base.memory_gib_per_gpu <= larger.memory_gib_per_gpu);
        }
    }

    /// The parts of a schedule add up to its total, and so does what it is held against.
    #[test]
    fn stages_add_up(layout in layout(), sizes in prop::collection::vec((1_u64..6, 2_u64..50), 1..4)) {
        let mut heads = 0;
        let stage = |(index, (more, n_steps)): (usize, &(u64, u64))| {
            heads += 4 * more;
            request(&index.to_string(), heads, heads, *n_steps, index > 0)
        };
        let stages: Vec<StageRequest> = sizes.iter().enumerate().map(stage).collect();
        let layouts = vec![layout; stages.len()];
        let found = forecast(&run(&stages), &layouts, &resources("H100", 8)).unwrap();
        let sum = |of: fn(&StageForecast) -> f64| found.stages.iter().map(of).sum::<f64>();
        for (parts, whole) in [
            (sum(|stage| stage.amounts.usd), found.total.usd),
            (sum(|stage| stage.amounts.days), found.total.days),
            (sum(|stage| stage.amounts.zflops), found.total.zflops),
            (sum(|stage| stage.amounts.kwh), found.total.kwh),
            (sum(|stage| stage.amounts.tokens as f64), found.total.tokens as f64),
            (sum(|stage| stage.amounts.steps as f64), found.total.steps as f64),
            (sum(|stage| stage.amounts.compute_days), found.total.compute_days),
            (sum(|stage| stage.amounts.gpu_hours), found.total.gpu_hours),
            (sum(|stage| stage.amounts.kg_co2e.unwrap()), found.total.kg_co2e.unwrap()),
            (sum(|stage| stage.amounts.data_bytes), found.total.data_bytes),
            (sum(|stage| stage.amounts.zflops_exact), found.total.zflops_exact),
            (sum(|stage| stage.amounts.zflops_recomputed), found.total.zflops_recomputed),
            (sum(|stage| stage.from_scratch.gpu_hours), found.from_scratch.gpu_hours),
            (sum(|stage| stage.from_scratch.kg_co2e.unwrap()), found.from_scratch.kg_co2e.unwrap()),
            (sum(|stage| stage.from_scratch.steps as f64), found.total.steps as f64),
            (sum(|stage| stage.from_scratch.usd), found.from_scratch.usd),
        ] {
            prop_assert!((parts - whole).abs() <= 1e-9 * whole);
        }
        // Its own stage alone costs what the last model costs from scratch on its tokens.
        let last = &found.stages[found.stages.len() - 1];
        prop_assert!((last.from_scratch.usd - last.amounts.usd).abs() <= 1e-9 * last.amounts.usd);
        prop_assert!(found.total.usd <= found.from_scratch.usd * (1.0 + 1e-9));
        prop_assert!((0.0..1.0).contains(&(found.saving + 1e-12)));
    }

    /// Tensors and operations are what the closed forms say.
    #[test]
    fn counts_are_the_closed_forms(heads in 1_u64..100, layers in 1_u64..100, ffn in 1_u64..50_000, vocabulary in 1_u64..200_000) {
        let shape = Shape { layers, hidden: heads * 64, heads, head_size: 64, ffn, vocabulary, context: 512 };
        let n: u64 = tensors(&shape).iter().map(TensorCount::n_parameters).sum();
        prop_assert_eq!(n, shape.n_parameters());
        let forward: u64 = operations(&shape).iter().map(|operation| operation.forward).sum();
        prop_assert_eq!(3 * forward, shape.flops_per_token());
        prop_assert_eq!(computed_flops_per_token(&shape, false), shape.flops_per_token());
        let logits = 2 * shape.hidden * vocabulary;
        prop_assert_eq!(computed_flops_per_token(&shape, true), 4 * forward - logits);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The formula and the exact count are the same thing, but for the logits, of which k = 72 counts three quarters; with blocks computed twice,
    /// k = 96, they are counted in full. At feed-forward layers of 4h and heads that are h wide together it is the published form.
    #[test]
    fn the_formula_counts_three_quarters_of_the_logits(
        heads in 1_u64..100, head_size in 1_u64..100, hidden in 1_u64..10_000, layers in 1_u64..100, ffn in 1_u64..100_000,
    ) {
        let shape = Shape { layers, hidden, heads, head_size: 2 * head_size, ffn, vocabulary: 100_352, context: 2048 };
        let exact = shape.flops_per_token() as f64;
        let a_quarter_of_the_logits = 1.5 * (shape.hidden * shape.vocabulary) as f64;
        prop_assert!((exact - formula_flops(72, 1, &shape) - a_quarter_of_the_logits).abs() < 1e-9 * exact);
        let computed = computed_flops_per_token(&shape, true) as f64;
        prop_assert!((computed - formula_flops(96, 1, &shape)).abs() < 1e-9 * computed);
        let plain = gpt((layers, heads * head_size, heads), 100_352, 2048);
        let (l, h) = (layers as f64, plain.hidden as f64);
        let published = 72.0 * l * h * h * (1.0 + 2048.0 / (6.0 * h) + 100_352.0 / (16.0 * l * h));
        prop_assert!((formula_flops(72, 1, &plain) - published).abs() < 1e-9 * published);
    }

    /// At a stated speed a wider feed-forward layer, or more heads, cost more, like everything else that is computed.
    #[test]
    fn cost_at_a_stated_speed_never_falls(heads in 1_u64..20, ffn in 1_u64..2000, more in 1_u64..2000, tflops in 1.0_f64..900.0) {
        let layout = Layout { tensor: 1, pipeline: 1, data: 8 };
        let mut resources = resources("H100", 8);
        let speed = StageSpeed { speed: Some(Speed::Formula(tflops * 1e12)), availability: None };
        resources.speeds.insert("a".to_owned(), speed);
        let cost = |ffn: u64, more_heads: u64| {
            let mut stage = request("a", 4 * heads, 4, 10, false);
            (stage.shape.ffn, stage.shape.heads) = (8 * ffn, stage.shape.heads + more_heads);
            forecast(&run(&[stage]), &[layout], &resources).unwrap().total
        };
        let base = cost(ffn, 0);
        for larger in [cost(ffn + more, 0), cost(ffn, more)] {
            prop_assert!(base.usd < larger.usd && base.days < larger.days && base.zflops < larger.zflops);
        }
    }
}

fn question(resources: &Resources, budget_usd: f64, n_tokens: u64) -> Question<'_> {
    Question {
        budget_usd,
        n_tokens,
        vocabulary: 100_352,
        context: 2048,
        learning_rates: (4e-4, 6e-6),
        resources,
        law: CHINCHILLA,
    }
}

/// The stages of a proposal as a run file would have them.
fn requests(proposal: &Proposal) -> Vec<StageRequest> {
    let request = |(index, stage): (usize, &ProposedStage)| StageRequest {
        name: stage.name.clone(),
        tokens: stage.n_tokens(),
        shape: stage.shape,
        batch: Batch { rows: stage.rows, micro_rows: stage.layout.micro_rows },
        learning_rate: Some(LearningRate::Cosine {
            peak: stage.learning_rates.0,
            end: stage.learning_rates.1,
            warmup_tokens: stage.warmup_steps * stage.rows * stage.shape.context,
        }),
        growth: (index > 0).then_some(Growth {
            depth: Depth::Stack,
            width: Width::Random,
            ramp_tokens: 0,
            moments: Moments::Grown,
        }),
    };
    proposal.stages.iter().enumerate().map(request).collect()
}

/// The proposals for a question, or nothing where the budget or the memory is too small.
fn proposed(question: &Question<'_>) -> Option<Vec<Proposal>> {
    match propose(question) {
        Ok(proposals) => Some(proposals),
        Err(ProposalError::Budget { .. } | ProposalError::Memory(_) | ProposalError::Tokens { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

/// No proposal costs more than the budget, by its own account and by that of a forecast of its run; and it is a run that can be planned and fits.
fn check_proposals(question: &Question<'_>, proposals: &[Proposal]) {
    let mut loss = 0.0;
    for proposal in proposals {
        assert!(proposal.usd <= question.budget_usd);
        assert!(proposal.loss >= loss);
        loss = proposal.loss;
        let names: BTreeSet<&str> = proposal.stages.iter().map(|stage| &stage.name[..]).collect();
        assert_eq!(names.len(), proposal.stages.len(), "{names:?}");
        let layouts: Vec<Layout> = proposal.stages.iter().map(|stage| stage.layout.layout).collect();
        let found = forecast(&run(&requests(proposal)), &layouts, question.resources).unwrap();
        near(found.total.usd, proposal.usd, 1e-6);
        near(found.from_scratch.usd, proposal.from_scratch_usd, 1e-6);
        for (stage, proposed) in found.stages.iter().zip(&proposal.stages) {
            assert!(stage.fits, "{stage:?}");
            near(stage.memory.gib(), proposed.layout.memory_gib, 1e-9);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn proposals_keep_the_budget(
        budget in 1.0_f64..5.5,
        tokens in 8.5_f64..12.0,
        (device, n_devices) in prop::sample::select(vec![
            ("A800", 8), ("H100", 16), ("MI300X", 8), ("A800", 192), ("H100", 1), ("MI300X", 1), ("cpu", 1), ("cpu", 4),
        ]),
        vocabulary in prop::sample::select(vec![1024, 100_352, 2_000_000]),
    ) {
        let device = Hardware::built_in().find(device).unwrap().clone();
        let resources = Resources { device, ..resources("H100", n_devices) };
        let question = Question { vocabulary, ..question(&resources, 10.0_f64.powf(budget), 10.0_f64.powf(tokens) as u64) };
        check_proposals(&question, &proposed(&question).unwrap_or_default());
    }
}

/// One device has the memory of `moso train`, growth included, and proposals keep to it; devices of a processor aren't charged for CUDA.
#[test]
fn proposals_for_one_device_fit() {
    for (device, n_devices, budget, precision) in [
        ("H100", 1, 3000.0, Precision::Bfloat16),
        ("H100", 1, 3000.0, Precision::Float32),
        ("cpu", 1, 20_000.0, Precision::Float32),
        ("cpu", 8, 20_000.0, Precision::Float32),
    ] {
        let device = Hardware::built_in().find(device).unwrap().clone();
        let resources = Resources { device, precision, ..resources("H100", n_devices) };
        let asked = Question { vocabulary: 8192, context: 512, ..question(&resources, budget, 1_000_000_000) };
        let proposals = proposed(&asked).unwrap();
        assert!(proposals.iter().any(|proposal| proposal.stages.len() == 3), "{proposals:?}");
        check_proposals(&asked, &proposals);
        // Where embeddings outweigh blocks, sizes of stages are alike, and their names are not.
        let asked = Question { vocabulary: 2_000_000, budget_usd: 10.0 * budget, ..asked };
        check_proposals(&asked, &proposed(&asked).unwrap_or_default());
    }
    let cpu = Hardware::built_in().find("cpu").unwrap().clone();
    let machine = Machine { device: &cpu, n_devices: 2, precision: Precision::Float32, recompute: Recompute::None };
    let (layout, batch) = (Layout { data: 2, ..Layout::ONE }, Batch { rows: 16, micro_rows: 8 });
    assert!(of_stage(&gpt((4, 128, 4), 8192, 256), batch, &layout, Beginning::PLAIN, &machine).gib() < 1.0);
}

/// What a model from scratch takes is that of the last model in its own layout, and nothing of growth; in all and beside every stage.
#[test]
fn memory_from_scratch_is_that_of_the_last_model_alone() {
    let resources = Resources { precision: Precision::Float32, ..resources("H100", 1) };
    let stages = [request("a", 4, 4, 10, false), request("b", 8, 8, 10, true)];
    let found = forecast(&run(&stages), &[Layout::ONE; 2], &resources).unwrap();
    let alone = forecast(&run(&[request("b", 8, 8, 10, false)]), &[Layout::ONE], &resources).unwrap();
    let expected = alone.total.memory_gib_per_gpu;
    assert!(found.total.memory_gib_per_gpu > expected, "growth takes more");
    for scratch in found.stages.iter().map(|stage| stage.from_scratch).chain([found.from_scratch]) {
        assert_eq!(scratch.memory_gib_per_gpu, expected);
    }
}

/// At the paper's money and tokens the law prefers smaller last models that read more. By less than it can tell apart: 0.01.
#[test]
fn the_papers_budget() {
    let device = Hardware::built_in().find("A800").unwrap().clone();
    let resources = Resources { device, usd_per_device_hour: 1.0, ..resources("A800", 192) };
    let proposals = propose(&question(&resources, 100_000.0, 311_000_000_000)).unwrap();
    let best = &proposals[0];
    assert!(best.usd > 99_000.0, "the budget is there to be spent: {best:?}");
    assert!(best.stages.len() == 3 && best.loss < best_of(&proposals, 1), "{best:?}");
    let [small, middle, large] = &best.stages[..] else { panic!("{best:?}") };
    assert!(3 * small.shape.layers == large.shape.layers && 3 * middle.shape.layers == 2 * large.shape.layers);
    assert!(small.learning_rates == (4e-4, 4e-4) && large.learning_rates == (4e-4, 6e-6));
    let of_paper = CHINCHILLA.of_stages([(15.52e9, 245.37e9), (50.95e9, 39.64e9), (101.70e9, 26.54e9)]);
    assert!((of_paper - 2.0634).abs() < 1e-4 && best.loss < of_paper && of_paper - best.loss < 0.01, "{of_paper}");
}

/// Loss of the best proposal with so many stages.
fn best_of(proposals: &[Proposal], n_stages: usize) -> f64 {
    proposals.iter().find(|proposal| proposal.stages.len() == n_stages).unwrap().loss
}

#[test]
fn nonsense_is_refused_with_what_would_work() {
    let hardware = Hardware::built_in();
    let error = hardware.find("A80").unwrap_err().to_string();
    assert!(error.contains("no device \"A80\"; did you mean \"A800\"?") && error.contains("MI300X"), "{error}");
    let resources = Resources { device: hardware.find("H100").unwrap().clone(), ..resources("H100", 8) };
    let error = propose(&question(&resources, 1000.0, 1000)).unwrap_err().to_string();
    assert!(error.contains("1000 tokens are less than 10 batches"), "{error}");
    let stage = request("a", 12, 6, 10, false);
    let refused = |tensor, pipeline, data, expected: &str| {
        let error =
            forecast(&run(std::slice::from_ref(&stage)), &[Layout { tensor, pipeline, data }], &resources).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused(8, 1, 1, "12 heads cannot be shared evenly by tensor = 8; tensor may be 6 or 12");
    refused(1, 4, 2, "6 layers cannot be shared evenly by pipeline = 4; pipeline may be 3 or 6");
    refused(1, 1, 3, "64 micro-batches of a step cannot be shared evenly by data = 3; data may be 2 or 4");
    refused(2, 1, 2, "tp 2 pp 1 dp 2 takes 4 devices, the run has 8; data may be 4");
    let huge = request("a", 400, 400, 10, false);
    let error = forecast(&run(&[huge]), &[Layout { tensor: 8, ..Layout::ONE }], &resources).unwrap_err().to_string();
    assert!(error.contains("no layout of 8 devices with 80 GiB each holds") && error.contains("recompute"), "{error}");
    let table = "[[device]]\nname = \"X\"\nwatts = 1.0\n";
    assert!(Hardware::built_in().extended(table).unwrap_err().to_string().contains("not a table of hardware"));
}

/// What is said to be enough is enough, and a digit less isn't.
#[test]
fn a_budget_that_is_too_small_names_one_that_is_enough() {
    let hardware = Hardware::built_in();
    let resources = Resources { device: hardware.find("H100").unwrap().clone(), ..resources("H100", 8) };
    for budget in [1.0, 1e-4, 200.0] {
        let asked = question(&resources, budget, 1_000_000_000_000);
        let Err(ProposalError::Budget { needed_usd, .. }) = propose(&asked) else { panic!("{budget} is enough") };
        let needed: f64 = needed_usd.parse().unwrap();
        assert!(needed > budget && propose(&Question { budget_usd: needed, ..asked.clone() }).is_ok(), "{needed_usd}");
        assert!(propose(&Question { budget_usd: 0.9 * needed, ..asked }).is_err(), "{needed_usd}");
    }
    // Nor is anything offered that doesn't work either: here fewer tokens are enough, there they would not be a batch.
    let said = |budget| propose(&question(&resources, budget, 1_000_000_000_000)).unwrap_err().to_string();
    let enough = said(20.0);
    let tokens = enough.split("it is enough for ").nth(1).expect(&enough).trim_end_matches(" tokens");
    assert!(propose(&question(&resources, 20.0, tokens.parse().unwrap())).is_ok(), "{enough}");
    assert!(!said(1e-6).contains("enough for"), "{}", said(1e-6));
}

/// Each is told apart: the budget, the price, the memory, and what is too large for any of them.
#[test]
fn what_is_wrong_with_a_question_is_told() {
    let hardware = Hardware::built_in();
    let h100 = Resources { device: hardware.find("H100").unwrap().clone(), ..resources("H100", 8) };
    let said = |resources: &Resources, budget, n_tokens| {
        propose(&question(resources, budget, n_tokens)).unwrap_err().to_string()
    };
    for (price, expected) in
        [(0.0, "0.0 USD for an hour"), (-1.0, "-1.0 USD for an hour"), (1e-300, "for an hour of one device")]
    {
        let error = said(&Resources { usd_per_device_hour: price, ..h100.clone() }, 1000.0, 1_000_000_000);
        assert!(error.contains(expected) && !error.contains("budget"), "{error}");
    }
    for budget in [0.0, -5.0, 1e300, f64::NAN, f64::INFINITY] {
        let error = said(&h100, budget, 1_000_000_000);
        assert!(error.contains("a budget of") && error.contains("above 0 and at most 1e15"), "{error}");
    }
    let small = Resources { device: Device { memory_gib: 0.5, ..h100.device.clone() }, ..h100.clone() };
    let error = said(&small, 1000.0, 1_000_000_000);
    assert!(error.contains("it isn't the budget, it is memory"), "{error}");
    assert!(said(&h100, 1000.0, u64::MAX).contains("at most 10000000000000000"));
    // At the limits nothing overflows.
    let _ = propose(&Question { context: 1, ..question(&h100, 1e15, 10_000_000_000_000_000) });
    let dear = Resources { usd_per_device_hour: 1e-6, n_devices: DEVICES_MOST, ..h100 };
    let _ = propose(&Question { context: 1 << 24, ..question(&dear, 1e15, 10_000_000_000_000_000) });
}

/// A number of devices that nothing can be shared by is answered with those that work for all stages.
#[test]
fn the_nearest_numbers_of_devices_are_told() {
    let stages = run(&[request("a", 12, 12, 10, false), request("b", 12, 24, 10, true)]);
    for n_devices in [7, 11, 13, 1000] {
        let error = fastest_layouts(&stages, &resources("H100", n_devices)).unwrap_err();
        let ForecastError::Devices { nearest, why, .. } = &error else { panic!("{error}") };
        assert!(matches!(**why, LayoutError::NoSplit { .. }), "{why}");
        let numbers: Vec<u64> = nearest.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(numbers.iter().any(|n| *n < n_devices), "{nearest}");
        for n in numbers {
            let found = fastest_layouts(&stages, &resources("H100", n)).unwrap().1;
            assert!(found.iter().all(|layout| layout.n_devices() == n));
        }
    }
}

/// A layout is told once, with its fastest micro-batch; one device that the model doesn't fit on has none.
#[test]
fn layouts_are_counted_once() {
    let stages = run(&[request("a", 8, 8, 10, false)]);
    let all = resources("H100", 8);
    let machine = Machine { device: &all.device, n_devices: 8, precision: all.precision, recompute: all.recompute };
    let stage = &stages.stages[0];
    let found = layouts("a", &stage.shape, stage.batch.rows, Beginning::PLAIN, &machine).unwrap();
    // 8 = tensor x pipeline x data has ten ways.
    assert_eq!(found.len(), 10);
    assert!(found.windows(2).all(|pair| pair[0].step_seconds <= pair[1].step_seconds));
    let tiny = Resources { device: Device { memory_gib: 0.1, ..all.device }, n_devices: 1, ..resources("H100", 1) };
    let found = forecast(&stages, &[Layout::ONE], &tiny).unwrap();
    assert!(found.stages[0].n_layouts == 0 && !found.stages[0].fits);
}

#[test]
fn a_stated_speed_is_not_above_the_peak() {
    let mut resources = resources("A800", 1);
    let speed = |tflops: f64| StageSpeed { speed: Some(Speed::Formula(tflops * 1e12)), availability: None };
    let stages = run(&[request("a", 4, 4, 10, false)]);
    resources.speeds.insert("a".to_owned(), speed(1650.0));
    let error = forecast(&stages, &[Layout::ONE], &resources).unwrap_err().to_string();
    assert!(error.contains("stage.a.tflops is 1650; the peak of A800 is 312 TFLOP/s"), "{error}");
    resources.speeds.insert("a".to_owned(), speed(312.0));
    assert!(forecast(&stages, &[Layout::ONE], &resources).is_ok());
}

#[test]
fn a_table_can_be_extended() {
    let mut text = String::from(
        "[[device]]\nname = \"A100\"\ntflops = { bfloat16 = 1.0, float32 = 1.0 }\nmemory_gib = 1.0\nwatts = 1.0\n",
    );
    text += "compute_share = 1.0\navailability = 1.0\nlink_gb_per_s = 1.0\nhost_gb_per_s = 1.0\n";
    text += "node = { devices = 1, network_gb_per_s = 1.0, storage_gb_per_s = 1.0 }\n";
    let n = Hardware::built_in().device.len();
    // Upper and lower case are the same, when a device is replaced as when it is looked for.
    for text in [text.clone(), text.replace("A100", "a100")] {
        let hardware = Hardware::built_in().extended(&text).unwrap();
        assert_eq!((hardware.device.len(), hardware.find("A100").unwrap().watts), (n, 1.0));
    }
    let error = Hardware::built_in().extended(&text.replace("compute_share = 1.0", "compute_share = 1.5")).unwrap_err();
    assert!(error.to_string().contains("compute_share is 1.5; it must be above 0 and at most 1"), "{error}");
}

/// Memory of training beside what was measured without checkpoints: on a GPU (docs/decisions/0011-bf16-on-a-gpu.md) and on two cores
/// (docs/benchmarks/train.md).
#[test]
fn memory_is_what_was_measured() {
    let gpt = |layers, hidden, heads, context| gpt((layers, hidden, heads), 100_352, context);
    let check = |shape: &Shape, (rows, micro_rows), place, precision, recompute, measured_mib: f64| {
        let process = Process { place, precision, recompute, beginning: Beginning::PLAIN, has_checkpoints: false };
        near(of_process(shape, Batch { rows, micro_rows }, &process).gib() * 1024.0, measured_mib, 0.05);
    };
    use Precision::{Bfloat16, Float32};
    let on_gpu = gpt(24, 2048, 16, 2048);
    check(&on_gpu, (8, 4), Place::Gpu, Bfloat16, Recompute::None, 37.1 * 1024.0);
    check(&on_gpu, (8, 8), Place::Gpu, Bfloat16, Recompute::None, 48.1 * 1024.0);
    check(&on_gpu, (8, 4), Place::Gpu, Bfloat16, Recompute::Blocks, 28.4 * 1024.0);
    let (on_cpu, two) = (gpt(8, 512, 8, 512), Place::Cpu { n_threads: 2 });
    check(&on_cpu, (8, 4), two, Float32, Recompute::None, 2869.0);
    check(&on_cpu, (8, 4), two, Bfloat16, Recompute::None, 2504.0);
    let small = Shape { vocabulary: 8192, ..gpt(6, 256, 4, 256) };
    check(&small, (16, 8), two, Float32, Recompute::None, 729.0);
    check(&small, (16, 8), two, Bfloat16, Recompute::None, 576.0);
}

/// The same with checkpoints: highest resident memory of `moso train` on two cores, float32, context 256, 16 rows in micro-batches of 8
/// (docs/planning.md).
#[test]
fn memory_with_checkpoints_is_what_was_measured() {
    let process = Process {
        place: Place::Cpu { n_threads: 2 },
        precision: Precision::Float32,
        recompute: Recompute::None,
        beginning: Beginning::PLAIN,
        has_checkpoints: true,
    };
    for (size, measured_mib) in [((4, 128, 4), 478.0), ((6, 256, 8), 922.0), ((8, 512, 16), 2555.0)] {
        let found = of_process(&gpt(size, 8192, 256), Batch { rows: 16, micro_rows: 8 }, &process);
        near(found.gib() * 1024.0, measured_mib, 0.15);
    }
}

fn gpt((layers, hidden, heads): (u64, u64, u64), vocabulary: u64, context: u64) -> Shape {
    Shape { layers, hidden, heads, head_size: hidden / heads, ffn: 4 * hidden, vocabulary, context }
}

#[track_caller]
fn near(found: f64, measured: f64, share: f64) {
    assert!((found / measured - 1.0).abs() <= share, "{found} instead of {measured}");
}

/// Growing at equal tokens is never better than training the last model from scratch, and better than training the first one alone.
#[test]
fn loss_of_growth_lies_between() {
    let (small, large, tokens) = (1e9, 4e9, 1e11);
    for share in [0.1, 0.5, 0.9] {
        let grown = CHINCHILLA.of_stages([(small, share * tokens), (large, (1.0 - share) * tokens)]);
        assert!(CHINCHILLA.loss(large, tokens) < grown && grown < CHINCHILLA.loss(small, tokens), "{grown}");
    }
    // One stage cut in two is one stage.
    let cut = CHINCHILLA.of_stages([(large, 0.3 * tokens), (large, 0.7 * tokens)]);
    assert!((cut - CHINCHILLA.loss(large, tokens)).abs() < 1e-12);
    // Hoffmann et al.'s own model: 70 B parameters, 1.4 T tokens; the refit predicts 1.97 or so there.
    assert!((CHINCHILLA.loss(70e9, 1.4e12) - 1.97).abs() < 0.02);
}
