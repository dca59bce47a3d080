//! Why an engine was not changed.

use pinhole_ground::guard::Refusal;

/// Why an engine was not changed. It serves as before.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// There is no such engine or release.
    #[error("{0}")]
    Unknown(String),
    /// The component or the request is refused: the reason follows the subject in a sentence, and ends with the
    /// remedy.
    #[error("{subject} {}", .refusal.reason)]
    Refused { subject: String, refusal: Refusal },
    /// The state of the engine does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// Another change came first.
    #[error("the engine was changed meanwhile: try again")]
    Moved,
    /// The bytes of the component cannot be stored. The reason follows the subject in a sentence.
    #[error("{subject} {reason}")]
    NotStored { subject: String, reason: String },
    /// The database does not take the change, or cannot be read.
    #[error(
        "the database cannot be written, so that no engine has changed: retry, and read the server's log if it fails again"
    )]
    Database(#[source] sqlx::Error),
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl ReleaseError {
    pub(super) fn refused(subject: &str, refusal: Refusal) -> Self {
        Self::Refused {
            subject: subject.to_owned(),
            refusal,
        }
    }

    /// A failure of the database, or else what `refuse` makes of the reason.
    pub(super) fn of_reason(error: anyhow::Error, refuse: impl FnOnce(String) -> Self) -> Self {
        match error.downcast() {
            Ok(error) => Self::Database(error),
            Err(error) => refuse(format!("{error:#}")),
        }
    }

    /// Fails if there are settings that need an engine, which is to be removed.
    pub fn refuse_if_needed(engine: &str, settings: &[String]) -> Result<(), Self> {
        if settings.is_empty() {
            return Ok(());
        }
        let settings = settings.join(", ");
        Err(Self::Conflict(format!(
            "engine {engine} is needed by {settings}: change that first, or force it"
        )))
    }

    /// The refusal of a file of the engine directory. The reason follows the file's name.
    pub(super) fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused { refusal, .. } => refusal,
            Self::NotStored { reason, .. } => reason.into(),
            other => format!("is not installed: {other}").into(),
        }
    }
}
