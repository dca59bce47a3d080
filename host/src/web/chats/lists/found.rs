//! `GET /api/v1/search`: the search of Open WebUI 0.12, which also finds what this server does not have.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{PAGE_CHATS, find_chats, lease_summaries, parse_page};
use crate::app::App;
use crate::store::{self, ChatFilter};
use crate::web::auth::User;
use crate::web::error::ApiError;
use crate::web::extractors::Query;
use crate::web::request_memory::leased_json;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::web::chats) struct FindQuery {
    /// Part of the title or of a message. Empty finds all chats.
    #[param(max_length = 500)]
    q: Option<String>,
    /// Page, from 1.
    #[param(minimum = 1)]
    page: Option<u32>,
}

/// What was found.
#[derive(Serialize, ToSchema)]
struct Findings {
    items: Vec<FoundChat>,
    has_more: bool,
    /// Always empty: there are no folders and channels.
    #[schema(value_type = Vec<Value>)]
    scopes: [(); 0],
    /// Always `chat`.
    kinds: [&'static str; 1],
}

#[derive(Serialize, ToSchema)]
struct FoundChat {
    id: String,
    /// Always `chat`.
    kind: &'static str,
    title: String,
    /// For a person.
    context: &'static str,
    /// Always empty, like `preview`.
    snippet: &'static str,
    preview: &'static str,
    /// Path of the chat in the client.
    url: String,
    /// Seconds since 1970.
    updated_at: i64,
    shared: bool,
    pinned: bool,
}

impl From<store::ChatSummary> for FoundChat {
    fn from(chat: store::ChatSummary) -> Self {
        Self {
            url: format!("/c/{}", chat.id),
            id: format!("chat:{}", chat.id),
            kind: "chat",
            title: chat.title,
            context: "Personal chat",
            snippet: "",
            preview: "",
            updated_at: chat.updated_at,
            shared: false,
            pinned: false,
        }
    }
}

/// `GET /api/v1/search?q=`
#[utoipa::path(
    get,
    path = "/api/v1/search",
    tag = "chats",
    operation_id = "find_chats",
    summary = "Search the caller's chats for a text, in the format of Open WebUI 0.12",
    params(FindQuery),
    responses(
        (status = 200, description = "a page of at most 60 chats", body = Findings),
        (status = 429, description = "the user has too many concurrent searches"),
        (status = 503, description = "the search took too long, or too many users search"),
    ),
)]
pub(in crate::web::chats) async fn find(
    State(app): State<Arc<App>>,
    User(user): User,
    Query(FindQuery { q, page }): Query<FindQuery>,
) -> Result<Response, ApiError> {
    let filter = ChatFilter {
        archived: Some(false),
        pinned: None,
    };
    let text = q.as_deref().unwrap_or_default().trim();
    let page = parse_page(page.unwrap_or(1))?;
    let lease = lease_summaries(&app, &user, page.limit).await?;
    let chats = find_chats(&app, &user, text, filter, page).await?;
    let findings = Findings {
        has_more: chats.len() >= PAGE_CHATS as usize,
        items: chats.into_iter().map(FoundChat::from).collect(),
        scopes: [],
        kinds: ["chat"],
    };
    leased_json(&findings, lease)
}
