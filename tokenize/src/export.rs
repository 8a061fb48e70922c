//! Writes a vocabulary as the `tokenizer.json` of Hugging Face, and reads back what it wrote.
//!
//! ```text
//! pre_tokenizer  Split by our pattern, then ByteLevel, which spells every byte as one printable character
//! model          BPE: vocab {spelling: id}, merges [[left, right], ...] in order of rank
//! decoder        ByteLevel
//! added_tokens   the special tokens
//! ```
//!
//! The file is a function of the vocabulary, to the byte, so its hash is the hash of the vocabulary. One thing differs
//! for those who load it: their libraries look for the special tokens in the text, our encoder does not.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::vocabulary::{TokenId, Vocabulary, VocabularyError};

/// The pattern of `scanner.rs`. `tokenizers` 1.0 knows this very spelling and runs it without a regex engine.
const PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The text of a `tokenizer.json`.
pub fn to_tokenizer_json(vocabulary: &Vocabulary) -> String {
    let mut json =
        serde_json::to_string(&TokenizerJson::of(vocabulary)).expect("the structure holds strings and numbers only");
    json.push('\n');
    json
}

/// Reads what [`to_tokenizer_json`] wrote. Any other file is refused, since what it asks for beyond merges would have
/// to be guessed.
pub fn from_tokenizer_json(json: &str) -> Result<Vocabulary, TokenizerJsonError> {
    let read: TokenizerJson = serde_json::from_str(json).map_err(TokenizerJsonError::Json)?;
    let vocabulary = Vocabulary::new(&tokens(&read.model.vocab)?).map_err(TokenizerJsonError::Vocabulary)?;
    let ours = TokenizerJson::of(&vocabulary);
    let differing = ours.model.merges.iter().zip(&read.model.merges).position(|(ours, read)| ours != read);
    if let Some(merge_idx) = differing {
        return Err(TokenizerJsonError::Merge { merge_idx });
    }
    for (what, is_ours) in [
        ("number of merges", read.model.merges.len() == ours.model.merges.len()),
        ("model", read.model == ours.model),
        ("pre_tokenizer", read.pre_tokenizer == ours.pre_tokenizer),
        ("decoder", read.decoder == ours.decoder),
        ("added_tokens", read.added_tokens == ours.added_tokens),
        ("version", read.version == ours.version),
    ] {
        if !is_ours {
            return Err(TokenizerJsonError::Foreign { what });
        }
    }
    Ok(vocabulary)
}

/// Why a `tokenizer.json` cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerJsonError {
    /// Not JSON, or not with the fields we write.
    #[error("tokenizer.json does not have the structure that moso writes")]
    Json(#[source] serde_json::Error),
    /// A token that does not spell bytes.
    #[error("the token {spelling:?} has a character that stands for no byte")]
    Spelling {
        /// The token as spelled.
        spelling: String,
    },
    /// Ids are not 0, 1, 2 and so on.
    #[error("the token {spelling:?} has id {id}, where {id_expected} should follow")]
    Id {
        /// The token as spelled.
        spelling: String,
        /// Its id.
        id: u32,
        /// The id that comes next.
        id_expected: u32,
    },
    /// The tokens are no vocabulary.
    #[error("the vocab of tokenizer.json is not a byte-level BPE vocabulary")]
    Vocabulary(#[source] VocabularyError),
    /// A merge that the tokens do not imply.
    #[error("merge {merge_idx} (counted from 0) is not the one that makes the token in its place")]
    Merge {
        /// Which one, from 0.
        merge_idx: usize,
    },
    /// Another tokenizer's settings.
    #[error("the {what} of tokenizer.json is not what moso writes")]
    Foreign {
        /// The part that differs.
        what: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizerJson {
    version: String,
    truncation: (),
    padding: (),
    added_tokens: Vec<AddedToken>,
    normalizer: (),
    pre_tokenizer: Step,
    post_processor: (),
    decoder: Step,
    model: Model,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddedToken {
    id: u32,
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

/// A pre-tokenizer or a decoder.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Step {
    Sequence { pretokenizers: Vec<Step> },
    Split { pattern: Pattern, behavior: String, invert: bool },
    ByteLevel { add_prefix_space: bool, trim_offsets: bool, use_regex: bool },
}

#[derive(PartialEq, Serialize, Deserialize)]
enum Pattern {
    Regex(String),
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    r#type: String,
    dropout: (),
    unk_token: (),
    continuing_subword_prefix: (),
    end_of_word_suffix: (),
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: SpellingIds,
    merges: Vec<(String, String)>,
}

/// A JSON object from spellings to ids that keeps its order.
#[derive(PartialEq)]
struct SpellingIds(Vec<(String, u32)>);

impl TokenizerJson {
    fn of(vocabulary: &Vocabulary) -> TokenizerJson {
        let byte_level = || Step::ByteLevel { add_prefix_space: false, trim_offsets: true, use_regex: false };
        let pattern = Pattern::Regex(PATTERN.into());
        let split = Step::Split { pattern, behavior: "Isolated".into(), invert: false };
        TokenizerJson {
            version: "1.0".into(),
            truncation: (),
            padding: (),
            added_tokens: vocabulary.special_tokens().map(added_token).collect(),
            normalizer: (),
            pre_tokenizer: Step::Sequence { pretokenizers: vec![split, byte_level()] },
            post_processor: (),
            decoder: byte_level(),
            model: Model::of(vocabulary),
        }
    }
}

impl Model {
    fn of(vocabulary: &Vocabulary) -> Model {
        let spellings: Vec<String> = vocabulary.text_tokens().map(spell).collect();
        let spelling = |id: u32| spellings[id as usize].clone();
        let merges = (0..spellings.len() as u32).filter_map(|id| vocabulary.index().merge(id));
        Model {
            r#type: "BPE".into(),
            dropout: (),
            unk_token: (),
            continuing_subword_prefix: (),
            end_of_word_suffix: (),
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: false,
            merges: merges.map(|(left, right)| (spelling(left), spelling(right))).collect(),
            vocab: SpellingIds(spellings.into_iter().zip(0..).collect()),
        }
    }
}

fn added_token((name, TokenId(id)): (&str, TokenId)) -> AddedToken {
    AddedToken {
        id,
        content: name.into(),
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
    }
}

/// The bytes of every id. Ids must come in order, as we write them.
fn tokens(SpellingIds(vocab): &SpellingIds) -> Result<Vec<Vec<u8>>, TokenizerJsonError> {
    let token = |((spelling, id), id_expected): (&(String, u32), u32)| {
        if *id != id_expected {
            return Err(TokenizerJsonError::Id { spelling: spelling.clone(), id: *id, id_expected });
        }
        unspell(spelling).ok_or_else(|| TokenizerJsonError::Spelling { spelling: spelling.clone() })
    };
    vocab.iter().zip(0..).map(token).collect()
}

/// GPT-2's alphabet: printable characters of Latin-1 stand for their own byte, and the other bytes, in order, are
/// U+0100 and up. A space is therefore never part of a spelling.
fn spell(token: &[u8]) -> String {
    token.iter().map(|&byte| LETTERS[usize::from(byte)]).collect()
}

fn unspell(spelling: &str) -> Option<Vec<u8>> {
    let byte = |letter| (0..=u8::MAX).find(|&byte| LETTERS[usize::from(byte)] == letter);
    spelling.chars().map(byte).collect()
}

const LETTERS: [char; 256] = {
    let mut letters = ['\0'; 256];
    let mut n_unprintable = 0;
    let mut byte = 0;
    while byte < 256 {
        letters[byte] = match byte {
            0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => byte as u8 as char,
            _ => {
                n_unprintable += 1;
                char::from_u32(0xFF + n_unprintable).expect("U+0100 to U+0143 are characters")
            }
        };
        byte += 1;
    }
    letters
};

impl Serialize for SpellingIds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(spelling, id)| (spelling, id)))
    }
}

impl<'de> Deserialize<'de> for SpellingIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SpellingIds, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = SpellingIds;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object from tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SpellingIds, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(SpellingIds(entries))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
