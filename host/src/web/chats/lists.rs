//! Lists of the caller's chats.

pub(super) mod found;

use std::iter;
use std::sync::Arc;

use anyhow::anyhow;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use pinhole_ground::memory::MemoryLease;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::chat_response::ChatResponse;
use super::load_parts;
use crate::app::App;
use crate::chat_copy::MAX_TITLE_BYTES;
use crate::store::{self, ChatFilter, MAX_CHATS, Page};
use crate::web::auth::User;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Query};
use crate::web::request_memory::leased_json;

/// Chats on a page.
///
/// Source: Open WebUI `routers/chats.py`.
const PAGE_CHATS: u32 = 60;
/// Memory of a chat in a list and of its JSON, in bytes: mostly its title.
const MAX_SUMMARY_BYTES: usize = 2 * (MAX_TITLE_BYTES + 200);
/// Length of a searched text, in bytes.
const MAX_SEARCH_BYTES: usize = 500;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Page, from 1. Default: all chats.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// Include pinned chats.
    include_pinned: Option<bool>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchQuery {
    /// Part of the title or of a message.
    #[param(max_length = 500)]
    text: String,
    /// Page, from 1.
    #[param(minimum = 1)]
    page: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ArchiveQuery {
    /// Part of the title or of a message.
    #[param(max_length = 500)]
    query: Option<String>,
    /// Page, from 1.
    #[param(minimum = 1)]
    page: Option<u32>,
}

/// A chat in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct ChatSummary {
    id: String,
    title: String,
    /// Seconds since 1970.
    updated_at: i64,
    /// Seconds since 1970.
    created_at: i64,
    /// Always `updated_at`: the server does not store what a user has read, and clients mark unread chats.
    last_read_at: i64,
}

impl From<store::ChatSummary> for ChatSummary {
    fn from(chat: store::ChatSummary) -> Self {
        Self {
            id: chat.id,
            title: chat.title,
            updated_at: chat.updated_at,
            created_at: chat.created_at,
            last_read_at: chat.updated_at,
        }
    }
}

/// `GET /api/v1/chats/`
#[utoipa::path(
    get,
    path = "/api/v1/chats/",
    tag = "chats",
    operation_id = "list_chats",
    summary = "List the caller's chats that are neither archived nor pinned, newest change first",
    params(ListQuery),
    responses((status = 200, description = "a page of at most 60 chats, or all chats", body = [ChatSummary])),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    User(user): User,
    Query(query): Query<ListQuery>,
) -> Result<Response, ApiError> {
    let includes_pinned = query.include_pinned == Some(true);
    let filter = ChatFilter {
        archived: Some(false),
        pinned: if includes_pinned { None } else { Some(false) },
    };
    summaries(&app, &user, filter, query.page).await
}

/// `GET /api/v1/chats/list`
#[utoipa::path(
    get,
    path = "/api/v1/chats/list",
    tag = "chats",
    operation_id = "list_chats_too",
    summary = "Same as `/api/v1/chats/`",
    params(ListQuery),
    responses((status = 200, description = "a page of at most 60 chats, or all chats", body = [ChatSummary])),
)]
pub(super) async fn list_alias(
    app: State<Arc<App>>,
    user: User,
    query: Query<ListQuery>,
) -> Result<Response, ApiError> {
    list(app, user, query).await
}

/// `GET /api/v1/chats/pinned`
#[utoipa::path(
    get,
    path = "/api/v1/chats/pinned",
    tag = "chats",
    operation_id = "list_pinned_chats",
    summary = "List the caller's pinned chats",
    responses((status = 200, description = "all pinned chats", body = [ChatSummary])),
)]
pub(super) async fn pinned(
    State(app): State<Arc<App>>,
    User(user): User,
) -> Result<Response, ApiError> {
    let filter = ChatFilter {
        archived: Some(false),
        pinned: Some(true),
    };
    summaries(&app, &user, filter, None).await
}

/// `GET /api/v1/chats/archived`
#[utoipa::path(
    get,
    path = "/api/v1/chats/archived",
    tag = "chats",
    operation_id = "list_archived_chats",
    summary = "List the caller's archived chats",
    params(ArchiveQuery),
    responses((status = 200, description = "a page of at most 60 chats", body = [ChatSummary])),
)]
pub(super) async fn archived(
    State(app): State<Arc<App>>,
    User(user): User,
    Query(ArchiveQuery { query, page }): Query<ArchiveQuery>,
) -> Result<Response, ApiError> {
    let filter = ChatFilter {
        archived: Some(true),
        pinned: None,
    };
    let text = query.as_deref().unwrap_or_default();
    find_text(&app, &user, text, filter, page).await
}

/// `GET /api/v1/chats/search?text=`
#[utoipa::path(
    get,
    path = "/api/v1/chats/search",
    tag = "chats",
    operation_id = "search_chats",
    summary = "Search the caller's chats for a text",
    params(SearchQuery),
    responses(
        (status = 200, description = "a page of at most 60 chats", body = [ChatSummary]),
        (status = 429, description = "the user has too many concurrent searches"),
        (status = 503, description = "the search took too long, or too many users search"),
    ),
)]
pub(super) async fn search(
    State(app): State<Arc<App>>,
    User(user): User,
    Query(SearchQuery { text, page }): Query<SearchQuery>,
) -> Result<Response, ApiError> {
    let filter = ChatFilter {
        archived: Some(false),
        pinned: None,
    };
    find_text(&app, &user, text.trim(), filter, page).await
}

async fn summaries(
    app: &App,
    user: &store::User,
    filter: ChatFilter,
    page: Option<u32>,
) -> Result<Response, ApiError> {
    let Page { limit, offset } = match page {
        None => Page {
            limit: MAX_CHATS,
            offset: 0,
        },
        Some(number) => parse_page(number)?,
    };
    let lease = lease_summaries(app, user, limit).await?;
    let chats = app.store.chats(&user.id, filter, limit, offset).await?;
    let chats: Vec<ChatSummary> = chats.into_iter().map(ChatSummary::from).collect();
    leased_json(&chats, lease)
}

/// A page of the chats that contain the text; all chats match an empty one.
async fn find_text(
    app: &App,
    user: &store::User,
    text: &str,
    filter: ChatFilter,
    number: Option<u32>,
) -> Result<Response, ApiError> {
    let page = parse_page(number.unwrap_or(1))?;
    let lease = lease_summaries(app, user, page.limit).await?;
    let chats = find_chats(app, user, text, filter, page).await?;
    let chats: Vec<ChatSummary> = chats.into_iter().map(ChatSummary::from).collect();
    leased_json(&chats, lease)
}

async fn find_chats(
    app: &App,
    user: &store::User,
    text: &str,
    filter: ChatFilter,
    page: Page,
) -> Result<Vec<store::ChatSummary>, ApiError> {
    if text.is_empty() {
        let Page { limit, offset } = page;
        return Ok(app.store.chats(&user.id, filter, limit, offset).await?);
    }
    if text.len() > MAX_SEARCH_BYTES {
        let detail = format!("the text is longer than {MAX_SEARCH_BYTES} bytes");
        return Err(ApiError::invalid("text", detail));
    }
    Ok(app.store.search_chats(&user.id, text, filter, page).await?)
}

/// Counts this number of summaries.
async fn lease_summaries(
    app: &App,
    user: &store::User,
    limit: u32,
) -> Result<MemoryLease, ApiError> {
    let bytes = (limit as usize).saturating_mul(MAX_SUMMARY_BYTES);
    Ok(app.memory.of(Some(&user.id)).lease(bytes).await?)
}

fn parse_page(number: u32) -> Result<Page, ApiError> {
    let Some(previous_pages) = number.checked_sub(1) else {
        return Err(ApiError::invalid("page", "page must be 1 or higher"));
    };
    Ok(Page {
        limit: PAGE_CHATS,
        offset: u64::from(previous_pages) * u64::from(PAGE_CHATS),
    })
}

/// `GET /api/v1/chats/all`
#[utoipa::path(
    get,
    path = "/api/v1/chats/all",
    tag = "chats",
    operation_id = "export_chats",
    summary = "Export all of the caller's chats with their messages",
    responses((status = 200, description = "the chats", body = [ChatResponse])),
)]
pub(super) async fn export(
    State(app): State<Arc<App>>,
    User(user): User,
) -> Result<Response, ApiError> {
    stream_chats(app, user, ChatFilter::default()).await
}

/// `GET /api/v1/chats/all/archived`
#[utoipa::path(
    get,
    path = "/api/v1/chats/all/archived",
    tag = "chats",
    operation_id = "export_archived_chats",
    summary = "Export the caller's archived chats with their messages",
    responses((status = 200, description = "the chats", body = [ChatResponse])),
)]
pub(super) async fn export_archived(
    State(app): State<Arc<App>>,
    User(user): User,
) -> Result<Response, ApiError> {
    let filter = ChatFilter {
        archived: Some(true),
        ..ChatFilter::default()
    };
    stream_chats(app, user, filter).await
}

/// Streams a JSON list of chats with their messages.
async fn stream_chats(
    app: Arc<App>,
    user: store::User,
    filter: ChatFilter,
) -> Result<Response, ApiError> {
    let chats = app.store.chats(&user.id, filter, MAX_CHATS, 0).await?;
    let export = ChatExport {
        app,
        user,
        chats: chats.into_iter(),
        current: Box::new(iter::empty()),
        separator: "",
    };
    let parts = stream::try_unfold(export, async |mut state| {
        let part = state.next_part().await?;
        Ok::<_, anyhow::Error>(part.map(|part| (part, state)))
    });
    let bracket = |text: &'static str| stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
    let body = Body::from_stream(bracket("[").chain(parts).chain(bracket("]")));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Chats to export, of which one at a time is in memory.
struct ChatExport {
    app: Arc<App>,
    user: store::User,
    chats: std::vec::IntoIter<store::ChatSummary>,
    /// The parts of the current chat that are not sent yet.
    current: Box<dyn Iterator<Item = Bytes> + Send>,
    separator: &'static str,
}

impl ChatExport {
    /// The next part of the JSON. Skips chats that have been deleted meanwhile.
    async fn next_part(&mut self) -> anyhow::Result<Option<Bytes>> {
        if let Some(part) = self.current.next() {
            return Ok(Some(part));
        }
        for store::ChatSummary { id, .. } in self.chats.by_ref() {
            let Some(chat) = self.app.store.chat(&id).await? else {
                continue;
            };
            let json = load_parts(&self.app, &self.user, chat).await;
            let json = json.map_err(|_| anyhow!("cannot export chat {id}"))?;
            self.current = Box::new(json.parts);
            let separator = Bytes::from_static(self.separator.as_bytes());
            self.separator = ",";
            return Ok(Some(separator));
        }
        Ok(None)
    }
}

/// `GET /api/v1/chats/all/tags`
#[utoipa::path(
    get,
    path = "/api/v1/chats/all/tags",
    tag = "chats",
    operation_id = "all_tags",
    summary = "Return an empty list: chats have no tags",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
pub(super) async fn all_tags(_: User) -> Json<Vec<Value>> {
    Json(Vec::new())
}
