//! Error responses of the web UI and of other servers with its API.

use pinhole_sdk::upstream_text::{first_line, truncate};
use pinhole_sdk::{Error, ErrorKind, Refusal, Request, Response};
use serde_json::Value;

use crate::UPSTREAM;
use crate::settings::{API_AUTH, BASE_URL};

pub(crate) const PING: &str = "/internal/ping";
/// Maximum length of the server's text in a message, in bytes.
const MAX_TEXT_BYTES: usize = 300;
/// Details of the server's router for an unknown path, or an unknown method of a path.
const ROUTER_DETAILS: [&str; 2] = ["Not Found", "Method Not Allowed"];

/// The error for an error response. If the path does not exist, a ping finds out whether the server
/// is a web UI without its API.
pub(crate) fn from_refusal(refusal: Refusal) -> Error {
    if !is_missing_path(&refusal) {
        return classify(&refusal);
    }
    let ping = Request::get(UPSTREAM, PING).send();
    missing_api(ping.is_ok_and(|response: Response| response.success().is_ok()))
}

/// The error for a server without the API, which is a web UI if it responds to a ping.
fn missing_api(is_web_ui: bool) -> Error {
    let message = if is_web_ui {
        "the web UI's API is not enabled: start the web UI with --api"
    } else {
        "found no web UI with an API at the base URL: check the URL, and start the web UI with --api"
    };
    Error::invalid(BASE_URL, message)
}

fn is_missing_path(refusal: &Refusal) -> bool {
    matches!(refusal.status, 404 | 405) && !ErrorBody::parse(refusal).is_from_web_ui
}

/// The error for an error response of a path that exists.
fn classify(refusal: &Refusal) -> Error {
    let body = ErrorBody::parse(refusal);
    let mut error = match refusal.status {
        401 => unauthorized(&body),
        400 | 404 if body.detail == "Sampler not found" => {
            let message = "the web UI does not have this sampler: Sampler not found";
            Error::invalid("sampler_name", message)
        }
        400 | 404 if body.is_from_web_ui => Error::new(ErrorKind::Invalid, body.summary()),
        422 => invalid_field(refusal, &body),
        500..=599 if is_out_of_memory(&refusal.text) => {
            let reason = body.summary();
            let message = format!(
                "the web UI ran out of memory ({reason}): request a smaller size or fewer images"
            );
            Error::new(ErrorKind::OutOfMemory, message)
        }
        500 if is_about_image(body.detail) => Error::invalid("image", body.summary()),
        500 if body.is_from_web_ui => Error::new(ErrorKind::Upstream, body.summary()),
        500 => {
            let reason = short_line(&refusal.message());
            let message = format!("the web UI failed ({reason}): see its console for the cause");
            Error::new(ErrorKind::Upstream, message)
        }
        _ => Error::new(refusal.kind(), short_line(&refusal.message())),
    };
    error.code = body.code();
    error.retry_after_ms = refusal.retry_after_ms;
    error
}

/// The body of an error response: `{"error", "detail", "errors"}`, of which Forge sends only `detail`;
/// stable-diffusion.cpp sends `{"error", "message"}`.
struct ErrorBody<'a> {
    /// The Python exception, such as `OutOfMemoryError`; may be empty.
    class: &'a str,
    detail: &'a str,
    /// The exception's own text.
    text: &'a str,
    /// Sent by the web UI's own code and not by its router.
    is_from_web_ui: bool,
}

impl<'a> ErrorBody<'a> {
    fn parse(refusal: &'a Refusal) -> Self {
        let text_field = |key: &str| refusal.json.as_ref()?.get(key)?.as_str();
        let given_detail = text_field("detail").or_else(|| text_field("message"));
        let class = given_detail
            .and_then(|_| text_field("error"))
            .unwrap_or_default();
        let detail = given_detail.unwrap_or_default();
        Self {
            class,
            detail,
            text: text_field("errors").unwrap_or_default(),
            is_from_web_ui: !class.is_empty()
                || !detail.is_empty() && !ROUTER_DETAILS.contains(&detail),
        }
    }

    fn code(&self) -> Option<String> {
        let is_specific = !["", "HTTPException"].contains(&self.class);
        is_specific.then(|| short_line(self.class))
    }

    /// One line for the user.
    fn summary(&self) -> String {
        // A traceback contains paths of the server.
        let line = [self.detail, self.text]
            .map(first_line)
            .into_iter()
            .find(|line| !line.is_empty())
            .filter(|line| !line.starts_with("Traceback"));
        match (line, self.code()) {
            (Some(line), None) => short_line(line),
            (Some(line), Some(class)) => short_line(&format!("{class}: {line}")),
            (None, Some(class)) => format!("the web UI failed with {class}"),
            (None, None) => "the web UI gave no reason".into(),
        }
    }
}

fn unauthorized(body: &ErrorBody<'_>) -> Error {
    let message = match body.detail {
        "" | "Not authenticated" => {
            format!("the web UI requires a user and a password: set {API_AUTH}")
        }
        detail => format!(
            "the web UI rejected the user and password in {API_AUTH}: {}",
            short_line(detail)
        ),
    };
    Error::new(ErrorKind::Unauthorized, message).with_field(API_AUTH)
}

/// The error for status 422, from the schema validation of either version of pydantic or from the
/// web UI.
fn invalid_field(refusal: &Refusal, body: &ErrorBody<'_>) -> Error {
    let json = refusal.json.as_ref();
    let Some(first) = json.and_then(|json| json.pointer("/detail/0")) else {
        let message = match refusal.json {
            Some(_) => short_line(&refusal.message()),
            None => body.summary(),
        };
        let mut error = Error::new(ErrorKind::Invalid, message);
        error.field = refusal.field();
        return error;
    };
    let message = first.get("msg").and_then(Value::as_str);
    let message = message.unwrap_or("the value is not valid");
    let field = first
        .get("loc")
        .and_then(Value::as_array)
        .and_then(|location| location.last()?.as_str())
        .filter(|field| *field != "body");
    match field {
        Some(field) => Error::invalid(
            short_line(field),
            short_line(&format!("{field}: {message}")),
        ),
        None => Error::new(ErrorKind::Invalid, short_line(message)),
    }
}

fn is_out_of_memory(text: &str) -> bool {
    [
        "OutOfMemoryError",
        "out of memory",
        "can't allocate memory",
        "not enough memory",
    ]
    .iter()
    .any(|phrase| text.contains(phrase))
}

/// Whether an image in the request caused a status 500.
fn is_about_image(detail: &str) -> bool {
    [
        "Invalid encoded image",
        "Request to local resource not allowed",
        "Requests not allowed",
    ]
    .contains(&detail)
}

/// The first line, truncated. A traceback with paths of the server may follow it.
fn short_line(text: &str) -> String {
    truncate(first_line(text), MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::testing;

    use super::*;

    fn classify_body(status: u16, body: &str) -> Error {
        classify(&Refusal::new(status, &[], body.to_owned()))
    }

    #[track_caller]
    fn check_recorded(label: &str, kind: ErrorKind, field: Option<&str>, message: &str) {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../testdata/refusals.json")).unwrap();
        let found = recorded
            .iter()
            .find(|recorded| recorded["label"] == label)
            .unwrap();
        let error = classify(&testing::recorded_refusal(found));
        assert_eq!(
            (error.kind, error.field.as_deref(), error.message.as_str()),
            (kind, field, message),
            "{label}"
        );
    }

    #[test]
    fn classify_maps_recorded_credential_errors() {
        use ErrorKind::Unauthorized;
        let check = check_recorded;
        check(
            "no credentials, POST",
            Unauthorized,
            Some("api-auth"),
            "the web UI requires a user and a password: set api-auth",
        );
        check(
            "wrong password",
            Unauthorized,
            Some("api-auth"),
            "the web UI rejected the user and password in api-auth: Incorrect username or password",
        );
    }

    #[test]
    fn classify_maps_recorded_validation_errors() {
        use ErrorKind::Invalid;
        let check = check_recorded;
        check(
            "wrong type: 422",
            Invalid,
            Some("steps"),
            "steps: value is not a valid integer",
        );
        check(
            "several wrong types",
            Invalid,
            Some("steps"),
            "steps: value is not a valid integer",
        );
        check(
            "malformed JSON",
            Invalid,
            None,
            "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        );
        check("no body", Invalid, None, "field required");
        check(
            "unknown sampler: 404 here, 400 from 1.10",
            Invalid,
            Some("sampler_name"),
            "the web UI does not have this sampler: Sampler not found",
        );
        check("unknown script", Invalid, None, "Script 'nope' not found");
        check(
            "img2img without init_images",
            Invalid,
            None,
            "Init image not found",
        );
        check(
            "img2img with a bad image",
            Invalid,
            Some("image"),
            "Invalid encoded image",
        );
    }

    #[test]
    fn classify_maps_recorded_failures() {
        use ErrorKind::{OutOfMemory, Upstream};
        let check = check_recorded;
        check(
            "negative width",
            Upstream,
            None,
            "RuntimeError: Trying to create tensor with negative dimension -8: [4, 8, -8]",
        );
        check(
            "allocation failure on CPU (what an out-of-memory reply looks like)",
            OutOfMemory,
            None,
            "the web UI ran out of memory (RuntimeError: [enforce \
             fail at alloc_cpu.cpp:83] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to \
             allocate 16000000000000 bytes. Error code 12 (Cannot allocate memory)): request a smaller size \
             or fewer images",
        );
    }

    #[track_caller]
    fn check_error(status: u16, body: &str, kind: ErrorKind, message: &str) {
        let error = classify_body(status, body);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (kind, message),
            "{body}"
        );
    }

    #[test]
    fn classify_maps_cuda_out_of_memory() {
        check_error(
            500,
            r#"{"error":"OutOfMemoryError","detail":"","body":"","errors":"CUDA out of memory. Tried to allocate 2 GiB"}"#,
            ErrorKind::OutOfMemory,
            "the web UI ran out of memory (OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB): \
             request a smaller size or fewer images",
        );
    }

    /// Forge uses pydantic 2, and does not name the exception.
    #[test]
    fn classify_maps_forge_errors() {
        use ErrorKind::{Invalid, Upstream};
        check_error(
            422,
            r#"{"detail":[{"type":"int_parsing","loc":["body","steps"],"msg":"Input should be a valid integer","input":"abc"}]}"#,
            Invalid,
            "steps: Input should be a valid integer",
        );
        check_error(
            400,
            r#"{"detail":"Sampler not found"}"#,
            Invalid,
            "the web UI does not have this sampler: Sampler not found",
        );
        check_error(
            500,
            r#"{"detail":"Invalid encoded image"}"#,
            Invalid,
            "Invalid encoded image",
        );
        check_error(
            500,
            "Internal Server Error",
            Upstream,
            "the web UI failed (Internal Server Error): see its console for the cause",
        );
        check_error(
            404,
            r#"{"detail":"Init image not found"}"#,
            Invalid,
            "Init image not found",
        );
    }

    #[test]
    fn classify_maps_stable_diffusion_cpp_errors() {
        use ErrorKind::{Invalid, Unavailable, Upstream};
        check_error(
            400,
            r#"{"error":"prompt required"}"#,
            Invalid,
            "prompt required",
        );
        check_error(
            500,
            r#"{"error":"server_error","message":"bad\nTraceback"}"#,
            Upstream,
            "server_error: bad",
        );
        check_error(
            502,
            "<html>",
            Unavailable,
            "the upstream returned status 502",
        );
    }

    #[test]
    fn missing_path_differs_from_missing_item() {
        for (status, body, expected) in [
            (404, "", true),
            (404, "<html>", true),
            (404, r#"{"detail":"Not Found"}"#, true),
            (405, r#"{"detail":"Method Not Allowed"}"#, true),
            (404, r#"{"detail":"Sampler not found"}"#, false),
            (
                404,
                r#"{"error":"HTTPException","detail":"Init image not found"}"#,
                false,
            ),
            (500, "", false),
        ] {
            let refusal = Refusal::new(status, &[], body.to_owned());
            assert_eq!(is_missing_path(&refusal), expected, "{body}");
        }
        assert_eq!(missing_api(true).field.as_deref(), Some(BASE_URL));
    }

    #[test]
    fn summary_omits_traceback() {
        let nans = classify_body(
            500,
            r#"{"error":"NansException","detail":"","body":"","errors":"A tensor with NaNs was produced.\n  File \"x.py\""}"#,
        );
        assert_eq!(
            nans.message,
            "NansException: A tensor with NaNs was produced."
        );
        assert_eq!(nans.code.as_deref(), Some("NansException"));
        let key_error = classify_body(
            500,
            r#"{"error":"KeyError","detail":"","errors":"Traceback (most recent call last):\n x"}"#,
        );
        assert_eq!(key_error.message, "the web UI failed with KeyError");
    }
}
