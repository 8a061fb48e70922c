//! `tokenizer.json` files of others: read as their library reads them, or refused with the reason.

use serde_json::{Value, json};
use tokenizers::pipeline::{EncodeOptions, PipelineTokenizer};

use unicode_normalization::UnicodeNormalization;

use super::*;

/// A file as another tool might have written it, to be changed.
fn file(pattern: Pattern) -> Value {
    let vocabulary = train(pattern, &texts(), 600, &|_| {}).unwrap();
    let mut file: Value = serde_json::from_str(&to_tokenizer_json(&vocabulary)).unwrap();
    file["added_tokens"] = json!([]);
    file
}

fn there(file: &Value) -> PipelineTokenizer {
    tokenizers::from_json(&tokenizers::canonicalize_str(&file.to_string()).unwrap()).unwrap()
}

#[track_caller]
fn check_alike(file: &Value) -> Vocabulary {
    let vocabulary = from_tokenizer_json(&file.to_string()).unwrap();
    // Their normalizers are not in this build: the texts are composed here, if they are to be.
    let there = there(&{
        let mut file = file.clone();
        file["normalizer"] = Value::Null;
        file
    });
    let composed = |text: &str| if vocabulary.is_nfc() { text.nfc().collect() } else { text.to_owned() };
    // They look for special tokens in the text, we do not.
    for text in texts().into_iter().chain(BORDERS.iter().map(|text| &text[..])).filter(|text| !text.starts_with("<|")) {
        let mut expected = Vec::new();
        there.encode_into(&composed(text), &EncodeOptions::default(), &mut expected).unwrap();
        assert_eq!(encode(&vocabulary, text), expected.into_iter().map(u32::from).collect::<Vec<_>>(), "{text:?}");
    }
    let json = to_tokenizer_json(&vocabulary);
    assert_eq!(to_tokenizer_json(&from_tokenizer_json(&json).unwrap()), json);
    vocabulary
}

#[test]
fn gpt2_has_its_pattern_built_in_and_merges_as_texts() {
    let mut file = file(Pattern::Gpt2);
    let merges = file["model"]["merges"].as_array().unwrap().iter();
    let merges = merges.map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    file["model"]["merges"] = merges.collect();
    file["pre_tokenizer"] = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true });
    file["added_tokens"] = json!([added(597, "<|endoftext|>", true)]);
    file["model"]["vocab"]["<|endoftext|>"] = json!(597);
    let vocabulary = check_alike(&file);
    assert_eq!(vocabulary.pattern(), &Pattern::Gpt2);
    assert_eq!((vocabulary.end_of_text(), vocabulary.label(false)), (TokenId(597), TokenId(598)));
    assert_eq!(vocabulary.n_ids(), 600);
}

#[test]
fn qwen_composes_characters_first() {
    let mut file = file(Pattern::Qwen2);
    file["normalizer"] = json!({ "type": "NFC" });
    file["added_tokens"] = json!([added(597, "<|im_start|>", true), added(598, "<tool_call>", false)]);
    let vocabulary = check_alike(&file);
    assert!(vocabulary.is_nfc());
    assert_eq!(encode(&vocabulary, "e\u{301}"), encode(&vocabulary, "é"));
    assert_eq!(decode(&vocabulary, &encode(&vocabulary, "e\u{301}")), "é".as_bytes());
    assert_eq!(vocabulary.token_bytes(TokenId(598)), Some(&b"<tool_call>"[..]));
    assert_eq!(vocabulary.end_of_text(), TokenId(599));
}

#[test]
fn ids_may_be_given_in_any_order() {
    for pattern in [Pattern::Cl100k, Pattern::O200k] {
        let mut file = file(pattern);
        for id in file["model"]["vocab"].as_object_mut().unwrap().values_mut() {
            // Three ids in front and one behind each token are left out.
            *id = json!(3 + 2 * ((id.as_u64().unwrap() * 7) % 597));
        }
        let vocabulary = check_alike(&file);
        assert_eq!(vocabulary.n_ids(), 3 + 2 * 596 + 1 + 3);
        assert_eq!(vocabulary.token_bytes(TokenId(0)), None);
        assert_eq!(vocabulary.token_bytes(TokenId(4)), None);
        let text = texts().concat();
        assert_eq!(decode(&vocabulary, &encode(&vocabulary, &text)), text.as_bytes());
    }
}

/// Files made from ranks name every pair of tokens that makes a token.
#[test]
fn a_token_may_have_several_merges_side_by_side() {
    let mut file = file(Pattern::Cl100k);
    let vocab = file["model"]["vocab"].clone();
    let mut tokens: Vec<(&str, u64)> =
        vocab.as_object().unwrap().iter().map(|(k, v)| (&k[..], v.as_u64().unwrap())).collect();
    tokens.sort_unstable_by_key(|&(_, id)| id);
    let mut merges = Vec::new();
    for (token, id) in tokens {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if [left, right].iter().all(|part| vocab[part].as_u64().is_some_and(|part| part < id)) {
                merges.push(json!([left, right]));
            }
        }
    }
    assert!(merges.len() > file["model"]["merges"].as_array().unwrap().len());
    file["model"]["merges"] = json!(merges);
    file["model"]["ignore_merges"] = json!(true);
    check_alike(&file);
}

fn added(id: u32, content: &str, special: bool) -> Value {
    json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": special })
}

#[track_caller]
fn check_error(message: &str, change: impl FnOnce(&mut Value)) {
    let mut file = file(Pattern::Cl100k);
    change(&mut file);
    let error = from_tokenizer_json(&file.to_string()).err().expect("an error");
    assert!(chain(&error).contains(message), "{}", chain(&error));
}

#[test]
fn what_cannot_be_run_is_named() {
    check_error("unknown field `versions`", |file| file["versions"] = json!(1));
    check_error("unknown variant `Lowercase`", |file| file["normalizer"] = json!({ "type": "Lowercase" }));
    check_error("model.type is not supported", |file| file["model"]["type"] = json!("Unigram"));
    check_error("model.byte_fallback is not supported", |file| file["model"]["byte_fallback"] = json!(true));
    check_error("model.dropout is not supported", |file| file["model"]["dropout"] = json!(0.1));
    check_error("the pattern \"(\" cannot be run", |file| {
        file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("(");
    });
    check_error("a Split that is MergedWithNext with invert = false", |file| {
        file["pre_tokenizer"]["pretokenizers"][0]["behavior"] = json!("MergedWithNext");
    });
    check_error("it does not end with ByteLevel", |file| {
        file["pre_tokenizer"]["pretokenizers"].as_array_mut().unwrap().pop();
    });
    check_error("unknown variant `Whitespace`", |file| file["pre_tokenizer"] = json!({ "type": "Whitespace" }));
    check_error("puts a space in front", |file| {
        file["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = json!(true);
    });
    check_error("the added token \"  \" is ordinary text", |file| {
        file["added_tokens"] = json!([added(900, "  ", false)]);
    });
}

#[test]
fn what_is_wrong_with_tokens_and_merges_is_named() {
    check_error("the tokens \"a\" and \"b\" have the same id 98", |file| file["model"]["vocab"]["a"] = json!(98));
    check_error("have the same id 98", |file| file["added_tokens"] = json!([added(98, "<s>", true)]));
    check_error("the tokens \"<s>\" and \"<t>\" have the same id 900", |file| {
        file["added_tokens"] = json!([added(900, "<s>", true), added(900, "<t>", true)]);
    });
    check_error("the token \"a\" has the id 4294967295", |file| file["model"]["vocab"]["a"] = json!(u32::MAX));
    check_error("the token \"中\" has a character that stands for no byte", |file| {
        file["model"]["vocab"]["中"] = json!(900);
    });
    check_error("the token \"qqqq\" is made by no merge", |file| file["model"]["vocab"]["qqqq"] = json!(900));
    check_error("no token stands for the single byte 0x00", |file| {
        file["model"]["vocab"].as_object_mut().unwrap().remove("\u{100}").unwrap();
    });
    check_error("merge 0 (counted from 0) of \"q\" and \"Q\": \"qQ\" is not in the vocab", |file| {
        file["model"]["merges"][0] = json!(["q", "Q"]);
    });
    check_error("merge 3 (counted from 0) of \"§§\" and \"a\": \"§§\" is not in the vocab", |file| {
        file["model"]["merges"][3] = json!("§§ a");
    });
    check_error("\"ab\" is no merge", |file| file["model"]["merges"][0] = json!("ab"));
    check_error("a merge has two parts", |file| file["model"]["merges"][0] = json!(["a", "b", "c"]));
    check_error("which an earlier merge with others in between makes too", |file| {
        let first = file["model"]["merges"][0].clone();
        file["model"]["merges"].as_array_mut().unwrap().push(first);
    });
    // The last merge first: its parts are not there yet.
    check_error("of parts that the merges before it do not leave", |file| {
        let merges = file["model"]["merges"].as_array_mut().unwrap();
        let long = merges.iter().position(|pair| pair[0].as_str().unwrap().chars().count() > 2).unwrap();
        let long = merges.remove(long);
        merges.insert(0, long);
    });
}

#[test]
fn a_token_that_is_there_twice_is_named() {
    let json = file(Pattern::Cl100k).to_string().replacen("\"vocab\":{", "\"vocab\":{\"a\":900,", 1);
    let error = from_tokenizer_json(&json).err().expect("an error");
    assert_eq!(chain(&error), "the token \"a\" is there twice, with the ids 900 and 97");
}

#[test]
fn a_file_cut_anywhere_is_an_error_with_its_place() {
    let json = to_tokenizer_json(&SMALL);
    for end in (0..json.trim_end().len()).filter(|&end| json.is_char_boundary(end)).step_by(97) {
        let message = chain(&from_tokenizer_json(&json[..end]).err().expect("an error"));
        assert!(message.contains("line 1 column"), "{message}");
    }
}

proptest! {
    /// Any change of one character is an error or a vocabulary, never a panic.
    #[test]
    fn a_damaged_file_never_panics(at in 0.0..1.0_f64, put in prop::sample::select(&["\"", "0", "9", "a", "{", "[", ",", "", "Ġ"][..])) {
        let json = to_tokenizer_json(&SMALL);
        let at = (at * json.len() as f64) as usize;
        let at = (0..=at).rev().find(|&at| json.is_char_boundary(at)).unwrap();
        let rest = json[at..].chars().next().map_or(0, char::len_utf8);
        let damaged = [&json[..at], put, &json[at + rest..]].concat();
        if let Ok(vocabulary) = from_tokenizer_json(&damaged) {
            prop_assert_eq!(decode(&vocabulary, &encode(&vocabulary, "Damage 损坏")), "Damage 损坏".as_bytes());
        }
    }
}
