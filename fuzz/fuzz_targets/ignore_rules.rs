//! The first line is the path that the rules in the others are asked about.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (path, rules) = text.split_once('\n').unwrap_or((text, text));
    determined::fuzzing::ignore_rules(rules, path);
});
