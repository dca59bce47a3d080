//! The processes that use the database, and what only one of them does at a time.

use sqlx::AssertSqlSafe;

use super::Store;
use super::job_leases::{DATABASE_NOW, LEASE_SECS};

impl Store {
    /// True if processes of other machines use the database. SQLite belongs to one process.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        false
    }

    /// Adds a host at its start. If the database is not shared, all others have ended.
    pub async fn add_host(&self, id: &str, version: &str) -> sqlx::Result<()> {
        let mut write = self.begin().await?;
        if !self.is_shared() {
            for statement in [
                "DELETE FROM hosts",
                "DELETE FROM leases",
                "UPDATE jobs SET leased_until = 1 WHERE ended_at IS NULL AND leased_until > 0",
            ] {
                sqlx::query(statement).execute(&mut *write).await?;
            }
        }
        let insert = format!(
            "INSERT INTO hosts (id, version, started_at, seen_at) VALUES ($1, $2, {DATABASE_NOW}, {DATABASE_NOW})"
        );
        sqlx::query(AssertSqlSafe(insert))
            .bind(id)
            .bind(version)
            .execute(&mut *write)
            .await?;
        write.commit().await
    }

    /// Removes a host that shuts down.
    pub async fn remove_host(&self, id: &str) -> sqlx::Result<()> {
        let mut write = self.begin_removal().await?;
        for delete in [
            "DELETE FROM hosts WHERE id = $1",
            "DELETE FROM leases WHERE host = $1",
        ] {
            sqlx::query(delete).bind(id).execute(&mut *write).await?;
        }
        write.commit().await
    }

    /// Takes or extends a lease for [`LEASE_SECS`]. Returns false if another host has it.
    pub async fn hold_lease(&self, name: &str, host: &str) -> sqlx::Result<bool> {
        let upsert = format!(
            "INSERT INTO leases (name, host, leased_until) VALUES ($1, $2, {DATABASE_NOW} + $3)
             ON CONFLICT (name) DO UPDATE SET host = $2, leased_until = {DATABASE_NOW} + $3
             WHERE leases.host = $2 OR leases.leased_until < {DATABASE_NOW}"
        );
        let mut write = self.begin_statement().await?;
        let held = sqlx::query(AssertSqlSafe(upsert))
            .bind(name)
            .bind(host)
            .bind(LEASE_SECS)
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(held.rows_affected() > 0)
    }
}
