//! Reads the classifiers of fastText (`.bin`, and `.ftz` as `quantize` makes them), so that a published quality filter
//! can be used as it is: labs bring DCLM's or Ultra-FineWeb's.
//!
//! Joulin et al. 2016 (arXiv 1607.01759; quantised: 1612.03651). The mean of the embeddings of a text's words, n-grams
//! of words and n-grams of letters, times a matrix with a row a label, gives the labels' probabilities by softmax,
//! hierarchical softmax or one sigmoid a label. The layout is that of version 12 (and 11) of fastText's own
//! `FastText::saveModel`: magic, settings, dictionary, embeddings, output matrix, all little-endian; nothing is checksummed.
//!
//! Cost: one row of embeddings a word, a row more for each n-gram. Memory: the file's size and as much again while it is
//! read. As in fastText, words end at ASCII white space only; unlike there, a line feed does not end the text, so that a
//! whole document is judged, as those who train such filters do by replacing line feeds.

use std::collections::HashMap;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use crate::model_file::{Fields, ModelError, read_bytes};

const MAGIC: i32 = 793_712_314;
const VERSIONS: [i32; 2] = [11, 12];
const SUPERVISED: i32 = 3;

/// The word that ends every line.
const END_OF_LINE: &[u8] = b"</s>";

const LABEL_PREFIX: &[u8] = b"__label__";

/// Centroids of a product quantiser.
const N_CENTROIDS: usize = 256;

/// The count of an inner node that isn't made yet.
const NEVER: i64 = 1_000_000_000_000_000;

/// Added before a logarithm, as fastText does.
const LOG_FLOOR: f32 = 1e-5;

/// A classifier read from a file of fastText.
#[derive(Debug)]
pub struct FastText {
    settings: Settings,
    /// Words and labels with their numbers.
    numbers: HashMap<Box<[u8]>, u32, Xxh3DefaultBuilder>,
    n_words: u32,
    labels: Vec<String>,
    /// Where a pruned dictionary keeps the buckets it has left.
    pruned: Option<HashMap<u32, u32, Xxh3DefaultBuilder>>,
    embeddings: Matrix,
    output: Matrix,
    /// For the hierarchical softmax: the way from each label to the root.
    paths: Vec<Vec<(u32, bool)>>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    dim: usize,
    word_ngrams: usize,
    loss: Loss,
    n_buckets: u32,
    chars_min: usize,
    chars_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    HierarchicalSoftmax,
    Softmax,
    Sigmoids,
}

#[derive(Debug)]
enum Matrix {
    Dense { n_columns: usize, values: Vec<f32> },
    Quantised { codes: Vec<u8>, quantiser: Quantiser, norms: Option<(Vec<u8>, Quantiser)>, n_rows: usize },
}

/// A product quantiser: a vector is cut into pieces, and each is one of 256.
#[derive(Debug)]
struct Quantiser {
    n_pieces: usize,
    piece: usize,
    last_piece: usize,
    centroids: Vec<f32>,
}

impl FastText {
    /// Reads a supervised model.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        Self::parse(path, &read_bytes(path)?)
    }

    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let mut fields = Fields::new(path, bytes);
        let magic = ModelError::Magic { path: path.to_owned(), what: "a model of fastText in version 11 or 12" };
        if bytes.len() < 8 || fields.i32()? != MAGIC {
            return Err(magic);
        }
        let version = fields.i32()?;
        if !VERSIONS.contains(&version) {
            return Err(magic);
        }
        let settings = Settings::read(&mut fields, version, path)?;
        let dictionary = Dictionary::read(&mut fields)?;
        let is_quantised = fields.u8()? != 0;
        let embeddings = Matrix::read(&mut fields, is_quantised)?;
        let is_output_quantised = fields.u8()? != 0;
        let output = Matrix::read(&mut fields, is_quantised && is_output_quantised)?;
        fields.end()?;
        let Dictionary { numbers, n_words, labels, label_counts, pruned } = dictionary;
        let n_rows_min = match &pruned {
            None => n_words as usize + if settings.uses_buckets() { settings.n_buckets as usize } else { 0 },
            Some(pruned) => pruned.values().map(|&row| n_words as usize + row as usize + 1).max().unwrap_or(0),
        };
        let is_sound = embeddings.fits(n_rows_min.max(n_words as usize), settings.dim)
            && output.fits(labels.len(), settings.dim)
            && !labels.is_empty();
        if !is_sound {
            return Err(fields.damaged("the matrices do not fit the dictionary"));
        }
        let paths = match settings.loss {
            Loss::HierarchicalSoftmax => paths_to_root(&label_counts),
            _ => Vec::new(),
        };
        Ok(Self { settings, numbers, n_words, labels, pruned, embeddings, output, paths })
    }

    /// The labels, in the order of [`FastText::probabilities`].
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The number of a label such as `__label__hq`.
    pub fn label(&self, name: &str) -> Option<usize> {
        self.labels.iter().position(|label| label == name)
    }

    /// The probability of one label for a whole text; 0 for a text of which the model knows nothing.
    pub fn score(&self, text: &str, label: usize) -> f32 {
        assert!(label < self.labels.len(), "a label of the model");
        let Some(hidden) = self.hidden(text) else { return 0.0 };
        match self.settings.loss {
            Loss::HierarchicalSoftmax => self.hierarchical(&hidden, label),
            Loss::Sigmoids => sigmoid(self.output.dot(label, &hidden)),
            Loss::Softmax => self.softmax(&hidden)[label],
        }
    }

    /// The probability of every label for a whole text; none for a text of which the model knows nothing.
    pub fn probabilities(&self, text: &str) -> Vec<f32> {
        let Some(hidden) = self.hidden(text) else { return Vec::new() };
        let labels = 0..self.labels.len();
        match self.settings.loss {
            Loss::HierarchicalSoftmax => labels.map(|label| self.hierarchical(&hidden, label)).collect(),
            Loss::Sigmoids => labels.map(|label| sigmoid(self.output.dot(label, &hidden))).collect(),
            Loss::Softmax => self.softmax(&hidden),
        }
    }

    /// The mean embedding of everything in a text.
    fn hidden(&self, text: &str) -> Option<Vec<f32>> {
        let mut sum = vec![0.0; self.settings.dim];
        let mut n_rows = 0_u32;
        let mut add = |row: u32| {
            self.embeddings.add_row(row as usize, &mut sum);
            n_rows += 1;
        };
        let mut hashes = Vec::new();
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0B | 0x0C | 0);
        let words = text.as_bytes().split(is_space).filter(|word| !word.is_empty());
        for word in words.chain(std::iter::once(END_OF_LINE)) {
            self.visit_word(word, &mut hashes, &mut add);
            if word == END_OF_LINE {
                break;
            }
        }
        self.visit_word_ngrams(&hashes, &mut add);
        sum.iter_mut().for_each(|value| *value /= n_rows as f32);
        (n_rows > 0).then_some(sum)
    }

    /// The rows of a word and of its n-grams of letters.
    fn visit_word(&self, word: &[u8], hashes: &mut Vec<i32>, add: &mut impl FnMut(u32)) {
        let number = self.numbers.get(word).copied();
        let is_label = number.map_or_else(|| word.starts_with(LABEL_PREFIX), |number| number >= self.n_words);
        if is_label {
            return;
        }
        hashes.push(hash(word).cast_signed());
        number.into_iter().for_each(&mut *add);
        if self.settings.chars_max == 0 || word == END_OF_LINE {
            return;
        }
        let bordered = [b"<", word, b">"].concat();
        let is_start = |index: usize| bordered[index] & 0xC0 != 0x80;
        for start in (0..bordered.len()).filter(|&start| is_start(start)) {
            let ends = (start + 1..=bordered.len()).filter(|&end| end == bordered.len() || is_start(end));
            for (end, n_chars) in ends.zip(1..=self.settings.chars_max) {
                let is_border = n_chars == 1 && (start == 0 || end == bordered.len());
                if n_chars >= self.settings.chars_min && !is_border {
                    self.bucket_row(u64::from(hash(&bordered[start..end]))).into_iter().for_each(&mut *add);
                }
            }
        }
    }

    /// The rows of n-grams of words. Hashes are widened with their sign, which fastText's buckets depend on.
    fn visit_word_ngrams(&self, hashes: &[i32], add: &mut impl FnMut(u32)) {
        let widened = |hash: i32| i64::from(hash).cast_unsigned();
        for (index, &first) in hashes.iter().enumerate() {
            let mut ngram = widened(first);
            for &next in hashes.iter().skip(index + 1).take(self.settings.word_ngrams.saturating_sub(1)) {
                ngram = ngram.wrapping_mul(116_049_371).wrapping_add(widened(next));
                self.bucket_row(ngram).into_iter().for_each(&mut *add);
            }
        }
    }

    fn bucket_row(&self, hash: u64) -> Option<u32> {
        if self.settings.n_buckets == 0 {
            return None;
        }
        let bucket = (hash % u64::from(self.settings.n_buckets)) as u32;
        match &self.pruned {
            None => Some(self.n_words + bucket),
            Some(pruned) => pruned.get(&bucket).map(|&kept| self.n_words + kept),
        }
    }

    fn softmax(&self, hidden: &[f32]) -> Vec<f32> {
        let logits: Vec<f32> = (0..self.labels.len()).map(|label| self.output.dot(label, hidden)).collect();
        let largest = logits.iter().copied().fold(f32::MIN, f32::max);
        let exponentials: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
        let mass: f32 = exponentials.iter().sum();
        exponentials.iter().map(|exponential| exponential / mass).collect()
    }

    fn hierarchical(&self, hidden: &[f32], label: usize) -> f32 {
        let log_of_branch = |&(node, is_right): &(u32, bool)| {
            let right = sigmoid(self.output.dot(node as usize, hidden));
            (if is_right { right } else { 1.0 - right } + LOG_FLOOR).ln()
        };
        self.paths[label].iter().map(log_of_branch).sum::<f32>().exp()
    }
}

impl Settings {
    fn read(fields: &mut Fields<'_>, version: i32, path: &Path) -> Result<Self, ModelError> {
        let mut ints = [0; 12];
        for int in &mut ints {
            *int = fields.i32()?;
        }
        let [dim, _, _, _, _, word_ngrams, loss, model, n_buckets, chars_min, chars_max, _] = ints;
        fields.f64()?;
        if model != SUPERVISED {
            let what = "it holds vectors of words, not a classifier".to_owned();
            return Err(ModelError::Unusable { path: path.to_owned(), what });
        }
        let loss = match loss {
            1 => Loss::HierarchicalSoftmax,
            2 | 4 => Loss::Sigmoids,
            3 => Loss::Softmax,
            _ => return Err(fields.damaged("its loss is none that fastText has")),
        };
        let count = |value: i32, what| usize::try_from(value).map_err(|_| fields.damaged(what));
        let n_buckets = u32::try_from(n_buckets).map_err(|_| fields.damaged("it has less than no buckets"))?;
        Ok(Self {
            dim: count(dim, "it has less than no dimensions")?,
            word_ngrams: count(word_ngrams, "its n-grams have less than no words")?,
            loss,
            n_buckets,
            chars_min: count(chars_min, "its n-grams have less than no letters")?,
            // Classifiers of version 11 had no n-grams of letters, whatever they said.
            chars_max: if version == 11 { 0 } else { count(chars_max, "its n-grams have less than no letters")? },
        })
    }

    fn uses_buckets(&self) -> bool {
        self.word_ngrams > 1 || self.chars_max > 0
    }
}

struct Dictionary {
    numbers: HashMap<Box<[u8]>, u32, Xxh3DefaultBuilder>,
    n_words: u32,
    labels: Vec<String>,
    label_counts: Vec<i64>,
    pruned: Option<HashMap<u32, u32, Xxh3DefaultBuilder>>,
}

impl Dictionary {
    fn read(fields: &mut Fields<'_>) -> Result<Self, ModelError> {
        let (n_entries, n_words, n_labels) = (fields.u32()?, fields.u32()?, fields.u32()?);
        fields.i64()?;
        let n_pruned = fields.i64()?;
        if n_words.checked_add(n_labels) != Some(n_entries) || n_entries > i32::MAX as u32 {
            return Err(fields.damaged("words and labels do not add up"));
        }
        let mut numbers: HashMap<Box<[u8]>, u32, Xxh3DefaultBuilder> = HashMap::default();
        let (mut labels, mut label_counts) = (Vec::new(), Vec::new());
        for number in 0..n_entries {
            let word = fields.take_until_zero()?;
            let count = fields.i64()?;
            let is_label = fields.u8()? != 0;
            if is_label != (number >= n_words) {
                return Err(fields.damaged("a label stands among the words"));
            }
            if is_label && !(0..NEVER).contains(&count) {
                return Err(fields.damaged("a label's count is beyond all measure"));
            }
            if is_label {
                labels.push(String::from_utf8_lossy(word).into_owned());
                label_counts.push(count);
            }
            numbers.insert(word.into(), number);
        }
        let pruned = match u64::try_from(n_pruned) {
            Err(_) => None,
            Ok(n_pruned) => {
                let mut kept = HashMap::default();
                for _ in 0..n_pruned {
                    let (bucket, row) = (fields.u32()?, fields.u32()?);
                    kept.insert(bucket, row);
                }
                Some(kept)
            }
        };
        Ok(Self { numbers, n_words, labels, label_counts, pruned })
    }
}

impl Matrix {
    fn read(fields: &mut Fields<'_>, is_quantised: bool) -> Result<Self, ModelError> {
        if !is_quantised {
            let (n_rows, n_columns) = (fields.count()?, fields.count()?);
            let n_values = n_rows.checked_mul(n_columns).ok_or_else(|| fields.damaged("a matrix is too large"))?;
            return Ok(Self::Dense { n_columns, values: fields.f32s(n_values)? });
        }
        let has_norms = fields.u8()? != 0;
        let (n_rows, _, n_codes) = (fields.count()?, fields.count()?, fields.u32()?);
        let codes = fields.take(n_codes as usize)?.to_vec();
        let quantiser = Quantiser::read(fields)?;
        let norms = if has_norms { Some((fields.take(n_rows)?.to_vec(), Quantiser::read(fields)?)) } else { None };
        if quantiser.n_pieces.checked_mul(n_rows) != Some(codes.len()) {
            return Err(fields.damaged("a quantised matrix does not have its codes"));
        }
        Ok(Self::Quantised { codes, quantiser, norms, n_rows })
    }

    fn fits(&self, n_rows_min: usize, dim: usize) -> bool {
        match self {
            Self::Dense { n_columns, values } => {
                *n_columns == dim && dim > 0 && values.len() / n_columns.max(&1) >= n_rows_min
            }
            Self::Quantised { quantiser, norms, n_rows, .. } => {
                let is_scalar = |norm: &Quantiser| norm.n_pieces == 1 && norm.dim() == 1;
                *n_rows >= n_rows_min
                    && quantiser.dim() == dim
                    && norms.as_ref().is_none_or(|(_, quantiser)| is_scalar(quantiser))
            }
        }
    }

    fn add_row(&self, row: usize, sum: &mut [f32]) {
        match self {
            Self::Dense { n_columns, values } => {
                let row = &values[row * n_columns..][..*n_columns];
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            Self::Quantised { codes, quantiser, norms, .. } => {
                let norm = norms.as_ref().map_or(1.0, |(codes, norms)| norms.centroids[usize::from(codes[row])]);
                quantiser.for_each_piece(codes, row, |start, piece| {
                    sum[start..].iter_mut().zip(piece).for_each(|(sum, value)| *sum += norm * value);
                });
            }
        }
    }

    fn dot(&self, row: usize, vector: &[f32]) -> f32 {
        match self {
            Self::Dense { n_columns, values } => {
                values[row * n_columns..][..*n_columns].iter().zip(vector).map(|(value, other)| value * other).sum()
            }
            Self::Quantised { codes, quantiser, norms, .. } => {
                let norm = norms.as_ref().map_or(1.0, |(codes, norms)| norms.centroids[usize::from(codes[row])]);
                let mut dot = 0.0;
                quantiser.for_each_piece(codes, row, |start, piece| {
                    dot += piece.iter().zip(&vector[start..]).map(|(value, other)| value * other).sum::<f32>();
                });
                dot * norm
            }
        }
    }
}

impl Quantiser {
    fn read(fields: &mut Fields<'_>) -> Result<Self, ModelError> {
        let mut sizes = [0; 4];
        for size in &mut sizes {
            *size = fields.u32()? as usize;
        }
        let [dim, n_pieces, piece, last_piece] = sizes;
        let is_sound = n_pieces > 0
            && last_piece > 0
            && last_piece <= piece
            && (n_pieces - 1).checked_mul(piece).and_then(|start| start.checked_add(last_piece)) == Some(dim);
        if !is_sound {
            return Err(fields.damaged("the pieces of a quantiser do not add up"));
        }
        let n_values = dim.checked_mul(N_CENTROIDS).ok_or_else(|| fields.damaged("a quantiser is too large"))?;
        Ok(Self { n_pieces, piece, last_piece, centroids: fields.f32s(n_values)? })
    }

    fn dim(&self) -> usize {
        (self.n_pieces - 1) * self.piece + self.last_piece
    }

    fn for_each_piece(&self, codes: &[u8], row: usize, mut visit: impl FnMut(usize, &[f32])) {
        for (index, &code) in codes[row * self.n_pieces..][..self.n_pieces].iter().enumerate() {
            let len = if index + 1 == self.n_pieces { self.last_piece } else { self.piece };
            let start = index * N_CENTROIDS * self.piece + usize::from(code) * len;
            visit(index * self.piece, &self.centroids[start..][..len]);
        }
    }
}

/// The tree that Huffman's algorithm builds over the labels, which the file lists by falling count: for each label the
/// inner nodes from it to the root and whether the way there came from the right.
fn paths_to_root(counts: &[i64]) -> Vec<Vec<(u32, bool)>> {
    let n_labels = counts.len();
    let n_nodes = 2 * n_labels - 1;
    let mut node_counts = counts.to_vec();
    node_counts.resize(n_nodes, NEVER);
    let mut parents = vec![(0_usize, false); n_nodes];
    let (mut n_leaves_left, mut inner) = (n_labels, n_labels);
    for node in n_labels..n_nodes {
        let mut count = 0_i64;
        for is_right in [false, true] {
            let is_leaf = n_leaves_left > 0 && node_counts[n_leaves_left - 1] < node_counts[inner];
            let child = if is_leaf { n_leaves_left - 1 } else { inner };
            if is_leaf {
                n_leaves_left -= 1;
            } else {
                inner += 1;
            }
            count = count.saturating_add(node_counts[child]);
            parents[child] = (node, is_right);
        }
        node_counts[node] = count;
    }
    let path = |label: usize| {
        let steps = std::iter::successors(Some(label), |&node| (node + 1 < n_nodes).then(|| parents[node].0));
        let inner_steps = steps.take_while(|&node| node + 1 < n_nodes);
        inner_steps.map(|node| ((parents[node].0 - n_labels) as u32, parents[node].1)).collect()
    };
    (0..n_labels).map(path).collect()
}

/// FNV-1a over signed bytes, as fastText has it.
fn hash(word: &[u8]) -> u32 {
    word.iter().fold(2_166_136_261, |hash: u32, &byte| {
        (hash ^ i32::from(byte.cast_signed()).cast_unsigned()).wrapping_mul(16_777_619)
    })
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}
