//! What was refused, and to whom: a line for the operator each time.

use tracing::warn;

/// What kind of thing was refused. A closed list: it labels a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A component that may not become an engine.
    Admission,
    /// A request that the engine's grant does not cover.
    Grant,
    /// An address, or a host's spelling, that no connection may go to.
    Address,
    /// A request that cannot be sent as it is: its header, its path, its body, its count.
    Request,
    /// An upstream's answer that is too long, too slow or no answer at all.
    Answer,
    /// A secret that came back, and was taken out.
    Secret,
    /// A limit of a call.
    Limit,
    /// An engine that crashed.
    Crash,
    /// A picture that is none, or not within its limits.
    Picture,
}

impl Kind {
    /// Its label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Grant => "grant",
            Self::Address => "address",
            Self::Request => "request",
            Self::Answer => "answer",
            Self::Secret => "secret",
            Self::Limit => "limit",
            Self::Crash => "crash",
            Self::Picture => "picture",
        }
    }
}

/// Notes a refusal. `what` is one sentence for the operator, with hosts and limits by name, and
/// without secrets; `job` is empty where there is none.
pub fn refused(kind: Kind, engine: &str, job: &str, what: &str) {
    let kind = kind.name();
    warn!(target: "pinhole::audit", kind, engine, job, "{what}");
}
