//! Requests to URLs that responses name: where they go, and what they carry.

use super::*;

const RESULT: &str = "GET /base/allowed/result";
const NOT_ALLOWED: &str = "the URL is not allowed";

/// An upstream that names this URL at `/base/allowed/result`. `{origin}` is its own origin.
async fn naming_fixture(url: &'static str, variables: &[(&str, &str)]) -> SandboxFixture {
    let upstream = FakeUpstream::start(move |request: RecordedRequest| {
        let origin = format!("http://{}", request.header("host"));
        let body = json!({"urls": [url.replace("{origin}", &origin)]});
        async move { FakeResponse::json(200, &body) }
    });
    SandboxFixture::with(upstream.await, variables).await
}

/// Asserts the message of a job that follows the URL, and the requests after the first.
async fn assert_followed(fixture: &SandboxFixture, method: &str, message: &str, line: &str) {
    let failure = fixture.failure(&format!("follow {method}"), 1).await;
    assert_eq!(failure.2, message);
    let expected = [RESULT, line];
    let count = if line.is_empty() { 1 } else { 2 };
    assert_eq!(fixture.upstream.request_lines(), expected[..count]);
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_url_below_the_base_url_is_a_request_with_the_credential() {
    for url in [
        "{origin}/base/allowed/tasks/1?a=%20b",
        "/base/allowed/tasks/1?a=%20b",
    ] {
        let fixture = naming_fixture(url, &[]).await;
        let line = "GET /base/allowed/tasks/1?a=%20b";
        assert_followed(&fixture, "GET", "status 200", line).await;
        let credential = format!("Bearer {KEY}");
        assert_eq!(
            fixture.upstream.requests()[1].header("authorization"),
            credential
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_url_needs_a_granted_method_and_path() {
    for (url, method, message) in [
        ("{origin}/base/allowed/x", "DELETE", "not granted"),
        ("{origin}/base/admin", "GET", "not granted"),
        ("{origin}/admin", "GET", NOT_ALLOWED),
        ("{origin}/base/allowed/../admin", "GET", NOT_ALLOWED),
        ("{origin}/base", "GET", NOT_ALLOWED),
        // It is declared as a host, but only for granted paths, and has a private address.
        ("https://localhost/base/allowed/x", "GET", "not granted"),
        ("https://localhost/allowed/x", "GET", "not granted"),
        ("https://evil.invalid/allowed/x", "GET", NOT_ALLOWED),
        ("not a URL", "GET", NOT_ALLOWED),
    ] {
        let fixture = naming_fixture(url, &[]).await;
        assert_followed(&fixture, method, message, "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_url_with_the_key_is_refused() {
    let fixture = naming_fixture("{origin}/base/allowed/hostile-key-4711", &[]).await;
    assert_followed(&fixture, "GET", NOT_ALLOWED, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credential_of_each_form_is_sent_as_the_operator_chose() {
    const FORM: &str = "PINHOLE_HOSTILE_CREDENTIAL";
    const SET_KEY: &str = "HOSTILE_API_KEY";
    let body = [(FORM, "body /extra_data/key")];
    let fixture = SandboxFixture::start(&body).await;
    fixture.failure(r#"json {"a":1}"#, 1).await;
    let expected = format!(r#"{{"extra_data":{{"key":"{KEY}"}},"a":1}}"#);
    assert_eq!(fixture.upstream.requests()[0].body, expected.as_bytes());
    let clash = fixture.failure(r#"json {"extra_data":{"key":1}}"#, 1).await;
    assert_eq!(clash.2, "not granted");

    let aws = [
        (FORM, "aws us-east-1 bedrock"),
        (SET_KEY, "AKIDEXAMPLE:aws-secret:aws-token"),
    ];
    let signed_fixture = SandboxFixture::start(&aws).await;
    signed_fixture.failure("reach api /allowed/x", 1).await;
    let request = &signed_fixture.upstream.requests()[0];
    let signed = "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
    assert!(
        request.header("authorization").contains(signed),
        "{}",
        request.head()
    );
    assert_eq!(request.header("x-amz-security-token"), "aws-token");
}
