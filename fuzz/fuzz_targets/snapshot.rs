#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foretide_fuzz::snapshot::check(bytes));
