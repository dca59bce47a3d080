//! Upstreams whose responses violate a limit.

use std::io::Write;

use anyhow::Result;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use pinhole_tests::RawStep;

use super::require_unusable;
use crate::target::AttackTarget;

pub(super) async fn many_headers(target: &AttackTarget) -> Result<()> {
    // Fewer than the HTTP library itself would refuse.
    let headers = "x-a: b\r\n".repeat(90);
    require_unusable(target, vec![RawStep::response("200 OK", &headers, "text")]).await
}

pub(super) async fn long_headers(target: &AttackTarget) -> Result<()> {
    for count in [1, 8] {
        let header = format!("x-a: {}\r\n", "b".repeat(80_000 / count));
        let headers = header.repeat(count);
        require_unusable(target, vec![RawStep::response("200 OK", &headers, "text")]).await?;
    }
    Ok(())
}

pub(super) async fn pause(target: &AttackTarget) -> Result<()> {
    let with_length = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nwords";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwords\r\n";
    for start in [with_length, chunked] {
        let steps = vec![RawStep::Send(start.into()), RawStep::Hold];
        require_unusable(target, steps).await?;
        target.upstream.wait_until_idle().await;
    }
    Ok(())
}

fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

fn deflate(plain: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

fn encoded(encoding: &str, body: &[u8]) -> Vec<RawStep> {
    let headers = format!("content-type: text/plain\r\ncontent-encoding: {encoding}\r\n");
    vec![RawStep::response("200 OK", &headers, body)]
}

pub(super) async fn high_ratio(target: &AttackTarget) -> Result<()> {
    let zeros = vec![0; 16 << 20];
    require_unusable(target, encoded("gzip", &gzip(&zeros)?)).await?;
    require_unusable(target, encoded("deflate", &deflate(&zeros)?)).await
}

pub(super) async fn over_limit_after_decoding(target: &AttackTarget) -> Result<()> {
    // Compresses to about a fortieth: below the limit of the ratio.
    const PLAIN_BYTES: usize = 66 << 20;
    let mut plain = Vec::with_capacity(PLAIN_BYTES);
    let mut state = 1_u32;
    while plain.len() < PLAIN_BYTES {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        plain.extend_from_slice(&state.to_le_bytes());
        plain.extend_from_slice(&[b' '; 252]);
    }
    target.upstream.set_raw(encoded("gzip", &gzip(&plain)?));
    target.generate("see text").await?.require_too_large()
}

pub(super) async fn unknown_encodings(target: &AttackTarget) -> Result<()> {
    let twice = gzip(&gzip(b"words")?)?;
    for (encoding, body) in [
        ("br", b"words".as_slice()),
        ("zstd", b"words"),
        ("compress", b"words"),
        ("gzip, gzip", &twice),
        ("gzip\r\ncontent-encoding: gzip", &twice),
        ("gzip", b"words"),
        ("deflate", b"words"),
    ] {
        require_unusable(target, encoded(encoding, body)).await?;
    }
    Ok(())
}
