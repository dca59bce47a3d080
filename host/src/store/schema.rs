//! The version of the tables, and which programs may use it.
//!
//! A version is the number of the last migration. A program migrates older tables when it opens them. It uses newer
//! ones if they say that it may, so that servers of two versions share a database during an upgrade; otherwise it
//! changes nothing and fails.

use anyhow::{Context, Result, bail, ensure};

use super::database::{Connection, Database, Dialect, Lock, query};
use super::migrations::{LATEST, migrator};

/// The table in which sqlx records migrations.
const MIGRATIONS: &str = "_sqlx_migrations";

/// The versions of the tables before and after they were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaVersions {
    /// `None` if there were no tables.
    pub before: Option<i64>,
    pub after: i64,
}

/// Migrates the tables of a PostgreSQL database.
pub(super) async fn migrate_postgres(database: &Database) -> Result<SchemaVersions> {
    let Database::Postgres(pool) = database else {
        bail!("this is no PostgreSQL database");
    };
    if version(database).await? == Some(LATEST) {
        return unchanged(LATEST);
    }
    // A transaction's lock, because a pooler between may give each statement another connection.
    let mut lock = Connection::Postgres(pool.begin("BEGIN").await?);
    lock.lock(Lock::Migrations).await?;
    migrate(database).await
}

/// Migrates the tables. Others do not migrate them at the same time.
pub(super) async fn migrate(database: &Database) -> Result<SchemaVersions> {
    let before = version(database).await?;
    if let Some(newer) = before.filter(|version| *version > LATEST) {
        refuse_unknown(database, newer).await?;
        return unchanged(newer);
    }
    if before.is_none() {
        refuse_foreign_tables(database).await?;
    }
    let mut migrator = migrator(database.dialect());
    let run = match database {
        Database::Sqlite(pool) => migrator.run(pool).await,
        Database::Postgres(pool) => migrator.set_locking(false).run(pool.inner()).await,
    };
    run.context("cannot migrate the tables")?;
    Ok(SchemaVersions {
        before,
        after: LATEST,
    })
}

fn unchanged(version: i64) -> Result<SchemaVersions> {
    Ok(SchemaVersions {
        before: Some(version),
        after: version,
    })
}

/// The version of the tables. `None` without tables.
pub(super) async fn version(database: &Database) -> Result<Option<i64>> {
    let tables = tables(database).await?;
    if !tables.iter().any(|name| name == MIGRATIONS) {
        return Ok(None);
    }
    let version: Option<i64> = query("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_value(database)
        .await
        .context("cannot read the version of the tables")?;
    Ok(version)
}

/// The names of all tables, sorted.
pub(super) async fn tables(database: &Database) -> Result<Vec<String>> {
    let select = match database.dialect() {
        Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
        Dialect::Postgres => {
            "SELECT CAST(tablename AS TEXT) AS name FROM pg_tables
             WHERE schemaname = current_schema() ORDER BY name"
        }
    };
    let names = query(select).fetch_values(database).await;
    names.context("cannot read the names of the tables")
}

/// Fails unless tables of a newer version say that this program may use them.
async fn refuse_unknown(database: &Database, version: i64) -> Result<()> {
    let oldest: i64 = query("SELECT oldest_version FROM schema_compatibility")
        .fetch_value(database)
        .await
        .context("cannot read which programs may use the database")?;
    ensure!(
        LATEST >= oldest,
        "the tables have version {version}, and this program knows {LATEST}: upgrade pinhole, or restore a backup \
         from before the upgrade"
    );
    Ok(())
}

async fn refuse_foreign_tables(database: &Database) -> Result<()> {
    let foreign = tables(database).await?;
    if let Some(name) = foreign.iter().find(|name| *name != MIGRATIONS) {
        bail!(
            "the database has tables of another program, such as {name}: create a database for pinhole alone"
        );
    }
    Ok(())
}
