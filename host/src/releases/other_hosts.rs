//! Changes of engines that another host has made.

use std::sync::Arc;

use anyhow::Result;
use pinhole_sandbox::Component;

use super::rows::Rows;
use super::{Releases, compose};
use crate::store::TrackRow;

impl Releases {
    /// Lets the releases serve that the database names. Running jobs finish on theirs.
    ///
    /// An engine whose release this host does not have stays as it is.
    pub async fn reload(&self) -> Result<()> {
        // Otherwise these engines could replace those of a later change.
        let _changes = self.changes.lock().await;
        let mut rows = Rows::load(&self.store).await?;
        let before = self.rows();
        if rows == before {
            return Ok(());
        }
        let tracks: Vec<TrackRow> = rows.tracks.values().cloned().collect();
        let mut admitted = Vec::new();
        for track in tracks {
            match self.admit_missing(&rows, &track).await {
                Ok(components) => admitted.extend(components),
                Err(error) => {
                    let engine = &track.engine;
                    tracing::warn!(
                        "cannot follow a change of engine {engine} by another host, it stays as it is: {error:#}; \
                         copy its file into the engine directory of this host"
                    );
                    match before.tracks.get(engine) {
                        Some(previous) => rows.tracks.insert(engine.clone(), previous.clone()),
                        None => rows.tracks.remove(engine),
                    };
                }
            }
        }
        let engines = {
            let state = self.lock();
            let mut loaded = state.loaded.clone();
            loaded.extend(admitted.iter().map(|it| (it.digest.clone(), it.clone())));
            compose(&state.engines, &rows, &loaded)
        };
        let prepared = match self.publisher.get() {
            Some(publisher) => Some(publisher.prepare(&engines).await?),
            None => None,
        };
        {
            let mut state = self.lock();
            state.rows = rows;
            let components = admitted.into_iter();
            state
                .loaded
                .extend(components.map(|it| (it.digest.clone(), it)));
            state.forget_unused();
            state.engines = engines;
        }
        if let Some(prepared) = prepared {
            prepared.publish();
        }
        Ok(())
    }

    /// Admits the releases of a track that are not loaded.
    async fn admit_missing(&self, rows: &Rows, track: &TrackRow) -> Result<Vec<Arc<Component>>> {
        let mut admitted = Vec::new();
        for digest in std::iter::once(&track.current).chain(&track.candidate) {
            let is_loaded = self.lock().loaded.contains_key(digest);
            let Some(release) = rows.releases.get(digest).filter(|_| !is_loaded) else {
                continue;
            };
            admitted.push(Arc::new(self.admit_release(release).await?));
        }
        Ok(admitted)
    }
}
