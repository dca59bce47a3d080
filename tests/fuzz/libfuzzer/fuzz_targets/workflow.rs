#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| comfyui::fuzz::workflow(bytes));
