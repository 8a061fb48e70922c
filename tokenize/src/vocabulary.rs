//! A vocabulary: which bytes each token id stands for, how text becomes ids, and the way back.
//!
//! Merging goes by rank: the 256 single bytes come first, then the merged tokens, so that a smaller rank is merged earlier.
//! Everything else about merging follows from the bytes (see `bpe.rs`). Where a vocabulary is trained here or read from ranks,
//! ids are ranks, with the special tokens behind them; a `tokenizer.json` may number its tokens in any way. Ids up to
//! [`Vocabulary::n_ids_padded`] that name no token exist because matrix products like round sizes.

use rustc_hash::FxHashSet;

use crate::borders::Borders;
use crate::bpe::{MergeIndex, N_TOKENS_MAX};
use crate::pattern::Pattern;

/// One id of a vocabulary. Runs of ids are plain `u32`, the type they have in files and tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u32);

/// The special tokens that every vocabulary has: end of text, label of a false proposition, of a true one. Where a file lacks one, it
/// gets the next id behind all others.
pub(crate) const SPECIAL_NAMES: [&str; 3] = ["<|endoftext|>", "<|false|>", "<|true|>"];

/// Embedding tables have a multiple of this many rows.
const N_IDS_MULTIPLE: usize = 128;

/// See the module documentation.
pub struct Vocabulary {
    pattern: Pattern,
    is_nfc: bool,
    bytes: Vec<u8>,
    /// Token `rank` is `bytes[ends[rank - 1]..ends[rank]]`.
    ends: Vec<u32>,
    index: MergeIndex,
    borders: Borders,
    numbering: Option<Numbering>,
    /// Ascending by id.
    specials: Vec<(String, TokenId)>,
    /// Ids of [`SPECIAL_NAMES`].
    roles: [TokenId; 3],
    n_ids: usize,
}

/// Ids that are not ranks.
struct Numbering {
    id_of_rank: Vec<u32>,
    /// `NO_RANK` where an id names no token of text.
    rank_of_id: Vec<u32>,
}

const NO_RANK: u32 = u32::MAX;

/// What a file says beside the tokens themselves.
pub(crate) struct Numbered {
    /// The id of each rank.
    pub(crate) ids: Vec<u32>,
    /// Names and ids of special tokens.
    pub(crate) specials: Vec<(String, TokenId)>,
    /// Whether text is brought into Unicode's composed form first.
    pub(crate) is_nfc: bool,
}

impl Vocabulary {
    /// A vocabulary of `tokens`, in order of rank, whose ids are their ranks. Takes about 0.1 s for 100,000 tokens.
    pub fn new(pattern: Pattern, tokens: &[Vec<u8>]) -> Result<Vocabulary, VocabularyError> {
        let numbered = Numbered { ids: (0..tokens.len() as u32).collect(), specials: Vec::new(), is_nfc: false };
        Vocabulary::numbered(pattern, tokens, numbered)
    }

    pub(crate) fn numbered(
        pattern: Pattern,
        tokens: &[Vec<u8>],
        Numbered { ids, mut specials, is_nfc }: Numbered,
    ) -> Result<Vocabulary, VocabularyError> {
        assert_eq!(ids.len(), tokens.len(), "every token has an id");
        if tokens.len() > N_TOKENS_MAX {
            return Err(VocabularyError::TooMany { n: tokens.len() });
        }
        check_bytes_come_first(tokens)?;
        let index = MergeIndex::new(tokens)?;
        let highest = ids.iter().copied().chain(specials.iter().map(|(_, id)| id.0)).max();
        let mut n_ids = highest.map_or(0, |id| id as usize + 1);
        let roles = SPECIAL_NAMES.map(|name| {
            let known = specials.iter().find(|(special, _)| special == name).map(|&(_, id)| id);
            known.unwrap_or_else(|| {
                let id = TokenId(n_ids as u32);
                n_ids += 1;
                specials.push((name.to_owned(), id));
                id
            })
        });
        specials.sort_unstable_by_key(|&(_, id)| id);
        check_ids(&ids, &specials)?;
        let mut ends = Vec::with_capacity(tokens.len());
        let mut end = 0;
        for token in tokens {
            end += u32::try_from(token.len()).expect("tokens together hold less than 4 GB");
            ends.push(end);
        }
        Ok(Vocabulary {
            borders: Borders::new(tokens.iter().map(Vec::as_slice)),
            numbering: Numbering::new(ids, n_ids),
            bytes: tokens.concat(),
            pattern,
            is_nfc,
            ends,
            index,
            specials,
            roles,
            n_ids,
        })
    }

    /// One more than the highest id that names a token.
    pub fn n_ids(&self) -> usize {
        self.n_ids
    }

    /// Rows of an embedding table for this vocabulary: [`Vocabulary::n_ids`] rounded up.
    pub fn n_ids_padded(&self) -> usize {
        self.n_ids().next_multiple_of(N_IDS_MULTIPLE)
    }

    /// Ends every document.
    pub fn end_of_text(&self) -> TokenId {
        self.roles[0]
    }

    /// The label of a proposition judged false or true: one id each, reserved, so that a label is one prediction.
    pub fn label(&self, truth: bool) -> TokenId {
        self.roles[1 + usize::from(truth)]
    }

    /// Names and ids of the special tokens, by id. No text encodes to them.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, TokenId)> + '_ {
        self.specials.iter().map(|(name, id)| (&name[..], *id))
    }

    /// How text is cut before anything is merged.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Whether text is brought into Unicode's composed form (NFC) before it is encoded. Decoding gives that form.
    pub fn is_nfc(&self) -> bool {
        self.is_nfc
    }

    /// The bytes of a token: of a special token its name, of an id that names no token `None`.
    pub fn token_bytes(&self, id: TokenId) -> Option<&[u8]> {
        if let Some(rank) = self.rank_of(id) {
            return Some(self.bytes_of_rank(rank));
        }
        let special = self.specials.binary_search_by_key(&id, |&(_, id)| id).ok()?;
        Some(self.specials[special].0.as_bytes())
    }

    fn rank_of(&self, TokenId(id): TokenId) -> Option<usize> {
        let rank = match &self.numbering {
            None => id,
            Some(numbering) => *numbering.rank_of_id.get(id as usize)?,
        };
        Some(rank as usize).filter(|&rank| rank < self.ends.len())
    }

    fn bytes_of_rank(&self, rank: usize) -> &[u8] {
        let start = if rank == 0 { 0 } else { self.ends[rank - 1] };
        &self.bytes[start as usize..self.ends[rank] as usize]
    }

    /// Bytes and ids that text can encode to, by rank.
    pub(crate) fn text_tokens(&self) -> impl Iterator<Item = (&[u8], TokenId)> {
        (0..self.ends.len()).map(|rank| (self.bytes_of_rank(rank), self.id_of(rank)))
    }

    fn id_of(&self, rank: usize) -> TokenId {
        TokenId(self.numbering.as_ref().map_or(rank as u32, |numbering| numbering.id_of_rank[rank]))
    }

    #[inline]
    pub(crate) fn ranks_to_ids(&self, ranks: &mut [u32]) {
        if let Some(numbering) = &self.numbering {
            for rank in ranks {
                *rank = numbering.id_of_rank[*rank as usize];
            }
        }
    }

    pub(crate) fn index(&self) -> &MergeIndex {
        &self.index
    }

    pub(crate) fn borders(&self) -> &Borders {
        &self.borders
    }
}

impl Numbering {
    fn new(id_of_rank: Vec<u32>, n_ids: usize) -> Option<Numbering> {
        if id_of_rank.iter().zip(0..).all(|(&id, rank)| id == rank) {
            return None;
        }
        let mut rank_of_id = vec![NO_RANK; n_ids];
        for (&id, rank) in id_of_rank.iter().zip(0..) {
            rank_of_id[id as usize] = rank;
        }
        Some(Numbering { id_of_rank, rank_of_id })
    }
}

fn check_bytes_come_first(tokens: &[Vec<u8>]) -> Result<(), VocabularyError> {
    let mut seen = [false; 256];
    for (token, rank) in tokens.iter().zip(0..256) {
        let &[byte] = token.as_slice() else {
            return Err(VocabularyError::NotAByte { rank, n_bytes: token.len() });
        };
        seen[usize::from(byte)] = true;
    }
    match (0..=255).find(|&byte| !seen[usize::from(byte)]) {
        Some(byte) => Err(VocabularyError::MissingByte { byte }),
        None => Ok(()),
    }
}

fn check_ids(ids: &[u32], specials: &[(String, TokenId)]) -> Result<(), VocabularyError> {
    let mut seen = FxHashSet::default();
    match ids.iter().copied().chain(specials.iter().map(|(_, id)| id.0)).find(|&id| !seen.insert(id)) {
        Some(id) => Err(VocabularyError::SameId { id }),
        None => Ok(()),
    }
}

/// The bytes that `ids` stand for. They need not be UTF-8. An id that names no token gives U+FFFD: a model in its first
/// steps samples such ids, and showing its text must not end the run.
pub fn decode(vocabulary: &Vocabulary, ids: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ids.len() * 4);
    for &id in ids {
        bytes.extend_from_slice(vocabulary.token_bytes(TokenId(id)).unwrap_or("\u{FFFD}".as_bytes()));
    }
    bytes
}

/// Turns ids into text as they arrive. Characters whose bytes are spread over several tokens are held back until they
/// are whole; bytes that cannot become a character give U+FFFD. All pieces together are
/// `String::from_utf8_lossy(&decode(vocabulary, ids))`.
pub struct StreamDecoder<'v> {
    vocabulary: &'v Vocabulary,
    held_back: Vec<u8>,
}

impl<'v> StreamDecoder<'v> {
    /// A decoder at the start of a text.
    pub fn new(vocabulary: &'v Vocabulary) -> StreamDecoder<'v> {
        StreamDecoder { vocabulary, held_back: Vec::new() }
    }

    /// The text that `id` completes, which may be empty.
    pub fn push(&mut self, TokenId(id): TokenId) -> String {
        self.held_back.extend(decode(self.vocabulary, &[id]));
        let n_complete = complete_len(&self.held_back);
        let text = String::from_utf8_lossy(&self.held_back[..n_complete]).into_owned();
        self.held_back.drain(..n_complete);
        text
    }

    /// What is still held back: nothing, or U+FFFD for a character that never became whole.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.held_back).into_owned()
    }
}

/// The length of `bytes` without a character at the end that more bytes could complete.
fn complete_len(bytes: &[u8]) -> usize {
    let mut start = 0;
    while let Err(error) = std::str::from_utf8(&bytes[start..]) {
        start += error.valid_up_to();
        match error.error_len() {
            Some(n_invalid) => start += n_invalid,
            None => return start,
        }
    }
    bytes.len()
}

/// Why a list of tokens is not a vocabulary.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyError {
    /// The first 256 ranks are the single bytes.
    #[error("rank {rank} stands for {n_bytes} bytes, where the first 256 ranks must be the single bytes")]
    NotAByte {
        /// The rank in question.
        rank: u32,
        /// How many bytes it has.
        n_bytes: usize,
    },
    /// More than the tables of merging can tell apart.
    #[error("{n} tokens are more than the {N_TOKENS_MAX} that can be told apart")]
    TooMany {
        /// How many there are.
        n: usize,
    },
    /// Without every byte some texts could not be encoded.
    #[error("no token stands for the single byte 0x{byte:02x}")]
    MissingByte {
        /// The byte that is missing.
        byte: u8,
    },
    /// Two ranks would make encoding ambiguous.
    #[error("ranks {first_rank} and {rank} stand for the same bytes")]
    Duplicate {
        /// The smaller rank.
        first_rank: u32,
        /// The larger rank.
        rank: u32,
    },
    /// Two tokens, special ones among them, have one id.
    #[error("two tokens have the id {id}")]
    SameId {
        /// The id in question.
        id: u32,
    },
    /// Merging the bytes of the token by the ranks below its own must leave exactly two parts.
    #[error("the bytes of rank {rank} are not two tokens once every smaller rank is merged, so no text encodes to it")]
    Unreachable {
        /// The rank in question.
        rank: u32,
    },
}
