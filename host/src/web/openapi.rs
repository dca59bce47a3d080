//! The OpenAPI document and a page that shows it.
//!
//! `utoipa::path` describes a route at its handler, and `routes!` adds it to the router and to the
//! document.

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

use super::error::{ErrorBody, OpenAiErrorBody};
use crate::app::App;

/// Path of the document.
const PATH: &str = "/openapi.json";

/// Second paths of routes, each with the path under which the route is described.
const ALIASES: [(&str, &str); 2] = [
    ("/api/v1/chat/completions", "/api/chat/completions"),
    ("/api/v1/models", "/api/models"),
];

/// The page connects to this server only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The document without routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pinhole",
        description = "Images generated and edited by sandboxed engines, through Open WebUI's \
                       API (`/api`) and OpenAI's API (`/v1`).",
    ),
    tags(
        (name = "images", description = "Open WebUI's image API: images are stored, and responses contain their URLs."),
        (name = "jobs", description = "Jobs that run without a waiting client: images are stored, and events report them."),
        (name = "openai", description = "OpenAI's API: responses contain the images, or URLs if the request asks for `url`."),
        (name = "chat", description = "Turns of a conversation, with an image if one is requested."),
        (name = "chats", description = "Stored conversations."),
        (name = "events", description = "Events of running turns and jobs."),
        (name = "files", description = "Stored images. Those of other users are not found."),
        (name = "gallery", description = "The caller's own images, with what made them: search, stars, deletion with undo, and download."),
        (name = "people", description = "Accounts, sessions, API keys, users and groups."),
        (name = "engines", description = "Engines and their versions: what a user may use, and what an administrator changes."),
        (name = "settings", description = "Settings of the operator."),
        (name = "bindings", description = "Named configurations of engines: who uses which, and whether they work."),
        (name = "client", description = "What Open WebUI's web client reads of features that this server does not have."),
        (name = "server", description = "The server itself."),
    ),
    components(schemas(ErrorBody, OpenAiErrorBody)),
    security(("bearer" = []), ("cookie" = [])),
    modifiers(&SecuritySchemes)
)]
struct EmptyDocument;

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key (`sk-…`) or a session token."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let cookie =
            ApiKeyValue::with_description("token", "A session token, which signing in sets.");
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// The document without routes.
pub(super) fn empty() -> Document {
    EmptyDocument::openapi()
}

/// `/openapi.json`, and `/docs`, which shows it.
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

/// Adds what all routes have in common: aliases, the statuses of [`common_errors`] and the error
/// format.
pub(super) fn complete(document: &Document) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    drop_integer_formats(&mut document);
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else {
        return document;
    };
    add_aliases(paths);
    // OpenAPI has no syntax for a parameter that may contain slashes.
    let described = std::mem::take(paths).into_iter();
    paths.extend(described.map(|(path, item)| (path.replace("{*", "{"), item)));
    for (path, item) in paths {
        let schema = if path.starts_with("/v1/") {
            "#/components/schemas/OpenAiError"
        } else {
            "#/components/schemas/Error"
        };
        let operations = item.as_object_mut().into_iter().flatten();
        for (_, operation) in operations {
            let errors = common_errors(operation);
            if let Some(responses) = operation["responses"].as_object_mut() {
                add_errors(responses, &errors, schema);
            }
        }
    }
    document
}

fn add_aliases(paths: &mut Map<String, Value>) {
    for (alias, path) in ALIASES {
        let Some(mut item) = paths.get(path).cloned() else {
            continue;
        };
        let operations = item.as_object_mut().into_iter().flatten();
        for (_, operation) in operations {
            let id = operation["operationId"].as_str().unwrap_or_default();
            operation["operationId"] = format!("{id}_v1").into();
            operation["description"] = format!("Same as `{path}`.").into();
        }
        paths.insert(alias.to_owned(), item);
    }
}

/// Statuses that an operation may return in addition to its own.
fn common_errors(operation: &Value) -> Vec<(&'static str, &'static str)> {
    let mut errors = vec![(
        "500",
        "internal server error; the server's log contains the cause",
    )];
    // An operation without its own `security` has the document's.
    let schemes = operation["security"].as_array();
    if !schemes.is_some_and(|schemes| schemes.contains(&json!({}))) {
        let description =
            "the key or session is missing, unknown or expired, or its role has no access";
        errors.push(("401", description));
    }
    if !operation["requestBody"].is_null() {
        errors.push(("400", "the body is invalid"));
        errors.push(("408", "the body arrives too slowly"));
        errors.push(("413", "the body is too long"));
    } else if !operation["parameters"].is_null() {
        errors.push(("400", "a parameter is invalid"));
    }
    errors
}

/// Removes `int32` and `int64`: the API's numbers are unsigned and have explicit bounds.
fn drop_integer_formats(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        let format = object.get("format").and_then(Value::as_str);
        if format.is_some_and(|format| format.starts_with("int")) {
            object.remove("format");
        }
        object.values_mut().for_each(drop_integer_formats);
    }
    value
        .as_array_mut()
        .into_iter()
        .flatten()
        .for_each(drop_integer_formats);
}

/// Adds missing errors, and the error format to those without a body.
fn add_errors(responses: &mut Map<String, Value>, errors: &[(&str, &str)], schema: &str) {
    for (status, description) in errors {
        let response = responses.entry(*status);
        response.or_insert_with(|| json!({"description": description}));
    }
    for (status, response) in responses {
        if status.starts_with(['4', '5']) && response["content"].is_null() {
            response["content"] = json!({"application/json": {"schema": {"$ref": schema}}});
        }
    }
}
