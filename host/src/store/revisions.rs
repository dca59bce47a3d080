//! How often what hosts have in memory has changed in the database.
//!
//! A host that loads settings, engines or identities remembers their revisions. When the database has others, another
//! host has changed them.

use sqlx::{Row, SqliteConnection};

use super::Store;

/// What hosts have in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// Settings and bindings.
    Settings,
    /// Releases, tracks and grants of engines.
    Engines,
    /// Users, groups, keys and revoked sessions.
    Identities,
}

/// The revisions of all three. 0 if something was never changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    pub settings: i64,
    pub engines: i64,
    pub identities: i64,
}

impl Revision {
    fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Engines => "engines",
            Self::Identities => "identities",
        }
    }
}

impl Store {
    /// The current revisions.
    pub async fn revisions(&self) -> sqlx::Result<Revisions> {
        let rows = sqlx::query("SELECT name, value FROM revisions")
            .fetch_all(&self.pool)
            .await?;
        let mut revisions = Revisions::default();
        for row in rows {
            let name: String = row.try_get("name")?;
            let value: i64 = row.try_get("value")?;
            match name.as_str() {
                "settings" => revisions.settings = value,
                "engines" => revisions.engines = value,
                "identities" => revisions.identities = value,
                _ => {}
            }
        }
        Ok(revisions)
    }

    /// Waits until this process has changed something with a revision.
    pub async fn wait_for_change(&self) {
        self.revised.notified().await;
    }
}

/// Counts a change. Call it in the transaction of the change.
pub(super) async fn count(connection: &mut SqliteConnection, what: Revision) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO revisions (name, value) VALUES ($1, CAST(1 AS BIGINT))
         ON CONFLICT (name) DO UPDATE SET value = revisions.value + CAST(1 AS BIGINT)",
    )
    .bind(what.name())
    .execute(connection)
    .await
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{EngineChange, SettingRow};

    #[tokio::test]
    async fn each_change_has_a_revision_of_its_own() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).await.unwrap();
        assert_eq!(store.revisions().await.unwrap(), Revisions::default());
        let row = SettingRow {
            path: "a".to_owned(),
            variables: vec!["A".to_owned()],
            value: "1".to_owned(),
            sealed: false,
        };
        for revision in 1..=2 {
            store
                .change_settings(std::slice::from_ref(&row), &[], &[])
                .await
                .unwrap();
            assert_eq!(store.revisions().await.unwrap().settings, revision);
        }
        store.change_engine(&EngineChange::default()).await.unwrap();
        store.create_first_administrator().await.unwrap().unwrap();
        let expected = Revisions {
            settings: 2,
            engines: 1,
            identities: 1,
        };
        assert_eq!(store.revisions().await.unwrap(), expected);
        // The process that changed it is notified too.
        store.wait_for_change().await;
    }
}
