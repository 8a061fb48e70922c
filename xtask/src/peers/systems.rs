//! What a comparison is made of: a stage's tasks, and the rivals that take part in them.

/// One stage beside its rivals.
pub(super) struct Contest {
    /// Names the command, `out/peers/NAME.json` and `docs/benchmarks/NAME.md`.
    pub(super) name: &'static str,
    /// Of the page.
    pub(super) title: &'static str,
    /// What the page says in front of the table.
    pub(super) about: &'static str,
    /// Our own program is this example.
    pub(super) example: &'static str,
    /// A file beside the drivers that our program reads as its last argument.
    pub(super) settings: Option<&'static str>,
    pub(super) tasks: &'static [Task],
    pub(super) systems: &'static [System],
}

/// What is measured.
pub(super) struct Task {
    pub(super) name: &'static str,
    /// File under `out/peers/inputs`.
    pub(super) input: &'static str,
    pub(super) unit: Unit,
    /// How often it is measured, unless the command says.
    pub(super) runs: usize,
    /// Whose tokens are compared with ours, in words, if any are.
    pub(super) compared: Option<&'static str>,
    /// Whether the pages of a system's input are dropped from memory before its process starts.
    pub(super) is_from_disk: bool,
}

/// What is stated: amounts in a CPU-second unless it says otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Pages,
    Documents,
    Megabytes,
    Tokens,
    /// In a second of the clock on the wall, waiting for the disk among it.
    TokensByTheClock,
    /// Of training steps, by the clock on the wall.
    TrainedTokens,
    /// By the clock on the wall.
    Milliseconds,
    PeakMemory,
    AnonymousMemory,
    /// The most that was resident in training steps.
    TrainingMemory,
}

/// A rival.
pub(super) struct System {
    pub(super) name: &'static str,
    /// Whose packages it runs with.
    pub(super) environment: &'static str,
    /// The program that drives it.
    pub(super) driver: &'static str,
    /// Tasks, each with the megabytes of text that it takes about ten seconds for; more than there are means all.
    pub(super) tasks: &'static [(&'static str, f64)],
}

/// More megabytes than there are.
pub(super) const ALL: f64 = 1000.0;

/// Enough for a median.
pub(super) const RUNS: usize = 5;

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages/s",
            Self::Documents => "documents/s",
            Self::Megabytes => "MB/s",
            Self::Tokens | Self::TokensByTheClock => "M tokens/s",
            Self::TrainedTokens => "tokens/s",
            Self::Milliseconds => "ms",
            Self::PeakMemory | Self::AnonymousMemory | Self::TrainingMemory => "MiB",
        }
    }

    pub(super) fn better(self) -> &'static str {
        match self {
            Self::Milliseconds | Self::PeakMemory | Self::AnonymousMemory | Self::TrainingMemory => "lower",
            _ => "higher",
        }
    }
}
