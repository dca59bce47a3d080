//! Limits on sign-in attempts. The time windows are longer than any test.

use serde_json::{Value, json};

use super::{PASSWORD, create_user, get, post, server, sign_in};

#[tokio::test(flavor = "multi_thread")]
async fn attempts_per_account_are_limited() {
    let server = server(&[]).await;
    let (_, token) = create_user(&server, "ada", "user").await;
    create_user(&server, "eve", "user").await;
    // The sign-in of `create_user` is the first of 15 attempts.
    for _ in 0..14 {
        assert_eq!(
            sign_in(&server, "ada@example.com", "another horse").await.0,
            400
        );
    }
    let body = json!({"email": "Ada@example.com", "password": PASSWORD});
    let response = server
        .post("/api/v1/auths/signin", &body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    let secs: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=180).contains(&secs), "{secs}");
    let message: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert!(
        message["detail"]
            .as_str()
            .unwrap()
            .starts_with("too many attempts")
    );
    let change = json!({"password": PASSWORD, "new_password": "a newer horse"});
    let changed = post(&server, "/api/v1/auths/update/password", &token, change).await;
    assert_eq!(changed.0, 429);
    // Other accounts and existing sessions are not affected.
    assert_eq!(sign_in(&server, "eve@example.com", PASSWORD).await.0, 200);
    assert_eq!(get(&server, "/api/v1/auths/", &token).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_per_ip_are_limited() {
    let server = server(&[]).await;
    for attempt in 0..60 {
        let path = match attempt % 2 {
            0 => "/api/v1/auths/signin",
            _ => "/api/v1/auths/signup",
        };
        assert_eq!(post(&server, path, "", json!({})).await.0, 400, "{attempt}");
    }
    assert_eq!(sign_in(&server, "ada@example.com", PASSWORD).await.0, 429);
    assert_eq!(
        post(&server, "/api/v1/auths/signup", "", json!({})).await.0,
        429
    );
    assert_eq!(get(&server, "/api/v1/auths/", &server.key).await.0, 200);
}
