//! Unusable responses: encoded, endless, or with an oversized head.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use pinhole_tests::{FakeResponse, PIXEL};

use super::connections::{
    assert_closed, openai_server, raw_response, raw_upstream, send_and_close,
};
use super::{
    generate, generation_request, image_json, openai_fixture, parse_url, response_with_url,
};

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
async fn response_with_known_encoding_is_decoded() {
    let own_images = ("PINHOLE_OPENAI_IMAGE_HOSTS", "{upstream}");
    let fixture = openai_fixture(&[own_images]).await;
    let plain = image_json();
    for response in [
        encoded("gzip", gzip(plain.as_bytes())),
        encoded("deflate", deflate(plain.as_bytes())),
        encoded("identity", plain.clone().into()),
    ] {
        let exchange = fixture.generate([response], &generation_request()).await;
        assert_eq!(exchange.images(), [PIXEL]);
        // The host requests no encoding.
        assert_eq!(exchange.request().header("accept-encoding"), "");
    }
    // The same for an image fetched by URL.
    let at = response_with_url(&format!("{}/x.png", fixture.upstream.url()));
    let image =
        FakeResponse::typed(200, "image/png", gzip(PIXEL)).header("content-encoding", "gzip");
    assert_eq!(
        fixture
            .generate([at, image], &generation_request())
            .await
            .images(),
        [PIXEL]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn response_with_unknown_encoding_is_refused() {
    let fixture = openai_fixture(&[]).await;
    let plain = image_json();
    let twice = gzip(&gzip(plain.as_bytes()));
    for response in [
        encoded("br", plain.clone().into()),
        encoded("zstd", plain.clone().into()),
        encoded("gzip, gzip", twice.clone()),
        encoded("gzip", twice.clone()).header("content-encoding", "gzip"),
        encoded("gzip", plain.clone().into()),
        encoded("deflate", gzip(plain.as_bytes())),
    ] {
        let exchange = fixture.generate([response], &generation_request()).await;
        assert_eq!(exchange.error(), (502, "protocol", None, UNUSABLE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn response_decompression_is_limited() {
    let fixture = openai_fixture(&[]).await;
    let spaces = " ".repeat(16 << 20) + &image_json();
    for bomb in [
        encoded("gzip", gzip(spaces.as_bytes())),
        encoded("deflate", deflate(spaces.as_bytes())),
    ] {
        let exchange = fixture.generate([bomb], &generation_request()).await;
        assert_eq!(exchange.error(), (502, "protocol", None, UNUSABLE));
    }
    // A long body that is within the ratio still meets the size limit.
    let mut noise = Vec::with_capacity(80 << 20);
    let mut state = 1_u32;
    while noise.len() < 80 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Incompressible bytes between compressible ones, so that the ratio stays allowed.
        noise.extend_from_slice(&state.to_le_bytes());
        noise.extend_from_slice(&[b' '; 60]);
    }
    let exchange = fixture
        .generate([encoded("gzip", gzip(&noise))], &generation_request())
        .await;
    let message = "the request or its response exceeds its size limit";
    assert_eq!(exchange.error(), (502, "protocol", None, message));
}

#[tokio::test(flavor = "multi_thread")]
async fn response_head_is_limited() {
    let upstream = raw_upstream("").await;
    let server = openai_server(&upstream, &[]).await;
    let body = image_json();
    let length = format!("content-length: {}\r\n", body.len());
    for (headers, fits) in [
        ("x-a: b\r\n".repeat(70), true),
        ("x-a: b\r\n".repeat(90), false),
        (format!("x-a: {}\r\n", "b".repeat(60_000)), true),
        (format!("x-a: {}\r\n", "b".repeat(70_000)), false),
    ] {
        send_and_close(
            &upstream,
            raw_response(&format!("{length}{headers}"), &body),
        );
        let (status, response) = generate(&server).await;
        if fits {
            assert_eq!(status, 200, "{response}");
        } else {
            let message = response["error"]["message"].as_str();
            assert_eq!((status, message), (502, Some(UNUSABLE)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_response_times_out() {
    let upstream = raw_upstream(raw_response("content-length: 100\r\n", "{")).await;
    let variables = [("PINHOLE_UPSTREAM_SILENCE_SECS", "1")];
    let server = openai_server(&upstream, &variables).await;
    let (status, response) = generate(&server).await;
    let message = response["error"]["message"].as_str();
    assert_eq!((status, message), (502, Some(UNUSABLE)), "{response}");
    assert_closed(&upstream, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_with_surplus_bytes_is_not_reused() {
    let body = image_json();
    let length = body.len();
    let more = raw_response(
        &format!("content-length: {length}\r\n"),
        &format!("{body}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}"),
    );
    let upstream = raw_upstream(more).await;
    let server = openai_server(&upstream, &[]).await;
    for _ in 0..3 {
        let (status, response) = generate(&server).await;
        assert_eq!(status, 200, "{response}");
    }
    let connections: Vec<_> = upstream.requests().iter().map(|it| it.connection).collect();
    assert_eq!(
        connections,
        [0, 1, 2],
        "each job has a connection of its own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn image_fetch_refuses_control_characters_and_data_urls() {
    let fixture = openai_fixture(&[]).await;
    let at = fixture.upstream.url();
    for url in [
        format!("{at}/a\tb"),
        format!("{at}/a\r\nx-a: b"),
        format!("{at}/a\0"),
    ] {
        let exchange = fixture
            .generate([response_with_url(&url)], &generation_request())
            .await;
        let message = "the image URL is not allowed; if the upstream can return bytes \
            in place of a URL, set response-format-models to *";
        assert_eq!(exchange.error(), (502, "forbidden", None, message));
    }
    // An engine may decode a data URL itself; the host fetches none.
    for length in [4, 1 << 20] {
        let url = format!("data:image/png;base64,{}", "A".repeat(length));
        let refused = parse_url(&url);
        assert!(refused.is_err(), "{refused:?}");
    }
}
