//! Which requests an engine may send, and which settings it sees.

use super::*;

/// Prompts for requests that the grant of `hostile` does not allow.
const UNGRANTED_REQUESTS: &[&str] = &[
    // Undeclared upstream or path.
    "reach other /allowed/x",
    "reach  /allowed/x",
    "reach API /allowed/x",
    "reach api",
    "reach api /",
    "reach api /secret",
    "reach api /allowed",
    "reach api /allowed-too/x",
    "reach api /Allowed/x",
    "reach api /base/allowed/x",
    "reach api allowed/x",
    // Path traversal from a declared path.
    "reach api /allowed/../secret",
    "reach api /allowed/..",
    "reach api /allowed/./x",
    "reach api /allowed/%2e%2e/secret",
    "reach api /allowed/.%2E/secret",
    "reach api /allowed/%2E%2e%2fsecret",
    "reach api /allowed/..%2fsecret",
    "reach api /allowed/..%5csecret",
    "reach api /allowed/..\\secret",
    "reach api /allowed/x%00",
    "reach api /allowed/\t../secret",
    "reach api /allowed/x\r\nx-injected: 1",
    "reach api /allowed/x HTTP/1.1",
    "reach api /allowed/x#y",
    "reach api /allowed/ä",
    // A path that names another host.
    "reach api //x",
    "reach api //127.0.0.1:1/allowed/x",
    "reach api /allowed//x",
    "reach api @127.0.0.1:1/allowed/x",
    "reach api http://127.0.0.1:1/allowed/x",
    "reach api ?/allowed/x",
    // Undeclared method.
    "send POST api /allowed/x",
    "send get api /allowed/x",
    "send HEAD api /allowed/x",
    "send CONNECT api /allowed/x",
    "send G\u{0}T api /allowed/x",
    "send  api /allowed/x",
    // The same for WebSockets.
    "connect other /allowed/x",
    "connect api /secret",
    "connect api /allowed/../secret",
    "connect api //x",
    "connect api /allowed/%2e%2e/secret",
];

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_grant_are_refused() {
    let fixture = SandboxFixture::start(&[]).await;
    for prompt in UNGRANTED_REQUESTS {
        let (status, code, message) = fixture.failure(prompt, 1).await;
        assert_eq!(
            (status, code.as_str()),
            (502, "forbidden"),
            "{prompt:?}: {message}"
        );
        // The guest gets no further details.
        let method = prompt.contains('\u{0}') || prompt.starts_with("send  ");
        assert!(method || message == "not granted", "{prompt:?}: {message}");
    }
    assert_eq!(fixture.upstream.request_lines(), [""; 0]);
    fixture.assert_sketch_generates().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_request_is_named_to_operator_only() {
    let fixture = SandboxFixture::start(&[]).await;
    let outcome = fixture.call("reach api /secret?token=1", LIMITS).await;
    match outcome {
        Err(Error::Engine { error, failure }) => {
            assert_eq!(
                (error.kind, error.message.as_str()),
                (ErrorKind::Forbidden, "not granted")
            );
            assert_eq!(
                failure.unwrap().reason,
                "engine hostile may not GET \"/secret\" on upstream api: the engine does not declare this request, so no grant can allow it"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fixture.upstream.request_lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_headers_are_refused() {
    let fixture = SandboxFixture::start(&[]).await;
    for header in [
        "authorization Bearer mine",
        "Authorization Bearer mine",
        "host 127.0.0.1:1",
        "cookie token=1",
        "x-forwarded-for 127.0.0.1",
        "X-Forwarded-Host evil",
        "forwarded for=127.0.0.1",
        "transfer-encoding chunked",
        "content-length 5",
        "content-type text/html",
        "connection upgrade",
        "upgrade websocket",
        "proxy-authorization Basic eDp5",
        "sec-websocket-key x",
        "te trailers",
        "trailer x",
        "expect 100-continue",
        "x-note a\r\nx-injected: 1",
        "x-note a\nb",
        "x-note\u{0} a",
        "x:note a",
        "ä a",
        " a",
    ] {
        let (status, code, message) = fixture.failure(&format!("header {header}"), 1).await;
        assert_eq!(
            (status, code.as_str()),
            (502, "forbidden"),
            "{header:?}: {message}"
        );
    }
    assert_eq!(fixture.upstream.request_lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn granted_request_has_credential_and_engine_header() {
    let fixture = SandboxFixture::start(&[]).await;
    let outcome = fixture.call("header x-note two  words", LIMITS).await;
    assert_eq!(
        engine_error(outcome),
        (ErrorKind::Upstream, "status 200".to_owned())
    );
    let [request] = fixture.upstream.requests().try_into().unwrap();
    assert_eq!(request.line(), "GET /base/allowed/x");
    assert_eq!(request.header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(request.header("x-note"), "two  words");
    assert_eq!(
        request.header("host"),
        fixture.upstream.address().to_string()
    );
    assert!(request.body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn granted_web_socket_has_credential() {
    let upstream =
        FakeUpstream::start(async |_| FakeResponse::web_socket(async |socket| drop(socket))).await;
    let fixture = SandboxFixture::with(upstream, &[]).await;
    let outcome = fixture.call("connect api /allowed/ws?id=1", LIMITS).await;
    assert_eq!(
        engine_error(outcome),
        (ErrorKind::Upstream, "connected".to_owned())
    );
    let [request] = fixture.upstream.requests().try_into().unwrap();
    assert_eq!(request.line(), "GET /base/allowed/ws?id=1");
    assert_eq!(request.header("authorization"), format!("Bearer {KEY}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_settings_contain_no_secret() {
    let fixture = SandboxFixture::start(&[]).await;
    let (_, message) = engine_error(fixture.call("settings", LIMITS).await);
    let settings: Value = serde_json::from_str(&message).unwrap();
    assert_eq!(settings["note"], "a note");
    assert_eq!(
        settings["base-url"],
        format!("{}/base", fixture.upstream.url())
    );
    assert_eq!(settings["api-key"], Value::Null);
    assert!(!message.contains(KEY), "{message}");
}
