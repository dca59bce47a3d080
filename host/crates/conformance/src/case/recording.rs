//! Replies and WebSocket frames from recordings of real servers.

use serde_json::Value;

use crate::case::{BinaryPart, CaseImage, RecordedFrames, RecordedReply, Reply, SocketStep};
use crate::case_files::{CaseFiles, JsonSelection};
use crate::test_image;

/// Headers that belong to one connection or one point in time.
const DROPPED_HEADERS: [&str; 9] = [
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

/// Completes a reply with a recorded one. Keys of the reply override the recording.
pub(crate) fn apply(
    recorded: &RecordedReply,
    reply: &mut Reply,
    files: &CaseFiles,
) -> Result<(), String> {
    let response = files.read_json(&JsonSelection {
        file: &recorded.file,
        pointer: &recorded.pointer,
        with: &recorded.with,
        replace: &recorded.replace,
    })?;
    let status = response
        .get("status")
        .and_then(Value::as_u64)
        .and_then(|status| u16::try_from(status).ok())
        .ok_or("the recording has no response with a status at this pointer")?;
    reply.status.get_or_insert(status);
    let headers = response.get("headers").and_then(Value::as_object);
    for (recorded_name, value) in headers.into_iter().flatten() {
        let name = recorded_name.to_ascii_lowercase();
        if let Some(value) = value.as_str()
            && !DROPPED_HEADERS.contains(&name.as_str())
        {
            reply
                .headers
                .entry(name)
                .or_insert_with(|| value.to_owned());
        }
    }
    let has_body = reply.json.is_some()
        || reply.text.is_some()
        || reply.image.is_some()
        || reply.events.is_some();
    if has_body {
        // The content type of the recorded body does not apply.
        reply.headers.remove("content-type");
        return Ok(());
    }
    apply_body(&response, reply)
}

fn apply_body(response: &Value, reply: &mut Reply) -> Result<(), String> {
    if let Some(json) = response.get("json") {
        reply.json = Some(json.clone());
    } else if let Some(text) = response.get("body_text") {
        let text = text.as_str().ok_or("body_text is not a string")?;
        reply.text = Some(text.to_owned());
    } else if let Some(body) = response.get("body") {
        match (body, body.get("head_hex").and_then(Value::as_str)) {
            (Value::String(text), _) => reply.text = Some(text.clone()),
            (_, Some("")) => {}
            (_, Some(head)) => reply.image = Some(replacement_image(head)?),
            (json, None) => reply.json = Some(json.clone()),
        }
    }
    Ok(())
}

/// The server's frames among a recording's entries, as steps.
pub(crate) fn read_frames(
    frames: &RecordedFrames,
    files: &CaseFiles,
) -> Result<Vec<SocketStep>, String> {
    let recording = files.read_json(&JsonSelection {
        file: &frames.file,
        pointer: &frames.pointer,
        with: &frames.with,
        replace: &frames.replace,
    })?;
    let entries = recording
        .as_array()
        .ok_or("the recording has no list at this pointer")?;
    let to = frames.to.unwrap_or(entries.len());
    let selected = entries.get(frames.from..to).ok_or_else(|| {
        format!(
            "from {} to {to} is not within the {} entries of the recording",
            frames.from,
            entries.len()
        )
    })?;
    selected
        .iter()
        .filter(|entry| entry.get("dir").and_then(Value::as_str) == Some("recv"))
        .map(parse_frame)
        .collect()
}

fn parse_frame(entry: &Value) -> Result<SocketStep, String> {
    let Some(binary) = entry.get("binary") else {
        return match entry.get("text") {
            Some(Value::String(text)) => Ok(SocketStep::SendText(text.clone())),
            Some(json) => Ok(SocketStep::Send(json.clone())),
            None => Err("a frame has neither text nor binary".to_owned()),
        };
    };
    let number = |key: &str| {
        let number = binary.get(key).and_then(Value::as_u64);
        number.and_then(|number| u32::try_from(number).ok())
    };
    let event_type = number("event_type").ok_or("a binary frame has no event_type")?;
    let mut parts = vec![BinaryPart::U32(event_type)];
    parts.extend(number("image_format").map(BinaryPart::U32));
    parts.extend(
        binary
            .get("metadata")
            .cloned()
            .map(BinaryPart::JsonWithLength),
    );
    if let Some(head) = binary.get("image_head_hex").and_then(Value::as_str) {
        parts.push(BinaryPart::Image(replacement_image(head)?));
    }
    Ok(SocketStep::SendBinary(parts))
}

/// A small image in place of a recorded one, of which the recording has only the first bytes.
fn replacement_image(head_hex: &str) -> Result<CaseImage, String> {
    decode_hex(head_hex)
        .and_then(|head| test_image::encode_in_format_of(&head))
        .map(CaseImage::from_bytes)
        .ok_or_else(|| format!("{head_hex:?} is not the head of an image of a known format"))
}

fn decode_hex(digits: &str) -> Option<Vec<u8>> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::case::Script;
    use crate::case::tests::{case_with_exchanges, read_case};

    #[test]
    fn recording_completes_reply() {
        let recordings = json!([{"response": {
            "status": 404,
            "headers": {"Content-Type": "text/odd", "Content-Length": "5", "Retry-After": "3"},
            "json": {"list": ["old"]},
        }}, {"response": {"status": 200, "headers": {}, "body": {"bytes": 9, "head_hex": "ffd8ffe0"}}}]);
        let reply = |at: &str, own: Value| {
            let mut reply = json!({"recorded": {"file": "recordings/all.json", "at": at,
                "with": own["with"], "replace": {"old": "{x}"}}});
            if own["with"].is_null() {
                reply["recorded"].as_object_mut().unwrap().remove("with");
            }
            for (key, value) in own["own"].as_object().into_iter().flatten() {
                reply[key] = value.clone();
            }
            let exchange = json!({"request": {"line": "GET /x"}, "reply": reply});
            let mut case =
                read_case(&case_with_exchanges(&json!([exchange])), &recordings).unwrap();
            let Script::Exchanges(exchanges) = &mut case.script else {
                panic!("the case has no exchanges")
            };
            exchanges.remove(0).reply.unwrap()
        };
        let filled = reply("/0/response", json!({"with": {"/json/list/1": 2}}));
        assert_eq!(
            (filled.status, filled.json),
            (Some(404), Some(json!({"list": ["{x}", 2]})))
        );
        let headers: Vec<_> = filled.headers.into_iter().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [pair("content-type", "text/odd"), pair("retry-after", "3")];
        assert_eq!(headers, expected);

        let own = reply("/0/response", json!({"own": {"status": 500, "text": "x"}}));
        assert_eq!(
            (own.status, own.json, own.text.as_deref()),
            (Some(500), None, Some("x"))
        );
        assert!(!own.headers.contains_key("content-type"));

        let image = reply("/1/response", json!({})).image.unwrap();
        assert_eq!(image.bytes, test_image::encode("jpeg 8x8").unwrap());
    }

    #[test]
    fn recorded_frames_become_steps() {
        let recordings = json!({"ws": [
            {"dir": "open", "path": "/ws"},
            {"dir": "recv", "text": {"id": "old"}},
            {"dir": "send", "text": {}},
            {"dir": "recv", "binary": {"event_type": 1, "image_format": 2, "image_head_hex": "89504e470d0a1a0a"}},
            {"dir": "recv", "binary": {"event_type": 4, "metadata": {"id": "old"}, "image_head_hex": "ffd8ffe0"}},
            {"dir": "recv", "text": "late"},
        ]});
        let frames = json!({"file": "recordings/all.json", "at": "/ws", "from": 1, "to": 5,
            "replace": {"old": "new"}});
        let exchange = json!({"request": {"line": "GET /x"}, "socket": [{"recorded": frames}]});
        let case = read_case(&case_with_exchanges(&json!([exchange])), &recordings).unwrap();
        let steps = case.exchanges()[0].socket.as_ref().unwrap();
        let [
            SocketStep::Send(text),
            SocketStep::SendBinary(png),
            SocketStep::SendBinary(jpeg),
        ] = steps.as_slice()
        else {
            panic!("{} steps", steps.len())
        };
        assert_eq!(*text, json!({"id": "new"}));
        let [
            BinaryPart::U32(1),
            BinaryPart::U32(2),
            BinaryPart::Image(image),
        ] = png.as_slice()
        else {
            panic!("a frame of event 1 is two numbers and an image")
        };
        assert_eq!(image.bytes, test_image::encode("png 8x8").unwrap());
        let [
            BinaryPart::U32(4),
            BinaryPart::JsonWithLength(json),
            BinaryPart::Image(_),
        ] = jpeg.as_slice()
        else {
            panic!("a frame of event 4 is a number, JSON and an image")
        };
        assert_eq!(*json, json!({"id": "new"}));
    }
}
