//! Answers that are no use: encoded, endless, or with heads as long as bodies.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use pinhole_egress::Error;
use pinhole_tests::{FakeResponse, PIXEL};

use super::connections::{Raw, Then, raw_answer};
use super::{ask, asked, egress, picture_at, soon, stage, success};

fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap().into()
}

fn deflate(plain: &[u8]) -> Bytes {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap().into()
}

fn encoded(encoding: &str, body: Bytes) -> FakeResponse {
    FakeResponse::typed(200, "application/json", body).header("content-encoding", encoding)
}

const UNUSABLE: &str = "the upstream's response cannot be used";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_came_encoded_is_decoded() {
    let stage = stage(&[]).await;
    let plain = success();
    for answer in [
        encoded("gzip", gzip(plain.as_bytes())),
        encoded("deflate", deflate(plain.as_bytes())),
        encoded("identity", plain.clone().into()),
    ] {
        let played = stage.generate([answer], &asked()).await;
        assert_eq!(played.pictures(), [PIXEL]);
        // It was not asked for.
        assert_eq!(played.request().header("accept-encoding"), "");
    }
    // So is the picture at an address.
    let at = picture_at(&format!("{}/x.png", stage.upstream.url()));
    let picture = FakeResponse::typed(200, "image/png", gzip(PIXEL)).header("content-encoding", "gzip");
    assert_eq!(
        stage.generate([at, picture], &asked()).await.pictures(),
        [PIXEL]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_an_unknown_encoding_is_refused() {
    let stage = stage(&[]).await;
    let plain = success();
    let twice = gzip(&gzip(plain.as_bytes()));
    for answer in [
        encoded("br", plain.clone().into()),
        encoded("zstd", plain.clone().into()),
        encoded("gzip, gzip", twice.clone()),
        encoded("gzip", twice.clone()).header("content-encoding", "gzip"),
        encoded("gzip", plain.clone().into()),
        encoded("deflate", gzip(plain.as_bytes())),
    ] {
        let played = stage.generate([answer], &asked()).await;
        assert_eq!(played.error(), (502, "protocol", None, UNUSABLE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_not_become_a_hundred_times_as_long() {
    let stage = stage(&[]).await;
    let spaces = " ".repeat(16 << 20) + &success();
    for bomb in [
        encoded("gzip", gzip(spaces.as_bytes())),
        encoded("deflate", deflate(spaces.as_bytes())),
    ] {
        let played = stage.generate([bomb], &asked()).await;
        assert_eq!(played.error(), (502, "protocol", None, UNUSABLE));
    }
    // What is long after all is refused as every long answer is.
    let mut noise = Vec::with_capacity(80 << 20);
    let mut state = 1_u32;
    while noise.len() < 80 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // A few bytes that do not shrink among many that do, so that the ratio is no matter.
        noise.extend_from_slice(&state.to_le_bytes());
        noise.extend_from_slice(&[b' '; 60]);
    }
    let played = stage.generate([encoded("gzip", gzip(&noise))], &asked()).await;
    let message = "the request or its response exceeds its size limit";
    assert_eq!(played.error(), (502, "protocol", None, message));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_a_head_within_limits() {
    let raw = Raw::start("", Then::Close).await;
    let server = raw.server(&[]).await;
    let body = success();
    let length = format!("content-length: {}\r\n", body.len());
    for (headers, fits) in [
        ("x-a: b\r\n".repeat(70), true),
        ("x-a: b\r\n".repeat(90), false),
        (format!("x-a: {}\r\n", "b".repeat(60_000)), true),
        (format!("x-a: {}\r\n", "b".repeat(70_000)), false),
    ] {
        raw.answers(raw_answer(&format!("{length}{headers}"), &body));
        let (status, answer) = ask(&server).await;
        match fits {
            true => assert_eq!(status, 200, "{answer}"),
            false => assert_eq!(
                (status, answer["error"]["message"].as_str()),
                (502, Some(UNUSABLE))
            ),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_pauses_is_not_waited_for() {
    let raw = Raw::start(raw_answer("content-length: 100\r\n", "{"), Then::Listen).await;
    let variables = [("PINHOLE_UPSTREAM_SILENCE_SECS", "1")];
    let server = raw.server(&variables).await;
    let (status, answer) = ask(&server).await;
    let message = answer["error"]["message"].as_str();
    assert_eq!((status, message), (502, Some(UNUSABLE)), "{answer}");
    // Nobody holds on to the connection.
    raw.wait_for_ended(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_not_used_again_once_more_came_than_was_told() {
    let body = success();
    let length = body.len();
    let more = raw_answer(
        &format!("content-length: {length}\r\n"),
        &format!("{body}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}"),
    );
    let raw = Raw::start(more, Then::Listen).await;
    let server = raw.server(&[]).await;
    for _ in 0..3 {
        let (status, answer) = ask(&server).await;
        assert_eq!(status, 200, "{answer}");
    }
    let connections: Vec<_> = raw.seen().iter().map(|(number, _)| *number).collect();
    assert_eq!(
        connections,
        [0, 1, 2],
        "each job has a connection of its own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_not_fetched_from_what_is_no_plain_address() {
    let stage = stage(&[]).await;
    let at = stage.upstream.url();
    for address in [
        format!("{at}/a\tb"),
        format!("{at}/a\r\nx-a: b"),
        format!("{at}/a\0"),
    ] {
        let played = stage.generate([picture_at(&address)], &asked()).await;
        let message = "the image URL is not allowed";
        assert_eq!(played.error(), (502, "forbidden", None, message));
    }
    // An engine may take a picture out of such an address; the host fetches none.
    for length in [4, 1 << 20] {
        let address = format!("data:image/png;base64,{}", "A".repeat(length));
        let fetched = egress().fetch(&address, &[], 1000, soon()).await;
        assert!(matches!(fetched, Err(Error::Denied { .. })), "{fetched:?}");
    }
}
