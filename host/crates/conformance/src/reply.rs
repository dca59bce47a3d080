//! What a scripted upstream answers.

use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::sync::mpsc;

use super::case::{Break, Event, Reply};
use super::progress::Play;
use super::socket;
use super::upstream::Broken;

/// Length of a request's body, in bytes: more than the host lets any engine send.
pub(crate) const MAX_REQUEST_BYTES: usize = 256 << 20;

/// Where the pieces of a body go.
type Pieces = mpsc::Sender<Result<Bytes, Broken>>;

/// Answers the request that belongs to this exchange, as the case says.
pub(crate) async fn give(
    play: Arc<Play>,
    place: usize,
    head: &Parts,
    upgrade: OnUpgrade,
) -> Result<Response<Body>, Broken> {
    let exchange = play.exchange(place).ok_or(Broken)?;
    if exchange.socket.is_some() {
        return Ok(socket::accept(&play, place, head, upgrade));
    }
    let reply = exchange.reply.as_ref().ok_or(Broken)?;
    if let Some(after) = &reply.after
        && !play.wait(after, &format!("/upstream/{place}/reply")).await
    {
        return Err(Broken);
    }
    if reply.hangs {
        let _hanging = play.hang(place);
        play.over.cancelled().await;
        return Err(Broken);
    }
    play.replies(place);
    if let Some(Break::BeforeHead) = reply.breaks {
        play.replied(place);
        return Err(Broken);
    }
    let response = respond(&play, place, reply);
    Ok(response.unwrap_or_else(|why| {
        play.fail(format!("/upstream/{place}/reply: cannot be sent: {why}"));
        unexpected()
    }))
}

/// The answer to a request that no exchange expects.
pub(crate) fn unexpected() -> Response<Body> {
    let mut response = Response::new(Body::from("the case expects no such request"));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn respond(play: &Arc<Play>, place: usize, reply: &Reply) -> Result<Response<Body>, String> {
    let status = reply.status.unwrap_or(200);
    let status = StatusCode::from_u16(status).map_err(|error| error.to_string())?;
    let (whole, usual) = content(play, reply);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let media_type = reply.media_type.as_deref().or(usual);
    if let Some(media_type) = media_type {
        headers.insert(CONTENT_TYPE, header(media_type)?);
    }
    for (name, value) in &reply.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
        if name != CONTENT_TYPE || reply.media_type.is_none() {
            headers.insert(name, header(&play.fill_text(value))?);
        }
    }
    let streamed = reply.events.is_some() || reply.pieces.is_some() || reply.breaks.is_some();
    if !streamed {
        *response.body_mut() = Body::from(whole);
        play.replied(place);
        return Ok(response);
    }
    if reply.breaks.is_some() && reply.events.is_none() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
    }
    let (pieces, received) = mpsc::channel(1);
    *response.body_mut() = body(received);
    play.tasks.spawn(write(play.clone(), place, whole, pieces));
    Ok(response)
}

/// The bytes of a body that does not come in events, and its usual media type.
fn content(play: &Play, reply: &Reply) -> (Bytes, Option<&'static str>) {
    if reply.events.is_some() {
        return (Bytes::new(), Some("text/event-stream"));
    }
    if let Some(json) = &reply.json {
        let filled = play.fill(json).to_string();
        return (filled.into(), Some("application/json"));
    }
    if let Some(text) = &reply.text {
        return (
            play.fill_text(text).into(),
            Some("text/plain; charset=utf-8"),
        );
    }
    let Some(picture) = &reply.picture else {
        return (Bytes::new(), None);
    };
    let format = image::guess_format(&picture.bytes).ok();
    let media_type = format.map(|format| format.to_mime_type());
    (picture.bytes.clone(), media_type)
}

fn header(value: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(value).map_err(|error| format!("{value:?}: {error}"))
}

/// A body of the pieces that are sent here.
fn body(mut pieces: mpsc::Receiver<Result<Bytes, Broken>>) -> Body {
    let mut broken = false;
    Body::from_stream(stream::poll_fn(move |context| {
        if broken {
            return Poll::Ready(Some(Err(Broken)));
        }
        let piece = pieces.poll_recv(context);
        if let Poll::Ready(Some(Err(_))) = piece {
            // While nothing is ready the server sends what it has; only then the connection breaks.
            broken = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        piece
    }))
}

/// Writes a body piece by piece, until it is over or breaks.
async fn write(play: Arc<Play>, place: usize, whole: Bytes, pieces: Pieces) {
    let Some(reply) = play
        .exchange(place)
        .and_then(|exchange| exchange.reply.as_ref())
    else {
        return;
    };
    let mut writer = Writer {
        pieces,
        length: reply.pieces.unwrap_or(usize::MAX),
        left: match reply.breaks {
            Some(Break::AfterBytes(bytes)) => Some(bytes),
            _ => None,
        },
    };
    let writing = async {
        if reply.events.is_none() {
            writer.write(whole).await?;
        }
        let ends = reply.line_end.as_deref().unwrap_or("\n");
        for (number, event) in reply.events.iter().flatten().enumerate() {
            if let Some(wait) = &event.wait {
                let here = format!("/upstream/{place}/reply/events/{number}");
                play.wait(wait, &here).await.then_some(())?;
            }
            writer.write(text(&play, event, ends).into()).await?;
        }
        if writer.left.is_some() {
            writer.pieces.send(Err(Broken)).await.ok()?;
        }
        Some(())
    };
    tokio::select! {
        _ = writing => {}
        () = play.over.cancelled() => {}
    }
    play.replied(place);
}

struct Writer {
    pieces: Pieces,
    /// Of a piece, in bytes.
    length: usize,
    /// Bytes until the connection breaks.
    left: Option<usize>,
}

impl Writer {
    /// `None` when nobody reads any more, or the connection broke.
    async fn write(&mut self, mut bytes: Bytes) -> Option<()> {
        while !bytes.is_empty() {
            let most = self.length.min(self.left.unwrap_or(usize::MAX));
            let piece = bytes.split_to(bytes.len().min(most));
            if let Some(left) = &mut self.left {
                *left -= piece.len();
            }
            if !piece.is_empty() {
                self.pieces.send(Ok(piece)).await.ok()?;
            }
            if self.left == Some(0) {
                self.pieces.send(Err(Broken)).await.ok()?;
                return None;
            }
        }
        Some(())
    }
}

/// An event as it is sent.
fn text(play: &Play, event: &Event, ends: &str) -> String {
    if let Some(json) = &event.json {
        let json = play.fill(json);
        let name = event.event.as_ref();
        let name = name.map_or_else(String::new, |name| format!("event: {name}{ends}"));
        return format!("{name}data: {json}{ends}{ends}");
    }
    let text = event.text.as_deref().unwrap_or_default();
    play.fill_text(text)
}
