#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| determined::fuzzing::token_store(bytes));
