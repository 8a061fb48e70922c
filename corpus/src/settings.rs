//! The settings that made a folder: they stand in its manifest, and their hash tells whether they are still the same.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hash::{Hash, hash_bytes};

/// Every setting that can change a stage's result, as resolved from the run file. Settings that cannot (threads, progress) do
/// not belong here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(pub Value);

impl Settings {
    /// Hash of their JSON; object keys are sorted, so their order in the run file does not count.
    pub fn hash(&self) -> Hash {
        hash_bytes(self.0.to_string().as_bytes())
    }
}
