//! What requests and answers look like that are read and written field by field.

#![expect(
    dead_code,
    reason = "the document is made from these shapes; no value of them is"
)]

use serde_json::{Map, Value};
use utoipa::{IntoResponses, ToSchema};

use pinhole_sandbox::MAX_COUNT;
use crate::jobs::{MAX_PROMPT_BYTES, MAX_STEPS};

// Attributes take plain numbers only.
const _: () = assert!(MAX_PROMPT_BYTES == 32_000 && MAX_STEPS == 1000 && MAX_COUNT == 32);

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

/// How a job may fail where statuses tell it.
#[derive(IntoResponses)]
pub(in crate::web) enum JobRefusals {
    /// Pictures are switched off, or not for this user.
    #[response(status = 403)]
    Forbidden,
    /// The upstream asks for fewer requests, or a quota is used up.
    #[response(status = 429)]
    TooMany,
    /// The upstream failed, or the engine did.
    #[response(status = 502)]
    Upstream,
    /// The upstream or the engine cannot be had now.
    #[response(status = 503)]
    Unavailable,
    /// The job took longer than it may.
    #[response(status = 504)]
    Timeout,
}

/// A picture that is wanted.
#[derive(ToSchema)]
pub(in crate::web) struct Generation {
    /// What to draw.
    #[schema(min_length = 1, max_length = 32000)]
    prompt: String,
    /// What to leave out, in at most 32 000 bytes; left alone where the engine has no such thing.
    negative_prompt: Option<String>,
    /// How many pictures. Engines may make fewer at a time.
    #[schema(minimum = 1, maximum = 32)]
    n: Option<u32>,
    /// Width and height in pixels, or `auto`, which is the engine's choice, as is nothing.
    #[schema(pattern = "^(auto|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})?$")]
    size: Option<String>,
    /// Inference steps, 1 to 1000; left alone where the engine has none.
    #[schema(minimum = 0)]
    steps: Option<u32>,
    /// The seed, where the engine has one.
    #[schema(minimum = 0)]
    seed: Option<u64>,
    /// A model of the engine.
    #[schema(max_length = 512)]
    model: Option<String>,
    /// An engine other than the one that is set.
    engine: Option<String>,
    /// For engines that speak OpenAI's API.
    background: Option<String>,
    /// What only this engine knows.
    parameters: Option<Map<String, Value>>,
}

/// A change that is wanted.
#[derive(ToSchema)]
pub(in crate::web) struct Change {
    /// The pictures to change: data URLs, addresses of stored files, or their ids.
    image: Images,
    #[schema(inline)]
    #[serde(flatten)]
    wanted: Generation,
}

/// One picture or several.
#[derive(ToSchema)]
#[serde(untagged)]
enum Images {
    One(String),
    Several(Vec<String>),
}

/// A change, or an object that has it as `form_data`, as older clients send it.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::web) enum ChangeBody {
    Flat(Change),
    Nested { form_data: Change },
}

/// A picture that was made.
#[derive(ToSchema)]
pub(in crate::web) struct Made {
    /// Where its bytes are, on this server.
    url: String,
    id: String,
    name: String,
    content_type: String,
}

/// A model of an engine.
#[derive(ToSchema)]
pub(in crate::web) struct Model {
    id: String,
    name: String,
}

/// An engine at an address that is not set yet.
#[derive(ToSchema)]
pub(in crate::web) struct Address {
    engine: String,
    url: String,
    key: Option<String>,
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

/// That something was done.
#[derive(ToSchema)]
pub(in crate::web) struct Message {
    message: String,
}

/// Whether something is well.
#[derive(ToSchema)]
pub(in crate::web) struct Status {
    status: bool,
}

/// Who asks, and how long they stay signed in.
#[derive(ToSchema)]
pub(in crate::web) struct Session {
    /// The session; not told where it came as a cookie, or where a key was shown.
    #[schema(required = true)]
    token: Option<String>,
    token_type: String,
    /// In seconds since 1970; `null` for no end.
    #[schema(required = true)]
    expires_at: Option<i64>,
    id: String,
    email: String,
    name: String,
    role: Role,
    profile_image_url: String,
    permissions: Permissions,
}

#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::web) enum Role {
    Admin,
    User,
    /// Somebody whom an administrator has yet to admit.
    Pending,
}

/// The permissions that there are, in Open WebUI's tree.
#[derive(ToSchema)]
pub(in crate::web) struct Permissions {
    features: Features,
}

#[derive(ToSchema)]
struct Features {
    image_generation: bool,
}

#[derive(ToSchema)]
pub(in crate::web) struct Key {
    /// The key where it was just made, else asterisks.
    api_key: String,
}

#[derive(ToSchema)]
pub(in crate::web) struct Users {
    users: Vec<Person>,
    /// How many there are in all.
    #[schema(minimum = 0)]
    total: i64,
}

#[derive(ToSchema)]
pub(in crate::web) struct Person {
    id: String,
    name: String,
    /// Empty for who has a key and no account.
    email: String,
    role: Role,
    profile_image_url: String,
    /// In seconds since 1970.
    created_at: i64,
}

#[derive(ToSchema)]
pub(in crate::web) struct Group {
    id: String,
    name: String,
    description: String,
    permissions: Permissions,
    #[schema(minimum = 0)]
    member_count: i64,
    /// In seconds since 1970.
    created_at: i64,
    updated_at: i64,
}

/// A request of OpenAI's images API. What is not known is left alone.
#[derive(ToSchema)]
pub(in crate::web) struct ImageRequest {
    /// What to draw.
    #[schema(min_length = 1, max_length = 32000)]
    prompt: String,
    /// A model of the engine.
    #[schema(max_length = 512)]
    model: Option<String>,
    /// How many pictures. Engines may make fewer at a time.
    #[schema(minimum = 1, maximum = 32)]
    n: Option<u32>,
    /// Width and height in pixels, or `auto`.
    #[schema(pattern = "^(auto|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})?$")]
    size: Option<String>,
    response_format: Option<ResponseFormat>,
    /// Answer with events, each with a picture in base64.
    stream: Option<bool>,
    /// Drafts of each picture in a stream.
    #[schema(minimum = 0, maximum = 3)]
    partial_images: Option<u32>,
    background: Option<String>,
    moderation: Option<String>,
    #[schema(minimum = 0, maximum = 100)]
    output_compression: Option<u32>,
    output_format: Option<String>,
    quality: Option<String>,
    style: Option<String>,
    /// Not OpenAI's: an engine other than the one that is set.
    engine: Option<String>,
    /// Not OpenAI's: what to leave out, where the engine has such a thing.
    #[schema(max_length = 32000)]
    negative_prompt: Option<String>,
    /// Not OpenAI's: inference steps, where the engine has them.
    #[schema(minimum = 1, maximum = 1000)]
    steps: Option<u32>,
    /// Not OpenAI's: the seed, where the engine has one.
    #[schema(minimum = 0)]
    seed: Option<u64>,
}

#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum ResponseFormat {
    B64Json,
    /// The picture is stored, and its address told.
    Url,
}

/// The same as a form, with the pictures in it.
#[derive(ToSchema)]
pub(in crate::web) struct ImageEditForm {
    /// The picture to change; several under `image[]`.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    image: String,
    /// A PNG of the same size, transparent where the picture may change.
    #[schema(format = Binary, content_media_type = "application/octet-stream", nullable = false)]
    mask: Option<String>,
    /// What to change.
    #[schema(min_length = 1, max_length = 32000)]
    prompt: String,
    /// The other fields are those of a generation, as texts.
    #[schema(nullable = false)]
    size: Option<String>,
}

/// The same as JSON, with references to the pictures.
#[derive(ToSchema)]
pub(in crate::web) struct ImageEdit {
    /// The pictures to change.
    #[schema(min_items = 1, max_items = 16)]
    images: Vec<Reference>,
    /// Where they may change.
    mask: Option<Reference>,
    #[schema(inline)]
    #[serde(flatten)]
    wanted: ImageRequest,
}

/// Where a picture is: one of the two.
#[derive(ToSchema)]
struct Reference {
    /// A data URL, or the address of a stored file.
    image_url: Option<String>,
    /// The id of a stored file.
    file_id: Option<String>,
}

/// Pictures that were made.
#[derive(ToSchema)]
pub(in crate::web) struct ImageAnswer {
    /// In seconds since 1970.
    created: i64,
    data: Vec<ImageEntry>,
    #[schema(nullable = false)]
    output_format: Option<String>,
    #[schema(nullable = false)]
    background: Option<String>,
    #[schema(nullable = false)]
    quality: Option<String>,
    #[schema(nullable = false)]
    size: Option<String>,
    #[schema(nullable = false)]
    usage: Option<Usage>,
}

/// `b64_json` or `url`, as the request wants it.
#[derive(ToSchema)]
struct ImageEntry {
    #[schema(nullable = false)]
    b64_json: Option<String>,
    #[schema(nullable = false)]
    url: Option<String>,
    /// The prompt that the upstream made of the request's.
    #[schema(nullable = false)]
    revised_prompt: Option<String>,
}

#[derive(ToSchema)]
struct Usage {
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
}

#[derive(ToSchema)]
pub(in crate::web) struct ModelList {
    /// Always `list`.
    object: String,
    data: Vec<OpenAiModel>,
}

#[derive(ToSchema)]
pub(in crate::web) struct OpenAiModel {
    id: String,
    /// Always `model`.
    object: String,
    created: i64,
    owned_by: String,
}

/// A turn. Fields that are not ours go on to the language model as they are.
#[derive(ToSchema)]
pub(in crate::web) struct ChatRequest {
    #[schema(max_length = 200)]
    model: Option<String>,
    /// The conversation, oldest first.
    messages: Vec<Map<String, Value>>,
    /// Answer with events, as OpenAI streams a completion.
    stream: Option<bool>,
    features: Option<ChatFeatures>,
    /// The chat that the turn belongs to; `local:…` and `temporary:…` are not kept.
    #[schema(max_length = 200)]
    chat_id: Option<String>,
    /// The message that is being written.
    #[schema(max_length = 200)]
    id: Option<String>,
}

#[derive(ToSchema)]
struct ChatFeatures {
    /// Make a picture of the newest message, or change one.
    image_generation: Option<bool>,
}

/// What a turn is answered with: words, or where they will be told.
#[derive(ToSchema)]
#[serde(untagged)]
pub(in crate::web) enum ChatAnswer {
    Words(Completion),
    /// By events, where the request has `session_id`, `chat_id` and `id`.
    Later(Task),
}

#[derive(ToSchema)]
pub(in crate::web) struct Task {
    status: bool,
    /// What stops it.
    task_id: String,
}

#[derive(ToSchema)]
pub(in crate::web) struct Tasks {
    task_ids: Vec<String>,
}

#[derive(ToSchema)]
pub(in crate::web) struct Stopped {
    status: bool,
    /// For a person.
    message: String,
}

/// A completion, as OpenAI's; what else the language model says stays in it.
#[derive(ToSchema)]
pub(in crate::web) struct Completion {
    choices: Vec<Map<String, Value>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(ToSchema)]
pub(in crate::web) struct ChatModels {
    data: Vec<ChatModel>,
}

#[derive(ToSchema)]
pub(in crate::web) struct ChatModel {
    id: String,
    name: String,
    /// Always `model`.
    object: String,
    created: i64,
    owned_by: String,
    connection_type: Connection,
}

#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum Connection {
    /// At a private address.
    Local,
    External,
}
