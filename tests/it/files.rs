//! Stored images: access, delivery and removal.

pub(crate) mod buckets;
mod bulk;
mod content;
mod full_disk;
mod metadata;
mod storage;
mod sweep;
mod thumbnail;
mod upload;

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use pinhole::store::{FileRow, GalleryFields, NewFile};
use pinhole_tests::{ServerProcess, TestServer, engines, file_path, program};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Open WebUI's error for files that do not exist or belong to another user.
const NOT_FOUND: &str = "We could not find what you're looking for :/";

/// Generates an image with this key. Returns its URL.
async fn generate_image(server: &TestServer, key: &str) -> String {
    let body = json!({"prompt": "a fox", "size": "64x48", "response_format": "url"});
    let request = server
        .client
        .post(server.url("/v1/images/generations"))
        .bearer_auth(key);
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let response: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    file_path(response["data"][0]["url"].as_str().unwrap())
}

/// The id in a file's URL.
fn file_id(url: &str) -> &str {
    let id = url.strip_prefix("/api/v1/files/").unwrap();
    id.strip_suffix("/content").unwrap()
}

/// A form as browsers encode it. Each part has a name, an optional file name, and bytes.
fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, bytes) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"\r\ncontent-type: text/html"));
        let file = file.unwrap_or_default();
        let head =
            format!("--limit\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--limit--\r\n");
    body
}

/// An upload of this form with this key.
fn post_form(
    server: &TestServer,
    key: &str,
    body: impl Into<reqwest::Body>,
) -> reqwest::RequestBuilder {
    server
        .client
        .post(server.url("/api/v1/files/?process=false"))
        .bearer_auth(key)
        .header("content-type", "multipart/form-data; boundary=limit")
        .body(body)
}

/// Uploads a file with this key. Returns its row.
async fn upload(server: &TestServer, key: &str, name: &str, bytes: &[u8]) -> Value {
    let request = post_form(server, key, form(&[("file", Some(name), bytes)]));
    let (status, row) = response_json(request).await;
    assert_eq!(status, 200, "{row}");
    row
}

/// Status and JSON of the response.
async fn response_json(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

/// A file to insert whose row is this.
fn new_file(row: FileRow) -> NewFile {
    NewFile {
        row,
        gallery: GalleryFields::default(),
        entry: Value::Null,
    }
}

/// SHA-256 in hexadecimal.
fn sha256_hex(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The URL of the file's bytes.
fn content_url(row: &Value) -> String {
    format!("/api/v1/files/{}/content", row["id"].as_str().unwrap())
}

async fn response_bytes(request: reqwest::RequestBuilder) -> Bytes {
    request.send().await.unwrap().bytes().await.unwrap()
}

async fn assert_not_found(case: &str, request: reqwest::RequestBuilder) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 404, "{case}");
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body, json!({"detail": NOT_FOUND}), "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_has_image_type_and_security_headers() {
    let server = TestServer::start(&[]).await;
    let url = generate_image(&server, &server.key).await;
    let response = server.get(&url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    let bytes = response.bytes().await.unwrap();
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", &bytes.len().to_string()),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cross-origin-resource-policy", "same-site"),
        (
            "content-disposition",
            "inline; filename=\"generated-image.png\"",
        ),
        ("cache-control", "private, max-age=31536000, immutable"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    let stored = std::fs::read(server.data_dir.path().join("files").join(file_id(&url))).unwrap();
    assert_eq!(bytes, stored);
    let again = server
        .get(&url)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(again, stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_accepts_token_cookie() {
    let server = TestServer::start(&[]).await;
    let url = server.url(&generate_image(&server, &server.key).await);
    let key = &server.key;
    for (cookie, status) in [
        (format!("token={key}"), 200),
        (format!("theme=dark; token={key}; lang=de"), 200),
        (format!("theme=dark;token={key}"), 200),
        (format!("atoken={key}"), 401),
        ("token=sk-000000".to_owned(), 401),
    ] {
        let request = server.client.get(&url).header("cookie", &cookie);
        assert_eq!(request.send().await.unwrap().status(), status, "{cookie}");
    }
    // The `Authorization` header takes precedence over the cookie.
    let request = server.client.get(&url).bearer_auth("sk-000000");
    let request = request.header("cookie", format!("token={key}"));
    assert_eq!(request.send().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_of_other_user_is_not_found() {
    let server = TestServer::start(&[]).await;
    let second = server.add_second_user().await;
    let (mine, theirs) = (
        generate_image(&server, &server.key).await,
        generate_image(&server, second).await,
    );
    let get = |key: &str, url: &str| server.client.get(server.url(url)).bearer_auth(key);
    assert_eq!(get(&server.key, &mine).send().await.unwrap().status(), 200);
    assert_eq!(get(second, &theirs).send().await.unwrap().status(), 200);
    assert_not_found("the administrator's", get(second, &mine)).await;
    let response = get(&server.key, &theirs).send().await.unwrap();
    assert_eq!(
        response.status(),
        200,
        "administrators have access to all files"
    );
    // The same error as for a file that does not exist.
    let unknown = "/api/v1/files/00000000-0000-4000-8000-000000000000/content";
    assert_not_found("nobody's", get(second, unknown)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_id_is_not_a_path() {
    let server = TestServer::start(&[]).await;
    let url = generate_image(&server, &server.key).await;
    let id = file_id(&url);
    std::fs::write(server.data_dir.path().join("secret"), "secret").unwrap();
    let long = "5".repeat(16_000);
    for trick in [
        "..%2fsecret",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e%2fpinhole.db",
        "..%5c..%5csecret",
        "%2fetc%2fpasswd",
        "%00",
        &format!("{id}%00"),
        &format!("{id}%00.png"),
        &format!(".%2f{id}"),
        &format!("{id}%2f"),
        &format!("..%2ffiles%2f{id}"),
        &format!("{id}%20"),
        &format!("%20{id}"),
        &id.to_uppercase(),
        "%25",
        "%27%20OR%201=1%20--",
        "%f0%9f%a6%8a",
        &long,
    ] {
        let request = server.get(&format!("/api/v1/files/{trick}/content"));
        let case: String = trick.chars().take(60).collect();
        assert_not_found(&case, request).await;
    }
    // Not UTF-8.
    let response = server
        .get("/api/v1/files/%ff%fe/content")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(server.get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_without_bytes_is_not_found() {
    let server = TestServer::start(&[]).await;
    let (missing, stored) = (
        generate_image(&server, &server.key).await,
        generate_image(&server, &server.key).await,
    );
    std::fs::remove_file(server.data_dir.path().join("files").join(file_id(&missing))).unwrap();
    assert_not_found("removed", server.get(&missing)).await;
    assert_eq!(server.get(&stored).send().await.unwrap().status(), 200);
}

/// Starts the program with this data directory.
fn start_process(data: &Path) -> ServerProcess {
    start_command(Command::new(program()), data, &[])
}

/// Starts a command that runs the program with its further arguments.
pub(crate) fn start_command(
    mut command: Command,
    data: &Path,
    variables: &[(&str, &str)],
) -> ServerProcess {
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("PINHOLE_DATA", data)
        .env("PINHOLE_ENGINES", engines())
        .env("PINHOLE_LOG", "info")
        .env("NO_COLOR", "1")
        .envs(variables.iter().copied());
    ServerProcess::start(command).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn file_and_key_survive_restart() {
    let server = TestServer::start(&[]).await;
    let data = tempfile::tempdir().unwrap();
    let first = start_process(data.path());
    let key = first.key.clone().unwrap();
    let fetch = async |process: &ServerProcess, path: &str, body: Option<Value>| {
        let url = format!("{}{path}", process.url);
        let request = match body {
            Some(body) => server.client.post(url).body(body.to_string()),
            None => server.client.get(url),
        };
        let download = request.bearer_auth(&key).send().await.unwrap();
        assert_eq!(download.status(), 200);
        download.bytes().await.unwrap()
    };
    let body = json!({"prompt": "a fox", "size": "64x48", "response_format": "url"});
    let generation = fetch(&first, "/v1/images/generations", Some(body)).await;
    let generation: Value = serde_json::from_slice(&generation).unwrap();
    let url = &file_path(generation["data"][0]["url"].as_str().unwrap());
    let image = fetch(&first, url, None).await;
    drop(first);

    let second = start_process(data.path());
    assert_eq!(second.key.as_deref(), Some(key.as_str()));
    assert_eq!(fetch(&second, url, None).await, image);
}
