#![no_main]

#[path = "../../smith.rs"]
mod smith;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(component) = smith::component(bytes) {
        pinhole_fuzz::component(&component);
    }
});
