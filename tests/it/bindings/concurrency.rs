//! Limits on the jobs of one binding.

use std::sync::Arc;
use std::time::Duration;

use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer, pixel_base64};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{generate, image_upstream, server};

/// The image of an AUTOMATIC1111.
fn txt2img() -> FakeResponse {
    FakeResponse::json(200, &json!({"images": [pixel_base64()], "info": "{}"}))
}

/// An AUTOMATIC1111 that cannot be interrupted. It makes an image for each permit.
async fn gated_web_ui(gate: Arc<Semaphore>) -> FakeUpstream {
    FakeUpstream::start(move |request: RecordedRequest| {
        let gate = gate.clone();
        async move {
            if request.line() != "POST /sdapi/v1/txt2img" {
                return FakeResponse::json(404, &json!({}));
            }
            gate.acquire().await.unwrap().forget();
            txt2img()
        }
    })
    .await
}

fn count_jobs(upstream: &FakeUpstream) -> usize {
    let lines = upstream.request_lines();
    lines
        .iter()
        .filter(|it| *it == "POST /sdapi/v1/txt2img")
        .count()
}

/// Waits until this holds.
async fn until(is_true: impl Fn() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap();
}

/// Starts a job by a client that a test can disconnect.
fn start_job(server: &Arc<TestServer>) -> JoinHandle<(u16, Value)> {
    let server = server.clone();
    tokio::spawn(async move { generate(&server, &json!({})).await })
}

/// An upstream that responds to each request with an image, once for each permit.
async fn gated_upstream(gate: Arc<Semaphore>) -> FakeUpstream {
    FakeUpstream::start(move |_| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            FakeResponse::json(200, &json!({"data": [{"b64_json": pixel_base64()}]}))
        }
    })
    .await
}

/// Sends five jobs to `engine`, of which two may run at the same time, and then one to another engine.
async fn check(engine: &str, limits: fn(&str) -> Value, variables: &[(&str, &str)]) {
    let gate = Arc::new(Semaphore::new(0));
    let (slow, fast) = (gated_upstream(gate.clone()).await, image_upstream().await);
    let (default_url, bindings) = if engine == "openai" {
        (
            slow.url(),
            json!({"fast": {"engine": "openai", "settings": {"base-url": fast.url()}}}),
        )
    } else {
        (fast.url(), limits(&slow.url()))
    };
    let server = Arc::new(server(&default_url, &bindings, variables).await);
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let (server, body) = (server.clone(), json!({"engine": engine}));
            tokio::spawn(async move { generate(&server, &body).await })
        })
        .collect();
    slow.wait_for_requests(2).await;
    let other = if engine == "openai" { "fast" } else { "openai" };
    for _ in 0..8 {
        let (status, body) = generate(&server, &json!({"engine": other})).await;
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(slow.requests().len(), 2, "{engine}");
    gate.add_permits(5);
    for job in waiting {
        let (status, body) = job.await.unwrap();
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(slow.requests().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrency_limits_the_jobs_of_a_binding_and_no_others() {
    let limits = |url: &str| json!({"slow": {"engine": "openai", "settings": {"base-url": url}, "concurrency": 2}});
    check("slow", limits, &[("PINHOLE_SLOTS", "8")]).await;
    let variables = [("PINHOLE_SLOTS", "8"), ("PINHOLE_OPENAI_CONCURRENCY", "2")];
    check("openai", |_| json!({}), &variables).await;
    // By default, a user's jobs of one binding use a part of the slots: four slots, one of them for other
    // users, and one for other bindings.
    let unlimited =
        |url: &str| json!({"slow": {"engine": "openai", "settings": {"base-url": url}}});
    check("slow", unlimited, &[("PINHOLE_SLOTS", "4")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canceled_job_keeps_its_place_until_an_upstream_without_interrupt_has_finished() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = gated_web_ui(gate.clone()).await;
    let url = upstream.url();
    let variables = [("AUTOMATIC1111_BASE_URL", url.as_str())];
    let server = TestServer::with_engine("automatic1111", &variables).await;
    let server = Arc::new(server);
    let load = || server.app.jobs.snapshot().engines.load();
    let canceled = start_job(&server);
    until(|| count_jobs(&upstream) == 1).await;
    canceled.abort();
    assert!(canceled.await.unwrap_err().is_cancelled());
    let next = start_job(&server);
    // The engine sends one job at a time.
    until(|| load().waiting == 1).await;
    let last = start_job(&server);
    until(|| load().waiting == 2).await;
    assert_eq!((count_jobs(&upstream), load().used), (1, 1));
    // Who waits leaves the queue at once.
    last.abort();
    until(|| load().waiting == 1).await;
    gate.add_permits(1);
    until(|| count_jobs(&upstream) == 2).await;
    gate.add_permits(1);
    let (status, body) = next.await.unwrap();
    assert_eq!(status, 200, "{body}");
    until(|| load().used == 0).await;
    assert_eq!(count_jobs(&upstream), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn canceled_job_without_a_set_concurrency_leaves_its_place_and_its_connection() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = gated_upstream(gate.clone()).await;
    let server = Arc::new(server(&upstream.url(), &json!({}), &[]).await);
    let canceled = start_job(&server);
    upstream.wait_for_requests(1).await;
    canceled.abort();
    until(|| server.app.jobs.snapshot().engines.load().used == 0).await;
    upstream.wait_until_idle().await;
}
