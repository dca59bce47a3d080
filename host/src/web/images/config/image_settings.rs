//! `ImageSettings`: the fields of Open WebUI's form, their types and their schema.

use std::collections::{BTreeMap, btree_map};

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};
use utoipa::{PartialSchema, ToSchema};

use crate::settings::ValueKind;
use crate::web::error::ApiError;
use crate::web::images::valid_json::{Fields, FromFields};

pub(super) const ENGINE: &str = "IMAGE_GENERATION_ENGINE";
pub(super) const MODEL: &str = "IMAGE_GENERATION_MODEL";
pub(super) const SIZE: &str = "IMAGE_SIZE";
pub(super) const STEPS: &str = "IMAGE_STEPS";

/// The fields of the form. All are required.
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
    "IMAGE_EDIT_ENGINE",
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
/// Text fields that may be null.
const NULLABLE: [&str; 3] = [SIZE, "IMAGE_EDIT_SIZE", "AUTOMATIC1111_API_AUTH"];

const DESCRIPTION: &str = "The image settings. A secret that is set is returned as `********`; this value \
    leaves the secret unchanged, and an empty string removes it.";

/// The form's values by the names of their fields.
#[derive(Serialize)]
pub(in crate::web::images) struct ImageSettings(BTreeMap<&'static str, Value>);

impl ImageSettings {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The name of this field; `None` if the form has no such field.
    pub(super) fn field(name: &str) -> Option<&'static str> {
        FIELDS.into_iter().find(|field| *field == name)
    }

    pub(super) fn insert(&mut self, field: &'static str, value: Value) {
        self.0.insert(field, value);
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// The text of a field; empty if the field has no text.
    pub(super) fn text(&self, field: &str) -> &str {
        self.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> btree_map::Iter<'_, &'static str, Value> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> btree_map::IterMut<'_, &'static str, Value> {
        self.0.iter_mut()
    }
}

impl FromFields for ImageSettings {
    fn from_fields(fields: &mut Fields) -> Result<Self, ApiError> {
        let mut settings = Self::new();
        for (name, kind) in field_kinds() {
            let Some(value) = fields.required(name) else {
                continue;
            };
            if !has_type(name, kind, &value) {
                let (mistake, message) = type_mistake(kind);
                fields.refuse(name, mistake, message);
            }
            settings.insert(name, value);
        }
        Ok(settings)
    }
}

impl PartialSchema for ImageSettings {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new().description(Some(DESCRIPTION));
        field_kinds()
            .fold(schema, |schema, (name, kind)| {
                schema
                    .property(name, field_schema(name, kind))
                    .required(name)
            })
            .into()
    }
}

impl ToSchema for ImageSettings {}

/// Each field with the kind of its setting.
fn field_kinds() -> impl Iterator<Item = (&'static str, ValueKind)> {
    let keys = crate::settings::setting_keys([]);
    FIELDS.into_iter().map(move |name| {
        let key = keys.iter().find(|key| key.name == name);
        (name, key.map_or(ValueKind::Text, |key| key.kind))
    })
}

fn has_type(name: &str, kind: ValueKind, value: &Value) -> bool {
    match (kind, value) {
        (ValueKind::Integer | ValueKind::Object, Value::Null) => true,
        (ValueKind::Boolean, value) => value.is_boolean(),
        (ValueKind::Integer, value) => kind.format(value).is_ok_and(|text| !text.is_empty()),
        (ValueKind::Object, value) => value.is_object() || value.is_string(),
        (ValueKind::List, Value::Array(items)) => items.iter().all(Value::is_object),
        (_, Value::Null) => NULLABLE.contains(&name),
        (_, value) => value.is_string(),
    }
}

/// FastAPI's type and message of a value of the wrong type.
fn type_mistake(kind: ValueKind) -> (&'static str, &'static str) {
    match kind {
        ValueKind::Boolean => ("bool_type", "Input should be a valid boolean"),
        ValueKind::Integer => ("int_type", "Input should be a valid integer"),
        ValueKind::Object => ("dict_type", "Input should be a valid dictionary"),
        ValueKind::List => ("list_type", "Input should be a valid list of dictionaries"),
        _ => ("string_type", "Input should be a valid string"),
    }
}

fn field_schema(name: &str, kind: ValueKind) -> Schema {
    match kind {
        ValueKind::Boolean => object(Type::Boolean).into(),
        ValueKind::Integer => nullable(Type::Integer).minimum(Some(0)).into(),
        ValueKind::Object => OneOfBuilder::new()
            .description(Some("A JSON object, or its text."))
            .item(object(Type::Object))
            .item(nullable(Type::String))
            .into(),
        ValueKind::List => ArrayBuilder::new().items(object(Type::Object)).into(),
        _ if NULLABLE.contains(&name) => nullable(Type::String).into(),
        _ => object(Type::String).into(),
    }
}

fn object(schema_type: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(schema_type)
}

fn nullable(schema_type: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([schema_type, Type::Null]))
}
