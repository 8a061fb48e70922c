//! Values parted by commas.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: ingest::fuzz::forgive_guarded_panics(), |bytes: &[u8]| {
    ingest::fuzz::read("csv", "file", bytes);
});
