//! Errors, and how those of the host's functions become an engine's own.

use crate::{Error, ErrorKind, upstream};

impl Error {
    /// An error of this kind, with a message for a person: what was attempted, and what to do.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            field: None,
            retry_after_ms: None,
        }
    }

    /// The upstream's answer is not what its contract says, or held no image.
    #[must_use]
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    /// A parameter or setting is wrong.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message).with_field(field)
    }

    /// The same with the upstream's own code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same with the parameter or setting that is wrong.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same with the time after which to try again, in milliseconds.
    #[must_use]
    pub fn with_retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }
}

impl From<upstream::Error> for Error {
    fn from(error: upstream::Error) -> Self {
        match error {
            upstream::Error::Denied(text) => Self::new(ErrorKind::Forbidden, text),
            upstream::Error::Connect(text) => Self::new(ErrorKind::Unavailable, text),
            upstream::Error::Timeout => {
                Self::new(ErrorKind::Timeout, "the upstream did not answer in time")
            }
            upstream::Error::TooLarge => {
                Self::protocol("the request or its answer is larger than either may be")
            }
            upstream::Error::Cancelled => Self::new(ErrorKind::Cancelled, "the job was cancelled"),
            upstream::Error::Malformed(text) => Self::protocol(text),
        }
    }
}
