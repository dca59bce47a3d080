//! Upstreams whose answers are no use.

use std::io::Write;

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::UNUSABLE;
use crate::arena::Arena;
use crate::upstream::{Step, answer};

/// The engine reads the body and hears that it cannot be used.
async fn unusable(arena: &Arena, steps: Vec<Step>) -> Result<()> {
    arena.upstream.answers(steps);
    let answer = arena.draw("see text").await?;
    ensure!(
        !answer.status.is_success() && answer.message().contains(UNUSABLE),
        "the engine read it: {}",
        answer.text()
    );
    Ok(())
}

pub(super) async fn many_headers(arena: &Arena) -> Result<()> {
    // What the library of HTTP itself would refuse is no use here.
    let headers = "x-a: b\r\n".repeat(90);
    unusable(arena, vec![answer("200 OK", &headers, "words")]).await
}

pub(super) async fn long_headers(arena: &Arena) -> Result<()> {
    for count in [1, 8] {
        let header = format!("x-a: {}\r\n", "b".repeat(80_000 / count));
        let headers = header.repeat(count);
        unusable(arena, vec![answer("200 OK", &headers, "words")]).await?;
    }
    Ok(())
}

pub(super) async fn pause(arena: &Arena) -> Result<()> {
    let told = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nwords";
    let untold = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwords\r\n";
    for begun in [told, untold] {
        let steps = vec![Step::Send(begun.into()), Step::Hold];
        unusable(arena, steps).await?;
        arena.upstream.left_alone().await;
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

fn encoded(encoding: &str, body: &[u8]) -> Vec<Step> {
    let headers = format!("content-type: text/plain\r\ncontent-encoding: {encoding}\r\n");
    vec![answer("200 OK", &headers, body)]
}

pub(super) async fn bomb(arena: &Arena) -> Result<()> {
    let zeros = vec![0; 16 << 20];
    unusable(arena, encoded("gzip", &gzip(&zeros)?)).await?;
    unusable(arena, encoded("deflate", &deflate(&zeros)?)).await
}

pub(super) async fn decoded_beyond_limit(arena: &Arena) -> Result<()> {
    // Shrinks to a fortieth or so: less than a bomb, and enough to pass the limit.
    let mut plain = Vec::with_capacity(66 << 20);
    let mut state = 1_u32;
    while plain.len() < 66 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        plain.extend_from_slice(&state.to_le_bytes());
        plain.extend_from_slice(&[b' '; 252]);
    }
    arena.upstream.answers(encoded("gzip", &gzip(&plain)?));
    arena.draw("see text").await?.was_too_large()
}

pub(super) async fn unknown_encodings(arena: &Arena) -> Result<()> {
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
        unusable(arena, encoded(encoding, body)).await?;
    }
    Ok(())
}
