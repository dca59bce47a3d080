//! Properties that hold for any input: one function for each fuzz target.
//!
//! Each function takes bytes, reads its input out of them as its documentation says, and panics if a
//! property is violated. The libFuzzer targets in `libfuzzer/` call them. An ordinary test
//! (`tests/corpus.rs`) calls them with every seed of `corpus/`, and with mutations of the seeds.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic reports a violated property"
)]

mod egress;
mod images;
mod policy;
mod sandbox;
mod workflow;

pub use egress::{address, authority, body_field, redaction};
pub use images::images;
pub use policy::policy;
pub use sandbox::{bodies, component, credential, events, headers, json, multipart, rules};
pub use workflow::workflow;
