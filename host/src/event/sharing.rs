//! Events that several hosts share.
//!
//! An event reaches the listeners of its own host at once, whatever happens to Redis, and those of other hosts through
//! it. So a client's position has two parts: the events of a process up to a number, and the stream up to a position.
//! The stream names the process and the number of each event, so a client that comes from another host gets those that
//! it has not, and no others.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::backlog::{Backlogs, Origin, StoredEvent};
use super::event_id::EventId;
use super::{COMPLETION, ENGINE, Event, Events, GAP, JOB, PROGRESS, ReceivedEvent, to_json};
use crate::cluster::{Cluster, Entry, Incoming, OutgoingEvent, StreamId, Watch};

/// The kind of an event of another host, unless the server distinguishes it.
const OTHER: &str = "other";

/// What a client has missed.
#[derive(Debug)]
pub(super) struct Missed {
    pub(super) events: Vec<ReceivedEvent>,
    /// The position of the last event.
    pub(super) last: StreamId,
}

impl OutgoingEvent {
    /// An event as the stream stores it. Progress and unfinished texts are states: only the newest of a message counts.
    pub(super) fn new(event: &Event, json: Arc<RawValue>) -> Self {
        let message_id = &event.target.message_id;
        let state = |name: &str| format!("{name}:{message_id}");
        let is_done = event.data.get("done").is_some_and(|it| *it == true);
        let (own, replaced) = match event.kind {
            PROGRESS if event.data.get("preview").is_some() => (Some("preview"), vec!["progress"]),
            PROGRESS => (Some("progress"), vec![]),
            COMPLETION if !is_done => (Some("text"), vec!["progress", "preview"]),
            COMPLETION => (None, vec!["progress", "preview", "text"]),
            _ => (None, vec!["progress", "preview"]),
        };
        Self {
            user_id: event.target.user_id.clone(),
            // Known when the backlog has the event.
            number: 0,
            json,
            state: own.map(state),
            replaced: replaced.into_iter().map(state).collect(),
        }
    }
}

impl Events {
    /// Receives what happened to the events of a user on other hosts. A user without listeners is ignored.
    pub(crate) fn receive(&self, user_id: &str, incoming: Incoming) {
        let mut backlogs = self.lock();
        match incoming {
            Incoming::Position(position) => backlogs.set_position(user_id, Some(position)),
            Incoming::Unfollowed => backlogs.set_position(user_id, None),
            Incoming::Gap => backlogs.lose(user_id),
            Incoming::State(entry) => {
                if *entry.origin != *self.process_id {
                    push(&mut backlogs, user_id, None, entry);
                }
            }
            Incoming::Entry { position, entry } => {
                backlogs.set_position(user_id, Some(position));
                if *entry.origin != *self.process_id {
                    push(&mut backlogs, user_id, Some(position), entry);
                }
            }
        }
    }
}

/// Adds an event of another host, unless the backlog has it.
fn push(backlogs: &mut Backlogs, user_id: &str, position: Option<StreamId>, entry: Entry) {
    let origin = Origin {
        process: entry.origin,
        number: entry.number,
    };
    if !backlogs.is_new(user_id, &origin) {
        return;
    }
    let Some(json) = entry.event else {
        return backlogs.lose(user_id);
    };
    backlogs.push_to_existing(user_id, |number, newest| {
        let read = ForeignEvent::new(&json);
        StoredEvent {
            bytes: read.json.get().len(),
            has_preview: read.has_preview,
            message_id: read.message_id,
            position,
            origin: Some(origin),
            event: ReceivedEvent {
                number,
                position: newest,
                replayed_of: None,
                chat_id: read.chat_id,
                kind: read.kind,
                json: read.json,
            },
        }
    });
}

/// Reads what a client with this id has missed. `newest` is the number of the newest event of this process, which the
/// listener receives by itself. `None` if Redis does not respond.
pub(super) async fn read_missed(
    cluster: Cluster,
    watch: Watch,
    id: EventId,
    newest: u64,
) -> Option<Missed> {
    let after = id.position?;
    // Later events then reach the backlog.
    if !watch.wait_until_followed().await {
        return None;
    }
    let replay = cluster.replay(watch.user_id(), after).await?;
    let is_missed = |entry: &Entry| {
        let is_seen = *entry.origin == *id.process && entry.number <= id.number;
        let comes_later = entry.origin == *cluster.origin() && entry.number > newest;
        !is_seen && !comes_later
    };
    let mut events = Vec::new();
    if !replay.is_complete {
        events.push(gap(&id, after));
    }
    for (position, entry) in replay.entries {
        if entry.number > 0 && !is_missed(&entry) {
            continue;
        }
        events.push(match &entry.event {
            Some(json) => replayed(&id, position, json),
            None => gap(&id, position),
        });
    }
    let states = replay.states.iter().filter(|entry| is_missed(entry));
    let states = states.filter_map(|entry| entry.event.as_ref());
    events.extend(states.map(|json| replayed(&id, replay.last, json)));
    Some(Missed {
        events,
        last: replay.last,
    })
}

/// An event of the stream for the client with this id.
fn replayed(id: &EventId, position: StreamId, json: &Value) -> ReceivedEvent {
    let read = ForeignEvent::new(json);
    ReceivedEvent {
        number: id.number,
        position: Some(position),
        replayed_of: Some(id.process.as_str().into()),
        chat_id: read.chat_id,
        kind: read.kind,
        json: read.json,
    }
}

fn gap(id: &EventId, position: StreamId) -> ReceivedEvent {
    ReceivedEvent {
        number: id.number,
        position: Some(position),
        replayed_of: Some(id.process.as_str().into()),
        chat_id: None,
        kind: GAP,
        json: to_json(None, GAP, &Value::Object(serde_json::Map::new())),
    }
}

/// An event that Redis has. Its host, or another program that can write into Redis, has emitted it.
struct ForeignEvent {
    chat_id: Option<String>,
    message_id: String,
    kind: &'static str,
    has_preview: bool,
    json: Arc<RawValue>,
}

impl ForeignEvent {
    fn new(json: &Value) -> Self {
        let text = |pointer| json.pointer(pointer).and_then(Value::as_str);
        let kind = text("/data/type").unwrap_or_default();
        let known = [PROGRESS, COMPLETION, JOB, ENGINE];
        Self {
            chat_id: text("/chat_id").map(str::to_owned),
            message_id: text("/message_id").unwrap_or_default().to_owned(),
            kind: known.into_iter().find(|it| *it == kind).unwrap_or(OTHER),
            has_preview: json.pointer("/data/data/preview").is_some(),
            // Written again, because a stream of events ends at a line that JSON may contain.
            json: to_raw_value(json).unwrap_or_default().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::event::{EventTarget, Listener};

    fn entry(origin: &str, number: u64, text: &str) -> Entry {
        let event = json!({
            "chat_id": "c", "message_id": "m", "data": {"type": "status", "data": text},
        });
        Entry {
            origin: origin.into(),
            number,
            event: Some(event),
        }
    }

    fn incoming(position: &str, entry: Entry) -> Incoming {
        let position = position.parse().unwrap();
        Incoming::Entry { position, entry }
    }

    /// The texts of all available events; `gap` for a gap.
    fn receive(listener: &mut Listener) -> Vec<String> {
        let received = std::iter::from_fn(|| listener.next().now_or_never());
        let text = |event: ReceivedEvent| {
            let json: Value = serde_json::from_str(event.json.get()).unwrap();
            let text = json["data"]["data"].as_str().unwrap_or("gap");
            text.to_owned()
        };
        received.map(text).collect()
    }

    fn emit(events: &Events, text: &str) {
        events.emit(Event {
            target: EventTarget {
                user_id: "u".to_owned(),
                chat_id: None,
                message_id: "m".to_owned(),
            },
            kind: "status",
            data: text.into(),
        });
    }

    #[test]
    fn foreign_event_is_delivered_once_and_an_own_one_not_again() {
        let events = Events::new();
        let mut listener = events.listen("u", None).unwrap();
        emit(&events, "own");
        let own = entry(&events.process_id, 1, "own");
        events.receive("u", incoming("5-0", own));
        for _ in 0..2 {
            events.receive("u", incoming("6-0", entry("p", 1, "a")));
        }
        events.receive("u", Incoming::State(entry("p", 2, "b")));
        // An older one that was sent again.
        events.receive("u", incoming("7-0", entry("p", 1, "a")));
        events.receive("u", incoming("8-0", entry("q", 1, "c")));
        assert_eq!(receive(&mut listener), ["own", "a", "b", "c"]);
    }

    #[test]
    fn foreign_gap_and_unknown_user() {
        let events = Events::new();
        let mut listener = events.listen("u", None).unwrap();
        events.receive("other", incoming("5-0", entry("p", 1, "x")));
        events.receive("other", Incoming::Gap);
        assert!(events.lock().get("other").is_none());
        events.receive("u", incoming("5-0", entry("p", 1, "a")));
        events.receive("u", Incoming::Gap);
        events.receive("u", incoming("6-0", entry("p", 2, "b")));
        let lost = Entry {
            event: None,
            ..entry("p", 0, "")
        };
        assert_eq!(receive(&mut listener), ["gap", "b"]);
        for position in ["7-0", "8-0"] {
            events.receive("u", incoming(position, lost.clone()));
            assert_eq!(receive(&mut listener), ["gap"]);
        }
    }

    #[test]
    fn id_has_the_position_that_the_listener_has() {
        let events = Events::new();
        let mut listener = events.listen("u", None).unwrap();
        let mut next_id = || {
            let event = listener.next().now_or_never().unwrap();
            events.id(&event).parse::<EventId>().unwrap()
        };
        emit(&events, "before");
        assert_eq!(next_id().position, None);
        events.receive("u", Incoming::Position("5-0".parse().unwrap()));
        emit(&events, "own");
        assert_eq!(next_id().position, "5-0".parse().ok());
        events.receive("u", incoming("6-0", entry("p", 1, "a")));
        let id = next_id();
        assert_eq!((id.number, id.position), (3, "6-0".parse().ok()));
        events.receive("u", Incoming::Unfollowed);
        emit(&events, "after");
        assert_eq!(next_id().position, None);
    }

    #[test]
    fn states_and_finished_texts_go_different_ways() {
        let outgoing = |kind, data: Value| {
            let event = Event {
                target: EventTarget {
                    user_id: "u".to_owned(),
                    chat_id: None,
                    message_id: "m".to_owned(),
                },
                kind,
                data,
            };
            let json = to_raw_value(&event.data).unwrap();
            OutgoingEvent::new(&event, json.into()).state
        };
        let state = |name: &str| Some(format!("{name}:m"));
        assert_eq!(outgoing(PROGRESS, json!({})), state("progress"));
        assert_eq!(
            outgoing(PROGRESS, json!({"preview": "x"})),
            state("preview")
        );
        assert_eq!(outgoing(COMPLETION, json!({"content": "x"})), state("text"));
        assert_eq!(outgoing(COMPLETION, json!({"done": true})), None);
        assert_eq!(outgoing("status", json!({})), None);
    }
}
