//! Stored settings, which override the environment, and their change log.

use super::database::{Row, query};
use super::{Store, now};

/// Entries of the change log. Older ones are deleted.
const MAX_CHANGES: i64 = 10_000;

/// A stored setting.
#[derive(Clone)]
pub struct SettingRow {
    /// The dotted key.
    pub path: String,
    /// The environment variables that it overrides. The first one receives the value.
    pub variables: Vec<String>,
    /// JSON, or an encrypted secret.
    pub value: String,
    /// The value is encrypted.
    pub sealed: bool,
}

/// An entry of the change log.
#[derive(Clone, Debug)]
pub struct SettingChange {
    /// Seconds since 1970. Set by the store.
    pub changed_at: i64,
    /// Empty if the server was started with `RESET_CONFIG_ON_START`.
    pub user_id: String,
    /// The user's name at that time.
    pub user_name: String,
    /// The dotted key.
    pub path: String,
    /// The environment variable.
    pub name: String,
    /// `set`, `changed` or `removed`.
    pub what: String,
    /// JSON. `None` if no value was stored, and for secrets.
    pub old_value: Option<String>,
    /// JSON. `None` if no value is stored, and for secrets.
    pub new_value: Option<String>,
}

/// When and by whom a setting was changed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestChange {
    /// The dotted key.
    pub path: String,
    /// Seconds since 1970.
    pub changed_at: i64,
    /// The user's name at that time.
    pub user_name: String,
}

impl Store {
    /// All stored settings.
    pub async fn settings(&self) -> sqlx::Result<Vec<SettingRow>> {
        let rows = query("SELECT path, variables, value, sealed FROM settings ORDER BY path")
            .fetch_all(&self.database)
            .await?;
        let from_row = |row: &Row| {
            let variables: String = row.try_get("variables")?;
            Ok(SettingRow {
                path: row.try_get("path")?,
                variables: variables.split(' ').map(str::to_owned).collect(),
                value: row.try_get("value")?,
                sealed: row.try_get_flag("sealed")?,
            })
        };
        rows.iter().map(from_row).collect()
    }

    /// Increases with each change of settings.
    pub async fn settings_revision(&self) -> sqlx::Result<i64> {
        query("SELECT revision FROM revisions WHERE name = 'settings'")
            .fetch_value(&self.database)
            .await
    }

    /// Writes settings, removes others by path and logs the changes, in one transaction. Returns the new revision, or
    /// `None` and changes nothing if `revision` is not the current one.
    pub async fn change_settings(
        &self,
        revision: i64,
        set: &[SettingRow],
        removed: &[String],
        changes: &[SettingChange],
    ) -> sqlx::Result<Option<i64>> {
        let mut transaction = self.begin().await?;
        // Locks the row: another change waits, and then has another revision.
        let increased = query(
            "UPDATE revisions SET revision = revision + 1 WHERE name = 'settings' AND revision = $1",
        )
        .bind(revision)
        .execute(&mut *transaction)
        .await?;
        if increased == 0 {
            return Ok(None);
        }
        for row in set {
            query(
                "INSERT INTO settings (path, variables, value, sealed, updated_at)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (path) DO UPDATE SET variables = excluded.variables,
                     value = excluded.value, sealed = excluded.sealed,
                     updated_at = excluded.updated_at",
            )
            .bind(&row.path)
            .bind(row.variables.join(" "))
            .bind(&row.value)
            .bind(i64::from(row.sealed))
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        }
        for path in removed {
            query("DELETE FROM settings WHERE path = $1")
                .bind(path)
                .execute(&mut *transaction)
                .await?;
        }
        for change in changes {
            query(
                "INSERT INTO setting_changes (id, changed_at, user_id, user_name, path, name, what,
                     old_value, new_value)
                 SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8
                 FROM setting_changes",
            )
            .bind(now())
            .bind(&change.user_id)
            .bind(&change.user_name)
            .bind(&change.path)
            .bind(&change.name)
            .bind(&change.what)
            .bind(&change.old_value)
            .bind(&change.new_value)
            .execute(&mut *transaction)
            .await?;
        }
        query(
            "DELETE FROM setting_changes
             WHERE id <= (SELECT COALESCE(MAX(id), 0) FROM setting_changes) - $1",
        )
        .bind(MAX_CHANGES)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.revised.notify_one();
        Ok(Some(revision + 1))
    }

    /// The latest change of each setting in the log.
    pub async fn latest_setting_changes(&self) -> sqlx::Result<Vec<LatestChange>> {
        let rows = query(
            "SELECT path, changed_at, user_name FROM setting_changes
             WHERE id IN (SELECT MAX(id) FROM setting_changes GROUP BY path)",
        )
        .fetch_all(&self.database)
        .await?;
        let from_row = |row: &Row| {
            Ok(LatestChange {
                path: row.try_get("path")?,
                changed_at: row.try_get("changed_at")?,
                user_name: row.try_get("user_name")?,
            })
        };
        rows.iter().map(from_row).collect()
    }

    /// The latest changes, newest first.
    pub async fn setting_changes(&self, limit: u32) -> sqlx::Result<Vec<SettingChange>> {
        let rows = query(
            "SELECT changed_at, user_id, user_name, path, name, what, old_value, new_value
             FROM setting_changes ORDER BY id DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.database)
        .await?;
        let from_row = |row: &Row| {
            Ok(SettingChange {
                changed_at: row.try_get("changed_at")?,
                user_id: row.try_get("user_id")?,
                user_name: row.try_get("user_name")?,
                path: row.try_get("path")?,
                name: row.try_get("name")?,
                what: row.try_get("what")?,
                old_value: row.try_get("old_value")?,
                new_value: row.try_get("new_value")?,
            })
        };
        rows.iter().map(from_row).collect()
    }
}
