//! `tokenizer.json` as we write it, read by the library that the format comes from.

use super::*;
use tokenizers::pipeline::{EncodeOptions, PipelineTokenizer};

fn hugging_face(vocabulary: &Vocabulary) -> PipelineTokenizer {
    let json = tokenizers::canonicalize_str(&to_tokenizer_json(vocabulary)).unwrap();
    tokenizers::from_json(&json).unwrap()
}

static SMALL_THERE: LazyLock<PipelineTokenizer> = LazyLock::new(|| hugging_face(&SMALL));
static CL100K_THERE: LazyLock<PipelineTokenizer> = LazyLock::new(|| hugging_face(&CL100K));

fn encode_there(tokenizer: &PipelineTokenizer, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode_into(text, &EncodeOptions::default(), &mut ids).unwrap();
    ids.into_iter().map(u32::from).collect()
}

#[test]
fn reads_back_what_it_wrote() {
    for vocabulary in [&*SMALL, &*CL100K] {
        let json = to_tokenizer_json(vocabulary);
        assert_eq!(json, to_tokenizer_json(&from_tokenizer_json(&json).unwrap()));
    }
}

#[test]
fn hugging_face_encodes_and_decodes_alike() {
    for text in texts().into_iter().chain([CODE]) {
        assert_eq!(encode(&SMALL, text), encode_there(&SMALL_THERE, text));
        assert_eq!(encode(&CL100K, text), encode_there(&CL100K_THERE, text));
        assert_eq!(SMALL_THERE.decode(&encode(&SMALL, text), false).unwrap(), text);
    }
}

#[test]
fn hugging_face_finds_the_special_tokens() {
    for (name, id) in SMALL.special_tokens() {
        assert_eq!(encode_there(&SMALL_THERE, name), [id.0]);
    }
}

/// The patterns that the release candidate of `tokenizers` runs: it has no regex engine for others. The bilingual one
/// is compared with a regex engine (`scanning.rs`), and by `cargo xtask peers tokenize` with the stable release.
const PATTERNS: [Pattern; 4] = [Pattern::Gpt2, Pattern::Cl100k, Pattern::Qwen2, Pattern::O200k];

/// What was trained under each pattern, and the same there.
static TRAINED: LazyLock<Vec<(Vocabulary, PipelineTokenizer)>> = LazyLock::new(|| {
    let train = |pattern: Pattern| train(pattern, &texts(), 600, &|_| {}).unwrap();
    PATTERNS
        .into_iter()
        .map(train)
        .map(|vocabulary| {
            let there = hugging_face(&vocabulary);
            (vocabulary, there)
        })
        .collect()
});

#[test]
fn every_pattern_is_read_back() {
    let bilingual = train(Pattern::Bilingual, &texts(), 600, &|_| {}).unwrap();
    let all = TRAINED.iter().map(|(vocabulary, _)| vocabulary).chain([&bilingual]);
    for (vocabulary, pattern) in all.zip(PATTERNS.into_iter().chain([Pattern::Bilingual])) {
        let json = to_tokenizer_json(vocabulary);
        let again = from_tokenizer_json(&json).unwrap();
        assert_eq!(again.pattern(), &pattern);
        assert_eq!(to_tokenizer_json(&again), json);
    }
}

fn is_assigned(character: char) -> bool {
    static UNASSIGNED: LazyLock<HashSet<char>> = LazyLock::new(|| characters(r"\p{Cn}").collect());
    !UNASSIGNED.contains(&character)
}

/// Every character alone between letters, a digit, marks and space.
#[test]
fn hugging_face_puts_every_character_into_the_same_class() {
    for block in (char::MIN..=char::MAX).filter(|&it| is_assigned(it)).collect::<Vec<_>>().chunks(4096) {
        let text: String = block.iter().map(|c| format!("a{c}a {c}1'{c}s ")).collect();
        assert_eq!(encode(&SMALL, &text), encode_there(&SMALL_THERE, &text), "from {:?} on", block[0]);
    }
}

proptest! {
    #[test]
    fn hugging_face_encodes_alike_at_the_borders_of_classes(text in border_text()) {
        // They look for special tokens in text and we do not, and they know characters that Unicode 16 (tiktoken's
        // version and ours) has not assigned: the two differences there are.
        let text: String = text.replace("<|endoftext|>", "<|").chars().filter(|&it| is_assigned(it)).collect();
        prop_assert_eq!(encode(&CL100K, &text), encode_there(&CL100K_THERE, &text));
        for (vocabulary, there) in TRAINED.iter() {
            prop_assert_eq!(encode(vocabulary, &text), encode_there(there, &text));
        }
    }
}
