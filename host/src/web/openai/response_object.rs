//! A response of OpenAI's responses API, and the events of its stream.
//!
//! Source: OpenAI's reference of the responses API, as its Python and Node clients parse it.

use serde_json::{Map, Value, json};

use pinhole_images::Image;

use super::image_job::JobOutcome;
use super::image_json::{ImageJson, ImageMarker};
use super::images_response::{ImageProperties, output_format};
use super::job_stream::{JobEvent, StreamEvent, StreamFormat};
use super::responses_request::ResponsesRequest;
use super::set_member;
use crate::store::now;
use crate::web::error::{ApiError, OpenAiError};

/// What each state of a response repeats.
pub(super) struct ResponseObject {
    id: String,
    created_at: i64,
    model: String,
    instructions: Option<String>,
    metadata: Map<String, Value>,
    temperature: f64,
    top_p: f64,
    parallel_tool_calls: bool,
    tool: Value,
    /// `generate` or `edit`.
    action: &'static str,
    /// The id of the first item of the output.
    item_id: String,
}

/// The state of a response.
#[derive(Default)]
struct State<'a> {
    status: &'static str,
    output: Vec<Value>,
    usage: Option<Value>,
    error: Option<&'a Value>,
    /// In what the images differ from the request.
    warnings: &'a [String],
}

impl ResponseObject {
    pub(super) fn new(request: &ResponsesRequest, tool: Value, is_edit: bool) -> Self {
        Self {
            id: new_id("resp"),
            created_at: now(),
            model: request.model.clone().unwrap_or_default(),
            instructions: request.instructions.clone(),
            metadata: request.metadata.clone().unwrap_or_default(),
            temperature: request.temperature.unwrap_or(1.0),
            top_p: request.top_p.unwrap_or(1.0),
            parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
            tool,
            action: if is_edit { "edit" } else { "generate" },
            item_id: new_id("ig"),
        }
    }

    /// The completed response.
    pub(super) fn completed(&self, outcome: JobOutcome) -> Result<ImageJson, ApiError> {
        let marker = ImageMarker::new();
        let output = self.items(&outcome, &marker);
        let response = self.to_json(State::completed(output, &outcome));
        ImageJson::new(&response, &marker, outcome.completed.images)
    }

    /// The events of a stream.
    pub(super) fn into_stream(self, max_previews: u32) -> StreamFormat {
        let mut events = Events::new(self);
        StreamFormat {
            first: events.start(),
            format: Box::new(move |event| match event {
                JobEvent::Preview { image, index } => Ok(vec![events.preview(image, index)?]),
                JobEvent::Completed(outcome) => events.complete(&outcome),
                JobEvent::Failed(error) => Ok(events.fail(error)),
            }),
            max_previews,
        }
    }

    fn to_json(&self, state: State<'_>) -> Value {
        let is_completed = state.status == "completed";
        let mut response = json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": is_completed.then(now),
            "status": state.status,
            "background": false,
            "error": state.error,
            "incomplete_details": null,
            "instructions": self.instructions,
            "max_output_tokens": null,
            "metadata": self.metadata,
            "model": self.model,
            "output": state.output,
            "parallel_tool_calls": self.parallel_tool_calls,
            "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null},
            "service_tier": "default",
            "store": false,
            "temperature": self.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [self.tool],
            "top_p": self.top_p,
            "truncation": "disabled",
            "usage": state.usage,
            "user": null,
        });
        if !state.warnings.is_empty() {
            set_member(&mut response, "warnings", json!(state.warnings));
        }
        response
    }

    /// The item that announces the image.
    fn started_item(&self, status: &str) -> Value {
        json!({"id": self.item_id, "type": "image_generation_call", "status": status, "result": null})
    }

    /// One item for each image.
    fn items(&self, outcome: &JobOutcome, marker: &ImageMarker) -> Vec<Value> {
        let completed = &outcome.completed;
        let properties = ImageProperties::new(completed);
        let images = completed.images.iter().enumerate();
        images
            .map(|(index, image)| {
                let id = match index {
                    0 => self.item_id.clone(),
                    _ => new_id("ig"),
                };
                let (width, height) = image.size();
                json!({
                    "id": id,
                    "type": "image_generation_call",
                    "status": "completed",
                    "action": self.action,
                    "background": properties.background.as_deref().unwrap_or("auto"),
                    "output_format": output_format(image),
                    "quality": properties.quality.as_deref().unwrap_or("auto"),
                    "result": marker,
                    "revised_prompt": completed.revised_prompt,
                    "size": format!("{width}x{height}"),
                })
            })
            .collect()
    }
}

impl<'a> State<'a> {
    fn started() -> Self {
        Self {
            status: "in_progress",
            ..Self::default()
        }
    }

    fn completed(output: Vec<Value>, outcome: &'a JobOutcome) -> Self {
        let properties = ImageProperties::new(&outcome.completed);
        Self {
            status: "completed",
            output,
            usage: Some(properties.usage.unwrap_or_default().to_response_json()),
            error: None,
            warnings: &outcome.completed.warnings,
        }
    }
}

/// Numbers the events of one response.
struct Events {
    response: ResponseObject,
    sequence_number: u64,
}

impl Events {
    fn new(response: ResponseObject) -> Self {
        Self {
            response,
            sequence_number: 0,
        }
    }

    fn start(&mut self) -> Vec<StreamEvent> {
        let response = |events: &Self| events.response.to_json(State::started());
        let (created, running) = (response(self), response(self));
        let item = self.response.started_item("in_progress");
        vec![
            self.event("response.created", json!({"response": created})),
            self.event("response.in_progress", json!({"response": running})),
            self.event(
                "response.output_item.added",
                json!({"output_index": 0, "item": item}),
            ),
            self.call_event(
                "response.image_generation_call.in_progress",
                &self.response.item_id.clone(),
                0,
            ),
            self.call_event(
                "response.image_generation_call.generating",
                &self.response.item_id.clone(),
                0,
            ),
        ]
    }

    fn preview(&mut self, image: Image, index: u32) -> Result<StreamEvent, ApiError> {
        let marker = ImageMarker::new();
        let (width, height) = image.size();
        let data = json!({
            "item_id": self.response.item_id,
            "output_index": 0,
            "partial_image_index": index,
            "partial_image_b64": marker,
            "background": "auto",
            "output_format": output_format(&image),
            "quality": "auto",
            "size": format!("{width}x{height}"),
        });
        let name = "response.image_generation_call.partial_image";
        self.image_event(name, data, &marker, vec![image])
    }

    fn complete(&mut self, outcome: &JobOutcome) -> Result<Vec<StreamEvent>, ApiError> {
        let marker = ImageMarker::new();
        let items = self.response.items(outcome, &marker);
        let images = &outcome.completed.images;
        let mut events = Vec::new();
        for (index, (item, image)) in items.iter().zip(images).enumerate() {
            let id = item.get("id").and_then(Value::as_str).unwrap_or_default();
            if index > 0 {
                let started = json!({"id": id, "type": "image_generation_call", "status": "in_progress", "result": null});
                let data = json!({"output_index": index, "item": started});
                events.push(self.event("response.output_item.added", data));
            }
            events.push(self.call_event("response.image_generation_call.completed", id, index));
            let data = json!({"output_index": index, "item": item});
            let name = "response.output_item.done";
            events.push(self.image_event(name, data, &marker, vec![image.clone()])?);
        }
        let response = self.response.to_json(State::completed(items, outcome));
        let data = json!({"response": response});
        events.push(self.image_event("response.completed", data, &marker, images.clone())?);
        Ok(events)
    }

    fn fail(&mut self, error: OpenAiError) -> Vec<StreamEvent> {
        let body = serde_json::to_value(error.into_body()).unwrap_or_default();
        let response_error = json!({
            "code": error_code(&body),
            "message": body.pointer("/error/message"),
        });
        let item = self.response.started_item("failed");
        let response = self.response.to_json(State {
            status: "failed",
            output: vec![item.clone()],
            usage: None,
            error: Some(&response_error),
            ..State::default()
        });
        vec![
            self.event(
                "response.output_item.done",
                json!({"output_index": 0, "item": item}),
            ),
            self.event("response.failed", json!({"response": response})),
        ]
    }

    fn call_event(&mut self, name: &'static str, item_id: &str, index: usize) -> StreamEvent {
        self.event(name, json!({"item_id": item_id, "output_index": index}))
    }

    fn event(&mut self, name: &'static str, data: Value) -> StreamEvent {
        StreamEvent {
            name: Some(name),
            data: ImageJson::text(self.number(name, data).to_string()),
        }
    }

    fn image_event(
        &mut self,
        name: &'static str,
        data: Value,
        marker: &ImageMarker,
        images: Vec<Image>,
    ) -> Result<StreamEvent, ApiError> {
        let data = self.number(name, data);
        Ok(StreamEvent {
            name: Some(name),
            data: ImageJson::new(&data, marker, images)?,
        })
    }

    fn number(&mut self, name: &str, mut data: Value) -> Value {
        set_member(&mut data, "type", name.into());
        set_member(&mut data, "sequence_number", self.sequence_number.into());
        self.sequence_number += 1;
        data
    }
}

/// The code of a failure among those of the API.
fn error_code(body: &Value) -> &'static str {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
    match (text("/error/code"), text("/error/type")) {
        (Some("blocked" | "moderation_blocked" | "content_policy_violation"), _) => {
            "image_content_policy_violation"
        }
        (_, Some("rate_limit_error")) => "rate_limit_exceeded",
        (_, Some("invalid_request_error")) => "invalid_prompt",
        _ => "server_error",
    }
}

fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::new_v4().simple())
}
