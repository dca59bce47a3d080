//! What these requests and answers look like.

#![expect(
    dead_code,
    reason = "the document is made from these shapes; no value of them is"
)]

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// How pictures are made. Secrets that are set are shown as `********`; sent back, that leaves them as
/// they are, and an empty text removes them.
#[derive(ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::web) struct ImageSettings {
    enable_image_generation: bool,
    enable_image_prompt_generation: bool,
    image_generation_engine: String,
    image_generation_model: String,
    #[schema(required = true)]
    image_size: Option<String>,
    #[schema(required = true, minimum = 0)]
    image_steps: Option<i64>,
    images_openai_api_base_url: String,
    images_openai_api_key: String,
    images_openai_api_version: String,
    #[schema(required = true)]
    images_openai_api_params: Option<Document>,
    automatic1111_base_url: String,
    #[schema(required = true)]
    automatic1111_api_auth: Option<String>,
    #[schema(required = true)]
    automatic1111_params: Option<Document>,
    comfyui_base_url: String,
    comfyui_api_key: String,
    comfyui_workflow: String,
    comfyui_workflow_nodes: Vec<Map<String, Value>>,
    images_gemini_api_base_url: String,
    images_gemini_api_key: String,
    images_gemini_endpoint_method: String,
    enable_image_edit: bool,
    image_edit_engine: String,
    image_edit_model: String,
    #[schema(required = true)]
    image_edit_size: Option<String>,
    images_edit_openai_api_base_url: String,
    images_edit_openai_api_key: String,
    images_edit_openai_api_version: String,
    images_edit_gemini_api_base_url: String,
    images_edit_gemini_api_key: String,
    images_edit_comfyui_base_url: String,
    images_edit_comfyui_api_key: String,
    images_edit_comfyui_workflow: String,
    images_edit_comfyui_workflow_nodes: Vec<Map<String, Value>>,
}

/// A JSON object, or its text.
#[derive(ToSchema)]
#[serde(untagged)]
enum Document {
    Object(Map<String, Value>),
    Text(String),
}

/// One setting.
#[derive(ToSchema)]
pub(in crate::web) struct Setting {
    /// The environment variable that it is called by.
    name: String,
    /// Where it stands in the store.
    path: String,
    /// All variables that hold it: the first that is set counts.
    variables: Vec<String>,
    kind: SettingKind,
    source: SettingSource,
    /// What holds; `********` stands for a secret, null where there is nothing.
    #[schema(required = true)]
    value: Option<Value>,
    /// For a person.
    description: String,
}

/// What a setting may hold.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum SettingKind {
    Boolean,
    Text,
    Url,
    Integer,
    Object,
    List,
    Secret,
    #[serde(rename = "object with secrets")]
    Secrets,
}

/// Where a setting's value comes from.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum SettingSource {
    Default,
    Environment,
    Store,
}

/// Values by the names of settings. Null removes what is stored, so that the environment counts again.
#[derive(ToSchema)]
pub(in crate::web) struct NewSettings(BTreeMap<String, Value>);

/// Somebody's change of one setting.
#[derive(ToSchema)]
pub(in crate::web) struct SettingChange {
    /// Seconds since 1970.
    changed_at: i64,
    /// Empty where the server was started to forget what was set.
    user_id: String,
    user_name: String,
    name: String,
    path: String,
    what: What,
    /// Null where nothing was set, and of secrets.
    #[schema(required = true)]
    old_value: Option<Value>,
    #[schema(required = true)]
    new_value: Option<Value>,
}

/// What was done to a setting.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
enum What {
    Set,
    Changed,
    Removed,
}

/// Which language models rewrite prompts, and how. Other fields are taken and left alone.
#[derive(ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::web) struct TaskSettings {
    task_model: Option<String>,
    task_model_external: Option<String>,
    image_prompt_generation_prompt_template: Option<String>,
}
