//! Requests with the cookie that pages of other origins cause, and CORS.

use http::Method;

use super::*;

const PAGE: &str = "https://page.example";
const OTHER: &str = "https://other.example";
const SETTINGS: &str = "/api/v1/settings";

type Header<'a> = (&'a str, &'a str);

/// A change with the cookie and these headers.
fn change(server: &TestServer, headers: &[Header]) -> reqwest::RequestBuilder {
    let mut request = server
        .client
        .post(server.url(SETTINGS))
        .header("cookie", format!("a=b; token={}", server.key))
        .body("{}");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn change_with_cookie_needs_own_origin_and_json() {
    let server = TestServer::start(&[("CORS_ALLOW_ORIGIN", PAGE)]).await;
    let own = format!("http://{}", server.address);
    let other_port = "http://127.0.0.1:1";
    let json = ("content-type", "application/json");
    let rows: &[(&str, &[Header], u16)] = &[
        (
            "same origin",
            &[json, ("sec-fetch-site", "same-origin")],
            200,
        ),
        ("old browser", &[json, ("origin", &own)], 200),
        ("no browser", &[json], 200),
        (
            "listed",
            &[json, ("sec-fetch-site", "cross-site"), ("origin", PAGE)],
            200,
        ),
        ("cross site", &[json, ("sec-fetch-site", "cross-site")], 403),
        ("same site", &[json, ("sec-fetch-site", "same-site")], 403),
        ("typed URL", &[json, ("sec-fetch-site", "none")], 403),
        ("other origin", &[json, ("origin", OTHER)], 403),
        ("other port", &[json, ("origin", other_port)], 403),
        ("hidden origin", &[json, ("origin", "null")], 403),
        (
            "both",
            &[json, ("sec-fetch-site", "cross-site"), ("origin", &own)],
            403,
        ),
        (
            "form",
            &[("content-type", "text/plain"), ("origin", &own)],
            403,
        ),
        (
            "form without origin",
            &[("content-type", "text/plain")],
            403,
        ),
        (
            "encoded form",
            &[("content-type", "application/x-www-form-urlencoded")],
            403,
        ),
        ("no type", &[("origin", &own)], 403),
    ];
    for (name, headers, expected) in rows {
        let (status, body) = status_and_json(change(&server, headers)).await;
        assert_eq!(status, *expected, "{name}: {body}");
    }
    // A key is not sent by a browser on its own.
    let cross_site = [
        ("content-type", "text/plain"),
        ("sec-fetch-site", "cross-site"),
    ];
    let with_key = change(&server, &cross_site).bearer_auth(&server.key);
    assert_eq!(status_and_json(with_key).await.0, 200);
    // Another scheme does not hide the cookie.
    let basic = change(&server, &cross_site).header("authorization", "Basic YTpi");
    assert_eq!(status_and_json(basic).await.0, 403);
    // A page of another origin cannot read the response.
    let read = server
        .client
        .get(server.url(SETTINGS))
        .header("cookie", format!("token={}", server.key))
        .header("sec-fetch-site", "cross-site");
    assert_eq!(status_and_json(read).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn origin_is_compared_with_the_host_that_the_proxy_names() {
    for (proxies, expected) in [("127.0.0.0/8", 200), ("10.0.0.0/8", 403)] {
        let server = TestServer::start(&[("PINHOLE_TRUSTED_PROXIES", proxies)]).await;
        let headers = [
            ("content-type", "application/json"),
            ("origin", PAGE),
            ("x-forwarded-host", "page.example"),
        ];
        let (status, body) = status_and_json(change(&server, &headers)).await;
        assert_eq!(status, expected, "{proxies}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_streams_of_other_origins_are_refused() {
    let server = TestServer::start(&[]).await;
    let cookie = format!("token={}", server.key);
    for (method, path) in [
        (Method::POST, "/api/v1/auths/signin"),
        (Method::POST, "/api/v1/auths/signup"),
        (Method::GET, "/api/v1/auths/signout"),
        (Method::GET, "/api/events"),
        (Method::GET, "/ws/socket.io/?EIO=4&transport=polling"),
    ] {
        for headers in [("sec-fetch-site", "cross-site"), ("origin", OTHER)] {
            let request = server
                .client
                .request(method.clone(), server.url(path))
                .header("cookie", &cookie)
                .header(headers.0, headers.1)
                .body(if method == Method::GET { "" } else { "{}" });
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 403, "{path} {headers:?}");
            assert!(response.headers().get("set-cookie").is_none(), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cors_is_off_by_default_and_sends_cookies_only_to_listed_origins() {
    for (setting, origin, allowed, credentials) in [
        ("", PAGE, "", ""),
        (PAGE, PAGE, PAGE, "true"),
        (PAGE, OTHER, "", ""),
        ("*", OTHER, OTHER, ""),
        ("*;https://page.example", PAGE, PAGE, "true"),
        ("*;https://page.example", OTHER, OTHER, ""),
    ] {
        let server = TestServer::start(&[("CORS_ALLOW_ORIGIN", setting)]).await;
        let preflight = server
            .client
            .request(Method::OPTIONS, server.url("/v1/images/generations"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization");
        let preflight = preflight.send().await.unwrap();
        let context = format!("{setting:?} {origin}");
        let allowed_origin = "access-control-allow-origin";
        assert_eq!(header(&preflight, allowed_origin), allowed, "{context}");
        let may_send_key = header(&preflight, "access-control-allow-headers");
        assert_eq!(may_send_key.is_empty(), setting.is_empty(), "{context}");
        let read = server.get("/health").header("origin", origin);
        let read = read.send().await.unwrap();
        assert_eq!(header(&read, allowed_origin), allowed, "{context}");
        let with_cookie = "access-control-allow-credentials";
        assert_eq!(header(&read, with_cookie), credentials, "{context}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_origin_does_not_make_the_cookie_valid() {
    let server = TestServer::start(&[("CORS_ALLOW_ORIGIN", "*")]).await;
    let headers = [("content-type", "application/json"), ("origin", OTHER)];
    assert_eq!(status_and_json(change(&server, &headers)).await.0, 403);
    // It may sign in: it has to know the password.
    let sign_in = server
        .client
        .post(server.url("/api/v1/auths/signin"))
        .header("origin", OTHER)
        .body(r#"{"email": "a@example.com", "password": "unknown"}"#);
    assert_eq!(status_and_json(sign_in).await.0, 400);
}
