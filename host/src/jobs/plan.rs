//! The plan of a job: which binding carries it out.

use std::sync::Arc;

use pinhole_sandbox::Edit;
use serde::Deserialize;
use utoipa::ToSchema;

use super::binding::Binding;
use super::error::Error;
use super::model_alias::ModelAlias;
use super::request::JobRequest;
use super::requester::Requester;
use super::snapshot::Snapshot;

/// What a job does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    #[default]
    Generate,
    Edit,
}

impl Operation {
    /// The operation with these images, or without any.
    #[must_use]
    pub fn of(edit: Option<&Edit>) -> Self {
        match edit {
            Some(_) => Self::Edit,
            None => Self::Generate,
        }
    }

    /// The name in the database and in responses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Edit => "edit",
        }
    }
}

/// One snapshot of the settings and one choice of a binding, for one job.
#[derive(Clone)]
pub struct JobPlan {
    pub snapshot: Arc<Snapshot>,
    pub binding: Arc<Binding>,
    pub(super) requester: Requester,
    /// The client named the binding, or a model that stands for one, so the job never falls back to another.
    pub(super) is_named: bool,
    /// What the requested model stands for.
    alias: Option<ModelAlias>,
}

impl JobPlan {
    /// Chooses the binding of a job. `engine` and `model` are the names that the client requests, if any. A
    /// model that is an alias decides the binding, unless the client requests another one.
    ///
    /// Fails if the operation is disabled, or if the requester may not use such a binding.
    pub fn new(
        snapshot: Arc<Snapshot>,
        operation: Operation,
        engine: Option<&str>,
        model: Option<&str>,
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
        let alias = model
            .and_then(|model| snapshot.alias(model))
            .filter(|alias| engine.is_none_or(|engine| engine == alias.binding))
            .cloned();
        let engine = alias.as_ref().map(|it| it.binding.as_str()).or(engine);
        let chosen = snapshot.choose(engine, &requester, default)?;
        let binding = snapshot.version_for(chosen, &requester).clone();
        Ok(Self {
            binding,
            requester,
            is_named: engine.is_some(),
            alias,
            snapshot,
        })
    }

    /// The plan of a job that this binding has ordered, so that no other one carries it out. `model` is the name that
    /// the client requested.
    pub(super) fn with_binding(
        snapshot: Arc<Snapshot>,
        binding: Arc<Binding>,
        requester: Requester,
        model: Option<&str>,
    ) -> Self {
        let alias = model.and_then(|model| snapshot.alias(model));
        Self {
            alias: alias.filter(|alias| alias.binding == binding.name).cloned(),
            snapshot,
            binding,
            requester,
            is_named: true,
        }
    }

    /// A plan of the operator for this binding.
    #[must_use]
    pub fn of_operator(snapshot: Arc<Snapshot>, binding: Arc<Binding>) -> Self {
        Self {
            snapshot,
            binding,
            requester: Requester::operator(),
            is_named: true,
            alias: None,
        }
    }

    /// The binding, if the client named it or a model that stands for it.
    #[must_use]
    pub fn named_engine(&self) -> Option<&str> {
        self.is_named.then_some(self.binding.name.as_str())
    }

    /// True if the engine stops its upstream when the job is cancelled.
    #[must_use]
    pub fn stops_upstream(&self) -> bool {
        self.binding.component.description.abilities.cancel
    }

    /// Whether a request with this model names one of the engine's.
    pub(super) fn names_model(&self, model: Option<&str>) -> bool {
        match &self.alias {
            Some(alias) => alias.model.is_some(),
            None => model.is_some(),
        }
    }

    /// Remembers that the engine refused an edit for lack of settings, for a request with this model.
    pub async fn set_edit_setup_missing(&self, model: Option<&str>) {
        if !self.names_model(model) {
            self.binding.edit_setup.set_missing().await;
        }
    }

    /// The request with the model that its alias stands for.
    pub(super) fn resolve_model(&self, request: JobRequest) -> JobRequest {
        match &self.alias {
            None => request,
            Some(alias) => JobRequest {
                model: alias.model.clone(),
                ..request
            },
        }
    }

    /// True if other bindings are tried after this failure.
    pub(super) fn may_fall_back(&self, error: &Error) -> bool {
        !self.is_named && error.allows_fallback()
    }

    /// The bindings to try if the first one is unavailable, in order.
    pub(super) fn fallbacks(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.snapshot
            .fallbacks(&self.requester)
            .filter(|binding| binding.name != self.binding.name)
    }
}
