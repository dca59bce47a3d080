//! Where the database is: `DATABASE_URL`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// The name of this program's connections at the server.
const APPLICATION_NAME: &str = "pinhole";
/// What a URL may be.
const FORMS: &str = "use postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:PATH";

/// Where the database is.
#[derive(Clone, Debug, Default)]
pub enum DatabaseLocation {
    /// SQLite in the data directory.
    #[default]
    DataDirectory,
    /// SQLite in this file.
    Sqlite(PathBuf),
    Postgres(Box<PostgresServer>),
}

/// A database of a PostgreSQL server. It contains a password, which is not shown.
#[derive(Clone)]
pub struct PostgresServer {
    options: PgConnectOptions,
    /// Connections, without those of searches.
    pub pool_size: u32,
    /// Statements are prepared under a name, once for each connection.
    pub has_named_statements: bool,
}

impl DatabaseLocation {
    /// Connections to a PostgreSQL server.
    pub const DEFAULT_POOL_SIZE: u32 = 8;

    /// Parses a URL. The error is a phrase that follows its name, and does not repeat the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let url = url.trim();
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let has_file = Path::new(path).file_name().is_some();
            if !has_file || path.contains('?') || path == ":memory:" {
                return Err(
                    "does not name a file: use sqlite:PATH, such as sqlite:data/pinhole.db"
                        .to_owned(),
                );
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|it| url.starts_with(it))
        {
            return Err(format!("is not the URL of a database: {FORMS}"));
        }
        // The cause may repeat a part of the URL.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            format!(
                "is not a valid URL: {FORMS}, and percent-encode special characters of the password"
            )
        })?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err(format!("names no database: {FORMS}"));
        }
        Ok(Self::Postgres(Box::new(PostgresServer {
            // A parameter that PgBouncer refuses, for numbers that no column has.
            options: options
                .application_name(APPLICATION_NAME)
                .extra_float_digits(None),
            pool_size: Self::DEFAULT_POOL_SIZE,
            has_named_statements: true,
        })))
    }

    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl PostgresServer {
    pub(in crate::store) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(in crate::store) fn database(&self) -> &str {
        self.options.get_database().unwrap_or_default()
    }

    pub(in crate::store) fn user(&self) -> &str {
        self.options.get_username()
    }
}

/// Host, port and database, without user and password.
impl fmt::Display for PostgresServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.options.get_socket() {
            Some(path) => path.to_string_lossy(),
            None => self.options.get_host().into(),
        };
        let port = self.options.get_port();
        write!(formatter, "{host}:{port}/{}", self.database())
    }
}

impl fmt::Debug for PostgresServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_both_databases_are_parsed_and_others_are_refused() {
        for (url, expected) in [
            ("sqlite:data/x.db", "data/x.db"),
            ("sqlite:///srv/x.db", "/srv/x.db"),
        ] {
            let DatabaseLocation::Sqlite(path) = DatabaseLocation::parse(url).unwrap() else {
                panic!("{url}");
            };
            assert_eq!(path, Path::new(expected));
        }
        for scheme in ["postgres", "postgresql"] {
            let url = format!("{scheme}://ada:s%40crt@db.example:6543/images");
            let location = DatabaseLocation::parse(&url).unwrap();
            assert_eq!(format!("{location:?}"), "Postgres(db.example:6543/images)");
        }
        for (url, expected) in [
            ("mysql://ada:s3cret@host/x", "is not the URL of a database"),
            ("postgres://ada:s3cret@host:port/x", "is not a valid URL"),
            ("postgres://ada:s3cret@host", "names no database"),
            ("sqlite:", "does not name a file"),
            ("sqlite::memory:", "does not name a file"),
        ] {
            let error = DatabaseLocation::parse(url).unwrap_err();
            assert!(error.starts_with(expected), "{url}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
