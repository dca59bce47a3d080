//! Upstreams that take their time, have no end, or ask for patience.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::header::RETRY_AFTER;
use tokio::time::Instant;

use crate::arena::Arena;
use crate::upstream::{Step, answer};

/// Far more than a job may take of a server that is started for the case.
const IN_TIME: Duration = Duration::from_secs(40);
/// Pause of an upstream that is never silent for long.
const PAUSE: Duration = Duration::from_millis(100);
/// What a server may come to hold while it reads answers without end, in bytes.
const MAX_MEMORY_BYTES: u64 = 512 << 20;
/// Time that a client may be asked to wait, in seconds.
const MAX_RETRY_SECS: u64 = 24 * 3600;

/// The job is over when its time is, and its connection is gone.
pub(super) async fn ends_in_time(arena: &Arena, prompt: &str) -> Result<()> {
    let started = Instant::now();
    let answer = arena.draw(prompt).await?;
    ensure!(
        !answer.status.is_success(),
        "the engine was content with it: {}",
        answer.text()
    );
    let took = started.elapsed();
    ensure!(took < IN_TIME, "the job was over after {took:?}");
    arena.upstream.left_alone().await;
    Ok(())
}

pub(super) async fn silent(arena: &Arena) -> Result<()> {
    arena.upstream.answers(vec![Step::Hold]);
    ends_in_time(arena, "reach api /allowed/x").await
}

pub(super) async fn head(arena: &Arena) -> Result<()> {
    let begun = Step::Send("HTTP/1.1 200 OK\r\nx-slow: ".into());
    arena
        .upstream
        .answers(vec![begun, Step::Drip("y".into(), PAUSE)]);
    ends_in_time(arena, "reach api /allowed/x").await
}

pub(super) async fn body(arena: &Arena) -> Result<()> {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n",
    ] {
        arena
            .upstream
            .answers(vec![Step::Send(head.into()), Step::Drip("y".into(), PAUSE)]);
        ends_in_time(arena, "see text").await?;
    }
    Ok(())
}

pub(super) async fn events(arena: &Arena) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    arena.upstream.answers(vec![
        Step::Send(head.into()),
        Step::Drip(": still there\n".into(), PAUSE),
    ]);
    ends_in_time(arena, "see event").await
}

pub(super) async fn endless(arena: &Arena) -> Result<()> {
    let piece = "x".repeat(64 << 10);
    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
    let told = "HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let untold = "HTTP/1.1 200 OK\r\n\r\n";
    for (head, piece) in [(untold, &piece), (chunked, &chunk), (told, &piece)] {
        arena.upstream.answers(vec![
            Step::Send(head.into()),
            Step::Flood(piece.clone().into()),
        ]);
        arena.draw("see text").await?.was_too_large()?;
        arena.upstream.left_alone().await;
        let held = arena.memory_bytes()?;
        ensure!(
            held < MAX_MEMORY_BYTES,
            "the server holds {} MiB",
            held >> 20
        );
    }
    Ok(())
}

pub(super) async fn patience(arena: &Arena) -> Result<()> {
    let date = "date: Sun, 22 Nov 2026 12:00:00 GMT\r\n";
    for (told, most) in [
        ("retry-after: 1000000000", MAX_RETRY_SECS),
        ("retry-after: 1e300", MAX_RETRY_SECS),
        ("retry-after-ms: 18446744073709551615", MAX_RETRY_SECS),
        ("retry-after: Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_SECS),
        ("retry-after: Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("retry-after: -5", 0),
        ("retry-after: nan", 0),
        ("retry-after: soon", 0),
    ] {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            let headers = format!("{date}{told}\r\n");
            arena.upstream.answers(vec![answer(status, &headers, "")]);
            let answer = arena.draw("busy").await?;
            ensure!(!answer.status.is_success(), "it was not busy");
            let Some(value) = answer.headers.get(RETRY_AFTER) else {
                continue;
            };
            let secs: u64 = value.to_str()?.parse().context("no number of seconds")?;
            ensure!(
                secs <= most,
                "after {told:?} a client is to wait for {secs} s"
            );
        }
    }
    Ok(())
}
