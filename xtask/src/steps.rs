//! Announces each step on standard error, so that a person knows what a long command does.

use std::path::Path;

/// Announces a step.
pub(crate) fn announce(step: &str) {
    eprintln!("xtask: {step}");
}

/// Announces a build, and how long it takes if `output` does not exist yet.
pub(crate) fn announce_build(step: &str, output: &Path, first_build: &str) {
    if output.exists() {
        announce(step);
    } else {
        announce(&format!("{step} (first build: about {first_build})"));
    }
}
