//! Responses that are longer or shorter than declared, or hide another one.

use anyhow::{Result, ensure};
use pinhole_tests::RawStep;
use serde_json::json;

use crate::target::AttackTarget;

/// An unrequested response after another one. A later request that receives it was poisoned.
const HIDDEN: &str = "HTTP/1.1 418 Hidden\r\ncontent-length: 6\r\n\r\nhidden";
/// How often each is tried: a connection that is not yet back in the pool is not used again.
const TRIES: usize = 5;

pub(super) async fn shorter_than_declared(target: &AttackTarget) -> Result<()> {
    for start in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nwords",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\nwords",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwords\r\n",
    ] {
        target
            .upstream
            .set_raw(vec![RawStep::Send(start.into()), RawStep::Close]);
        let response = target.generate("see text").await?;
        // The engine reports the text reversed.
        ensure!(
            !response.status.is_success() && !response.error_message().contains("sdrow"),
            "the engine read a truncated response: {}",
            response.text()
        );
        target.upstream.wait_until_idle().await;
    }
    Ok(())
}

pub(super) async fn longer_than_declared(target: &AttackTarget) -> Result<()> {
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\ncontent-length: 9\r\n\r\n",
    ] {
        require_hidden_ignored(target, response).await?;
    }
    Ok(())
}

pub(super) async fn second_response(target: &AttackTarget) -> Result<()> {
    for response in [
        // No body may follow, whatever the head declares.
        "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n{}",
        // Two lengths, one of which is wrong.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 57\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 57\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        // Interim responses, which are not the response.
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        require_hidden_ignored(target, response).await?;
    }
    Ok(())
}

/// Sends this response with a hidden one after it. Fails if the next request receives the hidden one.
async fn require_hidden_ignored(target: &AttackTarget, response: &str) -> Result<()> {
    let both = [response, HIDDEN].concat();
    target.upstream.set_raw_handler(move |request| {
        if request.target == "/allowed/first" {
            vec![RawStep::Send(both.clone().into())]
        } else {
            vec![RawStep::json(&json!({}))]
        }
    });
    for _ in 0..TRIES {
        // The HTTP library decides whether this response can be used.
        let first = target.generate("reach api /allowed/first").await?;
        ensure!(
            !first.error_message().contains("418"),
            "the hidden response was read from {response:?}"
        );
        let second = target.generate("reach api /allowed/second").await?;
        ensure!(
            second.error_message().contains("status 200"),
            "after {response:?} the next request received {}",
            second.text()
        );
    }
    let requests = target.upstream.requests();
    let sent = requests
        .iter()
        .filter(|request| request.target == "/allowed/second");
    ensure!(
        sent.count() >= TRIES,
        "a request got a response without being sent"
    );
    target.upstream.reset();
    Ok(())
}

pub(super) async fn endless_interim_responses(target: &AttackTarget) -> Result<()> {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(1000);
    target
        .upstream
        .set_raw(vec![RawStep::Flood(interim.into())]);
    super::slow::require_end_in_time(target, "reach api /allowed/x").await
}
