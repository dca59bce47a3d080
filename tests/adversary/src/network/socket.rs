//! Upstreams that say too much over a WebSocket, and engines that open one where they may not.

use anyhow::{Result, ensure};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::arena::Arena;
use crate::message::UNUSABLE;
use crate::upstream::{Received, Step};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTINUED: u8 = 0;
const PING: u8 = 9;
/// Marks the last frame of a message.
const LAST: u8 = 0x80;

/// Accepts the WebSocket.
fn accept(asked: &Received) -> Step {
    let key = asked.head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then_some(value.trim())
    });
    let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    Step::Send(head.into())
}

/// The head of a frame, whatever follows it.
fn frame(kind: u8, length: u64) -> Vec<u8> {
    let mut head = vec![kind, 127];
    head.extend_from_slice(&length.to_be_bytes());
    head
}

/// Has the engine read one message of a WebSocket on which these bytes come.
async fn listen(arena: &Arena, then: Vec<Step>) -> Result<String> {
    arena.upstream.acts(move |asked| {
        let accepted = [accept(asked)];
        accepted.into_iter().chain(then.clone()).collect()
    });
    let answer = arena.draw("see message").await?;
    ensure!(!answer.status.is_success(), "{}", answer.text());
    Ok(answer.message())
}

pub(super) async fn endless_frame(arena: &Arena) -> Result<()> {
    for length in [25 << 20, u64::MAX >> 1] {
        let head = frame(LAST | BINARY, length);
        let heard = listen(arena, vec![Step::Send(head.into()), Step::Hold]).await?;
        ensure!(heard.contains(UNUSABLE), "{length} bytes: {heard}");
    }
    Ok(())
}

pub(super) async fn endless_message(arena: &Arena) -> Result<()> {
    const PIECE: u64 = 8 << 20;
    let pieces = [BINARY, CONTINUED, CONTINUED, CONTINUED, LAST | CONTINUED];
    let body = vec![0; usize::try_from(PIECE)?];
    let steps = pieces.into_iter().flat_map(|kind| {
        let head = frame(kind, PIECE).into();
        [Step::Send(head), Step::Send(body.clone().into())]
    });
    let heard = listen(arena, steps.chain([Step::Hold]).collect()).await?;
    ensure!(heard.contains(UNUSABLE), "{heard}");
    Ok(())
}

pub(super) async fn endless_pings(arena: &Arena) -> Result<()> {
    let pings = [LAST | PING, 0].repeat(1000);
    let heard = listen(arena, vec![Step::Flood(pings.into())]).await?;
    ensure!(heard.contains(UNUSABLE), "{heard}");
    Ok(())
}

pub(super) async fn beside_the_grant(arena: &Arena) -> Result<()> {
    arena.upstream.acts(|asked| {
        let words = [LAST | TEXT, 2, b'{', b'}'];
        vec![accept(asked), Step::Send(words.to_vec().into()), Step::Hold]
    });
    for path in ["/secret", "/", "/allowed", "/allowed/../secret"] {
        let answer = arena.draw(&format!("connect api {path}")).await?;
        answer.was_not_granted()?;
    }
    arena
        .draw("connect other /allowed/x")
        .await?
        .was_not_granted()?;
    let connections = arena.upstream.connections();
    ensure!(connections == 0, "{connections} connections were made");
    Ok(())
}
