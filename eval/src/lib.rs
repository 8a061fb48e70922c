//! How good a checkpoint is: loss and bits per byte on held-out documents, rule tasks, and samples of its text.
//!
//! An item of a task counts as right if greedy decoding gives the answer to the letter. That is decided in one forward pass over
//! prompt and answer: greedy decoding follows the answer exactly as long as each of its tokens is the most likely one. (An answer
//! that the model would spell with other tokens than the tokenizer does counts as wrong.)
//!
//! Results are written in the layout of lm-evaluation-harness.

mod run;
mod tasks;

pub use run::{EVAL_FORMAT, EvalError, EvalJob, evaluate};
pub use tasks::{Item, Task, rule_tasks};
