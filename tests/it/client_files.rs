//! The files of a web client, and the files that are never served.

use std::os::unix::fs::symlink;
use std::path::Path;

use http::Method;
use pinhole::app::App;
use pinhole::config::Config;
use pinhole_tests::{TestServer, environment};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What no response may contain.
const SECRET: &str = "not-for-clients";
const PAGE: &str =
    "<!doctype html><html><head><script>let a = 1</script></head><body>page</body></html>";

/// A client's files, in a directory next to a secret.
fn client_files() -> TempDir {
    let outer = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = outer.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("client/index.html", PAGE);
    write("client/_app/immutable/start.1a2b.js", "export {}");
    write("client/static/custom.css", "");
    write("client/favicon.png", "png");
    write("client/wasm/a b.wasm", "wasm");
    write("secret", SECRET);
    write("other/secret", SECRET);
    for name in [".env", ".git/config", "static/.hidden"] {
        write(&format!("client/{name}"), SECRET);
    }
    for name in [
        "api/config",
        "api/v1/mine",
        "v1/models",
        "ollama/api/version",
        "health",
        "docs/x",
    ] {
        write(&format!("client/{name}"), SECRET);
    }
    let client = outer.path().join("client");
    symlink("../secret", client.join("link.txt")).unwrap();
    symlink(outer.path().join("secret"), client.join("absolute.txt")).unwrap();
    symlink("../other", client.join("linked")).unwrap();
    symlink("favicon.png", client.join("icon.png")).unwrap();
    outer
}

async fn start(files: &TempDir) -> TestServer {
    let client = files.path().join("client");
    let variables = [("PINHOLE_WEB_CLIENT", client.to_str().unwrap())];
    TestServer::with_engine("sketch", &variables).await
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
        body: response.text().await.unwrap(),
    }
}

async fn get(server: &TestServer, path: &str) -> Fetched {
    fetch(server, Method::GET, path, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_their_type_and_are_cached() {
    let files = client_files();
    let server = start(&files).await;
    for (path, body, media_type, caching) in [
        (
            "/_app/immutable/start.1a2b.js",
            "export {}",
            "text/javascript; charset=utf-8",
            "public, max-age=31536000, immutable",
        ),
        (
            "/static/custom.css",
            "",
            "text/css; charset=utf-8",
            "no-cache",
        ),
        ("/favicon.png", "png", "image/png", "no-cache"),
        ("/icon.png", "png", "image/png", "no-cache"),
        ("/wasm/a%20b.wasm", "wasm", "application/wasm", "no-cache"),
    ] {
        let file = get(&server, path).await;
        assert_eq!((file.status, file.body.as_str()), (200, body), "{path}");
        assert_eq!(file.header("content-type"), media_type, "{path}");
        assert_eq!(file.header("cache-control"), caching, "{path}");
        assert_eq!(file.header("x-content-type-options"), "nosniff", "{path}");
        assert!(
            file.header("content-security-policy")
                .contains("script-src 'self'")
        );
        let tag = file.header("etag").to_owned();
        let again = fetch(&server, Method::GET, path, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        let head = fetch(&server, Method::HEAD, path, &[]).await;
        assert_eq!(
            head.header("content-length"),
            body.len().to_string(),
            "{path}"
        );
    }
    std::fs::write(files.path().join("client/favicon.png"), "newer").unwrap();
    assert_eq!(get(&server, "/favicon.png").await.body, "newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn page_is_for_navigations_only_and_allows_its_own_scripts() {
    let files = client_files();
    let server = start(&files).await;
    let navigation = [("sec-fetch-mode", "navigate")];
    let old_browser = [("accept", "text/html,application/xhtml+xml")];
    for (path, headers, status) in [
        ("/", &[][..], 200),
        ("/index.html", &[], 200),
        ("/c/5", &navigation, 200),
        ("/admin/settings/images", &old_browser, 200),
        ("/c/5", &[], 404),
        (
            "/missing.js",
            &[("sec-fetch-mode", "cors"), ("accept", "text/html")],
            404,
        ),
        ("/api/v1/missing", &navigation, 404),
        ("/v1/missing", &navigation, 404),
        ("/API/missing", &navigation, 404),
        ("/%61pi/missing", &navigation, 404),
    ] {
        let page = fetch(&server, Method::GET, path, headers).await;
        assert_eq!(page.status, status, "{path} {headers:?}: {}", page.body);
        if status == 404 {
            let json: Value = serde_json::from_str(&page.body).unwrap();
            let is_error = json["detail"] == "Not Found" || json["error"].is_object();
            assert!(is_error, "{path}: {json}");
            continue;
        }
        assert!(page.body.contains("<body>page</body>"), "{path}");
        assert!(
            page.body.contains("src=\"/pinhole/engine-choices.js\""),
            "{path}"
        );
        let policy = page.header("content-security-policy");
        // printf 'let a = 1' | openssl sha256 -binary | base64
        assert!(
            policy.contains("'sha256-LAfYd7pbFUgwfQu8b4q135PeTG2z+/coPEUYCd74eCQ='"),
            "{policy}"
        );
        for needed in [
            "default-src 'none'",
            "frame-ancestors 'self'",
            "img-src 'self' data: blob:",
        ] {
            assert!(policy.contains(needed), "{policy}");
        }
        assert!(!policy.contains("'unsafe-eval'"), "{policy}");
        assert_eq!(page.header("cache-control"), "no-cache");
        assert_eq!(page.header("referrer-policy"), "same-origin");
        assert!(page.headers.get("set-cookie").is_none());
    }
    let script = get(&server, "/pinhole/engine-choices.js").await;
    assert_eq!(
        script.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let refused = fetch(&server, method.clone(), "/favicon.png", &navigation).await;
        assert_eq!(refused.status, 404, "{method}");
    }
}

/// The whole response to a request line that no URL library has normalized.
async fn raw_get(server: &TestServer, target: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: {}\r\nsec-fetch-mode: no-cors\r\nconnection: close\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn path_of_a_request_never_leads_out_of_the_directory_or_over_an_api() {
    let files = client_files();
    let server = start(&files).await;
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/.%2e/secret",
        "/..%2fsecret",
        "/static/..%2f..%2fsecret",
        "/static/../../secret",
        "/..%5csecret",
        "/..\\secret",
        "//secret",
        "/%2fsecret",
        "/./.env",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/static/.hidden",
        "/link.txt",
        "/absolute.txt",
        "/linked/secret",
        "/linked",
        "/static",
        "/favicon.png/",
        "/favicon.png%00.html",
        "/api/config",
        "/API/config",
        "/%61pi/v1/mine",
        "//api/v1/mine",
        "/api/v1/mine",
        "/v1/models",
        "/v1%2fmodels",
        "/ollama/api/version",
        "/health",
        "/docs/x",
    ] {
        let response = raw_get(&server, path).await;
        assert!(response.starts_with("HTTP/1.1 "), "{path}: {response}");
        assert!(!response.contains(SECRET), "{path}: {response}");
        assert!(!response.contains("500 Internal"), "{path}: {response}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_the_same_for_every_user() {
    let files = client_files();
    let server = start(&files).await;
    let cookie = format!("token={}", server.key);
    for path in ["/", "/favicon.png"] {
        let anonymous = get(&server, path).await;
        let known = fetch(&server, Method::GET, path, &[("cookie", &cookie)]).await;
        assert_eq!(anonymous.body, known.body, "{path}");
        assert!(known.headers.get("set-cookie").is_none(), "{path}");
    }
    // What belongs to a user is never for shared caches.
    for path in [
        "/api/v1/users/user/settings",
        "/api/v1/auths/",
        "/api/v1/users/x/profile/image",
    ] {
        let own = fetch(&server, Method::GET, path, &[("cookie", &cookie)]).await;
        assert_eq!(own.status, 200, "{path}");
        assert!(!own.header("cache-control").contains("public"), "{path}");
        assert_eq!(get(&server, path).await.status, 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_client_there_is_no_page() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let navigation = [("sec-fetch-mode", "navigate")];
    for path in ["/", "/c/5", "/index.html"] {
        let page = fetch(&server, Method::GET, path, &navigation).await;
        assert_eq!(page.status, 404, "{path}");
    }
}

/// The error of a server that does not start with this directory.
async fn start_error(data: &TempDir, directory: &Path) -> String {
    let variables = [("PINHOLE_WEB_CLIENT", directory.to_str().unwrap())];
    let config = Config::new(environment(data, &variables)).unwrap();
    match App::open(&config).await {
        Ok(_) => panic!("started with {}", directory.display()),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_directory_stops_the_start_with_one_line() {
    let data = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("index.html"), PAGE).unwrap();
    let missing = empty.path().join("missing");
    let file = data.path().join("index.html");
    for (directory, reason) in [
        (missing.as_path(), "cannot open the directory"),
        (&file, "cannot open the directory"),
        (empty.path(), "has no index.html"),
        (data.path(), "contains the data directory"),
    ] {
        let error = start_error(&data, directory).await;
        assert!(error.contains("PINHOLE_WEB_CLIENT"), "{error}");
        assert!(error.contains(reason), "{error}");
        assert!(error.contains("set it to"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
