//! The gallery: a user's images with what made them, stars, deletion with undo, and downloads.

mod archive;
mod changes;
mod links;
mod list;
mod made;

use http::Method;
use pinhole::store::{FileRow, GalleryFields, NewFile};
use pinhole_tests::{TestServer, gif};
use serde_json::{Value, json};

const GALLERY: &str = "/api/v1/gallery";

/// Status and JSON of a request with this key.
async fn ask(
    server: &TestServer,
    method: Method,
    path: &str,
    key: &str,
    body: Option<&Value>,
) -> (u16, Value) {
    let request = server.client.request(method, server.url(path));
    let body = body.map(Value::to_string).unwrap_or_default();
    let response = request.bearer_auth(key).body(body).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let json = serde_json::from_str(&text);
    (status, json.unwrap_or_else(|_| text.into()))
}

async fn get(server: &TestServer, key: &str, path: &str) -> (u16, Value) {
    ask(server, Method::GET, path, key, None).await
}

/// The JSON of a successful `POST`.
async fn post(server: &TestServer, key: &str, path: &str, body: Value) -> Value {
    let (status, response) = ask(server, Method::POST, path, key, Some(&body)).await;
    assert_eq!(status, 200, "{path}: {response}");
    response
}

/// The images of a page of the gallery.
async fn images(server: &TestServer, key: &str, query: &str) -> Vec<Value> {
    let (status, page) = get(server, key, &format!("{GALLERY}?{query}")).await;
    assert_eq!(status, 200, "{query}: {page}");
    page["images"].as_array().unwrap().clone()
}

/// The names of the images of a page.
async fn names(server: &TestServer, key: &str, query: &str) -> Vec<String> {
    let found = images(server, key, query).await;
    let name = |image: &Value| image["name"].as_str().unwrap().to_owned();
    found.iter().map(name).collect()
}

/// The id of the owner of a key.
async fn user_id(server: &TestServer, key: &str) -> String {
    let user = server.app.store.user_by_key(key).await.unwrap();
    user.unwrap().id
}

/// Uploads an image. Returns its id.
async fn upload(server: &TestServer, key: &str, name: &str) -> String {
    upload_bytes(server, key, name, &gif(9)).await
}

async fn upload_bytes(server: &TestServer, key: &str, name: &str, bytes: &[u8]) -> String {
    let head = format!(
        "--limit\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
    );
    let form = [head.as_bytes(), bytes, b"\r\n--limit--\r\n"].concat();
    let request = server
        .client
        .post(server.url("/api/v1/files/"))
        .bearer_auth(key);
    let request = request.header("content-type", "multipart/form-data; boundary=limit");
    let response = request.body(form).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let row: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    row["id"].as_str().unwrap().to_owned()
}

/// Generates images and stores them. Returns the response.
async fn generate(server: &TestServer, key: &str, body: Value) -> Value {
    post(server, key, "/api/v1/images/generations", body).await
}

/// A row without bytes.
fn new_file(id: &str, user_id: &str, name: &str, created_at: i64) -> NewFile {
    NewFile {
        row: FileRow {
            id: id.to_owned(),
            user_id: user_id.to_owned(),
            name: name.to_owned(),
            media_type: "image/png".to_owned(),
            size_bytes: 1,
            hash: String::new(),
            meta: "{}".to_owned(),
            created_at,
        },
        gallery: GalleryFields::default(),
        entry: json!({}),
    }
}

/// Pretends that the images were deleted this long ago.
async fn let_time_pass(server: &TestServer, secs: i64) {
    let update = format!("UPDATE files SET deleted_at = deleted_at - {secs}");
    server.database.execute(update, &[]).await;
}
