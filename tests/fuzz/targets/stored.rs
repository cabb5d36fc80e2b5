#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| medhook_fuzz::holds("stored", data));
