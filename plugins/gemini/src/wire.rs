//! Google's JSON format: builds requests from jobs and locates the images in responses.

mod body;
mod details;
mod error;
mod models;
mod parameters;
mod plan;
mod response;
pub(crate) mod sizes;
mod usage;

use serde_json::Value;

pub(crate) use details::{output_details, output_usage, output_warnings};
pub(crate) use error::upstream_error;
pub(crate) use models::{PAGE_SIZE, model_list_path, parse_model_page};
pub(crate) use plan::plan;
pub(crate) use response::{ResponseReader, ResponseSummary};

use crate::method::Method;

/// Images that one job may ask for.
pub(crate) const MAX_COUNT: u32 = 10;
/// Bytes of an upstream's text in a message.
const MAX_MESSAGE_BYTES: usize = 1000;
/// Bytes of an upstream's code, name or ID.
const MAX_NAME_BYTES: usize = 100;

/// The model and the method of a request for images.
#[derive(Debug)]
pub(crate) struct RequestTarget {
    /// Without the prefix `models/`.
    pub(crate) model: String,
    pub(crate) method: Method,
    pub(crate) is_edit: bool,
}

/// A field by its camel case name. Some gateways use snake case.
fn value_at<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).or_else(|| value.get(to_snake_case(key)))
}

fn to_snake_case(key: &str) -> String {
    let mut snake_case = String::with_capacity(key.len() + 2);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake_case.push('_');
        }
        snake_case.push(letter.to_ascii_lowercase());
    }
    snake_case
}

/// A string field, unless it is empty.
fn string_at<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value_at(value, key)?
        .as_str()
        .filter(|text| !text.is_empty())
}

/// The elements of an array field; empty if it is missing.
fn array_at<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let array = value_at(value, key).and_then(Value::as_array);
    array.map(Vec::as_slice).unwrap_or_default()
}
