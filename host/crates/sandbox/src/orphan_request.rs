//! Orphan requests: what a cancelled job has sent, and its upstream still works on.
//!
//! Some image servers make one image at a time, and do not stop when a client closes the connection. If the
//! next job were sent then, it would wait behind an image without a reader, and so would all after it. So the
//! request of a cancelled job stays open, at most for the time that the job had, and the job's place among those
//! of its group stays occupied until the server has responded.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use crate::host_task::describe_crash;
use crate::job_context::JobContext;
use crate::resources::{ResponseResource, SendError};
use pinhole_egress as egress;
use pinhole_ground::fair_queue::Permit;

/// The place of a call among those that run. Set as soon as it runs, and free after the last clone is dropped.
pub(crate) type Place = Arc<OnceLock<Permit>>;

/// A request of a call, in a task of its own. Dropping it stops the request, unless the job is cancelled.
pub(crate) struct OrphanRequest {
    pub(crate) task: JoinHandle<Result<ResponseResource, SendError>>,
    pub(crate) engine: String,
    pub(crate) context: JobContext,
    pub(crate) place: Place,
}

impl Future for OrphanRequest {
    type Output = Result<ResponseResource, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(context).map(|joined| {
            let crashed = |crash| egress::Error::Disconnected(describe_crash(&crash)).into();
            joined.unwrap_or_else(|crash| Err(crashed(crash)))
        })
    }
}

impl Drop for OrphanRequest {
    fn drop(&mut self) {
        let (context, engine) = (&self.context, &self.engine);
        if self.task.is_finished() {
            return;
        }
        if !context.cancel.is_cancelled() {
            return self.task.abort();
        }
        if context.usage.accepts_cancellation() {
            return;
        }
        if let Some(permit) = self.place.get() {
            permit.linger();
        }
        context.works_on.cancel();
        let job = &context.job;
        tracing::warn!(
            job,
            "job {job} was cancelled, but the upstream of engine {engine} cannot be stopped and continues: its place \
             stays occupied until it has finished"
        );
    }
}
