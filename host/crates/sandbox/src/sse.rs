//! Events of a `text/event-stream` body.

use bytes::{Buf, Bytes, BytesMut};

/// Splits an event stream into the data of its events.
///
/// Supports CRLF, data of several lines, data without a space after the colon, and comments.
#[derive(Debug, Default)]
pub struct EventStream {
    /// Bytes after the last complete line.
    rest: BytesMut,
    /// Length of the beginning of `rest` that contains no line end.
    searched: usize,
    data: BytesMut,
}

impl EventStream {
    /// Length of the incomplete event in bytes.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.rest.len() + self.data.len()
    }

    /// Appends bytes of the stream.
    pub fn push(&mut self, chunk: &[u8]) {
        self.rest.extend_from_slice(chunk);
    }

    /// The data of the next complete event; `None` until more bytes are pushed.
    pub fn next_event(&mut self) -> Option<Bytes> {
        while let Some(line) = self.next_line() {
            if line.is_empty() {
                if self.data.is_empty() {
                    continue;
                }
                return Some(self.data.split().freeze());
            }
            if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.extend_from_slice(b"\n");
                }
                self.data
                    .extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
        }
        None
    }

    /// The last event, if the stream ended without the empty line that closes it.
    pub fn finish(&mut self) -> Option<Bytes> {
        self.push(b"\n\n");
        self.next_event()
    }

    fn next_line(&mut self) -> Option<Bytes> {
        let unsearched = self.rest.get(self.searched..)?;
        let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.rest.len();
            return None;
        };
        let mut line = self.rest.split_to(self.searched + end).freeze();
        self.rest.advance(1);
        self.searched = 0;
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        for size in [1, 2, 3, 1000] {
            let mut stream = EventStream::default();
            let mut events = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                stream.push(chunk);
                events.extend(std::iter::from_fn(|| stream.next_event()));
            }
            events.extend(stream.finish());
            assert_eq!(events, expected, "chunks of {size} bytes");
            assert_eq!(stream.pending_bytes(), 0);
        }
    }

    #[test]
    fn event_stream_finds_events_in_chunks_of_any_size() {
        check("data: a\n\ndata:b\n\n", &["a", "b"]);
        check("event: x\r\ndata: é\r\ndata: 2\r\n\r\n", &["é\n2"]);
        check(": comment\n\n\nid: 1\n\ndata: a", &["a"]);
        check("", &[]);
    }
}
