//! The ids of events, with which a client that reconnects receives the next ones.

use std::fmt;
use std::str::FromStr;

use crate::cluster::StreamId;

/// Length of the name of a process, in bytes.
const MAX_PROCESS_BYTES: usize = 64;

/// What a client has received: all events of a process up to a number and, if several hosts share events, all events of
/// all hosts up to a position of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventId {
    pub(super) process: String,
    pub(super) number: u64,
    pub(super) position: Option<StreamId>,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.process, self.number)?;
        match self.position {
            Some(position) => write!(f, "-{position}"),
            None => Ok(()),
        }
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(id: &str) -> Result<Self, ()> {
        let (process, rest) = id.split_once('-').ok_or(())?;
        if process.is_empty() || process.len() > MAX_PROCESS_BYTES {
            return Err(());
        }
        let (number, position) = match rest.split_once('-') {
            None => (rest, None),
            Some((number, position)) => (number, Some(position.parse()?)),
        };
        Ok(Self {
            process: process.to_owned(),
            number: number.parse().map_err(|_| ())?,
            position,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_read_as_it_was_written() {
        for text in ["p-1", "p-1-5-0"] {
            let id: EventId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
        }
        let long = format!("{}-1", "p".repeat(MAX_PROCESS_BYTES + 1));
        for invalid in [
            "", "p", "-1", "p-", "p-x", "p-1-", "p-1-5", "p-1-5-x", &long,
        ] {
            assert_eq!(invalid.parse::<EventId>(), Err(()), "{invalid}");
        }
    }
}
