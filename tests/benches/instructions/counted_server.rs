//! The process whose instructions are counted.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use pinhole::app::App;
use pinhole::config::Config;
use pinhole_tests::{engines, environment};
use serde_json::json;
use tower::ServiceExt;

use crate::upstream_process::model_name;

/// Set in this process: what it requests.
pub(crate) const PATH_VARIABLE: &str = "PINHOLE_BENCH_PATH";
/// How often.
pub(crate) const COUNT_VARIABLE: &str = "PINHOLE_BENCH_COUNT";
/// The URL of the upstream.
pub(crate) const UPSTREAM_VARIABLE: &str = "PINHOLE_BENCH_COUNTED_UPSTREAM";

/// Length of a response, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Whether this process is the one that is counted.
pub(crate) fn is_child() -> bool {
    std::env::var_os(PATH_VARIABLE).is_some()
}

/// A request that is repeated.
struct Repeated {
    method: &'static str,
    path: &'static str,
    body: String,
}

/// Sends the requests, one after the other.
pub(crate) fn run() {
    let variable = |name| std::env::var(name).unwrap();
    let (path, upstream) = (variable(PATH_VARIABLE), variable(UPSTREAM_VARIABLE));
    let count: u64 = variable(COUNT_VARIABLE).parse().unwrap();
    let repeated = Repeated::new(&path);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let data_dir = tempfile::tempdir().unwrap();
        let engine = if path == "sketch" { "sketch" } else { "openai" };
        let engine_dir = tempfile::tempdir().unwrap();
        let file = format!("{engine}.wasm");
        std::fs::copy(engines().join(&file), engine_dir.path().join(&file)).unwrap();
        let compiler = std::env::current_exe().unwrap();
        let variables = [
            ("IMAGE_GENERATION_ENGINE", engine),
            ("IMAGES_OPENAI_API_BASE_URL", &format!("{upstream}/v1")),
            ("IMAGES_OPENAI_API_KEY", "k"),
            ("PINHOLE_ENGINES", engine_dir.path().to_str().unwrap()),
            ("PINHOLE_REQUESTS_PER_MINUTE", "1000000"),
            ("PINHOLE_SLOTS", "4"),
            ("PINHOLE_COMPILER", compiler.to_str().unwrap()),
        ];
        let config = Config::new(environment(&data_dir, &variables)).unwrap();
        let app = Arc::new(App::open(&config).await.unwrap());
        let key = app
            .store
            .create_first_administrator()
            .await
            .unwrap()
            .unwrap();
        let router = pinhole::web::router(app);
        for _ in 0..count {
            repeated.send(&router, &key).await;
        }
    });
}

impl Repeated {
    fn new(path: &str) -> Self {
        let image = |api, bytes| {
            let body = json!({"model": model_name(bytes, 0), "prompt": "a fox"});
            Self {
                method: "POST",
                path: api,
                body: body.to_string(),
            }
        };
        let (openai, stored) = ("/v1/images/generations", "/api/v1/images/generations");
        match path {
            "key" => Self {
                method: "GET",
                path: "/api/v1/auths/",
                body: String::new(),
            },
            "sketch" => Self {
                method: "POST",
                path: openai,
                body: json!({"prompt": "a fox", "size": "64x64"}).to_string(),
            },
            "openai-20k" => image(openai, 20 << 10),
            "openai-2m" => image(openai, 2 << 20),
            "stored-20k" => image(stored, 20 << 10),
            "stored-2m" => image(stored, 2 << 20),
            other => panic!("unknown path {other}"),
        }
    }

    async fn send(&self, router: &Router, key: &str) {
        let request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header("host", "bench")
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(Body::from(self.body.clone()))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), MAX_RESPONSE_BYTES)
            .await
            .unwrap();
        let text = || String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, StatusCode::OK, "{}", text());
    }
}
