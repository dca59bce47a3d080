//! Why a statement failed, if another moment or more space may help.

use sqlx::postgres::PgDatabaseError;

use super::database::is_lost;

/// Primary result codes of SQLite: the low byte of an extended code.
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_INTERRUPT: u32 = 9;
const SQLITE_IOERR: u32 = 10;
const SQLITE_FULL: u32 = 13;
const SQLITE_CANTOPEN: u32 = 14;

/// Codes of PostgreSQL.
const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK_DETECTED: &str = "40P01";
const DISK_FULL: &str = "53100";
const OUT_OF_MEMORY: &str = "53200";
const TOO_MANY_CONNECTIONS: &str = "53300";
const LOCK_NOT_AVAILABLE: &str = "55P03";
const QUERY_CANCELED: &str = "57014";
const IO_ERROR: &str = "58030";

/// Why a statement failed, if another moment or more space may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Others write, connections or open files are exhausted, or the server cannot be reached.
    Busy,
    /// The disk is full or fails.
    Disk,
    /// A search took too long.
    Interrupted,
}

impl Trouble {
    /// `None` if the statement itself is at fault.
    #[must_use]
    pub fn of(error: &sqlx::Error) -> Option<Self> {
        if is_lost(error) {
            return Some(Self::Busy);
        }
        match error {
            sqlx::Error::PoolTimedOut => return Some(Self::Busy),
            sqlx::Error::Io(_) => return Some(Self::Disk),
            _ => {}
        }
        let database = error.as_database_error()?;
        match database.try_downcast_ref::<PgDatabaseError>() {
            Some(postgres) => Self::of_postgres(postgres.code()),
            None => Self::of_sqlite(database.code()?.parse().ok()?),
        }
    }

    fn of_sqlite(code: u32) -> Option<Self> {
        match code & 0xff {
            SQLITE_BUSY | SQLITE_LOCKED | SQLITE_CANTOPEN => Some(Self::Busy),
            SQLITE_IOERR | SQLITE_FULL => Some(Self::Disk),
            SQLITE_INTERRUPT => Some(Self::Interrupted),
            _ => None,
        }
    }

    fn of_postgres(code: &str) -> Option<Self> {
        match code {
            SERIALIZATION_FAILURE
            | DEADLOCK_DETECTED
            | OUT_OF_MEMORY
            | TOO_MANY_CONNECTIONS
            | LOCK_NOT_AVAILABLE => Some(Self::Busy),
            DISK_FULL | IO_ERROR => Some(Self::Disk),
            QUERY_CANCELED => Some(Self::Interrupted),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn broken_connection_is_no_broken_disk() {
        let of = |kind: ErrorKind| Trouble::of(&sqlx::Error::Io(Error::from(kind)));
        assert_eq!(of(ErrorKind::ConnectionReset), Some(Trouble::Busy));
        assert_eq!(of(ErrorKind::UnexpectedEof), Some(Trouble::Busy));
        assert_eq!(of(ErrorKind::StorageFull), Some(Trouble::Disk));
        let unfinished = sqlx::Error::Protocol("unexpected response from SSLRequest".to_owned());
        assert_eq!(Trouble::of(&unfinished), Some(Trouble::Busy));
        assert_eq!(Trouble::of(&sqlx::Error::RowNotFound), None);
    }

    #[test]
    fn codes_of_the_databases_are_not_confused() {
        // 53300 is also a number, with which SQLite would report an unrelated error.
        assert_eq!(Trouble::of_postgres("53300"), Some(Trouble::Busy));
        assert_eq!(Trouble::of_postgres("53100"), Some(Trouble::Disk));
        assert_eq!(Trouble::of_postgres("57014"), Some(Trouble::Interrupted));
        assert_eq!(Trouble::of_postgres("23505"), None);
        assert_eq!(Trouble::of_sqlite(5 | (1 << 8)), Some(Trouble::Busy));
        assert_eq!(Trouble::of_sqlite(19), None);
    }
}
