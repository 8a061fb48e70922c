//! Models of fastText: files made here by the layout, answers against a twin that works on strings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Numbers;
use crate::{FastText, Judge, ModelError};

/// A model as its parts, from which both the file and the expected answers are made.
struct Parts {
    dim: usize,
    word_ngrams: i32,
    loss: i32,
    chars: (i32, i32),
    n_buckets: u32,
    words: Vec<String>,
    labels: Vec<(&'static str, i64)>,
    /// Buckets that were kept, by their new number.
    pruned: Option<Vec<u32>>,
    embeddings: Rows,
    output: Vec<Vec<f32>>,
}

enum Rows {
    Dense(Vec<Vec<f32>>),
    /// Pieces of two values; codes of every row, centroids by piece and code, codes of norms, norms.
    Quantised {
        codes: Vec<Vec<u8>>,
        centroids: Vec<Vec<[f32; 2]>>,
        norm_codes: Vec<u8>,
        norms: Vec<f32>,
    },
}

fn value(numbers: &mut Numbers) -> f32 {
    numbers.below(2001) as f32 / 1000.0 - 1.0
}

fn matrix(numbers: &mut Numbers, n_rows: usize, n_columns: usize) -> Vec<Vec<f32>> {
    (0..n_rows).map(|_| (0..n_columns).map(|_| value(numbers)).collect()).collect()
}

fn parts(loss: i32, is_quantised: bool) -> Parts {
    let mut numbers = Numbers(7);
    let words: Vec<String> = ["</s>", "good", "bad", "竹子"].map(str::to_owned).into();
    let labels = vec![("__label__hq", 9), ("__label__lq", 5), ("__label__x", 2)];
    let (dim, n_buckets) = (4, 50_u32);
    let pruned = is_quantised.then(|| (0..n_buckets).filter(|bucket| bucket % 3 == 0).collect::<Vec<u32>>());
    let n_rows = words.len() + pruned.as_ref().map_or(n_buckets as usize, Vec::len);
    let embeddings = if is_quantised {
        Rows::Quantised {
            codes: (0..n_rows).map(|_| vec![numbers.below(256) as u8, numbers.below(256) as u8]).collect(),
            centroids: (0..2).map(|_| (0..256).map(|_| [value(&mut numbers), value(&mut numbers)]).collect()).collect(),
            norm_codes: (0..n_rows).map(|_| numbers.below(256) as u8).collect(),
            norms: (0..256).map(|_| value(&mut numbers) + 2.0).collect(),
        }
    } else {
        Rows::Dense(matrix(&mut numbers, n_rows, dim))
    };
    let output = matrix(&mut numbers, labels.len(), dim);
    Parts { dim, word_ngrams: 2, loss, chars: (2, 3), n_buckets, words, labels, pruned, embeddings, output }
}

/// The file of a model that has learnt, by counting, which words stand in texts of `__label__hq` and which in the
/// others: the embedding of a word is the logarithm of how much likelier it is in the one than in the other.
pub(super) fn naive_bayes(wanted: &[String], others: &[String]) -> Vec<u8> {
    let count = |texts: &[String]| {
        let mut counts: BTreeMap<String, f32> = BTreeMap::new();
        for word in texts.iter().flat_map(|text| text.split_ascii_whitespace()) {
            *counts.entry(word.to_owned()).or_default() += 1.0;
        }
        counts
    };
    let (wanted, others) = (count(wanted), count(others));
    let share = |counts: &BTreeMap<String, f32>, word: &str| {
        (counts.get(word).copied().unwrap_or(0.0) + 1.0) / counts.values().sum::<f32>()
    };
    let mut words = vec!["</s>".to_owned()];
    words.extend(wanted.keys().chain(others.keys()).cloned().collect::<BTreeSet<String>>());
    let mut rows: Vec<Vec<f32>> = words.iter().map(|it| vec![(share(&wanted, it) / share(&others, it)).ln()]).collect();
    rows[0][0] = 0.0;
    // No pieces of words and no pairs, so the one bucket is never asked for.
    rows.push(vec![0.0]);
    let labels = vec![("__label__hq", 1), ("__label__lq", 1)];
    let (embeddings, output) = (Rows::Dense(rows), vec![vec![4.0], vec![-4.0]]);
    let (dim, word_ngrams, loss, chars, n_buckets, pruned) = (1, 1, 3, (0, 0), 1, None);
    Parts { dim, word_ngrams, loss, chars, n_buckets, words, labels, pruned, embeddings, output }.file()
}

impl Parts {
    fn file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let ints = [self.dim as i32, 5, 5, 1, 5, self.word_ngrams, self.loss, 3, self.n_buckets as i32];
        let header = [793_712_314, 12].into_iter().chain(ints).chain([self.chars.0, self.chars.1, 100]);
        header.for_each(|int: i32| file.extend(int.to_le_bytes()));
        file.extend(1e-4_f64.to_le_bytes());
        let (n_words, n_labels) = (self.words.len() as i32, self.labels.len() as i32);
        [n_words + n_labels, n_words, n_labels].iter().for_each(|int| file.extend(int.to_le_bytes()));
        file.extend(100_i64.to_le_bytes());
        file.extend(self.pruned.as_ref().map_or(-1, |kept| kept.len() as i64).to_le_bytes());
        let words =
            self.words.iter().map(|word| (&word[..], 1, 0)).chain(self.labels.iter().map(|&(name, n)| (name, n, 1)));
        for (word, count, kind) in words {
            file.extend(word.as_bytes());
            file.push(0);
            file.extend(i64::to_le_bytes(count));
            file.push(kind);
        }
        for (row, bucket) in self.pruned.iter().flatten().enumerate() {
            file.extend(bucket.to_le_bytes());
            file.extend((row as u32).to_le_bytes());
        }
        let dense = |file: &mut Vec<u8>, rows: &[Vec<f32>]| {
            file.extend((rows.len() as u64).to_le_bytes());
            file.extend((rows[0].len() as u64).to_le_bytes());
            rows.iter().flatten().for_each(|value| file.extend(value.to_le_bytes()));
        };
        match &self.embeddings {
            Rows::Dense(rows) => {
                file.push(0);
                dense(&mut file, rows);
            }
            Rows::Quantised { codes, centroids, norm_codes, norms } => {
                file.extend([1, 1]);
                file.extend((codes.len() as u64).to_le_bytes());
                file.extend((self.dim as u64).to_le_bytes());
                file.extend((2 * codes.len() as u32).to_le_bytes());
                codes.iter().for_each(|codes| file.extend(codes));
                [4_u32, 2, 2, 2].iter().for_each(|size| file.extend(size.to_le_bytes()));
                centroids.iter().flatten().flatten().for_each(|value| file.extend(value.to_le_bytes()));
                file.extend(norm_codes);
                [1_u32; 4].iter().for_each(|size| file.extend(size.to_le_bytes()));
                norms.iter().for_each(|value| file.extend(value.to_le_bytes()));
            }
        }
        file.push(0);
        dense(&mut file, &self.output);
        file
    }

    fn row(&self, row: usize) -> Vec<f32> {
        match &self.embeddings {
            Rows::Dense(rows) => rows[row].clone(),
            Rows::Quantised { codes, centroids, norm_codes, norms } => {
                let pieces = codes[row].iter().zip(centroids).map(|(&code, centroids)| centroids[usize::from(code)]);
                pieces.flatten().map(|value| value * norms[usize::from(norm_codes[row])]).collect()
            }
        }
    }

    fn bucket(&self, hash: u64) -> Option<usize> {
        let bucket = (hash % u64::from(self.n_buckets)) as u32;
        let row = match &self.pruned {
            None => Some(bucket as usize),
            Some(kept) => kept.iter().position(|&kept| kept == bucket),
        };
        row.map(|row| self.words.len() + row)
    }

    /// The mean embedding, by the definition.
    fn hidden(&self, text: &str) -> Vec<f32> {
        let words: Vec<&str> = text.split_ascii_whitespace().chain(["</s>"]).collect();
        let mut rows = Vec::new();
        for word in &words {
            rows.extend(self.words.iter().position(|known| known == word));
            let letters: Vec<char> = format!("<{word}>").chars().collect();
            for n in self.chars.0 as usize..=self.chars.1 as usize {
                let pieces = letters.windows(n).filter(|_| *word != "</s>");
                rows.extend(pieces.filter_map(|piece| self.bucket(u64::from(hash(&String::from_iter(piece))))));
            }
        }
        for pair in words.windows(2) {
            let [first, second] = [pair[0], pair[1]].map(|word| i64::from(hash(word) as i32) as u64);
            rows.extend(self.bucket(first.wrapping_mul(116_049_371).wrapping_add(second)));
        }
        let sum =
            rows.iter().map(|&row| self.row(row)).reduce(|one, two| one.iter().zip(two).map(|(a, b)| a + b).collect());
        sum.unwrap().iter().map(|value| value / rows.len() as f32).collect()
    }

    fn probabilities(&self, text: &str) -> Vec<f32> {
        let hidden = self.hidden(text);
        let dots: Vec<f32> = self.output.iter().map(|row| row.iter().zip(&hidden).map(|(a, b)| a * b).sum()).collect();
        let right = |node: usize| 1.0 / (1.0 + (-dots[node]).exp());
        match self.loss {
            // Huffman's tree over counts 9, 5, 2: the rarer two share an inner node, the rarest on its left.
            1 => vec![right(1), (1.0 - right(1)) * right(0), (1.0 - right(1)) * (1.0 - right(0))],
            3 => {
                let mass: f32 = dots.iter().map(|dot| dot.exp()).sum();
                dots.iter().map(|dot| dot.exp() / mass).collect()
            }
            _ => (0..3).map(right).collect(),
        }
    }
}

fn hash(word: &str) -> u32 {
    word.bytes().fold(2_166_136_261, |hash, byte| (hash ^ (byte as i8 as u32)).wrapping_mul(16_777_619))
}

const TEXTS: [&str; 5] =
    ["good bad good", "竹子 先 长根\n后 长高", "", "an unknown wörd", "bad\t竹子 bad good\u{3000}good"];

#[test]
fn answers_are_those_of_the_definition() {
    for loss in [1, 2, 3, 4] {
        for is_quantised in [false, true] {
            let parts = parts(loss, is_quantised);
            let model = FastText::parse(Path::new("model.bin"), &parts.file()).unwrap();
            assert_eq!(model.labels(), ["__label__hq", "__label__lq", "__label__x"]);
            for text in TEXTS {
                let (found, wanted) = (model.probabilities(text), parts.probabilities(text));
                let are_close = found.iter().zip(&wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-4);
                assert!(are_close, "loss {loss}, quantised {is_quantised}, {text:?}: {found:?} {wanted:?}");
                let one_by_one: Vec<f32> = (0..3).map(|label| model.score(text, label)).collect();
                assert_eq!(one_by_one, found);
            }
        }
    }
}

#[test]
fn damaged_models_are_errors() {
    for is_quantised in [false, true] {
        let file = parts(1, is_quantised).file();
        let parse = |bytes: &[u8]| FastText::parse(Path::new("model.bin"), bytes);
        for cut in (0..file.len()).filter(|cut| cut % 3 == 0 || *cut < 200) {
            let error = parse(&file[..cut]).unwrap_err();
            assert!(matches!(error, ModelError::Magic { .. } | ModelError::Damaged { .. }), "{cut}: {error}");
        }
        // A byte changed anywhere may go unnoticed, but every model that comes out answers.
        for at in 8..file.len().min(600) {
            for bit in [0, 7] {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                if let Ok(model) = parse(&changed) {
                    TEXTS.iter().for_each(|text| drop(model.probabilities(text)));
                }
            }
        }
        let longer = [&file[..], &[0]].concat();
        assert!(matches!(parse(&longer), Err(ModelError::Damaged { what: "something follows the end", .. })));
    }
}

#[test]
fn only_classifiers_and_labels_that_are_there_are_used() {
    let mut vectors = parts(3, false).file();
    vectors[8 + 7 * 4] = 1;
    let error = FastText::parse(Path::new("model.bin"), &vectors).unwrap_err();
    assert!(matches!(error, ModelError::Unusable { .. }), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    std::fs::write(&path, parts(3, false).file()).unwrap();
    let judge = Judge::load_fasttext(&path, "__label__hq").unwrap();
    assert!((0.0..=1.0).contains(&judge.score("good")));
    let error = Judge::load_fasttext(&path, "__label__best").unwrap_err().to_string();
    assert!(error.contains("it has no label \"__label__best\", but __label__hq"), "{error}");
}
