//! `ImageJob`: a planned job of one of the dialects, and the ways to run it.

use std::sync::Arc;

use axum::response::Response;
use futures_util::FutureExt;
use pinhole_sandbox::{Edit, JobContext};

use super::job_stream::{StreamFormat, stream_response};
use crate::app::App;
use crate::jobs::{CompletedJob, JobPlan, JobRequest};
use crate::store::{FileRow, User};
use crate::web::error::{ApiError, OpenAiError};
use crate::web::keyed_job::KeyedJob;

/// A job that has not started. Boxed, because it passes through several futures.
pub(super) struct ImageJob {
    pub(super) app: Arc<App>,
    pub(super) user: User,
    pub(super) plan: JobPlan,
    pub(super) request: JobRequest,
    /// `None`: the job generates.
    pub(super) edit: Option<Edit>,
    /// Store the images for the user.
    pub(super) is_stored: bool,
    /// The job has a row, and a repeated request gets its images.
    pub(super) idempotency_key: Option<String>,
}

/// The images of a job.
#[derive(Debug)]
pub(super) struct JobOutcome {
    pub(super) completed: CompletedJob,
    /// The stored images, if the job stores them.
    pub(super) files: Vec<FileRow>,
}

impl ImageJob {
    pub(super) async fn run(self: Box<Self>) -> Result<JobOutcome, OpenAiError> {
        self.check_room().await?;
        self.run_in(&JobContext::new(uuid::Uuid::new_v4().to_string()))
            .await
    }

    /// Runs the job while its events are sent.
    pub(super) async fn stream(
        self: Box<Self>,
        format: StreamFormat,
    ) -> Result<Response, OpenAiError> {
        self.check_room().await?;
        let context = JobContext::new(uuid::Uuid::new_v4().to_string());
        let progress = context.progress.subscribe();
        let share = self.app.memory.of(Some(&self.user.id));
        let job = async move { self.run_in(&context).await };
        stream_response(job.boxed(), progress, format, &share).await
    }

    async fn check_room(&self) -> Result<(), ApiError> {
        if !self.is_stored {
            return Ok(());
        }
        let room = self.app.files.require_image_room(&self.user, 0).await;
        room.map_err(ApiError::from)
    }

    async fn run_in(self: Box<Self>, context: &JobContext) -> Result<JobOutcome, OpenAiError> {
        if let Some(key) = self.idempotency_key {
            let job = KeyedJob {
                app: self.app,
                user: self.user,
                plan: self.plan,
                request: self.request,
                edit: self.edit,
                key,
            };
            let (completed, files) = job.run().await?;
            return Ok(JobOutcome { completed, files });
        }
        let app = &self.app;
        let completed = match self.edit {
            None => app.jobs.generate(&self.plan, self.request, context).await,
            Some(edit) => app.jobs.edit(&self.plan, self.request, edit, context).await,
        }?;
        let files = if self.is_stored {
            completed
                .save(&app.files, &app.store, &self.user, None)
                .await
                .map_err(|error| ApiError::internal(&error).without_retry())?
        } else {
            Vec::new()
        };
        Ok(JobOutcome { completed, files })
    }
}
