//! Limits of a call: each is broken, and each is named.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_engine_does_is_an_answer_and_the_server_draws_on() {
    // With one slot, a job that kept its slot would leave none for the next.
    let place = Place::start(&[("PINHOLE_SLOTS", "1")]).await;
    for (prompt, count, code, gist) in [
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
            "crashed: it panicked; its log line says where",
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
        ("many", 4, "protocol", "gave 5 pictures, 4 at most"),
        ("none", 1, "protocol", "gave no picture and no reason"),
        (
            "text",
            1,
            "protocol",
            "not a PNG, JPEG, WebP, GIF or AVIF image",
        ),
    ] {
        let (status, named, message) = place.fails(prompt, count).await;
        assert_eq!((status, named.as_str()), (502, code), "{prompt}: {message}");
        assert!(message.contains(gist), "{prompt}: {message}");
        place.still_draws().await;
    }
    assert_eq!(place.upstream.lines(), [""; 0]);
    assert_eq!(place.server.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_broken_is_named() {
    let place = Place::start(&[("PINHOLE_SLOTS", "1")]).await;
    for (prompt, limits, gist) in [
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
            "more than 500 bytes of answers and images",
        ),
    ] {
        match place.call(prompt, limits).await {
            Err(Error::Limit(message)) => assert!(message.contains(gist), "{prompt}: {message}"),
            other => panic!("{prompt}: {other:?}"),
        }
        place.still_draws().await;
    }
    assert_eq!(place.upstream.lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_when_its_time_is_over() {
    let place = Place::with(slow_upstream().await, &[]).await;
    // Told to stop, the one that computes would use up its running time too.
    let limits = Limits {
        wall: SHORT,
        running: ENOUGH,
        ..LIMITS
    };
    // Asleep in the host, waiting for an upstream, computing: the wall clock knows no difference.
    for prompt in ["sleep", "wait", "spin"] {
        match place.call(prompt, limits).await {
            Err(Error::Deadline(wall)) => assert_eq!(wall, SHORT, "{prompt}"),
            other => panic!("{prompt}: {other:?}"),
        }
        place.still_draws().await;
    }
    // One that was late may still tell its upstream.
    place.upstream.wait_for(2).await;
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_that_the_time_was_over() {
    let place = Place::start(&[("PINHOLE_JOB_TIMEOUT_SECS", "1")]).await;
    let (status, code, message) = place.fails("sleep", 1).await;
    assert_eq!((status, code.as_str()), (504, "timeout"), "{message}");
    assert_eq!(message, "the engine was stopped: it took longer than 1s");
    let drawn = run(&place.server, "sketch", "a hill", LIMITS, &control());
    assert_eq!(drawn.await.unwrap().unwrap().pictures.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_that_compute_for_ever_keep_nobody_from_drawing() {
    let place = Place::start(&[("PINHOLE_SLOTS", "5")]).await;
    let control = control();
    let limits = Limits {
        grace: Duration::ZERO,
        ..LIMITS
    };
    let mut spinning = Vec::new();
    for _ in 0..4 {
        let mut progress = control.progress.subscribe();
        spinning.push(place.run("spin", limits, &control));
        progress.changed().await.unwrap();
        assert_eq!(progress.borrow().note.as_deref(), Some("spinning"));
    }
    place.still_draws().await;
    assert!(spinning.iter().all(|job| !job.is_finished()));

    // They do not listen when they are told to stop: they are ended, and their slots come back.
    control.cancel.cancel();
    for job in spinning {
        let (kind, message) = said(job.await.unwrap());
        assert_eq!(
            (kind, message.as_str()),
            (ErrorKind::Cancelled, "the job was cancelled")
        );
    }
    for _ in 0..5 {
        place.still_draws().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_makes_only_so_many_requests() {
    let place = Place::start(&[]).await;
    let outcome = place
        .call(
            "requests",
            Limits {
                requests: 3,
                ..LIMITS
            },
        )
        .await;
    let (_, message) = said(outcome);
    assert_eq!(message, "refused after 3: too many requests for one job");
    assert_eq!(place.upstream.lines(), ["GET /base/allowed/x"; 3]);
}
