//! A copy of the database for a backup, made while a server writes.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, QueryBuilder, Row, SqliteConnection};

use super::{Store, migrations};

/// How long a statement waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A copy of the database, and a connection to the original.
pub struct DatabaseSnapshot {
    copy: SqliteConnection,
    original: SqliteConnection,
}

/// The numbers of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCounts {
    pub users: u64,
    pub chats: u64,
    pub files: u64,
    /// Length of all files in bytes.
    pub file_bytes: u64,
}

/// What a backup reads of a file's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileKey {
    pub id: String,
    pub size_bytes: u64,
    /// SHA-256 of the bytes, in hexadecimal. Empty in rows from before it was stored.
    pub hash: String,
}

impl Store {
    /// The newest version of the tables that this program knows.
    #[must_use]
    pub fn schema_version() -> i64 {
        migrations::LATEST
    }
}

impl DatabaseSnapshot {
    /// Copies the database of a data directory, without migrating it, to a file that does not exist.
    ///
    /// The copy is that of one moment. It contains hashes of passwords and keys: the directory of `to` should be
    /// accessible to its owner only.
    pub async fn create(data: &Path, to: &Path) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(data.join(Store::FILE))
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT);
        let mut original = options.connect().await?;
        let target = to.to_str().ok_or_else(|| {
            let message = "the path of the copy is not UTF-8";
            sqlx::Error::Configuration(message.into())
        })?;
        // A read transaction of its own, which blocks no writer.
        sqlx::query("VACUUM INTO $1")
            .bind(target)
            .execute(&mut original)
            .await?;
        let copy = SqliteConnectOptions::new()
            .filename(to)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off)
            .connect()
            .await?;
        let mut snapshot = Self { copy, original };
        snapshot.release_jobs().await?;
        Ok(snapshot)
    }

    /// Active jobs do not continue where the copy is restored: the original's server may finish them.
    async fn release_jobs(&mut self) -> sqlx::Result<()> {
        if self.schema_version().await? < migrations::DURABLE_JOBS_VERSION {
            return Ok(());
        }
        sqlx::query("UPDATE jobs SET host = NULL WHERE ended_at IS NULL")
            .execute(&mut self.copy)
            .await
            .map(|_| ())
    }

    /// The version of the tables of the copy.
    pub async fn schema_version(&mut self) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations")
            .fetch_one(&mut self.copy)
            .await
    }

    /// The numbers of rows of the copy.
    pub async fn counts(&mut self) -> sqlx::Result<RowCounts> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM users) AS users, (SELECT COUNT(*) FROM chats) AS chats,
                 (SELECT COUNT(*) FROM files) AS files,
                 (SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM files) AS file_bytes",
        )
        .fetch_one(&mut self.copy)
        .await?;
        let number = |name: &str| -> sqlx::Result<u64> {
            let number: i64 = row.try_get(name)?;
            Ok(u64::try_from(number).unwrap_or_default())
        };
        Ok(RowCounts {
            users: number("users")?,
            chats: number("chats")?,
            files: number("files")?,
            file_bytes: number("file_bytes")?,
        })
    }

    /// Files of the copy in the order of their ids, those after this one.
    pub async fn files_after(&mut self, id: &str, limit: u32) -> sqlx::Result<Vec<FileKey>> {
        let rows = sqlx::query(
            "SELECT id, size_bytes, hash FROM files WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&mut self.copy)
        .await?;
        let keys = rows.iter().map(|row| {
            Ok(FileKey {
                id: row.try_get("id")?,
                size_bytes: u64::try_from(row.try_get::<i64, _>("size_bytes")?).unwrap_or_default(),
                hash: row.try_get("hash")?,
            })
        });
        keys.collect()
    }

    /// The digests of all components that are installed in the copy.
    pub async fn component_digests(&mut self) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar("SELECT digest FROM engine_releases ORDER BY digest")
            .fetch_all(&mut self.copy)
            .await
    }

    /// True if the copy has a row of one of these files. Accepts a few hundred ids.
    pub async fn has_one_of(&mut self, ids: &[String]) -> sqlx::Result<bool> {
        if ids.is_empty() {
            return Ok(false);
        }
        let mut query = QueryBuilder::new("SELECT COUNT(*) FROM files WHERE id IN (");
        push_ids(&mut query, ids);
        let count: i64 = query.build_query_scalar().fetch_one(&mut self.copy).await?;
        Ok(count > 0)
    }

    /// Removes from the copy those of the files that the original no longer has. Returns the others. Accepts a few
    /// hundred ids.
    pub async fn remove_deleted(&mut self, ids: Vec<String>) -> sqlx::Result<Vec<String>> {
        if ids.is_empty() {
            return Ok(ids);
        }
        let mut query = QueryBuilder::new("SELECT id FROM files WHERE id IN (");
        push_ids(&mut query, &ids);
        let remaining: Vec<String> = query
            .build_query_scalar()
            .fetch_all(&mut self.original)
            .await?;
        let (remaining, deleted): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| remaining.contains(id));
        if !deleted.is_empty() {
            let mut delete = QueryBuilder::new("DELETE FROM files WHERE id IN (");
            push_ids(&mut delete, &deleted);
            delete.build().execute(&mut self.copy).await?;
        }
        Ok(remaining)
    }

    /// Completes the file of the copy.
    pub async fn close(self) -> sqlx::Result<()> {
        self.copy.close().await?;
        self.original.close().await
    }
}

fn push_ids(query: &mut QueryBuilder<sqlx::Sqlite>, ids: &[String]) {
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.clone());
    }
    query.push(")");
}
