//! Answers that are longer or shorter than they say, or hide another one.

use anyhow::{Result, ensure};

use crate::arena::Arena;
use crate::upstream::{Step, json};

/// What nobody has asked for, behind an answer. A later request that hears of it was poisoned.
const HIDDEN: &str = "HTTP/1.1 418 Hidden\r\ncontent-length: 6\r\n\r\nhidden";
/// How often each is tried: a connection that is not yet back is not asked again.
const TRIES: usize = 5;

pub(super) async fn shorter(arena: &Arena) -> Result<()> {
    for begun in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nwords",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\nwords",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwords\r\n",
    ] {
        arena
            .upstream
            .answers(vec![Step::Send(begun.into()), Step::Close]);
        let answer = arena.draw("see text").await?;
        // The engine says what it reads backwards.
        ensure!(
            !answer.status.is_success() && !answer.message().contains("sdrow"),
            "an answer that breaks off was read: {}",
            answer.text()
        );
        arena.upstream.left_alone().await;
    }
    Ok(())
}

pub(super) async fn longer(arena: &Arena) -> Result<()> {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\ncontent-length: 9\r\n\r\n",
    ] {
        hides(arena, answer).await?;
    }
    Ok(())
}

pub(super) async fn second_answer(arena: &Arena) -> Result<()> {
    for answer in [
        // No body may follow, whatever the head says.
        "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n{}",
        // Two lengths, one of which is wrong.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 57\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 57\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        // Interim answers, which are none.
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        hides(arena, answer).await?;
    }
    Ok(())
}

/// The first request gets this answer with another behind it; the next one must not hear that.
async fn hides(arena: &Arena, answer: &str) -> Result<()> {
    let both = [answer, HIDDEN].concat();
    arena.upstream.acts(
        move |received| match received.head.starts_with("GET /allowed/first ") {
            true => vec![Step::Send(both.clone().into())],
            false => vec![json(&serde_json::json!({}))],
        },
    );
    for _ in 0..TRIES {
        // Whether this one can be used is for the library to say.
        let first = arena.draw("reach api /allowed/first").await?;
        ensure!(
            !first.message().contains("418"),
            "an answer was taken from inside another: {answer:?}"
        );
        let second = arena.draw("reach api /allowed/second").await?;
        ensure!(
            second.message().contains("status 200"),
            "after {answer:?} the next request heard {}",
            second.text()
        );
    }
    let requests = arena.upstream.requests();
    let asked = requests
        .iter()
        .filter(|it| it.head.starts_with("GET /allowed/second "));
    ensure!(
        asked.count() >= TRIES,
        "a request got an answer without being sent"
    );
    arena.upstream.reset();
    Ok(())
}

pub(super) async fn interim_flood(arena: &Arena) -> Result<()> {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(1000);
    arena.upstream.answers(vec![Step::Flood(interim.into())]);
    super::slow::ends_in_time(arena, "reach api /allowed/x").await
}
