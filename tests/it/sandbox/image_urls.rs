//! Images that the host fetches from URLs in responses: rights, and the limits of the call.

use pinhole::config::Config;
use pinhole::jobs::Jobs;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_tests::{compiler, environment, long_image};

use super::*;

const HOSTS: &str = "PINHOLE_HOSTILE_IMAGE_HOSTS";
const RESULT: &str = "GET /base/allowed/result";
const NOT_ALLOWED: &str = "the image URL is not allowed";

/// An upstream that names these URLs at `/base/allowed/result`. `{origin}` is its own origin. It responds to
/// every other request with this image, and never to `/base/allowed/slow`.
async fn naming_upstream(urls: &[&str], image: &[u8]) -> FakeUpstream {
    let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
    let image = image.to_vec();
    FakeUpstream::start(move |request: RecordedRequest| {
        let origin = format!("http://{}", request.header("host"));
        let urls: Vec<String> = urls
            .iter()
            .map(|url| url.replace("{origin}", &origin))
            .collect();
        let image = image.clone();
        async move {
            if request.target.ends_with("/slow") {
                std::future::pending::<()>().await;
            }
            if request.target.ends_with("/result") {
                return FakeResponse::json(200, &json!({ "urls": urls }));
            }
            FakeResponse::typed(200, "image/png", image)
        }
    })
    .await
}

async fn naming_fixture(urls: &[&str], variables: &[(&str, &str)]) -> SandboxFixture {
    SandboxFixture::with(naming_upstream(urls, PIXEL).await, variables).await
}

/// The entries of the audit log of this kind.
async fn audit_entries(server: &TestServer, kind: &str) -> Vec<Value> {
    let request = server.get(&format!("/api/v1/audit?limit=1000&kind={kind}"));
    let text = request.send().await.unwrap().text().await.unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    list["lines"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn image_host_without_right_is_refused_before_lookup_and_recorded() {
    // A lookup of the name would fail, which is another error.
    let fixture = naming_fixture(&["https://a-red-fox.invalid/x.png"], &[]).await;
    let failure = fixture.failure("result", 1).await;
    assert_eq!(
        failure,
        (502, "forbidden".to_owned(), NOT_ALLOWED.to_owned())
    );
    assert_eq!(fixture.upstream.request_lines(), [RESULT]);
    let entries = audit_entries(&fixture.server, "grant").await;
    let [entry] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    let own = fixture.server.get("/api/v1/auths/").send().await.unwrap();
    let own: Value = serde_json::from_slice(&own.bytes().await.unwrap()).unwrap();
    assert_eq!(entry["user"], own["id"]);
    assert_eq!(entry["engine"], "hostile");
    assert_eq!(entry["guard"], "image-hosts");
    assert_eq!(
        entry["message"],
        "engine hostile may not fetch an image from a-red-fox.invalid, which upstream api names: \
         allow it with PINHOLE_HOSTILE_IMAGE_HOSTS=a-red-fox.invalid"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn image_at_own_origin_needs_a_granted_path() {
    let fixture = naming_fixture(&["{origin}/base/allowed/x.png?sig=%20"], &[]).await;
    let output = fixture.call("result", LIMITS).await.unwrap();
    assert_eq!(output.images[0].image.bytes(), PIXEL);
    let request = "GET /base/allowed/x.png?sig=%20";
    assert_eq!(fixture.upstream.request_lines(), [RESULT, request]);
    assert_eq!(fixture.upstream.requests()[1].header("authorization"), "");

    // Neither the origin alone nor a list of hosts suffices.
    let reboot = ["{origin}/admin/reboot?now=1"];
    let origin_fixture = naming_fixture(&reboot, &[(HOSTS, "*")]).await;
    match origin_fixture.call("result", LIMITS).await {
        Err(Error::Engine {
            error,
            failure: Some(failure),
        }) => {
            assert_eq!(error.message, NOT_ALLOWED);
            let remedy = format!("{HOSTS}=*,{}/admin", origin_fixture.upstream.url());
            assert!(failure.reason.ends_with(&remedy), "{failure:?}");
            assert!(!failure.reason.contains("now=1"), "{failure:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(origin_fixture.upstream.request_lines(), [RESULT]);
}

#[tokio::test(flavor = "multi_thread")]
async fn image_host_list_changes_while_the_server_runs() {
    let storage = FakeUpstream::start(async |_| FakeResponse::typed(200, "image/png", PIXEL)).await;
    let url = format!("{}/bucket/x.png", storage.url());
    let fixture = naming_fixture(&[&url], &[]).await;
    let set = async |value: Value| {
        let body = json!({ HOSTS: value });
        fixture.server.post_json("/api/v1/settings", &body).await
    };
    assert_eq!(fixture.failure("result", 1).await.2, NOT_ALLOWED);
    for list in [
        storage.url(),
        format!("cdn.example.com, {}/bucket", storage.url()),
    ] {
        let (status, body) = set(json!(list)).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(
            fixture.call("result", LIMITS).await.unwrap().images.len(),
            1
        );
    }
    for (list, expected) in [
        ("10.0.0.1", "is not a lower-case host name"),
        ("CDN.example.com", "is not a lower-case host name"),
        ("*,http://user@minio", "contains a user name"),
        ("*,", "\"\" is not a lower-case host name"),
    ] {
        let (status, body) = set(json!(list)).await;
        assert_eq!(status, 400, "{body}");
        let detail = body["detail"].as_str().unwrap();
        let start = format!("{HOSTS} cannot be used: ");
        assert!(
            detail.starts_with(&start) && detail.contains(expected),
            "{detail}"
        );
    }
    assert_eq!(set(json!("*")).await.0, 200);
    assert_eq!(fixture.failure("result", 1).await.2, NOT_ALLOWED);
    assert_eq!(storage.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_image_host_list_stops_the_start() {
    let engines = engine_dir(&["hostile"]);
    let data = tempfile::tempdir().unwrap();
    let variables = [
        ("PINHOLE_ENGINES", engines.path().to_str().unwrap()),
        (HOSTS, "cdn.example.com:443"),
    ];
    let config = Config {
        compiler: compiler(),
        ..Config::new(environment(&data, &variables)).unwrap()
    };
    let opened = Jobs::open(&config, AuditLog::default(), Decoder::default()).await;
    let error = opened.err().unwrap().to_string();
    let expected = format!("{HOSTS} cannot be used: \"cdn.example.com:443\" is not a lower-case");
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn image_fetch_counts_as_request_and_connection() {
    let fixture = naming_fixture(&["{origin}/base/allowed/x.png"; 3], &[]).await;
    let limited = Limits {
        requests: 3,
        ..LIMITS
    };
    assert!(fixture.call("result 2", limited).await.is_ok());
    let (kind, message) = engine_error(fixture.call("result 3", limited).await);
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::Forbidden, "too many requests for one job")
    );

    let events = FakeUpstream::start(async |request: RecordedRequest| {
        let url = format!("http://{}/base/allowed/x.png", request.header("host"));
        let event = format!("data: {}\n\n", json!({"urls": [url]}));
        let first = futures_util::stream::once(async { Ok::<_, std::io::Error>(event) });
        let endless = first.chain(futures_util::stream::pending());
        let body = axum::body::Body::from_stream(endless);
        FakeResponse::typed(200, "text/event-stream", body)
    })
    .await;
    let event_fixture = SandboxFixture::with(events, &[]).await;
    let one_connection = Limits {
        connections: 1,
        ..LIMITS
    };
    let refused = engine_error(event_fixture.call("result-event", one_connection).await);
    assert_eq!(refused.1, "too many requests at the same time");
    assert_eq!(event_fixture.upstream.request_lines(), [RESULT]);
}

#[tokio::test(flavor = "multi_thread")]
async fn image_fetch_counts_against_held_bytes() {
    let image = long_image(29 << 20);
    let upstream = naming_upstream(&["{origin}/base/allowed/x.png"; 32], &image).await;
    let fixture = SandboxFixture::with(upstream, &[]).await;
    match fixture.call("result 32", LIMITS).await {
        Err(Error::Limit(refusal)) => {
            let expected = "it holds more than 268435456 bytes of responses and images";
            assert_eq!(refusal.reason, expected);
        }
        other => panic!("{other:?}"),
    }
    // The response and nine images, of which the last one is not held any more.
    assert!(fixture.upstream.requests().len() <= 10);
    fixture.assert_sketch_generates().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn image_fetch_uses_the_slot_and_the_time_of_its_job() {
    let slow = ["{origin}/base/allowed/slow"];
    let variables = [("PINHOLE_SLOTS", "1"), ("PINHOLE_JOB_TIMEOUT_SECS", "1")];
    let fixture = naming_fixture(&slow, &variables).await;
    let context = job_context();
    let fetching = fixture.spawn("result", LIMITS, &context);
    fixture.upstream.wait_for_requests(2).await;
    let (status, _, message) = fixture.failure("picture", 1).await;
    assert_eq!(status, 503, "{message}");
    context.cancel.cancel();
    assert_eq!(
        engine_error(fetching.await.unwrap()).0,
        ErrorKind::Cancelled
    );

    let limited = Limits {
        wall: SHORT,
        grace: SHORT,
        ..LIMITS
    };
    let outcome = fixture.call("result", limited).await;
    assert!(
        matches!(outcome, Err(Error::Deadline(SHORT))),
        "{outcome:?}"
    );
    assert_eq!(
        fixture.call("picture", LIMITS).await.unwrap().images.len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn image_fetch_tries_again_once_if_it_cannot_connect() {
    // Closes each connection before TLS has started, so that no request was sent.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/x.png", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    let list = url.trim_end_matches("/x.png");
    let fixture = naming_fixture(&[&url], &[(HOSTS, list)]).await;
    let failure = fixture.failure("result", 1).await;
    let message = "the image URL cannot be fetched";
    assert_eq!(failure, (502, "upstream".to_owned(), message.to_owned()));
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    accepting.abort();
}
