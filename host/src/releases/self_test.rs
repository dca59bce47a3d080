//! The test of a release before it serves.
//!
//! A problem of settings or of an upstream counts only if the current release does not have it: an upstream that is down
//! must not block an update.

mod cases;

use std::sync::Arc;

use anyhow::{Context, anyhow};
use pinhole_sandbox::{Component, JobContext};
use tokio::time::Instant;

use super::Releases;
use super::publisher::Publisher;
use crate::jobs::{Binding, JobPlan, JobRequest, Snapshot};
use crate::store::EngineChange;

/// A release to test.
pub(super) struct SelfTest<'a> {
    pub(super) engine: &'a str,
    /// What its installation writes.
    pub(super) change: &'a EngineChange,
    pub(super) component: &'a Arc<Component>,
    /// The prompt of a job that it carries out.
    pub(super) probe: Option<&'a str>,
}

impl Releases {
    /// Tests a release with the settings of each binding, its upstreams, its cases, and a job if one is wanted. Returns
    /// a note for each.
    ///
    /// The error follows the name of the component's file, unless it is one of the database.
    pub(super) async fn self_test(&self, test: &SelfTest<'_>) -> anyhow::Result<Vec<String>> {
        let Some(publisher) = self.publisher.get() else {
            return Ok(Vec::new());
        };
        let (_, engines) = self.predict(test.change, std::slice::from_ref(test.component));
        let before = publisher.jobs.snapshot();
        let prepared = publisher.prepare(&engines).await;
        let prepared = prepared.context("cannot use the settings")?;
        let next = prepared.snapshot.clone();
        // Settings may change while upstreams respond.
        drop(prepared);
        let is_replacement = before.engines.get(test.engine).is_some();
        if is_replacement {
            next.refuse_new_problems(&before)
                .map_err(|problem| anyhow!("cannot use the settings: {problem}"))?;
        }
        let bindings: Vec<_> = next
            .versions_of(test.engine, &test.component.digest)
            .collect();
        let mut notes = Vec::new();
        for binding in &bindings {
            let old = before.binding(&binding.name).map(Arc::as_ref);
            if let Some(old) = old.filter(|_| is_replacement) {
                let note = test_upstream(publisher, &next, binding, old).await;
                notes.push(note.map_err(anyhow::Error::msg)?);
            }
        }
        let of_cases = cases::run(publisher, test.component, test.engine).await;
        notes.extend(of_cases.map_err(anyhow::Error::msg)?);
        if let (Some(prompt), Some(binding)) = (test.probe, bindings.first()) {
            let note = probe(publisher, next.clone(), binding, prompt).await;
            notes.push(note.map_err(anyhow::Error::msg)?);
        }
        Ok(notes)
    }
}

/// Lets the binding verify its upstream.
async fn test_upstream(
    publisher: &Publisher,
    next: &Arc<Snapshot>,
    binding: &Binding,
    old: &Binding,
) -> Result<String, String> {
    let name = &binding.name;
    if !binding.has_upstream_url() {
        return Ok(format!("{name}: settings are valid"));
    }
    let jobs = &publisher.jobs;
    let Err(error) = jobs.verify_in(next, binding).await else {
        return Ok(format!("{name}: the upstream was verified"));
    };
    let error = error.for_operator();
    if jobs.verify(old).await.is_err() {
        return Ok(format!(
            "{name}: not verified, and neither is the version before: {error}"
        ));
    }
    Err(format!("fails to verify engine {name}: {error}"))
}

/// Lets the binding make an image, which is dropped.
async fn probe(
    publisher: &Publisher,
    next: Arc<Snapshot>,
    binding: &Arc<Binding>,
    prompt: &str,
) -> Result<String, String> {
    let plan = JobPlan::of_operator(next, binding.clone());
    let request = JobRequest {
        prompt: prompt.to_owned(),
        ..JobRequest::default()
    };
    let context = JobContext::new("probe".to_owned());
    let started = Instant::now();
    match publisher.jobs.generate(&plan, request, &context).await {
        Ok(completed) => {
            let sizes = completed.images.iter().map(|image| {
                let (width, height) = image.size();
                format!("{width}x{height}")
            });
            let sizes: Vec<_> = sizes.collect();
            Ok(format!(
                "made an image of {} in {:.1} s",
                sizes.join(", "),
                started.elapsed().as_secs_f32()
            ))
        }
        Err(error) => Err(format!(
            "fails the job {prompt:?}: {}",
            error.for_operator()
        )),
    }
}
