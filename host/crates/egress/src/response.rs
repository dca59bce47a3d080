//! Responses of upstreams, with limits on their length and pauses.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use pinhole_ground::guard::{Guard, Refusal};
use tokio::time::{Instant, timeout_at};

use crate::content_decoder::ContentDecoder;
use crate::error::{Error, root_cause};
use crate::headers::check_response;

/// A stream of events may pause this many times as long as another response: its upstream is working.
const EVENT_PAUSE_FACTOR: u32 = 5;

/// The head of a response. Its body is read in chunks.
pub struct Response {
    /// Redirects are not followed, so this can be their status.
    pub status: StatusCode,
    /// Without encoding and length if the body is decoded.
    pub headers: HeaderMap,
    /// Length of the body in bytes, if the upstream declares it.
    pub length: Option<usize>,
    body: reqwest::Response,
    decoder: Option<ContentDecoder>,
    max_bytes: usize,
    received_bytes: usize,
    silence: Duration,
    deadline: Instant,
}

impl Response {
    /// Fails on headers beyond their limits and on an unknown encoding.
    pub(crate) fn new(
        body: reqwest::Response,
        max_bytes: usize,
        deadline: Instant,
        silence: Duration,
    ) -> Result<Self, Refusal> {
        let mut headers = body.headers().clone();
        check_response(&headers)?;
        let decoder = ContentDecoder::for_response(&headers)?;
        let declared = if decoder.is_some() {
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
            None
        } else {
            body.content_length()
        };
        let pause_factor = if is_event_stream(&headers) {
            EVENT_PAUSE_FACTOR
        } else {
            1
        };
        Ok(Self {
            status: body.status(),
            length: declared.and_then(|length| usize::try_from(length).ok()),
            headers,
            body,
            decoder,
            max_bytes,
            received_bytes: 0,
            silence: silence * pause_factor,
            deadline,
        })
    }

    /// The next chunk of the body, decoded; `None` at its end. Fails if the body exceeds a limit, pauses
    /// for too long or passes the deadline.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let raw = self.raw_chunk().await?;
            let is_end = raw.is_none();
            let chunk = match (&mut self.decoder, raw) {
                (None, raw) => raw.unwrap_or_default(),
                (Some(decoder), Some(raw)) => decoder.push(&raw, self.max_bytes)?,
                (Some(decoder), None) => decoder.finish(self.max_bytes)?,
            };
            self.received_bytes += chunk.len();
            if Guard::AnswerBytes.applies(self.received_bytes > self.max_bytes) {
                return Err(Error::body_too_large(self.max_bytes));
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
            if is_end {
                return Ok(None);
            }
        }
    }

    /// The next chunk before decoding.
    async fn raw_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let silence_end = Instant::now() + self.silence;
        let is_silence_first = Guard::Silence.applies(silence_end < self.deadline);
        let until = if is_silence_first {
            silence_end
        } else {
            self.deadline
        };
        match timeout_at(until, self.body.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(Error::Disconnected(format!(
                "the response broke off: {}",
                root_cause(&error)
            ))),
            Err(_) if is_silence_first => Err(Error::Unusable(Guard::Silence.refuse(format!(
                "the response paused for more than {} seconds",
                self.silence.as_secs()
            )))),
            Err(_) => Err(Error::Timeout),
        }
    }

    /// The rest of the body.
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        let length = self.length.unwrap_or(0);
        if Guard::AnswerBytes.applies(length > self.max_bytes) {
            return Err(Error::body_too_large(self.max_bytes));
        }
        let mut body = BytesMut::with_capacity(length.min(self.max_bytes));
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Response({})", self.status)
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}
