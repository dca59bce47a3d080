//! Images by chat completions, as OpenRouter has them: a chat with an image model.
//!
//! A request with the modality `image` gets the images in `message.images`. A client that does not know them gets
//! Markdown with the URLs of stored files.
//!
//! Source: OpenRouter's documentation of image generation.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use pinhole_images::Image;
use pinhole_sandbox::Edit;

use super::chat_request::{Modalities, check_outputs, parse_image_config, parse_messages};
use super::image_job::{ImageJob, JobOutcome};
use super::image_json::{ImageJson, ImageMarker};
use super::image_model::{Action, ImageModel};
use super::images_response::ImageProperties;
use super::job_stream::{JobEvent, StreamEvent, StreamFormat};
use super::set_member;
use crate::app::App;
use crate::chat::{EditChoice, images_markdown};
use crate::files::link::FileLinks;
use crate::jobs::JobRequest;
use crate::store::{User, now};
use crate::web::auth;
use crate::web::chat::{ChatBody, ImageOptions, check_choices, take_chat};
use crate::web::error::{ApiError, OpenAiError};
use crate::web::held_body::hold;

/// Fields of the images API. In a chat they would be lost.
const IMAGE_FIELDS: [&str; 18] = [
    "aspect_ratio",
    "background",
    "height",
    "image",
    "image_size",
    "images",
    "input_images",
    "mask",
    "negative_prompt",
    "num_images",
    "output_compression",
    "output_format",
    "parameters",
    "quality",
    "size",
    "steps",
    "style",
    "width",
];

/// The image model of a chat completion request, unless a language model takes the chat.
pub(super) async fn find_image_model(
    app: &App,
    user: &User,
    body: &ChatBody,
) -> Result<Option<ImageModel>, ApiError> {
    if body.request.wants_image() {
        // The turn of a chat with Open WebUI's additions.
        return Ok(None);
    }
    let Some(name) = body
        .request
        .model
        .as_deref()
        .filter(|name| !name.is_empty())
    else {
        return Ok(None);
    };
    let wants_image = Modalities::parse(&body.payload).has_image;
    let models = &app.chat.models;
    let may_create_images = auth::may_create_images(app, user).await?;
    if !may_create_images || (!wants_image && models.is_listed(name).await) {
        if wants_image && models.find(Some(name)).await.is_none() {
            return Err(ApiError::prohibited());
        }
        return Ok(None);
    }
    // A server without a list may have any model, and its chats do not wait for the list of an image engine.
    let is_language_model = models.find(Some(name)).await.is_some();
    let found = if is_language_model && !wants_image {
        ImageModel::find_configured(app, user, name).await?
    } else {
        ImageModel::find(app, user, name).await?
    };
    if found.is_some() || !wants_image || is_language_model {
        return Ok(found);
    }
    // The engine knows whether it has such a model.
    Ok(Some(ImageModel {
        engine: None,
        model: Some(name.to_owned()),
    }))
}

/// Generates or edits an image for the newest turn of a chat.
pub(super) async fn complete(
    app: Arc<App>,
    user: User,
    body: ChatBody,
    model: ImageModel,
) -> Result<Response, OpenAiError> {
    let share = take_chat(&app, &user)?;
    let is_stream = body.request.stream.unwrap_or(false);
    let mut completion = ChatImages::new(&body);
    if !Modalities::parse(&body.payload).is_set {
        let snapshot = app.jobs.snapshot();
        completion.links = Some(body.origin.links(&app, &snapshot.settings));
    }
    let is_stored = completion.links.is_some();
    let job = plan_job(app, user, body.payload, model, is_stored).await?;
    drop(body.memory);
    let response = if is_stream {
        job.stream(completion.into_stream()).await?
    } else {
        completion.response(&job.run().await?)?
    };
    Ok(hold(response, share))
}

async fn plan_job(
    app: Arc<App>,
    user: User,
    payload: Map<String, Value>,
    mut model: ImageModel,
    is_stored: bool,
) -> Result<Box<ImageJob>, ApiError> {
    let payload = &payload;
    check_choices(payload)?;
    check_outputs(payload)?;
    check_fields(payload)?;
    let mut options = ImageOptions::from_payload(payload)?;
    check_edit_choice(&options.take_edit_choice()?)?;
    if let Some(engine) = options.engine() {
        model.engine = Some(engine);
    }
    let options = options.into_job_request();
    let conversation = parse_messages(payload)?;
    let request = JobRequest {
        prompt: conversation.prompt("messages")?,
        model: options.model.clone().or_else(|| model.model.clone()),
        size: parse_image_config(payload)?.or(options.size.clone()),
        count: options.count.or(parse_number(payload, "n")?),
        seed: options.seed.or(parse_number(payload, "seed")?),
        ..options
    };
    let turn = model
        .plan_turn(&app, &user, &conversation, Action::Auto, "messages")
        .await?;
    let (sources, mask) = (turn.sources, None);
    let edit = (!sources.is_empty()).then_some(Edit { sources, mask });
    Ok(Box::new(ImageJob {
        app,
        user,
        plan: turn.plan,
        request,
        edit,
        is_stored,
        idempotency_key: None,
    }))
}

/// Fails if a request chooses what to edit. On this route the conversation decides it.
fn check_edit_choice(choice: &EditChoice) -> Result<(), ApiError> {
    if choice.is_edit.is_none() && choice.sources.is_empty() && choice.mask.is_none() {
        return Ok(());
    }
    let field = "image_generation";
    let message = "edit, sources and mask of image_generation are for /api/chat/completions: use /v1/images/edits";
    Err(ApiError::invalid(field, message))
}

fn check_fields(payload: &Map<String, Value>) -> Result<(), ApiError> {
    let is_set = |field: &&&str| payload.get(**field).is_some_and(|value| !value.is_null());
    let Some(field) = IMAGE_FIELDS.iter().find(is_set) else {
        return Ok(());
    };
    let message = format!(
        "{field} is not a field of a chat: use image_config or image_generation, or /v1/images/generations"
    );
    Err(ApiError::invalid(field, message))
}

fn parse_number<T: TryFrom<u64>>(
    payload: &Map<String, Value>,
    field: &str,
) -> Result<Option<T>, ApiError> {
    let Some(value) = payload.get(field).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let number = value.as_u64().and_then(|number| T::try_from(number).ok());
    let invalid = || ApiError::invalid(field, format!("{field} must be a whole number from 0"));
    number.map(Some).ok_or_else(invalid)
}

/// The completion of a chat with an image model.
struct ChatImages {
    id: String,
    model: String,
    created: i64,
    /// The images are stored, and the text links to them. `None`: the message has the images.
    links: Option<FileLinks>,
    /// `stream_options.include_usage`
    has_usage_chunk: bool,
}

impl ChatImages {
    fn new(body: &ChatBody) -> Self {
        let payload = &body.payload;
        let include_usage = payload
            .get("stream_options")
            .and_then(|options| options.get("include_usage"));
        Self {
            id: format!("chatcmpl-{}", uuid::Uuid::new_v4()),
            model: body.request.model.clone().unwrap_or_default(),
            created: now(),
            links: None,
            has_usage_chunk: include_usage == Some(&Value::Bool(true)),
        }
    }

    fn response(&self, outcome: &JobOutcome) -> Result<Response, ApiError> {
        let marker = ImageMarker::new();
        let choices: Vec<Value> = self
            .messages(outcome, &marker)
            .into_iter()
            .enumerate()
            .map(|(index, message)| {
                json!({"index": index, "message": message, "finish_reason": "stop", "logprobs": null})
            })
            .collect();
        let mut body = self.object("chat.completion", choices);
        set_member(&mut body, "usage", usage(outcome));
        add_warnings(&mut body, outcome);
        Ok(ImageJson::new(&body, &marker, self.images(outcome))?.into_response())
    }

    fn into_stream(self) -> StreamFormat {
        let delta = json!({"role": "assistant", "content": ""});
        let first = self.chunk(vec![delta_choice(0, &delta, None)]);
        StreamFormat {
            first: vec![data_event(&first)],
            format: Box::new(move |event| match event {
                JobEvent::Preview { .. } => Ok(Vec::new()),
                JobEvent::Completed(outcome) => self.completed_events(&outcome),
                JobEvent::Failed(error) => Ok(vec![self.error_event(error)]),
            }),
            max_previews: 0,
        }
    }

    fn completed_events(&self, outcome: &JobOutcome) -> Result<Vec<StreamEvent>, ApiError> {
        let marker = ImageMarker::new();
        let mut images = self.images(outcome).into_iter();
        let mut events = Vec::new();
        let messages = self.messages(outcome, &marker);
        let count = messages.len();
        for (index, delta) in messages.into_iter().enumerate() {
            let image_count = delta
                .get("images")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            let own_images = images.by_ref().take(image_count).collect();
            let chunk = self.chunk(vec![delta_choice(index, &delta, None)]);
            let data = ImageJson::new(&chunk, &marker, own_images)?;
            events.push(StreamEvent { name: None, data });
        }
        let last = (0..count).map(|index| delta_choice(index, &json!({}), Some("stop")));
        let mut last_chunk = self.chunk(last.collect());
        add_warnings(&mut last_chunk, outcome);
        events.push(data_event(&last_chunk));
        if self.has_usage_chunk {
            let mut usage_chunk = self.chunk(Vec::new());
            set_member(&mut usage_chunk, "usage", usage(outcome));
            events.push(data_event(&usage_chunk));
        }
        events.push(done_event());
        Ok(events)
    }

    /// Clients of OpenAI and OpenRouter recognize a failure by the field `error`.
    fn error_event(&self, error: OpenAiError) -> StreamEvent {
        let mut chunk = self.chunk(vec![delta_choice(0, &json!({}), Some("error"))]);
        let body = serde_json::to_value(error.into_body()).unwrap_or_default();
        let error_member = body.get("error").cloned().unwrap_or_default();
        set_member(&mut chunk, "error", error_member);
        data_event(&chunk)
    }

    /// The message of each choice: one for each requested image.
    fn messages(&self, outcome: &JobOutcome, marker: &ImageMarker) -> Vec<Value> {
        if let Some(links) = &self.links {
            let warnings = &outcome.completed.warnings;
            let text = images_markdown(&outcome.files, warnings, links);
            return vec![json!({"role": "assistant", "content": text, "refusal": null})];
        }
        let images = outcome.completed.images.iter();
        images
            .map(|image| {
                let url = format!("data:{};base64,{marker}", image.media_type());
                let part = json!({"index": 0, "type": "image_url", "image_url": {"url": url}});
                json!({"role": "assistant", "content": "", "refusal": null, "images": [part]})
            })
            .collect()
    }

    /// The images that the messages contain.
    fn images(&self, outcome: &JobOutcome) -> Vec<Image> {
        if self.links.is_some() {
            return Vec::new();
        }
        outcome.completed.images.clone()
    }

    fn chunk(&self, choices: Vec<Value>) -> Value {
        self.object("chat.completion.chunk", choices)
    }

    fn object(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }
}

/// Not part of the API: in what the images differ from the request.
fn add_warnings(body: &mut Value, outcome: &JobOutcome) {
    let warnings = &outcome.completed.warnings;
    if !warnings.is_empty() {
        set_member(body, "warnings", json!(warnings));
    }
}

fn usage(outcome: &JobOutcome) -> Value {
    let properties = ImageProperties::new(&outcome.completed);
    properties.usage.unwrap_or_default().to_chat_json()
}

fn delta_choice(index: usize, delta: &Value, finish_reason: Option<&str>) -> Value {
    json!({"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": null})
}

fn data_event(chunk: &Value) -> StreamEvent {
    StreamEvent {
        name: None,
        data: ImageJson::text(chunk.to_string()),
    }
}

fn done_event() -> StreamEvent {
    StreamEvent {
        name: None,
        data: ImageJson::text("[DONE]"),
    }
}
