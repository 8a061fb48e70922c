//! Tokens of any text: ours beside tiktoken's, and back.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenize::{Encoder, Vocabulary, cl100k_base, decode};

static CL100K: LazyLock<Vocabulary> = LazyLock::new(cl100k_base);

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut ids = Vec::new();
    Encoder::new(&CL100K).encode(&text, &mut ids);
    assert_eq!(ids, tiktoken_rs::cl100k_base_singleton().encode_ordinary(&text));
    assert_eq!(decode(&CL100K, &ids), text.as_bytes());
});
