//! The bytes of a WebSocket server, so that a case can violate the protocol.

use pinhole_tests::{RawStep, RecordedRequest};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// First byte of a frame: the last one of its message.
pub(crate) const LAST: u8 = 0x80;
/// First byte of a frame: its kind.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const PING: u8 = 9;

/// Accepts the handshake of a request.
pub(crate) fn accept(request: &RecordedRequest) -> RawStep {
    let accept = derive_accept_key(request.header("sec-websocket-key").as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    RawStep::Send(head.into())
}

/// The head of a frame that declares this length.
pub(crate) fn frame_head(first_byte: u8, length: u64) -> RawStep {
    let head = [&[first_byte, 127], &length.to_be_bytes()[..]].concat();
    RawStep::Send(head.into())
}

/// A message in one frame.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<RawStep> {
    let body = body.to_vec();
    let head = frame_head(LAST | kind, body.len() as u64);
    vec![head, RawStep::Send(body.into())]
}
