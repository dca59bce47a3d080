//! A language model's answer as it comes, without the key that its server was shown.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use pinhole_ground::audit::{AuditLog, Event, RefusalKind};
use pinhole_ground::guard::Guard;
use pinhole_egress::{Error, Redactor, Response};

/// Of a stream's line that does not end, so much is held back, in bytes.
const MAX_LINE_BYTES: usize = 64 << 10;

/// An answer: its head, and its body as it comes.
pub struct Completion {
    response: Response,
    redactor: Arc<Redactor>,
    audit: AuditLog,
    /// What has come, from as far back as a secret may reach.
    held: Vec<u8>,
    /// How much of that was given out.
    given: usize,
    streams: bool,
    ended: bool,
    noted: bool,
}

impl Completion {
    pub(super) fn new(response: Response, redactor: Arc<Redactor>, audit: AuditLog) -> Self {
        let kind = response.headers.get(CONTENT_TYPE);
        let streams = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        Self {
            response,
            redactor,
            audit,
            held: Vec::new(),
            given: 0,
            streams,
            ended: false,
            noted: false,
        }
    }

    /// Whatever the server says.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status
    }

    /// Does it come as a stream of events?
    #[must_use]
    pub fn streams(&self) -> bool {
        self.streams
    }

    /// The type of the body: a stream of events, JSON, or else plain text, whatever the server says,
    /// so that nobody takes it for a document.
    #[must_use]
    pub fn content_type(&self) -> HeaderValue {
        let told = self.response.headers.get(CONTENT_TYPE);
        let is_json = told.is_some_and(|told| told.as_bytes().starts_with(b"application/json"));
        match told {
            None => HeaderValue::from_static("application/json"),
            Some(told) if self.streams || is_json || !Guard::ChatContentType.holds() => {
                told.clone()
            }
            Some(_) => HeaderValue::from_static("text/plain; charset=utf-8"),
        }
    }

    /// The headers that can be read and hold no secret.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.response.headers.iter().filter(|(_, value)| {
            let is_secret = self.redactor.finds_secret(value.as_bytes()) && Guard::SecretChat.holds();
            value.to_str().is_ok() && !is_secret
        })
    }

    /// The next piece of the body; `None` at its end. Where the server has a key, of a stream whole
    /// lines, if they are not endless.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if self.redactor.is_empty() {
            return self.response.chunk().await;
        }
        while !self.ended {
            match self.response.chunk().await? {
                Some(chunk) => self.held.extend_from_slice(&chunk),
                None => self.ended = true,
            }
            let piece = self.give();
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// The rest of the body.
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.into())
    }

    /// What has come and can be given out: nothing that follows can make a secret of its end.
    fn give(&mut self) -> Bytes {
        let length = self.held.len();
        let (ready, back) = match (self.ended, self.streams) {
            (true, _) => (length, 0),
            (false, true) => {
                let line = self.held.iter().rposition(|byte| *byte == b'\n');
                (line.map_or(0, |end| end + 1), MAX_LINE_BYTES)
            }
            (false, false) => (0, Redactor::REACH_BYTES),
        };
        let ready = ready.max(length.saturating_sub(back)).max(self.given);
        let piece = match Guard::SecretChat.holds() {
            true => self.redactor.redact_range(&self.held, self.given..ready),
            false => self.held.get(self.given..ready).unwrap_or_default().into(),
        };
        if matches!(piece, std::borrow::Cow::Owned(_)) && !self.noted {
            let what = "a language model's server repeated its key, which was blotted out";
            self.audit.record(&Event {
                kind: RefusalKind::Secret,
                guard: Some(Guard::SecretChat),
                engine: "",
                job: "",
                message: what,
            });
            self.noted = true;
        }
        let piece = Bytes::from(piece.into_owned());
        let over = ready.saturating_sub(Redactor::REACH_BYTES);
        self.held.drain(..over);
        self.given = ready - over;
        piece
    }
}
