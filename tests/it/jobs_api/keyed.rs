//! Requests for images with an `Idempotency-Key`, whose client waits for the response.

use super::*;

const GENERATIONS: &str = "/v1/images/generations";

/// Sends a request with this idempotency key. Returns status, `x-should-retry` and JSON of the response.
async fn post(
    server: &TestServer,
    path: &str,
    key: &str,
    body: &Value,
) -> (u16, Option<String>, Value) {
    let request = server.client.post(server.url(path));
    let request = request
        .header("idempotency-key", key)
        .bearer_auth(&server.key);
    let response = request.body(body.to_string()).send().await.unwrap();
    let status = response.status().as_u16();
    let retry = response.headers().get("x-should-retry");
    let retry = retry.map(|value| value.to_str().unwrap().to_owned());
    let bytes = response.bytes().await.unwrap();
    (status, retry, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_request_gets_the_same_images() {
    let (upstream, server) = openai_server(200, image_response()).await;
    let body = json!({"prompt": "a fox"});
    let (status, _, first) = post(&server, GENERATIONS, "k", &body).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["data"][0]["b64_json"], pixel_base64());
    assert_eq!(first["data"][0]["revised_prompt"], "a red fox");
    let (_, _, second) = post(&server, GENERATIONS, "k", &body).await;
    assert_eq!(second["data"], first["data"]);
    // Also in another form.
    let url = json!({"prompt": "a fox", "response_format": "url"});
    let (_, _, linked) = post(&server, GENERATIONS, "k", &url).await;
    assert!(linked["data"][0]["url"].is_string(), "{linked}");
    let stored = post(&server, "/api/v1/images/generations", "k2", &body).await;
    assert_eq!(stored.0, 200, "{stored:?}");
    let again = post(&server, "/api/v1/images/generations", "k2", &body).await;
    assert_eq!(again, stored);
    assert_eq!(upstream.request_lines().len(), 2);
    let list = get(&server, JOBS).await;
    assert_eq!(list["jobs"].as_array().map(Vec::len), Some(2), "{list}");

    let other_body = post(&server, GENERATIONS, "k", &json!({"prompt": "b"})).await;
    assert_eq!(other_body.0, 422, "{other_body:?}");
    let empty_key = post(&server, GENERATIONS, "", &body).await;
    assert_eq!(empty_key.0, 400, "{empty_key:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_request_gets_the_same_failure() {
    let refusal = json!({"error": {"code": "moderation_blocked", "message": "not allowed"}});
    let (upstream, server) = openai_server(500, refusal).await;
    let body = json!({"prompt": "a fox"});
    let (status, retry, first) = post(&server, GENERATIONS, "k", &body).await;
    assert_eq!(status, 502, "{first}");
    assert_eq!(retry.as_deref(), Some("false"));
    let orders = upstream.request_lines().len();
    assert_eq!(
        post(&server, GENERATIONS, "k", &body).await,
        (status, retry, first)
    );
    assert_eq!(upstream.request_lines().len(), orders);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_request_waits_for_the_job_of_the_first() {
    let (upstream, server) = hanging_server(&[]).await;
    let body = json!({"prompt": "a fox"});
    let first = post(&server, GENERATIONS, "k", &body);
    let dropped = tokio::time::timeout(std::time::Duration::from_secs(2), first);
    assert!(dropped.await.is_err());
    upstream.wait_for_requests(1).await;
    let stop = async {
        while get(&server, &format!("{JOBS}?state=running")).await["jobs"] == json!([]) {}
        server.post_json("/api/v1/jobs/stop", &json!({})).await
    };
    let (repeated, _) = tokio::join!(post(&server, GENERATIONS, "k", &body), stop);
    assert_eq!(repeated.0, 502, "{repeated:?}");
    assert_eq!(upstream.request_lines().len(), 1);
}
