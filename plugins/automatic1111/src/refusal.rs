//! What the web UI and its dialects say when they refuse or fail, as errors.

use pinhole_sdk::words::{cut, first_line};
use pinhole_sdk::{Error, ErrorKind, Refusal};
use serde_json::Value;

use crate::settings::{API_AUTH, BASE_URL};

/// Shown of a text of the server, in bytes.
const MAX_SHOWN: usize = 300;
/// What the server's router says where there is no such path, or none for this method.
const ROUTER: [&str; 2] = ["Not Found", "Method Not Allowed"];

/// The error for a server that has no such path; `web_ui` when it is known to be a web UI.
pub(crate) fn no_api(web_ui: bool) -> Error {
    let message = match web_ui {
        true => "the web UI's API is not enabled: start the web UI with --api",
        false => {
            "there is no web UI with an API at this address: check it, and start the web UI with --api"
        }
    };
    Error::invalid(BASE_URL, message)
}

/// Is there no such path? Then there is no API, or no web UI at all.
pub(crate) fn lacks_api(refusal: &Refusal) -> bool {
    matches!(refusal.status, 404 | 405) && !Said::read(refusal).by_web_ui
}

/// The error for a refusal by a path that is there.
pub(crate) fn refused(refusal: &Refusal) -> Error {
    let said = Said::read(refusal);
    let mut error = match refusal.status {
        401 => unauthorized(&said),
        400 | 404 if said.detail == "Sampler not found" => {
            let message = "the web UI does not know this sampler: Sampler not found";
            Error::invalid("sampler_name", message)
        }
        400 | 404 if said.by_web_ui => Error::new(ErrorKind::Invalid, said.shown()),
        422 => invalid(refusal, &said),
        500..=599 if out_of_memory(&refusal.text) => {
            let reason = said.shown();
            let message = format!(
                "the web UI ran out of memory: ask for a smaller size or fewer images ({reason})"
            );
            Error::new(ErrorKind::OutOfMemory, message)
        }
        500 if about_image(said.detail) => Error::invalid("image", said.shown()),
        500 if said.by_web_ui => Error::new(ErrorKind::Upstream, said.shown()),
        500 => {
            let reason = shown(&refusal.message());
            let message = format!("the web UI failed, and its console says why: {reason}");
            Error::new(ErrorKind::Upstream, message)
        }
        _ => Error::new(refusal.kind(), shown(&refusal.message())),
    };
    error.code = said.code();
    error.retry_after_ms = refusal.retry_after_ms;
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
        let detail = text("detail").or_else(|| text("message"));
        let class = detail.and_then(|_| text("error")).unwrap_or_default();
        let detail = detail.unwrap_or_default();
        Self {
            class,
            detail,
            text: text("errors").unwrap_or_default(),
            by_web_ui: !class.is_empty() || !detail.is_empty() && !ROUTER.contains(&detail),
        }
    }

    fn code(&self) -> Option<String> {
        let named = !["", "HTTPException"].contains(&self.class);
        named.then(|| shown(self.class))
    }

    /// One line for a person.
    fn shown(&self) -> String {
        let lines = [self.detail, self.text].map(first_line);
        let line = lines.into_iter().find(|line| !line.is_empty());
        // A traceback has paths of the server in it.
        let line = line.filter(|line| !line.starts_with("Traceback"));
        match (line, self.code()) {
            (Some(line), None) => shown(line),
            (Some(line), Some(class)) => shown(&format!("{class}: {line}")),
            (None, Some(class)) => format!("the web UI failed with {class}"),
            (None, None) => "the web UI gave no reason".into(),
        }
    }
}

fn unauthorized(said: &Said<'_>) -> Error {
    let message = match said.detail {
        "" | "Not authenticated" => {
            format!("the web UI asks for a user and a password: set {API_AUTH}")
        }
        detail => format!(
            "the web UI refuses the user and password of {API_AUTH}: {}",
            shown(detail)
        ),
    };
    Error::new(ErrorKind::Unauthorized, message).with_field(API_AUTH)
}

/// A 422: of the checker, in the spelling of either version of pydantic, or of the web UI.
fn invalid(refusal: &Refusal, said: &Said<'_>) -> Error {
    let json = refusal.json.as_ref();
    let Some(first) = json.and_then(|json| json.pointer("/detail/0")) else {
        return Error::new(ErrorKind::Invalid, said.shown());
    };
    let message = first.get("msg").and_then(Value::as_str);
    let message = message.unwrap_or("it is not valid");
    let place = first.get("loc").and_then(Value::as_array);
    let field = place
        .and_then(|loc| loc.last()?.as_str())
        .filter(|field| *field != "body");
    match field {
        Some(field) => Error::invalid(shown(field), shown(&format!("{field}: {message}"))),
        None => Error::new(ErrorKind::Invalid, shown(message)),
    }
}

fn out_of_memory(text: &str) -> bool {
    [
        "OutOfMemoryError",
        "out of memory",
        "can't allocate memory",
        "not enough memory",
    ]
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

/// The first line: what follows is a traceback, with paths of the server.
fn shown(text: &str) -> String {
    cut(first_line(text), MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::upstream::Header;

    use super::*;

    fn refusal(status: u16, body: &str) -> Error {
        let no_headers: [Header; 0] = [];
        refused(&Refusal::new(status, &no_headers, body.to_owned()))
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
            "the web UI does not know this sampler: Sampler not found",
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
            "the web UI ran out of memory: ask for a smaller size or fewer images (RuntimeError: [enforce \
             fail at alloc_cpu.cpp:83] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to \
             allocate 16000000000000 bytes. Error code 12 (Cannot allocate memory))",
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
        check_refusal(
            500,
            r#"{"error":"OutOfMemoryError","detail":"","body":"","errors":"CUDA out of memory. Tried to allocate 2 GiB"}"#,
            OutOfMemory,
            "the web UI ran out of memory: ask for a smaller size or fewer images \
             (OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB)",
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
            "the web UI does not know this sampler: Sampler not found",
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
            "the web UI failed, and its console says why: Internal Server Error",
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
            "server_error: bad",
        );
        check_refusal(
            502,
            "<html>",
            Unavailable,
            "the upstream answered with status 502",
        );
        // Forge, where the recorded web UI names its exception.
        check_refusal(
            404,
            r#"{"detail":"Init image not found"}"#,
            Invalid,
            "Init image not found",
        );
    }

    #[test]
    fn a_path_that_is_not_there_is_told_from_what_is_not_found() {
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
            assert_eq!(lacks_api(&refusal), expected, "{body}");
        }
        assert_eq!(no_api(true).field.as_deref(), Some(BASE_URL));
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
