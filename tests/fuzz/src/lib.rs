//! What has to hold whatever comes in: one function for each fuzz target.
//!
//! Each takes bytes, reads its input out of them as its first lines say, and panics when a property
//! is broken. The libFuzzer targets in `fuzz/` call them, and so does an ordinary test with every
//! file of `fuzz/corpus`. They stand beside the code that they try; the engine `comfyui` has its own.

mod pictures;

pub use crate::egress::fuzz::{address, authority, redaction};
pub use crate::engine::fuzz::{component, events, headers, json, multipart};
pub use crate::grant::fuzz::policy;
pub use pictures::pictures;
