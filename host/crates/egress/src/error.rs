//! Errors of requests and WebSockets.

use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::{Guard, Refusal};

/// Why a request has no usable response. The texts are for the operator: they name hosts.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The destination or the request is refused. Nothing was sent.
    #[error("{refusal}")]
    Denied {
        /// [`RefusalKind::Address`] or [`RefusalKind::Request`].
        kind: RefusalKind,
        /// The guard and the reason.
        refusal: Refusal,
    },
    /// No connection. Nothing was sent.
    #[error("{0}")]
    Connect(String),
    /// The connection broke. The upstream may have processed the request.
    #[error("{0}")]
    Disconnected(String),
    /// The deadline passed.
    #[error("no response before the deadline")]
    Timeout,
    /// The response, or a part of it such as one event, is too long.
    #[error("the response is longer than {max_bytes} bytes")]
    TooLarge {
        /// The guard whose limit was exceeded.
        guard: Guard,
        /// The limit.
        max_bytes: usize,
    },
    /// The response is invalid or exceeds another limit.
    #[error("{0}")]
    Unusable(Refusal),
}

impl Error {
    pub(crate) fn denied_address(refusal: impl Into<Refusal>) -> Self {
        Self::Denied {
            kind: RefusalKind::Address,
            refusal: refusal.into(),
        }
    }

    pub(crate) fn denied_request(refusal: impl Into<Refusal>) -> Self {
        Self::Denied {
            kind: RefusalKind::Request,
            refusal: refusal.into(),
        }
    }

    pub(crate) fn body_too_large(max_bytes: usize) -> Self {
        Self::TooLarge {
            guard: Guard::AnswerBytes,
            max_bytes,
        }
    }

    /// The kind of refusal for the audit log; `None` if the upstream failed and nothing was refused.
    #[must_use]
    pub fn refusal_kind(&self) -> Option<RefusalKind> {
        match self {
            Self::Denied { kind, .. } => Some(*kind),
            Self::TooLarge { .. } | Self::Unusable(_) => Some(RefusalKind::Answer),
            Self::Connect(_) | Self::Disconnected(_) | Self::Timeout => None,
        }
    }

    /// The guard that refused, for the audit log; `None` if no single guard did.
    #[must_use]
    pub fn guard(&self) -> Option<Guard> {
        match self {
            Self::Denied { refusal, .. } | Self::Unusable(refusal) => refusal.guard,
            Self::TooLarge { guard, .. } => Some(*guard),
            Self::Connect(_) | Self::Disconnected(_) | Self::Timeout => None,
        }
    }

    /// The same error, and, if it is about a private IP address, how an operator would allow that.
    #[must_use]
    pub fn with_private_remedy(self, remedy: impl FnOnce() -> String) -> Self {
        match self {
            Self::Denied { kind, refusal } => Self::Denied {
                kind,
                refusal: add_private_remedy(refusal, remedy),
            },
            other => other,
        }
    }

    /// The same error with the host in front of the texts that do not name it.
    pub(crate) fn with_origin(self, origin: &str) -> Self {
        match self {
            Self::Connect(reason) => Self::Connect(format!("{origin} {reason}")),
            Self::Disconnected(reason) => Self::Disconnected(format!("{origin} {reason}")),
            other => other,
        }
    }
}

/// The same refusal, and, if it is about a private IP address, how an operator would allow that.
pub(crate) fn add_private_remedy(refusal: Refusal, remedy: impl FnOnce() -> String) -> Refusal {
    if refusal.guard != Some(Guard::PrivateAddress) {
        return refusal;
    }
    refusal.map_reason(|reason| format!("{reason}: {}", remedy()))
}

/// The text of the innermost error, which is the operating system's or the TLS library's.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The refusal among the causes of an error.
pub(crate) fn find_refusal<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a Refusal> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref() {
            return Some(refusal);
        }
        cause = inner.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_reports_guard_and_kind_of_refusal() {
        let denied = Error::denied_address(Guard::Hops.refuse("too many"));
        assert_eq!(denied.refusal_kind(), Some(RefusalKind::Address));
        assert_eq!(denied.guard(), Some(Guard::Hops));
        let too_large = Error::body_too_large(9);
        assert_eq!(too_large.refusal_kind(), Some(RefusalKind::Answer));
        assert_eq!(too_large.guard(), Some(Guard::AnswerBytes));
        let connect = Error::Connect("refuses connections".to_owned()).with_origin("http://host");
        assert_eq!(connect.to_string(), "http://host refuses connections");
        assert_eq!((connect.refusal_kind(), connect.guard()), (None, None));
    }
}
