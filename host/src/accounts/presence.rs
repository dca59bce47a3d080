//! Those who stay connected, for whom what they showed at first has to count all the while.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Proof, Store};

/// Time between two looks at whether those who are connected still may be.
const RECHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Keys and sessions that one statement asks about.
const MAX_ASKED: usize = 1_000;

/// All who are connected now.
#[derive(Clone)]
pub(super) struct Present {
    store: Store,
    connected: Arc<Mutex<Connected>>,
}

#[derive(Default)]
struct Connected {
    by_proof: HashMap<Proof, Shared>,
    /// A task looks after them.
    watched: bool,
}

/// What connections with the same key or session have in common.
struct Shared {
    connections: usize,
    over: CancellationToken,
}

/// One connection's, as long as it lasts.
pub struct LiveSession {
    present: Present,
    proof: Proof,
    over: CancellationToken,
}

impl LiveSession {
    /// Waits until what was shown counts no longer. Then the connection has to end.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        let mut connected = self.present.lock();
        if let Entry::Occupied(mut shared) = connected.by_proof.entry(self.proof.clone()) {
            // What is over may have been shown again since, and is another's then.
            if self.over.is_cancelled() {
                return;
            }
            shared.get_mut().connections -= 1;
            if shared.get().connections == 0 {
                shared.remove();
            }
        }
    }
}

impl Present {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            connected: Arc::default(),
        }
    }

    /// Counts one more connection with this, which counts now.
    pub(super) fn enter(&self, proof: Proof) -> LiveSession {
        let mut connected = self.lock();
        let shared = connected.by_proof.entry(proof.clone());
        let shared = shared.or_insert_with(|| Shared {
            connections: 0,
            over: CancellationToken::new(),
        });
        shared.connections += 1;
        let over = shared.over.clone();
        if !connected.watched {
            connected.watched = true;
            tokio::spawn(self.clone().watch());
        }
        LiveSession {
            present: self.clone(),
            proof,
            over,
        }
    }

    /// Looks after them until nobody is connected.
    async fn watch(self) {
        loop {
            tokio::time::sleep(RECHECK_INTERVAL).await;
            let proofs: Vec<_> = {
                let mut connected = self.lock();
                connected.watched = !connected.by_proof.is_empty();
                if !connected.watched {
                    return;
                }
                connected.by_proof.keys().cloned().collect()
            };
            for asked in proofs.chunks(MAX_ASKED) {
                match self.store.void(asked).await {
                    Ok(void) => self.end(&void),
                    Err(error) => tracing::error!(
                        "who is connected cannot be looked at, which is tried again: {error}"
                    ),
                }
            }
        }
    }

    fn end(&self, void: &[Proof]) {
        let mut connected = self.lock();
        for proof in void {
            if let Some(shared) = connected.by_proof.remove(proof) {
                shared.over.cancel();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connected> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
