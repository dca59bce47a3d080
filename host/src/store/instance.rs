//! What the database records about itself: its identity, and when files were last swept.

use super::Store;
use super::database::query;
use super::job_leases::LEASE_SECS;

/// The identity, a UUID.
const IDENTITY: &str = "identity";
/// The time of the last sweep, in seconds since 1970.
const LAST_SWEEP: &str = "last_sweep";
/// Before the name of a key's variable.
const KEY_CHECK: &str = "check of ";
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
        query("INSERT INTO instance (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(IDENTITY)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// The times to compare the clock with.
    pub async fn sweep_times(&self) -> sqlx::Result<SweepTimes> {
        let last_sweep = self.instance_value(LAST_SWEEP).await?;
        let row = query("SELECT MAX(created_at) AS newest FROM files")
            .fetch_one(&self.database)
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

    /// Records the check of a key, unless a server that runs has recorded another one. Returns false then. `host` is
    /// this server.
    pub async fn hold_key_check(&self, name: &str, check: &str, host: &str) -> sqlx::Result<bool> {
        let mut transaction = self.begin().await?;
        let held = query(
            "INSERT INTO instance (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value
             WHERE instance.value = excluded.value
                 OR NOT EXISTS (SELECT 1 FROM hosts WHERE id <> $3 AND seen_at > ",
        )
        .push(self.database.dialect().current_secs())
        .push(" - $4)")
        .bind(format!("{KEY_CHECK}{name}"))
        .bind(check)
        .bind(host)
        .bind(LEASE_SECS)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(held > 0)
    }

    async fn set_instance_value(&self, name: &str, value: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        query(
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
        query("SELECT value FROM instance WHERE name = $1")
            .bind(name)
            .fetch_optional_value(&self.database)
            .await
    }
}
