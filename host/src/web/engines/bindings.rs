//! The engines that a user may use, with their abilities, defaults and models.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use pinhole_ground::text::plain;
use pinhole_sandbox::contract::{Parameter, ParameterKind};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::jobs::{Binding, Operation};
use crate::releases::EngineList;
use crate::web::auth::{self, ImageCreator, User};
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path};
use crate::web::images::{ImageModel, bracketed};

/// Length of an unknown name that an error repeats, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// The engines that the caller may use.
#[derive(Serialize, ToSchema)]
pub(super) struct UsableEngines {
    /// The bindings, by name: engines with their settings. Empty if the caller may not make images.
    bindings: Vec<UsableBinding>,
    /// The versions of all engines. For administrators.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    releases: Option<EngineList>,
}

/// An engine with its settings, as a user meets it.
#[derive(Serialize, ToSchema)]
struct UsableBinding {
    /// The name in requests (`engine`).
    name: String,
    engine: String,
    /// The engine's name for a person.
    title: String,
    version: String,
    abilities: Abilities,
    /// What a request can set in `parameters`.
    parameters: Vec<ParameterEntry>,
    /// It takes other parameters too.
    other_parameters: bool,
    /// The model of a request that names none. `null` leaves the choice to the engine, as for the size.
    #[schema(required = true)]
    default_model: Option<String>,
    /// `WxH` or `auto`.
    #[schema(required = true)]
    default_size: Option<String>,
    /// False if its settings do not allow to generate.
    is_ready: bool,
    /// Why it is not ready.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The caller gets it if a request to generate names none.
    generates_by_default: bool,
    /// The caller gets it if a request to edit names none.
    edits_by_default: bool,
}

/// What an engine can do.
#[derive(Serialize, ToSchema)]
struct Abilities {
    edit: bool,
    /// An edit may have a mask.
    mask: bool,
    negative_prompt: bool,
    seed: bool,
    steps: bool,
    strength: bool,
    /// It reports progress.
    progress: bool,
    /// Images that a request may ask for.
    #[schema(minimum = 0)]
    max_count: u32,
    /// Source images of an edit; 0 if it cannot edit.
    #[schema(minimum = 0)]
    max_sources: u32,
}

/// A value that a request can set for an engine.
#[derive(Serialize, ToSchema)]
struct ParameterEntry {
    /// The field in `parameters`, and in the images API of OpenAI.
    name: String,
    /// Label in a form.
    title: String,
    description: String,
    r#type: ParameterType,
    /// Of a number or an integer.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    /// Of a choice.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    choices: Vec<String>,
    /// What the engine uses without it.
    #[schema(required = true, value_type = Option<Value>)]
    default: Option<Value>,
    #[schema(required = true)]
    unit: Option<String>,
}

/// The type of a parameter.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ParameterType {
    Text,
    Integer,
    Number,
    Boolean,
    Choice,
}

impl ParameterEntry {
    fn new(parameter: &Parameter) -> Self {
        let (mut min, mut max, mut choices) = (None, None, Vec::new());
        let kind = match &parameter.kind {
            ParameterKind::Text => ParameterType::Text,
            ParameterKind::Boolean => ParameterType::Boolean,
            ParameterKind::Integer(range) => {
                (min, max) = (range.min.map(number), range.max.map(number));
                ParameterType::Integer
            }
            ParameterKind::Number(range) => {
                (min, max) = (range.min, range.max);
                ParameterType::Number
            }
            ParameterKind::Choice(texts) => {
                choices.clone_from(texts);
                ParameterType::Choice
            }
        };
        let default = parameter.default.as_ref();
        Self {
            name: parameter.name.clone(),
            title: parameter.title.clone(),
            description: parameter.description.clone(),
            r#type: kind,
            min,
            max,
            choices,
            default: default.and_then(|json| serde_json::from_str(json).ok()),
            unit: parameter.unit.clone(),
        }
    }
}

/// A bound as JSON has it. Clients lose the digits of an integer beyond 2⁵³ anyway.
#[expect(
    clippy::cast_precision_loss,
    reason = "a number of JSON is a float for most clients"
)]
const fn number(bound: i64) -> f64 {
    bound as f64
}

impl UsableBinding {
    fn new(binding: &Binding, generates_by_default: bool, edits_by_default: bool) -> Self {
        let description = &binding.component.description;
        let abilities = &description.abilities;
        let reason = binding.unready_reason();
        Self {
            name: binding.name.clone(),
            engine: description.name.clone(),
            title: description.title.clone(),
            version: description.version.clone(),
            abilities: Abilities {
                edit: abilities.edit,
                mask: abilities.mask,
                negative_prompt: abilities.negative_prompt,
                seed: abilities.seed,
                steps: abilities.steps,
                strength: abilities.strength,
                progress: abilities.progress,
                max_count: abilities.max_count,
                max_sources: abilities.max_sources,
            },
            parameters: description
                .parameters
                .iter()
                .map(ParameterEntry::new)
                .collect(),
            other_parameters: description.other_parameters,
            default_model: binding.default_model().map(str::to_owned),
            default_size: binding.default_size().map(str::to_owned),
            is_ready: reason.is_none(),
            reason,
            generates_by_default,
            edits_by_default,
        }
    }

    /// Only operators see the names and values of settings.
    fn without_details(mut self) -> Self {
        if let Some(reason) = &mut self.reason {
            *reason = "its settings are incomplete or invalid: ask an administrator".to_owned();
        }
        self
    }
}

/// `GET /api/v1/engines`
#[utoipa::path(
    get,
    path = "/api/v1/engines",
    tag = "engines",
    operation_id = "list_usable_engines",
    summary = "List the engines that the caller may use, with abilities and defaults",
    responses((status = 200, description = "the engines, and for administrators their versions", body = UsableEngines)),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    User(user): User,
) -> Result<Json<UsableEngines>, ApiError> {
    let is_administrator = user.role == "admin";
    let releases = is_administrator.then(|| app.releases.list());
    if !auth::may_create_images(&app, &user).await? {
        return Ok(Json(UsableEngines {
            bindings: Vec::new(),
            releases,
        }));
    }
    let snapshot = app.jobs.snapshot();
    let requester = auth::requester(&app, &snapshot, &user, None).await?;
    let generates = snapshot.default_binding(Operation::Generate, &requester);
    let edits = snapshot.default_binding(Operation::Edit, &requester);
    let bindings = snapshot.usable_bindings(&requester).map(|binding| {
        let name = Some(binding.name.as_str());
        let can_edit = binding.component.description.abilities.edit;
        let usable = UsableBinding::new(binding, name == generates, can_edit && name == edits);
        if is_administrator {
            usable
        } else {
            usable.without_details()
        }
    });
    Ok(Json(UsableEngines {
        bindings: bindings.collect(),
        releases,
    }))
}

/// `GET /api/v1/engines/{name}/models`
#[utoipa::path(
    get,
    path = "/api/v1/engines/{name}/models",
    tag = "engines",
    operation_id = "list_engine_models",
    summary = "List the models of an engine that the caller may use",
    params(("name" = String, Path, description = "Name of the engine or of one of its bindings.")),
    responses(
        (status = 200, description = "the models in the upstream's order", body = [ImageModel]),
        (status = 400, description = "the upstream cannot list its models"),
        (status = 403, description = "the user lacks the permission to generate images"),
        (status = 404, description = "unknown engine, or one that the user may not use"),
        (status = 429, description = "too many requests of the user in a minute"),
    ),
)]
pub(super) async fn list_models(
    State(app): State<Arc<App>>,
    ImageCreator(user): ImageCreator,
    Path(name): Path<String>,
) -> Result<Json<Vec<ImageModel>>, ApiError> {
    app.jobs.count_model_list(&user.id)?;
    let snapshot = app
        .jobs
        .snapshot_for(Operation::Generate, Some(&name), None)
        .await?;
    let requester = auth::requester(&app, &snapshot, &user, None).await?;
    let mut usable = snapshot.usable_bindings(&requester);
    let Some(binding) = usable.find(|it| it.name == name) else {
        let name = plain(&name, MAX_NAME_BYTES);
        let detail = format!("unknown engine {name}: use one that GET /api/v1/engines lists");
        return Err(ApiError::new(StatusCode::NOT_FOUND, detail));
    };
    let models = app.jobs.listed_models(binding).await.map_err(bracketed)?;
    Ok(Json(models.iter().map(ImageModel::from).collect()))
}
