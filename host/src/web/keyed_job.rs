//! Requests for images with an `Idempotency-Key`: each is a job with a row, so that a repeated request gets its images.
//!
//! The first request and a repeated one read the same row and the same files, so their responses have the same images.
//! A client that disconnects does not stop such a job.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::header::HeaderMap;
use http::request::Parts;
use sha2::{Digest, Sha256};

use pinhole_ground::text::hex;
use pinhole_sandbox::Edit;

use super::error::ApiError;
use crate::app::App;
use crate::jobs::{
    AcceptError, BackgroundJob, CompletedJob, JOB_BYTES, JobPlan, JobRecord, JobRequest,
    RequestRecord,
};
use crate::store::{FileRow, Idempotency, JobRow, JobState, User};

/// Length of an idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 200;
const KEY_HEADER: &str = "idempotency-key";
/// How long a response waits for its job: longer than a job waits and runs.
const MAX_WAIT: Duration = Duration::from_hours(31);

/// The client's idempotency key, which may be invalid.
pub(super) struct IdempotencyKey(Result<Option<String>, ApiError>);

/// A request with an idempotency key.
pub(super) struct KeyedJob {
    pub(super) app: Arc<App>,
    pub(super) user: User,
    pub(super) plan: JobPlan,
    pub(super) request: JobRequest,
    /// `None`: the job generates.
    pub(super) edit: Option<Edit>,
    pub(super) key: String,
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parse_key(&parts.headers)))
    }
}

impl IdempotencyKey {
    /// The key, if the request has one.
    pub(super) fn into_key(self) -> Result<Option<String>, ApiError> {
        self.0
    }
}

/// The client's idempotency key.
pub(super) fn parse_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(KEY_HEADER) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if (1..=MAX_KEY_BYTES).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => {
            let detail = format!("Idempotency-Key must have 1 to {MAX_KEY_BYTES} ASCII characters");
            Err(ApiError::invalid("Idempotency-Key", detail))
        }
    }
}

impl KeyedJob {
    /// Runs the job, or waits for the job of an earlier request with the same key. Returns its images.
    pub(super) async fn run(self) -> Result<(CompletedJob, Vec<FileRow>), ApiError> {
        let (app, user) = (self.app.clone(), self.user.clone());
        let row = self.accept().await?;
        app.active_jobs.wait(&row.id, MAX_WAIT).await;
        let ended = app.store.job(&row.id).await?.unwrap_or(row);
        if ended.state != JobState::Done {
            return Err(failure(&ended));
        }
        let loaded = CompletedJob::load(&app.files, &user, &ended).await?;
        loaded.ok_or_else(|| {
            let detail =
                "the images of the request with this Idempotency-Key were deleted: use a new key";
            ApiError::new(StatusCode::CONFLICT, detail).without_retry()
        })
    }

    /// The row of the job with the request's key, which is started unless it exists.
    async fn accept(self) -> Result<JobRow, ApiError> {
        let Self {
            app,
            user,
            plan,
            request,
            edit,
            key,
        } = self;
        let edit = match edit {
            Some(edit) => Some(app.jobs.prepare_sources(&plan, edit).await?),
            None => None,
        };
        let engine = plan.named_engine();
        let record = RequestRecord::new(&request, engine, edit.as_ref()).to_json()?;
        let idempotency = Idempotency {
            key,
            request_hash: hash(&record, edit.as_ref()),
        };
        if let Some(row) = app.store.job_by_key(&user.id, &idempotency.key).await? {
            return require_same(row, &idempotency);
        }
        app.files.require_image_room(&user, 0).await?;
        app.jobs.check(&plan, &request, edit.as_ref())?;
        let place = app.active_jobs.take_place(&user)?;
        let bytes = record.len().saturating_mul(4).saturating_add(JOB_BYTES);
        let memory = app.memory.of(Some(&user.id)).lease(bytes).await?;
        let job = BackgroundJob {
            jobs: app.jobs.clone(),
            active_jobs: app.active_jobs.clone(),
            user,
            plan,
            request,
            record,
            edit,
            idempotency: Some(idempotency.clone()),
            place,
            memory,
        };
        match job.start().await {
            Ok(row) => Ok(row),
            Err(AcceptError::Exists(row)) => require_same(*row, &idempotency),
            Err(error) => Err(error.into()),
        }
    }
}

fn require_same(row: JobRow, requested: &Idempotency) -> Result<JobRow, ApiError> {
    if row.idempotency.as_ref() == Some(requested) {
        return Ok(row);
    }
    Err(ApiError::other_body())
}

/// Forms with the same fields differ in their boundary, so what they mean is compared.
fn hash(record: &str, edit: Option<&Edit>) -> String {
    let mut hash = Sha256::new_with_prefix(record);
    for image in edit
        .iter()
        .flat_map(|edit| edit.sources.iter().chain(&edit.mask))
    {
        hash.update(Sha256::digest(image.bytes()));
    }
    hex(&hash.finalize())
}

/// The response about a job without images. A repeated request would get the same.
fn failure(row: &JobRow) -> ApiError {
    let record = JobRecord::new(row);
    if row.state.is_active() {
        return ApiError::draining();
    }
    let detail = record.error_text().unwrap_or("the job has no images");
    ApiError::of_ended_job(record.error_code().unwrap_or_default(), detail)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn key_is_short_text() {
        let key = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(KEY_HEADER, HeaderValue::from_bytes(value).unwrap());
            parse_key(&headers)
        };
        assert_eq!(parse_key(&HeaderMap::new()).unwrap(), None);
        let longest = "k".repeat(MAX_KEY_BYTES);
        assert_eq!(key(longest.as_bytes()).unwrap(), Some(longest.clone()));
        for invalid in [&b""[..], &[0xff], format!("{longest}k").as_bytes()] {
            assert!(key(invalid).is_err(), "{invalid:?}");
        }
    }
}
