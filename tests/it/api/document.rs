//! The OpenAPI document agrees with the router, and each route refuses callers without permission.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use super::accounts::account;
use super::*;

/// Paths that the document omits: a protocol that it cannot describe, the document itself, and the page that shows it.
const UNDOCUMENTED: [&str; 7] = [
    "/ws/socket.io",
    "/ws/socket.io/",
    "/openapi.json",
    "/docs",
    "/docs/page.js",
    "/docs/page.css",
    "/pinhole/engine-choices.js",
];

const PAGE_HEAD: &str = "\
# HTTP API

A test writes this page from `/openapi.json`, which describes every field, limit, status and error; a running server shows it at `/docs`.
A request without a valid key or session gets `401`, unless its route is public. [Events](../concepts/events.md) describes Socket.IO at
`/ws/socket.io`.
";

/// The end of the summary of an operation that only administrators may call.
const ADMINISTRATORS: &str = ". For administrators";

/// The operations of the document: method, path and documentation.
fn operations(document: &Value) -> Vec<(Method, &String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let items = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(move |(method, operation)| {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            (method, path, operation)
        })
    });
    items.collect()
}

fn is_open(operation: &Value) -> bool {
    let schemes = operation["security"].as_array();
    schemes.is_some_and(|schemes| schemes.contains(&json!({})))
}

fn summary(operation: &Value) -> &str {
    operation["summary"].as_str().unwrap()
}

/// A line for each operation, with the first sentence of its summary.
fn list(operations: Vec<(Method, &String, &Value)>) -> String {
    let lines = operations.into_iter().map(|(method, path, operation)| {
        let first = summary(operation).split(". ").next().unwrap();
        let access = if is_open(operation) { " (public)" } else { "" };
        format!("- `{method} {path}`: {first}{access}\n")
    });
    lines.collect()
}

/// The path with a value for each parameter that is not the id of any object.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| {
        if part.starts_with('{') {
            "nothing"
        } else {
            part
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The paths of the router. The debug output is the only way to get them from axum.
fn routed(api: &Api) -> BTreeSet<String> {
    let token = format!("{:?}", pinhole::web::router(api.server.app.clone()));
    let routes = token.split("fallback_router").next().unwrap();
    let paths = routes.split("RouteId(").filter_map(|rest| {
        let path = rest.split_once("): \"")?.1;
        path.split_once('"')
            .map(|(path, _)| path.replace("{*", "{"))
    });
    paths.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn document_lists_each_route_with_its_methods() {
    let api = Api::start(&[]).await;
    let paths = routed(&api);
    assert!(paths.len() > 30 && paths.contains("/health"), "{paths:?}");
    let documented = api.document["paths"].as_object().unwrap();
    for path in documented.keys() {
        assert!(paths.contains(path), "{path} is documented and not there");
    }
    let mut missing = Vec::new();
    for path in paths
        .iter()
        .filter(|it| !UNDOCUMENTED.contains(&it.as_str()))
    {
        // The document describes the path with a slash at the end.
        let Some(item) = documented
            .get(path)
            .or_else(|| documented.get(&format!("{path}/")))
        else {
            missing.push(path.clone());
            continue;
        };
        let response = api.ask_without_key(Method::TRACE, &filled(path)).request;
        let response = response.send().await.unwrap();
        assert_eq!(response.status(), 405, "{path}");
        let allowed = response.headers()["allow"].to_str().unwrap();
        let allowed: BTreeSet<String> = allowed
            .split(',')
            .map(|method| method.trim().to_lowercase())
            .filter(|method| method != "head")
            .collect();
        let documented_methods: BTreeSet<String> =
            item.as_object().unwrap().keys().cloned().collect();
        assert_eq!(allowed, documented_methods, "{path}");
    }
    assert!(missing.is_empty(), "not in the document: {missing:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn document_has_only_resolvable_references() {
    let api = Api::start(&[]).await;
    let tags = api.document["tags"].as_array().unwrap().iter();
    let tags: BTreeSet<&str> = tags.map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&api.document) {
        let route = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{route}: {id} is another one's too");
        let tag = operation["tags"][0].as_str().unwrap();
        assert!(tags.contains(tag), "{route}: {tag}");
        assert!(operation["summary"].is_string(), "{route}");
        let parameters = operation["parameters"].as_array();
        let documented_methods: BTreeSet<&str> = parameters
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let parts = path.split('/');
        let path_parameters: BTreeSet<&str> = parts
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        assert_eq!(documented_methods, path_parameters, "{route}");
        assert!(operation["responses"]["500"].is_object(), "{route}");
        let response = operation["responses"]["401"].is_object();
        assert!(response || is_open(operation), "{route}");
    }
    references(&api.document, &api.document);
}

/// Asserts that each reference resolves.
fn references(document: &Value, value: &Value) {
    if let Some(path) = value["$ref"].as_str() {
        let found = document.pointer(path.trim_start_matches('#'));
        assert!(found.is_some(), "{path}");
    }
    let inner = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, inner)| inner);
    for child in inner.chain(value.as_array().into_iter().flatten()) {
        references(document, child);
    }
}

/// The message with which each secured operation refuses this caller.
async fn refusals(api: &Api, token: Option<&str>) -> BTreeMap<String, String> {
    let mut messages = BTreeMap::new();
    for (method, path, operation) in operations(&api.document) {
        if is_open(operation) {
            continue;
        }
        let api_request = match token {
            Some(token) => api.ask_as(token, method.clone(), &filled(path)),
            None => api.ask_without_key(method.clone(), &filled(path)),
        };
        let response = api_request.json(&json!({})).request.send().await.unwrap();
        let status = response.status().as_u16();
        if status != 401 {
            // The snapshots of each operation cover accepted requests.
            messages.insert(format!("{method} {path}"), "not refused".to_owned());
            continue;
        }
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let text = body["detail"]
            .as_str()
            .or(body["error"]["message"].as_str());
        let message = format!(
            "{status} {}",
            text.unwrap_or_else(|| panic!("{path}: {body}"))
        );
        messages.insert(format!("{method} {path}"), message);
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_refuse_missing_and_unknown_keys() {
    let api = Api::start(&[]).await;
    let without_key = refusals(&api, None).await;
    let with_unknown_key = refusals(&api, Some("sk-nobody")).await;
    for (route, message) in without_key.iter().chain(&with_unknown_key) {
        assert!(message.starts_with("401 "), "{route}: {message}");
    }
    snapshots().bind(|| {
        insta::assert_json_snapshot!("_without_a_key", without_key);
        insta::assert_json_snapshot!("_with_an_unknown_key", with_unknown_key);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_refuse_pending_users_and_non_administrators() {
    let api = Api::start(&[]).await;
    let (_, pending) = account(&api, "eve", "pending").await;
    let messages = refusals(&api, Some(&pending)).await;
    snapshots().bind(|| insta::assert_json_snapshot!("_as_pending", messages));
    let (_, user) = account(&api, "ada", "user").await;
    let user_messages = refusals(&api, Some(&user)).await;
    snapshots().bind(|| insta::assert_json_snapshot!("_as_no_administrator", user_messages));
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_refuse_changes_by_pages_of_other_origins() {
    let api = Api::start(&[]).await;
    let cookie = format!("token={}", api.server.key);
    let mut checked = 0;
    for (method, path, operation) in operations(&api.document) {
        let starts_session = path.ends_with("/signin") || path.ends_with("/signup");
        let starts_session = starts_session || path == "/api/v1/setup";
        if method.is_safe() || (is_open(operation) && !starts_session) {
            continue;
        }
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
        ] {
            let request = api
                .ask_without_key(method.clone(), &filled(path))
                .header("cookie", &cookie)
                .header(name, value)
                .json(&json!({}));
            let response = request.request.send().await.unwrap();
            assert_eq!(response.status(), 403, "{method} {path} {name}: {value}");
        }
        checked += 1;
    }
    assert!(checked > 60, "{checked}");
}

/// Each operation has a case named `good`, and each case has an operation.
#[tokio::test(flavor = "multi_thread")]
async fn each_operation_has_a_good_case() {
    let api = Api::start(&[]).await;
    let operations = operations(&api.document).into_iter();
    let ids: BTreeSet<String> = operations
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
        .collect();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/snapshots");
    let mut good_ids = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some((id, case)) = file.split_once('@') else {
            continue;
        };
        assert!(ids.contains(id), "{file} is of no operation");
        if case.starts_with("good") {
            good_ids.insert(id.to_owned());
        }
    }
    let missing: Vec<_> = ids.difference(&good_ids).collect();
    assert!(
        missing.is_empty(),
        "operations without a good case: {missing:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn api_page_is_current() {
    let api = Api::start(&[]).await;
    let mut page = PAGE_HEAD.to_owned();
    for tag in api.document["tags"].as_array().unwrap() {
        let name = tag["name"].as_str().unwrap();
        let all = operations(&api.document).into_iter();
        let tag_operations: Vec<_> = all.filter(|(.., it)| it["tags"][0] == name).collect();
        if tag_operations.is_empty() {
            continue;
        }
        let description = tag["description"].as_str().unwrap();
        write!(page, "\n## {name}\n\n{description}\n").unwrap();
        let (for_administrators, for_users): (Vec<_>, Vec<_>) = tag_operations
            .into_iter()
            .partition(|(.., it)| summary(it).ends_with(ADMINISTRATORS));
        if !for_users.is_empty() {
            write!(page, "\n{}", list(for_users)).unwrap();
        }
        if !for_administrators.is_empty() {
            let items = list(for_administrators);
            write!(page, "\nFor administrators:\n\n{items}").unwrap();
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/api.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != page {
        std::fs::write(&path, &page).unwrap();
        panic!(
            "docs/reference/api.md was out of date and has been rewritten: review and commit it"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn document_page_requests_only_this_server() {
    let api = Api::start(&[]).await;
    for (path, media_type) in [
        ("/docs", "text/html"),
        ("/docs/page.js", "text/javascript"),
        ("/docs/page.css", "text/css"),
    ] {
        let response = api.ask_without_key(Method::GET, path).request.send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(media_type), "{path}");
        let policy = header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        let text = response.text().await.unwrap();
        for foreign in [
            "http:",
            "https:",
            "//cdn",
            "innerHTML",
            "eval(",
            " style=",
            " onclick=",
        ] {
            assert!(!text.contains(foreign), "{path} has {foreign}");
        }
    }
}
