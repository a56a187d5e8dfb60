#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| determined::fuzzing::master_url(text));
