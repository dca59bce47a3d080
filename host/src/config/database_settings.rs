//! Which database the server uses.

use anyhow::{Result, anyhow, bail, ensure};
use pinhole_ground::environment::Environment;

use super::parse_number;
use crate::store::DatabaseLocation;

/// Connections to a PostgreSQL server.
const MAX_POOL_SIZE: u64 = 1000;
/// A migration holds a lock on one connection while it runs on another.
const MIN_POOL_SIZE: u32 = 2;
/// The keys that servers of one database share, and the commands that make them. Those in a data directory differ.
const SHARED_KEYS: [(&str, &str); 2] = [
    ("WEBUI_SECRET_KEY", "openssl rand -base64 32"),
    ("PINHOLE_SETTINGS_KEY", "openssl rand -hex 32"),
];

/// The location of the database. PostgreSQL needs keys that are not in the data directory.
pub(super) fn parse_database(environment: &Environment) -> Result<DatabaseLocation> {
    let pool_size = parse_number(environment, "DATABASE_POOL_SIZE", MAX_POOL_SIZE)?;
    let has_named_statements = match environment.get("PINHOLE_DATABASE_STATEMENTS") {
        None | Some("named") => true,
        Some("unnamed") => false,
        Some(other) => {
            bail!("PINHOLE_DATABASE_STATEMENTS is {other:?}: it must be named or unnamed")
        }
    };
    let Some(url) = environment.get("DATABASE_URL") else {
        return Ok(DatabaseLocation::DataDirectory);
    };
    let mut location = DatabaseLocation::parse(url).map_err(|why| anyhow!("DATABASE_URL {why}"))?;
    if let DatabaseLocation::Postgres(server) = &mut location {
        for (name, command) in SHARED_KEYS {
            ensure!(
                environment.get(name).is_some(),
                "{name} is not set, and PostgreSQL needs it, because all servers of a database share the key: create \
                 one with `{command}`"
            );
        }
        if let Some(size) = pool_size {
            server.pool_size = u32::try_from(size).unwrap_or(u32::MAX).max(MIN_POOL_SIZE);
        }
        server.has_named_statements = has_named_statements;
    }
    Ok(location)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: (&str, &str) = ("DATABASE_URL", "postgres://ada:s3cret@db.example/images");
    const SECRET: (&str, &str) = ("WEBUI_SECRET_KEY", "0123456789abcdef");
    const KEY: (&str, &str) = ("PINHOLE_SETTINGS_KEY", "00");

    fn parse(variables: &[(&str, &str)]) -> Result<DatabaseLocation, String> {
        let pairs = variables.iter();
        let owned = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse_database(&Environment::new(owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn postgresql_is_refused_without_shared_keys() {
        let error = parse(&[URL, KEY]).unwrap_err();
        assert!(error.starts_with("WEBUI_SECRET_KEY is not set"), "{error}");
        let error_of_key = parse(&[URL, SECRET]).unwrap_err();
        assert!(
            error_of_key.starts_with("PINHOLE_SETTINGS_KEY is not set"),
            "{error_of_key}"
        );
        assert!(parse(&[URL, SECRET, KEY]).unwrap().is_postgres());
        assert!(!parse(&[]).unwrap().is_postgres());
        assert!(
            !parse(&[("DATABASE_URL", "sqlite:x.db")])
                .unwrap()
                .is_postgres()
        );
    }

    #[test]
    fn pool_and_statements_are_read_and_errors_show_no_password() {
        let size = ("DATABASE_POOL_SIZE", "1");
        let statements = ("PINHOLE_DATABASE_STATEMENTS", "unnamed");
        let location = parse(&[URL, SECRET, KEY, size, statements]).unwrap();
        let DatabaseLocation::Postgres(server) = location else {
            panic!("{location:?}");
        };
        assert_eq!(
            (server.pool_size, server.has_named_statements),
            (MIN_POOL_SIZE, false)
        );
        let error = parse(&[("PINHOLE_DATABASE_STATEMENTS", "x")]).unwrap_err();
        assert!(error.contains("named or unnamed"), "{error}");
        let error_of_url = parse(&[("DATABASE_URL", "http://ada:s3cret@x/y")]).unwrap_err();
        assert!(
            error_of_url.starts_with("DATABASE_URL is not"),
            "{error_of_url}"
        );
        assert!(!error_of_url.contains("s3cret"), "{error_of_url}");
    }
}
