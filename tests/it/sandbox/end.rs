//! Jobs that end before they are done: their upstreams are told, and nothing of them stays.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_engine_may_tell_its_upstream_to_stop() {
    let place = Place::with(slow_upstream().await, &[]).await;
    let control = control();
    let job = place.run("wait", LIMITS, &control);
    place.upstream.wait_for(1).await;
    control.cancel.cancel();
    let (kind, message) = said(job.await.unwrap());
    assert_eq!(kind, ErrorKind::Cancelled);
    assert_eq!(message, "cancelled; telling the upstream gave: status 200");
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED]);
    let last = place.upstream.seen().pop().unwrap();
    assert_eq!(last.header("authorization"), format!("Bearer {KEY}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_its_job() {
    let place = Place::with(slow_upstream().await, &[("PINHOLE_SLOTS", "1")]).await;
    let body = json!({"prompt": "wait"});
    let asking = tokio::spawn(place.server.post("/v1/images/generations", &body).send());
    place.upstream.wait_for(1).await;
    asking.abort();
    place.upstream.wait_for(2).await;
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED]);
    place.still_draws().await;
    assert_eq!(place.server.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_after_a_cancel_is_short() {
    // Not even the request to stop is answered.
    let upstream = Upstream::start(async |_| std::future::pending::<Answer>().await).await;
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
    place.upstream.wait_for(1).await;
    control.cancel.cancel();
    let (kind, _) = said(job.await.unwrap());
    assert_eq!(kind, ErrorKind::Cancelled);
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED]);
    place.still_draws().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_tells_its_upstream_and_gives_its_slot_back() {
    let place = Place::with(slow_upstream().await, &[("PINHOLE_SLOTS", "1")]).await;
    let job = place.run("wait", LIMITS, &control());
    place.upstream.wait_for(1).await;
    job.abort();
    place.upstream.wait_for(2).await;
    place.still_draws().await;
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED]);
}
