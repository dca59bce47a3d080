//! The settings of the image API as Open WebUI's form has them: all at once, by their variables'
//! names. No secret is ever shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use http::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::fields::Fields;
use crate::app::App;
use crate::settings::{Change, Key, Kind, MARKER, Overlay, Settings};
use crate::web::auth;
use crate::web::error::ApiError;
use crate::web::settings::shape;

use nodes::{complete, same};

mod nodes;

/// The fields of the form, which are all required.
const FIELDS: [&str; 33] = [
    "ENABLE_IMAGE_GENERATION",
    "ENABLE_IMAGE_PROMPT_GENERATION",
    ENGINE,
    MODEL,
    SIZE,
    STEPS,
    "IMAGES_OPENAI_API_BASE_URL",
    "IMAGES_OPENAI_API_KEY",
    "IMAGES_OPENAI_API_VERSION",
    "IMAGES_OPENAI_API_PARAMS",
    "AUTOMATIC1111_BASE_URL",
    "AUTOMATIC1111_API_AUTH",
    "AUTOMATIC1111_PARAMS",
    "COMFYUI_BASE_URL",
    "COMFYUI_API_KEY",
    "COMFYUI_WORKFLOW",
    "COMFYUI_WORKFLOW_NODES",
    "IMAGES_GEMINI_API_BASE_URL",
    "IMAGES_GEMINI_API_KEY",
    "IMAGES_GEMINI_ENDPOINT_METHOD",
    "ENABLE_IMAGE_EDIT",
    EDIT_ENGINE,
    "IMAGE_EDIT_MODEL",
    "IMAGE_EDIT_SIZE",
    "IMAGES_EDIT_OPENAI_API_BASE_URL",
    "IMAGES_EDIT_OPENAI_API_KEY",
    "IMAGES_EDIT_OPENAI_API_VERSION",
    "IMAGES_EDIT_GEMINI_API_BASE_URL",
    "IMAGES_EDIT_GEMINI_API_KEY",
    "IMAGES_EDIT_COMFYUI_BASE_URL",
    "IMAGES_EDIT_COMFYUI_API_KEY",
    "IMAGES_EDIT_COMFYUI_WORKFLOW",
    "IMAGES_EDIT_COMFYUI_WORKFLOW_NODES",
];
const ENGINE: &str = "IMAGE_GENERATION_ENGINE";
const EDIT_ENGINE: &str = "IMAGE_EDIT_ENGINE";
const MODEL: &str = "IMAGE_GENERATION_MODEL";
const SIZE: &str = "IMAGE_SIZE";
const STEPS: &str = "IMAGE_STEPS";
/// Fields that may be null besides numbers and documents.
const NULLABLE: [&str; 3] = [SIZE, "IMAGE_EDIT_SIZE", "AUTOMATIC1111_API_AUTH"];
/// Addresses that Open WebUI keeps without slashes on both ends.
const WITHOUT_SLASHES: [&str; 2] = ["COMFYUI_BASE_URL", "IMAGES_EDIT_COMFYUI_BASE_URL"];
/// Models that may be asked for a picture of their own choice of size.
const AUTO_MODELS: &str = "gpt-image";
/// The engine that nobody chose depends on these; so does the one for edits on the second list.
const MOVES_ENGINE: [&str; 2] = ["ENABLE_IMAGE_GENERATION", "IMAGES_OPENAI_API_KEY"];
const MOVES_EDIT_ENGINE: [&str; 2] = ["ENABLE_IMAGE_EDIT", "IMAGES_EDIT_OPENAI_API_KEY"];

/// The form: what is set, and how it looks.
struct Form {
    keys: BTreeMap<&'static str, Key>,
    overlay: Arc<Overlay>,
    shown: BTreeMap<&'static str, Value>,
}

/// `GET /api/v1/images/config`
#[utoipa::path(
    get,
    path = "/api/v1/images/config",
    tag = "images",
    operation_id = "describe_image_settings",
    summary = "How pictures are made, as it is set. For administrators",
    responses((status = 200, description = "secrets that are set are `********`", body = shape::ImageSettings)),
)]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    auth::administrator(&app, &headers).await?;
    Ok(Json(Form::read(&app).into_json()))
}

/// `POST /api/v1/images/config/update`: all or nothing. What is sent as it was shown stays as it is.
#[utoipa::path(
    post,
    path = "/api/v1/images/config/update",
    tag = "images",
    operation_id = "change_image_settings",
    summary = "Set how pictures are made. For administrators",
    request_body = shape::ImageSettings,
    responses(
        (status = 200, description = "what is set now", body = shape::ImageSettings),
        (status = 400, description = "the server or an engine cannot work with it; nothing is changed"),
        (status = 422, description = "fields are missing or of another type"),
    ),
)]
pub(super) async fn update(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let user = auth::administrator(&app, &headers).await?;
    let sent = read(Fields::read(request).await?)?;
    let changes = Form::read(&app).changes(sent)?;
    app.change(&user, changes).await?;
    Ok(Json(Form::read(&app).into_json()))
}

/// The fields of a body, each of its type.
fn read(mut fields: Fields) -> Result<BTreeMap<&'static str, Value>, ApiError> {
    let known = crate::settings::keys([]);
    let mut sent = BTreeMap::new();
    for name in FIELDS {
        let Some(value) = fields.required(name) else {
            continue;
        };
        let kind = known.iter().find(|key| key.name == name);
        let kind = kind.map_or(Kind::Text, |key| key.kind);
        if let Err((mistake, message)) = check_type(name, kind, &value) {
            fields.refuse(&[name.into()], mistake, message);
        }
        sent.insert(name, value);
    }
    fields.finish().map(|()| sent)
}

/// The kind of mistake and what to say of it, as FastAPI does.
fn check_type(name: &str, kind: Kind, value: &Value) -> Result<(), (&'static str, &'static str)> {
    let fits = match (kind, value) {
        (Kind::Integer | Kind::Object, Value::Null) => true,
        (Kind::Boolean, value) => value.is_boolean(),
        (Kind::Integer, value) => kind.text(value).is_ok_and(|text| !text.is_empty()),
        (Kind::Object, value) => value.is_object() || value.is_string(),
        (Kind::List, Value::Array(items)) => items.iter().all(Value::is_object),
        (_, Value::Null) => NULLABLE.contains(&name),
        (_, value) => value.is_string(),
    };
    match (fits, kind) {
        (true, _) => Ok(()),
        (false, Kind::Boolean) => Err(("bool_type", "Input should be a valid boolean")),
        (false, Kind::Integer) => Err(("int_type", "Input should be a valid integer")),
        (false, Kind::Object) => Err(("dict_type", "Input should be a valid dictionary")),
        (false, Kind::List) => Err(("list_type", "Input should be a valid list of dictionaries")),
        (false, _) => Err(("string_type", "Input should be a valid string")),
    }
}

impl Form {
    fn read(app: &App) -> Self {
        let (overlay, current) = (app.settings.current(), app.jobs.current());
        let mut keys = BTreeMap::new();
        let mut shown = BTreeMap::new();
        for key in app.keys() {
            let Some(name) = FIELDS.iter().find(|name| **name == key.name) else {
                continue;
            };
            shown.insert(*name, look(&key, &overlay, &current.settings));
            keys.insert(*name, key);
        }
        Self {
            keys,
            overlay,
            shown,
        }
    }

    fn into_json(self) -> Value {
        let members = self.shown.into_iter();
        let members = members.map(|(name, value)| (name.to_owned(), value));
        Value::Object(members.collect::<Map<_, _>>())
    }

    /// What this body asks to be changed.
    fn changes(&self, mut sent: BTreeMap<&'static str, Value>) -> Result<Vec<Change>, ApiError> {
        for (name, value) in &mut sent {
            self.normalise(name, value);
        }
        self.check_numbers(&sent)?;
        let mut changes = BTreeMap::new();
        for (name, value) in &sent {
            if let Some(change) = self.change(name, value)? {
                changes.insert(*name, change);
            }
        }
        self.hold_engines(&sent, &mut changes)?;
        Ok(changes.into_values().collect())
    }

    fn normalise(&self, name: &str, value: &mut Value) {
        if let (true, Value::String(url)) = (WITHOUT_SLASHES.contains(&name), &mut *value) {
            *url = url.trim().trim_matches('/').to_owned();
        }
        let shown = self.shown.get(name).and_then(Value::as_array);
        if let (Value::Array(items), Some(shown)) = (&mut *value, shown) {
            *items = complete(std::mem::take(items), shown);
        }
    }

    /// Open WebUI's own checks and words, of what is to be another than before.
    fn check_numbers(&self, sent: &BTreeMap<&'static str, Value>) -> Result<(), ApiError> {
        let text = |name: &str| sent.get(name).and_then(Value::as_str).unwrap_or_default();
        let moved = |name: &&str| sent.get(*name) != self.shown.get(*name);
        let wrong = |field: &str, example: &str| {
            let detail = format!("Invalid format. Please use the correct format  ({example}).");
            Err(ApiError::invalid(field, detail))
        };
        let size = text(SIZE);
        if [SIZE, MODEL].iter().any(moved) {
            if size == "auto" && !text(MODEL).starts_with(AUTO_MODELS) {
                return wrong(SIZE, "auto is only allowed with gpt-image models");
            }
            if !(size.is_empty() || size == "auto" || is_size(size)) {
                return wrong(SIZE, "e.g., 512x512");
            }
        }
        let steps = sent.get(STEPS).map(|steps| Kind::Integer.text(steps));
        match steps.is_some_and(|steps| steps.is_ok_and(|steps| steps.starts_with('-'))) {
            true => wrong(STEPS, "e.g., 50"),
            false => Ok(()),
        }
    }

    /// What looks as before stays; an empty text says nothing of what is not set.
    fn change(&self, name: &str, value: &Value) -> Result<Option<Change>, ApiError> {
        let (Some(key), Some(shown)) = (self.keys.get(name), self.shown.get(name)) else {
            return Ok(None);
        };
        // What cannot be used may have been set at the start.
        if value == shown {
            return Ok(None);
        }
        let invalid = |why: String| ApiError::invalid(name, format!("{name} {why}"));
        let text = key.kind.text(value).map_err(invalid)?;
        let unset = text.is_empty() && self.overlay.text(key).is_none() && name != ENGINE;
        let looks_same = match (value, shown) {
            (Value::Array(value), Value::Array(shown)) => same(value, shown),
            _ => key.kind.text(shown).is_ok_and(|shown| shown == text),
        };
        match unset || looks_same {
            true => Ok(None),
            false => Change::new(key, value).map_err(invalid),
        }
    }

    /// An engine that nobody has chosen stays the one that is shown: other fields do not move it.
    fn hold_engines(
        &self,
        sent: &BTreeMap<&'static str, Value>,
        changes: &mut BTreeMap<&'static str, Change>,
    ) -> Result<(), ApiError> {
        let engine = sent.get(ENGINE).cloned().unwrap_or_default();
        for (name, movers) in [(ENGINE, MOVES_ENGINE), (EDIT_ENGINE, MOVES_EDIT_ENGINE)] {
            let moved = movers.iter().any(|mover| changes.contains_key(mover));
            let key = self.keys.get(name);
            let unset = key.filter(|key| self.overlay.text(key).is_none());
            if let (Some(key), true, false) = (unset, moved, changes.contains_key(name)) {
                let change = Change::new(key, &engine);
                let change = change.map_err(|why| ApiError::invalid(name, format!("{name} {why}")));
                changes.extend(change?.map(|change| (name, change)));
            }
        }
        Ok(())
    }
}

/// What is set, or what holds where nothing is; of edits, nothing then.
fn look(key: &Key, overlay: &Overlay, settings: &Settings) -> Value {
    let shown = overlay.shown(key).filter(|value| !value.is_null());
    match shown {
        // The form has a list there, whatever was set at the start.
        Some(value) if key.kind == Kind::List && !value.is_array() => return json!([]),
        Some(value) => return value,
        None => {}
    }
    match key.name.as_str() {
        "ENABLE_IMAGE_GENERATION" => json!(settings.enabled),
        "ENABLE_IMAGE_PROMPT_GENERATION" => json!(settings.prompt.enabled),
        "ENABLE_IMAGE_EDIT" => json!(settings.edit.enabled),
        ENGINE => json!(settings.engine),
        _ => match (key.kind, overlay.shared(key), key.default.as_deref()) {
            (Kind::Secret, Some(_), _) => json!(MARKER),
            (Kind::Secret, None, _) => json!(""),
            (kind, Some(text), _) | (kind, None, Some(text)) if !text.is_empty() => {
                kind.value(text)
            }
            (Kind::Object, ..) => json!({}),
            (Kind::List, ..) => json!([]),
            (Kind::Integer, ..) => json!(null),
            _ => json!(""),
        },
    }
}

/// Such as `512x512`.
fn is_size(text: &str) -> bool {
    let digits = |side: &str| !side.is_empty() && side.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('x')
        .is_some_and(|(width, height)| digits(width) && digits(height))
}
