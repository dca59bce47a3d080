//! Sign-in, sign-out, and the end of sessions.

use pinhole::app::App;
use pinhole::config::Config;
use pinhole_tests::environment;
use serde_json::json;

use super::{PASSWORD, create_user, get, post, server, sign_in};

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_error_hides_whether_account_exists() {
    let server = server(&[]).await;
    create_user(&server, "ada", "user").await;
    let refused = sign_in(&server, "ada@example.com", "another horse").await;
    assert_eq!(refused.0, 400);
    assert_eq!(
        refused.1,
        json!({"detail": "the email or the password is wrong"})
    );
    for (email, password) in [
        ("eve@example.com", PASSWORD),
        ("no email", PASSWORD),
        ("", ""),
        ("ada@example.com", ""),
        ("ada@example.com", &"x".repeat(1000)),
    ] {
        assert_eq!(sign_in(&server, email, password).await, refused, "{email}");
    }
    assert_eq!(sign_in(&server, " ADA@example.com", PASSWORD).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_cookie_lasts_until_sign_out() {
    let server = server(&[]).await;
    let (id, other) = create_user(&server, "ada", "user").await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let response = server
        .post("/api/v1/auths/signin", &body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "Path=/; HttpOnly; SameSite=Lax; Max-Age=2419200"
    );

    let with_cookie = async |path: &str| {
        let request = server.client.get(server.url(path)).header("cookie", pair);
        let cookie_response = request.send().await.unwrap();
        let (status, headers) = (
            cookie_response.status().as_u16(),
            cookie_response.headers().clone(),
        );
        let bytes = cookie_response.bytes().await.unwrap();
        let bytes: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        (status, headers, bytes)
    };
    let (status, _, user) = with_cookie("/api/v1/auths/").await;
    assert_eq!((status, &user["id"]), (200, &json!(id)));
    // Scripts cannot read the token of the cookie.
    assert_eq!(user["token"], json!(null));
    assert_eq!(
        get(&server, "/api/v1/auths/", &other).await.1["token"],
        json!(other)
    );

    let (sign_out_status, headers, sign_out_body) = with_cookie("/api/v1/auths/signout").await;
    assert_eq!(
        (sign_out_status, sign_out_body),
        (200, json!({"status": true}))
    );
    assert_eq!(
        headers["set-cookie"],
        "token=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
    );
    let (refused_status, _, refused) = with_cookie("/api/v1/auths/").await;
    assert_eq!(refused_status, 401);
    assert_eq!(
        refused,
        json!({"detail": "the session is expired or unknown: sign in again"})
    );
    // Other sessions stay valid, and a second sign-out succeeds.
    assert_eq!(get(&server, "/api/v1/auths/", &other).await.0, 200);
    assert_eq!(with_cookie("/api/v1/auths/signout").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_cookie_is_secure_if_set() {
    let server = server(&[
        ("WEBUI_SESSION_COOKIE_SECURE", "true"),
        ("JWT_EXPIRES_IN", "-1"),
    ])
    .await;
    create_user(&server, "ada", "user").await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let response = server
        .post("/api/v1/auths/signin", &body)
        .send()
        .await
        .unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; SameSite=Lax; Secure"), "{cookie}");
}

#[tokio::test(flavor = "multi_thread")]
async fn password_change_ends_every_session() {
    let server = server(&[]).await;
    let (id, first) = create_user(&server, "ada", "user").await;
    let change = async |credential: &str, old: &str, new: &str| {
        let body = json!({"password": old, "new_password": new});
        post(&server, "/api/v1/auths/update/password", credential, body).await
    };
    assert_eq!(
        change(&first, "another horse", "a newer horse").await.0,
        400
    );
    assert_eq!(change(&first, PASSWORD, "short").await.0, 400);
    // The user of the first key has no password.
    assert_eq!(change(&server.key, PASSWORD, "a newer horse").await.0, 400);
    assert_eq!(get(&server, "/api/v1/auths/", &first).await.0, 200);
    assert_eq!(
        change(&first, PASSWORD, "a newer horse").await,
        (200, json!(true))
    );
    assert_eq!(get(&server, "/api/v1/auths/", &first).await.0, 401);
    assert_eq!(sign_in(&server, "ada@example.com", PASSWORD).await.0, 400);
    let (status, second) = sign_in(&server, "ada@example.com", "a newer horse").await;
    assert_eq!(status, 200);

    let path = format!("/api/v1/users/{id}/update");
    let body = json!({"password": "set by another"});
    assert_eq!(post(&server, &path, &server.key, body).await.0, 200);
    let second = second["token"].as_str().unwrap();
    assert_eq!(get(&server, "/api/v1/auths/", second).await.0, 401);
    assert_eq!(
        sign_in(&server, "ada@example.com", "set by another")
            .await
            .0,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn new_password_revokes_api_key() {
    let server = server(&[]).await;
    let (id, token) = create_user(&server, "ada", "user").await;
    let key_path = "/api/v1/auths/api_key";
    let create_key = async |session: &str| {
        let (status, key) = post(&server, key_path, session, json!({})).await;
        assert_eq!(status, 200, "{key}");
        key["api_key"].as_str().unwrap().to_owned()
    };
    let first = create_key(&token).await;
    // A change that is refused, or of something else, revokes nothing.
    let change = "/api/v1/auths/update/password";
    let wrong = json!({"password": "another horse", "new_password": "a newer horse"});
    assert_eq!(post(&server, change, &token, wrong).await.0, 400);
    let update = format!("/api/v1/users/{id}/update");
    let renamed = json!({"name": "Ada"});
    assert_eq!(post(&server, &update, &server.key, renamed).await.0, 200);
    assert_eq!(get(&server, "/api/v1/auths/", &first).await.0, 200);

    let right = json!({"password": PASSWORD, "new_password": "a newer horse"});
    // The key itself may change the password, and is revoked by it.
    assert_eq!(post(&server, change, &first, right).await.0, 200);
    assert_eq!(get(&server, "/api/v1/auths/", &first).await.0, 401);
    let (_, session) = sign_in(&server, "ada@example.com", "a newer horse").await;
    let session = session["token"].as_str().unwrap();
    assert_eq!(get(&server, key_path, session).await.0, 404);

    let second = create_key(session).await;
    let reset = json!({"password": "set by another"});
    assert_eq!(post(&server, &update, &server.key, reset).await.0, 200);
    assert_eq!(get(&server, "/api/v1/auths/", &second).await.0, 401);
    // The administrator's own key is another user's.
    assert_eq!(get(&server, "/api/v1/auths/", &server.key).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_survives_restart_with_same_secret() {
    let server = server(&[]).await;
    let (id, token) = create_user(&server, "ada", "user").await;
    let reopen = async |variables: &[(&str, &str)]| {
        let of_database = server.database.variables();
        let of_database = of_database
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let all: Vec<_> = of_database.chain(variables.iter().copied()).collect();
        let config = Config::new(environment(&server.data_dir, &all)).unwrap();
        // The key can change once no other server runs.
        server.database.execute("DELETE FROM hosts", &[]).await;
        let app = App::open(&config).await.unwrap();
        let known = app.accounts.authenticate(&token).await.unwrap();
        known.map(|identity| identity.user.id)
    };
    assert_eq!(reopen(&[]).await, Some(id));
    // Of the length that Open WebUI generates.
    assert_eq!(
        reopen(&[("WEBUI_SECRET_KEY", "bm90IGEgc2VjcmV0")]).await,
        None
    );
    assert_eq!(
        reopen(&[("WEBUI_SECRET_KEY", "another secret key")]).await,
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_out_ends_the_session_even_if_database_is_locked() {
    let server = server(&[]).await;
    let (_, token) = create_user(&server, "ada", "user").await;
    let lock = server.database.lock().await;
    assert_eq!(get(&server, "/api/v1/auths/signout", &token).await.0, 200);
    assert_eq!(get(&server, "/api/v1/auths/", &token).await.0, 401);
    server.app.accounts.store_revocations().await;
    lock.unlock().await;
    assert_eq!(get(&server, "/api/v1/auths/", &token).await.0, 401);
    server.app.accounts.store_revocations().await;
    let server = server.restart(&[]).await;
    assert_eq!(get(&server, "/api/v1/auths/", &token).await.0, 401);
}
