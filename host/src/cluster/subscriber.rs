//! Reads what other hosts publish.
//!
//! A subscription loses what is published while it is broken, so each begins with the streams: the position of a user
//! is the last entry that this host has delivered, and the entries after it are read before the next message. If the
//! entry at the position is gone, later ones may be gone too, and the user gets a gap.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{ErrorKind, Msg, Pipeline, RedisError, RedisResult, Value};
use tokio::time::Instant;

use super::commands::OnStop;
use super::entry::{self, Entry, StreamId};
use super::link::{LinkError, MAX_BACKOFF, MIN_BACKOFF, PING_INTERVAL, commands, within};
use super::{CONNECT_TIMEOUT, MAX_STREAM_ENTRIES, RESPONSE_TIMEOUT, Shared};

/// Channels in one command.
const MAX_CHANNELS: usize = 500;
/// Users whose streams are read in one step.
const MAX_STREAMS: usize = 16;
/// Entries that are read of a stream. Redis removes entries in groups, so it may have more than the limit.
const MAX_READ_ENTRIES: usize = 2 * MAX_STREAM_ENTRIES;

/// What happened to the events of a user.
#[derive(Debug)]
pub enum Incoming {
    /// Everything up to this position has been delivered.
    Position(StreamId),
    /// An entry of the stream.
    Entry { position: StreamId, entry: Entry },
    /// A state, which no stream has.
    State(Entry),
    /// Events were lost.
    Gap,
    /// Events of other hosts are not delivered from now on.
    Unfollowed,
}

/// Receives an event of a user.
pub type OnEvent = Box<dyn Fn(&str, Incoming) + Send + Sync>;

/// Receives what other hosts publish.
pub struct Inbox {
    /// Receives events of a user.
    pub on_event: OnEvent,
    /// Called when another host has changed the database.
    pub on_hint: Box<dyn Fn() + Send + Sync>,
}

pub(super) struct Subscriber {
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Inbox,
    pub(super) on_stop: OnStop,
    /// The last delivered position of each user.
    pub(super) positions: HashMap<String, StreamId>,
    /// The users whose channels the connection has.
    pub(super) subscribed: HashSet<String>,
}

impl Subscriber {
    /// Reads messages, and connects again whenever the connection is lost. Never returns.
    pub(super) async fn run(mut self) {
        let mut backoff = MIN_BACKOFF;
        loop {
            let began = Instant::now();
            let Err(error) = self.read().await;
            self.shared.link.report_lost(&error);
            self.shared.watches.set_lost();
            self.subscribed.clear();
            if began.elapsed() > MAX_BACKOFF {
                backoff = MIN_BACKOFF;
            }
            tokio::time::sleep(backoff).await;
            backoff = MAX_BACKOFF.min(backoff * 2);
        }
    }

    /// Reads messages until the connection is lost.
    async fn read(&mut self) -> RedisResult<std::convert::Infallible> {
        let connect = async {
            let client = self.shared.link.endpoint.client().await?;
            client.get_async_pubsub().await
        };
        let connection = within(CONNECT_TIMEOUT, connect).await?;
        let (mut sink, mut messages): (PubSubSink, PubSubStream) = connection.split();
        let keys = &self.shared.keys;
        let channels = [keys.changed(), keys.commands()];
        within(RESPONSE_TIMEOUT, sink.subscribe(&channels[..])).await?;
        // Hints may have been missed.
        (self.inbox.on_hint)();
        let known = self.positions.keys().cloned();
        self.shared.watches.change_all(known);
        self.follow_users(&mut sink).await?;
        let mut pings = tokio::time::interval(PING_INTERVAL);
        let watches = self.shared.watches.clone();
        loop {
            tokio::select! {
                biased;
                () = watches.changed.notified() => self.follow_users(&mut sink).await?,
                message = messages.next() => match message {
                    Some(message) => self.receive(&message),
                    None => {
                        let closed = (ErrorKind::Io, "the subscription was closed");
                        return Err(RedisError::from(closed));
                    }
                },
                _ = pings.tick() => within(RESPONSE_TIMEOUT, sink.ping::<()>()).await?,
            }
        }
    }

    fn receive(&mut self, message: &Msg) {
        let channel = message.get_channel_name();
        let payload = message.get_payload_bytes();
        let keys = &self.shared.keys;
        if let Some(user_id) = channel.strip_prefix(&keys.channels()) {
            let user_id = user_id.to_owned();
            self.receive_event(&user_id, payload);
        } else if channel == keys.commands() {
            self.shared.receive_command(payload, &self.on_stop);
        } else if channel == keys.changed() {
            (self.inbox.on_hint)();
        }
    }

    fn receive_event(&mut self, user_id: &str, payload: &[u8]) {
        if !self.subscribed.contains(user_id) {
            return;
        }
        match entry::parse_message(payload) {
            Some((Some(position), entry)) => self.deliver(user_id, position, entry),
            Some((None, state)) => (self.inbox.on_event)(user_id, Incoming::State(state)),
            None => {}
        }
    }

    /// Delivers an entry, unless it was delivered already.
    fn deliver(&mut self, user_id: &str, position: StreamId, entry: Entry) {
        let last = self.positions.entry(user_id.to_owned()).or_default();
        if position <= *last {
            return;
        }
        *last = position;
        (self.inbox.on_event)(user_id, Incoming::Entry { position, entry });
    }

    /// Subscribes to the users with listeners, and to no others.
    async fn follow_users(&mut self, sink: &mut PubSubSink) -> RedisResult<()> {
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for change in self.shared.watches.take_changes() {
            let (user_id, is_subscribed) = (change.user_id, &self.subscribed);
            match (change.has_listeners, is_subscribed.contains(&user_id)) {
                (true, false) => new.push(user_id),
                // The user left and came back.
                (true, true) => self.shared.watches.set_followed(&user_id),
                (false, _) => gone.push(user_id),
            }
        }
        for users in gone.chunks(MAX_CHANNELS) {
            for user_id in users {
                self.positions.remove(user_id);
                self.subscribed.remove(user_id);
                (self.inbox.on_event)(user_id, Incoming::Unfollowed);
            }
            let channels = self.channels(users);
            within(RESPONSE_TIMEOUT, sink.unsubscribe(&channels[..])).await?;
        }
        for users in new.chunks(MAX_CHANNELS) {
            let unknown = users.iter().filter(|it| !self.positions.contains_key(*it));
            let unknown: Vec<String> = unknown.cloned().collect();
            self.read_positions(&unknown).await?;
            let channels = self.channels(users);
            within(RESPONSE_TIMEOUT, sink.subscribe(&channels[..])).await?;
            self.subscribed.extend(users.iter().cloned());
            for streams in users.chunks(MAX_STREAMS) {
                self.read_streams(streams).await?;
            }
        }
        Ok(())
    }

    fn channels(&self, users: &[String]) -> Vec<String> {
        let keys = &self.shared.keys;
        users.iter().map(|it| keys.channel(it)).collect()
    }

    /// Starts at the ends of these streams.
    async fn read_positions(&mut self, users: &[String]) -> RedisResult<()> {
        if users.is_empty() {
            return Ok(());
        }
        let mut commands = commands();
        for user_id in users {
            let key = self.shared.keys.events(user_id);
            let command = commands.cmd("XREVRANGE").arg(key);
            command.arg("+").arg("-").arg("COUNT").arg(1);
        }
        for (user_id, result) in users.iter().zip(self.query(&commands).await?) {
            let entries = stream_entries(result);
            let last = entries.first().and_then(|(id, _)| parse_id(id));
            self.positions
                .insert(user_id.clone(), last.unwrap_or_default());
        }
        Ok(())
    }

    /// Delivers what these streams have after the positions.
    async fn read_streams(&mut self, users: &[String]) -> RedisResult<()> {
        let mut commands = commands();
        for user_id in users {
            let from = self.positions.get(user_id).copied().unwrap_or_default();
            add_range(&mut commands, &self.shared.keys.events(user_id), from);
        }
        for (user_id, result) in users.iter().zip(self.query(&commands).await?) {
            let from = self.positions.get(user_id).copied().unwrap_or_default();
            let read = StreamRange::new(from, stream_entries(result));
            if !read.is_complete {
                // Starts again with the remainder.
                self.positions.remove(user_id);
                (self.inbox.on_event)(user_id, Incoming::Gap);
            }
            for (position, entry) in read.entries {
                self.deliver(user_id, position, entry);
            }
            let position = self.positions.get(user_id).copied().unwrap_or_default();
            (self.inbox.on_event)(user_id, Incoming::Position(position));
            self.shared.watches.set_followed(user_id);
        }
        Ok(())
    }

    async fn query(&self, commands: &Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        let result = self.shared.link.query_all(commands).await;
        result.map_err(|error| match error {
            LinkError::Lost => RedisError::from((ErrorKind::Io, "the connection was lost")),
            LinkError::Refused(error) => error,
        })
    }
}

/// An entry as Redis returns it: its id, and names with values.
pub(super) type StreamEntry = (Vec<u8>, HashMap<Vec<u8>, Vec<u8>>);

/// The entries of a stream. A key of another type has none.
pub(super) fn stream_entries(result: RedisResult<Value>) -> Vec<StreamEntry> {
    let entries = result.ok().and_then(|it| redis::from_redis_value(it).ok());
    entries.unwrap_or_default()
}

fn parse_id(id: &[u8]) -> Option<StreamId> {
    std::str::from_utf8(id).ok()?.parse().ok()
}

/// Adds a command that reads a stream from this position on.
pub(super) fn add_range(commands: &mut Pipeline, key: &str, from: StreamId) {
    let command = commands.cmd("XRANGE").arg(key).arg(from.to_string());
    command.arg("+").arg("COUNT").arg(MAX_READ_ENTRIES);
}

/// The entries of a stream after a position.
pub(super) struct StreamRange {
    pub(super) entries: Vec<(StreamId, Entry)>,
    /// No entry is missing.
    pub(super) is_complete: bool,
    /// The position of the last entry.
    pub(super) last: StreamId,
}

impl StreamRange {
    /// Reads entries from this position on. The oldest entries are removed first, so none is missing after an entry
    /// that exists. From the start of a stream, none is missing while it is short.
    pub(super) fn new(from: StreamId, found: Vec<StreamEntry>) -> Self {
        let is_start = from == StreamId::default();
        let has_first = found.first().and_then(|(id, _)| parse_id(id)) == Some(from);
        let mut range = Self {
            is_complete: if is_start {
                found.len() < MAX_STREAM_ENTRIES
            } else {
                has_first
            },
            entries: Vec::new(),
            last: from,
        };
        for (id, fields) in found {
            let Some(position) = parse_id(&id).filter(|it| *it > from) else {
                continue;
            };
            range.last = position;
            let json = fields.get(&b"e"[..]);
            if let Some(entry) = json.and_then(|it| entry::parse(it)) {
                range.entries.push((position, entry));
            }
        }
        range
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(id: &str) -> StreamEntry {
        let json = entry::write("p", 1, None).into_bytes();
        (id.into(), HashMap::from([(b"e".to_vec(), json)]))
    }

    #[test]
    fn range_is_complete_if_the_entry_at_its_position_exists() {
        let from: StreamId = "5-0".parse().unwrap();
        let complete = StreamRange::new(from, vec![stored("5-0"), stored("6-0")]);
        assert!(complete.is_complete);
        assert_eq!(
            (complete.entries.len(), complete.last.to_string()),
            (1, "6-0".into())
        );
        assert!(!StreamRange::new(from, vec![stored("6-0")]).is_complete);
        assert!(!StreamRange::new(from, Vec::new()).is_complete);
        let start = StreamId::default();
        assert!(StreamRange::new(start, vec![stored("6-0")]).is_complete);
        let many = (1..=MAX_STREAM_ENTRIES).map(|it| stored(&format!("{it}-0")));
        assert!(!StreamRange::new(start, many.collect()).is_complete);
    }

    #[test]
    fn range_skips_foreign_entries() {
        let with = |id: &str, name: &str, value: &[u8]| {
            (id.into(), HashMap::from([(name.into(), value.to_vec())]))
        };
        let foreign = vec![
            with("x", "e", b"{}"),
            with("7-0", "other", b"{}"),
            with("8-0", "e", b"\xff"),
            stored("9-0"),
        ];
        let range = StreamRange::new(StreamId::default(), foreign);
        let positions: Vec<_> = range.entries.iter().map(|(it, _)| it.to_string()).collect();
        assert_eq!(positions, ["9-0"]);
    }
}
