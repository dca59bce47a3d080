//! The events that a client has missed, for a client that comes from any host.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::timeout;

use super::Shared;
use super::entry::{self, Entry, StreamId};
use super::link::commands;
use super::subscriber::{StreamRange, add_range, stream_entries};

/// How long reading the missed events may take.
const MAX_TIME: Duration = Duration::from_secs(2);

/// The events after a position.
#[derive(Debug)]
pub struct Replay {
    pub entries: Vec<(StreamId, Entry)>,
    /// The newest states of messages, in no order.
    pub states: Vec<Entry>,
    /// False if events are missing.
    pub is_complete: bool,
    /// The position of the last entry.
    pub last: StreamId,
}

impl Shared {
    pub(super) async fn replay(&self, user_id: &str, after: StreamId) -> Option<Replay> {
        let read = async {
            if !self.link.is_up() || !self.outbox.flush().await {
                return None;
            }
            self.read_replay(user_id, after).await
        };
        timeout(MAX_TIME, read).await.ok().flatten()
    }

    async fn read_replay(&self, user_id: &str, after: StreamId) -> Option<Replay> {
        let mut read = commands();
        add_range(&mut read, &self.keys.events(user_id), after);
        read.cmd("HGETALL").arg(self.keys.newest(user_id));
        let mut results = self.link.query_all(&read).await.ok()?.into_iter();
        let range = StreamRange::new(after, stream_entries(results.next()?));
        let states: HashMap<Vec<u8>, Vec<u8>> = results
            .next()?
            .ok()
            .and_then(|it| redis::from_redis_value(it).ok())
            .unwrap_or_default();
        Some(Replay {
            states: states.values().filter_map(|it| entry::parse(it)).collect(),
            entries: range.entries,
            is_complete: range.is_complete,
            last: range.last,
        })
    }
}
