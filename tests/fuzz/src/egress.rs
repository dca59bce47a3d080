//! Properties of egress: IP address classes, URLs and redaction.

mod address;
mod authority;
mod redaction;

pub use address::address;
pub use authority::authority;
pub use redaction::redaction;
