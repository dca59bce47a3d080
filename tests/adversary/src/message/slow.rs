//! Upstreams that are slow, send endlessly or request a delay.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::header::RETRY_AFTER;
use pinhole_tests::RawStep;
use tokio::time::Instant;

use crate::target::AttackTarget;

/// Far more than a job may take on a server that the suite starts.
const MAX_JOB_TIME: Duration = Duration::from_secs(40);
/// The pause of an upstream that is never silent for long.
const PAUSE: Duration = Duration::from_millis(100);
/// Memory that the server may use while it reads endless responses, in bytes.
const MAX_MEMORY_BYTES: u64 = 512 << 20;
/// The longest delay that a client may be asked for, in seconds.
const MAX_RETRY_SECS: u64 = 24 * 3600;

/// Fails unless the job fails in time and its connection is closed.
pub(super) async fn require_end_in_time(target: &AttackTarget, prompt: &str) -> Result<()> {
    let start = Instant::now();
    let response = target.generate(prompt).await?;
    ensure!(
        !response.status.is_success(),
        "the job succeeded: {}",
        response.text()
    );
    let elapsed = start.elapsed();
    ensure!(elapsed < MAX_JOB_TIME, "the job took {elapsed:?}");
    target.upstream.wait_until_idle().await;
    Ok(())
}

pub(super) async fn silence(target: &AttackTarget) -> Result<()> {
    target.upstream.set_raw(vec![RawStep::Hold]);
    require_end_in_time(target, "reach api /allowed/x").await
}

pub(super) async fn head(target: &AttackTarget) -> Result<()> {
    target.upstream.set_raw(vec![
        RawStep::Send("HTTP/1.1 200 OK\r\nx-slow: ".into()),
        RawStep::Drip("y".into(), PAUSE),
    ]);
    require_end_in_time(target, "reach api /allowed/x").await
}

pub(super) async fn body(target: &AttackTarget) -> Result<()> {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n",
    ] {
        target.upstream.set_raw(vec![
            RawStep::Send(head.into()),
            RawStep::Drip("y".into(), PAUSE),
        ]);
        require_end_in_time(target, "see text").await?;
    }
    Ok(())
}

pub(super) async fn events(target: &AttackTarget) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    target.upstream.set_raw(vec![
        RawStep::Send(head.into()),
        RawStep::Drip(": still there\n".into(), PAUSE),
    ]);
    require_end_in_time(target, "see event").await
}

pub(super) async fn endless(target: &AttackTarget) -> Result<()> {
    let piece = "x".repeat(64 << 10);
    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
    let with_length = "HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\n";
    for (head, repeated) in [
        (until_close, &piece),
        (chunked, &chunk),
        (with_length, &piece),
    ] {
        target.upstream.set_raw(vec![
            RawStep::Send(head.into()),
            RawStep::Flood(repeated.clone().into()),
        ]);
        target.generate("see text").await?.require_too_large()?;
        target.upstream.wait_until_idle().await;
        let memory = target.memory_bytes()?;
        ensure!(
            memory < MAX_MEMORY_BYTES,
            "the server uses {} MiB",
            memory >> 20
        );
    }
    Ok(())
}

pub(super) async fn retry_delay(target: &AttackTarget) -> Result<()> {
    let date = "date: Sun, 22 Nov 2026 12:00:00 GMT\r\n";
    for (header, max_secs) in [
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
            let headers = format!("{date}{header}\r\n");
            target
                .upstream
                .set_raw(vec![RawStep::response(status, &headers, "")]);
            let response = target.generate("busy").await?;
            ensure!(!response.status.is_success(), "the job succeeded");
            let Some(delay) = response.headers.get(RETRY_AFTER) else {
                continue;
            };
            let secs: u64 = delay
                .to_str()?
                .parse()
                .context("the delay is not a number of seconds")?;
            ensure!(
                secs <= max_secs,
                "after {header:?} a client is asked to wait for {secs} s"
            );
        }
    }
    Ok(())
}
