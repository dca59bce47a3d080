//! Events and tasks on their way to Redis.
//!
//! A job emits events and must not wait for Redis, so they queue here. If the queue is full, an event is dropped, and
//! other hosts get a gap for its user. What was sent while the connection broke is sent again: readers drop what they
//! have already, by origin and number.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pinhole_ground::metrics;
use redis::Pipeline;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::entry::{self, MAX_EVENT_BYTES, MAX_STORED_EVENT_BYTES};
use super::keys::Keys;
use super::link::{Link, LinkError, commands};
use super::task_list::TaskChange;
use super::{MAX_STREAM_ENTRIES, STREAM_TIME};

/// Events and tasks that wait.
pub const MAX_QUEUED_EVENTS: usize = 10_000;
/// Length of the events that wait, in bytes of JSON.
pub const MAX_QUEUED_BYTES: usize = 32 << 20;
/// Users whose lost events are reported to other hosts.
const MAX_LOST_USERS: usize = 20_000;
/// Events and tasks that are sent in one step.
const MAX_BATCH: usize = 64;
/// Time between two reports of lost events.
const LOST_INTERVAL: Duration = Duration::from_secs(1);
/// How long the newest state of a message is stored.
const NEWEST_TIME: Duration = Duration::from_secs(60);
/// States of a user's messages that are stored. Beyond that, all are removed.
const MAX_NEWEST: usize = 64;

const ADD_EVENT: &str = include_str!("scripts/add_event.lua");
const SET_NEWEST: &str = include_str!("scripts/set_newest.lua");

/// An event to pass on to other hosts.
#[derive(Debug)]
pub struct OutgoingEvent {
    pub user_id: String,
    /// The number of the event, ascending within the process.
    pub number: u64,
    /// In the format of clients.
    pub json: Arc<RawValue>,
    /// The state that the event is. `None` if the stream must store it.
    pub state: Option<String>,
    /// The states that the event replaces.
    pub replaced: Vec<String>,
}

pub(super) enum Work {
    Event(OutgoingEvent),
    Task(TaskChange),
    /// Completed when all earlier work is sent.
    Flush(oneshot::Sender<()>),
}

/// The queue.
pub(super) struct Outbox {
    sender: mpsc::Sender<Work>,
    bytes: AtomicUsize,
    /// Users whose events were dropped.
    lost: Mutex<HashSet<String>>,
}

impl Outbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Work>) {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED_EVENTS);
        let outbox = Self {
            sender,
            bytes: AtomicUsize::new(0),
            lost: Mutex::default(),
        };
        (outbox, receiver)
    }

    /// Queues an event. Never waits.
    pub(super) fn push(&self, event: OutgoingEvent) {
        let length = event.json.get().len();
        let queued = self.bytes.load(Ordering::Relaxed);
        if length > MAX_EVENT_BYTES || queued.saturating_add(length) > MAX_QUEUED_BYTES {
            return self.drop_event(event);
        }
        self.bytes.fetch_add(length, Ordering::Relaxed);
        if let Err(error) = self.sender.try_send(Work::Event(event)) {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            if let Work::Event(dropped) = error.into_inner() {
                self.drop_event(dropped);
            }
        }
    }

    /// Queues a change of the running tasks. Never waits. A change that is dropped is made up for by the next refresh,
    /// or expires.
    pub(super) fn push_task(&self, change: TaskChange) {
        self.sender.try_send(Work::Task(change)).ok();
    }

    /// Waits until everything that is queued now was sent. Returns false if that is not possible.
    pub(super) async fn flush(&self) -> bool {
        let (sender, sent) = oneshot::channel();
        if self.sender.try_send(Work::Flush(sender)).is_err() {
            return false;
        }
        sent.await.is_ok()
    }

    fn drop_event(&self, event: OutgoingEvent) {
        metrics::count_dropped_events(1);
        // The next state replaces it.
        if event.state.is_some() {
            return;
        }
        self.add_lost(event.user_id);
    }

    fn add_lost(&self, user_id: String) {
        let mut lost = self.lost();
        if lost.len() < MAX_LOST_USERS {
            lost.insert(user_id);
        }
    }

    fn take_lost(&self) -> Vec<String> {
        let mut lost = self.lost();
        let taken: Vec<_> = lost.iter().take(MAX_BATCH).cloned().collect();
        for user_id in &taken {
            lost.remove(user_id);
        }
        taken
    }

    fn lost(&self) -> MutexGuard<'_, HashSet<String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what is queued.
pub(super) struct Sender<'a> {
    pub(super) outbox: &'a Outbox,
    pub(super) link: &'a Link,
    pub(super) keys: &'a Keys,
    pub(super) origin: &'a str,
}

impl Sender<'_> {
    /// Sends what is queued, in order. Never returns.
    pub(super) async fn run(&self, receiver: &mut mpsc::Receiver<Work>) {
        let mut intervals = tokio::time::interval(LOST_INTERVAL);
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            tokio::select! {
                received = receiver.recv_many(&mut batch, MAX_BATCH) => {
                    if received == 0 {
                        return;
                    }
                    self.send(std::mem::take(&mut batch)).await;
                }
                _ = intervals.tick() => self.report_lost().await,
            }
        }
    }

    /// Sends a batch, again until the connection lasts for it.
    async fn send(&self, batch: Vec<Work>) {
        let mut flushes = Vec::new();
        let mut work = Vec::new();
        for it in batch {
            match it {
                Work::Flush(sender) => flushes.push(sender),
                other => work.push(other),
            }
        }
        let events = work.iter().filter_map(|it| match it {
            Work::Event(event) => Some(event.json.get().len()),
            _ => None,
        });
        let bytes: usize = events.sum();
        let mut commands = commands();
        // The user of each command whose failure is a loss.
        let mut users = Vec::new();
        for it in &work {
            self.add(&mut commands, it);
            let user = match it {
                Work::Event(event) if event.state.is_none() => Some(&event.user_id),
                _ => None,
            };
            users.resize(commands.len(), user);
        }
        while !commands.is_empty() {
            match self.link.query_all(&commands).await {
                Ok(results) => {
                    let failed = results.iter().zip(&users).filter(|(it, _)| it.is_err());
                    self.lose(failed.filter_map(|(_, user)| *user));
                    break;
                }
                Err(LinkError::Lost) => self.link.wait_until_up().await,
                Err(error) => {
                    tracing::warn!("cannot pass events on to other hosts: {error}");
                    self.lose(users.iter().copied().flatten());
                    break;
                }
            }
        }
        self.outbox.bytes.fetch_sub(bytes, Ordering::Relaxed);
        for flush in flushes {
            flush.send(()).ok();
        }
    }

    /// Other hosts get a gap in place of an event of each of these users.
    fn lose<'u>(&self, users: impl Iterator<Item = &'u String>) {
        for user_id in users {
            metrics::count_dropped_events(1);
            self.outbox.add_lost(user_id.clone());
        }
    }

    fn add(&self, commands: &mut Pipeline, work: &Work) {
        match work {
            Work::Event(event) => self.add_event(commands, event),
            Work::Task(change) => change.add_to(commands, self.keys),
            Work::Flush(_) => {}
        }
    }

    fn add_event(&self, commands: &mut Pipeline, event: &OutgoingEvent) {
        let (user_id, number) = (&event.user_id, event.number);
        let json = entry::write(self.origin, number, Some(&event.json));
        let Some(state) = &event.state else {
            let stored = if json.len() > MAX_STORED_EVENT_BYTES {
                entry::write(self.origin, number, None)
            } else {
                String::new()
            };
            return self.add_to_stream(commands, user_id, &json, &stored, &event.replaced);
        };
        commands
            .cmd("EVAL")
            .arg(SET_NEWEST)
            .arg(1)
            .arg(self.keys.newest(user_id))
            .arg(self.keys.channel(user_id))
            .arg(&json)
            .arg(state)
            .arg(MAX_NEWEST)
            .arg(NEWEST_TIME.as_secs())
            .arg(&event.replaced);
    }

    fn add_to_stream(
        &self,
        commands: &mut Pipeline,
        user_id: &str,
        json: &str,
        stored: &str,
        replaced: &[String],
    ) {
        commands
            .cmd("EVAL")
            .arg(ADD_EVENT)
            .arg(2)
            .arg(self.keys.events(user_id))
            .arg(self.keys.newest(user_id))
            .arg(self.keys.channel(user_id))
            .arg(json)
            .arg(stored)
            .arg(MAX_STREAM_ENTRIES)
            .arg(STREAM_TIME.as_secs())
            .arg(replaced);
    }

    /// Tells other hosts whose events were dropped.
    async fn report_lost(&self) {
        if !self.link.is_up() {
            return;
        }
        let users = self.outbox.take_lost();
        if users.is_empty() {
            return;
        }
        let mut commands = commands();
        for user_id in &users {
            // Number 0 is never dropped as a repetition.
            let gap = entry::write(self.origin, 0, None);
            self.add_to_stream(&mut commands, user_id, &gap, "", &[]);
        }
        let results = self.link.query_all(&commands).await;
        let is_sent = |replies: &Vec<_>| replies.iter().all(Result::is_ok);
        if !results.is_ok_and(|it| is_sent(&it)) {
            for user_id in users {
                self.outbox.add_lost(user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(user_id: &str, length: usize, state: Option<&str>) -> OutgoingEvent {
        let json = serde_json::value::to_raw_value(&"x".repeat(length)).unwrap();
        OutgoingEvent {
            user_id: user_id.to_owned(),
            number: 1,
            json: json.into(),
            state: state.map(str::to_owned),
            replaced: Vec::new(),
        }
    }

    #[test]
    fn outbox_drops_events_beyond_its_number_and_reports_their_users() {
        let (outbox, _receiver) = Outbox::new();
        for _ in 0..MAX_QUEUED_EVENTS {
            outbox.push(event("ada", 1, None));
        }
        assert!(outbox.take_lost().is_empty());
        outbox.push(event("bob", 1, None));
        outbox.push(event("cy", 1, Some("p:m")));
        assert_eq!(outbox.take_lost(), ["bob"]);
        assert!(outbox.take_lost().is_empty());
    }

    #[test]
    fn outbox_drops_events_beyond_its_bytes_and_too_long_ones() {
        let (outbox, _receiver) = Outbox::new();
        outbox.push(event("long", MAX_EVENT_BYTES, None));
        assert_eq!(outbox.take_lost(), ["long"]);
        for _ in 0..MAX_QUEUED_BYTES / (1 << 20) {
            outbox.push(event("ada", (1 << 20) - 2, None));
        }
        assert!(outbox.take_lost().is_empty());
        outbox.push(event("bob", 1, None));
        assert_eq!(outbox.take_lost(), ["bob"]);
    }
}
