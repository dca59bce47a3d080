//! Images that an upstream returns as URLs: redirects, credentials and time limits.

use super::*;

/// Lists the upstream's own origin, where the engine declares no request for images.
const OWN_IMAGES: (&str, &str) = ("PINHOLE_OPENAI_IMAGE_HOSTS", "*,{upstream}");

#[tokio::test(flavor = "multi_thread")]
async fn image_fetch_follows_three_redirects_without_credential() {
    let fixture = openai_fixture(&[OWN_IMAGES]).await;
    let at = |path: &str| format!("{}{path}", fixture.upstream.url());
    let image = || FakeResponse::typed(200, "image/png", PIXEL);
    let responses = [
        response_with_url(&at("/a?sig=1")),
        redirect(301, &at("/b")),
        redirect(302, "/c?x=%20"),
        redirect(307, "d é \"1\""),
        image(),
    ];
    let exchange = fixture.generate(responses, &generation_request()).await;
    assert_eq!(exchange.images(), [PIXEL]);
    let [first, hops @ ..] = exchange.requests.as_slice() else {
        panic!("the upstream got no request");
    };
    assert_eq!(first.header("authorization"), format!("Bearer {KEY}"));
    let lines: Vec<String> = hops.iter().map(|hop| hop.line()).collect();
    let encoded = "GET /d%20%C3%A9%20%221%22";
    assert_eq!(lines, ["GET /a?sig=1", "GET /b", "GET /c?x=%20", encoded]);
    for hop in hops {
        for absent in ["authorization", "cookie", "referer"] {
            assert_eq!(hop.header(absent), "", "{absent} at {}", hop.line());
        }
        assert!(!format!("{hop:?}").contains(KEY));
    }

    // The fourth redirect is not followed.
    let many_hops = [(); 4].map(|()| redirect(302, &at("/again")));
    let refused = fixture
        .generate(
            [response_with_url(&at("/a"))].into_iter().chain(many_hops),
            &generation_request(),
        )
        .await;
    let message = "the image URL is not allowed; if the upstream can return bytes \
        in place of a URL, set response-format-models to *";
    assert_eq!(refused.error(), (502, "forbidden", None, message));
}

#[tokio::test(flavor = "multi_thread")]
async fn image_fetch_checks_each_redirect() {
    let fixture = openai_fixture(&[OWN_IMAGES]).await;
    let other = UnusedListener::new();
    let port = fixture.upstream.address().port();
    let image_url = format!("{}/a", fixture.upstream.url());
    let not_fetched = "the image URL is not allowed; if the upstream can return bytes \
        in place of a URL, set response-format-models to *";
    for location in [
        format!("{}/x.png", other.url()),
        format!("http://localhost:{}/x.png", other.port()),
        format!("http://[::ffff:127.0.0.1]:{}/x.png", other.port()),
        format!("//127.0.0.1:{}/x.png", other.port()),
        // The granted host and port, but with a host name, user or scheme that is not granted.
        format!("http://localhost:{port}/x.png"),
        format!("http://{KEY}@127.0.0.1:{port}/x.png"),
        format!("https://127.0.0.1:{port}/x.png"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "data:image/png;base64,AAAA".to_owned(),
        "http://".to_owned(),
        // Some parsers read a backslash as a slash.
        format!("/\\127.0.0.1:{}/a b.png", other.port()),
        format!("http://127.0.0.1:{port} @127.0.0.1:{}/é.png", other.port()),
        String::new(),
    ] {
        let hops = match location.as_str() {
            // An empty location redirects to the same URL, up to the redirect limit.
            "" => 4,
            _ => 1,
        };
        let responses = (0..hops).map(|_| redirect(302, &location));
        let exchange = fixture
            .generate(
                [response_with_url(&image_url)].into_iter().chain(responses),
                &generation_request(),
            )
            .await;
        assert_eq!(
            exchange.error(),
            (502, "forbidden", None, not_fetched),
            "{location}"
        );
        other.assert_unused();
    }
    let nowhere = FakeResponse::typed(302, "text/plain", "");
    let exchange = fixture
        .generate(
            [response_with_url(&image_url), nowhere],
            &generation_request(),
        )
        .await;
    assert_eq!(exchange.error(), (502, "forbidden", None, not_fetched));
    let not_found = FakeResponse::typed(404, "text/plain", "gone");
    let failed = fixture
        .generate(
            [response_with_url(&image_url), not_found],
            &generation_request(),
        )
        .await;
    let message = "the image URL returned status 404; if the upstream can return bytes \
        in place of a URL, set response-format-models to *";
    assert_eq!(failed.error(), (502, "protocol", None, message));
    assert_eq!(fixture.server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn image_fetch_ends_at_job_timeout() {
    let upstream = FakeUpstream::start(async |request| match request.method {
        Method::POST => response_with_url(&format!("http://{}/x.png", request.header("host"))),
        _ => std::future::pending().await,
    })
    .await;
    let url = upstream.url();
    let variables = [
        ("IMAGES_OPENAI_API_BASE_URL", url.as_str()),
        ("IMAGES_OPENAI_API_KEY", KEY),
        ("PINHOLE_JOB_TIMEOUT_SECS", "1"),
        ("PINHOLE_OPENAI_IMAGE_HOSTS", &url),
    ];
    let server = TestServer::with_engine("openai", &variables).await;
    let (status, body) = generate(&server).await;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (504, Some("timeout")),
        "{body}"
    );
    assert_eq!(
        upstream.request_lines(),
        ["POST /v1/images/generations", "GET /x.png"]
    );
    assert_eq!(upstream.requests()[1].header("authorization"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn image_that_cannot_be_fetched_is_skipped_unless_it_is_the_only_one() {
    let fixture = openai_fixture(&[OWN_IMAGES]).await;
    let at = |path: &str| json!({"url": format!("{}{path}", fixture.upstream.url())});
    let two = FakeResponse::json(200, &json!({"data": [at("/gone"), at("/x.png")]}));
    let gone = || FakeResponse::typed(404, "text/plain", "gone");
    let image = FakeResponse::typed(200, "image/png", PIXEL);
    let body = json!({"model": "m", "prompt": "a red fox", "n": 2});
    let exchange = fixture.generate([two, gone(), image], &body).await;
    assert_eq!(exchange.images(), [PIXEL]);

    let none = FakeResponse::json(200, &json!({"data": [at("/gone"), at("/gone-too")]}));
    let failed = fixture.generate([none, gone(), gone()], &body).await;
    let message = "the image URL returned status 404; if the upstream can return bytes \
        in place of a URL, set response-format-models to *";
    assert_eq!(failed.error(), (502, "protocol", None, message));
}
