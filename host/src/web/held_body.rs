//! A response's body that holds something until its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// A body with a value that is dropped when the body is sent or its client is gone.
struct HeldBody<T> {
    body: Body,
    _value: T,
}

/// Holds a value until the response is sent or its client is gone.
pub(super) fn hold<T: Send + Unpin + 'static>(response: Response, value: T) -> Response {
    response.map(|body| {
        Body::new(HeldBody {
            body,
            _value: value,
        })
    })
}

impl<T: Unpin> HttpBody for HeldBody<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
