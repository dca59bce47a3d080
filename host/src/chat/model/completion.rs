//! The response of a language model's server, without the server's key.
//!
//! A secret may be split between two chunks. So the end of the body is delayed until no further byte can
//! complete a secret in it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use pinhole_egress::{Error, Redactor, Response};
use pinhole_ground::audit::{Actor, AuditLog, Event, RefusalKind};
use pinhole_ground::guard::Guard;

/// Length of the incomplete last line of a stream that is delayed, in bytes.
const MAX_LINE_BYTES: usize = 64 << 10;

/// A response: its head, and its body as a stream.
pub struct Completion {
    response: Response,
    redactor: Arc<Redactor>,
    audit: AuditLog,
    /// The id of the user who asked.
    user: String,
    /// The delayed end of the body, after as many returned bytes as a secret may reach back.
    buffer: Vec<u8>,
    /// The number of bytes in the buffer that were returned.
    returned_bytes: usize,
    is_stream: bool,
    is_done: bool,
    /// The audit log contains the secret.
    is_recorded: bool,
}

impl Completion {
    pub(super) fn new(
        response: Response,
        redactor: Arc<Redactor>,
        audit: AuditLog,
        user: &str,
    ) -> Self {
        let media_type = response.headers.get(CONTENT_TYPE);
        let is_stream =
            media_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        Self {
            response,
            redactor,
            audit,
            user: user.to_owned(),
            buffer: Vec::new(),
            returned_bytes: 0,
            is_stream,
            is_done: false,
            is_recorded: false,
        }
    }

    /// The server's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status
    }

    /// True if the server has failed and may charge for the request: it did not refuse it with a client
    /// error or as overloaded.
    #[must_use]
    pub fn failed_after_acceptance(&self) -> bool {
        let status = self.response.status;
        status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE
            || status == StatusCode::REQUEST_TIMEOUT
    }

    /// True if the body is a stream of events.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// The media type of the body: events, JSON, or plain text instead of any other type, so that no
    /// browser renders it as a document.
    #[must_use]
    pub fn content_type(&self) -> HeaderValue {
        let Some(original) = self.response.headers.get(CONTENT_TYPE) else {
            return HeaderValue::from_static("application/json");
        };
        let is_json = original.as_bytes().starts_with(b"application/json");
        if Guard::ChatContentType.applies(!self.is_stream && !is_json) {
            return HeaderValue::from_static("text/plain; charset=utf-8");
        }
        original.clone()
    }

    /// The headers that are text and contain no secret.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.response.headers.iter().filter(|(_, value)| {
            let has_secret = self.redactor.finds_secret(value.as_bytes());
            value.to_str().is_ok() && !Guard::SecretChat.applies(has_secret)
        })
    }

    /// The next part of the body. `None` at its end.
    ///
    /// If the server has a key, the parts of a stream are whole lines, unless a line is very long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.redactor.is_empty() {
            return self.response.chunk().await;
        }
        while !self.is_done {
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.is_done = true,
            }
            let chunk = self.take_redacted();
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// The rest of the body, at most this long.
    pub async fn bytes(&mut self, max_bytes: usize) -> Result<Bytes, Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > max_bytes {
                return Err(Error::TooLarge {
                    guard: Guard::AnswerBytes,
                    max_bytes,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }

    /// The bytes that no further byte can make part of a secret, without the secrets in them.
    fn take_redacted(&mut self) -> Bytes {
        let end = self.complete_bytes();
        let range = self.returned_bytes..end;
        let redacted = match self.redactor.redact_range(&self.buffer, range.clone()) {
            Cow::Owned(redacted) => Some(redacted),
            Cow::Borrowed(_) => None,
        };
        if redacted.is_some() {
            self.record_secret();
        }
        let chunk = match redacted {
            Some(redacted) if Guard::SecretChat.applies(true) => redacted.into(),
            _ => Bytes::copy_from_slice(self.buffer.get(range).unwrap_or_default()),
        };
        let dropped = end.saturating_sub(Redactor::REACH_BYTES);
        self.buffer.drain(..dropped);
        self.returned_bytes = end - dropped;
        chunk
    }

    /// The number of bytes in the buffer that can be returned.
    fn complete_bytes(&self) -> usize {
        let length = self.buffer.len();
        let (complete, max_delayed) = if self.is_done {
            (length, 0)
        } else if self.is_stream {
            let last_newline = self.buffer.iter().rposition(|byte| *byte == b'\n');
            (last_newline.map_or(0, |index| index + 1), MAX_LINE_BYTES)
        } else {
            (0, Redactor::REACH_BYTES)
        };
        complete
            .max(length.saturating_sub(max_delayed))
            .max(self.returned_bytes)
    }

    fn record_secret(&mut self) {
        if self.is_recorded {
            return;
        }
        self.is_recorded = true;
        self.audit.record(&Event {
            kind: RefusalKind::Secret,
            guard: Some(Guard::SecretChat),
            actor: Actor::User(&self.user),
            engine: "",
            job: "",
            message: "a language model's server returned its key, which was redacted",
        });
    }
}
