//! Names of the contract's error kinds.

use pinhole_sandbox::contract::ErrorKind;

const ERROR_KINDS: [ErrorKind; 14] = [
    ErrorKind::Invalid,
    ErrorKind::Unauthorized,
    ErrorKind::Forbidden,
    ErrorKind::Quota,
    ErrorKind::RateLimited,
    ErrorKind::Blocked,
    ErrorKind::NotFound,
    ErrorKind::OutOfMemory,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Cancelled,
    ErrorKind::Unsupported,
    ErrorKind::Upstream,
    ErrorKind::Protocol,
];

pub(crate) fn is_error_kind(name: &str) -> bool {
    ERROR_KINDS.into_iter().any(|kind| kind.name() == name)
}
