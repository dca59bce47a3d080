//! Engines: their releases, tracks and grants, and what happened to them.
//!
//! One transaction makes a change whole: a track, its releases, the grant and the history never disagree.

use super::database::{Connection, query};
use super::engine_rows::{
    EngineChange, EngineRows, GrantRow, HistoryRow, ReleaseRow, TrackRow, grant_from_row,
    release_from_row, track_from_row,
};
use super::revisions::{self, Revision};
use super::{Store, now};

/// Entries of the history. Older ones are deleted.
const MAX_HISTORY: i64 = 10_000;

impl Store {
    /// All releases, tracks, grants and files, of one moment.
    pub async fn engine_rows(&self) -> sqlx::Result<EngineRows> {
        let mut snapshot = self.database.snapshot().await?;
        let releases = query("SELECT * FROM engine_releases ORDER BY engine, added_at, digest")
            .fetch_all(&mut snapshot)
            .await?;
        let tracks = query("SELECT * FROM engine_tracks ORDER BY engine")
            .fetch_all(&mut snapshot)
            .await?;
        let grants = query("SELECT * FROM engine_grants ORDER BY engine")
            .fetch_all(&mut snapshot)
            .await?;
        let files = query("SELECT file, digest FROM engine_files ORDER BY file")
            .fetch_all(&mut snapshot)
            .await?;
        Ok(EngineRows {
            releases: releases
                .iter()
                .map(release_from_row)
                .collect::<Result<_, _>>()?,
            tracks: tracks
                .iter()
                .map(track_from_row)
                .collect::<Result<_, _>>()?,
            grants: grants
                .iter()
                .map(grant_from_row)
                .collect::<Result<_, _>>()?,
            files: files
                .iter()
                .map(|row| Ok((row.try_get("file")?, row.try_get("digest")?)))
                .collect::<sqlx::Result<_>>()?,
        })
    }

    /// Writes a change. Returns false, and writes nothing, if the track or the grant has changed since it was read.
    /// A release that a track names is not removed.
    pub async fn change_engine(&self, change: &EngineChange) -> sqlx::Result<bool> {
        let mut write = self.begin().await?;
        if let Some((before, after)) = &change.track {
            let is_written = match (before, after) {
                (Some(before), Some(after)) => update_track(&mut write, before, after).await?,
                (None, Some(after)) => insert_track(&mut write, after).await?,
                (Some(before), None) => delete_track(&mut write, before).await?,
                (None, None) => true,
            };
            if !is_written {
                return Ok(false);
            }
        }
        for release in &change.releases {
            upsert_release(&mut write, release).await?;
        }
        for digest in &change.removed_releases {
            query(
                "DELETE FROM engine_releases WHERE digest = $1 AND NOT EXISTS
                     (SELECT 1 FROM engine_tracks WHERE current = $1 OR candidate = $1 OR previous = $1)",
            )
            .bind(digest)
            .execute(&mut *write)
            .await?;
        }
        if let Some(grant) = &change.grant
            && !write_grant(&mut write, change.grant_before.as_ref(), grant).await?
        {
            return Ok(false);
        }
        for (file, digest) in &change.files {
            write_file(&mut write, file, digest.as_deref()).await?;
        }
        for entry in &change.history {
            insert_history(&mut write, entry).await?;
        }
        revisions::count(&mut write, Revision::Engines).await?;
        write.commit().await?;
        self.revised.notify_one();
        Ok(true)
    }

    /// True if a component was installed before, as far as the history says.
    pub async fn was_installed(&self, digest: &str) -> sqlx::Result<bool> {
        let found = query("SELECT id FROM engine_history WHERE digest = $1 LIMIT 1")
            .bind(digest)
            .fetch_optional(&self.database)
            .await?;
        Ok(found.is_some())
    }

    /// The newest entries of the history of an engine, newest first.
    pub async fn engine_history(&self, engine: &str, limit: u32) -> sqlx::Result<Vec<HistoryRow>> {
        let rows = query(
            "SELECT at, engine, digest, what, why, user_name FROM engine_history
             WHERE engine = $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(engine)
        .bind(i64::from(limit))
        .fetch_all(&self.database)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(HistoryRow {
                    at: row.try_get("at")?,
                    engine: row.try_get("engine")?,
                    digest: row.try_get("digest")?,
                    what: row.try_get("what")?,
                    why: row.try_get("why")?,
                    user_name: row.try_get("user_name")?,
                })
            })
            .collect()
    }
}

async fn insert_track(connection: &mut Connection, track: &TrackRow) -> sqlx::Result<bool> {
    let result = query(
        "INSERT INTO engine_tracks
         (engine, current, previous, candidate, percent, strategy, pinned, revision, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8) ON CONFLICT DO NOTHING",
    )
    .bind(&track.engine)
    .bind(&track.current)
    .bind(&track.previous)
    .bind(&track.candidate)
    .bind(i64::from(track.percent))
    .bind(&track.strategy)
    .bind(i64::from(track.pinned))
    .bind(now())
    .execute(connection)
    .await?;
    Ok(result == 1)
}

async fn update_track(
    connection: &mut Connection,
    before: &TrackRow,
    after: &TrackRow,
) -> sqlx::Result<bool> {
    let result = query(
        "UPDATE engine_tracks SET current = $3, previous = $4, candidate = $5, percent = $6, strategy = $7,
             pinned = $8, revision = revision + 1, changed_at = $9
         WHERE engine = $1 AND revision = $2",
    )
    .bind(&before.engine)
    .bind(before.revision)
    .bind(&after.current)
    .bind(&after.previous)
    .bind(&after.candidate)
    .bind(i64::from(after.percent))
    .bind(&after.strategy)
    .bind(i64::from(after.pinned))
    .bind(now())
    .execute(connection)
    .await?;
    Ok(result == 1)
}

async fn delete_track(connection: &mut Connection, before: &TrackRow) -> sqlx::Result<bool> {
    let result = query("DELETE FROM engine_tracks WHERE engine = $1 AND revision = $2")
        .bind(&before.engine)
        .bind(before.revision)
        .execute(connection)
        .await?;
    Ok(result == 1)
}

async fn upsert_release(connection: &mut Connection, release: &ReleaseRow) -> sqlx::Result<()> {
    query(
        "INSERT INTO engine_releases
         (digest, engine, version, file, declared, granted, replaces, state, reason, size_bytes, added_by, added_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (digest) DO UPDATE SET engine = excluded.engine, version = excluded.version,
             file = excluded.file, declared = excluded.declared, granted = excluded.granted,
             replaces = excluded.replaces, state = excluded.state, reason = excluded.reason",
    )
    .bind(&release.digest)
    .bind(&release.engine)
    .bind(&release.version)
    .bind(&release.file)
    .bind(&release.declared)
    .bind(&release.granted)
    .bind(&release.replaces)
    .bind(release.state.name())
    .bind(&release.reason)
    .bind(release.size_bytes)
    .bind(&release.added_by)
    .bind(release.added_at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_grant(
    connection: &mut Connection,
    before: Option<&GrantRow>,
    grant: &GrantRow,
) -> sqlx::Result<bool> {
    let statement = match before {
        None => query(
            "INSERT INTO engine_grants (engine, allows, denies, digest, file) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING",
        ),
        Some(_) => query(
            "UPDATE engine_grants SET allows = $2, denies = $3, digest = $4, file = $5
             WHERE engine = $1 AND allows = $6 AND denies = $7 AND digest = $8 AND file = $9",
        ),
    };
    let mut statement = statement
        .bind(&grant.engine)
        .bind(&grant.allows)
        .bind(&grant.denies)
        .bind(&grant.digest)
        .bind(&grant.file);
    if let Some(before) = before {
        statement = statement
            .bind(&before.allows)
            .bind(&before.denies)
            .bind(&before.digest)
            .bind(&before.file);
    }
    Ok(statement.execute(connection).await? == 1)
}

async fn write_file(
    connection: &mut Connection,
    file: &str,
    digest: Option<&str>,
) -> sqlx::Result<()> {
    let statement = match digest {
        Some(digest) => query(
            "INSERT INTO engine_files (file, digest) VALUES ($1, $2)
             ON CONFLICT (file) DO UPDATE SET digest = excluded.digest",
        )
        .bind(file)
        .bind(digest),
        None => query("DELETE FROM engine_files WHERE file = $1").bind(file),
    };
    statement.execute(connection).await?;
    Ok(())
}

async fn insert_history(connection: &mut Connection, entry: &HistoryRow) -> sqlx::Result<()> {
    query(
        "INSERT INTO engine_history (at, engine, digest, what, why, user_name)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(now())
    .bind(&entry.engine)
    .bind(&entry.digest)
    .bind(&entry.what)
    .bind(&entry.why)
    .bind(&entry.user_name)
    .execute(&mut *connection)
    .await?;
    query("DELETE FROM engine_history WHERE id <= (SELECT MAX(id) FROM engine_history) - $1")
        .bind(MAX_HISTORY)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ReleaseState;
    use crate::store::test_database::TestDatabase;

    fn track(current: &str) -> TrackRow {
        TrackRow {
            engine: "draw".into(),
            current: current.into(),
            previous: None,
            candidate: None,
            percent: 0,
            strategy: "watch".into(),
            pinned: false,
            revision: 0,
            changed_at: 0,
        }
    }

    #[tokio::test]
    async fn change_of_a_grant_that_has_moved_writes_nothing() {
        TestDatabase::each(async |test| {
            let store = &test.store;
            let grant = |allows: &str| GrantRow {
                engine: "draw".into(),
                allows: allows.into(),
                denies: "[]".into(),
                digest: "a".into(),
                file: String::new(),
            };
            let write = async |before: Option<GrantRow>, after: GrantRow| {
                let change = EngineChange {
                    grant: Some(after),
                    grant_before: before,
                    files: vec![("draw.wasm".into(), Some("x".into()))],
                    ..EngineChange::default()
                };
                store.change_engine(&change).await.unwrap()
            };
            assert!(write(None, grant("1")).await);
            assert!(write(Some(grant("1")), grant("2")).await);
            // A host with the first grant must not undo what another one has denied since.
            assert!(!write(Some(grant("1")), grant("3")).await);
            assert!(!write(None, grant("3")).await);
            assert_eq!(store.engine_rows().await.unwrap().grants, [grant("2")]);
        })
        .await;
    }

    #[tokio::test]
    async fn release_that_a_track_names_is_not_removed() {
        TestDatabase::each(async |test| {
            let store = &test.store;
            let release = |digest: &str| ReleaseRow {
                digest: digest.into(),
                engine: "draw".into(),
                version: "1".into(),
                file: String::new(),
                declared: "[]".into(),
                granted: "[]".into(),
                replaces: String::new(),
                state: ReleaseState::Retired,
                reason: String::new(),
                size_bytes: 1,
                added_by: String::new(),
                added_at: 0,
            };
            let change = EngineChange {
                track: Some((None, Some(track("a")))),
                releases: vec![release("a"), release("b")],
                ..EngineChange::default()
            };
            assert!(store.change_engine(&change).await.unwrap());
            let removal = EngineChange {
                removed_releases: vec!["a".into(), "b".into()],
                ..EngineChange::default()
            };
            assert!(store.change_engine(&removal).await.unwrap());
            let remaining = store.engine_rows().await.unwrap().releases;
            assert_eq!(remaining, [release("a")]);
            assert!(!store.was_installed("a").await.unwrap());
        })
        .await;
    }

    #[tokio::test]
    async fn change_of_a_track_that_has_moved_writes_nothing() {
        TestDatabase::each(async |test| {
            let store = &test.store;
            let write = async |before: Option<TrackRow>, after: Option<TrackRow>| {
                let change = EngineChange {
                    track: Some((before, after)),
                    files: vec![("draw.wasm".into(), Some("x".into()))],
                    ..EngineChange::default()
                };
                store.change_engine(&change).await.unwrap()
            };
            assert!(write(None, Some(track("a"))).await);
            let first = store.engine_rows().await.unwrap().tracks.remove(0);
            assert_eq!((first.current.as_str(), first.revision), ("a", 1));
            assert!(write(Some(first.clone()), Some(track("b"))).await);
            // The first revision is gone: neither a change, nor a removal, nor another track of the name.
            assert!(!write(Some(first.clone()), Some(track("c"))).await);
            assert!(!write(Some(first), None).await);
            assert!(!write(None, Some(track("c"))).await);
            let second = store.engine_rows().await.unwrap().tracks.remove(0);
            assert_eq!((second.current.as_str(), second.revision), ("b", 2));
            assert!(write(Some(second), None).await);
            assert!(store.engine_rows().await.unwrap().tracks.is_empty());
        })
        .await;
    }
}
