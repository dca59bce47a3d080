//! The responses of the API, case by case, checked against the OpenAPI document.
//!
//! Each case is a snapshot in `snapshots`, named after the operation. Review a new one before you commit it
//! (`INSTA_UPDATE=always` writes them). Ids, times and secrets are redacted.

mod bindings;
mod chats;
mod client;
mod document;
pub(crate) mod engines;
mod images;
mod jobs;
mod files;
mod gallery;
mod accounts;
mod settings;
mod schema;

use http::Method;
use insta::internals::{Content, ContentPath};
use pinhole_tests::TestServer;
use serde_json::{Map, Value, json};

/// Response headers that a snapshot includes.
const SNAPSHOT_HEADERS: [&str; 8] = [
    "content-disposition",
    "content-range",
    "content-security-policy",
    "content-type",
    "cache-control",
    "retry-after",
    "set-cookie",
    "x-content-type-options",
];

/// Entries of a long list that a snapshot includes.
const SNAPSHOT_ENTRIES: usize = 3;

/// A server and its OpenAPI document.
struct Api {
    server: TestServer,
    document: Value,
}

/// A request, with the parts that its documentation covers.
struct ApiRequest {
    request: reqwest::RequestBuilder,
    path: String,
    method: Method,
    /// The response is a stream, so its body is not read.
    is_stream: bool,
}

impl Api {
    /// Starts a server with the engine `sketch`.
    async fn start(variables: &[(&str, &str)]) -> Self {
        Self::of(TestServer::with_engine("sketch", variables).await).await
    }

    async fn of(server: TestServer) -> Self {
        let document = server.client.get(server.url("/openapi.json")).send().await;
        let document = document.unwrap().bytes().await.unwrap();
        Self {
            server,
            document: serde_json::from_slice(&document).unwrap(),
        }
    }

    /// A request with the administrator's key.
    fn ask(&self, method: Method, path: &str) -> ApiRequest {
        self.ask_as(&self.server.key, method, path)
    }

    /// A request with this key or session.
    fn ask_as(&self, token: &str, method: Method, path: &str) -> ApiRequest {
        let mut api_request = self.ask_without_key(method, path);
        api_request.request = api_request.request.bearer_auth(token);
        api_request
    }

    fn ask_without_key(&self, method: Method, path: &str) -> ApiRequest {
        let client = &self.server.client;
        ApiRequest {
            request: client.request(method.clone(), self.server.url(path)),
            path: path.to_owned(),
            method,
            is_stream: false,
        }
    }

    /// Sends the request and compares the response with the document and with its snapshot. Returns the JSON of the
    /// response.
    async fn case(&self, case: &str, api_request: ApiRequest) -> Value {
        let ApiRequest {
            request,
            path,
            method,
            is_stream,
        } = api_request;
        let (template, operation) = self.operation(&method, &path);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = if is_stream {
            bytes::Bytes::from_static(b"[a stream]")
        } else {
            response.bytes().await.unwrap()
        };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let media_type = text("content-type").unwrap_or_default().to_owned();
        let body = match serde_json::from_slice(&bytes) {
            Ok(json) => json,
            Err(_) if bytes.is_empty() => Value::Null,
            Err(_) if media_type.starts_with("text/") => {
                Value::from(String::from_utf8(bytes.to_vec()).unwrap())
            }
            Err(_) => json!(format!("[{} bytes]", bytes.len())),
        };
        let description = format!("{method} {path}: {status} {body}");
        let is_good = status < 400;
        assert_eq!(case.starts_with("good"), is_good, "{case} of {description}");
        let documented = &operation["responses"][status.to_string()];
        assert!(documented.is_object(), "undocumented status: {description}");
        self.check_body(documented, &media_type, &body, &description);
        let snapshot_headers = SNAPSHOT_HEADERS
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), text(name)?.into())));
        let snapshot = json!({
            "request": format!("{method} {template}"),
            "status": status,
            "headers": snapshot_headers.collect::<Map<_, _>>(),
            "body": first_entries(&body),
        });
        let name = format!("{}@{case}", operation["operationId"].as_str().unwrap());
        snapshots().bind(|| insta::assert_json_snapshot!(name, snapshot));
        body
    }

    /// The documented path that matches this path, and the documentation of this method.
    fn operation(&self, method: &Method, path: &str) -> (&str, &Value) {
        let path = path.split('?').next().unwrap();
        let paths = self.document["paths"].as_object().unwrap();
        let fits = |template: &str| {
            let (parts, wanted) = (path.split('/'), template.split('/'));
            parts.clone().count() == wanted.clone().count()
                && parts
                    .zip(wanted)
                    .all(|(part, wanted)| part == wanted || wanted.starts_with('{'))
        };
        // `/a/b` precedes `/a/{id}`.
        let found = paths
            .iter()
            .filter(|(template, _)| fits(template))
            .min_by_key(|(template, _)| template.matches('{').count());
        let (template, item) = found.unwrap_or_else(|| panic!("{path} is not in the document"));
        let operation = &item[method.as_str().to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not documented");
        (template, operation)
    }

    #[track_caller]
    fn check_body(&self, documented: &Value, media_type: &str, body: &Value, description: &str) {
        let media_type = media_type.split(';').next().unwrap();
        let Some(contents) = documented["content"].as_object() else {
            assert!(body.is_null(), "no body is documented: {description}");
            return;
        };
        let general = format!("{}/*", media_type.split('/').next().unwrap());
        let content = contents.get(media_type).or_else(|| contents.get(&general));
        let content =
            content.unwrap_or_else(|| panic!("{media_type} is not documented: {description}"));
        if media_type == "application/json" {
            let found = schema::faults(&self.document, &content["schema"], body);
            assert!(found.is_empty(), "{description}: {found:#?}");
        }
    }
}

impl ApiRequest {
    fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    fn body(mut self, media_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.header("content-type", media_type).body(body);
        self
    }

    fn skip_body(mut self) -> Self {
        self.is_stream = true;
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }
}

/// The first entries of a list. Other tests check the others.
fn first_entries(body: &Value) -> Value {
    match body.as_array() {
        Some(list) if list.len() > SNAPSHOT_ENTRIES => {
            let mut entries = list[..SNAPSHOT_ENTRIES].to_vec();
            entries.push("[more]".into());
            entries.into()
        }
        _ => body.clone(),
    }
}

/// The directory of the snapshots and the redactions in them.
fn snapshots() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/it/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (field, redact) in [
        ("created", "[time]"),
        ("created_at", "[time]"),
        ("updated_at", "[time]"),
        ("last_read_at", "[time]"),
        ("changed_at", "[time]"),
        ("expires_at", "[time]"),
        ("completed_at", "[time]"),
        ("last_active_at", "[time]"),
        ("last_used_at", "[time]"),
        ("prefix", "[prefix]"),
        ("b64_json", "[picture]"),
        ("result", "[picture]"),
        ("hash", "[hash]"),
        ("token", "[session]"),
        ("set-cookie", "[cookie]"),
        ("version", "[version]"),
        ("engine_version", "[version]"),
        ("started_at", "[time]"),
        ("ended_at", "[time]"),
        ("duration_ms", "[time]"),
        ("added_at", "[time]"),
        ("at", "[time]"),
        ("size_bytes", "[bytes]"),
        ("duration_ms", "[time]"),
        ("since_ms", "[time]"),
        ("undo_until", "[time]"),
        ("engine_version", "[version]"),
        ("sha256", "[hash]"),
    ] {
        settings.add_redaction(&format!(".**[\"{field}\"]"), redact);
    }
    // They have digests and lengths.
    settings.add_redaction(".body.steps", "[steps]");
    // The count depends on other requests.
    settings.add_redaction(".body.counted", "[count]");
    for field in ["engine", "job", "message", "refused_at", "user"] {
        settings.add_redaction(&format!(".body.lines[].{field}"), "[line]");
    }
    for field in [
        "api_key",
        "body",
        "content",
        "detail",
        "digest",
        "file",
        "id",
        "job",
        "job_id",
        "key",
        "message",
        "name",
        "task_id",
        "task_ids[]",
        "url",
        "user_id",
    ] {
        let redacted = |content: Content, _: ContentPath| match content.as_str() {
            Some(text) if text.starts_with("data:") => Content::from("[picture]"),
            Some(text) => Content::from(redact(text)),
            None => content,
        };
        settings.add_dynamic_redaction(&format!(".**.{field}"), redacted);
    }
    // `null` on the last page.
    let cursor = |content: Content, _: ContentPath| match content.as_str() {
        Some(_) => Content::from("[cursor]"),
        None => content,
    };
    settings.add_dynamic_redaction(".body.next", cursor);
    // An ability has the same name.
    let seed = |content: Content, _: ContentPath| match content {
        Content::Bool(_) => content,
        _ => Content::from("[seed]"),
    };
    settings.add_dynamic_redaction(".**.seed", seed);
    // The time that is left.
    let without_secs = |content: Content, _: ContentPath| match content.as_str() {
        Some(text) if !text.contains("immutable") => {
            Content::from(text.trim_end_matches(|c: char| c.is_ascii_digit()))
        }
        _ => content,
    };
    settings.add_dynamic_redaction(".headers[\"cache-control\"]", without_secs);
    settings
}

/// Replaces the parts that change with each run: ids, keys and hashes, which are long sequences of letters, digits
/// and dashes.
fn redact(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut redacted = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let digits = word.chars().filter(char::is_ascii_digit).count();
        match (
            word.starts_with("sk-") && word.len() > 20,
            word.len() >= 43 || (word.len() >= 30 && digits >= 4),
        ) {
            (true, _) => redacted.push_str("[key]"),
            (_, true) => redacted.push_str("[id]"),
            _ if is_short_digest(word) => redacted.push_str("[digest]"),
            _ if word.len() == 10 && digits == 10 => redacted.push_str("[time]"),
            _ => redacted.push_str(word),
        }
        let mut after = after.chars();
        redacted.extend(after.next());
        rest = after.as_str();
    }
    redacted
}

/// The beginning of a digest.
fn is_short_digest(word: &str) -> bool {
    word.len() == 12 && word.chars().all(|c| c.is_ascii_hexdigit())
}

#[test]
fn redaction_replaces_only_values_that_change() {
    for (text, expected) in [
        ("a fox", "a fox"),
        (
            "/api/v1/files/0f8fad5b-d9cb-469f-a165-70867728950e/content",
            "/api/v1/files/[id]/content",
        ),
        ("sk-0123456789abcdefghij", "[key]"),
        ("sk-********", "sk-********"),
        (
            "We could not find what you're looking for :/",
            "We could not find what you're looking for :/",
        ),
    ] {
        assert_eq!(redact(text), expected);
    }
}
