//! How a job ended, for figures and for the verdict on a version of an engine.

use pinhole_ground::guard::Guard;
use pinhole_sandbox::Error as EngineError;
use pinhole_sandbox::contract::ErrorKind;

use super::error::Error;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With images.
    Ok,
    /// The engine trapped or panicked.
    Crash,
    /// The engine exceeded a limit of the call.
    Limit,
    /// The engine did not return before the job's deadline.
    Deadline,
    /// The server had no slot or no memory, or was shutting down.
    Busy,
    /// The engine returned an error of this kind, or the host in its place.
    Error(ErrorKind),
}

/// Whose fault an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutcomeClass {
    Ok,
    /// The engine's own fault: it crashed.
    Crash,
    /// Another fault of the engine itself.
    Own,
    /// The upstream's, or of what connects the engine to it. It says something about a version only in
    /// comparison with another.
    Upstream,
    /// Of the user, the plan or the server. It says nothing about the engine.
    Neutral,
}

impl OutcomeClass {
    /// The name in the database. Neutral outcomes are not stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Crash => "crash",
            Self::Own => "own",
            Self::Upstream => "upstream",
            Self::Neutral => "neutral",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let stored = [Self::Ok, Self::Crash, Self::Own, Self::Upstream];
        stored.into_iter().find(|class| class.name() == name)
    }

    /// True if the engine itself failed.
    #[must_use]
    pub fn is_fault_of_engine(self) -> bool {
        matches!(self, Self::Crash | Self::Own)
    }
}

impl Outcome {
    pub(super) const ALL: [Self; 19] = [
        Self::Ok,
        Self::Crash,
        Self::Limit,
        Self::Deadline,
        Self::Busy,
        Self::Error(ErrorKind::Invalid),
        Self::Error(ErrorKind::Unauthorized),
        Self::Error(ErrorKind::Forbidden),
        Self::Error(ErrorKind::Quota),
        Self::Error(ErrorKind::RateLimited),
        Self::Error(ErrorKind::Blocked),
        Self::Error(ErrorKind::NotFound),
        Self::Error(ErrorKind::OutOfMemory),
        Self::Error(ErrorKind::Unavailable),
        Self::Error(ErrorKind::Timeout),
        Self::Error(ErrorKind::Cancelled),
        Self::Error(ErrorKind::Unsupported),
        Self::Error(ErrorKind::Upstream),
        Self::Error(ErrorKind::Protocol),
    ];

    /// `ok`, `crash`, `limit`, `deadline`, `busy`, or the error kind's name in `wit/engine.wit`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Crash => "crash",
            Self::Limit => "limit",
            Self::Deadline => "deadline",
            Self::Busy => "busy",
            Self::Error(kind) => kind.name(),
        }
    }

    #[must_use]
    pub fn class(self) -> OutcomeClass {
        match self {
            Self::Ok => OutcomeClass::Ok,
            Self::Crash => OutcomeClass::Crash,
            Self::Limit | Self::Deadline => OutcomeClass::Own,
            Self::Busy => OutcomeClass::Neutral,
            Self::Error(kind) => match kind {
                ErrorKind::Protocol => OutcomeClass::Own,
                // A version that sends a wrong credential or path fails in comparison with the other one. A revoked
                // key fails both.
                ErrorKind::Unauthorized
                | ErrorKind::Forbidden
                | ErrorKind::RateLimited
                | ErrorKind::OutOfMemory
                | ErrorKind::Unavailable
                | ErrorKind::Timeout
                | ErrorKind::Upstream => OutcomeClass::Upstream,
                ErrorKind::Invalid
                | ErrorKind::Quota
                | ErrorKind::Blocked
                | ErrorKind::NotFound
                | ErrorKind::Cancelled
                | ErrorKind::Unsupported => OutcomeClass::Neutral,
            },
        }
    }
}

impl Error {
    /// How a job with this error ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Invalid { .. } => Outcome::Error(ErrorKind::Invalid),
            Self::Unsupported { .. } | Self::Disabled(_) => Outcome::Error(ErrorKind::Unsupported),
            Self::Starting
            | Self::QueueFull(_)
            | Self::RateLimited { .. }
            | Self::MemoryFull(_) => Outcome::Busy,
            Self::Engine { source, .. } => match source.as_ref() {
                EngineError::Engine { error, .. } => Outcome::Error(error.kind),
                // It was stopped for all users together, not for its own memory.
                EngineError::Limit(refusal) if refusal.guard == Some(Guard::MemoryOfAll) => {
                    Outcome::Busy
                }
                EngineError::Limit(_) => Outcome::Limit,
                EngineError::Deadline(_) => Outcome::Deadline,
                EngineError::Crashed(_) => Outcome::Crash,
                EngineError::ShuttingDown
                | EngineError::Busy(_)
                | EngineError::QueueFull(_)
                | EngineError::MemoryFull(_) => Outcome::Busy,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pinhole_ground::fair_queue::QueueFull;
    use pinhole_ground::memory::MemoryFull;

    use super::*;

    fn engine(source: EngineError) -> Error {
        Error::Engine {
            engine: "engine".to_owned(),
            source: Box::new(source),
            remedy: None,
            may_be_charged: false,
        }
    }

    fn of_kind(kind: ErrorKind) -> Error {
        engine(EngineError::engine(kind, String::new()))
    }

    #[test]
    fn each_error_has_an_outcome_and_its_class() {
        use OutcomeClass::{Crash, Neutral, Own, Upstream};
        let limit = |guard: Guard| engine(EngineError::Limit(guard.refuse("")));
        let time = Duration::from_secs(1);
        let full = QueueFull {
            is_of_user: true,
            max_waiting: 1,
            items: "jobs",
        };
        for (error, name, class) in [
            (engine(EngineError::Crashed(String::new())), "crash", Crash),
            (limit(Guard::Memory), "limit", Own),
            (limit(Guard::MemoryOfAll), "busy", Neutral),
            (engine(EngineError::Deadline(time)), "deadline", Own),
            (of_kind(ErrorKind::Protocol), "protocol", Own),
            (of_kind(ErrorKind::Upstream), "upstream", Upstream),
            (of_kind(ErrorKind::Unavailable), "unavailable", Upstream),
            (of_kind(ErrorKind::RateLimited), "rate-limited", Upstream),
            (of_kind(ErrorKind::Unauthorized), "unauthorized", Upstream),
            (of_kind(ErrorKind::Forbidden), "forbidden", Upstream),
            (of_kind(ErrorKind::OutOfMemory), "out-of-memory", Upstream),
            (of_kind(ErrorKind::Timeout), "timeout", Upstream),
            (of_kind(ErrorKind::Invalid), "invalid", Neutral),
            (of_kind(ErrorKind::Blocked), "blocked", Neutral),
            (of_kind(ErrorKind::Cancelled), "cancelled", Neutral),
            (of_kind(ErrorKind::Quota), "quota", Neutral),
            (of_kind(ErrorKind::NotFound), "not-found", Neutral),
            (of_kind(ErrorKind::Unsupported), "unsupported", Neutral),
            (engine(EngineError::ShuttingDown), "busy", Neutral),
            (engine(EngineError::Busy(time)), "busy", Neutral),
            (engine(EngineError::QueueFull(full)), "busy", Neutral),
            (
                engine(EngineError::MemoryFull(MemoryFull::User)),
                "busy",
                Neutral,
            ),
            (Error::invalid("size", ""), "invalid", Neutral),
            (Error::unsupported("mask", ""), "unsupported", Neutral),
            (Error::Disabled(""), "unsupported", Neutral),
            (Error::Starting, "busy", Neutral),
            (Error::QueueFull(full), "busy", Neutral),
            (Error::RateLimited { retry_after: time }, "busy", Neutral),
            (Error::MemoryFull(MemoryFull::All), "busy", Neutral),
        ] {
            let outcome = error.outcome();
            assert_eq!(
                (outcome.name(), outcome.class()),
                (name, class),
                "{error:?}"
            );
            assert!(Outcome::ALL.contains(&outcome));
        }
        assert_eq!(Outcome::Ok.class(), OutcomeClass::Ok);
    }
}
