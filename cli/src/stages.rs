//! Runs the stages: skips what is done, starts what is not, and ends with what a person wants to know.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
#[cfg(feature = "torch")]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use corpus::{Count, DOCUMENTS_FORMAT, FileError, Hash, Manifest, Parent, TOKENS_FORMAT, Tally};
use mixer::{MixJob, Removal, StageMix, VALIDATION, packed_folder};
use serde_json::json;
use tokenize::{Compression, TOKENIZER_FORMAT, TokenizerConfig};

use crate::args::{Device, Stage};
use crate::failure::Failure;
use crate::progress::Console;
use crate::report;
use crate::run_file::Run;

/// Everything a stage needs.
pub(crate) struct Stages<'a> {
    pub(crate) run: &'a Run,
    pub(crate) out: &'a Path,
    #[cfg_attr(not(feature = "torch"), expect(dead_code, reason = "training and evaluation count their own threads"))]
    n_threads: usize,
    #[cfg_attr(not(feature = "torch"), expect(dead_code, reason = "only training and evaluation compute"))]
    device: Device,
    pub(crate) console: &'a Console,
    pub(crate) stop: &'a AtomicBool,
    /// Held until the process ends, however it ends.
    _lock: File,
}

/// Locked by the process that works in a run's folder.
const LOCK: &str = ".lock";

/// Makes the folder `out`, and keeps every other process out of it as long as the file is open.
pub(crate) fn lock(out: &Path) -> Result<File, Failure> {
    let path = out.join(LOCK);
    let opened = std::fs::create_dir_all(out).and_then(|()| File::create(&path));
    let lock = opened.map_err(|error| Failure::environment(FileError::new("create", &path, error)))?;
    if lock.try_lock().is_err() {
        return Err(Failure::environment(anyhow!("another moso is working in {}", out.display())));
    }
    Ok(lock)
}

impl<'a> Stages<'a> {
    /// Prepares `out` and keeps every other process out of it.
    pub(crate) fn new(
        run: &'a Run,
        out: &'a Path,
        n_threads: usize,
        device: Device,
        console: &'a Console,
        stop: &'a AtomicBool,
    ) -> Result<Self, Failure> {
        Ok(Self { run, out, n_threads, device, console, stop, _lock: lock(out)? })
    }

    /// Runs one stage unless it is done.
    pub(crate) fn run(&self, stage: Stage) -> Result<(), Failure> {
        match stage {
            Stage::Ingest => self.ingest()?,
            Stage::Tokenizer => self.tokenizer()?,
            Stage::Tokenize => self.tokenize()?,
            Stage::Mix => self.mix()?,
            Stage::Train => self.train()?,
            Stage::Eval => self.eval()?,
            Stage::Report => self.report()?,
        }
        if self.stop.load(Ordering::Relaxed) && stage != Stage::Report {
            return Err(Failure::interrupted());
        }
        Ok(())
    }

    /// Whether every one of `folders` was made by this stage from these settings and inputs.
    fn is_done(&self, stage: Stage, folders: &[(&str, PathBuf)], format: u32, parents: &[Parent]) -> bool {
        let done = folders.iter().all(|(name, folder)| {
            let settings = self.run.settings_of(folder);
            let wanted = Manifest::new(name, format, &settings).with_parents(parents.to_vec());
            wanted.is_done(&self.out.join(folder))
        });
        if done {
            self.console.skipped(stage.name());
        }
        done
    }

    /// Folders of this run as the parents of the next stage. One that was made from other settings, or from other inputs than
    /// those that lie there now, is refused, and so is one whose inputs were: what came out would not be what the run file says.
    pub(crate) fn parents(&self, folders: &[PathBuf]) -> Result<Vec<Parent>, Failure> {
        let parent = |folder: &PathBuf| Ok(Parent { name: folder.display().to_string(), hash: self.fresh(folder)? });
        folders.iter().map(parent).collect()
    }

    /// The hash of a folder that is what the run file says.
    fn fresh(&self, folder: &Path) -> Result<Hash, Failure> {
        let (manifest, hash) = Manifest::read_with_hash(&self.out.join(folder))?;
        let stage = crate::run_file::stage_of(folder);
        let stale = |what: &str| {
            let folder = folder.display();
            Failure::run_file(anyhow!("{folder} was made from other {what} than now: run `moso {stage}` first"))
        };
        if manifest.config_hash != self.run.settings_of(folder).hash() {
            return Err(stale("settings"));
        }
        for parent in manifest.parents {
            // Files that were imported have no manifest; the stage that reads them hashes them.
            let Ok((_, now)) = Manifest::read_with_hash(&self.out.join(&parent.name)) else { continue };
            if now != parent.hash {
                return Err(stale(&parent.name));
            }
            self.fresh(Path::new(&parent.name))?;
        }
        Ok(hash)
    }

    fn ingest(&self) -> Result<(), Failure> {
        let parents = ingest::ingest_parents(&self.run.sources, &self.run.ingest)?;
        let folders = [("ingest", PathBuf::from("documents")), ("dropped", PathBuf::from("dropped"))];
        if self.is_done(Stage::Ingest, &folders, DOCUMENTS_FORMAT, &parents) {
            return Ok(());
        }
        let n_bytes = total_bytes(&self.run.sources);
        let progress = self.console.start("ingest", n_bytes, "bytes");
        let settings = self.run.settings("ingest");
        let tell = |at: ingest::Progress| {
            // The bar is that of reading, which takes nearly all of the time; what comes after it is told in words.
            let message = match at.phase {
                "reading" => format!("{} documents", at.n_documents),
                phase => format!("{} documents, {phase} {:.0} %", at.n_documents, percent(at.n_done, at.n_all)),
            };
            progress.set(if at.phase == "reading" { at.n_done } else { n_bytes }, &message);
            if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let manifest = ingest::run(&self.run.sources, &self.run.ingest, self.out, &settings, parents, &tell)?;
        let details = &manifest.details;
        let summary =
            format!("{} documents in, {} kept, {} dropped", details["n_in"], details["n_kept"], details["n_dropped"]);
        progress.finish(&summary, manifest.details);
        Ok(())
    }

    fn tokenizer(&self) -> Result<(), Failure> {
        let parents = match self.run.tokenizer {
            TokenizerConfig::Train { .. } => self.parents(&["documents".into()])?,
            _ => tokenize::tokenizer_parents(self.out, &self.run.tokenizer)?,
        };
        let folders = [("tokenizer", PathBuf::from("tokenizer"))];
        if self.is_done(Stage::Tokenizer, &folders, TOKENIZER_FORMAT, &parents) {
            return Ok(());
        }
        let n_ids = tokenize::n_ids(&self.run.tokenizer)?;
        let progress = self.console.start("tokenizer", n_ids, "ids");
        let seed = self.run.seed();
        let held_out = (&seed, self.run.eval.held_out.0);
        let settings = self.run.settings("tokenizer");
        let tell = |n_merges: usize| progress.set(n_merges as u64, "");
        let sample = tokenize::make_tokenizer(self.out, &self.run.tokenizer, held_out, &settings, &tell)?;
        progress.finish(&format!("{n_ids} ids"), json!({ "ids": n_ids, "sample": sample }));
        if !sample.is_empty() {
            self.console.table(&describe_compression(&sample));
        }
        Ok(())
    }

    fn tokenize(&self) -> Result<(), Failure> {
        let parents = self.parents(&["documents".into(), "tokenizer".into()])?;
        let folders = [("tokenize", PathBuf::from("tokens"))];
        if self.is_done(Stage::Tokenize, &folders, TOKENS_FORMAT, &parents) {
            return Ok(());
        }
        let documents = Manifest::read(&self.out.join("documents"))?;
        let n_bytes = documents.counts.iter().map(|row| row.amount("bytes")).sum();
        let progress = self.console.start("tokenize", n_bytes, "bytes");
        let settings = self.run.settings("tokenize");
        tokenize::tokenize(self.out, self.run.labels, &settings, &|_, n_bytes| progress.add(n_bytes))?;
        let counts = Manifest::read(&self.out.join("tokens"))?.counts;
        progress.finish(&describe_tokens(&counts), json!(counts));
        self.console.table(&describe_counts(&counts));
        Ok(())
    }

    fn mix(&self) -> Result<(), Failure> {
        self.parents(&["tokens".into()])?;
        self.with_mix_job(|job| {
            let open = mixer::unfinished(job)?;
            if open.is_empty() {
                self.console.skipped(Stage::Mix.name());
                return Ok(());
            }
            let stages = self.run.mixes.iter().filter(|stage| open.contains(&stage.name));
            let n_rows = stages.map(|stage| stage.n_rows).sum();
            let progress = self.console.start("mix", n_rows, "rows");
            mixer::mix(job, &|stage, n_rows| {
                if stage != VALIDATION {
                    progress.add(n_rows);
                }
                if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            let n_tokens = n_rows * self.run.context() as u64;
            progress.finish(
                &format!("{n_rows} rows, {} tokens", Count(n_tokens)),
                json!({ "rows": n_rows, "tokens": n_tokens, "stages": open }),
            );
            self.console.table(&describe_packing(self.out, &open)?);
            Ok(())
        })
    }

    /// Refuses to go on where the packed rows are not those of the run file.
    pub(crate) fn check_mix(&self) -> Result<(), Failure> {
        self.parents(&["tokens".into()])?;
        self.with_mix_job(|job| match mixer::unfinished(job)?.first() {
            None => Ok(()),
            Some(stage) => {
                let what = anyhow!("packed/{stage} is not as the run file and removed.json say: run `moso mix` first");
                Err(Failure::run_file(what))
            }
        })
    }

    fn with_mix_job<T>(&self, work: impl FnOnce(&MixJob<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let removals = self.removals()?;
        let settings = |stage: &str| self.run.settings_of(&packed_folder(stage));
        work(&MixJob {
            out: self.out,
            stages: &self.run.mixes,
            context: self.run.context(),
            seed: self.run.seed(),
            held_out: self.run.eval.held_out.0,
            validation_rows: self.run.eval.rows,
            removals: &removals,
            memory: self.run.mix_memory.0,
            settings: &settings,
        })
    }

    /// The take-downs, each from where it has its effect now: a mix may have changed since.
    fn removals(&self) -> Result<Vec<Removal>, Failure> {
        let removals = crate::takedown::removals(self.out)?;
        removals.into_iter().map(|removal| Ok(removal.clone().over(self.n_same_stages(&removal)?))).collect()
    }

    fn n_same_stages(&self, removal: &Removal) -> Result<usize, Failure> {
        let settings = |stage: &StageMix| self.run.settings_of(&packed_folder(&stage.name)).hash();
        let settings: Vec<Hash> = self.run.mixes.iter().map(settings).collect();
        let tokens: Hash = Manifest::read_with_hash(&self.out.join("tokens"))?.1;
        Ok(removal.n_same_stages(&settings, &tokens))
    }

    /// Rows that take-downs left as they were: a stage's folder as it was, and how many of its first rows are the same.
    #[cfg(feature = "torch")]
    fn kept_rows(&self) -> Result<Vec<(Parent, u64)>, Failure> {
        let removals = self.removals()?;
        let mut kept = Vec::new();
        for (removal, (stage, row)) in removals.iter().zip(mixer::effective(&removals)) {
            let n_same = self.n_same_stages(removal)?;
            for (index, (mix, hash)) in self.run.mixes.iter().zip(&removal.before).enumerate().take(n_same) {
                let n_rows = match index.cmp(&stage) {
                    std::cmp::Ordering::Less => mix.n_rows,
                    std::cmp::Ordering::Equal => row,
                    std::cmp::Ordering::Greater => 0,
                };
                kept.push((
                    Parent { name: packed_folder(&mix.name).display().to_string(), hash: hash.clone() },
                    n_rows,
                ));
            }
        }
        Ok(kept)
    }

    fn packed_folders(&self) -> Vec<PathBuf> {
        self.run.mixes.iter().map(|stage| packed_folder(&stage.name)).collect()
    }

    #[cfg(not(feature = "torch"))]
    fn train(&self) -> Result<(), Failure> {
        Err(Failure::no_torch())
    }

    #[cfg(not(feature = "torch"))]
    fn eval(&self) -> Result<(), Failure> {
        Err(Failure::no_torch())
    }

    #[cfg(feature = "torch")]
    fn train(&self) -> Result<(), Failure> {
        let mut inputs = self.packed_folders();
        inputs.extend([packed_folder(VALIDATION), "tokenizer".into()]);
        let parents = self.rows_to_train_on(&inputs)?;
        crate::sweep::check_frozen(self.run, self.out)?;
        let folders = [("train", PathBuf::from("checkpoints"))];
        if self.is_done(Stage::Train, &folders, trainer::TRAIN_FORMAT, &parents) {
            return Ok(());
        }
        let predictions = crate::prediction::predictions(self)?;
        let job = trainer::TrainJob { predictions, ..self.train_job(parents)? };
        let progress = self.console.start("train", self.run.plan.n_tokens(), "tokens");
        let mut live = crate::model::Live::new(&self.run.plan, self.run.report.cost);
        match trainer::train(&job, &mut |event| crate::model::show(&progress, event, &mut live))? {
            trainer::Outcome::Finished => {}
            trainer::Outcome::Interrupted => return Err(Failure::interrupted()),
        }
        let n_tokens = Count(self.run.plan.n_tokens());
        let n_stages = self.run.plan.stages.len();
        progress.finish(&format!("{n_tokens} tokens in {n_stages} stages"), json!({ "tokens": n_tokens }));
        Ok(())
    }

    /// Folders of rows as parents, which must be what the run file says.
    #[cfg(feature = "torch")]
    pub(crate) fn rows_to_train_on(&self, folders: &[PathBuf]) -> Result<Vec<Parent>, Failure> {
        // Where rows were brought from another machine, what they were made from may not be here to compare them with.
        if self.out.join("tokens").join(Manifest::NAME).exists() {
            self.check_mix()?;
        }
        self.parents(folders)
    }

    /// The training of the run; a trial changes what it must of it.
    #[cfg(feature = "torch")]
    pub(crate) fn train_job(&self, parents: Vec<Parent>) -> Result<trainer::TrainJob<'_>, Failure> {
        Ok(trainer::TrainJob {
            out: self.out,
            plan: &self.run.plan,
            optimizer: self.run.optimizer,
            precision: self.run.precision,
            recompute: self.run.recompute,
            packed: self.packed_folders().iter().map(|folder| self.out.join(folder)).collect(),
            validation: self.out.join(packed_folder(VALIDATION)),
            kept_rows: self.kept_rows()?,
            rows: loader::LoaderSettings {
                context: self.run.context(),
                verify: self.run.verify,
                tokenizer: Some(Manifest::read_with_hash(&self.out.join("tokenizer"))?.1),
            },
            token_bytes: tokenize::token_lengths(self.out)?,
            start: self.run.start.clone(),
            seed: self.run.seed(),
            settings: self.run.settings("train"),
            parents,
            stability: self.run.stability,
            started: crate::model::now(),
            stalled: Arc::new(crate::model::end_stalled),
            checkpoint_every: self.run.checkpoint_every,
            keep_last: self.run.keep_last,
            validate_every: self.run.validate_every,
            predictions: Vec::new(),
            device: crate::model::open_device(self.device)?,
            n_threads: self.n_threads,
            stop: self.stop,
        })
    }

    #[cfg(feature = "torch")]
    fn eval(&self) -> Result<(), Failure> {
        let parents = self.parents(&["checkpoints".into(), "tokenizer".into(), packed_folder(VALIDATION)])?;
        let folders = [("eval", PathBuf::from("eval"))];
        if self.is_done(Stage::Eval, &folders, eval::EVAL_FORMAT, &parents) {
            return Ok(());
        }
        let checkpoints = self.out.join("checkpoints");
        let step = self.run.plan.n_steps();
        let job = eval::EvalJob {
            out: self.out,
            checkpoint: trainer::checkpoint::checkpoint_folder(&checkpoints, step),
            validation: self.out.join(packed_folder(VALIDATION)),
            seed: self.run.seed(),
            prompts: &self.run.eval.prompts,
            sampling: trainer::Sampling {
                temperature: self.run.eval.temperature,
                top_k: self.run.eval.top_k,
                n_tokens: self.run.eval.sample_tokens,
            },
            precision: self.run.precision,
            device: crate::model::open_device(self.device)?,
            n_threads: self.n_threads,
            settings: &self.run.settings("eval"),
            parents,
        };
        let progress = self.console.start("eval", 0, "");
        eval::evaluate(&job, &|what| progress.set(0, what))?;
        progress.finish(
            &format!("step {step}, results in {}", self.out.join("eval/results.json").display()),
            json!({ "step": step }),
        );
        Ok(())
    }

    fn report(&self) -> Result<(), Failure> {
        let mut inputs: Vec<PathBuf> =
            ["documents", "dropped", "tokenizer", "tokens", "checkpoints", "eval"].map(PathBuf::from).to_vec();
        inputs.push(packed_folder(VALIDATION));
        inputs.extend(self.packed_folders());
        let mut parents = self.parents(&inputs)?;
        // A search and a prediction are told as they were made: the run file may have taken over what they found.
        for folder in ["sweep", "predict"] {
            if let Ok((_, hash)) = Manifest::read_with_hash(&self.out.join(folder)) {
                parents.push(Parent { name: folder.to_owned(), hash });
            }
        }
        let folders = [("report", PathBuf::from("report"))];
        if !self.is_done(Stage::Report, &folders, report::REPORT_FORMAT, &parents) {
            let progress = self.console.start("report", 0, "");
            report::write(self.run, self.out, &self.run.settings("report"), parents)?;
            progress.finish("done", json!({ "report": self.out.join("report/index.html") }));
        }
        Ok(())
    }
}

fn total_bytes(sources: &[ingest::Source]) -> u64 {
    fn size(path: &Path) -> u64 {
        match std::fs::read_dir(path) {
            Ok(listing) => listing.flatten().map(|entry| size(&entry.path())).sum(),
            Err(_) => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        }
    }
    sources.iter().map(|source| size(&source.path)).sum()
}

/// How the rows of every stage came out: padding, documents that were cut, tokens in a row.
fn describe_packing(out: &Path, stages: &[String]) -> Result<String, Failure> {
    let mut text = format!(
        "  {:<16} {:<16} {:>10} {:>9} {:>11} {:>10} {:>12}\n",
        "stage", "packing", "rows", "padding", "documents", "cut", "tokens/row"
    );
    for stage in stages {
        let manifest = Manifest::read(&out.join(packed_folder(stage)))?;
        let (details, n_rows) = (&manifest.details, manifest.n_rows());
        let number = |key: &str| details[key].as_u64().unwrap_or(0);
        let n_tokens = n_rows * (number("context") + 1);
        let _ = writeln!(
            text,
            "  {stage:<16} {:<16} {n_rows:>10} {:>7.2} % {:>11} {:>8.2} % {:>12.1}",
            details["packing"].as_str().unwrap_or_default(),
            percent(number("padding_tokens"), n_tokens),
            number("documents_read"),
            percent(number("documents_cut"), number("documents_read")),
            ratio(n_tokens - number("padding_tokens"), n_rows),
        );
    }
    Ok(text)
}

/// Tokens and bytes per token of each language.
fn describe_tokens(counts: &[Tally]) -> String {
    let mut langs: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for row in counts {
        let [tokens, bytes] = langs.entry(&row.lang).or_default();
        *tokens += row.amount("tokens");
        *bytes += row.amount("bytes");
    }
    let describe = |(lang, [tokens, bytes]): (&str, [u64; 2])| {
        format!("{lang} {} tokens of {:.2} bytes", Count(tokens), ratio(bytes, tokens))
    };
    langs.into_iter().map(describe).collect::<Vec<_>>().join(", ")
}

/// Tokens, bytes per token and what the vocabulary does not know, by language, source and kind.
fn describe_counts(counts: &[Tally]) -> String {
    let mut text = format!(
        "  {:<4} {:<12} {:<28} {:>10} {:>9} {:>12} {:>14}\n",
        "lang", "kind", "source", "documents", "tokens", "bytes/token", "in parts"
    );
    for row in counts {
        let _ = writeln!(
            text,
            "  {:<4} {:<12} {:<28} {:>10} {:>9} {:>12.2} {:>12.3} %",
            row.lang,
            row.kind,
            row.source,
            row.amount("documents"),
            Count(row.amount("tokens")).to_string(),
            ratio(row.amount("bytes"), row.amount("tokens")),
            percent(row.amount("bytes_in_parts"), row.amount("bytes")),
        );
    }
    text.push_str("  in parts: share of the bytes that are tokens by themselves although only parts of characters\n");
    text
}

/// Bytes per token of the sample, beside cl100k's.
fn describe_compression(sample: &[Compression]) -> String {
    let mut text = format!(
        "  {:<4} {:<28} {:>9} {:>12} {:>10} {:>13}\n",
        "lang", "source", "bytes", "bytes/token", "of cl100k", "fewer tokens"
    );
    for Compression { lang, source, bytes, tokens, tokens_cl100k } in sample {
        let _ = writeln!(
            text,
            "  {lang:<4} {source:<28} {:>9} {:>12.2} {:>10.2} {:>11.1} %",
            Count(*bytes).to_string(),
            ratio(*bytes, *tokens),
            ratio(*bytes, *tokens_cl100k),
            100.0 - percent(*tokens, *tokens_cl100k),
        );
    }
    text
}

fn ratio(amount: u64, of: u64) -> f64 {
    amount as f64 / of.max(1) as f64
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 100.0 } else { part as f64 / whole as f64 * 100.0 }
}
