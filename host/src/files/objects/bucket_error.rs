//! Why a bucket cannot be used, in texts without secrets.
//!
//! A bucket's own error may repeat parts of a signature or a key, so only its status and its code are shown.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

/// Length of an error code that is shown, in bytes.
const MAX_CODE_BYTES: usize = 64;
/// The codes of buckets that do not exist.
const NO_BUCKET_CODES: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];
/// The codes of objects that do not exist.
const NO_OBJECT_CODES: [&str; 2] = ["NoSuchKey", "BlobNotFound"];
/// The codes of wrong credentials. With another code, the credentials lack a permission.
const CREDENTIAL_CODES: [&str; 6] = [
    "AuthenticationFailed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidToken",
    "SignatureDoesNotMatch",
];

/// A failure of the bucket, for the operator.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot use the bucket: {reason}")]
pub(in crate::files) struct BucketError {
    pub(in crate::files) problem: BucketProblem,
    pub(in crate::files) reason: String,
}

/// What an operator has to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::files) enum BucketProblem {
    Unreachable,
    NoBucket,
    Credentials,
    Permission,
    Other,
}

impl BucketError {
    pub(super) fn new(problem: BucketProblem, reason: impl Into<String>) -> Self {
        Self {
            problem,
            reason: reason.into(),
        }
    }

    /// The health checks failed, so no request was sent.
    pub(super) fn lost() -> Self {
        let reason = "its last health checks failed";
        Self::new(BucketProblem::Unreachable, reason)
    }
}

impl From<&Error> for BucketError {
    fn from(error: &Error) -> Self {
        if let Some(reason) = connection_failure(error) {
            return Self::new(BucketProblem::Unreachable, reason);
        }
        let text = error.to_string();
        let code = error_code(&text);
        let status = error_status(&text);
        let shown = match (&code, status) {
            (Some(code), _) => format!(" ({code})"),
            (None, Some(status)) => format!(" (status {status})"),
            (None, None) => String::new(),
        };
        let has_code = |codes: &[&str]| code.as_deref().is_some_and(|it| codes.contains(&it));
        if has_code(&NO_BUCKET_CODES) {
            return Self::new(BucketProblem::NoBucket, format!("it does not exist{shown}"));
        }
        match error {
            Error::Unauthenticated { .. } => Self::new(
                BucketProblem::Credentials,
                format!("it refused the credentials{shown}"),
            ),
            Error::PermissionDenied { .. } if has_code(&CREDENTIAL_CODES) => Self::new(
                BucketProblem::Credentials,
                format!("it refused the credentials{shown}"),
            ),
            Error::PermissionDenied { .. } => Self::new(
                BucketProblem::Permission,
                format!("a request was not permitted{shown}"),
            ),
            Error::NotFound { .. } => Self::new(
                BucketProblem::NoBucket,
                format!("it or an object does not exist{shown}"),
            ),
            _ => Self::new(BucketProblem::Other, format!("a request failed{shown}")),
        }
    }
}

impl From<BucketError> for io::Error {
    fn from(error: BucketError) -> Self {
        Self::other(error)
    }
}

/// The failure as the error of an operation on files.
pub(super) fn to_io_error(error: &Error) -> io::Error {
    if matches!(error, Error::AlreadyExists { .. }) {
        return ErrorKind::AlreadyExists.into();
    }
    BucketError::from(error).into()
}

/// Is the object missing, in a bucket that exists?
pub(super) fn is_missing(error: &Error) -> bool {
    let code = error_code(&error.to_string());
    let has_code = |codes: &[&str]| code.as_deref().is_some_and(|it| codes.contains(&it));
    has_code(&NO_OBJECT_CODES)
        || (matches!(error, Error::NotFound { .. }) && !has_code(&NO_BUCKET_CODES))
}

/// Does the bucket lack the requested feature?
pub(super) fn is_unsupported(error: &Error) -> bool {
    matches!(
        error,
        Error::NotSupported { .. } | Error::NotImplemented { .. }
    ) || error_status(&error.to_string()) == Some(501)
}

/// Is the requested range beyond the object's end?
pub(super) fn is_beyond_end(error: &Error) -> bool {
    error_status(&error.to_string()) == Some(416)
}

/// Why no response arrived. The text is that of our own HTTP client.
fn connection_failure(error: &Error) -> Option<String> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(http) = inner.downcast_ref::<HttpError>() {
            // Anything else was decoded by the object store client, and its error may quote it.
            let is_own = http.kind() != HttpErrorKind::Decode;
            return match http.source() {
                Some(source) if is_own => Some(source.to_string()),
                _ => Some("its response cannot be used".to_owned()),
            };
        }
        cause = inner.source();
    }
    None
}

/// The code in the XML of an error's text.
fn error_code(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_code = !code.is_empty()
        && code.len() <= MAX_CODE_BYTES
        && code.chars().all(|it| it.is_ascii_alphanumeric());
    is_code.then(|| code.to_owned())
}

/// The HTTP status in an error's text.
fn error_status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &Error, problem: BucketProblem, reason: &str) {
        let described = BucketError::from(error);
        assert_eq!(described.problem, problem, "{described}");
        assert_eq!(described.reason, reason);
    }

    fn text(status: u16, code: &str) -> Box<dyn StdError + Send + Sync> {
        format!(
            "Server returned non-2xx status code: {status} X: <Error><Code>{code}</Code>\
             <StringToSign>secret-4711</StringToSign></Error>"
        )
        .into()
    }

    #[test]
    fn bucket_error_has_code_and_no_other_text_of_the_bucket() {
        let path = || "x".to_owned();
        let denied = |code| Error::PermissionDenied {
            path: path(),
            source: text(403, code),
        };
        check(
            &denied("SignatureDoesNotMatch"),
            BucketProblem::Credentials,
            "it refused the credentials (SignatureDoesNotMatch)",
        );
        check(
            &denied("AccessDenied"),
            BucketProblem::Permission,
            "a request was not permitted (AccessDenied)",
        );
        check(
            &denied("a secret"),
            BucketProblem::Permission,
            "a request was not permitted (status 403)",
        );
        let missing = |code| Error::NotFound {
            path: path(),
            source: text(404, code),
        };
        check(
            &missing("NoSuchBucket"),
            BucketProblem::NoBucket,
            "it does not exist (NoSuchBucket)",
        );
        assert!(is_missing(&missing("NoSuchKey")) && !is_missing(&missing("NoSuchBucket")));
        let generic = |status| Error::Generic {
            store: "S3",
            source: text(status, "X"),
        };
        check(&generic(500), BucketProblem::Other, "a request failed (X)");
        assert!(is_unsupported(&generic(501)) && !is_unsupported(&generic(500)));
        assert!(is_beyond_end(&generic(416)));
    }
}
