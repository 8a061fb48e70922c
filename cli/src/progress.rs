//! What a person sees while work goes on: a bar on a terminal, a line every few seconds elsewhere, JSON for machines.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

/// Without a terminal, a line at most this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How to talk.
pub(crate) struct Console {
    is_json: bool,
    is_terminal: bool,
}

/// The progress of one stage.
pub(crate) struct Progress<'a> {
    console: &'a Console,
    stage: &'static str,
    bar: ProgressBar,
    start: Instant,
    last_line: Mutex<Instant>,
    /// The message says how long it will take: the stage knows better than its position does.
    tells_time: bool,
}

impl Console {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, is_terminal: std::io::stderr().is_terminal() }
    }

    /// Starts the progress of a stage that handles `total` of `unit` ("bytes", "tokens"); 0 where that is not known.
    pub(crate) fn start(&self, stage: &'static str, total: u64, unit: &str) -> Progress<'_> {
        let bar = match total {
            0 => ProgressBar::no_length(),
            total => ProgressBar::new(total),
        };
        let rate = if unit == "bytes" { "{bytes_per_sec}" } else { "{per_sec}" };
        let position = if unit == "bytes" { "{bytes}/{total_bytes}" } else { "{human_pos}/{human_len}" };
        // A model that grows takes longer for a token the later it is.
        let tells_time = stage == "train";
        let time = if tells_time { String::new() } else { format!(" {rate}, {{eta}} left") };
        let template = format!("{{prefix:>9}} [{{bar:28}}] {position} {unit}{time}  {{wide_msg}}");
        let style = ProgressStyle::with_template(&template).expect("the template is ours").progress_chars("=> ");
        bar.set_style(style);
        bar.set_prefix(stage);
        if self.is_json || !self.is_terminal {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let now = Instant::now();
        Progress { console: self, stage, bar, start: now, last_line: Mutex::new(now), tells_time }
    }

    /// Lines for people, after a stage.
    pub(crate) fn table(&self, text: &str) {
        if !self.is_json {
            eprint!("{text}");
        }
    }

    /// A stage that has nothing to do.
    pub(crate) fn skipped(&self, stage: &str) {
        if self.is_json {
            println!("{}", json!({ "stage": stage, "status": "skipped" }));
        } else {
            eprintln!("{stage:>9} done before, skipped");
        }
    }
}

impl Progress<'_> {
    /// Sets the position and a short message.
    pub(crate) fn set(&self, position: u64, message: &str) {
        self.bar.set_position(position);
        self.bar.set_message(message.to_owned());
        self.line(message);
    }

    /// Moves on by `by`.
    pub(crate) fn add(&self, by: u64) {
        self.bar.inc(by);
        self.line("");
    }

    /// Time since the stage started.
    #[cfg(feature = "torch")]
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Prints a line that stays.
    #[cfg(feature = "torch")]
    pub(crate) fn note(&self, text: &str) {
        if !self.console.is_json {
            self.bar.suspend(|| eprintln!("{:>9} {text}", self.stage));
        }
    }

    /// Prints an event for machines; one of many only every few seconds.
    #[cfg(feature = "torch")]
    pub(crate) fn event(&self, event: &impl serde::Serialize, is_one_of_many: bool) {
        if self.console.is_json && (!is_one_of_many || self.is_time_for_a_line()) {
            println!("{}", json!({ "stage": self.stage, "event": event }));
        }
    }

    fn is_time_for_a_line(&self) -> bool {
        let Ok(mut last) = self.last_line.lock() else { return false };
        let is_time = last.elapsed() >= LINE_EVERY;
        if is_time {
            *last = Instant::now();
        }
        is_time
    }

    fn line(&self, message: &str) {
        if self.console.is_json || self.console.is_terminal || !self.is_time_for_a_line() {
            return;
        }
        let position = self.bar.position();
        let share = self.bar.length().filter(|&length| length > 0).map(|length| position as f64 / length as f64);
        let elapsed = self.start.elapsed().as_secs_f64();
        match share {
            Some(share) if self.tells_time => eprintln!("{:>9} {:>5.1} %  {message}", self.stage, share * 100.0),
            Some(share) if share > 0.0 => {
                let left = elapsed / share - elapsed;
                eprintln!("{:>9} {:>5.1} %  {left:>4.0} s left  {message}", self.stage, share * 100.0);
            }
            _ => eprintln!("{:>9} {message}", self.stage),
        }
    }

    /// Ends the stage: `summary` for people, `result` for machines.
    pub(crate) fn finish(self, summary: &str, result: Value) {
        self.bar.finish_and_clear();
        let seconds = self.start.elapsed().as_secs_f64();
        if self.console.is_json {
            println!("{}", json!({ "stage": self.stage, "status": "done", "seconds": seconds, "result": result }));
        } else {
            eprintln!("{:>9} {summary}  ({seconds:.1} s)", self.stage);
        }
    }
}
