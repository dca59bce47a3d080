//! Properties of egress: IP address classes, URLs and redaction.

mod address;
mod authority;
mod body_field;
mod redaction;

pub use address::address;
pub use authority::authority;
pub use body_field::body_field;
pub use redaction::redaction;
