//! Closes long-lived connections when their API key or session becomes invalid.
//!
//! A connection is authenticated once, when it opens. A task rechecks the credentials of all open
//! connections periodically, and runs only while there are any.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{CredentialId, Store};

/// Time between two checks of the credentials.
const RECHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Credentials that one statement checks.
const MAX_CHECKED: usize = 1_000;

/// All open connections.
#[derive(Clone)]
pub(super) struct LiveSessions {
    store: Store,
    connections: Arc<Mutex<Connections>>,
}

#[derive(Default)]
struct Connections {
    by_credential: HashMap<CredentialId, SharedCredential>,
    /// The task that checks the credentials is running.
    is_watched: bool,
}

/// A credential that one or more connections use.
struct SharedCredential {
    connections: usize,
    invalid: CancellationToken,
}

/// An open connection.
pub struct LiveSession {
    sessions: LiveSessions,
    credential: CredentialId,
    invalid: CancellationToken,
}

impl LiveSession {
    /// Waits until the credential becomes invalid. The connection must then close.
    pub async fn wait_until_invalid(&self) {
        self.invalid.cancelled().await;
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        let mut connections = self.sessions.lock();
        let entry = connections.by_credential.entry(self.credential.clone());
        if let Entry::Occupied(mut shared) = entry {
            // The credential became invalid and then valid again: the entry belongs to later connections.
            if self.invalid.is_cancelled() {
                return;
            }
            shared.get_mut().connections -= 1;
            if shared.get().connections == 0 {
                shared.remove();
            }
        }
    }
}

impl LiveSessions {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            connections: Arc::default(),
        }
    }

    /// Adds a connection whose credential is valid now.
    pub(super) fn add(&self, credential: CredentialId) -> LiveSession {
        let mut connections = self.lock();
        let shared = connections
            .by_credential
            .entry(credential.clone())
            .or_insert_with(|| SharedCredential {
                connections: 0,
                invalid: CancellationToken::new(),
            });
        shared.connections += 1;
        let invalid = shared.invalid.clone();
        if !connections.is_watched {
            connections.is_watched = true;
            tokio::spawn(self.clone().watch());
        }
        LiveSession {
            sessions: self.clone(),
            credential,
            invalid,
        }
    }

    /// Checks all credentials periodically until no connection is open.
    async fn watch(self) {
        loop {
            tokio::time::sleep(RECHECK_INTERVAL).await;
            let Some(credentials) = self.credentials_to_check() else {
                return;
            };
            self.check(&credentials).await;
        }
    }

    /// Checks all credentials now.
    pub(super) async fn recheck(&self) {
        let credentials: Vec<_> = self.lock().by_credential.keys().cloned().collect();
        self.check(&credentials).await;
    }

    async fn check(&self, credentials: &[CredentialId]) {
        for batch in credentials.chunks(MAX_CHECKED) {
            match self.store.invalid_credentials(batch).await {
                Ok(invalid) => self.invalidate(&invalid),
                Err(error) => tracing::error!(
                    "cannot check the credentials of open connections, will retry: {error}"
                ),
            }
        }
    }

    /// The credentials of all open connections. `None` if no connection is open: the task must stop.
    fn credentials_to_check(&self) -> Option<Vec<CredentialId>> {
        let mut connections = self.lock();
        connections.is_watched = !connections.by_credential.is_empty();
        connections
            .is_watched
            .then(|| connections.by_credential.keys().cloned().collect())
    }

    /// Ends the connections of these credentials.
    pub(super) fn invalidate(&self, credentials: &[CredentialId]) {
        let mut connections = self.lock();
        for credential in credentials {
            if let Some(shared) = connections.by_credential.remove(credential) {
                shared.invalid.cancel();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
