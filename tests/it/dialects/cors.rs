//! A browser's client of OpenAI's API on a page of an allowed origin.

use http::Method;

use super::*;

const ORIGIN: &str = "https://app.example";
/// The headers of OpenAI's Node client in a browser.
const HEADERS: &str = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout";

#[tokio::test(flavor = "multi_thread")]
async fn page_of_allowed_origin_may_use_every_route() {
    let server = TestServer::start(&[("CORS_ALLOW_ORIGIN", ORIGIN)]).await;
    for (method, path) in [
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/images/edits"),
        ("POST", "/v1/images/variations"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/responses"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/sketch"),
    ] {
        let preflight = server
            .client
            .request(Method::OPTIONS, server.url(path))
            .header("origin", ORIGIN)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", HEADERS)
            .send()
            .await
            .unwrap();
        assert!(preflight.status().is_success(), "{path}");
        let headers = preflight.headers();
        assert_eq!(headers["access-control-allow-origin"], ORIGIN, "{path}");
        assert_eq!(headers["access-control-allow-headers"], HEADERS, "{path}");
        assert_eq!(headers["access-control-allow-methods"], method, "{path}");
        let foreign = server
            .client
            .request(Method::OPTIONS, server.url(path))
            .header("origin", "https://evil.example")
            .header("access-control-request-method", method)
            .send()
            .await
            .unwrap();
        assert!(
            !foreign
                .headers()
                .contains_key("access-control-allow-origin"),
            "{path}"
        );
    }
}

/// Without `access-control-expose-headers`, the client would not see that a retry is forbidden.
#[tokio::test(flavor = "multi_thread")]
async fn page_sees_the_headers_that_decide_about_retries() {
    let server = TestServer::start(&[("CORS_ALLOW_ORIGIN", ORIGIN)]).await;
    let body = json!({"prompt": ""});
    let response = server
        .post("/v1/images/generations", &body)
        .header("origin", ORIGIN)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    let exposed = response.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    for header in [
        "x-should-retry",
        "retry-after",
        "retry-after-ms",
        "x-request-id",
    ] {
        assert!(
            exposed.split(',').any(|it| it.trim() == header),
            "{exposed}"
        );
    }
}
