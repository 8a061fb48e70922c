//! Our side of `cargo xtask peers tokenize`: one task on one input in a fresh process, CPU time and counts as one line of JSON.
//!
//! `encode TASK INPUT SCRATCH`, where INPUT holds JSON lines with a `text`, and a name that ends in `.zst` says that they are compressed.
//! The clock is the CPU time of the process, all threads together, from the texts in memory to the result in memory.
//!
//! ```text
//! LANG-cold, LANG-cold-long  encodes texts that the process has not seen
//! LANG-warm                  encodes them a second time
//! train-vocab                trains a vocabulary; SCRATCH/trained.json
//! TASK-tokens                measures nothing: SCRATCH/tokens-moso.bin, of train-vocab those of the Chinese documents by what was trained
//! tokenizer-json             measures nothing: SCRATCH/cl100k.json and the bilingual pattern in SCRATCH/bilingual.txt for the rivals
//! ```
//!
//! A token file holds, for each document, the number of its tokens and their ids, all `u32`, little-endian.
#![expect(clippy::print_stdout, reason = "the result is read from there")]

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::{Value, json};
use tokenize::{Encoder, Pattern, Vocabulary, cl100k_base, from_tokenizer_json, to_tokenizer_json, train};

/// Length of the documents of the tasks that are called long.
const LONG_BYTES: usize = 1_000_000;

/// Size of the vocabulary that is trained.
const N_IDS: usize = 64_000;

/// How much of each language the trained vocabulary is judged by.
const SAMPLE_BYTES: usize = 2_000_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Document {
    text: String,
    lang: String,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, input, scratch] = &arguments[..] else {
        return Err("usage: encode TASK INPUT SCRATCH".into());
    };
    let (input, scratch) = (Path::new(input), Path::new(scratch));
    let result = match (&task[..], task.strip_suffix("-tokens")) {
        ("tokenizer-json", _) => {
            fs::write(scratch.join("cl100k.json"), to_tokenizer_json(&cl100k_base()))?;
            fs::write(scratch.join("bilingual.txt"), Pattern::Bilingual.spelling())?;
            json!({})
        }
        ("train-vocab", _) => train_vocabulary(&read(input)?, scratch)?,
        (_, Some(task)) => {
            let vocabulary = match task {
                "train-vocab" => from_tokenizer_json(&fs::read_to_string(scratch.join("trained.json"))?)?,
                _ => cl100k_base(),
            };
            write_tokens(&vocabulary, &texts(task, read(input)?), &scratch.join("tokens-moso.bin"))?
        }
        (task, None) => encode(task, &texts(task, read(input)?)),
    };
    println!("{result}");
    Ok(())
}

fn encode(task: &str, texts: &[String]) -> Value {
    let vocabulary = cl100k_base();
    let mut encoder = Encoder::new(&vocabulary);
    let mut ids = Vec::new();
    let n_passes = if task.ends_with("-warm") { 2 } else { 1 };
    let (mut seconds, mut n_tokens) = (0.0, 0);
    for _ in 0..n_passes {
        n_tokens = 0;
        let start = cpu_time();
        for text in texts {
            ids.clear();
            encoder.encode(text, &mut ids);
            n_tokens += ids.len();
        }
        seconds = (cpu_time() - start).as_secs_f64();
    }
    let share = 100.0 * seconds_to_read(texts) / seconds;
    json!({
        "n_documents": texts.len(),
        "n_bytes": texts.iter().map(String::len).sum::<usize>(),
        "cpu_seconds": seconds,
        "peak_mib": peak_mib(),
        "version": env!("CARGO_PKG_VERSION"),
        "remark": format!("{n_tokens} tokens; reading the bytes once takes {share:.1} % of it"),
    })
}

/// Writes all tokens for the comparison with the rivals'.
fn write_tokens(vocabulary: &Vocabulary, texts: &[String], path: &Path) -> Outcome<Value> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    let mut encoder = Encoder::new(vocabulary);
    let mut ids = Vec::new();
    for text in texts {
        ids.clear();
        encoder.encode(text, &mut ids);
        file.write_all(&u32::try_from(ids.len())?.to_le_bytes())?;
        for id in &ids {
            file.write_all(&id.to_le_bytes())?;
        }
    }
    file.flush()?;
    Ok(json!({}))
}

fn train_vocabulary(documents: &[Document], scratch: &Path) -> Outcome<Value> {
    let texts: Vec<&str> = documents.iter().map(|document| &document.text[..]).collect();
    let start = cpu_time();
    let vocabulary = train(Pattern::Bilingual, &texts, N_IDS, &|_| {})?;
    let seconds = (cpu_time() - start).as_secs_f64();
    let peak_mib = peak_mib();
    fs::write(scratch.join("trained.json"), to_tokenizer_json(&vocabulary))?;
    let rates = ["en", "zh"].map(|lang| format!("{lang} {:.3}", bytes_per_token(&vocabulary, documents, lang)));
    let n_ids = vocabulary.n_ids();
    let megabytes = SAMPLE_BYTES / 1_000_000;
    Ok(json!({
        "n_documents": texts.len(),
        "n_bytes": texts.iter().map(|text| text.len()).sum::<usize>(),
        "cpu_seconds": seconds,
        "peak_mib": peak_mib,
        "version": env!("CARGO_PKG_VERSION"),
        "remark": format!("{n_ids} ids; bytes per token of the first {megabytes} MB of a language: {}", rates.join(", ")),
    }))
}

/// Of the first documents of a language, as many as the rivals take.
fn bytes_per_token(vocabulary: &Vocabulary, documents: &[Document], lang: &str) -> f64 {
    let mut encoder = Encoder::new(vocabulary);
    let (mut ids, mut n_bytes) = (Vec::new(), 0);
    for document in documents.iter().filter(|document| document.lang == lang) {
        if n_bytes >= SAMPLE_BYTES {
            break;
        }
        n_bytes += document.text.len();
        encoder.encode(&document.text, &mut ids);
    }
    n_bytes as f64 / ids.len() as f64
}

/// The limit: what a program that looks at every byte takes at least.
fn seconds_to_read(texts: &[String]) -> f64 {
    let start = cpu_time();
    let mut sum = 0_u64;
    for text in texts {
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        sum = words.iter().fold(sum, |sum, &word| sum.wrapping_add(u64::from_le_bytes(word)));
        sum = rest.iter().fold(sum, |sum, &byte| sum.wrapping_add(u64::from(byte)));
    }
    black_box(sum);
    (cpu_time() - start).as_secs_f64()
}

fn read(path: &Path) -> Outcome<Vec<Document>> {
    let file = fs::File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let reader: Box<dyn Read> = match path.extension().is_some_and(|extension| extension == "zst") {
        true => Box::new(zstd::Decoder::new(file)?),
        false => Box::new(file),
    };
    BufReader::new(reader).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// What a task encodes.
fn texts(task: &str, documents: Vec<Document>) -> Vec<String> {
    let is_encoded = |document: &Document| task != "train-vocab" || document.lang == "zh";
    let texts = documents.into_iter().filter(is_encoded).map(|document| document.text).collect();
    if task.ends_with("-long") { joined(texts) } else { texts }
}

/// Texts put together until they are long.
fn joined(texts: Vec<String>) -> Vec<String> {
    let mut long: Vec<String> = Vec::new();
    for text in texts {
        match long.last_mut().filter(|last| last.len() < LONG_BYTES) {
            Some(last) => last.push_str(&text),
            None => long.push(text),
        }
        long.last_mut().expect("one has just been written to").push('\n');
    }
    long
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("nanoseconds of a second"))
}

/// The most memory that the process had at any time; 0 where the system does not say.
fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
