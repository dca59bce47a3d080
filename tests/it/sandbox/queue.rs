//! Slots and queue: which jobs run, wait or are refused.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_queue_for_slots() {
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
    // One slot is for other users, and one for the user's jobs of other engines.
    let fixture = SandboxFixture::with(upstream, &[("PINHOLE_SLOTS", "4")]).await;
    let pending: Vec<_> = (0..JOBS)
        .map(|_| {
            let server = fixture.server.clone();
            let body = json!({"prompt": "ask"});
            tokio::spawn(async move { server.post_json("/v1/images/generations", &body).await })
        })
        .collect();
    // For each job that finishes, another one starts.
    for finished in 0..JOBS {
        fixture
            .upstream
            .wait_for_requests(JOBS.min(SLOTS + finished))
            .await;
        gate.add_permits(1);
    }
    for response in pending {
        let (status, response) = response.await.unwrap();
        assert_eq!(status, 200, "{response}");
    }
    assert_eq!(most.load(Ordering::SeqCst), SLOTS);
    assert_eq!(
        fixture.upstream.request_lines(),
        ["GET /base/allowed/x"; JOBS]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_job_can_be_cancelled_and_times_out() {
    let variables = [("PINHOLE_SLOTS", "1"), ("PINHOLE_JOB_TIMEOUT_SECS", "1")];
    let fixture = SandboxFixture::with(slow_upstream().await, &variables).await;
    let first = job_context();
    let holding = fixture.spawn("wait", LIMITS, &first);
    fixture.upstream.wait_for_requests(1).await;

    let second = job_context();
    let waiting = fixture.spawn("ask", LIMITS, &second);
    second.cancel.cancel();
    let (kind, message) = engine_error(waiting.await.unwrap());
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::Cancelled, "the job was cancelled")
    );

    let (status, code, busy) = fixture.failure("ask", 1).await;
    assert_eq!((status, code.as_str()), (503, "unavailable"));
    assert_eq!(
        busy,
        "the server is busy: no engine slot became free within 1s"
    );
    assert_eq!(fixture.upstream.request_lines(), [SLOW]);

    first.cancel.cancel();
    engine_error(holding.await.unwrap());
    let response = fixture.call("ask", LIMITS).await.unwrap();
    assert_eq!(response.images.len(), 1);
    let request = "GET /base/allowed/x";
    assert_eq!(fixture.upstream.request_lines(), [SLOW, STOPPED, request]);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_of_a_queued_job_begins_with_its_slot() {
    let fixture = SandboxFixture::with(slow_upstream().await, &[("PINHOLE_SLOTS", "1")]).await;
    let first = job_context();
    let holding = fixture.spawn("wait", LIMITS, &first);
    fixture.upstream.wait_for_requests(1).await;
    let short = Limits {
        wall: SHORT,
        ..LIMITS
    };
    let queued = JobContext {
        queue_time: Some(LIMITS.wall),
        ..job_context()
    };
    let waiting = fixture.spawn("ask", short, &queued);
    // Ends after the time of the queued job.
    let busy = fixture.call("ask", short).await.unwrap_err();
    assert!(matches!(busy, Error::Busy(SHORT)), "{busy}");
    assert!(!queued.usage.has_started());

    first.cancel.cancel();
    engine_error(holding.await.unwrap());
    assert_eq!(waiting.await.unwrap().unwrap().images.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_shared_between_users() {
    let fixture = SandboxFixture::with(slow_upstream().await, &[("PINHOLE_SLOTS", "4")]).await;
    let context_of = |user: &str| JobContext {
        user: Some(user.to_owned()),
        ..job_context()
    };
    let greedy = context_of("greedy");
    let jobs: Vec<_> = (0..6)
        .map(|_| fixture.spawn("wait", LIMITS, &greedy))
        .collect();
    fixture.upstream.wait_for_requests(3).await;
    // The last slot is for users without a running job.
    for user in ["modest", "humble"] {
        let response = fixture
            .spawn("ask", LIMITS, &context_of(user))
            .await
            .unwrap();
        assert_eq!(response.unwrap().images.len(), 1);
    }
    let request = "GET /base/allowed/x";
    assert_eq!(
        fixture.upstream.request_lines(),
        [SLOW, SLOW, SLOW, request, request]
    );
    greedy.cancel.cancel();
    for job in jobs {
        assert_eq!(engine_error(job.await.unwrap()).0, ErrorKind::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queue_is_refused_immediately() {
    const AT_ONCE: usize = 12;
    let variables = [("PINHOLE_SLOTS", "2"), ("PINHOLE_SLOTS_PER_USER", "1")];
    let fixture = SandboxFixture::with(slow_upstream().await, &variables).await;
    let mut pending: FuturesUnordered<_> = (0..AT_ONCE)
        .map(|_| {
            let server = fixture.server.clone();
            let body = json!({"prompt": "wait"});
            let request = server.post("/v1/images/generations", &body);
            tokio::spawn(async move { request.send().await.unwrap() })
        })
        .collect();
    // One runs and four wait; these do not respond before they end.
    for _ in 5..AT_ONCE {
        let response = pending.next().await.unwrap().unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "5");
        let response: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let expected = "4 of your jobs are already waiting; retry when some of them have finished";
        assert_eq!(response["error"]["message"], expected);
        assert_eq!(response["error"]["code"], "rate-limited");
    }
    fixture.upstream.wait_for_requests(1).await;
    pending.iter().for_each(JoinHandle::abort);
    drop(pending);
    // Disconnected clients no longer occupy the queue.
    let body = json!({"prompt": "ask"});
    let (status, response) = fixture
        .server
        .post_json("/v1/images/generations", &body)
        .await;
    assert_eq!(status, 200, "{response}");
    let slow = fixture.upstream.request_lines();
    assert_eq!(
        slow.iter().filter(|line| *line == SLOW).count(),
        1,
        "{slow:?}"
    );
}
