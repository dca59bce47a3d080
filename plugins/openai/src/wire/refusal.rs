//! What the upstream refused, and why.

use pinhole_sdk::words::{cut, delay_ms};
use pinhole_sdk::{Error, ErrorKind, Refusal};
use serde_json::Value;

use super::keys::without_keys;
use super::text;
use crate::settings::{API_VERSION, BASE_URL, RESPONSE_FORMAT_MODELS};

/// Of an upstream's words in a message, in bytes.
const MAX_MESSAGE: usize = 1000;
/// Of an upstream's code or field, in bytes.
const MAX_NAME: usize = 100;
/// Of the categories that a safety system names.
const MAX_CATEGORIES: usize = 20;

/// An upstream's refusal of a request that named this model.
pub(crate) fn refused(refusal: &Refusal, model: Option<&str>) -> Error {
    let said = Said::read(refusal);
    let kind = said.kind(refusal);
    let mut message = said.message(kind, model);
    // Whom it concerns is the upstream's own support, which asks for the name of the request.
    if let Some(id) = refusal
        .request_id
        .as_ref()
        .filter(|_| refusal.status >= 500)
    {
        message = format!("{} (request {id})", message.trim_end_matches('.'));
    }
    let mut error = Error::new(kind, message);
    error.code = said.code.as_deref().map(|code| cut(code, MAX_NAME));
    error.field = said.field(kind).map(|field| cut(field, MAX_NAME));
    if matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable) {
        error.retry_after_ms = refusal.retry_after_ms.or_else(|| delay_ms(&said.words));
    }
    error
}

/// An error that came after a status of 200: inside the answer, or as an event of a stream.
pub(super) fn failed(answer: &Value, model: Option<&str>) -> Error {
    let refusal = Refusal {
        status: 200,
        json: Some(answer.clone()),
        text: String::new(),
        retry_after_ms: None,
        request_id: None,
    };
    refused(&refusal, model)
}

/// Why an answer of status 200 holds no picture.
pub(super) fn without_picture(answer: &Value, items: &[Value]) -> Error {
    if answer.get("error").is_some_and(|error| !error.is_null()) {
        return failed(answer, None);
    }
    let blocked: Vec<String> = items
        .iter()
        .flat_map(filtered)
        .take(MAX_CATEGORIES)
        .collect();
    if blocked.is_empty() {
        return Error::protocol("the upstream said success but gave no image");
    }
    let message = format!(
        "the upstream's filter held the image back (categories: {})",
        cut(&blocked.join(", "), MAX_MESSAGE)
    );
    Error::new(ErrorKind::Blocked, message)
}

/// What a refusal's body says.
struct Said {
    status: u16,
    /// The upstream's words without its keys, or what the status means.
    words: String,
    code: Option<String>,
    /// A second, wider code.
    class: Option<String>,
    param: Option<String>,
    /// Before or after the picture was made, where the safety system told.
    stage: Option<String>,
    /// What the safety system found.
    categories: Vec<String>,
}

impl Said {
    fn read(refusal: &Refusal) -> Self {
        let json = refusal.json.as_ref().unwrap_or(&Value::Null);
        let error = ["/error", "/0/error"]
            .iter()
            .find_map(|pointer| json.pointer(pointer))
            .unwrap_or(json);
        let said = |key| text(error, key).map(str::to_owned);
        let moderation = error.get("moderation_details").unwrap_or(&Value::Null);
        let named = moderation.get("categories").and_then(Value::as_array);
        let named = named.into_iter().flatten().filter_map(Value::as_str);
        let inner = ["inner_error", "innererror"]
            .iter()
            .filter_map(|key| error.get(key));
        Self {
            status: refusal.status,
            words: cut(&without_keys(&refusal.message()), MAX_MESSAGE),
            code: error.get("code").and_then(code),
            class: said("type"),
            param: said("param"),
            stage: text(moderation, "moderation_stage").map(str::to_owned),
            categories: named
                .map(str::to_owned)
                .chain(inner.flat_map(filtered))
                .take(MAX_CATEGORIES)
                .collect(),
        }
    }

    /// By code, then by field, then by wording, then by status.
    fn kind(&self, refusal: &Refusal) -> ErrorKind {
        let by_code = [&self.code, &self.class]
            .into_iter()
            .flatten()
            .find_map(|code| kind_of_code(code));
        if let Some(kind) = by_code {
            return kind;
        }
        match (self.status, self.param.as_deref()) {
            (200 | 400 | 404, Some("model")) => return ErrorKind::NotFound,
            // Not a model: the address itself is wrong.
            (404, _) => return ErrorKind::Invalid,
            _ => {}
        }
        // With these the status says more than any wording.
        if matches!(self.status, 401 | 403 | 429) {
            return refusal.kind();
        }
        let by_words = kind_of_words(&self.words.to_lowercase());
        by_words.unwrap_or_else(|| match self.status {
            // It came too late for a status.
            200 if self.asked_wrong() => ErrorKind::Invalid,
            200 => ErrorKind::Upstream,
            _ => refusal.kind(),
        })
    }

    fn asked_wrong(&self) -> bool {
        let class = self.class.as_deref();
        matches!(
            class,
            Some("invalid_request_error" | "image_generation_user_error")
        )
    }

    /// The upstream's words, and what they leave out.
    fn message(&self, kind: ErrorKind, model: Option<&str>) -> String {
        let words = &self.words;
        match kind {
            ErrorKind::Blocked => format!("{words}{}", self.findings()),
            ErrorKind::NotFound => match model {
                Some(model) if !words.contains(model) => {
                    format!("model {:?} is not there: {words}", cut(model, MAX_NAME))
                }
                _ => words.clone(),
            },
            ErrorKind::Invalid if self.status == 404 => format!(
                "{words}: there is no images API at this address, check the settings {BASE_URL} \
                 and {API_VERSION}"
            ),
            ErrorKind::Invalid if self.param.as_deref() == Some("response_format") => {
                format!("{words} Take the model out of the setting {RESPONSE_FORMAT_MODELS}")
            }
            _ => words.clone(),
        }
    }

    /// ` (stage: output; categories: sexual)`, or nothing.
    fn findings(&self) -> String {
        let stage = self.stage.iter().map(|stage| format!("stage: {stage}"));
        let categories = (!self.categories.is_empty())
            .then(|| format!("categories: {}", self.categories.join(", ")));
        let findings: Vec<String> = stage.chain(categories).collect();
        if findings.is_empty() {
            String::new()
        } else {
            format!(" ({})", cut(&findings.join("; "), MAX_MESSAGE))
        }
    }

    fn field(&self, kind: ErrorKind) -> Option<&str> {
        match kind {
            ErrorKind::NotFound => Some("model"),
            ErrorKind::Invalid if self.status == 404 => Some(BASE_URL),
            ErrorKind::Invalid => self.param.as_deref(),
            _ => None,
        }
    }
}

/// A code is a text, or a number with some proxies.
fn code(code: &Value) -> Option<String> {
    match code {
        Value::String(code) if !code.is_empty() => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    }
}

/// Codes and types of OpenAI and Azure whose kind is not that of their status.
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

/// For servers that give no code. `words` is lower case.
fn kind_of_words(words: &str) -> Option<ErrorKind> {
    let say = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    if say(&["safety system", "content policy", "safety_violations="]) {
        Some(ErrorKind::Blocked)
    } else if say(&["billing hard limit"]) {
        Some(ErrorKind::Quota)
    } else if say(&["out of memory"]) {
        Some(ErrorKind::OutOfMemory)
    } else {
        None
    }
}

/// The categories whose filter took something out, as Azure tells them.
fn filtered(value: &Value) -> Vec<String> {
    [
        "content_filter_results",
        "content_filter_result",
        "prompt_filter_results",
    ]
    .iter()
    .filter_map(|key| value.get(key)?.as_object())
    .flatten()
    .filter(|(_, verdict)| verdict.get("filtered") == Some(&Value::Bool(true)))
    .map(|(category, _)| category.clone())
    .collect()
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::bindings::pinhole::engine::upstream::Header;

    use super::*;

    /// A recorded answer: `{"status", "headers", "body"}`, where a text is a body that is not JSON.
    fn recorded(json: &str) -> Refusal {
        let json: Value = serde_json::from_str(json).unwrap();
        let headers: Vec<Header> = json["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| Header {
                name: name.clone(),
                value: value.as_str().unwrap().into(),
            })
            .collect();
        let body = match &json["body"] {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        Refusal::new(json["status"].as_u64().unwrap() as u16, &headers, body)
    }

    macro_rules! recorded {
        ($name:literal) => {
            recorded(include_str!(concat!(
                "../../testdata/refused-",
                $name,
                ".json"
            )))
        };
    }

    /// `expected` is the code and the field.
    fn check(
        refusal: &Refusal,
        kind: ErrorKind,
        expected: (Option<&str>, Option<&str>),
        message: &str,
    ) {
        let error = refused(refusal, Some("gpt-image-2"));
        assert_eq!(error.kind, kind, "{}", error.message);
        assert_eq!((error.code.as_deref(), error.field.as_deref()), expected);
        assert_eq!(error.message, message);
    }

    #[test]
    fn openais_refusals_are_told_apart() {
        use ErrorKind::{Blocked, Forbidden, Invalid, NotFound, Quota, Unauthorized, Upstream};
        check(
            &recorded!("key"),
            Unauthorized,
            (Some("invalid_api_key"), None),
            "Incorrect API key provided: sk-…. You can find your API key at \
             https://platform.openai.com/account/api-keys.",
        );
        check(
            &recorded!("organization"),
            Forbidden,
            (None, None),
            "Your organization must be verified to use the model `gpt-image-2`.",
        );
        check(
            &recorded!("model"),
            NotFound,
            (Some("model_not_found"), Some("model")),
            "model \"gpt-image-2\" is not there: The model 'nope' does not exist.",
        );
        check(
            &recorded!("parameter"),
            Invalid,
            (Some("unknown_parameter"), Some("response_format")),
            "Unknown parameter: 'response_format'. Take the model out of the setting \
             response-format-models",
        );
        check(
            &recorded!("size"),
            Invalid,
            (Some("invalid_value"), Some("size")),
            "Invalid value: '512x512'. Supported values are: '1024x1024', '1024x1536', \
             '1536x1024', and 'auto'.",
        );
        check(
            &recorded!("safety"),
            Blocked,
            (Some("moderation_blocked"), None),
            "Your request was rejected by the safety system. safety_violations=[sexual]. \
             (stage: output; categories: sexual)",
        );
        check(
            &recorded!("billing"),
            Quota,
            (Some("billing_hard_limit_reached"), None),
            "Billing hard limit has been reached",
        );
        check(
            &recorded!("quota"),
            Quota,
            (Some("insufficient_quota"), None),
            "You exceeded your current quota, please check your plan and billing details.",
        );
        check(
            &recorded!("server"),
            Upstream,
            (None, None),
            "The server had an error while processing your request.",
        );
        check(
            &recorded!("plain"),
            Invalid,
            (None, None),
            "prompt required",
        );
    }

    #[test]
    fn azures_refusals_are_told_apart() {
        use ErrorKind::{Blocked, Invalid, NotFound, RateLimited, Unauthorized};
        check(
            &recorded!("azure-filter"),
            Blocked,
            (Some("content_policy_violation"), None),
            "Your request was rejected as a result of our safety system. (categories: sexual)",
        );
        check(
            &recorded!("azure-filter-old"),
            Blocked,
            (Some("content_filter"), None),
            "The response was filtered. (categories: violence)",
        );
        check(
            &recorded!("azure-key"),
            Unauthorized,
            (Some("401"), None),
            "Access denied due to invalid subscription key or wrong API endpoint.",
        );
        check(
            &recorded!("azure-deployment"),
            NotFound,
            (Some("DeploymentNotFound"), Some("model")),
            "model \"gpt-image-2\" is not there: The API deployment for this resource does not \
             exist.",
        );
        check(
            &recorded!("azure-address"),
            Invalid,
            (Some("404"), Some("base-url")),
            "Resource not found: there is no images API at this address, check the settings \
             base-url and api-version",
        );
        check(
            &recorded!("azure-rate"),
            RateLimited,
            (Some("429"), None),
            "Requests have exceeded the call rate limit of your current tier.",
        );
    }

    fn kind(status: u16, body: &str) -> ErrorKind {
        refused(&Refusal::new(status, &[], body.into()), None).kind
    }

    #[test]
    fn bodies_without_a_code_are_read_by_their_words() {
        use ErrorKind::{
            Blocked, Forbidden, Invalid, NotFound, OutOfMemory, Quota, RateLimited, Unavailable,
        };
        let said = |words: &str| serde_json::json!({"error": {"message": words}}).to_string();
        assert_eq!(kind(400, &said("violates our Content Policy")), Blocked);
        assert_eq!(
            kind(400, &said("safety_violations=[hate, violence]")),
            Blocked
        );
        assert_eq!(
            kind(400, &said("Billing hard limit has been reached")),
            Quota
        );
        assert_eq!(kind(500, &said("CUDA out of memory")), OutOfMemory);
        assert_eq!(
            kind(403, &said("temporarily blocked by the safety system")),
            Forbidden
        );
        assert_eq!(kind(429, &said("slow down")), RateLimited);
        assert_eq!(kind(413, "too large"), Invalid);
        assert_eq!(kind(404, ""), Invalid);
        assert_eq!(kind(502, "<html>"), Unavailable);
        assert_eq!(kind(522, ""), Unavailable);
        let model = r#"{"error":{"code":"invalid_value","param":"model","message":"no"}}"#;
        assert_eq!(kind(400, model), NotFound);
        assert_eq!(
            kind(400, r#"[{"error":{"code":"insufficient_quota"}}]"#),
            Quota
        );
        for odd in ["[]", "7", "null", r#"{"error":{"code":{},"param":[]}}"#] {
            assert_eq!(kind(400, odd), Invalid, "{odd}");
        }
    }

    #[test]
    fn a_delay_is_told_only_where_waiting_helps() {
        let delay = |refusal: &Refusal| refused(refusal, None).retry_after_ms;
        assert_eq!(delay(&recorded!("rate")), Some(12_000));
        assert_eq!(delay(&recorded!("azure-rate")), Some(20_000));
        assert_eq!(delay(&recorded!("unavailable")), Some(2000));
        assert_eq!(delay(&recorded!("quota")), None);
        let quota = Refusal {
            retry_after_ms: Some(5000),
            ..recorded!("quota")
        };
        assert_eq!(delay(&quota), None);
        let words = r#"{"error":{"message":"Rate limit. Please try again in 12s."}}"#;
        assert_eq!(delay(&Refusal::new(429, &[], words.into())), Some(12_000));
    }

    #[test]
    fn a_failure_of_the_upstreams_own_names_the_request() {
        let header = Header {
            name: "x-request-id".into(),
            value: "req_1".into(),
        };
        let message = |status| {
            let body = r#"{"error":{"message":"Oh."}}"#.to_owned();
            refused(
                &Refusal::new(status, std::slice::from_ref(&header), body),
                None,
            )
            .message
        };
        assert_eq!(message(500), "Oh (request req_1)");
        assert_eq!(message(400), "Oh.");
    }

    #[test]
    fn an_upstreams_words_are_bounded() {
        let long = "x".repeat(10_000);
        let body = serde_json::json!({"error": {"message": long, "code": long, "param": long}});
        let error = refused(&Refusal::new(400, &[], body.to_string()), Some(&long));
        assert!(error.message.len() < 2 * MAX_MESSAGE);
        assert!(error.code.unwrap().len() < 2 * MAX_NAME);
        assert!(error.field.unwrap().len() < 2 * MAX_NAME);
    }
}
