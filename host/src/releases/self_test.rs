//! The test of a release before it replaces another one. It makes no image.
//!
//! A problem counts only if the current release does not have it: an upstream that is down must not block an update.

use std::sync::Arc;

use pinhole_sandbox::Component;

use super::Releases;
use super::publisher::Publisher;
use crate::jobs::{Binding, Snapshot};
use crate::store::EngineChange;

impl Releases {
    /// Tests the settings of the engine's bindings, and their upstreams, with the release that a change adds. Returns
    /// a note for each binding.
    ///
    /// The error follows the name of the component's file.
    pub(super) async fn test_settings(
        &self,
        engine: &str,
        change: &EngineChange,
        component: &Arc<Component>,
    ) -> Result<Vec<String>, String> {
        let Some(publisher) = self.publisher.get() else {
            return Ok(Vec::new());
        };
        let (_, engines) = self.predict(change, std::slice::from_ref(component));
        let before = publisher.jobs.snapshot();
        let next = publisher.prepare(&engines).await;
        let next = next.map_err(|error| format!("cannot use the settings: {error:#}"))?;
        let next = {
            let snapshot = next.snapshot.clone();
            // Settings may change while upstreams respond.
            drop(next);
            snapshot
        };
        next.refuse_new_problems(&before)
            .map_err(|problem| format!("cannot use the settings: {problem}"))?;
        let mut notes = Vec::new();
        for binding in next.versions_of(engine, &component.digest) {
            let old = before.binding(&binding.name);
            notes.push(test_binding(publisher, &next, binding, old.map(Arc::as_ref)).await?);
        }
        Ok(notes)
    }
}

/// Lets the binding verify its upstream.
async fn test_binding(
    publisher: &Publisher,
    next: &Arc<Snapshot>,
    binding: &Binding,
    old: Option<&Binding>,
) -> Result<String, String> {
    let name = &binding.name;
    if !binding.has_upstream_url() {
        return Ok(format!("{name}: settings are valid"));
    }
    let jobs = &publisher.jobs;
    let Err(error) = jobs.verify_in(next, binding).await else {
        return Ok(format!("{name}: the upstream was verified"));
    };
    let is_old_problem = match old {
        Some(old) => jobs.verify(old).await.is_err(),
        None => false,
    };
    if is_old_problem {
        let error = error.for_operator();
        return Ok(format!(
            "{name}: not verified, and neither is the version before: {error}"
        ));
    }
    Err(format!(
        "fails to verify engine {name}: {}",
        error.for_operator()
    ))
}
