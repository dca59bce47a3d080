//! Several API keys of a user, and sessions that begin with a key.

use http::Method;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{PASSWORD, create_user, delete, get, post, server, sign_in, text};

const KEYS: &str = "/api/v1/auths/keys";
const SIGN_IN: &str = "/api/v1/auths/signin";

/// Creates a key. Returns its entry with the key.
async fn create_key(server: &TestServer, token: &str, body: Value) -> Value {
    let (status, created) = post(server, KEYS, token, body).await;
    assert_eq!(status, 200, "{created}");
    created
}

async fn is_valid(server: &TestServer, credential: &str) -> bool {
    get(server, "/api/v1/auths/", credential).await.0 == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn user_has_several_keys_with_names() {
    let server = server(&[]).await;
    let (id, token) = create_user(&server, "ada", "user").await;
    assert_eq!(get(&server, KEYS, &token).await, (200, json!([])));
    let soon = 4_000_000_000_i64;
    let laptop = create_key(
        &server,
        &token,
        json!({"name": "laptop", "expires_at": soon}),
    )
    .await;
    let phone = create_key(&server, &token, json!({"name": "phone"})).await;
    let (laptop_key, phone_key) = (text(&laptop, "key"), text(&phone, "key"));
    let (_, unnamed) = post(&server, "/api/v1/auths/api_key", &token, json!({})).await;
    let unnamed = text(&unnamed, "api_key");
    assert_eq!(laptop["prefix"], format!("{}…", &laptop_key[..7]));
    assert_eq!(
        (&laptop["expires_at"], &phone["expires_at"]),
        (&json!(soon), &json!(null))
    );
    for key in [&laptop_key, &phone_key, &unnamed] {
        assert!(is_valid(&server, key).await);
    }

    let (_, list) = get(&server, KEYS, &phone_key).await;
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|key| text(key, "name"))
        .collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["", "laptop", "phone"], "{names:?}");
    for key in list.as_array().unwrap() {
        assert!(key["last_used_at"].is_i64(), "{key}");
        assert!(key.get("key").is_none(), "{key}");
        assert!(!list.to_string().contains(&laptop_key[8..]));
    }
    let of_user = format!("/api/v1/users/{id}/keys");
    assert_eq!(get(&server, &of_user, &server.key).await.1, list);

    // A client of Open WebUI replaces and deletes only its own key.
    let (_, again) = post(&server, "/api/v1/auths/api_key", &token, json!({})).await;
    assert!(!is_valid(&server, &unnamed).await);
    assert!(is_valid(&server, &phone_key).await);
    let unnamed_path = "/api/v1/auths/api_key";
    assert_eq!(
        delete(&server, unnamed_path, &token).await,
        (200, json!(true))
    );
    assert!(!is_valid(&server, &text(&again, "api_key")).await);
    assert!(is_valid(&server, &laptop_key).await);

    let own = format!("{KEYS}/{}", text(&laptop, "id"));
    assert_eq!(delete(&server, &own, &token).await, (200, json!(true)));
    assert_eq!(delete(&server, &own, &token).await.0, 404);
    assert!(!is_valid(&server, &laptop_key).await);
    let of_administrator = format!("{of_user}/{}", text(&phone, "id"));
    assert_eq!(delete(&server, &of_administrator, &server.key).await.0, 200);
    assert!(!is_valid(&server, &phone_key).await);
    assert_eq!(get(&server, KEYS, &token).await.1, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn key_of_another_user_is_not_found() {
    let server = server(&[]).await;
    let (ada, ada_token) = create_user(&server, "ada", "user").await;
    let (eve, eve_token) = create_user(&server, "eve", "user").await;
    let key = create_key(&server, &ada_token, json!({"name": "a"})).await;
    let path = format!("{KEYS}/{}", text(&key, "id"));
    assert_eq!(delete(&server, &path, &eve_token).await.0, 404);
    assert_eq!(delete(&server, &path, &server.key).await.0, 404);
    let wrong_user = format!("/api/v1/users/{eve}/keys/{}", text(&key, "id"));
    assert_eq!(delete(&server, &wrong_user, &server.key).await.0, 404);
    for (method, route) in [
        (Method::GET, format!("/api/v1/users/{ada}/keys")),
        (Method::DELETE, format!("/api/v1/users/{ada}/keys/x")),
    ] {
        let refused = super::request_as(&server, method, &route, &eve_token, None).await;
        assert_eq!(refused.0, 401, "{route}");
    }
    assert_eq!(
        get(&server, "/api/v1/users/none/keys", &server.key).await.0,
        404
    );
    assert!(is_valid(&server, &text(&key, "key")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_limited_and_checked() {
    let server = server(&[]).await;
    let (_, token) = create_user(&server, "ada", "user").await;
    for (field, body) in [
        ("name", json!({})),
        ("name", json!({"name": ""})),
        ("name", json!({"name": "x".repeat(201)})),
        ("name", json!({"name": "a\nb"})),
        ("expires_at", json!({"name": "a", "expires_at": 5})),
        ("expires_at", json!({"name": "a", "expires_at": i64::MAX})),
        ("expires_at", json!({"name": "a", "expires_at": "soon"})),
    ] {
        let (status, refused) = post(&server, KEYS, &token, body.clone()).await;
        assert_eq!(status, 400, "{body}: {refused}");
        assert!(
            text(&refused, "detail").contains(field),
            "{body}: {refused}"
        );
    }
    for number in 0..20 {
        create_key(&server, &token, json!({"name": number.to_string()})).await;
    }
    for path in [KEYS, "/api/v1/auths/api_key"] {
        let (status, refused) = post(&server, path, &token, json!({"name": "more"})).await;
        assert_eq!(status, 400, "{path}: {refused}");
        assert!(
            text(&refused, "detail").contains("20 API keys"),
            "{refused}"
        );
    }
    assert_eq!(
        get(&server, KEYS, &token).await.1.as_array().unwrap().len(),
        20
    );
}

/// Sets the expiry of the user's keys, as time would.
async fn expire_keys(server: &TestServer) {
    let expire = "UPDATE api_keys SET expires_at = 5 WHERE name <> ''";
    server.database.execute(expire, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_key_is_unknown() {
    let server = server(&[]).await;
    let (_, token) = create_user(&server, "ada", "user").await;
    let soon = json!({"name": "short", "expires_at": 4_000_000_000_i64});
    let key = text(&create_key(&server, &token, soon).await, "key");
    let (status, session) = post(&server, SIGN_IN, "", json!({"key": key})).await;
    assert_eq!((status, &session["expires_at"].is_i64()), (200, &true));
    expire_keys(&server).await;
    // A new key, which nothing cached.
    assert_eq!(post(&server, SIGN_IN, "", json!({"key": key})).await.0, 400);
    let server = server.restart(&[]).await;
    assert!(!is_valid(&server, &key).await);
    assert_eq!(get(&server, KEYS, &token).await.1[0]["expires_at"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_with_a_key_ends_with_the_key() {
    let server = server(&[]).await;
    // The first administrator has no password.
    let (first_status, first) = post(&server, SIGN_IN, "", json!({"key": server.key})).await;
    assert_eq!((first_status, &first["role"]), (200, &json!("admin")));
    assert_eq!(first["email"], "");
    assert!(is_valid(&server, &text(&first, "token")).await);

    let (_, token) = create_user(&server, "ada", "user").await;
    let key = create_key(&server, &token, json!({"name": "a"})).await;
    let other = create_key(&server, &token, json!({"name": "b"})).await;
    let begin = async |created: &Value| {
        let body = json!({"key": format!(" {} ", text(created, "key"))});
        let (status, session) = post(&server, SIGN_IN, "", body).await;
        assert_eq!(status, 200, "{session}");
        assert_eq!(session["email"], "ada@example.com");
        text(&session, "token")
    };
    let (of_key, of_other) = (begin(&key).await, begin(&other).await);
    assert!(is_valid(&server, &of_key).await && is_valid(&server, &of_other).await);
    let path = format!("{KEYS}/{}", text(&key, "id"));
    assert_eq!(delete(&server, &path, &token).await.0, 200);
    assert!(!is_valid(&server, &of_key).await);
    assert!(is_valid(&server, &of_other).await && is_valid(&server, &token).await);
    let (_, sessions) = get(&server, "/api/v1/auths/sessions", &token).await;
    assert_eq!(sessions.as_array().unwrap().len(), 2, "{sessions}");
    // A new password ends the key, and so the session.
    let change = json!({"password": PASSWORD, "new_password": "a newer horse"});
    let changed = post(&server, "/api/v1/auths/update/password", &token, change).await;
    assert_eq!(changed.0, 200);
    assert!(!is_valid(&server, &of_other).await && !is_valid(&server, &token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_ends_before_its_key_expires() {
    let server = server(&[("JWT_EXPIRES_IN", "-1")]).await;
    let (_, token) = create_user(&server, "ada", "user").await;
    let at = 4_000_000_000_i64;
    let key = create_key(&server, &token, json!({"name": "a", "expires_at": at})).await;
    let (_, session) = post(&server, SIGN_IN, "", json!({"key": key["key"]})).await;
    assert_eq!(session["expires_at"], at);
    let endless = create_key(&server, &token, json!({"name": "b"})).await;
    let (_, endless_session) = post(&server, SIGN_IN, "", json!({"key": endless["key"]})).await;
    assert_eq!(endless_session["expires_at"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_with_an_unknown_key_is_refused_and_recorded() {
    let server = server(&[]).await;
    for key in ["", "sk-", "sk-unknown", "Bearer sk-x", &"sk-".repeat(200)] {
        let (status, refused) = post(&server, SIGN_IN, "", json!({"key": key})).await;
        assert_eq!(status, 400, "{key}: {refused}");
        assert!(
            text(&refused, "detail").contains("API key is unknown"),
            "{refused}"
        );
    }
    let (status, missing) = post(&server, SIGN_IN, "", json!({"email": "ada@example.com"})).await;
    assert_eq!(status, 400);
    assert!(
        text(&missing, "detail").contains("password is missing"),
        "{missing}"
    );
    let (_, audit) = get(&server, "/api/v1/audit?kind=access", &server.key).await;
    assert_eq!(audit["counted"], 5);
    assert!(text(&audit["lines"][0], "message").contains("the API key is unknown"));
    assert_eq!(sign_in(&server, "ada@example.com", PASSWORD).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_that_expires_creates_only_keys_that_expire_no_later() {
    let server = server(&[]).await;
    let (_, token) = create_user(&server, "ada", "user").await;
    let expiry = 4_000_000_000_i64;
    let short = create_key(
        &server,
        &token,
        json!({"name": "short", "expires_at": expiry}),
    )
    .await;
    let key = text(&short, "key");
    let (_, signed_in) = post(&server, SIGN_IN, "", json!({"key": key})).await;
    for credential in [key, text(&signed_in, "token")] {
        for expires_at in [json!(null), json!(expiry + 1)] {
            let body = json!({"name": "later", "expires_at": expires_at});
            let (status, refused) = post(&server, KEYS, &credential, body).await;
            assert_eq!(status, 403, "{refused}");
            assert!(text(&refused, "detail").contains("expires_at"), "{refused}");
        }
        let (status, _) = post(&server, "/api/v1/auths/api_key", &credential, json!({})).await;
        assert_eq!(status, 403);
        let earlier = json!({"name": "earlier", "expires_at": expiry});
        create_key(&server, &credential, earlier).await;
    }
}
