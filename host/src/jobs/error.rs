//! Why a job gave no picture, and what an operator can do about it.

use super::binding::Binding;
use pinhole_sandbox::contract::{ErrorKind, SettingKind};
use pinhole_sandbox::{self as engine, ResolvedSettings, Component};
use pinhole_sandbox::engine_settings::own_variable;
use pinhole_ground::text::plain;

/// Why a job gave no picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be carried out as it is.
    #[error("{message}")]
    Invalid {
        /// The field that is wrong.
        field: &'static str,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The engine cannot do that at all.
    #[error("{message}")]
    Unsupported {
        /// The field that asks for it.
        field: &'static str,
        /// What it cannot do, and what to do instead.
        message: String,
    },
    /// The operator has switched this off.
    #[error("{0}")]
    Disabled(&'static str),
    /// The engine failed.
    #[error("{source}")]
    Engine {
        /// Its name.
        engine: String,
        /// How.
        source: Box<engine::Error>,
        /// What the operator can do about it.
        remedy: Option<String>,
    },
}

impl Error {
    /// Was the upstream out of reach, or too busy for this caller, so that another may do it?
    pub(super) fn leaves_to_another(&self) -> bool {
        let Self::Engine { source, .. } = self else {
            return false;
        };
        let engine::Error::Engine { error, .. } = source.as_ref() else {
            return false;
        };
        matches!(
            error.kind,
            ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Quota
        )
    }

    /// What a program branches on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Disabled(_) => ErrorKind::Forbidden,
            Self::Engine { source, .. } => match source.as_ref() {
                engine::Error::Engine { error, .. } => error.kind,
                engine::Error::Busy(_) | engine::Error::QueueFull(_) | engine::Error::ShuttingDown => {
                    ErrorKind::Unavailable
                }
                engine::Error::UserQueueFull(_) => ErrorKind::RateLimited,
                engine::Error::Deadline(_) => ErrorKind::Timeout,
                engine::Error::Limit(_) | engine::Error::Crashed(_) => ErrorKind::Upstream,
            },
        }
    }

    /// One line with everything an operator needs: hosts, ports and variables too.
    #[must_use]
    pub fn for_operator(&self) -> String {
        let Self::Engine {
            engine,
            source,
            remedy,
        } = self
        else {
            return self.to_string();
        };
        let mut line = format!("engine {engine}: {source}");
        if let engine::Error::Engine {
            failure: Some(failure),
            ..
        } = source.as_ref()
            && self.kind() != ErrorKind::Cancelled
            && !line.contains(failure)
        {
            line.push_str(&format!(" ({})", plain(failure, 500)));
        }
        if let Some(remedy) = remedy {
            line.push_str(&format!("; {remedy}"));
        }
        line
    }
}

/// An engine's failure, with what the operator can do about it.
pub(super) fn failed(binding: &Binding, bound: &ResolvedSettings, mut source: engine::Error) -> Error {
    // It may quote an address that an upstream gave.
    if let engine::Error::Engine {
        failure: Some(failure),
        ..
    } = &mut source
    {
        *failure = bound.redactor.text(failure).into_owned();
    }
    Error::Engine {
        remedy: remedy(&binding.component, bound, &source),
        engine: binding.name.clone(),
        source: Box::new(source),
    }
}

/// An engine that has upstreams, but no address for any, can do nothing yet.
pub(super) fn check_addresses(binding: &Binding, bound: &ResolvedSettings) -> Result<(), Error> {
    let description = &binding.component.description;
    let mut upstreams = description.upstreams.iter();
    let Some(first) = upstreams.next().filter(|_| bound.upstreams.is_empty()) else {
        return Ok(());
    };
    let mut settings = description.settings.iter();
    let setting = settings.find(|setting| setting.key == first.base_url);
    let variable = setting.and_then(|setting| setting.generate_variables.first());
    let own = own_variable(&description.name, &first.base_url);
    Err(Error::Invalid {
        field: "engine",
        message: format!(
            "engine {} has no address to speak to: set {} to the address of {}",
            binding.name,
            variable.unwrap_or(&own),
            description.title
        ),
    })
}

/// What the operator can do: the variables come from what the engine declares.
fn remedy(component: &Component, bound: &ResolvedSettings, error: &engine::Error) -> Option<String> {
    let kind = match error {
        engine::Error::Engine { error, .. } => error.kind,
        // Whatever the engine did with its time, most often it waited.
        engine::Error::Deadline(_) => ErrorKind::Timeout,
        _ => return None,
    };
    let answered_otherwise = matches!(
        error,
        engine::Error::Engine {
            failure: Some(_),
            ..
        }
    );
    let description = &component.description;
    // The variable that set it, or the first that could.
    let variable = |wanted: &dyn Fn(&SettingKind) -> bool| {
        let mut settings = description
            .settings
            .iter()
            .filter(|setting| wanted(&setting.kind));
        settings.find_map(|setting| {
            let set = bound.settings.variable(&setting.key);
            let first = setting.generate_variables.first().map(String::as_str);
            set.or(first).map(str::to_owned)
        })
    };
    let base_url = || variable(&|kind| matches!(kind, SettingKind::Url));
    let address = || {
        let title = &description.title;
        Some(format!(
            "check that {title} runs and that {} is its address",
            base_url()?
        ))
    };
    match kind {
        ErrorKind::Timeout if matches!(error, engine::Error::Deadline(_)) => Some(format!(
            "{}, or set PINHOLE_JOB_TIMEOUT_SECS to more",
            address()?
        )),
        ErrorKind::Unavailable | ErrorKind::Timeout => address(),
        ErrorKind::Unauthorized => Some(format!(
            "set {} to a key that it accepts",
            variable(&|kind| matches!(kind, SettingKind::Secret))?
        )),
        // The answer was not even what any server of that kind sends.
        ErrorKind::Protocol if answered_otherwise => Some(format!(
            "check that {} is the address of {}",
            base_url()?,
            description.title
        )),
        _ => None,
    }
}
