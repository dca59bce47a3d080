//! Tests of the fake upstream's connections.

#![expect(
    clippy::disallowed_methods,
    reason = "a test connects as a client does"
)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const REQUEST: &[u8] = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n";

async fn serve_raw(steps: &[RawStep]) -> LoopbackServer {
    let steps = steps.to_vec();
    let handler = move |_| {
        let response = FakeResponse::raw(steps.clone());
        async { response }
    };
    LoopbackServer::bind(handler).await.unwrap()
}

#[tokio::test]
async fn raw_bytes_are_sent_unchanged_and_the_connection_is_reused() {
    let server = serve_raw(&[RawStep::Send("not http\n".into())]).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let mut bytes = [0; 9];
    for _ in 0..2 {
        stream.write_all(REQUEST).await.unwrap();
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"not http\n");
    }
    // Both requests at once: the second one is not lost.
    stream.write_all(&REQUEST.repeat(2)).await.unwrap();
    let mut both = [0; 18];
    stream.read_exact(&mut both).await.unwrap();
    assert_eq!(&both, b"not http\nnot http\n");
    assert_eq!(server.accepted_connections(), 1);
}

#[tokio::test]
async fn raw_steps_end_with_the_client_or_with_close() {
    for steps in [
        &[RawStep::Send("a".into()), RawStep::Hold][..],
        &[RawStep::Flood("a".into())],
        &[RawStep::Drip("a".into(), Duration::ZERO)],
    ] {
        let server = serve_raw(steps).await;
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'a');
        drop(stream);
        server.wait_until_idle().await;
    }
    let server = serve_raw(&[RawStep::Close]).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    server.wait_until_idle().await;
    assert_eq!(server.accepted_connections(), 1);
}

#[tokio::test]
async fn invalid_response_becomes_an_error_response() {
    let server = LoopbackServer::bind(async |_| FakeResponse::typed(1, "a/b", ""))
        .await
        .unwrap();
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream
        .write_all(b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    assert!(
        response.contains("the fake response is invalid"),
        "{response}"
    );
}

#[tokio::test]
async fn dropped_server_closes_its_connections() {
    let server = serve_raw(&[RawStep::Hold]).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    drop(server);
    // The end, or a reset because the request was not read.
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
}
