//! Metrics and their own listener.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

/// The program with metrics on a free port.
fn program(names: &[&str]) -> Program {
    Program::new(names).with("PINHOLE_METRICS_LISTEN", "127.0.0.1:0")
}

/// The address of the metrics: the line after the four lines of each start.
fn watched(serving: &RunningServer) -> SocketAddr {
    let address = serving.lines[4].strip_prefix("metrics: http://").unwrap();
    address.strip_suffix("/metrics").unwrap().parse().unwrap()
}

/// Each value by name and labels.
fn values(address: SocketAddr) -> BTreeMap<String, f64> {
    let (status, text) = http(address, "GET", "/metrics", "", "");
    assert_eq!(status, 200, "{text}");
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_jobs_requests_and_refusals() {
    let upstream = FakeUpstream::json(200, json!({})).await;
    let program = program(&["sketch", "hostile"])
        .with("IMAGE_GENERATION_ENGINE", "sketch")
        .with("HOSTILE_BASE_URL", &upstream.url());
    fs::write(program.path("engines/torn.wasm"), b"\0asm").unwrap();
    let serving = program.serve();
    let metrics = watched(&serving);
    let before = values(metrics);
    assert_eq!(before[r#"pinhole_refusals_total{kind="admission"}"#], 1.0);
    assert_eq!(before[r#"pinhole_refusals_total{kind="grant"}"#], 0.0);
    assert_eq!(before[r#"pinhole_compiles_total{outcome="ok"}"#], 2.0);
    assert!(before["pinhole_compile_milliseconds_total"] > 0.0);
    assert_eq!(
        before[r#"pinhole_audit_lines_dropped_total{kind="grant"}"#],
        0.0
    );
    assert_eq!(before["pinhole_slots_used"], 0.0);

    let key = serving.key();
    let draw = |body: Value| {
        let path = "/v1/images/generations";
        http(serving.address(), "POST", path, &key, &body.to_string()).0
    };
    assert_eq!(draw(json!({"prompt": "a hill", "size": "32x32"})), 200);
    let hostile = |prompt: &str| draw(json!({"prompt": prompt, "engine": "hostile"}));
    assert!(hostile("reach api /elsewhere") >= 400);
    assert!(hostile("trap") >= 500);
    assert_eq!(hostile("ask"), 200);
    // A request for an unknown engine is not a job of any engine.
    assert!(draw(json!({"prompt": "a hill", "engine": "evil\"}\nevil 1"})) >= 400);

    let after = values(metrics);
    assert_eq!(after[r#"pinhole_refusals_total{kind="grant"}"#], 1.0);
    assert_eq!(after[r#"pinhole_refusals_total{kind="crash"}"#], 1.0);
    let jobs = after
        .iter()
        .filter(|(name, _)| name.starts_with("pinhole_jobs_total"));
    let jobs: Vec<_> = jobs.map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(
        jobs,
        [
            (
                r#"pinhole_jobs_total{engine="hostile",release="current",outcome="forbidden"}"#,
                1.0
            ),
            (
                r#"pinhole_jobs_total{engine="hostile",release="current",outcome="ok"}"#,
                1.0
            ),
            (
                r#"pinhole_jobs_total{engine="hostile",release="current",outcome="upstream"}"#,
                1.0
            ),
            (
                r#"pinhole_jobs_total{engine="sketch",release="current",outcome="ok"}"#,
                1.0
            ),
        ]
    );
    assert!(after.contains_key(r#"pinhole_guest_milliseconds_total{engine="sketch"}"#));
    assert_eq!(after[r#"pinhole_job_seconds_count{engine="hostile"}"#], 3.0);
    let last_bucket = r#"pinhole_job_seconds_bucket{engine="sketch",le="+Inf"}"#;
    assert_eq!(after[last_bucket], 1.0);
    assert!(after[r#"pinhole_engine_memory_peak_bytes{engine="sketch"}"#] >= 65_536.0);
    // The upstream got the request of "ask", and not the refused one.
    for (name, expected) in [
        (
            r#"pinhole_upstream_requests_total{engine="hostile",outcome="ok"}"#,
            1.0,
        ),
        (
            r#"pinhole_upstream_requests_total{engine="hostile",outcome="failed"}"#,
            0.0,
        ),
        (
            r#"pinhole_upstream_bytes_total{engine="hostile",direction="sent"}"#,
            0.0,
        ),
        (
            r#"pinhole_upstream_bytes_total{engine="hostile",direction="received"}"#,
            2.0,
        ),
    ] {
        assert_eq!(after[name], expected, "{name}");
    }
    assert_eq!(after["pinhole_slots_waiting"], 0.0);
    assert!(!after.keys().any(|name| name.contains("evil")), "{after:?}");

    // The metrics listener serves no other path.
    assert_eq!(http(metrics, "GET", "/health", "", "").0, 404);
    assert_eq!(http(serving.address(), "GET", "/metrics", &key, "").0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_current_slots() {
    static GATE: Semaphore = Semaphore::const_new(0);
    let upstream = FakeUpstream::start(async |_| {
        GATE.acquire().await.unwrap().forget();
        FakeResponse::json(200, &json!({}))
    })
    .await;
    let program = program(&["hostile"])
        .with("IMAGE_GENERATION_ENGINE", "hostile")
        .with("PINHOLE_SLOTS", "1")
        .with("HOSTILE_BASE_URL", &upstream.url());
    let serving = program.serve();
    let metrics = watched(&serving);
    let key = serving.key();
    let address = serving.address();
    let draw = || {
        let key = key.clone();
        let body = json!({"prompt": "ask"}).to_string();
        thread::spawn(move || http(address, "POST", "/v1/images/generations", &key, &body).0)
    };
    let first = draw();
    upstream.wait_for_requests(1).await;
    let second = draw();
    // The order of the two jobs is not defined.
    while values(metrics)["pinhole_slots_waiting"] < 1.0 {
        assert!(!second.is_finished());
    }
    assert_eq!(values(metrics)["pinhole_slots_used"], 1.0);
    GATE.add_permits(2);
    assert_eq!((first.join().unwrap(), second.join().unwrap()), (200, 200));
    assert_eq!(values(metrics)["pinhole_slots_used"], 0.0);
}

#[test]
fn metrics_listener_differs_from_the_servers() {
    let wrong = program(&[]).with("PINHOLE_METRICS_LISTEN", "nine");
    let line = wrong.run(&["serve", "--listen", "127.0.0.1:0"]).failed(1);
    let expected = "PINHOLE_METRICS_LISTEN is \"nine\": it has no port: use HOST:PORT";
    assert!(line.contains(expected), "{line}");

    let (socket, url) = closed_port();
    drop(socket);
    let address = url.strip_prefix("http://").unwrap();
    let same = program(&[])
        .with("PINHOLE_METRICS_LISTEN", address)
        .with("PINHOLE_LOG", "off");
    let refusal = same.run(&["serve", "--listen", address]).failed(1);
    let port = address.rsplit(':').next().unwrap();
    let reason = format!(
        "cannot serve metrics on {address}: the server itself listens on port {port}; set PINHOLE_METRICS_LISTEN to another address and port"
    );
    assert!(refusal.contains(&reason), "{refusal}");
}
