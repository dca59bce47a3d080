//! The traffic of jobs, a line for each request and response.

use std::collections::HashMap;

use pinhole_ground::text::plain;
use pinhole_sandbox::{RecordedBytes, StepContent, TrafficStep};
use serde_json::Value;
use tokio::time::Instant;

/// Length of a string in JSON, and of another text, that is printed as a whole. In characters.
const MAX_STRING_CHARS: usize = 100;
const MAX_TEXT_CHARS: usize = 2000;
/// Length of a path in a line, in bytes.
const MAX_PATH_BYTES: usize = 300;

/// Makes the lines.
pub(super) struct TrafficLines {
    with_bodies: bool,
    exchanges: HashMap<u64, OpenExchange>,
}

/// An exchange that has not ended.
struct OpenExchange {
    /// Such as `POST /v1/images`.
    request: String,
    start: Instant,
    status: Option<u16>,
    received_bytes: usize,
    messages: usize,
    is_web_socket: bool,
    has_failed: bool,
}

impl TrafficLines {
    pub(super) fn new(with_bodies: bool) -> Self {
        Self {
            with_bodies,
            exchanges: HashMap::new(),
        }
    }

    /// The line of this step, with the body in further lines, if it has one.
    pub(super) fn line(&mut self, step: TrafficStep) -> Option<String> {
        let TrafficStep {
            exchange,
            at,
            content,
            ..
        } = step;
        if let StepContent::Request(request) = content {
            let path = match request.upstream {
                Some(_) => request.path,
                None => format!("{}{}", request.base_url, request.path),
            };
            let open = OpenExchange {
                request: format!("{} {}", request.method, plain(&path, MAX_PATH_BYTES)),
                start: at,
                status: None,
                received_bytes: 0,
                messages: 0,
                is_web_socket: request.is_web_socket,
                has_failed: false,
            };
            let line = match (request.is_web_socket, request.body.length()) {
                (true, _) => format!("> {} (WebSocket)", open.request),
                (false, 0) => format!("> {}", open.request),
                (false, bytes) => format!("> {}  {bytes} bytes", open.request),
            };
            self.exchanges.insert(exchange, open);
            return Some(self.with_body(line, &request.body));
        }
        if matches!(content, StepContent::End) {
            let open = self.exchanges.remove(&exchange)?;
            return open.has_more_to_say().then(|| open.end(at));
        }
        let open = self.exchanges.get_mut(&exchange)?;
        match content {
            StepContent::Head { status, .. } => {
                open.status = Some(status);
                open.is_web_socket.then(|| open.end(at))
            }
            StepContent::Body(body) => {
                open.received_bytes += body.length();
                let line = open.end(at);
                open.status = None;
                Some(self.with_body(line, &body))
            }
            StepContent::Failed(reason) => {
                open.has_failed = true;
                Some(format!("< {}: {reason}", open.request))
            }
            StepContent::Event { name, data } => {
                open.received_bytes += data.length();
                open.messages += 1;
                let name = name.unwrap_or_else(|| "event".to_owned());
                self.body_line(&format!("< {name}"), &data)
            }
            StepContent::Sent(message) => self.body_line("> message", &message),
            StepContent::ReceivedText(message) | StepContent::ReceivedBinary(message) => {
                open.received_bytes += message.length();
                open.messages += 1;
                self.body_line("< message", &message)
            }
            StepContent::Request(_) | StepContent::Report(_) | StepContent::End => None,
        }
    }

    /// The line, and the body below it.
    fn with_body(&self, line: String, body: &RecordedBytes) -> String {
        if !self.with_bodies || body.length() == 0 {
            return line;
        }
        format!("{line}\n    {}", shown(body))
    }

    /// A line of a message, if bodies are printed.
    fn body_line(&self, start: &str, message: &RecordedBytes) -> Option<String> {
        let length = message.length();
        self.with_bodies
            .then(|| format!("{start}  {length} bytes\n    {}", shown(message)))
    }
}

impl OpenExchange {
    /// True if its end is not printed yet: it is a stream of events, a WebSocket, or was dropped.
    const fn has_more_to_say(&self) -> bool {
        !self.has_failed && (self.status.is_some() || self.messages > 0)
    }

    fn end(&self, at: Instant) -> String {
        let (request, bytes) = (&self.request, self.received_bytes);
        let milliseconds = at.duration_since(self.start).as_millis();
        match (self.is_web_socket, self.messages, self.status) {
            (true, 0, _) => format!("< {request} (WebSocket)  open  {milliseconds} ms"),
            (true, messages, _) => format!(
                "< {request} (WebSocket)  {messages} messages  {bytes} bytes  {milliseconds} ms"
            ),
            (false, _, status) => {
                let status = status.unwrap_or_default();
                format!("< {request}  {status}  {bytes} bytes  {milliseconds} ms")
            }
        }
    }
}

/// A body for a person.
fn shown(body: &RecordedBytes) -> String {
    let Some(bytes) = body.bytes() else {
        return "(too long to be shown)".to_owned();
    };
    if let Ok(mut json) = serde_json::from_slice::<Value>(bytes) {
        shorten_strings(&mut json);
        return plain(&json.to_string(), MAX_TEXT_CHARS * 4);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => plain(&shortened(text, MAX_TEXT_CHARS), MAX_TEXT_CHARS * 4),
        Err(_) => format!("({} bytes that are no text)", bytes.len()),
    }
}

fn shorten_strings(value: &mut Value) {
    match value {
        Value::String(text) => *text = shortened(text, MAX_STRING_CHARS),
        Value::Array(items) => items.iter_mut().for_each(shorten_strings),
        Value::Object(fields) => fields.values_mut().for_each(shorten_strings),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text, or its start and its length.
fn shortened(text: &str, max_chars: usize) -> String {
    let total = text.chars().count();
    if total <= max_chars {
        return text.to_owned();
    }
    let start: String = text.chars().take(max_chars / 2).collect();
    format!("{start}… ({total} characters)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_strings_are_shortened() {
        let mut json = serde_json::json!({"a": ["é".repeat(101), "b".repeat(100)]});
        shorten_strings(&mut json);
        let expected = format!("{}… (101 characters)", "é".repeat(50));
        assert_eq!(json, serde_json::json!({"a": [expected, "b".repeat(100)]}));
    }
}
