//! Responses of upstreams, with limits on their length and pauses.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use pinhole_ground::guard::{Guard, Refusal};
use tokio::time::{Instant, timeout_at};

use crate::client::Received;
use crate::content_decoder::ContentDecoder;
use crate::error::{Error, root_cause};
use crate::headers::check_response;
use crate::http_client::ResponseBody;

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
    body: Body,
    decoder: Option<ContentDecoder>,
    received_bytes: usize,
    limits: Limits,
}

/// The limits of a response.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Length of the body in bytes.
    pub(crate) max_bytes: usize,
    pub(crate) deadline: Instant,
    /// The longest pause between two chunks.
    pub(crate) silence: Duration,
}

/// A body before it is decoded.
pub(crate) enum Body {
    /// Of an upstream.
    OfUpstream(ResponseBody),
    /// Of an image URL.
    OfUrl(reqwest::Response),
}

impl Body {
    /// The next chunk; `None` at the end. The error is the root cause.
    async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Self::OfUpstream(body) => body.chunk().await.map_err(|error| root_cause(&error)),
            Self::OfUrl(response) => response.chunk().await.map_err(|error| root_cause(&error)),
        }
    }

    /// Length in bytes, if the upstream declares it.
    fn length(&self) -> Option<usize> {
        let length = match self {
            Self::OfUpstream(body) => body.exact_length(),
            Self::OfUrl(response) => response.content_length(),
        };
        length.and_then(|length| usize::try_from(length).ok())
    }
}

impl Response {
    /// Fails on headers beyond their limits and on an unknown encoding.
    pub(crate) fn new(received: Received, mut limits: Limits) -> Result<Self, Refusal> {
        let Received {
            status,
            mut headers,
            body,
        } = received;
        check_response(&headers)?;
        let decoder = ContentDecoder::for_response(&headers)?;
        let length = if decoder.is_some() {
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
            None
        } else {
            body.length()
        };
        if is_event_stream(&headers) {
            limits.silence *= EVENT_PAUSE_FACTOR;
        }
        Ok(Self {
            status,
            length,
            headers,
            body,
            decoder,
            received_bytes: 0,
            limits,
        })
    }

    /// The next chunk of the body, decoded; `None` at its end. Fails if the body exceeds a limit, pauses
    /// for too long or passes the deadline.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let max_bytes = self.limits.max_bytes;
        loop {
            let raw = self.raw_chunk().await?;
            let is_end = raw.is_none();
            let chunk = match (&mut self.decoder, raw) {
                (None, raw) => raw.unwrap_or_default(),
                (Some(decoder), Some(raw)) => decoder.push(&raw, max_bytes)?,
                (Some(decoder), None) => decoder.finish(max_bytes)?,
            };
            self.received_bytes += chunk.len();
            if Guard::AnswerBytes.applies(self.received_bytes > max_bytes) {
                return Err(Error::body_too_large(max_bytes));
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
        let Limits {
            deadline, silence, ..
        } = self.limits;
        let silence_end = Instant::now() + silence;
        let is_silence_first = Guard::Silence.applies(silence_end < deadline);
        let until = if is_silence_first {
            silence_end
        } else {
            deadline
        };
        match timeout_at(until, self.body.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(cause)) => {
                let reason = format!("the response broke off: {cause}");
                Err(Error::Disconnected(reason))
            }
            Err(_) if is_silence_first => Err(Error::Unusable(Guard::Silence.refuse(format!(
                "the response paused for more than {} seconds",
                silence.as_secs()
            )))),
            Err(_) => Err(Error::Timeout),
        }
    }

    /// The rest of the body.
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        let (length, max_bytes) = (self.length.unwrap_or(0), self.limits.max_bytes);
        if Guard::AnswerBytes.applies(length > max_bytes) {
            return Err(Error::body_too_large(max_bytes));
        }
        let mut body = BytesMut::with_capacity(length.min(max_bytes));
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
