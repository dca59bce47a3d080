//! The list of jobs.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use pinhole_ground::text::plain;

use crate::app::App;
use crate::jobs::{JobRecord, MAX_RECORD_BYTES};
use crate::store::{JobFilter, JobState};
use crate::web::auth::User;
use crate::web::error::ApiError;
use crate::web::extractors::Query;
use crate::web::request_memory::leased_json;

const DEFAULT_PAGE_JOBS: u32 = 50;
/// Jobs on a page.
const MAX_PAGE_JOBS: u32 = 100;
/// Memory of a job's row and its JSON, in bytes: mostly the request.
const MAX_ROW_BYTES: usize = MAX_RECORD_BYTES + (64 << 10);
/// Length of a state that an error repeats, in bytes.
const MAX_STATE_BYTES: usize = 60;

const ACTIVE: [JobState; 2] = [JobState::Waiting, JobState::Running];
const ENDED: [JobState; 4] = [
    JobState::Done,
    JobState::Failed,
    JobState::Cancelled,
    JobState::Interrupted,
];

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct JobQuery {
    /// `active`, `ended`, or one state. Default: all.
    state: Option<String>,
    /// `false`: the jobs of all users, for administrators. Default: true.
    mine: Option<bool>,
    /// For administrators: the jobs of the user with this id.
    user: Option<String>,
    /// Only jobs of this engine, by the binding's name.
    engine: Option<String>,
    /// `next` of the previous page.
    cursor: Option<String>,
    /// Jobs on a page. Default: 50.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct JobList {
    /// Newest first.
    jobs: Vec<JobRecord>,
    /// The cursor of the next page; null on the last.
    #[schema(required = true)]
    next: Option<String>,
}

/// `GET /api/v1/jobs`
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    tag = "jobs",
    operation_id = "list_jobs",
    summary = "List the caller's jobs, newest first. Administrators can list those of all users, without prompts",
    params(JobQuery),
    responses(
        (status = 200, description = "a page of jobs", body = JobList),
        (status = 403, description = "the jobs of other users, and the caller is not an administrator"),
    ),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    User(user): User,
    Query(query): Query<JobQuery>,
) -> Result<Response, ApiError> {
    let states = parse_states(query.state.as_deref())?;
    let limit = query.limit.unwrap_or(DEFAULT_PAGE_JOBS);
    if !(1..=MAX_PAGE_JOBS).contains(&limit) {
        let detail = format!("limit must be a number from 1 to {MAX_PAGE_JOBS}");
        return Err(ApiError::invalid("limit", detail));
    }
    let before = query.cursor.as_deref();
    if before.is_some_and(|cursor| uuid::Uuid::try_parse(cursor).is_err()) {
        let detail = "cursor must be `next` of the previous page";
        return Err(ApiError::invalid("cursor", detail));
    }
    let is_mine = query.user.is_none() && query.mine.unwrap_or(true);
    if !is_mine && user.role != "admin" {
        return Err(ApiError::prohibited());
    }
    let user_id = if is_mine {
        Some(user.id.as_str())
    } else {
        query.user.as_deref()
    };
    // One more shows whether there is a next page.
    let bytes = (limit as usize + 1).saturating_mul(MAX_ROW_BYTES);
    let mut lease = app.memory.of(Some(&user.id)).lease(bytes).await?;
    let filter = JobFilter {
        user_id,
        binding: query.engine.as_deref(),
        states,
        before,
        limit: limit + 1,
    };
    let mut rows = app.store.jobs(filter).await?;
    let has_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| has_more);
    let next = next.map(|(row, _)| row.id.clone());
    let texts = rows.iter().map(|(row, _)| row.text_bytes());
    // The rows, and their JSON.
    lease.shrink_to(texts.sum::<usize>().saturating_mul(2));
    let records = rows.iter().map(|(row, user_name)| {
        let mut record = app.active_jobs.record(row).for_viewer(&user);
        record.user_name = (!is_mine).then(|| user_name.clone());
        record
    });
    // A job may have gone on since its row was written.
    let jobs = records
        .filter(|record| states.contains(&record.state))
        .collect();
    leased_json(&JobList { jobs, next }, lease)
}

fn parse_states(name: Option<&str>) -> Result<&'static [JobState], ApiError> {
    let Some(name) = name else {
        return Ok(&JobState::ALL);
    };
    match name {
        "active" => return Ok(&ACTIVE),
        "ended" => return Ok(&ENDED),
        _ => {}
    }
    let mut states = JobState::ALL.iter();
    match states.find(|state| state.name() == name) {
        Some(state) => Ok(std::slice::from_ref(state)),
        None => {
            let names = JobState::ALL.map(JobState::name).join(", ");
            let name = plain(name, MAX_STATE_BYTES);
            let detail = format!("state is {name}: it must be active, ended or one of {names}");
            Err(ApiError::invalid("state", detail))
        }
    }
}
