//! Classifies error responses of the upstream.

use pinhole_sdk::{ErrorKind, Refusal};

use super::body::ErrorBody;

/// The kind of an error: from its code, else its parameter, else its message, else its status.
pub(super) fn classify(body: &ErrorBody, refusal: &Refusal) -> ErrorKind {
    let known_code = [&body.code, &body.error_type]
        .into_iter()
        .flatten()
        .find_map(|code| kind_of_code(code));
    if let Some(kind) = known_code {
        return kind;
    }
    match (body.status, body.param.as_deref()) {
        (200 | 400 | 404, Some("model")) => return ErrorKind::NotFound,
        // The base URL is wrong, not the model.
        (404, _) => return ErrorKind::Invalid,
        // These statuses are more precise than any message.
        (401 | 403 | 429, _) => return refusal.kind(),
        _ => {}
    }
    if let Some(kind) = kind_of_message(&body.message) {
        return kind;
    }
    match body.status {
        // The error came after the status.
        200 if is_client_error(body) => ErrorKind::Invalid,
        200 => ErrorKind::Upstream,
        _ => refusal.kind(),
    }
}

fn is_client_error(body: &ErrorBody) -> bool {
    matches!(
        body.error_type.as_deref(),
        Some("invalid_request_error" | "image_generation_user_error")
    )
}

/// Codes and types of OpenAI and Azure that are more precise than their status.
fn kind_of_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "invalid_api_key" => ErrorKind::Unauthorized,
        "unsupported_country_region_territory" => ErrorKind::Forbidden,
        "billing_hard_limit_reached" | "billing_limit_user_error" | "insufficient_quota" => {
            ErrorKind::Quota
        }
        "rate_limit_exceeded" | "RateLimitReached" => ErrorKind::RateLimited,
        "moderation_blocked"
        | "content_policy_violation"
        | "content_filter"
        | "ResponsibleAIPolicyViolation" => ErrorKind::Blocked,
        "model_not_found" | "DeploymentNotFound" => ErrorKind::NotFound,
        _ => return None,
    })
}

/// For servers that send no code.
fn kind_of_message(message: &str) -> Option<ErrorKind> {
    let lower_case = message.to_lowercase();
    let contains_any = |phrases: &[&str]| phrases.iter().any(|phrase| lower_case.contains(phrase));
    if contains_any(&["safety system", "content policy", "safety_violations="]) {
        Some(ErrorKind::Blocked)
    } else if contains_any(&["billing hard limit"]) {
        Some(ErrorKind::Quota)
    } else if contains_any(&["out of memory"]) {
        Some(ErrorKind::OutOfMemory)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn classify_response(status: u16, body: &str) -> ErrorKind {
        let refusal = Refusal::new(status, &[], body.into());
        classify(&ErrorBody::from_refusal(&refusal), &refusal)
    }

    #[test]
    fn classify_uses_message_and_status_without_code() {
        use ErrorKind::{
            Blocked, Forbidden, Invalid, NotFound, OutOfMemory, Quota, RateLimited, Unavailable,
        };
        for (status, message, kind) in [
            (400, "violates our Content Policy", Blocked),
            (400, "safety_violations=[hate, violence]", Blocked),
            (400, "Billing hard limit has been reached", Quota),
            (500, "CUDA out of memory", OutOfMemory),
            (403, "temporarily blocked by the safety system", Forbidden),
            (429, "slow down", RateLimited),
        ] {
            let body = json!({"error": {"message": message}}).to_string();
            assert_eq!(classify_response(status, &body), kind, "{message}");
        }
        for (status, body, kind) in [
            (413, "too large", Invalid),
            (404, "", Invalid),
            (502, "<html>", Unavailable),
            (522, "", Unavailable),
            (
                400,
                r#"{"error":{"code":"invalid_value","param":"model","message":"no"}}"#,
                NotFound,
            ),
            (400, r#"[{"error":{"code":"insufficient_quota"}}]"#, Quota),
            (400, "[]", Invalid),
            (400, "7", Invalid),
            (400, "null", Invalid),
            (400, r#"{"error":{"code":{},"param":[]}}"#, Invalid),
        ] {
            assert_eq!(classify_response(status, body), kind, "{status} {body}");
        }
    }
}
