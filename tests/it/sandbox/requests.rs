//! The bodies of a guest's requests, and what it stores with its job.

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

    let (_, refused) = reported(&fixture, "remember 4097").await;
    assert_eq!(refused, r#"None Err("the text is longer than 4096 bytes")"#);
}
