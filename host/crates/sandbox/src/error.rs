//! Why a call of an engine failed.

use std::time::Duration;

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

use crate::contract::{EngineError, ErrorKind};
use crate::guest_log::GuestLog;
use crate::limits::LimitExceeded;
use crate::network::RequestFailure;
use crate::resolved_settings::SettingProblem;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::fair_queue::QueueFull;
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::memory::MemoryFull;
use pinhole_ground::text::plain;

/// Length of wasmtime's description of a crash, in bytes; a longer one is cut.
const MAX_CRASH_BYTES: usize = 500;

/// Why a call of an engine failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The engine returned an error, or its result is invalid.
    #[error("{}", .error.message)]
    Engine {
        /// For the client.
        error: EngineError,
        /// Why the engine's last request failed.
        failure: Option<Box<RequestFailure>>,
    },
    /// The engine exceeded a limit of the call.
    #[error("the engine was stopped: {0}")]
    Limit(Refusal),
    /// The wall-clock time of the call elapsed.
    #[error("the engine was stopped: it took longer than {0:?}")]
    Deadline(Duration),
    /// The guest trapped, or the host failed while it served the guest.
    #[error("the engine crashed: {0}")]
    Crashed(String),
    #[error("the server is shutting down")]
    ShuttingDown,
    /// No slot became free in time.
    #[error("the server is busy: no engine slot became free within {0:?}")]
    Busy(Duration),
    /// The maximum number of jobs is waiting for a slot.
    #[error("{0}")]
    QueueFull(#[from] QueueFull),
    /// The memory that a guest starts with did not become free in time.
    #[error("{0}")]
    MemoryFull(#[from] MemoryFull),
}

impl Error {
    /// An error that the host reports in place of the engine.
    #[must_use]
    pub fn engine(kind: ErrorKind, message: String) -> Self {
        Self::Engine {
            error: EngineError {
                kind,
                message,
                code: None,
                field: None,
                retry_after_ms: None,
            },
            failure: None,
        }
    }

    /// The result of an engine or of an upstream violates its contract.
    #[must_use]
    pub fn protocol(message: String) -> Self {
        Self::engine(ErrorKind::Protocol, message)
    }

    pub(crate) fn cancelled() -> Self {
        let message = "the job was cancelled".to_owned();
        Self::engine(ErrorKind::Cancelled, message)
    }

    /// Why a guest did not return. A crash quotes the last lines that it wrote.
    pub(crate) fn from_trap(error: &wasmtime::Error, log: &GuestLog) -> Self {
        if let Some(LimitExceeded(refusal)) = error.downcast_ref() {
            return Self::Limit(refusal.clone());
        }
        if let Some(ResourceTableError::Full) = error.downcast_ref() {
            return Self::Limit(Guard::Handles.refuse("it holds more handles than a job may"));
        }
        let crash = match error.downcast_ref::<Trap>() {
            Some(Trap::UnreachableCodeReached) => "it panicked".to_owned(),
            Some(trap) => trap.to_string(),
            None => plain(&error.root_cause().to_string(), MAX_CRASH_BYTES),
        };
        let last_lines = log.last_lines();
        Self::Crashed(if last_lines.is_empty() {
            crash
        } else {
            format!("{crash}; its last lines: {last_lines}")
        })
    }

    /// The kind of refusal that stopped the call or prevented its start; `None` for other errors.
    pub(crate) fn refusal_kind(&self) -> Option<RefusalKind> {
        match self {
            Self::Limit(_) | Self::Deadline(_) | Self::QueueFull(_) | Self::MemoryFull(_) => {
                Some(RefusalKind::Limit)
            }
            Self::Crashed(_) => Some(RefusalKind::Crash),
            Self::Engine { .. } | Self::ShuttingDown | Self::Busy(_) => None,
        }
    }

    /// The guard that stopped the call or prevented its start.
    #[must_use]
    pub fn guard(&self) -> Option<Guard> {
        match self {
            Self::Limit(refusal) => refusal.guard,
            Self::Deadline(_) => Some(Guard::WallTime),
            Self::QueueFull(_) => Some(Guard::Queue),
            Self::MemoryFull(_) => Some(Guard::MemoryOfUser),
            Self::Engine { .. } | Self::Crashed(_) | Self::ShuttingDown | Self::Busy(_) => None,
        }
    }
}

impl From<SettingProblem> for Error {
    fn from(problem: SettingProblem) -> Self {
        Self::Engine {
            error: EngineError {
                kind: ErrorKind::Invalid,
                message: problem.message,
                code: None,
                field: Some(problem.key),
                retry_after_ms: None,
            },
            failure: None,
        }
    }
}
