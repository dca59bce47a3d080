//! The error of a host function of the interface `upstream`.

use tokio::sync::oneshot::error::RecvError;
use tokio::task::JoinError;
use wasmtime::component::ResourceTableError;

use super::pinhole::engine::upstream::Error;
use crate::limits::LimitExceeded;

/// Why a host function failed.
#[derive(Debug)]
pub enum UpstreamError {
    /// Returned to the guest.
    Guest(Error),
    /// Stops the call.
    Trap(wasmtime::Error),
}

impl UpstreamError {
    /// The error for the guest, or the one that stops the call.
    pub(crate) fn into_guest(self) -> wasmtime::Result<Error> {
        match self {
            Self::Guest(error) => Ok(error),
            Self::Trap(error) => Err(error),
        }
    }
}

impl From<Error> for UpstreamError {
    fn from(error: Error) -> Self {
        Self::Guest(error)
    }
}

impl From<LimitExceeded> for UpstreamError {
    fn from(exceeded: LimitExceeded) -> Self {
        Self::Trap(exceeded.into())
    }
}

/// The guest used an invalid handle, or too many.
impl From<ResourceTableError> for UpstreamError {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<wasmtime::Error> for UpstreamError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// A host task was dropped.
impl From<RecvError> for UpstreamError {
    fn from(error: RecvError) -> Self {
        Self::Trap(error.into())
    }
}

/// A Tokio task of the host failed.
impl From<JoinError> for UpstreamError {
    fn from(error: JoinError) -> Self {
        Self::Trap(error.into())
    }
}
