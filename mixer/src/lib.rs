//! What is read how often, in which order, and packed how.
//!
//! A stage's budget is a number of rows. Every row belongs to one *group*, a language and a kind of text; the mix gives each group
//! its share of the rows, exact to the row ([`quotas`]). The groups take turns so that every batch, not just the stage, has the
//! mix. Inside a group the documents come in a seeded order, epoch after epoch, and one stage goes on where the one before
//! stopped: nothing is repeated or lost at a stage's border.
//!
//! Plain text and instructions are laid end to end and cut into rows of `context + 1` tokens that overlap by one, so that
//! every token is predicted once. Propositions are never cut: a label without its statement teaches nothing.
//!
//! Invariant: the rows are a function of (tokens, mix, seed), independent of batch size, ranks and threads. The tokens of all
//! documents are held in memory in this version.

mod config;
mod explain;
mod pack;
mod plan;
mod run;

#[cfg(test)]
mod tests;

pub use config::{Mix, StageMix};
pub use explain::explain;
pub use pack::{Row, Stream};
pub use plan::{Group, interleave, quotas};
pub use run::{MixError, MixJob, VALIDATION, mix, packed_folder};
