//! The tests of the crate. What can be compared with a published implementation is: `tiktoken-rs` for ranks, pattern
//! and merging, `tokenizers` for the exported file. The rest is compared with slow twins that restate the definition.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::sync::LazyLock;

use proptest::prelude::*;
use tiktoken_rs::cl100k_base_singleton;

use super::*;
use crate::characters::{CharKind, KINDS, characters};

static CL100K: LazyLock<Vocabulary> = LazyLock::new(cl100k_base);

/// 512 ids from the mixed text below.
static SMALL: LazyLock<Vocabulary> = LazyLock::new(|| train(Pattern::Cl100k, &texts(), 512, &|_| {}).unwrap());

const ENGLISH: &str = "It is a truth universally acknowledged, that a single man in possession of a good fortune, must \
    be in want of a wife. However little known the feelings or views of such a man may be on his first entering a \
    neighbourhood, this truth is so well fixed in the minds of the surrounding families, that he is considered as the \
    rightful property of some one or other of their daughters. \"My dear Mr. Bennet,\" said his lady to him one day, \
    \"have you heard that Netherfield Park is let at last?\" Mr. Bennet replied that he hadn't.";

const CHINESE: &str = "话说天下大势,分久必合,合久必分。周末七国分争,并入于秦。及秦灭之后,楚、汉分争,又并入于汉。\
    汉朝自高祖斩白蛇而起义,一统天下,后来光武中兴,传至献帝,遂分为三国。推其致乱之由,殆始于桓、灵二帝。\
    桓帝禁锢善类,崇信宦官。及桓帝崩,灵帝即位,大将军窦武、太傅陈蕃共相辅佐。時有宦官曹節等弄權,竇武、陳蕃謀誅之。";

/// Real code, with indentation, operators and line ends.
const CODE: &str = include_str!("scanner.rs");

fn texts() -> Vec<&'static str> {
    [ENGLISH, CHINESE].into_iter().chain(CODE.split("\n\n")).collect()
}

/// What each alternative of a pattern begins or ends with, and what fools a hand-written scanner.
static BORDERS: LazyLock<Vec<String>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../testdata/borders.json")).unwrap());

fn border_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        12 => prop::sample::select(&BORDERS[..]).prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

fn encode(vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    Encoder::new(vocabulary).encode(text, &mut ids);
    ids
}

#[track_caller]
fn check_against_tiktoken(text: &str) {
    let ids = encode(&CL100K, text);
    assert_eq!(ids, cl100k_base_singleton().encode_ordinary(text), "{text:?}");
    assert_eq!(decode(&CL100K, &ids), text.as_bytes());
}

/// An error with its causes, as `main` prints it.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

mod decoding;
mod encoding;
mod exporting;
mod importing;
mod importing_json;
mod scanning;
mod spans;
mod training;
