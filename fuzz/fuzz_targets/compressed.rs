//! Compression layers: the first byte chooses one and the reader behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: ingest::fuzz::forgive_guarded_panics(), |bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let name = ["file.gz", "file.zst", "file.bz2"][usize::from(choice % 3)];
    let format = ["jsonl", "warc", "mediawiki", "text"][usize::from(choice / 3 % 4)];
    ingest::fuzz::read(format, name, bytes);
});
