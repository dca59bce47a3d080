//! Google's JSON: a job becomes requests, an answer becomes places of pictures.

mod answer;
mod details;
mod models;
mod parameters;
mod plan;
mod refusal;
pub(crate) mod sizes;

use serde_json::Value;

pub(crate) use answer::Reading;
pub(crate) use details::details;
pub(crate) use models::{PAGE_SIZE, list_path, page};
pub(crate) use plan::plan;
pub(crate) use refusal::refused;

use crate::settings::Method;

/// Images that one job may ask for.
pub(crate) const MAX_COUNT: u32 = 10;
/// Of an upstream's words in a message, in bytes.
const MAX_MESSAGE: usize = 1000;
/// Of an upstream's code, name or id, in bytes.
const MAX_NAME: usize = 100;

/// What a request asks, and how.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Without `models/`.
    pub(crate) model: String,
    pub(crate) method: Method,
    /// Are there pictures to change?
    pub(crate) editing: bool,
}

/// A field by its name in camel case, or in the snake case that some gateways write.
fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).or_else(|| value.get(snake_case(key)))
}

fn snake_case(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 2);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// A text that is not empty.
fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    field(value, key)?.as_str().filter(|text| !text.is_empty())
}

/// A list; empty where there is none.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = field(value, key).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}
