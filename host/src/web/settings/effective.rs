//! The settings that apply now, and why.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::jobs::Snapshot;
use crate::settings::ChoiceReason;
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::Json;

/// Settings that apply now.
#[derive(Serialize, ToSchema)]
pub(super) struct EffectiveSettings {
    generation: EffectiveEngine,
    edit: EffectiveEngine,
    /// Settings that name an engine that does not exist, and problems of engines.
    problems: Vec<String>,
}

/// Engine of an operation, and the defaults of its jobs.
#[derive(Serialize, ToSchema)]
struct EffectiveEngine {
    enabled: bool,
    engine: String,
    /// Whether the engine exists, and can do this.
    available: bool,
    source: EngineSource,
    /// Why this engine is used.
    reason: String,
    /// That of the engine's binding, or else of the settings. `null` leaves the choice to the engine, as for the size and
    /// the steps.
    #[schema(required = true)]
    model: Option<String>,
    #[schema(required = true)]
    size: Option<String>,
    #[schema(required = true)]
    steps: Option<u32>,
}

/// Origin of the choice of an engine.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum EngineSource {
    /// The environment names it.
    Environment,
    /// An administrator stored its name.
    Store,
    /// The environment configures no other engine.
    OnlyConfigured,
    /// An earlier start used it, and the environment still configures it.
    PreviousStart,
    /// The engine that generates also edits.
    Generates,
    Default,
}

impl From<&ChoiceReason> for EngineSource {
    fn from(reason: &ChoiceReason) -> Self {
        match reason {
            ChoiceReason::Environment { .. } => Self::Environment,
            ChoiceReason::Stored { .. } => Self::Store,
            ChoiceReason::OnlyConfigured { .. } => Self::OnlyConfigured,
            ChoiceReason::Previous => Self::PreviousStart,
            ChoiceReason::Generates => Self::Generates,
            ChoiceReason::Default { .. } => Self::Default,
        }
    }
}

impl EffectiveSettings {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let settings = &snapshot.settings;
        let edit = &settings.edit;
        let generating = snapshot.binding(&settings.engine);
        let editing = snapshot.binding(&edit.engine);
        Self {
            generation: EffectiveEngine {
                enabled: settings.enabled,
                engine: settings.engine.clone(),
                available: generating.is_some(),
                source: (&settings.engine_reason).into(),
                reason: settings.engine_reason.to_string(),
                model: generating
                    .map_or(settings.model.as_deref(), |it| it.default_model())
                    .map(str::to_owned),
                size: generating
                    .map_or(settings.size.as_deref(), |it| it.default_size())
                    .map(str::to_owned),
                steps: generating.map_or(settings.steps, |it| it.default_steps()),
            },
            edit: EffectiveEngine {
                enabled: edit.enabled,
                engine: edit.engine.clone(),
                available: editing.is_some_and(|it| it.component.description.abilities.edit),
                source: (&edit.engine_reason).into(),
                reason: edit.engine_reason.to_string(),
                model: editing
                    .map_or(edit.model.as_deref(), |it| it.default_edit_model())
                    .map(str::to_owned),
                size: editing
                    .map_or(edit.size.as_deref(), |it| it.default_edit_size())
                    .map(str::to_owned),
                steps: None,
            },
            problems: snapshot.all_problems(),
        }
    }
}

/// `GET /api/v1/settings/effective`
#[utoipa::path(
    get,
    path = "/api/v1/settings/effective",
    tag = "settings",
    operation_id = "describe_effective_settings",
    summary = "Return the engines that generate and edit, and why. For administrators",
    responses((status = 200, description = "the settings that apply now", body = EffectiveSettings)),
)]
pub(super) async fn effective(
    State(app): State<Arc<App>>,
    _: Administrator,
) -> Result<Json<EffectiveSettings>, ApiError> {
    let snapshot = app.jobs.complete_snapshot().await?;
    Ok(Json(EffectiveSettings::new(&snapshot)))
}
