//! Who runs, who waits, and who is sent away.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_wait_for_a_slot_and_none_is_refused() {
    const JOBS: usize = 8;
    const SLOTS: usize = 2;
    let gate = Arc::new(Semaphore::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let upstream = {
        let (gate, now, most) = (gate.clone(), now.clone(), most.clone());
        Upstream::start(move |_| {
            let (gate, now, most) = (gate.clone(), now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::SeqCst);
                Answer::json(200, &json!({}))
            }
        })
        .await
    };
    let place = Place::with(upstream, &[("PINHOLE_SLOTS", &SLOTS.to_string())]).await;
    let asking: Vec<_> = (0..JOBS)
        .map(|_| {
            let server = place.server.clone();
            let body = json!({"prompt": "ask"});
            tokio::spawn(async move { server.ask("/v1/images/generations", &body).await })
        })
        .collect();
    // One goes, one comes.
    for gone in 0..JOBS {
        place.upstream.wait_for(JOBS.min(SLOTS + gone)).await;
        gate.add_permits(1);
    }
    for answer in asking {
        let (status, answer) = answer.await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(most.load(Ordering::SeqCst), SLOTS);
    assert_eq!(place.upstream.lines(), ["GET /base/allowed/x"; JOBS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_a_slot_can_be_cancelled_and_does_not_wait_for_ever() {
    let variables = [("PINHOLE_SLOTS", "1"), ("PINHOLE_JOB_TIMEOUT_SECS", "1")];
    let place = Place::with(slow_upstream().await, &variables).await;
    let first = control();
    let holding = place.run("wait", LIMITS, &first);
    place.upstream.wait_for(1).await;

    let second = control();
    let waiting = place.run("ask", LIMITS, &second);
    second.cancel.cancel();
    let (kind, message) = said(waiting.await.unwrap());
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::Cancelled, "the job was cancelled")
    );

    let (status, code, message) = place.fails("ask", 1).await;
    assert_eq!((status, code.as_str()), (503, "unavailable"));
    assert_eq!(
        message,
        "the server is busy: no engine slot became free within 1s"
    );
    assert_eq!(place.upstream.lines(), [SLOW]);

    first.cancel.cancel();
    said(holding.await.unwrap());
    let drawn = place.call("ask", LIMITS).await.unwrap();
    assert_eq!(drawn.pictures.len(), 1);
    let asked = "GET /base/allowed/x";
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED, asked]);
}
