//! Does it hold together? All end-to-end tests, on the `moso` binary as a user would run it.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod bad_input;
mod determinism;
#[cfg(feature = "torch")]
mod growth;
mod harness;
mod ingest;
mod instructions;
#[cfg(feature = "torch")]
mod mix;
mod plan;
#[cfg(feature = "torch")]
mod spikes;
#[cfg(feature = "torch")]
mod sweep;
mod tidy;
mod tiny;
mod tokens;
#[cfg(feature = "torch")]
mod training;
