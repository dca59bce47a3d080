//! Constructors of [`Error`], and the conversion from errors of host functions.

use crate::{Error, ErrorKind, upstream};

impl Error {
    /// An error with a message for a person: what failed, on what, and what to do.
    ///
    /// ```
    /// use pinhole_sdk::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Blocked, "the safety system refused the prompt: change it");
    /// ```
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

    /// The upstream's response violates its API, or holds no image.
    ///
    /// ```
    /// use pinhole_sdk::{Error, ErrorKind};
    ///
    /// assert_eq!(Error::protocol("the response has no image").kind, ErrorKind::Protocol);
    /// ```
    #[must_use]
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    /// The parameter or setting named `field` is invalid.
    ///
    /// ```
    /// use pinhole_sdk::Error;
    ///
    /// let error = Error::invalid("style", "style must be vivid or natural");
    /// assert_eq!(error.field.as_deref(), Some("style"));
    /// ```
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message).with_field(field)
    }

    /// Sets the upstream's own error code.
    ///
    /// ```
    /// use pinhole_sdk::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Quota, "add credits").with_code("billing_hard_limit_reached");
    /// ```
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Sets the name of the invalid parameter or setting.
    ///
    /// ```
    /// use pinhole_sdk::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::NotFound, "no such model").with_field("model");
    /// ```
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Sets the delay before a retry can succeed.
    ///
    /// ```
    /// use pinhole_sdk::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::RateLimited, "too many requests").with_retry_after_ms(2_000);
    /// ```
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
                Self::new(ErrorKind::Timeout, "the upstream did not respond in time")
            }
            upstream::Error::TooLarge => {
                Self::protocol("the request or its response exceeds its size limit")
            }
            upstream::Error::Cancelled => Self::new(ErrorKind::Cancelled, "the job was cancelled"),
            upstream::Error::Status(status) => {
                Self::protocol(format!("the image URL returned status {status}"))
            }
            upstream::Error::Malformed(text) => Self::protocol(text),
        }
    }
}
