//! Limits of a call: each is exceeded, and the error names it.

use pinhole_tests::long_image;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn engine_failure_is_reported_and_server_continues() {
    // With one slot, a job that did not release it would block the next one.
    let fixture = SandboxFixture::start(&[("PINHOLE_SLOTS", "1")]).await;
    for (prompt, count, code, expected) in [
        (
            "grow",
            1,
            "upstream",
            "stopped: it needs more than 268435456 bytes of memory",
        ),
        (
            "trap",
            1,
            "upstream",
            "crashed: it panicked; its last lines: panicked at ",
        ),
        ("recurse", 1, "upstream", "the engine crashed: "),
        (
            "calls",
            1,
            "upstream",
            "stopped: it called the host more than 200000 times",
        ),
        (
            "handles",
            1,
            "upstream",
            "stopped: it holds more handles than a job may",
        ),
        ("big-list", 1, "upstream", "too much data is being copied"),
        (
            "big-list 1",
            1,
            "protocol",
            "details are longer than 65536 bytes",
        ),
        (
            "many",
            4,
            "protocol",
            "returned 5 images, but at most 4 were requested",
        ),
        ("none", 1, "protocol", "returned no image and no error"),
        (
            "text",
            1,
            "protocol",
            "not a PNG, JPEG, WebP, GIF or AVIF image",
        ),
    ] {
        let (status, actual_code, message) = fixture.failure(prompt, count).await;
        assert_eq!(
            (status, actual_code.as_str()),
            (502, code),
            "{prompt}: {message}"
        );
        assert!(message.contains(expected), "{prompt}: {message}");
        fixture.assert_sketch_generates().await;
    }
    assert_eq!(fixture.upstream.request_lines(), [""; 0]);
    assert_eq!(fixture.server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn exceeded_limit_is_named() {
    let fixture = SandboxFixture::start(&[("PINHOLE_SLOTS", "1")]).await;
    for (prompt, limits, expected) in [
        (
            "spin",
            Limits {
                running: SHORT,
                ..LIMITS
            },
            "it ran for more than 300ms",
        ),
        (
            "log",
            Limits {
                host_calls: 50,
                ..LIMITS
            },
            "it called the host more than 50 times",
        ),
        (
            "calls",
            Limits {
                host_calls: 50,
                ..LIMITS
            },
            "it called the host more than 50 times",
        ),
        (
            "grow",
            Limits {
                memory_bytes: 8 << 20,
                ..LIMITS
            },
            "more than 8388608 bytes of memory",
        ),
        (
            "handles",
            Limits {
                handles: 3,
                ..LIMITS
            },
            "it holds more handles",
        ),
        (
            "handles",
            Limits {
                held_bytes: 500,
                ..LIMITS
            },
            "more than 500 bytes of responses and images",
        ),
    ] {
        match fixture.call(prompt, limits).await {
            Err(Error::Limit(Refusal { reason, .. })) => {
                assert!(reason.contains(expected), "{prompt}: {reason}");
            }
            other => panic!("{prompt}: {other:?}"),
        }
        fixture.assert_sketch_generates().await;
    }
    assert_eq!(fixture.upstream.request_lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn job_ends_at_deadline() {
    let fixture = SandboxFixture::with(slow_upstream().await, &[]).await;
    // After the deadline, the computing job would also use up its running time.
    let limits = Limits {
        wall: SHORT,
        running: ENOUGH,
        ..LIMITS
    };
    // The deadline applies to sleeping, waiting for an upstream and computing alike.
    for prompt in ["sleep", "wait", "spin"] {
        match fixture.call(prompt, limits).await {
            Err(Error::Deadline(wall)) => assert_eq!(wall, SHORT, "{prompt}"),
            other => panic!("{prompt}: {other:?}"),
        }
        fixture.assert_sketch_generates().await;
    }
    // After the deadline, the engine can still send a stop request.
    fixture.upstream.wait_for_requests(2).await;
    assert_eq!(fixture.upstream.request_lines(), [SLOW, STOPPED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn job_timeout_is_reported_to_client() {
    let fixture = SandboxFixture::start(&[("PINHOLE_JOB_TIMEOUT_SECS", "1")]).await;
    let (status, code, message) = fixture.failure("sleep", 1).await;
    assert_eq!((status, code.as_str()), (504, "timeout"), "{message}");
    assert_eq!(message, "the engine was stopped: it took longer than 1s");
    let response = spawn_job(&fixture.server, "sketch", "a hill", LIMITS, &job_context());
    assert_eq!(response.await.unwrap().unwrap().images.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_engines_do_not_block_other_jobs() {
    let variables = [("PINHOLE_SLOTS", "5"), ("PINHOLE_SLOTS_PER_USER", "4")];
    let fixture = SandboxFixture::start(&variables).await;
    let context = job_context();
    let limits = Limits {
        grace: Duration::ZERO,
        ..LIMITS
    };
    let mut spinning = Vec::new();
    for _ in 0..4 {
        let mut progress = context.progress.subscribe();
        spinning.push(fixture.spawn("spin", limits, &context));
        progress.changed().await.unwrap();
        assert_eq!(progress.borrow().note.as_deref(), Some("spinning"));
    }
    fixture.assert_sketch_generates().await;
    assert!(spinning.iter().all(|job| !job.is_finished()));

    // They ignore the cancellation, are stopped, and release their slots.
    context.cancel.cancel();
    for job in spinning {
        let (kind, message) = engine_error(job.await.unwrap());
        assert_eq!(
            (kind, message.as_str()),
            (ErrorKind::Cancelled, "the job was cancelled")
        );
    }
    for _ in 0..5 {
        fixture.assert_sketch_generates().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_per_job_are_limited() {
    let fixture = SandboxFixture::start(&[]).await;
    let outcome = fixture
        .call(
            "requests",
            Limits {
                requests: 3,
                ..LIMITS
            },
        )
        .await;
    let (_, message) = engine_error(outcome);
    assert_eq!(message, "refused after 3: too many requests for one job");
    assert_eq!(fixture.upstream.request_lines(), ["GET /base/allowed/x"; 3]);
}

/// Runs this prompt, and asserts the message of the engine's error.
async fn assert_message(fixture: &SandboxFixture, prompt: &str, limits: Limits, expected: &str) {
    let outcome = fixture.call(prompt, limits).await;
    let (_, message) = engine_error(outcome);
    assert_eq!(message, expected, "{prompt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn request_lists_and_texts_are_limited() {
    let fixture = SandboxFixture::start(&[]).await;
    let too_much = "more than one request may have";
    for prompt in [
        "headers 257",
        // More than the capacity of a header map.
        "headers 50000",
        "parts 2500",
        "fields 257",
        "label 1025",
        "path 8192",
        "name 65",
    ] {
        assert_message(&fixture, prompt, LIMITS, too_much).await;
    }
    assert_eq!(fixture.upstream.request_lines(), [""; 0]);
    assert_message(
        &fixture,
        "pointer 8000",
        LIMITS,
        "the JSON pointer is too long",
    )
    .await;
    for prompt in ["parts 100", "fields 256", "label 1024", "path 4000"] {
        assert_message(&fixture, prompt, LIMITS, "status 200").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_bodies_are_limited_singly_and_in_total() {
    let fixture = SandboxFixture::start(&[]).await;
    let limits = Limits {
        request_bytes: 3 << 20,
        sent_bytes: 7 << 20,
        ..LIMITS
    };
    let (_, one) = engine_error(fixture.call("body 3", limits).await);
    assert_eq!(fixture.upstream.request_lines(), [""; 0], "{one}");
    let (_, all) = engine_error(fixture.call("bodies 2", limits).await);
    assert!(all.starts_with("refused after 3: "), "{all}");
    assert_eq!(fixture.upstream.request_lines().len(), 3);
    // Sent bodies are released: only their sum exceeds `held_bytes`.
    let held_limits = Limits {
        held_bytes: 5 << 20,
        sent_bytes: usize::MAX,
        requests: 10,
        ..LIMITS
    };
    let (_, released) = engine_error(fixture.call("bodies 2", held_limits).await);
    assert_eq!(released, "refused after 10: too many requests for one job");
}

#[tokio::test(flavor = "multi_thread")]
async fn job_holds_little_more_than_twice_its_image_in_json() {
    let image = long_image(2 << 20);
    let base64 = base64_simd::STANDARD.encode_to_string(&image);
    let body = json!({"data": [{"b64_json": base64}]});
    let upstream = FakeUpstream::json(200, body).await;
    let (engines, base) = (engine_dir(&["openai"]), format!("{}/v1", upstream.url()));
    let variables = [
        ("PINHOLE_ENGINES", engines.path().to_str().unwrap()),
        ("IMAGE_GENERATION_ENGINE", "openai"),
        ("IMAGES_OPENAI_API_BASE_URL", &base),
        ("IMAGES_OPENAI_API_KEY", KEY),
    ];
    let server = Arc::new(TestServer::start(&variables).await);
    let limits = Limits {
        held_bytes: image.len() * 22 / 10,
        ..LIMITS
    };
    let job = spawn_job(&server, "openai", "a fox", limits, &job_context());
    let output = job.await.unwrap().unwrap();
    assert!(output.images[0].image.bytes() == &image);
}

#[tokio::test(flavor = "multi_thread")]
async fn response_bytes_are_limited_held_and_received() {
    let body = json!({"filler": "x".repeat(1 << 20)});
    let fixture = SandboxFixture::with(FakeUpstream::json(200, body).await, &[]).await;
    let limits = Limits {
        held_bytes: 5 << 20,
        ..LIMITS
    };
    assert_limit_exceeded(
        &fixture,
        "keep 10",
        limits,
        "it holds more than 5242880 bytes",
    )
    .await;
    assert_message(&fixture, "take 10", limits, "had 10").await;
    let received_limits = Limits {
        taken_bytes: 5 << 20,
        ..LIMITS
    };
    assert_limit_exceeded(
        &fixture,
        "take 10",
        received_limits,
        "it received more than 5242880 bytes",
    )
    .await;
}

/// Runs this prompt, and asserts that it is stopped for this limit.
async fn assert_limit_exceeded(
    fixture: &SandboxFixture,
    prompt: &str,
    limits: Limits,
    expected: &str,
) {
    match fixture.call(prompt, limits).await {
        Err(Error::Limit(Refusal { reason, .. })) => {
            assert!(reason.contains(expected), "{prompt}: {reason}");
        }
        other => panic!("{prompt}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_connections_per_job_are_limited() {
    let upstream = FakeUpstream::start(async |request: RecordedRequest| {
        if !request.header("sec-websocket-key").is_empty() {
            return FakeResponse::web_socket(async |socket| {
                let _open = socket;
                std::future::pending().await
            });
        }
        std::future::pending().await
    });
    let fixture = SandboxFixture::with(upstream.await, &[]).await;
    let limits = Limits {
        connections: 3,
        ..LIMITS
    };
    let refused = "refused after 3: too many requests at the same time";
    assert_message(&fixture, "starts 1000", limits, refused).await;
    assert_message(&fixture, "sockets 1000", limits, refused).await;
    // Sequential requests do not count as concurrent.
    let sequential = SandboxFixture::start(&[]).await;
    assert_message(&sequential, "keep 10", limits, "had 10").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_length_is_limited() {
    let endless = "data: ".to_owned() + &"x".repeat(33 << 20);
    let whole = "data: {}\n\n".repeat(3);
    for (body, expected) in [(endless, None), (whole, Some("read 3"))] {
        let upstream = FakeUpstream::start(move |_| {
            let response = FakeResponse::typed(200, "text/event-stream", body.clone());
            async { response }
        });
        let fixture = SandboxFixture::with(upstream.await, &[]).await;
        let (_, message) = engine_error(fixture.call("events", LIMITS).await);
        match expected {
            Some(expected) => assert_eq!(message, expected),
            None => assert!(!message.starts_with("read"), "{message}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_computation_moves_to_low_priority_thread() {
    let fixture = SandboxFixture::start(&[]).await;
    let context = job_context();
    let mut progress = context.progress.subscribe();
    let limits = Limits {
        grace: Duration::ZERO,
        ..LIMITS
    };
    let spinning = fixture.spawn("spin", limits, &context);
    progress.changed().await.unwrap();
    // A low-priority thread of this process uses CPU time.
    let computes = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        threads.flatten().any(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            let Some((name, rest)) = stat.rsplit_once(") ") else {
                return false;
            };
            let fields: Vec<i64> = rest.split(' ').map(|it| it.parse().unwrap_or(0)).collect();
            name.ends_with("(guest-low") && fields[16] == 10 && fields[11] > 20
        })
    };
    while !computes() {
        fixture.assert_sketch_generates().await;
    }
    context.cancel.cancel();
    engine_error(spinning.await.unwrap());
}
