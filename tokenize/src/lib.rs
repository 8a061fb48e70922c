//! How text becomes token ids: byte-level BPE, trained, imported, exported and run.
//!
//! Text is cut into pre-tokens by a hand-written scanner ([`pretokens`]), and each is replaced by the tokens that byte-pair
//! merging gives. Encoding is exact, token for token what tiktoken and the `tokenizers` library give, and linear in the text.
//!
//! ```
//! use tokenize::{Encoder, cl100k_base, decode};
//!
//! let vocabulary = cl100k_base();
//! let mut ids = Vec::new();
//! Encoder::new(&vocabulary).encode("Growing 毛竹", &mut ids);
//! assert_eq!(decode(&vocabulary, &ids), "Growing 毛竹".as_bytes());
//! ```
//!
//! Two labels of the teacher signal have a reserved id each: the paper's emoji are two tokens in cl100k, of which only the second
//! tells anything. No text encodes to a special id.
//!
//! [`make_tokenizer`] and [`tokenize`] are the two stages: `tokenizer/` and `tokens/`.

mod borders;
mod bpe;
mod cache;
mod characters;
mod config;
mod encoder;
mod import;
mod pattern;
mod run;
mod sample;
mod scanner;
mod tokenizer_json;
mod train;
mod trie;
mod vocabulary;

pub use config::{Labels, RawTokenizer, TokenizerConfig};
pub use encoder::Encoder;
pub use import::{ImportError, LineError, cl100k_base, read_tiktoken};
pub use pattern::{OtherPattern, Pattern};
pub use run::{
    TOKENIZER_FORMAT, TokenizeError, load_tokenizer, make_tokenizer, n_ids, token_lengths, tokenize, tokenizer_parents,
};
pub use sample::Compression;
pub use scanner::pretokens;
pub use tokenizer_json::{TokenizerJsonError, from_tokenizer_json, to_tokenizer_json};
pub use train::{TrainError, train};
pub use vocabulary::{StreamDecoder, TokenId, Vocabulary, VocabularyError, decode};

#[cfg(test)]
mod tests;
