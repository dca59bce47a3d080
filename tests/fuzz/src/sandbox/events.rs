//! Events do not depend on how a stream is cut into chunks.

use bytes::Bytes;

use crate::engine::sse::EventStream;

/// In the first byte the length of a chunk, then an event stream.
///
/// In chunks of this length, and of all lengths in turn, it gives the events that it gives whole; no
/// event is empty, and all together are no longer than the stream.
pub fn events(bytes: &[u8]) {
    let Some((size, text)) = bytes.split_first() else {
        return;
    };
    let size = usize::from(*size).max(1);
    let whole = split(std::iter::once(text));
    assert_eq!(split(text.chunks(size)), whole);
    let mut rest = text;
    let growing = (1..).map_while(|size| {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    });
    assert_eq!(split(growing), whole);
    assert!(whole.iter().all(|event| !event.is_empty()));
    assert!(whole.iter().map(Bytes::len).sum::<usize>() <= text.len());
}

fn split<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Bytes> {
    let mut stream = EventStream::default();
    let mut events = Vec::new();
    for chunk in chunks {
        stream.push(chunk);
        events.extend(std::iter::from_fn(|| stream.next()));
    }
    events.extend(stream.finish());
    events
}
