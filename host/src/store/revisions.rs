//! How often what hosts have in memory has changed in the database.
//!
//! A host that loads settings or engines remembers their revisions. When the database has others, another host has
//! changed them.

use super::Store;
use super::database::{Connection, query};

/// What hosts have in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// Settings and bindings.
    Settings,
    /// Releases, tracks and grants of engines.
    Engines,
}

/// The current revisions. 0 if something was never changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    pub settings: i64,
    pub engines: i64,
}

impl Revision {
    fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Engines => "engines",
        }
    }
}

impl Store {
    /// The current revisions.
    pub async fn revisions(&self) -> sqlx::Result<Revisions> {
        let rows = query("SELECT name, revision FROM revisions")
            .fetch_all(&self.database)
            .await?;
        let mut revisions = Revisions::default();
        for row in rows {
            let name: String = row.try_get("name")?;
            let revision = row.try_get("revision")?;
            if name == Revision::Settings.name() {
                revisions.settings = revision;
            } else if name == Revision::Engines.name() {
                revisions.engines = revision;
            }
        }
        Ok(revisions)
    }

    /// Waits until this process has changed something with a revision.
    pub async fn wait_for_change(&self) {
        self.revised.notified().await;
    }
}

/// Counts a change, in its transaction.
pub(super) async fn count(connection: &mut Connection, what: Revision) -> sqlx::Result<()> {
    query(
        "INSERT INTO revisions (name, revision) VALUES ($1, 1)
         ON CONFLICT (name) DO UPDATE SET revision = revisions.revision + 1",
    )
    .bind(what.name())
    .execute(connection)
    .await
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::EngineChange;
    use crate::store::test_database::TestDatabase;

    #[tokio::test]
    async fn each_change_has_a_revision_of_its_own() {
        TestDatabase::each(async |test| {
            let store = &test.store;
            assert_eq!(store.revisions().await.unwrap(), Revisions::default());
            for revision in 0..2 {
                let changed = store.change_settings(revision, &[], &[], &[]).await;
                assert_eq!(changed.unwrap(), Some(revision + 1));
            }
            store.change_engine(&EngineChange::default()).await.unwrap();
            let expected = Revisions {
                settings: 2,
                engines: 1,
            };
            assert_eq!(store.revisions().await.unwrap(), expected);
            // The process that changed it is notified too.
            store.wait_for_change().await;
        })
        .await;
    }
}
