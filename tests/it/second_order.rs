//! An order that an upstream may charge is sent once, whatever happens to it: neither the engine nor the server
//! sends it again, and the response tells clients not to repeat it.

use http::header::HeaderMap;
use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer, pixel_base64};
use serde_json::{Value, json};

const IMAGES: &str = "/v1/images/generations";
const CHAT: &str = "/v1/chat/completions";

/// How an upstream fails after it received an order.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Status(u16),
    Disconnects,
}

const AFTER_ACCEPTANCE: [Failure; 6] = [
    Failure::Status(500),
    Failure::Status(502),
    Failure::Status(504),
    Failure::Status(524),
    Failure::Status(408),
    Failure::Disconnects,
];

impl Failure {
    fn response(self) -> FakeResponse {
        match self {
            Self::Status(status) => {
                FakeResponse::json(status, &json!({"error": {"message": "oh"}}))
            }
            Self::Disconnects => FakeResponse::disconnect(),
        }
    }
}

/// Lets the upstream fail each `POST` like this, and respond to other requests with `{}`.
fn fail_orders(upstream: &FakeUpstream, failure: Failure) {
    upstream.reset();
    upstream.set_handler(move |request: RecordedRequest| {
        let response = match request.method.as_str() {
            "POST" => failure.response(),
            _ => FakeResponse::json(200, &json!({})),
        };
        async { response }
    });
}

fn orders(upstream: &FakeUpstream, path: &str) -> usize {
    let lines = upstream.request_lines();
    let is_order = |line: &&String| line.starts_with("POST") && line.contains(path);
    lines.iter().filter(is_order).count()
}

/// Status and headers of the response to a `POST`.
async fn post(server: &TestServer, path: &str, body: &Value) -> (u16, HeaderMap) {
    let response = server.post(path, body).send().await.unwrap();
    (response.status().as_u16(), response.headers().clone())
}

fn forbids_retry(headers: &HeaderMap) -> bool {
    headers
        .get("x-should-retry")
        .is_some_and(|it| it == "false")
}

/// Lets each failure happen to an order of this engine, whose path contains `path`.
async fn check_engine(engine: &str, url_variable: &str, url_path: &str, path: &str) {
    let model = match engine {
        "gemini" => "gemini-3.1-flash-image",
        _ => "",
    };
    let upstream = FakeUpstream::json(200, json!({})).await;
    let url = format!("{}{url_path}", upstream.url());
    let variables = [
        ("IMAGE_GENERATION_ENGINE", engine),
        ("IMAGE_GENERATION_MODEL", model),
        ("IMAGES_GEMINI_API_KEY", "a-key"),
        ("PINHOLE_FALLBACKS", "sketch"),
        (url_variable, &url),
    ];
    let server = TestServer::start(&variables).await;
    let body = json!({"prompt": "a red fox"});
    for failure in AFTER_ACCEPTANCE {
        for route in [IMAGES, "/api/v1/images/generations"] {
            fail_orders(&upstream, failure);
            let (status, headers) = post(&server, route, &body).await;
            assert_ne!(status, 200, "{engine} {failure:?}: it fell back");
            assert_eq!(orders(&upstream, path), 1, "{engine} {failure:?}");
            assert!(forbids_retry(&headers), "{engine} {failure:?}: {headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_sends_an_order_once() {
    let url = "IMAGES_OPENAI_API_BASE_URL";
    check_engine("openai", url, "/v1", "/images/generations").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini_sends_an_order_once() {
    let url = "IMAGES_GEMINI_API_BASE_URL";
    check_engine("gemini", url, "/v1beta", ":generateContent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic1111_sends_an_order_once() {
    check_engine("automatic1111", "AUTOMATIC1111_BASE_URL", "", "/txt2img").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn comfyui_sends_an_order_once() {
    check_engine("comfyui", "COMFYUI_BASE_URL", "", "/prompt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_order_may_be_repeated_but_not_beyond_a_quota() {
    let upstream = FakeUpstream::json(200, json!({})).await;
    let url = format!("{}/v1", upstream.url());
    let variables = [
        ("IMAGE_GENERATION_ENGINE", "openai"),
        ("IMAGES_OPENAI_API_BASE_URL", url.as_str()),
    ];
    let server = TestServer::start(&variables).await;
    for (status, code, expected_status, is_forbidden) in [
        (503, "overloaded", 503, false),
        (429, "rate_limit_exceeded", 429, false),
        (429, "insufficient_quota", 429, true),
        (400, "billing_hard_limit_reached", 429, true),
    ] {
        let refusal = json!({"error": {"message": "no", "code": code}});
        upstream.set_handler(move |_| {
            let response = FakeResponse::json(status, &refusal).header("retry-after-ms", "1");
            async { response }
        });
        for stream in [false, true] {
            let body = json!({"prompt": "a red fox", "stream": stream});
            let (answered, headers) = post(&server, IMAGES, &body).await;
            assert_eq!(answered, expected_status, "{code}");
            assert_eq!(forbids_retry(&headers), is_forbidden, "{code}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_turn_that_may_be_charged_is_not_repeated() {
    let upstream = FakeUpstream::json(200, json!({})).await;
    let (url, chat_url) = (
        format!("{}/v1", upstream.url()),
        format!("{}/chat", upstream.url()),
    );
    let variables = [
        ("IMAGE_GENERATION_ENGINE", "openai"),
        ("ENABLE_IMAGE_PROMPT_GENERATION", "false"),
        ("IMAGES_OPENAI_API_BASE_URL", url.as_str()),
        ("OPENAI_API_BASE_URL", &chat_url),
    ];
    let server = TestServer::start(&variables).await;
    let turn = |wants_image: bool| {
        json!({
            "messages": [{"role": "user", "content": "a red fox"}],
            "features": {"image_generation": wants_image},
        })
    };
    for failure in AFTER_ACCEPTANCE {
        fail_orders(&upstream, failure);
        let (status, headers) = post(&server, CHAT, &turn(false)).await;
        assert_ne!(status, 200, "{failure:?}");
        assert_eq!(orders(&upstream, "/chat/completions"), 1, "{failure:?}");
        assert!(forbids_retry(&headers), "{failure:?}: {headers:?}");
    }
    // The image was made before the language model refused.
    upstream.set_handler(|request: RecordedRequest| {
        let image = json!({"data": [{"b64_json": pixel_base64()}]});
        let response = match request.target.as_str() {
            "/v1/images/generations" => FakeResponse::json(200, &image),
            _ => FakeResponse::json(503, &json!({"error": {"message": "busy"}})),
        };
        async { response }
    });
    for (wants_image, is_forbidden) in [(true, true), (false, false)] {
        let (status, headers) = post(&server, CHAT, &turn(wants_image)).await;
        assert_eq!(status, 503);
        assert_eq!(forbids_retry(&headers), is_forbidden, "{headers:?}");
    }
}
