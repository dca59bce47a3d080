//! Tests of a binding with values that are not stored: verification, models and explanation.

use std::sync::Arc;

use axum::extract::State;
use pinhole_ground::text::plain;
use pinhole_sandbox::EngineReport;
use pinhole_sandbox::contract::Explanation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::definition::BindingDefinition;
use super::unknown_binding;
use crate::app::{App, ChangeError};
use crate::jobs::{Binding, Error, Operation, SentRequest, Snapshot, VerifiedBinding};
use crate::settings::Change;
use crate::store;
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path};
use crate::web::images::{ImageModel, PlacementRow};
use crate::web::settings::changes_of;

/// Length of a message in bytes; a longer one is cut.
const MAX_MESSAGE_BYTES: usize = 2000;

/// What to test: the stored settings, or those with other values.
#[derive(Deserialize, ToSchema)]
pub(super) struct Trial {
    /// Values by the names of settings, as for a change of settings. They are not stored. `********` is the stored secret.
    #[serde(default)]
    settings: Map<String, Value>,
    /// A definition in place of the stored one of this binding.
    definition: Option<BindingDefinition>,
    /// Default: both for a verification, `edit` for an explanation.
    operation: Option<Operation>,
}

/// What a test of a binding found.
#[derive(Serialize, ToSchema)]
pub(super) struct BindingVerification {
    /// Whether jobs are possible.
    ok: bool,
    /// That it works, or why not and what to do.
    message: String,
    /// Software, version and devices of the upstream.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// Where the values of a job go.
    rows: Vec<PlacementRow>,
    /// What the settings do not do, although jobs are possible.
    problems: Vec<String>,
    #[schema(minimum = 0)]
    duration_ms: u64,
    /// The requests to upstreams, at most 50.
    #[schema(max_items = 50)]
    requests: Vec<RequestEntry>,
}

/// A request that was sent to an upstream.
#[derive(Serialize, ToSchema)]
struct RequestEntry {
    method: String,
    /// Without the parameters of a credential, and with `*` in place of other secrets.
    url_without_secrets: String,
    /// `null` if there is no response.
    #[schema(required = true)]
    status: Option<u16>,
}

impl From<SentRequest> for RequestEntry {
    fn from(request: SentRequest) -> Self {
        Self {
            method: request.method,
            url_without_secrets: request.url,
            status: request.status,
        }
    }
}

/// What the settings of a binding mean.
#[derive(Serialize, ToSchema)]
pub(super) struct BindingExplanation {
    /// Where the values of a job go. Empty if the engine has no document to explain.
    rows: Vec<PlacementRow>,
    /// What the settings do not do, or why they cannot be used.
    problems: Vec<String>,
}

/// The settings to test.
struct TrialSettings {
    snapshot: Arc<Snapshot>,
    binding: Arc<Binding>,
}

impl Trial {
    /// The binding with the values to test. `Err` is the reason why they cannot be used at all.
    async fn prepare(
        self,
        app: &App,
        name: &str,
        user: &store::User,
    ) -> Result<Result<TrialSettings, String>, ApiError> {
        app.jobs.count_verification(&user.id)?;
        let keys = app.setting_keys().await?;
        let mut changes = changes_of(&keys, &self.settings)?;
        if let Some(definition) = self.definition {
            let object = definition.into_object()?;
            changes.push(app.binding_change(name.to_owned(), object).await?);
        }
        log_trial(user, name, &changes);
        let snapshot = match app.preview_settings(&changes).await {
            Ok(snapshot) => snapshot,
            Err(ChangeError::Refused(why)) => return Ok(Err(why)),
            Err(error) => return Err(error.into()),
        };
        let binding = snapshot.binding(name).cloned();
        let binding = match (binding, snapshot.unavailable_reason(name)) {
            (Some(binding), _) => binding,
            (None, Some(why)) => return Ok(Err(format!("binding {name} {why}"))),
            (None, None) => return Err(unknown_binding(name)),
        };
        Ok(Ok(TrialSettings { snapshot, binding }))
    }
}

/// The values can send a stored key to another URL, so the log has their names.
fn log_trial(user: &store::User, binding: &str, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    let names: Vec<&str> = changes.iter().map(|it| it.key().name.as_str()).collect();
    tracing::info!(
        "user {} tests binding {} with other values of {}",
        user.id,
        plain(binding, super::MAX_NAME_BYTES),
        names.join(", ")
    );
}

impl BindingVerification {
    fn new(binding: &Binding, verified: VerifiedBinding) -> Self {
        let VerifiedBinding {
            found,
            requests,
            took,
        } = verified;
        let (ok, message, report) = match found {
            Ok(report) => (true, format!("engine {} works", binding.name), report),
            Err(error) => (false, message_of(&error), EngineReport::default()),
        };
        Self {
            ok,
            message,
            server: report.server,
            rows: report.rows.into_iter().map(PlacementRow::from).collect(),
            problems: report.problems,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            requests: requests.into_iter().map(RequestEntry::from).collect(),
        }
    }

    fn refused(message: String) -> Self {
        Self {
            ok: false,
            message,
            server: None,
            rows: Vec::new(),
            problems: Vec::new(),
            duration_ms: 0,
            requests: Vec::new(),
        }
    }
}

fn message_of(error: &Error) -> String {
    plain(&error.for_operator(), MAX_MESSAGE_BYTES)
}

/// `POST /api/v1/bindings/{name}/verify`
#[utoipa::path(
    post,
    path = "/api/v1/bindings/{name}/verify",
    tag = "bindings",
    operation_id = "verify_binding",
    summary = "Test a binding, also with values that are not stored. For administrators",
    params(("name" = String, Path, description = "Name of the binding.")),
    request_body = Trial,
    responses(
        (status = 200, description = "whether it works, and the requests that were sent", body = BindingVerification),
        (status = 400, description = "a setting does not exist, or its value has another type"),
        (status = 404, description = "unknown binding"),
        (status = 429, description = "too many tests in a minute"),
    ),
)]
pub(super) async fn verify(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
    Json(trial): Json<Trial>,
) -> Result<Json<BindingVerification>, ApiError> {
    let operation = trial.operation;
    let trial = match trial.prepare(&app, &name, &user).await? {
        Ok(trial) => trial,
        Err(why) => return Ok(Json(BindingVerification::refused(why))),
    };
    let TrialSettings { snapshot, binding } = trial;
    let verified = app
        .jobs
        .verify_with_requests(&snapshot, &binding, operation)
        .await;
    if let Err(error) = &verified.found
        && error.is_shutdown()
    {
        return Err(ApiError::shutting_down());
    }
    Ok(Json(BindingVerification::new(&binding, verified)))
}

/// `POST /api/v1/bindings/{name}/models`
#[utoipa::path(
    post,
    path = "/api/v1/bindings/{name}/models",
    tag = "bindings",
    operation_id = "list_binding_models",
    summary = "List the models of a binding, also with values that are not stored. For administrators",
    params(("name" = String, Path, description = "Name of the binding.")),
    request_body = Trial,
    responses(
        (status = 200, description = "the models in the upstream's order", body = [ImageModel]),
        (status = 400, description = "the models cannot be listed with these values; `detail` says why"),
        (status = 404, description = "unknown binding"),
        (status = 429, description = "too many tests in a minute"),
    ),
)]
pub(super) async fn list_models(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
    Json(trial): Json<Trial>,
) -> Result<Json<Vec<ImageModel>>, ApiError> {
    let bad = |why: String| ApiError::new(http::StatusCode::BAD_REQUEST, why);
    let trial = trial.prepare(&app, &name, &user).await?.map_err(bad)?;
    // Equal settings have the cache of the current binding.
    let models = app.jobs.listed_models(&trial.binding).await;
    let models = models.map_err(|error| {
        if error.is_shutdown() {
            return error.into();
        }
        bad(message_of(&error))
    })?;
    Ok(Json(models.iter().map(ImageModel::from).collect()))
}

/// `POST /api/v1/bindings/{name}/explain`
#[utoipa::path(
    post,
    path = "/api/v1/bindings/{name}/explain",
    tag = "bindings",
    operation_id = "explain_binding",
    summary = "Explain where the values of a job go, also with values that are not stored. For administrators",
    params(("name" = String, Path, description = "Name of the binding.")),
    request_body = Trial,
    responses(
        (status = 200, description = "the places, and problems", body = BindingExplanation),
        (status = 400, description = "a setting does not exist, or its value has another type"),
        (status = 404, description = "unknown binding"),
        (status = 429, description = "too many tests in a minute"),
    ),
)]
pub(super) async fn explain(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
    Json(trial): Json<Trial>,
) -> Result<Json<BindingExplanation>, ApiError> {
    let operation = trial.operation.map_or(Operation::Edit, Operation::from);
    let explained = match trial.prepare(&app, &name, &user).await? {
        Err(why) => Err(why),
        Ok(TrialSettings { snapshot, binding }) => {
            let explained = app.jobs.explain_in(&snapshot, &binding, operation).await;
            match explained {
                Err(error) if error.is_shutdown() => return Err(error.into()),
                explained => explained.map_err(|error| message_of(&error)),
            }
        }
    };
    let Explanation { rows, problems } = explained.unwrap_or_else(|why| Explanation {
        rows: Vec::new(),
        problems: vec![why],
    });
    Ok(Json(BindingExplanation {
        rows: rows.into_iter().map(PlacementRow::from).collect(),
        problems,
    }))
}
