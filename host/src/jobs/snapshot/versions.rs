//! The versions of a binding: two during a rollout of its engine.

use std::sync::Arc;

use pinhole_ground::metrics::Release;

use super::Snapshot;
use crate::jobs::binding::Binding;
use crate::jobs::requester::Requester;

impl Snapshot {
    /// The versions of a binding that serve: two during a rollout of its engine.
    pub(super) fn versions(&self, name: &str) -> Vec<&Binding> {
        let secondary = self.secondary.get(name).map(|it| &it.binding);
        let all = self.bindings.get(name).into_iter().chain(secondary);
        all.map(Arc::as_ref).collect()
    }

    /// The bindings of an engine with the version of this digest.
    pub fn versions_of(&self, engine: &str, digest: &str) -> impl Iterator<Item = &Arc<Binding>> {
        let secondary = self.secondary.values().map(|it| &it.binding);
        let all = self.bindings.values().chain(secondary);
        all.filter(move |it| it.engine() == engine && it.component.digest == digest)
    }

    /// The version of a binding for a requester: the same one each time.
    pub(in crate::jobs) fn version_for<'a>(
        &'a self,
        binding: &'a Arc<Binding>,
        requester: &Requester,
    ) -> &'a Arc<Binding> {
        match self.secondary.get(&binding.name) {
            Some(other) if requester.place_in_hundred() < other.percent => &other.binding,
            _ => binding,
        }
    }

    /// Whether a binding has the candidate of a rollout.
    pub(in crate::jobs) fn release_of(&self, binding: &Binding) -> Release {
        match self.engines.rollout(binding.engine()) {
            Some(rollout) if rollout.candidate.digest == binding.component.digest => {
                Release::Candidate
            }
            _ => Release::Current,
        }
    }

    /// The binding with the stable version of its engine, if this one has the candidate.
    pub(in crate::jobs) fn stable_version(&self, binding: &Binding) -> Option<&Arc<Binding>> {
        if self.release_of(binding) == Release::Current {
            return None;
        }
        let rollout = self.engines.rollout(binding.engine())?;
        let stable = &rollout.stable.digest;
        let primary = self.bindings.get(&binding.name);
        let secondary = self.secondary.get(&binding.name).map(|it| &it.binding);
        let mut versions = primary.into_iter().chain(secondary);
        versions.find(|it| it.component.digest == *stable)
    }
}
