//! Requests that work, and those that cannot.

mod forecast;
mod paper;
mod published_speeds;

use crate::*;

fn shape(layers: u64, hidden: u64, heads: u64) -> Shape {
    Shape { layers, hidden, heads, ffn: 4 * hidden, vocabulary: 8192, context: 256 }
}

fn request(name: &str, shape: Shape, grows: bool) -> StageRequest {
    StageRequest {
        name: name.into(),
        tokens: 409_600,
        shape,
        batch: Batch { rows: 16, micro_rows: 8 },
        learning_rate: LearningRate::Cosine { peak: 1e-3, end: 1e-4, warmup_tokens: 40_960 },
        growth: grows.then_some(Growth { operator: Operator::Masked, ramp_tokens: 81_920 }),
    }
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
    check(|b| b.shape.heads = 5, "no multiple of heads 5");
    check(|b| b.shape.heads = 12, "16 wide; they must be 32 as in the first stage");
    check(|b| b.shape = shape(3, 192, 6), "layers shrinks");
    check(|b| b.growth = None, "say how it grows");
    check(|b| b.batch.micro_rows = 7, "no multiple of micro_rows 7");
    check(|b| b.tokens = 100, "less than one batch of 4096");
    check(|b| b.growth = Some(Growth { operator: Operator::Masked, ramp_tokens: 409_600 }), "the mask ramp takes");
    check(|b| b.growth = Some(Growth { operator: Operator::Masked, ramp_tokens: 0 }), "growth ramp must be at least 1");
    let stable = |warmup_tokens, decay_tokens| LearningRate::WarmupStableDecay {
        peak: 1.0,
        end: 0.1,
        warmup_tokens,
        decay_tokens,
    };
    let check_rate = |rate: LearningRate, expected: Option<&str>| {
        let second = StageRequest { learning_rate: rate, ..request("b", shape(5, 192, 6), true) };
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
}
