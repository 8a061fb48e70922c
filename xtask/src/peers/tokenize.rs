//! Tokenize's tasks, and which rival takes part in which, with how much of the input.

use super::Places;
use super::measure::run_ours;
use super::systems::{ALL, Contest, RUNS, System, Task, Unit};

pub(super) static TOKENIZE: Contest = Contest {
    name: "tokenize",
    title: "Tokenize beside its rivals",
    about: "\
Rates are per second of CPU time on one thread, all of it counted that a process uses, from texts in memory to tokens in memory; a fresh
process for each run, the systems in turns. The vocabulary is cl100k_base for all, loaded before the clock starts. Cold is the first pass
over texts that the process has not seen, warm the second pass over the same. Texts are documents as they are, a few kB each, and in the
tasks called long the same documents put together until they are 1 MB long. A rival that is too slow for all documents gets a prefix of the
same shuffled documents. Every id that a rival gives is compared with ours. How each rival is called, and why so, is in
`xtask/src/peers/tokenizers_driver.py`.

train-vocab: 64,000 ids from all documents of both languages with our bilingual pattern, by one run each; the rival also encodes the Chinese
documents with the vocabulary that we trained, to compare our pattern with a regular expression engine's reading of it.
",
    example: "encode",
    settings: None,
    tasks: &TASKS,
    systems: &SYSTEMS,
};

const TASKS: [Task; 7] = [
    encoding("en-cold", "en.jsonl"),
    encoding("zh-cold", "zh.jsonl"),
    encoding("en-warm", "en.jsonl"),
    encoding("zh-warm", "zh.jsonl"),
    encoding("en-cold-long", "en.jsonl"),
    encoding("zh-cold-long", "zh.jsonl"),
    Task {
        name: "train-vocab",
        // The documents of both languages.
        input: "pipeline.jsonl.zst",
        unit: Unit::Megabytes,
        // Minutes.
        runs: 1,
        compared: Some("the Chinese ones by the vocabulary that moso trained"),
        is_from_disk: false,
    },
];

const fn encoding(name: &'static str, input: &'static str) -> Task {
    let compared = Some("all of them");
    Task { name, input, unit: Unit::Megabytes, runs: RUNS, compared, is_from_disk: false }
}

const DRIVER: &str = "tokenizers_driver.py";

const ENCODING: [(&str, f64); 6] = [
    ("en-cold", ALL),
    ("zh-cold", ALL),
    ("en-warm", ALL),
    ("zh-warm", ALL),
    ("en-cold-long", ALL),
    ("zh-cold-long", ALL),
];

const SYSTEMS: [System; 6] = [
    System { name: "gigatoken", environment: "tokenizers", driver: DRIVER, tasks: &ENCODING },
    System { name: "fastokens", environment: "tokenizers", driver: DRIVER, tasks: &ENCODING },
    System { name: "tokenizers-1.0rc3", environment: "tokenizers-1.0rc3", driver: DRIVER, tasks: &ENCODING },
    System { name: "bpe-openai", environment: "tokenizers", driver: DRIVER, tasks: &ENCODING },
    System { name: "tiktoken", environment: "tokenizers", driver: DRIVER, tasks: &ENCODING },
    System {
        name: "tokenizers",
        environment: "tokenizers",
        driver: DRIVER,
        tasks: &[
            ("en-cold", 30.0),
            ("zh-cold", ALL),
            ("en-warm", 15.0),
            ("zh-warm", 15.0),
            ("en-cold-long", 30.0),
            ("zh-cold-long", ALL),
            ("train-vocab", ALL),
        ],
    },
];

/// Lets our program write the vocabulary that all systems load, and the pattern that is trained with, into the scratch folder.
pub(super) fn write_vocabulary(places: &Places) -> anyhow::Result<()> {
    run_ours(places, "tokenizer-json", &places.inputs).map(drop)
}
