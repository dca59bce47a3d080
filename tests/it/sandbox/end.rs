//! Jobs that end before they are done: their upstreams are told, and nothing of them stays.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_engine_may_tell_its_upstream_to_stop() {
    let place = Place::with(slow_upstream().await, &[]).await;
    let control = control();
    let job = place.run("wait", LIMITS, &control);
    place.upstream.wait_for_requests(1).await;
    control.cancel.cancel();
    let (kind, message) = said(job.await.unwrap());
    assert_eq!(kind, ErrorKind::Cancelled);
    assert_eq!(message, "cancelled; the stop request returned: status 200");
    assert_eq!(place.upstream.request_lines(), [SLOW, STOPPED]);
    let last = place.upstream.requests().pop().unwrap();
    assert_eq!(last.header("authorization"), format!("Bearer {KEY}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_its_job() {
    let place = Place::with(slow_upstream().await, &[("PINHOLE_SLOTS", "1")]).await;
    let body = json!({"prompt": "wait"});
    let asking = tokio::spawn(place.server.post("/v1/images/generations", &body).send());
    place.upstream.wait_for_requests(1).await;
    asking.abort();
    place.upstream.wait_for_requests(2).await;
    assert_eq!(place.upstream.request_lines(), [SLOW, STOPPED]);
    place.still_draws().await;
    assert_eq!(place.server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_after_a_cancel_is_short() {
    // Not even the request to stop is answered.
    let upstream = FakeUpstream::start(async |_| std::future::pending::<FakeResponse>().await).await;
    let place = Place::with(upstream, &[("PINHOLE_SLOTS", "1")]).await;
    let control = control();
    let job = place.run(
        "wait",
        Limits {
            grace: ENOUGH,
            ..LIMITS
        },
        &control,
    );
    place.upstream.wait_for_requests(1).await;
    control.cancel.cancel();
    let (kind, _) = said(job.await.unwrap());
    assert_eq!(kind, ErrorKind::Cancelled);
    assert_eq!(place.upstream.request_lines(), [SLOW, STOPPED]);
    place.still_draws().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_tells_its_upstream_and_gives_its_slot_back() {
    let place = Place::with(slow_upstream().await, &[("PINHOLE_SLOTS", "1")]).await;
    let job = place.run("wait", LIMITS, &control());
    place.upstream.wait_for_requests(1).await;
    job.abort();
    place.upstream.wait_for_requests(2).await;
    place.still_draws().await;
    assert_eq!(place.upstream.request_lines(), [SLOW, STOPPED]);
}

/// Tells when it is dropped.
struct Told(tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_a_client_goes_away_nothing_of_its_job_stays() {
    let (told, mut left) = tokio::sync::mpsc::unbounded_channel();
    let upstream = FakeUpstream::start(move |seen: RecordedRequest| {
        let told = Told(told.clone());
        async move {
            if seen.target.ends_with("/x") {
                // A body that never ends, and after a cancel nobody reads it.
                let endless = futures_util::stream::unfold(told, async |told| {
                    std::future::pending::<()>().await;
                    Some((Ok::<_, std::io::Error>("x"), told))
                });
                let body = axum::body::Body::from_stream(endless);
                return FakeResponse::typed(200, "application/json", body);
            }
            std::future::pending::<()>().await;
            drop(told);
            FakeResponse::json(200, &json!({}))
        }
    })
    .await;
    let address = format!("address {}/base/picture.png", upstream.url());
    let place = Place::with(upstream, &[("PINHOLE_SLOTS", "1")]).await;
    // In a request, in the body of its answer, and while the result is fetched.
    for prompt in ["reach api /allowed/slow", "ask", &address] {
        let before = place.upstream.requests().len();
        let body = json!({"prompt": prompt, "response_format": "url"});
        let asking = tokio::spawn(place.server.post("/v1/images/generations", &body).send());
        place.upstream.wait_for_requests(before + 1).await;
        asking.abort();
        // The connection is closed.
        left.recv().await.unwrap();
        place.still_draws().await;
    }
    assert_eq!(place.server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_at_any_moment_gives_its_slot_back() {
    let place = Place::start(&[("PINHOLE_SLOTS", "1")]).await;
    for moment in 0..30 {
        let job = place.run("picture", LIMITS, &control());
        // Waiting for a slot, made, called, answered: wherever it is by then.
        for _ in 0..moment {
            tokio::task::yield_now().await;
        }
        job.abort();
    }
    let body = json!({"prompt": "picture", "response_format": "url"});
    for moment in 0..30 {
        let asking = tokio::spawn(place.server.post("/v1/images/generations", &body).send());
        for _ in 0..moment * 10 {
            tokio::task::yield_now().await;
        }
        asking.abort();
    }
    place.still_draws().await;
    // What has a row has its bytes.
    let rows = place.server.app.store.file_ids_before(i64::MAX, 1000);
    assert!(rows.await.unwrap().len() <= place.server.stored_files());
}
