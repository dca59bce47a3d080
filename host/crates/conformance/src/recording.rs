//! Replies and WebSocket frames out of recordings of real servers.

use serde_json::Value;

use super::case::{Binary, Frames, Picture, Recorded, Reply, Step};
use super::test_image;
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
    let picture = bytes.and_then(|bytes| test_image::like(&bytes));
    let picture = picture.ok_or_else(|| format!("{head:?} is not the head of a known picture"))?;
    Ok(Picture::of(picture))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::case::Script;
    use super::super::case::tests::{read, with_exchanges};
    use super::*;

    #[test]
    fn a_recording_fills_in_a_reply() {
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
            let mut case = read(&with_exchanges(&json!([exchange])), &recordings).unwrap();
            let Script::Exchanges(exchanges) = &mut case.upstream else {
                panic!("exchanges became none")
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

        let picture = reply("/1/response", json!({})).picture.unwrap();
        assert_eq!(picture.bytes, test_image::make("jpeg 8x8").unwrap());
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
        let case = read(&with_exchanges(&json!([exchange])), &recordings).unwrap();
        let steps = case.exchanges()[0].socket.as_ref().unwrap();
        let [
            Step::Send(text),
            Step::SendBinary(png),
            Step::SendBinary(jpeg),
        ] = steps.as_slice()
        else {
            panic!("{} steps", steps.len())
        };
        assert_eq!(*text, json!({"id": "new"}));
        let [Binary::U32(1), Binary::U32(2), Binary::Picture(picture)] = png.as_slice() else {
            panic!("a frame of event 1 is two numbers and a picture")
        };
        assert_eq!(picture.bytes, test_image::make("png 8x8").unwrap());
        let [
            Binary::U32(4),
            Binary::JsonWithLength(json),
            Binary::Picture(_),
        ] = jpeg.as_slice()
        else {
            panic!("a frame of event 4 is a number, JSON and a picture")
        };
        assert_eq!(*json, json!({"id": "new"}));
    }
}
