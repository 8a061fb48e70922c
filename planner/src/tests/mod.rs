//! Requests that work, and those that cannot.

mod forecast;
mod paper;
mod published_speeds;

use crate::*;

fn shape(layers: u64, hidden: u64, heads: u64) -> Shape {
    Shape { layers, hidden, heads, head_size: hidden / heads.max(1), ffn: 4 * hidden, vocabulary: 8192, context: 256 }
}

fn request(name: &str, shape: Shape, grows: bool) -> StageRequest {
    StageRequest {
        name: name.into(),
        tokens: 409_600,
        shape,
        batch: Batch { rows: 16, micro_rows: 8 },
        learning_rate: Some(LearningRate::Cosine { peak: 1e-3, end: 1e-4, warmup_tokens: 40_960 }),
        growth: grows.then_some(masked(81_920)),
    }
}

fn masked(ramp_tokens: u64) -> Growth {
    Growth { depth: Depth::Stack, width: Width::Random, ramp_tokens, moments: Moments::Old }
}

fn mup() -> MuP {
    MuP { base_width: 128, input_multiplier: 1.0, output_multiplier: 2.0, init_std: 0.02 }
}

#[test]
fn stages_follow_each_other_without_gaps() {
    let run = plan(&[request("a", shape(4, 128, 4), false), request("b", shape(5, 192, 6), true)], mup()).unwrap();
    assert_eq!((run.stages[1].first_step, run.stages[1].first_row), (100, 1600));
    assert_eq!(run.stages[1].n_ramp_steps, 20);
    assert_eq!(run.stage_at(99), Some(0));
    assert_eq!(run.stage_at(100), Some(1));
    assert_eq!(run.stage_at(200), None);
    assert_eq!(run.stages[1].mask_at(0), 0.0);
    assert_eq!(run.stages[1].mask_at(10), 0.5);
    assert_eq!(run.stages[1].mask_at(20), 1.0);
    assert!(run.flops() < run.from_scratch_flops());
}

#[test]
fn what_cannot_work_is_said() {
    let first = request("a", shape(4, 128, 4), false);
    let check = |change: fn(&mut StageRequest), expected: &str| {
        let mut second = request("b", shape(5, 192, 6), true);
        change(&mut second);
        let error = plan(&[first.clone(), second], mup()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(|b| b.shape.hidden = 200, "hidden 200 is no multiple of the head size 32; 192 and 224 are");
    check(|b| b.shape.head_size = 16, "16 wide; they must be 32 as in the first stage");
    check(|b| b.shape = shape(3, 192, 6), "layers shrinks");
    check(|b| b.growth = None, "say how it grows");
    check(|b| b.batch.micro_rows = 7, "no multiple of micro_rows 7");
    check(|b| b.tokens = 100, "less than one batch of 4096");
    check(|b| b.growth = Some(masked(409_600)), "the mask ramp takes 409600 tokens, the stage ends after 409600");
    // Not a single step would be trained without masks.
    check(|b| b.growth = Some(masked(409_599)), "the mask ramp takes 409599 tokens, the stage ends after 409600");
    check(|b| b.growth = Some(Growth { width: Width::Split, ..masked(4096) }), "write ramp = 0");
    check(|b| b.growth = Some(Growth { width: Width::Split, ..masked(0) }), "a whole multiple of the one before");
    let stable = |warmup_tokens, decay_tokens| LearningRate::WarmupStableDecay {
        peak: 1.0,
        end: 0.1,
        warmup_tokens,
        decay_tokens,
    };
    let check_rate = |rate: LearningRate, expected: Option<&str>| {
        let second = StageRequest { learning_rate: Some(rate), ..request("b", shape(5, 192, 6), true) };
        let error = plan(&[first.clone(), second], mup()).err().map(|error| error.to_string());
        assert!(
            match (&error, expected) {
                (Some(error), Some(expected)) => error.contains(expected),
                (found, expected) => found.is_none() && expected.is_none(),
            },
            "{error:?}"
        );
    };
    check_rate(stable(9_600, 400_000), None);
    check_rate(
        stable(9_601, 400_000),
        Some("stage b: warm-up and decay of the learning rate together takes 409601 tokens"),
    );
    check_rate(stable(409_600, 1), Some("warm-up takes 409600 tokens, the stage ends after 409600"));
    check_rate(stable(0, 0), Some("the decay of its learning rate must be at least 1"));
    check(|b| b.shape.context = 128, "must stay the same");
    assert!(plan(&[request("a", shape(4, 128, 4), true)], mup()).is_err());
    assert_eq!(plan(&[], mup()), Err(PlanError::NoStage));
    let nothing_before = StageRequest { learning_rate: None, ..request("a", shape(4, 128, 4), false) };
    assert!(plan(&[nothing_before], mup()).unwrap_err().to_string().contains("there is none"));
}

/// Sizes and counts that would overflow are refused with the key and the limit, and at the limits everything can be computed.
#[test]
fn sizes_have_limits() {
    type Change = fn(&mut StageRequest);
    let cases: [(Change, &str); 9] = [
        (|a| a.batch.rows = 216_000_000_000_000_000, "stage a: batch rows is 216000000000000000; it must be at most"),
        (|a| a.shape.heads = 8_000_000_000, "stage a: heads is 8000000000; it must be at most 1048576"),
        (|a| a.shape.heads = 1 << 20, "stage a: heads x head_size is 33554432"),
        (|a| a.shape.layers = 80_000_000_000_000, "stage a: layers is 80000000000000; it must be at most 10000"),
        (|a| a.shape.hidden = u64::MAX, "stage a: hidden is"),
        (|a| a.shape.ffn = u64::MAX, "stage a: ffn is"),
        (|a| a.shape.vocabulary = u64::MAX, "stage a: vocabulary is"),
        (|a| a.shape.context = u64::MAX, "stage a: context is"),
        (|a| a.tokens = u64::MAX, "stage a: tokens is"),
    ];
    for (change, expected) in cases {
        let mut stage = request("a", shape(4, 128, 4), false);
        change(&mut stage);
        let error = plan(&[stage], mup()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let most = Shape {
        layers: 10_000,
        hidden: 1 << 20,
        heads: 1 << 13,
        head_size: 128,
        ffn: 1 << 22,
        vocabulary: 1 << 31,
        context: 1 << 24,
    };
    let batch = Batch { rows: 1 << 24, micro_rows: 1 << 24 };
    let stage = StageRequest { tokens: 10_000_000_000_000_000, batch, ..request("a", most, false) };
    let run = plan(&[stage], mup()).unwrap();
    assert!(computed_flops_per_token(&most, true) > most.flops_per_token() && run.flops() > 0.0);
    let device = Hardware::built_in().find("cpu").unwrap().clone();
    for (precision, beginning) in [(Precision::Float32, Beginning::MASKED), (Precision::Bfloat16, Beginning::PLAIN)] {
        let machine = Machine { device: &device, n_devices: 1, precision, recompute: Recompute::Blocks };
        assert!(forecast_layout(&most, batch, Layout::ONE, beginning, &machine).memory_gib.is_finite());
    }
}

/// A curve that three stages share is that of one stage as long as all three, whatever their batches; one that starts anew is its own.
#[test]
fn a_stage_may_go_on_with_the_curve_of_the_one_before() {
    let rate = Some(LearningRate::Cosine { peak: 1e-3, end: 1e-4, warmup_tokens: 40_960 });
    let inherits = |name, rows| StageRequest {
        learning_rate: None,
        batch: Batch { rows, micro_rows: 8 },
        ..request(name, shape(5, 192, 6), true)
    };
    let whole = StageRequest { tokens: 3 * 409_600, ..request("whole", shape(4, 128, 4), false) };
    let whole = plan(&[whole], mup()).unwrap();
    let last = StageRequest { learning_rate: rate, ..inherits("d", 16) };
    let parts = [request("a", shape(4, 128, 4), false), inherits("b", 8), inherits("c", 16), last];
    let parts = plan(&parts, mup()).unwrap();
    for (index, tokens) in [(0, 4096), (0, 409_600), (1, 0), (1, 2048), (1, 409_600), (2, 40_960), (2, 409_600)] {
        let found = parts.stages[index].learning_rate_at(tokens);
        assert_eq!(found, whole.stages[0].learning_rate_at(index as u64 * 409_600 + tokens));
    }
    assert_eq!(parts.stages[3].learning_rate_at(40_960), 1e-3);
}

/// What is promised: masks keep everything; without them only what adds zeros, or shares what there was.
#[test]
fn promises_of_growth() {
    let (old, deep, wide) = (shape(4, 128, 4), shape(8, 128, 4), shape(4, 256, 8));
    let more_units = Shape { ffn: 1024, ..old };
    let promises = |depth, width, ramp_tokens, new: &Shape| {
        Growth { depth, width, ramp_tokens, moments: Moments::Old }.broken_promise(&old, new).is_none()
    };
    for depth in [Depth::Stack, Depth::Interpose, Depth::Zero, Depth::Random] {
        assert!(promises(depth, Width::Random, 1, &deep) && promises(depth, Width::Zero, 1, &wide));
        assert_eq!(promises(depth, Width::Random, 0, &deep), depth == Depth::Zero);
    }
    for (width, units, hidden) in
        [(Width::Random, false, false), (Width::Zero, true, false), (Width::Split, true, true)]
    {
        assert_eq!(promises(Depth::Zero, width, 0, &more_units), units);
        assert_eq!(promises(Depth::Zero, width, 0, &wide), hidden);
    }
}
