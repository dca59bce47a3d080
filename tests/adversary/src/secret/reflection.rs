//! An upstream returns the key wherever an engine can read it.

use std::io::Write;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use pinhole_tests::{RawStep, RecordedRequest};
use serde_json::json;

use super::{png_response, report_of, require_redacted, surrounded};
use crate::target::{AttackTarget, SECRET};
use crate::web_socket::{BINARY, TEXT, accept, message};

/// The text of a response contains the key in each spelling of an encoding.
pub(super) async fn encoded(target: &AttackTarget, encoding: &str) -> Result<()> {
    for form in encoded_forms(encoding) {
        target
            .upstream
            .set_raw(vec![text_response(&surrounded(&form))]);
        require_redacted(&read(target, "text").await?, &form)?;
    }
    Ok(())
}

/// One place of a response contains the key in plain form.
pub(super) async fn in_place(target: &AttackTarget, place: &'static str) -> Result<()> {
    target
        .upstream
        .set_raw_handler(move |request| respond(place, request));
    require_redacted(&read(target, place).await?, SECRET)
}

pub(super) async fn in_chunks(target: &AttackTarget) -> Result<()> {
    let text = surrounded(SECRET);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut steps = vec![RawStep::Send(head.into())];
    for chunk in text.as_bytes().chunks(3) {
        let length = format!("{:x}\r\n", chunk.len());
        let bytes = [length.as_bytes(), chunk, b"\r\n"].concat();
        steps.push(RawStep::Send(bytes.into()));
    }
    steps.push(RawStep::Send("0\r\n\r\n".into()));
    target.upstream.set_raw(steps);
    require_redacted(&read(target, "text").await?, SECRET)
}

pub(super) async fn compressed(target: &AttackTarget) -> Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(surrounded(SECRET).as_bytes())?;
    let headers = "content-type: text/plain\r\ncontent-encoding: gzip\r\n";
    let response = RawStep::response("200 OK", headers, encoder.finish()?);
    target.upstream.set_raw(vec![response]);
    require_redacted(&read(target, "text").await?, SECRET)
}

/// What the engine reads in a place. It reports the text reversed, so that no later redaction hides the key.
pub(super) async fn read(target: &AttackTarget, place: &str) -> Result<String> {
    let report = report_of(target, &format!("see {place}")).await?;
    Ok(report.chars().rev().collect())
}

fn encoded_forms(encoding: &str) -> Vec<String> {
    let encode = |byte_form: &dyn Fn(u8) -> String| SECRET.bytes().map(byte_form).collect();
    match encoding {
        "escapes" => vec![
            encode(&|byte| format!("\\u{byte:04x}")),
            SECRET.replace('e', "\\u0065").replace('-', "\\u002D"),
        ],
        "percent" => vec![
            encode(&|byte| format!("%{byte:02x}")),
            SECRET.replace('e', "%65").replace('-', "%2D"),
        ],
        "hex" => vec![
            encode(&|byte| format!("{byte:02x}")),
            encode(&|byte| format!("{byte:02X}")),
        ],
        "base64" => ["", "u:", "a"]
            .into_iter()
            .flat_map(|prefix| {
                let text = format!("{prefix}{SECRET}");
                [
                    base64_simd::STANDARD.encode_to_string(&text),
                    base64_simd::URL_SAFE_NO_PAD.encode_to_string(&text),
                ]
            })
            .collect(),
        _ => vec![SECRET.to_owned()],
    }
}

pub(super) fn text_response(text: &str) -> RawStep {
    RawStep::response("200 OK", "content-type: text/plain\r\n", text)
}

fn respond(place: &str, request: &RecordedRequest) -> Vec<RawStep> {
    let text = surrounded(SECRET);
    let value = json!({ "echo": text, "nested": [{ &text: 1 }] });
    match place {
        "headers" => {
            let headers = format!("x-echo: {text}\r\n");
            vec![RawStep::response("200 OK", &headers, "{}")]
        }
        "json" | "at" => vec![RawStep::json(&value)],
        "event" => {
            let event = format!("data: {value}\n\n");
            let headers = "content-type: text/event-stream\r\n";
            vec![RawStep::response("200 OK", headers, event)]
        }
        "picture" => vec![png_response(text.as_bytes())],
        "frame" => respond_over_socket(request, TEXT, value.to_string().as_bytes()),
        "message" => respond_over_socket(request, BINARY, text.as_bytes()),
        _ => vec![text_response(&text)],
    }
}

/// Accepts a WebSocket and sends one message.
fn respond_over_socket(request: &RecordedRequest, kind: u8, body: &[u8]) -> Vec<RawStep> {
    let mut steps = vec![accept(request)];
    steps.extend(message(kind, body));
    steps.push(RawStep::Hold);
    steps
}
