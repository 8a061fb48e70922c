//! Spans of a text that carry loss: no token stands on both sides of a border.

use corpus::Span;

use super::*;
use crate::Labels;
use crate::run::{encode_text, label_tokens};

/// A text with some spans of it, in order and apart, that begin and end with characters.
fn text_and_spans() -> impl Strategy<Value = (String, Vec<Span>)> {
    (border_text(), prop::collection::vec(any::<prop::sample::Index>(), 0..6)).prop_map(|(text, cuts)| {
        let places: Vec<u32> = text.char_indices().map(|(at, _)| at as u32).chain([text.len() as u32]).collect();
        let mut cuts: Vec<u32> = cuts.iter().map(|cut| places[cut.index(places.len())]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let spans = cuts.chunks_exact(2).map(|pair| Span { start: pair[0], end: pair[1] }).collect();
        (text, spans)
    })
}

proptest! {
    #[test]
    fn tokens_of_spans_are_those_of_their_texts((text, spans) in text_and_spans()) {
        for vocabulary in [&*CL100K, &*SMALL] {
            let mut encoder = Encoder::new(vocabulary);
            // What was encoded before a text has no part in its spans.
            let mut tokens = vec![7, 7];
            let of_tokens = encode_text(&mut encoder, &text, Some(&spans), &mut tokens).unwrap();
            let tokens = &tokens[2..];
            prop_assert_eq!(decode(vocabulary, tokens), text.as_bytes());
            prop_assert_eq!(of_tokens.len(), spans.len());
            let (mut twin, mut end) = (Vec::new(), 0);
            for (span, of_tokens) in spans.iter().zip(&of_tokens) {
                let (from, to) = (span.start as usize, span.end as usize);
                twin.extend(encode(vocabulary, &text[end..from]));
                prop_assert_eq!(of_tokens.start as usize, twin.len());
                twin.extend(encode(vocabulary, &text[from..to]));
                prop_assert_eq!(of_tokens.end as usize, twin.len());
                end = to;
            }
            twin.extend(encode(vocabulary, &text[end..]));
            prop_assert_eq!(tokens, &twin[..]);
        }
    }

    #[test]
    fn a_text_without_spans_is_encoded_as_a_whole(text in border_text()) {
        let mut tokens = Vec::new();
        let of_tokens = encode_text(&mut Encoder::new(&SMALL), &text, None, &mut tokens);
        prop_assert_eq!((of_tokens, tokens), (None, encode(&SMALL, &text)));
    }
}

/// The paper's emoji are two tokens of cl100k_base each, of which only the second tells them apart; a reserved label is one.
#[test]
fn labels_are_reserved_ids_or_emoji() {
    assert_eq!(label_tokens(&CL100K, Labels::Reserved), [vec![100_257], vec![100_258]]);
    assert_eq!(label_tokens(&CL100K, Labels::Emoji), [vec![76_460, 94], vec![76_460, 230]]);
    let small = label_tokens(&SMALL, Labels::Emoji).map(|tokens| String::from_utf8(decode(&SMALL, &tokens)).unwrap());
    assert_eq!(small, ["\u{1f621}", "\u{1f608}"]);
}
