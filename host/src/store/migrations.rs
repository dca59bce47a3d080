//! The migrations of the database, in order.
//!
//! They are listed here and not found by `sqlx::migrate!`: its macros would build sqlx and SQLite
//! twice. A test fails if a file of the directory is missing in the list.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// A migration: its version, description and SQL. sqlx stores all three in the database, so they never change.
type Listed = (i64, &'static str, &'static str);

/// The migrations in the order of their versions.
const MIGRATIONS: [Listed; 12] = [
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
];

pub(super) fn migrator() -> Migrator {
    migrations_to(i64::MAX)
}

/// The migrations up to this version.
fn migrations_to(last: i64) -> Migrator {
    let listed = MIGRATIONS.into_iter();
    let migrations =
        listed
            .filter(|(version, _, _)| *version <= last)
            .map(|(version, description, sql)| {
                Migration::new(
                    version,
                    description.into(),
                    MigrationType::Simple,
                    sql.into_sql_str(),
                    false,
                )
            });
    Migrator::with_migrations(migrations.collect())
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "reads the source directory, not a data directory"
    )]
    fn migrations_are_the_files_of_the_directory() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/migrations");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let name = |migration: &Migration| {
            let description = migration.description.replace(' ', "_");
            format!("{:04}_{description}.sql", migration.version)
        };
        let listed: Vec<String> = migrator().iter().map(name).collect();
        assert_eq!(listed, files);
        let versions: Vec<i64> = MIGRATIONS.iter().map(|(version, _, _)| *version).collect();
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    }

    #[tokio::test]
    async fn sixth_migration_counts_and_lists_what_exists() {
        let options = SqliteConnectOptions::new().in_memory(true);
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(options).await.unwrap();
        migrations_to(5).run(&pool).await.unwrap();
        for statement in [
            "INSERT INTO users VALUES ('ada', 'Ada', 'user', 0), ('bob', 'Bob', 'user', 0)",
            "INSERT INTO files VALUES ('f', 'bob', 'x', 'image/png', 30, '{}', 0, '')",
            "INSERT INTO chats VALUES ('old', 'bob', 'abc', NULL, '{}', 0, 0, 0, 1),
                 ('new', 'bob', 'de', NULL, '{}', 0, 0, 0, 2), ('a', 'ada', '', NULL, '', 0, 0, 0, 0)",
            "INSERT INTO messages VALUES ('old', 'm', NULL, 'user', 0, '\"x\"', '{}', 1)",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        migrator().run(&pool).await.unwrap();
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
        migrations_to(9).run(&pool).await.unwrap();
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
        migrator().run(&pool).await.unwrap();
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
