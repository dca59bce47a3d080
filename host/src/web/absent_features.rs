//! Features of Open WebUI that this server does not have: what its web client reads of them is empty.
//!
//! The client requests lists on every page, and values on each page of its administrator's area, and shows an error
//! for each one that is missing.

mod administrator_pages;
mod lists;
mod placeholder;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::Status;
use super::auth::User;
use super::chat::COMPLETION_JSON;
use super::extractors::{Json, Query};
use crate::app::App;
use administrator_pages::ADMINISTRATOR_PAGES;
use lists::LISTS;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    let router = OpenApiRouter::new()
        .routes(routes!(version))
        .routes(routes!(prompt_page))
        .routes(routes!(set_timezone))
        .routes(routes!(completed).layer(Extension(COMPLETION_JSON)));
    let placeholders = LISTS.iter().chain(ADMINISTRATOR_PAGES);
    placeholders.fold(router, |merged, it| merged.merge(it.routes()))
}

#[derive(Serialize, ToSchema)]
struct Version {
    version: &'static str,
}

/// `GET /api/version`
#[utoipa::path(
    get,
    path = "/api/version",
    tag = "server",
    operation_id = "version",
    summary = "Return the version of the server",
    responses((status = 200, description = "the version", body = Version)),
    security(()),
)]
async fn version(_: State<Arc<App>>) -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
struct EmptyPage {
    /// Always empty.
    #[schema(value_type = Vec<Value>)]
    items: [(); 0],
    /// Always 0.
    #[schema(minimum = 0)]
    total: u32,
}

impl EmptyPage {
    const NONE: Self = Self {
        items: [],
        total: 0,
    };
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PromptQuery {
    /// Page, from 1. Only clients since release 0.12 name one.
    page: Option<u32>,
}

/// The prompts of a workspace, none.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum PromptList {
    /// For a request with `page`.
    Page(EmptyPage),
    /// For clients before release 0.12.
    All(Vec<Value>),
}

/// `GET /api/v1/prompts/list`
#[utoipa::path(
    get,
    path = "/api/v1/prompts/list",
    tag = "client",
    operation_id = "list_prompt_page",
    summary = "Return an empty page or list: there are no prompts",
    params(PromptQuery),
    responses((status = 200, description = "an empty page, or an empty list without `page`", body = PromptList)),
)]
async fn prompt_page(
    _: State<Arc<App>>,
    _: User,
    Query(PromptQuery { page }): Query<PromptQuery>,
) -> Json<PromptList> {
    Json(match page {
        Some(_) => PromptList::Page(EmptyPage::NONE),
        None => PromptList::All(Vec::new()),
    })
}

/// The time zone of a client. It is not used.
#[derive(Deserialize, ToSchema)]
struct TimeZone {}

/// `POST /api/v1/auths/update/timezone`
#[utoipa::path(
    post,
    path = "/api/v1/auths/update/timezone",
    tag = "client",
    operation_id = "set_timezone",
    summary = "Report the client's time zone. It is not stored: the server's times are in UTC",
    request_body = TimeZone,
    responses((status = 200, description = "nothing is stored", body = Status)),
)]
async fn set_timezone(_: State<Arc<App>>, _: User, _: Json<TimeZone>) -> Json<Status> {
    Json(Status { status: true })
}

/// A chat turn that is complete, as a client reports it. Its fields are not used.
#[derive(Deserialize, ToSchema)]
struct CompletedTurn {}

/// The messages that a filter has changed.
#[derive(Serialize, ToSchema)]
struct FilteredTurn {
    /// Always empty: there are no filters.
    #[schema(value_type = Vec<Value>)]
    messages: [(); 0],
}

/// `POST /api/chat/completed`
#[utoipa::path(
    post,
    path = "/api/chat/completed",
    tag = "client",
    operation_id = "complete_turn",
    summary = "Report a complete turn, whose messages filters may change. There are no filters",
    request_body = CompletedTurn,
    responses((status = 200, description = "no changed messages", body = FilteredTurn)),
)]
async fn completed(_: State<Arc<App>>, _: User, _: Json<CompletedTurn>) -> Json<FilteredTurn> {
    Json(FilteredTurn { messages: [] })
}
