//! Limits on the jobs of one binding.

use std::sync::Arc;

use pinhole_tests::{FakeResponse, FakeUpstream, pixel_base64};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{generate, image_upstream, server};

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
