//! The server's own pages: files, copies, headers, and paths that are never a page.

mod built;

use http::Method;
use pinhole::app::App;
use pinhole::config::Config;
use pinhole_tests::{TestServer, environment};
use serde_json::Value;
use tempfile::TempDir;

const PAGE: &str = "<!doctype html><html><body>pinhole page</body></html>";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const NAVIGATION: &[(&str, &str)] = &[("sec-fetch-mode", "navigate")];

/// The files that a build of the pages leaves. The texts of copies show which one was sent.
fn write_pages() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("ui")).unwrap();
    for (name, text) in [
        ("index.html", PAGE),
        ("favicon.svg", "<svg/>"),
        ("manifest.webmanifest", "{}"),
        ("ui/main-AB12.js", "export {}"),
        ("ui/main-AB12.js.br", "brotli"),
        ("ui/main-AB12.js.gz", "gzip"),
        ("ui/style-CD34.css", "a{}"),
        ("ui/style-CD34.css.gz", "gzip"),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// A server with these pages.
async fn start(pages: &TempDir, variables: &[(&str, &str)]) -> TestServer {
    let mut all = vec![("PINHOLE_UI_DIR", pages.path().to_str().unwrap())];
    all.extend(variables);
    TestServer::with_engine("sketch", &all).await
}

struct Fetched {
    status: u16,
    headers: http::HeaderMap,
    body: String,
}

impl Fetched {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }
}

async fn fetch(
    server: &TestServer,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Fetched {
    let mut request = server.client.request(method, server.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    Fetched {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned(),
    }
}

async fn get(server: &TestServer, path: &str, headers: &[(&'static str, &str)]) -> Fetched {
    fetch(server, Method::GET, path, headers).await
}

/// Fails unless the response has the headers of every file of the pages. What a page loads has the page's policy.
fn check_headers(file: &Fetched, path: &str) {
    let policies = [
        ("content-security-policy", POLICY),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    for (name, expected) in policies {
        let is_document = !path.starts_with("/ui/");
        let actual = file.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(actual, is_document.then_some(expected), "{path}: {name}");
    }
    for (name, expected) in [
        ("x-content-type-options", "nosniff"),
        ("vary", "accept-encoding"),
    ] {
        assert_eq!(file.header(name), expected, "{path}: {name}");
    }
    assert!(file.header("etag").starts_with('"'), "{path}");
    assert!(file.headers.get("set-cookie").is_none(), "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_sent_with_type_policy_and_caching() {
    let pages = write_pages();
    let server = start(&pages, &[]).await;
    let year = "public, max-age=31536000, immutable";
    for (path, headers, media_type, caching) in [
        ("/", &[][..], "text/html; charset=utf-8", "no-cache"),
        ("/index.html", &[], "text/html; charset=utf-8", "no-cache"),
        ("/setup", NAVIGATION, "text/html; charset=utf-8", "no-cache"),
        (
            "/admin/engines/x",
            &[("accept", "text/html")],
            "text/html; charset=utf-8",
            "no-cache",
        ),
        ("/favicon.svg", &[], "image/svg+xml", "no-cache"),
        (
            "/manifest.webmanifest",
            &[],
            "application/manifest+json",
            "no-cache",
        ),
        (
            "/ui/main-AB12.js",
            &[],
            "text/javascript; charset=utf-8",
            year,
        ),
        ("/ui/style-CD34.css", &[], "text/css; charset=utf-8", year),
    ] {
        let file = get(&server, path, headers).await;
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.header("content-type"), media_type, "{path}");
        assert_eq!(file.header("cache-control"), caching, "{path}");
        check_headers(&file, path);
        let tag = file.header("etag").to_owned();
        let mut cached = headers.to_vec();
        cached.push(("if-none-match", &tag));
        let again = get(&server, path, &cached).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        check_headers(&again, path);
        let head = fetch(&server, Method::HEAD, path, headers).await;
        let length = file.body.len().to_string();
        assert_eq!(head.header("content-length"), length, "{path}");
    }
    std::fs::write(pages.path().join("index.html"), "newer").unwrap();
    assert_eq!(get(&server, "/", &[]).await.body, "newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_copy_is_sent_to_a_client_that_accepts_it() {
    let pages = write_pages();
    let server = start(&pages, &[]).await;
    let (script, style) = ("/ui/main-AB12.js", "/ui/style-CD34.css");
    let mut tags = Vec::new();
    for (path, accepted, encoding, body) in [
        (script, "gzip, deflate, br", "br", "brotli"),
        (script, "gzip", "gzip", "gzip"),
        (script, "br;q=0, gzip;q=0.5", "gzip", "gzip"),
        (script, "identity", "", "export {}"),
        (style, "gzip, br", "gzip", "gzip"),
        (style, "br", "", "a{}"),
        ("/favicon.svg", "gzip, br", "", "<svg/>"),
    ] {
        let file = get(&server, path, &[("accept-encoding", accepted)]).await;
        assert_eq!((file.status, file.body.as_str()), (200, body), "{accepted}");
        assert_eq!(file.header("content-encoding"), encoding, "{accepted}");
        assert_eq!(file.header("content-length"), body.len().to_string());
        check_headers(&file, path);
        tags.push(format!("{path} {encoding} {}", file.header("etag")));
    }
    // The encodings of one file have different tags.
    let tag = |index: usize| tags[index].rsplit(' ').next().unwrap();
    assert!(
        tag(0) != tag(1) && tag(1) != tag(3) && tag(0) != tag(3),
        "{tags:?}"
    );
    // A copy that is older than its file is of an earlier build.
    let newer = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let file = std::fs::File::options()
        .write(true)
        .open(pages.path().join("ui/main-AB12.js"))
        .unwrap();
    file.set_modified(newer).unwrap();
    let whole = get(&server, script, &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(
        (whole.body.as_str(), whole.header("content-encoding")),
        ("export {}", "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn path_of_an_api_or_of_a_missing_file_is_never_the_page() {
    let pages = write_pages();
    let server = start(&pages, &[]).await;
    for (method, path, headers) in [
        (Method::GET, "/api/v1/missing", NAVIGATION),
        (Method::GET, "/api", NAVIGATION),
        (Method::GET, "/API/missing", NAVIGATION),
        (Method::GET, "/%61pi/missing", NAVIGATION),
        (Method::GET, "/v1/missing", NAVIGATION),
        (Method::GET, "/ws/missing", NAVIGATION),
        (Method::GET, "/ready/missing", NAVIGATION),
        (Method::GET, "/ui/main-OLD.js", NAVIGATION),
        (Method::GET, "/ui/", NAVIGATION),
        (Method::GET, "/ui/../index.html.missing", &[]),
        (Method::GET, "/missing.js", &[("sec-fetch-mode", "no-cors")]),
        (Method::GET, "/gallery", &[("accept", "application/json")]),
        (Method::POST, "/gallery", NAVIGATION),
        (Method::DELETE, "/", NAVIGATION),
    ] {
        let response = fetch(&server, method.clone(), path, headers).await;
        assert_eq!(response.status, 404, "{method} {path}: {}", response.body);
        let json: Value = serde_json::from_str(&response.body).unwrap();
        let is_error = json["detail"] == "Not Found" || json["error"].is_object();
        assert!(is_error, "{method} {path}: {json}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn choice_of_pages_is_in_the_configuration() {
    let pages = write_pages();
    for (choice, has_admin_pages, status) in
        [("on", true, 200), ("chat", false, 200), ("off", false, 404)]
    {
        let server = start(&pages, &[("PINHOLE_UI", choice)]).await;
        assert_eq!(
            get(&server, "/", NAVIGATION).await.status,
            status,
            "{choice}"
        );
        let config = get(&server, "/api/config", &[]).await;
        let config: Value = serde_json::from_str(&config.body).unwrap();
        let own = &config["pinhole"];
        assert_eq!(own["admin_pages"], has_admin_pages, "{choice}");
        assert_eq!(own["setup_needed"], true, "{choice}");
        assert_eq!(own["sign_up"], false, "{choice}");
        assert_eq!(own["version"], env!("CARGO_PKG_VERSION"), "{choice}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_pages_says_how_to_get_them() {
    let server = TestServer::with_engine("sketch", &[]).await;
    for (path, headers) in [("/", &[][..]), ("/", NAVIGATION), ("/setup", NAVIGATION)] {
        let response = get(&server, path, headers).await;
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
        assert!(
            response.body.contains("PINHOLE_UI_DIR"),
            "{}",
            response.body
        );
        assert_eq!(response.body.trim_end().lines().count(), 1);
    }
    assert!(get(&server, "/setup", &[]).await.body.contains("Not Found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn web_client_of_the_operator_comes_before_the_pages() {
    let pages = write_pages();
    let client = tempfile::tempdir().unwrap();
    std::fs::write(client.path().join("index.html"), "<head></head>client").unwrap();
    let variables = [("PINHOLE_WEB_CLIENT", client.path().to_str().unwrap())];
    let server = start(&pages, &variables).await;
    assert!(get(&server, "/", &[]).await.body.contains("client"));
    assert_eq!(get(&server, "/ui/main-AB12.js", &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_directory_of_pages_stops_the_start_with_one_line() {
    let (data, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, value, reason) in [
        (
            "PINHOLE_UI_DIR",
            empty.path().to_str().unwrap(),
            "has no index.html",
        ),
        ("PINHOLE_UI", "yes", "it must be on, chat or off"),
    ] {
        let config = Config::new(environment(&data, &[(name, value)]));
        let error = match config {
            Err(error) => error,
            Ok(config) => match App::open(&config).await {
                Ok(_) => panic!("started with {name}={value}"),
                Err(error) => error,
            },
        };
        let error = format!("{error:#}");
        assert!(error.contains(name) && error.contains(reason), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
