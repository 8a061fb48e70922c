//! Errors with the exit code they end the process with: 0 done, 1 our bug, 2 command line or run file, 3 input data,
//! 4 environment, 5 training stopped itself, 130 interrupted.

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
