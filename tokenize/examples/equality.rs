//! Token for token: our encoder beside tiktoken and `tokenizers`, on real text and on random text full of surprises.
//!
//! `equality SEED N_STRINGS FOLDER...` reads every file under the folders (.gz and .zst unpacked, anything that is not UTF-8 replaced), and
//! makes `N_STRINGS` random strings: pieces at which a pattern's alternatives begin and end, characters beside which Unicode's
//! classes change, any characters, repeated or not. Every text is encoded with the ranks of GPT-2, cl100k_base and o200k_base,
//! and with cl100k_base under Qwen's pattern, and has to come back whole from its tokens. Ends with an error at the first text
//! that differs.
//!
//! Where tiktoken and ourselves agree and `tokenizers` does not, that is counted and an example shown: the release candidate cuts
//! contractions with the long s (U+017F) otherwise than GPT-4o's pattern says.
//!
//! `tokenizers` reads files of ours without special tokens, which it would look for, and gets texts without the characters that
//! its newer version of Unicode has and tiktoken's and ours have not.
#![expect(clippy::print_stdout, reason = "the result is for people")]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rayon::prelude::*;
use regex_syntax::hir::{Class, HirKind};
use tiktoken_rs::CoreBPE;
use tokenize::{Encoder, Pattern, Vocabulary, decode, from_tokenizer_json, read_tiktoken, to_tokenizer_json};
use tokenizers::pipeline::{EncodeOptions, PipelineTokenizer};

/// A file is compared in texts of about so many bytes.
const TEXT_BYTES: usize = 1 << 20;

/// Random strings that are made and compared together.
const STRINGS_PER_TASK: u64 = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seed, n_strings, folders @ ..] = &arguments[..] else {
        return Err("usage: equality SEED N_STRINGS FOLDER...".into());
    };
    let (seed, n_strings): (u64, u64) = (seed.parse()?, n_strings.parse()?);
    let judges = judges()?;
    let tally = Tally::default();
    let mut files = Vec::new();
    folders.iter().try_for_each(|folder| list(Path::new(folder), &mut files))?;
    files.par_iter().try_for_each(|file| {
        let text = read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        compare(&judges, &tally, pieces(&text)).map_err(|error| format!("{}: {error}", file.display()))
    })?;
    println!("{} files: {tally}", files.len());
    let tally = Tally::default();
    let parts = Parts::new()?;
    (0..n_strings.div_ceil(STRINGS_PER_TASK)).into_par_iter().try_for_each(|task| {
        let first = task * STRINGS_PER_TASK;
        let strings =
            (first..n_strings.min(first + STRINGS_PER_TASK)).map(|idx| parts.string(&mut Numbers(seed ^ idx)));
        compare(&judges, &tally, strings.collect::<Vec<_>>().iter().map(String::as_str))
    })?;
    println!("random strings of seed {seed}: {tally}");
    Ok(())
}

#[derive(Default)]
struct Tally {
    n_texts: AtomicU64,
    n_bytes: AtomicU64,
    n_tokens: AtomicU64,
    n_too_new: AtomicU64,
    /// Texts of which tokenizers says otherwise than tiktoken and ourselves, and the shortest of them.
    n_alone: AtomicU64,
    shortest_alone: Mutex<Option<String>>,
}

impl Tally {
    fn alone(&self, name: &str, text: &str) {
        self.n_alone.fetch_add(1, Ordering::Relaxed);
        let mut shortest = self.shortest_alone.lock().expect("nobody panics with it");
        let described = format!("{name}: {text:?}");
        if shortest.as_ref().is_none_or(|shortest| described.len() < shortest.len()) {
            *shortest = Some(described);
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [texts, bytes, tokens, too_new] =
            [&self.n_texts, &self.n_bytes, &self.n_tokens, &self.n_too_new].map(|n| n.load(Ordering::Relaxed));
        write!(
            formatter,
            "{texts} texts, {bytes} bytes, {tokens} tokens of four vocabularies, all equal; \
             {too_new} times a text had characters newer than Unicode 16, which tokenizers did not get to see"
        )?;
        match (self.n_alone.load(Ordering::Relaxed), &*self.shortest_alone.lock().expect("nobody panics with it")) {
            (n, Some(shortest)) => {
                write!(formatter, "; {n} times tokenizers is alone against tiktoken and us, as in {shortest}")
            }
            _ => Ok(()),
        }
    }
}

/// A vocabulary and who else has it.
struct Judge {
    name: &'static str,
    vocabulary: Vocabulary,
    tiktoken: Option<CoreBPE>,
    tokenizers: PipelineTokenizer,
}

fn judges() -> Result<Vec<Judge>, Box<dyn Error>> {
    let theirs = [
        ("gpt2", Pattern::Gpt2, tiktoken_rs::r50k_base()?, 50_256),
        ("cl100k_base", Pattern::Cl100k, tiktoken_rs::cl100k_base()?, 100_256),
        ("o200k_base", Pattern::O200k, tiktoken_rs::o200k_base()?, 199_998),
    ];
    let mut judges = Vec::new();
    for (name, pattern, tiktoken, n_ranks) in theirs {
        let vocabulary = read_tiktoken(ranks(&tiktoken, n_ranks)?.as_bytes(), name, pattern)?;
        let tokenizers = without_special_tokens(&vocabulary)?;
        judges.push(Judge { name, vocabulary, tiktoken: Some(tiktoken), tokenizers });
    }
    let qwen = to_tokenizer_json(&judges[1].vocabulary).replace(r"\\p{N}{1,3}", r"\\p{N}");
    let vocabulary = from_tokenizer_json(&qwen)?;
    assert_eq!(vocabulary.pattern(), &Pattern::Qwen2, "the pattern was changed");
    let tokenizers = without_special_tokens(&vocabulary)?;
    judges.push(Judge { name: "cl100k_base under Qwen's pattern", vocabulary, tiktoken: None, tokenizers });
    Ok(judges)
}

/// The rank file of what tiktoken has built in.
fn ranks(tiktoken: &CoreBPE, n_ranks: u32) -> Result<String, Box<dyn Error>> {
    let mut file = String::new();
    for rank in 0..n_ranks {
        writeln!(file, "{} {rank}", STANDARD.encode(tiktoken.decode_bytes(&[rank])?))?;
    }
    Ok(file)
}

fn without_special_tokens(vocabulary: &Vocabulary) -> Result<PipelineTokenizer, Box<dyn Error>> {
    let mut json: serde_json::Value = serde_json::from_str(&to_tokenizer_json(vocabulary))?;
    json["added_tokens"] = serde_json::json!([]);
    let json = tokenizers::canonicalize_str(&json.to_string()).map_err(|error| error.to_string())?;
    Ok(tokenizers::from_json(&json).map_err(|error| error.to_string())?)
}

fn compare<'t>(judges: &[Judge], tally: &Tally, texts: impl Iterator<Item = &'t str> + Clone) -> Result<(), String> {
    for Judge { name, vocabulary, tiktoken, tokenizers } in judges {
        let (mut encoder, mut ids, mut theirs) = (Encoder::new(vocabulary), Vec::new(), Vec::new());
        for text in texts.clone() {
            ids.clear();
            encoder.encode(text, &mut ids);
            let differs = |who| {
                Err(format!(
                    "{name} differs from {who}: {:?}",
                    first_difference(text, |part| {
                        let mut ids = Vec::new();
                        Encoder::new(vocabulary).encode(part, &mut ids);
                        ids != expected(who, tiktoken.as_ref(), tokenizers, part)
                    })
                ))
            };
            if decode(vocabulary, &ids) != text.as_bytes() {
                return Err(format!("{name} does not give back {text:?}"));
            }
            if let Some(tiktoken) = tiktoken
                && tiktoken.encode_ordinary(text) != ids
            {
                return differs("tiktoken");
            }
            let known: Cow<'_, str> = match text.contains(is_too_new) {
                true => text.chars().filter(|&character| !is_too_new(character)).collect::<String>().into(),
                false => text.into(),
            };
            if known.len() < text.len() {
                tally.n_too_new.fetch_add(1, Ordering::Relaxed);
                ids.clear();
                encoder.encode(&known, &mut ids);
            }
            theirs.clear();
            tokenizers
                .encode_into(&known, &EncodeOptions::default(), &mut theirs)
                .map_err(|error| error.to_string())?;
            if !theirs.iter().map(|&id| u32::from(id)).eq(ids.iter().copied()) {
                if tiktoken.is_none() {
                    return differs("tokenizers");
                }
                tally.alone(name, &known);
            }
            tally.n_tokens.fetch_add(ids.len() as u64, Ordering::Relaxed);
        }
    }
    tally.n_texts.fetch_add(texts.clone().count() as u64, Ordering::Relaxed);
    tally.n_bytes.fetch_add(texts.map(|text| text.len() as u64).sum(), Ordering::Relaxed);
    Ok(())
}

fn expected(who: &str, tiktoken: Option<&CoreBPE>, tokenizers: &PipelineTokenizer, text: &str) -> Vec<u32> {
    match tiktoken {
        Some(tiktoken) if who == "tiktoken" => tiktoken.encode_ordinary(text),
        _ => {
            let mut ids = Vec::new();
            tokenizers.encode_into(text, &EncodeOptions::default(), &mut ids).expect("it encoded the whole");
            ids.into_iter().map(u32::from).collect()
        }
    }
}

/// A short part of a text that still differs.
fn first_difference(text: &str, differs: impl Fn(&str) -> bool) -> &str {
    let mut text = text;
    loop {
        let half = (0..=text.len() / 2).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let (left, right) = text.split_at(half);
        match [left, right].into_iter().find(|part| !part.is_empty() && part.len() < text.len() && differs(part)) {
            Some(part) => text = part,
            None => return text,
        }
    }
}

fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if fs::metadata(path)?.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
        entries.sort();
        return entries.iter().try_for_each(|entry| list(entry, files));
    }
    files.push(path.to_owned());
    Ok(())
}

fn read(path: &Path) -> Result<String, Box<dyn Error + Send + Sync>> {
    let packed = fs::read(path)?;
    let mut bytes = Vec::new();
    match path.extension().and_then(|end| end.to_str()) {
        Some("gz") => drop(flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut bytes)?),
        Some("zst") => bytes = zstd::decode_all(&packed[..])?,
        _ => bytes = packed,
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn pieces(text: &str) -> impl Iterator<Item = &str> + Clone {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = (rest.len().min(TEXT_BYTES)..=rest.len()).find(|&end| rest.is_char_boundary(end))?;
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// What random strings are made of.
struct Parts {
    written: Vec<String>,
    /// Characters beside which a class begins or ends.
    at_borders: Vec<char>,
}

impl Parts {
    fn new() -> Result<Parts, Box<dyn Error>> {
        let mut at_borders = BTreeSet::new();
        for class in
            [r"\p{L}", r"\p{N}", r"\p{M}", r"\s", r"\p{Lu}", r"\p{Lt}", r"\p{Ll}", r"\p{Lm}", r"\p{Han}", r"\p{Cn}"]
        {
            for (first, last) in ranges(class) {
                at_borders
                    .extend([first.saturating_sub(1), first, last, last + 1].into_iter().filter_map(char::from_u32));
            }
        }
        let written = serde_json::from_str(include_str!("../testdata/borders.json"))?;
        Ok(Parts { written, at_borders: at_borders.into_iter().collect() })
    }

    fn string(&self, numbers: &mut Numbers) -> String {
        let mut string = String::new();
        for _ in 0..numbers.below(16) {
            let n = if numbers.below(16) == 0 { 1 + numbers.below(90) } else { 1 };
            let part = match numbers.below(8) {
                0..=4 => self.written[numbers.below(self.written.len())].clone(),
                5 | 6 => self.at_borders[numbers.below(self.at_borders.len())].to_string(),
                _ => char::from_u32(numbers.below(0x11_0000) as u32).unwrap_or('\u{FFFD}').to_string(),
            };
            string.push_str(&part.repeat(n));
        }
        string
    }
}

fn ranges(class: &str) -> Vec<(u32, u32)> {
    let parsed = regex_syntax::parse(class).expect("the class is a constant");
    let HirKind::Class(Class::Unicode(class)) = parsed.kind() else { unreachable!("it is one class") };
    class.iter().map(|range| (u32::from(range.start()), u32::from(range.end()))).collect()
}

fn is_too_new(character: char) -> bool {
    static UNASSIGNED: LazyLock<Vec<bool>> = LazyLock::new(|| {
        let mut unassigned = vec![false; 0x11_0000];
        ranges(r"\p{Cn}").into_iter().for_each(|(first, last)| unassigned[first as usize..=last as usize].fill(true));
        unassigned
    });
    UNASSIGNED[character as usize]
}

/// SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) % limit as u64) as usize
    }
}
