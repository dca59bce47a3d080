//! `POST /api/v1/files/{id}/link`: sharing one image.

use http::Method;
use pinhole_tests::TestServer;
use serde_json::json;

use super::{ask, upload};

#[tokio::test(flavor = "multi_thread")]
async fn link_opens_one_image_until_it_expires() {
    let server = TestServer::with_engine("sketch", &[("PINHOLE_LINK_LIFETIME", "1h")]).await;
    let id = upload(&server, &server.key, "fox.gif").await;
    let path = format!("/api/v1/files/{id}/link");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    for (body, lifetime) in [
        (json!({}), 3600),
        (json!({"lifetime_secs": null}), 3600),
        (json!({"lifetime_secs": 60}), 60),
    ] {
        let response = ask(&server, Method::POST, &path, &server.key, Some(&body)).await;
        let (status, link) = response;
        assert_eq!(status, 200, "{link}");
        let expires_at = link["expires_at"].as_i64().unwrap();
        assert!((now + lifetime..now + lifetime + 30).contains(&expires_at));
        let url = link["url"].as_str().unwrap();
        assert!(url.starts_with(&server.url("/api/v1/files/")), "{url}");
        assert!(url.contains(&format!("/{expires_at}/")), "{url}");
        let opened = server.client.get(url).send().await.unwrap();
        assert_eq!(opened.status(), 200);
        assert_eq!(opened.headers()["content-type"], "image/gif");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn link_of_another_users_image_is_not_made() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let second = server.add_second_user().await;
    let mine = upload(&server, &server.key, "fox.gif").await;
    let theirs = upload(&server, second, "hen.gif").await;
    // Not even by an administrator, who may see it.
    for (key, id) in [
        (second, mine.as_str()),
        (server.key.as_str(), theirs.as_str()),
        (second, "unknown"),
    ] {
        let path = format!("/api/v1/files/{id}/link");
        let (status, refusal) = ask(&server, Method::POST, &path, key, Some(&json!({}))).await;
        assert_eq!(status, 404, "{refusal}");
    }
    let path = format!("/api/v1/files/{mine}/link");
    for lifetime in [json!(0), json!(-1), json!(400_000_000), json!("1h")] {
        let body = json!({"lifetime_secs": lifetime});
        let (status, refusal) = ask(&server, Method::POST, &path, &server.key, Some(&body)).await;
        assert_eq!(status, 400, "{refusal}");
    }
    let anonymous = server.client.post(server.url(&path)).body("{}");
    assert_eq!(anonymous.send().await.unwrap().status(), 401);
}
