//! Why a job has no images, and what the operator can do about it.

use std::borrow::Cow;
use std::time::Duration;

use pinhole_ground::fair_queue::QueueFull;
use pinhole_ground::guard::Guard;
use pinhole_ground::memory::MemoryFull;
use pinhole_ground::text::plain;
use pinhole_sandbox::contract::{Description, ErrorKind, SettingKind};
use pinhole_sandbox::engine_settings::CREDENTIAL_KEY;
use pinhole_sandbox::{
    Component, Error as EngineError, FailureSubject, RequestFailure, ResolvedSettings, Usage,
};

/// Length of the reason why an engine's request failed, in bytes; a longer one is cut.
const MAX_FAILURE_BYTES: usize = 1000;

/// Why a job has no images.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request is invalid.
    #[error("{message}")]
    Invalid {
        field: Cow<'static, str>,
        /// The problem and the remedy.
        message: String,
    },
    /// The engine does not support the request at all.
    #[error("{message}")]
    Unsupported {
        field: Cow<'static, str>,
        /// What is not supported, and the alternative.
        message: String,
    },
    /// The operator disabled the operation.
    #[error("{0}")]
    Disabled(&'static str),
    /// The engines that the request needs are still being compiled, or the server stopped meanwhile.
    #[error("the server is still starting its engines: retry later")]
    Starting,
    /// Too many images wait to be decoded.
    #[error("{0}")]
    QueueFull(#[from] QueueFull),
    /// The user requests lists of models, or verifies engines, too often.
    #[error("too many requests of this kind: retry in {} s", .retry_after.as_secs().max(1))]
    RateLimited { retry_after: Duration },
    /// The images of the job do not fit into memory.
    #[error("{0}")]
    MemoryFull(MemoryFull),
    /// The engine failed.
    #[error("{source}")]
    Engine {
        /// The binding's name.
        engine: String,
        source: Box<EngineError>,
        /// What the operator can do about it.
        remedy: Option<String>,
        /// An upstream may have started to generate, and may charge for it.
        may_be_charged: bool,
    },
}

impl Error {
    /// Whether the engine could edit, but lacks settings for it: it names one of them as not supported.
    #[must_use]
    pub fn lacks_edit_setup(&self, engine: &Description) -> bool {
        let Self::Engine { source, .. } = self else {
            return false;
        };
        let EngineError::Engine { error, .. } = source.as_ref() else {
            return false;
        };
        error.kind == ErrorKind::Unsupported
            && error.field.as_ref().is_some_and(|field| {
                let mut settings = engine.settings.iter();
                settings.any(|setting| setting.key == *field)
            })
    }

    pub(super) fn invalid(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            message: message.into(),
        }
    }

    pub(super) fn unsupported(field: &'static str, message: impl Into<String>) -> Self {
        Self::Unsupported {
            field: field.into(),
            message: message.into(),
        }
    }

    /// The failure of an engine, with what the operator can do about it. `name` is the binding's.
    pub(super) fn engine(
        name: &str,
        component: &Component,
        settings: &ResolvedSettings,
        mut source: EngineError,
    ) -> Self {
        // It may quote a URL that an upstream returned.
        if let EngineError::Engine {
            failure: Some(failure),
            ..
        } = &mut source
        {
            failure.reason = settings.redactor.redact_text(&failure.reason).into_owned();
        }
        Self::Engine {
            remedy: remedy(&component.description, settings, &source),
            engine: name.to_owned(),
            source: Box::new(source),
            may_be_charged: false,
        }
    }

    /// The same failure after these requests to upstreams.
    pub(super) fn after(mut self, usage: &Usage) -> Self {
        if let Self::Engine { may_be_charged, .. } = &mut self {
            *may_be_charged = Guard::SecondOrder.applies(usage.may_be_charged());
        }
        self
    }

    /// True if a client must not send the request again: it may be charged again, or the quota is
    /// exhausted.
    #[must_use]
    pub fn forbids_retry(&self) -> bool {
        let may_be_charged = matches!(
            self,
            Self::Engine {
                may_be_charged: true,
                ..
            }
        );
        may_be_charged || self.kind() == ErrorKind::Quota
    }

    /// True if the server stopped the job because it shuts down.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        let Self::Engine { source, .. } = self else {
            return false;
        };
        matches!(source.as_ref(), EngineError::ShuttingDown)
    }

    /// True if the upstream was unavailable or refused the caller for a limit, and generated nothing, so
    /// that another binding may succeed.
    pub(super) fn allows_fallback(&self) -> bool {
        let Self::Engine {
            source,
            may_be_charged: false,
            ..
        } = self
        else {
            return false;
        };
        let EngineError::Engine { error, .. } = source.as_ref() else {
            return false;
        };
        matches!(
            error.kind,
            ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Quota
        )
    }

    /// The kind of error, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Disabled(_) => ErrorKind::Forbidden,
            Self::Starting => ErrorKind::Unavailable,
            Self::QueueFull(full) => kind_of_full(*full),
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::MemoryFull(full) => memory_kind(full),
            Self::Engine { source, .. } => match source.as_ref() {
                EngineError::Engine { error, .. } => error.kind,
                EngineError::Busy(_) | EngineError::ShuttingDown => ErrorKind::Unavailable,
                EngineError::QueueFull(full) => kind_of_full(*full),
                EngineError::MemoryFull(full) => memory_kind(full),
                // It was stopped for all users together, not for its own memory.
                EngineError::Limit(refusal) if refusal.guard == Some(Guard::MemoryOfAll) => {
                    ErrorKind::Unavailable
                }
                EngineError::Deadline(_) => ErrorKind::Timeout,
                EngineError::Limit(_) | EngineError::Crashed(_) => ErrorKind::Upstream,
            },
        }
    }

    /// The upstream's code if it has one, else the name of the kind. For programs.
    #[must_use]
    pub fn code(&self) -> String {
        if let Self::Engine { source, .. } = self
            && let EngineError::Engine { error, .. } = source.as_ref()
            && let Some(code) = &error.code
        {
            return code.clone();
        }
        self.kind().name().to_owned()
    }

    /// What a user can do. `None` if the message says it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        if matches!(
            self,
            Self::Engine {
                may_be_charged: true,
                ..
            }
        ) {
            return Some(
                "the upstream may have generated the image, and may charge for it: look there before you repeat the job",
            );
        }
        match self.kind() {
            ErrorKind::OutOfMemory => Some("request a smaller size, or fewer images"),
            ErrorKind::Blocked => Some("change the prompt or the image"),
            ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Timeout => {
                Some("retry later, or use another engine")
            }
            ErrorKind::Quota | ErrorKind::Unauthorized | ErrorKind::Forbidden => {
                Some("use another engine, or ask the operator to check this one")
            }
            _ => None,
        }
    }

    /// One line with everything that an operator needs, including hosts, ports and variables.
    #[must_use]
    pub fn for_operator(&self) -> String {
        let Self::Engine {
            engine,
            source,
            remedy,
            ..
        } = self
        else {
            return self.to_string();
        };
        let mut line = format!("engine {engine}: {source}");
        if let EngineError::Engine {
            failure: Some(failure),
            ..
        } = source.as_ref()
            && self.kind() != ErrorKind::Cancelled
            && !line.contains(&failure.reason)
        {
            line.push_str(&format!(" ({})", plain(&failure.reason, MAX_FAILURE_BYTES)));
        }
        if let Some(remedy) = remedy {
            line.push_str(&format!("; {remedy}"));
        }
        line
    }
}

fn kind_of_full(full: QueueFull) -> ErrorKind {
    if full.is_of_user {
        return ErrorKind::RateLimited;
    }
    ErrorKind::Unavailable
}

fn memory_kind(full: &MemoryFull) -> ErrorKind {
    match full {
        MemoryFull::TooLarge { .. } => ErrorKind::Invalid,
        MemoryFull::User => ErrorKind::RateLimited,
        MemoryFull::All => ErrorKind::Unavailable,
    }
}

/// What the operator can do. The variables come from the engine's description.
fn remedy(
    description: &Description,
    settings: &ResolvedSettings,
    error: &EngineError,
) -> Option<String> {
    let (kind, request_failed) = match error {
        // The upstream's settings are not the cause. The failure says what to do.
        EngineError::Engine {
            failure: Some(failure),
            ..
        } if failure.subject == FailureSubject::Url => return None,
        EngineError::Engine { error, failure } => {
            let is_of_request = |it: &RequestFailure| it.subject == FailureSubject::Request;
            (error.kind, failure.as_deref().is_some_and(is_of_request))
        }
        // Most often, the engine waited for its upstream.
        EngineError::Deadline(_) => (ErrorKind::Timeout, false),
        _ => return None,
    };
    let title = &description.title;
    let url_variable = || variable(description, settings, |it| matches!(it, SettingKind::Url));
    let check_upstream = || {
        let variable = url_variable()?;
        Some(format!(
            "check that {title} is running and that {variable} is its URL"
        ))
    };
    match kind {
        ErrorKind::Timeout if matches!(error, EngineError::Deadline(_)) => Some(format!(
            "{}, or increase PINHOLE_JOB_TIMEOUT_SECS",
            check_upstream()?
        )),
        ErrorKind::Unavailable | ErrorKind::Timeout => check_upstream(),
        ErrorKind::Unauthorized => {
            let variable = variable(description, settings, |it| {
                matches!(it, SettingKind::Secret)
            })?;
            let form = settings.settings.setting_name(description, CREDENTIAL_KEY);
            Some(format!(
                "set {variable} to a key that {title} accepts, or {form} to the form in which it takes the key"
            ))
        }
        // The response is not one of this kind of server.
        ErrorKind::Protocol if request_failed => {
            let variable = url_variable()?;
            Some(format!("check that {variable} is the URL of {title}"))
        }
        _ => None,
    }
}

/// The name of the first setting of this kind.
fn variable(
    description: &Description,
    settings: &ResolvedSettings,
    is_wanted: impl Fn(&SettingKind) -> bool,
) -> Option<String> {
    let mut declared = description.settings.iter();
    let setting = declared.find(|setting| is_wanted(&setting.kind))?;
    Some(settings.settings.setting_name(description, &setting.key))
}
