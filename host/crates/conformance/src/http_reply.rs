//! The HTTP response of an exchange.

use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use tokio::sync::mpsc;

use crate::case::{ConnectionBreak, Event, Reply};
use crate::case_run::CaseRun;
use crate::loopback::{FakeResponse, RecordedRequest};
use crate::socket_script;

type PieceSender = mpsc::Sender<Result<Bytes, ConnectionBroken>>;

/// The script breaks the connection within the body.
#[derive(Debug, thiserror::Error)]
#[error("the case breaks the connection")]
struct ConnectionBroken;

/// The response to a request of this exchange, as its script says.
pub(crate) async fn respond(
    run: Arc<CaseRun>,
    index: usize,
    request: &RecordedRequest,
) -> FakeResponse {
    let Some(exchange) = run.exchange(index) else {
        return FakeResponse::unexpected_request();
    };
    let Some(reply) = &exchange.reply else {
        return socket_script::accept(&run, index, request);
    };
    if let Some(after) = &reply.after
        && !run
            .wait_for(after, &format!("/upstream/{index}/reply"))
            .await
    {
        return FakeResponse::disconnect();
    }
    if reply.hangs {
        let _open = run.hold_request(index);
        run.job_ended.cancelled().await;
        return FakeResponse::disconnect();
    }
    run.record_reply_start(index);
    if let Some(ConnectionBreak::BeforeHead) = reply.connection_break {
        run.record_reply_end(index);
        return FakeResponse::disconnect();
    }
    build_response(&run, index, reply).map_or_else(
        |error| {
            run.add_failure(format!("/upstream/{index}/reply: cannot be sent: {error}"));
            FakeResponse::unexpected_request()
        },
        FakeResponse::from,
    )
}

fn build_response(
    run: &Arc<CaseRun>,
    index: usize,
    reply: &Reply,
) -> Result<Response<Body>, String> {
    let status =
        StatusCode::from_u16(reply.status.unwrap_or(200)).map_err(|error| error.to_string())?;
    let (content, default_type) = build_content(run, reply);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(media_type) = reply.media_type.as_deref().or(default_type) {
        headers.insert(CONTENT_TYPE, parse_header(media_type)?);
    }
    for (reply_name, value) in &reply.headers {
        let name = HeaderName::try_from(reply_name.as_str()).map_err(|error| error.to_string())?;
        if name != CONTENT_TYPE || reply.media_type.is_none() {
            headers.insert(name, parse_header(&run.fill_text(value))?);
        }
    }
    let is_streamed =
        reply.events.is_some() || reply.piece_bytes.is_some() || reply.connection_break.is_some();
    if !is_streamed {
        *response.body_mut() = Body::from(content);
        run.record_reply_end(index);
        return Ok(response);
    }
    if reply.connection_break.is_some() && reply.events.is_none() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
    }
    let (sender, receiver) = mpsc::channel(1);
    *response.body_mut() = stream_body(receiver);
    run.tasks
        .spawn(write_body(run.clone(), index, content, sender));
    Ok(response)
}

/// The bytes of a body without events, and its default media type.
fn build_content(run: &CaseRun, reply: &Reply) -> (Bytes, Option<&'static str>) {
    if reply.events.is_some() {
        return (Bytes::new(), Some("text/event-stream"));
    }
    if let Some(json) = &reply.json {
        let filled = run.fill(json).to_string();
        return (filled.into(), Some("application/json"));
    }
    if let Some(text) = &reply.text {
        let filled = run.fill_text(text);
        return (filled.into(), Some("text/plain; charset=utf-8"));
    }
    let Some(image) = &reply.image else {
        return (Bytes::new(), None);
    };
    let format = image::guess_format(&image.bytes).ok();
    let media_type = format.map(|format| format.to_mime_type());
    (image.bytes.clone(), media_type)
}

fn parse_header(value: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(value).map_err(|error| format!("{value:?}: {error}"))
}

/// A body of the pieces from this channel.
fn stream_body(mut pieces: mpsc::Receiver<Result<Bytes, ConnectionBroken>>) -> Body {
    let mut is_broken = false;
    Body::from_stream(stream::poll_fn(move |context| {
        if is_broken {
            return Poll::Ready(Some(Err(ConnectionBroken)));
        }
        let piece = pieces.poll_recv(context);
        if let Poll::Ready(Some(Err(_))) = piece {
            // The server flushes its buffer while the body is pending, and breaks the connection after that.
            is_broken = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        piece
    }))
}

/// Writes a body in pieces until it ends or breaks.
async fn write_body(run: Arc<CaseRun>, index: usize, content: Bytes, sender: PieceSender) {
    let Some(reply) = run
        .exchange(index)
        .and_then(|exchange| exchange.reply.as_ref())
    else {
        return;
    };
    let writer = BodyWriter {
        sender,
        piece_bytes: reply.piece_bytes.unwrap_or(usize::MAX),
        bytes_to_break: match reply.connection_break {
            Some(ConnectionBreak::AfterBytes(bytes)) => Some(bytes),
            _ => None,
        },
    };
    tokio::select! {
        _ = writer.write_reply(&run, index, reply, content) => {}
        () = run.job_ended.cancelled() => {}
    }
    run.record_reply_end(index);
}

struct BodyWriter {
    sender: PieceSender,
    piece_bytes: usize,
    /// Remaining bytes until the connection breaks.
    bytes_to_break: Option<usize>,
}

impl BodyWriter {
    /// `None` if the client disconnected or the connection broke.
    async fn write_reply(
        mut self,
        run: &CaseRun,
        index: usize,
        reply: &Reply,
        content: Bytes,
    ) -> Option<()> {
        if reply.events.is_none() {
            self.write(content).await?;
        }
        let line_ending = reply.line_ending.as_deref().unwrap_or("\n");
        for (number, event) in reply.events.iter().flatten().enumerate() {
            if let Some(moment) = &event.wait {
                let waiter = format!("/upstream/{index}/reply/events/{number}");
                if !run.wait_for(moment, &waiter).await {
                    return None;
                }
            }
            self.write(event.encode(run, line_ending).into()).await?;
        }
        if self.bytes_to_break.is_some() {
            self.sender.send(Err(ConnectionBroken)).await.ok()?;
        }
        Some(())
    }

    /// `None` if the client disconnected or the connection broke.
    async fn write(&mut self, mut bytes: Bytes) -> Option<()> {
        while !bytes.is_empty() {
            let max_bytes = self
                .piece_bytes
                .min(self.bytes_to_break.unwrap_or(usize::MAX));
            let piece = bytes.split_to(bytes.len().min(max_bytes));
            if let Some(remaining) = &mut self.bytes_to_break {
                *remaining -= piece.len();
            }
            if !piece.is_empty() {
                self.sender.send(Ok(piece)).await.ok()?;
            }
            if self.bytes_to_break == Some(0) {
                self.sender.send(Err(ConnectionBroken)).await.ok()?;
                return None;
            }
        }
        Some(())
    }
}

impl Event {
    fn encode(&self, run: &CaseRun, line_ending: &str) -> String {
        let Some(json) = &self.json else {
            return run.fill_text(self.text.as_deref().unwrap_or_default());
        };
        let data = run.fill(json);
        let name_line = match &self.name {
            Some(name) => format!("event: {name}{line_ending}"),
            None => String::new(),
        };
        format!("{name_line}data: {data}{line_ending}{line_ending}")
    }
}
