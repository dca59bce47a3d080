//! The recent events of each user.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use super::{COMPLETION, PROGRESS, ReceivedEvent};
use crate::cluster::StreamId;

/// Stored events of one user.
pub(super) const MAX_EVENTS: usize = 256;
/// Length of one user's stored events, in bytes of JSON.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Length of all users' stored events, in bytes of JSON.
pub(super) const MAX_ALL_BYTES: usize = 64 << 20;
/// Users without listeners whose events are stored.
pub(super) const MAX_BACKLOGS: usize = 20_000;
/// Processes of other hosts whose newest events a backlog knows.
const MAX_ORIGINS: usize = 64;

/// The backlogs of all users.
#[derive(Debug, Default)]
pub(super) struct Backlogs {
    by_user: HashMap<String, Backlog>,
    /// The number of the newest event of any user.
    newest: u64,
    bytes: usize,
}

/// The recent events of one user.
#[derive(Debug)]
pub(super) struct Backlog {
    /// In ascending order of their numbers.
    events: VecDeque<StoredEvent>,
    bytes: usize,
    /// The number of the newest event that was dropped without a replacement.
    lost: u64,
    /// The position of the stream at that event.
    lost_position: Option<StreamId>,
    newest: watch::Sender<u64>,
    /// The stream up to here is in the backlog, or was. `None` while events of other hosts do not reach it.
    position: Option<StreamId>,
    /// The newest event of each process of other hosts.
    origins: HashMap<Arc<str>, u64>,
}

/// The process of another host that emitted an event, and the number there.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) process: Arc<str>,
    pub(super) number: u64,
}

#[derive(Debug)]
pub(super) struct StoredEvent {
    pub(super) event: ReceivedEvent,
    pub(super) message_id: String,
    pub(super) has_preview: bool,
    pub(super) bytes: usize,
    /// Where the stream has it, if another host has emitted it.
    pub(super) position: Option<StreamId>,
    /// `None` if this process has emitted it.
    pub(super) origin: Option<Origin>,
}

impl Backlogs {
    /// The number of the newest event of any user.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn get(&self, user_id: &str) -> Option<&Backlog> {
        self.by_user.get(user_id)
    }

    /// Adds the event that the function creates with its number and the position of the stream, and notifies the user's
    /// listeners. Returns the number.
    pub(super) fn push(
        &mut self,
        user_id: &str,
        new_event: impl FnOnce(u64, Option<StreamId>) -> StoredEvent,
    ) -> u64 {
        let number = self.newest + 1;
        let backlog = self.of_user(user_id);
        let before = backlog.bytes;
        backlog.push(new_event(number, backlog.position));
        let after = backlog.bytes;
        backlog.newest.send_replace(number);
        self.newest = number;
        self.bytes = self.bytes + after - before;
        self.shrink();
        number
    }

    /// The same for an event of another host. A user without a backlog is ignored.
    pub(super) fn push_to_existing(
        &mut self,
        user_id: &str,
        new_event: impl FnOnce(u64, Option<StreamId>) -> StoredEvent,
    ) {
        if self.by_user.contains_key(user_id) {
            self.push(user_id, new_event);
        }
    }

    /// Sets how far the stream of a user was delivered.
    pub(super) fn set_position(&mut self, user_id: &str, position: Option<StreamId>) {
        if let Some(backlog) = self.by_user.get_mut(user_id) {
            backlog.position = position;
        }
    }

    /// The listeners of a user get a gap: events of another host were lost.
    pub(super) fn lose(&mut self, user_id: &str) {
        let number = self.newest + 1;
        let Some(backlog) = self.by_user.get_mut(user_id) else {
            return;
        };
        (backlog.lost, backlog.lost_position) = (number, backlog.position);
        backlog.newest.send_replace(number);
        self.newest = number;
    }

    /// Is this event of another host newer than those that the backlog got from there? Number 0 always is.
    pub(super) fn is_new(&mut self, user_id: &str, origin: &Origin) -> bool {
        let Some(backlog) = self.by_user.get_mut(user_id) else {
            return false;
        };
        let origins = &mut backlog.origins;
        if origins.len() >= MAX_ORIGINS && !origins.contains_key(&origin.process) {
            origins.clear();
        }
        let newest = origins.entry(origin.process.clone()).or_default();
        let is_new = origin.number == 0 || origin.number > *newest;
        *newest = origin.number.max(*newest);
        is_new
    }

    /// The user's backlog. A new one counts all earlier events as lost.
    pub(super) fn of_user(&mut self, user_id: &str) -> &mut Backlog {
        if self.by_user.len() >= MAX_BACKLOGS && !self.by_user.contains_key(user_id) {
            self.drop_oldest_without_listeners();
        }
        let newest = self.newest;
        let backlog = self.by_user.entry(user_id.to_owned());
        backlog.or_insert_with(|| Backlog {
            events: VecDeque::new(),
            bytes: 0,
            lost: newest,
            lost_position: None,
            newest: watch::Sender::new(newest),
            position: None,
            origins: HashMap::new(),
        })
    }

    fn drop_oldest_without_listeners(&mut self) {
        let oldest = self
            .by_user
            .iter()
            .filter(|(_, backlog)| backlog.listeners() == 0)
            .min_by_key(|(_, backlog)| *backlog.newest.borrow())
            .map(|(user_id, _)| user_id.clone());
        if let Some(backlog) = oldest.and_then(|user_id| self.by_user.remove(&user_id)) {
            self.bytes -= backlog.bytes;
        }
    }

    /// Empties the backlogs with the oldest events until all backlogs together have an allowed length.
    fn shrink(&mut self) {
        while self.bytes > MAX_ALL_BYTES {
            let oldest = self
                .by_user
                .values_mut()
                .filter(|backlog| !backlog.events.is_empty())
                .min_by_key(|backlog| *backlog.newest.borrow());
            let Some(backlog) = oldest else {
                return;
            };
            self.bytes -= backlog.bytes;
            backlog.truncate(0, 0);
        }
    }
}

impl Backlog {
    /// The number of the newest event that was dropped without a replacement.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn listeners(&self) -> usize {
        self.newest.receiver_count()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The position of the stream at that event.
    pub(super) fn lost_position(&self) -> Option<StreamId> {
        self.lost_position
    }

    /// The events with a higher number.
    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = &StoredEvent> {
        let is_before = |stored: &StoredEvent| stored.event.number <= number;
        self.events.range(self.events.partition_point(is_before)..)
    }

    fn push(&mut self, new: StoredEvent) {
        self.drop_replaced_by(&new);
        self.bytes += new.bytes;
        self.events.push_back(new);
        self.truncate(MAX_EVENTS, MAX_BYTES);
    }

    fn drop_replaced_by(&mut self, new: &StoredEvent) {
        let bytes = &mut self.bytes;
        self.events.retain(|stored| {
            let is_replaced = stored.is_replaced_by(new);
            if is_replaced {
                *bytes -= stored.bytes;
            }
            !is_replaced
        });
    }

    /// Drops the oldest events beyond these limits.
    fn truncate(&mut self, max_events: usize, max_bytes: usize) {
        while self.events.len() > max_events || self.bytes > max_bytes {
            let Some(oldest) = self.events.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes;
            if oldest.event.kind != PROGRESS {
                self.lost = oldest.event.number;
                self.lost_position = oldest.event.position;
            }
        }
    }
}

impl StoredEvent {
    fn is_replaced_by(&self, new: &Self) -> bool {
        if self.message_id != new.message_id || self.event.chat_id != new.event.chat_id {
            return false;
        }
        let kind = new.event.kind;
        match self.event.kind {
            // A preview remains until the next preview.
            PROGRESS => kind != PROGRESS || new.has_preview || !self.has_preview,
            COMPLETION => kind == COMPLETION,
            _ => false,
        }
    }
}

#[cfg(test)]
impl Backlogs {
    pub(super) fn len(&self) -> usize {
        self.by_user.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The sum of the lengths of all backlogs.
    pub(super) fn sum_of_bytes(&self) -> usize {
        self.by_user.values().map(|backlog| backlog.bytes).sum()
    }
}

#[cfg(test)]
impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The sum of the lengths of all events.
    pub(super) fn sum_of_bytes(&self) -> usize {
        self.events.iter().map(|stored| stored.bytes).sum()
    }
}
