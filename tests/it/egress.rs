//! Egress: which destinations requests may reach, and which credentials and headers they carry.

mod connections;
mod dependencies;
mod image_fetch;
mod ip_table;
mod responses;
mod tls;
mod web_sockets;

use std::process::Command;
use std::time::Duration;

use http::Method;
use pinhole::config::Config;
use pinhole::jobs::{JobPlan, JobRequest, Operation, Requester};
use pinhole_egress::url::parse_url;
use pinhole_egress::{
    BaseUrl, Credential, DEFAULT_SILENCE, Destination, Egress, Error, ImageRoute, Request, Tls,
};
use pinhole_ground::environment::Environment;
use pinhole_sandbox::engine_settings::EngineSettings;
use pinhole_sandbox::grant;
use pinhole_tests::{
    EngineFixture, FakeResponse, FakeUpstream, PIXEL, TestServer, engines, environment,
    pixel_base64, program,
};
use serde_json::{Value, json};
use tokio::time::Instant;

const KEY: &str = "open-sesame-5820";
/// Ends jobs whose upstream never responds.
const JOB_TIMEOUT: (&str, &str) = ("PINHOLE_JOB_TIMEOUT_SECS", "30");

/// A server with the engine `openai`, and its upstream.
async fn openai_fixture(variables: &[(&str, &str)]) -> EngineFixture {
    let mut all = vec![
        ("IMAGES_OPENAI_API_BASE_URL", "{upstream}/v1"),
        ("IMAGES_OPENAI_API_KEY", "{secret}"),
        JOB_TIMEOUT,
    ];
    all.extend(variables);
    EngineFixture::start("openai", KEY, &all).await
}

fn egress() -> Egress {
    Egress::new(&[], DEFAULT_SILENCE).unwrap()
}

/// Opens a destination. `allows_private`: whether an administrator set the base URL.
fn open_destination(base: &str, allows_private: bool, credential: Credential) -> Destination {
    let base_url = BaseUrl {
        url: base,
        allows_private,
        setting: "DRAW_BASE_URL",
    };
    let opened = egress().destination(base_url, credential, &Tls::default());
    opened.unwrap()
}

fn generation_request() -> Value {
    json!({"model": "m", "prompt": "a red fox"})
}

/// A response that names the URL of an image.
fn response_with_url(url: &str) -> FakeResponse {
    FakeResponse::json(200, &json!({"data": [{"url": url}]}))
}

/// The JSON of a response with one image.
fn image_json() -> String {
    json!({"data": [{"b64_json": pixel_base64()}]}).to_string()
}

fn redirect(status: u16, location: &str) -> FakeResponse {
    FakeResponse::typed(status, "text/plain", "").header("location", location)
}

/// Far more than any step here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

async fn with_timeout<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// Requests an image. Returns the status and JSON of the response.
async fn generate(server: &TestServer) -> (u16, Value) {
    let requests = generation_request();
    with_timeout(
        "the server",
        server.post_json("/v1/images/generations", &requests),
    )
    .await
}

/// A listener that must not get a connection.
struct UnusedListener(std::net::TcpListener);

impl UnusedListener {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Asserts that no connection waits to be accepted.
    fn assert_unused(&self) {
        let error = self.0.accept().expect_err("a connection arrived");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn egress_refuses_redirect_of_engine_request() {
    let fixture = openai_fixture(&[]).await;
    let other = UnusedListener::new();
    let own = format!("{}/v1/images/other", fixture.upstream.url());
    for (status, location) in [
        (301, other.url()),
        (302, format!("{}/v1/images/generations", other.url())),
        (303, other.url()),
        (307, other.url()),
        (308, other.url()),
        (307, own),
        (302, "/v1/images/other".to_owned()),
    ] {
        // The fixture fails on any further request.
        let exchange = fixture
            .generate([redirect(status, &location)], &generation_request())
            .await;
        let message = format!("the upstream returned status {status}");
        assert_eq!(exchange.error(), (502, "protocol", None, message.as_str()));
        let request = exchange.request();
        assert_eq!(request.line(), "POST /v1/images/generations");
        assert_eq!(request.header("authorization"), format!("Bearer {KEY}"));
        other.assert_unused();
    }
    assert_eq!(fixture.server.stored_files(), 0);
}

/// The origin that engine `openai` may reach with these variables and this default URL.
fn granted_origin(
    server: &TestServer,
    default: &str,
    variables: &[(&str, &str)],
) -> Result<String, String> {
    let snapshot = server.app.jobs.snapshot();
    let engine = snapshot.engines.get("openai").unwrap();
    let mut description = engine.description.clone();
    let mut settings = description.settings.iter_mut();
    let setting = settings.find(|setting| setting.key == "base-url").unwrap();
    setting.default = Some(Value::from(default).to_string());
    let pairs = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let environment = Environment::new(pairs);
    let engine_settings = EngineSettings::for_generating(&description, &environment)?;
    let (egress, tls) = (&server.app.jobs.egress, Tls::default());
    let upstreams =
        grant::open_upstreams(&description, &engine.grant, &engine_settings, egress, &tls)
            .map_err(|refusal| refusal.to_string())?;
    Ok(upstreams["api"].destination.origin())
}

#[tokio::test(flavor = "multi_thread")]
async fn base_url_is_private_only_if_administrator_set_it() {
    const PRIVATE: &str = "http://127.0.0.1:9";
    const PUBLIC: &str = "https://api.openai.com/v1";
    let server = TestServer::with_engine("openai", &[]).await;
    let reached = |default, variables: &[_]| granted_origin(&server, default, variables);
    let variables = |url| [("IMAGES_OPENAI_API_BASE_URL", url)];
    for default in [PRIVATE, "http://192.168.1.1/v1", "http://[::1]:9"] {
        let refused = reached(default, &[]).unwrap_err();
        assert!(refused.contains("setting base-url"), "{refused}");
        assert!(refused.contains("is private"), "{refused}");
        assert_eq!(reached(default, &variables(PRIVATE)).unwrap(), PRIVATE);
    }
    let origin = "https://api.openai.com";
    assert_eq!(reached(PUBLIC, &[]).unwrap(), origin);
    assert_eq!(reached(PUBLIC, &variables("")).unwrap(), origin);
    assert_eq!(reached(PUBLIC, &variables(PRIVATE)).unwrap(), PRIVATE);
    for never in [
        "http://169.254.169.254/v1",
        "http://0.0.0.0:9",
        "http://[::]:9",
    ] {
        let refused = reached(PUBLIC, &variables(never)).unwrap_err();
        assert!(refused.contains("no engine may reach"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn egress_checks_resolved_ip_addresses() {
    let upstream = FakeUpstream::json(200, json!({})).await;
    let url = format!("http://localhost:{}/v1", upstream.address().port());
    let send = async |destination: Destination| {
        let request = Request {
            method: Method::POST,
            path: "/x".to_owned(),
            ..Request::default()
        };
        destination.send(request, 1000, deadline()).await
    };
    let key = || Credential::bearer(KEY).unwrap();

    let public = open_destination(&url, false, key());
    let refused = send(public).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Denied { refusal, .. } if refusal.reason.contains(&format!("is private: allow it with DRAW_BASE_URL={url}"))),
        "{refused:?}"
    );
    let socket_destination = open_destination(&url, false, key());
    let socket_refused = socket_destination.connect("/ws", deadline()).await.err();
    assert!(
        matches!(socket_refused, Some(Error::Denied { .. })),
        "{socket_refused:?}"
    );
    // An image URL with the same host: its route says whether private IP addresses are allowed.
    let destination = open_destination("http://10.0.0.1", true, key());
    let image_url = parse_url(&url).unwrap();
    for route in [ImageRoute::Public, ImageRoute::Listed] {
        let fetched = destination
            .get_image(&image_url, route, 1000, deadline())
            .await;
        assert_eq!(fetched.is_ok(), route == ImageRoute::Listed, "{fetched:?}");
    }
    assert_eq!(upstream.requests()[0].header("authorization"), "");
    upstream.reset();
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );

    let private = open_destination(&url, true, key());
    let response = send(private).await.unwrap();
    assert_eq!(response.status, 200);
    let requests = upstream.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line(), "POST /v1/x");
    assert_eq!(requests[0].header("authorization"), format!("Bearer {KEY}"));
    assert!(requests[0].header("host").starts_with("localhost:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_with_forbidden_url_is_unavailable() {
    let fixture =
        openai_fixture(&[("IMAGES_OPENAI_API_BASE_URL", "http://169.254.169.254/v1")]).await;
    let exchange = fixture.generate([], &generation_request()).await;
    assert_eq!(
        (exchange.error().0, exchange.error().2),
        (400, Some("engine"))
    );
    let current = fixture.server.app.jobs.snapshot();
    let problems = current.binding("openai").unwrap().problems();
    assert!(problems[0].contains("169.254.169.254"), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn egress_ignores_proxy_variables() {
    const VARIABLES: [&str; 6] = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let proxy = UnusedListener::new();
    let proxy_url = proxy.url();
    let settings: Vec<(&str, &str)> = VARIABLES
        .iter()
        .map(|name| (*name, proxy_url.as_str()))
        .collect();
    let fixture = openai_fixture(&settings).await;
    let image = || FakeResponse::typed(200, "application/json", image_json());
    let exchange = fixture.generate([image()], &generation_request()).await;
    assert_eq!(exchange.images(), [PIXEL]);
    assert_eq!(
        exchange.request().header("host"),
        fixture.upstream.address().to_string()
    );
    proxy.assert_unused();

    // Also in a child process with real environment variables.
    let upstream = FakeUpstream::json(200, serde_json::from_str(&image_json()).unwrap()).await;
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(program());
    command
        .args(["generate", "a red fox", "--engine", "openai", "--out"])
        .arg(data.path().join("fox.png"))
        .env_clear()
        .env("PINHOLE_DATA", data.path())
        .env("PINHOLE_ENGINES", engines())
        .env("IMAGES_OPENAI_API_BASE_URL", upstream.url())
        .env("IMAGES_OPENAI_API_KEY", KEY)
        .envs([JOB_TIMEOUT])
        .envs(settings);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap());
    let done = done.await.unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(upstream.request_lines(), ["POST /v1/images/generations"]);
    assert_eq!(
        upstream.requests()[0].header("authorization"),
        format!("Bearer {KEY}")
    );
    assert_eq!(std::fs::read(data.path().join("fox.png")).unwrap(), PIXEL);
    proxy.assert_unused();
}

#[tokio::test(flavor = "multi_thread")]
async fn egress_stores_no_cookies() {
    let own_images = ("PINHOLE_OPENAI_IMAGE_HOSTS", "{upstream}");
    let fixture = openai_fixture(&[own_images]).await;
    let image_url = format!("{}/x.png", fixture.upstream.url());
    for _ in 0..2 {
        let cookie = |response: FakeResponse| response.header("set-cookie", "id=1; path=/");
        let responses = [
            cookie(response_with_url(&image_url)),
            cookie(FakeResponse::typed(200, "image/png", PIXEL)),
        ];
        let exchange = fixture.generate(responses, &generation_request()).await;
        assert_eq!(exchange.images(), [PIXEL]);
        assert_eq!(exchange.headers.get("set-cookie"), None);
        for request in &exchange.requests {
            assert_eq!(request.header("cookie"), "", "{}", request.line());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn egress_error_names_host_to_operator_only() {
    let other = UnusedListener::new();
    let down = UnusedListener::new().url();
    let broken = openai_fixture(&[("IMAGES_OPENAI_API_BASE_URL", &down)]).await;
    let url = format!("{}/x.png", other.url());
    let upstream = FakeUpstream::json(200, json!({"data": [{"url": url}]})).await;
    let base = upstream.url();
    let elsewhere = openai_fixture(&[("IMAGES_OPENAI_API_BASE_URL", &base)]).await;
    // Safe to follow: the key and the job stay with the upstream.
    let remedy = format!(
        "is private: allow it with PINHOLE_OPENAI_IMAGE_HOSTS=*,{}",
        other.url()
    );
    for (fixture, origin, detail) in [
        (
            &broken,
            down.as_str(),
            &"IMAGES_OPENAI_API_BASE_URL".to_owned(),
        ),
        (&elsewhere, "127.0.0.1", &remedy),
    ] {
        let control = pinhole_sandbox::JobContext::new("a-job".to_owned());
        let request = JobRequest {
            prompt: "a red fox".to_owned(),
            ..Default::default()
        };
        let jobs = &fixture.server.app.jobs;
        let requester = Requester::default();
        let plan =
            JobPlan::new(jobs.snapshot(), Operation::Generate, None, None, requester).unwrap();
        let failed = jobs.generate(&plan, request, &control).await;
        let error = failed.unwrap_err();
        let (client, operator) = (error.to_string(), error.for_operator());
        let host = origin.trim_start_matches("http://");
        assert!(
            !client.contains(host) && !client.contains("127.0.0.1"),
            "{client}"
        );
        assert!(
            operator.contains(host) && operator.contains(detail.as_str()),
            "{operator}"
        );
        assert!(!operator.contains(KEY), "{operator}");
        assert!(!operator.contains("BASE_URL="), "{operator}");
    }
    other.assert_unused();
    assert_eq!(upstream.request_lines(), ["POST /v1/images/generations"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nat64_prefixes_are_validated_and_classify_by_embedded_ip() {
    let data = tempfile::tempdir().unwrap();
    let read = |text| {
        let variables = [("PINHOLE_NAT64_PREFIXES", text)];
        Config::new(environment(&data, &variables))
    };
    for invalid in ["fd00::", "64:ff9b::/96;fd00::/96", "fd00::/95", "all"] {
        let why = read(invalid).err().unwrap().to_string();
        assert!(why.starts_with("PINHOLE_NAT64_PREFIXES has "), "{why}");
        assert!(!why.contains('\n'), "{why}");
    }
    // The class of an address behind the prefix is that of the embedded IPv4 address.
    let config = read("fd64::/96, 2a00:1::/32").unwrap();
    let egress = Egress::new(&config.nat64, config.silence).unwrap();
    for (literal, refused) in [
        ("http://[fd64::808:808]", false),
        ("http://[fd64::a00:1]", true),
        ("http://[2a00:1:808:808::]", false),
        ("http://[2a00:1:a00:1::]", true),
    ] {
        let opened = egress.destination(
            BaseUrl {
                url: literal,
                allows_private: false,
                setting: "X",
            },
            Credential::default(),
            &Tls::default(),
        );
        assert_eq!(opened.is_err(), refused, "{literal}");
    }
}
