//! Upstreams that send too much over a WebSocket, and engines that open one outside their grant.

use anyhow::{Result, ensure};
use pinhole_tests::RawStep;

use crate::message::UNUSABLE;
use crate::target::AttackTarget;
use crate::web_socket::{BINARY, CONTINUATION, LAST, PING, TEXT, accept, frame_head, message};

/// Fails unless the engine cannot use a message of a WebSocket that sends these bytes.
async fn require_unusable(target: &AttackTarget, steps: Vec<RawStep>) -> Result<()> {
    target.upstream.set_raw_handler(move |request| {
        let handshake = [accept(request)];
        handshake.into_iter().chain(steps.clone()).collect()
    });
    let response = target.generate("see message").await?;
    ensure!(
        !response.status.is_success() && response.error_message().contains(UNUSABLE),
        "the engine read the message: {}",
        response.text()
    );
    Ok(())
}

pub(super) async fn endless_frame(target: &AttackTarget) -> Result<()> {
    for length in [25 << 20, u64::MAX >> 1] {
        let head = frame_head(LAST | BINARY, length);
        require_unusable(target, vec![head, RawStep::Hold]).await?;
    }
    Ok(())
}

pub(super) async fn endless_message(target: &AttackTarget) -> Result<()> {
    const FRAME_BYTES: u64 = 8 << 20;
    let body = RawStep::Send(vec![0; usize::try_from(FRAME_BYTES)?].into());
    let mut steps = Vec::new();
    for first_byte in [
        BINARY,
        CONTINUATION,
        CONTINUATION,
        CONTINUATION,
        LAST | CONTINUATION,
    ] {
        steps.push(frame_head(first_byte, FRAME_BYTES));
        steps.push(body.clone());
    }
    steps.push(RawStep::Hold);
    require_unusable(target, steps).await
}

pub(super) async fn endless_pings(target: &AttackTarget) -> Result<()> {
    let pings = [LAST | PING, 0].repeat(1000);
    require_unusable(target, vec![RawStep::Flood(pings.into())]).await
}

pub(super) async fn outside_grant(target: &AttackTarget) -> Result<()> {
    target.upstream.set_raw_handler(|request| {
        let mut steps = vec![accept(request)];
        steps.extend(message(TEXT, b"{}"));
        steps.push(RawStep::Hold);
        steps
    });
    for path in ["/secret", "/", "/allowed", "/allowed/../secret"] {
        let response = target.generate(&format!("connect api {path}")).await?;
        response.require_not_granted()?;
    }
    let other_upstream = target.generate("connect other /allowed/x").await?;
    other_upstream.require_not_granted()?;
    let count = target.upstream.connection_count();
    ensure!(count == 0, "{count} connections were opened");
    Ok(())
}
