//! Vocabularies of others, those that are broken, and tokens that go with another vocabulary.

use std::fs;

use corpus::Manifest;

use crate::harness::{Bench, moso};

const TRAINED: &str = "[tokenizer.train]\nids = 1024\nsample_bytes = \"500K\"\nlanguage = { en = 0.535, zh = 0.465 }";

/// A bench whose vocabulary is the file of another run, changed.
fn with_file(change: impl FnOnce(&str) -> String) -> Bench {
    let bench = Bench::new();
    bench.succeed("ingest", "out");
    bench.succeed("tokenizer", "out");
    let json = fs::read_to_string(bench.path("out/tokenizer/tokenizer.json")).unwrap();
    fs::write(bench.path("theirs.json"), change(&json)).unwrap();
    bench.edit(TRAINED, "[tokenizer]\nimport = \"theirs.json\"");
    bench
}

#[test]
fn the_tokenizer_of_another_tool_can_be_imported() {
    // As GPT-2's is written: the pattern built in, special tokens of its own, composed characters.
    let bench = with_file(|json| {
        let mut file: serde_json::Value = serde_json::from_str(json).unwrap();
        file["pre_tokenizer"] =
            serde_json::json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true });
        file["normalizer"] = serde_json::json!({ "type": "NFC" });
        for (token, content) in file["added_tokens"].as_array_mut().unwrap().iter_mut().zip(["<s>", "</s>", "<pad>"]) {
            token["content"] = content.into();
        }
        file.to_string()
    });
    for stage in ["tokenizer", "tokenize", "mix"] {
        bench.succeed(stage, "out");
    }
    let manifest = Manifest::read(&bench.path("out/tokenizer")).unwrap();
    assert_eq!(manifest.details["ids"], 1024 + 3);
    let output = moso().arg("inspect").arg(bench.path("out/tokens")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("bytes_in_parts") && text.contains("part-00000.arrow"), "{text}");
}

#[test]
fn a_tokenizer_that_cannot_be_used_is_named_with_its_place() {
    for (what, expected) in [
        ("cut", "line 1 column"),
        ("merge", "merge 0 (counted from 0) of \"zz\" and \"q\": \"zz\" is not in the vocab"),
        ("id", "have the same id 98"),
        ("pattern", "the pattern \"(\" cannot be run"),
        ("byte", "is not UTF-8 from byte 0 on"),
    ] {
        let bench = with_file(|json| {
            let mut file: serde_json::Value = serde_json::from_str(json).unwrap();
            match what {
                "cut" => return json[..json.len() / 2].to_owned(),
                "merge" => file["model"]["merges"][0] = serde_json::json!(["zz", "q"]),
                "id" => file["model"]["vocab"]["a"] = 98.into(),
                "pattern" => file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(".into(),
                _ => {}
            }
            file.to_string()
        });
        if what == "byte" {
            fs::write(bench.path("theirs.json"), b"\xFF").unwrap();
        }
        bench.fail("tokenizer", "out", 2, &["theirs.json", expected]);
    }
}

#[test]
fn tokens_of_another_vocabulary_are_refused_downstream() {
    let bench = Bench::new();
    for stage in ["ingest", "tokenizer", "tokenize", "mix"] {
        bench.succeed(stage, "out");
    }
    bench.edit("ids = 1024", "ids = 1025");
    bench.fail("mix", "out", 2, &["tokenizer was made from other settings than now: run `moso tokenizer` first"]);
    bench.succeed("tokenizer", "out");
    bench.fail("mix", "out", 2, &["tokens was made from other tokenizer than now: run `moso tokenize` first"]);
    bench.edit("ids = 1025", "ids = 1024");
    bench.fail("tokenize", "out", 2, &["tokenizer was made from other settings than now"]);
    // A tokenizer put in the place of another: the manifest beside it tells.
    bench.edit("ids = 1024", "ids = 1025");
    let json = bench.path("out/tokenizer/tokenizer.json");
    let changed = fs::read_to_string(&json).unwrap().replace("<|true|>", "<|yes!|>");
    fs::write(&json, changed).unwrap();
    let verify = moso().arg("verify").arg(bench.path("out")).output().unwrap();
    crate::harness::expect_failure(verify, 3, &["tokenizer.json"]);
}

#[test]
fn a_rank_file_of_an_unknown_name_needs_a_pattern() {
    let bench = Bench::new();
    let ranks: String = (0..=255_u8).map(|byte| format!("{} {byte}\n", base64(&[byte]))).collect();
    fs::write(bench.path("bytes.tiktoken"), &ranks).unwrap();
    bench.edit(TRAINED, "[tokenizer]\nimport = \"bytes.tiktoken\"");
    bench.fail("ingest", "out", 2, &["bytes.tiktoken does not say how its texts are cut", "\"o200k\""]);
    bench.edit("import = \"bytes.tiktoken\"", "import = \"bytes.tiktoken\"\npattern = \"(\"");
    bench.fail("ingest", "out", 2, &["the pattern \"(\" cannot be run"]);
    bench.edit("pattern = \"(\"", "pattern = \"o200k\"");
    for stage in ["ingest", "tokenizer", "tokenize"] {
        bench.succeed(stage, "out");
    }
    let tokens = Manifest::read(&bench.path("out/tokens")).unwrap();
    for row in tokens.counts {
        // A token for every byte, the end of every document, and the label of propositions.
        let n_more = row.amount("tokens") - row.amount("bytes");
        assert_eq!(n_more % row.amount("documents"), 0);
        assert!((1..=2).contains(&(n_more / row.amount("documents"))));
    }
}

/// Of one byte.
fn base64(byte: &[u8; 1]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let [byte] = *byte;
    let [first, second] = [byte >> 2, (byte & 3) << 4].map(|six| char::from(LETTERS[usize::from(six)]));
    format!("{first}{second}==")
}
