//! Lists of the caller's chats.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::answer::{Answer, Line};
use super::failed;
use crate::app::App;
use crate::store::{ChatFilter, MAX_CHATS};
use crate::web::auth;
use crate::web::error::ApiError;

/// Chats on a page.
///
/// Source: Open WebUI `routers/chats.py`.
const PAGE_CHATS: u32 = 60;
/// Length of a text to look for, in bytes.
const MAX_SEARCH_BYTES: usize = 500;

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// From 1; without it the whole list.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// Those at the top too.
    include_pinned: Option<bool>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Search {
    /// What a title or a message has to contain.
    #[param(max_length = 500)]
    text: String,
    /// From 1.
    #[param(minimum = 1)]
    page: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Archived {
    /// What a title or a message has to contain.
    #[param(max_length = 500)]
    query: Option<String>,
    /// From 1.
    #[param(minimum = 1)]
    page: Option<u32>,
}

/// `GET /api/v1/chats/`: the caller's chats that are neither archived nor pinned.
#[utoipa::path(
    get,
    path = "/api/v1/chats/",
    tag = "chats",
    operation_id = "list_chats",
    summary = "The caller's chats, those changed last first",
    params(Page),
    responses((status = 200, description = "60 of them, or all", body = [Line])),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    page: Result<Query<Page>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Vec<Line>>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let Query(asked) = page.map_err(unreadable)?;
    let filter = ChatFilter {
        archived: Some(false),
        pinned: Some(false).filter(|_| asked.include_pinned != Some(true)),
        text: None,
    };
    lines(&app, &user.id, filter, asked.page).await
}

/// `GET /api/v1/chats/list`: the same.
#[utoipa::path(
    get,
    path = "/api/v1/chats/list",
    tag = "chats",
    operation_id = "list_chats_too",
    summary = "The same as `/api/v1/chats/`",
    params(Page),
    responses((status = 200, description = "60 of them, or all", body = [Line])),
)]
pub(super) async fn list_too(
    app: State<Arc<App>>,
    page: Result<Query<Page>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Vec<Line>>, ApiError> {
    list(app, page, headers).await
}

/// `GET /api/v1/chats/pinned`
#[utoipa::path(
    get,
    path = "/api/v1/chats/pinned",
    tag = "chats",
    operation_id = "list_pinned_chats",
    summary = "The caller's chats at the top",
    responses((status = 200, description = "all of them", body = [Line])),
)]
pub(super) async fn pinned(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Vec<Line>>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let filter = ChatFilter {
        archived: Some(false),
        pinned: Some(true),
        text: None,
    };
    lines(&app, &user.id, filter, None).await
}

/// `GET /api/v1/chats/archived`
#[utoipa::path(
    get,
    path = "/api/v1/chats/archived",
    tag = "chats",
    operation_id = "list_archived_chats",
    summary = "The caller's chats that were put away",
    params(Archived),
    responses((status = 200, description = "60 of them", body = [Line])),
)]
pub(super) async fn archived(
    State(app): State<Arc<App>>,
    asked: Result<Query<Archived>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Vec<Line>>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let Query(asked) = asked.map_err(unreadable)?;
    let text = asked.query.filter(|text| !text.is_empty());
    let filter = ChatFilter {
        archived: Some(true),
        pinned: None,
        text: text.as_deref(),
    };
    lines(&app, &user.id, filter, Some(asked.page.unwrap_or(1))).await
}

/// `GET /api/v1/chats/search?text=`
#[utoipa::path(
    get,
    path = "/api/v1/chats/search",
    tag = "chats",
    operation_id = "search_chats",
    summary = "The caller's chats that contain a text",
    params(Search),
    responses((status = 200, description = "60 of them", body = [Line])),
)]
pub(super) async fn search(
    State(app): State<Arc<App>>,
    asked: Result<Query<Search>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Vec<Line>>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let Query(asked) = asked.map_err(unreadable)?;
    let filter = ChatFilter {
        archived: Some(false),
        pinned: None,
        text: Some(asked.text.trim()),
    };
    lines(&app, &user.id, filter, Some(asked.page.unwrap_or(1))).await
}

async fn lines(
    app: &App,
    user_id: &str,
    filter: ChatFilter<'_>,
    page: Option<u32>,
) -> Result<Json<Vec<Line>>, ApiError> {
    if filter
        .text
        .is_some_and(|text| text.len() > MAX_SEARCH_BYTES)
    {
        let detail = format!("the text is longer than the {MAX_SEARCH_BYTES} bytes allowed");
        return Err(ApiError::invalid("text", detail));
    }
    let (limit, offset) = match page {
        None => (MAX_CHATS, 0),
        Some(0) => return Err(ApiError::invalid("page", "pages are counted from 1")),
        Some(page) => (PAGE_CHATS, u64::from(page - 1) * u64::from(PAGE_CHATS)),
    };
    let chats = app.store.chats(user_id, filter, limit, offset).await;
    let chats = chats.map_err(failed)?;
    Ok(Json(chats.into_iter().map(Line::from).collect()))
}

/// `GET /api/v1/chats/all`: for keeping them elsewhere.
#[utoipa::path(
    get,
    path = "/api/v1/chats/all",
    tag = "chats",
    operation_id = "export_chats",
    summary = "All of the caller's chats, whole",
    responses((status = 200, description = "the chats", body = [Answer])),
)]
pub(super) async fn all(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    whole(app, &headers, ChatFilter::default()).await
}

/// `GET /api/v1/chats/all/archived`
#[utoipa::path(
    get,
    path = "/api/v1/chats/all/archived",
    tag = "chats",
    operation_id = "export_archived_chats",
    summary = "All of the caller's chats that were put away, whole",
    responses((status = 200, description = "the chats", body = [Answer])),
)]
pub(super) async fn all_archived(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let filter = ChatFilter {
        archived: Some(true),
        ..ChatFilter::default()
    };
    whole(app, &headers, filter).await
}

/// A list of whole chats, of which only one at a time is in memory.
async fn whole(
    app: Arc<App>,
    headers: &HeaderMap,
    filter: ChatFilter<'_>,
) -> Result<Response, ApiError> {
    let user = auth::user(&app, headers).await?;
    let chats = app.store.chats(&user.id, filter, MAX_CHATS, 0).await;
    let ids = chats.map_err(failed)?.into_iter().map(|chat| chat.id);
    let parts = stream::try_unfold((app, ids, "["), async |(app, mut ids, before)| {
        // One that was removed in the meantime is left out.
        for id in ids.by_ref() {
            if let Some(chat) = app.store.chat(&id).await? {
                let messages = app.store.messages(&id).await?;
                let answer = serde_json::to_string(&Answer::new(chat, messages));
                let part = format!("{before}{}", answer.map_err(anyhow::Error::from)?);
                return Ok(Some((Bytes::from(part), (app, ids, ","))));
            }
        }
        let end = match before {
            "[" => "[]",
            "," => "]",
            _ => return Ok::<_, anyhow::Error>(None),
        };
        Ok(Some((Bytes::from(end), (app, ids, ""))))
    });
    let json = [(CONTENT_TYPE, "application/json")];
    Ok((json, Body::from_stream(parts)).into_response())
}

/// `GET /api/v1/chats/all/tags`: none, since there are no tags.
#[utoipa::path(
    get,
    path = "/api/v1/chats/all/tags",
    tag = "chats",
    operation_id = "all_tags",
    summary = "All tags: none, since there are no tags",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
pub(super) async fn all_tags(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Vec<Value>>, ApiError> {
    auth::user(&app, &headers).await?;
    Ok(Json(Vec::new()))
}

fn unreadable(rejection: QueryRejection) -> ApiError {
    ApiError::new(rejection.status(), rejection.body_text())
}
