//! The plan of a stage over more documents than there are here: real lengths, made-up ids, no tokens.
//!
//! Everything that [`crate::mix`] does with a stage before it touches a token, by the same code, over a catalogue that is computed
//! instead of read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use corpus::{DocId, Reading, Seed};

use crate::catalogue::{CatalogueError, Documents, Entry};
use crate::config::Mix;
use crate::plan::{Stratum, plan};
use crate::run::MixError;
use crate::stage::{draw, lay_out, survey};

/// Documents of a shard; as many as ingest writes into one, about.
const SHARD_DOCUMENTS: u64 = 1 << 18;

/// A stage of made-up documents.
pub struct Simulation<'a> {
    /// How many documents.
    pub n_documents: u64,
    /// What they are like: each is one of these, drawn by its number.
    pub like: &'a [(Stratum, u32)],
    /// The stage's mix.
    pub mix: &'a Mix,
    /// Its rows.
    pub n_rows: u64,
    /// Tokens that a row predicts.
    pub context: usize,
    /// Memory, in bytes, as for a real job.
    pub memory: u64,
    /// A folder for sorted runs.
    pub work: &'a Path,
}

struct Simulated<'a> {
    n_documents: u64,
    like: &'a [(Stratum, u32)],
    seed: Seed,
}

impl Simulated<'_> {
    fn numbers(&self, shard: usize) -> Range<u64> {
        let first = shard as u64 * SHARD_DOCUMENTS;
        first..self.n_documents.min(first + SHARD_DOCUMENTS)
    }
}

impl Documents for Simulated<'_> {
    fn n_shards(&self) -> usize {
        self.n_documents.div_ceil(SHARD_DOCUMENTS) as usize
    }

    fn visit<Name: Copy, E: From<CatalogueError>>(
        &self,
        shard: usize,
        name: &mut dyn FnMut(&Stratum) -> Name,
        visit: &mut dyn FnMut(Name, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let names: BTreeMap<&Stratum, Name> = self.like.iter().map(|(stratum, _)| (stratum, name(stratum))).collect();
        let named: Vec<(Name, u32)> = self.like.iter().map(|(stratum, n_tokens)| (names[stratum], *n_tokens)).collect();
        for document in self.numbers(shard) {
            let [low, high] = [0, 1].map(|half: u64| self.seed.order_key(&(2 * document + half).to_le_bytes()));
            let (name, n_tokens) = named[(low % named.len() as u64) as usize];
            let mut id = [0; 16];
            id[..8].copy_from_slice(&low.to_le_bytes());
            id[8..].copy_from_slice(&high.to_le_bytes());
            let reading = Reading::default();
            visit(name, Entry { document, id: DocId(id), n_tokens, reading, is_too_long: false })?;
        }
        Ok(())
    }
}

/// Plans the stage; `done` is told when each pass is over. Gives the number of pieces, and the sum of the places of their rows, which
/// is the same for every number of threads and every memory.
pub fn simulate(simulation: &Simulation<'_>, done: &mut dyn FnMut(&'static str)) -> Result<(u64, u64), MixError> {
    let Simulation { n_documents, like, mix, n_rows, context, memory, work } = *simulation;
    let seed = Seed::root(0);
    let documents = Simulated { n_documents, like, seed: seed.stream("documents") };
    let memory = memory as usize / 4;
    let supplies = survey(&documents)?;
    done("survey");
    let too_little = |what| MixError::TooLittle { stage: "simulated".to_owned(), what };
    let mut plan = plan(mix, n_rows, context, &supplies, &BTreeSet::new()).map_err(too_little)?;
    done("plan");
    let drawn = draw(&documents, &plan, &seed, &work.join("drawn"), memory)?;
    done("draw");
    let layout = lay_out(drawn, &mut plan, mix, (context, n_rows), &supplies, &work.join("laid-out"), memory)?;
    done("lay out");
    let (mut n_pieces, mut sum) = (0, 0_u64);
    layout.places(&plan, &seed, &mut |place| {
        n_pieces += 1;
        sum = sum.wrapping_add(place);
    })?;
    done("places");
    Ok((n_pieces, sum))
}
