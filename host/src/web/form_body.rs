//! Bodies of multipart forms.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use futures_util::Stream;

/// A request whose body is pending after each chunk.
///
/// The parser of forms reads ahead until its body is pending, however little its caller asks for. Without
/// this, a client that is fast enough makes it buffer the whole body, which no limit of a field counts.
pub(super) fn read_slowly(request: Request) -> Request {
    request.map(|body| {
        Body::from_stream(SlowChunks {
            chunks: body.into_data_stream(),
            is_paused: false,
        })
    })
}

struct SlowChunks {
    chunks: BodyDataStream,
    is_paused: bool,
}

impl Stream for SlowChunks {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_paused {
            self.is_paused = false;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = Pin::new(&mut self.chunks).poll_next(context);
        self.is_paused = chunk.is_ready();
        chunk
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    #[tokio::test]
    async fn slow_chunks_pause_after_each_chunk() {
        let parts = ["a", "b"].map(|part| Ok::<_, axum::Error>(Bytes::from(part)));
        let request = Request::new(Body::from_stream(stream::iter(parts)));
        let mut chunks = read_slowly(request).into_body().into_data_stream();
        assert_eq!(chunks.next().await.unwrap().unwrap(), "a");
        assert!(chunks.next().now_or_never().is_none());
        assert_eq!(chunks.next().await.unwrap().unwrap(), "b");
        assert!(chunks.next().await.is_none());
    }
}
