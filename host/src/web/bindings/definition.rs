//! The definition of a binding, as it is in the setting `PINHOLE_BINDINGS`.

use pinhole_ground::text::plain;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::MAX_NAME_BYTES;
use crate::web::error::ApiError;

/// Definition of a binding. A secret is `********`; sending that back leaves it unchanged.
#[derive(Default, Serialize, Deserialize, ToSchema)]
pub(super) struct BindingDefinition {
    /// The engine's name. By default the binding's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) engine: Option<String>,
    /// Values that differ from the engine's, by its setting keys.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(required = false)]
    settings: Map<String, Value>,
    /// The same for editing only.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(required = false)]
    edit_settings: Map<String, Value>,
    /// The form in which the key is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    /// Headers with secrets, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edit_credential: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edit_headers: Option<Map<String, Value>>,
    /// The model of jobs that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// `WxH` or `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[schema(minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edit_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edit_size: Option<String>,
    /// Hosts from which images may be fetched, in place of those of the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_hosts: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Certificates>,
    /// The groups whose members may use it, in addition to administrators. Without it, all users may.
    #[schema(max_items = 256)]
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<String>>,
    /// The groups whose members use it by default.
    #[schema(required = false, max_items = 256)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    preferred_by: Vec<String>,
    /// The language models in whose chats it is the default.
    #[schema(required = false, max_items = 256)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    chat_models: Vec<String>,
    /// Jobs that run at the same time.
    #[schema(minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    #[serde(flatten, skip_serializing)]
    #[schema(ignore)]
    others: Map<String, Value>,
}

/// Certificates for the upstreams of a binding, in PEM.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Certificates {
    /// Authorities in addition to the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    roots: Option<String>,
    /// The client certificate with its intermediates.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    /// The private key: a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl BindingDefinition {
    /// Its JSON in the setting. Fails if it has fields that do not exist.
    pub(super) fn into_object(self) -> Result<Map<String, Value>, ApiError> {
        if let Some(name) = self.others.keys().next() {
            let name = plain(name, MAX_NAME_BYTES);
            let detail = format!("unknown field {name}: remove it");
            return Err(ApiError::invalid(&name, detail));
        }
        match serde_json::to_value(&self) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(anyhow::anyhow!("the definition of a binding is no JSON").into()),
        }
    }
}
