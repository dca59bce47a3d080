//! Receives the events of one user, in order.

use std::collections::VecDeque;

use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::backlog::StoredEvent;
use super::event_id::EventId;
use super::sharing::{self, Missed};
use super::{Events, GAP, ListenError, MAX_LISTENERS, ReceivedEvent, to_json};
use crate::cluster::{StreamId, Watch};

/// Receives the events of one user, in order.
#[derive(Debug)]
pub struct Listener {
    events: Events,
    user_id: String,
    /// The number of the last received event.
    last: u64,
    /// Events were lost before the listener started, which it does not know yet.
    has_gap: bool,
    newest: watch::Receiver<u64>,
    /// Reads what the client has missed on any host.
    missed: Option<PendingEvents>,
    /// What the client has missed and was not returned yet.
    replayed: VecDeque<ReceivedEvent>,
    /// What the client has already, though the backlog may get it later.
    seen: Option<Seen>,
    /// Follows the user's events on other hosts.
    watch: Option<Watch>,
    _permit: OwnedSemaphorePermit,
}

/// Events that are being read.
#[derive(Debug)]
struct PendingEvents {
    id: EventId,
    missed: oneshot::Receiver<Option<Missed>>,
}

#[derive(Debug)]
struct Seen {
    position: StreamId,
    process: String,
    number: u64,
}

impl Seen {
    fn contains(&self, stored: &StoredEvent) -> bool {
        let is_before = stored.position.is_some_and(|it| it <= self.position);
        let of_process = stored.origin.as_ref();
        is_before
            || of_process.is_some_and(|it| *it.process == *self.process && it.number <= self.number)
    }
}

impl Events {
    /// Listens to a user's events: to new ones, or to those after the event with the id `after`.
    ///
    /// If the id is invalid or of another process that shares no events with this one, the first event is a gap.
    pub fn listen(&self, user_id: &str, after: Option<&str>) -> Result<Listener, ListenError> {
        let permit = self
            .listener_permits
            .clone()
            .try_acquire_owned()
            .map_err(|_| ListenError::ServerLimit)?;
        let cluster = self.cluster.as_ref();
        let id = after.map(str::parse::<EventId>);
        let mut backlogs = self.lock();
        let newest = backlogs.newest();
        let backlog = backlogs.of_user(user_id);
        if backlog.listeners() >= MAX_LISTENERS {
            return Err(ListenError::UserLimit);
        }
        let subscription = backlog.subscribe();
        let mut listener = Listener {
            newest: subscription,
            events: self.clone(),
            user_id: user_id.to_owned(),
            last: newest,
            has_gap: false,
            missed: None,
            replayed: VecDeque::new(),
            seen: None,
            watch: cluster.map(|it| it.watch(user_id)),
            _permit: permit,
        };
        drop(backlogs);
        match (id, cluster) {
            (None, _) => {}
            (Some(Ok(id)), Some(shared)) if id.position.is_some() => {
                let (sender, missed) = oneshot::channel();
                let watch = shared.watch(user_id);
                let read = sharing::read_missed(shared.clone(), watch, id.clone(), newest);
                tokio::spawn(async move { sender.send(read.await) });
                listener.missed = Some(PendingEvents { id, missed });
            }
            (Some(Ok(id)), _) => listener.continue_after(&id),
            (Some(Err(())), _) => listener.start_with_gap(),
        }
        Ok(listener)
    }
}

impl Listener {
    /// Waits until events of other hosts reach this one, or these hosts cannot be reached.
    pub async fn wait_until_followed(&self) {
        if let Some(watch) = &self.watch {
            watch.wait_until_followed().await;
        }
    }

    /// Waits for the next event. If events were lost, it is a gap.
    pub async fn next(&mut self) -> ReceivedEvent {
        if let Some(PendingEvents { missed, .. }) = &mut self.missed {
            let read = missed.await.ok().flatten();
            self.accept(read);
        }
        if let Some(event) = self.replayed.pop_front() {
            return event;
        }
        loop {
            self.newest.borrow_and_update();
            if let Some(event) = self.next_stored() {
                (self.last, self.has_gap) = (event.number, false);
                return event;
            }
            // A backlog with listeners is never dropped.
            if self.newest.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Continues with what the client has missed. Without it, continues with the backlog.
    fn accept(&mut self, read: Option<Missed>) {
        let Some(PendingEvents { id, .. }) = self.missed.take() else {
            return;
        };
        match read {
            Some(Missed { events, last }) => {
                self.replayed = events.into();
                self.seen = Some(Seen {
                    position: last,
                    process: id.process,
                    number: id.number,
                });
            }
            None => self.continue_after(&id),
        }
    }

    /// Continues after an event of the backlog. If it is not of this process, starts with a gap.
    fn continue_after(&mut self, id: &EventId) {
        let events = self.events.clone();
        let backlogs = events.lock();
        if *id.process != *events.process_id || id.number > backlogs.newest() {
            drop(backlogs);
            return self.start_with_gap();
        }
        let lost = backlogs.get(&self.user_id).map_or(0, |it| it.lost());
        (self.last, self.has_gap) = (id.number, id.number < lost);
    }

    /// Starts with a gap, and then what the backlog has.
    fn start_with_gap(&mut self) {
        let backlogs = self.events.lock();
        let lost = backlogs.get(&self.user_id).map_or(0, |it| it.lost());
        drop(backlogs);
        (self.last, self.has_gap) = (lost, true);
    }

    fn next_stored(&self) -> Option<ReceivedEvent> {
        let backlogs = self.events.lock();
        let backlog = backlogs.get(&self.user_id)?;
        if self.has_gap || self.last < backlog.lost() {
            return Some(ReceivedEvent {
                number: backlog.lost().max(self.last),
                position: backlog.lost_position(),
                replayed_of: None,
                chat_id: None,
                kind: GAP,
                json: to_json(None, GAP, &json!({})),
            });
        }
        let later = backlog.after(self.last);
        let mut unseen =
            later.filter(|stored| self.seen.as_ref().is_none_or(|it| !it.contains(stored)));
        unseen.next().map(|stored| stored.event.clone())
    }
}
