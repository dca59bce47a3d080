//! The list of open sessions, and their end.

use http::Method;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{PASSWORD, create_user, delete, get, post, request_as, server, sign_in, text};

const SESSIONS: &str = "/api/v1/auths/sessions";

async fn list(server: &TestServer, token: &str) -> Vec<Value> {
    let (status, sessions) = get(server, SESSIONS, token).await;
    assert_eq!(status, 200, "{sessions}");
    sessions.as_array().unwrap().clone()
}

async fn begin(server: &TestServer, name: &str) -> String {
    let (status, session) = sign_in(server, &format!("{name}@example.com"), PASSWORD).await;
    assert_eq!(status, 200, "{session}");
    text(&session, "token")
}

async fn is_valid(server: &TestServer, token: &str) -> bool {
    get(server, "/api/v1/auths/", token).await.0 == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn user_lists_and_ends_sessions() {
    let server = server(&[]).await;
    let (id, first) = create_user(&server, "ada", "user").await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let response = server
        .post("/api/v1/auths/signin", &body)
        .header("user-agent", format!("Browser\u{9}{}", "x".repeat(300)))
        .send()
        .await
        .unwrap();
    let second: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let second = text(&second, "token");

    let sessions = list(&server, &second).await;
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    let of = |is_current: bool| {
        let mut found = sessions.iter().filter(|it| it["is_current"] == is_current);
        found.next().unwrap().clone()
    };
    let (current, other) = (of(true), of(false));
    let agent = text(&current, "user_agent");
    assert!(
        agent.starts_with("Browser x") && agent.len() == 200,
        "{agent}"
    );
    assert_eq!(current["ip"], "127.0.0.1");
    assert!(current["last_used_at"].is_i64(), "{current}");
    assert_eq!(other["last_used_at"], json!(null));
    let lasts = current["expires_at"].as_i64().unwrap() - current["created_at"].as_i64().unwrap();
    assert_eq!(lasts, 28 * 24 * 3600);
    // No part of a token is shown.
    assert!(
        !Value::from(sessions.clone())
            .to_string()
            .contains(&first[..40])
    );

    let path = format!("{SESSIONS}/{}", text(&other, "id"));
    assert_eq!(delete(&server, &path, &second).await, (200, json!(true)));
    assert_eq!(delete(&server, &path, &second).await.0, 404);
    assert!(!is_valid(&server, &first).await && is_valid(&server, &second).await);
    assert_eq!(list(&server, &second).await.len(), 1);

    // Administrators end the sessions of others.
    let of_user = format!("/api/v1/users/{id}/sessions");
    let (_, seen) = get(&server, &of_user, &server.key).await;
    assert_eq!(seen[0]["id"], current["id"]);
    assert_eq!(seen[0]["is_current"], false);
    let of_administrator = format!("{of_user}/{}", text(&current, "id"));
    assert_eq!(delete(&server, &of_administrator, &server.key).await.0, 200);
    assert!(!is_valid(&server, &second).await);
    let server = server.restart(&[]).await;
    assert!(!is_valid(&server, &second).await);
    assert_eq!(get(&server, &of_user, &server.key).await.1, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn end_others_leaves_the_session_of_the_request() {
    let server = server(&[]).await;
    let (_, first) = create_user(&server, "ada", "user").await;
    let (second, third) = (begin(&server, "ada").await, begin(&server, "ada").await);
    let (_, eve) = create_user(&server, "eve", "user").await;
    let path = format!("{SESSIONS}/end-others");
    assert_eq!(
        post(&server, &path, &second, json!({})).await,
        (200, json!({"ended": 2}))
    );
    assert!(is_valid(&server, &second).await && is_valid(&server, &eve).await);
    assert!(!is_valid(&server, &first).await && !is_valid(&server, &third).await);
    // With a key, no session is that of the request.
    let (_, key) = post(&server, "/api/v1/auths/keys", &second, json!({"name": "a"})).await;
    let key = text(&key, "key");
    assert_eq!(
        post(&server, &path, &key, json!({})).await.1,
        json!({"ended": 1})
    );
    assert!(!is_valid(&server, &second).await && is_valid(&server, &key).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn session_of_another_user_is_not_found() {
    let server = server(&[]).await;
    let (ada, token) = create_user(&server, "ada", "user").await;
    let (eve, eve_token) = create_user(&server, "eve", "user").await;
    let id = text(&list(&server, &token).await[0], "id");
    let path = format!("{SESSIONS}/{id}");
    assert_eq!(delete(&server, &path, &eve_token).await.0, 404);
    assert_eq!(delete(&server, &path, &server.key).await.0, 404);
    let wrong_user = format!("/api/v1/users/{eve}/sessions/{id}");
    assert_eq!(delete(&server, &wrong_user, &server.key).await.0, 404);
    for (method, route) in [
        (Method::GET, format!("/api/v1/users/{ada}/sessions")),
        (Method::DELETE, format!("/api/v1/users/{ada}/sessions/{id}")),
    ] {
        assert_eq!(
            request_as(&server, method, &route, &eve_token, None)
                .await
                .0,
            401
        );
    }
    assert!(is_valid(&server, &token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_out_and_new_password_remove_sessions_from_the_list() {
    let server = server(&[]).await;
    let (id, first) = create_user(&server, "ada", "user").await;
    let second = begin(&server, "ada").await;
    assert_eq!(get(&server, "/api/v1/auths/signout", &first).await.0, 200);
    assert_eq!(list(&server, &second).await.len(), 1);
    let update = format!("/api/v1/users/{id}/update");
    let password = json!({"password": "set by another"});
    assert_eq!(post(&server, &update, &server.key, password).await.0, 200);
    let of_user = format!("/api/v1/users/{id}/sessions");
    assert_eq!(get(&server, &of_user, &server.key).await.1, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn session_without_a_row_is_listed_once_it_is_used() {
    let server = server(&[]).await;
    let (_, token) = create_user(&server, "ada", "user").await;
    // As sessions of an earlier version are.
    server.database.execute("DELETE FROM sessions", &[]).await;
    let sessions = list(&server, &token).await;
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0]["is_current"], true);
    let path = format!("{SESSIONS}/{}", text(&sessions[0], "id"));
    assert_eq!(delete(&server, &path, &token).await.0, 200);
    assert!(!is_valid(&server, &token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn oldest_sessions_end_beyond_the_limit() {
    let server = server(&[]).await;
    let (_, first) = create_user(&server, "ada", "user").await;
    let (_, key) = post(&server, "/api/v1/auths/keys", &first, json!({"name": "a"})).await;
    // Sign-ins of one IP address are limited.
    let login = server
        .app
        .accounts
        .sign_in_with_key(&text(&key, "key"))
        .await
        .unwrap();
    let client = pinhole::store::SessionClient::default();
    let old = "UPDATE sessions SET created_at = 5, last_used_at = 6";
    server.database.execute(old, &[]).await;
    let mut last = String::new();
    for _ in 0..100 {
        last = server
            .app
            .accounts
            .start_session(&login, &client)
            .await
            .token;
    }
    assert!(!is_valid(&server, &first).await && is_valid(&server, &last).await);
    assert_eq!(list(&server, &last).await.len(), 100);
}
