//! OpenAI's JSON format: builds requests from jobs and locates the images in responses.

mod chat;
mod details;
mod error;
mod event;
mod location;
mod models;
pub(crate) mod parameters;
mod plan;
mod prompt;
mod redaction;
mod response;
pub(crate) mod sizes;
mod usage;

use serde_json::Value;

pub(crate) use chat::{parse_completion, plan_chat, source_pointer};
pub(crate) use details::{output_cost, output_details, output_usage};
pub(crate) use error::{explain_url_error, upstream_error};
pub(crate) use event::{StreamEvent, parse_event};
pub(crate) use models::parse_models;
pub(crate) use parameters::declare_parameters;
pub(crate) use plan::{ImageApi, RequestPlan, choose_model, form_fields, plan};
pub(crate) use response::{ResponseDetails, parse_response, request_id};

/// Images that one job may ask for. Also limits the requests of one job.
pub(crate) const MAX_COUNT: u32 = 10;

/// The elements of the array `data`; empty if it is missing.
fn data_items(body: &Value) -> &[Value] {
    let data = body.get("data").and_then(Value::as_array);
    data.map(Vec::as_slice).unwrap_or_default()
}

/// A string field, unless it is empty.
fn string_at<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}
