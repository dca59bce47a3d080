//! Events of a `text/event-stream` body.

use bytes::{Buf, Bytes, BytesMut};

/// Length of the name of an event in bytes. A longer one is cut.
const MAX_EVENT_NAME_BYTES: usize = 200;
/// The UTF-8 byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event: the text of its `data` lines, and its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// The value of the `event` line, unless it is empty.
    pub name: Option<String>,
    /// Never empty.
    pub data: Bytes,
}

/// Splits an event stream into events. Source: the HTML standard, "Interpreting an event stream".
///
/// Lines end with LF, CR or CRLF. `id`, `retry` and comments are ignored, and so is an event without data.
#[derive(Debug, Default)]
pub struct EventStream {
    /// Bytes after the last complete line.
    rest: BytesMut,
    /// Length of the beginning of `rest` that contains no line end.
    searched: usize,
    /// The last line ended with a CR: an LF that follows belongs to it.
    follows_carriage_return: bool,
    has_first_line: bool,
    name: Option<String>,
    /// The data, if it is one line. An image is, and is not copied.
    data_line: Bytes,
    /// The data of several lines.
    data_lines: BytesMut,
}

impl EventStream {
    /// Length of the incomplete event in bytes.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.rest.len() + self.data_line.len() + self.data_lines.len()
    }

    /// Appends bytes of the stream.
    pub fn push(&mut self, chunk: &[u8]) {
        self.rest.extend_from_slice(chunk);
    }

    /// The next complete event; `None` until more bytes are pushed.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(line) = self.next_line() {
            if !line.is_empty() {
                self.read_line(&line);
                continue;
            }
            let name = self.name.take().filter(|name| !name.is_empty());
            let mut data = std::mem::take(&mut self.data_line);
            if data.is_empty() {
                data = self.data_lines.split().freeze();
            }
            if !data.is_empty() {
                return Some(Event { name, data });
            }
        }
        None
    }

    /// The last event, if the stream ended without the empty line that closes it.
    pub fn finish(&mut self) -> Option<Event> {
        self.push(b"\n\n");
        self.next_event()
    }

    /// Does a body that is not declared as an event stream start like one?
    #[must_use]
    pub fn is_start_of_stream(body: &[u8]) -> bool {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let starts: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b": "];
        let body = body.trim_ascii_start();
        starts.iter().any(|start| body.starts_with(start))
    }

    fn extend_data(&mut self, line: Bytes) {
        if self.data_lines.is_empty() {
            if self.data_line.is_empty() {
                self.data_line = line;
                return;
            }
            let first = std::mem::take(&mut self.data_line);
            self.data_lines.extend_from_slice(&first);
        }
        self.data_lines.extend_from_slice(b"\n");
        self.data_lines.extend_from_slice(&line);
    }

    fn read_line(&mut self, line: &Bytes) {
        let value = |name: &[u8]| {
            let value = line.strip_prefix(name)?.strip_prefix(b":")?;
            Some(value.strip_prefix(b" ").unwrap_or(value))
        };
        if let Some(data) = value(b"data") {
            self.extend_data(line.slice_ref(data));
        } else if let Some(name) = value(b"event") {
            let name = name.get(..MAX_EVENT_NAME_BYTES).unwrap_or(name);
            self.name = Some(String::from_utf8_lossy(name).trim().to_owned());
        }
    }

    fn next_line(&mut self) -> Option<Bytes> {
        if self.follows_carriage_return && !self.rest.is_empty() {
            self.follows_carriage_return = false;
            if self.rest.starts_with(b"\n") {
                self.rest.advance(1);
            }
        }
        let unsearched = self.rest.get(self.searched..)?;
        let Some(end) = memchr::memchr2(b'\n', b'\r', unsearched) else {
            self.searched = self.rest.len();
            return None;
        };
        let mut line = self.rest.split_to(self.searched + end).freeze();
        self.follows_carriage_return = self.rest.starts_with(b"\r");
        self.rest.advance(1);
        self.searched = 0;
        if !self.has_first_line && line.starts_with(BYTE_ORDER_MARK) {
            line.advance(BYTE_ORDER_MARK.len());
        }
        self.has_first_line = true;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(Option<&str>, &str)]) {
        for size in [1, 2, 3, 1000] {
            let mut stream = EventStream::default();
            let mut events = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                stream.push(chunk);
                events.extend(std::iter::from_fn(|| stream.next_event()));
            }
            events.extend(stream.finish());
            let received: Vec<_> = events
                .iter()
                .map(|event| {
                    (
                        event.name.as_deref(),
                        std::str::from_utf8(&event.data).unwrap(),
                    )
                })
                .collect();
            assert_eq!(received, expected, "chunks of {size} bytes");
            assert_eq!(stream.pending_bytes(), 0);
        }
    }

    #[test]
    fn event_stream_finds_events_in_chunks_of_any_size() {
        check("data: a\n\ndata:b\n\n", &[(None, "a"), (None, "b")]);
        check("data: é\r\ndata: 2\r\n\r\n", &[(None, "é\n2")]);
        check("data: 1\r\rdata: 2\r\r", &[(None, "1"), (None, "2")]);
        check(": comment\n\n\nid: 1\nretry: 5\n\ndata: a", &[(None, "a")]);
        check("\u{feff}data: a\n\n", &[(None, "a")]);
        check("\u{feff}: comment\n\ndata: a\n\n", &[(None, "a")]);
        check("", &[]);
    }

    #[test]
    fn event_stream_is_recognized_by_its_start() {
        assert!(EventStream::is_start_of_stream(b"\xef\xbb\xbf\nevent: x\n"));
        assert!(!EventStream::is_start_of_stream(b"{\"data\": 1}"));
    }

    #[test]
    fn event_stream_names_each_event() {
        check(
            "event: x\r\nid: 7\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n",
            &[(Some("x"), "1"), (None, "2")],
        );
        check("data: 1\nevent:y\n\n", &[(Some("y"), "1")]);
        check("event: empty\n\ndata: 1\n\n", &[(None, "1")]);
        check(
            "event:\ndata: 1\n\nevent: z\ndata: 2",
            &[(None, "1"), (Some("z"), "2")],
        );
        let long = "é".repeat(MAX_EVENT_NAME_BYTES);
        let mut stream = EventStream::default();
        stream.push(format!("event: {long}\ndata: 1\n\n").as_bytes());
        let name = stream.next_event().unwrap().name.unwrap();
        assert_eq!(name, long[..MAX_EVENT_NAME_BYTES]);
    }
}
