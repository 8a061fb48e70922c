//! Growing a checkpoint offline takes the memory of its largest tensor and a constant, whatever its size. A process of its own, so that what it
//! takes is its own: about 0.5 GB of tensors here, 8 GB in `cargo xtask soak grow`, which sets the number of blocks.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot set itself up has failed; the soak sets its size by a variable"
)]

use std::fs;

use corpus::{Seed, Settings};
use planner::{Depth, Growth, Moments, MuP, Shape, Width};
use tch::Tensor;
use trainer::checkpoint::{RunState, checkpoint_folder, grow_offline, read_state, save};
use trainer::growth::GrowthStep;
use trainer::stability::Window;
use trainer::{Checkpoint, OptimizerState, parameter_specs};

/// Most memory that this process had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn state(shape: Shape, mup: MuP) -> RunState {
    RunState {
        stage: 0,
        stage_name: "small".to_owned(),
        step: 3,
        tokens: 0,
        position: 0,
        shape,
        mup,
        masks: None,
        updates: 3,
        window: Window::default(),
        skipped: Vec::new(),
        seed: 0,
        settings: Settings::default(),
        parents: Vec::new(),
    }
}

#[test]
fn growing_offline_takes_little_memory() {
    let layers = std::env::var("MOSO_GROW_LAYERS").map_or(3, |layers| layers.parse().unwrap());
    let old = Shape { layers, hidden: 1024, heads: 16, head_size: 64, ffn: 4096, vocabulary: 1024, context: 128 };
    let new = Shape { layers: layers + 2, hidden: 1088, heads: 17, ffn: 4352, ..old };
    let mup = MuP { base_width: 256, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.02 };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // One number in memory for each tensor.
    let constant = |value: f32| {
        let of = |spec: trainer::ParameterSpec| Tensor::from(value).expand(spec.size(&old), false);
        parameter_specs(&old).into_iter().map(of).collect::<Vec<Tensor>>()
    };
    let optimizer = OptimizerState { step: 3, first: constant(0.5), second: constant(0.25) };
    let small = Checkpoint { state: state(old, mup), tensors: constant(1.0), optimizer };
    let small = save(&folder.path().join("small"), &small).unwrap();
    let before = peak();
    let growth = Growth { depth: Depth::Interpose, width: Width::Random, ramp_tokens: 1, moments: Moments::Grown };
    let step = GrowthStep { old, new, growth, mup, seed: Seed::root(1) };
    let grown = grow_offline(&small, &step, &folder.path().join("grown")).unwrap();
    assert_eq!(grown, checkpoint_folder(&folder.path().join("grown"), 3));
    assert_eq!(read_state(&grown).unwrap().shape, new);
    let (more, n_bytes) = (peak().saturating_sub(before), 12 * old.n_parameters());
    println!("{} MB grown with {} MB beyond the {} MB from before", n_bytes >> 20, more >> 20, before >> 20);
    assert!(peak() < 1 << 30, "{} MB", peak() >> 20);
    // The largest tensor has 18 MB; what is drawn, its copies and buffers are a few of those.
    assert!(more < 200 << 20, "{} MB more than before", more >> 20);
}
