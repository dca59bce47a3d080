//! Cancelled jobs: the upstream gets a stop request, and all resources are released.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_engine_can_send_stop_request() {
    let fixture = SandboxFixture::with(slow_upstream().await, &[]).await;
    let context = job_context();
    let job = fixture.spawn("wait", LIMITS, &context);
    fixture.upstream.wait_for_requests(1).await;
    context.cancel.cancel();
    let (kind, message) = engine_error(job.await.unwrap());
    assert_eq!(kind, ErrorKind::Cancelled);
    assert_eq!(message, "cancelled; the stop request returned: status 200");
    assert_eq!(fixture.upstream.request_lines(), [SLOW, STOPPED]);
    let last = fixture.upstream.requests().pop().unwrap();
    assert_eq!(last.header("authorization"), format!("Bearer {KEY}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_that_does_not_know_of_the_cancellation_learns_it_before_it_sends_more() {
    let fixture = SandboxFixture::with(slow_upstream().await, &[]).await;
    let context = job_context();
    let job = fixture.spawn("unaware", LIMITS, &context);
    fixture.upstream.wait_for_requests(1).await;
    context.cancel.cancel();
    let (_, message) = engine_error(job.await.unwrap());
    assert_eq!(message, "cancelled; the stop request returned: status 200");
    assert_eq!(fixture.upstream.request_lines().pop().unwrap(), STOPPED);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_disconnect_cancels_job() {
    let fixture = SandboxFixture::with(slow_upstream().await, &[("PINHOLE_SLOTS", "1")]).await;
    let body = json!({"prompt": "wait"});
    let pending = tokio::spawn(fixture.server.post("/v1/images/generations", &body).send());
    fixture.upstream.wait_for_requests(1).await;
    pending.abort();
    fixture.upstream.wait_for_requests(2).await;
    assert_eq!(fixture.upstream.request_lines(), [SLOW, STOPPED]);
    fixture.assert_sketch_generates().await;
    assert_eq!(fixture.server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn grace_period_after_cancel_is_limited() {
    // The upstream does not respond to the stop request either.
    let upstream =
        FakeUpstream::start(async |_| std::future::pending::<FakeResponse>().await).await;
    let fixture = SandboxFixture::with(upstream, &[("PINHOLE_SLOTS", "1")]).await;
    let context = job_context();
    let job = fixture.spawn(
        "wait",
        Limits {
            grace: ENOUGH,
            ..LIMITS
        },
        &context,
    );
    fixture.upstream.wait_for_requests(1).await;
    context.cancel.cancel();
    let (kind, _) = engine_error(job.await.unwrap());
    assert_eq!(kind, ErrorKind::Cancelled);
    assert_eq!(fixture.upstream.request_lines(), [SLOW, STOPPED]);
    fixture.assert_sketch_generates().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_call_stops_upstream_and_releases_slot() {
    let fixture = SandboxFixture::with(slow_upstream().await, &[("PINHOLE_SLOTS", "1")]).await;
    let job = fixture.spawn("wait", LIMITS, &job_context());
    fixture.upstream.wait_for_requests(1).await;
    job.abort();
    fixture.upstream.wait_for_requests(2).await;
    fixture.assert_sketch_generates().await;
    assert_eq!(fixture.upstream.request_lines(), [SLOW, STOPPED]);
}

/// Sends a message when it is dropped.
struct NotifyOnDrop(tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_disconnect_releases_connection_in_every_phase() {
    let (on_drop, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let upstream = FakeUpstream::start(move |request: RecordedRequest| {
        let on_drop = NotifyOnDrop(on_drop.clone());
        async move {
            if request.target.ends_with("/result") {
                let url = format!("http://{}/base/allowed/slow", request.header("host"));
                return FakeResponse::json(200, &json!({"urls": [url]}));
            }
            if request.target.ends_with("/x") {
                // An endless body.
                let endless = futures_util::stream::unfold(on_drop, async |state| {
                    std::future::pending::<()>().await;
                    Some((Ok::<_, std::io::Error>("x"), state))
                });
                let body = axum::body::Body::from_stream(endless);
                return FakeResponse::typed(200, "application/json", body);
            }
            std::future::pending::<()>().await;
            drop(on_drop);
            FakeResponse::json(200, &json!({}))
        }
    })
    .await;
    let fixture = SandboxFixture::with(upstream, &[("PINHOLE_SLOTS", "1")]).await;
    // During a request, during its response's body, and while the resulting image is fetched.
    for (prompt, requests) in [("reach api /allowed/slow", 1), ("ask", 1), ("result", 2)] {
        let before = fixture.upstream.requests().len();
        let body = json!({"prompt": prompt, "response_format": "url"});
        let pending = tokio::spawn(fixture.server.post("/v1/images/generations", &body).send());
        fixture.upstream.wait_for_requests(before + requests).await;
        pending.abort();
        // The upstream sees each connection close.
        for _ in 0..requests {
            closed.recv().await.unwrap();
        }
        fixture.assert_sketch_generates().await;
    }
    assert_eq!(fixture.server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_call_releases_slot() {
    let fixture = SandboxFixture::start(&[("PINHOLE_SLOTS", "1")]).await;
    for moment in 0..30 {
        let job = fixture.spawn("picture", LIMITS, &job_context());
        // The job is queued, starting, running or finished.
        for _ in 0..moment {
            tokio::task::yield_now().await;
        }
        job.abort();
    }
    let body = json!({"prompt": "picture", "response_format": "url"});
    for moment in 0..30 {
        let pending = tokio::spawn(fixture.server.post("/v1/images/generations", &body).send());
        for _ in 0..moment * 10 {
            tokio::task::yield_now().await;
        }
        pending.abort();
    }
    fixture.assert_sketch_generates().await;
    // Each row has its bytes.
    let rows = fixture.server.app.store.file_ids_before(i64::MAX, 1000);
    assert!(rows.await.unwrap().len() <= fixture.server.stored_files());
}
