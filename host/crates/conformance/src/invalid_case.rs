//! Why a case is invalid.

/// Why a case is invalid.
#[derive(Debug)]
pub(crate) struct InvalidCase {
    /// The JSON pointer of the invalid value.
    pub(crate) pointer: String,
    pub(crate) reason: String,
}

impl InvalidCase {
    pub(crate) fn at(pointer: &str, reason: impl Into<String>) -> Self {
        Self {
            pointer: pointer.to_owned(),
            reason: reason.into(),
        }
    }

    /// The error for the author; `file` is the case's file.
    pub(crate) fn message(&self, file: &str) -> String {
        match self.pointer.as_str() {
            "" => format!("{file}: {}", self.reason),
            pointer => format!("{file} at {pointer}: {}", self.reason),
        }
    }
}
