//! Failures of a job while it runs.

use pinhole_sdk::{Error, ErrorKind};
use serde_json::Value;

use super::{short_line, text_at};

/// The error for a job that failed, from the data of an `execution_error`.
///
/// Does not read the traceback and the inputs in the data, which hold paths and prompts.
pub(crate) fn execution_failed(data: &Value) -> Error {
    let exception_type = text_at(data, "/exception_type");
    let exception_message = text_at(data, "/exception_message");
    let node = match text_at(data, "/node_type") {
        "" => "ComfyUI".to_owned(),
        class => short_line(class),
    };
    let error = if is_out_of_memory(exception_type, exception_message) {
        let message = format!("{node} ran out of memory: request a smaller size or fewer images");
        Error::new(ErrorKind::OutOfMemory, message)
    } else if exception_type.ends_with("UnidentifiedImageError") || is_truncated(exception_message)
    {
        Error::invalid(
            "image",
            format!("{node} cannot read an image that the workflow loads"),
        )
    } else {
        let reason = match short_line(exception_message) {
            line if line.is_empty() => "failed without a message".to_owned(),
            line => line,
        };
        Error::new(ErrorKind::Upstream, format!("{node}: {reason}"))
    };
    if exception_type.is_empty() {
        return error;
    }
    error.with_code(short_line(exception_type))
}

fn is_out_of_memory(exception_type: &str, message: &str) -> bool {
    let phrases = [
        "out of memory",
        "can't allocate memory",
        "Allocation on device",
    ];
    exception_type.ends_with("OutOfMemoryError")
        || phrases.iter().any(|phrase| message.contains(phrase))
}

/// Whether an image is incomplete.
fn is_truncated(message: &str) -> bool {
    message.contains("Truncated File Read") || message.contains("image file is truncated")
}

/// The error for a job that another client stopped on the server. The code separates it from our own
/// cancellation.
pub(crate) fn interrupted() -> Error {
    let message = "the job was stopped on the ComfyUI server";
    Error::new(ErrorKind::Cancelled, message).with_code("execution_interrupted")
}

/// The error for a job that is neither in the queue nor in the history.
pub(crate) fn lost_job() -> Error {
    let message = "ComfyUI no longer has the job: it was removed, or the server was restarted";
    Error::new(ErrorKind::Upstream, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn execution_failed_names_node_and_first_line() {
        let recorded: Vec<Value> =
            serde_json::from_str(include_str!("../../testdata/frames-errors.json")).unwrap();
        let errors: Vec<Error> = recorded
            .iter()
            .take(3)
            .map(|frame| execution_failed(&frame["data"]))
            .collect();
        let found: Vec<_> = errors
            .iter()
            .map(|error| (error.kind, error.message.as_str(), error.code.as_deref()))
            .collect();
        assert_eq!(
            found,
            [
                (
                    ErrorKind::Invalid,
                    "LoadImage cannot read an image that the workflow loads",
                    Some("PIL.UnidentifiedImageError")
                ),
                (
                    ErrorKind::OutOfMemory,
                    "EmptyImage ran out of memory: request a smaller size or fewer images",
                    Some("RuntimeError")
                ),
                (
                    ErrorKind::Upstream,
                    "CheckpointLoaderSimple: Error while deserializing header: header too large",
                    Some("safetensors._safetensors_rust.SafetensorError")
                ),
            ]
        );
    }

    #[test]
    fn execution_failed_detects_exhausted_memory() {
        for (exception_type, message, expected) in [
            (
                "torch.OutOfMemoryError",
                "Allocation on device \nThis error means you ran out of memory on your GPU.",
                ErrorKind::OutOfMemory,
            ),
            ("torch.cuda.OutOfMemoryError", "", ErrorKind::OutOfMemory),
            (
                "RuntimeError",
                "CUDA error: out of memory",
                ErrorKind::OutOfMemory,
            ),
            ("ExecutionBlocked", "no\nTraceback", ErrorKind::Upstream),
        ] {
            let error = execution_failed(
                &json!({"node_type": "KSampler", "exception_type": exception_type, "exception_message": message}),
            );
            assert_eq!(error.kind, expected, "{exception_type}");
            assert!(!error.message.contains('\n'));
        }
        assert_eq!(
            execution_failed(&Value::Null).message,
            "ComfyUI: failed without a message"
        );
    }
}
