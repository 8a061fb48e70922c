//! What a document is compared by, as it is kept on the disk until all documents have been read.

use corpus::Kind;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::shingles::shingles;
use super::sketch::band_keys;
use super::{Duplicates, NearDuplicates};
use crate::language::{Unit, is_han};

/// Numbers before the band keys in a [`Fingerprint`]'s row.
const N_HEAD: usize = 6;

/// What a document is compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Hash of the folded text, its language and kind.
    pub(crate) exact: u128,
    /// Hash of the address; `None` where it has none, or where it does not count.
    pub(crate) url: Option<u128>,
    /// Shingles, repeated ones too; 0 where near duplicates aren't looked for.
    pub(crate) n_shingles: u32,
    /// Whether lines and spans are cut out of it.
    pub(crate) is_plain: bool,
    /// One key a band; empty where `n_shingles` is 0.
    pub(crate) bands: Vec<u64>,
}

/// Fingerprints a normalised text. `url` is the key of its address.
pub fn fingerprint(
    text: &str,
    lang: &str,
    (kind, label): (Kind, Option<bool>),
    url: Option<u128>,
    config: &Duplicates,
) -> Fingerprint {
    let scope = xxh3_64_with_seed(lang.as_bytes(), kind as u64);
    // Both halves of a pair come from one address. Of the same text said to be true and to be false, only one stays.
    let like = u128::from(kind as u64) | u128::from(label == Some(false)) << 8;
    let mut fingerprint = Fingerprint {
        exact: if config.exact { exact_key(text, scope) } else { 0 },
        url: url.filter(|_| config.url).map(|url| url ^ like),
        n_shingles: 0,
        is_plain: kind == Kind::Plain,
        bands: Vec::new(),
    };
    // A true proposition and its false twin share most of their words.
    if let (Some(near), Kind::Plain | Kind::Instruction) = (&config.near, kind) {
        let unit = Unit::of(lang);
        let shingles = shingles(text, unit, shingle_len(unit, near));
        fingerprint.n_shingles = u32::try_from(shingles.len()).expect("a document has fewer than 2^32 shingles");
        fingerprint.bands = band_keys(&shingles, near.bands.get() as usize, near.rows.get() as usize, scope);
    }
    fingerprint
}

pub(super) fn shingle_len(unit: Unit, config: &NearDuplicates) -> usize {
    let n_units = match unit {
        Unit::Words => config.shingle_words,
        Unit::Characters => config.shingle_chars,
    };
    n_units.get() as usize
}

/// Case and white space are folded away.
fn exact_key(text: &str, scope: u64) -> u128 {
    let mut folded = Vec::with_capacity(text.len() + 8);
    for word in text.split_whitespace() {
        if word.is_ascii() {
            folded.extend(word.bytes().map(|byte| byte.to_ascii_lowercase()));
        } else {
            word.chars().for_each(|char| push_lower(&mut folded, char));
        }
        folded.push(b' ');
    }
    xxh3_128(&folded) ^ u128::from(scope)
}

fn push_lower(folded: &mut Vec<u8>, char: char) {
    let mut push = |char: char| folded.extend(char.encode_utf8(&mut [0; 4]).as_bytes());
    if is_han(char) {
        push(char);
    } else {
        char.to_lowercase().for_each(push);
    }
}

impl Fingerprint {
    /// One key a band: documents that share one are compared. None where near duplicates aren't looked for.
    pub fn bands(&self) -> &[u64] {
        &self.bands
    }

    /// Numbers in a row.
    pub(crate) fn width(config: &Duplicates) -> usize {
        N_HEAD + config.near.as_ref().map_or(0, |near| near.bands.get() as usize)
    }

    /// As numbers for the disk.
    pub(crate) fn to_row(&self, width: usize) -> Vec<u64> {
        let url = self.url.unwrap_or(0);
        let flags = u64::from(self.url.is_some()) | u64::from(self.is_plain) << 1;
        let mut row = vec![
            (self.exact >> 64) as u64,
            self.exact as u64,
            (url >> 64) as u64,
            url as u64,
            u64::from(self.n_shingles),
            flags,
        ];
        row.extend(&self.bands);
        row.resize(width, 0);
        row
    }

    /// Back from the disk.
    pub(crate) fn from_row(row: &[u64]) -> Self {
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let n_shingles = u32::try_from(row[4]).expect("written from 32 bits");
        Self {
            exact: wide(row[0], row[1]),
            url: (row[5] & 1 == 1).then(|| wide(row[2], row[3])),
            n_shingles,
            is_plain: row[5] & 2 == 2,
            bands: if n_shingles == 0 { Vec::new() } else { row[N_HEAD..].to_vec() },
        }
    }
}
