//! The steps of a WebSocket.

use bytes::Bytes;
use serde_json::{Value, json};

use super::bodies::{BodyWriter, Side};
use super::exchanges::{RecordedExchange, Script, SocketMessage};

/// The numbers at the start of a binary message, in bytes.
const NUMBER_BYTES: usize = 4;
/// Numbers before an image.
const MAX_NUMBERS: usize = 2;

/// The server's messages, each after what happened before it, and the engine's messages that are JSON.
pub(super) fn steps(
    exchange: &RecordedExchange,
    script: &Script,
    bodies: &mut BodyWriter,
) -> Vec<Value> {
    let mut steps = Vec::new();
    let mut before = exchange.start;
    for (number, message) in &exchange.messages {
        let step = match message {
            SocketMessage::Sent(bytes) => json_of(bytes.bytes())
                .map(|json| json!({"expect": bodies.json_within(json, Side::Request)})),
            SocketMessage::Text(bytes) => bytes.bytes().map(|bytes| text_step(bytes, bodies)),
            SocketMessage::Binary(bytes) => {
                let step = bytes.bytes().and_then(|bytes| binary_step(bytes, bodies));
                if step.is_none() {
                    bodies.notes.push(format!(
                        "a binary message of {} bytes was left out: a case cannot express it",
                        bytes.length()
                    ));
                }
                step
            }
        };
        let Some(step) = step else {
            continue;
        };
        if !matches!(message, SocketMessage::Sent(_)) {
            for (moment, name) in script.moments(before, *number) {
                steps.push(json!({"wait": {moment: name}}));
            }
            before = *number;
        }
        steps.push(step);
    }
    steps
}

fn json_of(bytes: Option<&Bytes>) -> Option<Value> {
    serde_json::from_slice(bytes?).ok()
}

fn text_step(bytes: &Bytes, bodies: &mut BodyWriter) -> Value {
    match serde_json::from_slice(bytes) {
        Ok(json) => json!({"send": bodies.json_within(json, Side::Reply)}),
        Err(_) => {
            let text = String::from_utf8_lossy(bytes);
            json!({"send_text": bodies.texts.reply_text(&text)})
        }
    }
}

/// A binary message of numbers, JSON, text and an image, as ComfyUI sends them.
fn binary_step(bytes: &Bytes, bodies: &mut BodyWriter) -> Option<Value> {
    for count in 0..=MAX_NUMBERS {
        let head = count * NUMBER_BYTES;
        if bytes.len() > head
            && let Some(spec) = bodies.images.add(&bytes.slice(head..))
        {
            let mut parts: Vec<Value> = (0..count).filter_map(|it| u32_at(bytes, it)).collect();
            parts.push(json!({"picture": spec}));
            return Some(json!({"send_binary": parts}));
        }
    }
    let first = u32_at(bytes, 0)?;
    let length = number_at(bytes, 1).and_then(|length| usize::try_from(length).ok());
    let json_start = 2 * NUMBER_BYTES;
    let json_end = length.and_then(|length| json_start.checked_add(length));
    if let Some(end) = json_end.filter(|end| *end < bytes.len())
        && let Ok(json) = serde_json::from_slice(&bytes.slice(json_start..end))
        && let Some(spec) = bodies.images.add(&bytes.slice(end..))
    {
        let json = bodies.json_within(json, Side::Reply);
        return Some(
            json!({"send_binary": [first, {"json_with_length": json}, {"picture": spec}]}),
        );
    }
    let text = std::str::from_utf8(bytes.get(NUMBER_BYTES..)?).ok()?;
    Some(json!({"send_binary": [first, {"text": bodies.texts.reply_text(text)}]}))
}

/// The number at this position, as a part of a message.
fn u32_at(bytes: &Bytes, index: usize) -> Option<Value> {
    number_at(bytes, index).map(|number| json!({"u32": number}))
}

fn number_at(bytes: &Bytes, index: usize) -> Option<u32> {
    let start = index * NUMBER_BYTES;
    let digits = bytes.get(start..start + NUMBER_BYTES)?;
    Some(u32::from_be_bytes(digits.try_into().ok()?))
}
