//! Fuzzing in small: thousands of damaged inputs from a fixed seed through every reader. `cargo xtask soak` does it in earnest.

use std::fs;
use std::path::Path;

use super::Numbers;
use crate::fuzz::read;

/// What formats are made of, put in anywhere.
const TOKENS: [&[u8]; 24] = [
    b"\n",
    b"\r\n\r\n",
    b"\0",
    b"\xFF",
    b"\xEF\xBB\xBF",
    b"{",
    b"}}",
    b"[[",
    b"]]",
    b"{|\n|",
    b"<ref>",
    b"-{",
    b"\"",
    b"</page>",
    b"<page>",
    b"WARC/1.0\r\n",
    b"Content-Length: 9\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"http://a 1.1.1.1 20230101000000 text/html 5\n",
    b"\x1F\x8B\x08",
    b"\x28\xB5\x2F\xFD",
    b"<!--",
    b"```",
    b"---\n",
];

fn mutated(seed: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(64)).min(bytes.len());
        match numbers.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = numbers.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            4 if at < bytes.len() => bytes[at] = numbers.below(256) as u8,
            _ => {
                let token = TOKENS[numbers.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
    bytes
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn damaged_inputs_are_read_as_far_as_they_go() {
    for (target, n) in [
        ("jsonl", 600),
        ("json", 600),
        ("csv", 600),
        ("text", 600),
        ("pieces", 300),
        ("warc", 900),
        ("mediawiki", 600),
        ("markdown", 600),
        ("html", 300),
        ("parquet", 200),
    ] {
        let seeds = seeds(target);
        let mut numbers = Numbers(7);
        let n_read: usize =
            (0..n).map(|round| read(target, "file", &mutated(&seeds[round % seeds.len()], &mut numbers)).len()).sum();
        assert!(n_read > 0, "{target}");
    }
}

#[test]
fn damaged_compressed_inputs_are_read_as_far_as_they_go() {
    let seeds = seeds("compressed");
    let mut numbers = Numbers(7);
    for round in 0..900 {
        let damaged = mutated(&seeds[round % seeds.len()], &mut numbers);
        let Some((choice, bytes)) = damaged.split_first() else { continue };
        let name = ["file.gz", "file.zst", "file.bz2"][usize::from(choice % 3)];
        read(["jsonl", "warc", "mediawiki", "text"][round % 4], name, bytes);
    }
}
