//! Finds secrets of a case in the texts that people can read.

use serde_json::{Map, Value};

use crate::case::Case;
use crate::host::TaskResult;

/// Variables whose names end so hold secrets.
const SECRET_SUFFIXES: [&str; 5] = ["KEY", "AUTH", "SECRET", "TOKEN", "PASSWORD"];
/// Variables whose names end so hold a JSON object of headers with secrets.
const HEADERS_SUFFIX: &str = "_HEADERS";
/// Minimum length of a secret; a shorter one occurs in ordinary text.
const MIN_SECRET_BYTES: usize = 4;

/// Texts that a person can read.
pub(crate) struct VisibleTexts {
    /// Such as `a log line`.
    pub(crate) place: &'static str,
    pub(crate) texts: Vec<String>,
}

/// A line for each secret in each kind of text. `fill` replaces placeholders in a variable.
pub(crate) fn find_leaks(
    case: &Case,
    visible: &[VisibleTexts],
    fill: impl Fn(&str) -> String,
) -> Vec<String> {
    let mut leaks = Vec::new();
    for (name, value) in &case.variables {
        let value = fill(value);
        let secrets: Vec<String> = if name.ends_with(HEADERS_SUFFIX) {
            header_values(&value)
                .iter()
                .flat_map(|it| spellings(it))
                .collect()
        } else if SECRET_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            spellings(&value)
        } else {
            continue;
        };
        for VisibleTexts { place, texts } in visible {
            let has_secret = |text: &&String| secrets.iter().any(|secret| text.contains(secret));
            if let Some(text) = texts.iter().find(has_secret) {
                leaks.push(format!(
                    "/variables/{name}: its value appears in {place}: {text}"
                ));
            }
        }
    }
    leaks
}

/// The secrets in a JSON object of headers: each value, without its scheme.
fn header_values(json: &str) -> Vec<String> {
    let headers: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let without_scheme = |value: &str| match value.split_once(' ') {
        Some((_, rest)) => rest.to_owned(),
        None => value.to_owned(),
    };
    headers
        .values()
        .filter_map(Value::as_str)
        .map(without_scheme)
        .collect()
}

/// The secret, its base64, and the part after a colon, as in `user:password`.
fn spellings(secret: &str) -> Vec<String> {
    let base64 = base64_simd::STANDARD.encode_to_string(secret);
    let all = [
        Some(secret),
        Some(base64.trim_end_matches('=')),
        secret.split_once(':').map(|(_, after)| after),
    ];
    all.into_iter()
        .flatten()
        .filter(|spelling| spelling.len() >= MIN_SECRET_BYTES)
        .map(str::to_owned)
        .collect()
}

/// The texts of a result that a person can read.
pub(crate) fn visible_texts(result: &TaskResult) -> Vec<String> {
    match result {
        TaskResult::Images(job) => vec![
            job.details.to_string(),
            job.revised_prompt.clone().unwrap_or_default(),
            job.warnings.join("\n"),
        ],
        TaskResult::Models(models) => models
            .iter()
            .flat_map(|model| [model.id.clone(), model.name.clone()])
            .collect(),
        TaskResult::Verified(found) => found
            .rows
            .iter()
            .map(|row| row.value.clone())
            .chain(found.server.clone())
            .chain(found.problems.clone())
            .collect(),
        TaskResult::Failed(failure) => vec![
            failure.message.clone(),
            failure.operator_message.clone(),
            failure.code.clone().unwrap_or_default(),
            failure.field.clone().unwrap_or_default(),
        ],
    }
}
