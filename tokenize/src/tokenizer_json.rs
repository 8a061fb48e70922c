//! Reads and writes the `tokenizer.json` of Hugging Face.
//!
//! ```text
//! normalizer     none, or NFC
//! pre_tokenizer  Split by a pattern, then ByteLevel, which spells every byte as one printable character;
//!                or ByteLevel alone, which has GPT-2's pattern built in
//! model          BPE: vocab {spelling: id}, merges [[left, right], ...] in order of rank, or ["left right", ...]
//! decoder        ByteLevel
//! added_tokens   the special tokens
//! ```
//!
//! The file that we write is a function of the vocabulary, to the byte, so its hash is the hash of the vocabulary. What a file of
//! others asks for and we do not do is refused, where it changes the tokens of a text. One thing differs for those who load a
//! file: their libraries look for the added tokens in the text, our encoder does not.

use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::pattern::Pattern;
use crate::vocabulary::{Numbered, TokenId, Vocabulary, VocabularyError};

/// The text of a `tokenizer.json`.
pub fn to_tokenizer_json(vocabulary: &Vocabulary) -> String {
    let mut json =
        serde_json::to_string(&Written::of(vocabulary)).expect("the structure holds strings and numbers only");
    json.push('\n');
    json
}

/// Reads a `tokenizer.json` of a byte-level BPE vocabulary, ours or another's.
pub fn from_tokenizer_json(json: &str) -> Result<Vocabulary, TokenizerJsonError> {
    let read: Read = serde_json::from_str(json).map_err(TokenizerJsonError::Json)?;
    let is_nfc = is_nfc(read.normalizer.as_ref());
    let pattern = read.pre_tokenizer.pattern()?;
    check_model(&read.model)?;
    let specials = read_specials(&read.added_tokens)?;
    let ranked = rank(&read.model, &specials)?;
    let tokens: Vec<Vec<u8>> = ranked.iter().map(|token| token.bytes.clone()).collect();
    let numbered = Numbered { ids: ranked.iter().map(|token| token.id).collect(), specials, is_nfc };
    let vocabulary = Vocabulary::numbered(pattern, &tokens, numbered).map_err(|error| match error {
        VocabularyError::Unreachable { rank } => unmerged(&ranked[rank as usize]),
        error => TokenizerJsonError::Vocabulary(error),
    })?;
    check_merges(&vocabulary, &ranked, &read.model.merges)?;
    Ok(vocabulary)
}

/// Why a `tokenizer.json` cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerJsonError {
    /// Not JSON, or with a part that we do not know.
    #[error("not a byte-level BPE tokenizer that can be run here")]
    Json(#[source] serde_json::Error),
    /// A setting that changes tokens and that we do not have.
    #[error("{setting} is not supported: {why}")]
    Setting {
        /// Where it stands.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A pattern that cannot be run.
    #[error("the pattern {pattern:?} cannot be run: {why}")]
    Pattern {
        /// As it is spelled.
        pattern: String,
        /// What the regex engine says.
        why: String,
    },
    /// A token that does not spell bytes.
    #[error("the token {spelling:?} has a character that stands for no byte")]
    Spelling {
        /// The token as spelled.
        spelling: String,
    },
    /// A token twice.
    #[error("the token {spelling:?} is there twice, with the ids {first_id} and {id}")]
    Twice {
        /// The token as spelled.
        spelling: String,
        /// Its first id.
        first_id: u32,
        /// Its second id.
        id: u32,
    },
    /// Two tokens with one id.
    #[error("the tokens {first:?} and {second:?} have the same id {id}")]
    SameId {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// Their id.
        id: u32,
    },
    /// Too large an id.
    #[error("the token {spelling:?} has the id {id}, where ids are below {ID_LIMIT}")]
    Id {
        /// The token as spelled.
        spelling: String,
        /// Its id.
        id: u32,
    },
    /// A merge of what is no token, or into what is none.
    #[error("merge {merge_idx} (counted from 0) of {left:?} and {right:?}: {unknown:?} is not in the vocab")]
    Unknown {
        /// Which one, from 0.
        merge_idx: usize,
        /// The left part.
        left: String,
        /// The right part.
        right: String,
        /// What is not there.
        unknown: String,
    },
    /// A merge that makes what another one has made before the one in front of it.
    #[error(
        "merge {merge_idx} (counted from 0) makes {spelling:?}, which an earlier merge with others in between makes too"
    )]
    Again {
        /// Which one, from 0.
        merge_idx: usize,
        /// What it makes.
        spelling: String,
    },
    /// A token that text cannot become.
    #[error("the token {spelling:?} is made by no merge")]
    Unmade {
        /// The token as spelled.
        spelling: String,
    },
    /// The tokens are no vocabulary.
    #[error("the vocab is not a byte-level BPE vocabulary")]
    Vocabulary(#[source] VocabularyError),
    /// The merges in front of it leave other parts of the token.
    #[error("merge {merge_idx} (counted from 0) makes {spelling:?} of parts that the merges before it do not leave")]
    Merge {
        /// Which one, from 0.
        merge_idx: usize,
        /// What it makes.
        spelling: String,
    },
}

/// Ids are rows of a table.
const ID_LIMIT: u32 = 1 << 24;

/// A file as we read it; what does not change tokens is passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "version")]
    _version: IgnoredAny,
    #[serde(rename = "truncation", default)]
    _truncation: IgnoredAny,
    #[serde(rename = "padding", default)]
    _padding: IgnoredAny,
    #[serde(rename = "post_processor", default)]
    _post_processor: IgnoredAny,
    #[serde(rename = "decoder", default)]
    _decoder: IgnoredAny,
    #[serde(default)]
    added_tokens: Vec<ReadAdded>,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Step,
    model: ReadModel,
}

#[derive(Deserialize)]
struct ReadAdded {
    id: u32,
    content: String,
    special: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Normalizer {
    #[serde(rename = "NFC")]
    Nfc,
    Sequence {
        normalizers: Vec<Normalizer>,
    },
}

fn is_nfc(normalizer: Option<&Normalizer>) -> bool {
    match normalizer {
        None => false,
        Some(Normalizer::Nfc) => true,
        Some(Normalizer::Sequence { normalizers }) => normalizers.iter().any(|one| is_nfc(Some(one))),
    }
}

/// A pre-tokenizer or a decoder.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Step {
    Sequence {
        pretokenizers: Vec<Step>,
    },
    Split {
        pattern: SplitPattern,
        behavior: String,
        invert: bool,
    },
    ByteLevel {
        add_prefix_space: bool,
        #[serde(default)]
        trim_offsets: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
}

/// What the library takes for granted where a file does not say it.
fn yes() -> bool {
    true
}

#[derive(Serialize, Deserialize)]
enum SplitPattern {
    Regex(String),
}

impl Step {
    fn pattern(&self) -> Result<Pattern, TokenizerJsonError> {
        let unsupported = |why: &str| TokenizerJsonError::Setting { setting: "pre_tokenizer", why: why.to_owned() };
        let steps = match self {
            Step::Sequence { pretokenizers } => &pretokenizers[..],
            one => std::slice::from_ref(one),
        };
        let (splits, Some(Step::ByteLevel { add_prefix_space, use_regex, .. })) =
            (&steps[..steps.len().saturating_sub(1)], steps.last())
        else {
            return Err(unsupported("it does not end with ByteLevel"));
        };
        if *add_prefix_space {
            return Err(unsupported("add_prefix_space puts a space in front of a text"));
        }
        match (splits, use_regex) {
            ([], true) => Ok(Pattern::Gpt2),
            ([Step::Split { pattern: SplitPattern::Regex(spelling), behavior, invert }], false) => {
                let pattern = Pattern::from_spelling(spelling)
                    .map_err(|why| TokenizerJsonError::Pattern { pattern: spelling.clone(), why })?;
                // Where a pattern matches everything, to keep its matches is to drop what is between them.
                let is_whole = !matches!(pattern, Pattern::Other(_));
                match (&behavior[..], invert) {
                    ("Isolated", false) => Ok(pattern),
                    ("Removed", true) if is_whole => Ok(pattern),
                    _ => Err(unsupported(&format!("a Split that is {behavior} with invert = {invert}"))),
                }
            }
            _ => Err(unsupported("expected one Split in front of ByteLevel, or ByteLevel alone with use_regex")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadModel {
    r#type: String,
    dropout: Option<f64>,
    #[serde(rename = "unk_token", default)]
    _unk_token: IgnoredAny,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(rename = "fuse_unk", default)]
    _fuse_unk: IgnoredAny,
    #[serde(default)]
    byte_fallback: bool,
    /// Whether a piece that is a token stays whole; it does anyway where every token is made by merges.
    #[serde(rename = "ignore_merges", default)]
    _ignore_merges: IgnoredAny,
    vocab: SpellingIds,
    merges: Vec<Merge>,
}

fn check_model(model: &ReadModel) -> Result<(), TokenizerJsonError> {
    let filled = |value: &Option<String>| value.as_deref().is_some_and(|text| !text.is_empty());
    for (setting, is_there) in [
        ("model.type", model.r#type != "BPE"),
        ("model.dropout", model.dropout.is_some_and(|share| share != 0.0)),
        ("model.continuing_subword_prefix", filled(&model.continuing_subword_prefix)),
        ("model.end_of_word_suffix", filled(&model.end_of_word_suffix)),
        ("model.byte_fallback", model.byte_fallback),
    ] {
        if is_there {
            let why = "only byte-level BPE is, without parts added to tokens or left out".to_owned();
            return Err(TokenizerJsonError::Setting { setting, why });
        }
    }
    Ok(())
}

fn read_specials(added: &[ReadAdded]) -> Result<Vec<(String, TokenId)>, TokenizerJsonError> {
    let mut specials = Vec::with_capacity(added.len());
    for ReadAdded { id, content, special } in added {
        if *id >= ID_LIMIT {
            return Err(TokenizerJsonError::Id { spelling: content.clone(), id: *id });
        }
        if !special && content.trim().is_empty() {
            let why = format!("the added token {content:?} is ordinary text, and added tokens are not looked for");
            return Err(TokenizerJsonError::Setting { setting: "added_tokens", why });
        }
        specials.push((content.clone(), TokenId(*id)));
    }
    Ok(specials)
}

/// A token of text.
struct Ranked {
    bytes: Vec<u8>,
    id: u32,
    /// The merges that make it, side by side; none for a single byte.
    merges: std::ops::Range<usize>,
}

/// The tokens of text in order of rank: single bytes by id, then what the merges make, in their order.
fn rank(model: &ReadModel, specials: &[(String, TokenId)]) -> Result<Vec<Ranked>, TokenizerJsonError> {
    let special_ids: FxHashMap<&str, TokenId> = specials.iter().map(|(name, id)| (&name[..], *id)).collect();
    let is_text = |(spelling, id): &&(String, u32)| special_ids.get(&spelling[..]) != Some(&TokenId(*id));
    let entries: Vec<&(String, u32)> = model.vocab.0.iter().filter(is_text).collect();
    check_entries(&entries, specials)?;
    let mut ranked = Vec::with_capacity(entries.len());
    let id_of: FxHashMap<&str, u32> = entries.iter().map(|(spelling, id)| (&spelling[..], *id)).collect();
    for (spelling, id) in &entries {
        let bytes = unspell(spelling).ok_or_else(|| TokenizerJsonError::Spelling { spelling: spelling.clone() })?;
        if bytes.len() == 1 {
            ranked.push(Ranked { bytes, id: *id, merges: 0..0 });
        }
    }
    ranked.sort_by_key(|token| token.id);
    if let Some(byte) = (0..=u8::MAX).find(|&byte| ranked.iter().all(|token| token.bytes[0] != byte)) {
        return Err(TokenizerJsonError::Vocabulary(VocabularyError::MissingByte { byte }));
    }
    let mut made: FxHashSet<u32> = ranked.iter().map(|token| token.id).collect();
    for (merge_idx, Merge(left, right)) in model.merges.iter().enumerate() {
        let spelling = format!("{left}{right}");
        let unknown = [left, right, &spelling].into_iter().find(|part| !id_of.contains_key(&part[..]));
        if let Some(unknown) = unknown {
            let (left, right, unknown) = (left.clone(), right.clone(), unknown.clone());
            return Err(TokenizerJsonError::Unknown { merge_idx, left, right, unknown });
        }
        let id = id_of[&spelling[..]];
        match ranked.last_mut().filter(|last| last.id == id) {
            Some(last) => last.merges.end = merge_idx + 1,
            None if !made.insert(id) => return Err(TokenizerJsonError::Again { merge_idx, spelling }),
            None => {
                let bytes = unspell(&spelling).expect("its parts were spelled with the alphabet");
                ranked.push(Ranked { bytes, id, merges: merge_idx..merge_idx + 1 });
            }
        }
    }
    match entries.iter().find(|(_, id)| !made.contains(id)) {
        Some((spelling, _)) => Err(TokenizerJsonError::Unmade { spelling: spelling.clone() }),
        None => Ok(ranked),
    }
}

fn check_entries(entries: &[&(String, u32)], specials: &[(String, TokenId)]) -> Result<(), TokenizerJsonError> {
    let mut first_ids = FxHashMap::default();
    let mut by_id: FxHashMap<u32, &str> = specials.iter().map(|(name, id)| (id.0, &name[..])).collect();
    if by_id.len() < specials.len() {
        let mut ids = FxHashSet::default();
        let (second, id) = specials.iter().find(|(_, id)| !ids.insert(id.0)).expect("two have the same id");
        let (first, _) = specials.iter().find(|(_, other)| other == id).expect("it is the first of them");
        return Err(TokenizerJsonError::SameId { first: first.clone(), second: second.clone(), id: id.0 });
    }
    for (spelling, id) in entries.iter().copied() {
        if *id >= ID_LIMIT {
            return Err(TokenizerJsonError::Id { spelling: spelling.clone(), id: *id });
        }
        if let Some(first_id) = first_ids.insert(&spelling[..], *id) {
            return Err(TokenizerJsonError::Twice { spelling: spelling.clone(), first_id, id: *id });
        }
        if let Some(first) = by_id.insert(*id, spelling) {
            return Err(TokenizerJsonError::SameId { first: first.to_owned(), second: spelling.clone(), id: *id });
        }
    }
    Ok(())
}

/// Merging by rank needs one merge for each token, the one whose parts the earlier merges leave. It must be among those of the file.
fn check_merges(vocabulary: &Vocabulary, ranked: &[Ranked], merges: &[Merge]) -> Result<(), TokenizerJsonError> {
    for (token, rank) in ranked.iter().zip(0..) {
        let Some((left, right)) = vocabulary.index().merge(rank) else { continue };
        let parts = [left, right].map(|part| spell(&ranked[part as usize].bytes));
        if !merges[token.merges.clone()].iter().any(|Merge(left, right)| [left, right] == [&parts[0], &parts[1]]) {
            return Err(unmerged(token));
        }
    }
    Ok(())
}

fn unmerged(token: &Ranked) -> TokenizerJsonError {
    TokenizerJsonError::Merge { merge_idx: token.merges.start, spelling: spell(&token.bytes) }
}

/// A file as we write it.
#[derive(Serialize)]
struct Written<'v> {
    version: &'static str,
    truncation: (),
    padding: (),
    added_tokens: Vec<WrittenAdded<'v>>,
    normalizer: Option<WrittenNormalizer>,
    pre_tokenizer: Step,
    post_processor: (),
    decoder: Step,
    model: WrittenModel,
}

#[derive(Serialize)]
struct WrittenAdded<'v> {
    id: u32,
    content: &'v str,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

#[derive(Serialize)]
struct WrittenNormalizer {
    r#type: &'static str,
}

#[derive(Serialize)]
struct WrittenModel {
    r#type: &'static str,
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

impl Written<'_> {
    fn of(vocabulary: &Vocabulary) -> Written<'_> {
        let byte_level = |use_regex| Step::ByteLevel { add_prefix_space: false, trim_offsets: true, use_regex };
        let pre_tokenizer = match vocabulary.pattern() {
            Pattern::Gpt2 => byte_level(true),
            pattern => {
                let pattern = SplitPattern::Regex(pattern.spelling().to_owned());
                let split = Step::Split { pattern, behavior: "Isolated".into(), invert: false };
                Step::Sequence { pretokenizers: vec![split, byte_level(false)] }
            }
        };
        Written {
            version: "1.0",
            truncation: (),
            padding: (),
            added_tokens: vocabulary.special_tokens().map(added_token).collect(),
            normalizer: vocabulary.is_nfc().then_some(WrittenNormalizer { r#type: "NFC" }),
            pre_tokenizer,
            post_processor: (),
            decoder: byte_level(false),
            model: WrittenModel::of(vocabulary),
        }
    }
}

impl WrittenModel {
    fn of(vocabulary: &Vocabulary) -> WrittenModel {
        let entries: Vec<(String, u32)> =
            vocabulary.text_tokens().map(|(bytes, TokenId(id))| (spell(bytes), id)).collect();
        let spelling = |rank: u32| entries[rank as usize].0.clone();
        let merges = (0..entries.len() as u32).filter_map(|rank| vocabulary.index().merge(rank));
        WrittenModel {
            r#type: "BPE",
            dropout: (),
            unk_token: (),
            continuing_subword_prefix: (),
            end_of_word_suffix: (),
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: false,
            merges: merges.map(|(left, right)| (spelling(left), spelling(right))).collect(),
            vocab: SpellingIds(entries),
        }
    }
}

fn added_token((content, TokenId(id)): (&str, TokenId)) -> WrittenAdded<'_> {
    WrittenAdded { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
}

/// A JSON object from spellings to ids that keeps its order, and what is there twice.
struct SpellingIds(Vec<(String, u32)>);

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

/// A merge, as one text with a space or as a pair.
struct Merge(String, String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Merge, D::Error> {
        struct EitherWay;

        impl<'de> Visitor<'de> for EitherWay {
            type Value = Merge;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a merge: \"left right\" or [\"left\", \"right\"]")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Merge, E> {
                let (left, right) = text.split_once(' ').ok_or_else(|| E::custom(format!("{text:?} is no merge")))?;
                Ok(Merge(left.to_owned(), right.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Merge, A::Error> {
                let parts = (parts.next_element()?, parts.next_element()?, parts.next_element::<IgnoredAny>()?);
                match parts {
                    (Some(left), Some(right), None) => Ok(Merge(left, right)),
                    _ => Err(serde::de::Error::custom("a merge has two parts")),
                }
            }
        }

        deserializer.deserialize_any(EitherWay)
    }
}
