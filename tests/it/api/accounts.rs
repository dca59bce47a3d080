//! Operations of accounts, sessions, keys, users and groups.

use super::*;

const PASSWORD: &str = "correct horse";

/// Creates an account and signs it in. Returns id and session.
pub(super) async fn account(api: &Api, name: &str, role: &str) -> (String, String) {
    let email = format!("{name}@example.com");
    let body = json!({"name": name, "email": email, "password": PASSWORD, "role": role});
    let (status, made) = api.server.post_json("/api/v1/auths/add", &body).await;
    assert_eq!(status, 200, "{made}");
    let credentials = json!({"email": email, "password": PASSWORD});
    let (session_status, session) = api
        .server
        .post_json("/api/v1/auths/signin", &credentials)
        .await;
    assert_eq!(session_status, 200, "{session}");
    (text(&session, "id"), text(&session, "token"))
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_up_and_sign_in_operations() {
    let api = Api::start(&[("ENABLE_SIGNUP", "true"), ("DEFAULT_USER_ROLE", "user")]).await;
    let post = |path: &str, body: Value| api.ask_without_key(Method::POST, path).json(&body);
    let (up, sign_in) = ("/api/v1/auths/signup", "/api/v1/auths/signin");
    let ada = json!({"name": "Ada", "email": "ada@example.com", "password": PASSWORD});
    api.case("good", post(up, ada.clone())).await;
    api.case("taken", post(up, ada)).await;
    let short = json!({"name": "Bob", "email": "bob@example.com", "password": "short"});
    api.case("short_password", post(up, short)).await;
    api.case("missing_field", post(up, json!({"name": "Bob"})))
        .await;
    api.case(
        "no_json",
        api.ask_without_key(Method::POST, up)
            .body("application/json", "{"),
    )
    .await;
    let long = json!({"name": "x".repeat(70_000)});
    api.case("too_large", post(up, long)).await;
    let good = json!({"email": "ada@example.com", "password": PASSWORD});
    let session = api.case("good", post(sign_in, good)).await;
    let wrong = json!({"email": "ada@example.com", "password": "battery staple"});
    api.case("wrong_password", post(sign_in, wrong)).await;
    api.case(
        "wrong_type",
        post(sign_in, json!({"email": 5, "password": "x"})),
    )
    .await;

    let token = text(&session, "token");
    let as_ada = |method: Method, path: &str| api.ask_as(&token, method, path);
    api.case("good", as_ada(Method::GET, "/api/v1/auths/"))
        .await;
    api.case("good_with_a_key", api.ask(Method::GET, "/api/v1/auths/"))
        .await;
    let key = "/api/v1/auths/api_key";
    api.case("none", as_ada(Method::GET, key)).await;
    api.case("good", as_ada(Method::POST, key)).await;
    api.case("good", as_ada(Method::GET, key)).await;
    api.case("good", as_ada(Method::DELETE, key)).await;
    let update = "/api/v1/auths/update/password";
    let wrong_change = json!({"password": "battery staple", "new_password": "longer than before"});
    api.case(
        "wrong_password",
        as_ada(Method::POST, update).json(&wrong_change),
    )
    .await;
    let good_change = json!({"password": PASSWORD, "new_password": "longer than before"});
    api.case("good", as_ada(Method::POST, update).json(&good_change))
        .await;
    api.case("good", as_ada(Method::GET, "/api/v1/auths/signout"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_up_operation_while_disabled() {
    let api = Api::start(&[]).await;
    let eve = json!({"name": "Eve", "email": "eve@example.com", "password": PASSWORD});
    let api_request = api.ask_without_key(Method::POST, "/api/v1/auths/signup");
    api.case("closed", api_request.json(&eve)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_operations() {
    let api = Api::start(&[]).await;
    let path = "/api/v1/setup";
    api.case("good", api.ask_without_key(Method::GET, path))
        .await;
    let setup = |code: &str| {
        let body = json!({
            "code": code, "name": "Ada", "email": "ada@example.com", "password": PASSWORD,
        });
        api.ask_without_key(Method::POST, path).json(&body)
    };
    api.case("wrong_code", setup("wrong")).await;
    let code = api.server.app.accounts.setup_code().to_owned();
    api.case("good", setup(&code)).await;
    api.case("done", setup(&code)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_operations() {
    let api = Api::start(&[]).await;
    let (ada, token) = account(&api, "ada", "user").await;
    let as_ada = |method: Method, path: &str| api.ask_as(&token, method, path);
    let keys = "/api/v1/auths/keys";
    let create = |body: Value| as_ada(Method::POST, keys).json(&body);
    let laptop = json!({"name": "laptop", "expires_at": 4_000_000_000_i64});
    let key = api.case("good", create(laptop)).await;
    api.case("no_name", create(json!({"name": ""}))).await;
    api.case("past", create(json!({"name": "a", "expires_at": 5})))
        .await;
    api.case("good", as_ada(Method::GET, keys)).await;
    let of_user = format!("/api/v1/users/{ada}/keys");
    api.case("good", api.ask(Method::GET, &of_user)).await;
    let unknown_user = api.ask(Method::GET, "/api/v1/users/none/keys");
    api.case("not_found", unknown_user).await;
    let sign_in = || {
        let body = json!({"key": key["key"]});
        api.ask_without_key(Method::POST, "/api/v1/auths/signin")
            .json(&body)
    };
    api.case("good_with_a_key", sign_in()).await;
    let path = format!("{keys}/{}", text(&key, "id"));
    api.case("good", as_ada(Method::DELETE, &path)).await;
    api.case("not_found", as_ada(Method::DELETE, &path)).await;
    api.case("unknown_key", sign_in()).await;
    let (_, other) = (api.server)
        .post_json("/api/v1/auths/keys", &json!({"name": "a"}))
        .await;
    let admin = api.server.get("/api/v1/auths/").send().await.unwrap();
    let admin: Value = serde_json::from_slice(&admin.bytes().await.unwrap()).unwrap();
    let of_administrator = format!(
        "/api/v1/users/{}/keys/{}",
        text(&admin, "id"),
        text(&other, "id")
    );
    api.case("good", api.ask(Method::DELETE, &of_administrator))
        .await;
    api.case("not_found", api.ask(Method::DELETE, &of_administrator))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_operations() {
    let api = Api::start(&[]).await;
    let (ada, token) = account(&api, "ada", "user").await;
    let as_ada = |method: Method, path: &str| api.ask_as(&token, method, path);
    let sessions = "/api/v1/auths/sessions";
    let list = api.case("good", as_ada(Method::GET, sessions)).await;
    let of_user = format!("/api/v1/users/{ada}/sessions");
    api.case("good", api.ask(Method::GET, &of_user)).await;
    let unknown_user = api.ask(Method::GET, "/api/v1/users/none/sessions");
    api.case("not_found", unknown_user).await;
    let end_others = format!("{sessions}/end-others");
    api.case("good", as_ada(Method::POST, &end_others)).await;
    let missing = format!("{sessions}/none");
    api.case("not_found", as_ada(Method::DELETE, &missing))
        .await;
    let id = text(&list[0], "id");
    let path = format!("{sessions}/{id}");
    api.case("good", as_ada(Method::DELETE, &path)).await;
    let credentials = json!({"email": "ada@example.com", "password": PASSWORD});
    api.server
        .post_json("/api/v1/auths/signin", &credentials)
        .await;
    let open = api.server.get(&of_user).send().await.unwrap();
    let open: Value = serde_json::from_slice(&open.bytes().await.unwrap()).unwrap();
    let of_administrator = format!("{of_user}/{}", text(&open[0], "id"));
    api.case("good", api.ask(Method::DELETE, &of_administrator))
        .await;
    api.case("not_found", api.ask(Method::DELETE, &of_administrator))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_operations() {
    let api = Api::start(&[]).await;
    // A list of users of the same second has no defined order, so this precedes the second user.
    api.case("good", api.ask(Method::GET, "/api/v1/users/?page=1"))
        .await;
    let add = "/api/v1/auths/add";
    let bob =
        json!({"name": "Bob", "email": "bob@example.com", "password": PASSWORD, "role": "user"});
    let bob = api
        .case("good", api.ask(Method::POST, add).json(&bob))
        .await;
    let other =
        json!({"name": "C", "email": "c@example.com", "password": PASSWORD, "role": "root"});
    api.case("unknown_role", api.ask(Method::POST, add).json(&other))
        .await;
    api.case(
        "unknown_role",
        api.ask(Method::GET, "/api/v1/users/?role=root"),
    )
    .await;
    api.case("page_zero", api.ask(Method::GET, "/api/v1/users/?page=0"))
        .await;
    api.case(
        "page_no_number",
        api.ask(Method::GET, "/api/v1/users/?page=x"),
    )
    .await;
    api.case(
        "good",
        api.ask(Method::GET, "/api/v1/users/default/permissions"),
    )
    .await;
    let path = format!("/api/v1/users/{}", text(&bob, "id"));
    api.case("good", api.ask(Method::GET, &path)).await;
    api.case("not_found", api.ask(Method::GET, "/api/v1/users/nobody"))
        .await;
    let update = format!("{path}/update");
    let change = |body: Value| api.ask(Method::POST, &update).json(&body);
    api.case("good", change(json!({"role": "pending", "name": "Robert"})))
        .await;
    api.case("unknown_role", change(json!({"role": "root"})))
        .await;
    api.case("wrong_type", change(json!([]))).await;
    let unknown_user = api.ask(Method::POST, "/api/v1/users/nobody/update");
    api.case("not_found", unknown_user.json(&json!({}))).await;
    api.case("good", api.ask(Method::DELETE, &path)).await;
    api.case("not_found", api.ask(Method::DELETE, &path)).await;
    let (_, session) = api.server.post_json("/api/v1/auths/add", &json!({})).await;
    assert!(session["detail"].is_string());
    let who = api.server.get("/api/v1/auths/").send().await.unwrap();
    let who: Value = serde_json::from_slice(&who.bytes().await.unwrap()).unwrap();
    let own = format!("/api/v1/users/{}", text(&who, "id"));
    api.case("oneself", api.ask(Method::DELETE, &own)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_operations() {
    let api = Api::start(&[]).await;
    let (bob, _) = account(&api, "bob", "user").await;
    let create = "/api/v1/groups/create";
    let painters = json!({
        "name": "Painters",
        "description": "who may",
        "permissions": {"features": {"image_generation": true}},
    });
    let group = api
        .case("good", api.ask(Method::POST, create).json(&painters))
        .await;
    api.case(
        "no_name",
        api.ask(Method::POST, create).json(&json!({"name": " "})),
    )
    .await;
    api.case("good", api.ask(Method::GET, "/api/v1/groups/"))
        .await;
    let path = format!("/api/v1/groups/id/{}", text(&group, "id"));
    api.case("good", api.ask(Method::GET, &path)).await;
    api.case("not_found", api.ask(Method::GET, "/api/v1/groups/id/none"))
        .await;
    for (route, body) in [
        ("update", json!({"description": "who still may"})),
        ("users/add", json!({"user_ids": [bob]})),
        ("users/remove", json!({"user_ids": [bob]})),
    ] {
        let api_request = api.ask(Method::POST, &format!("{path}/{route}"));
        api.case("good", api_request.json(&body)).await;
        let missing_request = api.ask(Method::POST, &format!("/api/v1/groups/id/none/{route}"));
        api.case("not_found", missing_request.json(&body)).await;
        let invalid_request = api.ask(Method::POST, &format!("{path}/{route}"));
        api.case("wrong_type", invalid_request.json(&json!(5)))
            .await;
    }
    let path = format!("{path}/delete");
    api.case("good", api.ask(Method::DELETE, &path)).await;
    api.case("not_found", api.ask(Method::DELETE, &path)).await;
}
