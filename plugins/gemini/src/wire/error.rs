//! Converts error responses of the upstream to errors of the engine.

mod quota;
mod redaction;

use pinhole_sdk::upstream_text::{find_delay_ms, parse_duration_ms, truncate};
use pinhole_sdk::{Error, ErrorKind, Refusal};
use serde_json::Value;

use super::{MAX_MESSAGE_BYTES, MAX_NAME_BYTES, RequestTarget, array_at, string_at};
use crate::method::Method;
use crate::settings::{BASE_URL, ENDPOINT_METHOD, ENDPOINT_METHOD_VARIABLE};
use redaction::redact_keys;

/// The error for an error response. Requests that are not for images have no `target`.
pub(crate) fn upstream_error(refusal: &Refusal, target: Option<&RequestTarget>) -> Error {
    let error = error_object(refusal);
    let message = truncate(&redact_keys(&refusal.message()), MAX_MESSAGE_BYTES);
    let kind = match classify(refusal, error, &message) {
        // The base URL is wrong, not a model.
        ErrorKind::NotFound if target.is_none() => ErrorKind::Invalid,
        kind => kind,
    };
    let text = error_message(kind, refusal.status, &message, target);
    let mut result = Error::new(kind, text);
    result.code = error_code(error).map(|code| truncate(code, MAX_NAME_BYTES));
    result.field = invalid_field(kind, refusal, error, &message);
    if matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable) {
        result.retry_after_ms = refusal.retry_after_ms.or_else(|| delay_ms(error, &message));
    }
    result
}

/// The `error` of a body. Streams and some gateways put it into an array.
fn error_object(refusal: &Refusal) -> &Value {
    let json = refusal.json.as_ref().unwrap_or(&Value::Null);
    ["/error", "/0/error"]
        .iter()
        .find_map(|pointer| json.pointer(pointer))
        .unwrap_or(&Value::Null)
}

/// The reason in the details, which is more precise than the status, or else the status.
fn error_code(error: &Value) -> Option<&str> {
    detail(error, "reason").or_else(|| string_at(error, "status"))
}

fn detail<'a>(error: &'a Value, key: &str) -> Option<&'a str> {
    array_at(error, "details")
        .iter()
        .find_map(|detail| string_at(detail, key))
}

fn classify(refusal: &Refusal, error: &Value, message: &str) -> ErrorKind {
    let contains_any = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    let status_name = string_at(error, "status").unwrap_or_default();
    // The API reports a wrong key with status 400 and a missing one with 403.
    if matches!(
        error_code(error),
        Some("API_KEY_INVALID" | "API_KEY_EXPIRED")
    ) || contains_any(&[
        "API key not valid",
        "API key expired",
        "unregistered callers",
    ]) {
        return ErrorKind::Unauthorized;
    }
    match refusal.status {
        400 if status_name == "FAILED_PRECONDITION" || contains_any(&["billed users"]) => {
            ErrorKind::Forbidden
        }
        400 if contains_any(&["Responsible AI"]) => ErrorKind::Blocked,
        // The base URL is wrong, not the model.
        404 if status_name.is_empty() => ErrorKind::Invalid,
        429 if quota::is_exhausted(error, message) => ErrorKind::Quota,
        _ => refusal.kind(),
    }
}

/// The upstream's message, completed with the details that it omits.
fn error_message(
    kind: ErrorKind,
    status: u16,
    message: &str,
    target: Option<&RequestTarget>,
) -> String {
    match (kind, target) {
        (ErrorKind::NotFound, Some(target)) => {
            let model = &target.model;
            let prefix = if message.contains(model) {
                String::new()
            } else {
                format!("model {:?} not found: ", truncate(model, MAX_NAME_BYTES))
            };
            format!("{prefix}{message}{}", method_hint(target))
        }
        (ErrorKind::Invalid, _) if status == 404 => {
            format!("{message}: there is no API at this URL, check the setting {BASE_URL}")
        }
        _ => message.into(),
    }
}

/// Suggests another method that supports the job. Only `predict` cannot edit.
fn method_hint(target: &RequestTarget) -> String {
    let other = match target.method {
        Method::GenerateContent if target.is_edit => return String::new(),
        Method::GenerateContent => Method::Predict,
        Method::StreamGenerateContent | Method::Predict => Method::GenerateContent,
    };
    let other = other.name();
    format!(
        " (if the model is right, set {ENDPOINT_METHOD}, or {ENDPOINT_METHOD_VARIABLE}, to {other})"
    )
}

fn invalid_field(
    kind: ErrorKind,
    refusal: &Refusal,
    error: &Value,
    message: &str,
) -> Option<String> {
    let named = refusal.field();
    let field = match kind {
        ErrorKind::NotFound => "model",
        ErrorKind::Invalid if refusal.status == 404 => BASE_URL,
        ErrorKind::Invalid => unknown_field(message)
            .or_else(|| violated_field(error))
            .or(named.as_deref())?,
        _ => return None,
    };
    Some(truncate(field, MAX_NAME_BYTES))
}

/// The field in `Unknown name "imageSize" at …`.
fn unknown_field(message: &str) -> Option<&str> {
    let (_, after) = message.split_once("Unknown name \"")?;
    let (name, _) = after.split_once('"')?;
    Some(name)
}

fn violated_field(error: &Value) -> Option<&str> {
    array_at(error, "details")
        .iter()
        .flat_map(|detail| array_at(detail, "fieldViolations"))
        .find_map(|violation| string_at(violation, "field"))
}

/// The delay in `RetryInfo`, or in a message such as `Please retry in 32.5s.`.
fn delay_ms(error: &Value, message: &str) -> Option<u64> {
    match detail(error, "retryDelay") {
        Some(delay) => parse_duration_ms(delay),
        None => find_delay_ms(message),
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::testing::recorded_refusal;
    use serde_json::json;

    use super::*;

    fn target(model: &str, method: Method, is_edit: bool) -> RequestTarget {
        RequestTarget {
            model: model.into(),
            method,
            is_edit,
        }
    }

    /// A recorded error response from `testdata`.
    macro_rules! recorded {
        ($name:literal) => {
            recorded_refusal(
                &serde_json::from_str(include_str!(concat!(
                    "../../testdata/error-",
                    $name,
                    ".json"
                )))
                .unwrap(),
            )
        };
    }

    /// Compares everything but the delay.
    fn check(refusal: &Refusal, expected: Error) {
        let target = target("gemini-3.1-flash-image", Method::GenerateContent, false);
        let error = upstream_error(refusal, Some(&target));
        assert_eq!(error.kind, expected.kind, "{}", error.message);
        assert_eq!(error.code, expected.code);
        assert_eq!(error.field, expected.field);
        assert_eq!(error.message, expected.message);
    }

    #[test]
    fn upstream_error_converts_errors_of_access_and_quota() {
        use ErrorKind::{Forbidden, Quota, RateLimited, Unauthorized, Unavailable, Upstream};
        for (refusal, kind, code, message) in [
            (
                recorded!("key"),
                Unauthorized,
                "API_KEY_INVALID",
                "API key not valid. Please pass a valid API key.",
            ),
            (
                recorded!("no-key"),
                Unauthorized,
                "PERMISSION_DENIED",
                "Method doesn't allow unregistered callers (callers without established \
                 identity). Please use API Key or other form of API consumer identity to call \
                 this API.",
            ),
            (
                recorded!("service"),
                Forbidden,
                "API_KEY_SERVICE_BLOCKED",
                "Requests to this API are blocked.",
            ),
            (
                recorded!("location"),
                Forbidden,
                "FAILED_PRECONDITION",
                "User location is not supported for the API use.",
            ),
            (
                recorded!("minute-quota"),
                RateLimited,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota, please check your plan and billing details.\n\
                 Please retry in 32.5s.",
            ),
            (
                recorded!("daily-quota"),
                Quota,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota. limit: 0\nPlease retry in 32.5s.",
            ),
            (
                recorded!("overloaded"),
                Unavailable,
                "UNAVAILABLE",
                "The model is overloaded. Please try again later.",
            ),
            (
                recorded!("internal"),
                Upstream,
                "INTERNAL",
                "An internal error has occurred. Please retry or report.",
            ),
        ] {
            check(&refusal, Error::new(kind, message).with_code(code));
        }
    }

    #[test]
    fn upstream_error_names_field_of_wrong_request() {
        use ErrorKind::{Invalid, NotFound};
        check(
            &recorded!("model"),
            Error::new(
                NotFound,
                "model \"gemini-3.1-flash-image\" not found: models/nope is not found for API \
                 version v1beta, or is not supported for generateContent. Call ListModels to see \
                 the list of available models and their supported methods. (if the model is \
                 right, set endpoint-method, or IMAGES_GEMINI_ENDPOINT_METHOD, to predict)",
            )
            .with_code("NOT_FOUND")
            .with_field("model"),
        );
        check(
            &recorded!("field"),
            Error::new(
                Invalid,
                "Invalid JSON payload received. Unknown name \"imageSize\" at \
                 'generation_config.image_config': Cannot find field.",
            )
            .with_code("INVALID_ARGUMENT")
            .with_field("imageSize"),
        );
        check(
            &Refusal::new(404, &[], "<html>".into()),
            Error::new(
                Invalid,
                "the upstream returned status 404: there is no API at this URL, check the \
                 setting base-url",
            )
            .with_field("base-url"),
        );
    }

    #[test]
    fn upstream_error_suggests_method_that_supports_job() {
        let suggested_method = |method, is_edit| {
            let target = target("x", method, is_edit);
            let message = upstream_error(&recorded!("model"), Some(&target)).message;
            let (_, suggested) = message.rsplit_once(", to ")?;
            Some(suggested.to_owned())
        };
        let check = |method, is_edit, expected: Option<&str>| {
            let suggested = suggested_method(method, is_edit);
            assert_eq!(suggested.as_deref(), expected, "{method:?}");
        };
        check(Method::GenerateContent, false, Some("predict)"));
        check(Method::GenerateContent, true, None);
        check(Method::Predict, false, Some("generateContent)"));
        let stream = Method::StreamGenerateContent;
        check(stream, true, Some("generateContent)"));
    }

    #[test]
    fn upstream_error_names_base_url_without_model() {
        let error = upstream_error(&recorded!("model"), None);
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.field.as_deref(), Some("base-url"));
    }

    #[test]
    fn upstream_error_has_delay_only_if_waiting_helps() {
        let delay = |refusal: &Refusal| upstream_error(refusal, None).retry_after_ms;
        assert_eq!(delay(&recorded!("minute-quota")), Some(32_000));
        assert_eq!(delay(&recorded!("daily-quota")), None);
        let delay_of_message = |message: &str| {
            let body = json!({"error": {"status": "RESOURCE_EXHAUSTED", "message": message}});
            delay(&Refusal::new(429, &[], body.to_string()))
        };
        assert_eq!(delay_of_message("Please retry in 0.5s."), Some(500));
        assert_eq!(delay_of_message("Please retry in -1s."), None);
        assert_eq!(delay_of_message("Please retry in a moment, or so"), None);
    }

    #[test]
    fn upstream_error_classifies_unusual_bodies_by_status_or_message() {
        let kind = |status, body: &str| {
            let refusal = Refusal::new(status, &[], body.into());
            upstream_error(&refusal, None).kind
        };
        for body in [
            "",
            "[]",
            "7",
            "null",
            r#"{"error":{"details":[null,{"violations":7}]}}"#,
        ] {
            assert_eq!(kind(400, body), ErrorKind::Invalid, "{body}");
            assert_eq!(kind(401, body), ErrorKind::Unauthorized, "{body}");
            assert_eq!(kind(504, body), ErrorKind::Unavailable, "{body}");
        }
        let policy = r#"{"error":{"message":"violates Google's Responsible AI practices"}}"#;
        assert_eq!(kind(400, policy), ErrorKind::Blocked);
        let unpaid = r#"{"error":{"message":"only accessible to billed users at this time"}}"#;
        assert_eq!(kind(400, unpaid), ErrorKind::Forbidden);
    }

    #[test]
    fn upstream_error_limits_lengths() {
        let long = "x".repeat(10_000);
        let body = json!({"error": {"status": long, "message": long}});
        let target = target(&long, Method::Predict, false);
        let refusal = Refusal::new(404, &[], body.to_string());
        let error = upstream_error(&refusal, Some(&target));
        assert!(error.message.len() < 2 * MAX_MESSAGE_BYTES);
        assert!(error.code.unwrap().len() < 2 * MAX_NAME_BYTES);
    }
}
