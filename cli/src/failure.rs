//! Errors with the exit code they end the process with: 0 done, 1 our bug, 2 command line or run file, 3 input data,
//! 4 environment, 5 training stopped itself, 130 interrupted.

use std::any::Any;

use anyhow::Error;
use corpus::{FileError, FormatError, ManifestError};
use ingest::IngestError;
use mixer::{CatalogueError, MixError};
use tokenize::TokenizeError;

/// Interrupted, resumable.
pub(crate) const INTERRUPTED: u8 = 130;

const BUG: u8 = 1;
const RUN_FILE: u8 = 2;
const INPUT: u8 = 3;
const ENVIRONMENT: u8 = 4;
#[cfg(feature = "torch")]
pub(crate) const TRAINING: u8 = 5;

/// Why the process ends, and with which code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) error: Error,
}

impl Failure {
    /// The command line or the run file is wrong.
    pub(crate) fn run_file(error: impl Into<Error>) -> Self {
        Self { code: RUN_FILE, error: error.into() }
    }

    /// Input data cannot be used.
    pub(crate) fn input(error: impl Into<Error>) -> Self {
        Self { code: INPUT, error: error.into() }
    }

    /// The machine lacks something.
    pub(crate) fn environment(error: impl Into<Error>) -> Self {
        Self { code: ENVIRONMENT, error: error.into() }
    }

    /// Our own mistake.
    pub(crate) fn bug(error: impl Into<Error>) -> Self {
        Self { code: BUG, error: error.into() }
    }

    /// A panic, whose message was printed where it happened. It is our mistake, but for one thing that libtorch says in this way too.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let what = "this is a bug in moso; please report the message above";
        Self::bug(anyhow::anyhow!("{}", said.unwrap_or("a panic without words")).context(what)).or_out_of_memory()
    }

    /// The same, or what to do where libtorch ran out of memory.
    pub(crate) fn or_out_of_memory(self) -> Self {
        #[cfg(feature = "torch")]
        if let Some(said) = self.error.chain().map(ToString::to_string).find(|said| trainer::is_out_of_memory(said)) {
            // A panic has its line ends written out; behind the first come the addresses of libtorch's functions.
            let first = said.split("\\n").flat_map(str::lines).next().unwrap_or_default();
            return Self::environment(anyhow::anyhow!(
                "there is not enough memory ({first}): lower batch.micro_rows, or set [train] recompute = \"blocks\""
            ));
        }
        self
    }

    /// Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self { code: INTERRUPTED, error: anyhow::anyhow!("interrupted; the same command goes on from here") }
    }

    /// This binary was built without training.
    #[cfg(not(feature = "torch"))]
    pub(crate) fn no_torch() -> Self {
        Self::environment(anyhow::anyhow!(
            "this moso was built without libtorch; build it with `cargo xtask setup && cargo build` to train"
        ))
    }

    fn file(error: Error, is_out_of_space: bool) -> Self {
        if is_out_of_space {
            Self::environment(error.context("the disk is full: free some room and run the same command again"))
        } else {
            Self::input(error)
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let (full, is_write) = (error.is_out_of_space(), error.is_write());
        if is_write && !full { Self::environment(error) } else { Self::file(error.into(), full) }
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        let full = error.is_out_of_space();
        Self::file(error.into(), full)
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Self::input(error)
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        if matches!(error, IngestError::Interrupted) {
            return Self::interrupted();
        }
        let full = error.is_out_of_space();
        Self::file(error.into(), full)
    }
}

impl From<TokenizeError> for Failure {
    fn from(error: TokenizeError) -> Self {
        match error {
            TokenizeError::File(error) => error.into(),
            TokenizeError::Format(error) => error.into(),
            other => Self::input(other),
        }
    }
}

impl From<MixError> for Failure {
    fn from(error: MixError) -> Self {
        match error {
            MixError::File(error) => error.into(),
            MixError::Catalogue(CatalogueError::Format(error)) => error.into(),
            MixError::Catalogue(CatalogueError::Manifest(error)) | MixError::Manifest(error) => error.into(),
            MixError::Interrupted { .. } => Self::interrupted(),
            MixError::Catalogue(_) | MixError::TooLittle { .. } | MixError::TooFewHeldOut { .. } => Self::input(error),
        }
    }
}

#[cfg(feature = "torch")]
impl From<trainer::CheckpointError> for Failure {
    fn from(error: trainer::CheckpointError) -> Self {
        match error {
            trainer::CheckpointError::File(error) => error.into(),
            other => Self::input(other),
        }
    }
}

#[cfg(feature = "torch")]
impl From<trainer::TrainError> for Failure {
    fn from(error: trainer::TrainError) -> Self {
        use trainer::TrainError::{Batch, Checkpoint, Diverged, File, NotPreserved, OtherRun, Spiked};
        match error {
            File(error) => error.into(),
            Checkpoint(error) => error.into(),
            Diverged { .. } | Spiked { .. } => Self { code: TRAINING, error: error.into() },
            OtherRun { .. } => Self::run_file(error),
            Batch { .. } | NotPreserved { .. } => Self::bug(error),
            other => Self::input(other),
        }
    }
}

#[cfg(feature = "torch")]
impl From<eval::EvalError> for Failure {
    fn from(error: eval::EvalError) -> Self {
        match error {
            eval::EvalError::File(error) => error.into(),
            eval::EvalError::Checkpoint(error) => error.into(),
            eval::EvalError::Tokenizer(error) => error.into(),
            eval::EvalError::Validation(_) => Self::input(error),
        }
    }
}

#[cfg(all(test, feature = "torch"))]
mod tests {
    use super::*;

    #[test]
    fn memory_that_does_not_suffice_is_a_matter_of_the_machine() {
        // What libtorch 2.13 says, on a CPU and on a GPU.
        for said in [
            "Internal torch error: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to \
             allocate 562949953421312 bytes. Error code 12 (Cannot allocate memory)\nframe #0",
            "CUDA out of memory. Tried to allocate 6.12 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.5 GiB is free.",
        ] {
            let errors = [
                Failure::bug(anyhow::anyhow!("{said}").context("cannot compute step 3")).or_out_of_memory(),
                Failure::panicked(&format!("called `Result::unwrap()` on an `Err` value: Torch({said:?})")),
            ];
            for Failure { code, error } in errors {
                let told = error.to_string();
                assert!(code == ENVIRONMENT && told.contains("micro_rows") && told.contains("recompute"), "{told}");
                assert!(!told.contains("frame #0"), "{told}");
            }
        }
        assert_eq!(Failure::panicked(&"index out of bounds").code, BUG);
        assert_eq!(Failure::run_file(anyhow::anyhow!("no")).or_out_of_memory().code, RUN_FILE);
    }
}
