//! Reads a language model's response: a stream of chunks, or one completion.

use http::StatusCode;
use serde_json::Value;

use crate::chat::model::parse_json;

/// Length of a response's text in bytes.
pub(super) const MAX_CONTENT_BYTES: usize = 512 << 10;
/// Length of the input that is not parsed yet, in bytes: a line of a stream, or a completion.
const MAX_PENDING_BYTES: usize = 4 << 20;
/// Length of a response's `usage`, in bytes of JSON. A longer one is ignored.
const MAX_USAGE_BYTES: usize = 4 << 10;

/// The response so far.
#[derive(Debug, Default)]
pub(super) struct ResponseText {
    pub(super) content: String,
    /// The tokens that the model counts.
    pub(super) usage: Option<Value>,
    pub(super) is_stream: bool,
    /// Input that is not parsed yet.
    pending: Vec<u8>,
}

impl ResponseText {
    /// A response that continues this text.
    pub(super) fn after(text: &str) -> Self {
        let end = text.floor_char_boundary(MAX_CONTENT_BYTES);
        Self {
            content: text.get(..end).unwrap_or_default().to_owned(),
            ..Self::default()
        }
    }

    /// Reads a chunk. The error is for the user.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.pending.extend_from_slice(chunk);
        if self.is_stream {
            // An event of a chat completion is one line.
            let last_newline = self.pending.iter().rposition(|byte| *byte == b'\n');
            let rest = self
                .pending
                .split_off(last_newline.map_or(0, |index| index + 1));
            let lines = std::mem::replace(&mut self.pending, rest);
            for line in lines.split(|byte| *byte == b'\n') {
                self.parse_line(line)?;
            }
        }
        if self.pending.len() > MAX_PENDING_BYTES {
            return Err("the language model's response is too long".to_owned());
        }
        Ok(())
    }

    /// Reads the rest at the end of the response.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        let pending = std::mem::take(&mut self.pending);
        if self.is_stream {
            return self.parse_line(&pending);
        }
        self.parse_json(&pending, "/choices/0/message/content")
    }

    fn parse_line(&mut self, line: &[u8]) -> Result<(), String> {
        match line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) {
            None | Some(b"" | b"[DONE]") => Ok(()),
            Some(chunk) => self.parse_json(chunk, "/choices/0/delta/content"),
        }
    }

    fn parse_json(&mut self, bytes: &[u8], text_pointer: &str) -> Result<(), String> {
        let json: Value = parse_json(bytes)
            .map_err(|_| "the language model's response is not valid JSON".to_owned())?;
        if let Some(error) = json.get("error").filter(|error| !error.is_null()) {
            return Err(format!("the language model failed: {}", message_of(error)));
        }
        let text = json.pointer(text_pointer).and_then(Value::as_str);
        self.append(text.unwrap_or_default())?;
        if let Some(usage) = json.get("usage")
            && usage.is_object()
            && usage.to_string().len() <= MAX_USAGE_BYTES
        {
            self.usage = Some(usage.clone());
        }
        Ok(())
    }

    /// Appends a text. If the response becomes too long, appends the part that fits and fails.
    pub(super) fn append(&mut self, text: &str) -> Result<(), String> {
        let room = MAX_CONTENT_BYTES - self.content.len();
        let end = text.floor_char_boundary(room);
        self.content.extend(text.get(..end));
        if end < text.len() {
            return Err(format!(
                "the response is longer than {MAX_CONTENT_BYTES} bytes: request a shorter one"
            ));
        }
        Ok(())
    }
}

/// The message of a response without success.
pub(super) fn error_message(status: StatusCode, body: &[u8]) -> String {
    let json: Value = parse_json(body).unwrap_or_default();
    let why = message_of(json.get("error").unwrap_or(&json));
    format!("the language model responded with status {status}: {why}")
}

/// The message of an error in the format of OpenAI's API, or of simpler ones.
fn message_of(error: &Value) -> &str {
    let message = error.get("message").or_else(|| error.get("detail"));
    message
        .unwrap_or(error)
        .as_str()
        .unwrap_or("it gives no reason")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the result for chunks of several sizes.
    #[track_caller]
    fn check(body: &str, is_stream: bool, expected: Result<&str, &str>) {
        for size in [1, 2, 7, body.len().max(1)] {
            let mut response = ResponseText {
                is_stream,
                ..ResponseText::default()
            };
            let mut chunks = body.as_bytes().chunks(size);
            let result = chunks
                .try_for_each(|chunk| response.push(chunk))
                .and_then(|()| response.finish());
            let text = result
                .as_ref()
                .map(|()| response.content.as_str())
                .map_err(String::as_str);
            assert_eq!(text, expected, "{body:?} in chunks of {size}");
        }
    }

    #[test]
    fn response_text_joins_the_texts_of_chunks() {
        let chunk = |text: &str| {
            let json = serde_json::json!({"choices": [{"delta": {"content": text}}]});
            format!("data: {json}\n\n")
        };
        let (a, b) = (chunk("ä\n"), chunk("b"));
        check(&format!("{a}{b}data: [DONE]\n\n"), true, Ok("ä\nb"));
        check(&a.replace('\n', "\r\n"), true, Ok("ä\n"));
        check(
            &format!(": still there\n\n{a}{}", b.trim_end()),
            true,
            Ok("ä\nb"),
        );
        for without_text in [
            "data: {\"choices\": []}",
            "data: {\"choices\": [{\"delta\": {\"content\": null}}]}",
            "data: {\"choices\": [{\"delta\": {\"content\": [7]}}], \"usage\": 7}",
            "data: 7",
            "event: ping",
            "",
        ] {
            check(&format!("{a}{without_text}\n\n"), true, Ok("ä\n"));
        }
        let whole = r#"{"choices": [{"message": {"content": "a\nb"}}], "error": null}"#;
        check(whole, false, Ok("a\nb"));
        check("{}", false, Ok(""));
    }

    #[test]
    fn response_text_fails_on_invalid_responses() {
        let invalid = Err("the language model's response is not valid JSON");
        check("", false, invalid);
        check("<html>", false, invalid);
        check("data: {\n\n", true, invalid);
        let failed = Err("the language model failed: no room");
        for error in [r#""no room""#, r#"{"message": "no room", "code": 7}"#] {
            check(&format!("data: {{\"error\": {error}}}\n"), true, failed);
            check(&format!("{{\"error\": {error}}}"), false, failed);
        }
    }

    #[test]
    fn response_text_enforces_its_limits() {
        let mut response = ResponseText::default();
        response.append(&"x".repeat(MAX_CONTENT_BYTES - 1)).unwrap();
        assert!(response.append("ä").is_err());
        assert_eq!(response.content.len(), MAX_CONTENT_BYTES - 1);
        response.append("y").unwrap();
        for is_stream in [false, true] {
            let mut pending = ResponseText {
                is_stream,
                ..ResponseText::default()
            };
            pending.push(&vec![b'x'; MAX_PENDING_BYTES]).unwrap();
            assert!(pending.push(b"x").is_err());
        }
        let usage = |bytes| format!(r#"{{"usage": {{"x": "{}"}}}}"#, "x".repeat(bytes));
        for (bytes, expected) in [(10, true), (MAX_USAGE_BYTES, false)] {
            let mut whole = ResponseText::default();
            whole.push(usage(bytes).as_bytes()).unwrap();
            whole.finish().unwrap();
            assert_eq!(whole.usage.is_some(), expected);
        }
    }
}
