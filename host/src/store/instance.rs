//! What the database records about itself: its identity, and when files were last swept.

use sqlx::Row;

use super::Store;

/// The identity, a UUID.
const IDENTITY: &str = "identity";
/// The time of the last sweep, in seconds since 1970.
const LAST_SWEEP: &str = "last_sweep";

/// The engine that was used because the environment configured no other.
const ENGINE: &str = "engine";

/// Times that the clock is compared with before files are swept, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepTimes {
    /// The newest file.
    pub newest_file: Option<i64>,
    pub last_sweep: Option<i64>,
}

impl Store {
    /// The random id of this database. `None` until it is set.
    pub async fn identity(&self) -> sqlx::Result<Option<String>> {
        self.instance_value(IDENTITY).await
    }

    /// Sets the identity, unless the database has one.
    pub async fn set_identity(&self, id: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query("INSERT INTO instance (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(IDENTITY)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// The times to compare the clock with.
    pub async fn sweep_times(&self) -> sqlx::Result<SweepTimes> {
        let last_sweep = self.instance_value(LAST_SWEEP).await?;
        let row = sqlx::query("SELECT MAX(created_at) AS newest FROM files")
            .fetch_one(&self.pool)
            .await?;
        Ok(SweepTimes {
            newest_file: row.try_get("newest")?,
            last_sweep: last_sweep.and_then(|time| time.parse().ok()),
        })
    }

    /// Records that files were swept.
    pub async fn set_last_sweep(&self, time: i64) -> sqlx::Result<()> {
        self.set_instance_value(LAST_SWEEP, &time.to_string()).await
    }

    /// The engine that an earlier start used because the environment configured no other.
    pub async fn previous_engine(&self) -> sqlx::Result<Option<String>> {
        self.instance_value(ENGINE).await
    }

    /// Records that the environment configures only this engine.
    pub async fn set_previous_engine(&self, engine: &str) -> sqlx::Result<()> {
        if self.previous_engine().await?.as_deref() == Some(engine) {
            return Ok(());
        }
        self.set_instance_value(ENGINE, engine).await
    }

    async fn set_instance_value(&self, name: &str, value: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO instance (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    async fn instance_value(&self, name: &str) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar("SELECT value FROM instance WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
    }
}
