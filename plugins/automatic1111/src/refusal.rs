//! What the web UI and its dialects say when they refuse or fail, as errors.

use pinhole_sdk::{Error, ErrorKind, Refusal};
use serde_json::Value;

/// Shown of a text of the server, in characters.
const MAX_SHOWN: usize = 300;

/// The error for a server that has no such path; `web_ui` when it is known to be a web UI.
pub(crate) fn no_api(web_ui: bool) -> Error {
    let message = match web_ui {
        true => "the web UI's API is not enabled: start the web UI with --api",
        false => {
            "there is no web UI with an API at this address: check it, and start the web UI with --api"
        }
    };
    Error::invalid("base-url", message)
}

/// The error for a refusal by `/sdapi/v1/`.
pub(crate) fn refused(refusal: Refusal) -> Error {
    let said = Said::read(&refusal);
    let error = match refusal.status {
        401 => unauthorized(&said),
        404 if !said.by_web_ui => no_api(said.detail == "Not Found"),
        400 | 404 if said.detail == "Sampler not found" => {
            Error::invalid("sampler_name", "the web UI does not know this sampler")
        }
        400 | 404 if said.by_web_ui => Error::new(ErrorKind::Invalid, said.shown()),
        422 => invalid(&refusal, &said),
        500..=599 if out_of_memory(&refusal.text) => {
            let message = "the web UI ran out of memory: ask for a smaller size or fewer images";
            Error::new(ErrorKind::OutOfMemory, message)
        }
        500 if about_image(said.detail) => Error::invalid("image", said.shown()),
        500 if said.by_web_ui || !said.detail.is_empty() => {
            Error::new(ErrorKind::Upstream, said.shown())
        }
        _ => Error::new(refusal.kind(), first_line(&refusal.message())),
    };
    with_code(error, &said, refusal.retry_after_ms)
}

fn with_code(mut error: Error, said: &Said<'_>, retry_after_ms: Option<u64>) -> Error {
    let named = !["", "HTTPException"].contains(&said.class);
    error.code = named.then(|| first_line(said.class));
    error.retry_after_ms = retry_after_ms;
    error
}

/// The words of a refusal: `{"error", "detail", "errors"}`, of which Forge sends only `detail`;
/// stable-diffusion.cpp sends `{"error", "message"}`.
struct Said<'a> {
    /// The Python exception, such as `OutOfMemoryError`; empty when the refusal names none.
    class: &'a str,
    detail: &'a str,
    /// The exception's own text.
    text: &'a str,
    /// It came from the web UI's own code and not from its router.
    by_web_ui: bool,
}

impl<'a> Said<'a> {
    fn read(refusal: &'a Refusal) -> Self {
        let text = |key: &str| refusal.json.as_ref()?.get(key)?.as_str();
        let detail = text("detail");
        let class = detail.and_then(|_| text("error")).unwrap_or_default();
        let detail = detail.or_else(|| text("message")).unwrap_or_default();
        Self {
            class,
            detail,
            text: text("errors").unwrap_or_default(),
            by_web_ui: !class.is_empty() || detail == "Sampler not found",
        }
    }

    /// One line for a person.
    fn shown(&self) -> String {
        let texts = [self.detail, self.text];
        let line = texts
            .iter()
            .map(|text| first_line(text))
            .find(|line| !line.is_empty());
        match line.filter(|line| !line.starts_with("Traceback")) {
            Some(line) if self.class.is_empty() || self.class == "HTTPException" => line,
            Some(line) => first_line(&format!("{}: {line}", self.class)),
            None => format!("the web UI failed with {}", first_line(self.class)),
        }
    }
}

fn unauthorized(said: &Said<'_>) -> Error {
    let message = match said.detail {
        "" | "Not authenticated" => {
            "the web UI asks for a user and a password: set api-auth".into()
        }
        detail => format!(
            "the web UI refuses the user and password of api-auth: {}",
            first_line(detail)
        ),
    };
    Error::new(ErrorKind::Unauthorized, message).with_field("api-auth")
}

/// A 422: of the checker, in the spelling of either version of pydantic, or of the web UI.
fn invalid(refusal: &Refusal, said: &Said<'_>) -> Error {
    let Some(first) = refusal
        .json
        .as_ref()
        .and_then(|json| json.pointer("/detail/0"))
    else {
        return Error::new(ErrorKind::Invalid, said.shown());
    };
    let message = first
        .get("msg")
        .and_then(Value::as_str)
        .unwrap_or("it is not valid");
    let place = first
        .get("loc")
        .and_then(Value::as_array)
        .and_then(|loc| loc.last());
    match place
        .and_then(Value::as_str)
        .filter(|place| *place != "body")
    {
        Some(field) => Error::invalid(field, first_line(&format!("{field}: {message}"))),
        None => Error::new(ErrorKind::Invalid, first_line(message)),
    }
}

fn out_of_memory(text: &str) -> bool {
    ["OutOfMemoryError", "out of memory", "can't allocate memory"]
        .iter()
        .any(|words| text.contains(words))
}

/// A 500 whose cause is a picture in the request.
fn about_image(detail: &str) -> bool {
    [
        "Invalid encoded image",
        "Request to local resource not allowed",
        "Requests not allowed",
    ]
    .contains(&detail)
}

/// Up to the first line break: what follows is a traceback, with paths of the server.
fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::upstream::Header;

    use super::*;

    fn refusal(status: u16, body: &str) -> Error {
        let no_headers: [Header; 0] = [];
        refused(Refusal::new(status, &no_headers, body.to_owned()))
    }

    /// The refusal recorded under this label.
    #[track_caller]
    fn check_recorded(label: &str, kind: ErrorKind, field: Option<&str>, message: &str) {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../testdata/refusals.json")).unwrap();
        let found = recorded
            .iter()
            .find(|refusal| refusal["label"] == label)
            .unwrap();
        let status = u16::try_from(found["status"].as_u64().unwrap()).unwrap();
        let error = refusal(status, &found["body"].to_string());
        assert_eq!(
            (error.kind, error.field.as_deref(), error.message.as_str()),
            (kind, field, message),
            "{label}"
        );
    }

    #[test]
    fn recorded_refusals() {
        use ErrorKind::{Invalid, OutOfMemory, Unauthorized, Upstream};
        let check = check_recorded;
        check(
            "no credentials, POST",
            Unauthorized,
            Some("api-auth"),
            "the web UI asks for a user and a password: set api-auth",
        );
        check(
            "wrong password",
            Unauthorized,
            Some("api-auth"),
            "the web UI refuses the user and password of api-auth: Incorrect username or password",
        );
        check(
            "without --api",
            Invalid,
            Some("base-url"),
            "the web UI's API is not enabled: start the web UI with --api",
        );
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
            "the web UI does not know this sampler",
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
            "the web UI ran out of memory: ask for a smaller size or fewer images",
        );
    }

    #[track_caller]
    fn check_refusal(status: u16, body: &str, kind: ErrorKind, message: &str) {
        let error = refusal(status, body);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (kind, message),
            "{body}"
        );
    }

    #[test]
    fn refusals_of_other_dialects() {
        use ErrorKind::{Invalid, OutOfMemory, Unavailable, Upstream};
        let small = "the web UI ran out of memory: ask for a smaller size or fewer images";
        check_refusal(
            500,
            r#"{"error":"OutOfMemoryError","detail":"","body":"","errors":"CUDA out of memory. Tried to allocate 2 GiB"}"#,
            OutOfMemory,
            small,
        );
        // Forge: pydantic 2, and no name of the exception.
        check_refusal(
            422,
            r#"{"detail":[{"type":"int_parsing","loc":["body","steps"],"msg":"Input should be a valid integer","input":"abc"}]}"#,
            Invalid,
            "steps: Input should be a valid integer",
        );
        check_refusal(
            400,
            r#"{"detail":"Sampler not found"}"#,
            Invalid,
            "the web UI does not know this sampler",
        );
        check_refusal(
            500,
            r#"{"detail":"Invalid encoded image"}"#,
            Invalid,
            "Invalid encoded image",
        );
        check_refusal(
            500,
            "Internal Server Error",
            Upstream,
            "Internal Server Error",
        );
        // stable-diffusion.cpp
        check_refusal(
            400,
            r#"{"error":"prompt required"}"#,
            Invalid,
            "prompt required",
        );
        check_refusal(
            500,
            r#"{"error":"server_error","message":"bad\nTraceback"}"#,
            Upstream,
            "bad",
        );
        check_refusal(
            404,
            "",
            Invalid,
            "there is no web UI with an API at this address: check it, and start the web UI with --api",
        );
        check_refusal(
            502,
            "<html>",
            Unavailable,
            "the upstream answered with status 502",
        );
        check_refusal(
            405,
            r#"{"detail":"Method Not Allowed"}"#,
            Invalid,
            "Method Not Allowed",
        );
    }

    #[test]
    fn a_traceback_is_not_shown() {
        let error = refusal(
            500,
            r#"{"error":"NansException","detail":"","body":"","errors":"A tensor with NaNs was produced.\n  File \"x.py\""}"#,
        );
        assert_eq!(
            error.message,
            "NansException: A tensor with NaNs was produced."
        );
        assert_eq!(error.code.as_deref(), Some("NansException"));
        let error = refusal(
            500,
            r#"{"error":"KeyError","detail":"","errors":"Traceback (most recent call last):\n x"}"#,
        );
        assert_eq!(error.message, "the web UI failed with KeyError");
    }
}
