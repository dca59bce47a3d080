//! The processes that use the database, and what only one of them does at a time.

use super::Store;
use super::database::query;
use super::job_leases::LEASE_SECS;

/// How long a host that was not seen has a row, in seconds.
const MAX_UNSEEN_SECS: i64 = 24 * 3600;

impl Store {
    /// Adds a host with a name for people at its start, and removes those that were not seen for a day. If the database is not shared, all
    /// others have ended.
    pub async fn add_host(&self, id: &str, name: &str, version: &str) -> sqlx::Result<()> {
        let mut write = self.begin().await?;
        if !self.is_shared() {
            for statement in [
                "DELETE FROM hosts",
                "DELETE FROM leases",
                "UPDATE jobs SET leased_until = 1 WHERE ended_at IS NULL AND leased_until > 0",
            ] {
                query(statement).execute(&mut *write).await?;
            }
        }
        let now = self.database.dialect().current_secs();
        query("DELETE FROM hosts WHERE seen_at < ")
            .push(now)
            .push(" - $1")
            .bind(MAX_UNSEEN_SECS)
            .execute(&mut *write)
            .await?;
        query("INSERT INTO hosts (id, name, version, started_at, seen_at) VALUES ($1, $2, $3, ")
            .push(now)
            .push(", ")
            .push(now)
            .push(")")
            .bind(id)
            .bind(name)
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
            query(delete).bind(id).execute(&mut *write).await?;
        }
        write.commit().await
    }

    /// Takes or extends a lease for [`LEASE_SECS`]. Returns false if another host has it.
    pub async fn hold_lease(&self, name: &str, host: &str) -> sqlx::Result<bool> {
        let now = self.database.dialect().current_secs();
        let other =
            query("SELECT host FROM leases WHERE name = $1 AND host <> $2 AND leased_until >= ")
                .push(now)
                .bind(name)
                .bind(host);
        // The usual case. A statement that writes would lock the row, for which all hosts would wait in turn.
        if other.fetch_optional(&self.database).await?.is_some() {
            return Ok(false);
        }
        let mut write = self.begin_statement().await?;
        let held = query("INSERT INTO leases (name, host, leased_until) VALUES ($1, $2, ")
            .push(now)
            .push(" + $3) ON CONFLICT (name) DO UPDATE SET host = excluded.host, leased_until = excluded.leased_until
                 WHERE leases.host = excluded.host OR leases.leased_until < ")
            .push(now)
            .bind(name)
            .bind(host)
            .bind(LEASE_SECS)
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(held > 0)
    }
}
