//! The bodies of a guest's requests, URLs that it follows, and what it stores with its job.

use pinhole_sandbox::JobMemory;

use super::*;

/// The outcome that the guest reports for this prompt.
async fn reported(fixture: &SandboxFixture, prompt: &str) -> (ErrorKind, String) {
    engine_error(fixture.call(prompt, LIMITS).await)
}

fn was_sent(status: u16) -> (ErrorKind, String) {
    (ErrorKind::Upstream, format!("status {status}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_body_has_its_content_type() {
    let fixture = SandboxFixture::start(&[]).await;
    let pixel = base64_simd::STANDARD.encode_to_string(PIXEL);
    let data_url = format!(r#"{{"image":"data:image/png;base64,{pixel}"}}"#);
    let form = "application/x-www-form-urlencoded";
    for (kind, media_type, body) in [
        (
            "urlencoded",
            form,
            b"prompt=a+fox+%26+a+hen&n=1&%C3%A9=".to_vec(),
        ),
        ("image", "image/png", PIXEL.to_vec()),
        ("data-url", "application/json", data_url.into_bytes()),
        (
            "raw application/xml; charset=utf-8",
            "application/xml; charset=utf-8",
            b"x".to_vec(),
        ),
    ] {
        let prompt = format!("body {kind}");
        assert_eq!(reported(&fixture, &prompt).await, was_sent(200), "{kind}");
        let requests = fixture.upstream.requests();
        let request = requests.last().unwrap();
        assert_eq!(request.header("content-type"), media_type, "{kind}");
        assert_eq!(request.body, body, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_type_cannot_break_the_request() {
    let fixture = SandboxFixture::start(&[]).await;
    for media_type in [
        "",
        "text",
        "text/",
        "a/b/c",
        "te xt/plain",
        "text/plain\r\nx: y",
    ] {
        let prompt = format!("body raw {media_type}");
        let (kind, message) = reported(&fixture, &prompt).await;
        let expected = (
            ErrorKind::Forbidden,
            "the content type is invalid".to_owned(),
        );
        assert_eq!((kind, message), expected, "{media_type:?}");
    }
    assert!(fixture.upstream.requests().is_empty());
}

/// An upstream that names this URL. `{origin}` is its own origin.
async fn following_fixture(url: &'static str) -> SandboxFixture {
    let upstream = FakeUpstream::start(move |request: RecordedRequest| {
        let origin = format!("http://{}", request.header("host"));
        let url = url.replace("{origin}", &origin);
        async move { FakeResponse::json(200, &json!({ "url": url })) }
    })
    .await;
    SandboxFixture::with(upstream, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn url_below_the_base_url_is_followed_with_the_credential() {
    let fixture = following_fixture("{origin}/base/allowed/state?id=a%20b").await;
    assert_eq!(reported(&fixture, "follow GET").await, was_sent(200));
    let requests = fixture.upstream.requests();
    assert_eq!(requests[1].line(), "GET /base/allowed/state?id=a%20b");
    let key = format!("Bearer {KEY}");
    assert_eq!(requests[1].header("authorization"), key);

    // The method needs a right of its own.
    let (kind, message) = reported(&fixture, "follow POST").await;
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::Forbidden, "not granted")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_urls_are_not_followed() {
    for url in [
        "{origin}/allowed/state",
        "{origin}/base/other",
        "{origin}/baseevil/allowed/x",
        "{origin}/base/allowed/../other",
        "{origin}/base/allowed/%2e%2e/other",
        "https://a-red-fox.invalid/base/allowed/x",
        "ftp://127.0.0.1/base/allowed/x",
        "file:///etc/passwd",
        "not a url at all",
    ] {
        let fixture = following_fixture(url).await;
        let (kind, message) = reported(&fixture, "follow GET").await;
        assert_eq!(kind, ErrorKind::Forbidden, "{url}: {message}");
        assert_eq!(fixture.upstream.requests().len(), 1, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn job_stores_one_short_text() {
    let fixture = SandboxFixture::start(&[]).await;
    let context = JobContext {
        memory: JobMemory::after(Some("before")),
        ..job_context()
    };
    let outcome = fixture.spawn("remember 4096", LIMITS, &context).await;
    let (_, message) = engine_error(outcome.unwrap());
    assert_eq!(message, r#"Some("before") Ok(())"#);
    assert_eq!(context.memory.latest().unwrap().len(), 4096);

    let (_, message) = reported(&fixture, "remember 4097").await;
    assert_eq!(message, r#"None Err("the text is longer than 4096 bytes")"#);
}
