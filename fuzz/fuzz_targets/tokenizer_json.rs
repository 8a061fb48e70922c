//! Any tokenizer.json: refused, or a vocabulary that gives texts back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenize::{Encoder, decode, from_tokenizer_json, to_tokenizer_json};

const TEXT: &str = "It's 2024: 中国人, e\u{301}\n\n  and so on";

fuzz_target!(|bytes: &[u8]| {
    let Ok(json) = std::str::from_utf8(bytes) else { return };
    let Ok(vocabulary) = from_tokenizer_json(json) else { return };
    let mut ids = Vec::new();
    Encoder::new(&vocabulary).encode(TEXT, &mut ids);
    if !vocabulary.is_nfc() {
        assert_eq!(decode(&vocabulary, &ids), TEXT.as_bytes());
    }
    let written = to_tokenizer_json(&vocabulary);
    let again = from_tokenizer_json(&written).expect("what was written is read");
    assert_eq!(to_tokenizer_json(&again), written);
});
