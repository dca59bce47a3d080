//! Figures of each version of an engine, and the last lines of its log.

use std::time::Duration;

use pinhole::jobs::{UpstreamFigures, VersionFigures};
use pinhole_sandbox::LogLine;
use pinhole_tests::{FakeResponse, FakeUpstream, PIXEL, TestServer, guests, pixel_base64};
use serde_json::{Value, json};

const DAY: Duration = Duration::from_hours(24);
const GENERATIONS: &str = "/v1/images/generations";

/// The figures of the engine's version; `None` if it had no job.
fn figures(server: &TestServer, engine: &str) -> Option<VersionFigures> {
    let jobs = &server.app.jobs;
    let snapshot = jobs.snapshot();
    let component = snapshot.engines.get(engine).unwrap();
    jobs.figures.version(&component.digest, DAY)
}

async fn generate(server: &TestServer, body: &Value) -> u16 {
    let response = server.post(GENERATIONS, body).send().await.unwrap();
    response.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_an_engine_without_upstream_count_its_jobs() {
    let server = TestServer::start(&[("IMAGE_GENERATION_ENGINE", "sketch")]).await;
    assert_eq!(figures(&server, "sketch"), None);
    for _ in 0..3 {
        let body = json!({"prompt": "a hill", "size": "32x32"});
        assert_eq!(generate(&server, &body).await, 200);
    }
    // The server refuses it before it calls the engine.
    let too_large = json!({"prompt": "a hill", "size": "99999x99999"});
    assert_eq!(generate(&server, &too_large).await, 400);

    let sketch = figures(&server, "sketch").unwrap();
    assert_eq!((sketch.engine.as_str(), sketch.running), ("sketch", 0));
    assert_eq!((sketch.jobs, sketch.ok, sketch.failed), (3, 3, 0));
    assert!(sketch.failures.is_empty() && sketch.traffic.is_empty());
    assert!(sketch.mean_cpu_ms > 0.0 && sketch.p50_ms <= sketch.p99_ms);
    assert!(sketch.peak_memory_bytes >= 64 << 10, "{sketch:?}");
    let jobs: u64 = sketch.minutes.iter().map(|minute| minute.jobs).sum();
    assert_eq!(jobs, 3);
    assert_eq!(figures(&server, "openai"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_count_traffic_and_failures_by_upstream() {
    let images = FakeUpstream::start(async |_| FakeResponse::typed(200, "image/png", PIXEL)).await;
    let image_url = format!("{}/image.png", images.url());
    let by_url = json!({"data": [{"url": image_url}]});
    let upstream = FakeUpstream::start(move |request| {
        let prompt = request.json()["prompt"].clone();
        let response = match prompt.as_str().unwrap() {
            "a link" => FakeResponse::json(200, &by_url),
            "an error" => FakeResponse::json(500, &json!({"error": {"message": "broken"}})),
            _ => FakeResponse::json(200, &json!({"data": [{"b64_json": pixel_base64()}]})),
        };
        async { response }
    })
    .await;
    let server = TestServer::with_engine(
        "openai",
        &[
            ("IMAGE_GENERATION_MODEL", "gpt-image-2"),
            ("IMAGES_OPENAI_API_BASE_URL", &upstream.url()),
            ("IMAGES_OPENAI_API_KEY", "open-sesame-7391"),
            ("PINHOLE_OPENAI_IMAGE_HOSTS", &images.url()),
        ],
    )
    .await;
    for (prompt, status) in [("a fox", 200), ("a link", 200), ("an error", 502)] {
        let body = json!({"prompt": prompt});
        assert_eq!(generate(&server, &body).await, status, "{prompt}");
    }

    let openai = figures(&server, "openai").unwrap();
    assert_eq!((openai.jobs, openai.ok, openai.failed), (3, 2, 1));
    assert_eq!(openai.failures, [("upstream", 1)].into());
    let sent_bytes: usize = upstream.requests().iter().map(|it| it.body.len()).sum();
    let [api, links] = openai.traffic.as_slice() else {
        panic!("{:?}", openai.traffic);
    };
    assert_eq!(api.upstream.as_deref(), Some("api"));
    assert_eq!(api.requests, upstream.requests().len() as u64);
    assert_eq!(api.sent_bytes, sent_bytes as u64);
    assert_eq!(api.failed_requests, 1);
    assert!(api.received_bytes > PIXEL.len() as u64);
    let expected = UpstreamFigures {
        upstream: None,
        requests: 1,
        failed_requests: 0,
        sent_bytes: 0,
        received_bytes: PIXEL.len() as u64,
    };
    assert_eq!(*links, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_distinguish_a_crash_and_the_log_has_its_last_lines() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(
        guests().join("hostile.wasm"),
        directory.path().join("hostile.wasm"),
    )
    .unwrap();
    let upstream = FakeUpstream::json(200, json!({})).await;
    let server = TestServer::start(&[
        ("IMAGE_GENERATION_ENGINE", "hostile"),
        ("HOSTILE_BASE_URL", &upstream.url()),
        ("PINHOLE_ENGINES", directory.path().to_str().unwrap()),
        ("HOSTILE_API_KEY", "hostile-key-4711"),
    ])
    .await;
    assert!(generate(&server, &json!({"prompt": "trap"})).await >= 500);
    let said = json!({"prompt": "say hostile-key-4711 is open"});
    assert!(generate(&server, &said).await >= 400);

    let hostile = figures(&server, "hostile").unwrap();
    assert_eq!((hostile.jobs, hostile.ok), (2, 0));
    assert_eq!(hostile.failures["crash"], 1, "{:?}", hostile.failures);
    let snapshot = server.app.jobs.snapshot();
    let component = snapshot.engines.get("hostile").unwrap();
    let lines = component.log_lines(0);
    let (first, last) = (&lines[0], lines.last().unwrap());
    let panicked = |line: &LogLine| line.text.contains("panics as requested");
    assert!(lines.iter().any(panicked), "{lines:?}");
    assert!(last.text.contains("is open"), "{last:?}");
    assert!(!last.text.contains("hostile-key-4711"), "{last:?}");
    assert!(first.number < last.number && first.job != last.job);
    assert_eq!(component.log_lines(last.number), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_have_the_jobs_over_time() {
    let server = TestServer::with_engine("sketch", &[]).await;
    for (size, status) in [("32x32", 200), ("64x64", 200)] {
        let body = json!({"prompt": "a hill", "size": size});
        assert_eq!(generate(&server, &body).await, status);
    }
    for (range, interval_secs) in [("1h", 60), ("24h", 600)] {
        let path = format!("/api/v1/engines/sketch/stats?range={range}");
        let bytes = server
            .get(&path)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let stats: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            (&stats["range"], &stats["interval_secs"]),
            (&json!(range), &json!(interval_secs))
        );
        // The minute may change between the two jobs.
        let points = stats["points"].as_array().unwrap();
        let sum = |field: &str| {
            points
                .iter()
                .map(|it| it[field].as_u64().unwrap())
                .sum::<u64>()
        };
        assert_eq!((sum("jobs"), sum("failed")), (2, 0), "{stats}");
        assert!(
            points
                .iter()
                .all(|it| it["p50_ms"].is_u64() && it["peak_memory_bytes"].as_u64() > Some(0))
        );
        assert_eq!(stats["versions"][0]["series"]["points"], stats["points"]);
        assert_eq!(stats["versions"].as_array().unwrap().len(), 1);
    }
    let unknown = server
        .get("/api/v1/engines/sketch/stats?range=7d")
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), 400);
}
