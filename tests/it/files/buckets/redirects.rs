//! Signed URLs of the bucket in place of bytes.

use http::Method;
use pinhole_tests::{TestServer, gif, http_client};
use serde_json::json;

use super::super::{assert_not_found, content_url, response_bytes, response_json, upload};
use super::test_bucket::TestBucket;

#[tokio::test(flavor = "multi_thread")]
async fn content_redirects_to_s3() {
    if let Some(bucket) = TestBucket::s3().await {
        check_redirects(bucket, "/api/v1/files/{}/content?attachment=true").await;
    }
}

/// Its signatures set no disposition, so the server sends attachments.
#[tokio::test(flavor = "multi_thread")]
async fn content_redirects_to_azure() {
    if let Some(bucket) = TestBucket::azure().await {
        check_redirects(bucket, "").await;
    }
}

async fn check_redirects(bucket: TestBucket, attachment: &str) {
    let bucket = bucket.with("PINHOLE_FILES_REDIRECT", "true");
    let server = TestServer::start(&bucket.variables()).await;
    let second = server.add_second_user().await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let (id, url) = (row["id"].as_str().unwrap(), content_url(&row));

    let redirect = server.get(&url).send().await.unwrap();
    // The client of the tests follows it.
    assert_eq!(redirect.status(), 200);
    assert_ne!(redirect.url().as_str(), server.url(&url));
    assert_eq!(redirect.headers()["content-type"], "image/gif");
    assert_eq!(redirect.bytes().await.unwrap(), gif(9));
    if !attachment.is_empty() {
        let path = attachment.replace("{}", id);
        let response = server.get(&path).send().await.unwrap();
        let disposition = response.headers()["content-disposition"].to_str();
        assert_eq!(disposition.unwrap(), "attachment; filename=\"fox.gif\"");
    }

    let link = format!("/api/v1/files/{id}/link");
    let (status, link) = response_json(server.post(&link, &json!({}))).await;
    assert_eq!(status, 200, "{link}");
    let public = http_client().get(link["url"].as_str().unwrap());
    let public = public.send().await.unwrap();
    assert!(public.url().query().is_some(), "{}", public.url());
    assert_eq!(public.bytes().await.unwrap(), gif(9));

    // Access first, and no redirect for pages, for `HEAD` and for what the client has.
    let foreign = server.client.get(server.url(&url)).bearer_auth(second);
    assert_not_found("another user's", foreign).await;
    let cookie = format!("token={}", server.key);
    let page = server.client.get(server.url(&url)).header("cookie", cookie);
    let page = page.send().await.unwrap();
    assert_eq!(page.url().as_str(), server.url(&url));
    assert!(page.headers().contains_key("content-security-policy"));
    let tag = page.headers()["etag"].clone();
    let head = server.client.request(Method::HEAD, server.url(&url));
    let head = head.bearer_auth(&server.key).send().await.unwrap();
    assert_eq!(head.url().as_str(), server.url(&url));
    let cached = server.get(&url).header("if-none-match", tag).send().await;
    assert_eq!(cached.unwrap().status(), 304);
    let thumbnail = url.replace("/content", "/thumbnail");
    assert!(!response_bytes(server.get(&thumbnail)).await.is_empty());
}
