//! Features of Open WebUI that this server does not have: what its web client reads of them is empty.
//!
//! The client requests these lists on every page, and shows an error for each one that is missing.

use std::collections::BTreeMap;
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

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(version))
        .routes(routes!(version_updates))
        .routes(routes!(changelog))
        .routes(routes!(ollama_version))
        .routes(routes!(banners))
        .routes(routes!(tools))
        .routes(routes!(functions))
        .routes(routes!(folders))
        .routes(routes!(shared_folders))
        .routes(routes!(channels))
        .routes(routes!(prompts))
        .routes(routes!(skills))
        .routes(routes!(workspace_models))
        .routes(routes!(knowledge))
        .routes(routes!(prompt_page))
        .routes(routes!(skill_page))
        .routes(routes!(tool_page))
        .routes(routes!(notes))
        .routes(routes!(set_timezone))
        .routes(routes!(completed).layer(Extension(COMPLETION_JSON)))
}

/// An empty list of objects.
type EmptyList = Json<[(); 0]>;

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

/// The versions of the server, of which it knows only its own.
#[derive(Serialize, ToSchema)]
struct VersionUpdates {
    current: &'static str,
    /// Always `current`: the server does not look for a newer version.
    latest: &'static str,
}

/// `GET /api/version/updates`
#[utoipa::path(
    get,
    path = "/api/version/updates",
    tag = "server",
    operation_id = "version_updates",
    summary = "Return the version of the server, and the same as the latest",
    responses((status = 200, description = "the versions", body = VersionUpdates)),
)]
async fn version_updates(_: State<Arc<App>>, _: User) -> Json<VersionUpdates> {
    Json(VersionUpdates {
        current: env!("CARGO_PKG_VERSION"),
        latest: env!("CARGO_PKG_VERSION"),
    })
}

/// `GET /api/changelog`
#[utoipa::path(
    get,
    path = "/api/changelog",
    tag = "server",
    operation_id = "changelog",
    summary = "Return an empty object: the changes are in the project's CHANGELOG.md",
    responses((status = 200, description = "an empty object", body = BTreeMap<String, Value>)),
)]
async fn changelog(_: State<Arc<App>>, _: User) -> Json<BTreeMap<String, Value>> {
    Json(BTreeMap::new())
}

/// The version of an Ollama server.
#[derive(Serialize, ToSchema)]
struct OllamaVersion {
    /// Always `false`: there is no such server.
    version: bool,
}

/// `GET /ollama/api/version`
#[utoipa::path(
    get,
    path = "/ollama/api/version",
    tag = "server",
    operation_id = "ollama_version",
    summary = "Return that there is no Ollama server",
    responses((status = 200, description = "no version", body = OllamaVersion)),
)]
async fn ollama_version(_: State<Arc<App>>, _: User) -> Json<OllamaVersion> {
    Json(OllamaVersion { version: false })
}

/// `GET /api/v1/configs/banners`
#[utoipa::path(
    get,
    path = "/api/v1/configs/banners",
    tag = "client",
    operation_id = "list_banners",
    summary = "Return an empty list: there are no banners",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn banners(_: State<Arc<App>>, _: User) -> EmptyList {
    Json([])
}

/// `GET /api/v1/tools/`
#[utoipa::path(
    get,
    path = "/api/v1/tools/",
    tag = "client",
    operation_id = "list_tools",
    summary = "Return an empty list: there are no tools",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn tools(_: State<Arc<App>>, _: User) -> EmptyList {
    Json([])
}

/// `GET /api/v1/functions/`
#[utoipa::path(
    get,
    path = "/api/v1/functions/",
    tag = "client",
    operation_id = "list_functions",
    summary = "Return an empty list: there are no functions",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn functions(_: State<Arc<App>>, _: User) -> EmptyList {
    Json([])
}

/// `GET /api/v1/folders/`
#[utoipa::path(
    get,
    path = "/api/v1/folders/",
    tag = "client",
    operation_id = "list_folders",
    summary = "Return an empty list: there are no folders",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn folders(_: State<Arc<App>>, _: User) -> EmptyList {
    Json([])
}

/// `GET /api/v1/channels/`
#[utoipa::path(
    get,
    path = "/api/v1/channels/",
    tag = "client",
    operation_id = "list_channels",
    summary = "Return an empty list: there are no channels",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn channels(_: State<Arc<App>>, _: User) -> EmptyList {
    Json([])
}

/// `GET /api/v1/prompts/`
#[utoipa::path(
    get,
    path = "/api/v1/prompts/",
    tag = "client",
    operation_id = "list_prompts",
    summary = "Return an empty list: there are no prompts",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn prompts(_: State<Arc<App>>, _: User) -> EmptyList {
    Json([])
}

/// `GET /api/v1/folders/shared`
#[utoipa::path(
    get,
    path = "/api/v1/folders/shared",
    tag = "client",
    operation_id = "list_shared_folders",
    summary = "Return an empty list: there are no folders",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn shared_folders(_: State<Arc<App>>, _: User) -> EmptyList {
    Json([])
}

/// `GET /api/v1/skills/`
#[utoipa::path(
    get,
    path = "/api/v1/skills/",
    tag = "client",
    operation_id = "list_skills",
    summary = "Return an empty list: there are no skills",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn skills(_: State<Arc<App>>, _: User) -> EmptyList {
    Json([])
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

/// `GET /api/v1/models/list`
#[utoipa::path(
    get,
    path = "/api/v1/models/list",
    tag = "client",
    operation_id = "list_workspace_models",
    summary = "Return an empty page: there are no models with instructions of their own",
    responses((status = 200, description = "an empty page", body = EmptyPage)),
)]
async fn workspace_models(_: State<Arc<App>>, _: User) -> Json<EmptyPage> {
    Json(EmptyPage::NONE)
}

/// `GET /api/v1/knowledge/search`
#[utoipa::path(
    get,
    path = "/api/v1/knowledge/search",
    tag = "client",
    operation_id = "find_knowledge",
    summary = "Return an empty page: there are no knowledge bases",
    responses((status = 200, description = "an empty page", body = EmptyPage)),
)]
async fn knowledge(_: State<Arc<App>>, _: User) -> Json<EmptyPage> {
    Json(EmptyPage::NONE)
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

/// `GET /api/v1/skills/list`
#[utoipa::path(
    get,
    path = "/api/v1/skills/list",
    tag = "client",
    operation_id = "list_skill_page",
    summary = "Return an empty page: there are no skills",
    responses((status = 200, description = "an empty page", body = EmptyPage)),
)]
async fn skill_page(_: State<Arc<App>>, _: User) -> Json<EmptyPage> {
    Json(EmptyPage::NONE)
}

/// `GET /api/v1/tools/list`
#[utoipa::path(
    get,
    path = "/api/v1/tools/list",
    tag = "client",
    operation_id = "list_own_tools",
    summary = "Return an empty list: there are no tools",
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn tool_page(_: State<Arc<App>>, _: User) -> EmptyList {
    Json([])
}

/// `GET /api/v1/notes/search`
#[utoipa::path(
    get,
    path = "/api/v1/notes/search",
    tag = "client",
    operation_id = "find_notes",
    summary = "Return an empty page: there are no notes",
    responses((status = 200, description = "an empty page", body = EmptyPage)),
)]
async fn notes(_: State<Arc<App>>, _: User) -> Json<EmptyPage> {
    Json(EmptyPage::NONE)
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
