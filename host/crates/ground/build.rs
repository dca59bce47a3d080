//! Sets `cfg(guard_switches)` for the test build of `tests/switch-off`.
//!
//! It is no cargo feature, so no combination of features can enable it, and it refuses any optimized
//! profile, so no release can contain it.

#![allow(
    clippy::disallowed_methods,
    reason = "a build script; the ban is for the server"
)]

fn main() {
    const VARIABLE: &str = "PINHOLE_GUARD_SWITCHES";
    println!("cargo::rustc-check-cfg=cfg(guard_switches)");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    if std::env::var_os(VARIABLE).is_none_or(|value| value != "1") {
        return;
    }
    if std::env::var("PROFILE").as_deref() != Ok("debug") {
        println!("cargo::error={VARIABLE} is for debug builds of tests/switch-off only: unset it");
    }
    println!("cargo::rustc-cfg=guard_switches");
}
