//! Upstream connections: how long they last, and what happens if they break.

use pinhole_egress::{Credential, Error, Request};
use pinhole_tests::{FakeUpstream, RawStep, RecordedRequest, TestServer, pixel_base64};
use serde_json::json;

use super::{
    ImageRoute, KEY, deadline, generate, generation_request, image_json, open_destination,
    parse_url, with_timeout,
};

/// An upstream that sends these bytes to each request. The connection then waits for another request.
pub(super) async fn raw_upstream(response: impl Into<String>) -> FakeUpstream {
    let upstream = FakeUpstream::json(500, json!({})).await;
    upstream.set_raw(vec![RawStep::Send(response.into().into())]);
    upstream
}

/// Sends these bytes to each later request, then closes the connection.
pub(super) fn send_and_close(upstream: &FakeUpstream, response: impl Into<String>) {
    upstream.set_raw(vec![RawStep::Send(response.into().into()), RawStep::Close]);
}

/// A server whose engine `openai` uses this upstream.
pub(super) async fn openai_server(
    upstream: &FakeUpstream,
    variables: &[(&str, &str)],
) -> TestServer {
    let url = upstream.url();
    let mut all = vec![
        ("IMAGES_OPENAI_API_BASE_URL", url.as_str()),
        ("IMAGES_OPENAI_API_KEY", KEY),
    ];
    all.extend(variables);
    TestServer::with_engine("openai", &all).await
}

/// Asserts that this many connections were opened, and waits until all are closed.
pub(super) async fn assert_closed(upstream: &FakeUpstream, connections: usize) {
    with_timeout("closing the connection", upstream.wait_until_idle()).await;
    assert_eq!(upstream.connection_count(), connections);
}

#[track_caller]
fn assert_generation_request(request: &RecordedRequest) {
    let head = request.head();
    assert!(
        head.starts_with("POST /v1/images/generations HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("authorization: Bearer {KEY}")),
        "{head}"
    );
    assert_eq!(request.json(), generation_request());
}

/// Asserts that the upstream got one image request with the key since request number `before`.
#[track_caller]
fn assert_one_request(upstream: &FakeUpstream, before: usize) {
    let requests = upstream.requests();
    let [request] = &requests[before..] else {
        panic!("{:?}", upstream.request_lines());
    };
    assert_generation_request(request);
}

/// A status line, these headers, and this body.
pub(super) fn raw_response(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}\r\n{body}")
}

/// The same with a content length.
fn complete_response(body: &str) -> String {
    raw_response(&format!("content-length: {}\r\n", body.len()), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn response_over_limit_is_refused_by_content_length() {
    // The host does not wait for the body.
    let response = raw_response(&format!("content-length: {}\r\n", (64 << 20) + 1), "{");
    let upstream = raw_upstream(response).await;
    let server = openai_server(&upstream, &[]).await;
    let (status, body) = generate(&server).await;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (502, Some("protocol"))
    );
    let message = "the request or its response exceeds its size limit";
    assert_eq!(body["error"]["message"], message);
    assert_one_request(&upstream, 0);
    assert_closed(&upstream, 1).await;

    let image_response = raw_response(
        &format!("content-length: {}\r\n", (32 << 20) + 1),
        "\u{89}PNG",
    );
    let image_upstream = raw_upstream(image_response).await;
    let url = parse_url(&format!("{}/x.png", image_upstream.url())).unwrap();
    let granted = open_destination(
        &image_upstream.url(),
        true,
        Credential::bearer(KEY).unwrap(),
    );
    let mut image = granted
        .get_image(&url, ImageRoute::Own, 32 << 20, deadline())
        .await
        .unwrap();
    let fetched = image.bytes().await;
    assert!(
        matches!(fetched, Err(Error::TooLarge { .. })),
        "{fetched:?}"
    );
    let head = image_upstream.requests()[0].head();
    assert!(head.starts_with("GET /x.png HTTP/1.1\r\n"), "{head}");
    assert!(
        !format!("{:?}", image_upstream.requests()).contains(KEY),
        "{head}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_response_is_counted_against_limit() {
    let piece = "x".repeat(600);
    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
    let chunked = |chunks: usize| {
        let body = format!("{}0\r\n\r\n", chunk.repeat(chunks));
        raw_response("transfer-encoding: chunked\r\n", &body)
    };
    for (chunks, fits) in [(1, true), (2, false), (50, false)] {
        let upstream = raw_upstream(chunked(chunks)).await;
        let destination = open_destination(&upstream.url(), true, Credential::default());
        let request = Request {
            path: "/x".to_owned(),
            ..Request::default()
        };
        let mut response = destination.send(request, 1000, deadline()).await.unwrap();
        let body = response.bytes().await;
        match body {
            Ok(body) => assert!(fits && body == piece, "{} bytes", body.len()),
            Err(error) => assert!(
                !fits
                    && matches!(
                        error,
                        Error::TooLarge {
                            max_bytes: 1000,
                            ..
                        }
                    ),
                "{error:?}"
            ),
        }
        assert_eq!(upstream.requests().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_upstream_ends_at_job_timeout() {
    let head = raw_response("content-length: 100\r\n", "{\"data\":");
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n";
    let upstream = raw_upstream("").await;
    let server = openai_server(&upstream, &[("PINHOLE_JOB_TIMEOUT_SECS", "1")]).await;
    for (number, response) in [String::new(), head, events.to_owned()]
        .into_iter()
        .enumerate()
    {
        upstream.set_raw(vec![RawStep::Send(response.into())]);
        let (status, body) = generate(&server).await;
        let code = body["error"]["code"].as_str().unwrap();
        assert_eq!((status, code), (504, "timeout"), "{body}");
        assert_one_request(&upstream, number);
        assert_closed(&upstream, number + 1).await;
    }
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnect_error_depends_on_response_progress() {
    let partial = raw_response("content-length: 100\r\n", "{\"data\":");
    let partial_chunk = raw_response("transfer-encoding: chunked\r\n", "8\r\n{\"data\":\r\n");
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(1000));
    let unreachable = (503, "the upstream cannot be reached");
    let broke_off = (502, "the upstream's response broke off");
    let upstream = raw_upstream("").await;
    let server = openai_server(&upstream, &[]).await;
    for (number, (name, response, (status, message))) in [
        ("empty", "", unreachable),
        ("status line", "HTTP/1.1 200", unreachable),
        ("other protocol", "SSH-2.0-OpenSSH_9.6\r\n", unreachable),
        ("many headers", &many_headers, unreachable),
        ("partial body", &partial, broke_off),
        ("partial chunk", &partial_chunk, broke_off),
    ]
    .into_iter()
    .enumerate()
    {
        send_and_close(&upstream, response);
        let (actual, body) = generate(&server).await;
        assert_eq!(actual, status, "{name}: {body}");
        assert_eq!(body["error"]["message"], message, "{name}");
        // A request that may have had an effect is not repeated.
        assert_one_request(&upstream, number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_is_reused_between_jobs() {
    let upstream = raw_upstream(complete_response(&image_json())).await;
    let server = openai_server(&upstream, &[]).await;
    // The pool may not have the connection yet when the next job starts.
    for _ in 0..20 {
        let (status, body) = generate(&server).await;
        assert_eq!(
            (status, &body["data"][0]["b64_json"]),
            (200, &json!(pixel_base64()))
        );
        let requests = upstream.requests();
        let last = requests.last().unwrap();
        assert_generation_request(last);
        let same_connection = requests
            .iter()
            .filter(|it| it.connection == last.connection);
        if same_connection.count() > 1 {
            return;
        }
    }
    panic!("each of 20 jobs opened a connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_disconnect_closes_upstream_connection() {
    let upstream = raw_upstream("").await;
    let server = openai_server(&upstream, &[]).await;
    let post = server.post("/v1/images/generations", &generation_request());
    let pending = tokio::spawn(post.send());
    with_timeout("the request", upstream.wait_for_requests(1)).await;
    assert_one_request(&upstream, 0);
    pending.abort();
    assert_closed(&upstream, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_is_not_reused_after_settings_change() {
    let upstream = raw_upstream(complete_response(&image_json())).await;
    let server = openai_server(&upstream, &[]).await;
    // Each pair of jobs could share a connection. The change between them prevents that.
    let base = format!("{}/v1", upstream.url());
    for (number, (name, value)) in [
        ("IMAGES_OPENAI_API_KEY", "another-key-1"),
        ("IMAGES_OPENAI_API_BASE_URL", base.as_str()),
        ("IMAGES_OPENAI_API_KEY", "another-key-2"),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, body) = generate(&server).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(upstream.requests().last().unwrap().connection, number);
        let (settings_status, settings_body) = server
            .post_json("/api/v1/settings", &json!({name: value}))
            .await;
        assert_eq!(settings_status, 200, "{settings_body}");
    }
    let (status, body) = generate(&server).await;
    assert_eq!(status, 200, "{body}");
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.connection, 3);
    assert_eq!(request.header("authorization"), "Bearer another-key-2");
}
