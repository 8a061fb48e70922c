//! The mix of a stage, as it is written in the run file.

use std::collections::BTreeMap;

use corpus::{Kind, Share};
use serde::{Deserialize, Serialize};

use crate::plan::Group;

/// What a stage reads, in shares of its rows, and how it is packed.
///
/// Languages and kinds share the stage out among *groups*; inside a group the sources have the shares that are named here,
/// and the others share what is left by how much they have (`temperature`); inside a source its documents may be weighed by
/// any column (`by`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Share of each language; together 1.
    pub language: BTreeMap<String, Share>,
    /// Share of instruction prompts, in every language.
    pub instruction: Share,
    /// Share of teacher-signal propositions, in every language.
    pub proposition: Share,
    /// Shares of the whole stage that sources are given. Sources that are not named share the rest of their group.
    #[serde(default)]
    pub source: BTreeMap<String, Share>,
    /// Sources without a share of their own are read in proportion to (their tokens)^(1 / temperature): 1 as they are, above 1
    /// more of the small ones.
    #[serde(default = "as_they_are")]
    pub temperature: f64,
    /// Columns of `documents/` that documents are weighed by.
    #[serde(default)]
    pub by: Vec<By>,
    /// How often a document may be read at most, over all stages so far.
    pub epochs_max: u32,
    /// The same for single sources.
    #[serde(default)]
    pub source_epochs_max: BTreeMap<String, u32>,
    /// Rows of a language or kind that every batch must hold.
    #[serde(default)]
    pub batch_min: BTreeMap<String, u64>,
    /// How documents become rows.
    #[serde(default)]
    pub packing: Packing,
}

fn as_they_are() -> f64 {
    1.0
}

/// How documents become rows. Propositions are never cut, whatever the packing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// End to end, cut where a row is full. No padding; every token is predicted, the first of a document from the one before.
    #[default]
    Concatenate,
    /// Whole documents where they fit best; only documents longer than a row are cut. The rest of a row is padding.
    BestFit,
    /// The same, for models that attend within documents only: the first token of a document in a row is not predicted.
    BestFitMasked,
}

/// Documents weighed by a column of `documents/`, inside of every language, kind and source. The buckets of numbers are below
/// the first edge, from each edge to below the next, and from the last edge up, with NaN in the first; those of names are each
/// of `values`, and all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct By {
    /// A quality signal such as `cluster_size`, or `license` or `url`.
    pub column: String,
    /// Borders of buckets of numbers, ascending.
    #[serde(default)]
    pub edges: Vec<f64>,
    /// Buckets of names.
    #[serde(default)]
    pub values: Vec<String>,
    /// How often a bucket is read, relative to the others: one number for each bucket.
    #[serde(default)]
    pub weights: Vec<f64>,
    /// Or: the share of each bucket, together 1.
    #[serde(default)]
    pub shares: Vec<Share>,
}

impl By {
    /// Number of its buckets.
    pub fn n_buckets(&self) -> usize {
        self.edges.len() + self.values.len() + 1
    }

    /// The bucket of a number.
    pub(crate) fn bucket_of_number(&self, value: f32) -> u8 {
        self.edges.iter().take_while(|&&edge| f64::from(value) >= edge).count() as u8
    }

    /// The bucket of a name.
    pub(crate) fn bucket_of_text(&self, value: &str) -> u8 {
        self.values.iter().position(|known| known == value).unwrap_or(self.values.len()) as u8
    }

    /// A bucket in words.
    pub(crate) fn describe(&self, bucket: u8) -> String {
        let (bucket, column) = (usize::from(bucket), &self.column);
        if !self.values.is_empty() {
            return self.values.get(bucket).map_or(format!("{column} other"), |value| format!("{column} {value}"));
        }
        match (bucket.checked_sub(1).map(|below| self.edges[below]), self.edges.get(bucket)) {
            (None, Some(end)) => format!("{column} below {end}"),
            (Some(start), Some(end)) => format!("{column} {start} to {end}"),
            (Some(start), None) => format!("{column} from {start}"),
            (None, None) => column.clone(),
        }
    }

    fn check(&self) -> Result<(), String> {
        let column = &self.column;
        let n = self.n_buckets();
        if self.edges.is_empty() == self.values.is_empty() {
            return Err(format!("by {column}: give either edges (of numbers) or values (of names)"));
        }
        if !self.edges.is_sorted_by(|a, b| a < b) || self.edges.iter().any(|edge| !edge.is_finite()) {
            return Err(format!("by {column}: the edges must ascend"));
        }
        if n > 255 {
            return Err(format!("by {column}: {n} buckets are more than 255"));
        }
        let given = [self.weights.len(), self.shares.len()];
        if given != [n, 0] && given != [0, n] {
            return Err(format!("by {column}: there are {n} buckets; give {n} weights or {n} shares"));
        }
        if self.weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) {
            return Err(format!("by {column}: a weight is a number of 0 or more"));
        }
        let total: f64 = self.shares.iter().map(|share| share.0).sum();
        if !self.shares.is_empty() && (total - 1.0).abs() > 1e-9 {
            return Err(format!("by {column}: the shares add up to {total}, not to 1"));
        }
        Ok(())
    }
}

impl Mix {
    /// Plain text of some languages, each source as it is, documents end to end.
    pub fn plain(language: BTreeMap<String, Share>, epochs_max: u32) -> Self {
        Self {
            language,
            instruction: Share(0.0),
            proposition: Share(0.0),
            source: BTreeMap::new(),
            temperature: as_they_are(),
            by: Vec::new(),
            epochs_max,
            source_epochs_max: BTreeMap::new(),
            batch_min: BTreeMap::new(),
            packing: Packing::Concatenate,
        }
    }

    /// The share of every group that has one, in a fixed order; or what is wrong with the mix.
    pub fn groups(&self) -> Result<Vec<(Group, f64)>, String> {
        self.check()?;
        let plain = 1.0 - self.instruction.0 - self.proposition.0;
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

    /// How often documents of a source may be read.
    pub fn cap(&self, source: &str) -> u8 {
        let cap = self.source_epochs_max.get(source).copied().unwrap_or(self.epochs_max);
        u8::try_from(cap).unwrap_or(u8::MAX)
    }

    fn check(&self) -> Result<(), String> {
        // The sum of nothing is -0.0; adding 0.0 lets it be printed as 0.
        let total: f64 = self.language.values().map(|share| share.0).sum::<f64>() + 0.0;
        if (total - 1.0).abs() > 1e-9 {
            return Err(format!("the language shares add up to {total}, not to 1"));
        }
        if self.instruction.0 + self.proposition.0 > 1.0 {
            return Err("instruction and proposition together are more than everything".to_owned());
        }
        if !self.temperature.is_finite() || self.temperature <= 0.0 {
            return Err(format!("temperature is {}; it must be above 0", self.temperature));
        }
        for (name, cap) in
            self.source_epochs_max.iter().map(|(name, cap)| (&name[..], cap)).chain([("", &self.epochs_max)])
        {
            if !(1..=254).contains(cap) {
                let of = if name.is_empty() { "epochs_max".to_owned() } else { format!("source_epochs_max of {name}") };
                return Err(format!("{of} is {cap}; it must be from 1 to 254"));
            }
        }
        for label in self.batch_min.keys() {
            if Kind::parse(label).is_none() && !self.language.contains_key(label) {
                return Err(format!("batch_min: {label:?} is neither a kind nor a language of the mix"));
            }
        }
        self.by.iter().try_for_each(By::check)
    }
}

/// A stage as the mixer sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageMix {
    /// The stage's name, and that of its folder.
    pub name: String,
    /// Rows to pack.
    pub n_rows: u64,
    /// Rows of a batch. Only `batch_min` looks at it: rows are the same for any.
    #[serde(skip)]
    pub batch_rows: u64,
    /// Shares.
    pub mix: Mix,
}
