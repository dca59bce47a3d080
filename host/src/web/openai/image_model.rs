//! `ImageModel`: what the model of a request names among the image engines.

use pinhole_images::Image;

use super::conversation::Conversation;
use crate::app::App;
use crate::jobs::{JobPlan, Operation};
use crate::store::User;
use crate::web::auth;
use crate::web::error::ApiError;

/// What a conversation wants of its images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Action {
    /// An edit if there are images.
    Auto,
    Generate,
    Edit,
}

/// The plan of a job for a conversation.
pub(super) struct TurnPlan {
    pub(super) plan: JobPlan,
    /// The images to edit. Empty: the job generates.
    pub(super) sources: Vec<Image>,
}

/// An engine, a model, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ImageModel {
    /// The binding; `None` is the default.
    pub(super) engine: Option<String>,
    /// A model of the engine; `None` is the engine's default.
    pub(super) model: Option<String>,
}

impl ImageModel {
    /// The engine or the model that has this name: an alias or a binding that the user may use, the configured
    /// model, or a model that `GET /v1/models` lists for them.
    pub(super) async fn find(app: &App, user: &User, name: &str) -> Result<Option<Self>, ApiError> {
        if let Some(configured) = Self::find_configured(app, user, name).await? {
            return Ok(Some(configured));
        }
        let snapshot = app.jobs.complete_snapshot().await?;
        let requester = auth::requester(app, &snapshot, user, None).await?;
        let Ok(binding) = snapshot.listed_binding(&requester) else {
            return Ok(None);
        };
        let models = app.jobs.listed_models(binding).await;
        let is_listed = models.is_ok_and(|models| models.iter().any(|model| model.id == name));
        Ok(is_listed.then(|| Self {
            engine: Some(binding.name.clone()),
            model: Some(name.to_owned()),
        }))
    }

    /// The same, except for the models of an upstream's list.
    pub(super) async fn find_configured(
        app: &App,
        user: &User,
        name: &str,
    ) -> Result<Option<Self>, ApiError> {
        let snapshot = app.jobs.complete_snapshot().await?;
        let requester = auth::requester(app, &snapshot, user, None).await?;
        if snapshot
            .usable_aliases(&requester)
            .any(|(alias, _)| alias == name)
        {
            // The plan knows its binding.
            return Ok(Some(Self {
                engine: None,
                model: Some(name.to_owned()),
            }));
        }
        if let Some(binding) = snapshot.usable_binding(name, &requester) {
            return Ok(Some(Self {
                engine: Some(binding.name.clone()),
                model: None,
            }));
        }
        let listed = snapshot.listed_binding(&requester).ok();
        let with_default = listed.filter(|binding| binding.default_model() == Some(name));
        Ok(with_default.map(|binding| Self {
            engine: Some(binding.name.clone()),
            model: Some(name.to_owned()),
        }))
    }

    /// Plans a job of this engine.
    pub(super) async fn plan(
        &self,
        app: &App,
        user: &User,
        operation: Operation,
    ) -> Result<JobPlan, ApiError> {
        let (engine, model) = (self.engine.as_deref(), self.model.as_deref());
        let snapshot = app.jobs.snapshot_for(operation, engine, model).await?;
        let requester = auth::requester(app, &snapshot, user, None).await?;
        Ok(JobPlan::new(snapshot, operation, engine, model, requester)?)
    }

    /// Plans the job of a conversation's newest turn, and loads its images. `field` is the conversation's name
    /// in an error.
    ///
    /// Images of earlier turns are edited only if the engine can: the client did not send them for this turn.
    pub(super) async fn plan_turn(
        &self,
        app: &App,
        user: &User,
        conversation: &Conversation<'_>,
        action: Action,
        field: &str,
    ) -> Result<TurnPlan, ApiError> {
        if action == Action::Generate && conversation.has_images() {
            let message = format!(
                "{field} has images, but a generation uses none: leave them out, or request an edit"
            );
            return Err(ApiError::invalid(field, message));
        }
        if conversation.has_images() {
            let plan = self.plan(app, user, Operation::Edit).await?;
            let sources = conversation.load_images(app, user, field).await?;
            return Ok(TurnPlan { plan, sources });
        }
        if action != Action::Generate
            && let Some(turn) = self.plan_edit_of_earlier(app, user, conversation).await
        {
            return Ok(turn);
        }
        if action == Action::Edit {
            let message = format!("{field} has no image that can be edited: add one");
            return Err(ApiError::invalid(field, message));
        }
        let plan = self.plan(app, user, Operation::Generate).await?;
        let sources = Vec::new();
        Ok(TurnPlan { plan, sources })
    }

    async fn plan_edit_of_earlier(
        &self,
        app: &App,
        user: &User,
        conversation: &Conversation<'_>,
    ) -> Option<TurnPlan> {
        let plan = self.plan(app, user, Operation::Edit).await.ok()?;
        let abilities = &plan.binding.component.description.abilities;
        if !abilities.edit {
            return None;
        }
        let max_count = usize::try_from(abilities.max_sources).unwrap_or(usize::MAX);
        let sources = conversation.load_earlier_images(app, user, max_count).await;
        (!sources.is_empty()).then_some(TurnPlan { plan, sources })
    }
}
