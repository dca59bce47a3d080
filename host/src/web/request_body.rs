//! The bodies of requests: a client that sends one too slowly is refused with status 408.
//!
//! Without a minimum rate, a client that stops a few bytes before the end holds the memory of the body, and
//! whatever its handler has reserved. The middleware wraps the body of every request. When the body is too
//! slow, reading it fails, so the handler ends at once and releases everything, and the response becomes 408.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONNECTION, HeaderValue};
use hyper::body::{Body as _, Frame, SizeHint};
use pinhole_ground::guard::Guard;

use super::error::{ApiError, ErrorFormat};
use super::pace::Pace;
use crate::app::App;

/// A body that fails if it is too slow.
struct PacedBody {
    body: Body,
    pace: Pace,
    is_too_slow: Arc<AtomicBool>,
}

/// Middleware that limits how slowly a body may arrive.
pub(super) async fn limit_pace(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let format = ErrorFormat::of(&parts.uri);
    let is_too_slow = Arc::new(AtomicBool::new(false));
    let limits = &app.clients.limits;
    let paced = PacedBody {
        body,
        pace: Pace::new(limits.body_rate, limits.body_time),
        is_too_slow: is_too_slow.clone(),
    };
    let response = next.run(Request::from_parts(parts, Body::new(paced))).await;
    if is_too_slow.load(Ordering::Relaxed) {
        return too_slow(format);
    }
    response
}

fn too_slow(format: ErrorFormat) -> Response {
    let detail = "the body of the request arrives too slowly: send it over a faster connection";
    let error = ApiError::new(StatusCode::REQUEST_TIMEOUT, detail);
    let mut response = error.in_format(format).into_response();
    // The rest of the body is not read.
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

impl hyper::body::Body for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            let data = match &frame {
                Some(Ok(frame)) => frame.data_ref(),
                _ => None,
            };
            this.pace.advance(data.map_or(0, Bytes::len));
            return Poll::Ready(frame);
        }
        if Guard::BodyRate.applies(this.pace.poll_too_slow(context).is_ready()) {
            this.is_too_slow.store(true, Ordering::Relaxed);
            let error = axum::Error::new("the body arrives too slowly");
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
