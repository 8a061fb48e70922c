//! Ids to text, at once and as they arrive.

use super::*;

fn stream(vocabulary: &Vocabulary, ids: &[u32]) -> Vec<String> {
    let mut decoder = StreamDecoder::new(vocabulary);
    let mut pieces: Vec<String> = ids.iter().map(|&id| decoder.push(TokenId(id))).collect();
    pieces.push(decoder.finish());
    pieces
}

#[track_caller]
fn check_bytes(bytes: &[u8], pieces: &[&str]) {
    let ids: Vec<u32> = bytes.iter().map(|&byte| u32::from(byte)).collect();
    assert_eq!(stream(&SMALL, &ids), pieces);
}

#[test]
fn holds_back_characters_until_they_are_whole() {
    check_bytes("a中🙂".as_bytes(), &["a", "", "", "中", "", "", "", "🙂", ""]);
    check_bytes(b"\xe4\xb8", &["", "", "\u{fffd}"]);
    check_bytes(b"\xe4\xb8a", &["", "", "\u{fffd}a", ""]);
    check_bytes(b"\xff\xe4", &["\u{fffd}", "", "\u{fffd}"]);
    check_bytes(b"\xf0\x9f\xf0\x9f\x99\x82", &["", "", "\u{fffd}", "", "", "🙂", ""]);
}

#[test]
fn ids_without_a_token_decode_to_the_replacement_character() {
    let n_ids = SMALL.n_ids() as u32;
    assert_eq!(SMALL.token_bytes(TokenId(n_ids)), None);
    assert_eq!(decode(&SMALL, &[97, n_ids, n_ids - 1, u32::MAX]), "a\u{fffd}<|true|>\u{fffd}".as_bytes());
}

proptest! {
    #[test]
    fn gives_back_the_text(text in border_text(), any in prop::collection::vec(any::<char>(), 0..32)) {
        for text in [text, any.into_iter().collect()] {
            let ids = encode(&SMALL, &text);
            prop_assert_eq!(decode(&SMALL, &ids), text.as_bytes());
            prop_assert_eq!(stream(&SMALL, &ids).concat(), text);
        }
    }

    #[test]
    fn streams_to_what_it_decodes_to_at_once(ids in prop::collection::vec(0u32..520, 0..40)) {
        let at_once = String::from_utf8_lossy(&decode(&SMALL, &ids)).into_owned();
        prop_assert_eq!(stream(&SMALL, &ids).concat(), at_once);
    }
}
