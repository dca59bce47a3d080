//! The events of a stream do not depend on how it is cut into chunks.

use pinhole_sandbox::internals::{Event, EventStream};

/// Input: in the first byte the length of a chunk, then an event stream.
///
/// Chunks of this length, and chunks of growing lengths, yield the same events as the whole stream. No
/// event is empty, and all together are not longer than the stream.
pub fn events(bytes: &[u8]) {
    let Some((chunk_length, text)) = bytes.split_first() else {
        return;
    };
    let chunk_length = usize::from(*chunk_length).max(1);
    let expected = parse_events(std::iter::once(text));
    assert_eq!(parse_events(text.chunks(chunk_length)), expected);
    let mut rest = text;
    let growing_chunks = (1..).map_while(|length| {
        let (chunk, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    });
    assert_eq!(parse_events(growing_chunks), expected);
    assert!(expected.iter().all(|event| !event.data.is_empty()));
    let lengths = expected.iter().map(|event| event.data.len());
    assert!(lengths.sum::<usize>() <= text.len());
}

fn parse_events<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut stream = EventStream::default();
    let mut events = Vec::new();
    for chunk in chunks {
        stream.push(chunk);
        events.extend(std::iter::from_fn(|| stream.next_event()));
    }
    events.extend(stream.finish());
    events
}
