//! Replies and WebSocket frames out of recordings of real servers.

use serde_json::Value;

use super::case::{Binary, Frames, Picture, Recorded, Reply, Step};
use super::picture;
use super::value::{Files, Part};

/// Headers that belong to one connection or one moment.
const LEFT_AWAY: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "server",
    "transfer-encoding",
];

/// Fills a reply in with a recorded one, as far as it says nothing itself.
pub(crate) fn fill(reply: &mut Reply, recorded: &Recorded, files: &Files) -> Result<(), String> {
    let response = files.part(&Part {
        file: &recorded.file,
        at: &recorded.at,
        with: &recorded.with,
        replace: &recorded.replace,
    })?;
    let status = response.get("status").and_then(Value::as_u64);
    let status = status.and_then(|status| u16::try_from(status).ok());
    let status = status.ok_or("there is no response with a status at that place")?;
    reply.status.get_or_insert(status);
    let headers = response.get("headers").and_then(Value::as_object);
    for (name, value) in headers.into_iter().flatten() {
        let name = name.to_ascii_lowercase();
        if let Some(value) = value.as_str()
            && !LEFT_AWAY.contains(&name.as_str())
        {
            reply
                .headers
                .entry(name)
                .or_insert_with(|| value.to_owned());
        }
    }
    let given = reply.json.is_some()
        || reply.text.is_some()
        || reply.picture.is_some()
        || reply.events.is_some();
    if given {
        // What it says of its own body holds, and not what the recorded one was.
        reply.headers.remove("content-type");
        return Ok(());
    }
    let part = |key: &str| response.get(key).cloned();
    if let Some(json) = part("json") {
        reply.json = Some(json);
    } else if let Some(text) = part("body_text") {
        reply.text = Some(text.as_str().ok_or("body_text is no text")?.to_owned());
    } else if let Some(body) = part("body") {
        match body {
            Value::String(text) => reply.text = Some(text),
            body => match body.get("head_hex").and_then(Value::as_str) {
                Some("") => {}
                Some(head) => reply.picture = Some(trimmed(head)?),
                None => reply.json = Some(body),
            },
        }
    }
    Ok(())
}

/// The server's frames among a recording's entries, as steps.
pub(crate) fn frames(frames: &Frames, files: &Files) -> Result<Vec<Step>, String> {
    let entries = files.part(&Part {
        file: &frames.file,
        at: &frames.at,
        with: &frames.with,
        replace: &frames.replace,
    })?;
    let entries = entries.as_array().ok_or("there is no list at that place")?;
    let to = frames.to.unwrap_or(entries.len());
    let wanted = entries.get(frames.from..to).ok_or_else(|| {
        format!(
            "from {} to {to} is not within {} entries",
            frames.from,
            entries.len()
        )
    })?;
    let received = wanted
        .iter()
        .filter(|entry| entry.get("dir").and_then(Value::as_str) == Some("recv"));
    received.map(frame).collect()
}

fn frame(entry: &Value) -> Result<Step, String> {
    let Some(binary) = entry.get("binary") else {
        return match entry.get("text") {
            Some(Value::String(text)) => Ok(Step::SendText(text.clone())),
            Some(json) => Ok(Step::Send(json.clone())),
            None => Err("a frame has neither text nor binary".to_owned()),
        };
    };
    let number = |key: &str| binary.get(key).and_then(Value::as_u64);
    let number = |key: &str| number(key).and_then(|number| u32::try_from(number).ok());
    let event = number("event_type").ok_or("a binary frame has no event_type")?;
    let mut parts = vec![Binary::U32(event)];
    parts.extend(number("image_format").map(Binary::U32));
    parts.extend(binary.get("metadata").cloned().map(Binary::JsonWithLength));
    let head = binary.get("image_head_hex").and_then(Value::as_str);
    if let Some(head) = head {
        parts.push(Binary::Picture(trimmed(head)?));
    }
    Ok(Step::SendBinary(parts))
}

/// A small picture in place of one whose head alone was kept.
fn trimmed(head: &str) -> Result<Picture, String> {
    let digits = head.as_bytes().chunks(2);
    let bytes = digits.map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes = bytes.collect::<Option<Vec<u8>>>();
    let picture = bytes.and_then(|bytes| picture::like(&bytes));
    let picture = picture.ok_or_else(|| format!("{head:?} is not the head of a known picture"))?;
    Ok(Picture::of(picture))
}
