//! The migrations of the database, in order.
//!
//! They are listed here and not found by `sqlx::migrate!`: its macros would build sqlx and SQLite
//! twice. A test fails if a file of the directory is missing in the list.
//!
//! A new migration is one file for both databases if both accept its SQL. Otherwise PostgreSQL's is in the directory
//! `postgres`, with the same version.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::database::Dialect;

/// A migration: its version, description and SQL. sqlx stores all three in the database, so they never change.
type Listed = (i64, &'static str, &'static str);

/// The version of the tables that this program knows: that of the last migration.
pub(super) const LATEST: i64 = 15;
/// The version since which jobs have a host.
pub(super) const DURABLE_JOBS_VERSION: i64 = 14;

const REVISIONS: Listed = (
    13,
    "revisions",
    include_str!("migrations/0013_revisions.sql"),
);

const DURABLE_JOBS: Listed = (
    DURABLE_JOBS_VERSION,
    "durable jobs",
    include_str!("migrations/0014_durable_jobs.sql"),
);

const HOST_ENGINES: Listed = (
    LATEST,
    "host engines",
    include_str!("migrations/0015_host_engines.sql"),
);

/// The migrations of SQLite, in the order of their versions.
const SQLITE: [Listed; 15] = [
    (
        1,
        "people and files",
        include_str!("migrations/0001_people_and_files.sql"),
    ),
    (
        2,
        "file hashes",
        include_str!("migrations/0002_file_hashes.sql"),
    ),
    (3, "people", include_str!("migrations/0003_people.sql")),
    (4, "settings", include_str!("migrations/0004_settings.sql")),
    (5, "chats", include_str!("migrations/0005_chats.sql")),
    (
        6,
        "search and storage",
        include_str!("migrations/0006_search_and_storage.sql"),
    ),
    (
        7,
        "first account",
        include_str!("migrations/0007_first_account.sql"),
    ),
    (
        8,
        "user settings",
        include_str!("migrations/0008_user_settings.sql"),
    ),
    (
        9,
        "live engines",
        include_str!("migrations/0009_live_engines.sql"),
    ),
    (10, "jobs", include_str!("migrations/0010_jobs.sql")),
    (11, "gallery", include_str!("migrations/0011_gallery.sql")),
    (
        12,
        "keys and sessions",
        include_str!("migrations/0012_keys_and_sessions.sql"),
    ),
    REVISIONS,
    DURABLE_JOBS,
    HOST_ENGINES,
];

/// The migrations of PostgreSQL. The first one creates what SQLite has at that version.
const POSTGRES: [Listed; 4] = [
    (
        12,
        "schema",
        include_str!("migrations/postgres/0012_schema.sql"),
    ),
    REVISIONS,
    DURABLE_JOBS,
    HOST_ENGINES,
];

/// The migrations of a database.
pub(super) fn migrator(dialect: Dialect) -> Migrator {
    let listed: &[Listed] = match dialect {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    };
    migrator_of(listed)
}

fn migrator_of(listed: &[Listed]) -> Migrator {
    let migrations = listed.iter().map(|(version, description, sql)| {
        Migration::new(
            *version,
            (*description).into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "reads the source directory, not a data directory"
    )]
    fn migrations_are_the_files_of_the_directory() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/migrations");
        let files_in = |path: &str| -> BTreeSet<String> {
            let entries = std::fs::read_dir(path).unwrap().map(Result::unwrap);
            let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
            files
                .map(|entry| entry.file_name().into_string().unwrap())
                .collect()
        };
        let names = |listed: &[Listed]| -> BTreeSet<String> {
            let name = |(version, description, _): &Listed| {
                format!("{version:04}_{}.sql", description.replace(' ', "_"))
            };
            listed.iter().map(name).collect()
        };
        let (common, own) = (
            files_in(directory),
            files_in(&format!("{directory}/postgres")),
        );
        assert_eq!(names(&SQLITE), common);
        assert!(own.is_subset(&names(&POSTGRES)), "{own:?}");
        let shared: BTreeSet<_> = names(&POSTGRES).difference(&own).cloned().collect();
        assert!(shared.is_subset(&common), "{shared:?}");
        for listed in [&SQLITE[..], &POSTGRES] {
            let versions: Vec<i64> = listed.iter().map(|(version, _, _)| *version).collect();
            assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
            assert_eq!(versions.last(), Some(&LATEST));
        }
        // After the first one, each version of a database is one of the other.
        let versions = SQLITE.iter().map(|(version, _, _)| version);
        let newer: Vec<_> = versions.filter(|version| **version >= 12).collect();
        assert_eq!(
            newer,
            POSTGRES
                .iter()
                .map(|(version, _, _)| version)
                .collect::<Vec<_>>()
        );
    }

    fn sqlite_to(last: i64) -> Migrator {
        let listed: Vec<_> = SQLITE
            .into_iter()
            .filter(|(version, _, _)| *version <= last)
            .collect();
        migrator_of(&listed)
    }

    #[tokio::test]
    async fn sixth_migration_counts_and_lists_what_exists() {
        let options = SqliteConnectOptions::new().in_memory(true);
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(options).await.unwrap();
        sqlite_to(5).run(&pool).await.unwrap();
        for statement in [
            "INSERT INTO users VALUES ('ada', 'Ada', 'user', 0), ('bob', 'Bob', 'user', 0)",
            "INSERT INTO files VALUES ('f', 'bob', 'x', 'image/png', 30, '{}', 0, '')",
            "INSERT INTO chats VALUES ('old', 'bob', 'abc', NULL, '{}', 0, 0, 0, 1),
                 ('new', 'bob', 'de', NULL, '{}', 0, 0, 0, 2), ('a', 'ada', '', NULL, '', 0, 0, 0, 0)",
            "INSERT INTO messages VALUES ('old', 'm', NULL, 'user', 0, '\"x\"', '{}', 1)",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        migrator(Dialect::Sqlite).run(&pool).await.unwrap();
        let usage: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT user_id, file_bytes, chat_bytes, next_search_row FROM user_storage
             ORDER BY user_id",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        let expected = [("ada", 0, 0, 1), ("bob", 30, 5 + 5 + 4, 3)];
        assert_eq!(
            usage,
            expected.map(|(id, a, b, c)| (id.to_owned(), a, b, c))
        );
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT chat_id, message_id, is_stale FROM search_rows WHERE chat_id <> 'a' ORDER BY id",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        let expected_rows = [("old", ""), ("old", "m"), ("new", "")];
        assert_eq!(
            rows,
            expected_rows.map(|(chat, id)| (chat.to_owned(), id.to_owned(), 1))
        );
    }

    #[tokio::test]
    async fn eleventh_migration_reads_what_made_an_image() {
        let options = SqliteConnectOptions::new().in_memory(true);
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(options).await.unwrap();
        sqlite_to(9).run(&pool).await.unwrap();
        for statement in [
            "INSERT INTO users VALUES ('ada', 'Ada', 'user', 0)",
            r#"INSERT INTO files VALUES
                ('a', 'ada', 'generated-image.png', 'image/png', 1, '{"job":"j","binding":"fast",
                    "engine":"comfyui","details":{"model":"m"},"prompt":"A Fox","chat_id":"c"}', 0, ''),
                ('b', 'ada', 'generated-image.png', 'image/png', 1, '{"job":5,"engine":"x"}', 0, ''),
                ('c', 'ada', 'FOX.png', 'image/png', 1, '{"job":"j","engine":"x","prompt":"y"}', 0, ''),
                ('d', 'ada', 'generated-image.png', 'image/png', 1, 'no JSON', 0, ''),
                ('e', 'ada', 'generated-image.png', 'image/png', 1,
                    '{"job":"j","engine":"sketch","details":null,"chat_id":null}', 0, '')"#,
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        migrator(Dialect::Sqlite).run(&pool).await.unwrap();
        let rows: Vec<(i64, String, String, String, String, String)> = sqlx::query_as(
            "SELECT is_generated, binding, engine, model, chat_id, search_text FROM files ORDER BY id",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        let name = "generated-image.png\n";
        let with_prompt = format!("{name}a fox");
        let expected = [
            (1, "fast", "comfyui", "m", "c", with_prompt.as_str()),
            (0, "", "", "", "", name),
            (0, "", "", "", "", "fox.png\n"),
            (0, "", "", "", "", name),
            (1, "", "sketch", "", "", name),
        ];
        let owned = expected.map(|(is_generated, a, b, c, d, e)| {
            let [a, b, c, d, e] = [a, b, c, d, e].map(str::to_owned);
            (is_generated, a, b, c, d, e)
        });
        assert_eq!(rows, owned);
    }
}
