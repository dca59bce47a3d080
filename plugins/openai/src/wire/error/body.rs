//! The error in a response body, in the formats of OpenAI, Azure and compatible servers.

use pinhole_sdk::Refusal;
use pinhole_sdk::upstream_text::truncate;
use serde_json::Value;

use super::{MAX_CATEGORIES, MAX_MESSAGE_BYTES};
use crate::wire::redaction::redact_keys;
use crate::wire::string_at;

pub(super) struct ErrorBody {
    pub(super) status: u16,
    /// The upstream's message without its keys, or a text for the status.
    pub(super) message: String,
    pub(super) code: Option<String>,
    /// The field `type`: a second, more general code.
    pub(super) error_type: Option<String>,
    pub(super) param: Option<String>,
    /// `input` or `output`, if the safety system reports it.
    pub(super) moderation_stage: Option<String>,
    /// Findings of the safety system.
    pub(super) categories: Vec<String>,
}

impl ErrorBody {
    pub(super) fn from_refusal(refusal: &Refusal) -> Self {
        let json = refusal.json.as_ref().unwrap_or(&Value::Null);
        let error = ["/error", "/0/error"]
            .iter()
            .find_map(|pointer| json.pointer(pointer))
            .unwrap_or(json);
        let moderation = error.get("moderation_details").unwrap_or(&Value::Null);
        Self {
            status: refusal.status,
            message: truncate(&redact_keys(&refusal.message()), MAX_MESSAGE_BYTES),
            code: error.get("code").and_then(parse_code),
            error_type: string_at(error, "type").map(str::to_owned),
            param: string_at(error, "param")
                .map(str::to_owned)
                .or_else(|| refusal.field()),
            moderation_stage: string_at(moderation, "moderation_stage").map(str::to_owned),
            categories: blocked_categories(error, moderation),
        }
    }

    /// The findings of the safety system, such as ` (stage: output; categories: sexual)`; may be empty.
    pub(super) fn findings(&self) -> String {
        let stage = self.moderation_stage.iter();
        let mut findings: Vec<String> = stage.map(|stage| format!("stage: {stage}")).collect();
        if !self.categories.is_empty() {
            findings.push(format!("categories: {}", self.categories.join(", ")));
        }
        if findings.is_empty() {
            return String::new();
        }
        format!(" ({})", truncate(&findings.join("; "), MAX_MESSAGE_BYTES))
    }
}

/// A code is a string, or a number in the responses of some proxies.
fn parse_code(code: &Value) -> Option<String> {
    match code {
        Value::String(code) if !code.is_empty() => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    }
}

/// The categories that OpenAI's moderation details name, and those of Azure's inner errors.
fn blocked_categories(error: &Value, moderation: &Value) -> Vec<String> {
    let moderated = moderation.get("categories").and_then(Value::as_array);
    let filtered = ["inner_error", "innererror"]
        .iter()
        .filter_map(|key| error.get(key))
        .flat_map(filtered_categories);
    moderated
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .chain(filtered)
        .take(MAX_CATEGORIES)
        .collect()
}

/// The categories that Azure's content filter blocked.
pub(super) fn filtered_categories(value: &Value) -> Vec<String> {
    [
        "content_filter_results",
        "content_filter_result",
        "prompt_filter_results",
    ]
    .iter()
    .filter_map(|key| value.get(key)?.as_object())
    .flatten()
    .filter(|(_, result)| result.get("filtered") == Some(&Value::Bool(true)))
    .map(|(category, _)| category.clone())
    .collect()
}
