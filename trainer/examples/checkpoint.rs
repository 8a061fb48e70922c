//! How long training stands still for a checkpoint, beside how long writing it takes: a model of 100M parameters.
//!
//! `checkpoint FOLDER [ROUNDS]` prints one line a round: the copy (the pause), and the write that goes on behind it (streamed, hashed,
//! brought to the disk, read back and compared). The folder should lie on the disk that checkpoints go to.
#![expect(clippy::print_stdout, reason = "the result is read from there")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use corpus::{Seed, Settings};
use planner::{MuP, Shape};
use trainer::checkpoint::{save, snapshot};
use trainer::{Checkpoint, OptimizerState, RunState, initial_tensors};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or("usage: checkpoint FOLDER [ROUNDS]")?;
    let n_rounds: u64 = arguments.get(1).map_or(Ok(5), |text| text.parse())?;
    tch::set_num_threads(1);
    let mut checkpoint = checkpoint();
    println!("{} parameters", checkpoint.state.shape.n_parameters());
    let mut copy = None;
    for round in 1..=n_rounds {
        checkpoint.state.step = round;
        let start = Instant::now();
        let copied = snapshot(&checkpoint, copy.take());
        let pause = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let path = save(Path::new(folder), &copied)?;
        let write = start.elapsed().as_secs_f64();
        std::fs::remove_dir_all(path)?;
        println!("pause {:.1} ms, write {:.0} ms: {:.1} %", pause * 1e3, write * 1e3, pause / write * 100.0);
        copy = Some(copied);
    }
    Ok(())
}

fn checkpoint() -> Checkpoint {
    let shape = Shape { layers: 12, hidden: 768, heads: 12, ffn: 3072, vocabulary: 19_456, context: 1024 };
    let mup = MuP { base_width: 256, input_multiplier: 1.0, output_multiplier: 1.0, init_std: 0.02 };
    let tensors = initial_tensors(&shape, &mup, &Seed::root(1));
    let optimizer = OptimizerState::new(&tensors);
    let state = RunState {
        stage: 0,
        stage_name: "only".to_owned(),
        step: 0,
        tokens: 0,
        position: 0,
        shape,
        mup,
        masks: None,
        seed: 1,
        settings: Settings::default(),
        parents: Vec::new(),
    };
    Checkpoint { state, tensors, optimizer }
}
