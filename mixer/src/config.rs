//! The mix of a stage, as it is written in the run file.

use std::collections::BTreeMap;

use corpus::{Kind, Share};
use serde::{Deserialize, Serialize};

use crate::plan::Group;

/// Shares of a stage, counted in tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Share of each language; together 1.
    pub language: BTreeMap<String, Share>,
    /// Share of instruction prompts, in every language.
    pub instruction: Share,
    /// Share of teacher-signal propositions, in every language.
    pub proposition: Share,
    /// How often a document may be read at most, over all stages so far.
    pub epochs_max: u32,
}

impl Mix {
    /// The share of every group that has one, in a fixed order; or what is wrong with the shares.
    pub fn shares(&self) -> Result<Vec<(Group, f64)>, String> {
        // The sum of nothing is -0.0; adding 0.0 lets it be printed as 0.
        let total: f64 = self.language.values().map(|share| share.0).sum::<f64>() + 0.0;
        if (total - 1.0).abs() > 1e-9 {
            return Err(format!("the language shares add up to {total}, not to 1"));
        }
        let plain = 1.0 - self.instruction.0 - self.proposition.0;
        if plain < 0.0 {
            return Err("instruction and proposition together are more than everything".to_owned());
        }
        let mut shares = Vec::new();
        for (kind, of_kind) in Kind::ALL.into_iter().zip([plain, self.instruction.0, self.proposition.0]) {
            for (lang, of_lang) in &self.language {
                let share = of_kind * of_lang.0;
                if share > 0.0 {
                    shares.push((Group { lang: lang.clone(), kind }, share));
                }
            }
        }
        Ok(shares)
    }
}

/// A stage as the mixer sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageMix {
    /// The stage's name, and that of its folder.
    pub name: String,
    /// Rows to pack.
    pub n_rows: u64,
    /// Shares.
    pub mix: Mix,
}
