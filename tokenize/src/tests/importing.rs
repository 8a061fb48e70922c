//! Rank files: what is read, and what is wrong with a line.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

fn rank_file<'t>(tokens: impl IntoIterator<Item = &'t [u8]>) -> String {
    let line = |(rank, token)| format!("{} {rank}\n", STANDARD.encode(token));
    (0..).zip(tokens).map(line).collect()
}

/// All bytes, then `more`.
fn file_with(more: &[&str]) -> String {
    let bytes: Vec<u8> = (0..=255).collect();
    rank_file(bytes.chunks(1).chain(more.iter().map(|token| token.as_bytes())))
}

#[track_caller]
fn check_error(file: &str, message: &str) {
    let error = read_tiktoken(file.as_bytes(), "ranks", Pattern::Cl100k).err().expect("an error");
    assert_eq!(chain(&error), message);
}

#[test]
fn reads_lines_in_any_order() {
    let file = file_with(&["ab", "abc"]);
    let reversed: Vec<&str> = file.lines().rev().collect();
    let (vocabulary, again) = (read_tiktoken(file.as_bytes(), "", Pattern::Cl100k).unwrap(), reversed.join("\n"));
    assert_eq!(vocabulary.token_bytes(TokenId(257)), Some(&b"abc"[..]));
    let again = read_tiktoken(again.as_bytes(), "", Pattern::Cl100k).unwrap();
    assert_eq!(to_tokenizer_json(&again), to_tokenizer_json(&vocabulary));
}

#[test]
fn says_which_line_is_wrong() {
    let shape = "expected a token in base64, one space and a rank";
    check_error("", &format!("ranks, line 1: {shape}"));
    check_error("AA== 0\n\nAQ== 1\n", &format!("ranks, line 2: {shape}"));
    check_error("AA== 0 1\n", &format!("ranks, line 1: {shape}"));
    check_error("AA== 0\nA*== 1", "ranks, line 2: the token is not base64: Invalid symbol 42, offset 1.");
    check_error("AA== 0\n 1", "ranks, line 2: the token is empty");
    check_error("AA== x", "ranks, line 1: the rank \"x\" is not a number below 2^31");
    check_error("AA== -1", "ranks, line 1: the rank \"-1\" is not a number below 2^31");
    check_error("AA== 2147483648", "ranks, line 1: the rank \"2147483648\" is not a number below 2^31");
    check_error("AA== 0\nAQ== 0", "ranks, line 2: rank 0 has been given on line 1");
    check_error("AA== 0\nAQ== 1\nAA== 2", "ranks, line 3: the token has been given on line 1");
}

#[test]
fn says_what_the_file_lacks() {
    let not_bpe = "ranks is not a byte-level BPE vocabulary";
    let full = file_with(&[]);
    check_error(&full.replace(" 9\n", " 900\n"), "ranks: no token has rank 9, but some have higher ranks");
    let (without_last, _) = full.trim_end().rsplit_once('\n').unwrap();
    check_error(without_last, &format!("{not_bpe}: no token stands for the single byte 0xff"));
    check_error(
        &rank_file([&b"a"[..], b"ab"]),
        &format!("{not_bpe}: rank 1 stands for 2 bytes, where the first 256 ranks must be the single bytes"),
    );
    let unreachable =
        "the bytes of rank 256 are not two tokens once every smaller rank is merged, so no text encodes to it";
    check_error(&file_with(&["abc", "ab"]), &format!("{not_bpe}: {unreachable}"));
}
