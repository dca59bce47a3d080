//! Events of users: what happens while turns and jobs run.
//!
//! Each user has a backlog of recent events. A listener reads it at its own pace, and continues where it
//! was when it reconnects. If events were lost meanwhile, it receives a gap event first. Several hosts can
//! share their events (`sharing`).

mod backlog;
mod event_id;
mod listener;
mod sharing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::cluster::{Cluster, OutgoingEvent, RedisConfig, StreamId};
use backlog::{Backlogs, StoredEvent};
use event_id::EventId;

pub use listener::Listener;

/// Listeners of one user.
pub const MAX_LISTENERS: usize = 1_000;
/// Listeners of all users.
pub const MAX_ALL_LISTENERS: usize = 10_000;

/// The progress of a job. Replaces the previous event of this kind, but a preview remains until the next
/// preview. Any later event of the message replaces both. Open WebUI's clients ignore this kind.
pub const PROGRESS: &str = "pinhole:progress";
/// The language model's text so far. Replaces the previous event of this kind of its message.
pub const COMPLETION: &str = "chat:completion";
/// A job has changed its state. Open WebUI's clients ignore this kind.
pub const JOB: &str = "pinhole:job";
/// An engine has changed. For administrators. Open WebUI's clients ignore this kind.
pub const ENGINE: &str = "pinhole:engine";
/// Events were lost. The client must reload what it shows.
pub const GAP: &str = "pinhole:gap";

/// An event to emit.
#[derive(Clone, Debug)]
pub struct Event {
    pub target: EventTarget,
    /// Such as `status` or `files`.
    pub kind: &'static str,
    pub data: Value,
}

/// The message that an event belongs to, and the user whose clients receive it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTarget {
    pub user_id: String,
    pub chat_id: Option<String>,
    pub message_id: String,
}

/// An event that a listener receives.
#[derive(Clone, Debug)]
pub struct ReceivedEvent {
    /// Unique within this process, and ascending. In a replayed event, that of the client's id.
    pub number: u64,
    /// The stream that several hosts share, as far as the client has it after this event.
    position: Option<StreamId>,
    /// The process of the client's id, if the event is replayed.
    replayed_of: Option<Arc<str>>,
    pub chat_id: Option<String>,
    /// Such as `status` or `files`.
    pub kind: &'static str,
    /// In the format of Open WebUI's clients. All listeners share it.
    pub json: Arc<RawValue>,
}

/// Why a listener was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    #[error("too many open event streams (limit {MAX_LISTENERS}): close one and retry")]
    UserLimit,
    #[error("the server has too many open event streams: try again later")]
    ServerLimit,
}

/// Delivers events to the clients of their users. Clones share the backlogs.
#[derive(Clone, Debug)]
pub struct Events {
    backlogs: Arc<Mutex<Backlogs>>,
    listener_permits: Arc<Semaphore>,
    /// Distinguishes event ids of this process from those of another.
    process_id: Arc<str>,
    /// The hosts that share events with this one.
    cluster: Option<Cluster>,
}

/// Emits the events of one message.
#[derive(Clone, Debug)]
pub struct MessageEvents {
    events: Events,
    pub target: EventTarget,
}

impl Events {
    #[must_use]
    pub fn new() -> Self {
        Self {
            backlogs: Arc::default(),
            listener_permits: Arc::new(Semaphore::new(MAX_ALL_LISTENERS)),
            process_id: uuid::Uuid::new_v4().simple().to_string().into(),
            cluster: None,
        }
    }

    /// Events that are shared with other hosts as soon as the cluster is started.
    #[must_use]
    pub fn shared(redis: &RedisConfig) -> Self {
        let events = Self::new();
        Self {
            cluster: Some(Cluster::new(redis, events.process_id.clone())),
            ..events
        }
    }

    /// The hosts that share events with this one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Delivers an event to all listeners of its user, and adds it to the backlog.
    pub fn emit(&self, event: Event) {
        let json = to_json(Some(&event.target), event.kind, &event.data);
        let shared = self.cluster.as_ref();
        let outgoing = shared.map(|it| (it, OutgoingEvent::new(&event, json.clone())));
        let EventTarget {
            user_id,
            chat_id,
            message_id,
        } = event.target;
        let mut backlogs = self.lock();
        let number = backlogs.push(&user_id, |number, position| StoredEvent {
            bytes: json.get().len(),
            has_preview: event.data.get("preview").is_some(),
            message_id,
            position: None,
            origin: None,
            event: ReceivedEvent {
                number,
                position,
                replayed_of: None,
                chat_id,
                kind: event.kind,
                json,
            },
        });
        // Under the lock, so that other hosts get the events in order.
        if let Some((cluster, unnumbered)) = outgoing {
            cluster.publish(OutgoingEvent {
                number,
                ..unnumbered
            });
        }
    }

    /// Emits events of this message.
    #[must_use]
    pub fn for_message(&self, target: EventTarget) -> MessageEvents {
        MessageEvents {
            events: self.clone(),
            target,
        }
    }

    /// The number of listeners of all users.
    #[must_use]
    pub fn listeners(&self) -> usize {
        MAX_ALL_LISTENERS - self.listener_permits.available_permits()
    }

    /// The id of an event, with which a client that reconnects receives the next ones.
    #[must_use]
    pub fn id(&self, event: &ReceivedEvent) -> String {
        let process = event.replayed_of.as_ref().unwrap_or(&self.process_id);
        let id = EventId {
            process: process.to_string(),
            number: event.number,
            position: event.position,
        };
        id.to_string()
    }

    fn lock(&self) -> MutexGuard<'_, Backlogs> {
        self.backlogs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl MessageEvents {
    pub fn emit(&self, kind: &'static str, data: Value) {
        self.events.emit(Event {
            target: self.target.clone(),
            kind,
            data,
        });
    }
}

/// An event in the format of Open WebUI's clients, without `data` if it is null.
///
/// Source: Open WebUI `socket/main.py`, the payload of `events`.
fn to_json(target: Option<&EventTarget>, kind: &str, data: &Value) -> Arc<RawValue> {
    let event = match data {
        Value::Null => json!({"type": kind}),
        data => json!({"type": kind, "data": data}),
    };
    let json = json!({
        "chat_id": target.and_then(|target| target.chat_id.as_deref()),
        "message_id": target.map(|target| &target.message_id),
        "data": event,
    });
    // Cannot fail: strings and numbers only.
    to_raw_value(&json).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::event::backlog::{MAX_ALL_BYTES, MAX_BACKLOGS, MAX_BYTES, MAX_EVENTS};

    fn event(user_id: &str, kind: &'static str, data: Value) -> Event {
        Event {
            target: EventTarget {
                user_id: user_id.to_owned(),
                chat_id: None,
                message_id: "m".to_owned(),
            },
            kind,
            data,
        }
    }

    fn emit(events: &Events, user_id: &str, data: impl Into<Value>) {
        events.emit(event(user_id, "status", data.into()));
    }

    fn data(event: &ReceivedEvent) -> Value {
        let json: Value = serde_json::from_str(event.json.get()).unwrap();
        json["data"]["data"].clone()
    }

    /// The kind and data of all available events.
    fn receive(listener: &mut Listener) -> Vec<(&'static str, Value)> {
        std::iter::from_fn(|| listener.next().now_or_never())
            .map(|event| (event.kind, data(&event)))
            .collect()
    }

    fn statuses(data: impl IntoIterator<Item = usize>) -> Vec<(&'static str, Value)> {
        data.into_iter().map(|it| ("status", it.into())).collect()
    }

    fn gap() -> (&'static str, Value) {
        (GAP, json!({}))
    }

    #[test]
    fn listener_receives_later_events_of_its_user() {
        let events = Events::new();
        emit(&events, "u", 1);
        let mut listener = events.listen("u", None).unwrap();
        emit(&events, "other", 2);
        emit(&events, "u", 3);
        assert_eq!(receive(&mut listener), statuses([3]));
        assert_eq!(receive(&mut listener), []);
        emit(&events, "u", 4);
        assert_eq!(receive(&mut listener), statuses([4]));
    }

    #[test]
    fn listener_continues_after_an_event_id() {
        let events = Events::new();
        let mut listener = events.listen("u", None).unwrap();
        emit(&events, "u", 1);
        let id = events.id(&listener.next().now_or_never().unwrap());
        drop(listener);
        emit(&events, "u", 2);
        emit(&events, "other", 3);
        emit(&events, "u", 4);
        let mut reconnected = events.listen("u", Some(&id)).unwrap();
        assert_eq!(receive(&mut reconnected), statuses([2, 4]));
    }

    #[test]
    fn listener_with_unknown_event_id_receives_a_gap_first() {
        let events = Events::new();
        emit(&events, "u", 1);
        let other_process = Events::new();
        emit(&other_process, "u", 1);
        let mut other_listener = other_process.listen("u", Some("")).unwrap();
        other_listener.next().now_or_never().unwrap();
        let foreign = other_process.id(&other_listener.next().now_or_never().unwrap());
        let future = format!("{}-99", events.process_id);
        for id in ["", "7", "x-1", &foreign, &future] {
            let mut listener = events.listen("u", Some(id)).unwrap();
            let mut expected = vec![gap()];
            expected.extend(statuses([1]));
            assert_eq!(receive(&mut listener), expected, "{id}");
        }
    }

    #[test]
    fn slow_listener_loses_the_oldest_and_receives_one_gap() {
        let events = Events::new();
        let mut listener = events.listen("u", None).unwrap();
        for number in 0..MAX_EVENTS + 3 {
            emit(&events, "u", number);
        }
        let mut expected = vec![gap()];
        expected.extend(statuses(3..MAX_EVENTS + 3));
        assert_eq!(receive(&mut listener), expected);
    }

    #[test]
    fn backlogs_limit_bytes_of_one_user_and_of_all() {
        let events = Events::new();
        let long = "x".repeat(MAX_BYTES / 4);
        for _ in 0..9 {
            emit(&events, "u", long.as_str());
        }
        assert_eq!(events.lock().get("u").unwrap().len(), 3);
        for user in 0..MAX_ALL_BYTES / MAX_BYTES * 2 {
            for _ in 0..3 {
                emit(&events, &user.to_string(), long.as_str());
            }
        }
        let backlogs = events.lock();
        assert!(backlogs.bytes() <= MAX_ALL_BYTES);
        assert_eq!(backlogs.bytes(), backlogs.sum_of_bytes());
        assert_eq!(backlogs.get("u").unwrap().len(), 0, "the oldest");
        let newest = (MAX_ALL_BYTES / MAX_BYTES * 2 - 1).to_string();
        assert_eq!(backlogs.get(&newest).unwrap().len(), 3);
    }

    #[test]
    fn backlogs_drop_the_oldest_user_without_listeners() {
        let events = Events::new();
        let mut listening = events.listen("listening", None).unwrap();
        for user in 0..MAX_BACKLOGS {
            emit(&events, &user.to_string(), 0);
        }
        assert_eq!(events.lock().len(), MAX_BACKLOGS);
        assert!(events.lock().get("0").is_none());
        emit(&events, "listening", 1);
        assert_eq!(receive(&mut listening), statuses([1]));
    }

    #[test]
    fn backlog_replaces_progress_with_newer_events_of_its_message() {
        let events = Events::new();
        emit(&events, "u", 0);
        let mut listener = events.listen("u", None).unwrap();
        let preview = |number: usize| json!({"preview": number});
        for number in 0..MAX_EVENTS {
            events.emit(event("u", PROGRESS, preview(number)));
            events.emit(event("u", PROGRESS, number.into()));
        }
        let newest = [
            (PROGRESS, preview(MAX_EVENTS - 1)),
            (PROGRESS, (MAX_EVENTS - 1).into()),
        ];
        assert_eq!(receive(&mut listener), newest);
        let mut other = event("u", PROGRESS, "of another message".into());
        other.target.message_id = "other".to_owned();
        events.emit(other);
        emit(&events, "u", 1);
        let mut late = events.listen("u", Some("")).unwrap();
        let expected = [
            gap(),
            ("status", 0.into()),
            (PROGRESS, "of another message".into()),
            ("status", 1.into()),
        ];
        assert_eq!(receive(&mut late), expected);
        let backlogs = events.lock();
        let backlog = backlogs.get("u").unwrap();
        let bytes = backlog.sum_of_bytes();
        assert_eq!((backlogs.bytes(), backlog.bytes()), (bytes, bytes));
    }

    #[test]
    fn listen_limits_listeners_of_one_user_and_of_all() {
        let events = Events::new();
        let listen = |user: usize| events.listen(&user.to_string(), None);
        let mut listeners: Vec<_> = (0..MAX_LISTENERS).map(|_| listen(0).unwrap()).collect();
        assert_eq!(listen(0).err(), Some(ListenError::UserLimit));
        listeners.pop();
        listeners.push(listen(0).unwrap());
        let others = MAX_ALL_LISTENERS / MAX_LISTENERS;
        listeners.extend(
            (1..others)
                .flat_map(|user| (0..MAX_LISTENERS).map(move |_| user))
                .map(|user| listen(user).unwrap()),
        );
        assert_eq!(listen(others).err(), Some(ListenError::ServerLimit));
        assert_eq!(events.listeners(), MAX_ALL_LISTENERS);
        listeners.pop();
        assert!(listen(others).is_ok());
        drop(listeners);
        assert_eq!(events.listeners(), 0);
    }
}
