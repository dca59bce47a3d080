//! The plan of a job: which binding carries it out.

use std::sync::Arc;

use super::binding::Binding;
use super::error::Error;
use super::requester::Requester;
use super::snapshot::Snapshot;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Generate,
    Edit,
}

/// One snapshot of the settings and one choice of a binding, for one job.
#[derive(Clone)]
pub struct JobPlan {
    pub snapshot: Arc<Snapshot>,
    pub binding: Arc<Binding>,
    pub(super) requester: Requester,
    /// The client named the binding, so the job never falls back to another.
    pub(super) is_named: bool,
}

impl JobPlan {
    /// Chooses the binding of a job. `engine` is the name that the client requests, if any.
    ///
    /// Fails if the operation is disabled, or if the requester may not use such a binding.
    pub fn new(
        snapshot: Arc<Snapshot>,
        operation: Operation,
        engine: Option<&str>,
        requester: Requester,
    ) -> Result<Self, Error> {
        let settings = &snapshot.settings;
        let default = match operation {
            Operation::Generate if !settings.enabled => {
                return Err(Error::Disabled("image generation is disabled"));
            }
            Operation::Edit if !settings.edit.enabled => {
                return Err(Error::Disabled("image editing is disabled"));
            }
            Operation::Generate => &settings.engine,
            Operation::Edit => &settings.edit.engine,
        };
        let binding = snapshot.choose(engine, &requester, default)?.clone();
        Ok(Self {
            binding,
            requester,
            is_named: engine.is_some(),
            snapshot,
        })
    }

    /// The bindings to try if the first one is unavailable, in order.
    pub(super) fn fallbacks(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.snapshot
            .fallbacks(&self.requester)
            .filter(|binding| binding.name != self.binding.name)
    }
}
