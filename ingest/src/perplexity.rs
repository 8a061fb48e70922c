//! How surprising a text is to a small language model made from texts as they should be, and in which third that puts it.
//!
//! CCNet (arXiv 1911.00359) sorts web pages into head, middle and tail by the perplexity of a 5-gram model of Wikipedia.
//! The model here is of our own making: interpolated modified Kneser-Ney over n-grams of words, or of characters where a
//! language has no spaces (Chen and Goodman 1999; estimated as in Heafield et al. 2013, with its fallback where counts
//! of counts say nothing). With `c` the count of an n-gram (for orders below the highest: of how many different units
//! it follows, unless it begins a line), `D` one of three discounts an order, and `h'` the context `h` without its first
//! unit:
//!
//! ```text
//! p(w | h) = max(c(h w) - D(c(h w)), 0) / c(h) + g(h) p(w | h')
//! g(h)     = what the first summands of all w leave to 1
//! p(w)     = (c(w) - D(c(w))) / c + g / size of the vocabulary
//! ```
//!
//! N-grams of three and more units that are rarer than `count_min` are left out; `g` takes their mass, so every context
//! still sums to one. A line is a sentence, with its end as a unit. Units are in lower case, any run of digits is one
//! unit, and in Chinese a run of Latin letters is one: CCNet folds in the same way.
//!
//! Training sorts n-grams; measured on 14.7 MB of Chinese: 12 s and 0.8 GB of memory for order 5. It is a function of
//! texts and settings; there is nothing random in it. A score costs a look-up an order and unit.
//!
//! Every tenth text of the reference is not trained on: the quantiles of their perplexities are the buckets' borders,
//! since what a model has seen does not surprise it.
//!
//! File: magic `MOSOPPL` and version 1; unit (0 words, 1 characters) and order, a byte each; the borders as 32-bit
//! floats; the number of units, then each as its length (16 bits) and its UTF-8; the number of n-grams, then each as
//! hash (64 bits), logarithm of its probability and of its `g` (32-bit floats), by rising hash; a checksum
//! ([`crate::model_file`]).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use corpus::{Count, FileEntry, Share};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::{Xxh3DefaultBuilder, xxh3_64};

use crate::config::NotNegative;
use crate::language::{Unit, is_han};
use crate::model_file::{ModelError, open_model, read_bytes, write_model};

const MAGIC: &[u8; 8] = b"MOSOPPL\x01";
const WHAT: &str = "a perplexity model of version 1";

/// Units of the longest n-gram there can be.
const ORDER_MAX: usize = 5;

/// One text in so many is held out for the borders.
const HELD_OUT_ONE_IN: usize = 10;

/// Texts of a reference, so that two are held out.
const TEXTS_MIN: usize = 20;

/// Bits of a unit's number: five of them fit into 128.
const UNIT_BITS: u32 = 25;

/// Discounts where the counts of counts give none, as KenLM has them.
const FALLBACK_DISCOUNTS: [f64; 3] = [0.5, 1.0, 1.5];

/// Orders above this are pruned.
const UNPRUNED_ORDER: usize = 2;

/// Units with a meaning of their own. Numbers start at 1, so that a shorter n-gram is never a longer one with zeros.
const UNKNOWN: u32 = 1;
const LINE_START: u32 = 2;
const LINE_END: u32 = 3;
const FIRST_WORD: u32 = 4;

/// `[ingest.perplexity.LANGUAGE]` of the run file: columns `perplexity` and `perplexity_bucket` (0 head, 1 middle,
/// 2 tail) are written for every document of the language, and with `max` a document above is dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerplexitySettings {
    /// Texts as they should be.
    pub reference: PathBuf,
    /// How to make a model of them.
    pub training: PerplexityTraining,
    /// Largest perplexity of a document that is kept; left out, perplexity is a column and no filter.
    pub max: Option<NotNegative>,
}

/// How a model is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerplexityTraining {
    /// Units of the longest n-gram: 3 to 5.
    pub order: u32,
    /// Units that have a number of their own, the most frequent ones; the rest are unknown.
    pub vocabulary_max: Count,
    /// N-grams of three and more units that occur less often are left out.
    pub count_min: u32,
    /// Share of the reference that is in the head.
    pub head: Share,
    /// Share of the reference that is in the head or the middle.
    pub middle: Share,
}

/// Settings or texts that no model can be made from.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PerplexityError {
    /// The order.
    #[error("order must be 3, 4 or 5, not {order}")]
    Order {
        /// What was given.
        order: u32,
    },
    /// The vocabulary.
    #[error("vocabulary_max must be 1 to 33000000, not {vocabulary_max}")]
    Vocabulary {
        /// What was given.
        vocabulary_max: u64,
    },
    /// The borders cross.
    #[error("head must be at most middle")]
    Borders,
    /// Too little to hold any of it out.
    #[error("a reference needs at least {TEXTS_MIN} texts that are not empty, this one has {n_texts}")]
    TooFewTexts {
        /// What there is.
        n_texts: usize,
    },
}

/// Where a text stands among texts of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// As the better part of the reference.
    Head,
    /// As the worse part of the reference.
    Middle,
    /// Worse.
    Tail,
}

/// An n-gram model and the borders of its buckets.
#[derive(Clone, Debug)]
pub struct PerplexityModel {
    unit: Unit,
    order: usize,
    /// Largest perplexities of head and middle.
    borders: [f32; 2],
    numbers: HashMap<Box<str>, u32, Xxh3DefaultBuilder>,
    /// By hash of the n-gram. Open addressing: a model is mostly looked up, and by scattered keys.
    slots: Vec<Slot>,
}

/// What the model knows of an n-gram, as natural logarithms.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Hash of the n-gram; zero where the slot is free.
    key: u64,
    /// Of its probability after its first units; [`f32::NAN`] where it was pruned.
    log_probability: f32,
    /// Of what a unit after it leaves to shorter contexts.
    log_rest: f32,
}

/// What a text has said so far.
struct State {
    /// The latest units, the latest first; 0 where the line has no more.
    latest: [u32; ORDER_MAX],
    /// The logarithms of what contexts of one, two and more of the latest units leave to shorter ones.
    rests: [f32; ORDER_MAX],
}

/// N-grams of one order with their counts, by rising key, in which the first unit is highest.
type Counts = Vec<(u128, u64)>;

impl PerplexityTraining {
    fn check(&self) -> Result<(), PerplexityError> {
        let Self { order, vocabulary_max: Count(vocabulary_max), count_min: _, head, middle } = *self;
        if !(3..=5).contains(&order) {
            return Err(PerplexityError::Order { order });
        }
        if !(1..=33_000_000).contains(&vocabulary_max) {
            return Err(PerplexityError::Vocabulary { vocabulary_max });
        }
        if head.0 > middle.0 {
            return Err(PerplexityError::Borders);
        }
        Ok(())
    }
}

/// Makes a model of texts as they should be.
pub fn train_perplexity<Text: AsRef<str>>(
    reference: &[Text],
    unit: Unit,
    training: &PerplexityTraining,
) -> Result<PerplexityModel, PerplexityError> {
    training.check()?;
    let texts: Vec<&str> = reference.iter().map(AsRef::as_ref).filter(|text| !text.trim().is_empty()).collect();
    if texts.len() < TEXTS_MIN {
        return Err(PerplexityError::TooFewTexts { n_texts: texts.len() });
    }
    let is_held_out = |index: usize| index % HELD_OUT_ONE_IN == HELD_OUT_ONE_IN - 1;
    let seen: Vec<&str> =
        texts.iter().enumerate().filter(|&(index, _)| !is_held_out(index)).map(|(_, &text)| text).collect();
    let order = training.order as usize;
    let numbers = vocabulary(&seen, unit, training.vocabulary_max.0 as usize);
    let lines = numbered_lines(&seen, unit, &numbers);
    let ngrams = estimate(&lines, order, u64::from(training.count_min), numbers.len());
    let mut model = PerplexityModel { unit, order, borders: [0.0; 2], numbers, slots: slots(&ngrams) };
    let held_out = texts.iter().enumerate().filter(|&(index, _)| is_held_out(index));
    let mut perplexities: Vec<f32> = held_out.map(|(_, text)| model.perplexity(text)).collect();
    perplexities.sort_by(f32::total_cmp);
    let quantile = |share: f64| perplexities[((perplexities.len() - 1) as f64 * share).round() as usize];
    model.borders = [quantile(training.head.0), quantile(training.middle.0)];
    Ok(model)
}

impl PerplexityModel {
    /// The perplexity of a text a unit, ends of lines among them: 1 at best. Of a text without units it is infinite.
    pub fn perplexity(&self, text: &str) -> f32 {
        let (mut sum, mut n_units) = (0.0_f64, 0_u64);
        let mut state = State { latest: [0; ORDER_MAX], rests: [0.0; ORDER_MAX] };
        for_each_unit(text, self.unit, |unit| {
            let number = match unit {
                Found::LineStart => {
                    state.latest = [0; ORDER_MAX];
                    self.advance(&mut state, LINE_START);
                    return;
                }
                Found::LineEnd => LINE_END,
                Found::Unit(unit) => self.numbers.get(unit).copied().unwrap_or(UNKNOWN),
            };
            sum += f64::from(self.advance(&mut state, number));
            n_units += 1;
        });
        if n_units == 0 { f32::INFINITY } else { (-sum / n_units as f64).exp() as f32 }
    }

    /// In which part of the reference a perplexity would be.
    pub fn bucket(&self, perplexity: f32) -> Bucket {
        let [head, middle] = self.borders;
        match perplexity {
            _ if perplexity <= head => Bucket::Head,
            _ if perplexity <= middle => Bucket::Middle,
            _ => Bucket::Tail,
        }
    }

    /// The largest perplexities of head and middle.
    pub fn borders(&self) -> [f32; 2] {
        self.borders
    }

    /// Reads one unit more: the natural logarithm of its probability after those before it.
    ///
    /// All orders are looked up at once and none depends on another, so that the processor waits for them together.
    fn advance(&self, state: &mut State, number: u32) -> f32 {
        let n_context = state.latest.iter().take(self.order - 1).take_while(|&&number| number != 0).count();
        let mut ngram = u128::from(number);
        let (mut log_probability, mut rests) = (f32::NAN, [0.0; ORDER_MAX]);
        for (n, rest) in rests.iter_mut().enumerate().take(n_context + 1) {
            if n > 0 {
                ngram |= u128::from(state.latest[n - 1]) << (UNIT_BITS * n as u32);
            }
            let slot = self.find(ngram);
            *rest = slot.log_rest;
            // The sum of the rests of the contexts that are longer than the one that knows the unit.
            log_probability = if slot.log_probability.is_nan() {
                log_probability + if n == 0 { 0.0 } else { state.rests[n - 1] }
            } else {
                slot.log_probability
            };
        }
        state.latest.rotate_right(1);
        state.latest[0] = number;
        state.rests = rests;
        log_probability
    }

    /// What is known of an n-gram; [`FREE`] where nothing is.
    fn find(&self, ngram: u128) -> Slot {
        let key = hash(ngram);
        let mut place = place_of(key, self.slots.len());
        loop {
            let slot = self.slots[place];
            if slot.key == key || slot.key == 0 {
                return slot;
            }
            place = if place + 1 == self.slots.len() { 0 } else { place + 1 };
        }
    }

    /// Reads a model that [`PerplexityModel::save`] wrote.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let bytes = read_bytes(path)?;
        let mut fields = open_model(path, &bytes, MAGIC, WHAT)?;
        let unit = match fields.u8()? {
            0 => Unit::Words,
            1 => Unit::Characters,
            _ => return Err(fields.damaged("its unit is neither words nor characters")),
        };
        let order = usize::from(fields.u8()?);
        if !(3..=5).contains(&order) {
            return Err(fields.damaged("its order is not 3, 4 or 5"));
        }
        let borders = [fields.f32()?, fields.f32()?];
        let n_units = fields.u32()?;
        let mut numbers: HashMap<Box<str>, u32, Xxh3DefaultBuilder> = HashMap::default();
        for number in (FIRST_WORD..).take(n_units as usize) {
            let len = usize::from(fields.u8()?) | usize::from(fields.u8()?) << 8;
            let unit = str::from_utf8(fields.take(len)?).map_err(|_| fields.damaged("a unit is not UTF-8"))?;
            numbers.insert(unit.into(), number);
        }
        let n_ngrams = fields.count()?;
        let mut ngrams = Vec::new();
        for _ in 0..n_ngrams {
            ngrams.push(Slot { key: fields.u64()?, log_probability: fields.f32()?, log_rest: fields.f32()? });
        }
        fields.end()?;
        let model = Self { unit, order, borders, numbers, slots: slots(&ngrams) };
        let has_all = (UNKNOWN..FIRST_WORD + n_units)
            .filter(|&number| number != LINE_START)
            .all(|number| !model.find(append(0, number)).log_probability.is_nan());
        if has_all { Ok(model) } else { Err(fields.damaged("a unit has no probability")) }
    }

    /// Writes the model; the file appears whole or not at all.
    pub fn save(&self, folder: &Path, name: &str) -> Result<FileEntry, ModelError> {
        let unit = match self.unit {
            Unit::Words => 0,
            Unit::Characters => 1,
        };
        let mut body = vec![unit, self.order as u8];
        body.extend(self.borders.iter().flat_map(|border| border.to_le_bytes()));
        let units: BTreeMap<u32, &str> = self.numbers.iter().map(|(unit, &number)| (number, &**unit)).collect();
        body.extend((units.len() as u32).to_le_bytes());
        for unit in units.values() {
            body.extend((unit.len() as u16).to_le_bytes());
            body.extend(unit.as_bytes());
        }
        let mut ngrams: Vec<&Slot> = self.slots.iter().filter(|slot| slot.key != 0).collect();
        ngrams.sort_by_key(|slot| slot.key);
        body.extend((ngrams.len() as u64).to_le_bytes());
        for slot in ngrams {
            body.extend(slot.key.to_le_bytes());
            body.extend(slot.log_probability.to_le_bytes());
            body.extend(slot.log_rest.to_le_bytes());
        }
        write_model(folder, name, MAGIC, &body)
    }
}

/// The most frequent units, numbered by falling frequency, then by their bytes.
fn vocabulary(texts: &[&str], unit: Unit, size_max: usize) -> HashMap<Box<str>, u32, Xxh3DefaultBuilder> {
    let mut counts: HashMap<Box<str>, u64, Xxh3DefaultBuilder> = HashMap::default();
    for text in texts {
        for_each_unit(text, unit, |found| {
            let Found::Unit(unit) = found else { return };
            match counts.get_mut(unit) {
                Some(count) => *count += 1,
                None => drop(counts.insert(unit.into(), 1)),
            }
        });
    }
    let mut counts: Vec<(Box<str>, u64)> = counts.into_iter().collect();
    counts.sort_unstable_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    counts.into_iter().take(size_max).map(|(unit, _)| unit).zip(FIRST_WORD..).collect()
}

/// Every line with its start and end.
fn numbered_lines(texts: &[&str], unit: Unit, numbers: &HashMap<Box<str>, u32, Xxh3DefaultBuilder>) -> Vec<Vec<u32>> {
    let mut lines: Vec<Vec<u32>> = Vec::new();
    for text in texts {
        for_each_unit(text, unit, |found| match found {
            Found::LineStart => lines.push(vec![LINE_START]),
            Found::LineEnd => lines.last_mut().expect("a line that ends has begun").push(LINE_END),
            Found::Unit(unit) => {
                let number = numbers.get(unit).copied().unwrap_or(UNKNOWN);
                lines.last_mut().expect("a unit stands in a line").push(number);
            }
        });
    }
    lines
}

/// All n-grams of all orders with probability and rest.
fn estimate(lines: &[Vec<u32>], order: usize, count_min: u64, n_units: usize) -> Vec<Slot> {
    let counts = adjusted_counts(lines, order);
    let mut slots: HashMap<u128, Slot, Xxh3DefaultBuilder> = HashMap::default();
    // Below the unigrams, everything is equally likely: units, the unknown and the end of a line.
    let uniform = 1.0 / (n_units + 2) as f64;
    for (n, counts) in (1..).zip(&counts) {
        let discounts = discounts(counts);
        for group in counts.chunk_by(|one, other| one.0 >> UNIT_BITS == other.0 >> UNIT_BITS) {
            let context = group[0].0 >> UNIT_BITS;
            let total: u64 = group.iter().map(|&(_, count)| count).sum();
            let is_kept = |count: u64| n <= UNPRUNED_ORDER || count >= count_min;
            let kept = || group.iter().filter(|&&(_, count)| is_kept(count));
            let share = |count: u64| (count as f64 - discounts[count.min(3) as usize - 1]).max(0.0) / total as f64;
            let rest = (1.0 - kept().map(|&(_, count)| share(count)).sum::<f64>()).max(0.0);
            // A context of which nothing is kept leaves everything, which is what no entry says too.
            if rest < 1.0 {
                slots.entry(context).or_insert(FREE).log_rest = rest.ln() as f32;
            }
            for &(ngram, count) in kept() {
                let shorter = if n == 1 { uniform } else { probability(&slots, without_first(ngram, n)) };
                let slot = slots.entry(ngram).or_insert(FREE);
                slot.log_probability = (share(count) + rest * shorter).ln() as f32;
            }
            // Units that were never seen share what the seen ones leave.
            for number in (UNKNOWN..FIRST_WORD).filter(|&number| n == 1 && number != LINE_START) {
                let slot = slots.entry(append(0, number)).or_insert(FREE);
                if slot.log_probability.is_nan() {
                    slot.log_probability = (rest * uniform).ln() as f32;
                }
            }
        }
    }
    let hashed = slots.into_iter().map(|(ngram, slot)| Slot { key: hash(ngram), ..slot });
    let mut hashed: Vec<Slot> = hashed.collect();
    hashed.sort_unstable_by_key(|slot| slot.key);
    hashed
}

/// The probability of the last unit of an n-gram after those before it, from shorter n-grams where it was pruned.
fn probability(slots: &HashMap<u128, Slot, Xxh3DefaultBuilder>, ngram: u128) -> f64 {
    let mut log_rest = 0.0;
    let mut ngram = ngram;
    loop {
        if let Some(slot) = slots.get(&ngram)
            && !slot.log_probability.is_nan()
        {
            return f64::from(log_rest + slot.log_probability).exp();
        }
        let n = n_units_of(ngram);
        assert!(n > 1, "every unit has a probability of its own");
        log_rest += slots.get(&(ngram >> UNIT_BITS)).map_or(0.0, |slot| slot.log_rest);
        ngram = without_first(ngram, n);
    }
}

/// The counts of every order from 1 on: as they are for the highest order and at the beginning of lines, elsewhere of
/// how many different units an n-gram follows.
fn adjusted_counts(lines: &[Vec<u32>], order: usize) -> Vec<Counts> {
    let key = |units: &[u32]| units.iter().fold(0, |key, &number| append(key, number));
    let mut all = Vec::new();
    let mut highest: Vec<u128> = lines.iter().flat_map(|line| line.windows(order).map(key)).collect();
    highest.sort_unstable();
    let mut counts: Counts = highest.chunk_by(u128::eq).map(|same| (same[0], same.len() as u64)).collect();
    drop(highest);
    for n in (1..order).rev() {
        let mut shorter: Vec<u128> = counts.iter().map(|&(ngram, _)| without_first(ngram, n + 1)).collect();
        // The start of a line is only ever a context.
        let starts = lines.iter().filter(|line| n > 1 && line.len() >= n).map(|line| key(&line[..n]));
        shorter.extend(starts);
        shorter.sort_unstable();
        let shorter = shorter.chunk_by(u128::eq).map(|same| (same[0], same.len() as u64)).collect();
        all.push(std::mem::replace(&mut counts, shorter));
    }
    all.push(counts);
    all.reverse();
    all
}

/// What is taken off counts of one, two, and three or more.
fn discounts(counts: &Counts) -> [f64; 3] {
    let n_with = |wanted: u64| counts.iter().filter(|&&(_, count)| count == wanted).count() as f64;
    let [n1, n2, n3, n4] = [1, 2, 3, 4].map(n_with);
    if n1 == 0.0 || n2 == 0.0 || n3 == 0.0 {
        return FALLBACK_DISCOUNTS;
    }
    let y = n1 / (n1 + 2.0 * n2);
    let discounts = [1.0 - 2.0 * y * n2 / n1, 2.0 - 3.0 * y * n3 / n2, 3.0 - 4.0 * y * n4 / n3];
    let are_sound = discounts.iter().zip([1.0, 2.0, 3.0]).all(|(&discount, count)| discount > 0.0 && discount <= count);
    if are_sound { discounts } else { FALLBACK_DISCOUNTS }
}

const FREE: Slot = Slot { key: 0, log_probability: f32::NAN, log_rest: 0.0 };

/// A table of which two thirds are in use.
fn slots(ngrams: &[Slot]) -> Vec<Slot> {
    let n_slots = ngrams.len() + ngrams.len() / 2 + 1;
    let mut slots = vec![FREE; n_slots];
    for &ngram in ngrams {
        let mut place = place_of(ngram.key, n_slots);
        while slots[place].key != 0 {
            place = if place + 1 == n_slots { 0 } else { place + 1 };
        }
        slots[place] = ngram;
    }
    slots
}

/// The high bits of the product: even over any number of slots, without a division.
fn place_of(key: u64, n_slots: usize) -> usize {
    ((u128::from(key) * n_slots as u128) >> 64) as usize
}

fn append(ngram: u128, number: u32) -> u128 {
    ngram << UNIT_BITS | u128::from(number)
}

fn without_first(ngram: u128, n: usize) -> u128 {
    ngram & ((1 << (UNIT_BITS * (n as u32 - 1))) - 1)
}

fn n_units_of(ngram: u128) -> usize {
    (u128::BITS - ngram.leading_zeros()).div_ceil(UNIT_BITS) as usize
}

/// Never zero, which marks a free slot.
fn hash(ngram: u128) -> u64 {
    xxh3_64(&ngram.to_le_bytes()).max(1)
}

/// What a text is made of.
enum Found<'a> {
    LineStart,
    Unit(&'a str),
    LineEnd,
}

/// Cuts a text into lines of units; empty lines are none.
fn for_each_unit(text: &str, unit: Unit, mut visit: impl FnMut(Found<'_>)) {
    let mut lower = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        visit(Found::LineStart);
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let class = class_of(first, unit);
            let len = match class {
                Class::Space | Class::Single => first.len_utf8(),
                Class::Digit | Class::Letter => rest
                    .char_indices()
                    .find(|&(_, char)| class_of(char, unit) != class)
                    .map_or(rest.len(), |(at, _)| at),
            };
            let (piece, after) = rest.split_at(len);
            rest = after;
            match class {
                Class::Space => {}
                Class::Digit => visit(Found::Unit("0")),
                Class::Letter | Class::Single => {
                    lower.clear();
                    piece.chars().take(UNIT_CHARS_MAX).for_each(|char| crate::fold::push_lower(&mut lower, char));
                    visit(Found::Unit(&lower));
                }
            }
        }
        visit(Found::LineEnd);
    }
}

/// What is longer is no word; its beginning is enough to know that it is unknown.
const UNIT_CHARS_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    /// Runs of these are one unit, `0`.
    Digit,
    /// Runs of these are one unit.
    Letter,
    /// A unit of its own: a Han character, a mark.
    Single,
}

fn class_of(char: char, unit: Unit) -> Class {
    match char {
        'a'..='z' | 'A'..='Z' => Class::Letter,
        '0'..='9' => Class::Digit,
        _ if char.is_ascii() => {
            if char.is_ascii_whitespace() {
                Class::Space
            } else {
                Class::Single
            }
        }
        _ if is_han(char) => Class::Single,
        _ if char.is_whitespace() => Class::Space,
        _ if char.is_numeric() => Class::Digit,
        _ if char.is_alphabetic() => {
            if unit == Unit::Words {
                Class::Letter
            } else {
                Class::Single
            }
        }
        _ => Class::Single,
    }
}
