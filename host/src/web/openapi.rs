//! What the routes take and give, as OpenAPI, and a page to read it.
//!
//! Each route is described where its handler stands, by `utoipa::path`, and registered by `routes!`,
//! which puts it into the router and the document at once.

pub(super) mod shape;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::app::App;

/// Where the document is.
const PATH: &str = "/openapi.json";

/// Paths under which clients find a route too, each with the one that it is described under.
const ALSO: [(&str, &str); 2] = [
    ("/api/v1/chat/completions", "/api/chat/completions"),
    ("/api/v1/models", "/api/models"),
];

/// The page asks nobody but this server, and nothing in it can be made to.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What is said of the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pinhole",
        description = "Pictures made and changed by sandboxed engines, through Open WebUI's \
                       interface (`/api`) and OpenAI's (`/v1`).",
    ),
    tags(
        (name = "images", description = "Open WebUI's image API: pictures are stored, and answers name them."),
        (name = "openai", description = "OpenAI's API: pictures come in the answer unless a `url` is asked for."),
        (name = "chat", description = "Turns of a conversation, with a picture where one is asked for."),
        (name = "chats", description = "Conversations that are kept."),
        (name = "events", description = "What happens while a turn runs."),
        (name = "files", description = "Pictures that are kept. Somebody else's are not found."),
        (name = "people", description = "Accounts, sessions, keys, users and groups."),
        (name = "settings", description = "What an operator sets."),
        (name = "server", description = "The server itself."),
    ),
    components(schemas(shape::Error, shape::OpenAiError)),
    security(("bearer" = []), ("cookie" = [])),
    modifiers(&Schemes)
)]
struct Whole;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key (`sk-…`) or a session's token."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let cookie = ApiKeyValue::with_description("token", "A session, as signing in sets it.");
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(cookie));
        components.add_security_scheme("cookie", cookie);
    }
}

/// The document as it is before any route is in it.
pub(super) fn empty() -> Document {
    Whole::openapi()
}

/// `/openapi.json`, and `/docs` to read it.
pub(super) fn routes(document: &Document) -> Router<Arc<App>> {
    let document = Bytes::from(complete(document).to_string());
    let file = |media_type: &'static str, text: &'static str| {
        get(async move || (page_headers(media_type), text))
    };
    let page = file(
        "text/html; charset=utf-8",
        include_str!("openapi/page.html"),
    );
    let script = file(
        "text/javascript; charset=utf-8",
        include_str!("openapi/page.js"),
    );
    let style = file("text/css; charset=utf-8", include_str!("openapi/page.css"));
    Router::new()
        .route(PATH, get(async move || json_text(document)))
        .route("/docs", page)
        .route("/docs/page.js", script)
        .route("/docs/page.css", style)
}

fn json_text(document: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}

fn page_headers(media_type: &'static str) -> [(http::HeaderName, &'static str); 3] {
    [
        (CONTENT_TYPE, media_type),
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (CACHE_CONTROL, "no-cache"),
    ]
}

/// The document with what holds for every route: who may not ask, what is too long, what our own
/// failure looks like, and the shape of each error.
fn complete(document: &Document) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    drop_formats(&mut document);
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let Some(paths) = paths else {
        return document;
    };
    add_aliases(paths);
    // A part of a path that may have slashes in it is a parameter like any other.
    let named = std::mem::take(paths).into_iter();
    paths.extend(named.map(|(path, item)| (path.replace("{*", "{"), item)));
    for (path, item) in paths {
        let shape = match path.starts_with("/v1/") {
            true => "#/components/schemas/OpenAiError",
            false => "#/components/schemas/Error",
        };
        let operations = item.as_object_mut().into_iter().flatten();
        for (_, operation) in operations {
            let refusals = refusals(operation);
            if let Some(responses) = operation["responses"].as_object_mut() {
                add(responses, &refusals, shape);
            }
        }
    }
    document
}

fn add_aliases(paths: &mut Map<String, Value>) {
    for (also, path) in ALSO {
        let Some(mut item) = paths.get(path).cloned() else {
            continue;
        };
        let operations = item.as_object_mut().into_iter().flatten();
        for (_, operation) in operations {
            let id = operation["operationId"].as_str().unwrap_or_default();
            operation["operationId"] = format!("{id}_v1").into();
            operation["description"] = format!("The same as `{path}`.").into();
        }
        paths.insert(also.to_owned(), item);
    }
}

/// Statuses that an operation may answer with besides those it names itself.
fn refusals(operation: &Value) -> Vec<(&'static str, &'static str)> {
    let mut refusals = vec![("500", "the server failed; its log says why")];
    // What does not say who may ask is for who is known, as the whole document says.
    let schemes = operation["security"].as_array();
    if !schemes.is_some_and(|schemes| schemes.contains(&json!({}))) {
        let why = "no key or session was shown, it is not known, or its role may not ask";
        refusals.push(("401", why));
    }
    if !operation["requestBody"].is_null() {
        refusals.push(("400", "the body cannot be used"));
        refusals.push(("413", "the body is longer than is allowed"));
    } else if !operation["parameters"].is_null() {
        refusals.push(("400", "a parameter cannot be used"));
    }
    refusals
}

/// Numbers without `int32` and `int64`: ours have no sign, and their bounds stand beside them.
fn drop_formats(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        let format = object.get("format").and_then(Value::as_str);
        if format.is_some_and(|format| format.starts_with("int")) {
            object.remove("format");
        }
        object.values_mut().for_each(drop_formats);
    }
    value
        .as_array_mut()
        .into_iter()
        .flatten()
        .for_each(drop_formats);
}

/// Adds what is missing, and the shape of errors where none is named.
fn add(responses: &mut Map<String, Value>, refusals: &[(&str, &str)], shape: &str) {
    for (status, description) in refusals {
        let response = responses.entry(*status);
        response.or_insert_with(|| json!({"description": description}));
    }
    for (status, response) in responses {
        if status.starts_with(['4', '5']) && response["content"].is_null() {
            response["content"] = json!({"application/json": {"schema": {"$ref": shape}}});
        }
    }
}
