//! Parts of the sandbox that `tests/fuzz` tests and benchmarks use directly. Not an interface for other crates.

pub use crate::admission::{check_description, check_kind, check_world};
pub use crate::body_text::BodyText;
pub use crate::call::describe;
pub use crate::compile::compile_portably;
pub use crate::cpu_meter::{CpuMeter, LastComputing};
pub use crate::epoch_clock::EpochClock;
pub use crate::host_task::HostTaskDriver;
pub use crate::instance::Pre;
pub use crate::json_document::Document;
pub use crate::redaction::CallRedactor;
pub use crate::request_body::{RequestBody, header_map};
pub use crate::sandbox::Sandbox;
pub use crate::sse::{Event, EventStream};
pub use crate::state::{CallSetup, State};
