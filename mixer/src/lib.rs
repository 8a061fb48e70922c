//! What is read how often, in which order, and packed how.
//!
//! A stage's budget is a number of rows. Every row belongs to one *stratum*: a language, a kind and a source of text, and a bucket
//! of every column the mix weighs by. The mix gives each stratum its share of the rows, exact to the row ([`quotas`]); what
//! cannot be met is said with the numbers ([`Shortage`]). Strata take turns so that every batch, not just the stage, has the mix
//! ([`Turns`]), and the rows of each are shuffled over the whole stage ([`Permutation`]).
//!
//! Documents are read in an order that is a hash of their ids, those first that were read least. A *ledger* says of every document
//! what was read of it, and is all that a stage hands to the next one: the next stage may have another mix, or other strata, and
//! still repeats nothing before everything else was read, and loses nothing.
//!
//! Documents are laid end to end and cut into rows that overlap by one token ([`Packing::Concatenate`]), or put whole where they
//! fit best ([`Packing::BestFit`]). Propositions are never cut: a label without its statement teaches nothing.
//!
//! Invariants: rows are a function of (tokens, mix, seed, ledger), independent of batch size, ranks, threads and memory; no
//! more memory is used than the job is given, whatever the size of the corpus.

mod catalogue;
mod config;
mod explain;
mod order;
mod pack;
mod plan;
mod removal;
mod run;
mod shuffle;
mod simulation;
mod stage;

#[cfg(test)]
mod tests;

pub use catalogue::CatalogueError;
pub use config::{By, Mix, Packing, StageMix};
pub use explain::explain;
pub use order::{Permutation, ReadingOrder, Turns};
pub use pack::{Item, Packed, Placement, best_fit, concatenate};
pub use plan::{Group, Shortage, Stratum, quotas};
pub use removal::{Removal, Removed, effective};
pub use run::{
    MixError, MixJob, Progress, VALIDATION, ledger_folder, mix, packed_folder, unfinished, validation_languages,
};
pub use simulation::{Simulation, simulate};
