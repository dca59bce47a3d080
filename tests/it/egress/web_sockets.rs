//! WebSockets to upstreams that send too much.

use futures_util::SinkExt;
use pinhole_egress::{Credential, Error};
use pinhole_tests::{FakeResponse, FakeUpstream, WebSocket};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::connections::{assert_closed, raw_upstream};
use super::{deadline, open_destination, with_timeout};

/// Connects to an upstream that runs this on its side of the WebSocket.
async fn talk<F: Future<Output = ()> + Send + 'static>(
    talk: impl Fn(WebSocket) -> F + Clone + Send + Sync + 'static,
) -> (FakeUpstream, pinhole_egress::WebSocket) {
    let upstream = FakeUpstream::start(move |_| {
        let talk = talk.clone();
        async move { FakeResponse::web_socket(talk) }
    })
    .await;
    let destination = open_destination(&upstream.url(), true, Credential::default());
    let socket = destination.connect("/ws", deadline()).await.unwrap();
    (upstream, socket)
}

/// The number of messages received, and the error that ended the socket.
async fn drain(mut socket: pinhole_egress::WebSocket) -> (usize, Option<Error>) {
    let draining = async {
        let mut count = 0;
        loop {
            match socket.receive().await {
                Ok(Some(_)) => count += 1,
                Ok(None) => return (count, None),
                Err(error) => return (count, Some(error)),
            }
        }
    };
    with_timeout("the socket", draining).await
}

fn check_unusable(error: Option<Error>, expected: &str) {
    match error {
        Some(Error::Unusable(refusal)) => assert!(refusal.reason.contains(expected), "{refusal}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_socket_receives_text_and_binary() {
    let (_upstream, mut socket) = talk(async |mut socket| {
        socket.send(Message::text("a")).await.unwrap();
        socket.send(Message::Ping("p".into())).await.unwrap();
        socket.send(Message::binary("b")).await.unwrap();
        socket.close(None).await.ok();
    })
    .await;
    let first = socket.receive().await.unwrap();
    assert!(
        matches!(&first, Some(pinhole_egress::Message::Text(text)) if text == "a"),
        "{first:?}"
    );
    let second = socket.receive().await.unwrap();
    assert!(
        matches!(&second, Some(pinhole_egress::Message::Binary(bytes)) if bytes == "b"),
        "{second:?}"
    );
    assert!(socket.receive().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn web_socket_limits_frame_and_message_length() {
    // The length in the frame's header is enough.
    let (_upstream, socket) = talk(async |socket| {
        let mut stream = socket.into_inner();
        let length = ((24_u64 << 20) + 1).to_be_bytes();
        stream
            .write_all(&[&[0x82, 127][..], &length].concat())
            .await
            .unwrap();
        stream.flush().await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let (count, error) = drain(socket).await;
    assert_eq!(count, 0);
    check_unusable(error, "frame of more than 25165824 bytes");

    let (_long_upstream, long_socket) = talk(async |mut stream| {
        let piece = vec![0; 8 << 20];
        for number in 0..5 {
            let kind = if number == 0 {
                Data::Binary
            } else {
                Data::Continue
            };
            let frame = Frame::message(piece.clone(), OpCode::Data(kind), false);
            if stream.send(Message::Frame(frame)).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    })
    .await;
    let (long_count, long_error) = drain(long_socket).await;
    assert_eq!(long_count, 0);
    check_unusable(long_error, "frame of more than 33554432 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn web_socket_limits_message_count() {
    let (_upstream, socket) = talk(async |mut socket| {
        loop {
            if socket.feed(Message::Ping("".into())).await.is_err() {
                return;
            }
        }
    })
    .await;
    let (count, error) = drain(socket).await;
    assert_eq!(count, 0);
    check_unusable(error, "more than 100000 messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn web_socket_limits_upgrade_head() {
    let endless = format!(
        "HTTP/1.1 101 Switching Protocols\r\n{}",
        "x-a: b\r\n".repeat(10_000)
    );
    let upstream = raw_upstream(endless).await;
    let destination = open_destination(&upstream.url(), true, Credential::default());
    let refused = with_timeout("the upgrade", destination.connect("/ws", deadline())).await;
    assert!(matches!(refused, Err(Error::Connect(_))));
    assert_closed(&upstream, 1).await;
}
