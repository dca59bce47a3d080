//! Events of a `text/event-stream` body.

use bytes::{Buf, Bytes, BytesMut};

/// Splits a stream into the data of its events.
///
/// Knows CRLF, data over several lines, data without a space after the colon, and comments.
#[derive(Debug, Default)]
pub(crate) struct EventStream {
    /// Not yet a whole line.
    rest: BytesMut,
    /// Up to here `rest` has no line end.
    searched: usize,
    data: BytesMut,
}

impl EventStream {
    /// Length of what has come and is no whole event yet, in bytes.
    pub(crate) fn pending(&self) -> usize {
        self.rest.len() + self.data.len()
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.rest.extend_from_slice(chunk);
    }

    /// The data of the next whole event; `None` until more is pushed.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        while let Some(line) = self.line() {
            match line.as_ref() {
                b"" if self.data.is_empty() => {}
                b"" => return Some(self.data.split().freeze()),
                line => {
                    if let Some(data) = line.strip_prefix(b"data:") {
                        if !self.data.is_empty() {
                            self.data.extend_from_slice(b"\n");
                        }
                        self.data
                            .extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
                    }
                }
            }
        }
        None
    }

    /// What is left when the stream has ended: an event that was not closed by an empty line.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        self.push(b"\n\n");
        self.next()
    }

    fn line(&mut self) -> Option<Bytes> {
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
                events.extend(std::iter::from_fn(|| stream.next()));
            }
            events.extend(stream.finish());
            assert_eq!(events, expected, "in pieces of {size}");
            assert_eq!(stream.pending(), 0);
        }
    }

    #[test]
    fn events_are_found_however_they_are_cut() {
        check("data: a\n\ndata:b\n\n", &["a", "b"]);
        check("event: x\r\ndata: é\r\ndata: 2\r\n\r\n", &["é\n2"]);
        check(": comment\n\n\nid: 1\n\ndata: a", &["a"]);
        check("", &[]);
    }
}
