//! The memory that a request holds, from its body until its response is sent.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Extensions;
use http::header::CONTENT_TYPE;
use hyper::body::Body as _;
use pinhole_ground::memory::{Holder, MemoryLease, MemoryShare};
use serde::Serialize;

use super::error::ApiError;
use super::held_body::hold;
use crate::app::App;

/// The memory of one request. Clones share it.
///
/// An extension of each request. It belongs to the callers without a key until an extractor knows the user.
#[derive(Clone, Debug)]
pub(super) struct RequestMemory {
    share: MemoryShare,
    leases: Arc<Mutex<Vec<MemoryLease>>>,
}

impl RequestMemory {
    /// The memory of the request with these extensions.
    pub(super) fn of(extensions: &Extensions) -> Result<Self, ApiError> {
        let memory: Option<&Self> = extensions.get();
        memory.cloned().ok_or_else(|| {
            ApiError::internal(&anyhow::anyhow!("the middleware count_memory is missing"))
        })
    }

    /// The share of the request's user.
    pub(super) fn share(&self) -> &MemoryShare {
        &self.share
    }

    /// Counts what is held from now on for this user.
    pub(super) fn set_share(&mut self, share: MemoryShare) {
        self.share = share;
    }

    /// Holds a lease until the response is sent.
    pub(super) fn hold(&self, lease: MemoryLease) {
        self.leases().push(lease);
    }

    fn is_empty(&self) -> bool {
        self.leases().is_empty()
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, Vec<MemoryLease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A response whose JSON is counted until it is sent. The lease counts the value.
pub(super) fn leased_json(
    value: &impl Serialize,
    mut lease: MemoryLease,
) -> Result<Response, ApiError> {
    let json = serde_json::to_vec(value).map_err(|error| ApiError::internal(&error.into()))?;
    lease.shrink_to(json.len());
    let headers = [(CONTENT_TYPE, "application/json")];
    Ok((headers, lease.attach(json)).into_response())
}

/// Middleware that gives each request its memory.
pub(super) async fn count_memory(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let memory = RequestMemory {
        share: app.memory.share(Holder::Keyless),
        leases: Arc::default(),
    };
    request.extensions_mut().insert(memory.clone());
    let response = next.run(request).await;
    // A body of known length is in memory already and needs nothing of the request.
    if memory.is_empty() || response.body().size_hint().exact().is_some() {
        return response;
    }
    hold(response, memory)
}
