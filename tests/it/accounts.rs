//! Accounts, sessions, keys and permissions, as Open WebUI's clients use them.

mod administration;
mod client_settings;
mod image_permission;
mod keys;
mod open_sessions;
mod rate_limits;
mod sessions;
mod setup;

use http::Method;
use pinhole_tests::{TestDatabase, TestServer};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";
/// Open WebUI's error for a missing role or permission.
const PROHIBITED: &str = "You do not have permission to access this resource. Please contact your administrator for assistance.";

/// A server with the engine `sketch`.
async fn server(variables: &[(&str, &str)]) -> TestServer {
    TestServer::with_engine("sketch", variables).await
}

/// Sends a request with this key or session. Returns the status and JSON of the response.
async fn request_as(
    server: &TestServer,
    method: Method,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let mut request = server.client.request(method, server.url(path));
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    let body = body.map(|body| body.to_string());
    let response = request.body(body.unwrap_or_default()).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|_| text.into()),
    )
}

async fn get(server: &TestServer, path: &str, token: &str) -> (u16, Value) {
    request_as(server, Method::GET, path, token, None).await
}

async fn post(server: &TestServer, path: &str, token: &str, body: Value) -> (u16, Value) {
    request_as(server, Method::POST, path, token, Some(body)).await
}

async fn delete(server: &TestServer, path: &str, token: &str) -> (u16, Value) {
    request_as(server, Method::DELETE, path, token, None).await
}

async fn sign_up(server: &TestServer, name: &str) -> (u16, Value) {
    let email = format!("{name}@example.com");
    let body = json!({"name": name, "email": email, "password": PASSWORD});
    post(server, "/api/v1/auths/signup", "", body).await
}

async fn sign_in(server: &TestServer, email: &str, password: &str) -> (u16, Value) {
    let body = json!({"email": email, "password": password});
    post(server, "/api/v1/auths/signin", "", body).await
}

/// Creates a user as administrator. Returns the user's id and session.
async fn create_user(server: &TestServer, name: &str, role: &str) -> (String, String) {
    let email = format!("{name}@example.com");
    let body = json!({"name": name, "email": email, "password": PASSWORD, "role": role});
    let (status, response) = post(server, "/api/v1/auths/add", &server.key, body).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response["role"], role);
    let (sign_in_status, session) = sign_in(server, &email, PASSWORD).await;
    assert_eq!(sign_in_status, 200, "{session}");
    (text(&session, "id"), text(&session, "token"))
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap().to_owned()
}

fn image_request() -> Value {
    json!({"prompt": "a fox", "size": "64x48", "response_format": "url"})
}

#[tokio::test(flavor = "multi_thread")]
async fn first_sign_up_is_administrator() {
    let server = server(&[("ENABLE_SIGNUP", "True")]).await;
    let (status, ada) = sign_up(&server, "Ada").await;
    assert_eq!(status, 200, "{ada}");
    assert_eq!(
        (&ada["role"], &ada["name"]),
        (&json!("admin"), &json!("Ada"))
    );
    assert_eq!(ada["email"], "ada@example.com");
    assert_eq!(ada["token_type"], "Bearer");
    assert_eq!(ada["permissions"]["features"]["image_generation"], true);
    assert!(ada["expires_at"].as_i64().unwrap() > 1_700_000_000);
    let token = text(&ada, "token");
    assert_eq!(get(&server, "/api/v1/users/", &token).await.1["total"], 2);
    let (generation_status, response) =
        post(&server, "/v1/images/generations", &token, image_request()).await;
    assert_eq!(generation_status, 200, "{response}");

    // The key of the first start is still valid.
    assert_eq!(get(&server, "/api/v1/users/", &server.key).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_up_makes_no_second_administrator_after_all_accounts_are_deleted() {
    let variables = [("ENABLE_SIGNUP", "true"), ("DEFAULT_USER_ROLE", "user")];
    let server = server(&variables).await;
    let (_, ada) = sign_up(&server, "Ada").await;
    assert_eq!(ada["role"], "admin");
    let path = format!("/api/v1/users/{}", text(&ada, "id"));
    assert_eq!(delete(&server, &path, &server.key).await.0, 200);
    assert!(!server.app.accounts.is_first_sign_up_open().await.unwrap());
    assert_eq!(sign_up(&server, "Ada").await.1["role"], "user");
    // Also after a restart.
    let server = server.restart(&variables).await;
    assert_eq!(sign_up(&server, "Eve").await.1["role"], "user");
}

#[tokio::test(flavor = "multi_thread")]
async fn account_of_earlier_version_counts_as_first() {
    let variables = [("ENABLE_SIGNUP", "true"), ("DEFAULT_USER_ROLE", "user")];
    let server = server(&variables).await;
    sign_up(&server, "Ada").await;
    let TestDatabase::Sqlite(_) = server.database else {
        // The earlier version has no PostgreSQL.
        return;
    };
    // As the earlier version left the database.
    for statement in [
        "DROP TABLE first_account",
        "DELETE FROM _sqlx_migrations WHERE description = 'first account'",
    ] {
        server.database.execute(statement, &[]).await;
    }
    let server = server.restart(&variables).await;
    assert_eq!(sign_up(&server, "Eve").await.1["role"], "user");
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_up_is_closed_by_default() {
    for variables in [&[][..], &[("ENABLE_SIGNUP", "False")]] {
        let server = server(variables).await;
        let (status, refused) = sign_up(&server, "Ada").await;
        assert_eq!(status, 403, "{refused}");
        assert!(text(&refused, "detail").contains("ask an administrator"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sign_ups_make_one_administrator() {
    let server = server(&[("ENABLE_SIGNUP", "true"), ("DEFAULT_USER_ROLE", "user")]).await;
    let names = ["a", "b", "c", "d", "a"];
    let all = futures_util::future::join_all(names.map(|name| sign_up(&server, name))).await;
    let count = |status, role: &str| {
        let same = |response: &&(u16, Value)| response.0 == status && response.1["role"] == *role;
        all.iter().filter(same).count()
    };
    assert_eq!((count(200, "admin"), count(200, "user")), (1, 3), "{all:?}");
    let refused: Vec<_> = all.iter().filter(|response| response.0 == 400).collect();
    assert!(
        refused.len() == 1 && text(&refused[0].1, "detail").contains("choose another"),
        "{all:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_user_has_no_access() {
    let server = server(&[("ENABLE_SIGNUP", "true")]).await;
    assert_eq!(sign_up(&server, "Ada").await.1["role"], "admin");
    let (status, eve) = sign_up(&server, "Eve").await;
    assert_eq!((status, &eve["role"]), (200, &json!("pending")));
    assert_eq!(eve["permissions"]["features"]["image_generation"], false);
    let token = text(&eve, "token");
    assert_eq!(
        get(&server, "/api/v1/auths/", &token).await.1["role"],
        "pending"
    );
    for (method, path) in [
        (Method::POST, "/v1/images/generations"),
        (Method::POST, "/api/chat/completions"),
        (Method::POST, "/api/v1/auths/api_key"),
        (Method::POST, "/api/v1/files/"),
        (Method::GET, "/api/v1/files/"),
        (Method::GET, "/api/events"),
        (Method::GET, "/v1/models"),
        (Method::GET, "/api/v1/users/"),
    ] {
        let (refused_status, refused) =
            request_as(&server, method, path, &token, Some(image_request())).await;
        assert_eq!(refused_status, 401, "{path}: {refused}");
        assert!(
            refused.to_string().contains(PROHIBITED),
            "{path}: {refused}"
        );
    }
    let change = format!("/api/v1/users/{}/update", text(&eve, "id"));
    let (changed_status, changed) =
        post(&server, &change, &server.key, json!({"role": "user"})).await;
    assert_eq!((changed_status, &changed["role"]), (200, &json!("user")));
    assert_eq!(
        post(&server, "/v1/images/generations", &token, image_request())
            .await
            .0,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_up_refuses_invalid_fields() {
    let server = server(&[("ENABLE_SIGNUP", "true")]).await;
    let long = "x".repeat(300);
    let good = json!({"name": "Ada", "email": "ada@example.com", "password": PASSWORD});
    for (field, invalid) in [
        ("name", json!("")),
        ("name", json!("a\nb")),
        ("name", json!(long)),
        ("name", json!(null)),
        ("email", json!("ada")),
        ("email", json!(format!("{long}@example.com"))),
        ("email", json!(7)),
        ("password", json!("1234567")),
        ("password", json!(long)),
        ("password", json!({})),
    ] {
        let mut body = good.clone();
        body[field] = invalid;
        let (status, refused) = post(&server, "/api/v1/auths/signup", "", body.clone()).await;
        assert_eq!(status, 400, "{body}: {refused}");
        assert!(
            text(&refused, "detail").contains(field),
            "{body}: {refused}"
        );
    }
    let too_large = json!({"name": "x".repeat(70_000)});
    assert_eq!(
        post(&server, "/api/v1/auths/signup", "", too_large).await.0,
        413
    );
    assert_eq!(
        post(&server, "/api/v1/auths/signin", "", json!([])).await.0,
        400
    );
    // None of them created an account.
    assert_eq!(sign_up(&server, "Ada").await.1["role"], "admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn api_key_is_returned_once_and_replaced() {
    let server = server(&[]).await;
    let (_, token) = create_user(&server, "ada", "user").await;
    let path = "/api/v1/auths/api_key";
    assert_eq!(get(&server, path, &token).await.0, 404);
    let (status, first) = post(&server, path, &token, json!({})).await;
    assert_eq!(status, 200, "{first}");
    let first = text(&first, "api_key");
    assert!(first.starts_with("sk-") && first.len() > 40, "{first}");
    assert_eq!(
        post(&server, "/v1/images/generations", &first, image_request())
            .await
            .0,
        200
    );
    let (_, masked) = get(&server, path, &first).await;
    assert_eq!(masked, json!({"api_key": "sk-********"}));
    for file in ["pinhole.db", "pinhole.db-wal"] {
        let bytes = std::fs::read(server.data_dir.path().join(file)).unwrap_or_default();
        let found = bytes.windows(first.len()).any(|it| it == first.as_bytes());
        assert!(!found, "the key is in {file}");
    }
    let second = text(&post(&server, path, &token, json!({})).await.1, "api_key");
    assert_eq!(get(&server, "/api/v1/files/", &first).await.0, 401);
    assert_eq!(get(&server, "/api/v1/files/", &second).await.0, 200);
    assert_eq!(delete(&server, path, &token).await, (200, json!(true)));
    assert_eq!(get(&server, "/api/v1/files/", &second).await.0, 401);
    assert_eq!(get(&server, "/api/v1/files/", &server.key).await.0, 200);
}
