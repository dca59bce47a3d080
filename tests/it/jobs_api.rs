//! The jobs API: jobs with rows, their events, and how they are stopped.

mod chat;
mod drain;
pub(crate) mod durable;
mod edits;
mod events;
mod keyed;
mod list;
mod repeated;
mod restart;
mod stop;
mod unstored;

use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer, pixel_base64};
use serde_json::{Value, json};

const JOBS: &str = "/api/v1/jobs";

/// Status and JSON of the response to a request with this key.
async fn send(
    server: &TestServer,
    key: &str,
    method: http::Method,
    path: &str,
    body: Option<&Value>,
) -> (u16, Value) {
    let mut request = server.client.request(method, server.url(path));
    if let Some(body) = body {
        request = request.body(body.to_string());
    }
    let response = request.bearer_auth(key).send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn get(server: &TestServer, path: &str) -> Value {
    let (status, body) = send(server, &server.key, http::Method::GET, path, None).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// Starts a job. Returns it.
async fn start(server: &TestServer, body: &Value) -> Value {
    let (status, job) = server.post_json(JOBS, body).await;
    assert_eq!(status, 202, "{job}");
    job
}

fn id(job: &Value) -> &str {
    job["id"].as_str().unwrap()
}

/// The job once it has ended.
async fn wait(server: &TestServer, job: &Value) -> Value {
    let path = format!("{JOBS}/{}?wait=60", id(job));
    let ended = get(server, &path).await;
    assert!(ended["ended_at"].is_i64(), "{ended}");
    ended
}

/// A server whose engine `openai` has an upstream that never responds to an order.
async fn hanging_server(variables: &[(&str, &str)]) -> (FakeUpstream, TestServer) {
    let upstream = FakeUpstream::start(async |request: RecordedRequest| {
        if request.line().starts_with("POST") {
            std::future::pending::<()>().await;
        }
        FakeResponse::json(404, &json!({}))
    })
    .await;
    let base = format!("{}/v1", upstream.url());
    let mut all = vec![("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    all.extend(variables);
    let server = TestServer::with_engine("openai", &all).await;
    (upstream, server)
}

/// A server whose engine `openai` has an upstream that responds to every order like this.
async fn openai_server(status: u16, response: Value) -> (FakeUpstream, TestServer) {
    let upstream = FakeUpstream::json(status, response).await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let server = TestServer::with_engine("openai", &variables).await;
    (upstream, server)
}

fn image_response() -> Value {
    json!({"created": 1, "data": [{"b64_json": pixel_base64(), "revised_prompt": "a red fox"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn job_is_accepted_and_stores_its_images() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let body = json!({
        "prompt": "a fox", "size": "64x48", "n": 2, "seed": 7, "engine": "sketch", "model": null,
        "sources": [], "mask": "",
    });
    let accepted = start(&server, &body).await;
    assert_eq!(accepted["operation"], "generate");
    assert_eq!(accepted["origin"], "api");
    let request = json!({
        "prompt": "a fox", "size": "64x48", "n": 2, "seed": 7, "engine": "sketch", "sources": [], "mask": null,
    });
    assert_eq!(accepted["request"], request);
    let job = wait(&server, &accepted).await;
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(job["request"], request);
    for field in ["chat_id", "message_id", "progress", "error"] {
        assert_eq!(job[field], Value::Null, "{field}");
    }
    assert_eq!(job["binding"], "sketch");
    assert_eq!(job["digest"].as_str().unwrap().len(), 64);
    assert!(job["engine_version"].is_string() && job["duration_ms"].is_i64());
    assert!(job["created_at"].as_i64() <= job["started_at"].as_i64());
    assert!(job["started_at"].as_i64() <= job["ended_at"].as_i64());
    let files = job["files"].as_array().unwrap();
    assert_eq!(files.len(), 2);
    for file in files {
        assert_eq!((&file["width"], &file["height"]), (&json!(64), &json!(48)));
        assert_eq!(file["content_type"], "image/png");
        let bytes = server.get(file["url"].as_str().unwrap()).send().await;
        assert_eq!(bytes.unwrap().status(), 200);
        let row = server.app.store.file(id(file)).await.unwrap().unwrap();
        let meta: Value = serde_json::from_str(&row.meta).unwrap();
        assert_eq!(meta["job"], job["id"]);
    }
    assert_eq!(server.stored_files(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_job_says_why() {
    let refusal = json!({"error": {"code": "moderation_blocked", "message": "not allowed"}});
    let (_upstream, server) = openai_server(400, refusal).await;
    let job = wait(&server, &start(&server, &json!({"prompt": "a fox"})).await).await;
    assert_eq!(job["state"], "failed");
    assert_eq!(job["error"]["code"], "moderation_blocked", "{job}");
    assert_eq!(job["error"]["hint"], "change the prompt or the image");
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("not allowed"), "{message}");
    assert!(!message.contains("127.0.0.1"), "{message}");
    assert_eq!(job["files"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_job_is_refused_at_once() {
    let server = TestServer::with_engine("sketch", &[]).await;
    for (body, status, reason) in [
        (json!({"prompt": " "}), 400, "the prompt is empty"),
        (json!({"size": "64x48"}), 400, "missing field `prompt`"),
        (
            json!({"prompt": "a", "n": 99}),
            400,
            "99 images were requested",
        ),
        (json!({"prompt": "a", "n": -1}), 400, "invalid JSON body"),
        (json!({"prompt": "a", "size": "64"}), 400, "size \"64\""),
        (
            json!({"prompt": "a", "engine": "none"}),
            400,
            "unknown engine none",
        ),
        (
            json!({"prompt": "a", "image": "x"}),
            400,
            "unknown field `image`",
        ),
        (
            json!({"prompt": "a", "mask": "x"}),
            400,
            "a mask belongs to a source",
        ),
        (
            json!({"prompt": "a", "strength": 0.5}),
            400,
            "does not support strength",
        ),
        (
            json!({"prompt": "a", "sources": ["none"]}),
            400,
            "source refers to a file that does not exist",
        ),
        (
            json!({"prompt": "a", "sources": ["http://127.0.0.1/x"]}),
            400,
            "the server does not fetch",
        ),
        (
            json!({"prompt": "a", "sources": vec!["x"; 17]}),
            400,
            "more than 16 images",
        ),
        (
            json!({"prompt": "x".repeat(40_000)}),
            400,
            "more than the 32000 allowed",
        ),
    ] {
        let (refused, error) = server.post_json(JOBS, &body).await;
        let detail = error["detail"].as_str().unwrap_or_default();
        assert_eq!(refused, status, "{body}: {error}");
        assert!(detail.contains(reason), "{body}: {detail}");
    }
    assert_eq!(get(&server, JOBS).await, json!({"jobs": [], "next": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn job_needs_the_permission_and_an_enabled_operation() {
    let variables = [
        ("USER_PERMISSIONS_FEATURES_IMAGE_GENERATION", "false"),
        ("ENABLE_IMAGE_GENERATION", "false"),
    ];
    let server = TestServer::with_engine("sketch", &variables).await;
    let second = server.add_second_user().await;
    let body = json!({"prompt": "a fox"});
    for (key, status) in [("sk-nobody", 401), (second, 403), (&server.key, 403)] {
        let (refused, error) = send(&server, key, http::Method::POST, JOBS, Some(&body)).await;
        assert_eq!(refused, status, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn active_jobs_of_a_user_are_limited() {
    let (upstream, server) = hanging_server(&[("PINHOLE_SLOTS", "200")]).await;
    let body = json!({"prompt": "a fox"});
    for _ in 0..pinhole::jobs::MAX_ACTIVE_JOBS {
        start(&server, &body).await;
    }
    let (status, error) = server.post_json(JOBS, &body).await;
    assert_eq!(status, 429, "{error}");
    let detail = error["detail"].as_str().unwrap();
    assert!(
        detail.contains("too many active jobs (limit 100)"),
        "{detail}"
    );
    let second = server.add_second_user().await;
    let (other, job) = send(&server, second, http::Method::POST, JOBS, Some(&body)).await;
    assert_eq!(other, 202, "{job}");
    let (_, stopped) = server.post_json("/api/v1/jobs/stop", &json!({})).await;
    assert_eq!(stopped, json!({"stopped": pinhole::jobs::MAX_ACTIVE_JOBS}));
    while get(&server, "/api/v1/jobs?state=active").await["jobs"] != json!([]) {}
    start(&server, &body).await;
    drop(upstream);
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_and_identifiers_are_checked() {
    let (_upstream, server) = hanging_server(&[]).await;
    let job = start(&server, &json!({"prompt": "a fox"})).await;
    let path = format!("{JOBS}/{}", id(&job));
    for (query, expected) in [("?wait=61", 400), ("?wait=-1", 400), ("?wait=x", 400)] {
        let path = format!("{path}{query}");
        let (status, error) = send(&server, &server.key, http::Method::GET, &path, None).await;
        assert_eq!(status, expected, "{query}: {error}");
    }
    // It returns after this time, and the job continues.
    let waited = get(&server, &format!("{path}?wait=1")).await;
    assert_eq!(waited["ended_at"], Value::Null, "{waited}");
    assert!(waited["progress"].is_object(), "{waited}");
    let unknown = format!("{JOBS}/none");
    let (status, error) = send(&server, &server.key, http::Method::GET, &unknown, None).await;
    assert_eq!(
        (status, &error),
        (404, &json!({"detail": "you have no such job"}))
    );
}
