//! Converts error responses of the upstream to errors of the engine.

mod body;
mod kind;

use pinhole_sdk::outline::describe_json;
use pinhole_sdk::upstream_text::{find_delay_ms, truncate};
use pinhole_sdk::{Error, ErrorKind, Refusal};
use serde_json::Value;

use crate::settings::{API_VERSION, BASE_URL, IMAGE_API, RESPONSE_FORMAT_MODELS};
use body::{ErrorBody, filtered_categories};

/// Bytes of an upstream's text in a message.
const MAX_MESSAGE_BYTES: usize = 1000;
/// Bytes of an upstream's code, or of the name of a field or a model.
const MAX_NAME_BYTES: usize = 100;
/// Categories of a safety system in one message.
const MAX_CATEGORIES: usize = 20;

/// The error for an error response to a request for this model.
pub(crate) fn upstream_error(refusal: &Refusal, model: Option<&str>) -> Error {
    let body = ErrorBody::from_refusal(refusal);
    let kind = kind::classify(&body, refusal);
    let mut message = error_message(&body, kind, model);
    // The upstream's support asks for the ID of a request that failed there.
    if let Some(id) = &refusal.request_id
        && refusal.status >= 500
    {
        message = format!("{} (request {id})", message.trim_end_matches('.'));
    }
    let mut error = Error::new(kind, message);
    error.code = body
        .code
        .as_deref()
        .map(|code| truncate(code, MAX_NAME_BYTES));
    error.field = invalid_field(&body, kind).map(|field| truncate(field, MAX_NAME_BYTES));
    if matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable) {
        error.retry_after_ms = refusal
            .retry_after_ms
            .or_else(|| find_delay_ms(&body.message));
    }
    error
}

/// Completes the error of an image URL that cannot be fetched: most servers can return bytes instead.
pub(crate) fn explain_url_error(error: &mut Error) {
    error.message = format!(
        "{}; if the upstream can return bytes in place of a URL, set {RESPONSE_FORMAT_MODELS} to *",
        error.message
    );
}

/// The error for an error object that follows status 200, in the body or in an event of a stream.
pub(super) fn error_in_success(body: &Value, model: Option<&str>) -> Error {
    let refusal = Refusal {
        status: 200,
        json: Some(body.clone()),
        text: String::new(),
        retry_after_ms: None,
        request_id: None,
    };
    upstream_error(&refusal, model)
}

/// The error for a response with status 200 whose items hold no image.
pub(super) fn missing_image_error(body: &Value, items: &[Value]) -> Error {
    if body.get("error").is_some_and(|error| !error.is_null()) {
        return error_in_success(body, None);
    }
    let categories: Vec<String> = items
        .iter()
        .flat_map(filtered_categories)
        .take(MAX_CATEGORIES)
        .collect();
    if categories.is_empty() {
        return Error::protocol(format!(
            "the upstream reported success but returned no image: it sent {}",
            describe_json(body)
        ));
    }
    let message = format!(
        "the upstream's content filter blocked the image (categories: {})",
        truncate(&categories.join(", "), MAX_MESSAGE_BYTES)
    );
    Error::new(ErrorKind::Blocked, message)
}

/// The upstream's message, completed with the details that it omits.
fn error_message(body: &ErrorBody, kind: ErrorKind, model: Option<&str>) -> String {
    let message = &body.message;
    match kind {
        ErrorKind::Blocked => format!("{message}{}", body.findings()),
        ErrorKind::NotFound => match model {
            Some(model) if !message.contains(model) => {
                format!(
                    "model {:?} not found: {message}",
                    truncate(model, MAX_NAME_BYTES)
                )
            }
            _ => message.clone(),
        },
        ErrorKind::Invalid if body.status == 404 => format!(
            "{message}: there is no images API at this URL, check the settings {BASE_URL}, \
             {API_VERSION} and {IMAGE_API}"
        ),
        ErrorKind::Invalid if body.param.as_deref() == Some("response_format") => {
            format!("{message} Remove the model from the setting {RESPONSE_FORMAT_MODELS}")
        }
        _ => message.clone(),
    }
}

fn invalid_field(body: &ErrorBody, kind: ErrorKind) -> Option<&str> {
    match kind {
        ErrorKind::NotFound => Some("model"),
        ErrorKind::Invalid if body.status == 404 => Some(BASE_URL),
        ErrorKind::Invalid => body.param.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::testing::recorded_refusal;
    use pinhole_sdk::upstream::Header;
    use serde_json::json;

    use super::*;

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
        let error = upstream_error(refusal, Some("gpt-image-2"));
        assert_eq!(error.kind, expected.kind, "{}", error.message);
        assert_eq!(error.code, expected.code);
        assert_eq!(error.field, expected.field);
        assert_eq!(error.message, expected.message);
    }

    #[test]
    fn upstream_error_converts_openai_access_errors() {
        use ErrorKind::{Forbidden, NotFound, Quota, Unauthorized};
        check(
            &recorded!("key"),
            Error::new(
                Unauthorized,
                "Incorrect API key provided: sk-…. You can find your API key at \
                 https://platform.openai.com/account/api-keys.",
            )
            .with_code("invalid_api_key"),
        );
        check(
            &recorded!("organization"),
            Error::new(
                Forbidden,
                "Your organization must be verified to use the model `gpt-image-2`.",
            ),
        );
        check(
            &recorded!("model"),
            Error::new(
                NotFound,
                "model \"gpt-image-2\" not found: The model 'nope' does not exist.",
            )
            .with_code("model_not_found")
            .with_field("model"),
        );
        check(
            &recorded!("billing"),
            Error::new(Quota, "Billing hard limit has been reached")
                .with_code("billing_hard_limit_reached"),
        );
        check(
            &recorded!("quota"),
            Error::new(
                Quota,
                "You exceeded your current quota, please check your plan and billing details.",
            )
            .with_code("insufficient_quota"),
        );
    }

    #[test]
    fn upstream_error_converts_openai_request_errors() {
        use ErrorKind::{Blocked, Invalid, Upstream};
        check(
            &recorded!("parameter"),
            Error::new(
                Invalid,
                "Unknown parameter: 'response_format'. Remove the model from the setting \
                 response-format-models",
            )
            .with_code("unknown_parameter")
            .with_field("response_format"),
        );
        check(
            &recorded!("size"),
            Error::new(
                Invalid,
                "Invalid value: '512x512'. Supported values are: '1024x1024', '1024x1536', \
                 '1536x1024', and 'auto'.",
            )
            .with_code("invalid_value")
            .with_field("size"),
        );
        check(
            &recorded!("safety"),
            Error::new(
                Blocked,
                "Your request was rejected by the safety system. safety_violations=[sexual]. \
                 (stage: output; categories: sexual)",
            )
            .with_code("moderation_blocked"),
        );
        check(
            &recorded!("server"),
            Error::new(
                Upstream,
                "The server had an error while processing your request.",
            ),
        );
        check(&recorded!("plain"), Error::new(Invalid, "prompt required"));
    }

    #[test]
    fn upstream_error_converts_azure_errors() {
        use ErrorKind::{Blocked, Invalid, NotFound, RateLimited, Unauthorized};
        check(
            &recorded!("azure-filter"),
            Error::new(
                Blocked,
                "Your request was rejected as a result of our safety system. (categories: sexual)",
            )
            .with_code("content_policy_violation"),
        );
        check(
            &recorded!("azure-filter-old"),
            Error::new(Blocked, "The response was filtered. (categories: violence)")
                .with_code("content_filter"),
        );
        check(
            &recorded!("azure-key"),
            Error::new(
                Unauthorized,
                "Access denied due to invalid subscription key or wrong API endpoint.",
            )
            .with_code("401"),
        );
        check(
            &recorded!("azure-deployment"),
            Error::new(
                NotFound,
                "model \"gpt-image-2\" not found: The API deployment for this resource does not \
                 exist.",
            )
            .with_code("DeploymentNotFound")
            .with_field("model"),
        );
        check(
            &recorded!("azure-url"),
            Error::new(
                Invalid,
                "Resource not found: there is no images API at this URL, check the settings \
                 base-url, api-version and image-api",
            )
            .with_code("404")
            .with_field("base-url"),
        );
        check(
            &recorded!("azure-rate"),
            Error::new(
                RateLimited,
                "Requests have exceeded the call rate limit of your current tier.",
            )
            .with_code("429"),
        );
    }

    #[test]
    fn upstream_error_has_delay_only_if_waiting_helps() {
        let delay = |refusal: &Refusal| upstream_error(refusal, None).retry_after_ms;
        assert_eq!(delay(&recorded!("rate")), Some(12_000));
        assert_eq!(delay(&recorded!("azure-rate")), Some(20_000));
        assert_eq!(delay(&recorded!("unavailable")), Some(2000));
        assert_eq!(delay(&recorded!("quota")), None);
        let quota_with_delay = Refusal {
            retry_after_ms: Some(5000),
            ..recorded!("quota")
        };
        assert_eq!(delay(&quota_with_delay), None);
        let body = r#"{"error":{"message":"Rate limit. Please try again in 12s."}}"#;
        assert_eq!(delay(&Refusal::new(429, &[], body.into())), Some(12_000));
    }

    #[test]
    fn upstream_error_names_request_of_server_error() {
        let header = Header {
            name: "x-request-id".into(),
            value: "req_1".into(),
        };
        let message = |status| {
            let body = r#"{"error":{"message":"Oh."}}"#.to_owned();
            let refusal = Refusal::new(status, std::slice::from_ref(&header), body);
            upstream_error(&refusal, None).message
        };
        assert_eq!(message(500), "Oh (request req_1)");
        assert_eq!(message(400), "Oh.");
    }

    #[test]
    fn upstream_error_limits_lengths() {
        let long = "x".repeat(10_000);
        let body = json!({"error": {"message": long, "code": long, "param": long}});
        let refusal = Refusal::new(400, &[], body.to_string());
        let error = upstream_error(&refusal, Some(&long));
        assert!(error.message.len() < 2 * MAX_MESSAGE_BYTES);
        assert!(error.code.unwrap().len() < 2 * MAX_NAME_BYTES);
        assert!(error.field.unwrap().len() < 2 * MAX_NAME_BYTES);
    }
}
