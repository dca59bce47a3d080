//! Administrators hear of changes of engines.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::App;
use crate::event::{ENGINE, Event, EventTarget};
use crate::releases::EngineEvent;

/// Administrators who hear of a change.
const MAX_ADMINISTRATORS: u32 = 100;

impl App {
    /// Emits an event to each administrator when an engine changes. Never returns.
    pub fn announce_engine_changes(self: Arc<Self>) -> impl Future<Output = ()> {
        // From this call on.
        let mut changes = self.releases.follow_changes();
        async move {
            loop {
                match changes.recv().await {
                    Ok(change) => self.announce_engine(&change).await,
                    // The newer ones follow.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        }
    }

    async fn announce_engine(&self, change: &EngineEvent) {
        let administrators = match self.store.administrators(MAX_ADMINISTRATORS).await {
            Ok(administrators) => administrators,
            Err(error) => {
                tracing::warn!("cannot tell administrators of a change of an engine: {error}");
                return;
            }
        };
        let data = serde_json::to_value(change).unwrap_or_default();
        for user_id in administrators {
            self.events.emit(Event {
                target: EventTarget {
                    user_id,
                    chat_id: None,
                    message_id: String::new(),
                },
                kind: ENGINE,
                data: data.clone(),
            });
        }
    }
}
