//! A vocabulary: which bytes each token id stands for, and the way back from ids to text.
//!
//! The ids of a vocabulary of `n` ids are, in order: the 256 single bytes; the merged tokens, by merge rank, so that a
//! smaller id is merged earlier; the three special tokens. Everything else about merging follows from the bytes (see
//! `bpe.rs`), so the bytes are all that is kept, hashed and exchanged. Ids from [`Vocabulary::n_ids`] up to
//! [`Vocabulary::n_ids_padded`] name no token; they exist because matrix products like round sizes.

use crate::bpe::MergeIndex;

/// One id of a vocabulary. Runs of ids are plain `u32`, the type they have in files and tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u32);

/// Names of the special tokens, in the order of their ids. No text encodes to them.
pub(crate) const SPECIAL_NAMES: [&str; 3] = ["<|endoftext|>", "<|false|>", "<|true|>"];

/// Embedding tables have a multiple of this many rows.
const N_IDS_MULTIPLE: usize = 128;

/// See the module documentation.
pub struct Vocabulary {
    bytes: Vec<u8>,
    /// Token `id` is `bytes[ends[id - 1]..ends[id]]`.
    ends: Vec<u32>,
    index: MergeIndex,
}

impl Vocabulary {
    /// A vocabulary of `tokens`, the bytes of every id except the special ones. Takes about 0.1 s for 100,000 tokens.
    pub fn new(tokens: &[Vec<u8>]) -> Result<Vocabulary, VocabularyError> {
        check_bytes_come_first(tokens)?;
        let index = MergeIndex::new(tokens)?;
        let mut ends = Vec::with_capacity(tokens.len());
        let mut end = 0;
        for token in tokens {
            end += u32::try_from(token.len()).expect("tokens together hold less than 4 GB");
            ends.push(end);
        }
        Ok(Vocabulary { bytes: tokens.concat(), ends, index })
    }

    /// How many ids name a token, the special ones included.
    pub fn n_ids(&self) -> usize {
        self.n_text_ids() + SPECIAL_NAMES.len()
    }

    /// Rows of an embedding table for this vocabulary: [`Vocabulary::n_ids`] rounded up.
    pub fn n_ids_padded(&self) -> usize {
        self.n_ids().next_multiple_of(N_IDS_MULTIPLE)
    }

    /// Ends every document.
    pub fn end_of_text(&self) -> TokenId {
        self.special(0)
    }

    /// The label of a proposition judged false or true: one id each, reserved, so that a label is one prediction.
    pub fn label(&self, truth: bool) -> TokenId {
        self.special(1 + usize::from(truth))
    }

    /// Names and ids of the special tokens, by id.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&'static str, TokenId)> + '_ {
        SPECIAL_NAMES.into_iter().enumerate().map(|(special_idx, name)| (name, self.special(special_idx)))
    }

    /// The bytes of a token: of a special token its name, of an id that names no token `None`.
    pub fn token_bytes(&self, TokenId(id): TokenId) -> Option<&[u8]> {
        let idx = id as usize;
        let Some(&end) = self.ends.get(idx) else {
            return SPECIAL_NAMES.get(idx - self.n_text_ids()).map(|name| name.as_bytes());
        };
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
        Some(&self.bytes[start as usize..end as usize])
    }

    /// How many ids text can encode to: all but the special ones.
    pub(crate) fn n_text_ids(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of the ids that text can encode to, by id.
    pub(crate) fn text_tokens(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.n_text_ids() as u32).map(|id| self.token_bytes(TokenId(id)).expect("the id is below n_text_ids"))
    }

    pub(crate) fn index(&self) -> &MergeIndex {
        &self.index
    }

    fn special(&self, special_idx: usize) -> TokenId {
        TokenId((self.n_text_ids() + special_idx) as u32)
    }
}

fn check_bytes_come_first(tokens: &[Vec<u8>]) -> Result<(), VocabularyError> {
    let mut seen = [false; 256];
    for (token, id) in tokens.iter().zip(0..256) {
        let &[byte] = token.as_slice() else {
            return Err(VocabularyError::NotAByte { id, n_bytes: token.len() });
        };
        seen[usize::from(byte)] = true;
    }
    match (0..=255).find(|&byte| !seen[usize::from(byte)]) {
        Some(byte) => Err(VocabularyError::MissingByte { byte }),
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
    /// The first 256 ids are the single bytes.
    #[error("id {id} stands for {n_bytes} bytes, where the first 256 ids must be the single bytes")]
    NotAByte {
        /// The id in question.
        id: u32,
        /// How many bytes it has.
        n_bytes: usize,
    },
    /// Without every byte some texts could not be encoded.
    #[error("no id stands for the single byte 0x{byte:02x}")]
    MissingByte {
        /// The byte that is missing.
        byte: u8,
    },
    /// Two ids would make encoding ambiguous.
    #[error("ids {first_id} and {id} stand for the same bytes")]
    Duplicate {
        /// The smaller id.
        first_id: u32,
        /// The larger id.
        id: u32,
    },
    /// Merging the bytes of the token by the ranks below its own must leave exactly two parts.
    #[error("the bytes of id {id} are not two tokens once every smaller id is merged, so no text encodes to it")]
    Unreachable {
        /// The id in question.
        id: u32,
    },
}
