//! Text to ids: tiktoken, and a slow twin that merges as the definition says.

use super::*;

/// The definition: merge the neighbours whose merge has the smallest id, the leftmost first.
fn naive_encode(vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
    let ids: HashMap<&[u8], u32> = vocabulary.text_tokens().map(|(bytes, id)| (bytes, id.0)).collect();
    let mut out = Vec::new();
    for piece in pretokens(vocabulary.pattern(), text) {
        let mut parts: Vec<&[u8]> = piece.as_bytes().chunks(1).collect();
        let mut starts: Vec<usize> = (0..=piece.len()).collect();
        loop {
            let merged = |idx: usize| ids.get(&piece.as_bytes()[starts[idx]..starts[idx + 2]]);
            let best = (0..parts.len() - 1).filter_map(|idx| Some((merged(idx)?, idx))).min();
            let Some((_, idx)) = best else { break };
            starts.remove(idx + 1);
            parts = starts.windows(2).map(|span| &piece.as_bytes()[span[0]..span[1]]).collect();
        }
        out.extend(parts.iter().map(|part| ids[part]));
    }
    out
}

#[test]
fn equals_tiktoken_on_real_text() {
    for text in texts().into_iter().chain([CODE, include_str!("../bpe.rs"), include_str!("../../../Cargo.toml")]) {
        check_against_tiktoken(text);
    }
}

#[test]
fn knows_every_token_of_tiktoken() {
    for id in 0..100_256 {
        let bytes = CL100K.token_bytes(TokenId(id)).unwrap();
        assert_eq!(cl100k_base_singleton().decode_bytes(&[id]).unwrap(), bytes);
    }
}

#[test]
fn long_pretokens_take_linear_time() {
    for text in ["a".repeat(1 << 20), "ab".repeat(1 << 17), " ".repeat(100_000), "=".repeat(100_000)] {
        check_against_tiktoken(&text);
    }
    let without_marks: String = CHINESE.chars().filter(|character| !",。、".contains(*character)).collect();
    check_against_tiktoken(&without_marks.chars().cycle().take(300_000).collect::<String>());
}

#[test]
fn special_tokens_are_ordinary_text() {
    for (name, id) in CL100K.special_tokens() {
        assert!(!encode(&CL100K, name).contains(&id.0));
        check_against_tiktoken(name);
    }
}

#[test]
fn what_was_encoded_before_does_not_matter() {
    let mut encoder = Encoder::new(&SMALL);
    let words: Vec<String> = (0..40_000).map(|idx| format!(" wrd{}", letters(idx))).collect();
    for word in words.iter().chain(&words) {
        let mut ids = Vec::new();
        encoder.encode(word, &mut ids);
        assert_eq!(decode(&SMALL, &ids), word.as_bytes());
        if word.ends_with('z') {
            assert_eq!(ids, naive_encode(&SMALL, word));
        }
    }
}

fn letters(mut number: usize) -> String {
    let mut word = String::new();
    while number > 0 {
        word.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    word
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn equals_tiktoken_at_the_borders_of_classes(text in border_text()) {
        check_against_tiktoken(&text);
    }

    #[test]
    fn equals_tiktoken_on_any_characters(text in prop::collection::vec(any::<char>(), 0..32)) {
        check_against_tiktoken(&text.into_iter().collect::<String>());
    }

    #[test]
    fn equals_tiktoken_inside_long_runs(text in "[aeth一的国]{0,200}") {
        check_against_tiktoken(&text);
    }

    #[test]
    fn equals_its_slow_twin(text in border_text(), run in "[abent]{0,60}") {
        for text in [&text, &run] {
            prop_assert_eq!(encode(&SMALL, text), naive_encode(&SMALL, text));
        }
    }

    /// Runs of few letters merge in all the ways that overlap.
    #[test]
    fn equals_its_slow_twin_where_merges_overlap(corpus in "[ab ]{40,120}", text in "[ab]{0,60}") {
        let vocabulary = (1..12).rev().find_map(|n_merges| train(Pattern::Cl100k, &[&corpus], 259 + n_merges, &|_| {}).ok());
        let vocabulary = vocabulary.unwrap();
        prop_assert_eq!(encode(&vocabulary, &text), naive_encode(&vocabulary, &text));
    }
}
