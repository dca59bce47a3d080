//! Schemas that move to the modules that use them.

#![expect(
    dead_code,
    reason = "the document is made from these shapes; no value of them is"
)]

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What went wrong, as Open WebUI says it.
#[derive(ToSchema)]
pub(in crate::web) struct Error {
    detail: Detail,
    /// Why, where the detail does not say.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// A text, or the fields that are wrong.
#[derive(ToSchema)]
#[serde(untagged)]
enum Detail {
    Text(String),
    Fields(Vec<WrongField>),
}

/// A field that is wrong, as FastAPI says it.
#[derive(ToSchema)]
struct WrongField {
    /// What kind of mistake it is.
    r#type: String,
    /// Where the field stands: names, and positions in lists.
    loc: Vec<Value>,
    /// What is wrong.
    msg: String,
}

/// What went wrong, as OpenAI says it.
#[derive(ToSchema)]
pub(in crate::web) struct OpenAiError {
    error: OpenAiErrorFields,
}

#[derive(ToSchema)]
struct OpenAiErrorFields {
    message: String,
    r#type: OpenAiErrorType,
    /// The field that is to blame.
    #[schema(required = true)]
    param: Option<String>,
    /// A word that stays the same.
    #[schema(required = true)]
    code: Option<String>,
}

#[derive(ToSchema)]
enum OpenAiErrorType {
    #[serde(rename = "invalid_request_error")]
    InvalidRequest,
    #[serde(rename = "rate_limit_error")]
    RateLimit,
    #[serde(rename = "server_error")]
    Server,
}

/// A stored picture.
#[derive(ToSchema)]
pub(in crate::web) struct File {
    id: String,
    user_id: String,
    /// SHA-256 of the bytes, in hexadecimal. Files of early versions have none.
    #[schema(required = true)]
    hash: Option<String>,
    filename: String,
    data: Map<String, Value>,
    meta: FileMeta,
    /// Of an upload: `true`.
    #[schema(nullable = false)]
    status: Option<bool>,
    /// In seconds since 1970.
    created_at: i64,
    updated_at: i64,
}

#[derive(ToSchema)]
struct FileMeta {
    name: String,
    content_type: String,
    /// In bytes.
    #[schema(minimum = 1)]
    size: i64,
    /// What the picture was made of, or what its owner said with the upload.
    data: Value,
}

/// A picture to keep.
#[derive(ToSchema)]
pub(in crate::web) struct Upload {
    /// PNG, JPEG, GIF or WebP, by its bytes; its file name is kept.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
    /// A JSON object that is kept with it.
    #[schema(max_length = 65536)]
    metadata: Option<String>,
}

/// `true`: it is done, or so.
#[derive(ToSchema)]
pub(in crate::web) struct Done(bool);
