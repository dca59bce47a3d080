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
        FakeUpstream::start(move |_| {
            let (gate, now, most) = (gate.clone(), now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::SeqCst);
                FakeResponse::json(200, &json!({}))
            }
        })
        .await
    };
    let slots = SLOTS.to_string();
    let variables = [
        ("PINHOLE_SLOTS", slots.as_str()),
        ("PINHOLE_SLOTS_PER_USER", &slots),
    ];
    let place = Place::with(upstream, &variables).await;
    let asking: Vec<_> = (0..JOBS)
        .map(|_| {
            let server = place.server.clone();
            let body = json!({"prompt": "ask"});
            tokio::spawn(async move { server.post_json("/v1/images/generations", &body).await })
        })
        .collect();
    // One goes, one comes.
    for gone in 0..JOBS {
        place.upstream.wait_for_requests(JOBS.min(SLOTS + gone)).await;
        gate.add_permits(1);
    }
    for answer in asking {
        let (status, answer) = answer.await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(most.load(Ordering::SeqCst), SLOTS);
    assert_eq!(place.upstream.request_lines(), ["GET /base/allowed/x"; JOBS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_a_slot_can_be_cancelled_and_does_not_wait_for_ever() {
    let variables = [("PINHOLE_SLOTS", "1"), ("PINHOLE_JOB_TIMEOUT_SECS", "1")];
    let place = Place::with(slow_upstream().await, &variables).await;
    let first = control();
    let holding = place.run("wait", LIMITS, &first);
    place.upstream.wait_for_requests(1).await;

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
    assert_eq!(place.upstream.request_lines(), [SLOW]);

    first.cancel.cancel();
    said(holding.await.unwrap());
    let drawn = place.call("ask", LIMITS).await.unwrap();
    assert_eq!(drawn.images.len(), 1);
    let asked = "GET /base/allowed/x";
    assert_eq!(place.upstream.request_lines(), [SLOW, STOPPED, asked]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_leaves_the_others_their_slots() {
    let place = Place::with(slow_upstream().await, &[("PINHOLE_SLOTS", "4")]).await;
    let of = |user: &str| JobContext {
        user: Some(user.to_owned()),
        ..control()
    };
    let greedy = of("greedy");
    let jobs: Vec<_> = (0..6).map(|_| place.run("wait", LIMITS, &greedy)).collect();
    place.upstream.wait_for_requests(2).await;
    // Half of the slots are theirs; the other half is not.
    for user in ["modest", "humble"] {
        let made = place.run("ask", LIMITS, &of(user)).await.unwrap();
        assert_eq!(made.unwrap().images.len(), 1);
    }
    let asked = "GET /base/allowed/x";
    assert_eq!(place.upstream.request_lines(), [SLOW, SLOW, asked, asked]);
    greedy.cancel.cancel();
    for job in jobs {
        assert_eq!(said(job.await.unwrap()).0, ErrorKind::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_would_wait_behind_too_many_is_told_at_once() {
    const AT_ONCE: usize = 12;
    let variables = [("PINHOLE_SLOTS", "2"), ("PINHOLE_SLOTS_PER_USER", "1")];
    let place = Place::with(slow_upstream().await, &variables).await;
    let mut asking: FuturesUnordered<_> = (0..AT_ONCE)
        .map(|_| {
            let server = place.server.clone();
            let body = json!({"prompt": "wait"});
            let request = server.post("/v1/images/generations", &body);
            tokio::spawn(async move { request.send().await.unwrap() })
        })
        .collect();
    // One runs and four wait: they are not answered before they end.
    for _ in 5..AT_ONCE {
        let answer = asking.next().await.unwrap().unwrap();
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()["retry-after"], "5");
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let expected = "4 of your jobs are already waiting; retry when some of them have finished";
        assert_eq!(answer["error"]["message"], expected);
        assert_eq!(answer["error"]["code"], "rate-limited");
    }
    place.upstream.wait_for_requests(1).await;
    asking.iter().for_each(JoinHandle::abort);
    drop(asking);
    // Whoever went away does not wait any more.
    let body = json!({"prompt": "ask"});
    let (status, answer) = place.server.post_json("/v1/images/generations", &body).await;
    assert_eq!(status, 200, "{answer}");
    let slow = place.upstream.request_lines();
    assert_eq!(
        slow.iter().filter(|line| *line == SLOW).count(),
        1,
        "{slow:?}"
    );
}
