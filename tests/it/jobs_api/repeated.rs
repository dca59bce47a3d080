//! Repeated requests with an idempotency key.

use super::*;

async fn send_with_key(server: &TestServer, user: &str, key: &str, body: &Value) -> (u16, Value) {
    let request = server.client.post(server.url(JOBS)).bearer_auth(user);
    let request = request.header("idempotency-key", key);
    let response = request.body(body.to_string()).send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_request_gets_the_same_job() {
    let (upstream, server) = openai_server(200, image_response()).await;
    let second = server.add_second_user().await;
    let body = json!({"prompt": "a fox"});
    let longest = "k".repeat(200);
    let (status, job) = send_with_key(&server, &server.key, &longest, &body).await;
    assert_eq!(status, 202, "{job}");
    let ended = wait(&server, &job).await;
    let (repeated, same) = send_with_key(&server, &server.key, &longest, &body).await;
    assert_eq!((repeated, &same), (200, &ended));
    assert_eq!(upstream.request_lines().len(), 1);

    let other_body = json!({"prompt": "a dog"});
    let (refused, error) = send_with_key(&server, &server.key, &longest, &other_body).await;
    assert_eq!(refused, 422, "{error}");
    let (accepted, other) = send_with_key(&server, second, &longest, &other_body).await;
    assert_eq!(accepted, 202, "{other}");
    assert_ne!(other["id"], job["id"]);
    let too_long = format!("{longest}k");
    let too_long = send_with_key(&server, &server.key, &too_long, &body).await;
    assert_eq!(too_long.0, 400, "{too_long:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_start_one_job() {
    let (upstream, server) = hanging_server(&[]).await;
    let body = json!({"prompt": "a fox"});
    let requests = (0..8).map(|_| send_with_key(&server, &server.key, "k", &body));
    let responses = futures_util::future::join_all(requests).await;
    let accepted = responses.iter().filter(|(status, _)| *status == 202);
    assert_eq!(accepted.count(), 1, "{responses:?}");
    let first = &responses[0].1["id"];
    for (status, job) in &responses {
        assert!([200, 202].contains(status), "{job}");
        assert_eq!(&job["id"], first);
    }
    upstream.wait_for_requests(1).await;
    assert_eq!(upstream.request_lines().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_request_leaves_its_key_free() {
    let (_upstream, server) = openai_server(200, image_response()).await;
    let invalid = json!({"prompt": ""});
    let (refused, error) = send_with_key(&server, &server.key, "k", &invalid).await;
    assert_eq!(refused, 400, "{error}");
    let body = json!({"prompt": "a fox"});
    let (status, job) = send_with_key(&server, &server.key, "k", &body).await;
    assert_eq!(status, 202, "{job}");
}
