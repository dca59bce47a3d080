//! What the upstream refused, and why.

use pinhole_sdk::words::{cut, delay_ms, duration_ms};
use pinhole_sdk::{Error, ErrorKind, Refusal};
use serde_json::Value;

use super::{Asked, MAX_MESSAGE, MAX_NAME, list, text};
use crate::settings::{BASE_URL, ENDPOINT_METHOD, ENDPOINT_METHOD_VARIABLE, Method};

/// How Google's keys begin.
const KEY: &str = "AIza";

/// An upstream's refusal of a request for pictures, or of another where nothing was `asked`.
pub(crate) fn refused(refusal: &Refusal, asked: Option<&Asked>) -> Error {
    let error = body(refusal);
    let words = cut(&without_keys(&refusal.message()), MAX_MESSAGE);
    let kind = match kind(refusal, error, &words) {
        // Not a model: the address itself is wrong.
        ErrorKind::NotFound if asked.is_none() => ErrorKind::Invalid,
        kind => kind,
    };
    let mut refused = Error::new(kind, message(kind, refusal.status, &words, asked));
    refused.code = code(error).map(|code| cut(code, MAX_NAME));
    refused.field = wrong_field(kind, refusal.status, error, &words);
    if matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable) {
        refused.retry_after_ms = refusal.retry_after_ms.or_else(|| delay(error, &words));
    }
    refused
}

/// The `error` of a body; streams and some gateways put the body into a list.
fn body(refusal: &Refusal) -> &Value {
    let json = refusal.json.as_ref().unwrap_or(&Value::Null);
    ["/error", "/0/error"]
        .iter()
        .find_map(|pointer| json.pointer(pointer))
        .unwrap_or(&Value::Null)
}

/// The reason in the details says more than the status.
fn code(error: &Value) -> Option<&str> {
    detail(error, "reason").or_else(|| text(error, "status"))
}

fn detail<'a>(error: &'a Value, key: &str) -> Option<&'a str> {
    list(error, "details")
        .iter()
        .find_map(|detail| text(detail, key))
}

fn kind(refusal: &Refusal, error: &Value, words: &str) -> ErrorKind {
    let say = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    let status = text(error, "status").unwrap_or_default();
    // A wrong key is a 400 here, and a missing one a 403.
    if matches!(code(error), Some("API_KEY_INVALID" | "API_KEY_EXPIRED"))
        || say(&[
            "API key not valid",
            "API key expired",
            "unregistered callers",
        ])
    {
        return ErrorKind::Unauthorized;
    }
    match refusal.status {
        400 if status == "FAILED_PRECONDITION" || say(&["billed users"]) => ErrorKind::Forbidden,
        400 if say(&["Responsible AI"]) => ErrorKind::Blocked,
        // Not a model: the address itself is wrong.
        404 if status.is_empty() => ErrorKind::Invalid,
        429 if waiting_is_vain(error, words) => ErrorKind::Quota,
        _ => refusal.kind(),
    }
}

/// Is the limit one of a day, or nothing at all?
fn waiting_is_vain(error: &Value, words: &str) -> bool {
    let vain = |violation: &Value| {
        text(violation, "quotaId").is_some_and(|id| id.contains("PerDay"))
            || text(violation, "quotaValue") == Some("0")
    };
    let details = list(error, "details").iter();
    let mut violations = details.flat_map(|detail| list(detail, "violations"));
    violations.any(vain) || words.split("limit: ").skip(1).any(begins_with_zero)
}

fn begins_with_zero(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let number = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    number.trim_end_matches('.').parse() == Ok(0.0)
}

/// The upstream's words, and what they leave out.
fn message(kind: ErrorKind, status: u16, words: &str, asked: Option<&Asked>) -> String {
    match (kind, asked) {
        (ErrorKind::NotFound, Some(asked)) => {
            let model = &asked.model;
            let named = if words.contains(model) {
                String::new()
            } else {
                format!("model {:?} is not there: ", cut(model, MAX_NAME))
            };
            format!("{named}{words}{}", other_method(asked))
        }
        (ErrorKind::Invalid, _) if status == 404 => {
            format!("{words}: there is no API at this address, check the setting {BASE_URL}")
        }
        _ => words.into(),
    }
}

/// What may be wrong where the model is right: only one of the methods can edit.
fn other_method(asked: &Asked) -> String {
    let other = match asked.method {
        Method::GenerateContent if asked.editing => return String::new(),
        Method::GenerateContent => Method::Predict,
        Method::StreamGenerateContent | Method::Predict => Method::GenerateContent,
    };
    let other = other.name();
    format!(
        " (if the model is right, set {ENDPOINT_METHOD}, or {ENDPOINT_METHOD_VARIABLE}, to {other})"
    )
}

fn wrong_field(kind: ErrorKind, status: u16, error: &Value, words: &str) -> Option<String> {
    let field = match kind {
        ErrorKind::NotFound => "model",
        ErrorKind::Invalid if status == 404 => BASE_URL,
        ErrorKind::Invalid => unknown_name(words).or_else(|| violated_field(error))?,
        _ => return None,
    };
    Some(cut(field, MAX_NAME))
}

/// The name in `Unknown name "imageSize" at …`.
fn unknown_name(words: &str) -> Option<&str> {
    let (_, after) = words.split_once("Unknown name \"")?;
    let (name, _) = after.split_once('"')?;
    Some(name)
}

fn violated_field(error: &Value) -> Option<&str> {
    let details = list(error, "details").iter();
    details
        .flat_map(|detail| list(detail, "fieldViolations"))
        .find_map(|violation| text(violation, "field"))
}

/// The delay of `RetryInfo`, or in `Please retry in 32.5s.`, in milliseconds.
fn delay(error: &Value, words: &str) -> Option<u64> {
    detail(error, "retryDelay").map_or_else(|| delay_ms(words), duration_ms)
}

/// The text without what looks like a key.
fn without_keys(text: &str) -> String {
    let mut pieces = text.split(KEY);
    let mut cut = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        cut.push_str(KEY);
        cut.push('…');
        let in_key = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        cut.push_str(piece.trim_start_matches(in_key));
    }
    cut
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(model: &str, method: Method, editing: bool) -> Asked {
        Asked {
            model: model.into(),
            method,
            editing,
        }
    }

    /// A recorded answer: `{"status", "body"}`.
    fn recorded(json: &str) -> Refusal {
        let json: Value = serde_json::from_str(json).unwrap();
        let status = json["status"].as_u64().unwrap() as u16;
        Refusal::new(status, &[], json["body"].to_string())
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
        let asked = asked("gemini-3.1-flash-image", Method::GenerateContent, false);
        let error = refused(refusal, Some(&asked));
        assert_eq!(error.kind, kind, "{}", error.message);
        assert_eq!((error.code.as_deref(), error.field.as_deref()), expected);
        assert_eq!(error.message, message);
    }

    #[test]
    fn refusals_are_told_apart() {
        use ErrorKind::{
            Forbidden, Invalid, NotFound, Quota, RateLimited, Unauthorized, Unavailable, Upstream,
        };
        check(
            &recorded!("key"),
            Unauthorized,
            (Some("API_KEY_INVALID"), None),
            "API key not valid. Please pass a valid API key.",
        );
        check(
            &recorded!("no-key"),
            Unauthorized,
            (Some("PERMISSION_DENIED"), None),
            "Method doesn't allow unregistered callers (callers without established identity). \
             Please use API Key or other form of API consumer identity to call this API.",
        );
        check(
            &recorded!("service"),
            Forbidden,
            (Some("API_KEY_SERVICE_BLOCKED"), None),
            "Requests to this API are blocked.",
        );
        check(
            &recorded!("location"),
            Forbidden,
            (Some("FAILED_PRECONDITION"), None),
            "User location is not supported for the API use.",
        );
        check(
            &recorded!("model"),
            NotFound,
            (Some("NOT_FOUND"), Some("model")),
            "model \"gemini-3.1-flash-image\" is not there: models/nope is not found for API \
             version v1beta, or is not supported for generateContent. Call ListModels to see the \
             list of available models and their supported methods. (if the model is right, set \
             endpoint-method, or IMAGES_GEMINI_ENDPOINT_METHOD, to predict)",
        );
        check(
            &recorded!("field"),
            Invalid,
            (Some("INVALID_ARGUMENT"), Some("imageSize")),
            "Invalid JSON payload received. Unknown name \"imageSize\" at \
             'generation_config.image_config': Cannot find field.",
        );
        check(
            &recorded!("minute"),
            RateLimited,
            (Some("RESOURCE_EXHAUSTED"), None),
            "You exceeded your current quota, please check your plan and billing details.\n\
             Please retry in 32.5s.",
        );
        check(
            &recorded!("day"),
            Quota,
            (Some("RESOURCE_EXHAUSTED"), None),
            "You exceeded your current quota. limit: 0\nPlease retry in 32.5s.",
        );
        check(
            &recorded!("overloaded"),
            Unavailable,
            (Some("UNAVAILABLE"), None),
            "The model is overloaded. Please try again later.",
        );
        check(
            &recorded!("internal"),
            Upstream,
            (Some("INTERNAL"), None),
            "An internal error has occurred. Please retry or report.",
        );
        check(
            &Refusal::new(404, &[], "<html>".into()),
            Invalid,
            (None, Some("base-url")),
            "the upstream answered with status 404: there is no API at this address, check the \
             setting base-url",
        );
    }

    #[test]
    fn a_method_is_proposed_that_can_do_the_job() {
        let hint = |method, editing| {
            let message = refused(&recorded!("model"), Some(&asked("x", method, editing))).message;
            let (_, hint) = message.rsplit_once(", to ")?;
            Some(hint.to_owned())
        };
        let hint = |method, editing| hint(method, editing).unwrap_or_default();
        assert_eq!(hint(Method::GenerateContent, false), "predict)");
        assert_eq!(hint(Method::GenerateContent, true), "");
        let content = "generateContent)";
        assert_eq!(hint(Method::Predict, false), content);
        assert_eq!(hint(Method::StreamGenerateContent, true), content);
    }

    #[test]
    fn what_is_missing_beside_a_model_is_the_address() {
        let error = refused(&recorded!("model"), None);
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert_eq!(error.field.as_deref(), Some("base-url"));
    }

    #[test]
    fn a_delay_is_told_only_where_waiting_helps() {
        let delay = |refusal: &Refusal| refused(refusal, None).retry_after_ms;
        assert_eq!(delay(&recorded!("minute")), Some(32_000));
        assert_eq!(delay(&recorded!("day")), None);
        let words = |words: &str| {
            let body = json!({"error": {"status": "RESOURCE_EXHAUSTED", "message": words}});
            delay(&Refusal::new(429, &[], body.to_string()))
        };
        assert_eq!(words("Please retry in 0.5s."), Some(500));
        assert_eq!(words("Please retry in -1s."), None);
        assert_eq!(words("Please retry in a moment, or so"), None);
    }

    #[test]
    fn a_limit_of_zero_is_not_one_that_begins_with_a_zero() {
        let check = |words, expected| assert_eq!(waiting_is_vain(&Value::Null, words), expected);
        check("limit: 0", true);
        check("limit: 10, and limit: 0.", true);
        check("limit: 0.5", false);
        check("limit: 05", false);
        check("limit: none", false);
        let none = json!({"details": [{"violations": [{"quotaValue": "0"}]}]});
        assert!(waiting_is_vain(&none, ""));
    }

    #[test]
    fn odd_bodies_are_read_by_their_status() {
        let kind = |status, body: &str| refused(&Refusal::new(status, &[], body.into()), None).kind;
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
        let rai = r#"{"error":{"message":"violates Google's Responsible AI practices"}}"#;
        assert_eq!(kind(400, rai), ErrorKind::Blocked);
        let unpaid = r#"{"error":{"message":"only accessible to billed users at this time"}}"#;
        assert_eq!(kind(400, unpaid), ErrorKind::Forbidden);
    }

    #[test]
    fn keys_are_cut() {
        let check = |text, expected| assert_eq!(without_keys(text), expected);
        check("key AIzaSyA-b_c9, or 'AIza'", "key AIza…, or 'AIza…'");
        check("no key", "no key");
    }

    #[test]
    fn an_upstreams_words_are_bounded() {
        let long = "x".repeat(10_000);
        let body = json!({"error": {"status": long, "message": long}});
        let asked = asked(&long, Method::Predict, false);
        let error = refused(&Refusal::new(404, &[], body.to_string()), Some(&asked));
        assert!(error.message.len() < 2 * MAX_MESSAGE);
        assert!(error.code.unwrap().len() < 2 * MAX_NAME);
    }
}
