//! The sandbox: runs image engines, which are hostile WebAssembly components, within limits and grants.
//!
//! # What it prevents
//!
//! An engine, the upstream that it calls and the component's author may all be hostile. An engine must
//! not read files, environment variables or secrets, connect to a host that no administrator granted,
//! exhaust memory or CPU, or gain permissions when its file is replaced.
//!
//! # How
//!
//! - *Admission* checks size, kind, imports and the component's description; a child process with limits
//!   *compiles* it.
//! - A component serves within a [grant]: the server compares its declaration with the grant before it
//!   inserts it into the [`Engines`].
//! - Each call gets a fresh instance, which is dropped when the call ends. *Limits* bound its memory, CPU
//!   time, wall-clock time and host calls.
//! - Host functions are a guest's only way out: requests to granted upstreams and image hosts, images, progress and log
//!   lines. Secrets stay with the host and are redacted from everything that a guest reads or returns.
//!
//! # Map
//!
//! | modules | purpose |
//! |---|---|
//! | `engines`, `component`, `pending_approval` | which components serve |
//! | `admission`, `component_files`, `component_code`, `compile`, `compiled_store` | from a file to a validated component |
//! | [`grant`], [`engine_settings`], `resolved_settings` | what an engine may do, and its settings |
//! | `sandbox`, `wasmtime_engine`, `epoch_clock`, `guest_runtime`, `queue`, `limits` | what calls share, and their limits |
//! | `call`, `supervisor`, `running_call`, `cpu_meter`, `call_usage`, `instance`, `job_context`, `output`, `traffic_recorder` | one call |
//! | `state`, `budget`, `memory_budget`, `network`, `redaction`, `host_task`, `resources` | what host functions know about it |
//! | `upstream`, `outgoing_request`, `image_request`, `request_body`, `json_document`, `sse`, `images`, `job`, `log` | host functions |
//! | [`contract`] | the generated types of `wit/engine.wit` |

mod admission;
mod body_text;
mod budget;
mod call;
mod call_usage;
mod compile;
mod compiled_store;
mod component;
mod component_code;
mod component_files;
pub mod contract;
mod cpu_meter;
pub mod engine_settings;
mod engines;
mod epoch_clock;
mod error;
mod foreign_content;
pub mod grant;
mod guest_log;
mod guest_memory;
mod guest_runtime;
mod host_task;
mod image_request;
mod images;
mod instance;
#[doc(hidden)]
pub mod internals;
mod job;
mod job_context;
mod job_journal;
mod json_document;
mod limits;
mod log;
mod memory_budget;
mod network;
mod orphan_request;
mod outgoing_request;
mod output;
mod parameters;
mod pending_approval;
mod queue;
mod redaction;
mod request_body;
mod resolved_settings;
mod resources;
mod running_call;
mod sandbox;
mod sse;
mod state;
mod supervisor;
mod traffic_recorder;
mod upstream;
mod wasmtime_engine;

pub use admission::{MAX_COUNT, check_engine_name, digest};
pub use call::Call;
pub use call_usage::{CallUsage, Traffic};
pub use compile::{
    CompileLimits, Compiler, MAX_CODE_BYTES, MAX_COMPILES, MAX_URGENT, compile_input,
};
pub use component::{Component, RejectedFile};
pub use component_code::PROGRESS_TARGET;
pub use component_files::{
    ListedFiles, MAX_COMPONENT_BYTES, MAX_FILES, list_components, read_component,
};
pub use engines::{Engines, Rollout};
pub use error::Error;
pub use guest_log::{EngineLog, LogLevel, LogLine};
pub use instance::Edit;
pub use job_context::{JobContext, JobMemory, Progress, Usage};
pub use job_journal::{JobComponent, JobJournal, JournalEntry, PendingEntry};
pub use limits::Limits;
pub use network::{FailureSubject, RequestFailure};
pub use output::{EngineReport, JobOutput, MAX_MODEL_BYTES, OutputImage};
pub use parameters::{InvalidParameter, check_parameters};
pub use pending_approval::PendingApproval;
pub use queue::MAX_WAITING_PER_SLOT;
pub use resolved_settings::{ResolvedSettings, SettingProblem};
pub use sandbox::Options;
pub use traffic_recorder::{
    RecordedBytes, RecordedReport, RecordedRequest, StepContent, TrafficRecorder, TrafficStep,
};
