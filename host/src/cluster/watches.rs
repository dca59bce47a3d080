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
    by_user: Mutex<HashMap<String, Watched>>,
    /// Notified when a user is added or removed.
    pub(super) changed: Notify,
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

impl Watches {
    pub(super) fn add(self: &Arc<Self>, user_id: &str) -> Watch {
        let mut by_user = self.lock();
        let is_new = !by_user.contains_key(user_id);
        let watched = by_user
            .entry(user_id.to_owned())
            .or_insert_with(|| Watched {
                listeners: 0,
                is_followed: watch::Sender::new(false),
            });
        watched.listeners += 1;
        let is_followed = watched.is_followed.subscribe();
        drop(by_user);
        if is_new {
            self.changed.notify_one();
        }
        Watch {
            watches: self.clone(),
            user_id: user_id.to_owned(),
            is_followed,
        }
    }

    /// The users to follow.
    pub(super) fn users(&self) -> HashSet<String> {
        self.lock().keys().cloned().collect()
    }

    /// Records whether events of a user reach this host.
    pub(super) fn set_followed(&self, user_id: &str, is_followed: bool) {
        if let Some(watched) = self.lock().get(user_id) {
            watched.is_followed.send_replace(is_followed);
        }
    }

    /// No events reach this host.
    pub(super) fn set_all_lost(&self) {
        for watched in self.lock().values() {
            watched.is_followed.send_replace(false);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Waits until events of other hosts reach this one, or Redis does not respond. Returns whether they do.
    pub async fn wait_until_followed(&self) -> bool {
        let mut is_followed = self.is_followed.clone();
        let followed = is_followed.wait_for(|it| *it);
        let outcome = tokio::time::timeout(MAX_WAIT, followed).await;
        matches!(outcome, Ok(Ok(_)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut by_user = self.watches.lock();
        let Some(watched) = by_user.get_mut(&self.user_id) else {
            return;
        };
        watched.listeners -= 1;
        if watched.listeners == 0 {
            by_user.remove(&self.user_id);
            self.watches.changed.notify_one();
        }
    }
}
