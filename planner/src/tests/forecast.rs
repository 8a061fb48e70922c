//! What holds for every forecast and every proposal.

use std::collections::BTreeMap;

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

    /// Everything that a run costs rises with its tokens, its width and its depth.
    #[test]
    fn cost_never_falls(layout in layout(), heads in 1_u64..20, layers in 1_u64..20, n_steps in 2_u64..500, more in 1_u64..50) {
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

/// The formula and the exact count are the same thing, but for the logits, of which k = 72 counts three quarters.
#[test]
fn the_formula_counts_three_quarters_of_the_logits() {
    let shape = Shape {
        layers: 80,
        hidden: 10_240,
        heads: 80,
        head_size: 128,
        ffn: 40_960,
        vocabulary: 100_352,
        context: 2048,
    };
    let exact = shape.flops_per_token() as f64;
    let a_quarter_of_the_logits = 1.5 * (shape.hidden * shape.vocabulary) as f64;
    let formula = formula_flops(72, 1, &shape);
    assert!((exact - formula - a_quarter_of_the_logits).abs() < 1e-9 * exact);
    // Blocks computed twice: k = 96, in which the logits are counted in full.
    let computed = computed_flops_per_token(&shape, true) as f64;
    assert!((computed - formula_flops(96, 1, &shape)).abs() < 1e-9 * computed);
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
        growth: (index > 0).then(|| super::masked(stage.ramp_steps * stage.rows * stage.shape.context)),
    };
    proposal.stages.iter().enumerate().map(request).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// No proposal costs more than the budget, by its own account and by that of a forecast of its run; and it is a run that can be planned.
    #[test]
    fn proposals_keep_the_budget(
        budget in 300.0_f64..300_000.0,
        billions in 5_u64..1000,
        device in prop::sample::select(vec!["A800", "H100", "MI300X"]),
        n_nodes in prop::sample::select(vec![1_u64, 2, 24]),
    ) {
        let device = Hardware::built_in().find(device).unwrap().clone();
        let resources = Resources { device, ..resources("H100", 8 * n_nodes) };
        let proposals = match propose(&question(&resources, budget, billions * 1_000_000_000)) {
            Ok(proposals) => proposals,
            Err(error) => {
                prop_assert!(error.to_string().contains("too little for any schedule"), "{}", error);
                return Ok(());
            }
        };
        let mut loss = 0.0;
        for proposal in &proposals {
            prop_assert!(proposal.usd <= budget);
            prop_assert!(proposal.loss >= loss);
            loss = proposal.loss;
            let found = forecast(&run(&requests(proposal)), &proposal.layouts(), &resources).unwrap();
            prop_assert!((found.total.usd - proposal.usd).abs() <= 1e-6 * proposal.usd);
            prop_assert!((found.from_scratch.usd - proposal.from_scratch_usd).abs() <= 1e-6 * proposal.from_scratch_usd);
            prop_assert!(found.stages.iter().all(|stage| stage.fits));
        }
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
    assert!(
        best.stages.len() == 3 && best.loss < best_of(&proposals, 2) && best_of(&proposals, 2) < best_of(&proposals, 1)
    );
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
    let error = propose(&question(&resources, 1.0, 1_000_000_000_000)).unwrap_err().to_string();
    assert!(error.contains("1.00 USD is too little for any schedule") && error.contains("is enough for"), "{error}");
    let error = propose(&question(&resources, 1000.0, 1000)).unwrap_err().to_string();
    assert!(error.contains("1000 tokens are less than 40 batches"), "{error}");
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

#[test]
fn a_table_can_be_extended() {
    let mut text = String::from(
        "[[device]]\nname = \"A100\"\ntflops = { bfloat16 = 1.0, float32 = 1.0 }\nmemory_gib = 1.0\nwatts = 1.0\n",
    );
    text += "compute_share = 1.0\navailability = 1.0\nlink_gb_per_s = 1.0\nhost_gb_per_s = 1.0\n";
    text += "node = { devices = 1, network_gb_per_s = 1.0, storage_gb_per_s = 1.0 }\n";
    let n = Hardware::built_in().device.len();
    let hardware = Hardware::built_in().extended(&text).unwrap();
    assert_eq!((hardware.device.len(), hardware.find("a100").unwrap().watts), (n, 1.0));
    let error = Hardware::built_in().extended(&text.replace("compute_share = 1.0", "compute_share = 1.5")).unwrap_err();
    assert!(error.to_string().contains("compute_share is 1.5; it must be above 0 and at most 1"), "{error}");
}

/// Memory of training beside what was measured without checkpoints: on a GPU (docs/decisions/0011-bf16-on-a-gpu.md) and on two cores
/// (docs/benchmarks/train.md).
#[test]
fn memory_is_what_was_measured() {
    let gpt = |layers, hidden, heads, context| gpt((layers, hidden, heads), 100_352, context);
    let check = |shape: &Shape, (rows, micro_rows), place, precision, recompute, measured_mib: f64| {
        let process = Process { place, precision, recompute, grows: false, has_masks: false, has_checkpoints: false };
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
        grows: false,
        has_masks: false,
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
