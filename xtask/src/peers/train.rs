//! The trainer's tasks and rivals.

use std::fs;

use anyhow::Context;

use super::Places;
use super::measure::run_ours;
use super::systems::{Contest, RUNS, System, Task, Unit};

pub(super) static TRAIN: Contest = Contest {
    name: "train",
    title: "The trainer beside PyTorch",
    about: "\
All train the same model from the same weights on the same rows, on two threads: the block of FLM-101B (LayerNorm in
front, biases, tanh-GELU, xPos, tied embedding), AdamW, gradients clipped to a norm of 1, a learning rate of 0.001.

| | vocabulary | hidden | layers | heads | context | rows a step | in micro-batches of |
| --- | --: | --: | --: | --: | --: | --: | --: |
| small | 8,192 | 256 | 6 | 4 | 256 | 16 | 8 |
| large-vocab | 100,352 | 512 | 8 | 8 | 512 | 8 | 4 |

Tokens are drawn at random, low ids more often than high ones. A process makes 3 and 12 steps (small) or 1 and 4 (large-vocab); the first
ones do not count, and with them compiling does not; what is stated of a process is the median of its other steps, by the
clock on the wall, from the rows to the updated weights. Each measurement is a fresh process, the systems in turns. That
all do the same shows in the losses of their last steps, which the notes state.

fp32 is float32 throughout; bf16 keeps weights and AdamW's moments in float32 and computes matrix products in bfloat16
(PyTorch: `torch.autocast`). rss-large-vocab: the most that was resident in a process of fp32-tokens-large-vocab; for the other
tasks the notes have it. PyTorch's has Python and its packages among it, about 0.4 GiB. Where lower is better, \"of ours\" above
1 is worse than ours.

PyTorch is version 2.13.0 from PyPI, whose libtorch our trainer uses as well. The model is written as one would today: query, key and value
in one matrix, `scaled_dot_product_attention`, `AdamW(fused=True)`, and for pytorch-compile the model and its loss in one graph. With +malloc
glibc is told by its environment variables to keep freed memory, which is faster and takes more of it; by default it gives large
buffers back to the system, which has to clear their pages again for the next one. Ours keeps its large buffers by itself.
What else was tried stands in `xtask/src/peers/train_driver.py`.
",
    example: "step",
    settings: None,
    tasks: &TASKS,
    systems: &[
        system("pytorch-eager"),
        system("pytorch-compile"),
        system("pytorch-eager+malloc"),
        system("pytorch-compile+malloc"),
    ],
};

const TASKS: [Task; 5] = [
    task("fp32-tokens-small", "train/small.json", Unit::TrainedTokens, RUNS),
    task("bf16-tokens-small", "train/small.json", Unit::TrainedTokens, RUNS),
    task("fp32-tokens-large-vocab", LARGE, Unit::TrainedTokens, 3),
    task("bf16-tokens-large-vocab", LARGE, Unit::TrainedTokens, 3),
    task("rss-large-vocab", LARGE, Unit::TrainingMemory, 1),
];

const LARGE: &str = "train/large.json";

const fn task(name: &'static str, input: &'static str, unit: Unit, runs: usize) -> Task {
    Task { name, input, unit, runs, compared: None, is_from_disk: false }
}

/// How much is trained stands in the input.
const fn system(name: &'static str) -> System {
    const EVERYTHING: [(&str, f64); 5] = [
        ("fp32-tokens-small", 0.0),
        ("bf16-tokens-small", 0.0),
        ("fp32-tokens-large-vocab", 0.0),
        ("bf16-tokens-large-vocab", 0.0),
        ("rss-large-vocab", 0.0),
    ];
    System { name, environment: "loader", driver: "train_driver.py", tasks: &EVERYTHING }
}

/// Writes what is trained on, and from: 0.4 GB.
pub(super) fn make_rows(places: &Places) -> anyhow::Result<()> {
    let folder = places.inputs.join("train");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    run_ours(places, "rows", &folder)?;
    Ok(())
}
