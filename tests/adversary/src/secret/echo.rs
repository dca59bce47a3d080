//! An upstream repeats the key, wherever an engine can look.

use std::io::Write;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::super::arena::{Arena, SECRET};
use super::super::upstream::{Received, Step, answer, json};
use super::{around, only_around, picture, says};

/// First byte of a WebSocket's frame that is a whole message.
const TEXT_FRAME: u8 = 0x81;
const BINARY_FRAME: u8 = 0x82;

/// The answer's text in one spelling, or in each of several.
pub(super) async fn spelled(arena: &Arena, how: &str) -> Result<()> {
    for spelled in spellings(how) {
        arena.upstream.answers(vec![text(&around(&spelled))]);
        only_around(&seen(arena, "text").await?, &spelled)?;
    }
    Ok(())
}

/// The key as it is, in one place of the answer.
pub(super) async fn repeated(arena: &Arena, place: &'static str) -> Result<()> {
    arena
        .upstream
        .acts(move |received| answer_with(place, received));
    only_around(&seen(arena, place).await?, SECRET)
}

pub(super) async fn in_chunks(arena: &Arena) -> Result<()> {
    let text = around(SECRET);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks = text.as_bytes().chunks(3).map(|chunk| {
        let length = format!("{:x}\r\n", chunk.len());
        [length.as_bytes(), chunk, b"\r\n"].concat()
    });
    let pieces = [head.as_bytes().to_vec()].into_iter().chain(chunks);
    let pieces = pieces.chain([b"0\r\n\r\n".to_vec()]);
    arena
        .upstream
        .answers(pieces.map(|piece| Step::Send(piece.into())).collect());
    only_around(&seen(arena, "text").await?, SECRET)
}

pub(super) async fn compressed(arena: &Arena) -> Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(around(SECRET).as_bytes())?;
    let body = encoder.finish()?;
    let headers = "content-type: text/plain\r\ncontent-encoding: gzip\r\n";
    arena
        .upstream
        .answers(vec![answer("200 OK", headers, body)]);
    only_around(&seen(arena, "text").await?, SECRET)
}

/// What the engine saw there: it says it backwards, so that nobody takes the key out of that.
async fn seen(arena: &Arena, place: &str) -> Result<String> {
    let said = says(arena, &format!("see {place}")).await?;
    Ok(said.chars().rev().collect())
}

fn spellings(how: &str) -> Vec<String> {
    let each = |spell: &dyn Fn(u8) -> String| SECRET.bytes().map(spell).collect::<String>();
    match how {
        "escapes" => vec![
            each(&|byte| format!("\\u{byte:04x}")),
            SECRET.replace('e', "\\u0065").replace('-', "\\u002D"),
        ],
        "percent" => vec![
            each(&|byte| format!("%{byte:02x}")),
            SECRET.replace('e', "%65").replace('-', "%2D"),
        ],
        "hex" => vec![
            each(&|byte| format!("{byte:02x}")),
            each(&|byte| format!("{byte:02X}")),
        ],
        "base64" => ["", "u:", "a"]
            .into_iter()
            .flat_map(|before| {
                let text = format!("{before}{SECRET}");
                [
                    base64_simd::STANDARD.encode_to_string(&text),
                    base64_simd::URL_SAFE_NO_PAD.encode_to_string(&text),
                ]
            })
            .collect(),
        _ => vec![SECRET.to_owned()],
    }
}

fn text(text: &str) -> Step {
    answer("200 OK", "content-type: text/plain\r\n", text)
}

fn answer_with(place: &str, received: &Received) -> Vec<Step> {
    let told = around(SECRET);
    let value = json!({ "echo": told, "nested": [{ &told: 1 }] });
    match place {
        "headers" => vec![answer("200 OK", &format!("x-echo: {told}\r\n"), "{}")],
        "json" | "at" => vec![json(&value)],
        "event" => {
            let event = format!("data: {value}\n\n");
            vec![answer(
                "200 OK",
                "content-type: text/event-stream\r\n",
                event,
            )]
        }
        "picture" => vec![picture(told.as_bytes())],
        "frame" => socket(received, TEXT_FRAME, value.to_string().as_bytes()),
        "message" => socket(received, BINARY_FRAME, told.as_bytes()),
        _ => vec![text(&told)],
    }
}

/// Accepts a WebSocket and sends one message, of fewer than 65 536 bytes.
fn socket(received: &Received, kind: u8, message: &[u8]) -> Vec<Step> {
    let mut lines = received
        .head
        .lines()
        .filter_map(|line| line.split_once(':'));
    let key = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let key = key.map_or("", |(_, key)| key.trim());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    let length = u16::try_from(message.len())
        .unwrap_or_default()
        .to_be_bytes();
    let frame = [&[kind, 126], &length[..], message].concat();
    vec![
        Step::Send(head.into()),
        Step::Send(frame.into()),
        Step::Hold,
    ]
}
