//! Whether a PostgreSQL server can be used. An error says what to do, and contains no password.

use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection as _, Row as _};
use tokio::time::timeout;

use super::PostgresServer;
use super::postgres::postgres_error;

/// How long a start waits for the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// The oldest version of PostgreSQL: in older ones, users cannot create the index of trigrams.
const OLDEST_VERSION: i32 = 13;

impl PostgresServer {
    /// Fails if the server cannot be used, within ten seconds.
    pub(in crate::store) async fn check(&self) -> Result<()> {
        match timeout(CONNECT_TIMEOUT, self.inspect()).await {
            Ok(checked) => checked,
            Err(_) => bail!(
                "{self} does not respond within {} s: start the server, or correct host and port",
                CONNECT_TIMEOUT.as_secs()
            ),
        }
    }

    async fn inspect(&self) -> Result<()> {
        let connected = self.options().connect().await;
        let mut connection = connected.map_err(|error| self.explain(&error))?;
        let (version, encoding) = read_properties(&mut connection)
            .await
            .map_err(|error| self.explain(&error))?;
        // Without a farewell, the server logs an error.
        connection.close().await.ok();
        ensure!(
            version >= OLDEST_VERSION,
            "{self} is PostgreSQL {version}: upgrade it to {OLDEST_VERSION} or later"
        );
        ensure!(
            encoding == "UTF8",
            "{self} has the encoding {encoding}: create a database with `createdb --template=template0 --encoding=UTF8`"
        );
        Ok(())
    }

    /// Why the tables cannot be read or migrated.
    pub(in crate::store) fn explain_start(&self, error: anyhow::Error) -> anyhow::Error {
        let mut causes = error.chain();
        let cause = causes.find_map(|cause| cause.downcast_ref::<sqlx::Error>());
        let code = cause.and_then(postgres_error).map(|it| it.code());
        match code {
            Some("42P05" | "26000") => anyhow!(
                "{self} prepares a statement on another connection, as PgBouncer does: set \
                 PINHOLE_DATABASE_STATEMENTS=unnamed"
            ),
            Some("42501") => anyhow!(
                "{self} does not let user {} create tables: make the user the owner of the database",
                self.user()
            ),
            _ => error.context(self.to_string()),
        }
    }

    fn explain(&self, error: &sqlx::Error) -> anyhow::Error {
        let code = postgres_error(error).map(|it| it.code());
        match code {
            Some("28P01" | "28000") => anyhow!(
                "{self} refuses user {}: correct the user or the password",
                self.user()
            ),
            Some("3D000") => anyhow!(
                "{self} does not exist on the server: create it with `createdb {}`, or correct the name",
                self.database()
            ),
            Some("42501") => anyhow!(
                "{self} does not let user {} connect: grant the right, or use another user",
                self.user()
            ),
            _ => {
                let cause = match error {
                    sqlx::Error::Io(cause) => cause.to_string(),
                    other => other.to_string(),
                };
                anyhow!(
                    "cannot connect to {self}: {cause}: start the server, or correct host and port"
                )
            }
        }
    }
}

/// Major version and encoding.
async fn read_properties(connection: &mut PgConnection) -> sqlx::Result<(i32, String)> {
    let row = sqlx::query(
        "SELECT CAST(current_setting('server_version_num') AS INTEGER) / 10000 AS version,
             current_setting('server_encoding') AS encoding",
    )
    .persistent(false)
    .fetch_one(connection)
    .await?;
    Ok((row.try_get("version")?, row.try_get("encoding")?))
}
