//! Who caused a refusal.

use std::fmt;
use std::net::IpAddr;

/// Who caused a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor<'a> {
    /// The server itself, such as at its start.
    Server,
    /// A user, by id.
    User(&'a str),
    /// A client that did not authenticate. `None` if its IP address is unknown.
    Client(Option<IpAddr>),
}

impl<'a> Actor<'a> {
    /// The user of a job. `None` is the server itself.
    #[must_use]
    pub fn of_job(user: Option<&'a str>) -> Self {
        user.map_or(Self::Server, Self::User)
    }
}

impl fmt::Display for Actor<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => Ok(()),
            Self::User(id) => formatter.write_str(id),
            Self::Client(Some(ip)) => write!(formatter, "{}", ip.to_canonical()),
            Self::Client(None) => formatter.write_str("unknown IP address"),
        }
    }
}
