//! FLM-101B's own figures (arXiv 2309.03852 v3, tables 2 to 4 and the model card): those that follow from its formulas, and those
//! that don't.

use std::collections::BTreeMap;

use crate::*;

const CONTEXT: u64 = 2048;
const VOCABULARY: u64 = 100_352;
const GPUS: f64 = 192.0;

/// One stage as published.
struct Published {
    name: &'static str,
    /// Tokens, 10^9.
    tokens: f64,
    rows: u64,
    steps: u64,
    days: f64,
    tokens_a_day: f64,
    tflops: f64,
    utilisation: f64,
    layout: Layout,
    /// Layers and width; those of the first two are not published.
    model: (u64, u64),
}

const STAGES: [Published; 3] = [
    Published {
        name: "16B",
        tokens: 245.37,
        rows: 2304,
        steps: 52_000,
        days: 9.63,
        tokens_a_day: 25.48,
        tflops: 162.0,
        utilisation: 51.90,
        layout: Layout { tensor: 2, pipeline: 1, data: 96 },
        model: (24, 7168),
    },
    Published {
        name: "51B",
        tokens: 39.64,
        rows: 2304,
        steps: 8_400,
        days: 5.37,
        tokens_a_day: 7.38,
        tflops: 160.0,
        utilisation: 51.30,
        layout: Layout { tensor: 4, pipeline: 2, data: 24 },
        model: (44, 9728),
    },
    Published {
        name: "101B",
        tokens: 26.54,
        rows: 2160,
        steps: 6_000,
        days: 6.54,
        tokens_a_day: 4.06,
        tflops: 165.0,
        utilisation: 52.88,
        layout: Layout { tensor: 4, pipeline: 4, data: 12 },
        model: (80, 10_240),
    },
];

fn gpt(layers: u64, hidden: u64, vocabulary: u64, context: u64) -> Shape {
    Shape { layers, hidden, heads: hidden / 128, head_size: 128, ffn: 4 * hidden, vocabulary, context }
}

fn model(stage: &Published) -> Shape {
    gpt(stage.model.0, stage.model.1, VOCABULARY, CONTEXT)
}

#[track_caller]
fn near(found: f64, published: f64, within: f64) {
    assert!((found - published).abs() <= within, "{found} instead of {published}");
}

/// The paper's run, with or without the availability that makes its days come out.
fn run() -> RunPlan {
    let request = |(index, stage): (usize, &Published)| StageRequest {
        name: stage.name.to_owned(),
        tokens: stage.steps * stage.rows * CONTEXT,
        shape: model(stage),
        batch: Batch { rows: stage.rows, micro_rows: 1 },
        learning_rate: Some(LearningRate::Cosine { peak: 4e-4, end: 6e-6, warmup_tokens: 0 }),
        growth: (index > 0).then_some(super::masked(1 << 20)),
    };
    let requests: Vec<StageRequest> = STAGES.iter().enumerate().map(request).collect();
    plan(&requests, MuP { base_width: 256, input_multiplier: 1.0, output_multiplier: 2.0, init_std: 0.016 }).unwrap()
}

fn resources(speed: impl Fn(&Published) -> StageSpeed) -> Resources {
    Resources {
        device: Hardware::built_in().find("A800").unwrap().clone(),
        n_devices: 192,
        precision: Precision::Bfloat16,
        recompute: Recompute::None,
        usd_per_device_hour: 1.0,
        kg_co2e_per_kwh: Some(0.581),
        power_usage_effectiveness: 1.1,
        speeds: STAGES.iter().map(|stage| (stage.name.to_owned(), speed(stage))).collect::<BTreeMap<_, _>>(),
    }
}

fn layouts_of_the_paper() -> [Layout; 3] {
    STAGES.each_ref().map(|stage| stage.layout)
}

/// The paper's run at the tokens a day that are published for each stage, on `share` of its hours.
fn forecast_by_tokens_a_day(share: f64) -> Forecast {
    let known = |stage: &Published| {
        let tokens_a_second = stage.tokens_a_day * 1e9 / 86_400.0;
        let flops = tokens_a_second * model(stage).flops_per_token() as f64 / GPUS / share;
        StageSpeed { speed: Some(Speed::Exact(flops)), availability: Some(share) }
    };
    let resources = Resources { usd_per_device_hour: 1.0075, ..resources(known) };
    forecast(&run(), &layouts_of_the_paper(), &resources).unwrap()
}

/// Whole steps of the published batches take the published tokens, in the published days.
#[test]
fn tokens_and_steps() {
    let found = forecast_by_tokens_a_day(1.0);
    for ((stage, planned), published) in found.stages.iter().zip(&run().stages).zip(&STAGES) {
        assert_eq!((stage.amounts.steps, planned.n_steps), (published.steps, published.steps));
        near(stage.amounts.tokens as f64 / 1e9, published.tokens, 0.005);
        near(stage.amounts.days, published.days, 0.01);
    }
}

/// FLOPs of others, in 10^21, as the paper's tables give them: the middle between k = 72 and k = 96, or k = 96 alone.
#[test]
fn flops_of_other_models() {
    let range = |tokens: u64, shape: Shape| {
        let (low, high) = (formula_flops(72, tokens, &shape) / 1e21, formula_flops(96, tokens, &shape) / 1e21);
        ((low + high) / 2.0, (high - low) / 2.0, low, high)
    };
    let check = |tokens: u64, shape: Shape, published: (f64, f64)| {
        let (middle, off, ..) = range(tokens * 1_000_000_000, shape);
        near(middle, published.0, 0.006);
        near(off, published.1, 0.006);
    };
    check(300, gpt(96, 12_288, 50_257, 2048), (376.41, 53.77));
    check(2000, gpt(40, 5120, 32_000, 4096), (201.37, 28.77));
    check(2000, gpt(32, 4096, 32_000, 4096), (106.60, 15.23));
    check(1000, gpt(40, 5120, 32_000, 2048), (94.81, 13.54));
    check(1000, gpt(32, 4096, 32_000, 2048), (49.54, 7.08));
    let (.., low, high) = range(300_000_000_000, gpt(96, 12_288, 50_257, 2048));
    near(low, 322.63, 0.006);
    near(high, 430.18, 0.006);
    let (.., high) = range(400_000_000_000, gpt(70, 12_288, 150_528, 2048));
    near(high, 421.60, 0.02);
    // GLM-130B read as many Chinese as English tokens.
    near(high / 2.0, 210.80, 0.01);
}

/// The total is published, the shapes of the first two stages aren't: those that `configs/flm-101b.toml` chose give it.
#[test]
fn flops_of_the_paper() {
    let flops: Vec<f64> = STAGES
        .iter()
        .map(|stage| formula_flops(72, stage.steps * stage.rows * CONTEXT, &model(stage)) / 1e21)
        .collect();
    near(flops[2], 16.69, 0.005);
    let total: f64 = flops.iter().sum();
    near(total, 52.76, 0.03);
    near(0.535 * total, 28.22, 0.02);
    near(0.465 * total, 24.54, 0.02);
    let sizes = STAGES.each_ref().map(|stage| (model(stage).n_parameters() as f64 / 1e9).round());
    assert_eq!(sizes, [16.0, 51.0, 102.0]);
    // 101.70 B parameters round to 102; the name cuts them. With an embedding of its own for logits there would be 102.73 B.
    near(model(&STAGES[2]).n_parameters() as f64 / 1e9, 101.70, 0.005);
}

/// From the tokens a day: 21.54 days, 76.74 of the last model from scratch, 72 %, and $100K at a little above a dollar an hour.
#[test]
fn days_and_money() {
    let found = forecast_by_tokens_a_day(1.0);
    near(found.total.days, 21.54, 0.01);
    near(found.from_scratch.days, 76.74, 0.01);
    near(100.0 * found.saving, 72.0, 0.5);
    near(found.from_scratch.days / found.total.days, 3.56, 0.005);
    near(found.total.usd, 100_000.0, 50.0);
}

/// GPU-hours x power is the energy (printed as "MkWh", which would be a thousand times as much); FLM-101B's carbon is that at 0.581 kg/kWh and a PUE
/// of 1.1, rounded up. At the printed 1.01e5 GPU-hours, which are 1.8 % more than the days.
#[test]
fn energy_and_carbon() {
    for (gpu_hours, watts, mwh) in [
        (3.55e6, 330.0, 1171.0),
        (3.77e6, 283.0, 1066.0),
        (8.40e6, 378.5, 3179.0),
        (1.11e6, 400.0, 444.0),
        (1.72e6, 400.0, 688.0),
    ] {
        near(Cost { usd_per_hour: 0.0, watts }.kwh(gpu_hours * 3600.0) / 1000.0, mwh, 1.0);
    }
    let of_days = forecast_by_tokens_a_day(1.0).total.gpu_hours;
    let known = |stage: &Published| StageSpeed {
        speed: Some(Speed::Exact(
            stage.tokens_a_day * 1e9 / 86_400.0 * model(stage).flops_per_token() as f64 / GPUS * of_days / 1.01e5,
        )),
        availability: Some(1.0),
    };
    let found = forecast(&run(), &layouts_of_the_paper(), &resources(known)).unwrap().total;
    near(found.gpu_hours, 1.01e5, 1.0);
    near(found.kwh / 1000.0, 40.4, 0.01);
    near(found.kg_co2e.unwrap() / 1000.0, 26.0, 0.2);
}

/// The planner's own forecast of the paper's run, with the speeds that are published and the availability that the run file states.
#[test]
fn the_forecast_is_the_paper() {
    let availability = BTreeMap::from([("16B", 0.9126), ("51B", 0.8752), ("101B", 0.9322)]);
    let known = |stage: &Published| StageSpeed {
        speed: Some(Speed::Formula(stage.tflops * 1e12)),
        availability: Some(availability[stage.name]),
    };
    let found = forecast(&run(), &layouts_of_the_paper(), &resources(known)).unwrap();
    for (stage, published) in found.stages.iter().zip(&STAGES) {
        near(stage.amounts.days, published.days, 0.005);
        near(stage.share_of_peak * 100.0, published.utilisation, 0.025);
        assert!(stage.fits, "{:?}", stage.memory);
    }
    near(found.total.days, 21.54, 0.005);
    near(found.from_scratch.days, 76.77, 0.05);
    near(found.saving, 0.72, 0.005);
    near(found.total.zflops, 52.76, 0.03);
    // At a dollar an hour.
    near(found.total.usd, 99_256.0, 30.0);
    near(found.total.kwh / 1000.0, 39.7, 0.05);
    near(found.total.kg_co2e.unwrap() / 1000.0, 25.4, 0.05);
}

/// What is published and does not follow from what is published beside it. Each is recorded as it is: if one of these tests fails, we have
/// understood something.
mod does_not_follow {
    use super::*;

    /// By the formula and the published TFLOP/s the stages take 7 to 13 % less than the published days: what computes is not what passes.
    #[test]
    fn the_days_of_the_stages() {
        let known = |stage: &Published| StageSpeed {
            speed: Some(Speed::Formula(stage.tflops * 1e12)),
            availability: Some(1.0),
        };
        let found = forecast(&run(), &layouts_of_the_paper(), &resources(known)).unwrap();
        for (stage, (published, shorter)) in found.stages.iter().zip(STAGES.iter().zip([8.7, 12.5, 6.8])) {
            near(100.0 * (1.0 - stage.amounts.days / published.days), shorter, 0.1);
        }
    }

    /// 165 TFLOP/s over 6.54 days are 674 GFLOP a token: more than k = 72 gives, far less than k = 96.
    #[test]
    fn the_last_stage_computes_nothing_twice() {
        let found = 165e12 * GPUS * 6.54 * 86_400.0 / 26.54e9 / 1e9;
        near(found, 674.0, 1.0);
        let of = |k: u64| formula_flops(k, 1_000_000, &model(&STAGES[2])) / 1e6 / 1e9;
        near(of(72), 629.0, 1.0);
        near(of(96), 838.0, 1.0);
    }

    /// The last batch is printed as 4.31 M tokens, and 26.54 B tokens would be a step less than the 6,000 that its warm-up and days are of.
    #[test]
    fn the_last_batch() {
        let batches: Vec<f64> = run().stages.iter().map(|stage| stage.batch_tokens() as f64 / 1e6).collect();
        near(batches[0], 4.72, 0.005);
        near(batches[2], 4.42, 0.005);
        let printed = |stage: &Published| StageRequest {
            name: stage.name.to_owned(),
            tokens: (stage.tokens * 1e9) as u64,
            shape: model(stage),
            batch: Batch { rows: stage.rows, micro_rows: 1 },
            learning_rate: Some(LearningRate::Cosine { peak: 4e-4, end: 6e-6, warmup_tokens: 0 }),
            growth: None,
        };
        let mup = MuP { base_width: 256, input_multiplier: 1.0, output_multiplier: 2.0, init_std: 0.016 };
        let steps = STAGES.each_ref().map(|stage| plan(&[printed(stage)], mup).unwrap().n_steps());
        assert_eq!(steps, [52_000, 8_400, 5_999]);
    }

    /// 1.01e5 GPU-hours are printed; the days on 192 GPUs are 99,256. The search for hyperparameters (24.6 h on 6 nodes) isn't the difference.
    #[test]
    fn the_gpu_hours() {
        let of_days = forecast_by_tokens_a_day(1.0).total.gpu_hours;
        near(of_days, 99_256.0, 20.0);
        near(of_days + 24.6 * 6.0 * 8.0, 100_437.0, 20.0);
        near(1.01e5 / of_days, 1.0176, 0.0005);
    }

    /// The carbon of others comes from other intensities: FLM-101B's factor, put to GLM-130B's, Llama-2's and GPT-3's energy, gives other numbers than
    /// the table. Recorded, not computed by the planner but for the energy.
    #[test]
    fn the_carbon_of_others() {
        for (gpu_hours, watts, printed, found) in
            [(1.11e6, 400.0, 257.0, 283.8), (1.72e6, 400.0, 291.0, 439.7), (3.55e6, 330.0, 552.0, 748.7)]
        {
            let tonnes = Cost { usd_per_hour: 0.0, watts }.kwh(gpu_hours * 3600.0) * 0.581 * 1.1 / 1000.0;
            near(tonnes, found, 0.3);
            assert!(tonnes > 1.05 * printed, "{tonnes} {printed}");
        }
    }

    /// Llama-2 13B's FLOPs are 210.37 in the text and 201.37 in the table.
    #[test]
    fn a_transposed_figure() {
        let llama = gpt(40, 5120, 32_000, 4096);
        let middle = formula_flops(84, 2_000_000_000_000, &llama) / 1e21;
        near(middle, 201.37, 0.005);
        assert!((middle - 210.37).abs() > 8.0);
    }

    /// Earlier versions of the paper claim 54.8 % and 2.2 times. That is against 47.65 days, and nothing gives these: from scratch it is 76.7.
    #[test]
    fn the_saving_of_earlier_versions() {
        let found = forecast_by_tokens_a_day(1.0);
        let claimed = found.total.days / (1.0 - 0.548);
        near(claimed, 47.65, 0.02);
        assert!(found.from_scratch.days > 1.6 * claimed && found.saving > 0.7);
    }

    /// "10 % of the FLOPs": 7.5 % of GPT-3's in English, 12.5 to 14 % by the other ways to count.
    #[test]
    fn a_tenth_of_the_flops() {
        let ours = forecast_by_tokens_a_day(1.0).total.zflops;
        let gpt_3 = formula_flops(84, 300_000_000_000, &gpt(96, 12_288, 50_257, 2048)) / 1e21;
        let glm_130b = formula_flops(96, 400_000_000_000, &gpt(70, 12_288, 150_528, 2048)) / 1e21;
        let english = 0.535 * ours;
        for (share, found) in [
            (english / gpt_3, 0.075),
            (english / (glm_130b / 2.0), 0.134),
            (ours / glm_130b, 0.125),
            (ours / gpt_3, 0.140),
        ] {
            near(share, found, 0.001);
        }
    }

    /// One cosine from 4e-4 to 6e-6 over all tokens is at neither of the rates that the later stages start with.
    #[test]
    fn the_learning_rates() {
        let cosine = LearningRate::Cosine { peak: 4e-4, end: 6e-6, warmup_tokens: 0 };
        let at = |billions: f64| cosine.at((billions * 1e9) as u64, 311_550_000_000);
        near(at(245.37), 4.83e-5, 5e-7);
        near(at(285.01), 1.30e-5, 5e-7);
        // It is at 3.4e-4 after a quarter of its way, at 2e-4 after half.
        near(cosine.at(255, 1000), 3.4e-4, 1e-6);
        near(cosine.at(505, 1000), 2e-4, 1e-6);
    }
}
