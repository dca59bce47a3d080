//! The users whose events this host follows: those with listeners.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// How long a listener waits until its user's events are followed.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The users whose events this host follows.
#[derive(Debug, Default)]
pub(super) struct Watches {
    state: Mutex<State>,
    /// Notified when a user is added or removed.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    by_user: HashMap<String, Watched>,
    /// Users that were added or removed.
    changed: HashSet<String>,
    /// Messages of Redis reach this host.
    is_connected: bool,
}

#[derive(Debug)]
struct Watched {
    listeners: usize,
    /// True while events reach this host.
    is_followed: watch::Sender<bool>,
}

/// Follows a user's events until it is dropped.
#[derive(Debug)]
pub struct Watch {
    watches: Arc<Watches>,
    user_id: String,
    is_followed: watch::Receiver<bool>,
}

/// A user who was added or removed.
#[derive(Debug)]
pub(super) struct WatchChange {
    pub(super) user_id: String,
    pub(super) has_listeners: bool,
}

impl Watches {
    pub(super) fn add(self: &Arc<Self>, user_id: &str) -> Watch {
        let mut state = self.lock();
        let is_new = !state.by_user.contains_key(user_id);
        let watched = state
            .by_user
            .entry(user_id.to_owned())
            .or_insert_with(|| Watched {
                listeners: 0,
                is_followed: watch::Sender::new(false),
            });
        watched.listeners += 1;
        let is_followed = watched.is_followed.subscribe();
        if is_new {
            state.changed.insert(user_id.to_owned());
            self.changed.notify_one();
        }
        drop(state);
        Watch {
            watches: self.clone(),
            user_id: user_id.to_owned(),
            is_followed,
        }
    }

    /// The users that were added or removed since the last call.
    pub(super) fn take_changes(&self) -> Vec<WatchChange> {
        let mut state = self.lock();
        let changed = std::mem::take(&mut state.changed).into_iter();
        let change = |user_id: String| WatchChange {
            has_listeners: state.by_user.contains_key(&user_id),
            user_id,
        };
        changed.map(change).collect()
    }

    /// Treats these users, and all with listeners, as changed: a new connection follows no user yet.
    pub(super) fn change_all(&self, others: impl Iterator<Item = String>) {
        let mut state = self.lock();
        let users: Vec<String> = state.by_user.keys().cloned().collect();
        state.changed.extend(users.into_iter().chain(others));
        state.is_connected = true;
    }

    /// Events of a user reach this host.
    pub(super) fn set_followed(&self, user_id: &str) {
        if let Some(watched) = self.lock().by_user.get(user_id) {
            watched.is_followed.send_replace(true);
        }
    }

    /// No events reach this host.
    pub(super) fn set_lost(&self) {
        let mut state = self.lock();
        state.is_connected = false;
        for watched in state.by_user.values() {
            watched.is_followed.send_replace(false);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Waits until events of other hosts reach this one. Returns false if they do not: Redis is lost or does not respond.
    pub async fn wait_until_followed(&self) -> bool {
        if !self.watches.lock().is_connected {
            return false;
        }
        let mut is_followed = self.is_followed.clone();
        let followed = is_followed.wait_for(|it| *it);
        let outcome = tokio::time::timeout(MAX_WAIT, followed).await;
        matches!(outcome, Ok(Ok(_)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.watches.lock();
        let Some(watched) = state.by_user.get_mut(&self.user_id) else {
            return;
        };
        watched.listeners -= 1;
        if watched.listeners == 0 {
            state.by_user.remove(&self.user_id);
            state.changed.insert(self.user_id.clone());
            self.watches.changed.notify_one();
        }
    }
}
